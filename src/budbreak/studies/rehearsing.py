"""Rehearse on a few images what comes after the first training: scoring, selecting, measuring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torch.nn import functional

from budbreak.criteria import Criterion
from budbreak.data import Images, batches
from budbreak.diagnostics import Diagnostic, quantities_of
from budbreak.errors import InvalidValue
from budbreak.evidence import probe
from budbreak.foreign import call_foreign
from budbreak.iteration import Plan
from budbreak.masks import Mask, Scores, competing, prunable_parameters, select
from budbreak.studies.measuring import measure
from budbreak.studies.result import TRAINING

_IMAGES = 8  # more show nothing more


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
        mask, few = Mask.dense(self.model, self.plan.prunable), self.images.first(_IMAGES)
        if self.plan.levels:
            fitted = self.plan.fit(self.model)
            self._score(
                fitted.criterion,
                few,
                lambda scores: select(
                    scores, self.keep, scope=fitted.scope, granularity=fitted.granularity, within=mask
                ),
            )
        for follow_up in self.plan.then if self.plan.levels else ():
            if follow_up.criterion is not None:
                self._score(follow_up.criterion, few, lambda scores: competing(scores, mask))
        self._measure(few, mask)

    def _score(self, criterion: Criterion, few: Images, use: Callable[[Scores], object]) -> None:
        prunable = self.plan.prunable
        weights = prunable_parameters(self.model, prunable).items()
        evidence = probe(
            self.model,
            criterion.needs,
            batches=batches(few, _IMAGES),
            loss=functional.cross_entropy,
            prunable=prunable,
            start={name: weight.detach().clone() for name, weight in weights},
        )
        call_foreign(
            f"scoring by {type(criterion).__name__}",
            lambda: use(criterion(evidence)),
            rule="a criterion gives the scores of all prunable weights, from what it needs",
        )

    def _measure(self, few: Images, mask: Mask) -> None:
        quantities = [quantity.name for quantity in quantities_of(self.diagnostics)]
        measured = measure(self.diagnostics, self.model, few, mask=mask, prunable=self.plan.prunable)
        names = {*measured.numbers, *(name for numbers in measured.layers.values() for name in numbers)}
        rule = "a number is named once, by its quantity"
        for name in sorted(names - set(quantities)):
            raise InvalidValue(f"a diagnostic gave {name!r}, which none of its quantities names", rule, "name it there")
        for taken in (quantity.name for quantity in TRAINING if quantity.name in quantities):
            raise InvalidValue(f"a diagnostic gives {taken!r}", f"{rule}: each training has it", "rename it")
