"""The download of the CinC-2017 training set: resumed where it was cut, kept only with the right checksum."""

import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from edgeguard.ecg.sources import fetched_zip
from edgeguard.errors import InputError
from edgeguard.runtime.files import sha256_file
from edgeguard.runtime.telling import no_bars

PHYSIONET = "https://physionet.org/files/challenge-2017/1.0.0/"
CHECKSUMS = "SHA256SUMS.txt"
LABELS = "REFERENCE-v3.csv"

_ATTEMPTS = 5
_TIMEOUT = 60.0
_CHUNK = 1 << 18


def fetch(base: str = PHYSIONET, *, folder: Path | None = None, progress: bool = True) -> Path:
    """Download the training records and their labels; returns the zip's path.

    Files that are there already with the right checksum are not downloaded again. A cut download is resumed,
    in this call up to four times, and by the next call from the `.part` file that it leaves.

    Args:
        base: address of the folder that holds `training2017.zip`, `REFERENCE-v3.csv` and `SHA256SUMS.txt`.
        folder: where to put the files; the cache by default, where `--data cinc2017` finds them.

    Raises InputError when the server cannot be reached, lacks a file, or sends one with another checksum.
    """
    base = base.rstrip("/") + "/"
    target = fetched_zip() if folder is None else folder / fetched_zip().name
    checksums = _checksums(base + CHECKSUMS)
    # The zip comes last: where it lies, the set is complete.
    for path in (target.with_name(LABELS), target):
        if path.name not in checksums:
            raise InputError(f"{base}{CHECKSUMS}: has no line for {path.name}; pass another --url")
        if not (path.is_file() and sha256_file(path) == checksums[path.name]):
            _download(base + path.name, path, checksums[path.name], progress=progress)
    return target


def _checksums(url: str) -> dict[str, str]:
    """File name -> hex SHA-256, from lines of `sha256sum`."""
    try:
        with _open(url, 0) as response:
            lines = response.read().decode("utf-8", "replace").splitlines()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(url, error) from error
    pairs = (line.split() for line in lines)
    return {pair[1].lstrip("*"): pair[0].lower() for pair in pairs if len(pair) == 2}


def _download(url: str, path: Path, checksum: str, *, progress: bool) -> None:
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(_ATTEMPTS):
            if _continue(url, part, progress=progress):
                break
        else:
            raise InputError(f"{url}: the connection was cut {_ATTEMPTS} times; run the command again to resume")
        if sha256_file(part) != checksum:
            part.unlink()
            raise InputError(f"{url}: wrong SHA-256, the file was not kept; run the command again")
        os.replace(part, path)
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _unreachable(url, error) from error
    except OSError as error:
        raise InputError(
            f"{part}: cannot be written ({error.strerror or error}); free space or set EDGEGUARD_CACHE"
        ) from error


def _continue(url: str, part: Path, *, progress: bool) -> bool:
    """Append to `part` what it lacks, as far as the connection holds; whether it is complete now."""
    start = part.stat().st_size if part.is_file() else 0
    try:
        response = _open(url, start)
    except urllib.error.HTTPError as error:
        # Range not satisfiable: the part holds every byte already, or too many, which its checksum will show.
        if error.code == 416 and start:
            return True
        raise
    with response:
        if response.status != 206:
            start = 0
        length = int(response.headers.get("Content-Length", -1))
        total = start + length if length >= 0 else None
        bar = tqdm(
            desc=part.stem, initial=start, total=total, unit="B", unit_scale=True, disable=not progress or no_bars()
        )
        with part.open("ab" if start else "wb") as file, bar:
            while chunk := _chunk(response):
                file.write(chunk)
                bar.update(len(chunk))
    return total is None or part.stat().st_size >= total


def _chunk(response: http.client.HTTPResponse) -> bytes:
    """The next bytes; none at the end or where the connection breaks."""
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException):
        return b""


def _open(url: str, start: int) -> http.client.HTTPResponse:
    headers = {"User-Agent": "edgeguard", **({"Range": f"bytes={start}-"} if start else {})}
    request = urllib.request.Request(url, headers=headers)
    response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)
    return response


def _unreachable(url: str, error: Exception) -> InputError:
    return InputError(f"{url}: cannot be downloaded ({error}); check the connection or pass another --url")
