"""What cells say, and the document made of them."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_deployments import FORMS, MadeStudy, made_cell, made_form

from budbreak.errors import CorruptFile, UnknownName
from deployments import read_cells
from deployments.__main__ import RESULTS, main
from deployments.cases import Goals
from deployments.document import document
from deployments.picking import chooser_over_best, gains, holding, is_at_goal, over_bound, picked
from deployments.studies import ALL, find

ROOT = Path(__file__).parents[2]


def test_the_pages_are_what_the_stored_cells_give():
    text = document(read_cells(ROOT / RESULTS), ALL)
    assert (ROOT / "docs/deploy.md").read_text(encoding="utf-8") == text


def test_what_is_stored_is_read_again(tmp_path):
    cell = made_cell()
    path = cell.write(tmp_path)
    assert path == tmp_path / "made/units-90.json"
    assert read_cells(tmp_path) == [cell]
    path.write_text(path.read_text().replace("0.889", "0.999"))
    with pytest.raises(CorruptFile):
        read_cells(tmp_path)


def test_only_what_holds_the_floor_in_validation_is_picked():
    cell = made_cell()
    assert "factors 1/8" not in {one.network for one in holding(cell)}
    pick = picked([cell], "onnx")
    assert (pick.form.network, pick.faster, pick.smaller) == ("compact", pytest.approx(4), 6)
    assert pick.verdict(Goals(smaller=5, faster=3)) == "met"
    # the test data decide nothing: a form that is bad on them alone is picked, and its verdict says so
    worse = tuple(replace(one, test={"accuracy": 0.5}) if one.network == "compact" else one for one in FORMS)
    pick = picked([made_cell(forms=worse)], "onnx")
    assert pick.form.network == "compact"
    assert "test data" in pick.verdict(Goals(smaller=5, faster=3))


@pytest.mark.parametrize(
    ("goals", "said"),
    [
        (Goals(smaller=7, faster=3), "missed: not smaller enough"),
        (Goals(smaller=7, faster=5), "missed: not smaller nor faster enough"),
        (Goals(), "a gain"),
    ],
)
def test_a_verdict_follows_the_numbers(goals, said):
    assert picked([made_cell()], "onnx").verdict(goals) == said


def test_the_file_of_torch_is_the_packed_one():
    pick = picked([made_cell()], "torch")
    assert (pick.form.network, pick.smaller) == ("compact", 1100 / 200)
    rows = (FORMS[0], made_form("sparse rows", "torch", 0.3, 0.899))
    assert picked([made_cell(forms=rows)], "torch").smaller == 1100 / 200  # they are made of the compact one
    without = {"dense": 1100, "as is": 1100, "as is, packed": 220}
    assert picked([made_cell(forms=rows, files=without)], "torch").smaller == 1100 / 220


def test_zeros_alone_are_no_gain_within_the_spread():
    cell = made_cell()
    assert gains([cell], "as is", 1) == (0, 2)
    assert gains([cell], "compact", 1) == (2, 2)
    faster = tuple(made_form("as is", "onnx", 0.7) if one.key == "as is in onnx" else one for one in FORMS)
    assert gains([made_cell(forms=faster)], "as is", 1) == (1, 2)
    alone = [made_cell(forms=FORMS[:4])]
    assert picked(alone, "onnx").verdict(Goals()) == "no gain beyond the spread"


def test_the_chooser_is_judged_by_the_second_measurement():
    assert chooser_over_best(made_cell()) == 1
    assert chooser_over_best(made_cell(chosen="compact in torch")) == pytest.approx(2.5)
    assert chooser_over_best(made_cell(chosen="")) is None


def test_packed_files_are_judged_where_a_goal_is():
    assert over_bound(made_cell(), "as is") == pytest.approx(1.05)
    assert over_bound(made_cell(), "factors 1/8") is None
    assert is_at_goal(made_cell())
    assert not is_at_goal(made_cell(sparsity=0.8))


def test_the_document_says_what_is_there_and_what_is_not():
    text = document([made_cell()], [MadeStudy()])
    assert "ONNX Runtime: units-90, compact: 6.0x smaller, 4.00x faster, test -0.10 points | met |" in text
    assert "torch eager: units-90, compact: 5.5x smaller, 2.00x faster, test -0.10 points | missed: not faster" in text
    assert "OpenVINO: no form of any cell holds the floor | missed |" in text
    assert "1.050x at worst (units-90) | met |" in text
    assert "zeros alone buy nothing in dense kernels" in text
    assert "88.50 +- 0.71, 88.40 +- 0.71 (n=2)" in text
    assert "- A network on data: units-95" in text
    assert "all of it (units-90 and units-95)" in document([], [MadeStudy()])


def test_a_chooser_far_from_the_best_is_missed():
    text = document([made_cell(), made_cell("units-95", chosen="compact in torch")], [MadeStudy()])
    assert "2.50x at worst (units-95); within it in 1 of 2 cells | missed |" in text
    assert "Everything that was planned is there." in text


def test_what_is_not_trained_has_no_accuracy():
    forms = tuple(replace(one, validation=None, test={}) for one in FORMS)
    cell = made_cell(forms=forms, chosen="", seeds=())
    text = document([cell], [MadeStudy()])
    assert "compact: 6.0x smaller, 4.00x faster | size and speed reached; accuracy not measured |" in text  # no factors
    assert "seeds:" not in text


def test_an_unknown_study_is_answered_by_the_nearest(capsys):
    with pytest.raises(UnknownName, match="did you mean 'minilm'"):
        find(["minilmm"])
    assert main(["measure", "minilmm"]) == 1
    assert "did you mean 'minilm'" in capsys.readouterr().err


def test_the_command_writes_the_page(tmp_path, capsys):
    made_cell(study=ALL[0].name).write(tmp_path)
    assert main(["--results", str(tmp_path), "write", "--page", str(tmp_path / "deploy.md")]) == 0
    assert (tmp_path / "deploy.md").read_text() == document(read_cells(tmp_path), ALL)
