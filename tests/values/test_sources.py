"""Which files a definition depends on: hers that it imports, at any depth, and none that is installed."""

import importlib
import sys

import pytest

from budbreak.errors import InvalidValue
from budbreak.values import identity
from budbreak.values.sources import check_unchanged, sources_of

MAIN = """
import math
from dataclasses import dataclass

import torch

{imports}


@dataclass(frozen=True)
class Main:
    alpha: float = 0.3
"""
NAMES = ("users_main", "users_helper", "users_other", "users_package")


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write files of the user's own, and import ``users_main`` anew."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(load=True, **texts):
        for name, text in texts.items():
            path = tmp_path / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()
        if load:
            forget()
            return importlib.import_module("users_main")
        return None

    yield write
    forget()


def forget():
    for name in [name for name in sys.modules if name.partition(".")[0] in NAMES]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "imports",
    [
        "import users_helper",
        "from users_helper import f",
        "def later():\n    import users_helper",
        "import users_other",
        "from users_package import inner",
        "import users_package.inner",
    ],
)
def test_an_edited_file_that_is_imported_changes_the_identity(imports, write):
    """A criterion whose helper had been edited had the results of the old one."""
    files = {
        "users_other": "import users_helper",
        "users_package__in____init__": "",
        "users_package__in__inner": "from . import deep",
        "users_package__in__deep": "import users_helper, users_main",
    }
    found = []
    for text in ("def f(): return 1", "def f(): return 2", "def f(): return 1"):
        module = write(users_main=MAIN.format(imports=imports), users_helper=text, **files)
        assert "users_helper" in sources_of("users_main")
        found.append(identity(module.Main()))
    assert found[0] != found[1]
    assert found[0] == found[2]


def test_packages_around_a_module_are_run_with_it(write):
    write(users_main="import users_package.inner", users_package__in____init__="", users_package__in__inner="")
    assert list(sources_of("users_package.inner")) == ["users_package.inner", "users_package"]


def test_what_is_installed_is_not_followed(write):
    write(users_main=MAIN.format(imports="import budbreak, numpy.linalg, pytest"))
    assert list(sources_of("users_main")) == ["users_main"]


def test_code_that_runs_keeps_its_identity_when_its_file_is_edited(write):
    """The results of the loaded code were taken for those of the edited file."""
    module = write(users_main=MAIN.format(imports="import users_helper"), users_helper="")
    before = identity(module.Main())
    check_unchanged("users_main")
    write(load=False, users_helper="more = 1")
    assert identity(module.Main()) == before
    with pytest.raises(InvalidValue, match=r"users_helper\.py was edited after it was imported"):
        check_unchanged("users_main")
    importlib.reload(module)  # the helper is still the old one
    with pytest.raises(InvalidValue, match=r"users_helper\.py was edited"):
        check_unchanged("users_main")
    importlib.reload(sys.modules["users_helper"])
    check_unchanged("users_main")
    assert identity(module.Main()) != before


def test_a_module_without_a_file_cannot_have_been_edited():
    check_unchanged("builtins")
