import re
from pathlib import Path

import pytest

import budbreak

README = Path(__file__).parent.parent / "README.md"


def example() -> str:
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
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


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", README.read_text(encoding="utf-8")))
def test_links_lead_somewhere(link):
    assert link.startswith("http") or (README.parent / link).exists()


def test_the_public_names_are_few_and_sorted():
    assert budbreak.__all__ == sorted(budbreak.__all__)
    assert len(budbreak.__all__) <= 40
    assert all(hasattr(budbreak, name) for name in budbreak.__all__)
