"""The sections of docs/reproduction/ap.md, each from the cells of a study or two."""

from __future__ import annotations

from collections.abc import Sequence

from budbreak.results import TEST_ACCURACY
from reproductions.ap.scripts import DRIFT, NONZERO
from reproductions.cells import REWOUND, Cell
from reproductions.judging import Verdict, expected_by_chance, judge, sentence, verdict_table
from reproductions.prose import name_of
from reproductions.study import Pair, Study
from reproductions.tables import DYNAMIC, STATIC, accuracy_table, dead_unit_table, difference_table
from reproductions.wording import density, listed, percent, table

_ACCURACY = TEST_ACCURACY.name


def verdicts_on_hosts(study: Study) -> list[Verdict]:
    """AP, and what else follows a host, each beside its host."""
    return judge(study, study.pairs())


def hosts_section(study: Study) -> str:
    """Each host without and with AP."""
    return "\n\n".join([f"## Hosts: {name_of(study)}", *_follow_ups(study)])


def evidence_section(study: Study) -> str:
    """What looks at activations, beside host and AP."""
    return "\n\n".join([f"## Beyond the paper: {name_of(study)}", _EVIDENCE, *_follow_ups(study)])


_EVIDENCE = (
    "AP never looks at an activation. *waker* does (`budbreak.contrib.DeadUnitWaker`): of the weights whose removal "
    "brings a unit that is nearly dead on the data nearer to firing, whatever their sign and that of what they meet, "
    "those go that cost the loss least for it, and what a norm takes away again is no gain. *stripping* "
    "(`SynapticStripping`) removes the most negative weights of units that are dead on all calibration images."
)


def _follow_ups(study: Study) -> list[str]:
    """What follows hosts, each beside its host."""
    pairs, verdicts = study.pairs(), verdicts_on_hosts(study)
    parts = [setting(study), sentence(verdicts, name_of(study)), expected_by_chance(verdicts)]
    parts += [verdict_table(verdicts), *_beside_ap(study)]
    parts += [accuracy_table(study, study.arms), _differences(study, pairs), _dead_units(study, pairs)]
    return parts


def _beside_ap(study: Study) -> list[str]:
    """What else follows a host, beside AP after the same host; nothing where AP alone does."""
    found = study.pairs()
    aps = {host: arm for arm, host in found if arm == f"{host}-ap"}
    pairs = [(arm, aps[host]) for arm, host in found if host in aps and arm != aps[host]]
    verdicts = judge(study, pairs)
    return [sentence(verdicts, "beside AP"), verdict_table(verdicts)] if verdicts else []


def _differences(study: Study, pairs: Sequence[Pair]) -> str:
    return difference_table(study, pairs, _ACCURACY, "accuracy, points [95 %]")


def _dead_units(study: Study, pairs: Sequence[Pair]) -> str:
    """Dead neuron rates, right after rewinding and after training."""
    tables = [
        "### Dead neurons",
        *(dead_unit_table(study, study.arms, rewound=rewound) for rewound in (True, False)),
        difference_table(study, pairs, f"{REWOUND}{DYNAMIC}", "dynamic DNR right after rewinding, points"),
        difference_table(study, pairs, DYNAMIC, "dynamic DNR after training, points"),
        difference_table(study, pairs, STATIC, "static DNR after training, points"),
    ]
    return "\n\n".join(tables)


PRO_PAIRS = (("pro", "magnitude"), ("pro", "retrain"), ("pro", "split"), ("split", "retrain"), ("retrain", "magnitude"))


def pro_section(study: Study) -> str:
    """AP pro beside its fair counterparts."""
    pairs = [(arm, reference) for arm, reference in PRO_PAIRS if {arm, reference} <= set(study.arms)]
    verdicts = judge(study, pairs)
    text = (
        "Pro trains twice in each level. *retrain* trains the host's mask twice, *split* lets the host remove pro's "
        "share after the first training: whatever pro gains over magnitude alone, they tell how much of it is the "
        "second training, and how much AP."
    )
    parts = [f"## AP pro and its counterparts: {name_of(study)}", setting(study), text]
    parts += [sentence(verdicts, name_of(study)), verdict_table(verdicts), accuracy_table(study, study.arms)]
    return "\n\n".join([*parts, _differences(study, pairs)])


def ablation_section(study: Study) -> str:
    """One part of AP exchanged at a time."""
    pairs = ablation_pairs(study)
    against_ap = [(arm, "ap") for arm, reference in pairs if reference == "magnitude" and arm != "ap"]
    verdicts, beside = judge(study, pairs), judge(study, against_ap if "ap" in study.arms else [])
    fewer = difference_table(study, pairs, f"{REWOUND}{DYNAMIC}", "dynamic DNR right after rewinding, points")
    parts = [f"## What of AP matters: {name_of(study)}", setting(study), _ABLATION]
    parts += [
        sentence(verdicts, "the host"),
        verdict_table(verdicts),
        sentence(beside, "AP lite"),
        verdict_table(beside),
    ]
    return "\n\n".join([*parts, _differences(study, pairs), fewer])


def ablation_pairs(study: Study) -> list[Pair]:
    """Every arm that is compared with another, where both have cells."""
    return [(arm, ref) for arm, ref in study.planned.items() if ref is not None and {arm, ref} <= set(study.arms)]


_ABLATION = (
    "AP removes, after the host, the negative weights that moved least. Exchanged are the sign (*positive*, "
    "*any-sign*), the order among the negative ones (*most-moved*, *smallest*, *at-random*), the arena (*each-layer*; "
    "*hidden*: all but the first layer, *hidden-scaled*: the same with a smaller q, *first-layer*: that one only), q "
    "(*q1* to *q5*: 1 to 5 %; AP has 2), the place (*before-host*), the host (*alone*: AP's metric removes "
    "everything), and what returns after a pruning (*no-rewind*: nothing; *rate-rewind*: the learning rate)."
)


def setting(study: Study) -> str:
    """How it was trained, from the cells."""
    cell, setup = study.cells[0], study.cells[0].setup
    train, schedule = setup["train"], setup["prune"]["schedule"]
    last, planned = max(study.density), study.seeds * len(study.planned)
    return (
        f"{cell.total:,} prunable weights; {train['epochs']} epochs in each training, batches of "
        f"{train['batch_size']}; {100 * schedule['rate']:.0f} % of the weights left go in each of {last} levels, "
        f"down to {density(study.density[last])}. {_source(study)}, {len(study.cells)} of {planned} cells."
        f"{_notes(study.cells)}"
    )


def _source(study: Study) -> str:
    if "script" in study.cells[0].setup:
        return f"`python -m reproductions script {study.recipe}`"
    return f"Recipe [`{study.recipe}`](../../recipes/{study.recipe}.toml)"


def _notes(cells: Sequence[Cell]) -> str:
    """Where follow-ups ran out of candidates: it changes what an arm is."""
    short = {cell.arm: min(level for level, _ in cell.notes) for cell in cells if cell.notes}
    if not short:
        return ""
    texts = [f"{arm} (from level {level} on)" for arm, level in sorted(short.items())]
    return f" Ran out of candidates, so that the host removed the rest: {listed(texts)}."


SCRIPT_PAIRS: tuple[Pair, ...] = (("leak", "host"), ("leak", "host-leak"), ("rewound-script", "ap"))
"""Beside each arm and its reference: the gain that a leak makes appear, and that against a host that leaks as well."""


def script_section(study: Study) -> str:
    """The authors' script: what each of its defects does to the numbers."""
    arms = study.arms
    every = [*((arm, ref) for arm, ref in study.planned.items() if ref is not None), *SCRIPT_PAIRS]
    pairs = [(arm, ref) for arm, ref in every if {arm, ref} <= set(arms)]
    verdicts = judge(study, pairs)
    parts = [f"## The authors' script: {name_of(study)}", setting(study), _SCRIPT, _regrown(study)]
    parts += [sentence(verdicts, name_of(study)), verdict_table(verdicts), accuracy_table(study, arms)]
    parts += [_differences(study, pairs)]
    for quantity, head in ((NONZERO, "not zero after training, %"), (f"{REWOUND}{DRIFT}", "largest drift of a bias")):
        rows = [[arm, *(_number(study.mean(arm, level, quantity), quantity) for level in study.shown)] for arm in arms]
        parts.append(table([head, *(density(study.density[level]) for level in study.shown)], rows))
    return "\n\n".join(parts)


def _number(value: float | None, quantity: str) -> str:
    return percent(value, 1) if quantity == NONZERO else "-" if value is None else f"{value:.3f}"


def _regrown(study: Study) -> str:
    """What a leak does to the density, in a sentence."""
    leaking = [arm for arm in ("host-leak", "leak", "rewound-script", "whole-script") if arm in study.arms]
    if not leaking:
        return ""
    last = max(study.density)
    found = [f"{arm} {percent(study.mean(arm, last, NONZERO), 1)} %" for arm in leaking]
    return (
        f"At the last level, where the masks keep {density(study.density[last])}, this share of the weights was not "
        f"zero after training: {listed(found)}. The level before keeps {density(study.density[last - 1])}."
    )


_SCRIPT = (
    "The order of operations of the public script, with magnitude as the host: in each level rewind, train, prune by "
    "host and AP, rewind, train again; the accuracy is that after the second training. *host* and *ap* do it without "
    "defects. Each other arm has one: *leak* (and *host-leak*, without AP): one optimizer for both trainings, whose "
    "momentum moves what was just pruned off zero; *biases*: they are not rewound from the second time on; "
    "*statistics*: those of BatchNorm are not; *redraw*: weights are drawn anew in each level, the script's default; "
    "*norms*: the scales of BatchNorm are pruned and counted as well; *twice*: each bias counts the weight before it "
    "once more; *thresholds*: cuts at a percentile, and one more and all ties by AP. *whole-script* has them all, "
    "*rewound-script* all but redraw. Arms that count differently do not keep exactly equally many weights."
)
