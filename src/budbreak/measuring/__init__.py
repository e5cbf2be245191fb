"""Time and memory of pieces of work, side by side, on machines that others use too."""

from budbreak.measuring.harness import Clock, Contender, Meter, Mode, Timing
from budbreak.measuring.memory import peak_extra

__all__ = ["Clock", "Contender", "Meter", "Mode", "Timing", "peak_extra"]
