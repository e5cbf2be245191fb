"""What a mask covers, and what it leaves dense, in words."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass

from torch import nn

from budbreak.masks.parametrized import parameters_with_layers, wrapping

_NORMS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm,
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_SHOWN = 6
"""Kinds of uncovered weights that are named; the others are counted."""


@dataclass(frozen=True)
class Uncovered:
    """Weights of one name that a mask leaves dense; ``kind`` says in which layer, behind what."""

    name: str
    kind: str
    count: int
    embedding: bool = False


@dataclass(frozen=True)
class Coverage:
    """How many of a model's weights a mask covers, and which it leaves dense; `str` says it in words.

    Weights are the parameters of two dimensions or more that are neither bias nor gain of a norm; tied ones
    count once.
    """

    prunable: int
    uncovered: tuple[Uncovered, ...] = ()

    @property
    def total(self) -> int:
        """All weights of the model."""
        return self.prunable + sum(weights.count for weights in self.uncovered)

    def __str__(self) -> str:
        """One sentence, the largest first; like names are grouped: "h.*.attn.c_attn.weight"."""
        if not self.uncovered:
            return f"{self.prunable:,d} weights prunable"
        return f"{self.prunable:,d} of {self.total:,d} weights prunable; uncovered: {self.names()}"

    def names(self, most: int = _SHOWN) -> str:
        """The uncovered weights by name and kind, the largest first."""
        groups: dict[tuple[str, str], list[Uncovered]] = {}
        for weights in self.uncovered:
            groups.setdefault((re.sub(r"\d+", "*", weights.name), weights.kind), []).append(weights)
        ordered = sorted(groups.items(), key=lambda item: -sum(weights.count for weights in item[1]))
        shown = [_in_words(pattern, kind, members) for (pattern, kind), members in ordered[:most]]
        rest = [weights.count for _, members in ordered[most:] for weights in members]
        return ", ".join(shown) + (f", and {len(rest)} more ({sum(rest):,d})" if rest else "")


def coverage(model: nn.Module, covered: Container[str]) -> Coverage:
    """What a mask with these names covers of an (unwrapped) model."""
    triples = list(parameters_with_layers(model))
    seen = {id(parameter) for name, _, parameter in triples if name in covered}
    prunable = sum({id(parameter): parameter.numel() for name, _, parameter in triples if name in covered}.values())
    uncovered: list[Uncovered] = []
    for name, layer, parameter in triples:
        if id(parameter) not in seen and parameter.numel() and is_weight(name, layer, parameter):
            seen.add(id(parameter))
            uncovered.append(Uncovered(name, _kind(name, layer), parameter.numel(), isinstance(layer, _EMBEDDINGS)))
    return Coverage(prunable, tuple(uncovered))


def is_weight(name: str, layer: nn.Module, parameter: nn.Parameter) -> bool:
    """Whether this is a matrix or a kernel, rather than a bias or a gain."""
    if parameter.dim() < 2 or isinstance(layer, _NORMS) or "bias" in name.rpartition(".")[2]:
        return False
    wrapper = wrapping(name, layer)
    return wrapper is None or not wrapper.is_gain


def _kind(name: str, layer: nn.Module) -> str:
    """The layer's class, with its package where that is not torch's: "Conv1D of transformers"."""
    kind = type(layer)
    wrapper = wrapping(name, layer)
    if wrapper is not None:
        return f"{kind.__name__.removeprefix('Parametrized')} under {wrapper.kind}"
    package = kind.__module__.partition(".")[0]
    return kind.__name__ if package in ("torch", "__main__", "builtins") else f"{kind.__name__} of {package}"


def _in_words(pattern: str, kind: str, members: list[Uncovered]) -> str:
    count = sum(weights.count for weights in members)
    return f"{pattern if len(members) > 1 else members[0].name} ({kind}, {count:,d})"
