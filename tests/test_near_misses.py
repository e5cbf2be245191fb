"""Mistakes a step away from what is right: the message says what to write."""

import pytest
import torch

import budbreak as bb
from budbreak.errors import BudbreakError
from budbreak.evidence import Weights
from budbreak.recipes.recipe import make_recipe
from budbreak.testing import mlp

GEOMETRIC = bb.schedules.Geometric(rate=0.2, levels=2)


def iterate(**options):
    model = mlp()
    return bb.iterate(model, torch.optim.SGD(model.parameters(), lr=0.1), bb.Plan(schedule=GEOMETRIC), **options)


def pruned_twice():
    model = mlp()
    bb.prune(model, sparsity=0.75)
    bb.prune(model, sparsity=0.5)


def scored(formula):
    class Mine:
        needs = (Weights(),)

        def __call__(self, evidence):
            return bb.Scores.elementwise(formula, evidence[Weights()])

    bb.prune(mlp(), sparsity=0.5, criterion=Mine())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bb.probe(mlp(), Weights()), "the probes are Weights.*write \\[Weights\\(\\)\\]"),
        (lambda: bb.probe(mlp(), [Weights]), "a probe is the class Weights.*write \\[Weights\\(\\)\\]"),
        (lambda: bb.probe(mlp(), ["weights"]), "a probe is 'weights'"),
        (pruned_twice, "sparsity is 0.5: .* would stay, but only .*give at least 0.75"),
        (lambda: bb.prune(mlp(), sparsity=0.5, optimizer=torch.optim.SGD), "write SGD\\(model.parameters\\(\\)"),
        (lambda: bb.prune(mlp().state_dict(), sparsity=0.5), "load_state_dict"),
        (lambda: iterate(store=""), "store is ''"),
        (lambda: iterate(resets=[torch.optim.lr_scheduler.StepLR]), "resets holds the class StepLR"),
        (lambda: bb.Plan(schedule=GEOMETRIC, scope="local"), "write scope=bb.masks.Layer\\(\\)"),
        (lambda: bb.Plan(schedule=GEOMETRIC, rewind_to="lr"), "write rewind_to='learning-rate'"),
        (lambda: bb.ActivateWhilePruning(q=0.02, variant="Pro"), "write variant='pro'"),
        (lambda: bb.Mask.load("/"), "/ is a folder"),
        (lambda: scored(lambda w: w.abs().sum()), "a score of '0.weight' is tensor.*reduce over nothing"),
        (lambda: scored(lambda w: 1.0), "a score of '0.weight' is 1.0.*reduce over nothing"),
    ],
)
def test_the_message_says_what_to_write(call, words):
    with pytest.raises(BudbreakError, match=f"(?s){words}"):
        call()


PLAIN = {"data": {"name": "digits"}, "network": {"name": "mlp"}, "train": {"epochs": 2}}


@pytest.mark.parametrize(
    ("section", "field", "value", "words"),
    [
        ("train", "epochs", "12", "write epochs = 12"),
        ("train", "schedule", {"is": "steps", "milestones": 3}, r"write \[...\]"),
        ("prune", "schedule", {"is": "geometric", "rate": 0.2, "levels": "12"}, "write 12"),
        ("prune", "schedule", {"is": "geometric", "rate": 20, "levels": 12}, "write 0.2"),
        ("prune", "then", "ap", r'write \["ap"\]'),
        ("prune", "exclude", "fc1", r'write exclude = \["fc1"\]'),
        ("prune", "scope", "local", "'layer'"),
        ("prune", "rewind", "weight", "did you mean 'weights'"),
        ("prune", "allow_collapse", 1, "write allow_collapse = true"),
        ("prune", "connect", 1, "write connect = true"),
        ("prune", "conect", True, "did you mean 'connect'"),
        ("measure", "diagnostics", ["dead-neurons"], "did you mean 'dead-units'"),
        ("data", "name", "mnsit", "did you mean 'mnist'"),
        ("network", "name", "resnet20", "did you mean 'resnet-20'"),
    ],
)
def test_a_near_miss_in_a_recipe_is_answered_by_what_to_write(section, field, value, words):
    with pytest.raises(BudbreakError, match=words):
        make_recipe({**PLAIN, section: {**PLAIN.get(section, {}), field: value}})


def test_arms_that_are_no_tables():
    with pytest.raises(BudbreakError, match=r"write \[arms\]"):
        make_recipe({**PLAIN, "arms": "host"})
    with pytest.raises(BudbreakError, match=r"write \[arms.host\]"):
        make_recipe({**PLAIN, "arms": {"host": "magnitude"}})
