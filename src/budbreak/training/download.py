"""Fetching official data sets: resumed where the connection was cut, named only when the checksum is right."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import Request, urlopen

from budbreak.errors import CannotWrite, CorruptFile, DownloadFailed, InvalidValue, MissingData
from budbreak.storage import write_bytes
from budbreak.training.catalogue import CATALOGUE, Archive, Entry, find
from budbreak.training.datasets import md5, official_file

Report = Callable[[str, int, int | None], None]
"""(file, bytes here, bytes in all if the server says): called at most once for each mebibyte."""

_CHUNK = 1 << 20
_TEMPORARY = (408, 429, 500, 502, 503, 504)  # HTTP statuses after which asking again can help


class _Interrupted(Exception):
    """The connection failed or was cut: what arrived is kept, and asking again can help."""


@dataclass(frozen=True)
class _Link:
    """How to ask a server.

    Args:
        attempts: in a row without a single byte more, before giving up.
        pause: seconds before asking again; doubled by each attempt in a row without progress.
        timeout: seconds without an answer.
        report: see `Report`.
    """

    attempts: int
    pause: float
    timeout: float
    report: Report


def _silent(_file: str, _received: int, _total: int | None) -> None:
    return None


def download(
    name: str,
    data_dir: Path,
    *,
    base_urls: Mapping[str, str] | None = None,
    report: Report = _silent,
    catalogue: Mapping[str, Entry] = CATALOGUE,
    attempts: int = 5,
    pause: float = 1.0,
    timeout: float = 30.0,
) -> Path:
    """Fetch the official files of a data set that are not there yet.

    A file in transit is ``NAME.part``; a later call goes on where it ends.

    Args:
        name: of a data set with official files.
        data_dir: the files go where `datasets.load` reads them.
        base_urls: data set -> a mirror in place of the official address.
        report: told of the progress.
        catalogue: the known data sets.
        attempts: in a row without progress before giving up.
        pause: seconds before asking again, doubled by each attempt in a row without progress.
        timeout: seconds without an answer that count as a cut connection.

    Returns:
        The folder of the files.

    Raises:
        UnknownName: for an unknown data set.
        InvalidValue: for a data set that comes with a package, or a mirror that is not http(s).
        DownloadFailed: if the server refuses, keeps breaking off, or has another file.
        CannotWrite: on a full disk or a forbidden folder.
    """
    entry = find(name, catalogue)
    base = _base_url(entry, base_urls or {})
    link = _Link(attempts, pause, timeout, report)
    missing = [file for file in entry.files if not _is_here(entry, file, data_dir)]
    if missing and entry.archive is not None:
        _fetch_archive(entry, entry.archive, missing, base, data_dir, link)
    elif missing:
        for file in missing:
            _fetch_zipped(entry, file, base, data_dir, link)
    return data_dir / entry.folder


def _base_url(entry: Entry, base_urls: Mapping[str, str]) -> str:
    if entry.layout == "package":
        rule = "it comes with scikit-learn and is not downloaded"
        raise InvalidValue(f"data set {entry.name!r}", rule, "pip install 'budbreak[digits]'")
    base = base_urls.get(entry.name, entry.url)
    if not base.startswith(("http://", "https://")):
        raise InvalidValue(f"the address of {entry.name} is {base!r}", "it begins with http:// or https://")
    return base if base.endswith("/") else f"{base}/"


def _is_here(entry: Entry, file: str, data_dir: Path) -> bool:
    """A file with other content counts as missing: the official one will take its name."""
    try:
        official_file(entry, file, data_dir)
    except (MissingData, CorruptFile):
        return False
    return True


def _fetch_zipped(entry: Entry, file: str, base: str, data_dir: Path, link: _Link) -> None:
    """One ``.gz``; the checksum is that of its content."""
    path = data_dir / entry.folder / file
    url, part = urljoin(base, f"{file}.gz"), path.with_name(f"{file}.gz.part")
    _fetch(url, part, link)
    try:
        content = gzip.decompress(part.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _not_official(url, part, f"it is no whole gzip file ({error})") from None
    if md5(content) != entry.files[file]:
        raise _not_official(url, part, f"the md5 of its content is {md5(content)}, not {entry.files[file]}")
    write_bytes(path, content)
    part.unlink()


def _fetch_archive(entry: Entry, archive: Archive, files: list[str], base: str, data_dir: Path, link: _Link) -> None:
    """One tar.gz, deleted after its files were taken out."""
    url, part = urljoin(base, archive.name), data_dir / f"{archive.name}.part"
    _fetch(url, part, link)
    with part.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != archive.md5:
        raise _not_official(url, part, f"its md5 is {found}, not {archive.md5}")
    try:
        taken = _take_out(entry, files, part, data_dir)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _not_official(url, part, f"it is no whole tar.gz ({error})") from None
    if set(files) - taken:
        raise _not_official(url, part, f"it lacks {', '.join(sorted(set(files) - taken))}")
    part.unlink()


def _take_out(entry: Entry, files: list[str], part: Path, data_dir: Path) -> set[str]:
    """Write the expected regular members whose checksum is right, and return their names.

    Members are read, never extracted: no path, link, mode or device of the archive reaches the disk.
    """
    wanted = {f"{entry.folder}/{file}": file for file in files}
    taken: set[str] = set()
    with tarfile.open(part, "r:gz") as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isreg() and member.name in wanted else None
            content = b"" if stream is None else stream.read()
            file = wanted.get(member.name, "")
            if stream is not None and md5(content) == entry.files[file]:
                write_bytes(data_dir / entry.folder / file, content)
                taken.add(file)
    return taken


def _not_official(url: str, part: Path, why: str) -> DownloadFailed:
    """Also deletes what arrived: resuming it could only end here again."""
    part.unlink(missing_ok=True)
    return DownloadFailed(
        f"{url}: {why}",
        "only the official file is kept; what arrived was deleted",
        "run the command again; if this repeats, the address serves something else: give a mirror",
    )


# --- one file over HTTP ------------------------------------------------------------------------------------


def _fetch(url: str, part: Path, link: _Link) -> None:
    """Receive a whole file into ``part``, in as many goes as it takes."""
    failures, most = 0, _size(part)
    while True:
        try:
            return _receive(url, part, link)
        except _Interrupted as cut:
            here = _size(part)
            failures = 0 if here > most else failures + 1
            most = max(most, here)
            if failures >= link.attempts:
                raise DownloadFailed(
                    f"{url}: {cut}; {here} bytes are here, and {failures} attempts in a row brought no more",
                    "a file is used only when it is whole",
                    f"check the connection and run the command again: it goes on from {part}",
                ) from cut
            time.sleep(link.pause * 2**failures)


def _receive(url: str, part: Path, link: _Link) -> None:
    """One request for what is missing.

    Raises:
        _Interrupted: if it ended before the file did.
    """
    start = _size(part)
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urlopen(request, timeout=link.timeout)
    except HTTPError as error:
        with error:
            if error.code == 416:  # nothing lies beyond what is here: whole, or of another file
                return _settle(part, start, error.headers.get("Content-Range", ""))
            raise _status_error(url, error) from None
    except (OSError, HTTPException) as error:
        raise _Interrupted(str(error) or type(error).__name__) from error
    with response:
        _append(response, part, start, link)
    return None


def _settle(part: Path, start: int, content_range: str) -> None:
    """After status 416: done if the server's file is as long as ours, else begin again."""
    if content_range.strip() != f"bytes */{start}":
        part.unlink()
        raise _Interrupted("what was here before does not fit the server's file")


def _status_error(url: str, error: HTTPError) -> Exception:
    if error.code in _TEMPORARY:
        return _Interrupted(f"the server answered {error.code} {error.reason}")
    return DownloadFailed(
        f"{url}: the server answered {error.code} {error.reason}",
        "the official file must be at this address",
        "give the base URL of a mirror, or copy the files into the data directory yourself",
    )


def _append(response: HTTPResponse, part: Path, start: int, link: _Link) -> None:
    """Add a response to what is here, or replace it if the server sends the file from its beginning."""
    resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    offset = start if resumed else 0
    length = response.headers.get("Content-Length")
    total = None if length is None else offset + int(length)
    stream = _open(part, "ab" if resumed else "wb")
    with stream:
        received = offset
        while chunk := _read(response):
            _write(stream, chunk, part)
            received += len(chunk)
            link.report(part.name.removesuffix(".part"), received, total)
    if total is not None and received < total:  # http.client ends such a response without an error
        raise _Interrupted(f"the connection was cut after {received} of {total} bytes")


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, HTTPException) as error:
        raise _Interrupted(str(error) or type(error).__name__) from error


def _open(part: Path, mode: str) -> IO[bytes]:
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        return part.open(mode)
    except OSError as error:
        raise _cannot_write(part, error) from error


def _write(stream: IO[bytes], chunk: bytes, part: Path) -> None:
    try:
        stream.write(chunk)
        stream.flush()
    except OSError as error:
        raise _cannot_write(part, error) from error


def _cannot_write(part: Path, error: OSError) -> CannotWrite:
    rule = "a download needs room for the file and its content"
    return CannotWrite(f"cannot write {part}: {error.strerror or error}", rule, "free some space or choose a folder")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
