"""Downloads, from a real server on this machine that behaves in every way a server can."""

from __future__ import annotations

import gzip
import hashlib
import logging.handlers
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import platformdirs
import pooch
import pytest

from trainless.errors import TableError
from trainless.tables import downloads
from trainless.tables.downloads import cache_folder, fetch

BODY = bytes(range(256)) * 1000  # four pieces
SHA256 = hashlib.sha256(BODY).hexdigest()
SIZE = len(BODY)


class Handler(BaseHTTPRequestHandler):
    """One method a path; the server notes what was asked."""

    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        self.server.headers.append(dict(self.headers))
        getattr(self, self.path.partition("?")[0].strip("/").replace("/", "_"), self.missing)()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, body: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def missing(self) -> None:
        self.answer(b"<html>no such file</html>", 404)

    def rude(self) -> None:
        self.send_response(599, "\x1b[2J")
        self.end_headers()

    def good(self) -> None:
        self.answer(BODY)

    mirrored_folder_good = good

    def empty(self) -> None:
        self.answer(b"")

    def cut(self) -> None:
        self.answer(BODY[:100_000], length=SIZE)

    def short(self) -> None:
        self.answer(b"<html>log in first</html>")

    def corrupt(self) -> None:
        self.answer(BODY[:-1] + b"\0")

    def endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(BODY)
        except OSError:  # the other side has hung up, as it should
            self.server.hung_up.set()

    def silent(self) -> None:
        self.server.released.wait()

    def stalled(self) -> None:
        self.cut()
        self.wfile.flush()
        self.server.released.wait()

    def redirect(self) -> None:
        self.answer(b"", 302, Location="/elsewhere")

    def elsewhere(self) -> None:
        self.answer(BODY, Content_Disposition='attachment; filename="../../elsewhere"')

    def circle(self) -> None:
        self.answer(b"", 302, Location="/circle")

    def file(self) -> None:
        self.answer(b"", 302, Location=Path(__file__).as_uri())

    def encoded(self) -> None:
        self.answer(gzip.compress(BODY, mtime=0), Content_Encoding="gzip")


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.hung_up = threading.Event()
        self.released = threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that hangs up is part of these tests


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv("TRAINLESS_MIRROR", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "tables" / "toy" / "table.bin"


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address where nobody listens, and nobody else can meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def refused(url: str, place: Path, sha256: str = SHA256, size: int = SIZE) -> str:
    """The message of a download that fails, which is one sentence and leaves nothing behind."""
    before = {path: path.read_bytes() for path in files(place.parents[1])}
    with pytest.raises(TableError) as caught:
        fetch(url, sha256, size, place)
    assert {path: path.read_bytes() for path in files(place.parents[1])} == before
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert ". " not in message
    return message


class TestCacheFolder:
    def test_the_variable_names_it(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("TRAINLESS_CACHE", str(tmp_path))
        assert cache_folder() == tmp_path

    def test_home_is_expanded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRAINLESS_CACHE", "~/tables")
        assert cache_folder() == Path.home() / "tables"

    @pytest.mark.parametrize("value", [None, ""])
    def test_else_the_platforms(self, monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
        if value is None:
            monkeypatch.delenv("TRAINLESS_CACHE", raising=False)
        else:
            monkeypatch.setenv("TRAINLESS_CACHE", value)
        assert cache_folder() == Path(platformdirs.user_cache_dir("trainless"))


class TestFetch:
    def test_a_good_file(self, server: Server, place: Path) -> None:
        assert fetch(f"{server.address}/good", SHA256, SIZE, place) == place
        assert place.read_bytes() == BODY
        assert files(place.parents[2]) == [place]

    def test_progress(self, server: Server, place: Path) -> None:
        calls: list[tuple[int, int]] = []
        fetch(f"{server.address}/good", SHA256, SIZE, place, lambda done, size: calls.append((done, size)))
        assert len(calls) > 1
        assert calls == sorted(set(calls))
        assert calls[-1] == (SIZE, SIZE)
        assert {size for _, size in calls} == {SIZE}

    def test_the_second_time_nothing_is_requested(self, server: Server, place: Path) -> None:
        for checksum in (SHA256, SHA256, SHA256.upper()):
            fetch(f"{server.address}/good", checksum, SIZE, place)
        assert server.requests == ["/good"]

    def test_checksum_in_capitals(self, server: Server, place: Path) -> None:
        assert fetch(f"{server.address}/good", SHA256.upper(), SIZE, place).read_bytes() == BODY

    def test_a_wrong_file_is_fetched_anew(self, server: Server, place: Path) -> None:
        place.parent.mkdir(parents=True)
        place.write_bytes(b"old")
        fetch(f"{server.address}/good", SHA256, SIZE, place)
        assert place.read_bytes() == BODY

    def test_an_empty_file(self, server: Server, place: Path) -> None:
        fetch(f"{server.address}/empty", hashlib.sha256(b"").hexdigest(), 0, place)
        assert place.read_bytes() == b""

    def test_several_at_once(self, server: Server, place: Path) -> None:
        with ThreadPoolExecutor(4) as pool:
            same = [pool.submit(fetch, f"{server.address}/good", SHA256, SIZE, place) for _ in range(4)]
        assert [future.result() for future in same] == [place] * 4
        assert files(place.parents[2]) == [place]
        assert place.read_bytes() == BODY

    def test_others_may_read_it_as_any_new_file(self, server: Server, place: Path, tmp_path: Path) -> None:
        fetch(f"{server.address}/good", SHA256, SIZE, place)
        (tmp_path / "new").touch()
        assert place.stat().st_mode == (tmp_path / "new").stat().st_mode

    def test_nothing_is_logged_and_the_logger_stays_as_it_was(self, server: Server, place: Path) -> None:
        logger, heard = pooch.get_logger(), logging.handlers.BufferingHandler(100)
        logger.addHandler(heard)
        try:
            fetch(f"{server.address}/good", SHA256, SIZE, place)
            refused(f"{server.address}/corrupt", place.with_name("other.bin"))
            assert heard.buffer == []
            logger.info("heard")
            assert [record.getMessage() for record in heard.buffer] == ["heard"]
        finally:
            logger.removeHandler(heard)

    def test_what_the_server_calls_compressed_stays_so(self, server: Server, place: Path) -> None:
        packed = gzip.compress(BODY, mtime=0)
        fetch(f"{server.address}/encoded", hashlib.sha256(packed).hexdigest(), len(packed), place)
        assert place.read_bytes() == packed
        assert server.headers[0]["Accept-Encoding"] == "identity"

    def test_a_redirect_is_followed_and_changes_no_name(self, server: Server, place: Path, tmp_path: Path) -> None:
        fetch(f"{server.address}/redirect", SHA256, SIZE, place)
        assert server.requests == ["/redirect", "/elsewhere"]
        assert files(tmp_path) == [place]


class TestMirror:
    @pytest.mark.parametrize("ending", ["", "/"])
    def test_takes_the_place_of_scheme_and_host(
        self, server: Server, place: Path, monkeypatch: pytest.MonkeyPatch, ending: str
    ) -> None:
        monkeypatch.setenv("TRAINLESS_MIRROR", server.address + "/mirrored" + ending)
        fetch("https://tables.invalid/folder/good?download=1", SHA256, SIZE, place)
        assert server.requests == ["/mirrored/folder/good?download=1"]
        assert place.read_bytes() == BODY

    def test_its_password_is_not_shown(self, server: Server, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRAINLESS_MIRROR", server.address.replace("//", "//me:secret@"))
        message = refused("https://tables.invalid/absent", place)
        assert f"{server.address}/absent answered 404" in message
        assert "secret" not in message

    @pytest.mark.parametrize("mirror", ["tables.invalid", "file:///tables", "https://"])
    def test_that_is_no_address_is_refused(self, place: Path, monkeypatch: pytest.MonkeyPatch, mirror: str) -> None:
        monkeypatch.setenv("TRAINLESS_MIRROR", mirror)
        assert f"TRAINLESS_MIRROR is '{mirror}'" in refused("https://tables.invalid/good", place)


class TestFailures:
    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("absent", "answered 404 (Not Found)"),
            ("rude", "answered 599 (no known status): "),
            ("cut", "broke off before the end"),
            ("short", f"gave 25 of {SIZE} bytes"),
            ("corrupt", hashlib.sha256(BODY[:-1] + b"\0").hexdigest()),
            ("corrupt", f"expected {SHA256}"),
            ("circle", "redirects without end"),
            ("file", "cannot be fetched (InvalidSchema)"),
        ],
    )
    def test_tells_what_and_a_retry_works(self, server: Server, place: Path, path: str, expected: str) -> None:
        message = refused(f"{server.address}/{path}", place)
        assert message.startswith(f"{server.address}/{path} ")
        assert expected in message
        assert "--from" in message
        assert fetch(f"{server.address}/good", SHA256, SIZE, place).read_bytes() == BODY

    def test_endless(self, server: Server, place: Path) -> None:
        assert f"more than the expected {SIZE} bytes" in refused(f"{server.address}/endless", place)
        assert server.hung_up.wait(60)

    def test_longer_by_one(self, server: Server, place: Path) -> None:
        assert "more than the expected" in refused(f"{server.address}/good", place, size=SIZE - 1)

    @pytest.mark.parametrize("path", ["silent", "stalled"])
    def test_no_answer(self, server: Server, place: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
        monkeypatch.setattr(downloads, "_SECONDS", 0.05)
        assert "did not answer for 0.05 seconds" in refused(f"{server.address}/{path}", place)

    def test_refused_connection(self, server: Server, place: Path, deaf: str) -> None:
        message = refused(f"{deaf}/good", place)
        assert f"{deaf}/good cannot be reached: " in message
        assert "--from" in message

    def test_no_network(self, server: Server, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(*_: Any, **__: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        assert "https://tables.invalid/good cannot be reached: " in refused("https://tables.invalid/good", place)

    def test_a_proxy_that_is_down(
        self, server: Server, place: Path, deaf: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, deaf)
        assert "cannot be reached through the proxy" in refused("http://tables.invalid/good", place)

    def test_no_secure_connection(self, server: Server, place: Path) -> None:
        secure = server.address.replace("http:", "https:")
        assert "gives no secure connection" in refused(f"{secure}/good", place)

    def test_a_wrong_file_stays_when_none_can_be_had(self, server: Server, place: Path) -> None:
        place.parent.mkdir(parents=True)
        place.write_bytes(b"old")
        refused(f"{server.address}/corrupt", place)
        assert place.read_bytes() == b"old"

    def test_a_file_where_the_folder_should_be(self, server: Server, place: Path) -> None:
        place.parents[1].mkdir()
        place.parent.write_bytes(b"no folder")
        message = refused(f"{server.address}/good", place)
        assert f"'{place}' cannot be written (" in message
        assert "TRAINLESS_CACHE" in message
        assert server.requests == []

    def test_a_folder_where_the_file_should_be(self, server: Server, place: Path) -> None:
        place.mkdir(parents=True)
        assert f"'{place}' cannot be written (Is a directory)" in refused(f"{server.address}/good", place)

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
    def test_a_full_disk(self, server: Server, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        usual = Path.open

        def full(path: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
            return open("/dev/full", "wb", buffering=0) if mode == "xb" else usual(path, mode, *rest, **named)

        monkeypatch.setattr(Path, "open", full)
        assert f"'{place}' cannot be written (No space left on device)" in refused(f"{server.address}/good", place)

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
    def test_an_interruption_leaves_nothing(self, server: Server, place: Path, kind: type[BaseException]) -> None:
        def interrupt(done: int, size: int) -> None:
            if done > size / 2:
                raise kind

        with pytest.raises(kind):
            fetch(f"{server.address}/endless", SHA256, SIZE, place, interrupt)
        assert server.hung_up.wait(60)
        assert files(place.parents[2]) == []
        assert fetch(f"{server.address}/good", SHA256, SIZE, place).read_bytes() == BODY
