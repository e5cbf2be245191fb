import copy

import torch
from torch import nn

import budbreak as bb
from budbreak.masks import Global, Layer, Rows
from budbreak.recipes import load_recipe
from budbreak.schedules import OneShot

torch.manual_seed(0)
MODEL = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
BATCHES = [torch.randn(16, 6)]


def pruned(**given):
    return bb.prune(copy.deepcopy(MODEL), sparsity=0.5, criterion=bb.criteria.Wanda(), batches=BATCHES, **given)


def test_a_criterion_competes_where_it_is_meant_to():
    assert pruned() == pruned(scope=Rows()) != pruned(scope=Global())
    assert all(entry.sum(1).eq(entry.shape[1] // 2).all() for entry in pruned().values())


def test_units_compete_globally_unless_a_scope_is_given():
    assert pruned(granularity=bb.Unit()) == pruned(granularity=bb.Unit(), scope=Global())


def test_a_plan_has_the_scope_of_its_criterion():
    criteria = (bb.criteria.Wanda(), bb.criteria.RIA(), bb.criteria.Lookahead(), bb.criteria.Magnitude())
    arenas = [bb.Plan(schedule=OneShot(sparsity=0.5), criterion=criterion).arena for criterion in criteria]
    assert arenas == [Rows(), Layer(), Layer(), Global()]
    assert bb.Plan(schedule=OneShot(sparsity=0.5), criterion=bb.criteria.Wanda(), scope=Layer()).arena == Layer()


def test_so_has_an_arm(tmp_path):
    recipe = tmp_path / "hosts.toml"
    recipe.write_text("""
[data]
name = "digits"
[network]
name = "mlp"
[train]
epochs = 1
[arms.magnitude]
[arms.wanda]
"prune.criterion" = "wanda"
[arms.everywhere]
"prune.criterion" = "wanda"
"prune.scope" = "global"
""")
    scopes = {arm.name: arm.setup.prune.scope for arm in load_recipe(recipe).arms}
    assert scopes == {"magnitude": Global(), "wanda": Rows(), "everywhere": Global()}
