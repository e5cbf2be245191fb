"""A drawing as SVG: inline in the page, coloured by its style sheet, or as a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from html import escape as escape_html

from budbreak.reporting.canvas import Circle, Drawing, Group, Path, Rect, Shape, Text
from budbreak.reporting.styles import LIGHT
from budbreak.reporting.wording import plain_lines

_FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
Colour = Callable[[str], str]


def to_svg(drawing: Drawing) -> str:
    """A file of its own, in the colours of paper; browsers show the tips on hovering."""
    body = "".join(_shape(shape, _paper_colour, _titled) for shape in drawing.shapes)
    background = f'<rect width="100%" height="100%" fill="{LIGHT["paper"]}"/>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{_open(drawing, "figure", sized=True)}{background}{body}</svg>\n'


def inline_svg(drawing: Drawing, key: str) -> str:
    """A part of the page: colours are variables of the style sheet, tips are attributes for the script.

    Args:
        drawing: what to draw.
        key: unique in the page.
    """
    body = "".join(_shape(shape, _variable, _tagged) for shape in drawing.shapes)
    return f"{_open(drawing, key, sized=False)}{body}</svg>"


def escape(text: str) -> str:
    """Text for XML: markup is escaped, control characters, which no XML may hold, are replaced."""
    return escape_html(plain_lines(text))


def _open(drawing: Drawing, key: str, *, sized: bool) -> str:
    width, height = _number(drawing.width), _number(drawing.height)
    size = f'width="{width}" height="{height}" ' if sized else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}viewBox="0 0 {width} {height}" role="group" '
        f'aria-labelledby="{key}-title {key}-desc" font-family="{_FONT}" font-size="11">'
        f'<title id="{key}-title">{escape(drawing.title)}</title>'
        f'<desc id="{key}-desc">{escape(drawing.description)}</desc>'
    )


def _paper_colour(name: str) -> str:
    return LIGHT.get(name, name)


def _variable(name: str) -> str:
    return f"var(--{name})" if name in LIGHT else name


def _titled(group: Group, body: str) -> str:
    title = f"<title>{escape(group.tip)}</title>" if group.tip else ""
    return f"<g>{title}{body}</g>"


def _tagged(group: Group, body: str) -> str:
    series = "" if group.series is None else f' data-series="{group.series}"'
    # Not focusable itself: the script moves a single focus through the tips of a figure with the arrow keys.
    tip = f' class="tip" data-tip="{escape(group.tip)}"' if group.tip else ""
    return f"<g{series}{tip}>{body}</g>"


def _shape(shape: Shape, colour: Colour, wrap: Callable[[Group, str], str]) -> str:
    if isinstance(shape, Group):
        return wrap(shape, "".join(_shape(part, colour, wrap) for part in shape.shapes))
    if isinstance(shape, Path):
        return _path(shape, colour)
    if isinstance(shape, Rect):
        fill = colour(shape.fill) if shape.fill else "transparent"
        place = f'x="{_number(shape.x)}" y="{_number(shape.y)}"'
        return f'<rect {place} width="{_number(shape.width)}" height="{_number(shape.height)}" fill="{fill}"/>'
    if isinstance(shape, Circle):
        opacity = "" if shape.opacity == 1 else f' opacity="{_number(shape.opacity)}"'
        place = f'cx="{_number(shape.x)}" cy="{_number(shape.y)}" r="{_number(shape.radius)}"'
        return f'<circle {place} fill="{colour(shape.fill)}"{opacity}/>'
    return _text(shape, colour)


def _path(path: Path, colour: Colour) -> str:
    way = "L".join(f"{_number(x)} {_number(y)}" for x, y in path.points)
    fill = colour(path.fill) if path.fill else "none"
    stroke = f' stroke="{colour(path.stroke)}" stroke-width="{_number(path.width)}"' if path.stroke else ""
    dash = f' stroke-dasharray="{" ".join(map(_number, path.dash))}"' if path.dash else ""
    return f'<path d="M{way}{"Z" if path.closed else ""}" fill="{fill}"{stroke}{dash}/>'


def _text(text: Text, colour: Colour) -> str:
    place = f'x="{_number(text.x)}" y="{_number(text.y)}"'
    turn = f' transform="rotate(-90 {_number(text.x)} {_number(text.y)})"' if text.turned else ""
    anchor = "" if text.anchor == "start" else f' text-anchor="{text.anchor}"'
    size = "" if text.size == 11 else f' font-size="{_number(text.size)}"'
    bold = ' font-weight="600"' if text.bold else ""
    return f'<text {place} fill="{colour(text.colour)}"{anchor}{size}{bold}{turn}>{escape(text.text)}</text>'


def _number(value: float) -> str:
    """Two decimals at most.

    >>> _number(3.0), _number(0.125), _number(-0.001)
    ('3', '0.12', '0')
    """
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
