"""What a probe may look at: inputs, losses, the model itself; in which mode, and after which other probes."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import budbreak as bb
from budbreak.errors import EmptyBatches, InvalidValue, MissingEvidence, UnknownName
from budbreak.evidence import Gradients, check_inputs
from budbreak.testing import mlp, residual_cnn, separable

X, Y = separable(23, noise=1.0)
BATCHES = [(X[:10], Y[:10]), (X[10:], Y[10:])]


@dataclass(frozen=True)
class Look:
    """A probe that calls ``register(context, seen)``; its result is the list ``seen``."""

    name: str
    register: Callable = field(compare=False, default=lambda context, seen: context.on_input(lambda *_: None))
    mode: str = "eval"
    temperature: float = 1.0
    after: tuple = ()

    def start(self, context):
        seen = []
        self.register(context, seen)
        return lambda: seen


def looking(probe, model, batches=BATCHES, loss=cross_entropy, **options):
    return bb.probe(model, [probe], batches=batches, loss=loss, **options)[probe]


# --- inputs ------------------------------------------------------------------------------------------------


class Reused(nn.Module):
    """A layer called twice, one tied to it, one by keyword, one never."""

    def __init__(self):
        super().__init__()
        self.first, self.twin, self.never = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.last = nn.Linear(8, 3)
        self.twin.weight = self.first.weight

    def forward(self, x):
        return self.last(input=self.twin(self.first(self.first(x))))


def test_inputs_are_heard_at_each_call_of_a_layer():
    def register(context, seen):
        context.on_input(lambda name, layer, given: seen.append((name, layer, given.clone(), given.requires_grad)))

    model = Reused()
    seen = looking(Look("inputs", register), model, [(X, Y)])
    assert [name for name, *_ in seen] == ["first.weight", "first.weight", "first.weight", "last.weight"]
    assert [layer for _, layer, *_ in seen] == [model.first, model.first, model.twin, model.last]
    assert torch.equal(seen[0][2], X)
    torch.testing.assert_close(seen[1][2], model.first(X).detach())
    assert not any(requires_grad for *_, requires_grad in seen)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_inputs_are_heard_in_a_compiled_layer():
    model = mlp()
    model[0].compile(backend="eager")
    seen = looking(Look("inputs", lambda context, seen: context.on_input(lambda *call: seen.append(call[0]))), model)
    assert seen == ["0.weight", "2.weight", "4.weight"] * 2


class Clamped(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.relu, self.last = nn.Linear(8, 6), nn.ReLU(inplace=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(torch.relu_(self.relu(self.fc(x)) - 0.1))


def test_what_enters_a_nonlinearity_is_heard_before_it_is_overwritten():
    def register(context, seen):
        context.on_preactivation(lambda site, given: seen.append((site.order, given.clone())))
        context.on_activation(lambda site, output: seen.append(output.clone()))

    model = Clamped()
    for batches in ([X], [X[:10], X[10:]]):  # the first pass is recorded, later ones are listened to
        seen = looking(Look("entering", register), model, batches, loss=None)
        hidden = model.fc(X).detach()
        entering = [hidden, hidden.relu() - 0.1]
        assert [item[0] for item in seen[::2]] == [0, 1] * len(batches)
        for site in range(2):
            found = torch.cat([given for _, given in seen[2 * site :: 4]])
            torch.testing.assert_close(found, entering[site])
            torch.testing.assert_close(torch.cat(seen[2 * site + 1 :: 4]), entering[site].relu())


# --- losses ------------------------------------------------------------------------------------------------


def test_a_loss_can_be_differentiated_twice_beside_gradients():
    def register(context, seen):
        def listen(value, parameters, weight):
            first = torch.autograd.grad(value, list(parameters.values()), create_graph=True)
            norm = sum((gradient**2).sum() for gradient in first)
            seen.append((weight, torch.autograd.grad(norm, list(parameters.values()), retain_graph=True)))

        context.on_loss(listen)
        context.on_loss(listen)  # the graph is still there

    model = mlp().double()
    model[2].weight.requires_grad_(False)
    batches = [(x.double(), y) for x, y in BATCHES]
    probe = Look("twice", register)
    evidence = bb.probe(model, [Gradients(), probe], batches=batches, loss=cross_entropy)
    assert [weight for weight, _ in evidence[probe]] == [10, 10, 13, 13]
    for (x, y), (_, second) in zip(batches, evidence[probe][::2], strict=True):
        step, w = 1e-6, model[4].weight
        # the derivative of the squared norm by one weight, by central differences; float64 leaves 1e-10 of error
        norms = []
        for sign in (1, -1):
            with torch.no_grad():
                w[1, 2] += sign * step
            found = bb.probe(model, [Gradients()], batches=[(x, y)], loss=cross_entropy)[Gradients()]
            norms.append(sum((gradient**2).sum() for gradient in found.values()))
            with torch.no_grad():
                w[1, 2] -= sign * step
        torch.testing.assert_close(second[2][1, 2], (norms[0] - norms[1]) / (2 * step), rtol=1e-5, atol=1e-9)
    assert not model[2].weight.requires_grad


def test_attention_can_be_differentiated_twice():
    def register(context, seen):
        def listen(value, parameters, weight):
            first = torch.autograd.grad(value, list(parameters.values()), create_graph=True, allow_unused=True)
            norm = sum((gradient**2).sum() for gradient in first if gradient is not None)
            seen.append(torch.autograd.grad(norm, list(parameters.values()), retain_graph=True, allow_unused=True))

        context.on_loss(listen)

    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    batches = [(torch.randn(2, 5, 8), torch.randn(2, 5, 8))]
    (second,) = looking(Look("twice", register), layer, batches, mse_loss)
    assert all(bool(torch.isfinite(derivative).all()) for derivative in second if derivative is not None)


def test_a_temperature_divides_the_outputs_before_the_loss():
    model = mlp().double()
    batches = [(x.double(), y) for x, y in BATCHES]
    cold, warm = Gradients(), Gradients(temperature=5.0)
    evidence = bb.probe(model, [cold, warm], batches=batches, loss=cross_entropy)
    by_hand = bb.probe(model, [cold], batches=batches, loss=lambda out, y: cross_entropy(out / 5, y))[cold]
    for name, expected in by_hand.items():
        torch.testing.assert_close(evidence[warm][name], expected, rtol=1e-12, atol=1e-15)
        assert not torch.allclose(evidence[cold][name], expected)


class InDict(nn.Linear):
    def forward(self, x):
        return {"logits": super().forward(x)}


def test_outputs_that_cannot_be_divided_are_refused():
    with pytest.raises(InvalidValue, match="the model gives a dict\noutputs are divided by the temperature 5"):
        looking(Gradients(temperature=5.0), InDict(8, 3), loss=lambda out, y: cross_entropy(out["logits"], y))


# --- the model itself --------------------------------------------------------------------------------------


def spoil(model, *_):
    """Change whatever a model has."""
    model.double().train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_().add_(1)
            parameter.requires_grad_(False)
            parameter.grad = torch.ones_like(parameter)
        for buffer in model.buffers():
            buffer.add_(1)
    model.fc.weight = nn.Parameter(torch.zeros(3, 4))
    torch.rand(1)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("how", ["on_model", "on_example"])
def test_whatever_is_done_to_the_model_is_undone(how, fails):
    def change(*given):
        spoil(*given)
        if fails:
            raise RuntimeError("mine")

    model = residual_cnn().train()
    model.norm.eval()
    model.fc.weight.grad = torch.full((3, 4), 2.0)
    model.stem.weight.requires_grad_(False)
    parameters, memory = list(model.parameters()), [parameter.data_ptr() for parameter in model.parameters()]
    state, drawn = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    probe = Look("spoil", lambda context, seen: getattr(context, how)(change))
    batches = [(torch.randn(2, 3, 8, 8), torch.zeros(2, dtype=torch.long))]
    drawn = torch.get_rng_state()
    if fails:
        with pytest.raises(RuntimeError, match="mine"):
            looking(probe, model, batches)
    else:
        looking(probe, model, batches)
    for mine, before in zip(model.parameters(), parameters, strict=True):
        assert mine is before
    assert [parameter.data_ptr() for parameter in model.parameters()] == memory
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == state[name].dtype
        assert torch.equal(tensor, state[name]), name
    assert (model.training, model.norm.training) == (True, False)
    assert [parameter.requires_grad for parameter in model.parameters()].count(False) == 1
    assert model.fc.weight.grad.tolist() == [[2.0] * 4] * 3
    assert model.conv1.weight.grad is None
    assert torch.equal(torch.get_rng_state(), drawn)


def test_the_model_needs_no_batches_and_an_example_needs_one():
    probe = Look("model", lambda context, seen: context.on_model(lambda model: seen.append(model.training)))
    assert bb.probe(mlp(), [probe])[probe] == [False]

    def register(context, seen):
        context.on_example(lambda model, batch, forward: seen.append((batch, forward(model, batch))))

    probe = Look("example", register)
    model = mlp()
    ((batch, outputs),) = looking(probe, model, iter(BATCHES), loss=None, forward=lambda m, b: m(b[0]) + 1)
    assert batch[0] is X[:10] or torch.equal(batch[0], X[:10])
    assert torch.equal(outputs, model(X[:10]) + 1)
    with pytest.raises(MissingEvidence, match="no batches were given, and Look looks at them"):
        bb.probe(mlp(), [probe])
    with pytest.raises(EmptyBatches, match="yielded nothing"):
        looking(probe, mlp(), [])


# --- modes, order, passes ----------------------------------------------------------------------------------


def test_a_probe_names_its_mode_and_buffers_return():
    def register(context, seen):
        context.on_gradients(lambda gradients, weight: seen.append(gradients["conv1.weight"].double().norm().item()))

    model, before = residual_cnn(), copy.deepcopy(residual_cnn().state_dict())
    batches = [(3 + torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]))]
    probes = [Look("eval", register), Look("train", register, mode="train")]
    evidence = bb.probe(model, probes, batches=batches, loss=cross_entropy)
    assert evidence[probes[0]] != evidence[probes[1]]  # running statistics are not those of the batch
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    model.train()
    twin = copy.deepcopy(model)
    cross_entropy(twin(batches[0][0]), batches[0][1]).backward()
    assert evidence[probes[1]] == [pytest.approx(twin.conv1.weight.grad.double().norm().item(), rel=1e-5)]


def passes_of(probes):
    """In which mode the model ran in each pass."""
    model, modes = mlp(), []
    model.register_forward_hook(lambda module, *_: modes.append("train" if module.training else "eval"))
    evidence = bb.probe(model, probes, batches=[(X, Y)], loss=cross_entropy)
    assert list(evidence) == probes
    return modes


def test_as_few_passes_as_there_can_be():
    a, b, c = Look("a"), Look("b"), Look("c", mode="train")
    assert passes_of([a, b]) == ["eval"]
    assert passes_of([a, c, b]) in (["eval", "train"], ["train", "eval"])
    later = Look("d", after=(c,))  # training first: a may wait for it
    assert passes_of([a, c, later]) == ["train", "eval"]
    assert passes_of([later]) == ["train", "eval"]  # what comes before need not be asked for
    assert passes_of([Look("e", after=(a, b)), a]) == ["eval", "eval"]
    quiet = Look("quiet", lambda context, seen: context.on_model(lambda model: None), after=(a,))
    assert passes_of([Look("f", after=(quiet,)), quiet]) == ["eval", "eval"]


def test_what_came_before_is_handed_over():
    def register(context, seen):
        context.on_input(lambda *_: seen.append(context.evidence[Gradients()]))

    probe = Look("later", register, after=(Gradients(),))
    model = mlp()
    first = bb.probe(model, [Gradients()], batches=BATCHES, loss=cross_entropy)[Gradients()]
    handed = looking(probe, model)
    assert all(torch.equal(gradients["0.weight"], first["0.weight"]) for gradients in handed)
    nothing = Look("nothing", lambda context, seen: context.on_input(lambda *_: context.evidence[Gradients()]))
    with pytest.raises(MissingEvidence, match="no evidence of Gradients"):
        looking(nothing, model)


@dataclass(frozen=True)
class Circular:
    @property
    def after(self):
        return (Circular(),)

    def start(self, context):
        return lambda: None


def test_a_circle_is_refused():
    with pytest.raises(InvalidValue, match=r"Circular\(\) must come before itself"):
        bb.probe(mlp(), [Circular()])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"mode": "training"}, UnknownName, "did you mean 'train'"),
        ({"temperature": 0.0}, InvalidValue, "must be a finite number > 0"),
    ],
)
def test_conditions_are_known_ones(options, error, words):
    with pytest.raises(error, match=words):
        looking(Look("odd", **options), mlp())
    with pytest.raises(error, match=words):
        Gradients(**options)


def test_an_iterator_is_refused_at_once_where_it_is_read_twice():
    calls = []
    model = mlp()
    model.register_forward_hook(lambda *_: calls.append(1))
    probes = [Look("a"), Look("b", mode="train")]
    with pytest.raises(InvalidValue, match="these probes read them 2 times, and an iterator is used up") as caught:
        bb.probe(model, probes, batches=(batch for batch in BATCHES))
    assert "list(batches)" in str(caught.value)
    assert calls == []
    assert len(looking(Look("a"), model, iter(BATCHES))) == 0
    assert calls == [1, 1]


def test_inputs_are_checked_under_each_condition():
    probes = [Gradients(), Gradients(temperature=2.0)]
    with pytest.raises(InvalidValue, match="the model gives a dict"):
        check_inputs(InDict(8, 3), probes, batches=BATCHES, loss=lambda out, y: cross_entropy(out["logits"], y))


def test_what_looks_at_the_first_batch_alone_reads_it_once():
    read = []
    batches = (read.append(index) or batch for index, batch in enumerate(BATCHES))
    bb.probe(mlp(), [bb.evidence.Graph(), bb.evidence.Wiring(), bb.evidence.SynapticFlow()], batches=batches)
    assert read == [0]


def test_a_probe_of_the_first_batch_and_of_all_reads_them_twice():
    def both(context, seen):
        context.on_example(lambda *_: seen.append("first"))
        context.on_input(lambda *_: seen.append("any"))

    with pytest.raises(InvalidValue, match="these probes read them 2 times"):
        bb.probe(mlp(), [Look("both", both)], batches=iter(BATCHES))
