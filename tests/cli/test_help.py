"""The help of ``budbreak run`` explains recipes: every field, and every value that has a short name."""

import re

import pytest

from budbreak import criteria, diagnostics, schedules
from budbreak.cli import main
from budbreak.cli.console import WIDTH
from budbreak.cli.explaining import set_instead
from budbreak.recipes import parse_set, recipe_fields, recipe_values
from budbreak.recipes.sections import FAMILIES, SECTIONS


@pytest.fixture
def text(capsys) -> str:
    with pytest.raises(SystemExit, match="0"):
        main(["run", "--help"])
    return capsys.readouterr().out


def entry(text: str, section: str, name: str) -> str:
    """What stands beside a name below a heading, on one line."""
    block = text.split(f"\n{section}\n")[1].split("\n\n")[0]
    (found,) = re.findall(rf"^  {re.escape(name)} (.*(?:\n {{24}}.*)*)", block, re.MULTILINE)
    return " ".join(found.split())


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_has_its_meaning_and_default(section, text):
    for name, info in SECTIONS[section].model_fields.items():
        explained = entry(text, f"[{section}]", name)
        assert len(info.description or "") > 5
        assert explained.endswith(")")
        assert ("(required)" in explained) is info.is_required()
        assert ("(default: " in explained) is not info.is_required()


def test_defaults_are_written_as_in_a_recipe(text):
    assert entry(text, "[prune]", "schedule").endswith(
        '(default: {is = "geometric", rate = 0.2, levels = 12})',
    )
    assert entry(text, "[prune]", "then").endswith("(default: [])")
    assert entry(text, "[measure]", "diagnostics").endswith('(default: ["dead-units"])')
    assert entry(text, "[data]", "augment").endswith("(default: false)")


def test_every_value_is_there_with_its_arguments(text):
    for (section, field), family in FAMILIES.items():
        for name in family.names:
            assert len(entry(text, f"{section}.{field}", name)) > 10
    assert entry(text, "prune.schedule", "geometric").endswith("(rate, levels)")
    assert entry(text, "prune.then", "ap").endswith('(q = 0.02, variant = "lite")')
    assert entry(text, "train.optimizer", "sgd").endswith("weight_decay = 0.0001)")


def test_enrolling_a_value_is_enough_to_be_listed():
    values = recipe_values()
    assert len(values["prune.criterion"]) == len(criteria.ALL)
    assert len(values["prune.schedule"]) == len(schedules.ALL)
    assert len(values["measure.diagnostics"]) == len(diagnostics.ALL)


def test_an_example_is_whole_and_in_toml(text):
    assert 'e.g. {is = "sgd", learning_rate = 0.05} (default: "sgd")' in entry(text, "[train]", "optimizer")
    assert 'e.g. ["fc.*"] (default: [])' in entry(text, "[prune]", "exclude")
    assert '2:4 is {is = "nm", n = 2, of = 4} (n, of, ' in entry(text, "prune.scope", "nm")
    assert 'any fields, e.g. "prune.criterion" = "taylor"' in " ".join(text.split())


def test_the_frame_of_a_recipe_is_explained(text):
    for word in ("seeds", "[arms.NAME]", "reference", "[grid]"):
        assert re.search(rf"^ +{re.escape(word)} ", text, re.MULTILINE)


def test_it_is_readable_at_80_columns(text):
    assert all(len(line) <= WIDTH - 1 for line in text.splitlines())
    assert "``" not in text


def test_flags_that_are_fields_lead_to_paths_that_exist():
    known = {f"{section}.{field.name}" for section, fields in recipe_fields().items() for field in fields}
    outs = {flag for flag, fix in set_instead().items() if fix == "write --out DIR"}
    assert outs == {"--runs-dir", "--out-dir", "--output-dir"}
    for flag, fix in set_instead().items() - dict.fromkeys(outs, "write --out DIR").items():
        paths = re.findall(r"--set ([\w.]+)=", fix)
        assert paths, flag
        for path in paths:
            assert ".".join(path.split(".")[:2]) in known
            parse_set(f"{path}=1")
    assert "--seed" not in set_instead()
