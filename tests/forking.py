"""Processes for tests that kill them: real ones, forked from a server that has imported all that takes seconds."""

import gc
import multiprocessing
import os
import signal
import sys
import warnings

# The server imports once; each process is forked from it, before any thread has started there.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch.distributed", "torch._dynamo", "budbreak.cli", "budbreak.reporting.page"])


def start(work, *arguments, errors=os.devnull, terminal=None):
    """Start ``work(*arguments)``, a function of a module, in a process and session of its own.

    Args:
        errors: the file for what it writes to stderr; what it prints goes nowhere.
        terminal: of what all its streams are instead, and of which Ctrl-C reaches it.

    Returns:
        A `multiprocessing.Process`: pid, is_alive, join, kill, and exitcode, which is negative after a signal.
    """
    streams = [terminal] * 3 if terminal else [os.devnull, os.devnull, str(errors)]
    process = CONTEXT.Process(target=_child, args=(work, arguments, streams))
    process.start()
    return process


def end(process, patience=300):
    """Wait for a process; its exit code, as that of `subprocess.Popen`."""
    process.join(patience)
    hangs = process.is_alive()
    process.kill()
    assert not hangs, f"it still ran after {patience} s"
    return process.exitcode


def _child(work, arguments, streams):
    os.setsid()  # the first terminal that it opens is then its own
    for number, path in enumerate(streams):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode, closefd=False) for number, mode in enumerate("rww"))
    warnings.simplefilter("error")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what runs in the background
    gc.freeze()  # what is imported stays: looking for schedulers passes over all other objects
    sys.exit(work(*arguments))
