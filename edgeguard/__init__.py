"""EdgeGuard: is the ECG model that ships on the watch still accurate, and still robust, after export?"""

from importlib.metadata import PackageNotFoundError, version

from edgeguard.errors import InputError

try:
    __version__ = version("edgeguard")
except PackageNotFoundError:
    __version__ = "0+uninstalled"

__all__ = ["InputError", "__version__"]
