"""The arms of a comparison: the same host and budget, with and without AP."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from budbreak.errors import InvalidValue
from budbreak.iteration import ActivateWhilePruning, FollowUp, Retrain, SplitRemoval
from budbreak.studies.names import check_name

ARMS: Mapping[str, Callable[[float], tuple[FollowUp, ...]]] = {
    "host": lambda q: (),
    "ap-lite": lambda q: (ActivateWhilePruning(q, "lite"),),
    "ap-pro": lambda q: (ActivateWhilePruning(q, "pro"),),
    "host-split": lambda q: (SplitRemoval(q),),
    "host-retrain": lambda q: (Retrain(),),
}
"""Arm -> what follows the host, given q. host-split and host-retrain have the training budget of ap-pro."""


def check_arms(arms: tuple[str, ...]) -> None:
    """Refuse unknown, doubled or no arms.

    Raises:
        UnknownName, InvalidValue: with the arm.
    """
    for arm in arms:
        check_name("an arm", arm, ARMS)
    if not arms or len(set(arms)) < len(arms):
        raise InvalidValue(f"arms are {list(arms)}", "there is at least one, and none twice", 'write arms = ["host"]')
