"""Arms that prune at initialization: no dense training, beside arms that have one."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from budbreak.errors import InvalidValue
from budbreak.reporting import terminal_table, write_report
from budbreak.studies import epochs_of_choice, look_ahead, run
from budbreak.studies.making import make_plan
from budbreak.studies.task import Place
from budbreak.studies.tasks import check_identity, tasks_of
from small import Stopped, choose, digests, small, stop_at, trained

ONCE = {"prune.schedule": {"is": "one-shot", "sparsity": 0.8}}
ARMS = {
    "host": {},
    "early": {"prune.criterion": "taylor", "prune.train_dense": False},
    "rounds": {"prune.criterion": "taylor", "prune.train_dense": False, "prune.rounds": 3},
}


def only(arm, seed=0):
    recipe = small(ONCE, arms=ARMS)
    (found,) = [one for one in recipe.arms if one.name == arm]
    return tasks_of(arm, found.setup, [seed], Place(Path("tasks"), None, 1))[0]


def test_it_needs_no_dense_training_and_has_an_identity_of_its_own():
    early, rounds = only("early"), only("rounds")
    assert [(task.kind, task.needs, task.epochs) for task in (*early, *rounds)] == [("levels", (), 2)] * 2
    assert len({task.identity for task in (*only("host"), *early, *rounds, *only("early", 1))}) == 5
    check_identity(early[0])
    assert (early[0].name, early[0].folder.name) == ("early seed 0", f"levels-{early[0].identity[:16]}")


def test_a_run_compares_it_at_the_same_density(tmp_path):
    choice = choose(small(ONCE, arms=ARMS, seeds=2), tmp_path)
    overview = look_ahead(choice)
    assert (overview.cost.tasks, overview.cost.epochs, epochs_of_choice(choice)) == (8, 16, 16)
    result, counts = trained(choice)
    assert counts == {f"{name} seed {s}": 2 for name in ("dense of host", "host", "early", "rounds") for s in (0, 1)}
    levels = {arm: [(row.level, row.kept, row.shared) for row in result.levels if row.arm == arm] for arm in ARMS}
    assert levels["early"] == levels["rounds"] == [row for row in levels["host"] if row[0] == 1]
    assert {(row.arm, row.level) for row in result.differences} == {("early", 1), ("rounds", 1)}
    assert len(set(map(tuple, digests(tmp_path).values()))) == 8
    assert trained(choice)[1] == {}
    write_report([result], tmp_path / "page")
    console = Console(file=io.StringIO(), width=80)
    console.print(terminal_table(result))
    table = console.file.getvalue().splitlines()
    host, early = (next(line for line in table if line.startswith(arm)) for arm in ("host", "early"))
    assert (len(host.split()), len(early.split())) == (3, 2)  # no accuracy at 100 %


def test_it_goes_on_where_it_was_stopped(tmp_path):
    arms = {"early": ARMS["rounds"]}
    straight = run(choose(small(ONCE, arms=arms), tmp_path / "straight"))
    with pytest.raises(Stopped):
        run(choose(small(ONCE, arms=arms), tmp_path / "arm"), report=stop_at(1, 1))
    result, counts = trained(choose(small(ONCE, arms=arms), tmp_path / "arm"))
    assert counts == {"early seed 0": 1}
    assert digests(tmp_path / "straight") == digests(tmp_path / "arm")
    assert [row.numbers for row in result.levels] == [row.numbers for row in straight.levels]


def test_the_plan_of_a_recipe():
    setup = small({**ONCE, **ARMS["rounds"]}).arms[0].setup
    plan = make_plan(setup, seed=0, steps=4)
    assert (plan.train_dense, plan.rounds, plan.trainings) == (False, 3, [(1, 0)])
    plan = make_plan(small().arms[0].setup, seed=0, steps=4)
    assert (plan.train_dense, plan.rounds) == (True, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prune.train_dense": False, "prune.rewind_epoch": 1}, "prune.rewind_epoch is 1, and prune.train_dense is"),
        ({"prune.train_dense": False, "prune.criterion": "displacement"}, "before the first training"),
        ({"prune.train_dense": False, "prune.then": ["ap"]}, "before the first training"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_trained(changes, words, tmp_path):
    with pytest.raises(InvalidValue, match=words):
        look_ahead(choose(small({**ONCE, **changes}), tmp_path))
