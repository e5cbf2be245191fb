"""The environment is plain JSON and tells on nobody."""

from __future__ import annotations

import getpass
import json
import platform

import torch

from budbreak.training import environment


def test_it_is_json_and_has_the_versions(monkeypatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    torch.set_num_threads(1)
    record = environment()
    assert json.loads(json.dumps(record)) == record
    assert record["torch"] == torch.__version__
    assert record["threads"] == 1
    assert record["omp_wait_policy"] == "passive"
    assert record["processor"]


def test_it_names_neither_host_nor_user() -> None:
    values = [str(value) for value in environment().values()]
    assert platform.node() not in values
    assert not any(platform.node() in value for value in values if len(platform.node()) > 4)
    assert getpass.getuser() not in values


def test_an_older_torch_says_less_but_does_not_fail(monkeypatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    record = environment()
    assert record["capabilities"] == []
    assert record["processor"]
