"""SNIP and GraSP on networks, against derivatives by finite differences."""

import copy

import pytest
import torch
from small_networks import BATCHES, X, Y, images, scores_of, weights_of
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

import budbreak as bb
from budbreak.criteria import GraSP, Snip, Taylor
from budbreak.errors import InvalidValue, MissingEvidence, UnknownName
from budbreak.masks import Scores
from budbreak.testing import mlp, residual_cnn


def places(model, count=6):
    """A few weights of each layer: (name, flat index)."""
    return [
        (name, i)
        for name, weight in weights_of(model).items()
        for i in range(0, weight.numel(), weight.numel() // count)
    ]


def loss_of(model):
    return float(cross_entropy(model(X), Y).detach())


def scaled(model, name, i, factor):
    """A copy in which one weight is multiplied."""
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.get_parameter(name).view(-1)[i] *= factor
    return twin


def test_snip_is_the_derivative_by_a_factor_before_the_weight():
    model, step = mlp(hidden=6).double(), 1e-5
    found = scores_of(Snip(), model)
    for name, i in places(model):
        up, down = (loss_of(scaled(model, name, i, 1 + sign * step)) for sign in (1, -1))
        # central differences of a loss of about 1 in float64: an error of 1e-11 or so
        assert float(found[name].view(-1)[i]) == pytest.approx(abs(up - down) / (2 * step), abs=1e-9)


def test_snip_orders_as_taylor_does_and_is_meant_for_the_start():
    model = mlp().double()
    snip, taylor = scores_of(Snip(), model), scores_of(Taylor(), model)
    assert all(torch.equal(snip[name], taylor[name]) for name in snip)
    assert Snip.at_initialization
    assert not hasattr(Taylor(), "at_initialization")


def test_snip_in_training_mode_takes_the_statistics_of_each_batch():
    model = residual_cnn().double()
    batches = [(2 + 3 * images(6, 3, 8, 8), torch.arange(6) % 3)]
    found, at_rest = scores_of(Snip("train"), model, batches), scores_of(Snip(), model, batches)
    twin = copy.deepcopy(model).train()
    cross_entropy(twin(batches[0][0]), batches[0][1]).backward()
    for name, weight in weights_of(twin).items():
        torch.testing.assert_close(found[name], (weight * weight.grad).abs().detach(), rtol=1e-10, atol=1e-14)
    assert not torch.allclose(found["stem.weight"], at_rest["stem.weight"])
    with pytest.raises(UnknownName, match="did you mean 'train'"):
        Snip("training")


def test_snip_in_one_line():
    model = mlp().double()
    mask = bb.prune(model, sparsity=0.9, criterion=Snip(), batches=BATCHES, loss=cross_entropy)
    assert mask.kept == 43
    with pytest.raises(MissingEvidence, match="no batches were given, and Gradients looks at them"):
        bb.prune(mlp(), sparsity=0.9, criterion=Snip())
    with pytest.raises(MissingEvidence, match="gradients are wanted, but no loss was given"):
        bb.prune(mlp(), sparsity=0.9, criterion=Snip(), batches=BATCHES)


# --- GraSP -------------------------------------------------------------------------------------------------


def smooth(hidden=5):
    """A network whose second derivatives are nowhere zero."""
    return nn.Sequential(nn.Linear(8, hidden), nn.Tanh(), nn.Linear(hidden, 3)).double()


def flow_of(model, temperature=1.0):
    """The squared norm of the gradient of the prunable weights."""
    value = cross_entropy(model(X) / temperature, Y)
    gradients = torch.autograd.grad(value, list(weights_of(model).values()))
    return float(sum((gradient**2).sum() for gradient in gradients))


@pytest.mark.parametrize("temperature", [1.0, 3.0, 200.0])
def test_grasp_is_half_of_what_the_gradient_flow_loses_by_shrinking_the_weight(temperature):
    model, step = smooth(), 1e-4
    found = scores_of(GraSP(temperature, "eval"), model)
    scale = max(float(scores.abs().max()) for scores in found.values())
    for name, i in places(model):
        up, down = (flow_of(scaled(model, name, i, 1 + sign * step), temperature) for sign in (1, -1))
        # shrinking by the share s changes the flow by -2 s * score; central differences leave 1e-7 or so
        assert float(found[name].view(-1)[i]) == pytest.approx((up - down) / (4 * step), abs=1e-6 * scale)


def test_grasp_is_the_hessian_of_all_samples_times_their_gradient():
    """Against the whole Hessian, from one batch; the scores are of two uneven ones."""
    model = smooth()
    weights = weights_of(model)

    def loss(*given):
        return cross_entropy(torch.func.functional_call(model, dict(zip(weights, given, strict=True)), X), Y)

    flat = [weight.detach() for weight in weights.values()]
    blocks = torch.autograd.functional.hessian(loss, tuple(flat))
    gradients = torch.autograd.grad(cross_entropy(model(X), Y), list(weights.values()))
    found = scores_of(GraSP(1.0), model)
    for row, (name, weight) in zip(blocks, weights.items(), strict=True):
        product = sum(torch.tensordot(block, g, 2) for block, g in zip(row, gradients, strict=True))
        torch.testing.assert_close(found[name], (weight * product).detach(), rtol=1e-10, atol=1e-15)


def test_the_weights_that_carry_the_gradient_stay():
    """Without the lowest scores the gradient flow is larger than without the highest: the sign is right."""
    model = smooth(hidden=16)
    lowest, highest = copy.deepcopy(model), copy.deepcopy(model)
    scores = scores_of(GraSP(1.0), model)
    bb.live.apply_mask(lowest, bb.select(Scores.of(scores), 140))
    bb.live.apply_mask(highest, bb.select(Scores.of({name: -score for name, score in scores.items()}), 140))
    assert flow_of(lowest) > flow_of(model) > flow_of(highest)


def test_grasp_where_the_loss_is_linear_in_the_weights():
    scores = scores_of(GraSP(1.0), nn.Linear(8, 3).double(), loss=lambda out, y: out.mean())
    assert not scores["weight"].any()


def test_grasp_in_one_line():
    model = residual_cnn()
    batches = [(images(8, 3, 8, 8).float(), torch.arange(8) % 3)]
    before = copy.deepcopy(model.state_dict())
    mask = bb.prune(model, sparsity=0.8, criterion=GraSP(), batches=batches, loss=cross_entropy)
    assert mask.kept == round(0.2 * mask.total)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name] * mask[name] if name in mask else before[name])
    generator = (batch for batch in batches)
    with pytest.raises(InvalidValue, match="these probes read them 2 times"):
        bb.prune(residual_cnn(), sparsity=0.8, criterion=GraSP(), batches=generator, loss=cross_entropy)
    assert len(list(generator)) == 1, "nothing was taken from it"


def test_grasp_in_inference_mode_is_grasp():
    model = smooth()
    expected = scores_of(GraSP(1.0), model)
    with torch.inference_mode():
        found = scores_of(GraSP(1.0), model)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


class Doubling(torch.autograd.Function):
    """A kernel of somebody's own."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


class DoublingOnce(Doubling):
    """The same, with one derivative only."""

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return gradient * 2


class Failing(Doubling):
    """Its derivative cannot be computed."""

    @staticmethod
    def backward(ctx, gradient):
        raise ZeroDivisionError("no way back")


class Through(nn.Module):
    """Something happens between two layers."""

    def __init__(self, middle):
        super().__init__()
        self.first, self.second, self.middle = nn.Linear(8, 6), nn.Linear(6, 3), middle
        self.double()

    def forward(self, x):
        return self.second(torch.relu(self.middle(self.first(x))))


def test_grasp_refuses_kernels_that_can_be_differentiated_once_only():
    """Autograd leaves out what leads through them, without a word."""
    model = Through(Doubling.apply)
    plain = Through(lambda x: 2 * x)
    plain.load_state_dict(model.state_dict())
    found, expected = (scores_of(GraSP(), network) for network in (model, plain))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])
    with pytest.raises(InvalidValue, match=r"marked once_differentiable\n.*would be 0\nlet its backward be made of"):
        scores_of(GraSP(), Through(DoublingOnce.apply))
    scores_of(Snip(), Through(DoublingOnce.apply))


@pytest.mark.parametrize(
    ("middle", "words"),
    [
        (Failing.apply, r"raised ZeroDivisionError: no way back \(.*test_at_initialization\.py, line \d+\)\n.*\nmend"),
        (lambda x: x.sigmoid().mul_(2).exp().add_(1), r"raised RuntimeError: one of the variables .* inplace"),
        (lambda x: checkpoint(torch.tanh, x, use_reentrant=True), "use_reentrant=True\n"),
    ],
    ids=["failing", "in place", "checkpoint"],
)
@pytest.mark.parametrize("criterion", [Taylor(), Snip(mode="train"), GraSP()], ids=["Taylor", "Snip", "GraSP"])
def test_what_autograd_raises_is_said_in_words(criterion, middle, words):
    model = Through(middle)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InvalidValue, match=words):
        bb.prune(model, sparsity=0.5, criterion=criterion, batches=BATCHES, loss=cross_entropy)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
