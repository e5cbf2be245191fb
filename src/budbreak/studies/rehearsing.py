"""Rehearse on a few images what comes after the first training: scoring, selecting, measuring."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from budbreak.criteria import Criterion
from budbreak.data import Images, batches
from budbreak.diagnostics import Diagnostic, quantities_of
from budbreak.errors import InvalidValue, Unreached
from budbreak.evidence import Evidence, observers_of, probe, rehearse
from budbreak.foreign import call_foreign
from budbreak.iteration import Plan, asked_of, check_last_level, check_last_paths, criteria_of
from budbreak.live import PATH_NEEDS, model_digest
from budbreak.masks import Mask, Scores, competing, prunable_parameters, sparing
from budbreak.results import TRAINING, WATCHED_TOO
from budbreak.studies.measuring import measure

_IMAGES = 8  # more show nothing more
_MORE = 512  # where few images reach not all weights: parts of a network may be for some of them only


@dataclass(frozen=True)
class Rehearsal:
    """A plan with a fresh network: what a user's own class would raise after hours is raised now.

    Args:
        plan: whose criteria score once; ``keep``: how many weights, or units, its first level keeps.
        diagnostics: which measure once.
        model: a fresh network, which is left as it was.
        images: of which a few are looked at.
    """

    plan: Plan
    keep: int
    diagnostics: tuple[Diagnostic, ...]
    model: nn.Module
    images: Images

    def carry_out(self) -> None:
        """Score, select and measure.

        Raises:
            BudbreakError: if one of them fails; an error of a user's own code names her file and line.
        """
        mask, few, before = Mask.dense(self.model, self.plan.prunable), self.images.first(_IMAGES), self._digest()
        if self.plan.levels:
            fitted = self.plan.fit(self.model)
            self._score(fitted.criterion, lambda scores: self._select(fitted, scores, mask))
        for criterion in criteria_of(self.plan.criterion, self.plan.then)[1:] if self.plan.levels else ():
            self._score(criterion, lambda scores: competing(scores, mask))
        self._check_untouched(before, "criterion, or that of a stage,")
        self._measure(few, mask)
        self._check_untouched(before, "diagnostic")

    def _select(self, fitted: Plan, scores: Scores, alive: Mask) -> None:
        spared = sparing(scores, fitted.spare)
        check_last_level(fitted, alive, lambda: spared)
        check_last_paths(fitted, alive, lambda: spared, self._wiring)
        asked_of(fitted, 1).select(spared, self.keep, alive)

    def _wiring(self) -> Evidence:
        few = batches(self.images.first(_IMAGES), _IMAGES)
        return probe(self.model, PATH_NEEDS, batches=few, prunable=self.plan.prunable)

    def _digest(self) -> str:
        return model_digest(self.model)

    def _check_untouched(self, before: str, what: str) -> None:
        """Evidence holds the live weights themselves, not copies."""
        if self._digest() != before:
            rule = "criteria and diagnostics look at weights, and change none"
            raise InvalidValue(f"a {what} changed the weights that it looked at", rule, "write w.abs(), not w.abs_()")

    def _score(self, criterion: Criterion, use: Callable[[Scores], object]) -> None:
        try:
            self._score_on(self.images.first(_IMAGES), criterion, use)
        except Unreached:
            self._score_on(self.images.first(_MORE), criterion, use)

    def _score_on(self, few: Images, criterion: Criterion, use: Callable[[Scores], object]) -> None:
        prunable = self.plan.prunable
        weights = prunable_parameters(self.model, prunable).items()
        seen = rehearse(
            self.model,
            observers_of(criterion.needs),
            batches=batches(few, _IMAGES),
            loss=functional.cross_entropy,
            prunable=prunable,
        )
        evidence = probe(
            self.model,
            criterion.needs,
            batches=batches(few, _IMAGES),
            loss=functional.cross_entropy,
            prunable=prunable,
            start={name: weight.detach().clone() for name, weight in weights},
            watched=lambda observer: seen[observer],
        )
        call_foreign(
            f"scoring by {type(criterion).__name__}",
            lambda: use(_scores_of(criterion, evidence)),
            rule="a criterion gives the scores of all prunable weights, from what it needs",
        )

    def _measure(self, few: Images, mask: Mask) -> None:
        quantities = [quantity.name for quantity in quantities_of(self.diagnostics)]
        measured = measure(self.diagnostics, self.model, few, mask=mask, prunable=self.plan.prunable)
        names = {*measured.numbers, *(name for numbers in measured.layers.values() for name in numbers)}
        rule = "a number is named once, by its quantity"
        for name in sorted(names - set(quantities)):
            raise InvalidValue(f"a diagnostic gave {name!r}, which none of its quantities names", rule, "name it there")
        for name in (name for name, number in measured.numbers.items() if not math.isfinite(number)):
            raise InvalidValue(
                f"a diagnostic gave {name} = {measured.numbers[name]} on a fresh network",
                "a number that is recorded is finite",
                "leave it out where it has no answer",
            )
        for taken in (quantity.name for quantity in (*TRAINING, *WATCHED_TOO) if quantity.name in quantities):
            raise InvalidValue(f"a diagnostic gives {taken!r}", f"{rule}: each training has it", "rename it")


def _scores_of(criterion: Criterion, evidence: Evidence) -> Scores:
    """The scores, which are the same however often they are asked for: selection passes over them several times."""
    scores, again = criterion(evidence), criterion(evidence)
    for name in scores:
        first, second = (one[name].tensor().nan_to_num() for one in (scores, again))  # NaN is refused by the selection
        if not torch.equal(first, second):
            raise InvalidValue(
                f"{type(criterion).__name__} gave {name!r} two different scores for the same evidence",
                "the scores of a criterion depend on the evidence and its own fields alone",
                "draw random numbers from a seed of its own, as budbreak.criteria.Random does",
            )
    return scores
