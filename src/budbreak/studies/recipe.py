"""A recipe: one frozen dataclass that is the flags, the record and the identity of a run."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from budbreak import criteria, schedules
from budbreak.checks import check_count, check_fraction
from budbreak.data import PAD, find
from budbreak.errors import InvalidValue, UnknownName, did_you_mean, one_of
from budbreak.files import digest
from budbreak.networks import check_init, check_network
from budbreak.studies.arms import ARMS, check_arms
from budbreak.studies.idle import check_given, idle_fields
from budbreak.studies.names import by_name, check_name

SCHEMA = 2  # a changed meaning of a field must not alias old runs: raise this then

_LONGEST_NAME = 100  # bytes: file systems allow 255, and the folder's name and temporary names add to it
_MOST = {"levels": 1000, "seeds": 1000, "epochs": 100_000}  # more is a slip of the pen, and would list rows for hours
_MOST_IMAGES = 10**9
_LARGEST_BITS = 60  # of a whole number; TOML's hexadecimal ones may be longer than Python prints
_MOST_ITEMS = 100  # of a list
_LARGEST_GAMMA = 1000.0  # its 100th power is still a number


def _field(help_text: str, default: Any = dataclasses.MISSING) -> Any:
    return dataclasses.field(default=default, metadata={"help": help_text})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the result of a run, environment apart. Each field is explained by its help."""

    name: str = _field("name of the run, and the beginning of its folder's name")
    dataset: str = _field("digits, mnist, fashion-mnist, cifar10 or cifar100")
    validation: int = _field("training images held out for every choice; 0: as many as the data set proposes", 0)
    train_limit: int = _field("train on the first N training images only; 0: on all", 0)
    augment: bool = _field("random crop (4 pixels of padding) and mirroring of training images", False)
    network: str = _field("lenet-300-100, lenet-5, resnet-20, mlp, or package.module:factory")
    init: str = _field(
        "kaiming, lth (open_lth), xavier (AP's script), own (as a factory made it); auto: kaiming, own for a factory",
        "auto",
    )
    criterion: str = _field("the host: magnitude, gradient, taylor, displacement or random", "magnitude")
    scope: str = _field("where scores compete: global or layer", "global")
    exclude: tuple[str, ...] = _field("glob patterns of weights that are not prunable, e.g. fc.weight", ())
    schedule: str = _field("geometric, cubic or one-shot", "geometric")
    rate: float = _field("geometric: share of the remaining weights that each level removes, in (0, 1)", 0.2)
    sparsity: float = _field("cubic, one-shot: pruned / prunable in the end, in (0, 1)", 0.9)
    levels: int = _field("prunings; with the dense level 0 there is one training more", 12)
    arms: tuple[str, ...] = _field(
        f"what is compared; the first is the reference: {', '.join(ARMS)}", ("host", "ap-lite")
    )
    q: float = _field("AP's share of the weights alive before a level, in (0, 1)", 0.02)
    rewind: str = _field("after each pruning: weights, learning-rate or none", "weights")
    rewind_epoch: int = _field("rewind weights to the end of this epoch of level 0; 0: initialization", 0)
    allow_collapse: bool = _field("go on when a layer has lost all its weights", False)
    epochs: int = _field("epochs of each training")
    batch_size: int = _field("images in an optimizer step", 128)
    learning_rate: float = _field("of SGD", 0.1)
    momentum: float = _field("of SGD, in [0, 1)", 0.9)
    nesterov: bool = _field("Nesterov momentum", False)
    weight_decay: float = _field("of SGD, on all parameters", 1e-4)
    warmup: float = _field("epochs (fractions allowed) over which the learning rate rises linearly from 0", 0.0)
    milestones: tuple[float, ...] = _field("epochs (fractions allowed) at which the learning rate drops", ())
    gamma: float = _field("factor of each drop", 0.1)
    seeds: int = _field("replicates: seeds 0 .. N-1, paired over the arms", 5)
    dnr_images: int = _field("training images (not augmented) on which dead neurons are counted; 0: all", 2000)
    dnr_every: int = _field("count dead neurons every N epochs as well as at the ends; 0: only at the ends", 1)
    probe_images: int = _field("training images for criteria that look at gradients; 0: all", 2000)
    precision: str = _field("of the training: auto (measured rules), float32 or bfloat16", "auto")

    def __post_init__(self) -> None:
        if self.init == "auto":  # resolved here, because the resolved recipe is the identity
            object.__setattr__(self, "init", "own" if ":" in self.network else "kaiming")
        for check in _checks(self):
            check()

    @property
    def effective(self) -> dict[str, Any]:
        """Field -> value, of all fields that have an effect beside the others; a tuple as a list."""
        values = dataclasses.asdict(self)
        idle = idle_fields(values)
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in values.items() if key not in idle
        }

    @property
    def identity(self) -> str:
        """Digest of the resolved recipe: 64 hexadecimal digits. The name is not part of it."""
        values = {key: value for key, value in self.effective.items() if key != "name"}
        return digest({"schema": SCHEMA, **values})

    @property
    def folder_name(self) -> str:
        """The name of the run's folder."""
        return f"{self.name}-{self.identity[:8]}"

    def to_toml(self) -> str:
        """The resolved recipe, every field that has an effect spelt out."""
        lines = [f"{key} = {_toml(value)}" for key, value in self.effective.items()]
        return "\n".join(lines) + "\n"


def make_recipe(values: Mapping[str, Any]) -> Recipe:
    """A recipe from plain values, each checked against the type of its field; these fields were given.

    Raises:
        InvalidValue: for a value out of range, or a field that has no effect beside the others.
        UnknownName: for a field or a name that does not exist, with the nearest that does.
    """
    given = converted(values)
    missing = [f.name for f in dataclasses.fields(Recipe) if f.default is dataclasses.MISSING and f.name not in given]
    if missing:
        raise InvalidValue(f"the recipe lacks {missing[0]!r}", "this field has no default", f"add {missing[0]} = ...")
    recipe = Recipe(**given)
    check_given(given, dataclasses.asdict(recipe))
    return recipe


def converted(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values in the types of their fields."""
    known = field_types()
    for key in values:
        if key not in known:
            raise UnknownName(
                f"a recipe has no field {key!r}", one_of(known, most=len(known)), did_you_mean(key, known)
            )
    return {key: convert(key, known[key], value) for key, value in values.items()}


def defaults() -> dict[str, Any]:
    """The fields that have a default -> it."""
    return {f.name: f.default for f in dataclasses.fields(Recipe) if f.default is not dataclasses.MISSING}


def field_types() -> dict[str, Any]:
    """Field name -> its type."""
    return typing.get_type_hints(Recipe)


def convert(key: str, kind: Any, value: Any) -> Any:
    """The value in the type of its field; a whole number is a float, a list is a tuple, nothing else bends.

    Raises:
        InvalidValue: with the field, the value and the type.
    """
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
        inner = typing.get_args(kind)[0]
        return tuple(convert(key, inner, item) for item in typing.cast("list[Any]", value))
    if isinstance(value, int) and value.bit_length() > _LARGEST_BITS:
        raise InvalidValue(f"{key} is a number of {value.bit_length()} bits", f"it has at most {_LARGEST_BITS}")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and not isinstance(kind, types.GenericAlias) and isinstance(value, kind):
        if kind is int and isinstance(value, bool):
            raise _wrong_type(key, kind, value)
        return value
    raise _wrong_type(key, kind, value)


def _wrong_type(key: str, kind: Any, value: Any) -> InvalidValue:
    listed = typing.get_origin(kind) is tuple
    names = {int: "a whole number", float: "a number", str: "text in quotes", bool: "true or false"}
    fix = f"write {key} = [...]" if listed else f"write {key} = {value}" if _reads_as(kind, value) else ""
    return InvalidValue(f"{key} is {value!r}", f"it must be {'a list' if listed else names[kind]}", fix)


def _reads_as(kind: Any, value: Any) -> bool:
    """Whether a text holds a number of this kind, as in levels = "12"."""
    try:
        return kind in (int, float) and isinstance(value, str) and math.isfinite(kind(value))
    except ValueError:
        return False


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in typing.cast("tuple[Any, ...]", value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _checks(r: Recipe) -> Iterator[Any]:
    yield lambda: _check_plain_name(r.name)
    yield lambda: find(r.dataset)
    yield lambda: check_network(r.network)
    yield lambda: check_init(r.init)
    yield lambda: check_name("criterion", r.criterion, by_name(criteria.ALL))
    yield lambda: check_name("schedule", r.schedule, by_name(schedules.ALL))
    yield lambda: check_name("scope", r.scope, ("global", "layer"))
    yield lambda: check_name("rewind", r.rewind, ("weights", "learning-rate", "none"))
    yield lambda: check_name("precision", r.precision, ("auto", "float32", "bfloat16"))
    yield lambda: check_arms(r.arms)
    for key in ("rate", "sparsity", "q"):
        yield lambda key=key: check_fraction(key, getattr(r, key), zero=False)
    yield lambda: check_fraction("momentum", r.momentum)
    for key, most in _MOST.items():
        yield lambda key=key, most=most: _check_count(key, getattr(r, key), least=1, most=most)
    yield lambda: _check_count("batch_size", r.batch_size, least=1, most=_MOST_IMAGES)
    for key in ("validation", "train_limit", "rewind_epoch", "dnr_images", "dnr_every", "probe_images"):
        yield lambda key=key: _check_count(key, getattr(r, key), least=0, most=_MOST_IMAGES)
    for key in ("learning_rate", "gamma"):
        yield lambda key=key: _check_positive(key, getattr(r, key))
    for key, value in (("weight_decay", r.weight_decay), ("warmup", r.warmup)):
        yield lambda key=key, value=value: _check_not_negative(key, value)
    for key in ("exclude", "milestones"):
        yield lambda key=key: _check_length(key, getattr(r, key))
    for check in (_check_milestones, _check_rewind, _check_nesterov, _check_augment):
        yield lambda check=check: check(r)


def _check_plain_name(name: str) -> None:
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise InvalidValue(f"name is {name!r}", "it names a folder: letters, digits, '-', '_' and '.'")
    if len(name.encode()) > _LONGEST_NAME:
        raise InvalidValue(f"name is {name[:40]}... of {len(name.encode())} bytes", f"at most {_LONGEST_NAME} fit")


def _check_count(key: str, value: int, *, least: int, most: int) -> None:
    check_count(key, value, least=least)
    if value > most:
        raise InvalidValue(f"{key} is {value:,}", f"it must be at most {most:,}", "choose a smaller number")


def _check_length(key: str, value: tuple[object, ...]) -> None:
    if len(value) > _MOST_ITEMS:
        raise InvalidValue(f"{key} has {len(value):,} items", f"it has at most {_MOST_ITEMS}", "give fewer")


def _check_positive(key: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise InvalidValue(f"{key} is {value!r}", "it must be positive")
    if key == "gamma" and value > _LARGEST_GAMMA:
        raise InvalidValue(f"gamma is {value!r}", f"it is at most {_LARGEST_GAMMA:g}", "usual is 0.1")


def _check_not_negative(key: str, value: float) -> None:
    if not 0 <= value < float("inf"):
        raise InvalidValue(f"{key} is {value!r}", "it must be 0 or more")


def _check_milestones(r: Recipe) -> None:
    inside = all(0 < milestone < r.epochs for milestone in r.milestones)
    if list(r.milestones) != sorted(set(r.milestones)) or not inside:
        raise InvalidValue(
            f"milestones are {list(r.milestones)}",
            f"they rise and lie within the {r.epochs} epochs",
            "write others, or [] for none",
        )
    if r.warmup > r.epochs:
        raise InvalidValue(f"warmup is {r.warmup:g} epochs", f"the training has {r.epochs}", "shorten it")


def _check_rewind(r: Recipe) -> None:
    if r.rewind_epoch >= r.epochs:
        raise InvalidValue(
            f"rewind_epoch is {r.rewind_epoch}", f"the training has {r.epochs} epochs", "rewind to an earlier epoch"
        )


def _check_nesterov(r: Recipe) -> None:
    if r.nesterov and not r.momentum:
        raise InvalidValue(
            "nesterov is true with momentum = 0", "Nesterov's is a kind of momentum", "add momentum = 0.9"
        )


def _check_augment(r: Recipe) -> None:
    """A crop moves an image by up to `PAD` pixels: of a quarter of its side or more, little may be left."""
    side = min(find(r.dataset).shape[1:])
    if r.augment and side <= 4 * PAD:
        raise InvalidValue(
            f"augment is true on {r.dataset}, images of {side} x {side} pixels",
            f"random crops move an image by up to {PAD} pixels, and need sides over {4 * PAD}",
            "take augment out",
        )
