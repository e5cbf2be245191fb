"""Look at a live model: run batches through it and collect evidence. Every hook is removed in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from torch import Tensor, nn

from budbreak.checks import check_count, check_function, check_model, check_probes, shown
from budbreak.errors import InvalidValue, MissingEvidence
from budbreak.evidence.calibration import Calibration
from budbreak.evidence.context import Context, Network
from budbreak.evidence.evidence import Evidence, Need, Probe, observers_of, probes_of
from budbreak.evidence.observer import Observer
from budbreak.evidence.passes import Pass, call_functions
from budbreak.evidence.steps import Conditions, Step, before, in_steps, with_earlier
from budbreak.evidence.weighing import Samples
from budbreak.graph import Batches, Forward, Loss, call_model, is_single
from budbreak.masks import Prunable, conv_and_linear, prunable_parameters, unwrap
from budbreak.processes import Group, Processes


def probe(
    model: nn.Module,
    probes: Sequence[Need],
    *,
    batches: Batches | None = None,
    loss: Loss | None = None,
    forward: Forward | None = None,
    prunable: Prunable = conv_and_linear,
    start: Mapping[str, Tensor] | None = None,
    watched: Callable[[Observer[object]], object] | None = None,
    every: int = 1,
    samples: Samples | None = None,
    group: Group = "alone",
) -> Evidence:
    """Collect what the probes ask for, in as few passes over the batches as there can be: mostly one.

    The model runs in eval mode (in training mode for probes that name it), in its own dtype, without autocast, and
    comes back as it was: modes, hooks, buffers and ``.grad``. So do random generators: those of torch, numpy and
    `random`, and those that the loader, its sampler and its data set hold, so that each pass sees the same; not those
    inside an iterator that has begun, in persistent worker processes or in a closure. Tensors of a batch are moved to
    the model's device.

    Args:
        model: any module; ``torch.compile`` and data-parallel wrappers are looked through.
        probes: what to observe; equal probes are observed once.
        batches: the calibration set; needed by probes that look at inputs, activations or gradients.
        loss: needed by probes that look at gradients.
        forward: how to run the model on a batch, if not ``model(inputs)``.
        prunable: which weights count as prunable.
        start: weights by state_dict name from the start of the level, for `StartWeights`.
        watched: what an observer among the probes has seen during the training before; `iterate` knows it.
        every: use each ``every``-th batch only.
        samples: ``samples(batch)``: over how many terms (samples, labels that count) a batch's mean loss is taken.
            Unless given it is read from the calls of torch's losses, `ignore_index` and class weights included, and
            for others from the leading dimension of the targets; where neither is certain, it is asked for.
        group: the processes that observe together, each on its own batches, of which some may have none; None:
            all of `torch.distributed`. All of them must call. Other than in `iterate`, this process alone unless
            given: a measurement on rank 0 alone is common.

    Raises:
        MissingEvidence: batches or loss are wanted but were not given; or an observer, which watches trainings.
        NoSites: activations are wanted, but none was called that can be observed.
        InvalidValue: ``batches`` is a single batch, or an iterator where several passes are needed; the model or the
            loss raises on one, or the loss is no single number; or how much each batch weighs cannot be known (see
            ``samples``).
        EmptyBatches: the batches yielded nothing.
        NotFinite: the loss is NaN or infinite; names the batch.
    """
    check_model(model)
    check_probes(probes)
    check_count("every", every)
    seen = {observer: _seen(observer, watched) for observer in observers_of(probes)}
    unwrapped = unwrap(model)
    network = Network(unwrapped, prunable_parameters(unwrapped, prunable), start, Processes.of(group))
    opened = _Opened(network, probes_of(probes))
    if not isinstance(start, Mapping | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(f"start is {shown(start)}", "it must be a mapping", "write {name: tensor}")
    opened.check(batches, loss, forward)
    calibration = Calibration(() if batches is None else batches, forward or call_model, loss, samples, every)
    results: dict[Probe[object], object] = {}
    for step in opened.steps:
        results |= opened.take(step, calibration, results)
    everything: dict[Need, object] = {**results, **seen}
    return Evidence({probe: everything[probe] for probe in dict.fromkeys(probes)})


def _seen(observer: Observer[object], watched: Callable[[Observer[object]], object] | None) -> object:
    if watched is None:
        raise MissingEvidence(
            f"{observer} is wanted, and no training was watched",
            "it is no probe: it watches a network while it trains",
            "prune inside bb.iterate, which attaches what its plan's criteria need",
        )
    return watched(observer)


def check_inputs(
    model: nn.Module,
    probes: Sequence[Probe[object]],
    *,
    batches: Batches | None,
    loss: Loss | None,
    forward: Forward | None = None,
    prunable: Prunable = conv_and_linear,
    samples: Samples | None = None,
) -> None:
    """Refuse now what `probe` would refuse later: batches or a loss that these probes want and nobody gave.

    Where gradients are wanted, two batches are run, without a backward pass; where their losses do not say over what
    they average, it looks at the shapes of all batches of a list: whether they can be weighed.

    Raises:
        MissingEvidence, InvalidValue: see `probe`.
    """
    check_model(model)
    check_probes(probes)
    unwrapped = unwrap(model)
    parameters = prunable_parameters(unwrapped, prunable)
    network = Network(unwrapped, parameters, parameters)
    opened = _Opened(network, probes)
    opened.check(batches, loss, forward)
    calibration = Calibration(() if batches is None else batches, forward or call_model, loss, samples)
    losing = {Conditions.of(context.probe): context for context in opened.contexts.values() if context.wants_loss}
    for conditions, context in losing.items():
        Pass(network, [context], calibration, conditions).try_out()


def check_rereadable(batches: object, why: str) -> None:
    """Refuse an iterator, which is used up after one pass, where there will be several.

    Args:
        batches: any, or None.
        why: they are read several times, in words.

    Raises:
        InvalidValue: with what to give.
    """
    if isinstance(batches, Iterator):
        rule = f"{why}, and an iterator is used up after the first time"
        raise InvalidValue(f"batches is {shown(batches)}", rule, "give a list, list(batches), or a DataLoader")


class _Opened:
    """Probes that have said what they look at, and those that must come before them."""

    def __init__(self, network: Network, probes: Sequence[Probe[object]]) -> None:
        self.network = network
        everything = with_earlier(probes)
        self.contexts = {probe: Context(network, probe) for probe in everything}
        self.finish: dict[Probe[object], Callable[[], object]] = {
            probe: probe.start(self.contexts[probe]) for probe in everything
        }
        conditions = {
            probe: Conditions.of(probe) if context.wants_pass else None for probe, context in self.contexts.items()
        }
        self.steps = in_steps(conditions)

    def take(
        self, step: Step, calibration: Calibration, results: Mapping[Probe[object], object]
    ) -> dict[Probe[object], object]:
        """What the probes of a step see."""
        contexts = [self.contexts[probe] for probe in step.probes]
        for context in contexts:
            context.evidence = Evidence({earlier: results[earlier] for earlier in before(context.probe)})
        call_functions(self.network, contexts, calibration)
        if step.conditions is not None:
            Pass(self.network, contexts, calibration, step.conditions).run()
        return {probe: self.finish[probe]() for probe in step.probes}

    def check(self, batches: Batches | None, loss: Loss | None, forward: Forward | None) -> None:
        """Refuse what they cannot look at.

        Raises:
            MissingEvidence, InvalidValue: see `probe`.
        """
        looking = [context for context in self.contexts.values() if context.wants_batches]
        losing = [context for context in looking if context.wants_loss]
        if not looking:
            return
        _check_batches(batches, looking[0].probe, with_targets=bool(losing))
        if loss is not None:
            check_function("loss", loss, "nn.functional.cross_entropy")
        elif losing:
            raise MissingEvidence(
                f"gradients are wanted, but no loss was given: {type(losing[0].probe).__name__} looks at them",
                "a gradient is that of a loss",
                "give loss=loss_fn",
            )
        check_function("forward", forward or call_model, "lambda model, batch: model(batch[0])")
        passes = sum(step.conditions is not None for step in self.steps)
        readings = passes + any(context.example_functions for context in looking)
        if readings > 1:
            check_rereadable(batches, f"these probes read them {readings} times")


def _check_batches(batches: object, probe: Probe[object], *, with_targets: bool) -> None:
    if batches is None:
        raise MissingEvidence(
            f"no batches were given, and {type(probe).__name__} looks at them",
            "inputs, activations and gradients are observed on data",
            "give batches=loader",
        )
    if isinstance(batches, Iterable) and is_single(batches, with_targets):
        raise InvalidValue(
            f"batches is {'a tensor' if isinstance(batches, Tensor) else f'one {type(batches).__name__} of tensors'}",
            "it is an iterable of batches",
            "for a single batch write batches=[x] or batches=[(x, y)]",
        )
    if isinstance(batches, Mapping | str) or not isinstance(batches, Iterable):
        single = "for a single batch write batches=[{...}]"
        fix = single if isinstance(batches, Mapping) else "give a list of batches or a DataLoader"
        raise InvalidValue(f"batches is {shown(batches)}", "it is an iterable of batches", fix)
