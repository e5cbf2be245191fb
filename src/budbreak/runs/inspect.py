"""Find the network that a person means, with its weights, mask and data, to measure its dead neurons."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from budbreak.diagnostics import DeadUnits
from budbreak.documents import write_json
from budbreak.errors import InvalidValue, MissingData, StoreMismatch
from budbreak.iteration.checkpoint import Checkpoint
from budbreak.iteration.store import Store
from budbreak.mask import Mask
from budbreak.modelstate import load_state
from budbreak.runs.making import load_data
from budbreak.runs.recipe import Recipe
from budbreak.runs.recipefile import load_recipe
from budbreak.runs.weights import read_state
from budbreak.training.datasets import DataSet, Split, load, split
from budbreak.training.images import Images, batches
from budbreak.training.networks import build
from budbreak.verbs import dead_neurons

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
    seed: int,
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
        mask: a file of `Mask.save`; decides what is static.
        seed: of a fresh initialisation.
        network: the factory of a recipe or run that has one: no file names code that is imported.

    Raises:
        BudbreakError: if something is missing, or does not fit.
    """
    folder, recipe = Path(model), None
    checkpoint: Checkpoint | None = None
    store: Store | None = None
    if model.endswith(".toml"):
        recipe = load_recipe(folder)
    elif folder.is_dir():
        recipe, checkpoint, store = _from_store(folder)
    elif ":" not in model:
        raise MissingData(
            f"{model!r} is neither a recipe, nor a folder, nor package.module:factory",
            "give one of these three",
            "runs/NAME/jobs/ARM-seedN is the folder of a job",
        )
    data, parts = _data(recipe, dataset, data_dir)
    live = build(_network(model, recipe, network), data, init=recipe.init if recipe else None, seed=seed)
    said = f"weights of {weights}"
    if weights is not None and weights.is_dir():
        (checkpoint, store), weights = _newest_checkpoint(weights), None
    elif weights is None:
        said = f"level {checkpoint.position.level}, epoch {checkpoint.position.epochs}" if checkpoint else "fresh"
    state = read_state(weights) if weights is not None else checkpoint.model if checkpoint is not None else None
    if state is not None:
        load_state(live, state)
    found = (
        Mask.load(mask, store=store and store.identity)
        if mask is not None
        else checkpoint.mask
        if checkpoint is not None
        else None
    )
    if found is not None:
        found.parameters(live)  # refuses the mask of another architecture
    return Subject(live, data.name, parts, found, f"{model}: {said}")


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


def _from_store(folder: Path) -> tuple[Recipe, Checkpoint, Store]:
    checkpoint, store = _newest_checkpoint(folder)
    path = folder.parent.parent / "recipe.toml"
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
    return recipe, checkpoint, store


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
