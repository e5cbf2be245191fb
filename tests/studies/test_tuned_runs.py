"""Arms whose hyper-parameters are searched after the last pruning, with searched activations or without."""

import pytest
from safetensors.torch import load_file

from budbreak.errors import InvalidValue, UnknownName
from budbreak.recipes.sections import with_settings
from budbreak.search import TPE, History, Trial
from budbreak.studies import epochs_of_choice, look_ahead, run, trainer
from budbreak.studies.searching import chosen_setup
from budbreak.studies.stops import Stops
from budbreak.studies.tasks import tasks_of
from budbreak.studies.trialfile import read_trial, search_numbers, write_trial
from small import Stopped, choose, small, trained

ONCE = {
    "prune.schedule": {"is": "one-shot", "sparsity": 0.8},
    "prune.rewind": "none",
    "train.epochs": 2,
    "measure": {"diagnostics": []},
}
RATE = {"optimizer": {"is": "sgd", "learning_rate": {"low": 1e-3, "high": 0.5, "log": True}}}
TUNE = {"tune.space": RATE, "tune.trials": 3, "tune.epochs": 1, "tune.finalists": 2}


def recipe(arms, changes=None):
    return small({**ONCE, **(changes or {})}, arms=arms)


def tasks_in(choice, arm):
    (found,) = [one for one in choice.recipe.arms if one.name == arm]
    return tasks_of(arm, found.setup, [0], choice.place)[0]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A run with tuning: choice, result, and the epochs of each task that were computed. Only read."""
    choice = choose(recipe({"host": {}, "tuned": TUNE}), tmp_path_factory.mktemp("tuned"))
    overview = look_ahead(choice)
    assert overview.cost.epochs == epochs_of_choice(choice) == 2 + 2 + 3 + 2 * 2 + 2
    return choice, *trained(choice)


def test_the_best_settings_train_the_network_in_the_end(tuned):
    choice, result, counts = tuned
    tasks = tasks_in(choice, "tuned")
    assert [task.kind for task in tasks] == ["dense", "pruned", *["tuning"] * 3, *["tuned"] * 2, "final"]
    trials = [read_trial(task) for task in tasks[2:5]]
    space = tasks[-1].setup.tune.choices(2)
    for number, trial in enumerate(trials):
        assert trial.candidate == TPE().propose(space, History(tuple(trials[:number])), 0, number)
        assert [epoch for epoch, _ in trial.values] == [1]
    finalists = sorted((read_trial(task) for task in tasks[5:7]), key=lambda trial: -trial.score)
    rate = chosen_setup(tasks[-1]).train.optimizer.learning_rate
    assert (rate,) == finalists[0].candidate
    assert 1e-3 <= rate <= 0.5
    (level,) = [row for row in result.levels if (row.arm, row.level) == ("tuned", 1)]
    assert level.numbers["validation_accuracy"] == finalists[0].score == level.numbers["search_accuracy"]
    assert level.numbers["search_epochs"] == 3 + 4
    assert counts == {
        "dense of host seed 0": 2,
        "host seed 0": 2,
        **{f"tuned seed 0 tuning {number}": 1 for number in range(3)},
        **{f"tuned seed 0 tuned {number}": 2 for number in range(2)},
        "tuned seed 0": 2,
    }
    assert not (choice.folder / "networks" / "tuned-seed0.activations.json").exists()
    assert [finding.label for finding in result.findings] == ["Search for hyper-parameters, seed 0"]


def test_it_goes_on_where_it_was_stopped(tuned, tmp_path):
    whole, straight, computed = tuned
    choice = choose(recipe({"host": {}, "tuned": TUNE}), tmp_path)
    for place in (3, -2, -1):

        def stop(event, name=list(computed)[place]):
            if event.task == name and not event.ended:
                raise Stopped

        with pytest.raises(Stopped):
            run(choice, report=stop)
    result, counts = trained(choice)
    assert counts == {"tuned seed 0": 1}
    assert [row.numbers["test_accuracy"] for row in result.levels] == [
        row.numbers["test_accuracy"] for row in straight.levels
    ]
    one, other = (place.folder / "networks" / "tuned-seed0.safetensors" for place in (whole, choice))
    assert one.read_bytes() == other.read_bytes()


def test_a_precision_that_is_chosen_is_computed_in(tmp_path, monkeypatch):
    precisions, epoch = [], trainer.train_epoch

    def noting(*args, engine, **keywords):
        precisions.append(engine.bf16)
        return epoch(*args, engine=engine, **keywords)

    monkeypatch.setattr(trainer, "train_epoch", noting)
    space = {"precision": {"choose": ["float32", "bfloat16"]}}
    tune = {**TUNE, "tune.space": space, "tune.sampler": "random-search", "tune.trials": 6, "tune.finalists": 0}
    choice = choose(recipe({"tuned": tune}, {"train.epochs": 1, "train.precision": "float32"}), tmp_path)
    run(choice)
    tasks = tasks_in(choice, "tuned")
    trials = [read_trial(task) for task in tasks if task.kind == "tuning"]
    tried = [trial.candidate == ("bfloat16",) for trial in trials if trial.same_as is None]
    assert sorted(tried) == [False, True]
    assert precisions == [False, *tried, chosen_setup(tasks[-1]).train.precision == "bfloat16"]


def test_settings_are_searched_with_the_activations_that_were_found(tmp_path):
    search = {"activations.space": ["relu", "swish"], "activations.trials": 2, "activations.epochs": 1}
    arm = {**search, "activations.finalists": 0, "activations.trainable": True, **TUNE, "tune.finalists": 0}
    choice = choose(recipe({"both": arm}), tmp_path)
    run(choice)
    state = load_file(choice.folder / "networks" / "both-seed0.safetensors")
    assert {name for name in state if name.endswith("alpha")} == {"relu1.alpha", "relu2.alpha"}
    kinds = [task.kind for task in tasks_in(choice, "both")]
    assert kinds == ["dense", "pruned", "trial", "trial", "tuning", "tuning", "tuning", "final"]
    again = choose(recipe({"both": {**arm, "tune.trials": 2}}), tmp_path)
    assert trained(again)[1] == {"both seed 0": 2}  # the trials are there


def test_there_are_no_more_finalists_than_trials(tmp_path):
    choice = choose(recipe({"tuned": {**TUNE, "tune.trials": 1, "tune.finalists": 3}}), tmp_path)
    kinds = [task.kind for task in tasks_in(choice, "tuned")]
    assert kinds == ["dense", "pruned", "tuning", "tuned", "final"]
    assert look_ahead(choice).cost.epochs == epochs_of_choice(choice) == 2 + 1 + 2 + 2


class Never:
    """Of a stopping rule: what it was asked."""

    def __init__(self):
        self.asked = []

    def stops(self, history, values, number, seed):
        self.asked.append((len(history), values, number, seed))
        return len(values) == 2


def test_a_stopping_rule_ends_trials_early(tmp_path, monkeypatch):
    changed = {**TUNE, "tune.epochs": 2, "tune.trials": 4, "tune.finalists": 0}
    stopping = {"tune.stop": {"is": "lagging", "startup": 1, "quantile": 0.9}}
    choice = choose(recipe({"tuned": {**changed, **stopping}}, {"train.epochs": 4}), tmp_path)
    run(choice)
    trials = [read_trial(task) for task in tasks_in(choice, "tuned") if task.kind == "tuning"]
    for number, trial in enumerate(trials):
        before = [one.values[0][1] for one in trials[:number]]
        best = sorted(before)
        lags = bool(before) and trial.values[0][1] < best[-1] and len(before) == 1
        assert trial.stopped == (len(trial.values) < 2)
        assert trial.epochs == len(trial.values)
        if lags:
            assert trial.stopped
    assert any(trial.stopped for trial in trials)
    chosen = chosen_setup(tasks_in(choice, "tuned")[-1]).train.optimizer.learning_rate
    assert chosen == max((one for one in trials if not one.stopped), key=lambda one: one.score).candidate[0]


def test_what_the_search_promised_is_the_score_of_the_chosen_one(tmp_path):
    changed = {**TUNE, "tune.trials": 2, "tune.finalists": 0}
    *_, final = tasks_in(choose(recipe({"tuned": changed}), tmp_path), "tuned")
    ended = Trial(candidate=(0.1,), score=0.6, seconds=1.0, epochs=2.0)
    peaked = Trial(candidate=(0.2,), score=0.9, seconds=2.0, epochs=1.0, stopped=True)
    for task, trial in zip(final.needed("tuning"), (ended, peaked), strict=True):
        task.folder.mkdir(parents=True)
        write_trial(task, trial)
    assert chosen_setup(final).train.optimizer.learning_rate == 0.1
    costs = {"search_trials": 2, "search_epochs": 3, "search_seconds": 3}
    assert search_numbers(final) == {**costs, "search_accuracy": 0.6}


def test_the_rule_of_a_trial_asks_with_what_it_knows():
    rule = Never()
    stops = Stops(rule, History(), 3, 7)

    class SoFar:
        @staticmethod
        def numbers(name, *, own):
            assert (name, own) == ("validation_accuracy", True)
            return [0.5, 0.6]

    assert stops.ends(SoFar()) is not None
    assert rule.asked == [(0, ((1, 0.5), (2, 0.6)), 3, 7)]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"tune.trials": 5}, InvalidValue, "no hyper-parameters are searched"),
        ({"tune.space": RATE, "tune.epochs": 3}, InvalidValue, "tune.epochs = 2, or fewer"),
        ({"tune.space": "saf"}, UnknownName, "safs"),
        ({"tune.space": RATE, "tune.sampler": "late-acceptance"}, UnknownName, "tpe"),
        ({"tune.space": RATE, "tune.trials": 0}, InvalidValue, "at least 1"),
        ({"tune.space": RATE, "tune.trials": 30}, InvalidValue, 'sampler = {is = "tpe", trials = 30}'),
        (
            {"tune.space": RATE, "tune.trials": 9, "tune.sampler": {"is": "tpe", "startup": 3, "trials": 5}},
            InvalidValue,
            '(?s)own number of trials, which is 5.*{is = "tpe", trials = 9, startup = 3}',
        ),
        ({"tune.space": RATE, "tune.stop": "never"}, UnknownName, "lagging"),
        ({"tune.space": RATE, "tune.epochs": 1, "tune.stop": "lagging"}, InvalidValue, "after epoch 1 at the earliest"),
        ({"tune.space": RATE, "tune.epochs": 1, "retrain.ways": ["free"]}, InvalidValue, "take one of them out"),
        ({"tune.space": {}}, InvalidValue, "name of a space, or fields"),
        ({"tune.space": 5}, InvalidValue, '(?s)tune.space is 5.*write "safs", or'),
        ({"tune.space": {"batch_size": {"choose": [32]}}}, InvalidValue, "tune.space has one candidate"),
        ({"tune.space": {"batch_size": 32}}, InvalidValue, "tune.space has one candidate"),
    ],
)
def test_wrong_sections_are_refused(changes, error, words):
    with pytest.raises(error, match=words):
        recipe({"host": {}, "arm": changes})


@pytest.mark.parametrize(
    ("space", "error", "words"),
    [
        ({"optimizer": {"is": "sgd", "learning_rat": {"low": 0.1, "high": 0.2}}}, UnknownName, "learning_rate"),
        ({"optimizer": {"choose": ["sgd", "adamm"]}}, UnknownName, "adam"),
        ({"epochs": {"low": 1, "high": 3}}, InvalidValue, "all of one length"),
        ({"batch_sizes": {"low": 10, "high": 30}}, UnknownName, "gives {batch_sizes = .*batch_size"),
        ({"batch_size": {"low": 10, "high": 10**6}}, InvalidValue, "batch_size = 1000000"),
        ({"batch_size": {"choose": [10, 10**6]}}, InvalidValue, "batch_size|training images"),
        ({"schedule": {"choose": ["constant", {"is": "steps", "milestones": [5]}]}}, InvalidValue, "milestone"),
    ],
)
def test_settings_that_are_none_are_refused_before_the_first_epoch(space, error, words, tmp_path):
    choice = choose(recipe({"arm": {"tune.space": space, "tune.epochs": 1}}), tmp_path)
    with pytest.raises(error, match=words):
        look_ahead(choice)
    assert not list(tmp_path.glob("tasks/*"))


@pytest.mark.parametrize("name", ["safs", "paper"])
def test_the_spaces_of_the_paper_train(name, tmp_path):
    choice = choose(recipe({"arm": {"tune.space": name}}, {"train.epochs": 24}), tmp_path)
    look_ahead(choice)


def test_settings_replace_fields_of_the_training():
    setup = recipe({"host": {}}).arms[0].setup
    changed = with_settings(setup, {"batch_size": 25, "optimizer": {"is": "adam", "learning_rate": 0.5}})
    assert (changed.train.batch_size, changed.train.optimizer.learning_rate, changed.train.epochs) == (25, 0.5, 2)
    assert setup.train.batch_size == 50
