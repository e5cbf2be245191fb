"""Find the activation sites of a live model while it runs, and the weight that feeds each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from budbreak.errors import EmptyBatches, NoSites
from budbreak.graph.calling import Inside, UnseenCalls
from budbreak.graph.following import Follower
from budbreak.graph.layouts import Call, Layout
from budbreak.graph.nonlinearities import ACTIVATIONS, may_be_activation, module_is_exact
from budbreak.graph.site import Site
from budbreak.graph.undisturbed import uncompiled


class SiteTracer:
    """Hooks on every site of a model; a context manager that removes them all.

    Sites are torch's activation modules, and modules of other packages that turn out to be activations: without
    parameters, each value for itself, with a nonlinearity inside. The first pass runs under a `Follower`, which
    finds where the units of each site lie and the weight that feeds it; so do later passes as long as an
    activation has not been met (an expert that no sample of the first batch was sent to).

    Args:
        model: the module to run.
        weight_names: id of a prunable parameter -> its name.
        heard: called with each site and its output (detached).
    """

    def __init__(
        self, model: nn.Module, weight_names: Mapping[int, str], heard: Callable[[Site, Tensor], None]
    ) -> None:
        self.model, self.heard = model, heard
        self.handles: list[RemovableHandle] = []
        self.sites: dict[tuple[str, int], Site] = {}
        self.calls: dict[str, int] = {}
        self.exact: dict[str, bool] = {}
        self.waiting: set[str] = set()
        self.entering: dict[str, Layout | None] = {}
        self.inside: list[Inside | None] = []
        self.nothing_heard = False
        self.unseen = UnseenCalls({id(module): name for name, module in model.named_modules()})
        self.follower = Follower(weight_names, self._called)
        self.is_open = self.is_following = False

    def __enter__(self) -> SiteTracer:
        """Register the hooks."""
        self.handles.append(self.model.register_forward_hook(lambda *_: self.end_pass(), always_call=True))
        for name, module in self.model.named_modules():
            if isinstance(module, ACTIVATIONS):
                self.exact[name] = module_is_exact(module)
            elif not may_be_activation(module):
                continue
            self.waiting.add(name)
            self.handles.append(module.register_forward_pre_hook(self._entry(name), with_kwargs=True))
            self.handles.append(module.register_forward_hook(self._listener(name), always_call=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove them."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        self.follower.forget()

    @contextlib.contextmanager
    def following(self) -> Generator[None, None, None]:
        """Around each forward pass that is heard: watched closely as long as activations wait to be met."""
        self.is_open, self.is_following = True, bool(self.waiting) or not self.sites
        try:
            with uncompiled(), self.follower if self.is_following else contextlib.nullcontext():
                yield
        finally:
            self.is_open = self.is_following = False
            self.inside.clear()

    def end_pass(self) -> None:
        """The next call of a site begins a new pass: after each call of the model, and after each batch."""
        self.calls.clear()
        self.follower.forget()

    def check_heard(self) -> None:
        """Refuse a model without sites, when all batches are done.

        Raises:
            EmptyBatches: if the activations were called with nothing.
            NoSites: with the activations that were called but cannot be observed.
        """
        if self.sites:
            return
        if self.nothing_heard:
            raise EmptyBatches(
                "the batches hold no samples", "rates are shares of samples", "give batches with at least one sample"
            )
        kind, unseen = type(self.model).__name__, list(self.unseen.calls)
        raise NoSites(
            f"no site was reached in {kind}" if self.exact else f"{kind} has no activation module",
            f"activations are observed where an nn.ReLU (or another activation module) is called{_instead(unseen)}",
            "replace functional calls such as F.relu(x) by modules",
        )

    def _called(self, call: Call, result: object) -> None:
        inside = self.inside[-1] if self.inside else None
        if self.inside and inside is None:
            return  # the function of a site
        calls = self.unseen.locate(call)
        if inside is None:
            self.unseen.add(calls)
        else:
            inside.add(call, result)
            inside.unseen += calls

    def _entry(self, name: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not self.is_following:
                return
            self.waiting.discard(name)
            given = [item for item in (*args, *kwargs.values()) if isinstance(item, Tensor)]
            self.entering[name] = self.follower.layout(given[0]) if len(given) == 1 else None
            known = isinstance(module, ACTIVATIONS)
            self.inside.append(None if known else Inside(tuple(given[0].shape) if len(given) == 1 else None))

        return hook

    def _listener(self, name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if not self.is_open:
                return
            if self.is_following and self.inside:
                self._leave(name, module, output)
            if name not in self.exact or not isinstance(output, Tensor):
                return
            if output.numel() == 0:
                self.nothing_heard = True
                return
            call = self.calls.get(name, 0)
            self.calls[name] = call + 1
            site = self._site(name, call, module, output)
            with self.follower.resting():
                self.heard(site, output.detach())

        return hook

    def _leave(self, name: str, module: nn.Module, output: object) -> None:
        inside = self.inside.pop()
        if inside is None:
            return
        if inside.is_activation(module, output):
            self.exact[name] = inside.is_exact(module)
        elif self.inside and self.inside[-1] is not None:
            self.inside[-1].unseen += inside.unseen
        else:
            self.unseen.add(inside.unseen)

    def _site(self, name: str, call: int, module: nn.Module, output: Tensor) -> Site:
        if (name, call) not in self.sites:
            at = self.entering.pop(name, None) or self.follower.layout(output)
            shown = name or type(module).__name__
            label = shown if call == 0 else f"{shown}#{call}"
            dims, assumed = (at.dims, False) if at else _by_rule(output)
            feed = at.feed if at else None
            self.sites[name, call] = Site(label, feed, dims, len(self.sites), self.exact[name], assumed)
        return self.sites[name, call]


def _by_rule(output: Tensor) -> tuple[tuple[int, ...], bool]:
    """(dimensions, whether they are assumed) of units behind what nobody could follow.

    [samples, units] leaves no choice; of three dimensions and more the second one is assumed, as in images; a
    single dimension is taken for samples of one unit.
    """
    if output.dim() == 2:
        return (-1,), False
    return ((1 - output.dim(),), True) if output.dim() > 2 else ((), True)


def _instead(unseen: list[str]) -> str:
    shown = "; ".join(unseen[:5]) + (f"; and {len(unseen) - 5} more" if len(unseen) > 5 else "")
    return f"; instead there was: {shown}" if unseen else ""
