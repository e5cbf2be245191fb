"""Rules that stop trials: against Optuna's Hyperband, an independent form of the quantile, and pure."""

import math
import pickle
from collections import Counter

import numpy as np
import optuna
import pytest

from budbreak.errors import InvalidValue
from budbreak.search import STOPPING, History, Hyperband, Lagging, StoppingRule, Trial
from budbreak.search.optuna_studies import quiet

NAMES = {"candidate": (0,), "seconds": 0.0}


def curve(seed, epochs):
    """An accuracy after each epoch, rising with noise to a height of its own."""
    draw = np.random.default_rng(seed)
    height = draw.random()
    return [float(np.clip(height * (1 - 0.7**epoch) + 0.05 * draw.random(), 0, 1)) for epoch in range(1, epochs + 1)]


def run(rule, trials, epochs, seed=0):
    """The history of trials that a rule stops."""
    history = History()
    for number in range(trials):
        values, stopped = (), False
        for epoch, accuracy in enumerate(curve(number, epochs), start=1):
            values = (*values, (epoch, accuracy))
            stopped = rule.stops(history, values, number, seed)
            if stopped:
                break
        history = history.then(Trial(score=values[-1][1], values=values, stopped=stopped, **NAMES))
    return history


@pytest.mark.parametrize(("most", "least", "factor"), [(27, 1, 3), (80, 5, 3), (20, 2, 2), (9, 1, 4)])
def test_hyperband_is_that_of_optuna(most, least, factor):
    """Trial by trial, epoch by epoch; but for the last epoch, after which Optuna stops, too."""
    rule = Hyperband(most, least, factor)
    pruner = optuna.pruners.HyperbandPruner(min_resource=least, max_resource=most, reduction_factor=factor)
    pruner._get_bracket_id = lambda study, trial: rule.bracket(trial.number, 0)
    with quiet():
        study = optuna.create_study(direction="maximize", pruner=pruner)
    history, stops = History(), 0
    for number in range(50):
        asked, values, stopped = study.ask(), (), False
        for epoch, accuracy in enumerate(curve(number, most), start=1):
            values = (*values, (epoch, accuracy))
            asked.report(accuracy, epoch)
            stopped, theirs = rule.stops(history, values, number, 0), asked.should_prune()
            assert stopped == theirs or epoch == most
            if stopped:
                break
        stops += stopped
        state = optuna.trial.TrialState.PRUNED if stopped else optuna.trial.TrialState.COMPLETE
        study.tell(asked, None if stopped else values[-1][1], state=state)
        history = history.then(Trial(score=values[-1][1], values=values, stopped=stopped, **NAMES))
    assert pruner._n_brackets == rule.brackets
    assert 5 < stops < 50


def test_brackets_are_as_likely_as_their_trials_are_many():
    rule = Hyperband(most=27)
    assert rule.brackets == 4
    assert [list(rule.rungs(bracket)) for bracket in range(4)] == [[1, 3, 9], [3, 9], [9], []]
    counts = Counter(rule.bracket(number, 0) for number in range(4000))
    # by hand: ceil(4 * 27 / 4) = 27, ceil(4 * 9 / 3) = 12, ceil(4 * 3 / 2) = 6, ceil(4 * 1 / 1) = 4, of 49
    assert [counts[bracket] / 4000 for bracket in range(4)] == pytest.approx(
        [27 / 49, 12 / 49, 6 / 49, 4 / 49], abs=0.03
    )
    assert Hyperband(most=243).brackets == 6  # the logarithm of 243 to base 3 is a little below 5 in floating point


def test_hyperband_spares_epochs():
    history = run(Hyperband(most=27), 60, 27)
    spent = sum(len(trial.values) for trial in history)
    assert spent < 0.45 * 60 * 27
    best = max(curve(number, 27)[-1] for number in range(60))
    assert history.best_trial().score > 0.9 * best
    assert not history.best_trial().stopped


def test_reports_may_leave_epochs_out():
    """A report after epoch 5 stands for the rungs 1 and 3 both."""
    rule, known = Hyperband(most=9), Trial(score=0.5, values=((5, 0.5), (9, 0.6)), **NAMES)
    first, second = [number for number in range(99) if rule.bracket(number, 0) == 0][:2]
    history = History((known,) * second)
    assert first < second
    assert rule.stops(history, ((5, 0.4),), second, 0)
    assert not rule.stops(history, ((5, 0.5),), second, 0)
    assert not rule.stops(history, ((1, 0.6), (2, 0.1)), second, 0)  # no rung between


@pytest.mark.parametrize("quantile", [0.1, 0.5])
def test_lagging_follows_its_formula(quantile):
    rule = Lagging(quantile, startup=4, after=3)
    history = run(rule, 40, 12)
    stops = 0
    for number, trial in enumerate(history):
        values = trial.values
        for length in range(1, len(values) + 1):
            others = [
                max(accuracy for _, accuracy in other.values[:length])
                for other in history[:number]
                if len(other.values) >= length
            ]
            own = max(accuracy for _, accuracy in values[:length])
            hopeless = length >= 3 and len(others) >= 4 and own < np.quantile(others, quantile)
            assert hopeless == (trial.stopped and length == len(values))
        stops += trial.stopped
    assert stops > (10 if quantile == 0.5 else 1)


def test_few_others_stop_nothing():
    assert not any(trial.stopped for trial in run(Lagging(startup=9), 9, 4))


@pytest.mark.parametrize("rule", [Hyperband(9), Lagging()], ids=str)
def test_a_rule_is_a_pure_value(rule):
    assert isinstance(rule, StoppingRule)
    assert type(rule) in STOPPING
    assert pickle.loads(pickle.dumps(rule)) == eval(repr(rule)) == rule
    assert run(rule, 20, 9) == run(rule, 20, 9)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Hyperband(1), "more epochs"),
        (lambda: Hyperband(9, least=0), "least is 0"),
        (lambda: Hyperband(9, factor=1), "factor is 1"),
        (lambda: Hyperband(math.inf), "most is inf"),
        (lambda: Lagging(quantile=0), "quantile is 0"),
        (lambda: Lagging(50), "write 0.5"),
        (lambda: Lagging(startup=0), "startup is 0"),
        (lambda: Lagging(after=0), "after is 0"),
    ],
    ids=range(8),
)
def test_wrong_settings_are_refused(make, words):
    with pytest.raises(InvalidValue, match=words):
        make()


def test_a_stopped_trial_is_the_best_only_where_there_is_no_other():
    stopped = Trial(score=0.9, values=((1, 0.9),), stopped=True, **NAMES)
    whole, diverged = Trial(score=0.1, **NAMES), Trial(score=None, **NAMES)
    assert History((stopped, diverged, whole)).best == 2
    assert History((stopped, diverged, whole)).best_so_far == (None, None, 0.1)
    assert History((diverged, stopped)).best == 1
