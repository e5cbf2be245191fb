"""Log-sigmoid."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from budbreak.activations.activation import Facts
from budbreak.activations.scaled import Scaled


@dataclass(frozen=True)
class LogSigmoid(Scaled):
    """alpha * ln(sigmoid(beta * x)): negative everywhere, -ln 2 at 0."""

    facts = Facts(zero=-math.log(2))

    def g(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        return functional.logsigmoid(z)
