import re
from pathlib import Path

import pytest

import budbreak

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def example() -> str:
    (block,) = [block for block in blocks("python") if "bb.iterate(" in block]
    return block


def test_the_example_is_short():
    assert len(example().strip().splitlines()) < 25


def test_the_example_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(example(), str(README), "exec"), {"__name__": "readme"})
    out = capsys.readouterr().out
    assert "prunable" in out
    assert "26%" in out  # 0.8^6 of the weights remain at the end
    assert "dynamic among the living" in out
    assert (tmp_path / "readme-store/records.json").exists()


def test_the_example_runs_twice_in_one_folder_and_prints_the_same_history(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    histories = []
    for _ in range(2):
        exec(compile(example(), str(README), "exec"), {"__name__": "readme"})
        histories.append([line for line in capsys.readouterr().out.splitlines() if line.startswith("[(")])
    assert histories[0] == histories[1] != []


def test_all_other_code_and_every_whole_recipe_is_that_of_a_file_which_runs():
    files = [path for pattern in ("*.py", "*.toml") for path in (README.parent / "examples").rglob(pattern)]
    texts = [path.read_text(encoding="utf-8") for path in files]
    shown = [block for block in blocks("python") if block != example()]
    shown += [block for block in blocks("toml") if "[data]" in block]
    for block in shown:
        assert any(block.strip() in text for text in texts), block


@pytest.mark.parametrize("word", ["level", "density", "host", "dead neuron rate"])
def test_the_words_of_the_example_are_explained_before_it(word):
    text = README.read_text(encoding="utf-8")
    assert f"| **{word}**" in text[: text.index("```python")]


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", README.read_text(encoding="utf-8")))
def test_links_lead_somewhere(link):
    assert link.startswith("http") or (README.parent / link).exists()


def test_the_public_names_are_few_and_there():
    assert len(set(budbreak.__all__)) == len(budbreak.__all__)
    assert len(budbreak.__all__) <= 46
    assert all(hasattr(budbreak, name) for name in budbreak.__all__)
