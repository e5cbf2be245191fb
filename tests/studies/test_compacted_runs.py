"""Final networks compacted within a run: what is measured, noted and shown, and that nothing else depends on it."""

import functools
import io

import pytest
from rich.console import Console
from safetensors.torch import load_file

from budbreak.errors import InvariantBroken
from budbreak.measuring import Meter
from budbreak.reporting import terminal_table, write_report
from budbreak.results import compacting, is_compaction
from budbreak.studies import run
from small import choose, small, trained

GATED = {
    "measure.diagnostics": ["rank"],
    "measure.every": 0,
    "train.epochs": 30,
    "train.batch_size": 20,
    "train.until": {"is": "accuracy-gates", "prunings": 1, "start": 0.4, "final": 0.7},
    "prune.schedule": {"is": "decaying", "sparsity": 0.6, "levels": 1},
    "prune.criterion": "activation-count",
    "prune.granularity": {"is": "unit", "budget": "weights"},
    "prune.spare": ["fc3.*"],
    "prune.rewind": "none",
}
COMPACT = {"measure.compact": True}
RETRAIN = {"retrain": {"ways": ["masked", "free"]}}


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """Two samples of a moment: what is tested is no time."""
    monkeypatch.setattr(compacting, "Meter", functools.partial(Meter, rounds=2, shortest=0.0))


def gated(changes=None, **whole):
    return small({**GATED, **(changes or {})}, **whole)


def steady(numbers):
    """Without what differs from measurement to measurement."""
    return {name: value for name, value in numbers.items() if "latency" not in name and "speedup" not in name}


def alive(folder):
    """Parameters of the layers without their units that have no weight left, and what reads these, by the weights."""
    state = load_file(folder / "model.safetensors")
    kept = [state[f"fc{layer}.weight"].any(1).sum().item() for layer in (1, 2)]
    return sum((inputs + 1) * outputs for inputs, outputs in zip((64, *kept), (*kept, 10), strict=True))


def test_the_final_network_is_compacted_and_shown_beside_the_dense_one(tmp_path):
    choice = choose(gated(COMPACT, **RETRAIN), tmp_path)
    result, _ = trained(choice)
    dense, last = result.levels
    assert not any(map(is_compaction, dense.numbers))
    names = {one.name for one in compacting.compaction_quantities(["masked"])}
    assert {name for name in last.numbers if is_compaction(name)} == names
    (folder,) = (tmp_path / "tasks").glob("levels-*")
    assert last.numbers["dense_parameters"] == 64 * 100 + 100 + 100 * 50 + 50 + 50 * 10 + 10
    assert last.numbers["compact_parameters"] == alive(folder) < last.numbers["dense_parameters"]
    assert last.numbers["dense_macs"] == 11_900
    assert last.numbers["compact_bytes"] == 4 * last.numbers["compact_parameters"]
    assert 0 <= last.numbers["compact_difference"] < 1e-3
    assert all(last.numbers[f"{which}_latency_{batch}"] > 0 for which in ("dense", "compact") for batch in (1, 64))
    assert not any(is_compaction(row.quantity) for row in result.differences)
    fronts = [one for one in result.findings if one.kind == "pareto"]
    assert [[row["name"] for row in one.rows()] for one in fronts] == [["dense", "host"]] * 2
    check_shown(result, tmp_path)
    check_again(choice, result, folder)


def check_shown(result, folder):
    page = write_report([result], folder / "page", formats=("html", "md", "tex", "csv")).read_text()
    console = Console(file=io.StringIO(), width=200)
    console.print(terminal_table(result))
    for text in (page, console.file.getvalue(), (folder / "page" / "tables.md").read_text()):
        assert "After compaction" in text
        assert "host, retrained" in text
    assert (folder / "page" / "tables" / "compaction.tex").is_file()
    assert "compact_latency_64" in (folder / "page" / "levels.csv").read_text().split("\n")[0]


def check_again(choice, result, folder):
    """It is measured again where it is not noted, of the same networks, and nothing else is computed."""
    for path in folder.rglob("compact.json"):
        path.unlink()
    again, counts = trained(choice)
    assert counts == {}
    assert [steady(level.numbers) for level in again.levels] == [steady(level.numbers) for level in result.levels]


def test_it_is_no_part_of_an_identity_and_may_be_measured_later(tmp_path):
    before, _ = trained(choose(gated(), tmp_path))
    arms = {"host": {}, "compact": {"measure.compact": True}}
    both, counts = trained(choose(gated(arms=arms), tmp_path))
    assert counts == {}
    host, compact = (next(one for one in both.levels if (one.arm, one.level) == (arm, 1)) for arm in arms)
    assert host.numbers == before.levels[-1].numbers
    assert "compact_parameters" in compact.numbers
    assert {name: value for name, value in compact.numbers.items() if not is_compaction(name)} == host.numbers


def test_a_refusal_is_noted_and_loses_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise InvariantBroken("MLP cannot go", "outputs stay", "leave some in")

    monkeypatch.setattr(compacting, "compact", refuse)
    result = run(choose(gated(COMPACT), tmp_path))
    assert result.complete
    assert result.levels[-1].notes == ("compaction: refused: MLP cannot go: outputs stay",)
    assert not any(map(is_compaction, result.levels[-1].numbers))
    write_report([result], tmp_path / "page")
