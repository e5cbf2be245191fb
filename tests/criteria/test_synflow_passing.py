"""What SynFlow sees through, what it takes as it is, and what it refuses by name."""

import copy
import math

import pytest
import torch
from small_networks import images, scores_of
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import budbreak as bb
from budbreak.criteria import SynFlow
from budbreak.errors import InvalidValue
from budbreak.testing import mlp

EIGHT = SynFlow(shape=(8,))


def flows(model, criterion=EIGHT, batches=None, **options):
    return scores_of(criterion, model, batches, loss=None, **options)


NORMS = {
    "layer_norm": (nn.LayerNorm(4), lambda x, m: functional.layer_norm(x, (4,), m.weight, m.bias)),
    "rms_norm": (nn.RMSNorm(4), lambda x, m: functional.rms_norm(x, (4,), weight=m.weight)),
    "torch.layer_norm": (nn.LayerNorm(4), lambda x, m: torch.layer_norm(x, (4,), m.weight)),
    "group_norm": (nn.GroupNorm(2, 4), lambda x, m: functional.group_norm(x, 2, m.weight, m.bias)),
    "instance_norm": (
        nn.InstanceNorm1d(4, affine=True), lambda x, m: functional.instance_norm(x, weight=m.weight)
    ),
    "batch_norm": (
        nn.BatchNorm1d(4, track_running_stats=False),
        lambda x, m: functional.batch_norm(x, None, None, m.weight, m.bias, training=True),
    ),
    "with statistics": (
        nn.BatchNorm1d(4), lambda x, m: functional.batch_norm(x, 0 * m.running_mean, m.running_var, m.weight)
    ),
    "without a gain": (nn.LayerNorm(4, elementwise_affine=False), lambda x, m: functional.normalize(x)),
    "local": (nn.LocalResponseNorm(2), lambda x, m: functional.local_response_norm(x, 2)),
}  # fmt: skip


class Functional(nn.Module):
    """Calls a function in the place of a norm, whose parameters it has."""

    def __init__(self, call, norm):
        super().__init__()
        self.call, self.norm = call, norm

    def forward(self, x):
        return self.call(x, self.norm)


@pytest.mark.parametrize("kind", NORMS)
def test_norms_pass_on_as_modules_and_as_functions(kind):
    norm, call = copy.deepcopy(NORMS[kind][0]), NORMS[kind][1]
    by_hand = torch.ones(4, dtype=torch.float64)
    if getattr(norm, "weight", None) is not None:
        by_hand = norm.weight.data.copy_(torch.tensor([0.5, -2.0, 1.0, 3.0])).abs().double()
    if kind == "with statistics":
        norm.running_var.fill_(4.0)
        by_hand = by_hand / math.sqrt(4 + 1e-5)
    model = nn.Sequential(nn.Linear(8, 16), nn.Unflatten(1, (4, 4)), norm, nn.Flatten(), nn.Linear(16, 3)).double()
    found = flows(model)
    model[2] = Functional(call, norm)
    called = flows(model)
    gains = by_hand if "layer" in kind or "rms" in kind else by_hand[:, None]
    behind = model[4].weight.abs().sum(0).reshape(4, 4) * gains
    expected = model[0].weight.detach().abs() * behind.reshape(16, 1).detach()
    for scores in (found, called):
        torch.testing.assert_close(scores["0.weight"], expected, rtol=1e-12, atol=0)


class Shifted(nn.Module):
    """Subtracts what no weight decides: the values turn negative, but no derivative there."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.first(x) - 100)


class Negative(nn.Module):
    def forward(self, x):
        return -x


class WrittenOut(nn.Module):
    """A norm that is written out."""

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


TURNING = {
    "a constant": (Shifted(), "sub"),
    "a norm": (nn.Sequential(nn.Linear(8, 8), nn.Sequential(WrittenOut(), nn.Identity()), nn.Linear(8, 3)), "rsqrt"),
    "log_softmax": (nn.Sequential(mlp(), nn.LogSoftmax(1)), "log_softmax"),
    "a sign": (nn.Sequential(nn.Linear(8, 8), Negative(), nn.Linear(8, 3)), "neg"),
}


@pytest.mark.parametrize("kind", TURNING)
def test_what_turns_a_flow_is_named_with_its_place(kind):
    model, name = TURNING[kind]
    with pytest.raises(InvalidValue, match=rf"is negative: it turns at {name} \(\w+\.py:\d+\)\nSynFlow adds up"):
        flows(model)


def test_a_loss_beside_the_outputs_is_none_of_them():
    model, labels = mlp(), torch.tensor([2])
    batch = {"x": images(1, 8), "labels": labels}

    def with_loss(model, batch):
        logits = model(batch["x"])
        return {"loss": torch.nn.functional.cross_entropy(logits, batch["labels"]), "logits": logits}

    found = flows(model, SynFlow(), [batch], forward=with_loss)
    expected = flows(model)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    alone = flows(model, SynFlow(), [batch], forward=lambda model, batch: model(batch["x"]).sum())
    assert all(torch.equal(alone[name], expected[name]) for name in expected)


class Attention(nn.Module):
    """Two tokens; how they weigh each other is left to ``weigh``."""

    def __init__(self, weigh):
        super().__init__()
        self.first, self.keys, self.values, self.weigh = nn.Linear(8, 4), nn.Linear(4, 4), nn.Linear(4, 3), weigh

    def forward(self, x):
        x = self.first(torch.stack([x / 8, x / 4], 1))
        return self.weigh(x, self.keys(x), self.values(x))


ATTENTION = {
    "in one call": functional.scaled_dot_product_attention,
    "by keyword": lambda q, k, v: functional.scaled_dot_product_attention(query=q, key=k, value=v),
    "written out": lambda q, k, v: (q @ k.transpose(1, 2) / 2).softmax(-1) @ v,
    "by torch.softmax": lambda q, k, v: torch.softmax(input=q @ k.transpose(1, 2) / 2, dim=-1) @ v,
}


@pytest.mark.parametrize("kind", ATTENTION)
def test_attention_passes_its_values_on_with_the_weights_that_it_has(kind):
    model = Attention(ATTENTION[kind]).double()
    with pytest.raises(
        InvalidValue, match=r"what 'keys\.weight' computes.* enters nothing but the softmax of attention"
    ):
        flows(model)
    found = flows(model, prunable=bb.excluding("keys.weight"))
    first, keys, values = (getattr(model, name).weight.detach().abs() for name in ("first", "keys", "values"))
    tokens = torch.stack([torch.ones(8) / 8, torch.ones(8) / 4]).double()
    entered = tokens @ first.T
    weighed = (entered @ (entered @ keys.T).T / 2).softmax(-1).sum(0)  # of each token, over those that look at it
    expected = values * (weighed @ entered)
    torch.testing.assert_close(found["values.weight"], expected, rtol=1e-12, atol=0)
    expected = first * values.sum(0)[:, None] * (weighed @ tokens)
    torch.testing.assert_close(found["first.weight"], expected, rtol=1e-12, atol=0)


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.packed, self.last = nn.Linear(8, 12), nn.Linear(4, 3)

    def forward(self, x):
        q, k, v = self.packed(torch.stack([x / 8, x / 4], 1)).chunk(3, -1)
        return self.last(functional.scaled_dot_product_attention(q, k, v))


def test_a_weight_of_which_a_part_is_on_no_path_is_refused():
    with pytest.raises(InvalidValue, match=r"what 'packed\.weight' computes, or a part of it, enters nothing but"):
        flows(Packed())
    flows(Packed(), prunable=bb.excluding("packed.weight"))
    encoder = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 3))
    shape = SynFlow(shape=(5, 8))
    assert len(flows(encoder, shape, prunable=bb.excluding("*.in_proj_weight"))) == 4
    with pytest.raises(InvalidValue, match=r"what '0\.self_attn\.in_proj_weight' computes"):
        flows(encoder, shape, prunable=bb.including("*.in_proj_weight"))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.first, self.rnn, self.last = nn.Linear(8, 8), kind(8, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.rnn(self.first(x))[0][:, -1])


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_what_leads_into_a_recurrent_layer_is_refused(kind):
    model, shape = Recurrent(kind), SynFlow(shape=(5, 8))
    words = r"a prunable weight leads into, or belongs to, \w+ \(rnn\.py:\d+\)\n"
    with pytest.raises(InvalidValue, match=words):
        flows(model, shape)
    with pytest.raises(InvalidValue, match=words):
        flows(model, shape, prunable=bb.including("rnn.weight_ih_l0", of=bb.excluding("first.weight")))
    assert list(flows(model, shape, prunable=bb.excluding("first.weight"))) == ["last.weight"]
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_a_checkpoint_computes_again_passes_on_as_well():
    model = mlp()
    found = flows(model, SynFlow(), [images(1, 8).float()], forward=lambda m, x: checkpoint(m, x, use_reentrant=False))
    expected = flows(model)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
