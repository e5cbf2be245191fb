"""Everything random: seeded for each training, kept, and put back."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


def derive_seed(seed: int, *names: object) -> int:
    """A seed in [0, 2^63) for one purpose, e.g. ``derive_seed(0, level, stage, "train")``; stable everywhere."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def seed_everything(seed: int, generators: Sequence[torch.Generator] = ()) -> None:
    """Seed torch (all devices), numpy, random and the given generators."""
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:  # it would queue a call, with the whole stack in words, for each kind of device that is not there
        torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    seed_generators(seed, generators)


def seed_generators(seed: int, generators: Sequence[torch.Generator], *, first: int = 0) -> None:
    """Seed the given generators, of which the ``first`` ones have been seeded already."""
    for index, generator in enumerate(generators, first):
        generator.manual_seed(derive_seed(seed, "generator", index))


def seed_training(seed: int, level: int, stage: int, *, rank: int, generators: Sequence[torch.Generator]) -> None:
    """Seed all for one training: what is global for each rank by itself, the given generators alike on all of them.

    So ranks differ in what they draw by the way (dropout, augmentation) and share what they are given to draw from
    (a permutation of the data, of which each takes its part). Rank 0 draws what a process alone draws.
    """
    seed_everything(derive_seed(seed, level, stage, "train"), generators)
    if rank > 0:
        seed_everything(derive_seed(seed, level, stage, "train", rank))


def generator_states() -> dict[str, Any]:
    """The states of all global generators."""
    states: dict[str, Any] = {
        "torch": torch.get_rng_state(), "numpy": np.random.get_state(), "random": random.getstate(),
    }  # fmt: skip
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_generators(states: dict[str, Any]) -> None:
    """Put them back."""
    torch.set_rng_state(states["torch"])
    np.random.set_state(states["numpy"])
    random.setstate(states["random"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
