"""Refuse weights that nothing was seen of, where all of them are to be scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from budbreak.errors import InvalidValue
from budbreak.evidence.evidence import Evidence, Probe
from budbreak.evidence.observer import Observer
from budbreak.evidence.weights import Weights


def reached(
    evidence: Evidence,
    need: Probe[Mapping[str, Tensor]] | Observer[Mapping[str, Tensor]],
    *,
    miss: str = "the loss of no batch depends on",
    instead: str = "give batches and a loss that reach it",
) -> Mapping[str, Tensor]:
    """What was seen of gradients, if something was of each weight: name -> tensor.

    Args:
        evidence: of ``need``, and of `Weights`.
        need: what leaves out weights that have no gradient, as `Gradients` does.
        miss: what it means that a weight is left out; its name follows.
        instead: what to do about it, if not leave it out of the mask.

    Raises:
        MissingEvidence: if one of them was not collected.
        InvalidValue: if a weight is left out. In the place of its gradients no 0 will do: all of it would score alike.
    """
    seen, weights = evidence[need], evidence[Weights()]
    missed = [name for name in weights if name not in seen]
    if missed and seen.keys() <= weights.keys():  # else names are wrong, which whoever reads both says better
        rule = (
            "what has no gradient cannot be scored by it: its layer is not called, or what that gives is cut off "
            "(by detach(), no_grad() or numpy), or not used"
        )
        raise unreached(f"{miss} {listed(missed)}", rule, missed, instead)
    return seen


def unreached(value: str, rule: str, names: Sequence[str], instead: str) -> InvalidValue:
    """The error for prunable weights that cannot be scored: leave them out, or do something else ``instead``."""
    patterns = ", ".join([repr(names[0]), *(["..."] if len(names) > 1 else [])])
    return InvalidValue(value, rule, f"leave it out: prunable=bb.excluding({patterns}); or {instead}")


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names of weights in words.

    >>> listed(["a", "b", "c", "d", "e"])
    "'a', 'b', 'c' and 2 more"
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
