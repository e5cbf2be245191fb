"""Which arithmetic, memory format and device a network trains fastest in, from measured rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from budbreak.checks import check_count, check_known
from budbreak.errors import InvalidValue

Precision = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda"]

_WIDE = 16  # input channels: see _measured_rule


@dataclass(frozen=True)
class Engine:
    """How to compute: a value that is recorded beside a run.

    Args:
        bf16: train under autocast to bfloat16; weights, optimizer and evaluation stay float32.
        channels_last: images and convolution weights in NHWC memory; shapes and values are the same.
        threads: of torch, on the CPU.
        device: "cpu" or "cuda".
        why: the reason for ``bf16``, for the log.
    """

    bf16: bool
    channels_last: bool
    threads: int
    device: str = "cpu"
    why: str = ""

    def summary(self) -> str:
        """One sentence for the log.

        >>> Engine(bf16=False, channels_last=False, threads=2, why="no convolutions").summary()
        'training on cpu with 2 threads in float32 (no convolutions)'
        """
        where = f"cpu with {self.threads} thread{'s' if self.threads > 1 else ''}" if self.device == "cpu" else "cuda"
        precision = "bfloat16 autocast" if self.bf16 else "float32"
        layout = ", channels last" if self.channels_last else ""
        return f"training on {where} in {precision}{layout}{f' ({self.why})' if self.why else ''}"

    def prepare(self, model: nn.Module) -> nn.Module:
        """Bring a model to the device and memory format, in place, and set torch's threads; returns the model.

        The threads are those of the whole process. Call this before an optimizer is made.
        """
        torch.set_num_threads(self.threads)
        model.to(self.device)
        if self.channels_last:
            model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        return model

    def place(self, batch: Tensor) -> Tensor:
        """A batch [B, C, H, W] on the device, in the memory format."""
        moved = batch.to(self.device, non_blocking=True)
        return moved.contiguous(memory_format=torch.channels_last) if self.channels_last else moved


def choose_engine(
    model: nn.Module,
    *,
    precision: Precision = "auto",
    threads: int | None = None,
    device: Device = "auto",
    capabilities: Mapping[str, object] | None = None,
) -> Engine:
    """The engine for a model on this machine.

    Args:
        model: decides by its convolutions.
        precision: "auto" follows the measured rules; the others are obeyed.
        threads: of torch; what torch has now if None.
        device: "auto" takes CUDA where there is a device.
        capabilities: of the processor; asked from torch if None.

    Raises:
        UnknownName: for an unknown precision or device.
        InvalidValue: for threads below 1, or CUDA where there is none.
    """
    check_known(f"precision is {precision!r}", precision, ("auto", "float32", "bfloat16"))
    place = _device(device)
    count = torch.get_num_threads() if threads is None else threads
    check_count("threads", count)
    convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    known = cpu_capabilities() if capabilities is None else capabilities
    if precision == "auto":
        bf16, why = _measured_rule(model, known, place)
    else:
        bf16, why = precision == "bfloat16", "as asked"
    return Engine(bf16, convolutional, count, place, why)


def cpu_capabilities() -> Mapping[str, object]:
    """What torch says of the processor; empty, and so float32, where this version of torch does not say."""
    ask = getattr(torch.cpu, "get_capabilities", dict)
    return ask()


def _measured_rule(model: nn.Module, capabilities: Mapping[str, object], device: str) -> tuple[bool, str]:
    """Whether bfloat16 pays, and why.

    Training, batch 128, bfloat16 over float32, both channels last, medians of paired interleaved rounds:
    AMD EPYC with avx512_bf16 and no AMX, 1 thread: ResNet-20 1.64, VGG with 0.6 M parameters 2.12, LeNet-5 of
    20-50-500 1.99, of 6-16-120-84 1.07; 2 threads: ResNet-20 1.53, LeNet-5 (6-16) 1.06, LeNet-300-100 1.06.
    Intel with AMX, 2 threads: ResNet-20 2.12, VGG 2.53, LeNet-5 (6-16) 1.09, LeNet-300-100 0.77 to 0.96.
    Below a tenth is noise, and no reason to leave float32: so convolutions with 16 input channels or more decide.
    """
    if device == "cuda":
        return False, "float32 on CUDA unless asked otherwise"  # bfloat16 there is not measured yet
    if not _has_wide_convolution(model):
        return False, f"no convolution with {_WIDE} input channels: bfloat16 gains nothing"
    if capabilities.get("amx_bf16") or capabilities.get("amx_tile"):
        return True, "wide convolutions on a processor with AMX"
    if capabilities.get("avx512_bf16"):
        return True, "wide convolutions on a processor with avx512_bf16"
    return False, "the processor has no fast bfloat16"


def _has_wide_convolution(model: nn.Module) -> bool:
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    return any(module.in_channels // module.groups >= _WIDE for module in convolutions)


def _device(device: str) -> str:
    check_known(f"device is {device!r}", device, ("auto", "cpu", "cuda"))
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise InvalidValue("device is 'cuda'", "torch sees no CUDA device here", "use device='cpu'")
    return "cuda" if available and device != "cpu" else "cpu"
