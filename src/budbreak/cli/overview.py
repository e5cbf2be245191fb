"""What a run is about to do, as it is printed."""

from __future__ import annotations

from budbreak.reporting import Stacked
from budbreak.studies import Overview

_UNKNOWN = "?"


def overview_table(overview: Overview) -> Stacked:
    """A record for each level of the first arm."""
    preview = overview.preview
    fields = ("level", "lambda", "keep", "host\nremoves", "then", "times\ntrained")
    records = [
        (
            str(row.level),
            _UNKNOWN if row.density is None else f"{100 * row.density:.2f} %",
            _counted(row.keep),
            _counted(row.host),
            _counted(row.follow_ups),
            str(row.trainings),
            _counted(row.macs),
        )
        for row in preview.rows
    ]
    if preview.dense_macs is None:
        return Stacked(fields, tuple(record[:-1] for record in records))
    return Stacked((*fields, "MACs/\nsample"), tuple(records))


def overview_lines(overview: Overview) -> str:
    """What is said below the table."""
    unknown = any(row.keep is None for row in overview.preview.rows)
    return "\n".join([*([f"{_UNKNOWN}: decided as it goes"] if unknown else []), *overview.lines])


def _counted(number: int | None) -> str:
    return _UNKNOWN if number is None else f"{number:,}"
