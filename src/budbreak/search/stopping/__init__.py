"""Which trials are not worth going on? Pure values that look at accuracies after epochs; `STOPPING` enrols them."""

from budbreak.checks import check_instance
from budbreak.search.stopping.hyperband import Hyperband
from budbreak.search.stopping.lagging import Lagging
from budbreak.search.stopping_rule import StoppingRule
from budbreak.values import Family

STOPPING = (Hyperband, Lagging)
STOPPING_FAMILY = Family.of(
    "stopping rule",
    STOPPING,
    needs=("stops",),
    call=False,
    example='"lagging"',
    meant={
        "(?i)hb|bohb|a?sha|(successive-)?halving": '{is = "hyperband", most = 10}',
        "(?i)median|percentile|quantile": '"lagging"',
    },
)

__all__ = ["STOPPING", "STOPPING_FAMILY", "Hyperband", "Lagging", "StoppingRule", "check_stopping"]


def check_stopping(stop: object) -> None:
    """Refuse what is no rule.

    Raises:
        InvalidValue: with what to write.
    """
    example = f"bb.search.{'Hyperband(most=10)' if STOPPING_FAMILY.near(stop) is Hyperband else 'Lagging()'}"
    check_instance("stop", stop, ("stops",), example, call=False, choices=STOPPING)
