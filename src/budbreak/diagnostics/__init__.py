"""What evidence and mask say about a network: pure functions, one file each."""

from budbreak.diagnostics.dead_units import DeadUnits, SiteDeadUnits, dead_units, static_units

ALL = (dead_units,)

__all__ = ["ALL", "DeadUnits", "SiteDeadUnits", "dead_units", "static_units"]
