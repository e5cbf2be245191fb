"""The folder in which an iteration survives: identity, checkpoints, records, masks."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from budbreak.errors import CannotWrite, StoreBusy, StoreMismatch
from budbreak.iteration.identity import differences, environment
from budbreak.iteration.record import LevelRecord
from budbreak.mask import Mask
from budbreak.storage import read_json, read_tree, write_json, write_tree

try:
    import fcntl
except ImportError:  # Windows has no flock: there, two processes on one store are not noticed
    fcntl = None


class Store:
    """One iteration's folder. Files in it are whole or absent.

    ``identity.json``: what the iteration is; ``checkpoint.safetensors`` and the one before it,
    ``previous.safetensors``: all that is needed to go on; ``rewind.safetensors``: the snapshot to rewind to;
    ``records.json``: the levels so far; ``masks/level-003.safetensors``: the mask of each level.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._lock: IO[str] | None = None

    def open(self, identity: dict[str, Any]) -> None:
        """Take the store for this process and this iteration.

        Raises:
            StoreBusy: if a living process holds it.
            StoreMismatch: if it was written by another plan, model, optimizer or seed; names the difference.
        """
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._take_lock()
        try:
            for pattern in (".*.safetensors.*", ".*.json.*"):  # of a process that was killed while writing
                for left_behind in self.folder.rglob(pattern):
                    left_behind.unlink()
            path = self.folder / "identity.json"
            if path.exists():
                self._compare(read_json(path), json.loads(json.dumps(identity)))
            else:
                write_json(path, {"identity": identity, "environment": environment()})
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another process take it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def load(self, name: str) -> Any | None:
        """The tree of one of the safetensors files, or None if there is none yet.

        Raises:
            CorruptFile: if the file is not exactly what was written.
        """
        path = self.folder / f"{name}.safetensors"
        return read_tree(path) if path.exists() else None

    def load_checkpoint(self) -> Any | None:
        """The newest checkpoint; the one before it where the newest was deleted."""
        newest = self.load("checkpoint")
        return self.load("previous") if newest is None else newest

    def save_checkpoint(self, tree: Any) -> None:
        """Write a checkpoint; the last one becomes ``previous``, so that at each moment one is whole."""
        path = self.folder / "checkpoint.safetensors"
        if path.exists():
            with self._writing():
                path.replace(self.folder / "previous.safetensors")
        write_tree(path, tree)

    def save(self, name: str, tree: Any) -> None:
        """Write one safetensors file."""
        write_tree(self.folder / f"{name}.safetensors", tree)

    def save_level(self, records: Sequence[LevelRecord], mask: Mask) -> None:
        """Write what people read: the records so far, and the mask of the level that ended last."""
        mask.save(self.folder / "masks" / f"level-{records[-1].level:03d}.safetensors")
        write_json(self.folder / "records.json", {"records": [asdict(record) for record in records]})

    @contextlib.contextmanager
    def _writing(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            raise CannotWrite(
                f"cannot write to {self.folder}: {error.strerror or error}",
                "a store is a folder of its own in which files can be made and renamed",
                "choose another folder",
            ) from error

    def _take_lock(self) -> None:
        if fcntl is None:
            return
        lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise StoreBusy(
                f"another process is writing to {self.folder}",
                "one iteration has one writer",
                "wait for it or stop it, or give another store",
            ) from None
        self._lock = lock

    def _compare(self, body: dict[str, Any], identity: dict[str, Any]) -> None:
        changed = differences(body["identity"], identity)
        if changed:
            more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
            raise StoreMismatch(
                f"{self.folder} was written by another iteration: {changed[0]}{more}",
                "a store belongs to one plan, model, optimizer and seed",
                "give another store, or delete this one",
            )
        moved = differences(body["environment"], environment())
        if moved:
            warnings.warn(
                f"{self.folder}: the environment has changed: {'; '.join(moved)}. Going on is right, but the same "
                "bits as without the interruption are promised only within one environment.",
                stacklevel=2,
            )
