"""Downloads from a local server that behaves well, breaks off, forgets, refuses, or lies."""

from __future__ import annotations

import contextlib
import gc
import gzip
import io
import os
import socket
import string
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from official import Official, md5_of, tar_of, tiny_cifar, tiny_mnist

from budbreak.data import Link, download, load
from budbreak.data.catalogue import Archive
from budbreak.errors import CannotWrite, CorruptFile, DownloadFailed, InvalidValue, UnknownName


@dataclass
class Server:
    """What to serve, how badly, and what was asked for."""

    contents: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes after which the next responses break off
    statuses: list[int] = field(default_factory=list)  # of the next responses
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    server_state: Server

    def do_GET(self) -> None:
        state, wanted = self.server_state, self.headers.get("Range")
        state.asked.append((self.path, wanted))
        if state.statuses:
            return self.send_error(state.statuses.pop(0))
        if self.path not in state.contents:
            return self.send_error(404)
        content = state.contents[self.path]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
        if wanted and state.ranges and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if wanted and state.ranges else 200)
        if wanted and state.ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = state.cuts.pop(0) if state.cuts else len(content)
        self.wfile.write(content[start:][:cut])
        self.close_connection = True
        return None

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()
    handler = type("Bound", (Handler,), {"server_state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


def get(server: Server, official: Official, data_dir: Path, **settings) -> Path:
    name = official.entry.name
    link = Link(**{"attempts": 3, "pause": 0.0, "timeout": 5.0} | settings)
    return download(name, data_dir, base_urls={name: server.url}, catalogue=official.catalogue, link=link)


BOTH = pytest.mark.parametrize("official", [tiny_mnist(), tiny_cifar()], ids=["mnist", "cifar10"])


@BOTH
def test_the_official_files_arrive_and_nothing_else(server: Server, official: Official, tmp_path: Path) -> None:
    server.contents = official.served()
    folder = get(server, official, tmp_path / "data")
    assert folder == tmp_path / "data" / official.entry.folder
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.iterdir()}
    assert found == official.contents
    assert list((tmp_path / "data").rglob("*.part*")) == []
    assert len(load(official.entry.name, tmp_path / "data", catalogue=official.catalogue).train) > 0


@BOTH
def test_what_is_here_is_not_fetched_again(server: Server, official: Official, tmp_path: Path) -> None:
    server.contents = official.served()
    folder = get(server, official, tmp_path)
    asked = len(server.asked)
    get(server, official, tmp_path)
    assert len(server.asked) == asked
    damaged = folder / next(iter(official.contents))
    damaged.write_bytes(b"damaged")
    get(server, official, tmp_path)
    assert len(server.asked) == asked + 1
    assert damaged.read_bytes() == official.contents[damaged.name]


def test_a_cut_connection_is_resumed_where_it_ended(server: Server, tmp_path: Path) -> None:
    official = tiny_cifar()
    server.contents, server.cuts = official.served(), [1000, 500]
    get(server, official, tmp_path)
    assert [wanted for _, wanted in server.asked] == [None, "bytes=1000-", "bytes=1500-"]


def test_a_partial_file_of_an_earlier_call_is_resumed(server: Server, tmp_path: Path) -> None:
    official = tiny_cifar()
    server.contents = official.served()
    (content,) = server.contents.values()
    (tmp_path / "cifar-10-python.tar.gz.part").write_bytes(content[:2000])
    get(server, official, tmp_path)
    assert [wanted for _, wanted in server.asked] == ["bytes=2000-"]


def test_a_server_without_ranges_sends_everything_again(server: Server, tmp_path: Path) -> None:
    official = tiny_cifar()
    server.contents, server.ranges, server.cuts = official.served(), False, [1000]
    folder = get(server, official, tmp_path)
    assert [wanted for _, wanted in server.asked] == [None, "bytes=1000-"]
    assert (folder / "test_batch").read_bytes() == official.contents["test_batch"]


def test_a_partial_file_that_is_whole_already_is_used(server: Server, tmp_path: Path) -> None:
    official = tiny_cifar()
    server.contents = official.served()
    (content,) = server.contents.values()
    (tmp_path / "cifar-10-python.tar.gz.part").write_bytes(content)
    get(server, official, tmp_path)
    assert len(server.asked) == 1


def test_a_partial_file_longer_than_the_server_s_is_dropped(server: Server, tmp_path: Path) -> None:
    official = tiny_cifar()
    server.contents = official.served()
    (content,) = server.contents.values()
    (tmp_path / "cifar-10-python.tar.gz.part").write_bytes(content + b"more")
    get(server, official, tmp_path)
    assert server.asked[-1][1] is None


def test_a_server_that_keeps_breaking_off_ends_in_words_and_keeps_what_arrived(server: Server, tmp_path: Path) -> None:
    official = tiny_cifar()
    server.contents, server.cuts = official.served(), [700, 0, 0, 0, 0]
    with pytest.raises(DownloadFailed) as caught:
        get(server, official, tmp_path)
    assert len(server.asked) == 4  # one with progress, three without
    assert "cut after 700 of" in str(caught.value)
    part = tmp_path / "cifar-10-python.tar.gz.part"
    assert str(part) in str(caught.value)
    assert part.stat().st_size == 700
    assert list(tmp_path.iterdir()) == [part]


def test_a_server_that_is_busy_for_a_while_is_asked_again(server: Server, tmp_path: Path) -> None:
    official = tiny_mnist()
    server.contents, server.statuses = official.served(), [503, 429]
    get(server, official, tmp_path)
    assert len(server.asked) == 4 + 2


def test_what_the_server_does_not_have_is_not_asked_for_twice(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"cifar-10-python\.tar\.gz: the server answered 404"):
        get(server, tiny_cifar(), tmp_path)
    assert len(server.asked) == 1


def test_nobody_listening_ends_in_words(tmp_path: Path) -> None:
    official = tiny_mnist()
    with pytest.raises(DownloadFailed, match="attempts in a row"):
        get(Server(url="http://127.0.0.1:9"), official, tmp_path)  # port 9: discard, closed


@BOTH
def test_other_content_is_deleted_and_takes_no_name(server: Server, official: Official, tmp_path: Path) -> None:
    other = {"mnist": tiny_mnist(train=31), "cifar10": tiny_cifar(rows=3)}[official.entry.name]
    server.contents = other.served()
    with pytest.raises(DownloadFailed, match=r"md5 .*is [0-9a-f]{32}, not [0-9a-f]{32}"):
        get(server, official, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_page_in_place_of_a_gz_is_refused(server: Server, tmp_path: Path) -> None:
    server.contents = dict.fromkeys(tiny_mnist().served(), b"<html>please log in</html>")
    with pytest.raises(DownloadFailed, match="no whole gzip file"):
        get(server, tiny_mnist(), tmp_path)


def with_archive(official: Official, content: bytes) -> Official:
    """The same files, of an archive whose checksum is right whatever it holds."""
    archive = Archive("cifar-10-python.tar.gz", md5_of(content), len(content))
    return Official(replace(official.entry, archive=archive), official.contents)


def test_only_the_expected_members_of_an_archive_reach_the_disk(server: Server, tmp_path: Path) -> None:
    official = tiny_cifar()
    folder = official.entry.folder
    link = tarfile.TarInfo(f"{folder}/data_batch_1")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    wicked = {"../escaped": b"x", "/tmp/absolute-escaped": b"x", f"{folder}/../../up": b"x", f"{folder}/more": b"x"}
    members = {f"{folder}/{name}": content for name, content in official.contents.items()}
    content = tar_of(wicked | members, extra=(link,))
    server.contents = {"/cifar-10-python.tar.gz": content}
    data_dir = tmp_path / "inner" / "data"
    get(server, with_archive(official, content), data_dir)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if not path.is_dir()}
    assert files == {f"inner/data/{folder}/{name}" for name in official.contents}
    assert not (data_dir / folder / "data_batch_1").is_symlink()
    assert not Path("/tmp/absolute-escaped").exists()


@pytest.mark.parametrize("changed", [None, b"something else"])
def test_an_archive_without_a_file_is_refused(server: Server, tmp_path: Path, changed: bytes | None) -> None:
    official = tiny_cifar()
    members = {f"{official.entry.folder}/{name}": content for name, content in official.contents.items()}
    gone = members.pop(f"{official.entry.folder}/test_batch")
    if changed is not None:
        members[f"{official.entry.folder}/test_batch"] = changed
    assert gone != changed
    content = tar_of(members)
    server.contents = {"/cifar-10-python.tar.gz": content}
    with pytest.raises(DownloadFailed, match="it lacks test_batch"):
        get(server, with_archive(official, content), tmp_path)


def test_what_is_no_archive_is_refused(server: Server, tmp_path: Path) -> None:
    whole = io.BytesIO(next(iter(tiny_cifar().served().values()))).read()
    for content in (b"no archive at all", whole[: len(whole) // 2]):
        server.contents = {"/cifar-10-python.tar.gz": content}
        with pytest.raises(DownloadFailed, match=r"no whole tar\.gz"):
            get(server, with_archive(tiny_cifar(), content), tmp_path)


def test_progress_is_reported_over_a_resumed_file(server: Server, tmp_path: Path) -> None:
    official, heard = tiny_cifar(), []
    server.contents, server.cuts = official.served(), [1000]
    (content,) = server.contents.values()
    get(server, official, tmp_path, report=lambda *told: heard.append(told))
    assert heard[0] == ("cifar-10-python.tar.gz", 1000, len(content))
    assert heard[-1] == ("cifar-10-python.tar.gz", len(content), len(content))


def test_a_place_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    official = tiny_mnist()
    server.contents = official.served()
    blocked = tmp_path / "a-file"
    blocked.write_bytes(b"")
    with pytest.raises(CannotWrite, match="a-file"):
        get(server, official, blocked)


def test_digits_are_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=r"budbreak\[digits\]"):
        download("digits", tmp_path)


def test_an_unknown_data_set_or_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'mnist'"):
        download("mnst", tmp_path)
    with pytest.raises(InvalidValue, match="http"):
        download("mnist", tmp_path, base_urls={"mnist": "file:///etc/"})


# --- malicious servers ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that reads a request and then does whatever it likes; gives its address."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(65536)
                        answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


def say(*parts: bytes, times: int = 1, pause: float = 0.0) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        for part in [*parts[:-1], *[parts[-1]] * times]:
            connection.sendall(part)
            time.sleep(pause)

    return answer


OK = b"HTTP/1.1 200 OK\r\n"
LIES = {
    "a body without end": (say(OK + b"\r\n", bytes(1 << 20), times=60), "sends .* bytes or more"),
    "a length beyond the file": (
        say(OK + b"Content-Length: 99999999999\r\n\r\nabc"),
        "sends 99999999999 bytes or more",
    ),
    "chunks without end": (
        say(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + bytes(1 << 20) + b"\r\n", times=60),
        "bytes or more",
    ),
    "a length that is none": (say(OK + b"Content-Length: abc\r\n\r\nabc"), "no whole gzip file"),
    "a negative length": (say(OK + b"Content-Length: -7\r\n\r\nabc"), "no whole gzip file"),
    "a chunk that is none": (say(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "attempts in a row"),
    "another part than was asked for": (
        say(b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-9/10\r\n\r\nabcde"),
        "another part of the file",
    ),
    "nothing beyond nothing": (say(b"HTTP/1.1 416 No\r\nContent-Range: bytes */0\r\n\r\n"), "answered 416"),
    "redirects without end": (say(b"HTTP/1.1 302 Go\r\nLocation: /again\r\n\r\n"), "302"),
    "a redirect to a file": (say(b"HTTP/1.1 302 Go\r\nLocation: file:///etc/passwd\r\n\r\n"), "302"),
    "a redirect to ftp": (say(b"HTTP/1.1 302 Go\r\nLocation: ftp://127.0.0.1:9/x\r\n\r\n"), "unknown url type: ftp"),
    "a redirect to no address": (say(b"HTTP/1.1 302 Go\r\nLocation: http://[\r\n\r\n"), "127.0.0.1"),
    "words for the terminal": (say(b"HTTP/1.1 404 \x1b]0;mine\x07\x1b[2J\r\n\r\n"), r"\\x1b\]0;mine"),
    "no HTTP": (say(b"hello\r\n\r\n"), "attempts in a row"),
    "headers without end": (say(OK, b"X: y\r\n", times=300), "attempts in a row"),
    "a bomb": (say(OK + b"\r\n", gzip.compress(bytes(50 << 20))), "unpacks to more than"),
    "a slow body": (say(OK + b"\r\n", b"x", times=60, pause=0.05), "not complete after 1 seconds; [1-9]"),
    "slow headers": (say(OK, b"X: y\r\n", times=60, pause=0.05), "not complete after 1 seconds; 0"),
}


# of a redirect to what is no address, urllib leaves the response to the garbage collection, which warns of its socket
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_lies_ends_in_words_soon_and_small(lie: str, tmp_path: Path) -> None:
    answer, words = LIES[lie]
    official = tiny_mnist()
    began = time.monotonic()
    with answering(answer) as url, pytest.raises(DownloadFailed, match=words) as caught:
        get(Server(url=url), official, tmp_path, attempts=2, deadline=1.0 if "slow" in lie else 20.0)
    assert time.monotonic() - began < 60  # without its own limits it would never end
    assert str(caught.value).isprintable() or set(str(caught.value)) - set(string.printable) == set()
    assert "\x1b" not in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 60] == []
    del caught
    gc.collect()  # here, and not within whichever test comes after


def test_nothing_is_written_once_its_time_is_over(tmp_path: Path) -> None:
    official = tiny_cifar()
    with answering(say(OK + b"\r\n", b"x", times=60, pause=0.03)) as url:
        with pytest.raises(DownloadFailed, match="not complete"):
            get(Server(url=url), official, tmp_path, deadline=0.6)
        (part,) = tmp_path.iterdir()
        size = part.stat().st_size
        time.sleep(0.3)
        assert 0 < part.stat().st_size <= size + 1  # one byte may have been on its way


def test_a_partial_file_that_is_a_link_or_a_pipe_is_not_written_to(server: Server, tmp_path: Path) -> None:
    official = tiny_cifar()
    server.contents = official.served()
    part = tmp_path / "data" / "cifar-10-python.tar.gz.part"
    part.parent.mkdir()
    (tmp_path / "precious").write_text("mine")
    part.symlink_to(tmp_path / "precious")
    with pytest.raises(CannotWrite, match=r"\.part"):
        get(server, official, tmp_path / "data")
    assert (tmp_path / "precious").read_text() == "mine"
    part.unlink()
    os.mkfifo(part)
    with pytest.raises(CannotWrite, match=r"\.part"):
        get(server, official, tmp_path / "data")


def test_a_bomb_in_the_data_directory_is_refused(tmp_path: Path) -> None:
    official = tiny_mnist()
    folder = official.write(tmp_path, zipped=True)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(50 << 20)))
    with pytest.raises(CorruptFile, match="unpacks to more than"):
        load("mnist", tmp_path, catalogue=official.catalogue)
