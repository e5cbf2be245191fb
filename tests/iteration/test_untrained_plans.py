"""Plans without a dense training, and removals in several rounds."""

import copy
from dataclasses import dataclass

import pytest
import torch
from small_runs import Parts, geometric, outcome, run
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.criteria import Displacement, LeastMovedNegative, Magnitude, Taylor
from budbreak.errors import InvalidValue
from budbreak.evidence import Gradients, Weights
from budbreak.masks import exponential_path

AP = LeastMovedNegative()
ONCE = bb.schedules.OneShot(sparsity=0.8)


@dataclass(frozen=True)
class Saliency:
    """SNIP, but for its normalisation."""

    needs = (Weights(), Gradients())
    at_initialization = True
    rounds = 1

    def __call__(self, evidence):
        return bb.Scores.elementwise(lambda w, g: (w * g).abs(), evidence[Weights()], evidence[Gradients()])


@dataclass(frozen=True)
class Often(Saliency):
    """The same in four rounds."""

    at_initialization = False
    rounds = 4


def untrained(criterion=Taylor(), schedule=ONCE, **options):  # noqa: B008 - a frozen value
    return bb.Plan(schedule=schedule, criterion=criterion, train_dense=False, **options)


def by_hand(parts, keep, rounds, criterion=Taylor()):  # noqa: B008 - a frozen value
    """Mask a copy, look again, remove more."""
    model, mask = copy.deepcopy(parts.model), bb.Mask.dense(parts.model)
    for stay in exponential_path(mask.kept, keep, rounds):
        with torch.no_grad():
            for name, parameter in mask.parameters(model).items():
                parameter *= mask[name]
        evidence = bb.probe(model, criterion.needs, batches=parts.loader, loss=cross_entropy)
        mask = bb.select(criterion(evidence), stay, within=mask)
    return mask


def begin(parts, plan, **options):
    """The mask of the first level, and the weights that its training starts from."""
    with parts.iterate(plan, **options) as levels:
        level = next(iter(levels))
        return level.mask, {name: p.detach().clone() for name, p in parts.model.named_parameters()}


def test_level_1_prunes_the_untrained_network_and_is_the_first_training():
    parts, seen = Parts(), []
    start = {name: p.detach().clone() for name, p in parts.model.named_parameters()}
    expected = by_hand(parts, 26, 1)  # round(0.2 * 132)

    def each_level(parts, level):
        seen.append((level.number, level.stage, level.start_step))
        assert level.mask == expected
        for name, parameter in parts.model.named_parameters():
            assert torch.equal(parameter, start[name] * level.mask[name] if name in level.mask else start[name])

    _, history = run(parts, untrained(), each_level=each_level)
    assert seen == [(1, 0, 0)]
    assert parts.steps == 2 * 4
    assert [(r.level, r.last_stage, r.kept, r.host_removed) for r in history] == [(1, True, 26, 106)]
    assert history[0].rewound is not None


@pytest.mark.parametrize("rounds", [1, 2, 7])
@pytest.mark.parametrize("rewind_to", [bb.Step(0), None])
def test_each_round_looks_at_the_network_without_what_is_gone(rounds, rewind_to):
    parts = Parts()
    start = {name: p.detach().clone() for name, p in parts.model.named_parameters()}
    expected = by_hand(parts, 26, rounds)
    mask, weights = begin(parts, untrained(rounds=rounds, rewind_to=rewind_to))
    assert mask == expected
    for name, weight in weights.items():
        assert torch.equal(weight, start[name] * mask[name] if name in mask else start[name])


def test_rounds_choose_otherwise_than_one_look():
    assert by_hand(Parts(), 26, 1) != by_hand(Parts(), 26, 7)


def test_a_criterion_has_rounds_of_its_own_unless_the_plan_says_how_many():
    once, often = by_hand(Parts(), 26, 1), by_hand(Parts(), 26, 4)
    assert begin(Parts(), untrained(Often()))[0] == often != once
    assert begin(Parts(), untrained(Often(), rounds=1))[0] == once
    assert begin(Parts(), untrained(rounds=4))[0] == often


def test_a_removal_that_follows_has_the_rounds_of_its_own_criterion():
    """The plan's rounds are the host's; the first one, too, looks at the network without what the host removed."""
    plan = untrained(Magnitude(), then=[bb.Remove(Often(), 0.4)])
    parts = Parts()
    weights = {name: p.detach().clone() for name, p in parts.model.named_parameters()}
    mask = bb.select(Magnitude()(bb.probe(parts.model, Magnitude().needs)), 132 - 54)  # 0.4 of 132 = 52.8 go later
    for stay in exponential_path(78, 26, 4):
        for name, parameter in mask.parameters(parts.model).items():
            parameter.data *= mask[name]
        evidence = bb.probe(parts.model, Often.needs, batches=parts.loader, loss=cross_entropy)
        mask = bb.select(Often()(evidence), stay, within=mask)
    parts.model.load_state_dict({**parts.model.state_dict(), **weights})
    assert begin(Parts(), plan)[0] == mask


@pytest.mark.parametrize(
    "criterion",
    [bb.criteria.Snip(), bb.criteria.GraSP(mode="eval"), bb.criteria.SynFlow(rounds=5), Magnitude()],
    ids=str,
)
@pytest.mark.parametrize("rounds", [None, 3])
def test_a_plan_prunes_at_initialization_as_one_shot_pruning_does(criterion, rounds):
    parts = Parts()
    expected = bb.prune(
        copy.deepcopy(parts.model),
        sparsity=0.8,
        criterion=criterion,
        rounds=rounds,
        batches=parts.loader,
        loss=cross_entropy,
    )
    assert begin(parts, untrained(criterion, rounds=rounds))[0] == expected


def test_rounds_work_between_trainings_as_well():
    parts, masks = Parts(), []
    _, history = run(
        parts, geometric(2, rounds=3, criterion=Taylor()), each_level=lambda _, lvl: masks.append(lvl.mask)
    )
    assert [record.kept for record in history] == [132, 92, 65]
    _, plain = run(Parts(), geometric(2, criterion=Taylor()))
    assert history[0].end_digest == plain[0].end_digest
    assert history[1].mask_digest != plain[1].mask_digest


@dataclass(frozen=True)
class Fails(Often):
    """Raises in its second round."""

    def __call__(self, evidence):
        if any((weight == 0).any() for weight in evidence[Weights()].values()):
            raise ZeroDivisionError
        return super().__call__(evidence)


def test_an_error_between_rounds_leaves_all_weights_as_they_were():
    parts = Parts()
    before = {name: p.detach().clone() for name, p in parts.model.named_parameters()}
    with pytest.raises(ZeroDivisionError):
        begin(parts, untrained(Fails()))
    assert all(torch.equal(p, before[name]) for name, p in parts.model.named_parameters())


def test_ap_may_follow_the_first_training():
    plan = untrained(Saliency(), then=[bb.ActivateWhilePruning(q=0.1, variant="pro")])
    _, history = run(Parts(), plan)
    counts = [(r.level, r.stage, r.kept, r.follow_ups_removed) for r in history]
    assert counts == [(1, 0, 39, (0,)), (1, 1, 26, (13,))]


def test_several_levels_without_a_dense_one():
    _, history = run(Parts(), untrained(Magnitude(), bb.schedules.Geometric(rate=0.5, levels=2)))
    assert [(r.level, r.kept) for r in history] == [(1, 66), (2, 33)]


@pytest.mark.parametrize("kill", [1, 2, 3, 5])
def test_it_goes_on_where_it_was_killed(tmp_path, kill):
    plan = untrained(rounds=3, then=[bb.Train()])

    class Killed(Exception):
        pass

    def stop(parts, x):
        if parts.steps == kill:
            raise Killed

    straight = outcome(*run(Parts(), plan))
    with pytest.raises(Killed):
        run(Parts(), plan, store=tmp_path, each=stop)
    assert outcome(*run(Parts(), plan, store=tmp_path)) == straight


def test_the_preview_says_that_level_0_is_not_trained():
    lines = str(untrained(then=[bb.Train()]).preview(Parts().model)).splitlines()
    assert lines[1].split() == ["0", "100.00%", "132", "0", "0", "0"]
    assert lines[2].split() == ["1", "19.70%", "26", "106", "0", "2"]
    assert lines[3].startswith("2 trainings")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"criterion": Saliency(), "train_dense": True},
            r"Saliency\(\) is to remove .* after a training\n.*\n.*Taylor",
        ),
        (
            {"criterion": Saliency(), "schedule": bb.schedules.Geometric(rate=0.5, levels=2)},
            r"Saliency\(\) is to remove weights after a training\n.*\nprune in one level",
        ),
        ({"criterion": Saliency(), "then": [bb.Train(), bb.Remove(None, 0.1)]}, "after a training"),
        ({"then": [bb.Train(), bb.Remove(Saliency(), 0.1)]}, r"Saliency\(\) is to remove weights after a training"),
        (
            {"criterion": Displacement()},
            r"Displacement\(\) is to remove .* before the first training.*\n.*there is none yet",
        ),
        ({"then": [bb.ActivateWhilePruning()]}, r"LeastMovedNegative\(\) is to remove weights before the first"),
        ({"rewind_to": bb.Step(3)}, r"rewind_to is Step\(count=3\), train_dense False\n"),
        ({"schedule": bb.schedules.Dense()}, "with a schedule of no levels"),
        ({"train_dense": "no"}, r"train_dense is 'no'\n"),
        ({"rounds": 0}, r"rounds is 0\n"),
        ({"rounds": 2.5}, r"rounds is 2.5\n.*\nwrite 2"),
    ],
)
def test_what_cannot_work_is_refused_by_the_plan(arguments, words):
    with pytest.raises(InvalidValue, match=words):
        bb.Plan(**{"schedule": ONCE, "train_dense": False, **arguments})


@dataclass(frozen=True)
class Reads:
    levels = 1
    reads = ("accuracy",)

    def __call__(self, progress):
        return 0.5


def test_a_schedule_that_reads_metrics_finds_none():
    with pytest.raises(InvalidValue, match=r"looks at accuracy\nnothing is recorded before level 1"):
        untrained(schedule=Reads())


def test_there_is_no_dense_level_to_take_over(tmp_path):
    with pytest.raises(InvalidValue, match="has no level 0"):
        Parts().iterate(untrained(), store=tmp_path / "arm", dense=tmp_path / "dense")
    with pytest.raises(InvalidValue, match="train_dense=False"):
        _ = untrained().dense
