"""Files that are whole or absent: atomic writes, sweeping, locks, checksums."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Collection, Generator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from budbreak.checks import shown
from budbreak.errors import CannotRead, CannotWrite, CorruptFile, InvalidValue, StoreBusy, StoreMismatch

if TYPE_CHECKING:
    from filelock import FileLock

UNFINISHED = ".budbreak-unfinished"
RESTORE = "restore it from a copy, or delete it"


@contextlib.contextmanager
def atomic(path: Path) -> Generator[IO[bytes], None, None]:
    """Open a file that takes its name only when it is complete and on disk; its mode is what the umask says.

    Raises:
        CannotWrite: on a full disk or a forbidden folder; an older file stays as it was.
    """
    # part of the name is enough: a name as long as the system allows leaves no room for more
    temporary = path.parent / f".{path.name[:40]}.{secrets.token_hex(4)}{UNFINISHED}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except (OSError, ValueError) as error:  # ValueError: a null character in a path
        raise cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Delete what a process killed while writing left behind in a folder: for who holds its lock.

    Only files with the ending that `atomic` gives; no link is followed, that of the folder neither.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    for entry in os.scandir(folder):
        if entry.name.startswith(".") and entry.name.endswith(UNFINISHED) and entry.is_file(follow_symlinks=False):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(entry.path)


class FolderLock:
    """That one process writes to a folder: held until `release`, or until this object or the process ends.

    Args:
        folder: which is made where it is missing.
        name: of the file that is locked; locks of different names do not know each other.
    """

    def __init__(self, folder: Path, name: str = "lock") -> None:
        self.path = folder / name
        self._held: FileLock | None = None

    def take(self, *, wait: bool = False) -> None:
        """Make the folder and hold it. A link in the place of the lock is refused, its target left alone.

        Args:
            wait: whether to wait, as long as it takes, for the process that holds it; it is asked for every 0.2 s.

        Raises:
            StoreBusy: if a living process holds it, and ``wait`` is false.
            CannotWrite: if the folder or the lock cannot be made, or the file system has no locks.
        """
        from filelock import FileLock, Timeout

        # thread_local would keep it held when another thread releases it; preserve_lock_file keeps filelock from
        # marker files where there is no flock: they outlive a killed process
        lock = FileLock(self.path, thread_local=False, preserve_lock_file=True)
        try:
            lock.acquire(blocking=wait, poll_interval=0.2)
        except Timeout:
            raise StoreBusy(
                f"another process is writing to {self.path.parent}",
                "one folder has one writer",
                "wait for it or stop it, or give another folder",
            ) from None
        except (OSError, ValueError) as error:
            if self.path.is_symlink():
                raise CannotWrite(f"{self.path} is a link", "a lock is a file of its own", "delete it") from error
            raise cannot_write(self.path, error) from error
        self._held = lock

    def release(self) -> None:
        """Let another process take it."""
        if self._held is not None:
            self._held.release()
            self._held = None


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` atomically."""
    with atomic(path) as stream:
        stream.write(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def as_path(path: object) -> Path:
    """The path of a file.

    Raises:
        InvalidValue: for what is none.
    """
    if isinstance(path, str | os.PathLike):
        return Path(cast("str | os.PathLike[str]", path))
    raise InvalidValue(f"path is {shown(path)}", "it is the path of a file", "write it as text, or as a Path")


def check_readable(path: Path, *, largest: int | None = None) -> None:
    """Refuse what is no file, or is larger than ``largest`` bytes, before it is opened: a pipe would be waited for.

    Raises:
        FileNotFoundError: if there is nothing.
        CannotRead: if it is no file, or the system refuses.
        CorruptFile: if it is larger.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise cannot_read(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        value = f"{path} is {'a folder' if stat.S_ISDIR(status.st_mode) else 'no regular file'}"
        raise CannotRead(value, "a file is wanted here", "give the path of one")
    if largest is not None and status.st_size > largest:
        raise corrupt(path, f"it has {status.st_size} bytes, and such a file has at most {largest}")


def read_bytes(path: Path, *, largest: int) -> bytes:
    """The content of a file of at most ``largest`` bytes.

    Raises:
        FileNotFoundError, CannotRead, CorruptFile: see `check_readable`.
    """
    check_readable(path, largest=largest)
    try:
        return path.read_bytes()
    except OSError as error:
        raise cannot_read(path, error) from error


def parse(text: str) -> Any:
    """A JSON value; of what is no JSON, or none that we write, every complaint is a ValueError.

    Raises:
        ValueError: also for containers within containers without end, and numbers of hundreds of digits.
    """
    try:
        return json.loads(text, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def canonical(value: object) -> str:
    """One text for one value: sorted keys, no spaces, floats by their shortest exact form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: object) -> str:
    """The SHA-256 of a JSON value, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def check_marks(
    path: Path, wanted: tuple[str, Collection[str | None] | None], marks: tuple[Any, Any], remedy: str = RESTORE
) -> None:
    """Compare the kind and the store that a file names with those that are wanted.

    Raises:
        CorruptFile, StoreMismatch: see `read_json`.
    """
    if marks[0] != wanted[0]:
        raise corrupt(path, f"it is of kind {marks[0]!r}, and {wanted[0]!r} is wanted", remedy)
    if wanted[1] is not None and marks[1] not in wanted[1]:
        raise StoreMismatch(
            f"{path} belongs to another store or run ({str(marks[1])[:12]})",
            "each file carries the identity of the store that it was written for",
            remedy,
        )


def corrupt(path: Path, why: str, remedy: str = RESTORE) -> CorruptFile:
    """The error for a file that is not what it should be."""
    return CorruptFile(f"{path}: {why}", "a file is used only if it is exactly what was written", remedy)


def cannot_read(path: Path, error: Exception) -> CannotRead:
    """The error for a file that the system refuses to give."""
    return CannotRead(
        f"cannot read {path}: {getattr(error, 'strerror', None) or error}",
        "a file must be readable for the user who runs this",
        "check the path and its permissions",
    )


def _whole(digits: str) -> int:
    if len(digits) > 300:  # such a number is none of ours, and no float could hold it
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)


def cannot_write(path: Path, error: Exception) -> CannotWrite:
    """The error for a file that the system refuses to take."""
    number = getattr(error, "errno", None)
    fix = "free some space or choose another folder"
    if number in (errno.ENOTDIR, errno.EEXIST, errno.ENOENT):
        fix = "give a folder: something else is in its place"
    elif number == errno.EISDIR:
        fix = "give another name: this one is a folder's"
    elif number in (errno.EACCES, errno.EPERM, errno.EROFS):
        fix = "give yourself the right to it, or choose another folder"
    return CannotWrite(
        f"cannot write {path}: {getattr(error, 'strerror', None) or error}",
        "a result is kept only when its file is complete; the file from before is untouched",
        f"{fix}, then run the same command again",
    )
