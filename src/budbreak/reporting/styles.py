"""How series look: colours that the colour-blind can tell apart, and a marker and a dash besides."""

from __future__ import annotations

import math
from dataclasses import dataclass

from budbreak.reporting.canvas import Circle, Group, Path, Place, Shape

# Roles of colours, on paper and on a dark screen. The series are Okabe and Ito's palette (the reference is grey),
# lightened for the dark background; see https://jfly.uni-koeln.de/color/.
LIGHT = {
    "paper": "#ffffff",
    "ink": "#1d2126",
    "muted": "#5b6470",
    "grid": "#e3e6ea",
    "s0": "#5a5f66",
    "s1": "#0072b2",
    "s2": "#d55e00",
    "s3": "#00805c",
    "s4": "#b8578f",
    "s5": "#a87400",
    "s6": "#2f9bd6",
    "s7": "#000000",
}
DARK = {
    "paper": "#16191d",
    "ink": "#e8eaed",
    "muted": "#a3acb8",
    "grid": "#30363d",
    "s0": "#b9c0c8",
    "s1": "#56b4e9",
    "s2": "#ff8b3d",
    "s3": "#2fc79a",
    "s4": "#ea9cc8",
    "s5": "#e6b422",
    "s6": "#9ad4ff",
    "s7": "#ffffff",
}


@dataclass(frozen=True)
class Style:
    """The colour role, marker and dash of a series."""

    colour: str
    marker: str
    dash: tuple[float, ...]


_MARKERS = ("circle", "square", "triangle", "diamond", "wedge", "cross", "bar")
_DASHES: tuple[tuple[float, ...], ...] = ((), (7, 3), (2, 2.5), (9, 3, 2, 3), (4, 2), (1, 3), (12, 3), (5, 5))


def style_of(index: int) -> Style:
    """The style of a series; where colours repeat, markers and dashes differ."""
    return Style(f"s{index % 8}", _MARKERS[(index + 3 * (index // 8)) % 7], _DASHES[(index + index // 8) % 8])


def marker(index: int, x: float, y: float, radius: float = 3.6) -> Shape:
    """The marker of a series, of about the same area whatever its shape."""
    style = style_of(index)
    if style.marker == "circle":
        return Circle(x, y, radius, style.colour)
    if style.marker == "cross":
        arms = (
            ((x - radius, y - radius), (x + radius, y + radius)),
            ((x - radius, y + radius), (x + radius, y - radius)),
        )
        return Group(tuple(Path(arm, style.colour, 2) for arm in arms))
    corners = tuple((x + radius * dx, y + radius * dy) for dx, dy in _CORNERS[style.marker])
    return Path(corners, fill=style.colour, closed=True)


_CORNERS: dict[str, tuple[Place, ...]] = {
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "triangle": ((0, -1.25), (1.15, 0.85), (-1.15, 0.85)),
    "wedge": ((0, 1.25), (1.15, -0.85), (-1.15, -0.85)),
    "diamond": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    "bar": ((-1.2, -0.5), (1.2, -0.5), (1.2, 0.5), (-1.2, 0.5)),
}


def sample(index: int, x: float, y: float, width: float = 26) -> tuple[Shape, ...]:
    """A short piece of the line with its marker, for legends."""
    style = style_of(index)
    return (Path(((x, y), (x + width, y)), style.colour, 1.8, style.dash), marker(index, x + width / 2, y))


# One hue each, from pale to dark (ColorBrewer's Blues and Oranges): order survives every colour blindness and a copier.
BLUES = ("#f4f8fd", "#d6e6f4", "#abcfe6", "#6aaed6", "#3787c0", "#105ba4", "#08306b")
ORANGES = ("#fff6ec", "#fee3c8", "#fdc692", "#fda057", "#f3701b", "#cd4401", "#7f2704")


def shade(ramp: tuple[str, ...], share: float) -> str:
    """The colour of a share in [0, 1].

    >>> shade(BLUES, 0.0), shade(BLUES, 1.0)
    ('#f4f8fd', '#08306b')
    """
    place = min(1.0, max(0.0, share)) * (len(ramp) - 1)
    low = min(int(place), len(ramp) - 2)
    pairs = zip(rgb(ramp[low]), rgb(ramp[low + 1]), strict=True)
    return "#" + "".join(f"{round(255 * (a + (b - a) * (place - low))):02x}" for a, b in pairs)


def on(background: str) -> str:
    """Black or white, whichever reads better on a colour."""
    red, green, blue = (value**2.2 for value in rgb(background))
    return "#ffffff" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.30 else "#1d2126"


def rgb(colour: str) -> tuple[float, float, float]:
    """The three shares of a "#rrggbb".

    >>> rgb("#ff0000")
    (1.0, 0.0, 0.0)
    """
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue


def log_share(value: float, least: float) -> float:
    """Where a share lies between ``least`` and 1 on a logarithmic scale, in [0, 1]."""
    if value <= least or least >= 1:
        return 0.0 if value < 1 else 1.0
    return 1 - math.log(value) / math.log(least)
