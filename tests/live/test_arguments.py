"""What is given in the wrong form is refused with the form that is meant, before anything is touched."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.errors import InvalidValue
from budbreak.evidence import Gradients, Weights
from budbreak.testing import mlp

BATCH = (torch.rand(4, 8), torch.arange(4) % 3)
SCORES = bb.Scores.of({"w": torch.arange(6.0).reshape(2, 3)})
TAYLOR = {"criterion": bb.criteria.Taylor(), "batches": [BATCH], "loss": cross_entropy}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"criterion": "wanda"}, r"criterion is 'wanda'\n.*\nwrite criterion=bb\.criteria\.Wanda\(\)"),
        ({"criterion": "activation-count"}, r"\nwrite criterion=bb\.criteria\.ActivationCount\(\)"),
        ({"criterion": "magnitude"}, r"criterion is 'magnitude'\n.*\nwrite criterion=bb\.criteria\.Magnitude\(\)"),
        ({"criterion": bb.criteria.Taylor}, r"criterion is the class Taylor\n.*\nwrite criterion=Taylor\(\.\.\.\)"),
        ({"granularity": "unit"}, r"granularity is 'unit'\n.*\nwrite granularity=bb\.Unit\(\)"),
        ({"granularity": bb.Unit}, r"granularity is the class Unit\n.*\nwrite granularity=Unit\(\.\.\.\)"),
        ({"prunable": "fc*"}, r"prunable is 'fc\*'\n"),
        ({"mask": {"w": torch.ones(2)}}, r"mask is \{'w'.*, a dict\nit must be a Mask"),
        ({**TAYLOR, "loss": "ce"}, r"loss is 'ce'\n"),
        (
            {**TAYLOR, "loss": nn.CrossEntropyLoss},
            r"loss is the class CrossEntropyLoss\n.*\nwrite loss=Cross.*\(\.\.\.\)",
        ),
        ({**TAYLOR, "batches": 3}, r"batches is 3\nit is an iterable of batches"),
        ({**TAYLOR, "forward": "call"}, r"forward is 'call'\n"),
        ({**TAYLOR, "samples": 5}, r"samples is 5\n"),
    ],
)
def test_prune_says_what_to_write(options, words):
    model = mlp()
    with pytest.raises(InvalidValue, match=words):
        bb.prune(model, sparsity=0.5, **options)
    assert all(bool(p.all()) for n, p in model.named_parameters() if n.endswith("weight")), "nothing was touched"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ([mlp()], r"model is .*a list\nit must be an nn\.Module\n.*nn\.Sequential"),
        (nn.Linear, r"model is the class Linear\n.*\nwrite Linear\(\.\.\.\)"),
        ([Weights()], r"model is \[Weights\(\)\], a list\n.*\ngive the model first"),
        (nn.Sequential(nn.LazyLinear(3)), r"'0\.weight' of model has no shape yet\n.*\nrun one batch"),
    ],
)
@pytest.mark.parametrize(
    "verb",
    [
        lambda model: bb.prune(model, sparsity=0.5),
        lambda model: bb.probe(model, [Weights()]),
        lambda model: bb.dead_neurons(model, [torch.rand(2, 3)]),
        bb.Mask.dense,
        bb.Mask.from_zeros,
    ],
)
def test_every_verb_refuses_what_is_no_model(verb, model, words):
    with pytest.raises(InvalidValue, match=words):
        verb(model)


@pytest.mark.parametrize("probes", [Weights(), Weights, [Weights], ["weights"], "weights"])
def test_probes_are_a_list_of_instances(probes):
    with pytest.raises(InvalidValue, match=r"(the probes are|a probe is) .*\n.*\nwrite \["):
        bb.probe(mlp(), probes)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((3, SCORES), {}, "scores is 3\nit must be Scores"),
        (({"w": torch.rand(3)}, 3), {}, r"scores is \{.*\nit must be Scores\nwrite bb\.Scores\.of"),
        ((SCORES, 3), {"within": {"w": torch.ones(2, 3)}}, "within is .*\nit must be a Mask"),
        ((SCORES, 3), {"scope": bb.masks.Layer(), "allocation": "erk"}, "allocation is 'erk'"),
        ((SCORES, 3), {"granularity": bb.Unit}, "granularity is the class Unit"),
    ],
)
def test_select_says_what_to_write(arguments, options, words):
    with pytest.raises(InvalidValue, match=words):
        bb.select(*arguments, **options)


@pytest.mark.parametrize("granularity", ["unit", bb.Unit])
def test_a_plan_wants_an_instance_too(granularity):
    with pytest.raises(InvalidValue, match="granularity is"):
        bb.Plan(schedule=bb.schedules.OneShot(0.5), granularity=granularity)


def test_complex_weights_have_magnitudes_but_no_sign():
    model = nn.Linear(4, 3, dtype=torch.complex64)
    start = {"weight": model.weight.detach() / 2}
    evidence = bb.probe(model, bb.criteria.LeastMovedNegative().needs, start=start)
    with pytest.raises(InvalidValue, match=r"'weight' is torch\.complex64\n.*no sign"):
        bb.criteria.LeastMovedNegative()(evidence)
    ranked = model.weight.detach().abs().reshape(-1).argsort(descending=True)[:6]
    mask = bb.prune(model, sparsity=0.5)
    assert set(mask["weight"].reshape(-1).nonzero().flatten().tolist()) == set(ranked.tolist())


def test_a_class_that_is_a_criterion_by_its_instances_is_accepted_as_one():
    class Mine:
        needs = (Weights(), Gradients())

        def __call__(self, evidence):
            return bb.criteria.Gradient()(evidence)

    assert bb.prune(mlp(), sparsity=0.5, **{**TAYLOR, "criterion": Mine()}).kept == 216


class Misshapen:
    """Gives three scores for any slice."""

    needs = (Weights(),)

    def __call__(self, evidence):
        return bb.Scores.elementwise(lambda w: w.abs()[:3], evidence[Weights()])


def test_what_a_criterion_gives_is_counted():
    with pytest.raises(InvalidValue, match=r"3 scores for elements 0 to 128 of '0\.weight'\n.*\nmend its formula"):
        bb.prune(mlp(), sparsity=0.5, criterion=Misshapen())


def test_scores_and_start_weights_are_mappings():
    with pytest.raises(InvalidValue, match=r"scores of .*a list\nit must be a mapping"):
        bb.Scores.of([torch.rand(3)])
    with pytest.raises(InvalidValue, match=r"start is .*a list\nit must be a mapping"):
        bb.probe(mlp(), [Weights()], start=[torch.rand(3)])
