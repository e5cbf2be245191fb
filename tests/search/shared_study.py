"""A worker on a study that several share: ``shared_study.py URL FOLDER NAME TRIALS [TRAININGS]``.

It begins when two are there. With TRAININGS it kills itself in the training after so many; without them it waits, in
its fifth one, until the other one's has to be given up.
"""

import os
import signal
import sys
import time
from pathlib import Path

import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import MaxTrialsCallback

from budbreak.activations import ReLU, Swish, Symlog, Tanh
from budbreak.search import LateAcceptance, SearchSpace, optuna_sampler, suggest

GRACE = 4  # seconds without a heartbeat, of which there is one each second, after which a trial is given up
SPACE = SearchSpace(dict.fromkeys("abcd", (ReLU(), Swish(), Tanh(), Symlog())))


def open_storage(url):
    again = RetryHeartbeatStaleTrialCallback()
    return RDBStorage(url, heartbeat_interval=1, grace_period=GRACE, heartbeat_stale_trial_callback=again)


def open_study(storage):
    sampler = optuna_sampler(LateAcceptance(), SPACE)
    shared = {"storage": storage, "study_name": "safs", "load_if_exists": True}
    return optuna.create_study(direction="maximize", sampler=sampler, **shared)


def worth(plan):
    return sum(SPACE[site].index(activation) for site, activation in plan.items()) / 12


def main(url, folder, name, trials, trainings=None):
    study, begun, gone = open_study(open_storage(url)), [], Path(folder) / "gone"
    (Path(folder) / f"{name}.ready").touch()
    while len(list(Path(folder).glob("*.ready"))) < 2:
        time.sleep(0.02)

    def objective(trial):
        plan = suggest(trial, SPACE)
        trial.set_user_attr("worker", name)
        begun.append(trial.number)
        time.sleep(0.02)
        if trainings is not None and len(begun) > int(trainings):
            gone.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if trainings is None and len(begun) == 5:
            while not gone.exists():
                time.sleep(0.02)
            time.sleep(GRACE + 1.5)
        return worth(plan)

    study.optimize(objective, callbacks=[MaxTrialsCallback(int(trials))])


if __name__ == "__main__":
    main(*sys.argv[1:])
