"""Fetching official data sets: resumed where the connection was cut, named only when the checksum is right."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urljoin

from budbreak.data.catalogue import CATALOGUE, Archive, Entry, find
from budbreak.data.datasets import md5, official_file, unzip
from budbreak.data.fetching import Link, Report, fetch, silent
from budbreak.errors import CannotRead, CorruptFile, DownloadFailed, InvalidValue, MissingData
from budbreak.files import read_bytes, write_bytes


def download(
    name: str,
    data_dir: Path,
    *,
    base_urls: Mapping[str, str] | None = None,
    report: Report = silent,
    catalogue: Mapping[str, Entry] = CATALOGUE,
    attempts: int = 5,
    pause: float = 1.0,
    timeout: float = 30.0,
    deadline: float | None = None,
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
        deadline: seconds for each file; a minute, and its size at 10 kB/s, if None.

    Returns:
        The folder of the files.

    Raises:
        UnknownName: for an unknown data set.
        InvalidValue: for a data set that comes with a package, or a mirror that is not http(s).
        DownloadFailed: if the server refuses, keeps breaking off, is too slow, or has another or a larger file.
        CannotWrite: on a full disk or a forbidden folder.
    """
    entry = find(name, catalogue)
    base = _base_url(entry, base_urls or {})
    link = Link(attempts, pause, timeout, deadline, report)
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
    except (MissingData, CorruptFile, CannotRead):
        return False
    return True


def _fetch_zipped(entry: Entry, file: str, base: str, data_dir: Path, link: Link) -> None:
    """One ``.gz``; the checksum is that of its content."""
    path = data_dir / entry.folder / file
    url, part = urljoin(base, f"{file}.gz"), path.with_name(f"{file}.gz.part")
    fetch(url, part, link, most=entry.largest)
    try:
        content = unzip(read_bytes(part, largest=entry.largest), entry.largest)
    except ValueError as error:
        raise _not_official(url, part, str(error)) from None
    if md5(content) != entry.files[file]:
        raise _not_official(url, part, f"the md5 of its content is {md5(content)}, not {entry.files[file]}")
    write_bytes(path, content)
    part.unlink()


def _fetch_archive(entry: Entry, archive: Archive, files: list[str], base: str, data_dir: Path, link: Link) -> None:
    """One tar.gz, deleted after its files were taken out."""
    url, part = urljoin(base, archive.name), data_dir / f"{archive.name}.part"
    fetch(url, part, link, most=archive.size)
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
            stream = archive.extractfile(member) if member.name in wanted and _fits(member, entry) else None
            content = b"" if stream is None else stream.read()
            file = wanted.get(member.name, "")
            if stream is not None and md5(content) == entry.files[file]:
                write_bytes(data_dir / entry.folder / file, content)
                taken.add(file)
    return taken


def _fits(member: tarfile.TarInfo, entry: Entry) -> bool:
    return member.isreg() and member.size <= entry.largest


def _not_official(url: str, part: Path, why: str) -> DownloadFailed:
    """Also deletes what arrived: resuming it could only end here again."""
    with contextlib.suppress(OSError):
        part.unlink(missing_ok=True)
    return DownloadFailed(
        f"{url}: {why}",
        "only the official file is kept; what arrived was deleted",
        "run the command again; if this repeats, the address serves something else: give a mirror",
    )
