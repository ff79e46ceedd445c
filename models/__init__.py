"""Networks, their registry, and the run folders that hold trained ones."""

from edgeguard.models.cost import Cost, cost
from edgeguard.models.registry import ARCHITECTURES, build, register_architecture
from edgeguard.models.run import Run, load_run, newest_run

__all__ = ["ARCHITECTURES", "Cost", "Run", "build", "cost", "load_run", "newest_run", "register_architecture"]
