"""The training loop behind the command: how a network is computed, one epoch, one evaluation."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from budbreak.checks import check_count
from budbreak.data import PAD, Images, batches, crop_and_flip
from budbreak.errors import EmptyBatches, NotFinite
from budbreak.training.choice import Engine

_CHECK_EVERY = 50  # steps between looks at the loss: a look waits for the device


@dataclass(frozen=True)
class TrainedEpoch:
    """One pass over the training images.

    Args:
        loss: mean cross-entropy over all images, each at the step that used it (augmented, in training mode).
        steps: optimizer steps.
        seconds: wall-clock time.
        accuracy: share of images whose highest output was their label at that step, in [0, 1]; None if not asked for.
    """

    loss: float
    steps: int
    seconds: float
    accuracy: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """A network on held-out images.

    Args:
        accuracy: share of images whose highest output is their label, in [0, 1].
        loss: mean cross-entropy.
        samples: how many images; all of them.
    """

    accuracy: float
    loss: float
    samples: int


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Images,
    *,
    engine: Engine,
    batch_size: int,
    augment: bool = False,
    after_step: Callable[[], None] | None = None,
    steps: int = 0,
    accuracy: bool = False,
) -> TrainedEpoch:
    """Train on every image once, in random order; the last batch holds the rest.

    The order, and with ``augment`` the crops and mirrorings, are drawn from torch's global CPU generator when
    the epoch begins, so restoring its state repeats the epoch bit for bit: on a CPU with the same number of
    threads and the same versions, where all operations used here are deterministic without
    `torch.use_deterministic_algorithms`. On CUDA equal bits are not promised.

    Args:
        model: made ready by ``engine.prepare``; left in training mode.
        optimizer: over the parameters of ``model``.
        data: best on the device of the engine; otherwise each batch is copied there.
        engine: how to compute.
        batch_size: images in a step.
        augment: crop with 4 pixels of padding, mirror half of the images.
        after_step: called after each optimizer step: step the scheduler here.
        steps: end after so many, if there are more; 0: all.
        accuracy: count the outputs that are right as well.

    Raises:
        NotFinite: if the loss is NaN or infinite; names the first such step.
        EmptyBatches: if there are no images.
    """
    check_count("batch_size", batch_size)
    if not len(data):
        raise EmptyBatches("there are 0 training images", "an epoch has at least one")
    begin = time.perf_counter()
    model.train()
    sizes = [min(batch_size, len(data) - start) for start in range(0, len(data), batch_size)]
    sizes = sizes[:steps] if steps else sizes
    losses = torch.zeros(len(sizes), device=engine.device)
    right = torch.zeros((), dtype=torch.int64, device=engine.device) if accuracy else None
    shuffled = itertools.islice(_shuffled(data, engine, batch_size, augment), len(sizes))
    for step, (inputs, labels) in enumerate(shuffled):
        losses[step] = train_step(model, optimizer, inputs, labels, engine, right=right)
        if after_step is not None:
            after_step()
        if (step + 1) % _CHECK_EVERY == 0:
            _check_finite(losses)
    _check_finite(losses)
    mean = losses.double().cpu() @ torch.tensor(sizes, dtype=torch.float64) / sum(sizes)
    share = None if right is None else int(right) / sum(sizes)
    return TrainedEpoch(float(mean), len(sizes), time.perf_counter() - begin, share)


def evaluate(model: nn.Module, data: Images, *, engine: Engine, batch_size: int = 1000) -> Evaluation:
    """Accuracy and loss over every image, in float32 and evaluation mode whatever the engine trains in.

    The training mode of each submodule is as before afterwards. An image with an output that is not finite
    counts as wrong.

    Raises:
        EmptyBatches: if there are no images.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            correct, loss = _totals(model, data, engine, batch_size)
    finally:
        for module, training in modes.items():
            module.training = training
    return Evaluation(correct / len(data), loss / len(data), len(data))


def _totals(model: nn.Module, data: Images, engine: Engine, batch_size: int) -> tuple[int, float]:
    """How many are right, and the sum of the losses."""
    correct = torch.zeros((), dtype=torch.int64, device=engine.device)
    loss = torch.zeros((), dtype=torch.float64, device=engine.device)
    for inputs, labels in batches(data, batch_size):
        outputs = model(engine.place(inputs))
        labels = labels.to(engine.device)
        finite = outputs.isfinite().all(1)  # argmax would rank a NaN first
        correct += ((outputs.argmax(1) == labels) & finite).sum()
        loss += functional.cross_entropy(outputs, labels, reduction="sum")
    return int(correct), float(loss)


def _shuffled(data: Images, engine: Engine, batch_size: int, augment: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """All random numbers of the epoch are drawn before its first step, and moved to the device once."""
    count, device = len(data), data.images.device
    order = torch.randperm(count).to(device)
    offsets = torch.randint(0, 2 * PAD + 1, (2, count)).to(device) if augment else None
    mirrored = (torch.rand(count) < 0.5).to(device) if augment else None
    for start in range(0, count, batch_size):
        now = slice(start, start + batch_size)
        images = data.images.index_select(0, order[now])  # copies rows: a quarter of the time of indexing bytes
        if offsets is not None and mirrored is not None:
            images = crop_and_flip(images, offsets[:, now], mirrored[now])
        yield data.normalised(engine.place(images)), data.labels[order[now]].to(engine.device)


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
    engine: Engine,
    *,
    right: Tensor | None = None,
) -> Tensor:
    """Forward, backward and step in the arithmetic of the engine; the loss, detached, still on its device.

    To ``right`` is added how many outputs are highest at their label, before the step.
    """
    with torch.autocast(torch.device(engine.device).type, torch.bfloat16, enabled=engine.bf16):
        outputs = model(inputs)
    loss = functional.cross_entropy(outputs.float(), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    if right is not None:
        right += (outputs.detach().argmax(1) == labels).sum()
    return loss.detach()


def _check_finite(losses: Tensor) -> None:
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        step = int(bad[0])
        raise NotFinite(
            f"the loss is {float(losses[step])} at step {step + 1} of the epoch",
            "training goes on only with a finite loss",
            "lower the learning rate, or warm it up over the first epochs",
        )


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """How many optimizer steps `train_epoch` takes.

    >>> steps_per_epoch(50_000, 128)
    391
    """
    return math.ceil(samples / batch_size)
