"""Runs that search, killed in each of their phases: they end with the same bits."""

import json
import os
import signal
from pathlib import Path

import pytest

import forking
from budbreak.cli import guarded
from budbreak.studies import Event, run
from small import choose, digests, small

pytestmark = pytest.mark.slow
PHASES = ("trial", "finalist", "tuning", "tuned", "final")
SEARCH = {
    "prune.schedule": {"is": "one-shot", "sparsity": 0.8},
    "train.epochs": 4,
    "activations": {"space": ["relu", "swish", "tanh"], "trials": 3, "epochs": 3, "finalists": 1, "trainable": True},
    "tune": {"space": {"batch_size": {"choose": [32, 64, 128]}}, "trials": 3, "epochs": 3, "finalists": 1},
}


def carry_out(out: Path, phase: str, kill: int) -> int:
    """A run that sends itself a signal in the midst of the first task of a kind; its exit code."""

    def report(event: Event) -> None:
        if list(out.glob(f"tasks/{phase}-*/checkpoint.safetensors")):
            os.kill(os.getpid(), kill)

    return guarded(lambda: int(not run(choose(small(SEARCH), out), report=report).complete))


def found_by(out: Path) -> dict[str, object]:
    """Folder of a trial -> its candidate and scores, without what the clock says."""
    trials = {path.parent.name: json.loads(path.read_text()) for path in out.glob("tasks/*/trial.json")}
    return {name: {**trial["trial"], "seconds": 0} for name, trial in trials.items()}


def test_a_search_killed_in_each_of_its_phases_ends_with_the_same_bits(tmp_path):
    out, straight = tmp_path / "out", tmp_path / "straight"
    for place, phase in enumerate(PHASES):
        kill, code = ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130))[place % 2]
        assert forking.end(forking.start(carry_out, out, phase, kill)) == code, phase
    for folder in (out, straight):
        assert run(choose(small(SEARCH), folder)).complete
    assert digests(out) == digests(straight)
    assert found_by(out) == found_by(straight)
    assert len(found_by(out)) == 8
    assert not list(out.rglob("*budbreak-unfinished"))
