"""Arms whose activations are searched, or put in, after the last pruning."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import budbreak as bb
from budbreak.activations import FAMILY, ReLU, Swish
from budbreak.data import load
from budbreak.errors import CorruptFile, InvalidValue, MissingData, NotFinite, UnknownName
from budbreak.results import costs
from budbreak.studies import (
    Request,
    RunFailed,
    epochs_of_choice,
    find_leaving,
    list_runs,
    look_ahead,
    prunednetwork,
    read_searched,
    run,
    trainer,
)
from budbreak.studies.chosen import named
from budbreak.studies.making import make_network
from budbreak.studies.stored import stored_weights
from budbreak.studies.tasks import check_identity, tasks_of
from budbreak.studies.training import carry_out_task
from budbreak.studies.trialfile import read_trial
from small import Stopped, choose, small, trained

ONCE = {
    "prune.schedule": {"is": "one-shot", "sparsity": 0.8},
    "prune.rewind": "none",
    "train.epochs": 2,
    "measure.diagnostics": [],
}
SEARCH = {
    "activations.space": ["relu", "swish", "tanh"],
    "activations.trials": 4,
    "activations.epochs": 1,
    "activations.finalists": 2,
}
SWISH = {"activations.use": "swish"}
LATE = {"prune.rewind": "weights", "prune.rewind_epoch": 1}


def recipe(arms, changes=None, **whole):
    given = {**ONCE, **(changes or {})}
    return small({**given, "measure": {"diagnostics": []}} if "measure" not in given else given, arms=arms, **whole)


def tasks_in(choice, arm):
    (found,) = [one for one in choice.recipe.arms if one.name == arm]
    return tasks_of(arm, found.setup, [0], choice.place)[0]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A run with a search: choice, result, and the epochs of each task that were computed. Only read."""
    choice = choose(recipe({"host": {}, "search": SEARCH}), tmp_path_factory.mktemp("searched"))
    overview = look_ahead(choice)
    assert overview.cost.epochs == epochs_of_choice(choice) == 2 + 2 + 4 + 2 * 2 + 2
    return choice, *trained(choice)


def scores(choice, kind="trial"):
    return [read_trial(task) for task in tasks_in(choice, "search") if task.kind == kind]


def test_an_arm_with_given_activations_trains_what_was_pruned_once_more(tmp_path):
    choice = choose(recipe({"host": {}, "swish": SWISH}), tmp_path)
    result, counts = trained(choice)
    assert counts == {"dense of host seed 0": 2, "host seed 0": 2, "swish seed 0": 2}
    assert [(row.level, row.shared, row.kept) for row in result.levels if row.arm == "swish"] == [
        (row.level, row.shared, row.kept) for row in result.levels if row.arm == "host"
    ]
    pruned, final = tasks_in(choice, "swish")[1:]
    model = bb.replace_activations(fresh(choice), {"relu1": Swish(), "relu2": Swish()}, example=torch.rand(2, 1, 8, 8))
    state = load_file(choice.folder / "networks" / "swish-seed0.safetensors")
    model.load_state_dict(state)
    mask = bb.Mask.load(pruned.folder / "start-mask.safetensors", store=pruned.identity)
    assert all(not state[name][~mask[name]].any() for name in mask)
    start = load_file(pruned.folder / "start.safetensors")
    dense = load_file(final.needs[0].needs[0].folder / "model.safetensors")
    assert all(torch.equal(start[name], dense[name] * mask[name]) for name in mask)
    images = load("digits", None).test
    accuracy = (model(images.normalised(images.images)).argmax(1) == images.labels).double().mean()
    (level,) = [row for row in result.levels if (row.arm, row.level) == ("swish", 1)]
    assert level.numbers["test_accuracy"] == pytest.approx(float(accuracy), abs=1e-9)
    assert trained(choice)[1] == {}


def test_after_a_rewind_epoch_the_last_training_goes_on_from_there(tmp_path, monkeypatch):
    noted, epoch = [], trainer.train_epoch

    def noting(model, optimizer, *args, **keywords):
        noted.append(optimizer.param_groups[0]["lr"])
        return epoch(model, optimizer, *args, **keywords)

    monkeypatch.setattr(trainer, "train_epoch", noting)
    changes = {
        "prune": {"schedule": {"is": "geometric", "rate": 0.5, "levels": 2}, "rewind_epoch": 1},
        "train.epochs": 3,
        "train.schedule": {"is": "steps", "milestones": [2], "gamma": 0.5},
        "measure": {"diagnostics": []},
    }
    search = {**SEARCH, "activations.trials": 1, "activations.finalists": 1}
    arms = {"host": {}, "relu": {"activations.use": "relu"}, "search": search}
    choice = choose(small(changes, arms=arms), tmp_path)
    assert epochs_of_choice(choose(choice.recipe, tmp_path, "host", "search")) == 3 + 2 * 2 + (2 + 1 + 2 + 2)
    cost = look_ahead(choice).cost.epochs
    result, counts = trained(choice)
    assert sum(counts.values()) == cost == 3 + 2 * 2 + 2 + 2 + (1 + 2 + 2)
    assert noted == [0.05, 0.05, 0.025] + [0.05, 0.025] * 4 + [0.05] + [0.05, 0.025] * 2
    epochs = {row.arm: row.epochs for row in result.levels if row.level == 2}
    assert epochs == {"host": 2, "relu": 2, "search": 2}
    pruned = tasks_in(choice, "relu")[1]
    mask = bb.Mask.load(pruned.folder / "start-mask.safetensors", store=pruned.identity)
    kept = {
        name.rpartition("/state/")[2]: entry for name, entry in load_file(pruned.folder / "rewind.safetensors").items()
    }
    for name, start in load_file(pruned.folder / "start.safetensors").items():
        assert torch.equal(start, kept[name] * mask[name] if name in mask else kept[name])


def fresh(choice):
    setup = choice.recipe.arms[0].setup
    return make_network(setup.network, load("digits", None), 0).eval()


def test_a_search_tries_ranks_and_trains_the_best(searched):
    choice, result, counts = searched
    trials, finalists = scores(choice), scores(choice, "finalist")
    fresh_ones = {trial.candidate for trial in trials}
    assert len(trials) == 4
    assert [trial.same_as is None for trial in trials].count(True) == len(fresh_ones)
    by_score = sorted(fresh_ones, key=lambda one: -max(trial.score for trial in trials if trial.candidate == one))
    assert [trial.candidate for trial in finalists] == by_score[:2]
    best = max(finalists, key=lambda trial: trial.score)
    space = tasks_in(choice, "search")[-1].setup.activations.choices
    plan = bb.activations.ActivationPlan.load(choice.folder / "networks" / "search-seed0.activations.json")
    assert [space.index(plan[site]) for site in plan] == list(best.candidate)
    assert counts == {
        "dense of host seed 0": 2,
        "host seed 0": 2,
        "search seed 0": 2,
        **{f"search seed 0 trial {number}": 1 for number, trial in enumerate(trials) if trial.same_as is None},
        **{f"search seed 0 finalist {number}": 2 for number in range(2)},
    }
    (level,) = [row for row in result.levels if (row.arm, row.level) == ("search", 1)]
    assert level.numbers["search_trials"] == len(fresh_ones) + 2
    assert level.numbers["search_epochs"] == len(fresh_ones) + 4
    assert level.numbers["search_accuracy"] == best.score
    assert level.numbers["validation_accuracy"] == best.score  # the last training is the finalist's, once more
    cost = {one.arm: one for one in costs(result)}
    assert cost["search"].epochs == 2 + 2 + len(fresh_ones) + 4
    assert [finding.kind for finding in result.findings] == ["search", "operators"]
    assert list_runs(choice.out).orphans == ()


def test_the_figure_says_where_a_sampler_stopped_before_its_trials_were_used(tmp_path):
    arm = {**SEARCH, "activations.sampler": {"is": "random-search", "trials": 2}, "activations.finalists": 0}
    result = run(choose(recipe({"search": arm}), tmp_path))
    label = "Search for activations, seed 0; the sampler of search stopped after 2 of 4 trials"
    assert [finding.label for finding in result.findings if finding.kind == "search"] == [label]


def test_no_trial_looks_at_the_test_set_or_keeps_weights(searched):
    choice = searched[0]
    for task in tasks_in(choice, "search"):
        if task.kind in ("trial", "finalist"):
            assert not list(task.folder.rglob("*.safetensors"))
            notes = task.folder / "notes.json"
            assert not notes.is_file() or "test_accuracy" not in notes.read_text()


def test_a_search_that_was_stopped_ends_as_if_it_had_not_been(searched, tmp_path):
    whole, straight, computed = searched
    choice = choose(recipe({"host": {}, "search": SEARCH}), tmp_path)
    for place in (2, -2, -1):

        def stop(event, name=list(computed)[place]):
            if event.task == name and not event.ended:
                raise Stopped

        with pytest.raises(Stopped):
            run(choice, report=stop)
    result, counts = trained(choice)
    assert counts == {"search seed 0": 1}
    accuracies = [[row.numbers["test_accuracy"] for row in one.levels] for one in (straight, result)]
    assert accuracies[0] == accuracies[1]
    for name in ("search-seed0.safetensors", "search-seed0.activations.json"):
        one, other = (place.folder / "networks" / name for place in (whole, choice))
        assert one.read_bytes() == other.read_bytes()


def test_trials_share_what_does_not_differ(tmp_path):
    arms = {"search": SEARCH, "again": {**SEARCH, "activations.trials": 3, "activations.trainable": True}}
    choice = choose(recipe(arms), tmp_path)
    first, second = ({task.identity for task in tasks_in(choice, arm)} for arm in arms)
    kinds = {task.identity: task.kind for arm in arms for task in tasks_in(choice, arm)}
    assert sorted(kinds[identity] for identity in first & second) == ["dense", "pruned", "trial", "trial", "trial"]
    for arm in arms:
        for task in tasks_in(choice, arm):
            check_identity(task)


def test_trials_in_parallel_do_not_look_at_those_that_may_still_run(tmp_path):
    arms = {"search": {**SEARCH, "activations.parallel": 3}}
    choice, turned = (choose(recipe(arms), tmp_path / place) for place in ("straight", "turned"))
    tasks = tasks_in(turned, "search")
    trials = [task for task in tasks if task.kind == "trial"]
    assert [[need.number for need in task.needs[1:]] for task in trials] == [[], [], [], [0]]
    dense, pruned = tasks[:2]
    for task in (dense, pruned, *trials[2::-1]):
        carry_out_task(task)
    one, other = run(choice), run(turned)
    assert [row.numbers["test_accuracy"] for row in one.levels] == [
        row.numbers["test_accuracy"] for row in other.levels
    ]
    candidates = [[trial.candidate for trial in scores(place)] for place in (choice, turned)]
    assert candidates[0] == candidates[1]
    assert len(set(candidates[0][:3])) > 1  # each draws for itself


def test_a_trial_that_diverges_is_the_worst(tmp_path, monkeypatch):
    real = prunednetwork.train_once

    def diverging(trainer, *rest, **options):
        if trainer.model.relu1.activation == Swish() and not trainer.tested:
            raise NotFinite("the loss is NaN", "a loss is a number", "lower the rate")
        real(trainer, *rest, **options)

    monkeypatch.setattr(prunednetwork, "train_once", diverging)
    choice = choose(recipe({"search": SEARCH}), tmp_path)
    run(choice)
    trials = scores(choice)
    assert any(trial.score is None for trial in trials)
    assert all(("NotFinite" in trial.note) == (trial.candidate[0] == 1) for trial in trials)
    plan = bb.activations.ActivationPlan.load(next(tmp_path.glob("*/networks/*.activations.json")))
    assert plan["relu1"] != Swish()


def test_what_a_trial_that_diverges_has_cost_is_counted(tmp_path):
    space = {"optimizer": {"is": "sgd", "learning_rate": {"low": 1e30, "high": 1e35}}}
    tune = {"tune.space": space, "tune.epochs": 2, "tune.trials": 1, "tune.finalists": 0}
    choice = choose(recipe({"search": tune}), tmp_path)
    with pytest.raises(RunFailed, match="diverged"):
        run(choice)
    (trial,) = scores(choice, "tuning")
    assert (trial.score, trial.epochs, trial.values) == (None, 1, ())


@pytest.mark.parametrize("name", sorted(FAMILY.names))
def test_activations_have_their_short_name_however_they_are_trained(name):
    assert named(replace(FAMILY.names[name](), trainable=True, per="unit")) == name
    assert named(replace(FAMILY.names[name](), trainable=False)) == name


def test_scalars_are_trained_in_the_last_training_alone(tmp_path):
    scalars = {"activations.use": "relu", "activations.trainable": True, "activations.per": "unit"}
    choice = choose(recipe({"host": {}, "scalars": scalars}), tmp_path)
    result = run(choice)
    state = load_file(choice.folder / "networks" / "scalars-seed0.safetensors")
    assert state["relu1.alpha"].shape == (100,)
    assert len(set(state["relu1.alpha"].tolist())) > 1
    (curves,) = [finding for finding in result.findings if finding.kind == "activations"]
    at = {(row["arm"], row["input"]): row["value"] for row in curves.rows()}
    slope = (state["relu2.alpha"] * state["relu2.beta"]).double().mean()
    assert at["2 relu2: relu", 2.0] == pytest.approx(2 * float(slope), rel=1e-5)
    assert at["1 relu1: relu", -3.0] == 0


def test_a_dense_network_is_searched_from_its_start(tmp_path):
    dense = {"prune": {"schedule": "dense"}, "measure": {"diagnostics": []}, "train.epochs": 2}
    choice = choose(small(dense, arms={"host": {}, "swish": SWISH}), tmp_path)
    result, counts = trained(choice)
    assert counts == {"dense of host seed 0": 2, "swish seed 0": 2} or counts == {"host seed 0": 2, "swish seed 0": 2}
    assert {(row.arm, row.level, row.density) for row in result.levels} == {("host", 0, 1.0), ("swish", 0, 1.0)}
    start = load_file(tasks_in(choice, "swish")[0].folder / "start.safetensors")
    assert all(torch.equal(start[name], value) for name, value in fresh(choice).state_dict().items())


def test_weights_of_each_level_are_found(tmp_path):
    choice = choose(recipe({"host": {}, "swish": SWISH}), tmp_path)
    run(choice)
    folder = str(choice.folder)
    last, dense, newest = (stored_weights(folder, arm="swish", level=level).weights for level in (1, 0, None))
    state = load_file(choice.folder / "networks" / "swish-seed0.safetensors")
    host = stored_weights(folder, arm="host", level=0).weights
    assert all(torch.equal(last[name], state[name]) and torch.equal(newest[name], state[name]) for name in last)
    assert all(torch.equal(dense[name], host[name]) for name in dense)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"activations.use": "swish", "activations.space": "paper"}, InvalidValue, "given, or searched"),
        ({"activations.space": ["relu"]}, InvalidValue, 'write use = "relu"'),
        ({"activations.space": []}, InvalidValue, "has 0 activations"),
        ({"activations.space": ["relu", "relu"]}, InvalidValue, "an activation twice"),
        ({"activations.space": "papers"}, UnknownName, "paper"),
        ({"activations.space": "gelu"}, UnknownName, 'write use = "gelu"'),
        ({"activations.space": 5}, InvalidValue, r'(?s)activations.space is 5.*"paper", or \["relu", "swish"\]'),
        ({"activations.space": ["relu", "swich"]}, UnknownName, "swish"),
        ({"activations.space": "paper", "activations.trials": 0}, InvalidValue, "at least 1"),
        ({"activations.space": "paper", "activations.sampler": "late"}, UnknownName, "mean 'late-acceptance'"),
        ({"activations.trials": 5}, InvalidValue, "no activations are searched"),
        ({**SEARCH, "activations.epochs": 3}, InvalidValue, "activations.epochs = 2, or fewer"),
        ({**SEARCH, "activations.epochs": 2, **LATE}, InvalidValue, "activations.epochs = 1, or fewer"),
        ({"activations.use": "swish", "activations.finalists": 1}, InvalidValue, "no activations are searched"),
        ({"activations.trainable": True}, InvalidValue, "keeps its own activations"),
        ({"activations.use": "swish", "activations.per": "unit"}, InvalidValue, "no scalars are trained"),
        ({"activations.use": "swish", "retrain.ways": ["free"]}, InvalidValue, "take one of them out"),
    ],
)
def test_wrong_sections_are_refused(changes, error, words):
    with pytest.raises(error, match=words):
        recipe({"host": {}, "arm": changes})


def test_a_network_without_activations_is_refused_at_once(tmp_path, mine):
    (mine / "linear.py").write_text(
        "from torch import nn\n\n\ndef build(classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Linear(20, classes))\n"
    )
    choice = choose(recipe({"arm": SWISH}, {"network.name": "linear:build"}), tmp_path)
    with pytest.raises(bb.errors.NoSites, match="calls no activation"):
        look_ahead(choice)
    assert not list(tmp_path.glob("tasks/*"))


def test_a_trial_file_that_was_changed_is_refused(tmp_path):
    choice = choose(recipe({"search": SEARCH}), tmp_path)
    with pytest.raises(Stopped):
        run(choice, report=lambda event: (_ for _ in ()).throw(Stopped) if "trial 1" in event.task else None)
    path = next(task.folder for task in tasks_in(choice, "search") if task.kind == "trial") / "trial.json"
    content = json.loads(path.read_text())
    content["trial"]["score"] = 1.0
    path.write_text(json.dumps(content))
    with pytest.raises(bb.errors.BudbreakError, match=r"trial\.json"):
        run(choice)


def test_a_trial_that_was_deleted_is_computed_again(searched, tmp_path):
    whole, straight, _ = searched
    choice = choose(recipe({"host": {}, "search": SEARCH}), tmp_path)
    shutil.copytree(whole.out, tmp_path, dirs_exist_ok=True)
    trial = next(task for task in tasks_in(choice, "search") if task.kind == "trial")
    shutil.rmtree(trial.folder)
    result, counts = trained(choice)
    assert counts == {"search seed 0 trial 0": 1}
    assert read_trial(trial).score == scores(whole)[0].score
    for row, expected in zip(result.levels, straight.levels, strict=True):
        assert row.numbers.keys() == expected.numbers.keys()
        assert row.numbers["test_accuracy"] == expected.numbers["test_accuracy"]


def test_files_of_a_search_that_were_changed_are_refused(tmp_path):
    choice = choose(recipe({"swish": SWISH}), tmp_path)
    _, pruned, final = tasks_in(choice, "swish")
    run(choice)
    plan = final.folder / "activations.json"
    written = plan.read_bytes()
    plan.write_bytes(written.replace(b"swish", b"tanh "))
    with pytest.raises(CorruptFile, match="delete it: the same command writes it again"):
        run(choice)
    plan.unlink()
    assert trained(choice)[1] == {}
    assert plan.read_bytes() == written == (choice.folder / "networks" / "swish-seed0.activations.json").read_bytes()
    weights = pruned.folder / "start.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"four")
    shutil.rmtree(final.folder)
    with pytest.raises(RunFailed, match="it is not the network that was pruned"):
        run(choice)
    (pruned.folder / "start.json").unlink()  # as where an older version pruned: what the store holds is written anew
    assert trained(choice)[1] == {"swish seed 0": 2}
    assert plan.read_bytes() == written


def test_activations_in_the_paper_space_are_all_tried_before_anything_is_trained(tmp_path, monkeypatch):
    seen = []
    real = bb.live.replace_activations
    monkeypatch.setattr(
        "budbreak.studies.trying_searches.replace_activations",
        lambda model, plan, **options: seen.extend(plan.values()) or real(model, plan, **options),
    )
    look_ahead(choose(recipe({"search": {**SEARCH, "activations.space": "paper"}}), tmp_path))
    assert set(seen) == set(bb.activations.space("paper"))
    assert ReLU() not in seen
    assert len(seen) == 14


def test_the_last_level_of_a_searched_arm_leaves_with_its_activations(searched):
    choice, *_ = searched
    leaving = find_leaving(Request(str(choice.folder), arm="search"))
    again = find_leaving(Request(str(choice.folder), arm="search"), level=leaving.subject.level)
    state = load_file(choice.folder / "networks" / "search-seed0.safetensors")
    for one in (leaving, again):
        assert all(torch.equal(value, state[name]) for name, value in one.subject.model.state_dict().items())
        assert one.subject.level == max(row.level for row in one.run.levels)
        assert one.dense is not None
    x = torch.randn(4, 1, 8, 8)
    assert torch.equal(leaving.subject.model.eval()(x), again.subject.model.eval()(x))
    with pytest.raises(MissingData, match="are not kept; those of 0, "):
        find_leaving(Request(str(choice.folder), arm="search"), level=77)


def test_what_was_searched_is_read_from_the_folder_alone(searched):
    choice, _, _ = searched
    final = tasks_in(choice, "search")[-1]
    found = read_searched(final.folder)
    assert found.plan == bb.activations.ActivationPlan.load(final.folder / "activations.json")
    assert found.train == final.setup.plain()["train"]
    assert {kind: list(trials) for kind, trials in found.trials.items()} == {
        "trial": scores(choice),
        "finalist": scores(choice, "finalist"),
    }
    pruned = read_searched(final.needs[0].folder)
    assert (pruned.plan, pruned.trials) == (None, {})


def test_what_was_searched_is_not_read_without_its_trials(searched, tmp_path):
    final = tasks_in(searched[0], "search")[-1]
    (tmp_path / final.folder.name).symlink_to(final.folder)
    with pytest.raises(MissingData, match=r"no file .*pruned-[0-9a-f]+.task\.json"):
        read_searched(tmp_path / final.folder.name)
    with pytest.raises(MissingData, match=r"copy the whole folder of tasks"):
        read_searched(tmp_path / "final-0000")
