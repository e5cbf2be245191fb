"""A worker on a study that several share: ``shared_study.py URL FOLDER NAME TRIALS [TRAININGS]``.

It begins when two are there; with TRAININGS it kills itself in the training after so many.
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

SPACE = SearchSpace(dict.fromkeys("abcd", (ReLU(), Swish(), Tanh(), Symlog())))


def open_storage(url):
    again = RetryHeartbeatStaleTrialCallback()
    return RDBStorage(url, heartbeat_interval=1, grace_period=2, heartbeat_stale_trial_callback=again)


def open_study(storage):
    sampler = optuna_sampler(LateAcceptance(), SPACE)
    shared = {"storage": storage, "study_name": "safs", "load_if_exists": True}
    return optuna.create_study(direction="maximize", sampler=sampler, **shared)


def worth(plan):
    return sum(SPACE[site].index(activation) for site, activation in plan.items()) / 12


def main(url, folder, name, trials, trainings=None):
    study, begun = open_study(open_storage(url)), []
    (Path(folder) / f"{name}.ready").touch()
    while len(list(Path(folder).glob("*.ready"))) < 2:
        time.sleep(0.02)

    def objective(trial):
        plan = suggest(trial, SPACE)
        trial.set_user_attr("worker", name)
        begun.append(trial.number)
        time.sleep(0.2)
        if trainings is not None and len(begun) > int(trainings):
            os.kill(os.getpid(), signal.SIGKILL)
        return worth(plan)

    study.optimize(objective, callbacks=[MaxTrialsCallback(int(trials))])


if __name__ == "__main__":
    main(*sys.argv[1:])
