"""The network that is looked at, and what each probe asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.evidence.evidence import Evidence, Probe
from budbreak.graph import Forward, Site
from budbreak.masks import parameters_with_layers
from budbreak.processes import Processes


@dataclass(frozen=True)
class Network:
    """The network that is looked at.

    Args:
        model: without wrappers.
        parameters: its prunable parameters by name.
        start_weights: see `ProbeContext`.
        processes: see `ProbeContext`.
    """

    model: nn.Module
    parameters: Mapping[str, nn.Parameter]
    start_weights: Mapping[str, Tensor] | None
    processes: Processes = field(default_factory=Processes)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(iter(self.parameters.values())).device


class Context:
    """The `ProbeContext` of one probe.

    Args:
        network: to look at.
        probe: whose listeners these are.
    """

    def __init__(self, network: Network, probe: Probe[object]) -> None:
        self.network, self.probe = network, probe
        self.evidence = Evidence({})
        self.missed: tuple[str, ...] = ()
        self.activation_listeners: list[Callable[[Site, Tensor], None]] = []
        self.preactivation_listeners: list[tuple[Callable[[Site, Tensor], None], bool]] = []
        self.input_listeners: list[Callable[[str, nn.Module, Tensor], None]] = []
        self.gradient_listeners: list[Callable[[Mapping[str, Tensor], float], None]] = []
        self.loss_listeners: list[Callable[[Tensor, Mapping[str, nn.Parameter], float], None]] = []
        self.model_functions: list[Callable[[nn.Module], None]] = []
        self.example_functions: list[Callable[[nn.Module, Any, Forward], None]] = []

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """See `ProbeContext`."""
        return {name: parameter.detach() for name, parameter in self.network.parameters.items()}

    @property
    def layers(self) -> Mapping[str, nn.Module]:
        """See `ProbeContext`."""
        owners = {name: layer for name, layer, _ in parameters_with_layers(self.network.model)}
        return {name: owners[name] for name in self.network.parameters}

    @property
    def start_weights(self) -> Mapping[str, Tensor] | None:
        """See `ProbeContext`."""
        return self.network.start_weights

    @property
    def processes(self) -> Processes:
        """See `ProbeContext`."""
        return self.network.processes

    @property
    def wants_loss(self) -> bool:
        """Whether it looks at what a loss gives."""
        return bool(self.gradient_listeners or self.loss_listeners)

    @property
    def wants_sites(self) -> bool:
        """Whether it looks at nonlinearities."""
        return bool(self.activation_listeners or self.preactivation_listeners)

    @property
    def wants_pass(self) -> bool:
        """Whether it looks at every batch."""
        return self.wants_loss or self.wants_sites or bool(self.input_listeners)

    @property
    def wants_batches(self) -> bool:
        """Whether it looks at any."""
        return self.wants_pass or bool(self.example_functions)

    def on_activation(self, listener: Callable[[Site, Tensor], None]) -> None:
        """See `ProbeContext`."""
        self.activation_listeners.append(listener)

    def on_preactivation(self, listener: Callable[[Site, Tensor], None], *, attached: bool = False) -> None:
        """See `ProbeContext`."""
        self.preactivation_listeners.append((listener, attached))

    def on_input(self, listener: Callable[[str, nn.Module, Tensor], None]) -> None:
        """See `ProbeContext`."""
        self.input_listeners.append(listener)

    def on_gradients(self, listener: Callable[[Mapping[str, Tensor], float], None]) -> None:
        """See `ProbeContext`."""
        self.gradient_listeners.append(listener)

    def on_loss(self, listener: Callable[[Tensor, Mapping[str, nn.Parameter], float], None]) -> None:
        """See `ProbeContext`."""
        self.loss_listeners.append(listener)

    def on_model(self, function: Callable[[nn.Module], None]) -> None:
        """See `ProbeContext`."""
        self.model_functions.append(function)

    def on_example(self, function: Callable[[nn.Module, Any, Forward], None]) -> None:
        """See `ProbeContext`."""
        self.example_functions.append(function)

    def unseen(self) -> tuple[str, ...]:
        """See `ProbeContext`."""
        return self.missed
