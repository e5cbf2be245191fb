"""Figures as specifications of Vega-Lite, and drawn from these as SVG, PDF and PNG without a browser."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from typing import Any

import vl_convert
from altair.utils.schemapi import debug_mode

from budbreak.reporting.figures import Figure
from budbreak.reporting.theme import LIGHT, config, on_paper

VEGA_LITE = "6.4"
WIDTHS = {"1col": 252.0, "2col": 515.5}
"""Of papers with two columns, in points: 3.5 and 7.16 inches."""

_SIZES = re.compile(r'(<svg [^>]*?)width="([\d.]+)" height="([\d.]+)" viewBox="[^"]*"')
_CONTROL = re.compile(r"(?<!\\)((?:\\\\)*)\\u00[01][0-9a-f]")  # characters in JSON on which vl-convert aborts
_FONT, _SIZE = "Liberation Sans", 8.0  # of vl-convert itself: the same text on every machine


def specification(figure: Figure, width: float) -> dict[str, Any]:
    """The figure for a width, its data by name; the parameter ``hidden`` holds the arms that are not shown."""
    within: dict[str, Any] = {"top_level": False, "data": figure.data, "datasets": {}}  # as if in a chart that has them
    with debug_mode(False):  # else Altair checks each part against its schema: ten times slower
        spec = figure.draw(width).to_dict(validate=False, context=within)
    return {
        **spec,
        "datasets": within["datasets"],
        "params": [{"name": "hidden", "value": []}, *spec.get("params", [])],
    }


@functools.lru_cache(maxsize=1)
def engine() -> str:
    """Vega, Vega-Lite and their interpreter as one script."""
    return vl_convert.javascript_bundle("window.vegaEmbed=vegaEmbed;", vl_version=VEGA_LITE)


def to_svg(figure: Figure, width: float) -> str:
    """On paper, as wide as asked for, with text of 7 points at least."""
    svg, needed = _svg(figure, width, width)
    if needed > 1.02 * width:
        svg, needed = _svg(figure, width * width / needed, width)
    found = _SIZES.match(svg)
    assert found, "an SVG of vl-convert begins with its size"
    room = max(needed, width)  # what needs less is not stretched: text has one size in all figures
    height = float(found[3])
    size = f'width="{width:g}" height="{height * width / room:.2f}" viewBox="0 0 {room:g} {height:g}"'
    paper = svg[found.end() :].replace(f'<rect width="{found[2]}"', f'<rect width="{room:g}"', 1)
    return f"{found[1]}{size}{paper}"


def _svg(figure: Figure, planned: float, width: float) -> tuple[str, float]:
    """The drawing and the width that it takes: what labels need is known only once they are measured."""
    manners = config(_FONT, _SIZE)
    longest = max(map(len, figure.arms), default=1)
    manners["legend"] |= {"columns": max(1, int(width / (26 + 0.6 * _SIZE * longest))), "labelLimit": width - 40}
    manners["background"] = LIGHT["paper"]
    paper = on_paper(json.dumps([specification(figure, planned), manners, figure.data]))
    spec, manners, data = json.loads(_CONTROL.sub(r"\1?", paper))
    spec["datasets"] = {**spec.get("datasets", {}), **data}
    svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE, config=manners)
    found = _SIZES.match(svg)
    return svg, float(found[2]) if found else planned


def draw(figure: Figure, width: float, formats: Sequence[str]) -> dict[str, bytes]:
    """The figure in some formats: in PDF text stays text, in embedded fonts; PNG has two pixels a point."""
    svg = to_svg(figure, width)
    as_format = {
        "svg": lambda: svg.encode(),
        "pdf": lambda: vl_convert.svg_to_pdf(svg),
        "png": lambda: vl_convert.svg_to_png(svg, scale=2),
    }
    return {name: as_format[name]() for name in formats}
