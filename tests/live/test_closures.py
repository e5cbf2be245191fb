"""Optimizers that couple weights train the sparse network, and not the dense one behind the mask."""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.optim import LBFGS, SGD, Adam, AdamW, Optimizer

import budbreak as bb
from budbreak.errors import InvalidValue
from budbreak.live import check_zeros
from budbreak.testing import mlp, separable

X, Y = separable(48, noise=1.0)
X = X.double()


def pruned(sparsity=0.8, seed=0):
    model = mlp(seed=seed).double()
    return model, bb.prune(model, sparsity=sparsity)


class SubNetwork(nn.Module):
    """The network that only has what is kept: one vector of it, scattered into zeros in the forward pass."""

    def __init__(self, model, mask):
        super().__init__()
        self.shell = [model]  # in a list: its parameters are not ours
        self.kept = {n: mask[n] if n in mask else torch.ones_like(p, dtype=bool) for n, p in model.named_parameters()}
        self.vector = nn.Parameter(torch.cat([p.detach()[self.kept[n]] for n, p in model.named_parameters()]))

    def whole(self):
        parts = self.vector.split([int(kept.sum()) for kept in self.kept.values()])
        return {
            n: torch.zeros(kept.shape, dtype=part.dtype).masked_scatter(kept, part)
            for (n, kept), part in zip(self.kept.items(), parts, strict=True)
        }

    def forward(self, x):
        return functional_call(self.shell[0], self.whole(), (x,))


def closure_for(model, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = cross_entropy(model(X), Y)
        loss.backward()
        return loss

    return closure


class SAM(Optimizer):
    """Foret et al. 2021: climb along the gradient of the whole network, descend with the gradient found there."""

    def __init__(self, parameters, rho=0.5, **options):
        super().__init__(parameters, {"rho": rho, **options})
        self.base_optimizer = SGD(self.param_groups, **options)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self):
        owned = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = sum(float((p.grad**2).sum()) for p in owned) ** 0.5
        for p in owned:
            self.state[p]["old"] = p.detach().clone()
            p.add_(p.grad, alpha=self.param_groups[0]["rho"] / norm)

    @torch.no_grad()
    def second_step(self):
        for p, state in self.state.items():
            p.copy_(state["old"])
        self.base_optimizer.step()

    @torch.no_grad()
    def step(self, closure):
        closure = torch.enable_grad()(closure)
        loss = closure()
        self.first_step()
        closure()
        self.second_step()
        return loss


def step_by_closure(model, optimizer):
    optimizer.step(closure_for(model, optimizer))


def step_in_two(model, optimizer):
    closure = closure_for(model, optimizer)
    closure()
    optimizer.first_step()
    closure()
    optimizer.second_step()


CLOSURES = {
    "lbfgs": (lambda p: LBFGS(p, lr=0.5, max_iter=4, history_size=5), step_by_closure),
    "lbfgs wolfe": (lambda p: LBFGS(p, max_iter=6, line_search_fn="strong_wolfe"), step_by_closure),
    "sam": (lambda p: SAM(p, lr=0.1, momentum=0.9), step_by_closure),
    "sam in two": (lambda p: SAM(p, lr=0.1, momentum=0.9), step_in_two),
    "sgd": (lambda p: SGD(p, lr=0.1, momentum=0.9), step_by_closure),
    "adam": (lambda p: Adam(p, lr=0.01), step_by_closure),
}


@pytest.mark.parametrize("kind", CLOSURES)
def test_it_takes_the_steps_of_the_sparse_network(kind):
    make, step = CLOSURES[kind]
    model, mask = pruned()
    optimizer, alone = make(model.parameters()), SubNetwork(model, mask)
    alone.shell = [mlp().double()]
    alone_optimizer = make(alone.parameters())
    with bb.hold(model, optimizer, mask):
        for _ in range(5):
            step(model, optimizer)
            check_zeros(model, mask)
            step(alone, alone_optimizer)
    for name, weight in alone.whole().items():
        # tolerance: both sum in another order, and LBFGS divides by small differences
        torch.testing.assert_close(dict(model.named_parameters())[name].detach(), weight, rtol=1e-6, atol=1e-8)


def test_lbfgs_forgets_the_curvature_of_the_dense_network():
    """As if it had been made when the mask came: directions and gradients of the past cannot be projected."""
    ends = []
    for anew in (False, True):
        model = mlp().double()
        optimizer = LBFGS(model.parameters(), max_iter=4)
        step_by_closure(model, optimizer)
        mask = bb.prune(model, sparsity=0.8)
        optimizer = LBFGS(model.parameters(), max_iter=4) if anew else optimizer
        with bb.hold(model, optimizer, mask):
            for _ in range(3):
                step_by_closure(model, optimizer)
        ends.append(torch.cat([p.detach().reshape(-1) for p in model.parameters()]))
    assert torch.equal(*ends)


def test_lbfgs_whose_first_parameter_is_not_pruned():
    """Its whole state lies at the first parameter, which may be one that no mask covers."""
    model = mlp().double()
    optimizer = LBFGS([*reversed(list(model.parameters()))], max_iter=4)
    step_by_closure(model, optimizer)
    mask = bb.prune(model, sparsity=0.8)
    with bb.hold(model, optimizer, mask):
        assert not any(optimizer.state.values())


def test_a_dense_mask_forgets_nothing():
    model = mlp().double()
    optimizer = LBFGS(model.parameters(), max_iter=4)
    step_by_closure(model, optimizer)
    with bb.hold(model, optimizer, bb.Mask.dense(model)):
        assert optimizer.state[model[0].weight]["old_dirs"]


@pytest.mark.parametrize("mask_grads", [None, True, False])
@pytest.mark.parametrize("kind", ["sgd", "adafactor", "unknown"])
def test_who_masks_gradients(kind, mask_grads):
    """By itself where an optimizer couples weights or is not known; else as it is told."""
    model, mask = pruned()
    unknown = type("Mine", (SGD,), {})  # may do anything
    optimizer = {"sgd": SGD, "adafactor": torch.optim.Adafactor, "unknown": unknown}[kind](model.parameters(), lr=0.1)
    with bb.hold(model, optimizer, mask, mask_grads=mask_grads):
        cross_entropy(model(X), Y).backward()
        masked = not any(p.grad[~mask[n]].any() for n, p in mask.parameters(model).items())
    assert masked == (kind != "sgd" if mask_grads is None else mask_grads)


def test_gradients_that_were_set_by_hand_are_masked_too():
    """No backward pass accumulates them, so no hook of a parameter sees them."""
    model, mask = pruned()
    seen = []
    optimizer = LBFGS(model.parameters(), max_iter=3)

    def closure():
        loss = cross_entropy(model(X), Y)
        for p, gradient in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True):
            p.grad = gradient
        return loss

    with bb.hold(model, optimizer, mask):
        optimizer.step(closure)
        seen = [p.grad[~mask[n]] for n, p in mask.parameters(model).items()]
    assert not any(gradient.any() for gradient in seen)


class LineSearch(SGD):
    """Asks its closure for a loss without gradients, as searches along a line do."""

    def step(self, closure):
        closure(1, backward=True)
        super().step()
        return closure(2, backward=False)


def test_a_closure_may_take_arguments():
    model, mask = pruned()
    optimizer, asked = LineSearch(model.parameters(), lr=0.1), []

    def closure(scale, backward):
        asked.append((scale, backward))
        loss = scale * cross_entropy(model(X), Y)
        if backward:
            loss.backward()
        return loss

    with bb.hold(model, optimizer, mask):
        optimizer.step(closure)
        check_zeros(model, mask)
    assert asked == [(1, True), (2, False)]


def test_weights_that_are_unfrozen_later_are_masked_too():
    model, mask = pruned()
    model[0].weight.requires_grad_(False)
    optimizer = torch.optim.Adafactor(model.parameters(), lr=0.1)
    with bb.hold(model, optimizer, mask):
        for _ in range(2):
            optimizer.zero_grad()
            cross_entropy(model(X), Y).backward()
            optimizer.step()
            model[0].weight.requires_grad_(True)
        assert model[0].weight.grad.any()
        assert not model[0].weight.grad[~mask["0.weight"]].any()


def test_adafactor_starts_its_factored_moments_afresh():
    model = mlp().double()
    optimizer = torch.optim.Adafactor(model.parameters(), lr=0.1)
    step_by_closure(model, optimizer)
    bias = optimizer.state[model[0].bias]["variance"].clone()
    with bb.hold(model, optimizer, bb.prune(model, sparsity=0.8)):
        assert not optimizer.state[model[0].weight]  # row and column means mix kept and pruned
        assert torch.equal(optimizer.state[model[0].bias]["variance"], bias)
        step_by_closure(model, optimizer)
    assert int(optimizer.state[model[0].weight]["step"]) == 1


class Wrapped(Optimizer):
    """As Accelerate's: an optimizer by its class, but all it has and does is another's."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    state = property(lambda self: self.optimizer.state)
    param_groups = property(lambda self: self.optimizer.param_groups)
    defaults = property(lambda self: self.optimizer.defaults)

    def zero_grad(self, set_to_none=True):
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure=None):
        return self.optimizer.step(closure)


class Lookahead:
    """Zhang et al. 2019, as a plain object: fast weights by the optimizer, and now and then a step back."""

    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.state = {p: {"slow": p.detach().clone()} for group in optimizer.param_groups for p in group["params"]}
        self.steps = 0

    def zero_grad(self):
        self.optimizer.zero_grad()

    @torch.no_grad()
    def step(self):
        self.optimizer.step()
        self.steps += 1
        if self.steps % 2 == 0:
            for p, state in self.state.items():
                p.copy_(state["slow"].lerp_(p, 0.5))


class FastState(Lookahead):
    """As many a Lookahead: the state of the optimizer within, once more as an attribute."""

    def __init__(self, optimizer):
        super().__init__(optimizer)
        self.fast_state = optimizer.state


@pytest.mark.parametrize("wrapper", [Wrapped, Lookahead, FastState])
def test_a_wrapper_whose_inner_optimizer_steps(wrapper):
    model = mlp().double()
    inner = AdamW(model.parameters(), lr=0.01)
    outer = wrapper(inner)

    def train(steps):
        for _ in range(steps):
            outer.zero_grad()
            cross_entropy(model(X), Y).backward()
            outer.step()

    train(3)
    mask = bb.prune(model, sparsity=0.8)
    with bb.hold(model, outer, mask) as held:
        assert not any(inner.state[p]["exp_avg"][~mask[n]].any() for n, p in mask.parameters(model).items())
        for _ in range(5):
            train(1)
            check_zeros(model, mask)
        held.release()
        assert not inner._optimizer_step_post_hooks
        assert not inner._optimizer_step_pre_hooks


class Attributes(Optimizer):
    """Keeps its momentum where no one can mask, store or put it back."""

    def __init__(self, parameters):
        super().__init__(parameters, {})
        self.velocity = [torch.zeros_like(p) for p in self.param_groups[0]["params"]]


def test_state_outside_the_state_is_refused():
    model, mask = pruned()
    with pytest.raises(InvalidValue, match=r"Attributes keeps .* in 'velocity'") as caught:
        bb.hold(model, Attributes(model.parameters()), mask)
    assert "state[parameter]" in caught.value.fix


def test_nothing_that_steps_is_refused():
    model, mask = pruned()
    with pytest.raises(InvalidValue, match=r"optimizer is .*a Lookahead"):
        bb.hold(model, Lookahead.__new__(Lookahead), mask)


class EightBits(Optimizer):
    """Keeps its moments as codes of 8 bits, where 0 is no zero; and makes its state when it first steps."""

    def __init__(self, parameters):
        super().__init__(parameters, {})

    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            state = self.state[p]
            state.setdefault("codes", torch.full(p.shape, 7, dtype=torch.uint8))
            p.data.add_(p.grad, alpha=-0.1)


def test_codes_are_forgotten_and_not_multiplied():
    model = mlp().double()
    optimizer = EightBits(model.parameters())
    step_plainly(model, optimizer)
    with bb.hold(model, optimizer, bb.prune(model, sparsity=0.8)):
        assert not optimizer.state[model[0].weight]
        assert optimizer.state[model[0].bias]["codes"].eq(7).all()


class Preconditioned(Optimizer):
    """As Shampoo: the sum of all G G^T, whose shape is that of a square weight."""

    def __init__(self, parameters):
        super().__init__(parameters, {})

    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            flat = p.grad.reshape(len(p), -1)
            state = self.state[p]
            state["sum"] = state.get("sum", 1e-4 * torch.eye(len(p), dtype=p.dtype)) + flat @ flat.t()
            state["momentum"] = 0.9 * state.get("momentum", 0) + p.grad
            p.data.add_(p.grad, alpha=-0.1)


def test_a_preconditioner_of_a_square_weight_is_forgotten_and_not_masked():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    optimizer = Preconditioned(model.parameters())
    step_plainly(model, optimizer)
    with bb.hold(model, optimizer, bb.prune(model, sparsity=0.5)):
        assert not optimizer.state[model[0].weight]


def step_plainly(model, optimizer):
    closure_for(model, optimizer)()
    optimizer.step()


class Several:
    """Two optimizers that share the parameters out, as Muon wants it."""

    def __init__(self, model):
        flat = [p for p in model.parameters() if p.dim() == 1]
        self.optimizers = [Adam([p for p in model.parameters() if p.dim() == 2], lr=0.01), AdamW(flat)]

    def zero_grad(self):
        for one in self.optimizers:
            one.zero_grad()

    def step(self):
        for one in self.optimizers:
            one.step()


def test_several_optimizers_behind_one_object():
    model = mlp().double()
    optimizer = Several(model)
    step_plainly(model, optimizer)
    mask = bb.prune(model, sparsity=0.8)
    with bb.hold(model, optimizer, mask):
        for _ in range(3):
            step_plainly(model, optimizer)
            check_zeros(model, mask)


def test_a_mask_without_entries_holds_nothing():
    model = mlp().double()
    optimizer = SGD(model.parameters(), lr=0.1)
    with bb.hold(model, optimizer, bb.Mask({})):
        step_plainly(model, optimizer)
    assert all(p.all() for p in model.parameters())
