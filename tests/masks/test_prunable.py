import pickle

import pytest
import torch
from torch import nn

from budbreak.errors import NothingToPrune, UnknownName
from budbreak.masks import conv_and_linear, every_weight, excluding, prunable_parameters, unwrap
from budbreak.masks.prunable import parameters_named, rule_name
from budbreak.testing import mlp, residual_cnn


def everything():
    return nn.ModuleDict(
        {
            "embedding": nn.Embedding(5, 4),
            "linear": nn.Linear(4, 3),
            "conv1": nn.Conv1d(2, 2, 3),
            "conv2": nn.Conv2d(2, 2, 3),
            "conv3": nn.Conv3d(2, 2, 3),
            "up": nn.ConvTranspose2d(2, 2, 3),
            "batch": nn.BatchNorm2d(3),
            "layer": nn.LayerNorm(3),
            "slope": nn.PReLU(),
            "gru": nn.GRU(2, 2),
        }
    )


def test_by_default_linear_and_convolution_weights_are_prunable():
    names = ["linear.weight", "conv1.weight", "conv2.weight", "conv3.weight", "up.weight"]
    assert list(prunable_parameters(everything())) == names


def test_every_weight_takes_norms_and_embeddings_but_no_bias():
    names = list(prunable_parameters(everything(), every_weight))
    assert {"embedding.weight", "batch.weight", "layer.weight", "slope.weight"} < set(names)
    assert not [name for name in names if "bias" in name]
    assert not [name for name in names if name.startswith("gru")]  # their own names are weight_ih_l0 and so on


@pytest.mark.parametrize("model", [mlp(), residual_cnn(), everything()], ids=["mlp", "cnn", "everything"])
@pytest.mark.parametrize("rule", [conv_and_linear, every_weight, lambda *_: True], ids=["default", "weights", "all"])
def test_names_are_those_of_state_dict_in_its_order(model, rule):
    found = prunable_parameters(model, rule)
    assert list(found) == [name for name in model.state_dict() if name in found]
    assert all(found[name] is model.get_parameter(name) for name in found)


def test_excluding_leaves_out_globs():
    model = residual_cnn()
    assert list(prunable_parameters(model, excluding("fc.*"))) == ["stem.weight", "conv1.weight", "conv2.weight"]
    assert list(prunable_parameters(model, excluding("fc.*", "conv?.weight"))) == ["stem.weight"]
    with pytest.raises(UnknownName, match=r"'FC\.\*' matches no parameter"):
        prunable_parameters(model, excluding("FC.*"))  # case matters
    nested = excluding("stem.*", of=excluding("fc.*"))
    assert list(prunable_parameters(model, nested)) == ["conv1.weight", "conv2.weight"]
    norms = excluding("conv*", "stem*", "fc*", of=every_weight)
    assert list(prunable_parameters(model, norms)) == ["norm.weight", "norm1.weight", "norm2.weight"]


def test_a_rule_is_described_and_travels():
    rule = excluding("fc.*", of=every_weight)
    assert rule_name(rule) == "excluding('fc.*', of=every_weight)"
    assert rule_name(conv_and_linear) == "conv_and_linear"
    model = residual_cnn()
    assert list(prunable_parameters(model, pickle.loads(pickle.dumps(rule)))) == list(prunable_parameters(model, rule))


def test_a_tied_parameter_appears_once_under_its_first_prunable_name():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    assert list(prunable_parameters(model)) == ["0.weight", "1.weight"]
    shared = nn.Linear(2, 2)
    assert list(prunable_parameters(nn.Sequential(shared, nn.ReLU(), shared))) == ["0.weight"]
    language = nn.ModuleDict({"embedding": nn.Embedding(5, 4), "head": nn.Linear(4, 5)})
    language["head"].weight = language["embedding"].weight
    assert list(prunable_parameters(language)) == ["head.weight"]


def test_nothing_to_prune_says_what_was_looked_for():
    with pytest.raises(NothingToPrune, match="LayerNorm has no prunable weight by the rule conv_and_linear"):
        prunable_parameters(nn.LayerNorm(3))
    with pytest.raises(NothingToPrune, match=r"excluding\('\*'"):
        prunable_parameters(mlp(), excluding("*"))


def test_a_bare_layer_has_names_without_a_dot():
    layer = nn.Linear(2, 3)
    assert list(prunable_parameters(layer)) == ["weight"]
    assert parameters_named(layer, ["weight"])["weight"] is layer.weight


def test_the_mapping_cannot_be_changed():
    with pytest.raises(TypeError):
        prunable_parameters(mlp())["0.weight"] = None


def test_parameters_named_knows_tied_names_and_suggests():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    found = parameters_named(model, ["1.weight", "0.weight"])
    assert list(found) == ["1.weight", "0.weight"]
    assert all(parameter is model[0].weight for parameter in found.values())
    with pytest.raises(
        UnknownName, match=r"no parameter named 'fc9\.weight' in ResidualCNN\n.*\ndid you mean 'fc\.weight'"
    ):
        parameters_named(residual_cnn(), ["fc.weight", "fc9.weight"])


def test_wrappers_do_not_change_the_names():
    model = mlp()
    parallel = nn.DataParallel(model)
    assert unwrap(parallel) is model
    assert list(prunable_parameters(parallel)) == ["0.weight", "2.weight", "4.weight"]
    compiled = torch.compile(model, backend="eager")
    assert unwrap(compiled) is model
    assert parameters_named(compiled, ["2.weight"])["2.weight"] is model[2].weight
    assert unwrap(nn.DataParallel(compiled)) is model


@pytest.mark.parametrize("maker", ["torch.nn.parallel.data_parallel", "lightning.fabric.wrappers", "mine"])
@pytest.mark.parametrize("name", ["DataParallel", "_FabricModule"])
def test_a_wrapper_is_one_by_whose_class_it_is(name, maker):
    """A class of the user's with the same name is her own network; a subclass of a wrapper is a wrapper."""
    model = mlp()
    base = type(name, (nn.Module,), {"__module__": maker})
    for kind in (base, type("Mine", (base,), {})):
        outer = kind()
        outer.module, outer.head = model, nn.Linear(2, 2)
        assert unwrap(outer) is (outer if maker == "mine" else model)


def test_an_excluded_name_that_matches_nothing_is_refused():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    assert list(prunable_parameters(model, excluding("0.*"))) == ["1.weight"]
    with pytest.raises(UnknownName, match=r"'1\.wieght' matches no parameter") as caught:
        prunable_parameters(model, excluding("1.wieght"))
    assert "did you mean '1.weight'?" in str(caught.value)
