"""Which trials are not worth going on? Pure values that look at accuracies after epochs; `STOPPING` enrols them."""

from budbreak.checks import check_instance
from budbreak.search.stopping.hyperband import Hyperband
from budbreak.search.stopping.lagging import Lagging
from budbreak.search.stopping_rule import StoppingRule
from budbreak.values import Family

STOPPING = (Hyperband, Lagging)
STOPPING_FAMILY = Family.of("stopping rule", STOPPING, needs=("stops",), call=False, example='"lagging"')

__all__ = ["STOPPING", "STOPPING_FAMILY", "Hyperband", "Lagging", "StoppingRule", "check_stopping"]


def check_stopping(stop: object) -> None:
    """Refuse what is no rule.

    Raises:
        InvalidValue: with what to write.
    """
    check_instance("stop", stop, ("stops",), "bb.search.Lagging()", call=False, choices=STOPPING)
