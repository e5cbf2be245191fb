"""The document: that of the cells, whichever there are, and the committed one that of the committed cells."""

from pathlib import Path

import pytest
from made_cells import made_cell

from reproductions import write_cell
from reproductions.__main__ import main
from reproductions.ap.document import ABLATION, HOSTS, PRO, RECIPES, SCRIPTS, all_studies, document
from reproductions.documents import documents

ROOT = Path(__file__).parents[2]


def planned(name):
    return all_studies([], ROOT / "recipes")[name]


def full_cells(name, seeds=3):
    """A cell for each arm of a shipped recipe and some seeds."""
    cells = []
    for place, (arm, reference) in enumerate(planned(name).planned.items()):
        for seed in range(seeds):
            accuracies = [0.9, 0.8 + 0.001 * place + 0.002 * seed * place, 0.7 - 0.001 * place]
            cells.append(made_cell(arm, seed, accuracies, recipe=name, reference=reference))
    return cells


def test_the_committed_documents_are_those_of_the_committed_cells():
    for name, text in documents(ROOT / "reproductions/cells", ROOT / "recipes").items():
        assert (ROOT / "docs/reproduction" / name).read_text(encoding="utf-8") == text, "run make reproduction"


def test_without_cells_everything_is_missing():
    text = document(all_studies([], ROOT / "recipes"))
    assert all(f"- `{name}`: all of it" in text for name in (*RECIPES, *SCRIPTS))
    assert "Nothing was measured yet." in text


@pytest.mark.parametrize("name", [*RECIPES, *SCRIPTS])
def test_each_study_has_its_section_with_every_arm(name):
    text = document(all_studies(full_cells(name), ROOT / "recipes"))
    section = next(part for part in text.split("\n## ") if f"recipes/{name}.toml" in part or f"script {name}`" in part)
    assert all(f"| {arm} |" in section or f"| {arm} - " in section for arm in planned(name).planned)
    assert "nan" not in text.lower().replace("naninf", "")
    assert (f"- `{name}`:" in text.split("## Not measured yet")[1].split("##")[0]) == (planned(name).seeds > 3)


def test_all_of_it_together_names_no_recipe_twice():
    cells = [cell for name in (*RECIPES, *SCRIPTS) for cell in full_cells(name)]
    text = document(all_studies(cells, ROOT / "recipes"))
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert sum(title.startswith("## Hosts") for title in titles) == len(HOSTS)
    assert sum(title.startswith("## AP pro") for title in titles) == len(PRO)
    assert ABLATION in text
    assert "Not measured yet." not in text


def test_one_seed_gives_no_interval_and_no_verdict():
    text = document(all_studies(full_cells(HOSTS[0], seeds=1), ROOT / "recipes"))
    assert "A single seed gives no interval." in text
    assert "1 of 5" in text
    assert "helped:" not in text


def test_the_command_harvests_and_writes(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for cell in full_cells(HOSTS[0]):
        write_cell(tmp_path / "reproductions/cells", cell)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    assert main(["write"]) == 0
    text = (tmp_path / "docs/reproduction/ap.md").read_text(encoding="utf-8")
    assert text == document(all_studies(full_cells(HOSTS[0]), ROOT / "recipes"))
    assert main(["harvest", "nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_a_third_arm_is_compared_with_its_host_and_with_ap():
    text = document(all_studies(full_cells("mnist-bncnn-evidence"), ROOT / "recipes"))
    section = text.split("## Beyond the paper")[1]
    assert "| magnitude-waker | magnitude |" in section
    assert "| magnitude-waker | magnitude-ap |" in section
