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

from frame import DIGITS, Broken, campaign, left_behind, outcome

RUN = ["run", DIGITS, "--levels", "2", "--epochs", "2", "--milestones", "1", "--seeds", "1", "--train-limit", "200"]
RUN += ["--batch-size", "50", "--dnr-images", "100"]
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


def start(out, workers):
    """The command in a forked process of a session of its own; its process id."""
    import budbreak.cli

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
        code = budbreak.cli.main([*RUN, "--workers", str(workers), "--out", str(out)])
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


def semaphores():
    folder = pathlib.Path("/dev/shm")
    return {path.name for path in folder.glob("sem.*")} if folder.is_dir() else set()


def kill_helper(child, helper):
    """A worker that is killed, or a process of the standard library beside it: the run goes on to its end."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(helper, signal.SIGKILL)
    code = ended(child)
    if code:
        raise Broken(f"ended with {code} after one of its workers was killed")
    wait_until_gone(child)


def one_round(random, folder):
    wanted, seconds = reference()
    workers = 2 if random.random() < 0.2 else 1
    before, kills = semaphores(), 0
    for _ in range(random.randint(1, 8)):
        child, number = start(folder, workers), random.choice(SIGNALS)
        time.sleep(random.uniform(0, seconds if workers == 1 else 3 * seconds + 5))
        helpers = [process for process in of_session(child) if process != child]
        if helpers and random.random() < 0.5:
            kill_helper(child, random.choice(helpers))
            kills += 1
            continue
        os.kill(child, number)
        if number != signal.SIGKILL and random.random() < 0.3:
            os.kill(child, number)  # an impatient person
        code = ended(child)
        if code not in (0, -number, CODES.get(number)):
            raise Broken(f"ended with {code} after {number.name}")
        kills += code != 0
        wait_until_gone(child)
    last = start(folder, workers)
    code = ended(last)
    wait_until_gone(last)
    if code or outcome(folder) != wanted:
        raise Broken(f"{workers} workers: ended with {code}, {'other bits' if not code else 'an error'}")
    if left_behind(folder) or semaphores() - before:
        raise Broken(f"left behind: {left_behind(folder)}, {semaphores() - before}")
    return f"with {kills} kills"


if __name__ == "__main__":
    sys.exit(campaign("kill", one_round, rounds=100, limit=600))
