"""Processes for tests that kill them: real ones, forked from a server that has imported all that takes seconds."""

import gc
import multiprocessing
import os
import signal
import sys
import warnings

# The server imports once; each process is forked from it, before any thread has started there.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch.distributed", "torch._dynamo", "sklearn.datasets", "budbreak.cli"])


def start(work, *arguments, errors=os.devnull):
    """Start ``work(*arguments)``, a function of a module, in a process; its output goes nowhere.

    Args:
        errors: the file for what it writes to stderr.

    Returns:
        A `multiprocessing.Process`: pid, is_alive, join, kill, and exitcode, which is negative after a signal.
    """
    process = CONTEXT.Process(target=_child, args=(work, arguments, str(errors)))
    process.start()
    return process


def end(process, patience=120):
    """Wait for a process; its exit code, as that of `subprocess.Popen`."""
    process.join(patience)
    hangs = process.is_alive()
    process.kill()
    assert not hangs, f"it still ran after {patience} s"
    return process.exitcode


def _child(work, arguments, errors):
    for descriptor, path in ((0, os.devnull), (1, os.devnull), (2, errors)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    warnings.simplefilter("error")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what runs in the background
    gc.freeze()  # what is imported stays: looking for schedulers passes over all other objects
    sys.exit(work(*arguments))
