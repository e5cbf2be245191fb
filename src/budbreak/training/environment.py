"""Where a run was computed: recorded beside it, never part of its identity."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np
import torch

from budbreak._version import __version__
from budbreak.training.choice import cpu_capabilities

_TELLING = ("avx2", "avx512_f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16")


def environment() -> dict[str, object]:
    """What equal bits and comparable times depend on; JSON values, without names of hosts or users.

    Returns:
        budbreak, torch, numpy, python: versions. system: kernel and architecture. processor: its name.
        capabilities: those that decide on the arithmetic. cores, threads: of the machine, of torch.
        omp_wait_policy: None if not set. cuda: names of the devices.
    """
    capabilities = cpu_capabilities()
    return {
        "budbreak": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": str(capabilities.get("cpu_name") or _processor_name()),
        "capabilities": [name for name in _TELLING if capabilities.get(name)],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "cuda": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }


def _processor_name() -> str:
    """From the kernel's list on Linux, from Python elsewhere; "unknown" if neither says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
