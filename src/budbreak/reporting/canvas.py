"""Drawings as frozen values: a few shapes that both backends, SVG and PDF, know how to write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Place = tuple[float, float]
WIDER = 1.16  # than Helvetica: DejaVu Sans, which screens without it fall back to


@dataclass(frozen=True)
class Path:
    """A line through points, closed and filled or not.

    Args:
        stroke: a role of the palette or "#rrggbb"; None draws no line. ``fill`` likewise.
        dash: lengths of strokes and gaps in pixels; empty for a solid line.
    """

    points: tuple[Place, ...]
    stroke: str | None = None
    width: float = 1.0
    dash: tuple[float, ...] = ()
    fill: str | None = None
    closed: bool = False


@dataclass(frozen=True)
class Rect:
    """A filled rectangle; ``fill`` None leaves it invisible, a place to point at."""

    x: float
    y: float
    width: float
    height: float
    fill: str | None


@dataclass(frozen=True)
class Circle:
    """A filled disc."""

    x: float
    y: float
    radius: float
    fill: str
    opacity: float = 1.0


@dataclass(frozen=True)
class Text:
    """One line of text; ``y`` is its baseline, ``anchor`` "start", "middle" or "end"; ``turned`` reads upwards."""

    x: float
    y: float
    text: str
    anchor: str = "start"
    size: float = 11.0
    colour: str = "ink"
    bold: bool = False
    turned: bool = False


@dataclass(frozen=True)
class Group:
    """Shapes that belong together.

    Args:
        series: what the legend toggles, as the index of its series.
        tip: the text to read when pointing at it.
    """

    shapes: tuple[Shape, ...]
    series: int | None = None
    tip: str | None = None


Shape = Path | Rect | Circle | Text | Group


@dataclass(frozen=True)
class Drawing:
    """A figure in pixels, its origin at the top left; the title and description are for those who cannot see it."""

    width: float
    height: float
    title: str
    description: str
    shapes: tuple[Shape, ...]


def line(x1: float, y1: float, x2: float, y2: float, stroke: str, width: float = 1.0) -> Path:
    """A straight solid line."""
    return Path(((x1, y1), (x2, y2)), stroke, width)


def text_width(text: str, size: float = 11.0, *, bold: bool = False) -> float:
    """The width of a text in Helvetica, in pixels (other letters than ASCII count as a digit).

    >>> text_width("20 %", 10)
    22.79
    """
    units = sum(_WIDTHS[ord(letter) - 32] if " " <= letter <= "~" else 556 for letter in text)
    return units * size / 1000 * (1.06 if bold else 1.0)


def shorten(text: str, width: float, size: float = 11.0) -> str:
    """The text, its middle replaced by two dots as far as needed to fit a width; both ends tell names apart.

    >>> shorten("layer1.0.shortcut.0", 70)
    'layer1...rtcut.0'
    """
    for keep in range(len(text), 1, -1):
        found = text if keep == len(text) else f"{text[: (keep + 1) // 2]}..{text[-(keep // 2) :]}"
        if text_width(found, size) <= width:
            return found
    return text[:1]


def flatten(shapes: Iterable[Shape]) -> Iterable[Path | Rect | Circle | Text]:
    """All shapes in drawing order, without their groups."""
    for shape in shapes:
        if isinstance(shape, Group):
            yield from flatten(shape.shapes)
        else:
            yield shape


# Helvetica's advance widths of the letters 32 to 126, in thousandths of the size (Adobe's font metrics).
_WIDTHS = (
    (278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278)
    + (556,) * 10
    + (278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778)
    + (667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556, 556)
    + (278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334)
    + (260, 334, 584)
)
