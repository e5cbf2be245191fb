"""Tuning: what is trained with what, stopped, stored, gone on with, and refused."""

import contextlib
import math

import pytest
import torch
from small_searches import X, Y, evaluate, pruned, search, told
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.activations import Swish, parameter_groups
from budbreak.errors import InvalidValue, InvariantBroken, NotFinite, StoreBusy, StoreMismatch, UnknownName
from budbreak.files import FolderLock
from budbreak.search import TPE, History, Hyperband, Lagging, LateAcceptance, RandomSearch, tune_training

RATE = {"low": 1e-3, "high": 1.0, "log": True}
SGD = {"is": "sgd", "learning_rate": RATE, "momentum": {"choose": [0.0, 0.9]}}
SPACE = {"optimizer": {"choose": [SGD, {"is": "adam", "learning_rate": RATE}]}, "batch_size": {"choose": [20, 30]}}
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


def train(model, settings, report=None, epochs=4):
    arguments = dict(settings["optimizer"])
    kind = OPTIMIZERS[arguments.pop("is")]
    optimizer = kind(parameter_groups(model), lr=arguments.pop("learning_rate"), **arguments)
    for epoch in range(1, epochs + 1):
        for batch in torch.randperm(60).split(settings["batch_size"]):
            optimizer.zero_grad()
            cross_entropy(model(X[batch]), Y[batch]).backward()
            optimizer.step()
        if report is not None:
            report(epoch, evaluate(model))


def tune(model=None, mask=None, **changes):
    """Arguments at their usual values, but for these."""
    if model is None:
        model, mask = pruned()
    arguments = {"train": train, "evaluate": evaluate, "space": SPACE, "trials": 6, "tuner": RandomSearch(), **changes}
    return tune_training(model, mask, **arguments)


def test_each_trial_trains_the_pruned_weights_with_its_settings():
    model, mask = pruned()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    result = tune(model, mask)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert len({trial.candidate for trial in result.history}) == 6
    for trial in result.history[:3]:
        copy = pruned()[0]
        bb.iteration.seed_everything(bb.iteration.derive_seed(0, "trial"))
        values = []
        with bb.live.held(copy, mask):
            train(copy, result.space.settings(trial.candidate), lambda *pair, values=values: values.append(pair))
        assert trial.values == tuple(values)
        assert trial.score == evaluate(copy) == values[-1][1]
        assert not trial.stopped
    assert result.score == max(trial.score for trial in result.history)
    assert result.settings == result.top(1)[0] == result.space.settings(result.best.candidate)


def test_a_plan_is_put_in_and_trained():
    model, mask = pruned()
    seen = []

    def fit(model, settings, report):
        train(model, settings)
        seen.append({name: one.item() for name, one in model.named_parameters() if one.dim() == 0})

    tune(model, mask, train=fit, plan={"1": Swish(trainable=True)}, example=X[:2], trials=2)
    assert [sorted(scalars) for scalars in seen] == [["1.alpha", "1.beta"]] * 2
    assert all(scalars["1.beta"] != 1.0 for scalars in seen)
    assert not [one for one in model.parameters() if one.dim() == 0]


def test_tpe_tunes():
    result = tune(tuner=TPE(trials=8, startup=4), trials=None)
    assert len(result.history) == 8
    assert told(result.history) == told(tune(tuner=TPE(trials=8, startup=4), trials=None).history)


STOPS = [Hyperband(most=4, factor=2), Lagging(startup=2)]


@pytest.mark.parametrize("stop", STOPS, ids=str)
def test_what_is_not_worth_it_ends_early(stop):
    result, whole = tune(stop=stop, trials=12, epochs=4), tune(trials=12, epochs=4)
    stopped = [number for number, trial in enumerate(result.history) if trial.stopped]
    assert 0 < len(stopped) < 12
    for number, (trial, other) in enumerate(zip(result.history, whole.history, strict=True)):
        assert trial.candidate == other.candidate
        assert trial.values == other.values[: len(trial.values)]
        assert trial.epochs == len(trial.values) == trial.values[-1][0]
        if number in stopped:
            assert trial.score == trial.values[-1][1]
            assert stop.stops(result.history[:number], trial.values, number, 0)
        else:
            assert trial.score == other.score
    assert not result.best.stopped


def test_stage_one_stops_what_lags():
    def fit(model, report):
        train(model, {"optimizer": {"is": "sgd", "learning_rate": 0.1}, "batch_size": 20}, report)

    result = search(train=fit, stop=Lagging(quantile=0.9, startup=2), trials=20, sampler=RandomSearch())
    assert any(trial.stopped for trial in result.history)
    twice = [trial for trial in result.history if trial.same_as is not None]
    assert twice
    assert all(trial.stopped == result.history[trial.same_as].stopped and not trial.values for trial in twice)


def test_a_user_who_catches_errors_does_not_catch_the_end():
    def fit(model, settings, report):
        def careful(epoch, accuracy):
            with contextlib.suppress(Exception):
                report(epoch, accuracy)

        train(model, settings, careful)

    careful, plain = (tune(train=how, stop=STOPS[1], trials=12).history for how in (fit, train))
    assert [trial.values for trial in careful] == [trial.values for trial in plain]
    assert told(careful) == told(plain)


class Killed(BaseException):
    pass


def killing(after):
    left = [after]

    def fit(model, settings, report):
        left[0] -= 1
        if left[0] == 0:
            torch.rand(7)
            raise Killed
        train(model, settings, report)

    return fit


@pytest.mark.parametrize("tuner", [RandomSearch(), TPE(trials=8, startup=3)], ids=str)
def test_a_tuning_killed_in_every_trial_ends_as_one_that_was_not(tmp_path, tuner):
    settings = {"tuner": tuner, "stop": Lagging(startup=2), "epochs": 4, "trials": 8}
    straight = tune(**settings)
    for _ in range(7):
        with pytest.raises(Killed):
            tune(train=killing(2), store=tmp_path, **settings)
    result = tune(train=killing(2), store=tmp_path, **settings)
    assert told(result.history) == told(straight.history)
    assert [trial.values for trial in result.history] == [trial.values for trial in straight.history]
    assert result.settings == straight.settings
    assert tune(train=killing(1), store=tmp_path, **settings).history == result.history


OTHERS = {
    "space": {"space": {**SPACE, "batch_size": {"choose": [30, 20]}}},
    "tuner": {"tuner": RandomSearch(trials=30)},
    "stop": {"stop": Lagging()},
    "seed": {"seed": 1},
    "epochs": {"epochs": 3},
    "also": {"also": {"data": torch.ones(3)}},
    "modules": {"plan": {"1": Swish()}, "example": X[:2]},
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_store_of_another_tuning_is_refused(tmp_path, name):
    tune(store=tmp_path, trials=1)
    with pytest.raises(StoreMismatch, match=f"another search: {name}"):
        tune(store=tmp_path, trials=1, **OTHERS[name])
    assert len(tune(store=tmp_path, train=killing(1), trials=1).history) == 1


def test_the_store_of_a_search_of_activations_is_refused(tmp_path):
    search(store=tmp_path, trials=1)
    with pytest.raises(StoreMismatch, match="another search"):
        tune(store=tmp_path)


def test_a_store_in_use_is_refused(tmp_path):
    lock = FolderLock(tmp_path)
    lock.take()
    with pytest.raises(StoreBusy):
        tune(store=tmp_path)


def test_equal_candidates_are_trained_once():
    trained = []
    result = tune(
        train=lambda model, settings, report: trained.append(train(model, settings)),
        space={"optimizer": {"is": "sgd", "learning_rate": 0.1}, "batch_size": {"choose": [20, 30]}},
        trials=6,
    )
    assert len(trained) == 2
    assert [trial.same_as is None for trial in result.history].count(True) == 2


def test_what_diverges_is_worse_than_any_and_is_told():
    def fit(model, settings, report):
        train(model, settings)
        if settings["batch_size"] == 20:
            report(1, math.nan)
        elif settings["optimizer"]["is"] == "sgd":
            model[0].weight.data[0, 0] = math.nan

    result = tune(train=fit, trials=12)
    notes = {trial.note for trial in result.history}
    assert notes == {"the accuracy after epoch 1 is NaN", "'0.weight' is not finite after the training", ""}
    assert result.settings["batch_size"] == 30
    assert not any(trial.stopped for trial in result.history)
    diverged = tune(evaluate=lambda model: math.nan, trials=2)
    with pytest.raises(NotFinite, match="all 2 trials diverged"):
        _ = diverged.settings
    assert diverged.top(3) == ()


def test_a_stopped_network_is_checked_as_well():
    """What writes to pruned weights is noticed, and NaN counts as diverged, where the training did not end either."""

    def fit(model, settings, report, fill=1.0):
        model[0].weight.data.fill_(fill)
        report(1, 0.5)

    class Always:
        def stops(self, history, values, number, seed):
            return True

    with pytest.raises(InvariantBroken, match=r"0\.weight"):
        tune(train=fit, stop=Always())
    result = tune(train=lambda *given: fit(*given, fill=math.nan), stop=Always(), trials=1)
    assert result.history[0].diverged
    assert not result.history[0].stopped


def unchanged(model, settings, report):
    pass


def reporting(*given):
    def fit(model, settings, report):
        for pair in given:
            report(*pair)

    return fit


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trials": 0}, "trials is 0"),
        ({"trials": 21}, r"write RandomSearch\(trials=21\)"),
        ({"space": {"a": 1}}, "one candidate"),
        ({"space": {"a": {"choose": ["b"]}}}, "one candidate"),
        ({"space": "safs"}, "add epochs=10"),
        ({"space": 3}, "maps settings"),
        ({"tuner": LateAcceptance()}, r"write tuner=bb.search.TPE\(\)"),
        ({"tuner": "random"}, r"write tuner=bb.search.RandomSearch\(\)"),
        ({"tuner": RandomSearch}, "an instance"),
        ({"stop": "hyperband"}, "stop is 'hyperband'"),
        ({"stop": Lagging}, "an instance"),
        ({"train": None}, "train is None"),
        ({"evaluate": 0.5}, "evaluate is 0.5"),
        ({"report": 1}, "report is 1"),
        ({"seed": -1}, "seed is -1"),
        ({"epochs": 0}, "epochs is 0"),
        ({"plan": {"1": Swish()}}, "give example=inputs"),
        ({"evaluate": lambda model: "0.5"}, "evaluate returned '0.5'"),
        ({"evaluate": lambda model: None}, "is there a return"),
        ({"evaluate": lambda model: 97.0}, "divided by 100: 0.97"),
        ({"evaluate": lambda model: True}, "evaluate returned True"),
        ({"train": reporting((1, "0.5"))}, r"report\(1, accuracy\) was given '0.5'"),
        ({"train": reporting((1, 50))}, "divided by 100: 0.5"),
        ({"train": reporting((0, 0.5))}, "epoch 0 after 0"),
        ({"train": reporting((1, 0.5), (1, 0.5))}, "write 2"),
        ({"train": reporting((1.5, 0.5))}, "epoch 1.5"),
        ({"train": lambda model, settings, report: pruned()[0]}, "train returned another"),
    ],
    ids=range(27),
)
def test_wrong_arguments_are_refused(changes, words):
    with pytest.raises(InvalidValue, match=words):
        tune(**changes)


def test_names_that_there_are_not():
    with pytest.raises(UnknownName, match="did you mean 'paper'"):
        tune(space="papr", epochs=3)
    with pytest.raises(UnknownName, match="nowhere"):
        tune(plan={"nowhere": Swish()}, example=X[:2])


def test_a_bad_evaluation_loses_nothing_and_says_which_settings(tmp_path):
    scores = iter([0.5, 0.6, "0.7"])
    with pytest.raises(InvalidValue) as caught:
        tune(store=tmp_path, evaluate=lambda model: next(scores))
    assert "in trial 2: {optimizer = {is = " in caught.value.__notes__[0]
    assert [trial.score for trial in tune(store=tmp_path, train=killing(1), trials=2).history] == [0.5, 0.6]


def test_a_history_is_told_after_each_trial():
    seen = []
    result = tune(report=seen.append, trials=3)
    assert seen == [result.history[:1], result.history[:2], result.history]
    assert isinstance(result.history, History)
