"""What is given to `iterate` in the wrong form is refused with the form that is meant, before anything is trained."""

import pytest
import torch
from small_runs import geometric
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.errors import EmptyBatches, InvalidValue
from budbreak.testing import mlp

BATCH = (torch.rand(4, 8), torch.arange(4) % 3)
DATA_DRIVEN = {"criterion": bb.criteria.Taylor()}


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


OPTIMIZERS = {
    "two for each weight": (lambda m: [sgd(m), sgd(m)], r"optimizers 0 and 1 both hold '0\.weight'\n.*of its own\n"),
    "an empty list": (lambda m: [], r"optimizer is \[\], a list\n.*\n.*torch\.optim\.SGD\(model\.parameters\(\)"),
    "a list with a class": (
        lambda m: [sgd(m), torch.optim.Adam],
        r"optimizer 1 of 2 is the class Adam\n.*\nwrite Adam\(model\.parameters\(\), \.\.\.\)",
    ),
    "class": (lambda m: torch.optim.SGD, r"optimizer is the class SGD\n.*\nwrite SGD\(model\.parameters\(\), \.\.\.\)"),
    "model": (
        lambda m: m,
        r"optimizer is .*Sequential\(.*, a Sequential\nit must be a torch.optim.Optimizer, given after the model",
    ),
    "plan": (lambda m: geometric(), r"optimizer is .*a Plan\n.*given after the model"),
    "dict": (lambda m: {"optimizer": sgd(m)}, r"optimizer is .*a dict\n"),
}


@pytest.mark.parametrize("what", OPTIMIZERS)
def test_what_is_no_optimizer_is_refused(what):
    make, words = OPTIMIZERS[what]
    model = mlp()
    with pytest.raises(InvalidValue, match=words):
        bb.iterate(model, make(model), geometric())


def test_swapped_arguments_are_refused():
    model = mlp()
    with pytest.raises(InvalidValue, match=r"model is .*a SGD\n.*\n.*iterate\(model, optimizer, plan\)"):
        bb.iterate(sgd(model), model, geometric())


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (bb.Plan, r"plan is the class Plan\n.*\nwrite plan=bb\.Plan\(schedule="),
        (bb.schedules.OneShot(0.5), r"plan is OneShot\(sparsity=0\.5\), a OneShot\n.*\nwrite plan=bb\.Plan\(schedule="),
        (None, r"plan is None\n"),
    ],
)
def test_what_is_no_plan_is_refused(plan, words):
    model = mlp()
    with pytest.raises(InvalidValue, match=words):
        bb.iterate(model, sgd(model), plan)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"store": 3}, r"store is 3\nit is a folder"),
        ({"mask": {"0.weight": torch.ones(2)}}, r"mask is .*a dict\nit must be a Mask"),
        ({"batches": (pair for pair in [BATCH])}, r"batches is .*a generator\nit is read once in each level.*\n.*list"),
        ({"batches": zip([1], [2], strict=True)}, r"batches is .*a zip\n"),
    ],
)
def test_what_would_fail_late_is_refused_at_once(options, words):
    model = mlp()
    with pytest.raises(InvalidValue, match=words):
        bb.iterate(
            model, sgd(model), geometric(**DATA_DRIVEN), **{"batches": [BATCH], "loss": cross_entropy, **options}
        )


@pytest.mark.parametrize(
    "batches", [[], torch.utils.data.DataLoader([1, 2], batch_size=4, drop_last=True)], ids=["list", "loader"]
)
def test_empty_batches_are_refused_before_level_0(batches):
    model = mlp()
    with pytest.raises(EmptyBatches, match="of length 0"):
        bb.iterate(model, sgd(model), geometric(**DATA_DRIVEN), batches=batches, loss=cross_entropy)


class Wrapper(torch.optim.Optimizer):
    """As Accelerate's: an optimizer that hands everything on, and has no hooks of its own."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    @property
    def param_groups(self):
        return self.optimizer.param_groups

    @property
    def state(self):
        return self.optimizer.state

    def zero_grad(self, set_to_none=True):
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure=None):
        return self.optimizer.step(closure)


def test_a_wrapped_optimizer_is_looked_through():
    model = mlp()
    optimizer = Wrapper(sgd(model))
    with bb.iterate(model, optimizer, geometric(2)) as levels:
        for level in levels:
            for _ in level.epochs(2):
                optimizer.zero_grad()
                cross_entropy(model(BATCH[0]), BATCH[1]).backward()
                optimizer.step()
            for name, parameter in level.mask.parameters(model).items():
                assert not parameter[~level.mask[name]].any()
    assert [r.steps for r in levels.history] == [2, 2, 2]
