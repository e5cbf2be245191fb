"""Short command lines that the tests of the command share."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DIGITS = str(ROOT / "recipes/digits-mlp.toml")


def sets(**values: object) -> list[str]:
    """Options that set fields: ``train__epochs=2`` is ``--set train.epochs=2``."""
    pairs = [(name.replace("__", "."), value) for name, value in values.items()]
    return [word for path, value in pairs for word in ("--set", f"{path}={value}")]


QUICK = [
    *sets(prune__schedule__levels=1, train__epochs=2, train__schedule="constant", data__limit=200),
    *("--seeds", "2", "--workers", "1"),
]
TINY = [
    *sets(prune__schedule__levels=1, train__epochs=1, train__schedule="constant", data__limit=100),
    *("--seeds", "1", "--arms", "host"),
]


def task_of(folder: Path, arm: str, seed: int = 0) -> Path:
    """The folder of the task that holds an arm of a run under a seed."""
    names = json.loads((folder / "tasks.json").read_text())["tasks"]
    return folder.parent / "tasks" / names[f"{arm} seed {seed}"]


def tasks_in(out: Path) -> dict[str, list[str]]:
    """Kind of task -> names of their folders."""
    names = sorted(path.name for path in (out / "tasks").iterdir())
    return {kind: [name for name in names if name.startswith(kind)] for kind in ("dense", "levels")}


def stamps(out: Path) -> dict[str, int]:
    """Files of all tasks, locks apart -> when they were written."""
    files = [path for path in (out / "tasks").rglob("*") if path.is_file() and "lock" not in path.name]
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in files}
