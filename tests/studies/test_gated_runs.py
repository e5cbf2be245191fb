"""Recipes whose trainings end at gates: on the digits, from the recipe to the page."""

import io

import pytest
from rich.console import Console

from budbreak.errors import InvalidValue, UnknownName
from budbreak.reporting import terminal_table, write_report
from budbreak.studies import look_ahead, run
from small import Stopped, choose, digests, small, stop_at, trained

GATED = {
    "measure.diagnostics": ["rank", "dead-units"],
    "train.epochs": 40,
    "train.batch_size": 20,
    "train.until": {"is": "accuracy-gates", "prunings": 2, "start": 0.4, "final": 0.9},
    "prune.schedule": {"is": "decaying", "sparsity": 0.8, "levels": 2},
    "prune.criterion": {"is": "activation-count", "weighted": True},
    "prune.spare": ["fc3.*"],
    "prune.rewind": "none",
    "data.scale": "unit",
}
FREE = {"retrain": {"ways": ["masked", "free"]}}
UNITS = {
    "reference": "none",
    "prune.criterion": "activation-count",
    "prune.granularity": {"is": "unit", "budget": "weights"},
}


def gated(changes=None, **whole):
    return small({**GATED, **(changes or {})}, **whole)


def test_a_run_prunes_at_its_gates_and_is_retrained(tmp_path):
    choice = choose(gated(**FREE, arms={"counts": {}, "units": UNITS}), tmp_path)
    assert "at most" in "".join(look_ahead(choice).lines)
    result, counts = trained(choice)
    assert result.complete
    for arm in ("counts", "units"):
        levels = [level for level in result.levels if level.arm == arm]
        assert [level.level for level in levels] == [0, 1, 2]
        gates = [level.numbers["train_accuracy"] for level in levels]
        assert all(reached >= gate for reached, gate in zip(gates, (0.4, 0.65, 0.9), strict=True)), gates
        assert counts[f"{arm} seed 0"] >= levels[1].epochs + levels[2].epochs >= 2
        assert levels[2].layers[2].kept == 500
        check_retrained(levels[2], result)
    assert [level.kept for level in result.levels if level.arm == "counts"] == [11_900, 6_611, 2_380]
    check_page(result, tmp_path)
    assert trained(choice)[1] == {}


def check_retrained(level, result):
    names = {quantity.name for quantity in result.quantities}
    for way in ("masked", "free"):
        found = {f"{name}_{way}" for name in ("test_accuracy", "nonzero", "dead_units_total", "rank")}
        assert found <= names & set(level.numbers)
        assert level.numbers[f"test_accuracy_{way}"] > 0.5
        assert f"nonzero_{way}" in level.layers[0].numbers
    assert level.numbers["nonzero_masked"] == pytest.approx(level.density)
    assert level.numbers["nonzero_free"] > level.density


def check_page(result, folder):
    kinds = [(one.kind, one.panel.partition(",")[0], one.label) for one in result.findings]
    changes = [
        (kind, panel, arm)
        for arm in ("counts", "units")
        for kind, panel in (("events", "Ranks"), ("spectra", "Spectra around prunings"), ("ratios", "Singular values"))
    ]
    assert kinds == [
        ("events", "Training", "counts"),
        ("events", "Training", "units"),
        *changes,
        ("events", "", "Sparsity, scheduled and reached"),
        ("masks", "Masks", "counts"),
        ("masks", "Masks", "units"),
    ]
    events = [row["event"] for row in result.findings[0].rows() if row["event"]]
    assert events == ["pruned to 55.6 %", "pruned to 20 %"]
    kept = [row["value"] for row in result.findings[9].rows() if row["layer"] == "fc3.weight"]
    assert kept == [1] * 10 * 20
    scheduled = [row for row in result.findings[8].rows() if "scheduled" in row["arm"]]
    assert [row["value"] for row in scheduled] == pytest.approx([0, 0.8 / 1.8, 0.8] * 2)
    check_changes(result)
    write_report([result], folder / "page")
    console = Console(file=io.StringIO(), width=120)
    console.print(terminal_table(result))
    assert (folder / "page").stat()


def check_changes(result):
    ranks, spectra, ratios = (one.rows() for one in result.findings[5:8])  # of the units
    assert [row["event"] for row in ranks if row["event"]] == ["pruned to 55.2 %", "pruned to 19.8 %"]
    assert {row["arm"] for row in spectra} == {
        "before pruning 1", "after pruning 1", "before pruning 2", "after pruning 2", "at the end",
    }  # fmt: skip
    (level,) = (level for level in result.levels if (level.arm, level.level) == ("units", 2))
    for layer in level.layers:  # what is drawn ends where the rank of the records ends
        last = [row for row in spectra if (row["arm"], row["layer"]) == ("at the end", layer.name)]
        assert max(row["rank"] for row in last) == layer.numbers["rank"]
        ends = [row["value"] for row in ranks if row["arm"] == layer.name]
        assert ends[-1] == layer.numbers["rank"] <= ends[0]

    def first(when):
        return next(row["value"] for row in spectra if (row["arm"], row["layer"]) == (when, "fc2.weight"))

    change = next(row for row in ratios if (row["arm"], row["layer"]) == ("pruning 2", "fc2.weight"))
    assert change["value"] == pytest.approx(100 * (first("after pruning 2") / first("before pruning 2") - 1))


def test_it_goes_on_where_it_was_stopped(tmp_path):
    straight = run(choose(gated(**FREE), tmp_path / "straight"))
    again = choose(gated(**FREE), tmp_path / "again")
    for moment in ((0, 1), (1, 1), (2, 1)):
        with pytest.raises(Stopped):
            run(again, report=stop_at(*moment))
    resumed = run(again)
    assert digests(tmp_path / "again") == digests(tmp_path / "straight")
    assert [level.numbers for level in resumed.levels] == [level.numbers for level in straight.levels]
    assert resumed.findings == straight.findings


def test_a_gate_that_is_not_reached_ends_an_arm_and_is_said(tmp_path):
    changes = {"train.epochs": 3, "train.until": {**GATED["train.until"], "start": 0.98, "final": 0.99}}
    choice = choose(gated(changes), tmp_path)
    result, _ = trained(choice)
    assert result.complete
    assert [(level.level, level.epochs, level.density) for level in result.levels] == [(0, 3, 1.0)]
    (note,) = result.levels[0].notes
    assert note.startswith("level 0: the gate 0.98 was not reached")
    assert note.endswith("all 3 epochs are done; no further pruning")
    assert trained(choice)[1] == {}
    page = write_report([result], tmp_path / "page").read_text()
    assert "the gate 0.98 was not reached" in page[: page.index("data-figure")]
    console = Console(file=io.StringIO(), width=200)
    console.print(terminal_table(result))
    assert "host, seed 0, level 0: the gate 0.98 was not reached" in console.file.getvalue()


def test_what_a_retraining_does_not_reach_is_said(tmp_path):
    until = {**GATED["train.until"], "start": 0.3, "final": 1.0, "early_stop": "none"}
    result = run(choose(gated({"train.until": until, "train.epochs": 3}, retrain={"ways": ["masked"]}), tmp_path))
    said = [note for level in result.levels for note in level.notes if note.startswith("after retraining: ")]
    assert [note.partition(",")[0] for note in said] == ["after retraining: the final accuracy 1 was not reached"]


def test_the_early_stop_is_switched_off_in_a_recipe():
    until = {**GATED["train.until"], "early_stop": "none"}
    setup = gated({"train.until": until}).arms[0].setup
    assert setup.train.until.early_stop is None
    assert setup.plain()["train"]["until"]["early_stop"] == "none"
    (arm,) = gated(arms={"plain": {"train.until": "none"}}).arms
    assert arm.setup.train.until is None
    with pytest.raises(UnknownName, match="early_stop"):
        gated({"train.until": {**until, "early_stop": "nothing"}})


def test_gradual_pruning_trains_some_steps_after_each_pruning(tmp_path):
    changes = {
        "train.until": {"is": "accuracy-gates", "prunings": 0, "final": 0.5},
        "prune.schedule": {"is": "cubic", "sparsity": 0.8, "levels": 4},
        "prune.criterion": "magnitude",
        "prune.scope": "layer",
        "prune.steps": 3,
        "prune.exclude": ["fc3.*"],
        "prune.spare": [],
    }
    result = run(choose(gated(changes), tmp_path))
    assert [(level.level, level.steps) for level in result.levels[1:]] == [(1, 3), (2, 3), (3, 3), (4, 3)]
    for layer in result.levels[-1].layers:
        assert layer.kept == round(0.2 * layer.total)


def test_outputs_may_be_weighted_by_the_training_accuracy(tmp_path):
    criterion = {"is": "activation-count", "increment": "accuracy-weighted", "accuracy": "train_accuracy"}
    result = run(choose(gated({"prune.criterion": criterion}), tmp_path))
    assert [level.level for level in result.levels] == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train.until": {"is": "accuracy-gates", "prunings": 5}}, "prunings is 5, and the plan has 2"),
        ({"train.until": {"is": "accuracy-gates", "prunings": 2, "start": 0.9, "final": 0.8}}, "gates rise from"),
        ({"prune.rewind": "weights"}, 'prune.rewind is .weights.(.|\n)*write rewind = "none"'),
        ({"prune.rewind": "learning-rate"}, "train.until is accuracy gates"),
        ({"train.until": {"is": "early-stop", "loss": "dead_units"}}, "train.until looks at 'dead_units'"),
        (
            {"prune.criterion": {"is": "activation-count", "increment": "accuracy-weighted"}},
            "weighs outputs by 'accuracy', which no epoch records",
        ),
        ({"prune.spare": ["fc4.*"]}, r"no weight named 'fc4.\*' to spare"),
        ({"data.scale": "255"}, "data.scale"),
        ({"retrain": {"ways": ["mask"]}}, "retrain.ways"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_before_anything_is_trained(changes, words, tmp_path):
    whole = {name: changes[name] for name in changes if "." not in name}
    own = {name: value for name, value in changes.items() if "." in name}
    with pytest.raises(Exception, match=words) as caught:
        look_ahead(choose(gated(own, **whole), tmp_path))
    assert isinstance(caught.value, InvalidValue | LookupError | ValueError)


def test_in_the_official_order_an_arm_may_end_unrecovered(tmp_path):
    until = {**GATED["train.until"], "start": 0.1, "final": 0.2, "order": "official"}
    choice = choose(gated({"train.until": until}), tmp_path)
    result, _ = trained(choice)
    assert result.complete
    assert [(level.level, level.epochs) for level in result.levels] == [(0, result.levels[0].epochs), (1, 0)]
    assert result.levels[1].density < 1
    assert "test_accuracy" in result.levels[1].numbers
    assert trained(choice)[1] == {}
    write_report([result], tmp_path / "page")
