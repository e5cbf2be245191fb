"""How many weights stay, and where none would."""

from __future__ import annotations

from fractions import Fraction

from budbreak.checks import exact
from budbreak.errors import LayerCollapsed
from budbreak.masks.mask import Mask


def survivors(sparsity: float | Fraction, total: int) -> int:
    """How many of ``total`` stay: ``round((1 - sparsity) * total)``, in the decimal digits of ``sparsity``.

    >>> survivors(0.9, 15), round((1 - 0.9) * 15)  # 1.5 rounds to even; the float falls short of it
    (2, 1)
    """
    return round((1 - exact(sparsity)) * total)


def sparsity_of(keep: int, total: int) -> float:
    """The sparsity with the fewest digits of which `survivors` makes ``keep`` of ``total``.

    >>> sparsity_of(1, 3), sparsity_of(50, 100)
    (0.7, 0.5)
    """
    short = (round(1 - keep / total, digits) for digits in range(17))
    return next((sparsity for sparsity in short if survivors(sparsity, total) == keep), 1 - keep / total)


def check_collapse(mask: Mask, *, before: Mask, allowed: bool) -> None:
    """Refuse a mask that cuts the network in two, unless ``allowed``.

    Args:
        mask: what would stay.
        before: what was alive: a layer without weights there is said to have had none.
        allowed: whether a layer may lose all its weights.

    Raises:
        LayerCollapsed: with the first layer that keeps nothing.
    """
    collapsed = mask.collapsed()
    if not collapsed or allowed:
        return
    name = collapsed[0]
    if before.kept_in(name) == 0:
        raise LayerCollapsed(
            f"{name!r} has no living weight before the pruning already",
            "no signal passes a layer without weights; exact zeros count as pruned unless a mask says otherwise",
            "give mask=bb.Mask.dense(model) if its zeros are alive, or allow_collapse=True to see what happens",
        )
    raise LayerCollapsed(
        f"{name!r} would lose all its weights at density {mask.density:.4f}",
        "no signal passes a layer without weights",
        "stop at a higher density, give floor=1, or allow_collapse=True to see what happens",
    )
