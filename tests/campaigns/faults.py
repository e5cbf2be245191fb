"""Injected faults: a write, rename, sync or new file fails once, or files may not grow beyond some size.

The command ends with a message and code 1, nothing is lost, and the same command then ends as if nothing had been.
"""

import contextlib
import errno
import functools
import os
import pathlib
import resource
import sys
import tempfile

from frame import DIGITS, Broken, campaign, command, left_behind, outcome, sets

RUN = ["run", DIGITS, *sets(prune__schedule__levels=1, train__epochs=1, train__schedule="constant", data__limit=100)]
RUN += [*sets(train__batch_size=50, measure__images=50), "--seeds", "1", "--workers", "1", "--arms", "host"]
ERRORS = [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EDQUOT, errno.EROFS]
CALLS = {
    "fsync": (os, "fsync"),
    "rename": (pathlib.Path, "replace"),
    "open": (os, "open"),
    "mkdir": (pathlib.Path, "mkdir"),
}


@functools.cache
def reference():
    with tempfile.TemporaryDirectory() as folder:
        code, said = command([*RUN, "--out", folder])
        if code:
            raise Broken(said)
        return outcome(pathlib.Path(folder))


@contextlib.contextmanager
def failing(call, at, number):
    """The at-th call below this moment raises, the others work."""
    owner, name = CALLS[call]
    real, seen = getattr(owner, name), [0]

    def sometimes(*arguments, **options):
        seen[0] += 1
        if seen[0] == at:
            raise OSError(number, os.strerror(number), str(arguments[0]))
        return real(*arguments, **options)

    setattr(owner, name, sometimes)
    try:
        yield
    finally:
        setattr(owner, name, real)


@contextlib.contextmanager
def growing_to(size):
    """No file grows beyond ``size`` bytes: a disk that is full in the midst of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def one_round(random, folder):
    wanted = reference()
    if random.random() < 0.2:
        word, fault = "full disks", growing_to(random.choice([0, 100, 5000, 50_000, 100_000]))
    else:
        call = random.choice(list(CALLS))
        word, fault = f"at {call}", failing(call, random.randint(1, 60), random.choice(ERRORS))
    out = folder / "out"
    with fault:
        code, said = command([*RUN, "--out", str(out)])
    if code and "error: " not in said:
        raise Broken(f"{word}: code {code} without a message:\n{said}")
    again, said = command([*RUN, "--out", str(out)])
    if again or outcome(out) != wanted:
        raise Broken(f"{word}: afterwards code {again}, {'other bits' if not again else said}")
    if left_behind(out):
        raise Broken(f"{word}: left behind {left_behind(out)}")
    return word if code else f"{word} (no effect)"


if __name__ == "__main__":
    sys.exit(campaign("faults", one_round, rounds=100))
