"""One file over HTTP, from a server that may break off, forget, dawdle, or send without end."""

from __future__ import annotations

import os
import stat
import threading
import urllib.request as urls
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError

from budbreak.errors import CannotWrite, DownloadFailed

Report = Callable[[str, int, int | None], None]
"""(file, bytes here, bytes in all if the server says): called at most once for each chunk."""

_CHUNK = 1 << 20
_SLOWEST = 10_000  # bytes per second: slower than any line that could carry such files
_TEMPORARY = (408, 429, 500, 502, 503, 504)  # HTTP statuses after which asking again can help


class _Interrupted(Exception):
    """The connection failed or was cut: what arrived is kept, and asking again can help."""


def silent(_file: str, _received: int, _total: int | None) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Link:
    """How to ask a server.

    Args:
        attempts: in a row without a single byte more, before giving up.
        pause: seconds before asking again; doubled by each attempt in a row without progress.
        timeout: seconds without an answer.
        deadline: seconds for a file; a minute, and its size at 10 kB/s, if None.
        report: see `Report`.
    """

    attempts: int
    pause: float
    timeout: float
    deadline: float | None
    report: Report


@dataclass(frozen=True)
class _Transfer:
    """One file on its way: ``part`` grows to at most ``most`` bytes, unless it is given up before."""

    url: str
    part: Path
    link: Link
    most: int
    given_up: threading.Event


def fetch(url: str, part: Path, link: Link, *, most: int) -> None:
    """Receive a whole file into ``part``, in as many goes as it takes.

    In a thread of its own, which is left behind when its time is over: a server that sends its headers one byte a
    minute cannot be interrupted otherwise. From then on the thread writes nothing.

    Raises:
        DownloadFailed: if the server refuses, keeps breaking off, is too slow, or sends more than ``most`` bytes.
        CannotWrite: on a full disk or a forbidden folder.
    """
    seconds = 60 + most / _SLOWEST if link.deadline is None else link.deadline
    transfer = _Transfer(url, part, link, most, threading.Event())
    ended: list[BaseException | None] = []

    def work() -> None:
        try:
            _in_goes(transfer)
            ended.append(None)
        except BaseException as error:  # raised again where the caller waits
            ended.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        thread.join(seconds)
    finally:
        transfer.given_up.set()
    if not ended:
        raise DownloadFailed(
            f"{url}: not complete after {seconds:.0f} seconds; {_size(part)} bytes are here",
            "a server sends such a file faster",
            f"run the command again, which goes on from {part}; or give a mirror",
        )
    if ended[0] is not None:
        raise ended[0]


def _in_goes(transfer: _Transfer) -> None:
    link, part = transfer.link, transfer.part
    failures, most = 0, _size(part)
    while not transfer.given_up.is_set():
        try:
            _receive(transfer)
            return
        except _Interrupted as cut:
            here = _size(part)
            failures = 0 if here > most else failures + 1
            most = max(most, here)
            if failures >= link.attempts:
                raise DownloadFailed(
                    f"{transfer.url}: {cut}; {here} bytes are here, and {failures} attempts in a row brought no more",
                    "a file is used only when it is whole",
                    f"check the connection and run the command again: it goes on from {part}",
                ) from cut
            transfer.given_up.wait(link.pause * 2**failures)


def _opener() -> urls.OpenerDirector:
    """For http and https only: a server may not redirect to a file of this machine, or to ftp."""
    opener = urls.OpenerDirector()
    for handler in (
        urls.ProxyHandler, urls.UnknownHandler, urls.HTTPHandler, urls.HTTPSHandler, urls.HTTPDefaultErrorHandler,
        urls.HTTPRedirectHandler, urls.HTTPErrorProcessor,
    ):  # fmt: skip
        opener.add_handler(handler())
    return opener


def _receive(transfer: _Transfer) -> None:
    """One request for what is missing.

    Raises:
        _Interrupted: if it ended before the file did.
    """
    start = _size(transfer.part)
    request = urls.Request(transfer.url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = _opener().open(request, timeout=transfer.link.timeout)
    except HTTPError as error:
        with error:
            if error.code == 416 and start:  # nothing lies beyond what is here: whole, or of another file
                return _settle(transfer.part, start, error.headers.get("Content-Range", ""))
            raise _status_error(transfer.url, error) from None
    except (OSError, HTTPException, ValueError) as error:
        raise _Interrupted(str(error) or type(error).__name__) from error
    with response:
        _append(response, transfer, start)
    return None


def _settle(part: Path, start: int, content_range: str) -> None:
    """After status 416: done if the server's file is as long as ours, else begin again."""
    if content_range.strip() != f"bytes */{start}":
        _unlink(part)
        raise _Interrupted("what was here before does not fit the server's file")


def _status_error(url: str, error: HTTPError) -> Exception:
    if error.code in _TEMPORARY:
        return _Interrupted(f"the server answered {error.code} {error.reason}")
    return DownloadFailed(
        f"{url}: the server answered {error.code} {error.reason}",
        "the official file must be at this address",
        "give the base URL of a mirror, or copy the files into the data directory yourself",
    )


def _append(response: HTTPResponse, transfer: _Transfer, start: int) -> None:
    """Add a response to what is here, or replace it if the server sends the file from its beginning."""
    part = transfer.part
    if response.status not in (200, 206) or (response.status == 206 and not _fits(response, start)):
        _unlink(part)
        raise _Interrupted(f"the server answered {response.status} with another part of the file than was asked for")
    offset = start if response.status == 206 else 0
    length: int | None = response.length
    total = None if length is None else offset + length
    _check_size(transfer, total or 0)
    received = offset
    with _open(part, append=bool(offset)) as stream:
        while chunk := _read(response):
            received += len(chunk)
            _check_size(transfer, received)
            _write(stream, chunk, transfer)
            transfer.link.report(part.name.removesuffix(".part"), received, total)
    if total is not None and received < total:  # http.client ends such a response without an error
        raise _Interrupted(f"the connection was cut after {received} of {total} bytes")


def _fits(response: HTTPResponse, start: int) -> bool:
    return start > 0 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _check_size(transfer: _Transfer, size: int) -> None:
    if size > transfer.most:
        _unlink(transfer.part)
        raise DownloadFailed(
            f"{transfer.url}: the server sends {size} bytes or more",
            f"the official file has at most {transfer.most}; what arrived was deleted",
            "the address serves something else: give a mirror",
        )


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read1(_CHUNK)  # what is there already: a slow server is noticed, and what it sent is kept
    except (OSError, HTTPException, ValueError) as error:
        raise _Interrupted(str(error) or type(error).__name__) from error


def _open(part: Path, *, append: bool) -> IO[bytes]:
    """Follows no link, and waits for no pipe: only a file of ours is written to."""
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        stream = os.fdopen(os.open(part, flags | (os.O_APPEND if append else os.O_TRUNC), 0o666), "wb")
    except OSError as error:
        raise _cannot_write(part, error) from error
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise _cannot_write(part, OSError("it is no file"))
    return stream


def _write(stream: IO[bytes], chunk: bytes, transfer: _Transfer) -> None:
    if transfer.given_up.is_set():
        raise _Interrupted("its time was over")
    try:
        stream.write(chunk)
        stream.flush()
    except OSError as error:
        raise _cannot_write(transfer.part, error) from error


def _unlink(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(part, error) from error


def _cannot_write(part: Path, error: OSError) -> CannotWrite:
    rule = "a download needs room for the file and its content"
    return CannotWrite(f"cannot write {part}: {error.strerror or error}", rule, "free some space or choose a folder")


def _size(part: Path) -> int:
    try:
        return part.lstat().st_size if stat.S_ISREG(part.lstat().st_mode) else 0
    except OSError:
        return 0
