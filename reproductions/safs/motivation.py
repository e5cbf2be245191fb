"""Why anybody would search: single activations, and the dense hyper-parameters, on the sparse network."""

from __future__ import annotations

from collections.abc import Mapping

from budbreak.results import Difference
from reproductions.safs.studies import ENOUGH, OPERATORS, RELU, Measured, Operators, outcome
from reproductions.safs.tables import half_powered, judged, recipe_link
from reproductions.wording import density, listed, table, with_spread


def motivation_section(single: Operators, studies: Mapping[str, Measured]) -> str:
    """Both of the paper's reasons."""
    parts = ["## Why search: the two reasons of the paper", "### ReLU is not the best of a sparse network"]
    parts += [_operators(single), "### What suits the dense network does not suit the sparse one", _settings(studies)]
    return "\n\n".join(parts)


def _operators(single: Operators) -> str:
    study = single.study
    if not study.cells:
        return "Not measured yet."
    setting = (
        f"{recipe_link(OPERATORS)}: {len(study.cells)} of {study.seeds * len(study.planned)} cells, one activation at "
        f"every site, trained by the dense recipe.{half_powered(study)}"
    )
    head = ["test accuracy, %", *(f"{density(1 - at)} left" for at in single.sparsities)]
    means = [[name, *(_mean(single, name, at) for at in single.sparsities)] for name in single.names]
    minus = [
        [f"{name} - {RELU}", *(_minus(single.difference(name, at)) for at in single.sparsities)]
        for name in single.names
        if name != RELU
    ]
    tables = [table(head, means), table(["points [95 %], p by Holm over this table", *head[1:]], minus)]
    return "\n\n".join([setting, operators_sentence(single), *tables])


def _mean(single: Operators, name: str, sparsity: float) -> str:
    values = single.values(name, sparsity)
    lacking = f" (n={len(values)})" if 0 < len(values) < single.study.seeds else ""
    return f"{with_spread(values)}{lacking}"


def _minus(row: Difference | None) -> str:
    return judged(row)[0]


def operators_sentence(single: Operators) -> str:
    """How many activations are shown to be above and below ReLU, sparsity by sparsity."""
    texts: list[str] = []
    for at in single.sparsities if single.study.cells else ():
        rows = [(name, row) for name in single.names if (row := single.difference(name, at)) is not None]
        judged_rows = [(name, outcome(row)) for name, row in rows if row.n >= ENOUGH]
        if judged_rows:
            above, below = ([name for name, said in judged_rows if said == word] for word in ("above", "below"))
            texts.append(f"with {density(1 - at)} left above: {listed(above)}, below: {listed(below)}")
    if not texts:
        return f"No activation has {ENOUGH} seeds beside {RELU} yet: nothing is judged."
    return f"Shown beside {RELU}: {'; '.join(texts)}."


def _settings(studies: Mapping[str, Measured]) -> str:
    """The plain arm tuned beside the plain one by the dense recipe."""
    rows = [
        [one.title, one.power(one.tuned), *judged(row)]
        for one in studies.values()
        if one.study.cells and (row := one.differences.get(one.tuned)) is not None
    ]
    if not rows:
        return "Not measured yet."
    text = (
        "The same network, mask and activation; only optimizer, learning rate, momentum, weight decay and schedule of "
        "the last training are searched anew, by validation accuracy. p by Holm over the arms of its sparsity."
    )
    return f"{text}\n\n{table(('sparsity', 'seeds', 'tuned - untuned, points [95 %]', 'p, Holm', 'so it is'), rows)}"
