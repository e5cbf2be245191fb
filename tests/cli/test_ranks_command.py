"""``budbreak ranks``: files, runs, tasks and stores; what is printed and written; and what has no ranks."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_commands import DIGITS, task_of

import budbreak as bb
from budbreak.cli import main
from budbreak.lowrank import ranks_of
from budbreak.masks import conv_and_linear
from budbreak.recipes import load_recipe
from budbreak.studies import measure
from budbreak.studies.making import load_data, make_network
from budbreak.studies.measuring import layer_results
from budbreak.testing import mlp, residual_cnn


def printed(capsys, *arguments):
    """The rows that ``--format json`` prints."""
    assert main(["ranks", *map(str, arguments), "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_file_has_the_ranks_of_its_network(tmp_path, capsys):
    model = residual_cnn()
    mask = bb.prune(model, sparsity=0.5, criterion=bb.criteria.Magnitude(), granularity=bb.Unit(), floor=1)
    path = tmp_path / "net.safetensors"
    save_file(model.state_dict(), path)
    ranks = bb.ranks(model, mask=mask)
    by_name = sorted(ranks.rows, key=lambda row: row["weight"])  # the order of such files
    assert printed(capsys, path) == by_name
    assert main(["ranks", str(path), "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["weight"] for row in rows] == sorted(ranks)
    assert {row["weight"]: int(row["numerical"]) for row in rows} == {n: one.numerical for n, one in ranks.items()}
    assert {row["weight"]: float(row["stable"]) for row in rows} == {n: one.stable for n, one in ranks.items()}


def test_a_compact_model_has_the_ranks_of_its_weights(tmp_path, capsys):
    model = mlp()
    model[0].weight.data[:3] = 0
    compacted = bb.compact(model, torch.randn(2, model[0].in_features))
    compacted.save(tmp_path)
    assert printed(capsys, tmp_path) == bb.ranks(compacted.model).rows


def test_weights_without_elements_are_left_out(tmp_path, capsys):
    save_file({"a": torch.zeros(0, 3), "b": torch.ones(2, 2)}, tmp_path / "net.safetensors")
    (row,) = printed(capsys, tmp_path / "net.safetensors")
    assert (row["weight"], row["numerical"]) == ("b", 1)


def test_the_table_fits_80_columns_and_says_what_the_numbers_are(tmp_path, capsys):
    path = tmp_path / "net.safetensors"
    save_file(mlp().state_dict(), path)
    assert main(["ranks", str(path), "--absolute", "0.5", "--relative", "0.25", "--energy", "0.9"]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert any(line.split()[:4] == ["0.weight", "16x8", "8", "8"] for line in lines)
    assert any(line.split()[:2] == ["all", "27"] for line in lines)
    assert "absolute: over 0.5; relative: over 0.25 s_max; energy: 0.9 of the squares" in " ".join(text.split())
    assert max(len(line) for line in lines if str(path) not in line) <= 80


def test_the_cuts_are_those_that_were_given(tmp_path, capsys):
    path = tmp_path / "net.safetensors"
    save_file({"w": torch.diag(torch.tensor([4.0, 2.0, 1.0]))}, path)
    (row,) = printed(capsys, path, "--absolute", 1.5, "--relative", 0.2, "--energy", 0.7)
    assert (row["numerical"], row["absolute"], row["relative"], row["energy"]) == (3, 2, 3, 1)


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_spectra_are_written(suffix, tmp_path, capsys):
    model, path, out = mlp(), tmp_path / "net.safetensors", tmp_path / f"spectra{suffix}"
    save_file(model.state_dict(), path)
    assert main(["ranks", str(path), "--spectra", str(out)]) == 0
    assert f"spectra: {out}" in " ".join(capsys.readouterr().out.split())
    spectra = bb.ranks(model).spectra
    if suffix == ".json":
        assert json.loads(out.read_text())["spectra"] == {name: list(values) for name, values in spectra.items()}
    else:
        rows = [(row["weight"], float(row["value"])) for row in csv.DictReader(out.read_text().splitlines())]
        assert rows == [(name, value) for name, values in spectra.items() for value in values]


def test_an_arm_of_a_run_is_its_network_and_its_level_0_the_dense_one(finished, capsys):
    for arm, seed in (("host", 0), ("ap-lite", 1)):
        state = load_file(finished / "networks" / f"{arm}-seed{seed}.safetensors")
        weights = {name: tensor for name, tensor in state.items() if tensor.dim() > 1}
        newest = printed(capsys, finished, "--arm", arm, "--seed", seed)
        assert newest == ranks_of(weights).rows
        assert printed(capsys, finished, "--arm", arm, "--seed", seed, "--level", 1) == newest
        assert printed(capsys, task_of(finished, arm, seed)) == newest
    (dense,) = (p for p in (finished.parent / "tasks").glob("dense-*") if '"seed": 1' in (p / "task.json").read_text())
    of_dense = printed(capsys, finished, "--arm", "ap-lite", "--seed", 1, "--level", 0)
    assert of_dense == printed(capsys, dense) != newest
    assert main(["ranks", str(finished), "--arm", "ap-lite", "--level", "7"]) == 1
    assert "has no weights of level 7; it has those of 0, 1" in capsys.readouterr().err


def test_a_store_of_ones_own_iteration_has_every_level_if_it_kept_them(tmp_path, capsys):
    model, found = mlp(), {}
    plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.5, levels=2), granularity=bb.Unit(), floor=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with bb.iterate(model, optimizer, plan, store=tmp_path / "store", keep="all") as levels:
        for level in levels:
            model(torch.randn(4, 8)).sum().backward()
            optimizer.step()
            level.record(done=1)
            found[level.number] = bb.ranks(model)
    for level, ranks in found.items():
        assert printed(capsys, tmp_path / "store", "--level", level) == ranks.rows
    assert found[2].total["numerical"] < found[0].total["numerical"]
    assert printed(capsys, tmp_path / "store") == found[2].rows


def test_a_recipe_measures_ranks():
    """Records and pages take any number of a diagnostic; that this one gives its own, on the network of a recipe."""
    (arm, *_) = load_recipe(Path(DIGITS), {"measure.diagnostics": ["rank"]}).arms
    setup = arm.setup
    dataset, parts = load_data(setup.data, None)
    model = make_network(setup.network, dataset, 0)
    mask = bb.Mask.dense(model)
    found = measure(setup.measure.diagnostics, model, parts.test, mask=mask, prunable=conv_and_linear)
    assert found.numbers["rank"] == bb.ranks(model).total["numerical"]
    assert [layer.numbers["rank"] for layer in layer_results(mask, found.layers)] == [
        layer.numerical for layer in bb.ranks(model).layers
    ]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: {"w": torch.tensor([[1.0, float("nan")]])}, "'w' holds NaN"),
        (lambda path: {"w": torch.zeros(0, 3)}, "of two dimensions or more, with elements"),
        (lambda path: {"b": torch.zeros(3)}, "holds 1 tensors, and no weight among them"),
    ],
)
def test_files_that_have_no_ranks(make, words, tmp_path, capsys):
    path = tmp_path / "net.safetensors"
    save_file(make(path), path)
    assert main(["ranks", str(path)]) == 1
    assert words in capsys.readouterr().err


def test_what_is_no_network(finished, tmp_path, capsys):
    weights = str(finished / "networks" / "host-seed0.safetensors")
    torch.save({}, tmp_path / "x.pt")
    host = str(task_of(finished, "host"))
    for arguments, words in (
        (["nothing"], "'nothing' is neither a file nor a folder"),
        ([str(tmp_path)], "holds no checkpoint"),
        ([str(tmp_path), "--level", "0"], "holds no store"),
        ([str(tmp_path / "x.pt")], 'save_file(torch.load("'),
        ([weights, "--arm", "host"], "arm is 'host', and"),
        ([weights, "--level", "0"], "level is 0, and"),
        ([host, "--arm", "host"], "is not the folder of a run"),
        ([host, "--seed", "0"], "is not the folder of a run"),
        ([str(finished)], "has several arms, and none was named"),
        ([str(finished), "--arm", "hots"], "did you mean 'host'?"),
        ([str(finished), "--arm", "host", "--seed", "7"], "has no seed 7 of host"),
        ([weights, "--energy", "99"], "a percentage? write 0.99"),
        ([weights, "--absolute", "-1"], "absolute is -1.0"),
        ([weights, "--spectra", str(tmp_path / "a.txt")], "spectra are written as .csv or .json"),
    ):
        assert main(["ranks", *arguments]) == 1, arguments
        assert words in capsys.readouterr().err


def test_a_tampered_store_is_refused(finished, tmp_path, capsys):
    task = tmp_path / "task"
    shutil.copytree(task_of(finished, "host"), task)
    data = bytearray((task / "checkpoint.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (task / "checkpoint.safetensors").write_bytes(bytes(data))
    assert main(["ranks", str(task)]) == 1
    assert "checkpoint.safetensors" in capsys.readouterr().err
