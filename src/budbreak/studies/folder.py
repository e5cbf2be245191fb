"""The folder of a run belongs to one recipe, to one network, and to one process at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from budbreak.data import find
from budbreak.errors import StoreMismatch
from budbreak.files import FolderLock, read_json, sweep, write_json, write_text
from budbreak.iteration import differences
from budbreak.live import state_digest
from budbreak.networks import build
from budbreak.studies.recipe import Recipe
from budbreak.studies.recipefile import load_recipe

RECIPE, NETWORK = "recipe.toml", "network.json"
NETWORK_KIND = "network 1"


@contextlib.contextmanager
def claimed(folder: Path, recipe: Recipe) -> Generator[None, None, None]:
    """Hold a run's folder meanwhile, and clean up what a process that was killed left half written in it.

    Raises:
        StoreBusy: if another living process holds it, which is not disturbed.
        StoreMismatch: see `claim`.
        CannotWrite: if the folder cannot be made.
    """
    lock = FolderLock(folder)
    lock.take()
    try:
        for place in (
            folder,
            folder / "figures",
            folder / "jobs",
            *folder.glob("jobs/*"),
            *folder.glob("jobs/*/masks"),
        ):
            sweep(place)
        claim(folder, recipe)
        yield
    finally:
        lock.release()


def claim(folder: Path, recipe: Recipe) -> None:
    """Write down what the folder belongs to, or compare with what is written.

    A factory is code: the same name may build another network tomorrow, whose numbers would stand under this recipe.

    Raises:
        StoreMismatch: if the folder belongs to another recipe or to another network; names the first difference.
    """
    path = folder / RECIPE
    if not path.exists():
        write_text(path, recipe.to_toml())
    elif load_recipe(path) != recipe:
        raise StoreMismatch(
            f"{path} is another recipe",
            "a run's folder belongs to one recipe",
            "restore the file, or choose another folder",
        )
    _claim_network(folder / NETWORK, recipe)


def _claim_network(path: Path, recipe: Recipe) -> None:
    task = find(recipe.dataset)
    now = describe_networks(build(recipe.network, task, init=recipe.init, seed=seed) for seed in range(recipe.seeds))
    if not path.exists():
        write_json(path, now, NETWORK_KIND, store=recipe.identity)
        return
    changed = differences(read_json(path, NETWORK_KIND, dict[str, Any], stores={recipe.identity}), now)
    if changed:
        raise StoreMismatch(
            f"{recipe.network} is not the network of {path.parent}: {changed[0]}",
            "the results in a run's folder come from one network: its weights, their shapes and first values",
            "restore the network, or give --out another folder; a factory must give equal networks for equal seeds",
        )


def describe_networks(models: Iterable[nn.Module]) -> dict[str, Any]:
    """The modules of a network, its weights' shapes and dtypes, and a digest of their first values for each seed."""
    weights: Mapping[str, Any] = {}
    modules: Mapping[str, str] = {}
    initial: dict[str, str] = {}
    for seed, model in enumerate(models):
        weights = {name: [list(t.shape), str(t.dtype)] for name, t in model.state_dict().items()}
        modules = {name: f"{type(one).__name__}({one.extra_repr()})" for name, one in model.named_modules()}
        initial[f"seed {seed}"] = state_digest(model.state_dict())[:16]
    return {"modules": modules, "weights": weights, "first values": initial}
