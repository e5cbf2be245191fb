"""Files that another library writes by path, whole or absent: written aside, moved when they are complete."""

from __future__ import annotations

import contextlib
import errno
import glob
import importlib
import os
import secrets
import shutil
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from budbreak.errors import BudbreakError
from budbreak.files.storage import UNFINISHED, cannot_write

_DAY = 86400.0  # seconds


@contextlib.contextmanager
def staging(path: Path) -> Generator[Path, None, None]:
    """Give a path of the same name in a folder of its own; what lies in that folder at the end moves beside ``path``.

    Whatever is raised inside, nothing is moved, and the folder is gone; that of a killed process goes the next day.
    Where there are several files (weights beside a network), the one of the name of ``path`` comes last, after an older
    one went: it is there only if the others are, and these are its own. One process at a time moves its files.

    Args:
        path: where the file goes; an older one is replaced.

    Raises:
        CannotWrite: on a full disk or a forbidden folder; older files stay as they were.
    """
    aside = path.parent / f".{path.name[:40]}.{secrets.token_hex(4)}{UNFINISHED}"
    try:
        with _said(path, ValueError):  # which a null character in a path is
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep(path)
            aside.mkdir()
        with _said(path):
            yield aside / path.name
            _move(aside, path)
    finally:
        with contextlib.suppress(ValueError):
            shutil.rmtree(aside, ignore_errors=True)


def _sweep(path: Path) -> None:
    """Delete what a process left behind that was killed while it wrote the same file, a day ago or more."""
    for one in path.parent.glob(f".{glob.escape(path.name[:40])}.*{UNFINISHED}"):
        with contextlib.suppress(OSError):  # another process may be faster
            if one.lstat().st_mtime < time.time() - _DAY and not one.is_symlink():
                shutil.rmtree(one, ignore_errors=True)


@contextlib.contextmanager
def _said(path: Path, *more: type[Exception]) -> Generator[None, None, None]:
    try:
        yield
    except BudbreakError:
        raise
    except (OSError, *more) as error:
        raise cannot_write(path, error) from error


def _move(aside: Path, path: Path) -> None:
    written = sorted(aside.iterdir(), key=lambda one: (one.name == path.name, one.name))
    for one in written:
        with one.open("rb+") as stream:
            os.fsync(stream.fileno())
    for target in (path.parent / one.name for one in written):
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    with _alone_in(path.parent):
        if len(written) > 1:
            path.unlink(missing_ok=True)  # killed below, it would be read with new files beside it
        for one in written:
            one.replace(path.parent / one.name)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Generator[None, None, None]:
    """Hold a folder itself: a lock's file would stay beside what was written. Where there is no such lock, go on."""
    try:
        fcntl: Any = importlib.import_module("fcntl")  # not there on Windows
        held = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        with contextlib.suppress(OSError):  # of a file system without locks
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_UN)  # a process that was forked meanwhile has it, too
        os.close(held)
