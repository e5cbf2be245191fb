"""Units that are dead on a calibration set alone go if it is asked for, and outputs on it stay."""

import copy

import numpy as np
import pytest
import torch
from shapes import apart, image_net, widths
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue, InvariantBroken


def rows(count=400, seed=0):
    return torch.rand(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mlp():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 4)).double().eval()
    with torch.no_grad():
        model[0].bias[:3] -= 2  # dead on numbers of 0 to 1, not on others
        model[2].bias[6:] -= 3
    return model


def never_active(model, inputs):
    """By numpy: which units of both hidden layers are 0 for all rows."""
    found, values = [], inputs.numpy()
    for layer in (model[0], model[2]):
        values = np.maximum(values @ layer.weight.detach().numpy().T + layer.bias.detach().numpy(), 0)
        found.append(int((values == 0).all(0).sum()))
    return found


def test_units_that_are_never_active_on_it_go():
    model, seen = mlp(), rows()
    before = copy.deepcopy(model.state_dict())
    dead = never_active(model, seen)
    assert min(dead) >= 3
    assert widths(bb.compact(model, seen).model) == [12, 9, 4], "by themselves none is dead"
    compacted = bb.compact(model, seen[:5], dead_on=seen)
    assert widths(compacted.model) == [12 - dead[0], 9 - dead[1], 4]
    assert apart(model, compacted.model, seen) < 1e-12
    assert apart(model, compacted.model, 9 * rows(50, 1) - 4) > 1e-3, "elsewhere they had a say"
    assert (compacted.on_data.samples, compacted.difference) == (400, apart(model, compacted.model, seen[:5]))
    assert f"on the 400 samples on which units were found dead: {compacted.on_data.difference:.3g}" in str(compacted)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_all_samples_count_and_not_the_first_few_hundred():
    model, seen = mlp(), rows(300)
    only = seen.clone()
    only[-1] = 9 * torch.tensor([1, -1, 1, -1, 1, -1.0])  # awakes some
    few, more = (bb.compact(model, seen[:5], dead_on=one) for one in (seen, only))
    assert sum(widths(few.model)) < sum(widths(more.model)) == 25 - sum(never_active(model, only))
    assert apart(model, more.model, only) < 1e-12


def test_what_only_fed_units_that_are_dead_on_it_goes_too():
    model, seen = mlp(), rows()
    with torch.no_grad():
        model[2].weight[:6, 5] = 0  # unit 5 is read by the last three alone, which are never active
    compacted = bb.compact(model, seen, dead_on=seen)
    assert 5 not in next(one.indices for one in compacted.plan.kept if (one.name, one.dim) == ("0.weight", 0))


def test_a_constant_that_is_not_zero_is_taken_over():
    model, seen = mlp(), rows()
    model[1] = nn.Hardtanh(-1, 1)
    with torch.no_grad():
        model[0].bias[0] += 30  # always at the upper end
    compacted = bb.compact(model, seen, dead_on=seen)
    assert 0 not in next(one.indices for one in compacted.plan.kept if (one.name, one.dim) == ("0.weight", 0))
    assert apart(model, compacted.model, seen) < 1e-12


@pytest.mark.parametrize("name", ["resnet", "vgg", "mobilenet"])
def test_networks_of_images_give_the_same_on_it(name):
    model, images = image_net(name)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias[::3] = -5.0
    compacted = bb.compact(model, images[:2], dead_on=images)
    assert apart(model, compacted.model, images) < 1e-10
    plain = bb.compact(model, images[:2])
    assert compacted.after.parameters <= plain.after.parameters


def test_the_plan_fits_another_instance_and_a_file(tmp_path):
    model, seen = mlp(), rows()
    compacted = bb.compact(model, seen, dead_on=seen)
    bb.export(compacted, tmp_path / "x.packed.safetensors", example=seen)
    loaded = bb.load_exported(tmp_path / "x.packed.safetensors", mlp())
    assert apart(loaded, compacted.model, seen) == 0


def test_a_tolerance_holds_on_the_example():
    model, seen = mlp(), rows()
    other = 9 * rows(50, 1) - 4
    assert bb.compact(model, other, dead_on=seen).difference > 1e-3
    with pytest.raises(InvariantBroken, match="an output differs by"):
        bb.compact(model, other, dead_on=seen, tolerance=1e-6)


@pytest.mark.parametrize(
    ("dead_on", "said"),
    [
        (rows(1), "gives the same for all 1 samples of dead_on"),
        (rows(2)[:0], "holds no sample"),
        (torch.zeros(3, 5, dtype=torch.float64), "does not take"),
        ("data", "dead_on|example|tensor"),
    ],
)
def test_what_is_no_calibration_set(dead_on, said):
    with pytest.raises(InvalidValue, match=said):
        bb.compact(mlp(), rows(), dead_on=dead_on)


# --- widths in multiples ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("multiple", "expected"), [(1, [5, 7, 4]), (2, [6, 8, 4]), (4, [8, 8, 4]), (8, [8, 8, 4]), (9, [9, 9, 4])]
)
def test_dead_units_stay_to_fill_widths_up(multiple, expected):
    model, seen = mlp(), rows()
    with torch.no_grad():
        model[0].weight[5:] = 0  # of 12 units 7, and of 9 units 2
        model[2].weight[:2] = 0
        model[2].bias[:2] = 0.5
    compacted = bb.compact(model, seen, multiple=multiple)
    assert widths(compacted.model) == expected
    assert apart(model, compacted.model, 9 * seen - 4) < 1e-12


def test_widths_are_as_they_were_where_too_few_are_dead():
    model, seen = mlp(), rows()
    with torch.no_grad():
        model[0].weight[11:] = 0
    assert widths(bb.compact(model, seen, multiple=8).model) == [12, 9, 4]
    with pytest.raises(InvalidValue, match="multiple is 8, and dead_on is given"):
        bb.compact(model, seen, multiple=8, dead_on=seen)
    with pytest.raises(InvalidValue, match="multiple is 0"):
        bb.compact(model, seen, multiple=0)
