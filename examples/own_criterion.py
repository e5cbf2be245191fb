"""A criterion of your own is one small frozen class; every plan, mask and arm takes it."""

from dataclasses import dataclass

import torch
from torch import nn

import budbreak as bb
from budbreak.evidence import StartWeights, Weights


@dataclass(frozen=True)
class TowardsZero:
    """Keep weights that grew: score[i] = |w[i]| - |w_start[i]| (magnitude increase, Zhou et al. 2019)."""

    needs = (Weights(), StartWeights())

    def __call__(self, evidence: bb.Evidence) -> bb.Scores:
        """Scores: name -> float [shape of the weight]."""
        return bb.Scores.elementwise(lambda w, s: w.abs() - s.abs(), evidence[Weights()], evidence[StartWeights()])


torch.manual_seed(0)
x, y = torch.randn(500, 10), torch.randint(0, 2, (500,))
model = nn.Sequential(nn.Linear(10, 50), nn.ReLU(), nn.Linear(50, 2))
optimizer = torch.optim.AdamW(model.parameters())
plan = bb.Plan(criterion=TowardsZero(), schedule=bb.schedules.OneShot(sparsity=0.8), scope=bb.masks.Layer())
with bb.iterate(model, optimizer, plan) as levels:
    for level in levels:
        for _ in level.epochs(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(level, f"{level.mask.kept} weights stay")
