"""An iteration stopped at each single write, and gone on with, ends with the bits of an uninterrupted one."""

from pathlib import Path

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.iteration import Store

GEOMETRIC, AP = bb.schedules.Geometric(rate=0.3, levels=2), bb.criteria.LeastMovedNegative()
PLANS = {
    "AP and observers": bb.Plan(
        schedule=GEOMETRIC,
        criterion=bb.criteria.ActivationCount(weighted=True, every=2),
        then=[bb.Remove(AP, 0.05), bb.Train(), bb.Remove(bb.criteria.Movement(), 0.05), bb.Remove(AP, 0.05)],
        rewind_to=bb.Step(2),
    ),
    "at initialization": bb.Plan(schedule=GEOMETRIC, then=[bb.Train()], train_dense=False, rounds=3),
}


class Stopped(Exception):
    """Stands for the kill."""


def train(store: Path, plan: str) -> list[str]:
    """Two levels of a small net with momentum, a scheduler, dropout, BatchNorm and shuffled batches."""
    torch.manual_seed(3)
    x = torch.randn(24, 5)
    y = (x[:, 0] > 0).long()
    model = nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    with bb.iterate(model, optimizer, PLANS[plan], resets=[scheduler], store=store) as levels:
        for level in levels:
            for _ in level.epochs(2):
                for batch in torch.randperm(24).split(8):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
                    optimizer.step()
                    scheduler.step()
            level.record(accuracy=0.5)
    return [record.end_digest for record in levels.history]


def stop_at(monkeypatch: pytest.MonkeyPatch, method: str, count: int, *, before: bool) -> None:
    """Raise at the count-th call of a method of `Store`, before or after it has done its work."""
    original, calls = getattr(Store, method), []

    def stopping(self, *arguments):
        calls.append(method)
        if before and len(calls) == count:
            raise Stopped
        original(self, *arguments)
        if not before and len(calls) == count:
            raise Stopped

    monkeypatch.setattr(Store, method, stopping)


@pytest.mark.parametrize(
    ("plan", "before"), [("AP and observers", True), ("AP and observers", False), ("at initialization", True)]
)
@pytest.mark.parametrize("method", ["save_checkpoint", "save_records", "save_mask", "save"])
def test_stopped_at_each_write_it_ends_with_the_same_bits(tmp_path, monkeypatch, plan, before, method):
    straight = train(tmp_path / "straight", plan)
    for count in range(1, 40):
        store = tmp_path / str(count)
        with monkeypatch.context() as patch:
            stop_at(patch, method, count, before=before)
            try:
                train(store, plan)
            except Stopped:
                pass
            else:
                break  # there were fewer writes than that
        assert train(store, plan) == straight, f"stopped {'before' if before else 'after'} {method} number {count}"
    assert count > 1
