"""What every campaign shares: rounds and seed as arguments, a limit on each round, one summary line, the exit code.

A campaign is a script: ``python tests/campaigns/NAME.py --rounds 200 --seed 7``. A round that breaks is printed with
the seed that repeats it alone.
"""

import argparse
import collections
import contextlib
import io
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DIGITS = str(ROOT / "recipes/digits-mlp.toml")


def sets(**values):
    """Options of ``budbreak run``: ``train__epochs=2`` is ``--set train.epochs=2``."""
    return [word for name, value in values.items() for word in ("--set", f"{name.replace('__', '.')}={value}")]


class Broken(AssertionError):
    """What a campaign promises did not hold."""


def campaign(name, one_round, *, rounds, limit=120):
    """Play the rounds and return the exit code.

    ``one_round(random, folder)`` returns a word for what happened, which is counted, and raises `Broken` or anything
    else if the promise did not hold. ``limit``: seconds after which a round hangs.
    """
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begin, counted, broken = time.monotonic(), collections.Counter(), 0
    for number in range(options.rounds):
        seed = options.seed + number
        try:
            counted[play(one_round, seed, limit)] += 1
        except Exception as error:
            broken += 1
            print(f"{name} --rounds 1 --seed {seed}: {type(error).__name__}: {error}", flush=True)
    happened = ", ".join(f"{count} {word}" for word, count in counted.most_common())
    seconds = time.monotonic() - begin
    print(f"{name}: {options.rounds} rounds from seed {options.seed}: {happened}; {broken} broken ({seconds:.0f} s)")
    return 1 if broken else 0


def play(one_round, seed, limit):
    """One round in a folder of its own, interrupted where it hangs."""

    def hangs(number, frame):
        raise Broken(f"hangs: more than {limit} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(limit)
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            return one_round(random.Random(seed), Path(folder))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def command(arguments):
    """Run the command in this process: (exit code, everything it printed); `Broken` for a traceback."""
    from budbreak.cli import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = stop.code
        except Exception as error:
            raise Broken(f"{arguments!r}: a traceback: {type(error).__name__}: {error}") from error
    text = out.getvalue()
    if "Traceback" in text:
        raise Broken(f"{arguments!r}: a traceback in the output:\n{text[-2000:]}")
    if code not in (0, 1, 2):
        raise Broken(f"{arguments!r}: exit code {code!r}")
    return code, text


def outcome(out):
    """All that equal runs share, bit for bit: the networks, and the hashes and masks in the records of each task."""
    import json

    kept = {}
    for path in sorted([*out.glob("tasks/*/*"), *out.glob("*/networks/*")]):
        place = str(path.relative_to(out))
        if path.suffix == ".safetensors" and (path.name == "model.safetensors" or path.parent.name == "networks"):
            kept[place] = path.read_bytes()
        elif path.name == "records.json":
            kept[place] = [record["end_digest"] for record in json.loads(path.read_text())["records"]]
    return kept


def left_behind(out):
    """Hidden files: what a write that was stopped leaves until somebody sweeps."""
    return sorted(str(path.relative_to(out)) for path in out.rglob(".*"))


if __name__ == "__main__":
    sys.exit("this is the frame of the campaigns beside it")
