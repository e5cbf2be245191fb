"""Products, paddings, weights without a layer: calls that are not plain layers one after another."""

import pytest
import torch
from shapes import apart, widths
from torch import nn

import budbreak as bb


class Swish(nn.Module):
    """A gated block as in language models, without biases."""

    def __init__(self):
        super().__init__()
        self.gate, self.up, self.down = (nn.Linear(*size, bias=False) for size in ((4, 6), (4, 6), (6, 2)))

    def forward(self, x):
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))


@pytest.mark.parametrize("name", ["gate", "up"])
def test_what_is_multiplied_by_zero_is_dead(name):
    model = Swish().double()
    getattr(model, name).weight.data[[1, 4]] = 0
    inputs = torch.randn(3, 4, dtype=torch.float64)
    smaller = bb.compact(model, inputs).model
    assert (smaller.gate.out_features, smaller.up.out_features, smaller.down.in_features) == (4, 4, 4)
    assert apart(model, smaller, inputs) < 1e-15


def test_a_zero_that_the_inputs_make_is_not_dead():
    model = Swish().double()
    model.up.weight.data[1, 1:] = 0
    smaller = bb.compact(model, torch.tensor([[0.0, 1, 2, 3]], dtype=torch.float64)).model
    assert smaller.up.out_features == 6


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
def test_other_paddings_than_zeros_are_exact(mode):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1, padding_mode=mode)).double()
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0, 0.5
    images = torch.randn(2, 1, 7, 7, dtype=torch.float64)
    compacted = bb.compact(model, images)
    assert widths(compacted.model) == [2, 2]
    assert compacted.difference < 1e-14


def test_weights_that_are_multiplied_without_a_layer():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Parameter(torch.randn(3, 5)), nn.Parameter(torch.randn(5, 5))

        def forward(self, x):
            return (x @ self.first).tanh() @ self.last

    model = Plain().double()
    model.first.data[:, 0] = model.last.data[2] = 0  # square: rows are read, columns are made
    inputs = torch.randn(4, 3, dtype=torch.float64)
    compacted = bb.compact(model, inputs)
    assert (compacted.model.first.shape, compacted.difference < 1e-15) == ((3, 3), True)


def test_a_model_that_draws_at_random_is_told_apart():
    class Draws(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.last(nn.functional.dropout(self.first(x), 0.5, training=True))

    model = Draws()
    model.last.weight.data[:, 0] = 0
    with pytest.raises(bb.errors.InvariantBroken, match="gives other outputs when it is run again"):
        bb.compact(model, torch.randn(4, 3))


class Turned(nn.Module):
    """Units change places between two layers, by numbers that the code spells out; outputs may be small."""

    def __init__(self, turn, scale):
        super().__init__()
        self.first, self.last, self.turn, self.scale = nn.Linear(3, 6), nn.Linear(6, 2), turn, scale

    def forward(self, x):
        return self.last(self.turn(self.first(x).relu())) * self.scale, x * 100


TURNS = {
    "roll": lambda h: h.roll(2, -1),
    "halves": lambda h: torch.cat([h[:, 3:], h[:, :3]], -1),
    "from-the-end": lambda h: torch.cat([h[:, -3:], h[:, :-3]], -1),
}


@pytest.mark.parametrize("scale", [1, 1e-9])
@pytest.mark.parametrize("name", TURNS)
def test_places_that_are_spelt_out_leave_units_however_small_outputs_are(name, scale):
    torch.manual_seed(0)
    model = Turned(TURNS[name], scale).double()
    with torch.no_grad():
        model.last.weight[:, [0, 3]] = 0
    inputs = torch.randn(4, 3, dtype=torch.float64)
    compacted = bb.compact(model, inputs)
    assert "sizes were given to" in str(compacted.left[0])
    assert compacted.model.first.out_features == 6
    assert torch.equal(compacted.model(inputs)[0], model(inputs)[0])


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_modules_inside_stay():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), torch.jit.script(nn.Tanh()), nn.Linear(5, 2))
    model[2].weight.data[:, 1] = 0
    assert bb.compact(model, torch.randn(2, 3)).model[0].out_features == 3


def test_the_places_of_what_is_not_zero_are_no_product():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            h = self.first(x)
            return self.last(h.relu()) + torch.where(h > 0)[1].sum()

    model = Counting()
    model.last.weight.data[:, 2] = 0
    assert bb.compact(model, torch.randn(2, 3)).model.first.out_features == 4


def pruned_by_torch():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    nn.utils.prune.ln_structured(model[0], "weight", 0.5, 2, 0)  # its weight has a history until the next call
    return model


def test_of_a_model_that_torch_pruned_or_trains_its_computed_weights_are_copied():
    model, inputs = pruned_by_torch(), torch.randn(3, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    smaller = bb.compact(model, inputs, optimizer=optimizer).model
    assert smaller[0].weight_orig.shape == smaller[0].weight_mask.shape == (3, 4)
    smaller(inputs).sum().backward()
    optimizer.step()
    kept = model[0].weight_mask.any(1)
    assert not torch.equal(smaller[2].weight, model[2].weight[:, kept])
    assert bb.replace_activations(pruned_by_torch(), {}, example=inputs)(inputs).shape == (3, 2)
    assert bb.lowrank.reconstruct(pruned_by_torch(), {"2.weight": 1})(inputs).shape == (3, 2)


def test_products_inside_an_activation_are_not_those_behind_it():
    """Its calls are one node in the end; the nodes that follow have their numbers."""
    act, behind = bb.activations.Swish(trainable=True).module(), [nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 5, 1)]
    model = nn.Sequential(nn.Conv2d(3, 4, 3), act, nn.Conv2d(4, 6, 1), *behind, nn.BatchNorm2d(5)).eval()
    with torch.no_grad():
        model[0].weight[1:3] = 0
        model[0].bias[1:3] = 0
    x = torch.randn(2, 3, 8, 8)
    small = bb.compact(model, x).model
    assert small[0].out_channels == 2
    torch.testing.assert_close(small(x), model(x))
