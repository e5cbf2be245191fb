"""Real processes of a gloo group, as torchrun starts them, for the tests of what ranks do together."""

import json
import os
import time
from pathlib import Path

from forking import CONTEXT


def launch(work, folder, *arguments, size=2, patience=300):
    """Run ``work(rank, *arguments)`` in ``size`` processes; what each gave back, or its error, or how it was killed.

    Returns:
        For each rank a JSON value, {"error": type, "text": message}, or {"signal": number}.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    meeting = folder / f"meeting-{time.monotonic_ns()}"
    processes = [
        CONTEXT.Process(target=_child, args=(work, rank, size, str(meeting), arguments)) for rank in range(size)
    ]
    for process in processes:
        process.start()
    end = time.monotonic() + patience
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
    hanging = [rank for rank, process in enumerate(processes) if process.is_alive()]
    for rank in hanging:
        processes[rank].kill()
        processes[rank].join()
    assert not hanging, f"ranks {hanging} still ran after {patience} s"
    return [_outcome(Path(f"{meeting}-{rank}"), process.exitcode) for rank, process in enumerate(processes)]


def _outcome(path, code):
    if code < 0:
        return {"signal": -code}
    return json.loads(path.read_text())


def _child(work, rank, size, meeting, arguments):
    import warnings

    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # broadcast_buffers has another name in new torch
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    try:
        outcome = work(rank, *arguments)
    except Exception as error:
        outcome = {"error": type(error).__name__, "text": str(error)}
    Path(f"{meeting}-{rank}").write_text(json.dumps(outcome))
    os._exit(0)  # as a script that ends: without waiting for the others
