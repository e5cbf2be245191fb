"""The folder in which an iteration survives: identity, checkpoints, records, masks."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from budbreak.checks import shown
from budbreak.errors import CannotWrite, CorruptFile, InvalidValue, StoreMismatch
from budbreak.files import FolderLock, cannot_read, corrupt, digest, read_json, read_tree, sweep, write_json, write_tree
from budbreak.iteration.checkpoint import WHAT_TO_DO, Checkpoint, RecordsFile
from budbreak.iteration.identity import differences, mask_digest, numerical_environment
from budbreak.iteration.levelrecord import LevelRecord
from budbreak.iteration.levelweights import BEGIN_AGAIN, KEPT_KIND, LevelWeights
from budbreak.iteration.rewindpoint import NO_REWIND_POINT, RewindPoint
from budbreak.masks import Mask

IDENTITY_KIND, RECORDS_KIND = "identity 1", "records 1"
_TREES = {
    "checkpoint": ("checkpoint 1", WHAT_TO_DO),
    "previous": ("checkpoint 1", "restore it from a copy, or begin again in another folder"),
    "rewind": ("rewind point 1", NO_REWIND_POINT),
}
_WRITTEN_AGAIN = "delete it: it is written again from the checkpoint"


@dataclass(frozen=True)
class IdentityFile:
    """What ``identity.json`` holds: what the iteration is, and what it ran in."""

    identity: dict[str, Any]
    environment: dict[str, Any]


def read_identity(folder: Path) -> IdentityFile:
    """What the store in a folder says that it is.

    Raises:
        CorruptFile, StoreMismatch: if the file is not what was written.
        FileNotFoundError: if there is none.
    """
    path = folder / "identity.json"
    remedy = "restore it from a copy; or delete it, and the same call writes it again if the other files belong to it"
    content = read_json(path, IDENTITY_KIND, IdentityFile, remedy=remedy)
    read_json(path, IDENTITY_KIND, IdentityFile, stores={digest(content.identity)}, remedy=remedy)
    return content


def read_records(folder: Path, store: str | None) -> tuple[LevelRecord, ...]:
    """The trainings that are over, as ``records.json`` has them; none where there is no such file.

    Args:
        folder: of the store.
        store: its identity, which the file must carry.
    """
    path = folder / "records.json"
    try:
        return read_json(path, RECORDS_KIND, RecordsFile, stores={store}, remedy=_WRITTEN_AGAIN).records
    except FileNotFoundError:
        return ()


class Store:
    """One iteration's folder. Files in it are whole or absent, and each carries the store's identity.

    ``identity.json``: what the iteration is; ``checkpoint.safetensors`` and the one before it,
    ``previous.safetensors``: all that is needed to go on; ``rewind.safetensors``: the snapshot to rewind to;
    ``records.json``: the levels so far; ``masks/level-003.safetensors``: the mask of each level;
    ``weights/level-003.safetensors``: its weights, where all are kept.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.identity: str | None = None
        self._lock = FolderLock(self.folder)

    def open(self, identity: dict[str, Any]) -> None:
        """Take the store for this process and this iteration.

        Raises:
            StoreBusy: if a living process holds it.
            StoreMismatch: if it was written by another plan, model, optimizer or seed; names the difference.
        """
        plain = json.loads(json.dumps(identity))
        self._lock.take()
        try:
            sweep(self.folder)  # what a process that was killed while writing left behind
            sweep(self.folder / "masks")
            sweep(self.folder / "weights")
            self.identity = digest(plain)
            path = self.folder / "identity.json"
            if _exists(path):
                self._compare(read_identity(self.folder), plain)
            else:
                body = {"identity": plain, "environment": numerical_environment()}
                write_json(path, body, IDENTITY_KIND, store=self.identity)
        except BaseException:
            self.close()
            raise

    def look(self) -> dict[str, Any]:
        """Take on the identity that the folder names, and return it: to read only, beside a living writer.

        Raises:
            FileNotFoundError: if it names none.
        """
        identity = read_identity(self.folder).identity
        self.identity = digest(identity)
        return identity

    def load_rewind_point(self, steps: int, wanted: RewindPoint) -> RewindPoint:
        """The stored snapshot to rewind to; ``wanted`` itself while its step has not come.

        Raises:
            CorruptFile: if the file is damaged, of another step, or lost.
        """
        path, tree = self.path("rewind"), self.load("rewind")
        if tree is None and steps < wanted.step.count:
            return wanted
        if tree is None:
            raise corrupt(path, f"it is missing, though step {wanted.step.count} is over", NO_REWIND_POINT)
        point = RewindPoint.from_tree(tree, path)
        if point.step.count != wanted.step.count:
            raise corrupt(path, f"it is of step {point.step.count}, not {wanted.step.count}", NO_REWIND_POINT)
        return point

    def close(self) -> None:
        """Let another process take it."""
        self._lock.release()

    def load(self, name: str) -> Any | None:
        """The tree of one of the safetensors files, or None if there is none yet.

        Raises:
            CorruptFile: if the file is not exactly what was written.
            StoreMismatch: if it was written for another store.
        """
        kind, remedy = _TREES[name]
        try:
            return read_tree(self.path(name), kind, stores={self.identity}, remedy=remedy)
        except FileNotFoundError:
            return None

    def path(self, name: str) -> Path:
        """Where one of the safetensors files lies."""
        return self.folder / f"{name}.safetensors"

    def load_checkpoint(self) -> tuple[Checkpoint, Path] | None:
        """The newest checkpoint and its file; the one before it where the newest was deleted."""
        for name in ("checkpoint", "previous"):
            tree = self.load(name)
            if tree is not None:
                return Checkpoint.from_tree(tree, self.path(name)), self.path(name)
        return None

    def save_checkpoint(self, tree: Any) -> None:
        """Write a checkpoint; the last one becomes ``previous``, so that at each moment one is whole."""
        path = self.path("checkpoint")
        try:
            if path.exists():
                path.replace(self.path("previous"))
        except OSError as error:
            raise CannotWrite(
                f"cannot write to {self.folder}: {error.strerror or error}",
                "a store is a folder of its own in which files can be made and renamed",
                "choose another folder",
            ) from error
        self.save("checkpoint", tree)

    def save(self, name: str, tree: Any) -> None:
        """Write one safetensors file."""
        write_tree(self.path(name), tree, _TREES[name][0], store=self.identity)

    def save_records(self, records: Sequence[LevelRecord]) -> None:
        """Write what people read: the records so far."""
        body = {"records": [asdict(record) for record in records]}
        write_json(self.folder / "records.json", body, RECORDS_KIND, store=self.identity)

    def save_mask(self, level: int, mask: Mask) -> None:
        """Write the mask of a level."""
        mask.save(self._mask_path(level), store=self.identity)

    def load_mask(self, level: int) -> Mask:
        """The mask of a level.

        Raises:
            MissingData, CorruptFile, StoreMismatch, CannotRead: see `Mask.load`.
        """
        return Mask.load(self._mask_path(level), store=self.identity)

    def save_weights(self, weights: LevelWeights, mask: Mask) -> None:
        """Write the weights of a level; those that its mask prunes take no room."""
        write_tree(self.weights_path(weights.level), weights.tree(mask), KEPT_KIND, store=self.identity)

    def load_weights(self, level: int) -> LevelWeights | None:
        """Those of a level; None where they were not kept.

        Raises:
            CorruptFile, StoreMismatch, CannotRead: if the file cannot be used.
            MissingData: if the mask of the level is not there.
        """
        path = self.weights_path(level)
        try:
            tree = read_tree(path, KEPT_KIND, stores={self.identity}, remedy=BEGIN_AGAIN)
        except FileNotFoundError:
            return None
        return LevelWeights.from_tree(tree, level, path, lambda: self.load_mask(level))

    def has_weights(self, level: int) -> bool:
        """Whether those of a level were kept."""
        return _exists(self.weights_path(level))

    def weights_path(self, level: int) -> Path:
        """Where those of a level lie, if they were kept."""
        return self.folder / "weights" / f"level-{level:03d}.safetensors"

    def levels_kept(self) -> list[int]:
        """The levels whose weights were kept."""
        names = [path.stem.removeprefix("level-") for path in (self.folder / "weights").glob("level-*.safetensors")]
        return sorted(int(name) for name in names if name.isdecimal())

    def check_masks(self, records: Sequence[LevelRecord]) -> None:
        """Refuse the mask of a level that is not the one in the records. One that was deleted is not missed.

        Raises:
            CorruptFile, StoreMismatch: with what to do about it.
        """
        remedy = (
            "restore it from a copy, or delete it: nothing is computed from it, only the file of this level is lost"
        )
        for record in records:
            path = self._mask_path(record.level)
            if not record.last_stage or not _exists(path):
                continue
            try:
                mask = self.load_mask(record.level)
            except (CorruptFile, StoreMismatch) as error:
                raise type(error)(error.value, error.rule, remedy) from None
            if mask_digest(mask) != record.mask_digest:
                raise CorruptFile(
                    f"{path} is not the mask of level {record.level}", "the record has its digest", remedy
                )

    def _mask_path(self, level: int) -> Path:
        return self.folder / "masks" / f"level-{level:03d}.safetensors"

    def _compare(self, stored: IdentityFile, identity: dict[str, Any]) -> None:
        changed = differences(stored.identity, identity)
        if changed:
            more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
            raise StoreMismatch(
                f"{self.folder} was written by another iteration: {changed[0]}{more}",
                "a store belongs to one plan, model, optimizer, seed and start",
                remedy_for(changed[0], "give another store, or delete this one"),
            )
        warn_of_changes(self.folder, stored, "as without the interruption")


def check_folder(name: str, folder: object, example: str) -> None:
    """Refuse what is no path of a folder.

    Raises:
        InvalidValue: with what to write.
    """
    if not isinstance(folder, str | os.PathLike) or folder == "" or "\0" in str(folder):
        raise InvalidValue(f"{name} is {shown(folder)}", "it is a folder: a str or a Path", f'write {name}="{example}"')


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise cannot_read(path, error) from error


def warn_of_changes(folder: Path, stored: IdentityFile, bits: str) -> None:
    """Say that a store was written in another environment, where its results may differ in the last bits."""
    moved = differences(stored.environment, numerical_environment())
    if moved:
        warnings.warn(
            f"{folder}: the environment has changed: {'; '.join(moved)}. Going on is right, but the same "
            f"bits {bits} are promised only within one environment.",
            stacklevel=3,
        )


def remedy_for(difference: str, otherwise: str) -> str:
    """What to do about the first difference between two identities."""
    if difference.startswith("weights: "):
        return "build the model anew, after torch.manual_seed(...) or from the same file; or give another store"
    return otherwise
