"""Find the network that a person means, with its weights, mask and data, to measure its dead neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from budbreak.data import DataSet, Images, Split, batches, load, split
from budbreak.diagnostics import DeadUnits
from budbreak.errors import InvalidValue, MissingData, StoreMismatch
from budbreak.files import write_json
from budbreak.iteration import Checkpoint, Store
from budbreak.live import dead_neurons, load_state
from budbreak.masks import Mask
from budbreak.networks import build
from budbreak.studies.making import load_data
from budbreak.studies.recipe import Recipe
from budbreak.studies.recipefile import load_recipe
from budbreak.studies.weights import read_state

_BATCH = 500


@dataclass(frozen=True)
class Subject:
    """A network to look at: the model, the parts of its data as its recipe splits them, its mask if there is one."""

    model: nn.Module
    dataset: str
    parts: Split
    mask: Mask | None
    said: str


def find_subject(
    model: str,
    *,
    data_dir: Path | None,
    dataset: str | None,
    weights: Path | None,
    mask: Path | None,
    seed: int | None,
    network: str | None = None,
) -> Subject:
    """The network that ``model`` names.

    Args:
        model: a recipe (``.toml``): its network, freshly initialised; the folder of a job or store of a run: the
            newest checkpoint in it; or ``package.module:factory``.
        data_dir: where the data set is.
        dataset: its name; that of the recipe unless given; a factory needs one.
        weights: loaded into the network: a safetensors file with a state dict, or the store of an iteration, whose
            newest checkpoint brings its mask along.
        mask: a file of `Mask.save`; decides what is static, instead of that of the checkpoint.
        seed: of a fresh initialisation (0 unless given).
        network: the factory of a recipe or run that has one: no file names code that is imported.

    Raises:
        BudbreakError: if something is missing, or does not fit.
    """
    recipe = _recipe(model)
    data, parts = _data(recipe, dataset, data_dir)
    held = _held(Path(model), weights)
    if held is not None and seed is not None:
        raise InvalidValue(f"seed is {seed}, with weights that are stored", "it decides a fresh network", "take it out")
    live = build(_network(model, recipe, network), data, init=recipe.init if recipe else None, seed=seed or 0)
    if held is not None:
        load_state(live, held.state, extra=held.extra)
    kept = held and held.mask
    if mask is not None:
        kept = Mask.load(mask, store=held and held.store)
    if kept is not None:
        kept.parameters(live)  # refuses the mask of another architecture
    return Subject(live, data.name, parts, kept, f"{model}: {held.said if held else 'fresh'}")


def _recipe(model: str) -> Recipe | None:
    """The recipe that says how the network is built; None for a factory."""
    path = Path(model)
    if model.endswith(".toml"):
        return load_recipe(path)
    if path.is_dir():
        return _recipe_of_job(path)
    if ":" not in model:
        raise MissingData(
            f"{model!r} is neither a recipe, nor a folder, nor package.module:factory",
            "give one of these three",
            "runs/NAME/jobs/ARM-seedN is the folder of a job",
        )
    return None


@dataclass(frozen=True)
class _Held:
    """Weights that replace the fresh ones; the mask and the store that they come with, if they do."""

    state: Mapping[str, Tensor]
    said: str
    extra: Mapping[str, Any] | None = None
    mask: Mask | None = None
    store: str | None = None


def _held(model: Path, weights: Path | None) -> _Held | None:
    """What is given as ``weights``, or else lies in the folder of a job."""
    if weights is not None and not weights.is_dir():
        return _Held(read_state(weights), f"weights of {weights}")
    if weights is None and not model.is_dir():
        return None
    checkpoint, store = _newest_checkpoint(weights or model)
    said = (
        f"weights of {weights}" if weights else f"level {checkpoint.position.level}, epoch {checkpoint.position.epochs}"
    )
    return _Held(checkpoint.model, said, checkpoint.extra, checkpoint.mask, store.identity)


def _network(model: str, recipe: Recipe | None, named: str | None) -> str:
    """The name of the network; one that is imported was named by the person, not by a file."""
    if recipe is None:
        if named is not None and named != model:
            raise InvalidValue(
                f"--network is {named!r} and MODEL {model!r}", "one network is probed", "give one of them"
            )
        return model
    if ":" in recipe.network and named is None:
        raise InvalidValue(
            f"{model} has a network of its own, {recipe.network!r}",
            "its code is imported only when you name it",
            f"if you trust it, add --network {recipe.network}",
        )
    if named is not None and named != recipe.network:
        raise InvalidValue(
            f"--network is {named!r}", f"{model} has the network {recipe.network!r}", "give this one, or none"
        )
    return recipe.network


def measure(subject: Subject, *, part: str, images: int, threshold: float, every: int) -> DeadUnits:
    """The dead neurons of a subject on the first ``images`` (0: all) of a part of its data, in float32."""
    parts = subject.parts
    chosen: dict[str, Images] = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    data = chosen[part]
    seen = batches(data, _BATCH, limit=images or None)
    return dead_neurons(subject.model.float(), seen, mask=subject.mask, threshold=threshold, every=every)


def save_measurement(path: Path, subject: Subject, dead: DeadUnits, *, part: str) -> None:
    """Write what was measured as JSON, atomically."""
    write_json(path, {"model": subject.said, "dataset": subject.dataset, "part": part, **asdict(dead)}, "measurement 1")


def _recipe_of_job(folder: Path) -> Recipe:
    path, (_, store) = folder.parent.parent / "recipe.toml", _newest_checkpoint(folder)
    if not path.is_file():
        raise MissingData(
            f"{folder} is the store of an iteration of yours",
            "it does not say how its network is built",
            f"write: budbreak probe package.module:factory --weights {folder}",
        )
    recipe = load_recipe(path)
    if (store.look().get("also") or {}).get("recipe") != recipe.identity:
        raise StoreMismatch(
            f"{path} is another recipe than that of {folder}",
            "it says how the network was built and its data split",
            f"restore it, or write: budbreak probe package.module:factory --weights {folder}",
        )
    return recipe


def _newest_checkpoint(folder: Path) -> tuple[Checkpoint, Store]:
    store = Store(folder)
    try:
        store.look()
        found = store.load_checkpoint()
    except FileNotFoundError:
        found = None
    if found is None:
        raise MissingData(
            f"{folder} holds no checkpoint", "a job's folder has one", "give runs/NAME/jobs/ARM-seedN, or a recipe"
        )
    return found[0], store


def _data(recipe: Recipe | None, dataset: str | None, data_dir: Path | None) -> tuple[DataSet, Split]:
    """The recipe's own split of its data; for another data set, or without a recipe, the usual one."""
    if recipe is not None and dataset in (None, recipe.dataset):
        return load_data(recipe, data_dir)
    if dataset is None:
        raise InvalidValue(
            "no data set was given", "a factory does not say what it was trained on", "add --dataset NAME"
        )
    data = load(dataset, data_dir)
    return data, split(data)
