"""What a training reports while it runs, and how it is stopped."""

from __future__ import annotations

from collections.abc import Callable

from budbreak.checks import shown
from budbreak.errors import InvalidValue
from budbreak.search.scores import odd_words, score_of
from budbreak.search.trial import Values

Report = Callable[[int, float], None]
"""report(epoch, accuracy): what a training calls after each epoch. It does not return where the trial ends there."""


class TrialEnds(BaseException):
    """Leaves a training that is not worth going on; no Exception, so that what catches errors lets it pass."""


class Watch:
    """Takes the reports of one training, and ends it.

    Args:
        stops: whether a trial with these values ends; None: none does.
    """

    def __init__(self, stops: Callable[[Values], bool] | None = None) -> None:
        self._stops = stops
        self.values: Values = ()
        self.stopped = False
        self.note = ""

    def __call__(self, epoch: int, accuracy: float) -> None:
        """Take the accuracy after an epoch.

        Args:
            epoch: from 1, higher each time.
            accuracy: a share in [0, 1], as ``evaluate`` gives it; NaN where the training diverged, which ends it.

        Raises:
            InvalidValue: for what is neither.
            TrialEnds: where the trial ends here.
        """
        self._check_epoch(epoch)
        score = score_of(accuracy, f"report({epoch}, accuracy) was given")
        if score is None:
            self.note = f"the accuracy after epoch {epoch} is {odd_words(accuracy)}"
            raise TrialEnds
        self.values = (*self.values, (epoch, score))
        if self._stops is not None and self._stops(self.values):
            self.stopped = True
            raise TrialEnds

    def _check_epoch(self, epoch: object) -> None:
        last = max((epoch for epoch, _ in self.values), default=0)
        if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch <= last:
            rule = "epochs are whole numbers from 1, each above the one before"
            raise InvalidValue(f"report was given epoch {shown(epoch)} after {last}", rule, f"write {last + 1}")
