"""The model card beside exported files: JSON for programs, and the same as Markdown for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from budbreak.files import write_json, write_text

KIND = "model card 1"
JSON, MARKDOWN = "card.json", "card.md"

Section = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""Names with values, or rows of such; JSON values."""


@dataclass(frozen=True)
class Card:
    """What is known of a network that left.

    Args:
        title: of the card.
        sections: heading -> what is there, in order; empty ones are left out.
    """

    title: str
    sections: Mapping[str, Section]

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"title": self.title, **{name: section for name, section in self.sections.items() if section}}

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write ``card.json`` and ``card.md``, atomically; returns both.

        Raises:
            CannotWrite: on a full disk or a forbidden folder.
        """
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / JSON, self.plain(), KIND)
        write_text(folder / MARKDOWN, markdown(self.plain()))
        return folder / JSON, folder / MARKDOWN


def markdown(plain: Mapping[str, Any]) -> str:
    """The Markdown of a card, from its JSON."""
    lines = [f"# {plain['title']}"]
    for name, section in plain.items():
        if name != "title":
            lines += ["", f"## {name[:1].upper()}{name[1:]}", "", *_section(section)]
    return "\n".join(lines) + "\n"


def _section(section: Section) -> list[str]:
    if isinstance(section, Mapping):
        rows = [(name, value) for name, value in _flat(section) if value not in (None, "", [])]
        return _table(("", ""), rows)
    fields = list(dict.fromkeys(name for row in section for name in row))
    return _table(fields, [[row.get(name) for name in fields] for row in section])


def _flat(section: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Tables in tables by dotted names."""
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(cast("Mapping[str, Any]", value), f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _table(fields: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    cells = [list(fields), ["---"] * len(fields), *([_text(value) for value in row] for row in rows)]
    return [f"| {' | '.join(row)} |" for row in cells]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list):
        return ", ".join(map(_text, cast("list[Any]", value)))
    return str(value).replace("|", "\\|").replace("\n", " ")
