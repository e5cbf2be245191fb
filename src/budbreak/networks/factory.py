"""The networks of the papers, by name; one row enrols a new one in the command and the tests."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from budbreak.checks import check_known, check_model
from budbreak.errors import InvalidValue, UnknownName, did_you_mean, one_of
from budbreak.foreign import call_foreign, find_callable
from budbreak.networks.bn_cnn import bn_cnn
from budbreak.networks.efficientnet import efficientnet_b0, efficientnet_b0_safs
from budbreak.networks.initialisation import INITIALISATIONS, initialise
from budbreak.networks.lenet import lenet_5, lenet_5_safs, lenet_300_100, small_mlp
from budbreak.networks.resnet import resnet_18, resnet_18_safs, resnet_20
from budbreak.networks.vgg import vgg_11_bn, vgg_16_bn

Factory = Callable[[Sequence[int], int], nn.Module]
"""(shape of one image as (C, H, W), classes) -> a network whose every activation is a module of its own."""

NETWORKS: Mapping[str, Factory] = {
    "bn-cnn": bn_cnn,
    "efficientnet-b0": efficientnet_b0,
    "efficientnet-b0-safs": efficientnet_b0_safs,
    "lenet-300-100": lenet_300_100,
    "lenet-5": lenet_5,
    "lenet-5-safs": lenet_5_safs,
    "mlp": small_mlp,
    "resnet-18": resnet_18,
    "resnet-18-safs": resnet_18_safs,
    "resnet-20": resnet_20,
    "vgg-11-bn": vgg_11_bn,
    "vgg-16-bn": vgg_16_bn,
}

__all__ = ["INITIALISATIONS", "NETWORKS", "Task", "build", "check_init", "check_network", "count_parameters"]


class Task(Protocol):
    """What a network must fit; a `DataSet` is one."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image: (C, H, W)."""
        ...

    @property
    def classes(self) -> int:
        """How many labels there are."""
        ...


def build(name: str, task: Task, *, init: str | None = None, seed: int) -> nn.Module:
    """A fresh network; equal arguments give equal bits, and torch's global generator is left as it was.

    Args:
        name: a key of `NETWORKS`, or ``"package.module:factory"``. The factory is called with whichever of
            ``classes`` and ``shape`` it has parameters for, and returns a module.
        task: gives ``shape`` and ``classes``.
        init: a key of `INITIALISATIONS`; if None, "kaiming" for our networks, "own" for a factory's.
        seed: of the draw.

    Raises:
        UnknownName: for an unknown network, initialisation, module or attribute.
        InvalidValue: if a factory wants other arguments, or gives something else than a module whose weights are there.
    """
    ours = ":" not in name
    rule = INITIALISATIONS[check_init(init or ("kaiming" if ours else "own"))]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = NETWORKS[check_network(name)](task.shape, task.classes) if ours else _from_factory(name, task)
        initialise(model, rule)
    return model


def check_network(name: str) -> str:
    """The name itself, if `build` may know it; factories are looked up only by `build`.

    Raises:
        UnknownName: with the nearest known name.
    """
    if ":" not in name and name not in NETWORKS:
        rule = f"{one_of(NETWORKS)}, or a 'package.module:factory'"
        raise UnknownName(f"no network named {name!r}", rule, did_you_mean(name, NETWORKS))
    return name


def check_init(name: str) -> str:
    """The name itself, if it is a key of `INITIALISATIONS`.

    Raises:
        UnknownName: with the nearest known name.
    """
    check_known(f"no initialisation named {name!r}", name, INITIALISATIONS)
    return name


def count_parameters(model: nn.Module) -> int:
    """All parameters, prunable or not.

    >>> count_parameters(lenet_300_100((1, 28, 28), 10))
    266610
    """
    return sum(parameter.numel() for parameter in model.parameters())


def _from_factory(name: str, task: Task) -> nn.Module:
    factory = find_callable(name, what="a factory")
    offered = {"classes": task.classes, "shape": task.shape}
    arguments = _accepted(name, factory, offered)
    rule = "a factory returns a torch.nn.Module when it is called with classes and shape by name, or with nothing"
    model = call_foreign(f"the factory {name!r}", lambda: factory(**arguments), rule=rule)
    if not isinstance(model, nn.Module):
        raise InvalidValue(
            f"{name!r} returned a {type(model).__name__}", "a factory returns a torch.nn.Module", "return the network"
        )
    check_model(model, "network")
    return model


def _accepted(name: str, factory: Callable[..., object], offered: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the offered arguments that the factory has parameters for."""
    try:
        signature = inspect.signature(factory)
    except (ValueError, TypeError):  # of a function in C
        value = f"{name!r} does not say what it is called with"
        raise InvalidValue(
            value, "a factory has parameters classes and shape, or none", "wrap it in a function"
        ) from None
    parameters = signature.parameters.values()
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    chosen = {key: value for key, value in offered.items() if takes_all or key in signature.parameters}
    try:
        signature.bind(**chosen)
    except TypeError as error:
        rule = "a factory is called with classes and shape by name, or with nothing"
        raise InvalidValue(f"{name!r}{signature}: {error}", rule, "wrap it in a function of (classes, shape)") from None
    return chosen
