"""One file over HTTP, from a server that may break off, forget, dawdle, or send without end."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import urllib.request as urls
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Literal, NoReturn
from urllib.error import HTTPError

from budbreak.errors import BudbreakError, CannotWrite, DownloadFailed

_CHUNK = 1 << 20
_SLOWEST = 10_000  # bytes per second: slower than any line that could carry such files
_TEMPORARY = (408, 429, 500, 502, 503, 504)  # HTTP statuses after which asking again can help
_HANDLERS = (
    urls.ProxyHandler, urls.UnknownHandler, urls.HTTPHandler, urls.HTTPSHandler, urls.HTTPDefaultErrorHandler,
    urls.HTTPRedirectHandler, urls.HTTPErrorProcessor,
)  # fmt: skip
"""For http and https only: a server may not redirect to a file of this machine, or to ftp."""


@dataclass(frozen=True)
class Link:
    """How to ask a server.

    Args:
        attempts: in a row without a single byte more, before giving up.
        pause: seconds before asking again; doubled by each attempt in a row without progress.
        timeout: seconds without an answer that count as a cut connection.
        deadline: seconds for a file; a minute, and its size at 10 kB/s, if None.
        report: told (file, bytes here, bytes in all if the server says), at most once for each chunk.
    """

    attempts: int = 5
    pause: float = 1.0
    timeout: float = 30.0
    deadline: float | None = None
    report: Callable[[str, int, int | None], None] = lambda *_: None


def fetch(url: str, part: Path, link: Link, *, most: int) -> None:
    """Receive a whole file into ``part``, in as many goes as it takes.

    In a thread of its own, which is left behind when its time is over: a server that sends its headers one byte a
    minute cannot be interrupted otherwise. From then on the thread writes nothing.

    Raises:
        DownloadFailed: if the server refuses, keeps breaking off, is too slow, or sends more than ``most`` bytes.
        CannotWrite: on a full disk or a forbidden folder.
    """
    seconds = 60 + most / _SLOWEST if link.deadline is None else link.deadline
    transfer, outcome = _Transfer(url, part, link, most), Future[None]()

    def work() -> None:
        try:
            outcome.set_result(transfer.run())
        except BaseException as error:  # raised again where the caller waits
            outcome.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        outcome.result(seconds)
    except TimeoutError:
        raise DownloadFailed(
            f"{url}: not complete after {seconds:.0f} seconds; {transfer.here()} bytes are here",
            "a server sends such a file faster",
            f"run the command again, which goes on from {part}; or give a mirror",
        ) from None
    finally:
        transfer.given_up.set()


@dataclass(frozen=True)
class _Transfer:
    """One file on its way: ``part`` grows to at most ``most`` bytes, unless it is given up before.

    What the connection fails with is worth another attempt; what the disk fails with, and a refusal, is not.
    """

    url: str
    part: Path
    link: Link
    most: int
    given_up: threading.Event = field(default_factory=threading.Event)

    def here(self) -> int:
        """Bytes that are here already; a link, or what is no file, is left alone."""
        with self._writing():
            if not os.path.lexists(self.part):
                return 0
            status = self.part.lstat()
            if not stat.S_ISREG(status.st_mode):
                raise OSError("something else has its name")
            return status.st_size

    def run(self) -> None:
        """Ask until the file is whole."""
        failures, most = 0, self.here()
        while not self.given_up.is_set():
            try:
                return self._receive(self.here())
            except BudbreakError:
                raise
            except (OSError, HTTPException, ValueError) as cut:
                here = self.here()
                failures, most = 0 if here > most else failures + 1, max(most, here)
                if failures >= self.link.attempts:
                    raise DownloadFailed(
                        f"{self.url}: {str(cut) or type(cut).__name__}; {here} bytes are here, "
                        f"and {failures} attempts in a row brought no more",
                        "a file is used only when it is whole",
                        f"check the connection and run the command again: it goes on from {self.part}",
                    ) from cut
                self.given_up.wait(self.link.pause * 2**failures)
        return None

    def _receive(self, start: int) -> None:
        """One request for what is missing."""
        request = urls.Request(self.url, headers={"Range": f"bytes={start}-"} if start else {})
        opener = urls.OpenerDirector()
        for handler in _HANDLERS:
            opener.add_handler(handler())
        try:
            with opener.open(request, timeout=self.link.timeout) as response:
                self._append(response, start)
        except HTTPError as error:
            with error:
                self._refused(error, start)

    def _refused(self, error: HTTPError, start: int) -> None:
        answer = f"the server answered {error.code} {error.reason}"
        if error.code == 416 and start:  # nothing lies beyond what is here: whole, or of another file
            if error.headers.get("Content-Range", "").strip() != f"bytes */{start}":
                self._begin_again(answer)
        elif error.code in _TEMPORARY:
            raise ConnectionError(answer)
        else:
            fix = "give the base URL of a mirror, or copy the files into the data directory yourself"
            raise DownloadFailed(f"{self.url}: {answer}", "the official file must be at this address", fix) from None

    def _append(self, response: HTTPResponse, start: int) -> None:
        """Add a response to what is here, or replace it if the server sends the file from its beginning."""
        offset = start if response.status == 206 else 0
        begins = response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
        if response.status not in (200, 206) or (response.status == 206 and not begins):
            self._begin_again(f"the server answered {response.status} with another part of the file than asked for")
        received, total = offset, None if response.length is None else offset + response.length
        self._check_size(total or 0)
        with self._open("ab" if offset else "wb") as stream:
            # what is there already is read at once: a slow server is noticed, and what it sent is kept
            while (chunk := response.read1(_CHUNK)) and not self.given_up.is_set():
                received += len(chunk)
                self._check_size(received)
                with self._writing():
                    stream.write(chunk)
                    stream.flush()
                self.link.report(self.part.name.removesuffix(".part"), received, total)
        if total is not None and received < total:  # http.client ends such a response without an error
            raise ConnectionError(f"the connection was cut after {received} of {total} bytes")

    def _check_size(self, size: int) -> None:
        if size > self.most:
            self._drop()
            raise DownloadFailed(
                f"{self.url}: the server sends {size} bytes or more",
                f"the official file has at most {self.most}; what arrived was deleted",
                "the address serves something else: give a mirror",
            )

    def _open(self, mode: Literal["ab", "wb"]) -> IO[bytes]:
        with self._writing():
            self.part.parent.mkdir(parents=True, exist_ok=True)
            return self.part.open(mode)

    def _drop(self) -> None:
        with self._writing():
            self.part.unlink(missing_ok=True)

    def _begin_again(self, why: str) -> NoReturn:
        self._drop()
        raise ConnectionError(why)

    @contextlib.contextmanager
    def _writing(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            rule, fix = "a download needs room for the file and its content", "free some space or choose a folder"
            raise CannotWrite(f"cannot write {self.part}: {error.strerror or error}", rule, fix) from error
