"""A recipe on a Ray cluster of two nodes, one of which dies in the middle: the results are those of a local run."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from budbreak.recipes import make_recipe
from budbreak.studies import Choice, Place, run

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.slow

TINY = {
    "name": "tiny",
    "seeds": 2,
    "data": {"name": "digits", "limit": 400},
    "network": {"name": "mlp"},
    "train": {"epochs": 6, "batch_size": 50},
    "prune": {"schedule": {"is": "geometric", "rate": 0.3, "levels": 2}},
    "arms": {"host": {}, "ap": {"prune.then": ["ap"]}},
}


def chosen(out: Path, executor: str) -> Choice:
    recipe = make_recipe(TINY)
    place = Place((out / "tasks").resolve(), None, 1)
    return Choice(recipe, recipe.arms, out, place, executor, None if executor == "ray" else 1)


def digests(out: Path) -> dict[str, list[str]]:
    """Folder of each task -> the hashes of weights and masks at the end of each of its trainings."""
    files = sorted((out / "tasks").glob("*/records.json"))
    records = {file.parent.name: json.loads(file.read_text(encoding="utf-8"))["records"] for file in files}
    return {name: [row["end_digest"] + row["mask_digest"] for row in rows] for name, rows in records.items()}


@pytest.fixture
def cluster(monkeypatch):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    cluster.shutdown()


def test_a_node_that_dies_changes_no_bit_of_a_run(cluster, tmp_path):
    node = cluster.add_node(num_cpus=1)
    there, here = tmp_path / "there", tmp_path / "here"
    seen, killed, told, before = [], [], [], signal.getsignal(signal.SIGTERM)

    def kill_in_the_middle(event):
        seen.append((event.task, event.level, event.epoch))
        running = {task for task, level, epoch in seen if level == 0 and epoch >= 2}
        if not killed and len(running) == 2:  # the two dense trainings, one on each node
            killed.append(seen[-1])
            cluster.remove_node(node, allow_graceful=False)

    result = run(chosen(there, "ray"), report=kill_in_the_middle, working=told.append)
    assert killed
    assert result.complete
    assert signal.getsignal(signal.SIGTERM) == before
    assert max(map(len, told)) == 2
    assert {task for tasks in told for task in tasks} == {
        f"{arm} seed {seed}" for arm in ("dense of host", "host", "ap") for seed in (0, 1)
    }
    assert told[-1] == {}
    local = run(chosen(here, "here"))
    assert digests(there) == digests(here) != {}
    assert [level.numbers for level in result.levels] == [level.numbers for level in local.levels]
