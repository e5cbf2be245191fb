"""What is watched while a loop trains: each count and sum against plain Python, and nothing counted twice."""

import copy
import pickle
from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

import budbreak as bb
from budbreak.errors import InvalidValue, MissingEvidence, UnknownName
from budbreak.evidence import ActivationCounts, MovementSums, Watch
from budbreak.evidence.activation_counts import count_units
from budbreak.masks import prunable_parameters
from budbreak.processes import Processes
from budbreak.testing import mlp, residual_cnn


class Loop:
    """A loop of a user's own around a model that is watched."""

    def __init__(self, model, *observers, optimizer=None, **options):
        self.model, self.on = model, True
        self.optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
        self.watch = Watch(model, prunable_parameters(model), observers, is_on=lambda: self.on)
        self.generator = torch.Generator().manual_seed(0)

    def __enter__(self):
        self.watch.__enter__()
        self.watch.begin()
        self.hook = self.optimizer.register_step_pre_hook(
            lambda optimizer, args, kwargs: self.watch.step(optimizer, has_closure=len(args) > 1)
        )
        return self

    def __exit__(self, *error):
        self.watch.__exit__()
        self.hook.remove()

    def batch(self, samples=6):
        dtype = next(self.model.parameters()).dtype
        x = torch.randn(samples, 8, generator=self.generator, dtype=dtype)
        return x, torch.randint(3, (samples,), generator=self.generator)

    def loss(self):
        x, y = self.batch()
        return cross_entropy(self.model(x), y)

    def result(self, observer):
        return self.watch.result(observer, Processes())


def weights(model):
    return {name: p for name, p in model.named_parameters() if p.dim() > 1}


# --- movement ---------------------------------------------------------------------------------------------------


def by_hand(model, sums):
    """-w * g of each weight, added up in plain Python."""
    for name, weight in weights(model).items():
        for i, (w, g) in enumerate(zip(weight.flatten().tolist(), weight.grad.flatten().tolist(), strict=True)):
            sums[name, i] -= w * g


def check_sums(result, sums, **tolerance):
    for name, tensor in result.items():
        for i, total in enumerate(tensor.flatten().tolist()):
            assert total == pytest.approx(sums[name, i], **(tolerance or {"rel": 1e-12, "abs": 1e-15}))


@pytest.mark.parametrize("accumulated", [1, 3])
def test_movement_is_minus_the_sum_of_weight_times_gradient(accumulated):
    """In float64; of gradients that are accumulated over several passes, their sum is what a step is taken by."""
    model, sums = mlp().double(), Counter()
    with Loop(model, MovementSums()) as loop:
        for _ in range(5):
            loop.optimizer.zero_grad()
            for _ in range(accumulated):
                loop.loss().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            by_hand(model, sums)
            loop.optimizer.step()
        result = loop.result(MovementSums())
    assert list(result) == list(weights(model))
    check_sums(result, sums)


def test_every_so_many_th_step_is_an_estimate():
    model, sums = mlp().double(), Counter()
    with Loop(model, MovementSums(every=3)) as loop:
        for step in range(8):
            loop.optimizer.zero_grad()
            loop.loss().backward()
            if step in (0, 3, 6):
                by_hand(model, sums)
            loop.optimizer.step()
        check_sums(loop.result(MovementSums(every=3)), sums)


def scaled(optimizer, spoilt=()):
    """Sums over ten steps under a GradScaler, and those of the same steps by hand; ``spoilt`` ones are infinite."""
    model, sums = mlp(), Counter()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with Loop(model, MovementSums(), optimizer=optimizer(model)) as loop:
        for step in range(10):
            loop.optimizer.zero_grad()
            loss = loop.loss()
            plain = torch.autograd.grad(loss, list(weights(model).values()), retain_graph=True)
            scaler.scale(loss).backward()
            if step in spoilt:
                model[0].weight.grad[0, 0] = torch.inf
            else:
                for (name, weight), gradient in zip(weights(model).items(), plain, strict=True):
                    for i, product in enumerate((weight * gradient).flatten().tolist()):
                        sums[name, i] -= product
            scaler.step(loop.optimizer)
            scaler.update()
        return loop.result(MovementSums()), sums


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("spoilt", [(), (0, 4)])
def test_the_factor_of_a_scaler_is_taken_out_and_a_skipped_step_is_none(fused, spoilt):
    result, sums = scaled(lambda model: torch.optim.Adam(model.parameters(), lr=0.01, fused=fused), spoilt)
    check_sums(result, sums, rel=1e-4, abs=1e-7)  # float32, summed in another order


def test_narrow_weights_are_added_up_in_float32():
    model = mlp().bfloat16()
    with Loop(model, MovementSums()) as loop:
        for _ in range(3):
            loop.optimizer.zero_grad()
            loop.loss().backward()
            loop.optimizer.step()
        assert {tensor.dtype for tensor in loop.result(MovementSums()).values()} == {torch.float32}


def test_what_has_no_gradient_in_any_step_is_left_out():
    model = mlp()
    model[0].weight.requires_grad_(False)
    with Loop(model, MovementSums()) as loop:
        loop.optimizer.step()  # no gradient at all
        loop.loss().backward()
        loop.optimizer.step()
        result = loop.result(MovementSums())
    assert list(result) == ["2.weight", "4.weight"]
    assert result["2.weight"].any()


def test_a_step_that_makes_its_gradients_itself_is_refused():
    model = mlp()
    with Loop(model, MovementSums(), optimizer=torch.optim.LBFGS(model.parameters())) as loop:

        def closure():
            loop.optimizer.zero_grad()
            loss = loop.loss()
            loss.backward()
            return loss

        with pytest.raises(InvalidValue, match=r"a step of LBFGS with a closure, watched by MovementSums"):
            loop.optimizer.step(closure)


# --- activation counts ------------------------------------------------------------------------------------------


def active_by_hand(outputs, threshold=0.0):
    """Unit -> in how many rows of outputs it is active."""
    return [sum(abs(row[unit]) > threshold for row in outputs) for unit in range(len(outputs[0]))]


def hidden_of(model, x):
    """The outputs of both hidden layers of `mlp`, as lists."""
    with torch.no_grad():
        first = model[1](model[0](x))
        return first.tolist(), model[3](model[2](first)).tolist()


@pytest.mark.parametrize(("every", "looked"), [(1, range(7)), (3, (0, 3, 6)), (100, (0,))])
@pytest.mark.parametrize("threshold", [0.0, 0.4])
def test_counts_are_those_of_the_passes_that_train(every, looked, threshold):
    model, observer = mlp(), ActivationCounts(threshold=threshold, every=every)
    first, second = [], []
    with Loop(model, observer) as loop:
        for step in range(7):
            x, y = loop.batch(samples=5 + step)
            if step in looked:
                one, two = hidden_of(model, x)
                first, second = first + one, second + two
            model.eval()
            model(x)  # a validation
            model.train()
            loop.optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            loop.optimizer.step()
        loop.on = False
        model(x)  # between two trainings
        result = loop.result(observer)
    assert list(result) == ["0.weight", "2.weight"]  # the last layer feeds no nonlinearity
    for counts, outputs in zip(result.values(), (first, second), strict=True):
        assert counts.active.shape == (16, 1)
        assert counts.active.flatten().tolist() == active_by_hand(outputs, threshold)
        assert counts.seen == len(outputs)
        assert counts.frequency.flatten().tolist() == [active / counts.seen for active in counts.active.flatten()]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_positions_of_channels_count_and_units_behind_a_sum_are_left_out(memory_format):
    model = residual_cnn().to(memory_format=memory_format)
    seen = {}
    for name in ("relu", "relu1"):
        model.get_submodule(name).register_forward_hook(lambda _, x, out, name=name: seen.update({name: out.tolist()}))
    with Loop(model, ActivationCounts()) as loop:
        model(torch.randn(3, 3, 5, 4).to(memory_format=memory_format))
        result = loop.result(ActivationCounts())
    assert list(result) == ["stem.weight", "conv1.weight"]  # conv2 enters a residual sum
    for counts, output in zip(result.values(), seen.values(), strict=True):
        expected = [sum(value != 0 for image in output for row in image[unit] for value in row) for unit in range(4)]
        assert counts.active.shape == (4, 1, 1, 1)
        assert counts.active.flatten().tolist() == expected
        assert counts.seen == 3 * 5 * 4


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((5, 7), (-1,)), ((2, 3, 7), (-1,)), ((4, 6, 3, 2), (-3,)), ((6, 3, 2), (-3,)), ((5,), ()),
        ((2, 3, 5, 4), (-3, -1)), ((2, 6, 8), (-2,)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_units_are_counted_wherever_they_lie(shape, dims, dtype):
    output = torch.randn(shape, generator=torch.Generator().manual_seed(1)).relu().to(dtype)
    units, seen = count_units(output, dims, 0.5)
    rest = [dim for dim in range(-len(shape), 0) if dim not in dims]
    expected = (output.double().abs() > 0.5).sum(rest).reshape(-1) if rest else (output.double().abs() > 0.5).long()
    assert units.tolist() == expected.reshape(-1).tolist()
    assert seen == output.numel() / units.numel()


def test_units_of_a_grouped_transposed_convolution_are_those_of_its_weight():
    torch.manual_seed(0)
    model = nn.Sequential(nn.ConvTranspose2d(4, 6, 2, groups=2, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(54, 3))
    with Loop(model, ActivationCounts()) as loop:
        x = torch.randn(5, 4, 2, 2)
        output = model[1](model[0](x))
        model(x)
        counts = loop.result(ActivationCounts())["0.weight"]
    active = (output != 0).sum((0, 2, 3)).tolist()
    assert counts.active.shape == model[0].weight.shape == (4, 3, 2, 2)
    for row in range(4):  # inputs 0 and 1 lead to units 0-2, inputs 2 and 3 to units 3-5
        for column in range(3):
            assert set(counts.active[row, column].flatten().tolist()) == {active[row // 2 * 3 + column]}


class Functional(nn.Module):
    """The same hidden layers, with activations that are no modules."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(layer for layer in mlp() if isinstance(layer, nn.Linear))

    def forward(self, x):
        first = nn.functional.relu(self.layers[0](x))
        return self.layers[2](self.layers[1](first).relu_())


def test_functions_are_heard_as_modules_are():
    plain, functional = mlp(), Functional()
    found = []
    for model in (plain, functional):
        with Loop(model, ActivationCounts()) as loop:
            for _ in range(3):
                loop.loss().backward()
            found.append([(c.active.tolist(), c.seen) for c in loop.result(ActivationCounts()).values()])
    assert found[0] == found[1]
    assert len(found[0]) == 2


class Checkpointed(nn.Module):
    """Computes its hidden layer again in the backward pass."""

    def __init__(self, *, reentrant):
        super().__init__()
        self.inner, self.last, self.reentrant = mlp()[:4], nn.Linear(16, 3), reentrant

    def forward(self, x):
        return self.last(checkpoint(self.inner, x, use_reentrant=self.reentrant))


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_is_computed_again_is_counted_once(reentrant):
    model = Checkpointed(reentrant=reentrant)
    with Loop(model, ActivationCounts()) as loop:
        for _ in range(3):
            x, y = loop.batch()
            cross_entropy(model(x.requires_grad_()), y).backward()
            loop.optimizer.step()
        assert {counts.seen for counts in loop.result(ActivationCounts()).values()} == {3 * 6}


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_of_the_whole_model_is_counted_once(reentrant):
    model = mlp()
    with Loop(model, ActivationCounts()) as loop:
        x, y = loop.batch()
        cross_entropy(checkpoint(model, x.requires_grad_(), use_reentrant=reentrant), y).backward()
        loop.optimizer.step()
        assert {counts.seen for counts in loop.result(ActivationCounts()).values()} == {6}


def test_transforms_of_torch_func_are_refused_in_words():
    model = mlp()
    with Loop(model, ActivationCounts()) as loop:
        x, _ = loop.batch()
        with pytest.raises(InvalidValue, match=r"is called within a transform of torch\.func"):
            torch.func.grad(lambda given: model(given).sum())(x)


@pytest.mark.parametrize("smooth", [nn.GELU, nn.Sigmoid])
def test_a_network_without_exact_zeros_needs_a_threshold(smooth):
    model = nn.Sequential(nn.Linear(8, 5), smooth(), nn.Linear(5, 3))
    with Loop(model, ActivationCounts(), ActivationCounts(threshold=0.5)) as loop:
        model(loop.batch()[0])
        with pytest.raises(InvalidValue, match=r"give no exact zeros\n.*\nwrite threshold=0.01"):
            model(loop.batch()[0])
        with pytest.raises(InvalidValue, match="give no exact zeros"):
            loop.result(ActivationCounts())
        assert loop.result(ActivationCounts(threshold=0.5))["0.weight"].seen == 6
    gated = nn.Sequential(nn.Linear(8, 5), smooth(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3))
    with Loop(gated, ActivationCounts()) as loop:
        for _ in range(2):
            gated(loop.batch()[0])
        assert loop.result(ActivationCounts())["0.weight"].frequency.min() == 1  # beside a ReLU, always active


def test_a_step_without_a_pass_that_trains_is_refused():
    model = mlp()
    with Loop(model, ActivationCounts()) as loop:
        model.eval()
        loop.loss().backward()
        with pytest.raises(InvalidValue, match=r"Sequential was not called in training mode before\n.*\ncall model"):
            loop.optimizer.step()


def test_a_model_that_a_validation_left_in_evaluation_is_refused():
    model = mlp()
    with Loop(model, ActivationCounts()) as loop:
        for _ in range(2):
            model.eval()
            loop.loss()  # a validation with gradients, or an attack, before a pass that trains
            model.train()
            loop.loss().backward()
            model.eval()
            loop.loss()
            loop.optimizer.step()
        loop.optimizer.step()  # of another optimizer, after the same pass
        loop.loss().backward()
        with pytest.raises(InvalidValue, match=r"Sequential was called in evaluation mode(.|\n)*call model.train"):
            loop.optimizer.step()


def test_a_wrapper_may_be_given_and_its_own_mode_does_not_matter():
    inner = mlp()
    model = nn.DataParallel(inner)  # on a CPU it calls the module itself
    with Loop(model, ActivationCounts()) as loop:
        inner.eval()
        assert model.training
        model(loop.batch()[0])
        inner.train()
        model(loop.batch()[0])
        inner(loop.batch()[0])
        assert {counts.seen for counts in loop.result(ActivationCounts()).values()} == {12}


@pytest.mark.parametrize("every", [1, 2, 3, 5])
def test_a_pass_through_a_wrapper_is_one_pass_where_some_are_left_out(every):
    seen = []
    for wrap in (lambda inner: inner, nn.DataParallel):
        model, observer = wrap(mlp()), ActivationCounts(every=every)
        with Loop(model, observer) as loop:
            for samples in range(1, 8):
                model(loop.batch(samples=samples)[0])
            seen.append(loop.result(observer)["0.weight"].seen)
    assert seen == [sum(range(1, 8, every))] * 2


def test_an_error_in_a_pass_leaves_nothing_on():
    model = mlp()
    with Loop(model, ActivationCounts()) as loop:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
                model(torch.randn(2, 5))
        model(loop.batch()[0])
        assert {counts.seen for counts in loop.result(ActivationCounts()).values()} == {6}
    assert torch.overrides._get_current_function_mode_stack() == []


def test_all_hooks_are_gone_in_the_end():
    model = mlp()
    before = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    with Loop(model, ActivationCounts(), MovementSums()) as loop:
        loop.loss().backward()
        loop.optimizer.step()
    assert [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()] == before
    pickle.dumps(model)
    with Loop(model, MovementSums()):
        pickle.dumps(model)  # who watches steps alone puts no hook on the model


def test_a_copy_of_the_model_is_not_watched():
    model = mlp()
    with Loop(model, ActivationCounts()) as loop:
        average = copy.deepcopy(model)
        model(loop.batch()[0])
        average(loop.batch()[0])
        assert {counts.seen for counts in loop.result(ActivationCounts()).values()} == {6}


@pytest.mark.slow
def test_a_compiled_model_is_watched_if_it_is_what_was_given():
    plain = mlp()
    model = torch.compile(plain, backend="eager")
    with Loop(model, ActivationCounts()) as loop:
        for _ in range(3):
            loop.loss().backward()
            loop.optimizer.step()
        assert {counts.seen for counts in loop.result(ActivationCounts()).values()} == {18}
    with Loop(plain, ActivationCounts()) as loop:
        cross_entropy(model(loop.batch()[0]), loop.batch()[1]).backward()
        with pytest.raises(InvalidValue, match="give iterate the compiled model"):
            loop.optimizer.step()


# --- what is wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observer", [ActivationCounts(), MovementSums()], ids=str)
def test_who_asks_outside_a_training_is_told(observer):
    model = mlp()
    with pytest.raises(MissingEvidence, match=r"no training was watched\n.*\nprune inside bb\.iterate"):
        bb.probe(model, [observer])
    with Loop(model, observer) as loop, pytest.raises(MissingEvidence, match="has seen no"):
        loop.result(observer)


@pytest.mark.parametrize("criterion", [bb.criteria.Movement(), bb.criteria.ActivationCount()], ids=str)
def test_one_shot_pruning_by_what_must_be_watched_is_refused(criterion):
    model = mlp()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(MissingEvidence, match=r"prune inside bb\.iterate"):
        bb.prune(model, sparsity=0.5, criterion=criterion)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: MovementSums("epoch"), UnknownName, "reset is 'epoch'"),
        (lambda: bb.criteria.Movement("levels"), UnknownName, "did you mean 'level'"),
        (lambda: ActivationCounts(every=0), InvalidValue, "every is 0"),
        (lambda: ActivationCounts(threshold=-1), InvalidValue, "threshold is -1"),
        (lambda: bb.criteria.ActivationCount(reset="always"), UnknownName, "reset is 'always'"),
    ],
)
def test_wrong_arguments_are_refused(make, kind, words):
    with pytest.raises(kind, match=words):
        make()
