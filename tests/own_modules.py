"""Fixtures of tests whose recipes name modules of their own."""

import sys

import pytest

from small import MINE, write_module


@pytest.fixture(autouse=True)
def own_imports():
    """Recipes put folders on the path, and import modules from them."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and "/pytest-" in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with the module `mine`, which can be imported."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # an edit within a second would be missed
    folder = tmp_path / "own"
    folder.mkdir()
    write_module(folder, "mine", MINE)
    monkeypatch.syspath_prepend(folder)
    return folder
