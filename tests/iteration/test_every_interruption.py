"""An iteration stopped at each single write, and gone on with, ends with the bits of an uninterrupted one."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.iteration import Store
from budbreak.live import model_digest

GEOMETRIC, AP = bb.schedules.Geometric(rate=0.3, levels=2), bb.criteria.LeastMovedNegative()
PLANS = {
    "AP and observers": bb.Plan(
        schedule=GEOMETRIC,
        criterion=bb.criteria.ActivationCount(weighted=True, every=2),
        then=[bb.Remove(AP, 0.05), bb.Train(), bb.Remove(bb.criteria.Movement(), 0.05), bb.Remove(AP, 0.05)],
        rewind_to=bb.Step(2),
    ),
    "movement": bb.Plan(
        schedule=bb.schedules.OneShot(0.5), criterion=bb.criteria.Movement(every=2), rewind_to=bb.Step(2)
    ),
    "at initialization": bb.Plan(schedule=GEOMETRIC, then=[bb.Train()], train_dense=False, rounds=3),
}
STOPS = {0: 2, 1: 1, 2: 3}
"""Level -> the epochs after which it is ended, of up to 3."""


class Stopped(Exception):
    """Stands for the kill."""


class Net:
    """A small net with momentum, schedulers, dropout, BatchNorm and shuffled batches; one optimizer or two."""

    def __init__(self, optimizers: int = 1) -> None:
        torch.manual_seed(3)
        self.x = torch.randn(24, 5)
        self.y = (self.x[:, 0] > 0).long()
        self.model = nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 2))
        self.make(optimizers)

    def make(self, optimizers: int) -> None:
        parts = [self.model] if optimizers == 1 else [self.model[:2], self.model[4]]
        kinds = [lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.9), lambda p: torch.optim.Adam(p, lr=0.02)]
        self.optimizers = [kind(part.parameters()) for part, kind in zip(parts, kinds, strict=False)]
        self.schedulers = [torch.optim.lr_scheduler.StepLR(one, 2, gamma=0.5) for one in self.optimizers]

    def epoch(self) -> None:
        for batch in torch.randperm(24).split(8):
            self.model.zero_grad()
            nn.functional.cross_entropy(self.model(self.x[batch]), self.y[batch]).backward()
            for one in [*self.optimizers, *self.schedulers]:
                one.step()


def outcome(levels: bb.iteration.Levels) -> list[tuple[str, int, int]]:
    return [(record.end_digest, record.epochs, record.steps) for record in levels.history]


def train(store: Path, plan: str, optimizers: int = 1) -> list[tuple[str, int, int]]:
    """Two levels, with optimizers that are given."""
    net = Net(optimizers)
    with bb.iterate(net.model, net.optimizers, PLANS[plan], resets=net.schedulers, store=store) as levels:
        for level in levels:
            for _ in level.epochs(2):
                net.epoch()
            level.record(accuracy=0.5)
    return outcome(levels)


def train_attached(store: Path, plan: str, optimizers: int = 1) -> list[tuple[str, int, int]]:
    """Two levels, with optimizers that are made in each; they are ended early, and all their weights are kept."""
    net = Net()
    with bb.iterate(net.model, None, PLANS[plan], store=store, keep="all") as levels:
        for level in levels:
            net.make(optimizers)
            level.attach(net.optimizers, resets=net.schedulers)
            for epoch in level.epochs(3, checkpoint_every=2, until=lambda numbers: numbers["stops"] > 0):
                net.epoch()
                level.record(stops=float(level.stage and epoch + 1 == STOPS[level.number]))
                if level.stage == 0 and epoch + 1 == STOPS[level.number]:
                    level.stop()
            level.record(accuracy=0.5)
    return outcome(levels)


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
    stop_at_each_write(tmp_path, monkeypatch, method, lambda store: train(store, plan), before=before)


def test_with_two_optimizers(tmp_path, monkeypatch):
    work = lambda store: train(store, "movement", 2)  # noqa: E731
    stop_at_each_write(tmp_path, monkeypatch, "save", work, before=False)


@pytest.mark.parametrize(
    ("plan", "before", "method"),
    [
        ("AP and observers", True, "save"),
        ("AP and observers", True, "save_weights"),
        ("AP and observers", False, "save_weights"),
        ("at initialization", False, "save_checkpoint"),
        ("at initialization", False, "save_records"),
        ("at initialization", True, "save_mask"),
    ],
)
def test_with_optimizers_of_each_level_early_ends_and_all_weights(tmp_path, monkeypatch, plan, before, method):
    work = lambda store: train_attached(store, plan, 2)  # noqa: E731
    stop_at_each_write(tmp_path, monkeypatch, method, work, before=before)
    last = max(int(folder.name) for folder in tmp_path.iterdir() if folder.name.isdecimal())
    for level in (1, 2):
        for number in range(1, last):
            stopped, straight = Net().model, Net().model
            assert bb.load_level(stopped, tmp_path / str(number), level) == bb.load_level(
                straight, tmp_path / "straight", level
            )
            assert model_digest(stopped) == model_digest(straight)


def check_what_is_recorded_is_there(store):
    """Records are what others look for."""
    if (store / "records.json").exists():
        body = json.loads((store / "records.json").read_text())
        levels = {record["level"] for record in body["records"]}
        assert levels <= {int(path.stem.removeprefix("level-")) for path in (store / "masks").glob("level-*")}


def stop_at_each_write(tmp_path, monkeypatch, method, work, *, before):
    """``work(store)``, stopped at the first call of a method, at the second ...; the folders are 1, 2, ..."""
    straight = work(tmp_path / "straight")
    for count in range(1, 40):
        store = tmp_path / str(count)
        with monkeypatch.context() as patch:
            stop_at(patch, method, count, before=before)
            try:
                work(store)
            except Stopped:
                check_what_is_recorded_is_there(store)
            else:
                break  # there were fewer writes than that
        assert work(store) == straight, f"stopped {'before' if before else 'after'} {method} number {count}"
    assert count > 1
