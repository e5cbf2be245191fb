"""The pieces of the page that are not drawings, as HTML; every text that comes from a record is escaped here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from budbreak.diagnostics import Quantity
from budbreak.reporting.canvas import Drawing
from budbreak.reporting.conclusion import conclude
from budbreak.reporting.figure import MISSING, Figure, Table
from budbreak.reporting.styles import sample
from budbreak.reporting.summary import Ending, endings, family
from budbreak.reporting.svg import escape, inline_svg
from budbreak.reporting.wording import chance, count, density, duration, interval, number
from budbreak.studies import TEST_ACCURACY, RunResult


def words(run: RunResult) -> str:
    """The conclusion: a paragraph, one item per arm, and how to read the intervals."""
    conclusion = conclude(run)
    lead = typeset(conclusion.lead) + (f"</p><p>{typeset(conclusion.cost)}" if conclusion.cost else "")
    caveat = typeset(conclusion.caveat)
    texts = [f"<b>{escape(name)}</b> {typeset(text)}" for name, text in conclusion.arms]
    if len(texts) == 1:
        return f'<div class="words"><p>{lead}</p><p>{texts[0]}</p><p>{caveat}</p></div>'
    items = "".join(f"<li>{text}</li>" for text in texts)
    listed = f"<ul>{items}</ul>" if items else ""
    return f'<div class="words"><p>{lead}</p>{listed}<p>{caveat}</p></div>'


def typeset(text: str) -> str:
    """Our own words as HTML: a true lambda and minus, and no line break between a number and its unit.

    >>> typeset("lambda = 6.9 %: -0.12 <x-1>").encode("ascii", "namereplace").decode().count("MINUS SIGN")
    1
    """
    signs = re.sub(r"(?<![\w.-])-(?=\d)", "\u2212", escape(text))
    return signs.replace("lambda = ", "\u03bb\u00a0=\u00a0").replace(" %", "\u00a0%")


def tiles(run: RunResult) -> str:
    """The key numbers."""
    found = "".join(
        f'<div class="tile"><b>{typeset(big)}</b><small>{typeset(small)}</small></div>' for big, small in _keys(run)
    )
    return f'<div class="tiles">{found}</div>'


def _keys(run: RunResult) -> Iterator[tuple[str, str]]:
    if not run.levels:
        return
    sparsest = min(run.levels, key=lambda row: row.density)
    levels = len({row.level for row in run.levels})
    yield density(sparsest.density), f"of the weights remain at the sparsest of {count(levels, 'level')}"
    arms, seeds = len({row.arm for row in run.levels}), len({row.seed for row in run.levels})
    yield count(arms, "arm"), f"under {count(seeds, 'seed')}"
    broken = len(broken_invariants(run))
    checks = sum(len(row.invariants) for row in run.levels)
    yield (f"{broken} broken" if broken else "all held"), f"of {count(checks, 'check')} of invariants"
    yield duration(run.seconds), "in all"


def arms_table(run: RunResult) -> str:
    """Each arm at its last level, beside the arm that it is compared with."""
    last = endings(run)
    if not last:
        return ""
    quantities = list(dict.fromkeys(quantity for ending in last for quantity in ending.others))
    header = ("arm", "\u03bb", "test accuracy", "minus", "difference (points)", "p, corrected")
    labels = (*header, *(quantity.label for quantity in quantities))
    rows = tuple(_arm_row(ending, quantities) for ending in last)
    how = "Mean \u00b1 standard deviation over seeds"
    if any(ending.difference is not None for ending in last):
        known = any(ending.difference and ending.difference.estimate.low is not None for ending in last)
        how += "; differences are paired by seed, " + ("with 95 % intervals" if known else "n=1: no interval")
    how += f"; p is {family(run)}, * marks p < 0.05" if family(run) else ""
    table = _rows(Table(labels, rows))
    return (
        f'<section class="arms"><h2>Arms at their last level</h2><p class="quiet">{escape(how)}.</p>{table}</section>'
    )


def _arm_row(ending: Ending, quantities: Sequence[Quantity]) -> tuple[str, ...]:
    difference = ending.difference
    star = "*" if difference is not None and difference.is_found else ""
    others = (
        number(quantity, ending.others[quantity].estimate.mean) if quantity in ending.others else MISSING
        for quantity in quantities
    )
    return (
        ending.arm,
        density(ending.accuracy.x),
        ending.accuracy_text,
        ending.reference or MISSING,
        interval(TEST_ACCURACY, difference.estimate) + star if difference else MISSING,
        MISSING if difference is None or difference.p is None else chance(difference.p),
        *others,
    )


def broken_invariants(run: RunResult) -> list[tuple[str, str]]:
    """What did not hold, and where."""
    return [
        (name, f"{row.arm}, seed {row.seed}, level {row.level}")
        for row in run.levels
        for name, held in row.invariants.items()
        if not held
    ]


def invariants(run: RunResult) -> str:
    """Each invariant with how often it was checked, and every failure."""
    names = list(dict.fromkeys(name for row in run.levels for name in row.invariants))
    broken = broken_invariants(run)
    items: list[str] = []
    for name in names:
        checks = sum(name in row.invariants for row in run.levels)
        where = [place for other, place in broken if other == name]
        said = (
            f"held in all {checks} checks" if not where else f"broken in {len(where)} of {checks}: {'; '.join(where)}"
        )
        items.append(f'<tr><th class="{"broken" if where else "held"}">{escape(name)}</th><td>{escape(said)}</td></tr>')
    body = "".join(items) or "<tr><td>none was recorded</td></tr>"
    return _facts("Invariants checked", body)


def remarks(run: RunResult) -> str:
    """What the run remarked, with the places."""
    places: dict[str, list[str]] = {}
    for row in run.levels:
        for remark in row.notes:
            places.setdefault(remark, []).append(f"{row.arm}, seed {row.seed}, level {row.level}")
    body = "".join(
        f"<tr><td>{escape(remark)}</td><td>{escape(_places(where))}</td></tr>" for remark, where in places.items()
    )
    return _facts("Remarks", body) if body else ""


def _places(where: Sequence[str]) -> str:
    return "; ".join(where[:4]) + (f"; and {len(where) - 4} more" if len(where) > 4 else "")


def facts(heading: str, values: Mapping[str, object]) -> str:
    """A nested mapping as a table of dotted names."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in _flat(values, ""))
    return _facts(heading, rows or "<tr><td>nothing was recorded</td></tr>")


def arms(run: RunResult) -> str:
    """What each arm is compared with, and where it differs from the recipe."""
    values: dict[str, object] = {}
    for arm in run.arms:
        values[arm.name] = f"compared with {arm.reference}" if arm.reference else "compared with none"
        values |= {f"{arm.name}: {field}": value for field, value in arm.overrides.items()}
    return facts("Arms", values)


def _facts(heading: str, body: str) -> str:
    return f'<section class="facts"><h2>{heading}</h2><table>{body}</table></section>'


def _flat(value: object, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{name}[{place}]")
    elif isinstance(value, list | tuple):
        yield name, ", ".join(map(str, value)) or "none"
    else:
        yield name, "none" if value is None else str(value)


def figure(found: Figure, prefix: str, *, half: bool = False) -> str:
    """A figure with its legend of buttons, both drawings, its caption and its table."""
    kind = "half" if half else "full"
    head = f'<figure class="{kind}" id="{prefix}-{found.key}"><h2>{escape(found.heading)}</h2>'
    return f"{head}{_body(found, prefix)}</figure>"


def figure_panels(heading: str, found: Sequence[Figure], prefix: str) -> str:
    """Several figures of one kind in one place, chosen by buttons; all of them in print."""
    if not found:
        return ""
    panels = "".join(
        f'<figure data-panel="{escape(one.heading)}" id="{prefix}-{one.key}">'
        f'<h3 class="named">{escape(one.heading)}</h3>{_body(one, prefix)}</figure>'
        for one in found
    )
    return f'<div class="full" data-panels="figures"><h2>{escape(heading)}</h2>{panels}</div>'


def _body(found: Figure, prefix: str) -> str:
    wide = inline_svg(found.wide, f"{prefix}-{found.key}-wide")
    narrow = inline_svg(found.narrow, f"{prefix}-{found.key}-narrow")
    drawn = f'{_legend(found.arms)}<div class="wide">{wide}</div><div class="narrow">{narrow}</div>'
    return f"<figcaption>{escape(found.caption)}</figcaption>{drawn}{_table(found.table)}"


def _legend(arms: Sequence[tuple[int, str]]) -> str:
    if not arms:
        return ""
    buttons = "".join(
        f'<button type="button" aria-pressed="true" data-toggle="{index}">{_sample(index)}{escape(name)}</button>'
        for index, name in arms
    )
    return f'<div class="legend" role="group" aria-label="shown">{buttons}</div>'


def _sample(index: int) -> str:
    drawn = inline_svg(Drawing(28, 12, "", "", sample(index, 1, 6)), "sample")
    opening, _, rest = drawn.partition(">")
    size = opening[opening.index("viewBox") :].partition(" role")[0]
    shapes = rest.partition("</desc>")[2]
    return f'<svg {size} aria-hidden="true">{shapes}'


def _table(found: Table) -> str:
    return f"<details><summary>the numbers as a table</summary>{_rows(found)}</details>"


def _rows(found: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in found.header)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in found.rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{table}</div>'
