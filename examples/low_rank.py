"""Ranks of a network pruned by whole units, beside networks of the same ranks: truncated, by PCA, trained factors."""

import contextlib

import torch
from torch import nn

import budbreak as bb
from budbreak.lowrank import WeightedNuclearNorm, factorize, reconstruct, spectrum_ratios

torch.manual_seed(0)
x = torch.randn(800, 30)
y = (x[:, :10] @ torch.randn(10, 4)).relu().argmax(1)
prunable = bb.excluding("4.*")  # the classifier stays as it is


def train(net: nn.Module, mask: bb.Mask | None = None, penalty: WeightedNuclearNorm | None = None) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with contextlib.nullcontext() if mask is None else bb.hold(net, optimizer, mask):
        for _ in range(30):
            for batch in torch.randperm(600).split(50):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
                optimizer.step()
                if penalty is not None:
                    penalty.apply(net, step=0.1, prunable=prunable)


def say(what: str, net: nn.Module) -> None:
    accuracy = (net(x[600:]).argmax(1) == y[600:]).float().mean()
    print(f"{what:40} {accuracy:.1%}, {sum(p.numel() for p in net.parameters()):,} parameters")


dense = nn.Sequential(nn.Linear(30, 60), nn.ReLU(), nn.Linear(60, 40), nn.ReLU(), nn.Linear(40, 4))
train(dense)
say("dense", dense)
before = bb.ranks(dense, prunable=prunable)
print(before)

pruned = nn.Sequential(nn.Linear(30, 60), nn.ReLU(), nn.Linear(60, 40), nn.ReLU(), nn.Linear(40, 4))
pruned.load_state_dict(dense.state_dict())
mask = bb.prune(
    pruned,
    sparsity=0.8,
    criterion=bb.criteria.APoZ(),
    granularity=bb.Unit(),
    batches=[x[:600]],
    prunable=prunable,
    floor=0.1,
)
after = bb.ranks(pruned, prunable=prunable)
print("\nsingular values after the pruning, against those before it, in %:")
print(spectrum_ratios(before, after), "\n")
train(pruned, mask)
say("whole units pruned by APoZ, fine-tuned", pruned)

ranks = {name: layer.numerical for name, layer in after.items()}  # = the units that survive
say(f"SVD of the dense one at ranks {list(ranks.values())}", reconstruct(dense, ranks))
say("PCA likewise, its mean kept", reconstruct(dense, ranks, method="pca"))
factors = factorize(dense, ranks, example=x)
train(factors)
say("factors of these ranks, fine-tuned", factors)

train(dense, penalty=WeightedNuclearNorm(0.01))
say("dense, with a weighted nuclear norm", dense)
print("its ranks:", {name: layer.numerical for name, layer in bb.ranks(dense, prunable=prunable).items()})
