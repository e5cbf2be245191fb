"""TPE and SMAC: against Optuna's and SMAC's own loops, better than drawing, and where they are missing."""

import os
import statistics
import subprocess
import sys

import optuna
import pytest

from budbreak.errors import InvalidValue
from budbreak.iteration import derive_seed
from budbreak.search import SMAC, TPE, History, RandomSearch, SearchSpace, Trial, TuningSpace
from budbreak.testing.sampling import searched

RATE = {"low": 1e-4, "high": 0.1, "log": True}
SGD = {"is": "sgd", "rate": RATE, "momentum": {"low": 0.0, "high": 0.99}}
SPACE = TuningSpace({"optimizer": {"choose": [SGD, {"is": "adam", "rate": RATE}]}})


def worth(number, candidate):
    """Adam at a rate of about 0.003 is best."""
    name, sgd_rate, momentum, rate = candidate
    if name == "sgd":
        return 0.5 - 100 * (sgd_rate - 0.01) ** 2 - 0.2 * abs(momentum - 0.9)
    return max(0.0, 0.9 - 5 * abs(rate - 0.003))


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_history_proposes_what_a_study_of_optuna_would():
    """A study that lives on from trial to trial, with a sampler of the same seed at each, proposes the same."""
    history = searched(TPE(trials=18, startup=6), SPACE, worth)
    assert len(history) == 18
    study = optuna.create_study(direction="maximize")
    for number, ours in enumerate(history):
        seed = derive_seed(0, "proposal", number) % 2**32
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=6, multivariate=True, group=True)
        trial = study.ask()
        name = trial.suggest_categorical("optimizer", ("sgd", "adam"))
        rate = trial.suggest_float(f"optimizer.{name}.rate", 1e-4, 0.1, log=True)
        momentum = trial.suggest_float("optimizer.sgd.momentum", 0.0, 0.99) if name == "sgd" else None
        assert ours.candidate == (name, *((rate, momentum, None) if name == "sgd" else (None, None, rate)))
        study.tell(trial, worth(number, ours.candidate))


def test_optuna_is_left_as_it_was(capfd):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    assert TPE().propose(SPACE, History(), 0, 0) in SPACE.candidates
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == optuna.logging.INFO


def test_trials_that_know_the_same_are_told_apart_by_their_numbers():
    known = searched(TPE(startup=4), SPACE, worth, most=8)
    for history in (History(), known):
        assert len({TPE(startup=4).propose(SPACE, history, 0, number) for number in range(8, 14)}) == 6


def test_tpe_is_better_than_drawing():
    """Over 10 seeds, in the mean."""
    best = {}
    for tuner in (TPE(trials=20, startup=6), RandomSearch(trials=20)):
        found = [searched(tuner, SPACE, worth, seed) for seed in range(10)]
        best[tuner] = statistics.mean(history[history.best].score for history in found)
    tuned, drawn_best = best.values()
    assert tuned > drawn_best


def test_tpe_learns_of_what_diverged():
    """Adam diverges always: of the proposals after the start hardly any has it."""

    def score(number, candidate):
        return None if candidate[0] == "adam" else worth(number, candidate)

    history = searched(TPE(trials=30, startup=8), SPACE, score)
    assert sum(trial.candidate[0] == "adam" for trial in history[14:]) <= 3


def test_tpe_searches_activations_too():
    from budbreak.activations import space

    sites = SearchSpace(dict.fromkeys("abcd", space("paper")))
    history = searched(TPE(trials=30), sites, lambda number, candidate: 1 / (1 + sum(candidate)))
    assert history[history.best].score > 1 / 13


@pytest.mark.parametrize(("tuner", "package", "extra"), [(TPE(), "optuna", "tune"), (SMAC(), "smac", "smac")])
def test_what_is_not_installed_is_named(monkeypatch, tuner, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InvalidValue, match=rf"pip install 'budbreak\[{extra}\]'"):
        tuner.propose(SPACE, History(), 0, 0)
    assert tuner.propose(SPACE, History(), 0, 20) is None


@pytest.mark.slow
def test_a_history_proposes_what_smac_would():
    """SMAC's own loop, in which it lives on from trial to trial."""
    pytest.importorskip("smac", reason="the extra smac is not installed")
    from budbreak.search.samplers.smac import forest

    history = searched(SMAC(trials=8), SPACE, worth)
    with forest(SPACE, 8, derive_seed(0, "proposal") % 2**31) as alive:
        for trial in history:
            asked = alive.ask()
            assert alive.read(asked.config) == trial.candidate
            alive.tell(Trial(candidate=trial.candidate, score=trial.score, seconds=0.0), asked)
    assert len({trial.candidate for trial in history}) == 8
    blind = [SMAC(trials=8).propose(SPACE, history[:3], 0, 5) for _ in range(2)]
    assert blind[0] == blind[1]
    assert blind[0] in SPACE.candidates


IN_ANOTHER_PROCESS = """
from budbreak.search import SMAC, TPE, TuningSpace
from budbreak.testing.sampling import searched

space = TuningSpace.of("paper", 50)
for trial in searched({tuner}, space, lambda number, candidate: number / 10 if number % 3 else None):
    print(trial.candidate)
"""


@pytest.mark.slow
@pytest.mark.parametrize("tuner", [TPE(trials=9, startup=3), SMAC(trials=6)], ids=["tpe", "smac"])
def test_another_process_proposes_the_same(tuner):
    if isinstance(tuner, SMAC):
        pytest.importorskip("smac", reason="the extra smac is not installed")
    said = []
    for seed in ("1", "2"):  # of the hashes of texts, which otherwise differ from process to process
        command = [sys.executable, "-c", IN_ANOTHER_PROCESS.format(tuner=tuner)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        said.append(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    assert said[0] == said[1]
    assert len(said[0].splitlines()) == tuner.trials


@pytest.mark.slow
def test_smac_stops_without_a_word_where_all_is_tried(capfd):
    pytest.importorskip("smac", reason="the extra smac is not installed")
    sizes = TuningSpace({"batch_size": {"choose": [16, 32, 64]}})
    history = searched(SMAC(), sizes, lambda number, candidate: candidate[0] / 100)
    assert {trial.candidate for trial in history} == {(16,), (32,), (64,)}
    assert len(history) == 3
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("make", [lambda: TPE(trials=0), lambda: TPE(startup=0), lambda: SMAC(trials=0)])
def test_wrong_settings_are_refused(make):
    with pytest.raises(InvalidValue, match="is 0"):
        make()
