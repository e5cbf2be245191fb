"""Learning-rate schedules: against torch's own, in the levels of an iteration, killed and resumed, refused."""

from __future__ import annotations

import copy
import functools
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler as torchs

import budbreak as bb
from budbreak.errors import InvalidValue, MissingReset, NotFinite, StoreMismatch
from budbreak.iteration.identity import describe_reset
from budbreak.testing import check_value, mlp, separable
from budbreak.training import rates
from budbreak.training.rates import Constant, Cosine, Linear, OneCycle, Plateau, Steps

EPOCHS, STEPS = 8, 4  # of level 0; steps of an epoch
TOTAL = EPOCHS * STEPS
RATE = 0.3

SAMPLES: dict[type, list[Any]] = {
    Constant: [Constant(), Constant(warmup=1.5), Constant(warmup=5.0, start=0.1), Constant(warmup=8.0)],
    Cosine: [Cosine(), Cosine(end=0.1), Cosine(end=0.1, warmup=1.0, cycle=2.25), Cosine(end=0.01, warmup=1.0)],
    Linear: [Linear(), Linear(end=0.5), Linear(end=0.1, warmup=0.5)],
    OneCycle: [OneCycle(), OneCycle(peak=0.5, start=0.1, end=0.01), OneCycle(peak=0.43, start=0.0, end=0.0)],
    Plateau: [Plateau(patience=0), Plateau(patience=1, gamma=0.5, threshold=0.05), Plateau(patience=2, warmup=2.0)],
    Steps: [
        Steps((3.0, 6.5)),
        Steps(every=2.5, gamma=0.5),
        Steps(every=2.0, warmup=1.0),
        Steps((2.0,), gamma=3.0),
        Steps((1.0, 5.25, 5.5), gamma=0.2, warmup=1.75),
    ],
}
ALL = [value for values in SAMPLES.values() for value in values]
FORESEEN = [value for value in ALL if not isinstance(value, Plateau)]
PLATEAUS = SAMPLES[Plateau]
ONE_EACH = [values[-1] for values in SAMPLES.values()]


def little(rate: float = RATE) -> torch.optim.Optimizer:
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    weight.grad = torch.zeros_like(weight)
    return torch.optim.SGD([weight], lr=rate)


def rates_of_torch(make: Callable[[torch.optim.Optimizer], Any], steps: int = TOTAL) -> list[float]:
    optimizer = little()
    scheduler, seen = make(optimizer), []
    for step in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < steps:
            scheduler.step()
    return seen


def our_rates(schedule: Any, steps: int = TOTAL) -> list[float]:
    optimizer = little()
    scheduler, seen = schedule.attach(optimizer, steps_per_epoch=STEPS, epochs=EPOCHS), []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        scheduler.after_step()
    return seen


def close(ours: list[float], theirs: list[float]) -> None:
    """Torch multiplies the last rate on and on where we compute each from the start: some roundings apart."""
    assert len(ours) == len(theirs)
    assert ours == pytest.approx(theirs, rel=1e-11, abs=1e-14 * RATE)


# --- the contract ------------------------------------------------------------------------------------------


def test_each_class_is_enrolled() -> None:
    assert set(rates.ALL) == set(SAMPLES)
    assert all(kind.__name__ in rates.__all__ for kind in rates.ALL)


@pytest.mark.parametrize("schedule", ALL, ids=str)
def test_it_is_a_value(schedule: Any) -> None:
    check_value(schedule)


@pytest.mark.parametrize("schedule", FORESEEN, ids=str)
def test_factors_are_pure_and_never_negative(schedule: Any) -> None:
    factor = functools.partial(schedule.factor, steps_per_epoch=STEPS, epochs=EPOCHS)
    factors = [factor(step) for step in range(TOTAL)]
    assert [factor(step) for step in reversed(range(TOTAL))][::-1] == factors
    assert all(type(one) is float and 0 <= one < math.inf for one in factors)
    assert factor(TOTAL) == factor(TOTAL + 1) == factor(10 * TOTAL)


@pytest.mark.parametrize("schedule", ALL, ids=str)
def test_the_live_object_continues_from_its_state(schedule: Any) -> None:
    scores = accuracies(0)

    def go(scheduler: Any, steps: range) -> Iterator[float]:
        for step in steps:
            yield scheduler.optimizer.param_groups[0]["lr"]
            scheduler.after_step()
            if (step + 1) % STEPS == 0:
                scheduler.after_epoch(scores[step // STEPS])

    first = schedule.attach(little(), steps_per_epoch=STEPS, epochs=EPOCHS)
    list(go(first, range(22)))
    state = copy.deepcopy(first.state_dict())
    wanted = list(go(first, range(22, TOTAL)))
    second = schedule.attach(little(), steps_per_epoch=STEPS, epochs=EPOCHS)
    list(go(second, range(9)))  # whatever it has done before
    second.load_state_dict(copy.deepcopy(state))
    assert second.state_dict() == state
    assert list(go(second, range(22, TOTAL))) == wanted
    first.load_state_dict(state)
    assert list(go(first, range(22, TOTAL))) == wanted


@pytest.mark.parametrize("schedule", ALL, ids=str)
def test_each_group_has_its_own_rate(schedule: Any) -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (0.3, 0.02)]
    optimizer = torch.optim.SGD(groups)
    scheduler = schedule.attach(optimizer, steps_per_epoch=STEPS, epochs=EPOCHS)
    for _ in range(TOTAL):
        assert [group["lr"] for group in optimizer.param_groups] == [0.3 * scheduler.share, 0.02 * scheduler.share]
        scheduler.after_step()


# --- against torch -----------------------------------------------------------------------------------------


def old_factor(schedule: Steps) -> Callable[[int], float]:
    """As the recipes of earlier versions had it."""
    warmup = round(schedule.warmup * STEPS)
    drops = [round(milestone * STEPS) for milestone in schedule.milestones]

    def factor(step: int) -> float:
        rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
        return rising * schedule.gamma ** sum(step >= drop for drop in drops)

    return factor


@pytest.mark.parametrize(
    "schedule", [*(one for one in SAMPLES[Steps] if not one.every), Steps((0.625, 3.875), warmup=0.625)], ids=str
)
def test_steps_have_the_bits_of_earlier_versions(schedule: Steps) -> None:
    assert our_rates(schedule) == rates_of_torch(lambda optimizer: torchs.LambdaLR(optimizer, old_factor(schedule)))


@pytest.mark.parametrize("milestones", [(3.0, 6.5), (0.25,), (7.75,)])
@pytest.mark.parametrize("gamma", [0.1, 0.5, 3.0])
def test_steps_are_multi_step_lr(milestones: tuple[float, ...], gamma: float) -> None:
    drops = [int(milestone * STEPS) for milestone in milestones]
    close(
        our_rates(Steps(milestones, gamma)),
        rates_of_torch(lambda optimizer: torchs.MultiStepLR(optimizer, drops, gamma)),
    )


@pytest.mark.parametrize("end", [0.0, 0.1, 0.9])
def test_cosine_is_cosine_annealing_lr(end: float) -> None:
    close(
        our_rates(Cosine(end=end)),
        rates_of_torch(lambda optimizer: torchs.CosineAnnealingLR(optimizer, TOTAL, eta_min=end * RATE)),
    )


@pytest.mark.parametrize("end", [0.0, 0.1, 0.9])
def test_linear_is_linear_lr(end: float) -> None:
    close(
        our_rates(Linear(end=end)),
        rates_of_torch(lambda optimizer: torchs.LinearLR(optimizer, 1.0, end, total_iters=TOTAL)),
    )


@pytest.mark.parametrize(
    ("schedule", "fall"),
    [
        (Constant(warmup=1.5), lambda o: torchs.ConstantLR(o, factor=1.0)),
        (Cosine(end=0.1, warmup=1.5), lambda o: torchs.CosineAnnealingLR(o, TOTAL - 6, eta_min=0.1 * RATE)),
        (Linear(end=0.1, warmup=1.5), lambda o: torchs.LinearLR(o, 1.0, 0.1, total_iters=TOTAL - 6)),
        (Steps((3.0, 5.0), warmup=1.5), lambda o: torchs.MultiStepLR(o, [12 - 6, 20 - 6])),
    ],
    ids=["constant", "cosine", "linear", "steps"],
)
def test_a_warm_up_is_linear_lr_in_front(schedule: Any, fall: Callable[[torch.optim.Optimizer], Any]) -> None:
    def make(optimizer: torch.optim.Optimizer) -> Any:
        rise = torchs.LinearLR(optimizer, 1 / 6, 1.0, total_iters=5)  # step 5, the sixth, is at the full rate
        return torchs.SequentialLR(optimizer, [rise, fall(optimizer)], milestones=[6])

    close(our_rates(schedule), rates_of_torch(make))


@pytest.mark.parametrize("peak", [0.1, 0.3, 0.375, 0.5, 0.9])
@pytest.mark.parametrize(("div", "final"), [(25.0, 1e4), (10.0, 10.0)])
def test_one_cycle_is_one_cycle_lr(peak: float, div: float, final: float) -> None:
    def make(optimizer: torch.optim.Optimizer) -> Any:
        return torchs.OneCycleLR(
            optimizer,
            RATE,
            total_steps=TOTAL,
            pct_start=peak,
            cycle_momentum=False,
            div_factor=div,
            final_div_factor=final,
        )

    close(our_rates(OneCycle(peak=peak, start=1 / div, end=1 / (div * final))), rates_of_torch(make))


def test_one_cycle_has_the_default_numbers_of_torch() -> None:
    make = functools.partial(torchs.OneCycleLR, max_lr=RATE, total_steps=TOTAL, cycle_momentum=False)
    close(our_rates(OneCycle()), rates_of_torch(make))


def plateau_rates(schedule: Plateau, scores: list[float]) -> list[float]:
    """Torch's: the rate of each epoch, the warm-up apart; one more than there are scores."""
    optimizer = little()
    scheduler = torchs.ReduceLROnPlateau(
        optimizer,
        mode="max",
        factor=schedule.gamma,
        patience=schedule.patience,
        threshold=schedule.threshold,
        threshold_mode="abs",
        eps=0.0,
    )
    seen = [RATE]
    for score in scores:
        scheduler.step(score)
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


@pytest.mark.parametrize("patience", [0, 1, 3])
@pytest.mark.parametrize("threshold", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(5))
def test_plateau_is_reduce_lr_on_plateau(patience: int, threshold: float, seed: int) -> None:
    draw = random.Random(seed)
    scores = [draw.choice([0.0, 0.5, 0.52, 0.6, 0.64, 1.0, draw.random()]) for _ in range(30)]
    schedule = Plateau(patience=patience, gamma=0.5, threshold=threshold)
    optimizer = little()
    scheduler = schedule.attach(optimizer, steps_per_epoch=1, epochs=31)
    seen = [optimizer.param_groups[0]["lr"]]
    for score in scores:
        scheduler.after_step()
        scheduler.after_epoch(score)
        seen.append(optimizer.param_groups[0]["lr"])
    close(seen, plateau_rates(schedule, scores))
    assert len(set(seen)) > 3


# --- in an iteration ---------------------------------------------------------------------------------------


def accuracies(level: int) -> list[float]:
    """Of each epoch: rising, then not, otherwise in each level."""
    draw = random.Random(level)
    return [draw.choice([0.5, 0.6, 0.7, 0.8]) for _ in range(EPOCHS)]


class Killed(Exception):
    """The process ends here."""


def carry_out(
    schedule: Any, *, rewind: int | None, killed_at: tuple[int, int] | None = None, store: Path | None = None
) -> dict[tuple[int, int], list[float]]:
    """Dense and two levels, all to the end of the training; (level, epoch) -> the rates of its steps."""
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    scheduler = schedule.attach(optimizer, steps_per_epoch=STEPS, epochs=EPOCHS)
    x, y = separable(32)
    plan = bb.Plan(
        schedule=bb.schedules.Geometric(rate=0.3, levels=2), rewind_to=None if rewind is None else bb.Step(rewind)
    )
    seen: dict[tuple[int, int], list[float]] = {}
    with bb.iterate(model, optimizer, plan, resets=[scheduler], store=store) as levels:
        for level in levels:
            for epoch in level.epochs(EPOCHS - (level.start_step // STEPS)):
                now = seen.setdefault((level.number, epoch), [])
                for _ in range(STEPS):
                    now.append(optimizer.param_groups[0]["lr"])
                    optimizer.zero_grad()
                    cross_entropy(model(x), y).backward()
                    optimizer.step()
                    scheduler.after_step()
                scheduler.after_epoch(accuracies(level.number)[epoch])
                if (level.number, epoch) == killed_at:
                    raise Killed
            level.record(accuracy=0.5)
    return seen


@pytest.mark.parametrize("rewind", [0, 6, 8, 13])
@pytest.mark.parametrize("schedule", [one for one in ONE_EACH if not isinstance(one, Plateau)], ids=str)
def test_each_level_goes_on_at_the_step_it_rewinds_to(schedule: Any, rewind: int) -> None:
    seen = carry_out(schedule, rewind=rewind)
    for level in range(3):
        steps = [rate for (number, _), epoch in seen.items() if number == level for rate in epoch]
        first = rewind if level else 0
        assert len(steps) == (EPOCHS - first // STEPS) * STEPS
        assert steps == [
            RATE * schedule.factor(step, steps_per_epoch=STEPS, epochs=EPOCHS)
            for step in range(first, first + len(steps))
        ]


@pytest.mark.parametrize("rewind", [0, 6, 8, 12])
@pytest.mark.parametrize("schedule", PLATEAUS, ids=str)
def test_a_plateau_knows_in_each_level_what_it_knew_at_the_rewind_point(schedule: Plateau, rewind: int) -> None:
    seen = carry_out(schedule, rewind=rewind)
    warmup = Constant(warmup=schedule.warmup)
    known = accuracies(0)[: rewind // STEPS]
    for level in range(3):
        before = known if level else []
        own = [epoch for (number, _), epoch in seen.items() if number == level]
        after_drops = plateau_rates(schedule, before + accuracies(level)[: len(own)])[len(before) :]
        for number, (epoch, rate) in enumerate(zip(own, after_drops, strict=False)):
            first = (rewind if level else 0) + number * STEPS
            risen = [warmup.factor(first + i, steps_per_epoch=STEPS, epochs=EPOCHS) for i in range(STEPS)]
            close(epoch, [rate * share for share in risen])
    assert len({rate for epoch in seen.values() for rate in epoch}) > 2


@pytest.mark.parametrize("schedule", ONE_EACH, ids=str)
def test_without_rewinding_it_stays_at_its_end(schedule: Any) -> None:
    seen = carry_out(schedule, rewind=None)
    if isinstance(schedule, Plateau):
        assert max(seen[2, 0]) <= min(seen[0, EPOCHS - 1])
    else:
        assert set(seen[1, 0] + seen[2, 5]) == {RATE * schedule.factor(TOTAL, steps_per_epoch=STEPS, epochs=EPOCHS)}


@pytest.mark.parametrize("killed_at", [(0, 5), (1, 2)])
@pytest.mark.parametrize("schedule", ONE_EACH, ids=str)
def test_killed_and_resumed_it_has_the_same_rates(schedule: Any, killed_at: tuple[int, int], tmp_path: Path) -> None:
    wanted = carry_out(schedule, rewind=8)
    with pytest.raises(Killed):
        carry_out(schedule, rewind=8, killed_at=killed_at, store=tmp_path / "store")
    resumed = carry_out(schedule, rewind=8, store=tmp_path / "store")
    assert min(resumed) == killed_at  # its epoch was not kept
    assert resumed == {where: rates for where, rates in wanted.items() if where >= killed_at}


@pytest.mark.parametrize(
    ("schedule", "other"),
    [
        (Steps((3.0,)), Steps((4.0,))),
        (Steps((3.0,)), Constant()),
        (Cosine(), Linear()),
        (Plateau(patience=1), Plateau(patience=2)),
        (Plateau(patience=1), Plateau(patience=1, threshold=0.1)),
    ],
    ids=str,
)
def test_a_store_knows_the_schedule(schedule: Any, other: Any, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        carry_out(schedule, rewind=8, killed_at=(1, 0), store=tmp_path / "store")
    with pytest.raises(StoreMismatch):
        carry_out(other, rewind=8, store=tmp_path / "store")
    carry_out(schedule, rewind=8, store=tmp_path / "store")


@pytest.mark.parametrize("schedule", [Constant(warmup=1.0), Plateau(patience=1)], ids=str)
def test_outside_resets_it_is_refused(schedule: Any) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    scheduler = schedule.attach(optimizer, steps_per_epoch=STEPS, epochs=EPOCHS)
    with pytest.raises(MissingReset, match=f"a {type(scheduler).__name__} of this optimizer is not in resets"):  # noqa: SIM117
        with bb.iterate(model, optimizer, bb.Plan(schedule=bb.schedules.Geometric(rate=0.3, levels=1))):
            pass


def test_what_a_store_keeps_of_a_schedule_has_its_old_names() -> None:
    """Else no store that was written before would be taken up again."""
    for schedule in ONE_EACH:
        described = describe_reset(schedule.attach(little(), steps_per_epoch=STEPS, epochs=EPOCHS))
        looks = isinstance(schedule, Plateau)
        assert set(described["state"]) == ({"steps", "standing"} if looks else {"steps"})
        assert [set(functions) for functions in described["functions"]] == [
            {"_factor", "_look"} if looks else {"_factor"}
        ]


# --- refusals ----------------------------------------------------------------------------------------------

NO_VALUES: list[tuple[Callable[[], Any], str]] = [
    (lambda: Constant(warmup=-1.0), r"warmup is -1.0\nit must be a finite number >= 0"),
    (lambda: Constant(warmup=math.inf), "warmup is inf"),
    (lambda: Plateau(patience=1, warmup=math.nan), "warmup is nan"),
    (lambda: Linear(warmup="1.5"), r"warmup is '1.5'\n.*\nwrite 1.5"),  # type: ignore[arg-type]
    (lambda: Steps(()), r"there are no milestones\n.*\nname one, or write every = 20; or leave the rate"),
    (lambda: Steps([3.0]), r"milestones is \[3.0\], a list\nit must be a tuple"),  # type: ignore[arg-type]
    (lambda: Steps((3.0, 2.0)), r"milestones are \[3.0, 2.0\]\nthey rise\nwrite \[2.0, 3.0\]"),
    (lambda: Steps((3.0, 3.0)), r"they rise\nwrite \[3.0\]"),
    (lambda: Steps((0.0,)), r"milestones\[0\] is 0.0\nit must be a finite number > 0"),
    (lambda: Steps((1.0, "2")), r"milestones\[1\] is '2'"),  # type: ignore[arg-type]
    (lambda: Steps(tuple(map(float, range(1, 102)))), r"milestones has 101 items\nit has at most 100"),
    (lambda: Steps((3.0,), gamma=1.0), r"gamma is 1\nthe rate then stays"),
    (lambda: Steps((3.0,), gamma=0.0), r"gamma is 0.0\nit must be a finite number > 0, at most 1000"),
    (lambda: Steps((3.0,), gamma=1000.1), r"gamma is 1000.1\n.*at most 1000\nusual is 0.1"),
    (lambda: Steps((3.0,), every=2.0), r"milestones are \[3.0\], and every is 2\n.*\nleave one of them out"),
    (lambda: Steps(every=-1.0), r"every is -1.0\n.*\nusual is 20 epochs"),
    (lambda: Constant(start=0.1), r"start is 0.1 without a warm-up\n.*\nadd warmup = 5.0"),
    (lambda: Constant(warmup=1.0, start=1.0), r"start is 1.0\nit must be a number in \[0, 1\)"),
    (lambda: Cosine(cycle=-2.0), "cycle is -2.0"),
    (lambda: Cosine(end=1.0), r"end is 1.0\nit must be a number in \[0, 1\)"),
    (lambda: Linear(end=-0.1), r"end is -0.1"),
    (lambda: OneCycle(peak=0.0), r"peak is 0.0\nit must be a number in \(0, 1\)"),
    (lambda: OneCycle(peak=1.0), "peak is 1.0"),
    (lambda: OneCycle(start=1.0), "start is 1.0"),
    (lambda: OneCycle(end=25.0), r"end is 25.0\n.*\na percentage\? write 0.25"),
    (lambda: Plateau(patience=-1), r"patience is -1\nit must be a whole number >= 0"),
    (lambda: Plateau(patience=1.5), "patience is 1.5"),  # type: ignore[arg-type]
    (lambda: Plateau(patience=1, gamma=1.0), r"gamma is 1.0\nit must be a number in \(0, 1\)"),
    (lambda: Plateau(patience=1, threshold=-0.1), "threshold is -0.1"),
]


@pytest.mark.parametrize(("make", "said"), NO_VALUES, ids=[said for _, said in NO_VALUES])
def test_values_out_of_range_are_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        make()


NO_FIT = [
    (Constant(warmup=0.25), r"warmup is 0.25 epochs, of 4 steps each\nit lasts two steps or more\ntake it out"),
    (Constant(warmup=8.25), r"warmup is 8.25 epochs\nthe training has 8\nshorten it"),
    (Steps((3.0,), warmup=9.0), r"warmup is 9 epochs"),
    (Plateau(patience=1, warmup=0.1), r"warmup is 0.1 epochs"),
    (Cosine(warmup=0.2), r"warmup is 0.2 epochs"),
    (Cosine(warmup=8.0), r"after the warm-up of 8 epochs the training of 8 has 0 steps left"),
    (Linear(warmup=7.75), r"has 1 steps left\nthe rate falls over two steps or more"),
    (Steps((3.0, 8.0)), r"milestones are \[3.0, 8.0\]\nthey lie within the 8 epochs"),
    (Steps((7.9,)), r"the milestone 7.9 falls on step 32 of 32\na drop comes after the first step and before the last"),
    (Steps((0.1, 2.0)), r"the milestone 0.1 falls on step 0 of 32"),
    (Steps((2.0, 2.1)), r"the milestone 2.1 falls on step 8, as the one before\neach drop has a step of its own"),
    (Steps(every=0.1), r"every is 0.1 epochs: 0 steps of 32\n.*\nlengthen it"),
    (Steps(every=8.0), r"every is 8 epochs: 32 steps of 32\n.*\nshorten it, or leave the rate constant"),
    (Cosine(cycle=0.25), r"cycle is 0.25 epochs: 1 steps of the 32 that are left to fall\n.*\nlengthen it"),
    (Cosine(cycle=8.0), r"cycle is 8 epochs: 32 steps of the 32 .*\n.*\nshorten it, or take it out"),
    (Cosine(cycle=7.0, warmup=1.0), r"cycle is 7 epochs: 28 steps of the 28 that are left"),
    (OneCycle(peak=0.05), r"the peak 0.05 falls on step 0.6 of the steps 0 to 31"),
    (OneCycle(peak=0.99), r"the peak 0.99 falls on step 30.68 of the steps 0 to 31"),
    (Plateau(patience=6), r"patience is 6: the first drop comes after epoch 8 at the earliest\n.*\nwrite 5 or less"),
]


@pytest.mark.parametrize(("schedule", "said"), NO_FIT, ids=str)
def test_what_does_not_fit_the_training_is_refused(schedule: Any, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        schedule.check(epochs=EPOCHS, steps_per_epoch=STEPS)
    with pytest.raises(InvalidValue, match=said):
        schedule.attach(little(), epochs=EPOCHS, steps_per_epoch=STEPS)


@pytest.mark.parametrize(
    "schedule",
    [
        Constant(warmup=0.5),
        Constant(warmup=8.0),
        Cosine(warmup=7.5),
        Steps((0.25, 7.75)),
        Steps(every=0.25),
        Steps(every=7.75),
        Cosine(cycle=0.5),
        Cosine(cycle=7.75),
        Plateau(patience=5),
        OneCycle(peak=2 / 32),
        OneCycle(peak=31 / 32),
    ],
    ids=str,
)
def test_what_just_fits_passes(schedule: Any) -> None:
    schedule.check(EPOCHS, STEPS)


@pytest.mark.parametrize("schedule", ALL, ids=str)
def test_the_samples_fit(schedule: Any) -> None:
    schedule.check(EPOCHS, STEPS)


def test_a_patience_that_just_fits_has_an_effect() -> None:
    assert plateau_rates(Plateau(patience=5), [0.5] * (EPOCHS - 1))[-1] < RATE


@pytest.mark.parametrize("accuracy", [math.nan, math.inf])
def test_an_accuracy_that_is_no_number_is_refused(accuracy: float) -> None:
    scheduler = Plateau(patience=0).attach(little(), steps_per_epoch=STEPS, epochs=EPOCHS)
    scheduler.after_epoch(0.5)
    before = copy.deepcopy(scheduler.state_dict())
    with pytest.raises(NotFinite, match=f"the validation accuracy is {accuracy}"):
        scheduler.after_epoch(accuracy)
    assert scheduler.state_dict() == before


def test_a_percentage_is_no_accuracy() -> None:
    scheduler = Plateau(patience=0).attach(little(), steps_per_epoch=STEPS, epochs=EPOCHS)
    with pytest.raises(InvalidValue, match=r"is 97.5\nit is a share in \[0, 1\]\na percentage\? give 0.975"):
        scheduler.after_epoch(97.5)
