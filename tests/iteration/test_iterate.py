import copy
import dataclasses
import hashlib
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import STEPS_PER_EPOCH, Parts, geometric, run
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import budbreak as bb
from budbreak.errors import (
    EmptyBatches,
    ForeignParameter,
    InvalidValue,
    InvariantBroken,
    LayerCollapsed,
    MaskMismatch,
    MissingEvidence,
    NotFinite,
    UnknownName,
)
from budbreak.evidence import Weights

LITE, PRO = bb.ActivateWhilePruning, lambda q: bb.ActivateWhilePruning(q=q, variant="pro")
ARMS = {
    "host": lambda q: [],
    "lite": lambda q: [LITE(q=q)],
    "pro": lambda q: [PRO(q)],
    "split": lambda q: [bb.Train(), bb.Remove(q=q)],
    "retrain": lambda q: [bb.Train()],
    "lite and pro": lambda q: [LITE(q=q / 2), PRO(q / 2)],
}


def little(seed=0, inputs=6, hidden=9):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return model, optimizer


def train(model, optimizer, steps=2):
    inputs = model[0].in_features
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(model(torch.randn(8, inputs)), torch.randint(3, (8,))).backward()
        optimizer.step()


def carry_out(model, optimizer, plan, body=None, **options):
    """The whole loop; ``body(level)`` follows a short training."""
    with bb.iterate(model, optimizer, plan, **options) as levels:
        for level in levels:
            train(model, optimizer)
            if body is not None:
                body(level)
    return levels


def by_hand(state):
    """The hash of a state in another form: one bytes object, values through numpy."""
    text = b""
    for name in sorted(state):
        tensor = state[name]
        text += f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode() + tensor.detach().numpy().tobytes()
    return hashlib.sha256(text).hexdigest()


# --- counts -------------------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(
    rate=st.floats(0.1, 0.6),
    share=st.floats(0.01, 0.3),
    levels=st.integers(1, 3),
    seed=st.integers(0, 5),
    scope=st.sampled_from([bb.masks.Global(), bb.masks.Layer()]),
)
def test_equal_survivors_after_every_level_in_all_arms(rate, share, levels, seed, scope):
    q, total = rate * share, 6 * 9 + 9 * 3
    expected = [total, *(round((1 - rate) ** level * total) for level in range(1, levels + 1))]
    for arm, follow_ups in ARMS.items():
        model, optimizer = little(seed)
        plan = geometric(levels, rate, then=follow_ups(q), scope=scope, allow_collapse=True)
        history = carry_out(model, optimizer, plan, seed=seed).history
        assert [record.kept for record in history if record.last_stage] == expected, arm
        assert sum(int((p != 0).sum()) for p in weights(model).values()) == expected[-1], arm
        for level in range(1, levels + 1):
            here = [r for r in history if r.level == level]
            by_follow_ups = sum(sum(r.follow_ups_removed) for r in here)
            assert sum(r.host_removed for r in here) + by_follow_ups == expected[level - 1] - expected[level], arm
            if arm in ("lite", "pro", "split") and not any(r.shortfall for r in here):
                assert by_follow_ups == math.floor(q * expected[level - 1]), arm


def test_golden_counts():
    """100 weights, rate 0.2, q 0.03: 80 stay, 3 go by AP, 17 by the host; then 64 stay, 2 (of 2.4) and 14."""
    torch.manual_seed(0)
    model = nn.Linear(10, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with bb.iterate(model, optimizer, geometric(2, 0.2, then=[LITE(q=0.03)])) as levels:
        for _ in levels:
            model(torch.ones(1, 10)).sum().backward()
            optimizer.step()
    counts = [(r.kept, r.host_removed, r.follow_ups_removed, r.shortfall) for r in levels.history]
    assert counts == [(100, 0, (), 0), (80, 17, (3,), 0), (64, 14, (2,), 0)]
    assert [r.density for r in levels.history] == [1.0, 0.8, 0.64]
    # 10 biases stay throughout: (64 + 10) / 110
    assert levels.history[-1].density_all == pytest.approx(74 / 110)


class ByStep:
    """A schedule of a user's own that looks at the optimizer steps done before the level."""

    levels = 2

    def __call__(self, progress):
        return 0.0 if progress.level == 0 else min(0.9, 0.05 * progress.step)


@pytest.mark.parametrize("arm", ["host", "pro"])
def test_a_schedule_may_depend_on_steps(arm):
    model, optimizer = little()
    with bb.iterate(model, optimizer, bb.Plan(schedule=ByStep(), then=ARMS[arm](0.02))) as levels:
        for _ in levels:
            train(model, optimizer, 4)
    # level 1 begins after 4 steps; level 2 after 8, or with pro's second training after 12
    assert [r.kept for r in levels.history if r.last_stage] == [81, 65, 49 if arm == "host" else 32]


class Gated:
    """Prune on only while the accuracy lasts."""

    levels = 3

    def __call__(self, progress):
        good = [m["accuracy"] for m in progress.metrics]
        return 0.2 * sum(a > 0.5 for a in good)


def test_a_schedule_may_depend_on_what_was_recorded():
    model, optimizer = little()
    accuracies = iter([0.9, 0.4, 0.8, 0.1])
    with bb.iterate(model, optimizer, bb.Plan(schedule=Gated())) as levels:
        for level in levels:
            train(model, optimizer)
            level.record(accuracy=next(accuracies))
    assert [r.kept for r in levels.history] == [81, 65, 65, 49]  # sparsities 0, 0.2, 0.2, 0.4


# --- AP -----------------------------------------------------------------------------------------------------


def flat(tensors):
    return [float(v) for t in tensors.values() for v in t.double().reshape(-1)]


def weights(model):
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.dim() >= 2}


def host_by_hand(values, alive, count):
    """Remove the ``count`` smallest magnitudes; of equal ones the higher index goes."""
    order = sorted(alive, key=lambda i: (abs(values[i]), -i))
    return set(order[count:])


def ap_by_hand(values, start, alive, count):
    """Remove the ``count`` negative weights that moved least. In float32, as the library sees them."""
    moved = (torch.tensor(values, dtype=torch.float32) - torch.tensor(start, dtype=torch.float32)).abs().tolist()
    order = sorted((i for i in alive if values[i] < 0), key=lambda i: (moved[i], -i))
    return alive - set(order[:count])


@pytest.mark.parametrize("q", [0.05, 0.1])
def test_ap_equals_brute_force_and_prunes_no_positive_weight(q):
    model, optimizer = little(seed=3)
    alive, ends, trace = set(range(81)), None, []
    with bb.iterate(model, optimizer, geometric(3, 0.2, then=[LITE(q=q)])) as levels:
        for level in levels:
            mask = {i for i, kept in enumerate(flat(level.mask)) if kept}
            if level.number > 0:
                values, start = ends
                k, keep = math.floor(q * len(alive)), round(0.8**level.number * 81)
                by_host = host_by_hand(values, alive, len(alive) - keep - k)
                expected = ap_by_hand(values, start, by_host, k)
                assert mask == expected
                assert all(values[i] < 0 for i in by_host - mask)
                assert len(by_host - mask) == k > 0
                trace.append(mask != host_by_hand(values, alive, len(alive) - keep))
                alive = expected
            start = flat(weights(model))
            train(model, optimizer, 3)
            ends = (flat(weights(model)), start)
    assert any(trace), "AP chose otherwise than the host would have"


@pytest.mark.parametrize("rewind_to", [bb.Step(0), None])
def test_pro_measures_movement_in_the_second_stage_s_own_training(rewind_to):
    q = 0.1
    model, optimizer = little(seed=3)
    seen, ends, masks = [], {}, {}
    with bb.iterate(model, optimizer, geometric(2, 0.3, then=[PRO(q)], rewind_to=rewind_to)) as levels:
        for level in levels:
            here = (level.number, level.stage)
            seen.append((*here, level.last_stage))
            masks[here] = {i for i, kept in enumerate(flat(level.mask)) if kept}
            start = flat(weights(model))
            train(model, optimizer, 3)
            ends[here] = (flat(weights(model)), start)
    assert seen == [(0, 0, True), (1, 0, False), (1, 1, True), (2, 0, False), (2, 1, True)]
    other_start = []
    for level, before in ((1, (0, 0)), (2, (1, 1))):
        alive = masks[before]
        k, keep = math.floor(q * len(alive)), round(0.7**level * 81)
        assert masks[level, 0] == host_by_hand(ends[before][0], alive, len(alive) - keep - k)
        assert masks[level, 1] == ap_by_hand(*ends[level, 0], masks[level, 0], k)
        # the control: another training's movement would choose otherwise (after rewinding all starts are equal)
        assert masks[level, 1] != ap_by_hand(*ends[before], masks[level, 0], k)
        from_before = ap_by_hand(ends[level, 0][0], ends[before][1], masks[level, 0], k)
        other_start.append(masks[level, 1] != from_before)
    assert any(other_start) == (rewind_to is None)


def test_split_removal_is_the_host_twice_with_a_rewind_between():
    q = 0.1
    model, optimizer = little(seed=3)
    start = flat(weights(model))
    ends, masks = {}, {}
    with bb.iterate(model, optimizer, geometric(1, 0.3, then=[bb.Train(), bb.Remove(q=q)])) as levels:
        for level in levels:
            here = (level.number, level.stage)
            masks[here] = {i for i, kept in enumerate(flat(level.mask)) if kept}
            assert flat(weights(model)) == [v if i in masks[here] else 0.0 for i, v in enumerate(start)]
            train(model, optimizer, 3)
            ends[here] = flat(weights(model))
    assert masks[1, 0] == host_by_hand(ends[0, 0], masks[0, 0], 81 - 57 - 8)  # 57 = round(0.7 * 81), 8 of 8.1
    assert masks[1, 1] == host_by_hand(ends[1, 0], masks[1, 0], 8)


def test_retrain_trains_the_same_mask_from_the_same_start_with_other_batches():
    parts, starts, draws = Parts(), {}, {}

    def each_level(parts, level):
        starts[level.number, level.stage] = by_hand(parts.model.state_dict())
        draws[level.number, level.stage] = torch.get_rng_state().numpy().tobytes()

    _, history = run(parts, geometric(1, then=[bb.Train()]), epochs=1, each_level=each_level)
    assert history[1].mask_digest == history[2].mask_digest
    assert starts[1, 0] == starts[1, 1]
    assert draws[1, 0] != draws[1, 1]


@pytest.mark.parametrize("arm", ["lite", "pro", "split"])
def test_a_level_that_removes_nothing_passes(arm):
    model, optimizer = little()
    accuracies = iter([0.9, 0.4, 0.8, 0.1])
    with bb.iterate(model, optimizer, bb.Plan(schedule=Gated(), then=ARMS[arm](0.02))) as levels:
        for level in levels:
            train(model, optimizer)
            if level.last_stage:
                level.record(accuracy=next(accuracies))
    counts = [(r.kept, sum(r.follow_ups_removed)) for r in levels.history if r.last_stage]
    assert [kept for kept, _ in counts] == [81, 65, 65, 49]
    assert counts[2][1] == 0


@pytest.mark.parametrize(("negatives", "taken"), [(0, 0), (2, 2), (30, 8)])
def test_too_few_ap_candidates_the_host_takes_the_remainder(negatives, taken):
    """100 weights, all move by 0.5; the largest ``negatives`` of them are negative, so the host spares those."""
    model = nn.Linear(10, 10, bias=False)
    values = torch.arange(1.0, 101.0)
    values[100 - negatives :] *= -1
    with torch.no_grad():
        model.weight.copy_(values.reshape(10, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    model.weight.grad = torch.ones(10, 10)
    with bb.iterate(model, optimizer, geometric(1, 0.2, then=[LITE(q=0.08)])) as levels:
        for _ in levels:
            optimizer.step()
    record = levels.history[-1]
    assert (record.kept, record.host_removed, record.follow_ups_removed) == (80, 20 - taken, (taken,))
    assert record.shortfall == 8 - taken
    kept = set(levels.mask["weight"].reshape(-1).nonzero().flatten().tolist())
    # all |w - start| are 0.5: of equal scores the higher index goes first
    assert kept == set(range(20 - taken, 100 - taken))


def test_follow_ups_that_want_more_than_the_level_removes_are_refused():
    model, optimizer = little()
    with pytest.raises(InvalidValue, match=r"removes 8, what follows the host wants 24\n.*\nchoose a smaller q"):
        carry_out(model, optimizer, geometric(1, 0.1, then=[LITE(q=0.3)]))


# --- pairing ------------------------------------------------------------------------------------------------


def batches_seen(then, disturb=False, seed=0):
    """(level, stage) -> bytes of the batches of its first epoch; ``disturb``: one extra draw in level 0."""
    found = {}

    def each_level(parts, level):
        parts.here = (level.number, level.stage)
        found[parts.here] = []
        if disturb and level.number == 0:
            torch.rand(1)

    parts = Parts()
    run(
        parts,
        geometric(2, then=then),
        each_level=each_level,
        each=lambda parts, x: found[parts.here].append(x.numpy().tobytes()),
        seed=seed,
    )
    return found


def test_paired_arms_see_the_same_batches():
    host = batches_seen([])
    for arm in ("lite", "pro", "split", "retrain"):
        other = batches_seen(ARMS[arm](0.02))
        assert {where: other[where] for where in host} == host, arm
    flat_host = [batch for level in host.values() for batch in level]
    assert len(set(flat_host)) == len(flat_host), "no two epochs or levels see the same"
    assert batches_seen([], seed=1)[0, 0] != host[0, 0]


def test_one_extra_draw_changes_nothing_in_the_next_level():
    quiet, disturbed = batches_seen([]), batches_seen([], disturb=True)
    assert quiet[0, 0] != disturbed[0, 0]
    assert (quiet[1, 0], quiet[2, 0]) == (disturbed[1, 0], disturbed[2, 0])


def test_a_data_driven_host_draws_nothing_from_the_training():
    """The calibration loader shuffles; the training's batches stay those of the other arms."""
    found = {}

    def each_level(parts, level):
        found[level.number] = torch.get_rng_state().numpy().tobytes()

    run(Parts(), geometric(1, criterion=bb.criteria.Taylor()), each_level=each_level)
    taylor = dict(found)
    run(Parts(), geometric(1), each_level=each_level)
    assert taylor == found


class Stream:
    """Batches from elsewhere, which may have been read to their end already."""

    def __init__(self, left):
        self.left = left

    def __iter__(self):
        return iter(self.left)


def test_a_calibration_set_that_is_used_up_keeps_level_0(tmp_path):
    parts = Parts()
    with pytest.raises(EmptyBatches, match="exhausted"):
        run(parts, geometric(1, criterion=bb.criteria.Taylor()), batches=Stream([]), store=tmp_path)
    again = Parts()
    run(again, geometric(1, criterion=bb.criteria.Taylor()), batches=Stream([(again.x, again.y)]), store=tmp_path)
    assert again.steps == 2 * STEPS_PER_EPOCH  # level 1 only


# --- what is put back ---------------------------------------------------------------------------------------


def test_the_learning_rate_returns_at_each_level():
    rates = []
    run(Parts(), geometric(3), each=lambda parts, _: rates.append(parts.optimizer.param_groups[0]["lr"]))
    expected = [0.1 * 0.93 ** (i + 1) for i in range(2 * STEPS_PER_EPOCH)]
    assert rates == pytest.approx(expected * 4)


def test_optimizer_state_and_groups_return():
    at_start = []

    def each_level(parts, level):
        at_start.append((len(parts.optimizer.state), parts.optimizer.param_groups[0]["weight_decay"]))
        parts.optimizer.param_groups[0]["weight_decay"] = 0.5

    run(Parts(), geometric(2), each_level=each_level)
    assert at_start == [(0, 1e-3)] * 3


def test_generator_average_and_scaler_return():
    parts = Parts()
    generator = torch.Generator()
    average = AveragedModel(parts.model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(torch.ones(1))
    draws, at_start = [], []

    def each_level(parts, level):
        at_start.append((int(average.n_averaged), scaler.get_scale()))
        draws.append(torch.rand(1, generator=generator).item())
        scaler.update(64.0)

    def each(parts, x):
        average.update_parameters(parts.model)

    plan = geometric(2)
    resets = [parts.scheduler, generator, average, scaler]
    run(parts, plan, each_level=each_level, each=each, resets=resets, seed=5)
    assert at_start == [(0, 4.0)] * 3
    assert len(set(draws)) == 3
    first = list(draws)
    draws.clear()
    again = Parts()
    torch.rand(7, generator=generator)
    average = AveragedModel(again.model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    run(again, plan, each_level=each_level, resets=[again.scheduler, generator, average, scaler], seed=5)
    assert draws == first, "seeded from (seed, level, stage)"


@pytest.mark.parametrize("rewind_to", [bb.Step(0), bb.Step(3), None, "learning-rate"])
def test_an_average_forgets_the_pruned_weights(rewind_to):
    parts = Parts()
    average = AveragedModel(parts.model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    checked = []

    def each(parts, x):
        average.update_parameters(parts.model)
        if parts.level.number > 0:
            for name, parameter in parts.level.mask.parameters(average.module).items():
                assert not parameter[~parts.level.mask[name]].any()
            checked.append(1)

    run(
        parts,
        geometric(2, rewind_to=rewind_to),
        each=each,
        each_level=lambda parts, level: setattr(parts, "level", level),
        resets=[parts.scheduler, average],
    )
    assert len(checked) == 4 * STEPS_PER_EPOCH


@pytest.mark.parametrize("plain_range", [False, True])
@pytest.mark.parametrize("k", [0, 1, 3, 4, 5, 8])  # 4 ends an epoch, 8 the level
def test_rewinding_to_step_k_restores_everything_as_of_then(k, plain_range):
    parts = Parts()
    by_step = {0: (parts.model, parts.optimizer, parts.scheduler)}
    by_step[0] = copy.deepcopy((parts.model.state_dict(), parts.optimizer.state_dict(), parts.scheduler.state_dict()))
    checked = []

    def each(parts, x):
        state = (parts.model.state_dict(), parts.optimizer.state_dict(), parts.scheduler.state_dict())
        by_step.setdefault(parts.steps, copy.deepcopy(state))

    def each_level(parts, level):
        if level.number == 0:
            assert level.start_step == 0
            return
        assert level.start_step == k
        model, optimizer, scheduler = by_step[k]
        for name, tensor in parts.model.state_dict().items():
            expected = model[name] * level.mask[name] if name in level.mask else model[name]
            assert torch.equal(tensor, expected), name
        live = parts.optimizer.state_dict()
        assert live["param_groups"] == optimizer["param_groups"]
        assert live["state"].keys() == optimizer["state"].keys()
        names = [n for n, _ in parts.model.named_parameters()]
        for index, state in live["state"].items():
            entry = level.mask.get(names[index], 1)
            assert torch.equal(state["momentum_buffer"], optimizer["state"][index]["momentum_buffer"] * entry)
        assert parts.scheduler.state_dict() == scheduler
        checked.append(level.number)

    plan = geometric(2, rewind_to=bb.Step(k))
    run(parts, plan, each=each, each_level=each_level, plain_range=plain_range)
    assert checked == [1, 2]


def test_a_scheduler_that_steps_per_epoch_belongs_to_the_epoch_s_last_step():
    for plain_range in (False, True):
        model, optimizer = little()
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
        plan, rates = geometric(1, rewind_to=bb.Step(2)), []
        with bb.iterate(model, optimizer, plan, resets=[scheduler]) as levels:
            for level in levels:
                rates.append(optimizer.param_groups[0]["lr"])
                for _ in range(3) if plain_range else level.epochs(3):
                    train(model, optimizer, 2)
                    scheduler.step()
        assert rates == [0.05, 0.025]


def test_rewinding_to_a_step_that_never_comes_is_said_once_level_0_is_stored(tmp_path):
    plan = geometric(1, rewind_to=bb.Step(9))
    with pytest.raises(InvalidValue, match=r"rewind_to is Step\(count=9\), but level 0 ended earlier"):
        run(Parts(), plan, store=tmp_path)
    again = Parts()
    with pytest.raises(InvalidValue, match="level 0 ended earlier"):
        run(again, plan, store=tmp_path)
    assert again.steps == 0


def test_rewind_none_goes_on():
    parts, ends = Parts(), {}

    def each_level(parts, level):
        if level.number:
            model, rate, momentum = ends[level.number - 1]
            for name, tensor in parts.model.state_dict().items():
                assert torch.equal(tensor, model[name] * level.mask[name] if name in level.mask else model[name])
            assert parts.optimizer.param_groups[0]["lr"] == rate
            buffer = parts.optimizer.state[parts.model[0].weight]["momentum_buffer"]
            assert torch.equal(buffer, momentum * level.mask["0.weight"])
        parts.number = level.number

    def each(parts, x):
        buffer = parts.optimizer.state[parts.model[0].weight]["momentum_buffer"].clone()
        ends[parts.number] = (copy.deepcopy(parts.model.state_dict()), parts.optimizer.param_groups[0]["lr"], buffer)

    _, history = run(parts, geometric(2, rewind_to=None), each_level=each_level, each=each)
    assert [record.rewound for record in history] == [None] * 3
    assert parts.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.93**24)


def test_learning_rate_rewinding_keeps_the_weights():
    parts, ends = Parts(), {}

    def each_level(parts, level):
        if level.number:
            for name, tensor in parts.model.state_dict().items():
                expected = ends["model"][name]
                assert torch.equal(tensor, expected * level.mask[name] if name in level.mask else expected)
            assert parts.optimizer.param_groups[0]["lr"] == 0.1
            assert parts.scheduler.last_epoch == 0
            assert not parts.optimizer.state

    _, history = run(
        parts,
        geometric(2, rewind_to="learning-rate"),
        each_level=each_level,
        each=lambda parts, x: ends.update(model=copy.deepcopy(parts.model.state_dict())),
    )
    assert [record.rewound for record in history] == [None] * 3


@pytest.mark.parametrize("k", [0, 3])
def test_the_rewinding_hash_equals_a_recomputation(k):
    found = []
    _, history = run(
        Parts(),
        geometric(2, then=[PRO(0.05)], rewind_to=bb.Step(k)),
        each_level=lambda parts, level: found.append(by_hand(parts.model.state_dict())),
    )
    assert [record.rewound for record in history] == [None, *found[1:]]
    assert len(set(found)) == 5
    assert all(record.invariants["rewinding verified"] for record in history[1:])


def test_end_and_mask_hashes_equal_a_recomputation():
    parts, history = run(Parts(), geometric(1))
    assert history[-1].end_digest == by_hand(parts.model.state_dict())
    assert history[-1].mask_digest == by_hand(bb.Mask.from_zeros(parts.model))


# --- invariants ---------------------------------------------------------------------------------------------


def test_zeros_hold_throughout():
    def each(parts, x):
        for name, parameter in parts.level.mask.parameters(parts.model).items():
            assert not parameter[~parts.level.mask[name]].any()

    parts = Parts()
    _, history = run(parts, geometric(3), each=each, each_level=lambda p, level: setattr(p, "level", level))
    assert all(all(record.invariants.values()) and record.invariants["zeros held"] for record in history)


def test_a_weight_written_behind_the_hold_s_back_is_noticed():
    model, optimizer = little()
    finished = []

    def write(level):
        finished.append(len(level.history))
        if level.number == 1:
            row, column = (~level.mask["0.weight"]).nonzero()[0].tolist()
            with torch.no_grad():
                model[0].weight[row, column] = 1e-20

    with pytest.raises(InvariantBroken, match=r"1 pruned weights of '0\.weight' are not zero"):
        carry_out(model, optimizer, geometric(), write)
    assert finished == [0, 1]


def test_another_optimizer_regrows_weights_and_is_noticed():
    model, optimizer = little()
    with pytest.raises(InvariantBroken, match="are not zero"):
        carry_out(
            model, optimizer, geometric(), lambda level: train(model, torch.optim.SGD(model.parameters(), lr=0.1))
        )


def test_parameters_exchanged_under_the_optimizer_are_noticed():
    model, optimizer = little()

    def exchange(level):
        model[2] = copy.deepcopy(model[2])

    with pytest.raises(ForeignParameter, match=r"does not hold '2\.weight'"):
        carry_out(model, optimizer, geometric(), exchange)


def test_a_foreign_optimizer_is_refused_at_the_door():
    model, _ = little()
    with pytest.raises(ForeignParameter):
        bb.iterate(model, little()[1], geometric())


def test_a_collapsed_layer_is_refused_or_allowed():
    for allowed in (False, True):
        model, optimizer = little()
        with torch.no_grad():
            model[2].weight.mul_(1e-6)
        plan = geometric(1, 0.5, allow_collapse=allowed)
        optimizer.param_groups[0]["lr"] = 0.0
        with bb.iterate(model, optimizer, plan) as levels:
            collapse = iter(levels)
            next(collapse)
            if allowed:
                next(collapse)
                assert not model[2].weight.any()
                assert list(collapse) == []
                assert not levels.history[-1].invariants["no layer collapsed"]
            else:
                with pytest.raises(LayerCollapsed, match=r"'2\.weight' would lose all its weights") as caught:
                    next(collapse)
                assert "allow_collapse=True" in str(caught.value)
                assert model[2].weight.all(), "nothing was pruned"


def test_nan_is_noticed_at_the_end_of_a_plain_loop_too():
    model, optimizer = little()

    def poison(level):
        with torch.no_grad():
            model[0].weight[0, 0] = float("nan")

    with pytest.raises(NotFinite, match=r"'0\.weight' holds NaN"):
        carry_out(model, optimizer, geometric(), poison)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_metrics_are_finite_numbers(value):
    model, optimizer = little()
    with bb.iterate(model, optimizer, geometric()) as levels:
        level = next(iter(levels))
        with pytest.raises(NotFinite, match=r"record\(accuracy="):
            level.record(accuracy=value)
        with pytest.raises(InvalidValue, match=r"record\(accuracy='good'\)"):
            level.record(accuracy="good")
        level.record(accuracy=torch.tensor(0.5), loss=1)
        level.record(loss=2)
        next(iter(levels))
    assert [dict(record.metrics) for record in levels.history] == [{"accuracy": 0.5, "loss": 2.0}]


def test_metrics_reach_the_record():
    model, optimizer = little()
    with bb.iterate(model, optimizer, geometric(1)) as levels:
        for level in levels:
            level.record(accuracy=torch.tensor(0.5))
            train(model, optimizer)
            level.record(loss=level.number, accuracy=0.25)
    assert [r.metrics for r in levels.history] == [{"accuracy": 0.25, "loss": 0.0}, {"accuracy": 0.25, "loss": 1.0}]
    assert [r.steps for r in levels.history] == [2, 2]


# --- the with -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_holding", [False, True])
def test_the_hold_ends_with_the_with_or_stays(keep_holding):
    model, optimizer = little()
    with bb.iterate(model, optimizer, geometric(), keep_holding=keep_holding) as levels:
        for _ in levels:
            train(model, optimizer)
    train(model, optimizer, 5)
    pruned = sum(int((p == 0).sum()) for p in levels.mask.parameters(model).values())
    assert pruned == (levels.mask.total - levels.mask.kept if keep_holding else 0)
    assert len(optimizer._optimizer_step_post_hooks) == keep_holding
    assert len(optimizer._optimizer_step_pre_hooks) == keep_holding


def test_hooks_go_even_when_the_body_raises():
    model, optimizer = little()

    def fail(level):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        carry_out(model, optimizer, geometric(), fail)
    assert not optimizer._optimizer_step_post_hooks
    assert not optimizer._optimizer_step_pre_hooks


def test_levels_must_be_entered():
    model, optimizer = little()
    with pytest.raises(InvalidValue, match=r"with bb\.iterate"):
        list(bb.iterate(model, optimizer, geometric()))
    with bb.iterate(model, optimizer, geometric()) as levels:
        pass
    with pytest.raises(InvalidValue, match=r"with bb\.iterate"):
        list(levels)


def test_history_is_there_while_levels_run():
    seen = []
    run(Parts(), geometric(2), each_level=lambda parts, level: seen.append([r.level for r in level.history]))
    assert seen == [[], [0], [0, 1]]


def test_a_level_says_what_it_is():
    model, optimizer = little()
    with bb.iterate(model, optimizer, geometric(1, 0.5)) as levels:
        *_, level = levels
    assert repr(level) == "Level(1, stage 0, density 0.4938)"  # 40 of 81
    assert level.sparsity == pytest.approx(41 / 81)
    assert level.mask == levels.mask


# --- where it starts ----------------------------------------------------------------------------------------


def test_a_sparse_start_is_said_or_given():
    model, optimizer = little()
    mask = bb.prune(model, sparsity=0.5)
    with (
        pytest.warns(UserWarning, match=r"41 of 81 prunable weights are exactly 0") as caught,
        bb.iterate(model, optimizer, geometric()) as levels,
    ):
        assert levels.mask.kept == 81
    assert caught[0].filename == __file__
    with bb.iterate(model, optimizer, geometric(1, 0.8), mask=mask) as levels:
        for level in levels:
            assert level.mask.is_within(mask)
            train(model, optimizer)
    assert [r.kept for r in levels.history] == [40, 16]  # 0.2 * 81 = 16.2, a share of all


def test_a_start_below_the_schedule_is_refused():
    model, optimizer = little()
    mask = bb.prune(model, sparsity=0.5)
    with pytest.raises(InvalidValue, match=r"keeps 73, but only 40 are alive\nsparsity rises from level to level"):
        carry_out(model, optimizer, geometric(1, 0.1), mask=mask)


def test_a_starting_mask_of_another_model_is_refused():
    model, optimizer = little()
    with (
        pytest.raises(UnknownName, match=r"did you mean '0\.weight'"),
        bb.iterate(model, optimizer, geometric(), mask=bb.Mask({"0.weigth": torch.ones(9, 6)})),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "words"),
    [({"seed": -1}, "seed is -1"), ({"seed": 0.5}, "seed is 0.5"), ({"resets": [3]}, "resets holds 3")],
)
def test_wrong_arguments_are_refused(options, words):
    model, optimizer = little()
    with pytest.raises(InvalidValue, match=words):
        bb.iterate(model, optimizer, geometric(), **options)


def test_units_may_go_as_one():
    model, optimizer = little()
    with bb.iterate(model, optimizer, geometric(2, 0.3, granularity=bb.Unit(outputs=()))) as levels:
        for level in levels:
            units = [row for entry in level.mask.values() for row in entry]
            assert sum(bool(row.all()) for row in units) == round(0.7**level.number * 12)  # 9 + 3 units
            assert all(bool(row.all()) or not row.any() for row in units)
            train(model, optimizer)


def test_mask_grads_reaches_the_hold():
    model, optimizer = little()
    with bb.iterate(model, optimizer, geometric(1, 0.5), mask_grads=True) as levels:
        for level in levels:
            train(model, optimizer)
            for name, parameter in level.mask.parameters(model).items():
                assert not parameter.grad[~level.mask[name]].any()


def test_a_plan_that_cannot_work_is_refused_before_anything_is_trained():
    model = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.1, levels=3), then=[bb.ActivateWhilePruning(q=0.2)])
    with pytest.raises(InvalidValue, match="choose a smaller q"):
        bb.iterate(model, optimizer, plan)
    sparse = bb.Mask({name: torch.arange(t.numel()).reshape(t.shape) < 5 for name, t in bb.Mask.dense(model).items()})
    with pytest.raises(InvalidValue, match="sparsity rises from level to level"):
        bb.iterate(model, optimizer, bb.Plan(schedule=bb.schedules.Geometric(rate=0.1, levels=3)), mask=sparse)


GRADIENT = bb.criteria.Gradient()


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"criterion": bb.criteria.Magnitude}, "criterion is the class Magnitude"),
        ({"criterion": "magnitude"}, "write criterion=bb.criteria.Magnitude()"),
        ({"schedule": "geometric"}, "schedule is 'geometric'"),
        ({"then": [bb.ActivateWhilePruning]}, "then is the class ActivateWhilePruning"),
        ({"then": bb.ActivateWhilePruning()}, "it is a list of stages"),
        ({"then": ["ap"]}, "then is 'ap'"),
    ],
)
def test_a_plan_takes_instances_only(parts, words):
    with pytest.raises(InvalidValue) as caught:
        bb.Plan(**{"schedule": bb.schedules.OneShot(sparsity=0.5), **parts})
    assert words in str(caught.value)


def test_q_may_be_a_numpy_number():
    numpy = pytest.importorskip("numpy")
    plan = bb.Plan(schedule=bb.schedules.OneShot(sparsity=0.5), then=[bb.ActivateWhilePruning(numpy.float64(0.02))])
    assert plan.targets(100)[1].shares == (2,)


def test_missing_batches_and_loss_are_said_before_anything_is_trained():
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plan = bb.Plan(criterion=GRADIENT, schedule=bb.schedules.OneShot(sparsity=0.5))
    x, y = torch.randn(6, 4), torch.tensor([0, 1, 0, 1, 0, 1])
    with pytest.raises(MissingEvidence, match="batches=loader"):
        bb.iterate(model, optimizer, plan)
    with pytest.raises(MissingEvidence, match="loss=loss_fn"):
        bb.iterate(model, optimizer, plan, batches=[(x, y)])
    with pytest.raises(InvalidValue, match="for a single batch"):
        bb.iterate(model, optimizer, plan, batches=(x, y), loss=cross_entropy)
    with pytest.raises(InvalidValue, match=r"write resets=\[scheduler\]"):
        bb.iterate(model, optimizer, plan, resets=torch.Generator())


def test_a_bias_that_is_not_finite_is_noticed():
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with bb.iterate(model, optimizer, geometric(1, 0.2)) as levels:
        epochs = next(iter(levels)).epochs(1)
        next(epochs)
        nn.init.constant_(model.bias, math.nan)
        with pytest.raises(NotFinite, match="'bias'"):
            next(epochs)


def test_a_criterion_must_score_every_weight():
    @dataclasses.dataclass(frozen=True)
    class FirstOnly:
        needs = (Weights(),)

        def __call__(self, evidence):
            name, weight = next(iter(evidence[Weights()].items()))
            return bb.Scores.of({name: weight.abs()})

    with pytest.raises(MaskMismatch, match=r"no scores for '2\.weight'"):
        bb.prune(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), sparsity=0.5, criterion=FirstOnly())
