import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgeguard.ecg.download import fetch
from edgeguard.ecg.sources import load_dataset
from edgeguard.errors import InputError

NAMES = ["REFERENCE-v3.csv", "training2017.zip"]


class Server:
    """PhysioNet on loopback.

    Attributes:
        files: name -> content.
        requests: (name, first byte asked for) of every request.
        cut: bytes after which each answer for the zip breaks off; None: never.
        ranges: whether Range is understood.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, int]] = []
        self.cut: int | None = None
        self.ranges = True
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/set"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.removeprefix("/set/")
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        self.requests.append((name, int(asked[1]) if asked else 0))
        if name not in self.files:
            return handler.send_error(404)
        start = int(asked[1]) if asked and self.ranges else 0
        body = self.files[name][start:]
        if start and not body:
            return handler.send_error(416)
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: self.cut] if name.endswith(".zip") else body)


@pytest.fixture
def server(cinc_files: dict[str, bytes], cinc_zip: Path) -> Iterator[Server]:
    server = Server()
    server.files = {
        "REFERENCE-v3.csv": cinc_files["training2017/REFERENCE-v3.csv"],
        "training2017.zip": cinc_zip.read_bytes(),
    }
    sums = "".join(f"{hashlib.sha256(c).hexdigest()} {name}\n" for name, c in server.files.items())
    server.files["SHA256SUMS.txt"] = f"{'0' * 64} validation/other.zip\n{sums}".encode()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEGUARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cinc2017"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_the_fetched_set_is_whole_and_becomes_the_default(server: Server, folder: Path):
    assert fetch(server.url, progress=False) == folder / "training2017.zip"
    assert contents(folder) == {name: server.files[name] for name in NAMES}
    assert load_dataset().source == load_dataset("cinc2017").source == "cinc2017"
    assert len(load_dataset()) == 40


def test_what_is_there_is_not_downloaded_again(server: Server, folder: Path):
    fetch(server.url + "/", progress=False)
    server.requests.clear()
    fetch(server.url, progress=False)
    assert server.requests == [("SHA256SUMS.txt", 0)]


def test_a_cut_download_goes_on_where_it_was_cut(server: Server, folder: Path):
    size = len(server.files["training2017.zip"])
    server.cut = size // 3
    fetch(server.url, progress=False)
    starts = [start for name, start in server.requests if name == "training2017.zip"]
    assert starts == [0, size // 3, 2 * (size // 3), 3 * (size // 3)][: len(starts)] and len(starts) in (3, 4)
    assert contents(folder) == {name: server.files[name] for name in NAMES}


def test_the_next_call_resumes_from_the_part_file(server: Server, folder: Path):
    size = len(server.files["training2017.zip"])
    server.cut = size // 10
    with pytest.raises(InputError, match="connection was cut 5 times; run the command again to resume"):
        fetch(server.url, progress=False)
    assert sorted(contents(folder)) == ["REFERENCE-v3.csv", "training2017.zip.part"]
    server.cut = None
    server.requests.clear()
    fetch(server.url, progress=False)
    assert server.requests == [("SHA256SUMS.txt", 0), ("training2017.zip", 5 * (size // 10))]
    assert contents(folder) == {name: server.files[name] for name in NAMES}


def test_a_part_file_that_is_whole_is_taken(server: Server, folder: Path):
    folder.mkdir(parents=True)
    (folder / "training2017.zip.part").write_bytes(server.files["training2017.zip"])
    fetch(server.url, progress=False)
    assert contents(folder) == {name: server.files[name] for name in NAMES}


def test_a_server_without_ranges_sends_the_whole_again(server: Server, folder: Path):
    folder.mkdir(parents=True)
    (folder / "training2017.zip.part").write_bytes(server.files["training2017.zip"][:1000])
    server.ranges = False
    fetch(server.url, progress=False)
    assert contents(folder) == {name: server.files[name] for name in NAMES}


@pytest.mark.parametrize("part", [None, b"from another file"])
def test_a_wrong_checksum_is_not_kept(part: bytes | None, server: Server, folder: Path):
    if part is None:
        server.files["training2017.zip"] += b"more"
    else:
        folder.mkdir(parents=True)
        (folder / "training2017.zip.part").write_bytes(part)
    with pytest.raises(InputError, match=r"training2017\.zip: wrong SHA-256, the file was not kept"):
        fetch(server.url, progress=False)
    assert list(contents(folder)) == ["REFERENCE-v3.csv"]


def test_a_file_spoilt_later_is_fetched_again(server: Server, folder: Path):
    fetch(server.url, progress=False)
    (folder / "training2017.zip").write_bytes(b"spoilt")
    fetch(server.url, progress=False)
    assert contents(folder) == {name: server.files[name] for name in NAMES}


@pytest.mark.parametrize("name", ["SHA256SUMS.txt", "REFERENCE-v3.csv", "training2017.zip"])
def test_a_missing_file_is_named(name: str, server: Server, folder: Path):
    del server.files[name]
    with pytest.raises(InputError, match=rf"{name}: cannot be downloaded \(HTTP Error 404.*--url") as caught:
        fetch(server.url, progress=False)
    assert "\n" not in str(caught.value)


def test_checksums_of_other_files_are_refused(server: Server, folder: Path):
    server.files["SHA256SUMS.txt"] = b"<html>sign in</html>"
    with pytest.raises(InputError, match=r"has no line for REFERENCE-v3.csv; pass another --url"):
        fetch(server.url, progress=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/set", "nonsense", "ftp2://host/x"])
def test_a_server_that_is_not_there_is_one_line(url: str, folder: Path):
    with pytest.raises(InputError, match=r"cannot be downloaded .*check the connection or pass another --url"):
        fetch(url, progress=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_keeps_no_half_file_under_the_final_name(server: Server, folder: Path):
    folder.mkdir(parents=True)
    (folder / "REFERENCE-v3.csv.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"No space left on device.*free space"):
        fetch(server.url, progress=False)
    assert [path.name for path in folder.iterdir()] == ["REFERENCE-v3.csv.part"]
