"""Observers within an iteration: what they see decides the next level, and survives whatever the iteration survives."""

import dataclasses
from collections import Counter

import pytest
import torch
from launching import launch
from ranks_run import Half, carry_out, fingerprint, kill_at
from ranks_run import geometric as of_ranks
from small_runs import Parts, geometric, outcome, run
from torch import nn

import budbreak as bb
from budbreak.criteria import ActivationCount, APoZ, Magnitude, Movement
from budbreak.errors import CorruptFile, InvalidValue, MissingEvidence, StoreMismatch, TooManySpared
from budbreak.evidence import ActivationCounts, MovementSums
from budbreak.files import read_tree, write_tree
from budbreak.iteration.store import Store
from budbreak.masks import Scores

COUNTS = ActivationCount(weighted=True, every=2)
BOTH = [bb.Train(), bb.Remove(Movement(), 0.05)]


class Killed(BaseException):
    """Ends a run in this process as a kill would, but for what ``finally`` does."""


def at_step(number):
    def each(parts, x):
        if parts.steps == number:
            raise Killed

    return each


def watched(parts, plan, *, epochs=1):
    """Carry out a plan; for each training its mask and, by hand, -sum(w * g) over its steps, in float32 as it is."""
    masks, sums = [], []

    def before_step(optimizer, args, kwargs):
        for name, parameter in parts.model.named_parameters():
            if parameter.dim() > 1:
                product = -parameter.detach() * parameter.grad
                sums[-1][name] = sums[-1].get(name, torch.zeros_like(product)) + product

    parts.optimizer.register_step_pre_hook(before_step)

    def each_level(parts, level):
        masks.append(level.mask)
        sums.append({})

    run(parts, plan, epochs=epochs, each_level=each_level)
    return masks, sums


@pytest.mark.parametrize("reset", ["level", "never"])
def test_movement_decides_by_the_training_before_or_by_all_of_them(reset):
    plan = geometric(1, 0.5, criterion=Movement(reset), then=[bb.Train(), bb.Remove(None, 0.2)])
    masks, sums = watched(Parts(), plan)
    first = bb.select(Scores.of(sums[0]), 132 - 40, within=masks[0])  # 66 go, of which 26 in the second part
    assert masks[1] == first
    second = sums[1] if reset == "level" else {name: sums[0][name] + sums[1][name] for name in sums[0]}
    assert masks[2] == bb.select(Scores.of(second), 66, within=first)
    other = sums[0] if reset == "level" else sums[1]
    assert masks[2] != bb.select(Scores.of(other), 66, within=first)


def test_large_weights_that_shrink_go_first():
    """One weight is pushed down by weight decay of the loss, another up; magnitude would choose the other way round."""
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[4.0, 0.1], [3.0, 0.2]]))
    optimizer = torch.optim.SGD([model.weight], lr=0.01)
    pull = torch.tensor([[1.0, -1.0], [1.0, -1.0]])  # the gradient: the first column shrinks, the second grows
    with bb.iterate(model, optimizer, geometric(1, 0.5, criterion=Movement(), rewind_to=None)) as levels:
        for _ in levels:
            for _ in range(3):
                optimizer.zero_grad()
                (model.weight * pull).sum().backward()
                optimizer.step()
    assert levels.mask["weight"].tolist() == [[False, True], [False, True]]


class Counting:
    """By hand, in how many samples each hidden unit of `Parts` was active, in every second batch."""

    def __init__(self, parts):
        self.passes, self.active, self.seen = 0, Counter(), 0
        parts.model[2].register_forward_hook(self.heard)

    def heard(self, module, inputs, output):
        if not module.training:
            return
        self.passes += 1
        if self.passes % 2:
            self.seen += len(output)
            for row in output.tolist():
                self.active.update(unit for unit, value in enumerate(row) if value != 0)

    def frequencies(self):
        return torch.tensor([[self.active[unit] / self.seen] for unit in range(12)], dtype=torch.float64)


@pytest.mark.parametrize("weighted", [False, True])
def test_activation_count_decides_by_how_often_units_fired_and_spares_the_outputs(weighted):
    parts = Parts()
    counting, ends, frequencies = Counting(parts), {}, {}

    def each_level(parts, level):
        if level.number:
            frequencies[level.number] = counting.frequencies()
            weight = ends["weight"]
            score = frequencies[level.number] * (weight.abs() if weighted else torch.ones_like(weight))
            tensors = {"0.weight": score.expand(12, 8), "4.weight": torch.full((3, 12), torch.inf)}
            assert level.mask == bb.select(Scores.of(tensors), level.mask.kept, within=ends["mask"])
            assert level.mask.kept_in("4.weight") == 36
        ends["mask"] = level.mask

    def each(parts, x):
        ends["weight"] = parts.model[0].weight.detach().clone()

    criterion = ActivationCount(weighted=weighted, every=2)
    run(parts, geometric(2, 0.3, criterion=criterion), each_level=each_level, each=each)
    assert len(frequencies) == 2


def test_units_that_seldom_fire_go_whole():
    parts = Parts()
    counting, found = Counting(parts), {}

    def each_level(parts, level):
        if level.number:
            found["mask"], found["counts"] = level.mask, counting.frequencies().flatten()

    plan = geometric(1, 0.5, criterion=ActivationCount(every=2), granularity=bb.Unit())
    run(parts, plan, each_level=each_level)
    rows = found["mask"]["0.weight"].any(1)
    assert found["mask"]["0.weight"].sum() == 6 * 8
    assert found["counts"][rows].min() >= found["counts"][~rows].max()


def test_a_target_that_would_take_what_is_spared_is_refused():
    words = r"level 1 of .*: 26 of 132 weights stay, but .* spares 36: all of '4\.weight'\n.*\n.* at most 0\.73, or"
    with pytest.raises(TooManySpared, match=words):  # the classifier's
        run(Parts(), geometric(1, 0.8, criterion=ActivationCount()), epochs=1)


@pytest.mark.parametrize("criterion", [ActivationCount(), APoZ()], ids=str)
def test_what_the_last_level_cannot_reach_is_refused_before_the_first(criterion):
    levels = []
    options = {} if criterion == ActivationCount() else {"batches": [torch.randn(9, 8)]}
    with pytest.raises(TooManySpared, match=r"level 3 of .*: 29 of 132 weights stay, but"):
        run(
            Parts(),
            geometric(3, 0.4, criterion=criterion),
            epochs=1,
            each_level=lambda parts, level: levels.append(level.number),
            **options,
        )
    assert levels == [0]


@pytest.mark.parametrize("criterion", [Movement(), Movement("never"), ActivationCount()], ids=str)
def test_an_untrained_level_0_is_refused(criterion):
    parts = Parts()
    with (
        pytest.raises(MissingEvidence, match=r"has seen no .*\n.*\ntrain before"),
        parts.iterate(geometric(criterion=criterion)) as levels,
    ):
        for _ in levels:
            pass


@pytest.mark.parametrize("criterion", [Movement(), ActivationCount()], ids=str)
def test_there_is_nothing_to_watch_before_the_first_training(criterion):
    with pytest.raises(InvalidValue, match=r"before the first training .*\n.*there is none yet"):
        geometric(criterion=criterion, train_dense=False)
    geometric(1, then=[bb.Train(), bb.Remove(criterion, 0.1)], train_dense=False)


# --- what it survives -------------------------------------------------------------------------------------------

PLANS = {
    "level": geometric(2, criterion=Movement(), then=[bb.Remove(ActivationCount(reset="level"), 0.05)]),
    "never": geometric(
        2, criterion=COUNTS, then=[bb.Train(), bb.Remove(Movement("never"), 0.05)], rewind_to=bb.Step(3)
    ),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("kill", [3, 6, 9, 13, 18])
def test_it_goes_on_with_what_was_watched(tmp_path, plan, kill):
    straight = outcome(*run(Parts(), plan))
    with pytest.raises(Killed):
        run(Parts(), plan, store=tmp_path, each=at_step(kill))
    assert outcome(*run(Parts(), plan, store=tmp_path)) == straight


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_passes_before_the_epochs_of_a_resumed_level_are_not_counted_twice(tmp_path, plan):
    """The body of a level that goes on begins anew, and what it runs before its epochs has been watched already."""

    def warm_up(parts, level):
        parts.model.train()
        parts.model(parts.x[:16])

    straight = [record.mask_digest for record in run(Parts(), plan, each_level=warm_up)[1]]
    for kill in (6, 15):
        with pytest.raises(Killed):
            run(Parts(), plan, store=tmp_path / str(kill), each=at_step(kill), each_level=warm_up)
        _, history = run(Parts(), plan, store=tmp_path / str(kill), each_level=warm_up)
        assert [record.mask_digest for record in history] == straight  # statistics of BatchNorm saw one more batch


def test_a_training_that_is_handed_out_again_begins_anew():
    plan = geometric(1, criterion=ActivationCount())
    straight = run(Parts(), plan)[1]
    parts = Parts()
    with parts.iterate(plan) as levels:
        for _ in levels:
            parts.model.train()
            for _ in range(50):
                parts.model(parts.x[:3])
            break
        for level in levels:
            for _ in level.epochs(2):
                parts.epoch()
            level.record(accuracy=parts.accuracy())
    assert [record.mask_digest for record in levels.history] == [record.mask_digest for record in straight]


def test_an_arm_takes_over_a_dense_level_that_was_watched(tmp_path):
    plan = PLANS["never"]
    straight = outcome(*run(Parts(), plan))
    assert plan.dense.observers == plan.observers
    run(Parts(), plan.dense, store=tmp_path / "dense")
    assert outcome(*run(Parts(), plan, store=tmp_path / "arm", dense=tmp_path / "dense")) == straight
    fewer = geometric(2, criterion=COUNTS, rewind_to=bb.Step(3))  # watches less than the dense level was watched
    alone = outcome(*run(Parts(), fewer))
    assert outcome(*run(Parts(), fewer, store=tmp_path / "fewer", dense=tmp_path / "dense")) == alone


def test_a_dense_level_that_was_not_watched_is_refused(tmp_path):
    plan = geometric(criterion=Movement())
    assert plan.dense != geometric().dense
    assert geometric(criterion=Magnitude(), then=BOTH).dense.observers == (MovementSums(),)
    run(Parts(), geometric().dense, store=tmp_path / "dense")
    with pytest.raises(StoreMismatch, match=r"level 0 was not watched by MovementSums\(reset='level', every=1\)"):
        run(Parts(), plan, store=tmp_path / "arm", dense=tmp_path / "dense")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda tree: tree.update(observers=[]), "its observers are no dict"),
        (lambda tree: tree["observers"].popitem(), 'observers and that of the network differ in "MovementSums'),
        (
            lambda tree: tree["observers"].update({"MovementSums(reset='level', every=1)": 3}),
            "is not made of named tensors",
        ),
    ],
)
def test_a_store_whose_observers_were_changed_is_refused(tmp_path, spoil, words):
    with pytest.raises(Killed):
        run(Parts(), geometric(criterion=Movement()), store=tmp_path, each=at_step(6))
    path, store = tmp_path / "checkpoint.safetensors", Store(tmp_path)
    store.look()
    tree = read_tree(path, "checkpoint 1", stores={store.identity})
    spoil(tree)
    write_tree(path, tree, "checkpoint 1", store=store.identity)
    with pytest.raises(CorruptFile, match=words):
        run(Parts(), geometric(criterion=Movement()), store=tmp_path)


def test_who_watches_nothing_stores_what_was_stored_before_there_were_observers(tmp_path):
    run(Parts(), geometric(1), store=tmp_path)
    store = Store(tmp_path)
    store.look()
    tree = read_tree(tmp_path / "checkpoint.safetensors", "checkpoint 1", stores={store.identity})
    assert "observers" not in tree


# --- ranks ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Reveals:
    """Keeps what observers saw, for the test to look at."""

    found: list = dataclasses.field(default_factory=list, hash=False, compare=False)
    needs = (MovementSums(), ActivationCounts(), bb.evidence.Weights())

    def __call__(self, evidence):
        counts = {name: [c.active.tolist(), c.seen] for name, c in evidence[ActivationCounts()].items()}
        self.found.append([{name: m.tolist() for name, m in evidence[MovementSums()].items()}, counts])
        return Magnitude()(evidence)


def revealing(rank):
    """What both ranks see in common, and by hand what this one has seen alone."""
    half, criterion, sums, active = Half(rank), Reveals(), {}, []

    def before_step(optimizer, args, kwargs):
        for name, parameter in half.plain.named_parameters():
            if parameter.dim() > 1:
                sums[name] = sums.get(name, 0) - parameter.detach() * parameter.grad

    def heard(module, inputs, output):
        active.extend((output != 0).long().tolist() if module.training else [])

    half.optimizer.register_step_pre_hook(before_step)
    half.plain[2].register_forward_hook(heard)
    with bb.iterate(half.model, half.optimizer, of_ranks(1, criterion=criterion), resets=[half.scheduler]) as levels:
        for level in levels:
            if level.number > 0:
                break
            half.epoch()
    return criterion.found, {name: total.tolist() for name, total in sums.items()}, active


def test_of_ranks_counts_are_added_up_and_movement_is_their_mean(tmp_path):
    (first, sums, active), (second, others, also) = launch(revealing, tmp_path)
    assert first == second
    (movement, counts), *_ = first
    for name, tensor in movement.items():
        mean = (torch.tensor(sums[name]) + torch.tensor(others[name])) / 2
        torch.testing.assert_close(torch.tensor(tensor), mean, rtol=1e-5, atol=1e-8)
    assert counts["0.weight"] == [torch.tensor([*active, *also]).sum(0).reshape(16, 1).tolist(), 48]
    assert active != also


OF_RANKS = of_ranks(2, criterion=ActivationCount(every=2), then=[bb.Train(), bb.Remove(Movement(), 0.05)])


def stored(rank, store):
    half = Half(rank)
    return fingerprint(half, carry_out(half, OF_RANKS, store=store))


def killed(rank, store, dying, step):
    half = Half(rank)
    carry_out(half, OF_RANKS, store=store, each=kill_at(dying, step))


@pytest.mark.slow
def test_each_rank_goes_on_with_what_it_has_watched(tmp_path):
    straight = launch(stored, tmp_path / "straight", tmp_path / "one")
    for dying, step in ((0, 5), (1, 14)):
        store = tmp_path / f"{dying}-{step}"
        launch(killed, tmp_path / "killed", store, dying, step)
        assert launch(stored, tmp_path / "again", store) == straight
