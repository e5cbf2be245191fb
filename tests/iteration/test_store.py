import contextlib
import errno
import os
import pathlib
import shutil
import signal
import time

import killed_run
import pytest
import torch
from killed_run import PLAN
from small_runs import STEPS_PER_EPOCH, Parts, geometric, outcome, run
from torch import nn

import budbreak as bb
import forking
from budbreak.errors import BudbreakError, CannotWrite, CorruptFile, InvalidValue, NotFinite, StoreBusy, StoreMismatch
from budbreak.files import digest
from budbreak.iteration import read_records
from budbreak.iteration.store import read_identity

FULL = PLAN  # host, AP pro, rewinding to step 3


class Killed(BaseException):
    """Ends a run in this process as a kill would, but for what ``finally`` does."""


@pytest.fixture(scope="module")
def straight():
    """What the uninterrupted run gives."""
    return outcome(*run(Parts(), FULL))


def killed(store, moment):
    """How a run ends that is to be killed at this moment, and what it said."""
    said = store.parent / "errors"
    code = forking.end(forking.start(killed_run.main, store, store.parent / "out", moment, errors=said))
    assert not (store.parent / "out").exists()
    return code, said.read_text()


# --- real processes -----------------------------------------------------------------------------------------


def test_killed_again_and_again_in_writes_steps_and_renames(tmp_path, straight):
    """A campaign plays many more."""
    store = tmp_path / "store"
    for moment in ("write:9", "rename:3", "SIGTERM@step:6", "SIGINT@rename:3"):
        code, errors = killed(store, moment)
        name = moment.rpartition("@")[0] or "SIGKILL"
        assert code == -getattr(signal, name) or (name == "SIGINT" and code == 1), errors
    parts = Parts()
    assert outcome(*run(parts, FULL, store=store)) == straight
    assert 0 < parts.steps < 5 * 2 * STEPS_PER_EPOCH
    assert not [path.name for path in store.rglob(".*")], "nothing half-written is left behind"


def test_two_processes_do_not_share_a_store(tmp_path):
    first = forking.start(killed_run.main, tmp_path, tmp_path / "out", "SIGSTOP@step:3")
    try:
        deadline = time.monotonic() + 300
        while not (tmp_path / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(StoreBusy, match="another process is writing to"):
            run(Parts(), FULL, store=tmp_path)
    finally:
        first.kill()
        forking.end(first)
    run(Parts(), FULL, store=tmp_path)  # a killed process holds nothing


# --- in this process: every moment --------------------------------------------------------------------------


def dying(count):
    """An ``each`` that ends the run after ``count`` steps."""

    def each(parts, x):
        if parts.steps == count:
            raise Killed

    return each


@pytest.mark.parametrize("plain_range", [False, True])
def test_ended_after_every_step_it_resumes_to_the_same_bits(tmp_path, plain_range):
    straight = outcome(*run(Parts(), FULL, plain_range=plain_range))
    total = 5 * 2 * STEPS_PER_EPOCH  # trainings: level 0, and two in levels 1 and 2
    for count in range(1, total + 1, 5):  # 5 and an epoch's 4 have no common divisor: every place in an epoch
        store = tmp_path / str(count)
        with contextlib.suppress(Killed):
            run(Parts(), FULL, store=store, each=dying(count), plain_range=plain_range)
        resumed = Parts()
        assert outcome(*run(resumed, FULL, store=store, plain_range=plain_range)) == straight, count
        # no more is done twice than the epoch (or, without level.epochs, the training) in which it ended
        lost = 2 * STEPS_PER_EPOCH if plain_range else STEPS_PER_EPOCH
        assert total - count <= resumed.steps <= total - count + lost, count


@pytest.mark.parametrize("count", [3, 6, 18, 22])  # in the first and in the second epoch of a training
def test_what_a_script_draws_outside_its_epochs_does_not_matter(tmp_path, count):
    """It looks at a random batch before the levels, and at the start of each."""

    def once(store=None, each=None):
        parts, own = Parts(), torch.Generator()
        parts.loader.generator = own
        with parts.iterate(FULL, store=store, resets=[parts.scheduler, own]) as levels:
            torch.rand(3)
            torch.rand(3, generator=own)
            for level in levels:
                torch.rand(level.number + 1)
                torch.rand(level.number + 1, generator=own)
                for _ in level.epochs(2):
                    parts.epoch(each)
        return outcome(parts, levels.history)

    with contextlib.suppress(Killed):
        once(tmp_path, dying(count))
    assert once(tmp_path) == once()


def files_touched(monkeypatch, action):
    """Call ``action(what, count)`` before every fsync and rename."""
    seen = {"fsync": 0, "rename": 0}
    fsync, rename = os.fsync, pathlib.Path.replace

    def counted(what, go_on):
        def call(*args):
            seen[what] += 1
            action(what, seen[what])
            return go_on(*args)

        return call

    monkeypatch.setattr(os, "fsync", counted("fsync", fsync))
    monkeypatch.setattr(pathlib.Path, "replace", counted("rename", rename))
    return seen


def moments(tmp_path):
    """How many fsyncs and renames an uninterrupted run makes."""
    with pytest.MonkeyPatch.context() as patch:
        seen = files_touched(patch, lambda *_: None)
        run(Parts(), FULL, store=tmp_path / "counted")
    return dict(seen)


@pytest.mark.parametrize(("how", "kind"), [("killed", "rename"), ("full disk", "fsync")])
def test_ended_in_any_write_it_resumes_to_the_same_bits(tmp_path, straight, kind, how):
    def end(what, number):
        if (what, number) == (kind, count):
            raise Killed if how == "killed" else OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    total = moments(tmp_path)[kind]
    assert total > 30
    for count in range(1, total + 1, 7):
        store = tmp_path / str(count)
        with pytest.MonkeyPatch.context() as patch:
            files_touched(patch, end)
            with pytest.raises(Killed if how == "killed" else CannotWrite) as caught:
                run(Parts(), FULL, store=store)
        if how == "full disk":
            assert "No space left on device" in str(caught.value)
            if count > 4:
                assert {p.name for p in store.glob("*.safetensors")} & {
                    "checkpoint.safetensors",
                    "previous.safetensors",
                }
        assert outcome(*run(Parts(), FULL, store=store)) == straight, count


def test_a_finished_store_gives_its_end_at_once(tmp_path, straight):
    run(Parts(), FULL, store=tmp_path)
    parts, history = run(Parts(), FULL, store=tmp_path)
    assert parts.steps == 0
    result, expected = outcome(parts, history), dict(straight)
    assert [r.level for r in history] == [0, 1, 1, 2, 2]
    assert result["model"] == expected["model"]
    assert result["records"] == expected["records"]


def test_history_holds_the_levels_that_a_resumed_run_skips(tmp_path, straight):
    with contextlib.suppress(Killed):
        run(Parts(), FULL, store=tmp_path, each=dying(3 * 2 * STEPS_PER_EPOCH + 2))  # in level 2, stage 0
    seen = []
    run(
        Parts(),
        FULL,
        store=tmp_path,
        each_level=lambda p, level: seen.append((level.number, level.stage, len(level.history))),
    )
    assert seen == [(2, 0, 3), (2, 1, 4)]


def test_a_model_that_was_trained_meanwhile_is_refused_with_what_to_do(tmp_path, straight):
    """A notebook's cell, run again without the one before it, which makes the model."""
    parts = Parts()
    with contextlib.suppress(Killed):
        run(parts, FULL, store=tmp_path, each=dying(21))
    with pytest.raises(StoreMismatch, match=r"resets\[0\].*|weights: .*\n.*\nbuild the model anew"):
        run(parts, FULL, store=tmp_path)
    assert outcome(*run(Parts(), FULL, store=tmp_path)) == straight


def test_what_people_read_is_there(tmp_path):
    parts, history = run(Parts(), FULL, store=tmp_path)
    store = digest(read_identity(tmp_path).identity)
    records = read_records(tmp_path, store)
    assert [(r.level, r.stage, r.kept) for r in records] == [(r.level, r.stage, r.kept) for r in history]
    assert bb.Mask.load(tmp_path / "masks" / "level-002.safetensors") == bb.Mask.from_zeros(parts.model)
    environment = read_identity(tmp_path).environment
    assert environment["torch"] == torch.__version__
    assert environment["threads"] == 1
    assert "float32_matmul_precision" in environment


def test_seconds_count_all_sessions(tmp_path):
    with contextlib.suppress(Killed):
        run(
            Parts(), geometric(1), store=tmp_path, each=lambda p, x: time.sleep(0.02) if p.steps < 6 else dying(6)(p, x)
        )
    _, history = run(Parts(), geometric(1), store=tmp_path)
    assert history[0].seconds > 4 * 0.02  # the first epoch's sleep, in the session before


# --- another iteration --------------------------------------------------------------------------------------


class Gelu(Parts):
    def __init__(self):
        super().__init__()
        self.model[2] = nn.GELU()


class Adam(Parts):
    def __init__(self):
        super().__init__()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.93)


class Grouped(Parts):
    def __init__(self):
        super().__init__()
        groups = [{"params": list(self.model[:2].parameters())}, {"params": list(self.model[2:].parameters())}]
        self.optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.93)


OTHERS = {
    "levels": (Parts, geometric(3), {}, "plan.schedule.levels: 2 -> 3"),
    "rate": (Parts, geometric(2, 0.4), {}, "plan.schedule.rate: 0.3 -> 0.4"),
    "criterion": (Parts, geometric(criterion=bb.criteria.Random(3)), {}, "plan.criterion"),
    "criterion's seed": (Parts, geometric(criterion=bb.criteria.Random(4)), {}, "plan.criterion"),
    "scope": (
        Parts,
        geometric(scope=bb.masks.Layer()),
        {},
        "(not given) -> {'is': 'budbreak.masks.scopes:Layer'}",
    ),
    "prunable": (Parts, geometric(prunable=bb.masks.every_weight), {}, "every_weight"),
    "then": (Parts, geometric(then=[bb.Train()]), {}, "plan.then"),
    "rewind": (Parts, geometric(rewind_to=bb.Step(2)), {}, "plan.rewind_to: (not given) -> {"),
    "width": (lambda: Parts(hidden=13), geometric(), {}, "model.0.weight[0][0]: 12 -> 13"),
    "activation": (Gelu, geometric(), {}, "modules.2: 'ReLU()' -> \"GELU(approximate='none')\""),
    "optimizer": (Adam, geometric(), {}, "optimizer.class: 'SGD' -> 'Adam'"),
    "momentum": (lambda: Parts(momentum=0.8), geometric(), {}, "optimizer.groups[0].momentum: 0.9 -> 0.8"),
    "learning rate": (lambda: Parts(lr=0.2), geometric(), {}, "optimizer.groups[0].learning_rate: 0.1 -> 0.2"),
    "groups": (Grouped, geometric(), {}, "optimizer.groups"),
    "seed": (Parts, geometric(), {"seed": 1}, "seed: 0 -> 1"),
    "mask": (Parts, geometric(), {"mask": "first layer"}, "mask: None ->"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    run(Parts(), geometric(), store=store)
    return store


@pytest.mark.parametrize("what", OTHERS)
def test_a_store_of_another_iteration_is_refused_and_left_alone(finished, what):
    make, plan, options, words = OTHERS[what]
    parts = make()
    if "mask" in options:
        options = {"mask": bb.Mask.dense(parts.model)}
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    with pytest.raises(StoreMismatch) as caught:
        run(parts, plan, store=finished, **options)
    assert words in str(caught.value)
    assert "give another store" in str(caught.value)
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
    again = Parts()
    run(again, geometric(), store=finished)  # it was let go of
    assert again.steps == 0


def test_a_store_in_use_is_refused(tmp_path):
    parts = Parts()
    with (
        parts.iterate(geometric(), store=tmp_path),
        pytest.raises(StoreBusy, match="one folder has one writer"),
        Parts().iterate(geometric(), store=tmp_path),
    ):
        pass
    with parts.iterate(geometric(), store=tmp_path):
        pass


@pytest.mark.parametrize(
    ("name", "old", "new"), [("threads", 1, 7), ("float32_matmul_precision", "highest", "medium"), ("torch", None, "9")]
)
def test_a_changed_environment_warns_and_goes_on(tmp_path, monkeypatch, name, old, new):
    with contextlib.suppress(Killed):
        run(Parts(), geometric(), store=tmp_path, each=dying(9))
    from budbreak.iteration import store

    now = store.numerical_environment()
    assert old is None or now[name] == old
    monkeypatch.setattr(store, "numerical_environment", lambda: now | {name: new})
    parts = Parts()
    with pytest.warns(UserWarning, match=rf"the environment has changed: {name}: .* -> '?{new}") as caught:
        run(parts, geometric(), store=tmp_path)
    assert len(caught) == 1
    assert parts.steps == 4 * STEPS_PER_EPOCH  # it had begun level 1


# --- damage -------------------------------------------------------------------------------------------------


def half_done(store):
    with contextlib.suppress(Killed):
        run(Parts(), FULL, store=store, each=dying(19))


def truncate(data):
    return data[: len(data) // 2]


def flip(data):
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


@pytest.mark.parametrize("damage", [truncate, flip, lambda data: b""], ids=["truncated", "flipped bit", "empty"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_serves(tmp_path, straight, damage):
    half_done(tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    for _ in range(2):  # refused each time; nothing is repaired silently
        with pytest.raises(CorruptFile, match=r"checkpoint\.safetensors") as caught:
            run(Parts(), FULL, store=tmp_path)
        assert "delete it (an earlier checkpoint is used if there is one)" in str(caught.value)
    path.unlink()
    parts = Parts()
    assert outcome(*run(parts, FULL, store=tmp_path)) == straight
    assert parts.steps < 5 * 2 * STEPS_PER_EPOCH, "it did not begin anew"


@pytest.mark.parametrize("name", ["rewind.safetensors", "identity.json"])
def test_other_damaged_files_are_refused(tmp_path, name):
    half_done(tmp_path)
    path = tmp_path / name
    path.write_bytes(truncate(path.read_bytes()))
    with pytest.raises(CorruptFile, match=name):
        run(Parts(), FULL, store=tmp_path)


def test_a_store_without_its_rewind_point_is_refused(tmp_path):
    half_done(tmp_path)
    (tmp_path / "rewind.safetensors").unlink()
    with pytest.raises(BudbreakError, match="rewind"):
        run(Parts(), FULL, store=tmp_path)


def test_nan_in_the_middle_of_a_level_is_not_stored(tmp_path, straight):
    def poison(parts, x):
        if parts.steps == 14:  # level 1, second epoch
            with torch.no_grad():
                parts.model[4].weight[0, 0] = float("nan")

    with pytest.raises(NotFinite, match=r"'(0|4)\.weight' holds NaN") as caught:
        run(Parts(), FULL, store=tmp_path, each=poison)
    assert "the store keeps everything before this epoch" in str(caught.value)
    parts = Parts()
    assert outcome(*run(parts, FULL, store=tmp_path)) == straight
    assert parts.steps == 40 - 12  # from after the first epoch of level 1


@pytest.mark.parametrize("epochs", [1, 4, 6])
def test_a_resumed_level_has_as_many_epochs_as_it_had(tmp_path, epochs):
    def counted(parts, epochs):
        with parts.iterate(geometric(), store=tmp_path) as levels:
            for level in levels:
                for _ in level.epochs(epochs):
                    parts.epoch(dying(9))

    with pytest.raises(Killed):
        counted(Parts(), 5)  # ends in epoch 2
    with pytest.raises(
        InvalidValue, match=rf"epochs\({epochs}\), but this level was begun with epochs\(5\) and has done 2"
    ):
        counted(Parts(), epochs)
    parts, seen = Parts(), []
    with parts.iterate(geometric(), store=tmp_path) as levels:
        seen.extend(next(iter(levels)).epochs(5))
    assert seen == [2, 3, 4]


@pytest.mark.parametrize(("every", "from_epoch"), [(1, 4), (2, 4), (3, 3), (10, 0)])
def test_checkpoint_every(tmp_path, every, from_epoch):
    parts, seen = Parts(), []
    with contextlib.suppress(Killed), parts.iterate(geometric(), store=tmp_path) as levels:
        for _ in next(iter(levels)).epochs(6, checkpoint_every=every):
            parts.epoch(dying(4 * STEPS_PER_EPOCH + 1))
    parts = Parts()
    with parts.iterate(geometric(), store=tmp_path) as levels:
        for epoch in next(iter(levels)).epochs(6, checkpoint_every=every):
            parts.epoch()
            seen.append(epoch)
    assert seen == list(range(from_epoch, 6))


def test_a_folder_that_cannot_be_one_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match=r"cannot write .*store"):
        run(Parts(), geometric(), store=tmp_path / "file" / "store")


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    """Even if its identity was tampered with."""
    half_done(tmp_path / "a")
    with contextlib.suppress(Killed):
        run(Parts(hidden=13), FULL, store=tmp_path / "b", each=dying(3))
    shutil.copy(tmp_path / "b" / "identity.json", tmp_path / "a" / "identity.json")
    with pytest.raises(StoreMismatch, match=r"checkpoint\.safetensors belongs to another store"):
        run(Parts(hidden=13), FULL, store=tmp_path / "a")


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_convolutions_and_adam_resume_to_the_same_bits(tmp_path, memory_format):
    class Conv(Parts):
        def __init__(self):
            super().__init__()
            self.model = nn.Sequential(
                nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
                nn.Linear(32, 3),
            ).to(memory_format=memory_format)  # fmt: skip
            self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01, amsgrad=True)
            self.scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, 0.02, total_steps=60)

    plan = geometric(2, then=[bb.ActivateWhilePruning(q=0.05)], rewind_to=bb.Step(5))
    straight, history = run(Conv(), plan)
    with contextlib.suppress(Killed):
        run(Conv(), plan, store=tmp_path, each=dying(14))
    resumed, again = run(Conv(), plan, store=tmp_path)
    assert [r.end_digest for r in again] == [r.end_digest for r in history]
    a, b = straight.optimizer.state_dict(), resumed.optimizer.state_dict()
    assert a["param_groups"] == b["param_groups"]
    assert all(torch.equal(t, b["state"][i][k]) for i, state in a["state"].items() for k, t in state.items())


class Power:
    """A criterion that is no dataclass; its exponent is part of what it is."""

    needs = (bb.evidence.Weights(),)

    def __init__(self, power):
        self.power = power

    def __call__(self, evidence):
        return bb.Scores.elementwise(lambda w: w.abs() ** self.power, evidence[bb.evidence.Weights()])


def enter(store, *, criterion=None, prunable=bb.masks.conv_and_linear, rates=(0.1, 0.1)):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    groups = [{"params": model[0].parameters(), "lr": rates[0]}, {"params": model[2].parameters(), "lr": rates[1]}]
    optimizer = torch.optim.SGD(groups, lr=0.5)
    schedule = bb.schedules.OneShot(sparsity=0.5)
    plan = bb.Plan(criterion=criterion or bb.criteria.Magnitude(), schedule=schedule, prunable=prunable)
    with bb.iterate(model, optimizer, plan, store=store) as levels:
        next(iter(levels))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"criterion": Power(1)}, {"criterion": Power(2)}),
        ({"prunable": lambda name, module, parameter: name == "0.weight"},
         {"prunable": lambda name, module, parameter: name == "2.weight"}),
        ({"rates": (0.1, 0.1)}, {"rates": (0.1, 0.2)}),
    ],
    ids=["criterion", "prunable", "rates"],
)  # fmt: skip
def test_what_differs_in_a_detail_is_another_iteration(tmp_path, one, other):
    enter(tmp_path, **one)
    enter(tmp_path, **one)
    with pytest.raises(StoreMismatch):
        enter(tmp_path, **other)
