"""Fetching official data sets: resumed where the connection was cut, named only when the checksum is right."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urljoin

from budbreak.data.catalogue import CATALOGUE, Entry, find
from budbreak.data.datasets import md5, official_file, unzip
from budbreak.data.fetching import Link, fetch
from budbreak.errors import CannotRead, CorruptFile, DownloadFailed, InvalidValue, MissingData
from budbreak.files import read_bytes, write_bytes


def download(
    name: str,
    data_dir: Path,
    *,
    base_urls: Mapping[str, str] | None = None,
    catalogue: Mapping[str, Entry] = CATALOGUE,
    link: Link = Link(),
) -> Path:
    """Fetch the official files of a data set that are not there yet.

    A file in transit is ``NAME.part``; a later call goes on where it ends.

    Args:
        name: of a data set with official files.
        data_dir: the files go where `datasets.load` reads them.
        base_urls: data set -> a mirror in place of the official address.
        catalogue: the known data sets.
        link: how the server is asked, and who is told of the progress.

    Returns:
        The folder of the files.

    Raises:
        UnknownName: for an unknown data set.
        InvalidValue: for a data set that comes with a package or is not handed out, or a mirror that is not http(s).
        DownloadFailed: if the server refuses, keeps breaking off, is too slow, or has another or a larger file.
        CannotWrite: on a full disk or a forbidden folder.
    """
    entry = find(name, catalogue)
    base, folder = _base_url(entry, base_urls or {}), data_dir / entry.folder
    missing = [file for file in entry.files if not _is_here(entry, file, data_dir)]
    if entry.archive is None:
        for file in missing:
            part = folder / f"{file}.gz.part"
            with _received(urljoin(base, f"{file}.gz"), part, link, most=entry.largest):
                _unzip(entry, file, part)
    elif missing:
        part = data_dir / f"{entry.archive.name}.part"
        with _received(urljoin(base, entry.archive.name), part, link, most=entry.archive.size):
            _check_archive(part, entry.archive.md5)
            _take_out(entry, missing, part, folder)
    return folder


def _base_url(entry: Entry, base_urls: Mapping[str, str]) -> str:
    if entry.layout == "package":
        rule = "it comes with scikit-learn and is not downloaded"
        raise InvalidValue(f"data set {entry.name!r}", rule, "pip install 'budbreak[digits]'")
    if not entry.url:
        rule = "its files are not handed out to everybody, and not downloaded"
        raise InvalidValue(f"data set {entry.name!r}", rule, f"{entry.by_hand}; they go into DIR/{entry.folder}")
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


@contextlib.contextmanager
def _received(url: str, part: Path, link: Link, *, most: int) -> Generator[None, None, None]:
    """A file that is taken apart meanwhile and deleted then; a ValueError says why it is not the official one.

    That is deleted as well: resuming it could only end here again.
    """
    fetch(url, part, link, most=most)
    try:
        yield
    except ValueError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise DownloadFailed(
            f"{url}: {error}",
            "only the official file is kept; what arrived was deleted",
            "run the command again; if this repeats, the address serves something else: give a mirror",
        ) from None
    part.unlink()


def _unzip(entry: Entry, file: str, part: Path) -> None:
    """One ``.gz``; the checksum is that of its content."""
    content = unzip(read_bytes(part, largest=entry.largest), entry.largest)
    if md5(content) != entry.files[file]:
        raise ValueError(f"the md5 of its content is {md5(content)}, not {entry.files[file]}")
    write_bytes(part.with_name(file), content)


def _check_archive(part: Path, wanted: str) -> None:
    with part.open("rb") as stream:
        checksum = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if checksum != wanted:
        raise ValueError(f"its md5 is {checksum}, not {wanted}")


def _take_out(entry: Entry, files: Sequence[str], part: Path, folder: Path) -> None:
    """Write the wanted regular members of a tar.gz whose checksum is right.

    Members are read, never extracted: no path, link, mode or device of the archive reaches the disk.
    """
    wanted = {f"{entry.folder}/{file}": file for file in files}
    lacking = set(files)
    try:
        with tarfile.open(part, "r:gz") as archive:
            for member in archive:
                file = wanted.get(member.name)
                if file is None or not member.isreg() or member.size > entry.largest:
                    continue
                stream = archive.extractfile(member)
                content = b"" if stream is None else stream.read()
                if md5(content) == entry.files[file]:
                    write_bytes(folder / file, content)
                    lacking.discard(file)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"it is no whole tar.gz ({error})") from None
    if lacking:
        raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
