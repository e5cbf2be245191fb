"""SynFlow against products of matrices, on networks with norms, skips and pruned weights; and in rounds."""

import copy
import inspect
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_networks import BATCHES, images, scores_of, weights_of
from torch import nn

import budbreak as bb
from budbreak.criteria import SynFlow
from budbreak.errors import InvalidValue, LayerCollapsed, MissingEvidence, NotFinite
from budbreak.masks import exponential_path
from budbreak.testing import mlp, residual_cnn

EIGHT = SynFlow(shape=(8,))


def flows(model, criterion=EIGHT, batches=None, **options):
    return scores_of(criterion, model, batches, loss=None, **options)


@given(seed=st.integers(0, 2**32 - 1))
def test_scores_of_a_chain_are_products_of_matrices(seed):
    """score[o, i] = (ones |W_last| ... |W_next|)[o] |w[o, i]| (|W_before| ... |W_first| ones)[i]."""
    model = mlp(seed=seed)  # float32, with biases
    matrices = [weight.detach().double().abs().numpy() for weight in weights_of(model).values()]
    for place, (name, found) in enumerate(flows(model).items()):
        forward = torch.ones(8, dtype=torch.float64).numpy()
        for matrix in matrices[:place]:
            forward = matrix @ forward
        backward = torch.ones(3, dtype=torch.float64).numpy()
        for matrix in reversed(matrices[place + 1 :]):
            backward = backward @ matrix
        expected = torch.from_numpy(backward[:, None] * matrices[place] * forward[None, :])
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0), name


def test_golden_numbers():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -2.0], [0.0, 3.0]]))
        model[2].weight.copy_(torch.tensor([[-1.0, 4.0]]))
    found = flows(model, SynFlow(shape=(2,)))
    # R = 1 * (1 + 2) + 4 * (0 + 3) = 15; each weight times what leads on from it
    assert found["0.weight"].tolist() == [[1, 2], [0, 12]]
    assert found["2.weight"].tolist() == [[3, 12]]


def test_each_layer_of_a_chain_carries_the_whole_flow():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU6(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, groups=2),
        nn.GroupNorm(2, 4), nn.GELU(), nn.Dropout(0.5), nn.Flatten(), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 5),
    )  # fmt: skip
    model[9].weight.data.normal_()
    found = flows(model.train(), SynFlow(shape=(3, 8, 8)))
    sums = [float(scores.sum()) for scores in found.values()]
    assert sums[0] > 0
    assert sums == pytest.approx([sums[0]] * 3, rel=1e-12)
    assert model.training


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class InPlaceSquares(nn.Module):
    def forward(self, input):
        return input.clamp_(min=0).pow_(2)


class Called(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call, self.weighs = call, nn.Identity()

    def forward(self, x):
        return self.weighs(self.call(x))


class ByKeyword(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(input=x)


CALLS = {
    "clamp": Called(lambda x: x.clamp(0, 6)),
    "by keyword": Called(lambda x: torch.relu(input=x)),
    "written out": Swish(),
    "in place, by keyword": ByKeyword(InPlaceSquares()),
    "norm by keyword": ByKeyword(nn.LayerNorm(5)),
}


@pytest.mark.parametrize("call", CALLS)
def test_whatever_is_an_activation_passes_on(call):
    """Inputs that a clamp would cut and a square would blow up."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))
    model[0].weight.data *= 100
    expected = flows(model)
    model[1] = CALLS[call]
    for name, found in flows(model).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-12, atol=0)
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_a_scripted_part_is_put_back_like_any_other():
    model = nn.Sequential(nn.Linear(8, 5), torch.jit.script(nn.Linear(5, 5)), nn.Linear(5, 3))
    before = copy.deepcopy(model.state_dict())
    found = flows(model)
    plain = nn.Sequential(model[0], nn.Linear(5, 5), model[2])
    plain[1].load_state_dict(model[1].state_dict())
    for name, expected in flows(plain).items():
        if name in found:
            torch.testing.assert_close(found[name], expected, rtol=1e-12, atol=0)
    assert found.keys() == {"0.weight", "2.weight"}
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])


def test_a_residual_network_adds_the_flows_of_its_paths():
    model = residual_cnn()
    model.norm1.running_var.fill_(4.0)
    found = flows(model, SynFlow(shape=(3, 6, 6)))
    sums = {name: float(scores.sum()) for name, scores in found.items()}
    assert sums["stem.weight"] == pytest.approx(sums["fc.weight"], rel=1e-12), "all paths pass both"
    assert sums["conv1.weight"] == pytest.approx(sums["conv2.weight"], rel=1e-12), "the branch"
    assert 0 < sums["conv1.weight"] < sums["stem.weight"]
    with torch.no_grad():
        model.norm1.running_var.fill_(1.0)
    wider = flows(model, SynFlow(shape=(3, 6, 6)))["conv1.weight"]
    # a deviation of 2 halves what the branch carries; 1e-5 is the norm's epsilon
    torch.testing.assert_close(found["conv1.weight"] * 2, wider, rtol=1e-4, atol=0)


def test_the_first_batch_gives_the_shape_and_nothing_else():
    model = residual_cnn()
    by_shape = flows(model, SynFlow(shape=(3, 6, 6)))
    for batches in ([images(5, 3, 6, 6)], [(images(1, 3, 6, 6, seed=1), torch.zeros(1))]):
        found = flows(model, SynFlow(), batches)
        assert all(torch.equal(found[name], by_shape[name]) for name in by_shape)
    calls = []
    found = flows(model, SynFlow(), [{"x": images(5, 3, 6, 6)}], forward=lambda m, b: calls.append(b["x"]) or m(b["x"]))
    assert torch.equal(calls[0], torch.ones(1, 3, 6, 6, dtype=torch.float64))
    assert all(torch.equal(found[name], by_shape[name]) for name in by_shape)
    with pytest.raises(MissingEvidence, match="no batches were given, and SynapticFlow looks at them"):
        bb.prune(model, sparsity=0.9, criterion=SynFlow())


def test_token_ids_are_taken_as_they_are():
    model = nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 3))
    found = flows(model, SynFlow(), [torch.tensor([[2, 4], [1, 1]])])["1.weight"]
    expected = model[1].weight.detach().double().abs() * model[0].weight[[2, 4]].detach().double().abs().sum(0)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_large_flows_need_double_precision():
    model = nn.Sequential(*(nn.Linear(64, 64, bias=False) for _ in range(30)))
    for layer in model:
        nn.init.constant_(layer.weight, 1.0)
    found = flows(model, SynFlow(shape=(64,)))
    # 64 inputs, 64 ways at each of 30 layers, and the sum over 64 outputs is the last of them: 64^31 in all
    assert float(found["0.weight"].sum()) == pytest.approx(64.0**31, rel=1e-12)
    assert torch.finfo(torch.float32).max < 64.0**31
    with torch.no_grad():
        model[3].weight.mul_(1e38)
        model[4].weight.mul_(1e38)
        model[5].weight.mul_(1e38)
        model[6].weight.mul_(1e38)
        model[7].weight.mul_(1e38)
        model[8].weight.mul_(1e38)
        model[9].weight.mul_(1e38)
    with pytest.raises(NotFinite, match=r"the flow through '0.weight' is not finite"):
        flows(model, SynFlow(shape=(64,)))


class Subtracted(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.first(x).relu()
        return self.last(x - self.second(x))


def test_a_signed_skip_is_refused():
    model = Subtracted()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InvalidValue, match=r"the flow through 'first.weight' is negative") as caught:
        bb.prune(model, sparsity=0.5, criterion=EIGHT)
    line = inspect.getsourcelines(Subtracted.forward)[1] + 2
    assert caught.value.value.endswith(f"is negative: it turns at sub (test_synflow.py:{line})")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with torch.no_grad():
        model.second.weight.mul_(1e-3)  # now the first layer's paths are positive, most of them
    with pytest.raises(InvalidValue, match=r"the flow through 'second.weight' is negative"):
        flows(model)


class Outweighed(Subtracted):
    """The paths that are subtracted are fewer, through each weight, than those that add."""

    def forward(self, x):
        x = self.first(x).relu()
        return self.last(self.second(x) - x)


def test_a_signed_skip_that_paths_outweigh_is_refused():
    model = Outweighed()
    nn.init.constant_(model.second.weight, 1.0)
    before = copy.deepcopy(model.state_dict())
    line = inspect.getsourcelines(Outweighed.forward)[1] + 2
    with pytest.raises(InvalidValue, match=r"a part of the flow is negative") as caught:
        bb.prune(model, sparsity=0.5, criterion=EIGHT)
    assert caught.value.value.endswith(f"is negative: it turns at sub (test_synflow.py:{line})")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_normalised_outputs_are_refused():
    with pytest.raises(InvalidValue, match="nothing flows"):  # the sum of its outputs is 1, whatever the weights are
        flows(nn.Sequential(mlp(), nn.Softmax(1)))


def test_an_empty_layer_is_named():
    model = mlp()
    model[2].weight.data.zero_()
    with pytest.raises(LayerCollapsed, match=r"'2.weight' has no living weight\nnothing flows"):
        flows(model)
    detached = nn.Sequential(nn.Linear(8, 3), nn.Flatten())
    with pytest.raises(InvalidValue, match="nothing flows from the inputs to the outputs"):
        flows(detached, SynFlow(), [images(1, 8)], forward=lambda model, batch: model(batch).argmax(1))


# --- in rounds ---------------------------------------------------------------------------------------------


def in_rounds(model, keep, rounds):
    """The paper's loop on plain matrices: mask, score, threshold."""
    matrices = [weight.detach().double().abs() for weight in weights_of(model).values()]
    masks = [torch.ones_like(matrix, dtype=torch.bool) for matrix in matrices]
    for count in exponential_path(sum(matrix.numel() for matrix in matrices), keep, rounds):
        living = [(matrix * mask).requires_grad_(True) for matrix, mask in zip(matrices, masks, strict=True)]
        total = torch.ones(8, dtype=torch.float64)
        for matrix in living:
            total = matrix @ total
        gradients = torch.autograd.grad(total.sum(), living)
        scores = torch.cat([(g * w).detach().flatten() for g, w in zip(gradients, living, strict=True)])
        alive = torch.cat([mask.flatten() for mask in masks])
        kept = torch.where(alive, scores, -1.0).sort(descending=True, stable=True).indices[:count]
        flat = torch.zeros_like(alive)
        flat[kept] = True
        masks = [
            part.reshape(mask.shape) for part, mask in zip(flat.split([m.numel() for m in masks]), masks, strict=True)
        ]
    return masks


@pytest.mark.parametrize("rounds", [1, 5, 30])
def test_pruning_in_rounds_is_the_papers_loop(rounds):
    model = mlp(seed=3)
    expected = in_rounds(model, 43, rounds)
    before = copy.deepcopy(model.state_dict())
    mask = bb.prune(model, sparsity=0.9, criterion=SynFlow(rounds, shape=(8,)), allow_collapse=True)
    for entry, wanted in zip(mask.values(), expected, strict=True):
        assert torch.equal(entry, wanted)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name] * mask[name] if name in mask else before[name])


def test_many_rounds_keep_layers_alive_where_one_empties_them():
    """At 20 of 65,760 weights magnitude and one round leave layers without any; SynFlow does not."""
    model = nn.Sequential(nn.Linear(8, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 3))
    sparsity = 1 - 20 / sum(weight.numel() for weight in weights_of(model).values())
    with pytest.raises(LayerCollapsed):
        bb.prune(copy.deepcopy(model), sparsity=sparsity, criterion=EIGHT, rounds=1)
    mask = bb.prune(model, sparsity=sparsity, criterion=EIGHT)
    assert mask.kept == 20
    assert all(mask.kept_in(name) > 0 for name in mask)


def test_in_one_line_on_an_untrained_network():
    model = residual_cnn(channels=8)
    before = copy.deepcopy(model.state_dict())
    mask = bb.prune(model, sparsity=0.9, criterion=SynFlow(rounds=10), batches=[images(2, 3, 8, 8).float()])
    assert mask.kept == round(0.1 * mask.total)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name] * mask[name] if name in mask else before[name])


def test_rounds_of_any_criterion_and_what_they_refuse():
    model = mlp().double()
    options = {"sparsity": 0.9, "criterion": bb.criteria.Snip(), "loss": nn.functional.cross_entropy}
    once = bb.prune(copy.deepcopy(model), batches=BATCHES, **options)
    often = bb.prune(copy.deepcopy(model), batches=BATCHES, rounds=10, **options)
    assert (once.kept, often.kept) == (43, 43)
    assert once != often
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InvalidValue, match="each of 10 rounds reads them, and an iterator is used up"):
        bb.prune(model, batches=iter(BATCHES), rounds=10, **options)
    with pytest.raises(InvalidValue, match="rounds is 0"):
        bb.prune(model, batches=BATCHES, rounds=0, **options)
    with pytest.raises(InvalidValue, match=r"removes in 3 rounds, in scope 1:2\n.*\nwrite rounds=1"):
        bb.prune(model, batches=BATCHES, rounds=3, **{**options, "sparsity": 0.5}, scope=bb.masks.NM(1, 2))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_an_error_in_a_late_round_leaves_the_model_as_it_was():
    model, calls = mlp(), []

    def loss(out, y):
        calls.append(1)
        return nn.functional.cross_entropy(out, y) * (math.nan if len(calls) > 5 else 1)

    before = copy.deepcopy(model.state_dict())
    batches = [(x.float(), y) for x, y in BATCHES]
    with pytest.raises(NotFinite, match="loss of batch"):
        bb.prune(model, sparsity=0.9, criterion=bb.criteria.Snip(), batches=batches, loss=loss, rounds=10)
    assert len(calls) > 5
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_what_a_mask_prunes_is_gone_while_the_network_is_looked_at():
    model = mlp()
    mask = bb.Mask({name: torch.rand(weight.shape) < 0.5 for name, weight in weights_of(model).items()})
    twin = copy.deepcopy(model)
    bb.live.apply_mask(twin, mask)
    found = bb.prune(model, sparsity=0.8, criterion=EIGHT, rounds=2, mask=mask)
    assert found == bb.prune(twin, sparsity=0.8, criterion=EIGHT, rounds=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"rounds": 0}, "rounds is 0"), ({"shape": (3, 0)}, "a size of shape is 0"), ({"shape": 8}, "shape is 8")],
)
def test_other_arguments_are_refused(arguments, words):
    with pytest.raises(InvalidValue, match=words):
        SynFlow(**arguments)
