"""Level 0 taken over from another store: the same bits as training it, and nothing taken that does not fit."""

import dataclasses
import json
import logging
import shutil
import threading

import pytest
import torch
from small_runs import STEPS_PER_EPOCH, Parts, geometric, outcome, run
from torch import nn

import budbreak as bb
from budbreak.errors import CannotRead, CorruptFile, InvalidValue, StoreMismatch
from budbreak.files import digest, read_tree
from budbreak.iteration import read_records
from budbreak.iteration.store import read_identity

PRO = [bb.ActivateWhilePruning(q=0.05, variant="pro")]
LEVEL_ZERO = 2 * STEPS_PER_EPOCH


class Killed(BaseException):
    """Ends a run in this process as a kill would, but for what ``finally`` does."""


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.ERROR, logger="budbreak.iteration")


def train_dense(folder, plan, make=Parts, **options):
    """The dense store for a plan, as a user makes one."""
    parts, history = run(make(), plan.dense, store=folder, **options)
    assert [record.level for record in history] == [0]
    assert parts.steps == LEVEL_ZERO
    return folder


PLANS = {
    "rewind to 0": geometric(),
    "rewind to 3, AP pro": geometric(then=PRO, rewind_to=bb.Step(3)),
    "rewind to the end of level 0": geometric(rewind_to=bb.Step(LEVEL_ZERO)),
    "AP lite": geometric(then=[bb.ActivateWhilePruning(q=0.05)]),
    "learning rate": geometric(rewind_to="learning-rate"),
    "fine-tuning": geometric(rewind_to=None),
    "units": geometric(
        granularity=bb.Unit(), scope=bb.masks.Layer(), criterion=bb.criteria.Taylor(), rewind_to=bb.Step(2)
    ),
    "three trainings": geometric(then=[*PRO, bb.Train()], criterion=bb.criteria.Random(seed=4)),
    "another layer only": geometric(prunable=bb.including("4.*"), allow_collapse=True),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_an_arm_that_takes_level_0_over_ends_with_the_bits_of_one_that_trained_it(tmp_path, plan):
    dense = train_dense(tmp_path / "dense", plan)
    straight = outcome(*run(Parts(), plan, store=tmp_path / "straight"))
    levels = []
    arm = Parts()
    taken = outcome(
        *run(arm, plan, store=tmp_path / "arm", dense=dense, each_level=lambda _, level: levels.append(level.number))
    )
    assert taken == straight
    assert arm.steps == len(levels) * LEVEL_ZERO
    assert 0 not in levels
    files = [sorted(path.relative_to(store) for path in store.rglob("*.*")) for store in _stores(tmp_path)]
    assert files[0] == files[1]
    one, other = (read_identity(store) for store in _stores(tmp_path))
    assert one == other


def _stores(folder):
    return [folder / "straight", folder / "arm"]


def test_what_is_stored_after_the_takeover_is_what_training_would_have_stored(tmp_path):
    plan = geometric(granularity=bb.Unit(), rewind_to=bb.Step(3))
    for store in _stores(tmp_path):
        dense = {"dense": train_dense(tmp_path / "dense", plan)} if store.name == "arm" else {}
        with pytest.raises(Killed):
            run(Parts(), plan, store=store, each_level=_stop_at(1), **dense)
    trees = [_tree(store, "previous") for store in _stores(tmp_path)]  # of the end of level 0
    assert [tree["position"].pop("seconds") > 0 for tree in trees] == [True, True]
    assert [tree["records"][0].pop("seconds") > 0 for tree in trees] == [True, True]
    assert _plain(trees[0]) == _plain(trees[1])
    assert _plain(_tree(tmp_path / "arm", "rewind")) == _plain(_tree(tmp_path / "straight", "rewind"))
    counted = trees[1]["records"][0]
    assert (counted["counted"], counted["counted_total"], trees[1]["position"]["alive"]) == ("units", 12, 12)
    assert list(counted["spared"]) == ["4.weight"]


def _stop_at(number):
    def each_level(parts, level):
        if level.number == number:
            raise Killed

    return each_level


def _tree(store, name):
    kind = {"rewind": "rewind point 1"}.get(name, "checkpoint 1")
    return read_tree(store / f"{name}.safetensors", kind, stores={digest(read_identity(store).identity)})


def _plain(tree):
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_plain(item) for item in tree]
    return tree.tolist() if hasattr(tree, "tolist") else tree


def test_the_record_of_level_0_keeps_its_seconds_and_metrics(tmp_path):
    dense = train_dense(tmp_path / "dense", geometric())
    (record,) = read_records(dense, digest(read_identity(dense).identity))
    _, history = run(Parts(), geometric(), store=tmp_path / "arm", dense=dense)
    assert history[0] == record
    assert dict(record.metrics)["accuracy"] > 0.5


def test_a_schedule_sees_the_metrics_of_the_level_that_was_taken_over(tmp_path):
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Watching:
        levels: int = 1

        def __call__(self, progress):
            seen.append((progress.step, dict(progress.metrics[0])))
            return 0.5

    plan = bb.Plan(schedule=Watching())
    dense = train_dense(tmp_path / "dense", plan)
    run(Parts(), plan, store=tmp_path / "straight")
    trained, seen[:] = list(seen), []
    run(Parts(), plan, store=tmp_path / "arm", dense=dense)
    assert seen == trained
    assert trained[0][0] == LEVEL_ZERO


@pytest.mark.parametrize("after", [1, LEVEL_ZERO // 2 + 1, LEVEL_ZERO + 1, 2 * LEVEL_ZERO + 3])
def test_an_arm_that_is_killed_after_the_takeover_goes_on_to_the_same_bits(tmp_path, after):
    plan = geometric(then=PRO, rewind_to=bb.Step(3))
    dense = train_dense(tmp_path / "dense", plan)
    straight = outcome(*run(Parts(), plan))

    def dying(parts, x):
        if parts.steps == after:
            raise Killed

    with pytest.raises(Killed):
        run(Parts(), plan, store=tmp_path / "arm", dense=dense, each=dying)
    shutil.rmtree(dense)  # no longer needed
    assert outcome(*run(Parts(), plan, store=tmp_path / "arm", dense=dense)) == straight


@pytest.mark.parametrize("method", ["save", "save_checkpoint", "save_mask", "save_records"])
def test_a_takeover_that_is_stopped_at_a_write_begins_again(tmp_path, monkeypatch, method):
    plan = geometric(rewind_to=bb.Step(3))
    dense = train_dense(tmp_path / "dense", plan)
    straight = outcome(*run(Parts(), plan))
    with monkeypatch.context() as patch:
        patch.setattr(bb.iteration.Store, method, lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run(Parts(), plan, store=tmp_path / "arm", dense=dense)
    arm = Parts()
    assert outcome(*run(arm, plan, store=tmp_path / "arm", dense=dense)) == straight
    assert arm.steps == 2 * LEVEL_ZERO


def test_an_arm_that_had_begun_its_own_level_0_goes_on_with_it(tmp_path):
    dense = train_dense(tmp_path / "dense", geometric())
    with pytest.raises(Killed):
        run(Parts(), geometric(), store=tmp_path / "arm", each=lambda parts, x: _kill(parts.steps == 6))
    arm = Parts()
    run(arm, geometric(), store=tmp_path / "arm", dense=dense)
    assert arm.steps == 3 * LEVEL_ZERO - STEPS_PER_EPOCH


def _kill(now):
    if now:
        raise Killed


def test_several_arms_take_over_from_one_store_at_once_and_leave_it_alone(tmp_path):
    plans = [geometric(), geometric(3), geometric(then=PRO), geometric(granularity=bb.Unit(), scope=bb.masks.Layer())]
    dense = train_dense(tmp_path / "dense", plans[0])
    before = {path: path.read_bytes() for path in dense.rglob("*") if path.is_file()}
    with Parts().iterate(plans[0].dense, store=dense):  # even beside one that holds its lock
        for index, plan in enumerate(plans):
            taken = outcome(*run(Parts(), plan, store=tmp_path / str(index), dense=dense, also={"arm": index}))
            assert taken == outcome(*run(Parts(), plan))
    assert {path: path.read_bytes() for path in dense.rglob("*") if path.is_file()} == before


def test_a_store_can_be_read_by_several_at_once(tmp_path):
    """Entering alone, in threads: no lock stands in the way."""
    dense = train_dense(tmp_path / "dense", geometric())
    parts = [Parts() for _ in range(4)]
    barrier, ended = threading.Barrier(4), []

    def enter(index):
        barrier.wait()
        with parts[index].iterate(geometric(), store=tmp_path / str(index), dense=dense) as levels:
            ended.append(levels.history[0].end_digest)

    threads = [threading.Thread(target=enter, args=(index,)) for index in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(ended) == 4
    assert len(set(ended)) == 1


def test_the_calibration_set_loss_and_also_may_differ(tmp_path):
    plan = geometric(criterion=bb.criteria.Gradient())
    dense = train_dense(tmp_path / "dense", plan, batches=None, loss=None, also={"arm": "dense"})
    run(Parts(), plan, store=tmp_path / "arm", dense=dense, also={"arm": "gradient"})
    with pytest.raises(StoreMismatch, match="also"):
        run(Parts(), plan, store=tmp_path / "arm", dense=dense, also={"arm": "another"})


def test_a_start_mask_is_taken_over(tmp_path):
    def start(parts):
        return bb.Mask({"0.weight": torch.rand(12, 8) < 0.7, "4.weight": torch.ones(3, 12, dtype=torch.bool)})

    torch.manual_seed(5)
    mask = start(None)
    dense = train_dense(tmp_path / "dense", geometric(), mask=mask)
    straight = outcome(*run(Parts(), geometric(), mask=mask))
    assert outcome(*run(Parts(), geometric(), mask=mask, store=tmp_path / "arm", dense=dense)) == straight
    with pytest.raises(StoreMismatch, match="whose level 0 is another one: mask: "):
        run(Parts(), geometric(), store=tmp_path / "other", dense=dense)


def test_it_says_where_level_0_came_from(tmp_path, caplog):
    dense = train_dense(tmp_path / "dense", geometric())
    caplog.set_level(logging.WARNING, logger="budbreak.iteration")
    with Parts().iterate(geometric(), store=tmp_path / "arm", dense=dense) as levels:
        assert levels.resumed == f"going on from level 0 of 2, stage 0: done, taken over from {dense}"
    assert str(dense) in caplog.text


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return train_dense(tmp_path_factory.mktemp("dense"), geometric())


class Gelu(Parts):
    def __init__(self):
        super().__init__()
        self.model[2] = nn.GELU()


class Steps(Parts):
    def __init__(self):
        super().__init__()
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 3)


OTHERS = {
    "width": (lambda: Parts(hidden=13), geometric(), {}, "model.0.weight[0][0]: 12 -> 13"),
    "activation": (Gelu, geometric(), {}, "modules.2: 'ReLU()' -> "),
    "learning rate": (lambda: Parts(lr=0.2), geometric(), {}, "optimizer.groups[0].learning_rate: 0.1 -> 0.2"),
    "resets": (Steps, geometric(), {}, "resets[0]"),
    "seed": (Parts, geometric(), {"seed": 1}, "seed: 0 -> 1"),
    "prunable": (Parts, geometric(prunable=bb.masks.every_weight), {}, "plan.prunable"),
    "rewind": (Parts, geometric(rewind_to=bb.Step(2)), {}, "plan.rewind_to: (not given) -> {"),
    "no rewind": (Parts, geometric(rewind_to=None), {}, "plan.rewind_to: (not given) -> None"),
    "learning-rate": (Parts, geometric(rewind_to="learning-rate"), {}, "plan.rewind_to"),
    "masked gradients": (Parts, geometric(), {"mask_grads": True}, "mask_grads: None -> True"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_level_0_is_refused_and_nothing_is_begun(tmp_path, finished, what):
    make, plan, options, words = OTHERS[what]
    with pytest.raises(StoreMismatch, match="whose level 0 is another one") as caught:
        run(make(), plan, store=tmp_path / "arm", dense=finished, **options)
    assert words in str(caught.value)
    assert "give another dense store, or leave dense out" in str(caught.value)
    parts, history = run(make(), plan, store=tmp_path / "arm", **options)  # it was let go of, and is fresh
    assert len(history) == 3
    assert parts.steps == 3 * LEVEL_ZERO


def test_other_starting_weights_are_refused_with_what_to_do(tmp_path, finished):
    with pytest.raises(StoreMismatch, match=r"another one: weights: .*\n.*\nbuild the model anew"):
        run(Parts(seed=1), geometric(), store=tmp_path / "arm", dense=finished)


def test_a_level_0_that_is_not_over_is_refused(tmp_path):
    with pytest.raises(StoreMismatch, match=r"which holds no store\n.*\nmake one: with iterate\(.*plan\.dense"):
        run(Parts(), geometric(), store=tmp_path / "arm", dense=tmp_path / "nothing")
    with pytest.raises(Killed):
        run(Parts(), geometric().dense, store=tmp_path / "dense", each=lambda parts, x: _kill(parts.steps == 6))
    with pytest.raises(StoreMismatch, match="which has not finished level 0"):
        run(Parts(), geometric(), store=tmp_path / "arm", dense=tmp_path / "dense")
    (tmp_path / "dense" / "checkpoint.safetensors").unlink()
    (tmp_path / "dense" / "previous.safetensors").unlink()
    with pytest.raises(StoreMismatch, match="which has not finished level 0"):
        run(Parts(), geometric(), store=tmp_path / "arm", dense=tmp_path / "dense")
    run(Parts(), geometric().dense, store=tmp_path / "dense")
    arm = Parts()
    run(arm, geometric(), store=tmp_path / "arm", dense=tmp_path / "dense")
    assert arm.steps == 2 * LEVEL_ZERO


def test_a_store_beyond_level_0_is_refused(tmp_path):
    run(Parts(), geometric(), store=tmp_path / "whole")
    with pytest.raises(StoreMismatch, match=r"which has gone on to level 2\n.*is not kept\nmake one"):
        run(Parts(), geometric(3), store=tmp_path / "arm", dense=tmp_path / "whole")


def test_a_damaged_dense_store_is_refused_by_the_name_of_its_file(tmp_path, finished):
    for name in ("checkpoint.safetensors", "rewind.safetensors", "identity.json"):
        dense = tmp_path / name / "dense"
        shutil.copytree(finished, dense)
        data = (dense / name).read_bytes()
        (dense / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(CorruptFile, match=rf"dense/{name}"):
            run(Parts(), geometric(), store=tmp_path / name / "arm", dense=dense)
    (tmp_path / "lost").mkdir()
    shutil.copytree(finished, tmp_path / "lost" / "dense")
    (tmp_path / "lost" / "dense" / "rewind.safetensors").unlink()
    with pytest.raises(CorruptFile, match=r"dense/rewind\.safetensors: it is missing, though step 0 is over"):
        run(Parts(), geometric(), store=tmp_path / "lost" / "arm", dense=tmp_path / "lost" / "dense")
    with pytest.raises(CannotRead):
        run(Parts(), geometric(), store=tmp_path / "arm", dense=finished / "identity.json")


def test_a_level_0_that_was_too_short_to_rewind_to_is_refused(tmp_path):
    plan = geometric(rewind_to=bb.Step(LEVEL_ZERO + 1))
    with pytest.raises(InvalidValue, match="level 0 ended earlier"):
        run(Parts(), plan.dense, store=tmp_path / "dense")
    with pytest.raises(InvalidValue, match="level 0 ended earlier"):
        run(Parts(), plan, store=tmp_path / "arm", dense=tmp_path / "dense")


def test_another_environment_warns(tmp_path, finished):
    dense = tmp_path / "dense"
    shutil.copytree(finished, dense)
    body = json.loads((dense / "identity.json").read_text())
    body["environment"]["threads"] = 7
    del body["sha256"]
    (dense / "identity.json").write_text(json.dumps({**body, "sha256": digest(body)}))
    with pytest.warns(UserWarning, match="environment has changed: threads: 7 -> 1.*bits of training level 0 here"):
        run(Parts(), geometric(), store=tmp_path / "arm", dense=dense)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dense": "d"}, r"dense is 'd'\nlevel 0 is taken over into a store\ngive store= as well"),
        ({"dense": "", "store": "s"}, r"dense is ''\nit is a folder"),
        ({"dense": 3, "store": "s"}, r"dense is 3\nit is a folder"),
        ({"dense": "d\0", "store": "s"}, r"dense is 'd\\x00'\nit is a folder"),
        ({"dense": "d", "store": "s\0"}, r"store is 's\\x00'\nit is a folder"),
        ({"dense": "./s", "store": "s"}, r"dense is '\./s'\nit is the store of another iteration"),
    ],
)
def test_a_dense_that_cannot_work_is_refused_before_anything_is_done(tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValue, match=words):
        Parts().iterate(geometric(), **options)
    assert not list(tmp_path.iterdir())


def test_a_dense_that_is_a_link_to_itself_is_refused(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(CannotRead, match=r"cannot read .*loop/identity\.json"):
        run(Parts(), geometric(), store=tmp_path / "arm", dense=tmp_path / "loop")


# --- a plan of level 0 alone --------------------------------------------------------------------------------


def test_the_dense_plan_keeps_what_decides_level_0_and_nothing_else():
    plan = geometric(
        3,
        then=PRO,
        prunable=bb.masks.every_weight,
        rewind_to=bb.Step(2),
        criterion=bb.criteria.Taylor(),
        scope=bb.masks.Layer(),
    )
    assert plan.dense == bb.Plan(schedule=bb.schedules.Dense(), prunable=bb.masks.every_weight, rewind_to=bb.Step(2))
    assert plan.dense.dense == plan.dense
    assert plan.dense.levels == 0
    assert eval(repr(bb.schedules.Dense()), vars(bb.schedules)) == bb.schedules.Dense()


def test_a_dense_plan_can_be_previewed_trained_and_trained_again():
    plan = geometric().dense
    text = str(plan.preview(Parts().model, example=torch.zeros(1, 8)))
    assert "    0  100.00%        132" in text
    assert "1 trainings" in text
    parts, history = run(Parts(), plan)
    assert parts.steps == LEVEL_ZERO
    assert [(r.level, r.density, r.last_stage) for r in history] == [(0, 1.0, True)]


def test_a_finished_dense_store_is_gone_on_from(tmp_path):
    train_dense(tmp_path, geometric())
    with Parts().iterate(geometric().dense, store=tmp_path) as levels:
        assert list(levels) == []
        assert levels.resumed == "going on from level 0 of 0: nothing left to train (trainings of 2 epochs)"
