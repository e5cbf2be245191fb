"""Recipes as files: read, refused at once where they are hostile, and written again."""

import sys
import time
import tomllib
from pathlib import Path

import pytest

from budbreak.errors import BudbreakError, InvalidValue, MissingData, UnknownName
from budbreak.recipes import load_recipe
from budbreak.recipes.recipe import make_recipe
from budbreak.recipes.recipefile import read_plain, to_toml
from small import MINE, plain, small

RECIPES = sorted((Path(__file__).parent.parent.parent / "recipes").glob("*.toml"))
TEXT = '[data]\nname = "digits"\n[network]\nname = "mlp"\n[train]\nepochs = 3\n'


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid_and_is_written_as_it_was_read(path):
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert make_recipe(tomllib.loads(to_toml(recipe.plain))) == recipe


def test_sets_and_seeds_win_over_the_file(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(f"seeds = 4\n{TEXT}")
    recipe = load_recipe(path, {"train.epochs": 7}, seeds=2)
    assert (recipe.name, recipe.seeds, recipe.arms[0].setup.train.epochs) == ("a", 2, 7)
    assert load_recipe(path).seeds == 4


def test_whatever_a_recipe_holds_is_written_as_toml():
    arm = {"prune.then": [{"is": "ap", "q": 1e-05}], "train": {"epochs": 3}}
    whole = {"arms": {"a.b": {"reference": "none"}, "c": arm}, "grid": {"train.batch_size": [10, 20]}}
    given = plain({"prune.exclude": ['a"b', "c\\d", "é\u2028*", "e.\x7f"]}, **whole)
    recipe = make_recipe(given)
    again = tomllib.loads(to_toml(recipe.plain))
    assert again == given
    assert make_recipe(again) == recipe
    assert "[arms.\"a.b\"]" in to_toml(recipe.plain)  # fmt: skip
    assert small().plain == tomllib.loads(to_toml(small().plain))


def test_classes_of_the_users_own_lie_beside_the_recipe(tmp_path, monkeypatch, mine):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.toml").write_text(f'{TEXT}[prune]\ncriterion = {{is = "beside:Mine", power = 3}}\n')
    (mine / "mine.py").rename(tmp_path / "beside.py")
    recipe = load_recipe(tmp_path / "a.toml")
    assert recipe.arms[0].setup.prune.criterion.power == 3.0
    assert sys.path[-1] == str(tmp_path)  # last: it hides no library


def own_recipe(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "users_scores.py").write_text(text)
    (folder / "a.toml").write_text(f'{TEXT}[prune]\ncriterion = "users_scores:Mine"\n')
    return folder / "a.toml"


def test_the_module_beside_another_recipe_is_not_taken_for_this_ones(tmp_path, monkeypatch):
    """The second recipe was run with the class of the first one."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    load_recipe(own_recipe(tmp_path / "one", MINE))
    with pytest.raises(InvalidValue, match=r"is .*one/users_scores\.py, and beside the recipe lies .*two/users_scores"):
        load_recipe(own_recipe(tmp_path / "two", MINE))
    load_recipe(tmp_path / "one" / "a.toml")


def test_a_module_that_was_edited_after_it_was_imported_is_refused(tmp_path, monkeypatch):
    """The old code ran under the identity of the new one."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = own_recipe(tmp_path, MINE)
    load_recipe(path)
    own_recipe(tmp_path, f"{MINE}\n")
    with pytest.raises(InvalidValue, match="was edited after it was imported"):
        load_recipe(path)


def test_an_unimportable_class_is_said_with_its_file_and_line(tmp_path):
    (tmp_path / "a.toml").write_text(f'{TEXT}[arms.host]\n[arms.mine]\n"prune.criterion" = "half:Mine"\n')
    (tmp_path / "half.py").write_text("import budbreak\n\nfrom budbreak import Nothing\n")
    with pytest.raises(InvalidValue) as caught:
        load_recipe(tmp_path / "a.toml")
    words = ["arm 'mine': prune.criterion", "importing 'half' raised ImportError", "half.py, line 3"]
    assert all(word in str(caught.value) for word in words)
    with pytest.raises(UnknownName, match="cannot import 'halve'"):
        load_recipe(tmp_path / "a.toml", {"prune.criterion": "halve:Mine"})


def test_a_file_that_is_absent_a_folder_or_no_toml(tmp_path):
    (tmp_path / "mnist.toml").write_text("dataset = ")
    for wrong in ("mnits.toml", "mnist"):
        with pytest.raises(MissingData, match=r"did you mean .*mnist\.toml"):
            load_recipe(tmp_path / wrong)
    with pytest.raises(MissingData, match=r"is a folder\n.*mnist\.toml"):
        load_recipe(tmp_path)
    with pytest.raises(InvalidValue, match=r"mnist\.toml is not TOML"):
        load_recipe(tmp_path / "mnist.toml")


HOSTILE = {
    "large": TEXT + "# one comment after the other\n" * 3000,
    "long line": "a" + ".a" * 30_000 + " = 1",
    "dotted": TEXT + "[arms.x]\na" + ".a" * 990 + " = 1",
    "nested": "x = " + "[" * 1500,
    "nested value": TEXT + "[prune]\ncriterion = " + "[" * 900 + "]" * 900,
    "huge": TEXT.replace("3", "9" * 1900),
    "huge in hexadecimal": TEXT.replace("3", "0x" + "f" * 1900),
    "infinite": TEXT.replace("3", "inf"),
    "not a number": TEXT + "[prune]\nschedule = {is = \"geometric\", rate = nan, levels = 2}",
    "a date": TEXT.replace("3", "1979-05-27"),
    "a date as seeds": "seeds = 1979-05-27\n" + TEXT,
    "a date in an arm": TEXT + "[arms.x]\nreference = 1979-05-27",
    "not utf-8": "rate = \xff",
    "tables": "x = {a = " * 200,
    "twice": TEXT + "[train]\nepochs = 4",
    "many arms": TEXT + "".join(f"[arms.{'x' * 30}{i}]\ntrain.epoch = 1\n" for i in range(900)),
    "a null byte": TEXT + "\x00",
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_at_once(text, tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(text.encode("latin-1"))
    begin = time.process_time()
    with pytest.raises(BudbreakError) as caught:
        load_recipe(path)
    assert len(str(caught.value)) < 2500
    assert time.process_time() - begin < 5


def test_a_file_of_almost_the_largest_size_is_read(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(TEXT + "# the longest comment there can be\n" * 1800)
    assert 60_000 < path.stat().st_size < 65_536
    assert read_plain(path)["train"] == {"epochs": 3}
