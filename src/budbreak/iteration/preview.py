"""What a plan will do, as a table, before anything is trained."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from budbreak.graph import Macs
from budbreak.masks import Coverage, Mask


class Counts(Protocol):
    """What a row needs of a `LevelTarget`."""

    @property
    def level(self) -> int: ...  # noqa: D102
    @property
    def keep(self) -> int: ...  # noqa: D102
    @property
    def host(self) -> int: ...  # noqa: D102
    @property
    def shares(self) -> tuple[int, ...]: ...  # noqa: D102


@dataclass(frozen=True)
class PreviewRow:
    """One level: ``keep`` stay, ``host`` and ``follow_ups`` go; ``macs`` per sample, None without an example.

    All are None in a level for which the schedule looks at metrics or steps; its ``trainings`` are known.
    """

    level: int
    trainings: int
    density: float | None = None
    keep: int | None = None
    host: int | None = None
    follow_ups: int | None = None
    macs: int | None = None


@dataclass(frozen=True)
class Preview:
    """The table of a plan; `str` prints it. 1 MAC = 2 FLOPs.

    Args:
        rows: one a level; what they count is ``counted``, "weights" or "units".
        coverage: the prunable weights, and those that stay dense.
        dense_macs: of one sample; None without an example.
        counted: what lambda and the counts are of.
        spared: the prunable weights whose units are the network's outputs, which stay and are not counted.
    """

    rows: tuple[PreviewRow, ...]
    coverage: Coverage
    dense_macs: int | None
    counted: str = "weights"
    spared: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line a level."""
        lines = [
            "level   lambda       keep   host removes   then   trainings"
            + ("   MACs/sample" if self.dense_macs else "")
        ]
        for row in self.rows:
            if row.keep is None:
                lines.append(f"{row.level:5d}  {'decided as it goes':>39s}   {row.trainings:9d}")
                continue
            macs = "" if row.macs is None else f"   {row.macs:11,d}"
            lines.append(
                f"{row.level:5d}  {row.density:6.2%}  {row.keep:9,d}  {row.host:13,d}  {row.follow_ups:5,d}"
                f"   {row.trainings:9d}{macs}"
            )
        wrapped = [line for remark in self.remarks for line in textwrap.wrap(remark, 80, break_long_words=False)]
        return "\n".join(lines + wrapped)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is said below the table, a sentence each."""
        said = [f"lambda and counts are of {self.counted}"] if self.counted != "weights" else []
        if self.spared:
            kind = self.counted.removesuffix(" at most")
            said.append(f"the network's outputs stay: {kind} of {', '.join(self.spared)}")
        said.append(f"{sum(row.trainings for row in self.rows)} trainings; {self.coverage}")
        if self.dense_macs is not None:
            said.append(f"{self.dense_macs:,d} MACs dense (1 MAC = 2 FLOPs); above: if every layer had density lambda")
        return tuple(said)


def preview_rows(
    targets: Sequence[Counts], mask: Mask, macs: Macs | None, trainings: Sequence[int]
) -> tuple[PreviewRow, ...]:
    """Put counts and MACs together; what the mask does not cover keeps all its MACs.

    Args:
        targets: of the first levels, as far as they are known.
        mask: what is counted.
        macs: of a sample; None without an example.
        trainings: of each level.
    """
    total = targets[0].keep
    covered = 0 if macs is None else macs.of(mask)
    known = [
        PreviewRow(
            level=t.level,
            trainings=trainings[t.level],
            density=t.keep / total,
            keep=t.keep,
            host=t.host,
            follow_ups=sum(t.shares),
            macs=None if macs is None else macs.total - covered + round(covered * t.keep / total),
        )
        for t in targets
    ]
    return (*known, *(PreviewRow(level, trainings[level]) for level in range(len(known), len(trainings))))
