"""What ``budbreak export`` prints: tables of files, candidates and latencies."""

from __future__ import annotations

from collections.abc import Sequence

from budbreak.exporting import Artifact, Candidate, SideBySide
from budbreak.reporting import Stacked


def table_of_files(artifacts: Sequence[Artifact]) -> Stacked:
    """What was written, and how near it comes to the network."""
    fields = ("form", "bytes", "largest\ndifference", "mean\ndifference", "predictions\nagree")
    records = [
        (
            one.format,
            f"{one.bytes:,}",
            f"{one.agreement.largest:.2g}",
            f"{one.agreement.mean:.2g}",
            "" if one.agreement.predictions is None else f"{100 * one.agreement.predictions:.4g} %",
        )
        for one in artifacts
    ]
    return Stacked(fields, tuple(records))


def notes_of(artifacts: Sequence[Artifact]) -> list[str]:
    """What should be known of each form."""
    return [f"{one.format}: {note}" for one in artifacts for note in one.notes]


def table_of_candidates(candidates: Sequence[Candidate]) -> Stacked:
    """What --fastest chooses from."""
    fields = ("network", "bytes", f"ms, batch {candidates[0].latency.batch}\n(quartiles)", "accuracy", "front")
    records = [
        (f"{row.network}, {row.runtime}", f"{row.bytes:,}", str(row.latency), f"{row.accuracy:.4f}", "*" * row.on_front)
        for row in candidates
    ]
    return Stacked(fields, tuple(records))


def table_of_latencies(found: SideBySide) -> Stacked:
    """What --measure measured."""
    batches = [one.batch for one in found.rows[0].latencies] if found.rows else []
    fields = ("network", "bytes", *(f"ms, batch {batch}\n(quartiles)" for batch in batches))
    records = [(f"{row.network}, {row.runtime}", f"{row.bytes:,}", *map(str, row.latencies)) for row in found.rows]
    return Stacked(fields, tuple(records))
