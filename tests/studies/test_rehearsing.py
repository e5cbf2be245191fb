"""What a rehearsal on a few images refuses, and what it needs more of them for."""

import dataclasses

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.criteria import APoZ, Movement, Taylor, Wanda
from budbreak.data import Images
from budbreak.errors import InvalidValue, TooManySpared, Unreached
from budbreak.studies.rehearsing import Rehearsal

IMAGES = Images(
    torch.randint(256, (40, 1, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    torch.arange(40) % 3, mean=(0.5,), std=(0.5,),
)  # fmt: skip


class Rarely(nn.Module):
    """Its second branch is for bright batches only."""

    def __init__(self, *, ever=True):
        super().__init__()
        self.ways, self.last, self.ever = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)]), nn.Linear(4, 3), ever

    def forward(self, x):
        bright = self.ever and float(x.mean()) > 0.9
        return self.last(self.ways[int(bright)](x.flatten(1)).relu())


def rehearsal(model, criterion, images=IMAGES, **options):
    plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.4, levels=3), criterion=criterion, **options)
    keep = plan.targets(bb.Mask.dense(model, plan.prunable).total)[1].keep
    return Rehearsal(plan, keep, (), model, images)


@pytest.mark.parametrize("criterion", [Taylor(), Wanda(), Movement()], ids=str)
def test_a_branch_that_few_images_reach_is_looked_for_in_more(criterion):
    bright = IMAGES.images.clone()
    bright[24:32] = 255
    rehearsal(Rarely(), criterion, dataclasses.replace(IMAGES, images=bright)).carry_out()
    with pytest.raises(Unreached, match=r"'ways\.1\.weight'"):
        rehearsal(Rarely(ever=False), criterion, IMAGES).carry_out()


def test_what_the_last_level_cannot_reach_is_known_before_anything_is_trained():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    with pytest.raises(
        TooManySpared, match=r"level 3 of .*: 6 of 28 weights stay, but .*spares 12: all of '3\.weight'"
    ):
        rehearsal(model, APoZ()).carry_out()


def test_too_few_weights_for_a_path_to_each_class_are_known_before_anything_is_trained():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    options = {"scope": bb.masks.Layer(), "connect": True}
    rehearsal(model, Taylor(), **options).carry_out()  # 3 of 12 stay
    steep = bb.schedules.Geometric(rate=0.6, levels=3)
    with pytest.raises(
        InvalidValue,
        match=r"^level 3 of Geometric.*: no path to class \d fits in .*1 of '3\.weight' stay\n.*\n.*floor=3",
    ):
        dataclasses.replace(
            rehearsal(model, Taylor(), **options), plan=bb.Plan(schedule=steep, criterion=Taylor(), **options)
        ).carry_out()
