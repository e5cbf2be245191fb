import copy
import weakref

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

import budbreak as bb
from budbreak.errors import EmptyBatches, InvalidValue, MissingEvidence, NotFinite, NothingToPrune
from budbreak.evidence import Gradients, StartWeights, UnitCounts, Weights
from budbreak.testing import mlp, residual_cnn, separable

X, Y = separable(23, noise=1.0)
UNEVEN = [(X[:10], Y[:10]), (X[10:11], Y[10:11]), (X[11:], Y[11:])]


def gradients(model, batches, loss=cross_entropy, **options):
    return bb.probe(model, [Gradients()], batches=batches, loss=loss, **options)[Gradients()]


def of_the_mean_loss(model, x, y, loss=cross_entropy):
    """Autograd of the mean loss over the whole set in float64."""
    twin = copy.deepcopy(model).double().eval()
    parameters = {n: p for n, p in twin.named_parameters() if p.dim() >= 2}
    found = torch.autograd.grad(loss(twin(x), y), list(parameters.values()), allow_unused=True)
    return dict(zip(parameters, found, strict=True))


def test_gradients_are_those_of_the_mean_loss_over_all_samples():
    model = mlp().double()
    expected = of_the_mean_loss(model, X.double(), Y)
    found = gradients(model, [(x.double(), y) for x, y in UNEVEN])
    assert list(found) == list(expected) == ["0.weight", "2.weight", "4.weight"]
    for name in expected:
        # tolerance: float64 sums in another order
        torch.testing.assert_close(found[name], expected[name], rtol=1e-12, atol=1e-15)


def test_the_mean_of_batch_means_would_be_another_number():
    """The control: with uneven batches an unweighted mean is off by far more than the tolerance above."""
    model = mlp().double()
    expected = of_the_mean_loss(model, X.double(), Y)["0.weight"]
    parts = [of_the_mean_loss(model, x.double(), y)["0.weight"] for x, y in UNEVEN]
    assert (sum(parts) / 3 - expected).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_of_narrow_weights_are_summed_in_float32(dtype):
    model = mlp().to(dtype)
    found = gradients(model, [(x.to(dtype), y) for x, y in UNEVEN])
    expected = of_the_mean_loss(model, X.to(dtype).double(), Y)
    for name in expected:
        assert found[name].dtype == torch.float32
        rough = 1e-5 if dtype == torch.float32 else 0.05  # bf16 has 8 bits; each batch's backward rounds to them
        torch.testing.assert_close(found[name].double(), expected[name], rtol=rough, atol=rough / 10)


def test_gradients_are_taken_in_eval_mode():
    model = residual_cnn().train()
    x, y = torch.randn(6, 3, 5, 5), torch.arange(6) % 3
    for norm in (model.norm, model.norm1, model.norm2):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    found = gradients(model, [(x, y)])
    expected = of_the_mean_loss(model, x.double(), y)
    torch.testing.assert_close(found["conv1.weight"].double(), expected["conv1.weight"], rtol=1e-4, atol=1e-6)
    assert model.training


def test_frozen_parameters_have_gradients_and_stay_frozen():
    model = mlp()
    expected = gradients(model, UNEVEN)
    model[0].weight.requires_grad_(False)
    model[2].requires_grad_(False)
    found = gradients(model, UNEVEN)
    for name in expected:
        assert torch.equal(found[name], expected[name])
    assert [p.requires_grad for p in model.parameters()] == [False, True, False, False, True, True]


class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        return self.used(x)


class Checkpointed(nn.Module):
    def __init__(self, *, use_reentrant):
        super().__init__()
        self.net, self.use_reentrant = mlp(), use_reentrant

    def forward(self, x):
        return checkpoint(self.net, x.requires_grad_(), use_reentrant=self.use_reentrant)


def test_a_checkpoint_that_hides_its_weights_is_refused():
    with pytest.raises(InvalidValue, match="use_reentrant=True"):
        gradients(Checkpointed(use_reentrant=True), [(X.clone(), Y)])
    model = Checkpointed(use_reentrant=False)
    found, plain = gradients(model, [(X.clone(), Y)]), gradients(model.net, [(X, Y)])
    for name, gradient in plain.items():
        torch.testing.assert_close(found[f"net.{name}"], gradient)


def test_unused_parameters_have_no_gradients():
    found = gradients(Half(), UNEVEN)
    assert list(found) == ["used.weight"]
    assert found["used.weight"].any()


def test_gradients_work_under_no_grad():
    model = mlp()
    expected = gradients(model, UNEVEN)
    with torch.no_grad():
        found = gradients(model, UNEVEN)
    assert all(torch.equal(found[n], expected[n]) for n in expected)


def test_grad_modes_and_generators_are_untouched():
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 3))
    model[2].eval()
    model[0].weight.grad = torch.full((8, 8), 3.0)
    modes = [m.training for m in model.modules()]
    state = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    gradients(model, DataLoader(TensorDataset(X, Y), batch_size=5, shuffle=True))
    assert torch.equal(model[0].weight.grad, torch.full((8, 8), 3.0))
    assert all(p.grad is None for n, p in model.named_parameters() if n != "0.weight")
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())


class Keyworded(nn.Sequential):
    def forward(self, input, labels=None):
        return super().forward(input)


def test_a_forward_of_ones_own_and_mappings():
    model = Keyworded(*mlp())
    expected = gradients(model, UNEVEN)
    mappings = [{"input": x, "labels": y} for x, y in UNEVEN]
    found = gradients(model, mappings, loss=lambda out, batch: cross_entropy(out, batch["labels"]))
    assert all(torch.equal(found[n], expected[n]) for n in expected)
    triples = [(torch.zeros(len(x)), y, x) for x, y in UNEVEN]
    found = gradients(model, triples, forward=lambda m, batch: m(batch[2]))
    assert all(torch.equal(found[n], expected[n]) for n in expected)


def test_every_skips_batches_of_gradients_too():
    model = mlp()
    found, expected = gradients(model, UNEVEN, every=2), gradients(model, [UNEVEN[0], UNEVEN[2]])
    assert all(torch.equal(found[n], expected[n]) for n in expected)


def test_several_probes_share_one_pass():
    passes = []
    model = mlp()
    model.register_forward_hook(lambda *_: passes.append(1))
    evidence = bb.probe(
        model, [Gradients(), UnitCounts(), UnitCounts(0.0), UnitCounts(0.5)], batches=UNEVEN, loss=cross_entropy
    )
    assert len(passes) == 3
    assert len(list(evidence)) == 3
    assert evidence[UnitCounts()]["1"].samples == 23
    assert not torch.equal(evidence[UnitCounts()]["1"].active, evidence[UnitCounts(0.5)]["1"].active)


def test_weights_are_the_live_ones_and_need_no_batches():
    model = mlp()
    weights = bb.probe(model, [Weights()])[Weights()]
    assert list(weights) == ["0.weight", "2.weight", "4.weight"]
    assert weights["0.weight"].data_ptr() == model[0].weight.data_ptr()
    assert not weights["0.weight"].requires_grad


def test_start_weights_are_those_given():
    start = {"0.weight": torch.ones(1)}
    assert bb.probe(mlp(), [StartWeights()], start=start)[StartWeights()] is start
    with pytest.raises(MissingEvidence, match="start of the level are not known") as caught:
        bb.probe(mlp(), [StartWeights()])
    assert "bb.iterate" in str(caught.value)


def test_missing_batches_and_loss_are_said():
    with pytest.raises(MissingEvidence, match="no batches were given"):
        bb.probe(mlp(), [Gradients()], loss=cross_entropy)
    with pytest.raises(MissingEvidence, match="no batches were given"):
        bb.probe(mlp(), [UnitCounts()])
    with pytest.raises(MissingEvidence, match="gradients are wanted, but no loss"):
        bb.probe(mlp(), [Gradients()], batches=UNEVEN)


def test_an_empty_loader_is_refused():
    empty = DataLoader(TensorDataset(X, Y), batch_size=64, drop_last=True)
    with pytest.raises(EmptyBatches, match="yielded nothing"):
        gradients(mlp(), empty)


def test_a_batch_without_targets_is_refused():
    with pytest.raises(InvalidValue, match=r"batch of 1 item") as caught:
        gradients(mlp(), [(X,)])
    assert "(inputs, targets)" in str(caught.value)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_its_batch(poison):
    bad = X[11:].clone()
    bad[3, 2] = poison
    model = mlp()
    with pytest.raises(NotFinite, match=r"loss of batch 2 is (nan|inf)"):
        gradients(model, [*UNEVEN[:2], (bad, Y[11:])])
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda out, y: cross_entropy(out, y, reduction="none"), r"a tensor of shape \(10,\), with a graph"),
        (lambda out, y: cross_entropy(out, y).detach(), r"a tensor of shape \(\), without a graph"),
        (lambda out, y: cross_entropy(out, y).item(), "the loss is float"),
    ],
)
def test_a_loss_without_gradient_is_refused(loss, words):
    with pytest.raises(InvalidValue, match=words):
        gradients(mlp(), UNEVEN, loss=loss)


def test_a_model_without_prunable_weights_is_refused():
    with pytest.raises(NothingToPrune, match="no prunable weight by the rule conv_and_linear"):
        bb.probe(nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()), [Weights()])


def test_frozen_flags_return_even_when_the_loss_raises():
    model = mlp()
    model[0].weight.requires_grad_(False)

    def loss(out, y):
        raise RuntimeError("mine")

    with pytest.raises(InvalidValue, match="mine"):
        gradients(model.train(), UNEVEN, loss=loss)
    assert not model[0].weight.requires_grad
    assert model.training


def test_outputs_of_the_first_pass_are_let_go_at_once():
    """Kept until the end they would cost the memory of a training step, and a third of the time of a short probe."""
    outputs = []
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    model[0].register_forward_hook(lambda module, inputs, output: outputs.append(weakref.ref(output)))
    model[4].register_forward_hook(lambda module, inputs, output: outputs.append(outputs[0]() is None))
    bb.dead_neurons(model, [X])
    assert outputs[1] is True
