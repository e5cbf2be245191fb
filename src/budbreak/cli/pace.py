"""How long something will take, from the epochs that were seen."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.studies import duration

_SECONDS = 5.0  # before these, and some epochs, the pace says nothing


@dataclass
class Pace:
    """The pace since the first epoch that ended: processes that start, and resumed epochs, are no pace.

    Args:
        total: epochs in all.
        least: epochs that must be seen before it says anything, >= 1.
    """

    total: int
    least: int
    done: int = 0
    first: tuple[float, int] | None = None  # when, in seconds, and how many epochs were done by then
    last: float = 0.0

    def see(self, now: float, done: int) -> None:
        """Note how many epochs are done now, one more than before or several."""
        self.first = self.first or (now, done)
        self.done, self.last = done, now

    def left(self, now: float) -> str:
        """Text such as "12 min"; empty where nothing is left, and before enough was seen."""
        if self.first is None or self.done >= self.total:
            return ""
        seconds, epochs = self.last - self.first[0], self.done - self.first[1]
        if seconds < _SECONDS or epochs < self.least:
            return ""
        pace = seconds / epochs
        return duration(pace * (self.total - self.done) - min(now - self.last, pace))
