"""What scores spare, where more of it is spared than may stay."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from budbreak.errors import TooManySpared, UnknownName, did_you_mean, one_of
from budbreak.masks.allocations import Allocation
from budbreak.masks.contest import Contest, Scope
from budbreak.masks.counts import sparsity_of
from budbreak.masks.granularity import Granularity, has_budget
from budbreak.masks.mask import Mask
from budbreak.masks.scores import Score, Scores, ScoreSlice
from budbreak.masks.selection import check_scores, contest_of, select
from budbreak.masks.source import Source, count

_SHOWN = 3


def spared_among(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The names that match one of the glob ``patterns``.

    Raises:
        UnknownName: if a pattern matches none of them.
    """
    known = list(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise UnknownName(f"no weight named {pattern!r} to spare", one_of(known), did_you_mean(pattern, known))
    return [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)]


def sparing(scores: Scores, patterns: Sequence[str]) -> Scores:
    """The same scores, but +inf for all weights whose names match a pattern; see `spared_among`."""
    spared = spared_among(scores, patterns)
    return Scores({name: _infinite(score) if name in spared else score for name, score in scores.items()})


def _infinite(score: Score) -> Score:
    return Score(score.shape, lambda: lambda lo, hi: torch.full((hi - lo,), math.inf), spared=True)


def sparing_weights(scores: Scores, kept: Mask) -> Scores:
    """The same scores, but +inf for each single weight that a mask keeps."""
    return Scores({name: _sparing(score, kept[name].view(-1)) for name, score in scores.items()})


def _sparing(score: Score, kept: Tensor) -> Score:
    def raised(values: Tensor, at: Tensor) -> Tensor:
        return values.masked_fill(at.to(values.device), math.inf)

    def open_slices() -> ScoreSlice:
        slices = score.open()
        return lambda lo, hi: raised(slices(lo, hi), kept[lo:hi])

    own = score.pick
    pick = None if own is None else lambda places: raised(own(places), kept[places.cpu()])
    return Score(score.shape, open_slices, pick=pick, spared=score.spared)


def kept_in_any_case(scores: Scores, within: Mask) -> Mask:
    """What of a mask is never pruned: its scores are +inf.

    Raises:
        InvalidValue, MaskMismatch: see `select`.
    """
    check_scores(scores, within)
    return Mask.owning({name: within[name] & (scores[name].tensor() == math.inf).cpu() for name in within})


@dataclass(frozen=True)
class Asked:
    """A selection that somebody asked for: `select`, which speaks her words where too much is spared.

    Args:
        words: what was asked, e.g. "sparsity is 0.9".
        criterion: by which.
        scope, granularity, allocation, floor: see `select`; fitted to the model.
    """

    words: str
    criterion: object
    scope: Scope
    granularity: Granularity
    allocation: Allocation | None = None
    floor: int | float = 0

    def select(self, scores: Scores, keep: int, within: Mask) -> Mask:
        """Keep the ``keep`` highest scores within what is alive; see `select`.

        Raises:
            TooManySpared: see `check`.
        """
        try:
            return select(
                scores,
                keep,
                scope=self.scope,
                granularity=self.granularity,
                allocation=self.allocation,
                floor=self.floor,
                within=within,
            )
        except TooManySpared:
            self.check(scores, keep, within)
            raise

    def check(self, scores: Scores, keep: int, within: Mask) -> None:
        """Refuse now what a selection, now or in a later round, will refuse.

        Raises:
            TooManySpared: if the criterion spares more of what is alive than may stay.
        """
        if has_budget(self.granularity):
            return
        contest = contest_of(
            scores, keep, granularity=self.granularity, allocation=self.allocation, floor=self.floor, within=within
        )
        spared = _spared(contest)
        if self.scope.divides and self.scope.reach({}) is None:
            shares = contest.shares()
            over = [name for name in spared if spared[name] > shares[name]]
            if over:
                raise self._in_layer(over[0], spared[over[0]], shares[over[0]])
        elif sum(spared.values()) > keep:
            raise self._in_all(spared, contest)

    def _in_layer(self, name: str, spared: int, share: int) -> TooManySpared:
        return TooManySpared(
            f"{self.words}: {share} of {name!r} stay, but {self.criterion} spares {spared} of it",
            "what a criterion spares is never removed; its docstring says what that is",
            f"let all layers compete: scope=bb.masks.Global(); or leave it out: prunable=bb.excluding({name!r})",
        )

    def _in_all(self, spared: Mapping[str, int], contest: Contest) -> TooManySpared:
        total, sizes = sum(spared.values()), {name: score.shape.numel() for name, score in contest.scores.items()}
        whole = [name for name in spared if 0 < spared[name] == contest.capacities[name]]
        parts = [f"{'all' if name in whole else spared[name]} of {name!r}" for name in spared if spared[name]]
        more = f" and some of {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
        fix = f"ask for a sparsity of at most {sparsity_of(total, sum(sizes.values()))}"
        if whole and getattr(self.criterion, "spares_alike", False):
            patterns = ", ".join([repr(whole[0]), *(["..."] if whole[1:] else [])])
            fix += f", or leave out what it spares: prunable=bb.excluding({patterns})"
        else:
            fix += ", or by a criterion that spares less"
        return TooManySpared(
            f"{self.words}: {contest.keep} of {sum(sizes.values())} {self.granularity.counted} stay, but "
            f"{self.criterion} spares {total}: {', '.join(parts[:_SHOWN])}{more}",
            "what a criterion spares is never removed; its docstring says what that is",
            fix,
        )


def _spared(contest: Contest) -> dict[str, int]:
    """Name -> how many of what competes score +inf."""
    spared = dict.fromkeys(contest.scores, 0)
    for name, values in Source(contest.scores, contest.limits).values():
        spared[name] += count(values == math.inf)
    return spared
