"""Prune one network on two processes, each with half of the data, under DistributedDataParallel.

Run by plain python it starts its own two processes; under torchrun leave `main` away and call `work` alone.
"""

import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

import budbreak as bb


def work(rank: int, ranks: int, folder: str) -> None:
    meeting = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=ranks)
    torch.manual_seed(0)
    x = torch.randn(400, 12)
    y = (x[:, :6].sum(1) > x[:, 6:].sum(1)).long()
    data = TensorDataset(x, y)
    mine = DistributedSampler(data, ranks, rank, drop_last=True)  # equally many batches on all ranks
    batches = DataLoader(data, batch_size=25, sampler=mine)

    model = DistributedDataParallel(nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 2)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = bb.schedules.Geometric(rate=0.3, levels=3)
    plan = bb.Plan(criterion=bb.criteria.Taylor(), schedule=schedule, then=[bb.ActivateWhilePruning(q=0.02)])
    options = {"batches": batches, "loss": nn.functional.cross_entropy, "store": Path(folder) / "store"}
    with bb.iterate(model, optimizer, plan, **options) as levels:  # on all ranks; rank 0 alone writes the store
        for level in levels:
            model.train()
            for epoch in level.epochs(2):
                mine.set_epoch(epoch)
                for inputs, targets in batches:
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(inputs), targets).backward()
                    optimizer.step()
            if rank == 0:  # a number is recorded on one rank, or is the same on all
                model.eval()
                with torch.no_grad():
                    level.record(accuracy=(model.module(x).argmax(1) == y).float().mean())
    if rank == 0:
        for record in levels.history:
            print(f"{record.world_size} ranks, density {record.density:.1%}, accuracy {record.metrics['accuracy']:.1%}")
    torch.distributed.barrier()  # a rank that leaves first would take its connections from one that still works
    torch.distributed.destroy_process_group()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # A fork server's processes end at once. One that takes its interpreter apart first is aborted now and then by a
        # thread of gloo letting go of a tensor: these threads outlive DistributedDataParallel (pytorch issue 190489).
        torch.multiprocessing.start_processes(work, args=(2, folder), nprocs=2, start_method="forkserver")


if __name__ == "__main__":
    main()
