"""A diagnostic of your own: what it gives is recorded, compared and drawn like everything else that is measured."""

from dataclasses import dataclass

from budbreak import Evidence, Mask
from budbreak.diagnostics import Measurement, Quantity


@dataclass(frozen=True)
class Bottleneck:
    """How much is left of the layer that lost most."""

    needs = ()  # the mask says it; a diagnostic that looks at data names its probes here
    quantities = (Quantity("bottleneck_density", "thinnest layer", "share", "higher", "its density."),)

    def __call__(self, evidence: Evidence, mask: Mask) -> Measurement:
        """For the whole network, and for each layer."""
        densities = {name: float(kept.float().mean()) for name, kept in mask.items()}
        layers = {name: {"bottleneck_density": density} for name, density in densities.items()}
        return Measurement({"bottleneck_density": min(densities.values())}, layers)
