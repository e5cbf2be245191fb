"""What follows the host within a level: removals and trainings in any order and number."""

import pytest
from small_runs import Parts, geometric, outcome, run

import budbreak as bb
from budbreak.criteria import Displacement, LeastMovedNegative, Magnitude, Random
from budbreak.errors import InvalidValue
from budbreak.evidence import StartWeights, Weights

AP = LeastMovedNegative()
SPELT = {"lite": [bb.Remove(AP, 0.1)], "pro": [bb.Train(), bb.Remove(AP, 0.1)]}


@pytest.mark.parametrize("variant", SPELT)
@pytest.mark.parametrize("rewind_to", [bb.Step(3), None])
def test_ap_is_short_for_stages_bit_for_bit(variant, rewind_to):
    short = [bb.ActivateWhilePruning(q=0.1, variant=variant)]
    outcomes = [outcome(*run(Parts(), geometric(then=then, rewind_to=rewind_to))) for then in (short, SPELT[variant])]
    assert outcomes[0] == outcomes[1]
    assert any(record.follow_ups_removed == (13,) for record in outcomes[0]["records"])  # 0.1 of 132 = 13.2


def test_stages_in_any_order_and_number_remove_their_shares_before_their_training():
    """132 weights, rate 0.4: 53 go (79 = round(79.2) stay), of which 13, 6, 6 by the removals: floors of 132 q."""
    then = [bb.Remove(Random(seed=1), 0.1), bb.Train(), bb.Train(), bb.Remove(None, 0.05), bb.Remove(AP, 0.05)]
    plan = geometric(1, 0.4, then=then)
    assert plan.trainings == [(0, 0), (1, 0), (1, 1), (1, 2)]
    assert [plan.removing(stage) for stage in range(3)] == [[0], [], [1, 2]]
    masks = {}
    _, history = run(
        Parts(), plan, each_level=lambda _, level: masks.update({(level.number, level.stage): level.mask}), epochs=1
    )
    counts = [(r.stage, r.kept, r.host_removed, r.follow_ups_removed, r.last_stage) for r in history[1:]]
    assert counts == [
        (0, 132 - 28 - 13, 28, (13, 0, 0), False),
        (1, 91, 0, (0, 0, 0), False),
        (2, 79, 0, (0, 6, 6), True),
    ]
    assert masks[1, 0] == masks[1, 1]
    assert masks[1, 2].is_within(masks[1, 1])


def test_removals_before_one_training_go_one_after_the_other_within_what_is_left():
    """132 weights, 66 stay: 40 go by the host, then 13 at random, then the 13 least moved negative ones."""
    masks, ends = {}, {}

    def each_level(parts, level):
        if level.number == 1:
            ends.update(parts.last)
        masks[level.number] = level.mask
        start = {name: p.detach().clone() for name, p in parts.model.named_parameters()}
        parts.start = getattr(parts, "start", start)

    def each(parts, x):
        parts.last = {name: p.detach().clone() for name, p in parts.model.named_parameters()}

    parts, _ = run(
        Parts(),
        geometric(1, 0.5, then=[bb.Remove(Random(seed=1), 0.1), bb.Remove(AP, 0.1)]),
        each_level=each_level,
        each=each,
        epochs=1,
    )
    now = {name: ends[name] for name in masks[0]}
    evidence = bb.Evidence({Weights(): now, StartWeights(): {name: parts.start[name] for name in now}})
    expected = masks[0]
    for criterion, keep in ((Magnitude(), 92), (Random(seed=1), 79), (AP, 66)):
        expected = bb.select(criterion(evidence), keep, within=expected)
    assert masks[1] == expected


@pytest.mark.parametrize("then", [[bb.Train()], [bb.Train(), bb.Remove(None, 0.2)], [bb.Remove(q=0.2)]], ids=str)
def test_units_can_be_trained_again_and_removed_in_parts_by_the_host(then):
    """12 units (the classifier's stay), of which 6 go: 2 (floor of 2.4) by the second removal."""
    plan = geometric(1, 0.5, granularity=bb.Unit(), scope=bb.masks.Layer(), then=then)
    _, history = run(Parts(), plan, epochs=1)
    last = history[-1]
    assert (last.counted, last.counted_kept) == ("units", 6)
    parted = 2 if plan.removals else 0
    assert sum(sum(r.follow_ups_removed) for r in history) == parted
    assert sum(r.host_removed for r in history) == 6 - parted


def test_a_criterion_of_its_own_removes_single_weights():
    with pytest.raises(
        InvalidValue, match=r"Remove\(criterion=LeastMovedNegative.*\na criterion of its own removes single weights"
    ):
        geometric(granularity=bb.Unit(), scope=bb.masks.Layer(), then=[bb.Remove(AP, 0.1)])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: bb.Remove(q=0), r"q is 0\n"),
        (lambda: bb.Remove(q=20), r"q is 20\n.*\n.*write 0.2"),
        (lambda: bb.Remove("ap"), r"criterion is 'ap'\n"),
        (lambda: bb.Remove(LeastMovedNegative), r"criterion is the class LeastMovedNegative\n"),
        (lambda: geometric(then=[bb.Remove(AP, 0.2), bb.Remove(AP, 0.2)]).targets(100), "what follows the host wants"),
    ],
)
def test_a_removal_says_what_is_wrong(make, words):
    with pytest.raises(InvalidValue, match=words):
        make()


def test_a_removal_draws_otherwise_in_another_replicate():
    assert bb.Remove(Random(seed=3), 0.1).replicate(2) == bb.Remove(Random(seed=5), 0.1)
    for same in (bb.Remove(AP, 0.1), bb.Remove(None, 0.1)):
        assert same.replicate(2) == same


@pytest.mark.parametrize(
    ("criterion", "then"),
    [(Magnitude(), [bb.Remove(AP, 0.1)]), (Displacement(), []), (Displacement(), [bb.Train(), bb.Remove(None, 0.1)])],
    ids=["AP", "displacement", "in two parts"],
)
def test_an_untrained_level_0_is_refused_by_what_looks_at_displacement(criterion, then):
    parts = Parts()
    plan = geometric(criterion=criterion, then=then)
    with (
        pytest.raises(InvalidValue, match=r"is to remove weights, but none has moved in the training before\n"),
        parts.iterate(plan) as levels,
    ):
        for _ in levels:
            pass


def test_the_second_part_of_the_host_s_removal_needs_a_training_too():
    parts, seen = Parts(), []

    def train_level_0_only():
        with parts.iterate(geometric(criterion=Displacement(), then=[bb.Train(), bb.Remove(None, 0.1)])) as levels:
            for level in levels:
                seen.append((level.number, level.stage))
                if level.number == 0:
                    parts.epoch()

    with pytest.raises(InvalidValue, match="none has moved"):
        train_level_0_only()
    assert seen == [(0, 0), (1, 0)]


@pytest.mark.parametrize("frozen", [["0.weight"], ["0.weight", "4.weight"]])
@pytest.mark.parametrize("then", [[bb.ActivateWhilePruning(0.05)], []], ids=["ap", "host"])
def test_frozen_weights_are_no_weights_that_hardly_moved(frozen, then):
    """Their displacement is 0, so that AP, or a host that looks at it, would remove nothing else."""
    parts = Parts()
    for name in frozen:
        parts.model.get_parameter(name).requires_grad_(False)
    host = bb.criteria.Magnitude() if then else bb.criteria.Displacement()
    plan = geometric(1, criterion=host, then=then)
    with pytest.raises(
        InvalidValue, match=r"these are frozen: '0\.weight'.*\n.*\nleave it out: .*'0\.weight'.*\); or train it"
    ):
        run(parts, plan)
    if len(frozen) == 1:
        run(parts, geometric(1, criterion=host, then=then, prunable=bb.excluding("0.weight")))
