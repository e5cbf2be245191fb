"""Averages of the weights, in whatever form a library keeps them, are as sparse as the model in the end."""

import copy

import pytest
import torch
from small_runs import Parts, geometric, run
from torch import nn
from torch.optim.swa_utils import AveragedModel

import budbreak as bb
from budbreak.errors import InvalidValue
from budbreak.testing import mlp


class Copied(nn.Module):
    """As timm's ModelEmaV2: a deep copy in ``module``."""

    def __init__(self, model):
        super().__init__()
        self.module = copy.deepcopy(model)

    @torch.no_grad()
    def update(self, model):
        for mine, live in zip(self.module.state_dict().values(), model.state_dict().values(), strict=True):
            mine.copy_(mine.lerp(live, 0.5) if mine.is_floating_point() else live)

    def weights(self):
        return dict(self.module.named_parameters())


class Itself(Copied):
    """The deep copy alone: what is reset is the network."""

    def state_dict(self, **kwargs):
        return self.module.state_dict(**kwargs)

    def load_state_dict(self, state):
        self.module.load_state_dict(state)


class Shadow:
    """As many a script: names to tensors."""

    def __init__(self, model):
        self.shadow = {n: p.detach().clone() for n, p in model.named_parameters()}

    def update(self, model):
        for n, p in model.named_parameters():
            self.shadow[n] = self.shadow[n].lerp(p.detach(), 0.5)

    def state_dict(self):
        return {"decay": 0.5, "shadow": {n: t.clone() for n, t in self.shadow.items()}}

    def load_state_dict(self, state):
        self.shadow = {n: t.clone() for n, t in state["shadow"].items()}

    def weights(self):
        return self.shadow


class Listed(Shadow):
    """As torch_ema: the tensors in the order of ``model.parameters()``, without names."""

    def state_dict(self):
        return {"shadow_params": [t.clone() for t in self.shadow.values()], "collected_params": None}

    def load_state_dict(self, state):
        self.shadow = dict(zip(self.shadow, [t.clone() for t in state["shadow_params"]], strict=True))


class Holder:
    """An object that is no module but has one."""

    def __init__(self, model):
        self.ema = Copied(model)
        self.update, self.weights = self.ema.update, self.ema.weights

    def state_dict(self):
        return {"ema": self.ema.state_dict()}

    def load_state_dict(self, state):
        self.ema.load_state_dict(state["ema"])


class Averaged(AveragedModel):
    """Torch's own, around a wrapper whose names have a prefix of their own."""

    def __init__(self, model):
        super().__init__(nn.DataParallel(model), multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5))

    def update(self, model):
        self.update_parameters(nn.DataParallel(model))

    def weights(self):
        return dict(self.module.module.named_parameters())


@pytest.mark.parametrize("by_hook", [False, True], ids=["in the loop", "by a hook from before"])
@pytest.mark.parametrize("rewind_to", [bb.Step(0), None], ids=["rewind", "go on"])
@pytest.mark.parametrize("kind", [Copied, Itself, Shadow, Listed, Holder, Averaged])
def test_an_average_ends_as_sparse_as_the_model(kind, rewind_to, by_hook):
    parts = Parts()
    average = kind(parts.model)
    if by_hook:
        parts.optimizer.register_step_post_hook(lambda *_: average.update(parts.model))
    each = None if by_hook else lambda parts, x: average.update(parts.model)
    resets = [parts.scheduler, average]
    options = {"each": each, "epochs": 1, "resets": resets}
    _, history = run(parts, geometric(2, 0.5, rewind_to=rewind_to), **options)
    live, found = dict(parts.model.named_parameters()), average.weights()
    assert sum(int((found[n] != 0).sum()) for n in live if live[n].dim() > 1) == history[-1].kept
    assert all(torch.equal(found[n] != 0, live[n] != 0) for n in live if live[n].dim() > 1)
    assert not torch.equal(found["0.weight"], live["0.weight"])


class WithOnline(Copied):
    """As ema_pytorch's: its state has the model itself in it, beside the copy."""

    def __init__(self, model):
        super().__init__(model)
        self.online = model


@pytest.mark.parametrize("rewind_to", [bb.Step(0), bb.Step(3), "learning-rate", None])
def test_an_average_that_holds_the_model_does_not_put_it_back(rewind_to):
    """The model goes where the plan says, as it does without the average."""
    ends = []
    for kind in (Copied, WithOnline):
        parts = Parts()
        average = kind(parts.model)
        run(parts, geometric(2, rewind_to=rewind_to), epochs=1, resets=[parts.scheduler, average])
        ends.append(parts.model.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("kind", [Copied, Shadow])
def test_a_run_that_starts_sparse_masks_it_at_the_start(kind):
    parts = Parts()
    average = kind(parts.model)  # of the dense network
    mask = bb.prune(parts.model, sparsity=0.5)
    with parts.iterate(geometric(1, 0.6), resets=[parts.scheduler, average], mask=mask):
        assert not any(average.weights()[n][~mask[n]].any() for n in mask)
        assert all(average.weights()[n][mask[n]].any() for n in mask)


class Unrecognisable(Listed):
    """Without names, and in an order of its own."""

    def state_dict(self):
        return {f"tensor {i}": t for i, t in enumerate(reversed(list(self.shadow.values())))}


def test_one_that_cannot_be_recognised_is_refused_before_training():
    parts = Parts()
    with pytest.raises(InvalidValue, match="resets holds a Unrecognisable with tensors of the shapes of all") as caught:
        parts.iterate(geometric(), resets=[parts.scheduler, Unrecognisable(parts.model)]).__enter__()
    assert "names" in caught.value.fix


def test_what_is_no_average_is_left_alone():
    """Another network, and another optimizer whose moments have the shapes of the weights."""
    parts = Parts()
    other = mlp()
    optimizer = torch.optim.Adam(copy.deepcopy(parts.model).parameters())
    resets = [parts.scheduler, other, optimizer, torch.Generator()]
    run(parts, geometric(1, 0.5), epochs=1, resets=resets)
    assert all(p.all() for p in other.parameters())
