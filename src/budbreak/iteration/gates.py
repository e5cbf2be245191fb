"""Accuracy gates: each pruning waits for an accuracy of the training; and when to stop early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from budbreak.checks import check_count, check_fraction, check_instance, check_known, check_number
from budbreak.errors import InvalidValue
from budbreak.iteration.ending import Ending, SoFar
from budbreak.values import Family

_ORDERS, _GATES = ("recover", "official"), ("rising", "regained")


@dataclass(frozen=True)
class EarlyStop:
    """End a training whose loss keeps rising.

    m is the lowest loss so far. An epoch whose loss v is below m sets m = v. Else, one with v > (1 + rise) * m that is
    above the loss of the epoch before is a tick; one with v < (1 + rise) * m takes all ticks back. The training ends
    with the tick number ``ticks``.

    Args:
        rise: > 0; 0.1 = a tenth above the lowest.
        ticks: >= 1.
        loss: name of the number, recorded in each epoch.

    Source: the early stop in the repository of Ganguli & Chong 2024, doi 10.3390/a17010048.
    """

    rise: float = 0.1
    ticks: int = 3
    loss: str = "validation_loss"
    together = False

    def __post_init__(self) -> None:
        check_number("rise", self.rise, usual="0.1", zero=False)
        check_count("ticks", self.ticks)

    @property
    def reads(self) -> tuple[str, ...]:
        """See `EndingRule`."""
        return (self.loss,)

    def check(self, levels: int, /) -> None:
        """See `EndingRule`: any plan will do."""

    def ends(self, so_far: SoFar, /) -> Ending | None:
        """See `EndingRule`: after the epochs of each training alone."""
        return Ending() if self.stops(so_far.numbers(self.loss, own=True)) else None

    def stops(self, losses: Sequence[float]) -> bool:
        """Whether it has stopped by the last of these losses, one for each epoch."""
        lowest, ticks, before = float("inf"), 0, float("inf")
        for loss in losses:
            if loss < lowest:
                lowest = loss
            elif loss > (1 + self.rise) * lowest and loss > before:
                ticks += 1
            elif loss < (1 + self.rise) * lowest:
                ticks = 0
            if ticks == self.ticks:
                return True
            before = loss
        return False


@dataclass(frozen=True)
class AccuracyGates:
    """Prune as soon as the training is accurate enough, and a little more so each time.

    The training of level k < prunings ends with the first epoch whose accuracy is at least its gate,

        gate(k) = start + k * (final - start) / prunings  ("rising"),

    and level k + 1 prunes. That of the last level ends at ``final``. Every training may end by ``early_stop``, too, and
    once ``level.epochs(count)`` has given ``count`` epochs in all levels together (in order "recover" a pruning after
    them is followed by one more). Then what is not reached is said in the record (`LevelRecord.ending`), everything is
    kept, and if it was a gate, no further pruning happens.

    An epoch ends one training at most, so there is at most one pruning an epoch. For plans with ``rewind_to=None``:
    neither weights nor optimizer return between levels.

    Args:
        prunings: of the plan; 0: one training up to ``final``.
        start, final: accuracies, start < final.
        early_stop: looks at each training alone, so that a pruning resets it; None (in recipes "none"): none.
        order: "recover": each pruning is followed by one epoch at least, and an epoch that opens a gate stops nothing.
            "official": as in the authors' repository, the early stop looks at all epochs without a reset, and one that
            comes (or ``final``) in an epoch that opens a gate does not prevent its pruning, after which nothing is
            trained.
        gates: "rising"; "regained": the accuracy of the epoch that opened the last gate is reached once more, for
            pruning layer by layer.
        accuracy: name of the training accuracy, recorded in each epoch: a share in [0, 1].

    Source: Ganguli & Chong 2024, doi 10.3390/a17010048, and their repository: start 0.8, final 0.98, 5 or 10 prunings.
    """

    prunings: int
    start: float = 0.8
    final: float = 0.98
    early_stop: EarlyStop | None = field(default=EarlyStop(), metadata={"family": lambda: EARLY_STOPS})
    order: Literal["recover", "official"] = "recover"
    gates: Literal["rising", "regained"] = "rising"
    accuracy: str = "train_accuracy"
    together = True

    def __post_init__(self) -> None:
        check_count("prunings", self.prunings, least=0)
        check_fraction("start", self.start, zero=False)
        if self.final != 1:
            check_fraction("final", self.final, zero=False)
        if self.prunings and self.start >= self.final:
            raise InvalidValue(
                f"start is {self.start}, final {self.final}",
                "gates rise from the accuracy of the first pruning to that at which training ends",
                f"write start={self.final}, final={self.start}" if self.start > self.final else "write a lower start",
            )
        if self.early_stop is not None:
            check_instance("early_stop", self.early_stop, ("stops", "reads"), "EarlyStop()", call=False)
        check_known(f"order is {self.order!r}", self.order, _ORDERS)
        check_known(f"gates is {self.gates!r}", self.gates, _GATES)

    @property
    def reads(self) -> tuple[str, ...]:
        """See `EndingRule`."""
        return (self.accuracy, *(self.early_stop.reads if self.early_stop else ()))

    def check(self, levels: int, /) -> None:
        """See `EndingRule`; a plan without prunings is the dense training of one that has them.

        Raises:
            InvalidValue: for another number of prunings.
        """
        if levels not in (0, self.prunings):
            value, rule = f"prunings is {self.prunings}, and the plan has {levels}", "there is a gate for each pruning"
            raise InvalidValue(value, rule, f"write prunings={levels}")

    def ends(self, so_far: SoFar, /) -> Ending | None:
        """See `EndingRule`."""
        gate, accuracy = self.gate(so_far), self._share(so_far.own[-1].numbers[self.accuracy])
        stopped = self._stopped(so_far)
        if so_far.level < self.prunings and accuracy >= gate:
            over = self.order == "official" and so_far.last_stage and (stopped or accuracy >= self.final)
            return Ending(closes="next" if over else "")
        if accuracy >= gate:
            return Ending()
        if not stopped:
            return None
        missed = f"level {so_far.level}: {self._missed(so_far, gate)}: {stopped}"
        closes = so_far.level < self.prunings and so_far.last_stage
        return Ending(f"{missed}; no further pruning" if closes else missed, "now" if closes else "")

    def _share(self, accuracy: float) -> float:
        if not 0 <= accuracy <= 1:
            fix = f"a percentage? record {accuracy / 100:.4g}" if 1 < accuracy <= 100 else "record correct / seen"
            raise InvalidValue(f"{self.accuracy} is {accuracy:.4g}", "an accuracy is a share in [0, 1]", fix)
        return accuracy

    def gate(self, so_far: SoFar) -> float:
        """The accuracy that the training waits for, in [0, 1]."""
        level = so_far.level
        if level >= self.prunings:
            return self.final
        if level > 0 and self.gates == "regained":
            return [one.numbers[self.accuracy] for one in so_far.epochs if one.level == level - 1][-1]
        if self.gates == "regained":
            return self.start
        return self.start + level * (self.final - self.start) / self.prunings

    def _stopped(self, so_far: SoFar) -> str:
        """What ends the training in any case, in words; empty if nothing does."""
        own = self.order == "recover"
        if self.early_stop and self.early_stop.stops(so_far.numbers(self.early_stop.loss, own=own)):
            return f"stopped early after {len(so_far.own)} epochs"
        return _all_done(so_far.most, len(so_far.epochs)) if len(so_far.epochs) >= so_far.most else ""

    def _missed(self, so_far: SoFar, gate: float) -> str:
        best = max(so_far.numbers(self.accuracy, own=True))
        what = "the final accuracy" if so_far.level >= self.prunings else "the gate"
        return f"{what} {gate:.4g} was not reached, {best:.4g} at best"


def _all_done(most: int, done: int) -> str:
    """In words; with the epochs of recovery that prunings were still followed by."""
    given = f"all {most} epochs are done" if most > 1 else "its one epoch is done"
    more = f", and {done - most} more after " + ("prunings" if done > most + 1 else "a pruning")
    return given if done == most else given + more


ALL = (AccuracyGates, EarlyStop)
EARLY_STOPS = Family.of("early stop", (EarlyStop,), needs=("stops",), call=False)
