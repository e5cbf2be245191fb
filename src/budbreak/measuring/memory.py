"""The peak memory of one piece of work, above what is there before it, in a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_extra(target: str, arguments: Mapping[str, object], warm: Mapping[str, object], *, runs: int = 1) -> float:
    """MiB that a piece of work takes at its peak, beyond its inputs; the median of so many runs.

    The work runs in a fresh Python with one thread: first on the small ``warm`` arguments, so that what libraries
    load at their first use is there, then measured.

    Args:
        target: "module:function"; the function makes the inputs and returns what does the work.
        arguments: by keyword; JSON values.
        warm: the arguments of the small run.
        runs: the allocator decides anew in each.
    """
    program = f"from {__name__} import main; main()"
    command = [sys.executable, "-c", program, target, json.dumps(dict(arguments)), json.dumps(dict(warm))]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    peaks: list[int] = []
    for _ in range(runs):
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=variables)
        peaks.append(int(done.stdout))
    return statistics.median(peaks) / 2**20


def _measure(target: str, arguments: Mapping[str, object], warm: Mapping[str, object]) -> int:
    module, _, name = target.partition(":")
    make = getattr(import_module(module), name)
    make(**warm)()
    work = make(**arguments)
    _give_back()
    before = _resident()
    work()
    return max(0, _peak() - before)


def _give_back() -> None:
    """Hand memory that was freed while the inputs were made back to the system: else the work would reuse it unseen."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)


def _resident() -> int:
    """Bytes now; from here on the peak counts anew where the kernel lets it."""
    try:
        _RESET.write_text("5", encoding="ascii")
        return _from_status("VmRSS")
    except OSError:
        return _peak()


def _peak() -> int:
    """Bytes at the peak. From the kernel's own file where there is one: ``ru_maxrss`` knows of the parent's peak."""
    if _STATUS.exists():
        return _from_status("VmHWM")
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def _from_status(field: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main() -> None:
    """Print the bytes; what `peak_extra` starts."""
    print(_measure(sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])))
