"""What a user's script does that may be killed: ``main(STORE, OUT, MOMENT)``, in a process of its own.

MOMENT is ``step:N``, ``write:N`` (the N-th file is half written), ``rename:N`` (it is written, but not in place) or
``SIGNAL@step:N``; without one it runs to its end and writes what came out, as one hash, to OUT.
"""

import hashlib
import os
import pathlib
import signal

import torch
from small_runs import Parts, geometric, outcome, run

import budbreak as bb

PLAN = geometric(2, then=[bb.ActivateWhilePruning(q=0.05, variant="pro")], rewind_to=bb.Step(3))


def fingerprint(parts, history):
    return hashlib.sha256(repr(outcome(parts, history)).encode()).hexdigest()


def die_at(kind, count, number):
    """Send this process a signal at the count-th step, write or rename."""
    seen = {"step": 0, "write": 0, "rename": 0}

    def happened(what):
        seen[what] += 1
        if (what, seen[what]) == (kind, count):
            os.kill(os.getpid(), number)

    fsync, rename = os.fsync, pathlib.Path.replace

    def die_in_fsync(handle):
        happened("write")
        fsync(handle)

    def die_in_rename(self, target):
        happened("rename")
        return rename(self, target)

    os.fsync, pathlib.Path.replace = die_in_fsync, die_in_rename
    return lambda parts, x: happened("step")


def main(store, out, moment=None):
    torch.set_num_threads(1)
    each = None
    if moment is not None:
        name, _, event = moment.rpartition("@")
        kind, _, count = event.partition(":")
        each = die_at(kind, int(count), getattr(signal, name or "SIGKILL"))
    parts, history = run(Parts(), PLAN, store=store, each=each)
    pathlib.Path(out).write_text(fingerprint(parts, history))
