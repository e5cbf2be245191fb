import torch
from budbreak.studies.job import layer_results
from torch import nn

import budbreak as bb


def test_units_of_each_layer_are_those_of_its_kind():
    """Rows of Linear, columns of ConvTranspose by group: dead ones counted by hand."""
    model = nn.Sequential(nn.ConvTranspose1d(4, 6, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(30, 5))
    entries = {name: torch.ones(p.shape, dtype=torch.bool) for name, p in model.named_parameters() if p.dim() > 1}
    entries["0.weight"][:2, 1] = False  # column 1 of the first group's inputs: unit 1
    entries["0.weight"][1, 2] = False  # half of unit 2
    entries["3.weight"][3:] = False
    mask = bb.Mask(entries)
    dead = bb.dead_neurons(model, [torch.randn(2, 4, 3)], mask=mask)
    assert [(r.name, r.units, r.static_units) for r in layer_results(model, mask, dead)] == [
        ("0.weight", 6, 1),
        ("3.weight", 5, 2),
    ]
    assert [s.static_units for s in dead.sites] == [1]
    assert [r.dynamic for r in layer_results(model, mask, None)] == [None, None]
