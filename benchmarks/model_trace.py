"""trace: what it costs to see how a network is wired, beside plain forward passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.findings import Findings, Goal, Table, table
from benchmarks.settings import Settings
from benchmarks.work import network, shape_of
from budbreak.errors import InvariantBroken
from budbreak.graph import trace
from budbreak.measuring import Contender

PLAIN, TRACED, PRINTED = "plain forward pass", "budbreak trace", "trace, and print it: links, groups, table"
_TOKENS = 64


@dataclass(frozen=True)
class Subject:
    """A network with its example.

    Args:
        name: of the table.
        model: in eval mode.
        example: a batch.
        bound: how many times as long as a pass its trace may take; None: it is only reported.
    """

    name: str
    model: nn.Module
    example: Any
    bound: float | None = 5


@dataclass(frozen=True)
class ModelTrace:
    """One trace of networks of different kinds."""

    name = "trace"
    about = "Recording how a network is wired, by running it once, beside a plain forward pass of the same batch."

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        kinds = settings.pick((_mlp, _encoder), _KINDS, _KINDS)
        subjects = [kind(settings.pick(2, 8, 8)) for kind in kinds]
        tables = [_table(subject, settings) for subject in subjects]
        goals = [
            Goal(f"{subject.name}: at most 5x of a forward pass", measured.row(TRACED).ratio, subject.bound, False)
            for subject, measured in zip(subjects, tables, strict=True)
            if subject.bound is not None
        ]
        checks = ("A trace reaches every weight, and leaves the outputs as they were, bit for bit.",)
        remarks = (
            "A trace costs about 0.1 ms for each call of a module or function, whatever the size of the batch: for a "
            "single small image that is more than the arithmetic.",
        )
        return Findings(tuple(tables), tuple(goals), checks, remarks)


def _table(subject: Subject, settings: Settings) -> Table:
    model, example = subject.model.to(settings.device).eval(), subject.example.to(settings.device)
    _check(model, example)
    runs: dict[str, Callable[[], object]] = {
        PLAIN: lambda: _forward(model, example),
        TRACED: lambda: trace(model, example),
        PRINTED: lambda: str(trace(model, example)),
    }
    return table(subject.name, PLAIN, settings.meter()([Contender(name, run) for name, run in runs.items()]))


def _forward(model: nn.Module, example: Tensor) -> Any:
    with torch.no_grad():
        return model(example)


def _check(model: nn.Module, example: Tensor) -> None:
    before = _first(_forward(model, example))
    graph = trace(model, example)
    if graph.uncalled or graph.unseen:
        raise InvariantBroken(f"the trace missed {graph.uncalled} {graph.unseen}", "each weight is called")
    if not torch.equal(before, _first(_forward(model, example))):
        raise InvariantBroken("the model gives other outputs after a trace", "a trace leaves it as it was")


def _first(outputs: Any) -> Tensor:
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def _mlp(samples: int) -> Subject:
    return _of("MLP 784-1024-1024-10", 16 * samples)


def _resnet(samples: int) -> Subject:
    return _of("ResNet-20", 8 * samples)


def _one_image(samples: int) -> Subject:
    return _of("ResNet-20", 1, None)


def _of(name: str, samples: int, bound: float | None = 5) -> Subject:
    batch = f"batch {samples}" if samples > 1 else "a single image"
    return Subject(f"{name}, {batch}", network(name), torch.randn(samples, *shape_of(name)), bound)


def _encoder(samples: int) -> Subject:
    layer = nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True)
    name = f"nn.TransformerEncoderLayer(256, 4, 1024), {samples} x {_TOKENS} tokens"
    return Subject(name, layer, torch.randn(samples, _TOKENS, 256))


def _bert(samples: int) -> Subject:
    """Of `transformers`, which is needed for development only."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=1000, hidden_size=256, num_hidden_layers=2, num_attention_heads=4, intermediate_size=1024
    )
    name = f"BERT of 2 layers, 256 wide, {samples} x {_TOKENS} tokens"
    return Subject(name, BertModel(config), torch.randint(0, 1000, (samples, _TOKENS)))


_KINDS = (_mlp, _resnet, _one_image, _encoder, *([_bert] if find_spec("transformers") else []))
