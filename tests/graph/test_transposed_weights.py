"""Weights that a forward pass transposes itself: units are columns of the product, static as the parameter says."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import budbreak as bb


class Products(nn.Module):
    """A product with ``weight`` [6, 4] as given, and a ReLU."""

    def __init__(self, product):
        super().__init__()
        self.product, self.fc, self.relu = product, nn.Linear(4, 6, bias=False), nn.ReLU()

    def forward(self, x):
        return self.relu(self.product(x, self.fc.weight))


ROWS = [
    lambda x, w: x @ w.t(),
    lambda x, w: torch.matmul(x, w.T),
    lambda x, w: x @ w.transpose(0, 1).t().mT,
    lambda x, w: functional.linear(x, w.to(torch.float64)),
    lambda x, w: (x.flatten(0, -2).mm(w.permute(1, 0))).view(*x.shape[:-1], 6),
]
COLUMNS = [
    lambda x, w: functional.linear(x, w.t()),
    lambda x, w: x @ w,
    lambda x, w: x @ w.t().T.double(),
]


@pytest.mark.parametrize("shape", [(5, 3), (5,)])
@pytest.mark.parametrize(("product", "dim"), [*((p, 0) for p in ROWS), *((p, 1) for p in COLUMNS)])
def test_units_are_rows_or_columns_of_the_parameter(product, dim, shape):
    torch.manual_seed(0)
    model = Products(product).double()
    with torch.no_grad():
        model.fc.weight[1:3] = 0
        model.fc.weight[:, 3] = 0
    x = torch.randn(*shape, 4 if dim == 0 else 6, dtype=torch.float64)
    (site,) = bb.dead_neurons(model, [x]).sites
    units = model.fc.weight.detach().movedim(dim, 0).flatten(1)
    assert (site.units, site.positions, site.weight) == (len(units), 1, "fc.weight")
    assert site.static_units == int((units == 0).all(1).sum())
    out = model(x).flatten(0, -2)
    assert site.total == pytest.approx(float((out == 0).double().mean()))


def test_a_matrix_that_all_samples_share_has_units_in_its_columns():
    (site,) = bb.dead_neurons(Products(lambda x, w: x @ (2 * w.t() + 1)), [torch.randn(5, 3, 4)]).sites
    assert (site.units, site.positions, site.weight, site.assumed) == (6, 1, None, False)
