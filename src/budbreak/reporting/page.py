"""One self-contained page for one run or several: it works offline and asks the network for nothing."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from budbreak.reporting import theme
from budbreak.reporting.compacted import compacted
from budbreak.reporting.conclusion import conclude
from budbreak.reporting.drawing import engine, specification
from budbreak.reporting.figures import Figure, compared, figures_of
from budbreak.reporting.searched import searched
from budbreak.reporting.summary import endings, remarks
from budbreak.reporting.wording import count, density, duration, plain_lines
from budbreak.results import RunResult, distinct_names

_FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
# On a laptop, on a phone, and the last one on paper.
_WIDTHS = {"half": (500.0, 356.0), "full": (1028.0, 356.0, 680.0), "aside": (500.0, 356.0)}


def to_html(runs: Sequence[RunResult]) -> str:
    """The page; the same runs give the same text."""
    names = distinct_names(runs)
    jinja = Environment(
        loader=PackageLoader("budbreak.reporting"), autoescape=True, undefined=StrictUndefined, finalize=_printable
    )
    jinja.filters |= {"typeset": typeset, "checksum": _checksum}
    jinja.globals.update(colour=theme.colour, dash=theme.dash, marker=theme.marker)  # pyright: ignore
    shown = {f"run{place}": figures_of(run) for place, run in enumerate(runs)}
    across = compared(runs)
    source = [jinja.loader.get_source(jinja, name)[0] for name in ("page.css", "page.js")] if jinja.loader else ["", ""]
    return jinja.get_template("page.html").render(
        title=names[0] if len(runs) == 1 else f"{len(runs)} runs compared",
        light=theme.LIGHT,
        dark=theme.DARK,
        style=Markup(source[0]),
        scripts=[Markup(engine()), Markup(source[1])],
        compared=across,
        runs=[_run(run, name, *item) for run, name, item in zip(runs, names, shown.items(), strict=True)],
        report=_as_json({"all": across, **shown}),
    )


def _printable(value: object) -> object:
    """Names may hold control characters, which HTML may not."""
    return value if isinstance(value, Markup) else plain_lines(str(value))


def _checksum(script: str) -> str:
    """Of a script, for the policy that forbids all others, even if a name should slip through the escaping."""
    return f"sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def typeset(text: str) -> Markup:
    """Our own words with a true lambda and minus, and no line break between a number and its unit.

    >>> typeset("lambda = 6.9 %: -0.12 <x-1>").encode("ascii", "namereplace").decode().count("MINUS SIGN")
    1
    """
    signs = re.sub(r"(?<![\w.-])-(?=\d)", "\u2212", str(escape(plain_lines(text))))
    return Markup(signs.replace("lambda = ", "\u03bb\u00a0=\u00a0").replace(" %", "\u00a0%"))


def _as_json(shown: Mapping[str, Sequence[Figure]]) -> Markup:
    """What the script draws: specifications for each width, and each table once, by columns."""
    figures = {
        f"{prefix}-{figure.key}": {
            "specs": [_without_legends(specification(figure, width)) for width in _WIDTHS[figure.place]],
            "widths": _WIDTHS[figure.place],
            "data": {name: f"{prefix}-{name}" for name in figure.data},
        }
        for prefix, found in shown.items()
        for figure in found
    }
    tables = {
        f"{prefix}-{name}": {column: [row[column] for row in rows] for column in rows[0]}
        for prefix, found in shown.items()
        for figure in found
        for name, rows in figure.data.items()
    }
    report = {"config": theme.config(_FONT, 11), "figures": figures, "tables": tables}
    return Markup(json.dumps(report, separators=(",", ":")).replace("<", "\\u003c"))


def _without_legends(part: Any) -> Any:
    """The page has buttons in place of the legends of arms."""
    if isinstance(part, list):
        return [_without_legends(one) for one in part]
    if not isinstance(part, dict):
        return part
    arms = part.get("field") == "arm" and "legend" in part
    return {key: _without_legends(one) for key, one in part.items()} | ({"legend": None} if arms else {})


def _run(run: RunResult, name: str, prefix: str, figures: Sequence[Figure]) -> dict[str, Any]:
    beside = [figure for figure in figures if figure.place != "aside"]
    return {
        "name": name,
        "prefix": prefix,
        "identity": run.identity,
        "complete": run.complete,
        "words": conclude(run),
        "tiles": list(_tiles(run)),
        "arms": [table for table in (endings(run), compacted(run), searched(run)) if table.rows],
        "remarks": remarks(run),
        "figures": [(panel, list(found)) for panel, found in groupby(beside, lambda figure: figure.panel)],
        "aside": [figure for figure in figures if figure.place == "aside"],
        "facts": {
            "Invariants checked": list(_invariants(run)),
            "Arms": [(arm.name, f"compared with {arm.reference or 'none'}") for arm in run.arms],
            "Recipe, resolved": list(_recipe(run)),
            "Environment": list(_flat(run.environment, "")),
        },
    }


def _tiles(run: RunResult) -> Iterator[tuple[str, str]]:
    """The key numbers."""
    if not run.levels:
        return
    levels, arms, seeds = (len({getattr(row, of) for row in run.levels}) for of in ("level", "arm", "seed"))
    held = [held for row in run.levels for held in row.invariants.values()]
    sparsest = density(min(row.density for row in run.levels))
    yield sparsest, f"of the weights remain at the sparsest of {count(levels, 'level')}"
    yield count(arms, "arm"), f"under {count(seeds, 'seed')}"
    if held:
        broken = held.count(False)
        yield f"{broken} broken" if broken else "all held", f"of {count(len(held), 'check')} of invariants"
    yield duration(run.seconds), "in all"


def _invariants(run: RunResult) -> Iterator[tuple[Markup, str]]:
    """Each invariant with how often it was checked, and every failure."""
    for name in dict.fromkeys(name for row in run.levels for name in row.invariants):
        checked = [row for row in run.levels if name in row.invariants]
        where = [f"{row.arm}, seed {row.seed}, level {row.level}" for row in checked if not row.invariants[name]]
        said = f"broken in {len(where)} of {len(checked)}: {'; '.join(where)}" if where else ""
        mark = Markup('<span class="{}">{}</span>').format("broken" if where else "held", plain_lines(name))
        yield mark, said or f"held in all {len(checked)} checks"


def _recipe(run: RunResult) -> Iterator[tuple[str, str]]:
    """The recipe, what all its arms share once."""
    arms = {name: dict(_flat(fields, "")) for name, fields in run.recipe.get("arms", {}).items()}
    shared = set.intersection(*(set(fields.items()) for fields in arms.values())) if arms else set()
    yield from _flat({name: value for name, value in run.recipe.items() if name != "arms"}, "")
    yield from (item for item in next(iter(arms.values()), {}).items() if item in shared)
    for arm, fields in arms.items():
        yield from ((f"{arm}: {name}", text) for name, text in fields.items() if (name, text) not in shared)


def _flat(value: object, name: str) -> Iterator[tuple[str, str]]:
    """A nested mapping as dotted names with their values."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{name}[{place}]")
    elif isinstance(value, list | tuple):
        yield name, ", ".join(map(str, value)) or "none"
    elif name:
        yield name, "none" if value is None or value == {} else str(value)
