"""Compare two plans in your own loop, over three seeds, and write the report: page, figures, tables."""

import tempfile
from pathlib import Path

import torch
from torch import nn

import budbreak as bb

x = torch.randn(600, 20, generator=torch.Generator().manual_seed(0))
y = (x[:, :10].sum(1) > x[:, 10:].sum(1)).long()


def pruned(seed: int, then: list) -> tuple:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    plan = bb.Plan(criterion=bb.criteria.Magnitude(), schedule=bb.schedules.Geometric(rate=0.4, levels=4), then=then)
    with bb.iterate(model, optimizer, plan, seed=seed) as levels:
        for level in levels:
            for _ in level.epochs(5):
                for batch in torch.randperm(500).split(50):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
                    optimizer.step()
            level.record(accuracy=(model(x[500:]).argmax(1) == y[500:]).float().mean())
    return levels.history


arms = {"host": [], "ap": [bb.ActivateWhilePruning(q=0.02)]}
histories = {arm: [pruned(seed, then) for seed in range(3)] for arm, then in arms.items()}
with tempfile.TemporaryDirectory() as folder:
    page = bb.report(histories, folder, name="two plans", formats=("html", "csv", "md"))
    print(page.name, *sorted(path.name for path in Path(folder).iterdir() if path != page))
    print(page.with_name("tables.md").read_text(encoding="utf-8"))
