"""Our samplers in Optuna's hands: the same proposals, from any storage, after any interruption; and what is refused."""

import sys

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from small_searches import CHOICES

from budbreak.activations import Swish
from budbreak.errors import InvalidValue, StoreMismatch, UnknownName
from budbreak.search import (
    TPE,
    Genetic,
    LateAcceptance,
    RandomSearch,
    SearchSpace,
    TuningSpace,
    optuna_sampler,
    suggest,
)
from budbreak.testing.sampling import searched

SITES = SearchSpace({"a": CHOICES, "b": CHOICES[1:], "c": CHOICES})
RATE = {"low": 1e-3, "high": 1.0, "log": True}
SGD = {"is": "sgd", "rate": RATE, "steps": {"low": 1, "high": 5}}
SETTINGS = TuningSpace({"optimizer": {"choose": [SGD, "adam"]}, "nesterov": {"choose": [True, False]}})
NAMES = ("relu", "Swish(trainable=True, per='site', alpha=1.0, beta=1.0)", "tanh", "symlog")


@pytest.fixture(autouse=True)
def _quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def worth(number, candidate):
    return 1 / (1 + sum(one for one in candidate if isinstance(one, int | float)))


def study(sampler, space, storage=None, seed=0, name="safs"):
    ours = optuna_sampler(sampler, space, seed)
    return optuna.create_study(
        storage=storage, study_name=name, direction="maximize", sampler=ours, load_if_exists=True
    )


def plan_worth(trial):
    plan = suggest(trial, SITES)
    places = [SITES[site].index(activation) for site, activation in plan.items()]
    return worth(0, places)


def settings_worth(trial):
    settings = suggest(trial, SETTINGS)
    sgd = settings["optimizer"] if settings["optimizer"] != "adam" else {"rate": 0, "steps": 0}
    return 1 / (1 + sgd["rate"] + sgd["steps"] + settings["nesterov"])


def chosen(study):
    return [trial.params for trial in study.trials if trial.state.is_finished() and trial.values]


def expected(sampler, seed=0):
    history = searched(sampler, SITES, worth, seed)
    return [
        {site: NAMES[CHOICES.index(SITES[site][place])] for site, place in zip("abc", trial.candidate, strict=True)}
        for trial in history
    ]


@pytest.mark.parametrize(
    "sampler", [LateAcceptance(), Genetic(), RandomSearch(trials=7), TPE(trials=8, startup=3)], ids=str
)
def test_optuna_proposes_what_we_do_and_ends_where_we_do(sampler):
    found = study(sampler, SITES)
    found.optimize(plan_worth)
    assert chosen(found) == expected(sampler)


@pytest.mark.parametrize("sampler", [RandomSearch(trials=9), TPE(trials=9, startup=4)], ids=str)
def test_settings_too(sampler):
    found = study(sampler, SETTINGS, seed=3)
    found.optimize(settings_worth)
    history = searched(sampler, SETTINGS, lambda number, candidate: found.trials[number].value, 3)
    assert len(history) == 9
    names = [one.name for one in SETTINGS.parameters]
    for trial, theirs in zip(history, found.trials, strict=True):
        pairs = zip(names, trial.candidate, strict=True)
        assert theirs.params == {name: value for name, value in pairs if value is not None}


def journal(folder):
    return JournalStorage(JournalFileBackend(str(folder / "journal.log")))


def test_a_study_that_is_stopped_and_reloaded_goes_on_as_if_it_had_not_been(tmp_path):
    straight = expected(LateAcceptance(), seed=5)
    for number in (1, 4, 9, 10, 99):
        found = study(LateAcceptance(), SITES, journal(tmp_path), seed=5)
        found.optimize(plan_worth, n_trials=number - len(found.trials))
    assert chosen(found) == straight


def test_trials_that_fail_are_as_if_they_had_not_been(tmp_path):
    calls = []

    def fails(trial):
        calls.append(trial.number)
        value = plan_worth(trial)
        if len(calls) % 3 == 0:
            raise OSError("no space left")
        return float("nan") if len(calls) % 3 == 1 else value

    while True:
        found = study(LateAcceptance(), SITES, journal(tmp_path))
        try:
            found.optimize(fails)
        except OSError:
            continue
        break
    assert chosen(found) == expected(LateAcceptance())
    assert len(found.trials) > 50


def test_trials_that_run_at_a_time_are_told_apart():
    found = study(LateAcceptance(), SITES)
    for _ in range(4):
        trials = [found.ask() for _ in range(5)]
        plans = {suggest(trial, SITES) for trial in trials}
        assert len(plans) > 1
        for trial in reversed(trials):
            found.tell(trial, plan_worth(trial))
    assert len(found.trials) == 20


def test_trials_are_replayed_in_the_order_in_which_they_ended():
    found = study(LateAcceptance(), SITES)
    first, second = found.ask(), found.ask()
    for trial, value in ((second, 0.2), (first, 0.1)):
        suggest(trial, SITES)
        found.tell(trial, value)
    history = found.sampler._history(found.trials)
    assert [trial.score for trial in history] == [0.2, 0.1]


def test_what_optuna_prunes_is_a_stopped_trial():
    def prunes(trial):
        suggest(trial, SITES)
        for epoch in (1, 2):
            trial.report(0.1 * epoch, epoch)
        raise optuna.TrialPruned

    found = study(LateAcceptance(), SITES)
    found.optimize(prunes, n_trials=2)
    for trial in found.sampler._history(found.trials):
        assert (trial.score, trial.stopped, trial.values) == (0.2, True, ((1, 0.1), (2, 0.2)))


def test_after_its_end_candidates_are_drawn():
    found = study(RandomSearch(trials=2), SITES)
    for _ in range(5):
        trial = found.ask()
        found.tell(trial, plan_worth(trial))
    assert len({tuple(params.items()) for params in chosen(found)}) > 2


def test_any_sampler_of_optuna_may_propose():
    found = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    found.optimize(settings_worth, n_trials=5)
    found.optimize(plan_worth, n_trials=2)
    assert set(found.trials[-1].params) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampler": LateAcceptance(history=4)}, "sampler was LateAcceptance"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"space": SearchSpace({"a": CHOICES, "b": CHOICES, "c": CHOICES})}, "space was"),
    ],
    ids=["sampler", "seed", "space"],
)
def test_the_study_of_another_search_is_refused(tmp_path, changes, words):
    study(LateAcceptance(), SITES, journal(tmp_path)).optimize(plan_worth, n_trials=2)
    other = study(**{"sampler": LateAcceptance(), "space": SITES, "storage": journal(tmp_path), **changes})
    with pytest.raises(StoreMismatch, match=words):
        other.optimize(plan_worth, n_trials=1)
    assert len(chosen(study(LateAcceptance(), SITES, journal(tmp_path)))) == 2


def test_the_trials_of_another_sampler_that_do_not_fit_are_refused():
    storage = optuna.storages.InMemoryStorage()
    asks = (lambda trial: trial.suggest_float("x", 0, 1), lambda trial: len(trial.suggest_categorical("a", ["n"])))
    for ask in asks:
        theirs = optuna.create_study(storage=storage, direction="maximize")
        theirs.optimize(ask, n_trials=1)
        ours = study(LateAcceptance(), SITES, storage, name=theirs.study_name)
        with pytest.raises(StoreMismatch, match="the trial 0 of the study chose"):
            ours.optimize(plan_worth, n_trials=1)


def test_a_study_that_minimizes_is_refused():
    found = optuna.create_study(sampler=optuna_sampler(LateAcceptance(), SITES))
    with pytest.raises(InvalidValue, match='direction="maximize"'):
        found.optimize(plan_worth, n_trials=1)


def test_a_study_of_two_values_is_refused():
    found = optuna.create_study(sampler=optuna_sampler(LateAcceptance(), SITES), directions=["maximize", "minimize"])
    with pytest.raises(InvalidValue, match="maximizes, minimizes"):
        found.optimize(plan_worth, n_trials=1)


def test_what_failed_is_said_to_be_tried_again(caplog):
    found = study(LateAcceptance(), SITES)
    found.optimize(lambda trial: plan_worth(trial) * float("nan"), n_trials=2)
    assert [trial.params for trial in found.trials] == [found.trials[0].params] * 2
    assert caplog.text.count("return -math.inf") == 2


def test_an_objective_that_asks_for_nothing_is_told_how_to():
    with pytest.raises(StoreMismatch, match=r"ask by bb\.search\.suggest"):
        study(LateAcceptance(), SITES).optimize(lambda trial: 0.5, n_trials=1)


def test_values_that_are_no_shares_are_refused_and_kept():
    found = study(LateAcceptance(), SITES)
    with pytest.raises(InvalidValue, match=r"the trial 0 of the study has the value 97.0(.|\n)*0.97"):
        found.optimize(lambda trial: plan_worth(trial) * 0 + 97, n_trials=1)
    assert found.trials[0].value == 97


def test_what_is_not_in_the_space_is_refused():
    found = study(LateAcceptance(), SITES)
    with pytest.raises(UnknownName, match=r"(?s)of the space: it is one of 'a', 'b', 'c'.*suggest"):
        found.optimize(lambda trial: trial.suggest_float("learning rate", 0, 1), n_trials=1)
    with pytest.raises(InvalidValue, match=r"SearchSpace\.of"):
        suggest(found.ask(), {"a": [Swish()]})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("late-acceptance", SITES), "sampler is 'late-acceptance'"),
        ((LateAcceptance, SITES), "an instance"),
        ((LateAcceptance(), "paper"), "space is 'paper'"),
        ((LateAcceptance(), SITES, -1), "seed is -1"),
        ((LateAcceptance(), SETTINGS), r"(?s)knows nothing of ranges.*sampler=bb.search.TPE\(\)"),
        ((Genetic(), SETTINGS), "knows nothing of ranges"),
    ],
    ids=range(6),
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(InvalidValue, match=words):
        optuna_sampler(*arguments)


def test_where_optuna_is_not_installed_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InvalidValue, match=r"budbreak\[tune\]"):
        optuna_sampler(LateAcceptance(), SITES)
