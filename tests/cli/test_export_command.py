"""``budbreak export``: which network leaves, what is written and said of it, and what is refused."""

import json
import sys
from dataclasses import replace
from hashlib import sha256

import pytest
import torch
from safetensors.torch import load_file
from small_commands import DIGITS, sets, task_of

import budbreak as bb
from budbreak.cli import main
from budbreak.data import load
from budbreak.errors import MissingData
from budbreak.files import read_exported
from budbreak.networks import build
from budbreak.results import LevelResult, load_result
from budbreak.studies import Request, best_level, dense_alone, find_leaving

FACTORY = "budbreak.networks.lenet:small_mlp"


def words(text):
    return " ".join(text.split())


def test_a_network_of_a_run_leaves_in_every_form(finished, tmp_path, capsys):
    forms = ["onnx", "openvino", "packed", "safetensors", "torch"]
    asked = ["--arm", "host", "--seed", "1", "--out", str(tmp_path)]
    assert main(["export", str(finished), "--to", *forms, *asked]) == 0
    text = capsys.readouterr().out
    names = {"network.onnx", "network.xml", "network.bin", "network.packed.safetensors", "network.safetensors"}
    assert names | {"network.pt2"} <= {path.name for path in tmp_path.iterdir()}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    expected = load_file(finished / "networks" / "host-seed1.safetensors")
    for name in ("network.safetensors", "network.packed.safetensors"):
        state = read_exported(tmp_path / name)
        assert all(torch.equal(state[key], value) for key, value in expected.items())
    size = (tmp_path / "network.xml").stat().st_size + (tmp_path / "network.bin").stat().st_size
    assert any(line.split()[:2] == ["openvino", f"{size:,}"] for line in text.splitlines())
    assert "digits, validation" in words(text)
    assert "network.xml, network.bin" in words(text)


def test_level_0_is_the_dense_network_and_others_that_are_not_kept_are_refused(finished, tmp_path, capsys):
    asked = ["--arm", "host", "--out", str(tmp_path)]
    assert main(["export", str(finished), *asked, "--level", "0"]) == 0
    (dense,) = (p for p in (finished.parent / "tasks").glob("dense-*") if '"seed": 0' in (p / "task.json").read_text())
    expected = load_file(dense / "model.safetensors")
    state = load_file(tmp_path / "network.safetensors")
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    assert main(["export", str(finished), *asked, "--level", "7"]) == 1
    assert "are not kept; those of 0, 1 are" in capsys.readouterr().err


def test_the_dense_network_of_the_run_comes_along(finished):
    leaving = find_leaving(Request(str(finished), arm="ap-lite", seed=1))
    dense = find_leaving(Request(str(finished), arm="ap-lite", seed=1), level=0)
    assert (leaving.subject.level, leaving.arm, leaving.seed, leaving.task) == (
        1, "ap-lite", 1, task_of(finished, "ap-lite", 1),
    )  # fmt: skip
    assert leaving.dense is not None
    assert dense.dense is None
    assert all(
        torch.equal(one, other)
        for one, other in zip(leaving.dense.parameters(), dense.subject.model.parameters(), strict=True)
    )
    assert not torch.equal(next(leaving.dense.parameters()), next(leaving.subject.model.parameters()))


def test_each_level_of_a_store_that_kept_them_leaves(tmp_path):
    model, found = build(FACTORY, load("digits"), seed=0), {}
    plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.5, levels=2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with bb.iterate(model, optimizer, plan, store=tmp_path / "store", keep="all") as levels:
        for level in levels:
            model(torch.randn(4, 1, 8, 8)).sum().backward()
            optimizer.step()
            level.record(done=1)
            found[level.number] = {name: value.clone() for name, value in model.state_dict().items()}
    asked = ["export", FACTORY, "--dataset", "digits", "--weights", str(tmp_path / "store"), "--out", str(tmp_path)]
    for number, state in found.items():
        assert main([*asked, "--level", str(number), "--to", "packed"]) == 0
        written = read_exported(tmp_path / "network.packed.safetensors")
        assert all(torch.equal(written[name], value) for name, value in state.items())


def test_each_level_of_a_run_leaves_and_takes_the_room_of_what_is_kept(tmp_path):
    asked = sets(prune__schedule__levels=2, train__epochs=1, train__schedule="constant", data__limit=100)
    assert main(["run", DIGITS, *asked, "--seeds", "1", "--arms", "host", "--out", str(tmp_path)]) == 0
    (results,) = tmp_path.glob("*/results.json")
    run = results.parent
    rows = {row.level: row for row in load_result(run).levels}
    found = {level: find_leaving(Request(str(run), arm="host"), level=level).subject for level in rows}
    assert set(found) == {0, 1, 2}
    for level, subject in found.items():
        kept = sum(int(torch.count_nonzero(subject.model.get_parameter(name))) for name in subject.mask)
        assert kept == subject.mask.kept == round(rows[level].density * subject.mask.total)
    size = sum(one.numel() for one in found[1].model.parameters()) - found[1].mask.total + found[1].mask.kept
    stored = (task_of(run, "host") / "weights/level-001.safetensors").stat().st_size
    assert 4 * size < stored < 4 * size + 3000


def levels_of(result, *accuracies):
    """A result with these accuracies at the levels of one arm and seed, of density 1, 1/2, 1/4 ..."""
    like = result.levels[0]
    made = [_level(like, number, accuracy) for number, accuracy in enumerate(accuracies)]
    return replace(result, levels=tuple(made))


def _level(like, number, accuracy) -> LevelResult:
    return replace(
        like, arm="host", seed=0, level=number, density=0.5**number, numbers={"validation_accuracy": accuracy}
    )


def test_the_best_level_is_the_sparsest_that_holds_the_floor(finished):
    result = load_result(finished)
    for accuracies, max_drop, expected in (
        ((0.90, 0.92, 0.895, 0.80), 0.005, 2),  # exactly at the floor
        ((0.90, 0.92, 0.894, 0.80), 0.005, 1),
        ((0.90, 0.80, 0.91, 0.89), 0.0, 2),  # not the first that falls below
        ((0.90, 0.89, 0.89), 0.0, 0),
        ((0.90, 0.89, 0.80), 0.1, 2),
    ):
        run = levels_of(result, *accuracies)
        assert best_level(run, "host", 0, max_drop=max_drop).level == expected, accuracies
    nan = float("nan")
    assert best_level(levels_of(result, 0.9, nan, 0.9, nan), "host", 0).level == 2
    with pytest.raises(MissingData, match="of level 0 of host seed 0"):
        best_level(levels_of(result, nan, 0.9), "host", 0)
    with pytest.raises(MissingData, match="of level 0 of host seed 3"):
        best_level(levels_of(result, 0.9), "host", 3)


def test_where_no_pruned_level_holds_the_floor_the_nearest_is_named(finished, tmp_path, capsys, monkeypatch):
    run = levels_of(load_result(finished), 0.9, 0.8, 0.8123, 0.7)
    monkeypatch.setattr("budbreak.studies.leaving.load_result", lambda _: run)
    asked = ["export", str(finished), "--arm", "host", "--level", "best", "--to", "packed", "--out", str(tmp_path)]
    assert main([*asked, "--max-drop", "0.01"]) == 0
    said = words(capsys.readouterr().out)
    assert "no pruned level loses at most 0.01 of the dense validation accuracy, 0.9000: this is the dense" in said
    assert "nearest is level 2, 0.8123: --max-drop 0.088" in said
    assert dense_alone(run, "host", 0, max_drop=0.088) == ""
    assert dense_alone(levels_of(run, 0.9), "host", 0) == "", "nothing was pruned"


def test_the_best_level_of_a_run_leaves_where_it_is_kept(finished, tmp_path, capsys):
    asked = ["export", str(finished), "--arm", "host", "--level", "best", "--max-drop", "0.9", "--out", str(tmp_path)]
    assert main(asked) == 0
    assert f"{finished}: level 1" in capsys.readouterr().out


def test_compaction_and_measurement_beside_the_dense_network(finished, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    asked = ["--arm", "host", "--compact", "--measure", "--rounds", "1", "--images", "16", "--out", str(tmp_path)]
    assert main(["export", str(finished), "--to", "onnx", "packed", *asked]) == 0
    text = capsys.readouterr().out
    for row in ("dense, torch", "dense, onnx", "as is, torch", "as is, onnx"):
        assert any(line.startswith(row) for line in text.splitlines()), row
    assert "not measured in OpenVINO: pip install 'budbreak[openvino]'" in words(text)
    assert "compaction cuts nothing here" in text
    assert "smallest file: packed, " in text
    assert "batch 1: " in text
    assert "batch 64: " in text
    card = json.loads((tmp_path / "card.json").read_text())
    assert {(row["network"], row["runtime"], row["batch"]) for row in card["latency"]} == {
        (network, runtime, batch)
        for network in ("dense", "as is")
        for runtime in ("torch", "onnx")
        for batch in (1, 64)
    }
    leaving = find_leaving(Request(str(finished), arm="host"))
    model, example = leaving.subject.model, torch.zeros(1, 1, 8, 8)
    size, small = card["size"], bb.compact(model, leaving.subject.parts.validation.first(4).images / 255)
    assert size["parameters as it leaves"] == sum(one.numel() for one in small.model.parameters())
    assert size["MACs, dense"] == sum(bb.trace(model, example).macs()) == leaving.subject.mask.total
    assert size["sparsity"] == leaving.subject.mask.sparsity <= size["effective sparsity"]
    assert size["MACs, effective"] == size["connected weights"] <= leaving.subject.mask.kept


def test_the_fastest_leaves_in_its_form_and_stands_in_the_card(finished, tmp_path, capsys, monkeypatch):
    for name in ("onnx", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    asked = [str(finished), "--arm", "host", "--fastest", "--rounds", "1", "--out", str(tmp_path)]
    assert main(["export", *asked, "--max-drop", "0.9"]) == 0
    text = words(capsys.readouterr().out)
    card = json.loads((tmp_path / "card.json").read_text())
    (file,) = card["files"]
    holding = [row for row in card["candidates"] if row["accuracy"] >= card["choice"]["floor"]]
    best = min(holding, key=lambda row: row["ms, median"])
    assert file["form"] == ("packed" if best["network"] == "sparse rows" else best["runtime"])
    assert card["choice"]["chosen"] in text
    assert "not tried in OpenVINO" in text
    assert main(["export", *asked, "--compact"]) == 1
    assert "compaction is one of its candidates" in capsys.readouterr().err


def test_the_card_says_what_was_pruned_how_and_how_good_it_is(finished, tmp_path):
    assert main(["export", str(finished), "--arm", "host", "--seed", "1", "--out", str(tmp_path)]) == 0
    card, result = json.loads((tmp_path / "card.json").read_text()), load_result(finished)
    assert card["network"]["run"] == result.identity
    assert (card["network"]["arm"], card["network"]["seed"], card["network"]["level"]) == ("host", 1, 1)
    assert card["recipe"]["prune"]["criterion"] == "magnitude"
    assert [task["task"] for task in card["tasks"]] == ["levels", "dense"]
    assert task_of(finished, "host", 1).name == f"levels-{card['tasks'][0]['identity'][:16]}"
    found = {row.seed: row.numbers["test_accuracy"] for row in result.levels if (row.arm, row.level) == ("host", 1)}
    (row,) = [row for row in card["accuracy"] if (row["level"], row["quantity"]) == (1, "test accuracy")]
    assert (row["this seed"], row["seeds"]) == (found[1], 2)
    assert row["mean"] == pytest.approx((found[0] + found[1]) / 2)
    assert row["standard deviation"] == pytest.approx(abs(found[0] - found[1]) / 2**0.5)
    (file,) = card["files"]
    content = (tmp_path / "network.safetensors").read_bytes()
    assert (file["SHA-256"], file["bytes"]) == ([sha256(content).hexdigest()], len(content))
    text = (tmp_path / "card.md").read_text()
    assert text.startswith(f"# {result.name}, host, seed 1, level 1\n")
    assert "| prune.criterion | magnitude |" in text
    assert f"| {file['form']} | network.safetensors | {len(content):,} |" in text


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_a_missing_runtime_says_what_to_install_and_nothing_is_written(form, finished, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, form, None)
    asked = ["--arm", "host", "--out", str(tmp_path / "out")]
    assert main(["export", str(finished), "--to", "safetensors", form, *asked]) == 1
    assert f"pip install 'budbreak[{form}]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_cannot_leave(finished, tmp_path, capsys):
    run = [str(finished), "--arm", "host"]
    for arguments, said in (
        ([str(finished)], "several arms"),
        ([*run, "--to", "onxn"], "did you mean 'onnx'?"),
        ([*run, "--to", "packed", "packed"], "given twice"),
        ([*run, "--max-drop", "2"], "max_drop"),
        ([*run, "--images", "0"], "images"),
        ([DIGITS, "--level", "0"], "a fresh network has no levels"),
        ([DIGITS, "--level", "best"], "--level is 'best'"),
        (["nothing"], "neither a recipe"),
        ([*run, "--weights", str(finished / "networks" / "host-seed0.safetensors"), "--level", "0"], "holds one"),
    ):
        assert main(["export", *arguments, "--out", str(tmp_path / "out")]) == 1, arguments
        assert said in capsys.readouterr().err, arguments
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        main(["export", *run, "--level", "bets"])


def test_the_run_may_stand_behind_the_forms_and_older_files_are_named(finished, tmp_path, capsys):
    asked = ["--arm", "host", "--out", str(tmp_path)]
    assert main(["export", *asked, "--to", "packed", "--values", "float16", "--to", "packed", str(finished)]) == 0
    text = words(capsys.readouterr().out)
    assert "packed: rounded to float16: outputs differ by" in text
    assert "left by an earlier export" not in text
    state = read_exported(tmp_path / "network.packed.safetensors")
    expected = load_file(finished / "networks" / "host-seed0.safetensors")
    assert all(torch.equal(state[name].float(), tensor.half().float()) for name, tensor in expected.items())
    (file,) = json.loads((tmp_path / "card.json").read_text())["files"]
    assert any("of 1 % that are accepted" in note for note in file["notes"])
    assert main(["export", *asked, "--to", "safetensors", str(finished)]) == 0
    text = words(capsys.readouterr().out)
    assert "left by an earlier export, and not in the card: network.packed.safetensors" in text


def test_8_bits_are_calibrated_on_training_images_and_units_dead_on_them_go(finished, tmp_path, capsys):
    asked = [str(finished), "--arm", "host", "--out", str(tmp_path), "--calibration", "30", "--images", "20"]
    assert main(["export", *asked, "--to", "onnx-int8", "--compact", "--dead-on-data", "--tolerance", "0.5"]) == 0
    text = words(capsys.readouterr().out)
    assert "calibrated on 30 samples" in text
    assert "of 50 % that are accepted" in text
    assert "on the 30 samples on which units were found dead" in text
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["compaction"]["samples of the calibration set"] == 30
    leaving = find_leaving(Request(str(finished), arm="host"))
    train, model = leaving.subject.parts.train, leaving.subject.model
    small = bb.compact(
        model,
        train.normalised(train.first(20).images),
        mask=leaving.subject.mask,
        dead_on=train.normalised(train.first(30).images),
    )
    assert card["size"]["parameters as it leaves"] == small.after.parameters < small.before.parameters


def test_what_rounds_only_where_it_is_asked_to(finished, tmp_path, capsys):
    run = [str(finished), "--arm", "host", "--out", str(tmp_path / "out")]
    for arguments, said in (
        (["--to", "onnx", "packed", "--values", "float16"], "--values is given for onnx"),
        (["--fastest", "--values", "float16"], "--values is given for --fastest"),
        (["--to", "packed", "--values", "float61"], "it is one of 'float16', 'bfloat16'"),
        (["--to", "openvino", "--values", "bfloat16"], "it is 'float16'"),
        (["--tolerance", "0.1"], "no form rounds"),
        (["--to", "packed", "--values", "float16", "--tolerance", "-1"], "tolerance is -1"),
        (["--low-bits"], "--low-bits is given without --measure and --fastest"),
        (["--dead-on-data"], "--dead-on-data is given without --compact"),
        (["--calibration", "0"], "calibration"),
    ):
        assert main(["export", *run, *arguments]) == 1, arguments
        assert said in words(capsys.readouterr().err), arguments
    for arguments in (["--to", "onnx"], ["--arm", "host"], ["--to", str(finished)]):
        assert main(["export", *arguments]) == 1
        assert "write budbreak export RUN --to onnx" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
