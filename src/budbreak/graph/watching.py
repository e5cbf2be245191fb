"""Watch the activation sites of a live model, pass after pass."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator, Mapping
from types import TracebackType
from typing import Any

import torch
from torch import nn

from budbreak.errors import EmptyBatches, NoSites
from budbreak.graph.flow import Flow
from budbreak.graph.hooking import Hooks
from budbreak.graph.listening import Ear, Heard, Listener
from budbreak.graph.origins import Origins
from budbreak.graph.recorder import Recorder
from budbreak.graph.sitebook import SiteBook


class SiteWatcher:
    """Tells of each site in each forward pass; a context manager that removes all hooks in the end.

    The first pass is recorded in full, which finds the sites, where their units lie and the weight that feeds each;
    so are later passes as long as something that might hold a site has not been called (an expert that no sample of
    the first batch was sent to). Then hooks hear the sites that are modules; where functions are sites, too, a mode
    picks out their calls.

    Args:
        model: the module to run.
        weight_names: id of a prunable parameter -> its name.
        heard: called with each site, what entered it and its output, both with their graph where autograd records one.
        keep_inputs: whether an input that its function overwrites is copied before; otherwise it is what is left of it.
    """

    def __init__(
        self, model: nn.Module, weight_names: Mapping[int, str], heard: Heard, *, keep_inputs: bool = False
    ) -> None:
        self.model, self.heard, self.keep_inputs = model, heard, keep_inputs
        self.book = SiteBook((path for path, _ in model.named_modules()), type(model).__name__)
        self.recorder = Recorder(Flow(Origins(model, weight_names)), self.book, heard, keep_inputs=keep_inputs)
        self.waiting = {path: module for path, module in model.named_modules() if _may_hold_sites(module)}
        self._hooks = Hooks(self._enter, self._leave)
        self._now: Recorder | Listener | None = None
        self._later: Listener | None = None

    def __enter__(self) -> SiteWatcher:
        """Register the hooks."""
        self._hooks.put_on(self.model)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove them."""
        self._hooks.remove()
        self.recorder.end_pass()

    @property
    def unseen(self) -> tuple[str, ...]:
        """The nonlinearities that ran and are no site, in words; each once."""
        later = self._later.unseen if isinstance(self._later, Ear) else {}
        return tuple({**self.recorder.unseen, **later})

    @contextlib.contextmanager
    def following(self) -> Generator[None, None, None]:
        """Around each forward pass."""
        recorded = bool(self.waiting) or not self.book.sites
        now = self.recorder if recorded else self._listener()
        self._now = now
        mode = now if isinstance(now, Recorder | Ear) else contextlib.nullcontext()
        try:
            with as_written(), mode:
                yield
        finally:
            self._now = None
            if recorded:
                self._wait_for_less()
            now.end_pass()
            self.end_pass()

    def end_pass(self) -> None:
        """The next call of a site begins a new pass: after each call of the model, and after each batch."""
        self.book.begin_pass()

    def check_heard(self) -> None:
        """Refuse a model without sites, when all batches are done.

        Raises:
            EmptyBatches: if the activations were called with nothing.
            NoSites: with the nonlinearities that were called but are no site.
        """
        if self.book.sites:
            return
        if self.recorder.nothing_heard:
            raise EmptyBatches(
                "the batches hold no samples", "rates are shares of samples", "give batches with at least one sample"
            )
        raise NoSites(
            f"no site was reached in {type(self.model).__name__}",
            f"sites are where a nonlinearity is called, an nn.ReLU or F.relu, say{_instead(self.unseen)}",
            "give a model that calls one, or look at its bb.trace(model, example)",
        )

    def _enter(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if self._now is not None:
            self._now.enter(path, module, args, kwargs)

    def _leave(self, path: str, module: nn.Module, output: object) -> None:
        if self._now is None:
            return
        self._now.leave(path, module, output)
        if not path:
            self.end_pass()

    def _listener(self) -> Listener:
        """Who listens once all that may hold sites has been recorded."""
        if self._later is None:
            functional = any(key.call for key in self.book.sites)
            kind = Ear if functional else Listener
            self._later = kind(self.book, self.heard, keep_inputs=self.keep_inputs)
            self._hooks.remove()
            only = None if functional else {*self.book.whole, ""}
            self._hooks.put_on(self.model, only)
        return self._later

    def _wait_for_less(self) -> None:
        called, reached = self.recorder.called, self.recorder.flow.origins.is_reached
        self.waiting = {
            path: module for path, module in self.waiting.items() if path not in called and not reached(module)
        }


def _may_hold_sites(module: nn.Module) -> bool:
    """Whether a module that was not called might lead to a site: it has weights, or is an activation of whatever kind.

    One with modules inside needs no look of its own: they have weights.
    """
    if any(parameter.dim() >= 2 for parameter in module.parameters(recurse=False)):
        return True
    home = type(module).__module__
    if home.partition(".")[0] == "torch":
        return home == "torch.nn.modules.activation"
    return type(module).forward is not nn.Module.forward and not any(True for _ in module.children())


@contextlib.contextmanager
def as_written() -> Generator[None, None, None]:
    """Inside, compiled parts and fused layers of transformers run as they were written, call by call.

    A compiled part calls no hooks, or compiles ours with it; a fused transformer layer is a single call.
    """
    loaded = "torch._dynamo" in sys.modules  # else nothing was compiled, and loading it takes seconds
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.compiler.set_stance("force_eager") if loaded else contextlib.nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _instead(unseen: tuple[str, ...]) -> str:
    shown = "; ".join(unseen[:5]) + (f"; and {len(unseen) - 5} more" if len(unseen) > 5 else "")
    return f"; instead there was: {shown}" if unseen else ""
