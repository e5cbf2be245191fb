import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import budbreak as bb
from budbreak.errors import ForeignParameter, InvariantBroken, MaskMismatch, UnknownName
from budbreak.live import apply_mask, check_zeros
from budbreak.testing import mlp, residual_cnn, separable
from budbreak.training import FromageOptimizer, TAdamOptimizer

SGD, ADAM, ADAMW, RMSPROP = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop
OPTIMIZERS = {
    "sgd": (SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-2}),
    "nesterov": (SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-2, "nesterov": True}),
    "sgd foreach": (SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-2, "foreach": True}),
    "sgd loop": (SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-2, "foreach": False}),
    "sgd fused": (SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-2, "fused": True}),
    "adam": (ADAM, {"lr": 0.01, "weight_decay": 1e-2}),
    "adam amsgrad": (ADAM, {"lr": 0.01, "amsgrad": True}),
    "adam foreach": (ADAM, {"lr": 0.01, "foreach": True}),
    "adam fused": (ADAM, {"lr": 0.01, "fused": True}),
    "adamw": (ADAMW, {"lr": 0.01, "weight_decay": 1e-1}),
    "adamw loop": (ADAMW, {"lr": 0.01, "weight_decay": 1e-1, "foreach": False}),
    "adamw fused": (ADAMW, {"lr": 0.01, "weight_decay": 1e-1, "fused": True}),
    "rmsprop": (RMSPROP, {"lr": 0.01, "momentum": 0.9, "centered": True, "weight_decay": 1e-2}),
    "rmsprop foreach": (RMSPROP, {"lr": 0.01, "momentum": 0.9, "foreach": True}),
    "fromage": (FromageOptimizer, {"lr": 0.02}),
    "tadam": (TAdamOptimizer, {"lr": 0.01, "weight_decay": 1e-2}),
}
X, Y = separable(64, noise=1.0)


def make(name, model):
    kind, options = OPTIMIZERS[name]
    return kind(model.parameters(), **options)


def train(model, optimizer, steps, x=X, y=Y):
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()


def pruned(name="nesterov", sparsity=0.8, warm=5):
    """A network that has trained for some steps (momentum points everywhere), was pruned, and its optimizer."""
    model = mlp()
    optimizer = make(name, model)
    train(model, optimizer, warm)
    return model, optimizer, bb.prune(model, sparsity=sparsity)


def zeros(model, mask):
    return sum(int((mask_parameter == 0).sum()) for mask_parameter in mask.parameters(model).values())


def assert_held(model, mask):
    check_zeros(model, mask)
    # and no more than that: what is kept still lives
    assert zeros(model, mask) == mask.total - mask.kept
    assert 0 < mask.kept < mask.total


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_zeros_stay_zero_for_200_steps(name):
    model, optimizer, mask = pruned(name)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    with bb.hold(model, optimizer, mask):
        for _ in range(20):
            train(model, optimizer, 10)
            assert_held(model, mask)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == set(before), "everything that is kept, biases included, trains on"


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam", "adamw", "rmsprop", "fromage", "tadam"])
def test_without_hold_the_zeros_come_back(name):
    """The control: in this setting a hold has something to do."""
    model, optimizer, mask = pruned(name)
    train(model, optimizer, 3)
    assert zeros(model, mask) < (mask.total - mask.kept) / 2
    with pytest.raises(InvariantBroken, match="are not zero"):
        check_zeros(model, mask)


def test_masking_gradients_alone_lets_momentum_regrow():
    """What the AP authors' script does, and why the clamp follows the step."""
    model, optimizer, mask = pruned("nesterov")
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(model(X), Y).backward()
        for n, p in mask.parameters(model).items():
            p.grad.mul_(mask[n])
        optimizer.step()
    assert zeros(model, mask) < (mask.total - mask.kept) / 2


def test_kept_weights_train_as_in_a_network_masked_by_hand():
    """The hold changes nothing but the pruned weights: against w * mask written into the forward pass."""
    model, _, mask = pruned(warm=0)
    twin = copy.deepcopy(model)
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    by_hand = SGD(twin.parameters(), lr=0.1, momentum=0.9)
    layers = [(module, mask[f"{n}.weight"]) for n, module in twin.named_modules() if isinstance(module, nn.Linear)]
    with bb.hold(model, optimizer, mask):
        train(model, optimizer, 20)
    for _ in range(20):
        by_hand.zero_grad()
        h = X
        for i, (layer, entry) in enumerate(layers):
            h = linear(h, layer.weight * entry, layer.bias)
            h = h if i == len(layers) - 1 else h.relu()
        cross_entropy(h, Y).backward()
        by_hand.step()
    for (n, a), b in zip(model.named_parameters(), twin.parameters(), strict=True):
        # tolerance: the two graphs sum in different orders, 20 steps of float32
        torch.testing.assert_close(a, b * mask[n] if n in mask else b, rtol=1e-4, atol=1e-6)


def test_gradient_accumulation():
    model, optimizer, mask = pruned()
    with bb.hold(model, optimizer, mask, mask_grads=True):
        for _ in range(10):
            optimizer.zero_grad()
            for x, y in zip(X.split(16), Y.split(16), strict=True):
                (cross_entropy(model(x), y) / 4).backward()
                for n, p in mask.parameters(model).items():
                    assert not p.grad[~mask[n]].any()
                    assert p.grad[mask[n]].any()
            optimizer.step()
            assert_held(model, mask)


def true_norm(model, mask):
    """The gradient norm over what is alive, computed from a network whose weights are masked in the graph."""
    parameters = dict(model.named_parameters())
    masked = {n: p.double().detach().requires_grad_() for n, p in parameters.items()}
    entered = {n: p * mask[n] if n in mask else p for n, p in masked.items()}
    out = torch.func.functional_call(copy.deepcopy(model).double(), entered, (X.double(),))
    gradients = torch.autograd.grad(cross_entropy(out, Y), list(masked.values()))
    return sum(float((g**2).sum()) for g in gradients) ** 0.5


def test_clipping_sees_the_true_norm_only_with_mask_grads():
    model, optimizer, mask = pruned()
    expected = true_norm(model, mask)
    norms = {}
    for mask_grads in (False, True):
        with bb.hold(model, optimizer, mask, mask_grads=mask_grads):
            optimizer.zero_grad()
            cross_entropy(model(X), Y).backward()
            norms[mask_grads] = float(nn.utils.clip_grad_norm_(model.parameters(), 0.01))
    assert norms[True] == pytest.approx(expected, rel=1e-5)  # float32 against float64
    assert norms[False] > 1.1 * expected
    after = sum(float((p.grad**2).sum()) for p in model.parameters()) ** 0.5
    assert after == pytest.approx(0.01, rel=1e-3)


def test_mask_grads_ends_with_the_hold():
    model, optimizer, mask = pruned()
    with bb.hold(model, optimizer, mask, mask_grads=True):
        pass
    optimizer.zero_grad()
    cross_entropy(model(X), Y).backward()
    assert any(p.grad[~mask[n]].any() for n, p in mask.parameters(model).items())


@pytest.mark.parametrize("name", ["nesterov", "adamw", "fromage", "tadam"])
def test_amp_with_scaler_and_autocast(name):
    model, optimizer, mask = pruned(name)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=2)
    skipped = 0
    with bb.hold(model, optimizer, mask, mask_grads=True):
        for step in range(20):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = cross_entropy(model(X), Y)
            if step == 3:
                loss = loss * float("inf")  # an overflow: the scaler skips the step
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            before = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            skipped += scaler.get_scale() < before
            assert_held(model, mask)
    assert skipped >= 1


@pytest.mark.parametrize("multi_avg_fn", [None, get_ema_multi_avg_fn(0.9)], ids=["swa", "ema"])
def test_averages_made_after_pruning_hold_zeros(multi_avg_fn):
    model, optimizer, mask = pruned()
    with bb.hold(model, optimizer, mask):
        averaged = AveragedModel(model, multi_avg_fn=multi_avg_fn)
        for _ in range(10):
            train(model, optimizer, 1)
            averaged.update_parameters(model)
    assert_held(averaged.module, mask)
    assert not torch.equal(averaged.module[0].weight, model[0].weight)


def test_an_average_made_before_pruning_is_masked_once_and_stays():
    model = mlp()
    optimizer = make("nesterov", model)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    train(model, optimizer, 3)
    averaged.update_parameters(model)
    mask = bb.prune(model, sparsity=0.8)
    with bb.hold(model, optimizer, mask):
        train(model, optimizer, 1)
        averaged.update_parameters(model)
        assert zeros(averaged.module, mask) == 0  # it remembers the dense network
        apply_mask(averaged.module, mask)
        for _ in range(5):
            train(model, optimizer, 1)
            averaged.update_parameters(model)
            assert_held(averaged.module, mask)


@pytest.mark.parametrize("mask_grads", [False, True])
@pytest.mark.parametrize("holding", [False, True], ids=["straight after pruning", "while holding"])
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies_work(clone, holding, mask_grads):
    model, optimizer, mask = pruned("adamw")
    held = bb.hold(model, optimizer, mask, mask_grads=mask_grads) if holding else None
    if holding:
        train(model, optimizer, 2)
    twin, twin_optimizer = clone((model, optimizer))
    assert_held(twin, mask)
    assert zeros(twin, mask) == zeros(model, mask)
    torch.testing.assert_close(twin(X), model(X), rtol=0, atol=0)
    cross_entropy(twin(X), Y).backward()
    assert all(p.grad is not None for p in twin.parameters())
    with bb.hold(twin, twin_optimizer, mask):  # the copied optimizer holds the copied parameters
        train(twin, twin_optimizer, 3)
        assert_held(twin, mask)
    if held is not None:  # and the original does not notice
        train(model, optimizer, 3)
        assert_held(model, mask)
        held.release()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, while it starts to compile
@pytest.mark.parametrize("mask_grads", [False, True])
def test_torch_compile(mask_grads):
    torch.compiler.reset()
    model, optimizer, mask = pruned()
    compiled = torch.compile(model)
    with bb.hold(compiled, optimizer, mask, mask_grads=mask_grads):
        train(compiled, optimizer, 10)
        assert_held(compiled, mask)
        assert_held(model, mask)
        if mask_grads:
            assert not any(p.grad[~mask[n]].any() for n, p in mask.parameters(model).items())


def test_state_dict_round_trips_and_keeps_its_keys():
    dense = mlp(seed=5)
    dense_state = copy.deepcopy(dense.state_dict())
    model, optimizer, mask = pruned()
    keys = list(dense_state)
    with bb.hold(model, optimizer, mask):
        assert list(model.state_dict()) == keys
        sparse_state = copy.deepcopy(model.state_dict())
        dense.load_state_dict(sparse_state)  # a pruned checkpoint into a dense session
        assert bb.Mask.from_zeros(dense) == mask
        model.load_state_dict(dense_state)  # a dense checkpoint into a pruned one: held again from the next step on
        assert zeros(model, mask) == 0
        train(model, optimizer, 1)
        assert_held(model, mask)
        loaded = copy.deepcopy(optimizer.state_dict())
        optimizer.load_state_dict(loaded)
        train(model, optimizer, 3)
        assert_held(model, mask)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(8, 8, bias=False), nn.Linear(8, 8)
        self.decode.weight = self.encode.weight

    def forward(self, x):
        return self.decode(self.encode(x).relu())


def test_tied_weights_are_one_entry_and_stay_tied():
    torch.manual_seed(0)
    model = Tied()
    optimizer = make("adamw", model)
    train(model, optimizer, 2)
    mask = bb.prune(model, sparsity=0.75)
    assert list(mask) == ["encode.weight"]
    with bb.hold(model, optimizer, mask):
        train(model, optimizer, 10)
    assert model.decode.weight is model.encode.weight
    assert int((model.decode.weight == 0).sum()) == 48  # 0.75 * 64


def test_a_mask_may_use_the_other_name_of_a_tied_weight():
    model = Tied()
    optimizer = make("adamw", model)
    entry = torch.rand(8, 8) < 0.5
    with bb.hold(model, optimizer, bb.Mask({"decode.weight": entry})):
        train(model, optimizer, 2)
    assert torch.equal(model.encode.weight != 0, entry)


@pytest.mark.parametrize("kind", ["nesterov", "adamw fused"])
def test_channels_last_weights(kind):
    model = residual_cnn().to(memory_format=torch.channels_last)
    optimizer = make(kind, model)
    x, y = torch.randn(8, 3, 6, 6), torch.randint(3, (8,))
    train(model, optimizer, 2, x, y)
    mask = bb.prune(model, sparsity=0.9)
    with bb.hold(model, optimizer, mask):
        train(model, optimizer, 10, x, y)
    assert_held(model, mask)
    assert model.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    for n, p in mask.parameters(model).items():
        assert torch.equal(p != 0, mask[n])  # in logical order


def test_lbfgs_with_closure():
    model = mlp()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    mask = bb.prune(model, sparsity=0.8)

    def closure():
        optimizer.zero_grad()
        loss = cross_entropy(model(X), Y)
        loss.backward()
        return loss

    with bb.hold(model, optimizer, mask):
        for _ in range(4):
            optimizer.step(closure)
            assert_held(model, mask)


def test_biases_and_norms_are_never_touched():
    model = residual_cnn()
    mask = bb.Mask({n: torch.zeros_like(e) for n, e in bb.Mask.dense(model).items()})
    others = {n: t.clone() for n, t in model.state_dict().items() if n not in mask}
    assert {"norm.weight", "norm.bias", "fc.bias", "norm.running_var"} <= set(others)
    optimizer = SGD(model.parameters(), lr=0.1)
    with bb.hold(model, optimizer, mask):
        optimizer.step()
    for n, t in others.items():
        assert torch.equal(model.state_dict()[n], t)
    assert not any(p.any() for p in mask.parameters(model).values())


def test_norms_are_held_when_asked():
    model = residual_cnn()
    optimizer = make("adamw", model)
    mask = bb.prune(model, sparsity=0.5, prunable=bb.masks.every_weight, criterion=bb.criteria.Random())
    assert 0 < mask.kept_in("norm.weight") + mask.kept_in("norm1.weight") + mask.kept_in("norm2.weight") < 12
    with bb.hold(model, optimizer, mask):
        train(model, optimizer, 5, torch.randn(4, 3, 6, 6), torch.randint(3, (4,)))
        assert_held(model, mask)


def state_of(optimizer, model, mask):
    return [
        (value, mask[n])
        for n, p in mask.parameters(model).items()
        for value in optimizer.state[p].values()
        if isinstance(value, torch.Tensor) and value.shape == p.shape
    ]


@pytest.mark.parametrize("name", ["sgd", "adam amsgrad", "rmsprop", "tadam"])
def test_optimizer_state_of_pruned_weights_is_zeroed(name):
    model, optimizer, mask = pruned(name)
    tensors = state_of(optimizer, model, mask)
    assert all(value[~entry].any() for value, entry in tensors)
    with bb.hold(model, optimizer, mask):
        for value, entry in state_of(optimizer, model, mask):
            assert not value[~entry].any()
            assert value[entry].any()
        train(model, optimizer, 3)
    assert len(tensors) >= 2
    assert not any(value[~entry].any() for value, entry in state_of(optimizer, model, mask))  # again at release


def test_update_holds_a_smaller_mask():
    model, optimizer, mask = pruned(sparsity=0.5)
    with bb.hold(model, optimizer, mask, mask_grads=True) as held:
        train(model, optimizer, 2)
        smaller = bb.prune(model, sparsity=0.9)
        held.update(smaller)
        assert held.mask is smaller
        assert not any(p.grad[~smaller[n]].any() for n, p in smaller.parameters(model).items())
        train(model, optimizer, 5)
        assert_held(model, smaller)


def test_a_refused_update_changes_nothing():
    model, optimizer, mask = pruned()
    with bb.hold(model, optimizer, mask, mask_grads=True) as held:
        with pytest.raises(UnknownName):
            held.update(bb.Mask({"nothing": torch.ones(1)}))
        assert held.mask is mask
        train(model, optimizer, 3)
        assert_held(model, mask)


def test_release_lets_go():
    model, optimizer, mask = pruned()
    held = bb.hold(model, optimizer, mask)
    held.release()
    held.release()  # twice is once
    train(model, optimizer, 2)
    assert zeros(model, mask) < mask.total - mask.kept
    assert not optimizer._optimizer_step_post_hooks


def test_release_after_an_error_in_the_body():
    model, optimizer, mask = pruned()
    with pytest.raises(RuntimeError, match="mine"), bb.hold(model, optimizer, mask):
        raise RuntimeError("mine")
    assert not optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize("mask_grads", [False, True])
def test_the_model_may_move_to_float64_while_held(mask_grads):
    model, optimizer, mask = pruned("sgd", warm=0)
    with bb.hold(model, optimizer, mask, mask_grads=mask_grads):
        train(model, optimizer, 2)
        model.double()
        for state in optimizer.state.values():
            state["momentum_buffer"] = state["momentum_buffer"].double()
        train(model, optimizer, 5, X.double())
        assert_held(model, mask)
        assert model[0].weight.dtype == torch.float64


def test_a_foreign_optimizer_is_refused():
    model, _, mask = pruned()
    stranger = SGD(copy.deepcopy(model).parameters(), lr=0.1)
    with pytest.raises(ForeignParameter, match=r"does not hold '0\.weight' \(3 of 3 prunable weights\)"):
        bb.hold(model, stranger, mask)
    partial = SGD([*model[0].parameters(), *model[2].parameters()], lr=0.1)
    with pytest.raises(ForeignParameter, match=r"does not hold '4\.weight' \(1 of 3"):
        bb.hold(model, partial, mask)
    assert not stranger._optimizer_step_post_hooks
    assert not partial._optimizer_step_post_hooks


def test_unknown_names_get_the_nearest_one():
    model, optimizer, _ = pruned()
    with pytest.raises(UnknownName, match=r"did you mean '0\.weight'"):
        bb.hold(model, optimizer, bb.Mask({"0.weigth": torch.ones(16, 8)}))


def test_a_mask_of_another_architecture_is_refused():
    model, optimizer, _ = pruned()
    with pytest.raises(MaskMismatch, match=r"'0\.weight' has shape \(7, 8\), the parameter \(16, 8\)"):
        bb.hold(model, optimizer, bb.Mask.dense(mlp(hidden=7)))


def test_check_zeros_names_layer_and_count():
    model, _, mask = pruned()
    row, column = (~mask["2.weight"]).nonzero()[0].tolist()
    with torch.no_grad():
        model[2].weight[row, column] = 1e-30
    with pytest.raises(InvariantBroken, match=r"1 pruned weights of '2\.weight' are not zero"):
        check_zeros(model, mask)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_a_pruned_entry_that_is_not_finite_becomes_zero(odd, dtype):
    """0 * inf is NaN: weights, gradients and optimizer state are filled, not multiplied."""
    model = mlp().to(dtype)
    optimizer = make("adamw", model)
    train(model, optimizer, 2, X.to(dtype))
    mask = bb.prune(model, sparsity=0.5)

    def tensors():
        return [
            (tensor.detach(), mask[n])
            for n, p in mask.parameters(model).items()
            for tensor in (p, p.grad, optimizer.state[p]["exp_avg"])
        ]

    def spoil():
        for tensor, entry in tensors():
            tensor.masked_fill_(~entry, odd)

    kept = [tensor[entry].clone() for tensor, entry in tensors()]
    spoil()
    with bb.hold(model, optimizer, mask):
        for (tensor, entry), before in zip(tensors(), kept, strict=True):
            assert not tensor[~entry].any()
            assert torch.equal(tensor[entry], before)
        spoil()
        optimizer.step()
        assert_held(model, mask)
    spoil()
    apply_mask(model, mask)
    assert_held(model, mask)


def test_a_kept_entry_that_is_nan_stays_nan():
    """It is the user's to see, not ours to hide."""
    model, optimizer, mask = pruned()
    row, column = mask["0.weight"].nonzero()[0].tolist()
    with bb.hold(model, optimizer, mask), torch.no_grad():
        model[0].weight[row, column] = float("nan")
        optimizer.step()
        assert model[0].weight[row, column].isnan()
        check_zeros(model, mask)


def test_a_hook_from_before_sees_held_weights():
    """An average that the user updates after each step, by a hook that was there before ours."""
    model, optimizer, mask = pruned("adamw")
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    optimizer.register_step_post_hook(lambda *_: averaged.update_parameters(model))
    with bb.hold(model, optimizer, mask):
        train(model, optimizer, 5)
    assert_held(averaged.module, mask)
    assert not torch.equal(averaged.module[0].weight, model[0].weight)


def test_data_that_were_exchanged_are_held():
    """``parameter.data = ...``, as some libraries write: the parameter stays, its memory does not."""
    model, optimizer, mask = pruned()
    with bb.hold(model, optimizer, mask):
        for parameter in model.parameters():
            parameter.data = torch.randn_like(parameter)
        train(model, optimizer, 1)
        assert_held(model, mask)


def test_sparse_gradients_are_masked():
    model = nn.Embedding(6, 4, sparse=True)
    optimizer = torch.optim.SparseAdam(model.parameters())
    mask = bb.Mask({"weight": torch.rand(6, 4) < 0.5})
    with bb.hold(model, optimizer, mask):
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.tensor([1, 4, 1])).exp().sum().backward()
            assert not model.weight.grad.to_dense()[~mask["weight"]].any()
            assert model.weight.grad.to_dense()[mask["weight"]].any()
            optimizer.step()
            check_zeros(model, mask)


def test_prune_and_hold_take_several_optimizers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    optimizers = [torch.optim.SGD(model[0].parameters(), lr=0.1), torch.optim.Adam(model[2].parameters())]
    with pytest.raises(ForeignParameter, match=r"the optimizer does not hold '2\.weight'"):
        bb.prune(model, sparsity=0.5, optimizer=optimizers[:1])
    mask = bb.prune(model, sparsity=0.5, optimizer=optimizers)
    with bb.hold(model, optimizers, mask) as held:
        for step in range(3):
            model.zero_grad()
            model(torch.randn(8, 4)).square().sum().backward()
            for optimizer in optimizers:
                optimizer.step()
            assert bb.Mask.from_zeros(model) == held.mask
            if step == 1:
                held.update(bb.prune(model, sparsity=0.75, mask=mask))
    assert held.mask.kept == 9
    assert not any(o._optimizer_step_post_hooks or o._optimizer_step_pre_hooks for o in optimizers)
