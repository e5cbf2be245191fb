import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from budbreak.errors import BudbreakError, MissingData, StoreBusy
from budbreak.studies import load_result, look_ahead, run
from budbreak.studies.recipe import make_recipe
from budbreak.studies.run import RunFailed

ROOT = Path(__file__).parent.parent.parent
TINY = {
    "name": "tiny", "dataset": "digits", "network": "mlp", "train_limit": 200, "epochs": 2, "levels": 2, "seeds": 2,
    "learning_rate": 0.05, "batch_size": 50, "dnr_images": 100,
}  # fmt: skip


def digests(folder: Path) -> dict[str, list[str]]:
    """Job -> the hashes of the weights at the end of each training."""
    import json

    paths = sorted(folder.glob("*/jobs/*/records.json"))
    return {p.parent.name: [r["end_digest"] for r in json.loads(p.read_text())["records"]] for p in paths}


def test_arms_share_the_dense_level_keep_equally_many_and_differ_after_it(tmp_path):
    recipe = make_recipe({**TINY, "arms": ["host", "ap-lite", "ap-pro", "host-split", "host-retrain"], "seeds": 1})
    result = run(recipe, data_dir=None, out=tmp_path, workers=1)
    by_arm = {arm: [level for level in result.levels if level.arm == arm] for arm in recipe.arms}
    assert result.complete
    for arm, levels in by_arm.items():
        assert [level.level for level in levels] == [0, 1, 2]
        assert [level.kept for level in levels] == [level.kept for level in by_arm["host"]]
        assert all(all(level.invariants.values()) for level in levels)
        trainings = 1 if arm in ("host", "ap-lite") else 2
        assert [level.epochs for level in levels] == [2, 2 * trainings, 2 * trainings]
    first = {arm: hashes[0] for arm, hashes in digests(tmp_path).items()}
    last = {arm: hashes[-1] for arm, hashes in digests(tmp_path).items()}
    assert len(set(first.values())) == 1
    assert len(set(last.values())) == 5


def test_what_is_recorded(tmp_path):
    recipe = make_recipe({**TINY, "seeds": 1})
    result = run(recipe, data_dir=None, out=tmp_path, workers=1)
    assert load_result(tmp_path / recipe.folder_name) == result
    level = result.levels[1]
    # 200 images in batches of 50, 2 epochs; epoch 0 is right after rewinding
    assert (level.steps, [epoch.epoch for epoch in level.curve]) == (8, [0, 1, 2])
    assert "train_loss" not in level.curve[0].numbers
    assert sum(layer.kept for layer in level.layers) == level.kept
    m = level.numbers
    assert m["dead_units_dynamic_alive"] == pytest.approx(m["dead_units_dynamic"] / (1 - m["dead_units_static"]))
    assert 0 < m["test_accuracy"] <= 1


def test_the_folder_of_another_recipe_is_refused_and_a_complete_run_is_not_run_again(tmp_path):
    recipe = make_recipe({**TINY, "seeds": 1, "levels": 1})
    run(recipe, data_dir=None, out=tmp_path, workers=1)
    before = digests(tmp_path)
    seen = []
    run(recipe, data_dir=None, out=tmp_path, workers=1, report=seen.append)
    assert (seen, digests(tmp_path)) == ([], before)


def test_a_job_that_fails_does_not_take_the_others_with_it(tmp_path):
    recipe = make_recipe({**TINY, "learning_rate": 1e30, "levels": 1})
    with pytest.raises(RunFailed) as caught:
        run(recipe, data_dir=None, out=tmp_path, workers=1)
    assert str(caught.value).count("the loss is") == 4
    assert "Traceback" not in str(caught.value)


def test_missing_data_is_said_before_anything_runs(tmp_path):
    recipe = make_recipe({**TINY, "dataset": "mnist", "network": "lenet-300-100"})
    with pytest.raises(MissingData, match="budbreak data get mnist"):
        look_ahead(recipe, data_dir=tmp_path, out=tmp_path)


COMMAND = [sys.executable, "-m", "budbreak", "run", "recipes/digits-mlp.toml", "--seeds", "1", "--levels", "3"]
COMMAND += ["--epochs", "6", "--milestones", "4", "--arms", "ap-lite,ap-pro"]


def started(out: Path, *extra: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, "--out", str(out), *extra],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # where the tests themselves run in the background, SIGINT is ignored, and children would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_checkpoints(out: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    """Until some job has written about so many checkpoints, by their modification times."""
    seen: set[int] = set()
    while len(seen) < count and process.poll() is None:
        seen |= {p.stat().st_mtime_ns for p in out.glob("*/jobs/*/checkpoint.safetensors") if p.exists()}
        time.sleep(0.005)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_with_the_same_bits(tmp_path):
    assert started(tmp_path / "straight", "--workers", "2").wait() == 0
    broken = tmp_path / "broken"
    for kill, after in ((signal.SIGKILL, 3), (signal.SIGTERM, 9), (signal.SIGINT, 7)):
        process = started(broken, "--workers", "2")
        wait_for_checkpoints(broken, after, process)
        os.kill(process.pid, kill)
        assert process.wait() in (-signal.SIGKILL, 143, 130)
        time.sleep(0.5)  # orphaned workers notice that their parent is gone
    assert started(broken, "--workers", "2").wait() == 0
    assert digests(broken) == digests(tmp_path / "straight")
    assert len(digests(broken)) == 2


def test_lost_notes_leave_the_levels_and_say_so(tmp_path):
    recipe = make_recipe({**TINY, "seeds": 1, "levels": 1, "arms": ["host"]})
    run(recipe, data_dir=None, out=tmp_path, workers=1)
    next(tmp_path.glob("*/jobs/*/notes.json")).unlink()
    result = run(recipe, data_dir=None, out=tmp_path, workers=1)
    assert [level.level for level in result.levels] == [0, 1]
    assert result.levels[0].layers == ()
    assert result.levels[0].numbers["test_accuracy"] > 0
    assert "notes.json of this job was lost" in result.levels[0].notes[0]


def test_the_curve_of_a_rewound_pro_has_no_gap(tmp_path):
    recipe = make_recipe({**TINY, "seeds": 1, "levels": 1, "epochs": 3, "rewind_epoch": 1, "arms": ["ap-pro"]})
    result = run(recipe, data_dir=None, out=tmp_path, workers=1)
    # two trainings of two epochs; the second begins, measured again after its rewind, where the first ended
    assert [epoch.epoch for epoch in result.levels[1].curve] == [0, 1, 2, 2, 3, 4]
    assert result.levels[1].steps == 2 * 2 * 4


def test_a_criterion_may_have_fields_that_no_recipe_has(tmp_path, monkeypatch):
    from dataclasses import dataclass

    from budbreak import Scores, criteria
    from budbreak.evidence import Weights

    @dataclass(frozen=True)
    class Powered:
        power: float = 2.0
        seed: int = 5
        needs = (Weights(),)

        def __call__(self, evidence):
            return Scores.elementwise(lambda w: w.abs() ** self.power, evidence[Weights()])

    monkeypatch.setattr(criteria, "ALL", (*criteria.ALL, Powered))
    recipe = make_recipe({**TINY, "criterion": "powered"})
    from budbreak.studies.making import make_plan

    plan = make_plan(recipe, "host", seed=3, steps=4)
    assert plan.criterion == Powered(power=2.0, seed=3)


def test_the_weights_of_a_factory_are_its_own(tmp_path, monkeypatch):
    (tmp_path / "given_nets.py").write_text(
        "import torch\nfrom torch import nn\n\n"
        "def make(classes):\n"
        "    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes))\n"
        "    nn.init.constant_(model[1].weight, 0.125)\n"
        "    return model\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from budbreak.data import load
    from budbreak.networks import build

    recipe = make_recipe({**TINY, "network": "given_nets:make"})
    assert recipe.init == "own"
    assert make_recipe(TINY).init == "kaiming"
    model = build(recipe.network, load("digits"), init=recipe.init, seed=0)
    assert set(model.state_dict()["1.weight"].flatten().tolist()) == {0.125}


def test_a_finished_job_leaves_its_weights_for_any_tool(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file

    from budbreak.data import load
    from budbreak.networks import build

    recipe = make_recipe({**TINY, "seeds": 1})
    run(recipe, data_dir=None, out=tmp_path, workers=1)
    for job in (tmp_path / recipe.folder_name / "jobs").iterdir():
        state = load_file(job / "model.safetensors")
        build("mlp", load("digits"), seed=0).load_state_dict(state)  # plain keys
        kept = sum(int(state[name].count_nonzero()) for name in load_mask(job))
        assert kept == sum(int(entry.sum()) for entry in load_mask(job).values())
        with safe_open(job / "model.safetensors", framework="pt") as opened:
            assert opened.metadata() == {"format": "pt"}
    path = job / "model.safetensors"
    before = path.read_bytes()
    path.unlink()
    assert run(recipe, data_dir=None, out=tmp_path, workers=1).complete
    assert path.read_bytes() == before


def load_mask(job):
    from budbreak.masks import Mask

    return Mask.load(job / "masks/level-002.safetensors")


@pytest.mark.parametrize("what", ["folder", "job"])
def test_a_folder_that_is_moved_during_the_run_is_an_error(what, tmp_path):
    recipe = make_recipe({**TINY, "seeds": 1, "arms": ["host"]})
    folder = tmp_path / recipe.folder_name
    moved = folder if what == "folder" else folder / "jobs/host-seed0"

    def move(event):
        if event.done == event.total and "test_accuracy" in event.metrics and moved.exists():
            moved.rename(tmp_path / "elsewhere")

    with pytest.raises(BudbreakError, match="while it runs"):
        run(recipe, data_dir=None, out=tmp_path, workers=1, report=move)


def test_a_second_command_is_refused_and_the_first_goes_on(tmp_path):
    recipe = make_recipe({**TINY, "seeds": 1, "arms": ["host"]})
    refused = []

    def second(event):
        if not refused:
            with pytest.raises(StoreBusy, match=r"another process is writing to .*tiny-"):
                run(recipe, data_dir=None, out=tmp_path, workers=1)
            refused.append(True)

    assert run(recipe, data_dir=None, out=tmp_path, workers=1, report=second).complete
    assert refused


def test_what_a_killed_process_left_half_written_is_swept_at_the_start(tmp_path):
    recipe = make_recipe({**TINY, "seeds": 1, "arms": ["host"], "levels": 1})
    run(recipe, data_dir=None, out=tmp_path, workers=1)
    folder = tmp_path / recipe.folder_name
    (folder / "figures").mkdir()
    left = [folder, folder / "figures", folder / "jobs/host-seed0", folder / "jobs/host-seed0/masks"]
    for place in left:
        (place / ".some.svg.0123abcd.budbreak-unfinished").write_text("half")
        (place / ".hers").write_text("not ours")
    run(recipe, data_dir=None, out=tmp_path, workers=1)
    assert sorted(path.name for path in folder.rglob(".*")) == [".hers"] * len(left)
