"""Plans that keep a path to each class: the same counts at each level, whatever follows the host."""

import dataclasses
import itertools

import pytest
import torch
from small_runs import Parts, geometric, outcome, run
from torch import nn

import budbreak as bb
from budbreak.criteria import LeastMovedNegative, Magnitude, Random, SynFlow
from budbreak.errors import InvalidValue, MissingEvidence, Unreached
from budbreak.masks import NM, Global, Layer

AP = LeastMovedNegative()
FOLLOWING = {
    "host": [],
    "lite": [bb.Remove(AP, 0.1)],
    "pro": [bb.Train(), bb.Remove(AP, 0.1)],
    "parts": [bb.Train(), bb.Remove(None, 0.1), bb.Remove(Random(), 0.1)],
}


def carried_out(plan, **options):
    """(mask of each training, their records) of a small run of one epoch each."""
    masks = []
    _, history = run(Parts(), plan, each_level=lambda _, level: masks.append(level.mask), epochs=1, **options)
    return masks, history


def reached(mask):
    parts = Parts()
    return bb.trace(parts.model, parts.x).reachable(mask).classes[0].tolist()


@pytest.mark.parametrize("following", FOLLOWING)
@pytest.mark.parametrize("scope", [Global(), Layer()], ids=lambda scope: type(scope).__name__)
def test_classes_stay_connected_and_counts_as_they_are(scope, following):
    """132 weights, 3 classes; at the end 8 stay, at least 3 of each layer."""
    options = {"scope": scope, "floor": 3, "then": FOLLOWING[following], "criterion": Random(seed=2)}
    plans = [geometric(3, 0.6, connect=connect, **options) for connect in (False, True)]
    (torn, plain), (whole, records) = (carried_out(plan) for plan in plans)
    assert not all(reached(torn[-1]))
    assert all(all(reached(mask)) for mask in whole)
    counts = [[(r.kept, r.host_removed + sum(r.follow_ups_removed)) for r in history] for history in (plain, records)]
    assert counts[0] == counts[1]
    assert all(later.is_within(earlier) for earlier, later in itertools.pairwise(whole))
    if following == "host" and scope.divides:
        assert [[mask.kept_in(name) for name in mask] for mask in torn] == [
            [mask.kept_in(name) for name in mask] for mask in whole
        ]


def test_records_say_how_many_weights_were_exchanged_and_that_it_was_asked_for():
    options = {"scope": Layer(), "floor": 3, "criterion": Random(seed=2)}
    _, plain = carried_out(geometric(3, 0.6, **options))
    assert [record.exchanged for record in plain] == [None] * 4
    assert all("classes connected" not in record.invariants for record in plain)
    _, records = carried_out(geometric(3, 0.6, connect=True, **options))
    assert records[0].exchanged is None
    assert sum(record.exchanged for record in records[1:]) > 0
    assert all(record.invariants["classes connected"] for record in records[1:])


def test_one_level_is_what_connect_makes_of_the_host_s_choice():
    ends = {}

    def each_level(parts, level):
        if level.number == 1:
            ends["mask"] = level.mask

    parts = Parts()
    plan = bb.Plan(schedule=bb.schedules.OneShot(0.93), scope=Layer(), floor=3, connect=True, rewind_to=None)
    with parts.iterate(plan) as levels:
        for level in levels:
            if level.number == 0:
                parts.epoch()
                scores = Magnitude()(bb.probe(parts.model, Magnitude.needs))
                chosen = bb.select(scores, 9, scope=Layer(), floor=3)
                expected = bb.connect(parts.model, chosen, parts.x, scope=Layer())
            else:
                assert level.mask == expected
                assert levels_exchanged(level, chosen) > 0
    assert levels.history[1].exchanged == expected.kept - (expected & chosen).kept


def levels_exchanged(level, chosen):
    return level.mask.kept - (level.mask & chosen).kept


def test_what_holds_together_is_pruned_as_without():
    plans = [geometric(2, 0.2, connect=connect, then=FOLLOWING["lite"]) for connect in (False, True)]
    plain, whole = (outcome(*run(Parts(), plan)) for plan in plans)
    assert [record.exchanged for record in whole["records"]] == [None, 0, 0]
    for outcomes in (plain, whole):
        outcomes["records"] = [
            dataclasses.replace(record, exchanged=None, invariants={}) for record in outcomes["records"]
        ]
    assert plain == whole


def test_rounds_and_networks_that_were_never_trained():
    plan = bb.Plan(
        schedule=bb.schedules.OneShot(0.93),
        criterion=SynFlow(rounds=4, shape=(8,)),
        train_dense=False,
        connect=True,
        floor=3,
        scope=Layer(),
    )
    masks, records = carried_out(plan)
    assert all(reached(masks[0]))
    assert (records[0].kept, records[0].level) == (9, 1)


def test_a_store_keeps_how_many_were_exchanged(tmp_path):
    plan = geometric(3, 0.6, connect=True, scope=Layer(), floor=3, criterion=Random(seed=2))
    parts = Parts()
    with parts.iterate(plan, store=tmp_path) as levels:
        for level in levels:
            for epoch in level.epochs(2):
                parts.epoch()
                if level.number == 2 and epoch == 0:
                    break
            if level.number == 2:
                break
    _, resumed = run(Parts(), plan, epochs=2, store=tmp_path)
    _, through = run(Parts(), plan, epochs=2)
    assert [record.exchanged for record in resumed] == [record.exchanged for record in through]
    assert [record.mask_digest for record in resumed] == [record.mask_digest for record in through]


def test_what_cannot_be_exchanged_is_refused_with_the_plan():
    for options, words in (
        ({"scope": NM(2, 4)}, r"scope NM\(.*\n.*\n.*leave connect out"),
        ({"granularity": bb.Unit()}, r"granularity Unit\(.*\n.*\n.*granularity=bb.Element\(\), or leave connect out"),
        ({"granularity": bb.Block(2, 2)}, r"granularity Block\("),
        ({"connect": 1}, r"connect is 1\nit is True or False"),
    ):
        with pytest.raises(InvalidValue, match=words):
            geometric(**{"connect": True, **options})


def test_batches_are_asked_for_at_once():
    with pytest.raises(MissingEvidence, match="no batches were given, and Graph looks at them"):
        Parts().iterate(geometric(connect=True), batches=None)


def test_a_last_level_that_keeps_too_little_is_refused_at_the_first():
    plan = geometric(3, 0.7, connect=True, scope=Layer())
    words = r"level 3 of Geometric.*: no path to class \d .*1 of '4.weight' stay\n.*\n.*floor=3"
    with pytest.raises(InvalidValue, match=words):
        carried_out(plan)


def test_what_a_plan_spares_leaves_less_room_for_paths():
    """The first layer is spared: of 98 weights 2 are left for three classes, of 99 just as many as there are."""
    options = {"spare": ["0.weight"], "connect": True, "criterion": Random(seed=2)}
    masks, _ = carried_out(bb.Plan(schedule=bb.schedules.OneShot(0.25), **options))
    assert all(reached(masks[-1]))
    assert masks[-1].kept_in("4.weight") == 3
    with pytest.raises(InvalidValue, match=r"no path to class \d fits in .*2 of '4\.weight' stay"):
        carried_out(bb.Plan(schedule=bb.schedules.OneShot(0.2576), **options))
    with pytest.raises(InvalidValue, match=r"^no path to class \d fits in .*2 of '4\.weight' stay"):  # not rehearsed
        carried_out(bb.Plan(schedule=bb.schedules.OneShot(0.2576), then=[bb.Remove(None, 0.001)], **options))


def test_a_class_that_nothing_alive_leads_to_is_named():
    parts = Parts()
    mask = bb.Mask.dense(parts.model)
    mask = bb.Mask({name: entry & (torch.arange(len(entry)) != 1)[:, None] for name, entry in mask.items()})
    with pytest.raises(Unreached, match="no path leads to class 1, through whatever is alive"):
        run(parts, geometric(connect=True), epochs=1, mask=mask)


def test_what_goes_on_as_numbers_is_named():
    class Numbers(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(8, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.last(torch.tensor(self.first(x).tolist()))

    model = Numbers()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plan = geometric(connect=True)
    with (
        pytest.raises(Unreached, match=r"'first\.weight' computes goes on as numbers"),
        bb.iterate(model, optimizer, plan, batches=[torch.zeros(2, 8)]) as levels,
    ):
        for _ in levels:
            pass
