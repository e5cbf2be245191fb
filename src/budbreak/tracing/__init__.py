"""Find the activation sites of a live model while it runs, where their units lie, and the weight that feeds each."""

from budbreak.tracing.sites import SiteTracer

__all__ = ["SiteTracer"]
