"""One self-contained page for one run or several: it works offline and asks the network for nothing."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from importlib.resources import files

from budbreak.reporting import parts
from budbreak.reporting.curves import curve_figures
from budbreak.reporting.figure import FULL, Figure
from budbreak.reporting.figures import (
    accuracy_figure,
    compared_figure,
    cost_figure,
    diagnostic_figures,
    difference_figure,
)
from budbreak.reporting.heatmap import heat_figures
from budbreak.reporting.styles import DARK, LIGHT
from budbreak.reporting.svg import escape
from budbreak.studies import RunResult, distinct_names


def to_html(runs: Sequence[RunResult]) -> str:
    """The page; the same runs give the same text."""
    names = distinct_names(runs)
    title = names[0] if len(runs) == 1 else f"{len(runs)} runs compared"
    sections = "".join(_run(run, names, place) for place, run in enumerate(runs))
    body = f'<main>{_compared(runs, names)}<div data-panels="runs">{sections}</div></main>'
    script = _asset("page.js")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{_policy(script)}\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_colours()}{_asset('page.css')}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1></header>\n{body}\n{_footer(runs)}\n"
        f'<div id="tip" role="status" hidden></div>\n<script>{script}</script>\n</body>\n</html>\n'
    )


def _policy(script: str) -> str:
    """Forbid every request, and every script but ours, even if a name should slip through the escaping."""
    checksum = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{checksum}'"
    return f'<meta http-equiv="Content-Security-Policy" content="{rules}">'


def _asset(name: str) -> str:
    return files("budbreak.reporting").joinpath(name).read_text(encoding="utf-8")


def _colours() -> str:
    def variables(palette: dict[str, str]) -> str:
        return "".join(f"--{name}:{value};" for name, value in palette.items())

    dark = f"@media screen and (prefers-color-scheme: dark) {{ :root {{{variables(DARK)}}} }}"
    return f":root {{{variables(LIGHT)}}}\n{dark}\n"


def _compared(runs: Sequence[RunResult], names: Sequence[str]) -> str:
    found = compared_figure(runs, names) if len(runs) > 1 else None
    return f"<section data-scope>{parts.figure(found, 'all')}</section>" if found else ""


def _run(run: RunResult, names: Sequence[str], place: int) -> str:
    name, key = names[place], f"run{place}"
    heading = f'<h2 class="named">{escape(name)}</h2>' if len(names) > 1 else ""
    banner = (
        "" if run.complete else '<p class="banner">Interrupted: tasks are missing, the numbers cover what finished.</p>'
    )
    cost = cost_figure(run)
    facts = [
        parts.figure(cost, key, half=True) if cost else "",
        parts.invariants(run),
        parts.remarks(run),
        parts.arms(run),
        parts.facts("Recipe, resolved", run.recipe),
        parts.facts("Environment", run.environment),
    ]
    return (
        f'<section class="run" data-scope data-panel="{escape(name)}">{heading}'
        f'{banner}<div class="top">{parts.words(run)}{parts.tiles(run)}</div>{parts.arms_table(run)}'
        f'<div class="grid">{_figures(run, key)}</div><div class="columns">{"".join(facts)}</div></section>'
    )


def _figures(run: RunResult, key: str) -> str:
    def one(found: Figure | None, *, half: bool) -> str:
        return parts.figure(found, key, half=half) if found else ""

    return "".join(
        (
            one(accuracy_figure(run), half=True),
            one(difference_figure(run), half=True),
            *(one(found, half=found.wide.width < FULL) for found in diagnostic_figures(run)),
            parts.figure_panels("Over training", curve_figures(run), key),
            parts.figure_panels("Layers", heat_figures(run), key),
        )
    )


def _footer(runs: Sequence[RunResult]) -> str:
    said = "; ".join(f"{run.name}: recipe {run.identity[:12]}" for run in runs)
    return f"<footer>{escape(said)}. Written by budbreak; this file needs no network.</footer>"
