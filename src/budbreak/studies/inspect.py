"""Find the network that a person means, with its weights, mask and data, to measure its dead neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from budbreak.activations import ActivationPlan
from budbreak.data import DataSet, Images, Split, batches, load, split
from budbreak.diagnostics import DeadUnitRates
from budbreak.errors import InvalidValue, MissingData, UnknownName, did_you_mean, one_of
from budbreak.files import write_json
from budbreak.iteration import Checkpoint, Store
from budbreak.live import dead_neurons, load_state, replace_activations
from budbreak.masks import Mask
from budbreak.networks import build
from budbreak.recipes import DataSection, NetworkSection, make_parts, read_plain
from budbreak.studies.chosen import PLAN
from budbreak.studies.folder import RUN_TASKS, TASKS, read_tasks
from budbreak.studies.levelstores import kept_levels, level_of, store_of_level, weights_of_level
from budbreak.studies.making import load_data, make_network
from budbreak.studies.measuring import BATCH
from budbreak.studies.taskfolder import TASK, read_task
from budbreak.studies.weights import read_state

_EXAMPLE = 8  # images


@dataclass(frozen=True)
class Subject:
    """A network to look at.

    Args:
        dataset: name of its data; ``parts``: as its recipe splits them.
        mask: its own, if it has one.
        origin: where it comes from, in words.
        level: at whose end its weights are; None for fresh ones and those of a file.
    """

    model: nn.Module
    dataset: str
    parts: Split
    mask: Mask | None
    origin: str
    level: int | None = None


@dataclass(frozen=True)
class Request:
    """What a person asks for.

    Args:
        model: a recipe (``.toml``): its network, freshly initialised; the folder of a run, with ``arm`` and ``seed``:
            the newest checkpoint of that arm; the folder of a task; or ``package.module:factory``.
        data_dir: where the data set is.
        dataset: its name; that of the recipe unless given; a factory needs one.
        weights: loaded into the network: a safetensors file with a state dict, or the store of an iteration, whose
            newest checkpoint brings its mask along.
        mask: a file of `Mask.save`; decides what is static, instead of that of the checkpoint.
        arm: of the run; the only one unless given.
        seed: of the run (0 unless given), or of a fresh initialisation.
        network: the factory of a recipe or run that has one: no file names code that is imported.
        level: at whose end, of a run, a task or a store; the newest checkpoint unless given.
    """

    model: str
    data_dir: Path | None = None
    dataset: str | None = None
    weights: Path | None = None
    mask: Path | None = None
    arm: str | None = None
    seed: int | None = None
    network: str | None = None
    level: int | None = None


def find_subject(request: Request) -> Subject:
    """The network that a request names.

    Raises:
        BudbreakError: if something is missing, or does not fit.
    """
    folder = task_folder(request)
    sections = _sections(request, folder)
    data, parts = _data(sections, request)
    stored = _stored(folder, request.weights, request.level)
    of_run = folder is not None and folder != Path(request.model)  # then the seed has chosen the task
    fresh_seed = None if of_run else request.seed
    if stored is not None and fresh_seed is not None:
        value = f"seed is {fresh_seed}, with weights that are stored"
        raise InvalidValue(value, "it decides a fresh network", "take it out")
    trained = folder if folder is None or request.level is None else store_of_level(folder, request.level)[0]
    live = _with_chosen(_network(request, sections, data, fresh_seed or 0), trained, parts.train)
    if stored is not None:
        load_state(live, stored.state, extra=stored.extra)
    kept = stored and stored.mask
    if request.mask is not None:
        kept = Mask.load(request.mask, store=stored and stored.store)
    if kept is not None:
        kept.parameters(live)  # refuses the mask of another architecture
    origin = f"{request.model}: {stored.origin if stored else 'fresh'}"
    return Subject(live, data.name, parts, kept, origin, stored and stored.level)


Sections = tuple[DataSection, NetworkSection]


def task_folder(request: Request) -> Path | None:
    """The folder of the task that is meant; None for a recipe or a factory."""
    path = Path(request.model)
    if path.is_dir() and (path / RUN_TASKS).is_file():
        return _task_of_run(path, request)
    if request.arm is not None:
        value = f"arm is {request.arm!r}, and {request.model} is not the folder of a run"
        raise InvalidValue(value, "a run has arms", "give the folder of a run, or take it out")
    return path if path.is_dir() else None


def _task_of_run(folder: Path, request: Request) -> Path:
    tasks = read_tasks(folder)
    arm = arm_of(folder, request.arm)
    name = f"{arm} seed {request.seed or 0}"
    if name not in tasks:
        seeds = [key.rpartition(" ")[2] for key in tasks if key.startswith(f"{arm} seed ")]
        raise UnknownName(f"{folder} has no seed {request.seed} of {arm}", one_of(seeds))
    return folder.parent / TASKS / tasks[name]


def arm_of(folder: Path, named: str | None) -> str:
    """The arm of a run that is meant: the one that is named, or the only one.

    Raises:
        UnknownName: if there is no such arm, or several, and none is named.
    """
    tasks = read_tasks(folder)
    arms = list(dict.fromkeys(name.rpartition(" seed ")[0] for name in tasks))
    arm = named or (arms[0] if len(arms) == 1 else None)
    if arm is None or arm not in arms:
        value = f"{folder} has no arm {arm!r}" if arm else f"{folder} has several arms, and none was named"
        raise UnknownName(value, one_of(arms), did_you_mean(arm or "", arms) or f"add --arm {arms[0]}")
    return arm


def _sections(request: Request, folder: Path | None) -> Sections | None:
    """What says how the network is built and its data split; None for a factory."""
    if request.model.endswith(".toml"):
        return make_parts(read_plain(Path(request.model)))
    if folder is not None:
        return _sections_of_task(folder)
    if ":" not in request.model:
        raise MissingData(
            f"{request.model!r} is neither a recipe, nor a folder, nor package.module:factory",
            "give one of these three",
            "runs/NAME with --arm ARM is the network of a run",
        )
    return None


def _sections_of_task(folder: Path) -> Sections:
    try:
        task = read_task(folder)
    except FileNotFoundError:
        if not (folder / "identity.json").is_file():
            raise MissingData(
                f"{folder} holds no {TASK}", "the folder of a run or of a task does", "give runs/NAME, or a recipe"
            ) from None
        raise MissingData(
            f"{folder} is the store of an iteration of yours",
            "it does not say how its network is built",
            f"write: budbreak probe package.module:factory --weights {folder}",
        ) from None
    return make_parts(task.setup)


@dataclass(frozen=True)
class _Stored:
    """Weights that replace the fresh ones; the mask and the store that they come with, if they do."""

    state: Mapping[str, Tensor]
    origin: str
    extra: Mapping[str, Any] | None = None
    mask: Mask | None = None
    store: str | None = None
    level: int | None = None


def _stored(folder: Path | None, weights: Path | None, level: int | None) -> _Stored | None:
    """What is given as ``weights``, or else lies in the folder of a task."""
    place = weights or folder
    if level is not None and (place is None or not place.is_dir()):
        holds = "a fresh network has no levels" if place is None else f"{place} holds one network"
        raise InvalidValue(f"level is {level}, and {holds}", "the folder of a run or a store has levels", "take it out")
    if weights is not None and not weights.is_dir():
        return _Stored(read_state(weights), f"weights of {weights}")
    if place is None:
        return None
    if level is not None:
        return _stored_level(place, level)
    checkpoint, store = newest_checkpoint(place)
    stands = f"level {checkpoint.position.level}, epoch {checkpoint.position.epochs}"
    origin = f"weights of {weights}" if weights else stands
    level = level_of(place, checkpoint)
    return _Stored(checkpoint.model, origin, checkpoint.extra, checkpoint.mask, store.identity, level)


def _stored_level(place: Path, level: int) -> _Stored:
    kept = kept_levels(place)
    if kept and level not in kept:
        raise MissingData(
            f"the weights of level {level} of {place} are not kept; those of {', '.join(map(str, kept))} are",
            'a run keeps the levels that are over, a store of iterate without keep="all" the last one',
            f"write --level {min(kept, key=lambda one: abs(one - level))}",
        )
    found, mask, store = weights_of_level(*store_of_level(place, level))
    return _Stored(found.state, f"level {level}", found.extra, mask, store.identity, level)


def newest_checkpoint(folder: Path) -> tuple[Checkpoint, Store]:
    """Where a store stands.

    Raises:
        MissingData: if there is none.
        CorruptFile, StoreMismatch, CannotRead: if a file cannot be used.
    """
    store = Store(folder)
    try:
        store.look()
        stored = store.load_checkpoint()
    except FileNotFoundError:
        stored = None
    if stored is None:
        raise MissingData(
            f"{folder} holds no checkpoint", "the folder of a task has one", "give runs/NAME with --arm, or a recipe"
        )
    return stored[0], store


def _network(request: Request, sections: Sections | None, data: DataSet, seed: int) -> nn.Module:
    """The network; one that is imported was named by the person, not by a file."""
    named = request.network
    if sections is None:
        if named is not None and named != request.model:
            raise InvalidValue(
                f"--network is {named!r} and MODEL {request.model!r}", "one network is probed", "give one of them"
            )
        return build(request.model, data, seed=seed)
    own = sections[1].name
    if ":" in own and named is None:
        raise InvalidValue(
            f"{request.model} has a network of its own, {own!r}",
            "its code is imported only when you name it",
            f"if you trust it, add --network {own}",
        )
    if named is not None and named != own:
        raise InvalidValue(
            f"--network is {named!r}", f"{request.model} has the network {own!r}", "give this one, or none"
        )
    return make_network(sections[1], data, seed)


def _with_chosen(model: nn.Module, folder: Path | None, images: Images) -> nn.Module:
    """The network with the activations of a task's last training, where it had others than it was pruned with."""
    if folder is None or not (folder / PLAN).is_file():
        return model
    few = images.first(_EXAMPLE)
    return replace_activations(model, ActivationPlan.load(folder / PLAN), example=few.normalised(few.images))


def _data(sections: Sections | None, request: Request) -> tuple[DataSet, Split]:
    """The recipe's own split of its data; for another data set, or without a recipe, the usual one."""
    if sections is not None and request.dataset in (None, sections[0].name):
        return load_data(sections[0], request.data_dir)
    if request.dataset is None:
        raise InvalidValue(
            "no data set was given", "a factory does not say what it was trained on", "add --dataset NAME"
        )
    data = load(request.dataset, request.data_dir)
    return data, split(data)


def measure_subject(subject: Subject, *, part: str, images: int, threshold: float, every: int) -> DeadUnitRates:
    """The dead neurons of a subject on the first ``images`` (0: all) of a part of its data, in float32."""
    parts = subject.parts
    chosen: dict[str, Images] = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    seen = batches(chosen[part], BATCH, limit=images or None)
    return dead_neurons(subject.model.float(), seen, mask=subject.mask, threshold=threshold, every=every)


def save_measurement(path: Path, subject: Subject, dead: DeadUnitRates, *, part: str) -> None:
    """Write what was measured as JSON, atomically."""
    content = {"model": subject.origin, "dataset": subject.dataset, "part": part, **asdict(dead)}
    write_json(path, content, "measurement 2")
