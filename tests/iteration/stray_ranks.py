"""What may go wrong between ranks: in each fault they stray from each other."""

import dataclasses

import torch
from ranks_run import Half, carry_out, geometric, iterate
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.evidence import Weights


@dataclasses.dataclass(frozen=True)
class Local:
    """A criterion that finds something else on each rank."""

    needs = (Weights(),)

    def __call__(self, evidence):
        torch.manual_seed(torch.distributed.get_rank())
        return bb.Scores.elementwise(lambda w: torch.rand(w.shape), evidence[Weights()])


def other_seed(rank):
    carry_out(Half(rank, wrap=False), geometric(), seed=rank)


def other_plan(rank):
    carry_out(Half(rank, wrap=False), geometric(2 + rank))


def other_weights(rank):
    half = Half(rank, wrap=False)
    with torch.no_grad():
        half.plain[6].bias.add_(float(rank))
    carry_out(half, geometric())


def not_averaged(rank):
    carry_out(Half(rank, wrap=False), geometric(criterion=bb.criteria.Magnitude(), rewind_to=None))


def local_criterion(rank):
    carry_out(Half(rank, wrap=False), geometric(criterion=Local()))


def diverged(rank):
    half = Half(rank, wrap=False)

    def each(half):
        if rank == 1 and half.steps == 2:
            half.plain[0].weight.data[0, 0] = float("nan")

    carry_out(half, geometric(), each=each)


def fewer_steps(rank):
    half = Half(rank, wrap=False)
    half.x = half.x[: 24 if rank == 0 else 16]
    carry_out(half, geometric())


def other_numbers(rank):
    half = Half(rank)
    with iterate(half, geometric()) as levels:
        for level in levels:
            half.epoch()
            level.record(accuracy=0.5 + rank)


def fewer_epochs(rank):
    carry_out(Half(rank, wrap=False), geometric(), epochs=1 + rank)


def bad_argument(rank):
    half = Half(rank, wrap=False)
    carry_out(half, geometric(), loss=None if rank == 1 else cross_entropy)


def sharded_weights(rank):
    half = Half(rank, wrap=False)
    fully_shard(half.plain, mesh=init_device_mesh("cpu", (2,)))
    half.optimizer = torch.optim.SGD(half.plain.parameters(), lr=0.1)
    carry_out(half, geometric())


def sharded_optimizer(rank):
    from torch.distributed.optim import ZeroRedundancyOptimizer  # warns of its own use of torch.jit

    half = Half(rank)
    half.optimizer = ZeroRedundancyOptimizer(half.plain.parameters(), torch.optim.SGD, lr=0.1)
    carry_out(half, geometric())


FAULTS = (
    sharded_weights,
    sharded_optimizer,
    other_seed,
    other_plan,
    other_weights,
    not_averaged,
    local_criterion,
    diverged,
    fewer_steps,
    other_numbers,
    fewer_epochs,
    bad_argument,
)
