"""What every test may use: a cache of its own, a small CinC-style set, the real records where named."""

import os
import signal
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import edgeguard  # noqa: F401 - before any test imports ONNX Runtime, whose telemetry it turns off

# The networks of the tests are small, and threads that wait for each other crawl where a core is shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def edgeguard_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or fills the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEGUARD_CACHE", str(folder))
        yield folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that take minutes are skipped, and say so, unless `make matrix` asks for them."""
    if not os.environ.get("EDGEGUARD_SLOW"):
        skipped = pytest.mark.skip(reason="takes minutes: make matrix runs it")
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(skipped)


@pytest.fixture(scope="session", autouse=True)
def hears_interrupts() -> Iterator[None]:
    """Ctrl-C is heard, though a shell that starts something in the background has it ignored."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture(scope="session")
def cinc2017() -> Path:
    """The real CinC-2017 zip or folder that the environment variable EDGEGUARD_CINC2017 names, else skip."""
    named = os.environ.get("EDGEGUARD_CINC2017")
    if not named:
        pytest.skip("EDGEGUARD_CINC2017 names no records")
    return Path(named)


@pytest.fixture
def cinc_files() -> dict[str, bytes]:
    """File name -> bytes of a small set in the layout of training2017.zip: 40 records, ten a class in turn.

    Lengths run round the window of 9,000 samples: shorter with an odd and an even rest, equal, longer.
    """
    rng = np.random.default_rng(0)
    files: dict[str, bytes] = {}
    labels = {}
    for number in range(1, 41):
        name, length = f"A{number:05d}", (8991, 9000, 9300, 2714)[number % 3 if number > 4 else number - 1]
        wave = 300 * np.sin(np.arange(length) / rng.uniform(20, 60))
        samples = np.rint(wave + rng.normal(0, 40, length)).astype("<i2")
        files[f"training2017/{name}.hea"] = (
            f"{name} 1 300 {length} 05:05:15 1/05/2000 \r\n{name}.mat 16+24 1000/mV 16 0 {samples[0]} 0 0 ECG \r\n"
        ).encode()
        header = struct.pack("<5i4s", 30, 1, length, 0, 4, b"val\0")
        files[f"training2017/{name}.mat"] = header + samples.tobytes()
        labels[name] = "NAO~"[number % 4]
    files["training2017/RECORDS"] = "".join(f"{name}\n" for name in labels).encode()
    lines = [f"{name},{label}\n" for name, label in labels.items()]
    files["training2017/REFERENCE-v3.csv"] = "".join(lines).encode()
    return files


@pytest.fixture
def cinc_zip(tmp_path: Path, cinc_files: dict[str, bytes]) -> Path:
    """`cinc_files` as a zip."""
    path = tmp_path / "training2017.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in cinc_files.items():
            archive.writestr(name, content)
    return path
