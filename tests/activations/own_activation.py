"""An activation of a user's own: a formula, and no slopes."""

from dataclasses import dataclass

from budbreak.activations import Activation


@dataclass(frozen=True)
class Cube(Activation):
    alpha: float = 1.0

    def formula(self, x, *scalars):
        return scalars[0] * x**3
