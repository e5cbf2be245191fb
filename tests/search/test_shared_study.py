"""Two worker processes on one study in a real PostgreSQL, one of them killed: the study is completed by the other."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import TrialState

HERE = Path(__file__).parent
ROOT_RUNS_AS = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
"""PostgreSQL refuses to be run by root; Debian's package makes a user for it."""


def find_programs():
    """The folder of PostgreSQL's programs, of which Debian puts few on the path."""
    on_path = shutil.which("initdb")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@pytest.fixture
def database():
    """The URL of a server of its own, over a socket in a folder of its own."""
    programs = find_programs()
    if programs is None and os.environ.get("BUDBREAK_REQUIRE_POSTGRES") == "1":
        pytest.fail("BUDBREAK_REQUIRE_POSTGRES=1, but PostgreSQL is not installed")
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: the path of a socket has at most 107 letters
    if ROOT_RUNS_AS:
        shutil.chown(folder, "postgres", "postgres")

    def run(program, *arguments):
        command = [str(programs / program), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **ROOT_RUNS_AS)

    try:
        run("initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C")
        options = f"-F -k {folder} -c listen_addresses=''"
        run("pg_ctl", "--wait", "--log", str(folder / "log"), "--options", options, "start")
        try:
            yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
        finally:
            run("pg_ctl", "--wait", "--mode=immediate", "stop")
    finally:
        shutil.rmtree(folder)


def start(url, folder, name, *arguments):
    command = [sys.executable, str(HERE / "shared_study.py"), url, str(folder), name, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # of heartbeats
def test_a_study_is_completed_although_one_of_two_workers_is_killed(database, tmp_path):
    from shared_study import SPACE, open_storage, open_study, worth

    storage = open_storage(database)
    study = open_study(storage)  # so that only one makes the tables
    killed, living = start(database, tmp_path, "killed", 20, 2), start(database, tmp_path, "living", 20)
    try:
        said = [process.communicate(timeout=500)[1] for process in (killed, living)]
    finally:
        killed.kill()
        living.kill()
    assert (killed.returncode, living.returncode) == (-signal.SIGKILL, 0), said
    states = Counter(trial.state for trial in study.trials)
    assert states == {TrialState.COMPLETE: 20, TrialState.FAIL: 1}
    complete = [trial for trial in study.trials if trial.state is TrialState.COMPLETE]
    assert Counter(trial.user_attrs["worker"] for trial in complete) == {"killed": 2, "living": 18}
    (failed,) = [trial for trial in study.trials if trial.state is TrialState.FAIL]
    assert failed.user_attrs["worker"] == "killed"
    (again,) = [trial for trial in complete if trial.system_attrs.get("failed_trial") == failed.number]
    assert again.params == failed.params
    history = study.sampler._history(study.trials)
    assert [trial.score for trial in history] == [worth(SPACE.plan(trial.candidate)) for trial in history]
    assert len({trial.candidate for trial in history}) > 8
    storage.remove_session()
    storage.engine.dispose()
