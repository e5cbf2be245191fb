"""Recurrent, attention, transposed and embedding weights, covered where asked, through a whole iteration."""

import copy

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.testing import mlp


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn, self.head = kind(5, 6, num_layers=2, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Linear(5, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.encoder(self.emb(x)).mean(1))


class Transposed(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.randn(5, 7) / 3), nn.Linear(7, 3)

    def forward(self, x):
        return self.head((x @ self.weight).relu().mean(1))


MODELS = {
    "lstm": (lambda: Recurrent(nn.LSTM), "rnn.*", 4),
    "gru": (lambda: Recurrent(nn.GRU), "rnn.*", 4),
    "encoder": (Encoder, "*.in_proj_weight", 2),
    "transposed": (Transposed, "weight", 1),
}


def train(model, optimizer, batches):
    for x, y in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


@pytest.mark.parametrize("criterion", [bb.criteria.Magnitude(), bb.criteria.Taylor()], ids=["magnitude", "taylor"])
@pytest.mark.parametrize("name", MODELS)
def test_covered_weights_are_pruned_rewound_and_held_like_all_others(name, criterion):
    torch.manual_seed(0)
    make, pattern, count = MODELS[name]
    model = make()
    batches = [(torch.randn(16, 4, 5), torch.randint(3, (16,))) for _ in range(4)]
    rule = bb.including(pattern)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.5, levels=2), criterion=criterion, prunable=rule)
    before = copy.deepcopy(model.state_dict())
    with bb.iterate(model, optimizer, plan, batches=batches, loss=nn.functional.cross_entropy) as levels:
        for level in levels:
            for _ in level.epochs(2):
                train(model, optimizer, batches)
    extra = [key for key in levels.mask if key not in bb.Mask.dense(make())]
    assert len(extra) == count
    assert 4 * levels.mask.kept == pytest.approx(levels.mask.total, abs=4)
    for key, entry in levels.mask.items():
        weight = model.state_dict()[key]
        assert bool((weight[~entry] == 0).all())
        assert bool((weight[entry] != before[key][entry]).any())  # what stays has been trained
    assert all(0 < levels.mask.kept_in(key) < levels.mask[key].numel() for key in extra)


def test_the_forward_pass_reads_the_pruned_weights_in_eval_mode_too():
    """A fused path that kept packed copies of the weights would not see the zeros."""
    torch.manual_seed(0)
    for make, pattern, _ in MODELS.values():
        model = make().eval()
        x = torch.randn(2, 4, 5)
        with torch.no_grad():
            dense = model(x)
            mask = bb.prune(model, sparsity=0.5, prunable=bb.including(pattern))
            sparse = model(x)
            by_hand = copy.deepcopy(model)
            for key, entry in mask.items():
                by_hand.get_parameter(key).mul_(entry)
            assert not torch.allclose(dense, sparse)
            assert torch.equal(by_hand(x), sparse)


def test_a_plain_model_is_covered_in_full_without_a_word():
    bb.prune(mlp(), sparsity=0.5)
