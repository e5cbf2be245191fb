"""Signals at random moments of a real run: the same command ends with the same bits, and nothing is left over.

The command runs in a forked process, so that a round does not pay for importing torch; its workers are spawned.
"""

import contextlib
import functools
import os
import pathlib
import signal
import sys
import tempfile
import time

from frame import DIGITS, Broken, campaign, left_behind, outcome, sets

RUN = ["run", DIGITS, *sets(train__epochs=2, train__schedule="constant", data__limit=200, train__batch_size=50)]
RUN += [*sets(measure__images=100), "--seeds", "1"]
LONG, SHORT = sets(prune__schedule__levels=2), sets(prune__schedule__levels=1)  # runs of their own, one dense training
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


def start(out, workers, more=LONG):
    """The command in a forked process of a session of its own; its process id."""
    import torch._dynamo  # noqa: F401 - an optimizer would, in each child

    import budbreak.cli
    import budbreak.reporting.page

    child = os.fork()
    if child:
        return child
    os.setsid()
    signal.alarm(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nowhere, number)
    code = 99
    try:
        code = budbreak.cli.main([*RUN, *more, "--workers", str(workers), "--out", str(out)])
    finally:
        os._exit(code)


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@functools.cache
def reference():
    """(outcome, seconds) of a run that nothing disturbs."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        code = ended(start(folder, 1))
        if code:
            raise Broken(f"the undisturbed run ended with {code}")
        return outcome(pathlib.Path(folder)), time.monotonic() - begin


def of_session(session):
    """The living processes of a session."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def wait_until_gone(session, seconds=10):
    end = time.monotonic() + seconds
    while of_session(session):
        if time.monotonic() > end:
            raise Broken(f"processes left over: {of_session(session)}")
        time.sleep(0.02)


def semaphores(children):
    """Those that loky made for our commands, and that are still there."""
    return [path.name for child in children for path in pathlib.Path("/dev/shm").glob(f"sem.loky-{child}-*")]


def kill_helper(child, helper):
    """A worker that is killed, or a process of the standard library beside it: the run goes on to its end."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(helper, signal.SIGKILL)
    code = ended(child)
    if code:
        raise Broken(f"ended with {code} after one of its workers was killed")
    wait_until_gone(child)


def disturbed(random, child, number, seconds):
    """Stop a command somewhere, perhaps by way of one of its workers; whether it was stopped."""
    time.sleep(random.uniform(0, seconds))
    helpers = [process for process in of_session(child) if process != child]
    if helpers and random.random() < 0.5:
        kill_helper(child, random.choice(helpers))
        return True
    os.kill(child, number)
    if number != signal.SIGKILL and random.random() < 0.3:
        os.kill(child, number)  # an impatient person
    code = ended(child)
    if code not in (0, -number, CODES.get(number)):
        raise Broken(f"ended with {code} after {number.name}")
    wait_until_gone(child)
    return code != 0


def two_at_once(random, out, seconds):
    """A run of other levels beside ours: one of them trains the dense network, the other waits for it."""
    first, second = random.sample([start(out, 1), start(out, 1, SHORT)], 2)
    kills = disturbed(random, first, random.choice(SIGNALS), seconds)
    code = ended(second)
    wait_until_gone(second)
    if code:
        raise Broken(f"a command ended with {code} after the one beside it was stopped")
    return kills


def one_round(random, folder):
    wanted, seconds = reference()
    out, workers = folder / "out", 2 if random.random() < 0.2 else 1
    beside = random.random() < 0.3
    kills = two_at_once(random, out, 2 * seconds) if beside else 0
    children = [start(out, workers)]
    for _ in range(random.randint(0 if beside else 1, 6)):
        kills += disturbed(random, children[-1], random.choice(SIGNALS), seconds if workers == 1 else 3 * seconds + 5)
        children.append(start(out, workers))
    code = ended(children[-1])
    wait_until_gone(children[-1])
    kept = outcome(out)
    if code or {name: kept.get(name) for name in wanted} != wanted:
        raise Broken(f"{workers} workers: ended with {code}, {'other bits' if not code else 'an error'}")
    if left_behind(out) or semaphores(children):
        raise Broken(f"left behind: {left_behind(out)}, {semaphores(children)}")
    return f"{kills} kills{', beside another run' if beside else ''}{', two workers' if workers == 2 else ''}"


if __name__ == "__main__":
    sys.exit(campaign("kill", one_round, rounds=100, limit=600))
