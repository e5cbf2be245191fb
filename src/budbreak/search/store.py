"""The folder in which a search survives: what it is, and a file for each trial that is over."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from budbreak.errors import StoreMismatch
from budbreak.files import FolderLock, corrupt, digest, read_json, sweep, write_json
from budbreak.iteration import IdentityFile, differences, numerical_environment, warn_of_changes
from budbreak.search.space import SearchSpace
from budbreak.search.trial import History, Trial
from budbreak.search.tuning_space import TuningSpace

SEARCH_KIND, TRIAL_KIND = "search 2", "trial 2"


@dataclass(frozen=True)
class _TrialFile:
    """What the file of a trial holds."""

    trial: Trial


class SearchStore:
    """The trials of one search: ``search.json`` says what it is, ``trials/0007.json`` is the trial of that number.

    Files are whole or absent, and carry the identity of the search.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._identity = ""
        self._lock = FolderLock(self.folder)

    def open(self, identity: dict[str, Any], space: SearchSpace | TuningSpace) -> History:
        """Take the store for this process and this search, and give the trials that are over.

        Raises:
            StoreBusy: if a living process holds it.
            StoreMismatch: if it was written by another search; names the difference.
            CorruptFile: if a file is not what was written, or a trial is missing.
        """
        plain = json.loads(json.dumps(identity))
        self._lock.take()
        try:
            self._identity = digest(plain)
            sweep(self.folder)
            sweep(self.folder / "trials")
            self._check(plain)
            return self._read(space)
        except BaseException:
            self.close()
            raise

    def add(self, number: int, trial: Trial) -> None:
        """Write a trial that is over.

        Raises:
            CannotWrite: on a full disk or a forbidden folder.
        """
        write_json(self._path(number), {"trial": asdict(trial)}, TRIAL_KIND, store=self._identity)

    def close(self) -> None:
        """Let another process take it."""
        self._lock.release()

    def _check(self, identity: dict[str, Any]) -> None:
        path = self.folder / "search.json"
        try:
            stored = read_json(path, SEARCH_KIND, IdentityFile)
        except FileNotFoundError:
            body = {"identity": identity, "environment": numerical_environment()}
            write_json(path, body, SEARCH_KIND, store=self._identity)
            return
        changed = differences(stored.identity, identity)
        if changed:
            more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
            raise StoreMismatch(
                f"{self.folder} was written by another search: {changed[0]}{more}",
                "a store belongs to one space, sampler, seed, model and mask",
                "give another store, or delete this one",
            )
        warn_of_changes(self.folder, stored, "as without the interruption")

    def _read(self, space: SearchSpace | TuningSpace) -> History:
        count = len(list((self.folder / "trials").glob("[0-9]*.json")))
        return History(tuple(self._read_trial(number, space) for number in range(count)))

    def _read_trial(self, number: int, space: SearchSpace | TuningSpace) -> Trial:
        path, remedy = self._path(number), "restore it from a copy, or delete it and all trials after it"
        try:
            trial = read_json(path, TRIAL_KIND, _TrialFile, stores={self._identity}, remedy=remedy).trial
        except FileNotFoundError:
            raise corrupt(path, "it is missing, though there are later ones", remedy) from None
        if trial.candidate not in space.candidates:
            raise corrupt(path, f"its candidate {list(trial.candidate)} is not in the space", remedy)
        return trial

    def _path(self, number: int) -> Path:
        return self.folder / "trials" / f"{number:04d}.json"
