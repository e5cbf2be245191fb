"""How everything looks: colours for paper and dark screens, markers and dashes of arms, the manners of axes."""

from __future__ import annotations

from typing import Any

# Roles of colours. The arms' are Okabe and Ito's palette (the reference is grey), lightened for the dark background;
# see https://jfly.uni-koeln.de/color/.
LIGHT = {
    "paper": "#ffffff", "ink": "#1d2126", "muted": "#5b6470", "grid": "#e3e6ea",
    "s0": "#5a5f66", "s1": "#0072b2", "s2": "#d55e00", "s3": "#00805c",
    "s4": "#b8578f", "s5": "#a87400", "s6": "#2f9bd6", "s7": "#000000",
}  # fmt: skip
DARK = {
    "paper": "#16191d", "ink": "#e8eaed", "muted": "#a3acb8", "grid": "#30363d",
    "s0": "#b9c0c8", "s1": "#56b4e9", "s2": "#ff8b3d", "s3": "#2fc79a",
    "s4": "#ea9cc8", "s5": "#e6b422", "s6": "#9ad4ff", "s7": "#ffffff",
}  # fmt: skip

# One hue each, from pale to dark (ColorBrewer's Blues and Oranges): order survives every colour blindness and a copier.
BLUES = ("#f4f8fd", "#d6e6f4", "#abcfe6", "#6aaed6", "#3787c0", "#105ba4", "#08306b")
ORANGES = ("#fff6ec", "#fee3c8", "#fdc692", "#fda057", "#f3701b", "#cd4401", "#7f2704")

# Of about the same area, in a square from -1 to 1.
_MARKERS = (
    "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z",
    "M-.9,-.9H.9V.9H-.9Z",
    "M0,-1.2L1.1,.8H-1.1Z",
    "M0,-1.25L1.25,0L0,1.25L-1.25,0Z",
    "M0,1.2L1.1,-.8H-1.1Z",
    "M-.4,-1.2H.4V-.4H1.2V.4H.4V1.2H-.4V.4H-1.2V-.4H-.4Z",
    "M-1.2,-.5H1.2V.5H-1.2Z",
)
_DASHES = ((1, 0), (7, 3), (2, 2.5), (9, 3, 2, 3), (4, 2), (1, 3), (12, 3), (5, 5))


def colour(index: int) -> str:
    """The colour of an arm, as a variable of the style sheet."""
    return f"var(--s{index % 8})"


def marker(index: int) -> str:
    """Its marker; where colours repeat, markers and dashes differ."""
    return _MARKERS[(index + 3 * (index // 8)) % 7]


def dash(index: int) -> tuple[float, ...]:
    """The strokes and gaps of its line."""
    return _DASHES[(index + index // 8) % 8]


def on_paper(text: str) -> str:
    """A specification whose variables are the colours of paper.

    >>> on_paper('"fill": "var(--paper)"')
    '"fill": "#ffffff"'
    """
    for role, value in LIGHT.items():
        text = text.replace(f"var(--{role})", value)
    return text


def config(font: str, size: float) -> dict[str, Any]:
    """The manners of all figures, with text of one size."""
    muted = {"labelColor": "var(--muted)", "titleColor": "var(--muted)", "titleFontWeight": "normal"}
    text = {"labelFontSize": size, "titleFontSize": size, "labelLimit": 0}
    label = {"labelFontSize": size, "labelColor": "var(--ink)", "labelAnchor": "start", "labelFontWeight": 600}
    aside = {"titleColor": "var(--muted)", "titleFontSize": size, "titleFontWeight": "normal", "titleAnchor": "start"}
    return {
        "font": font,
        "background": "transparent",
        "padding": 3,
        "aria": False,
        "view": {"stroke": None},
        "axis": {**muted, **text, "gridColor": "var(--grid)", "tickColor": "var(--muted)", "titlePadding": 8},
        "axisX": {"grid": False, "domainColor": "var(--muted)", "labelFlush": False, "labelAngle": 0},
        "axisY": {"domain": False, "ticks": False, "labelPadding": 6, "minExtent": 3 * size},
        "header": {**label, **aside, "labelPadding": 4, "labelLimit": 0},
        "legend": {
            **muted,
            **text,
            "labelColor": "var(--ink)",
            "title": None,
            "orient": "top",
            "symbolSize": 60,
            "symbolOpacity": 1,
        },
        "text": {"color": "var(--ink)", "fontSize": size},
    }
