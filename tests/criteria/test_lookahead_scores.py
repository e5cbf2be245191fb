import copy

import numpy as np
import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.criteria import Lookahead, Magnitude
from budbreak.errors import InvalidValue, MissingEvidence
from budbreak.evidence import Weights, Wiring
from budbreak.testing import residual_cnn


def scores_of(model, example, *, norm=False, **given):
    evidence = bb.probe(model, [Weights(), Wiring()], batches=[example], **given)
    return {name: score.tensor() for name, score in Lookahead(norm)(evidence).items()}


def jacobian(model, example):
    return torch.autograd.functional.jacobian(lambda x: model(x[None]).flatten(), example).flatten(1)


def changes(model, example, name):
    """For each element of a weight the squared change of the network's Jacobian when it is set to 0."""
    weight, before = model.get_parameter(name), jacobian(model, example[0])
    found = torch.zeros_like(weight)
    for index in np.ndindex(*weight.shape):
        value = weight[index].item()
        weight.data[index] = 0
        found[index] = (jacobian(model, example[0]) - before).square().sum()
        weight.data[index] = value
    return found.detach()


def sequence(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*(layer() for layer in layers)).double()


def image(*shape):
    return torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


WINDOWS = lambda: nn.Conv2d(2, 3, 2, stride=2)  # noqa: E731  its windows do not overlap


@pytest.mark.parametrize(
    ("layers", "shape", "name"),
    [
        ([lambda: nn.Linear(4, 5), lambda: nn.Linear(5, 3), lambda: nn.Linear(3, 6)], (4,), "1.weight"),
        ([WINDOWS, lambda: nn.Conv2d(3, 4, 2), lambda: nn.Conv2d(4, 5, 1)], (2, 4, 4), "1.weight"),
        ([WINDOWS, lambda: nn.Conv2d(3, 4, 2), nn.Flatten, lambda: nn.Linear(36, 5)], (2, 8, 8), "1.weight"),
        ([WINDOWS, nn.Flatten, lambda: nn.Linear(12, 5), lambda: nn.Linear(5, 3)], (2, 4, 4), "2.weight"),
        ([WINDOWS, lambda: nn.Conv2d(3, 6, 2, groups=3), lambda: nn.Conv2d(6, 2, 1)], (2, 4, 4), "1.weight"),
        ([WINDOWS, lambda: nn.Conv2d(3, 4, 1), lambda: nn.Conv2d(4, 4, 2, groups=2)], (2, 4, 4), "1.weight"),
        ([WINDOWS, lambda: nn.Conv2d(3, 4, 1)], (2, 2, 2), "0.weight"),
        (
            [lambda: nn.Conv2d(2, 4, 1), lambda: nn.ConvTranspose2d(4, 6, 1, groups=2), nn.Flatten],
            (2, 1, 1),
            "1.weight",
        ),
        ([lambda: nn.Linear(4, 3)], (4,), "0.weight"),
    ],
    ids=["linear", "conv", "conv-linear", "linear-after-conv", "depthwise", "grouped-behind", "first", "last", "alone"],
)
def test_a_score_is_the_squared_change_of_the_product_of_three_layers(layers, shape, name):
    model, example = sequence(*layers), image(*shape)
    assert torch.allclose(scores_of(model, example)[name], changes(model, example, name), rtol=1e-9)


def test_a_kernel_that_slides_over_p_positions_changes_p_times_as_much():
    model = sequence(WINDOWS, lambda: nn.Conv2d(3, 4, 2), lambda: nn.Conv2d(4, 5, 1))
    example = image(2, 8, 8)  # 3 x 3 positions
    assert torch.allclose(9 * scores_of(model, example)["1.weight"], changes(model, example, "1.weight"), rtol=1e-9)


def test_golden_numbers():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    model[0].weight.data = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    model[2].weight.data = torch.tensor([[1.0, -1.0], [2.0, 0.5]])
    scores = scores_of(model, torch.ones(1, 2))
    # columns behind: 1 + 4 = 5, 1 + 0.25 = 1.25; rows before: 1 + 4 = 5, 9 + 0 = 9
    assert scores["0.weight"].tolist() == [[1 * 5, 4 * 5], [9 * 1.25, 0]]
    assert scores["2.weight"].tolist() == [[1 * 5, 1 * 9], [4 * 5, 0.25 * 9]]


def squares(weight, dims):
    return weight.detach().double().square().sum(dims).numpy()


def expected(weight, before, behind):
    """w^2 * before[i] * behind[o], by a loop over all elements."""
    found = np.empty(weight.shape)
    for index in np.ndindex(*weight.shape):
        found[index] = weight[index].item() ** 2 * before[index[1]] * behind[index[0]]
    return found


@pytest.mark.parametrize("norm", [False, True])
def test_a_residual_block_counts_branches_and_adds_one_for_the_identity(norm):
    model, example = residual_cnn(), torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    for number, layer in enumerate((model.norm, model.norm1, model.norm2)):
        layer.running_var.data = torch.rand(4, generator=torch.Generator().manual_seed(number)) + 0.5
        layer.weight.data = torch.randn(4, generator=torch.Generator().manual_seed(10 + number))
    scores = scores_of(model, example, norm=norm)

    def scale(layer):
        factor = (layer.weight.double() / (layer.running_var.double() + layer.eps).sqrt()).square()
        return factor.detach().numpy() if norm else np.ones(4)

    rows = {name: squares(model.get_parameter(f"{name}.weight"), (1, 2, 3)) for name in ("stem", "conv1", "conv2")}
    columns = {name: squares(model.get_parameter(f"{name}.weight"), (0, 2, 3)) for name in ("conv1", "conv2")}
    columns["fc"] = squares(model.fc.weight, (0,))
    ones = np.ones(4)
    formulas = {
        "stem": (np.ones(3), scale(model.norm) * (columns["conv1"] + 1)),
        "conv1": (rows["stem"] * scale(model.norm), scale(model.norm1) * columns["conv2"]),
        "conv2": (rows["conv1"] * scale(model.norm1), scale(model.norm2) * columns["fc"]),
        "fc": (rows["conv2"] * scale(model.norm2) + 1, ones),
    }
    for name, (before, behind) in formulas.items():
        weight = model.get_parameter(f"{name}.weight")
        assert np.allclose(scores[f"{name}.weight"].numpy(), expected(weight, before, behind), rtol=1e-12)


def test_norms_count_as_if_they_were_folded_into_their_layers():
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(2, 3, 2),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Conv2d(3, 4, 1),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 2, 1),
    ]
    model = nn.Sequential(*layers).double()
    for layer in (model[1], model[4]):
        nn.init.uniform_(layer.running_var, 0.5, 2)
        nn.init.normal_(layer.weight)
    folded = copy.deepcopy(model)
    for at in (0, 3):
        scale = model[at + 1].weight / (model[at + 1].running_var + model[at + 1].eps).sqrt()
        folded[at].weight.data *= scale.data[:, None, None, None]
    with_norm, without = scores_of(model, image(2, 4, 4), norm=True), scores_of(folded, image(2, 4, 4))
    for name in ("3.weight", "5.weight"):  # for the first layer the norm of the one behind does not count
        assert torch.allclose(with_norm[name], without[name], rtol=1e-12)
    assert not torch.allclose(with_norm["3.weight"], scores_of(model, image(2, 4, 4))["3.weight"])


class Branches(nn.Module):
    """One layer feeds two, whose outputs are joined."""

    def __init__(self):
        super().__init__()
        self.stem, self.left, self.right = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 5)
        self.joint, self.table = nn.Linear(7, 2), nn.Embedding(6, 3)

    def forward(self, x):
        x = self.stem(self.table(x))
        return self.joint(torch.cat([self.left(x), self.right(x)], -1))


def test_several_consumers_add_up_and_concatenated_producers_keep_their_columns():
    torch.manual_seed(0)
    model = Branches()
    scores = scores_of(model, torch.tensor([0, 3]))
    both = squares(model.left.weight, (0,)) + squares(model.right.weight, (0,))
    before = squares(model.table.weight, (0,))  # not prunable itself
    assert np.allclose(scores["stem.weight"].numpy(), expected(model.stem.weight, before, both))
    rows = np.concatenate([squares(model.left.weight, (1,)), squares(model.right.weight, (1,))])
    assert np.allclose(scores["joint.weight"].numpy(), expected(model.joint.weight, rows, np.ones(2)))


def test_a_weight_that_is_called_twice_sums_over_its_calls():
    torch.manual_seed(0)
    twice = nn.Linear(3, 3, bias=False)
    model = nn.Sequential(twice, nn.ReLU(), twice)
    rows, columns = squares(twice.weight, (1,)), squares(twice.weight, (0,))
    first, second = expected(twice.weight, np.ones(3), columns), expected(twice.weight, rows, np.ones(3))
    assert np.allclose(scores_of(model, torch.randn(2, 3))["0.weight"].numpy(), first + second)


def test_a_tied_weight_is_found_by_the_name_that_the_rule_gives_it():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.fc, self.last = nn.Embedding(5, 3), nn.Linear(3, 3), nn.Linear(3, 5, bias=False)
            self.last.weight = self.table.weight

        def forward(self, x):
            return self.last(self.fc(self.table(x)))

    torch.manual_seed(0)
    model, tokens = Tied(), torch.tensor([[1, 2]])
    usual = scores_of(model, tokens)
    assert list(usual) == ["fc.weight", "last.weight"]
    renamed = scores_of(model, tokens, prunable=lambda name, layer, weight: name in ("table.weight", "fc.weight"))
    assert torch.equal(renamed["table.weight"], usual["last.weight"])
    assert torch.equal(renamed["fc.weight"], usual["fc.weight"])


def test_what_is_no_layer_of_its_own_is_scored_by_its_square():
    torch.manual_seed(0)
    model = nn.GRU(3, 4)
    scores = scores_of(model, torch.randn(2, 5, 3), prunable=bb.including("*weight*"))
    assert torch.equal(scores["weight_hh_l0"], model.weight_hh_l0.detach().double().square())


def test_a_transformer_is_scored_and_attention_is_a_factor_of_one():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 6, batch_first=True)
    scores = scores_of(model, torch.randn(2, 5, 8))
    # behind out_proj lie linear1 and, by the identity path, the output
    behind = squares(model.linear1.weight, (0,)) + 1
    assert np.allclose(
        scores["self_attn.out_proj.weight"].numpy(), expected(model.self_attn.out_proj.weight, np.ones(8), behind)
    )


def test_it_needs_batches_and_says_so():
    with pytest.raises(MissingEvidence, match="no batches were given"):
        bb.prune(sequence(lambda: nn.Linear(3, 2)), sparsity=0.5, criterion=Lookahead())


def test_a_weight_that_is_never_called_is_named():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.idle = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            return self.fc(x)

    with pytest.raises(InvalidValue, match=r"'idle\.weight' of Idle is never called") as caught:
        scores_of(Idle(), torch.randn(2, 3))
    assert "bb.excluding('idle.weight')" in str(caught.value)
    assert list(scores_of(Idle(), torch.randn(2, 3), prunable=bb.excluding("idle.*"))) == ["fc.weight"]


def test_it_prunes_in_one_line_and_not_as_magnitude_does():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    batches = [torch.randn(4, 6)]
    masks = [
        bb.prune(copy.deepcopy(model), sparsity=0.5, criterion=criterion, batches=batches)
        for criterion in (Lookahead(), Magnitude())
    ]
    assert masks[0].kept == masks[1].kept
    assert masks[0] != masks[1]
