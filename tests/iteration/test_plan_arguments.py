"""What a Plan is given is checked when it is made: the value, the choices, what to write."""

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue
from budbreak.testing import mlp

GOOD = bb.schedules.Geometric(rate=0.2, levels=2)
AP = bb.ActivateWhilePruning(q=0.02)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"schedule": "geometric"}, r"'geometric'\n.* Geometric\(\.\.\.\),.* OneShot\(\.\.\.\) or your own"),
        ({"criterion": "magnitude"}, r"'magnitude'\n.* Random\(\.{3}\), .* or your own"),
        ({"criterion": bb.criteria.Magnitude}, r"the class Magnitude\n.*\nwrite criterion=Magnitude\(\.\.\.\), an"),
        ({"granularity": "unit"}, r"granularity is 'unit'\n.*Element.*, Unit.*, Block\(\.{3}\) or your own"),
        ({"granularity": bb.Unit}, r"granularity is the class Unit\n"),
        ({"prunable": "fc*"}, r"prunable is 'fc\*'\n.*excluding.*including.*\n.*bb\.excluding\('fc\*'\)"),
        ({"prunable": ["fc*"]}, r"prunable is \['fc\*'\], a list\n"),
        ({"prunable": None}, r"prunable is None\n"),
        ({"prunable": nn.Linear}, r"prunable is the class Linear\n"),
        ({"prunable": bb.excluding}, r"prunable is excluding itself\n.*\nwrite prunable=bb\.excluding\("),
        ({"scope": "Layer"}, r"scope is 'Layer'\n.*Global\(\.\.\.\), Layer\(.*\nwrite scope=bb\.masks\.Layer\(\)"),
        ({"scope": bb.masks.Layer(), "allocation": {"0.weight": 0.5}}, r"allocation is .*a dict\n"),
        ({"allocation": lambda shapes, capacities, keep: {}}, r"an allocation was given for scope Global\(\)"),
        ({"then": AP}, r"then is ActivateWhilePruning.*\nit is a list.*\nwrite then=\[ActivateWhilePruning\("),
        ({"then": "ap"}, r"then is 'ap'\nit is a list"),
        ({"then": ["ap"]}, r"then is 'ap'\n.*ActivateWhilePruning\(\.\.\.\), Remove\(\.\.\.\), Train"),
        ({"then": [bb.Train]}, r"then is the class Train\n"),
        ({"rewind_to": 0}, r"rewind_to is 0\n.*Step, 'learning-rate' or None\nwrite rewind_to=bb\.Step\(0\)"),
        ({"rewind_to": "start"}, r"rewind_to is 'start'\n.*\nwrite rewind_to=bb\.Step\(0\)"),
        ({"rewind_to": torch.zeros(2)}, "rewind_to is tensor"),
        ({"allow_collapse": "no"}, r"allow_collapse is 'no'\n.*True or False"),
    ],
)  # fmt: skip
def test_a_plan_says_what_to_write(arguments, words):
    with pytest.raises(InvalidValue, match=words):
        bb.Plan(**{"schedule": GOOD, **arguments})


@pytest.mark.parametrize("make", [bb.excluding, bb.including])
def test_a_rule_without_patterns_is_refused(make):
    with pytest.raises(InvalidValue, match=r"no pattern was given\n.*\nwrite bb\.(ex|in)cluding\(\"fc\.\*\"\)"):
        make()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (lambda name: True, r"takes 1 positional argument but 3 were given"),
        (lambda name, module, parameter: parameter > 0, "more than one value is ambiguous"),
        (lambda name, module, parameter: {}[name], "KeyError"),
    ],
)
def test_a_rule_that_raises_is_one_error_that_says_how_it_is_called(rule, words):
    plan = bb.Plan(schedule=GOOD, prunable=rule)
    with pytest.raises(InvalidValue, match=words) as caught:
        plan.preview(mlp())
    assert "(name, module, parameter) -> bool" in caught.value.rule
    assert (__file__ in caught.value.value) == (words == "KeyError")  # the others arise in our call


class Says:
    """A schedule of somebody's own."""

    def __init__(self, sparsity, levels=1):
        self.sparsity, self.levels = sparsity, levels

    def __call__(self, progress):
        return self.sparsity


@pytest.mark.parametrize("sparsity", [None, "0.5", torch.tensor(0.5), True, 1.0, -0.1, float("nan"), 0.5j])
def test_a_schedule_that_says_no_share_is_refused(sparsity):
    plan = bb.Plan(schedule=Says(sparsity))
    with pytest.raises(InvalidValue, match=r"the schedule says sparsity .* at level 1\nit is a share in \[0, 1\)"):
        plan.preview(mlp())


@pytest.mark.parametrize("levels", [-1, 1.5, "3", None, True])
def test_a_schedule_with_no_number_of_levels_is_refused(levels):
    with pytest.raises(InvalidValue, match=r"schedule\.levels is"):
        bb.Plan(schedule=Says(0.5, levels))


@pytest.mark.parametrize(
    ("criterion", "fix"),
    [(bb.criteria.Snip(), r"SNIP's formula is that of criteria\.Taylor"), (bb.criteria.GraSP(), r"choose another")],
    ids=["snip", "grasp"],
)
def test_a_criterion_for_untrained_networks_is_refused_after_a_training(criterion, fix):
    with pytest.raises(InvalidValue, match=rf"after a training\n.*\nwrite train_dense=False.*{fix}"):
        bb.Plan(schedule=bb.schedules.OneShot(0.5), criterion=criterion)
