"""Damaged, swapped and forged files of every kind: each is refused in words, or does not matter.

``python tests/campaigns/readers.py --rounds 2000 --seed 7``. Damage (flipped, cut, swapped) must be refused or without
effect; a forgery with the right checksum may be believed where it could be true, but never ends in a traceback.
"""

import contextlib
import functools
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from damage import DAMAGES, forged
from frame import Broken, campaign
from torch import nn
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.data.unpickling import read_pickle
from budbreak.errors import BudbreakError
from budbreak.files import digest
from budbreak.recipes import make_recipe
from budbreak.reporting import write_report
from budbreak.results import load_result
from budbreak.studies import Choice, Place, Request, find_subject, list_runs, run
from budbreak.studies.run import cells_of
from budbreak.studies.taskfolder import check_complete, collect
from budbreak.studies.weights import read_state

sys.path.insert(0, str(Path(__file__).parent.parent / "data"))
from test_unpickling import PYTHON_2

RECIPE = make_recipe({
    "name": "tiny", "seeds": 1, "data": {"name": "digits", "limit": 60}, "network": {"name": "mlp"},
    "train": {"epochs": 2, "batch_size": 30}, "prune": {"schedule": {"is": "geometric", "rate": 0.2, "levels": 1}},
    "measure": {"images": 20}, "arms": {"host": {}, "ap-lite": {"prune.then": ["ap"]}},
})  # fmt: skip


class Stop(BaseException):
    """Stands for a kill."""


def choice(out):
    return Choice(RECIPE, RECIPE.arms, out, Place(out / "tasks", None, 1), "here", 1)


@functools.cache
def originals():
    """A finished run, one that was stopped in the last level, and two finished stores, made once."""
    folder = Path(tempfile.mkdtemp(prefix="readers-"))
    run(choice(folder / "run"))

    def stop(event):
        if event.task.startswith("ap-lite") and event.epoch == 1:
            raise Stop

    with contextlib.suppress(Stop):
        run(choice(folder / "part"), report=stop)
    for seed in (0, 1):
        iterated(folder / f"store{seed}", seed)
    (folder / "pickle").write_bytes(PYTHON_2)
    return folder


def iterated(store, seed=0):
    """Carry out, or go on with, a small iteration; what came of it."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1])
    plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.3, levels=2), rewind_to=bb.Step(1))
    x, y = torch.randn(8, 6), torch.arange(8) % 3
    with bb.iterate(model, optimizer, plan, resets=[scheduler], seed=seed, store=store) as levels:
        for level in levels:
            for _ in level.epochs(2):
                optimizer.zero_grad()
                cross_entropy(model(x), y).backward()
                optimizer.step()
                scheduler.step()
    weights = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
    return weights, [(record.kept, record.end_digest) for record in levels.history]


def run_of(folder, name="run"):
    return folder / name / RECIPE.folder_name


def read_run(folder):
    """What the command reads of a run: its results."""
    list_runs(folder / "run")
    stored = load_result(run_of(folder))
    write_report([stored], folder / "report")
    return [vars(level) for level in stored.levels]


def read_tasks(folder):
    """What a run reads of its complete tasks."""
    list_runs(folder / "run")
    levels = []
    for arm, task in cells_of(choice(folder / "run")).levels:
        check_complete(task)
        levels += collect(task, arm.name)
    return [vars(level) for level in levels]


def read_subjects(folder):
    """What ``budbreak probe`` reads: by the folder of the run, and by those of its tasks."""
    list_runs(folder / "run")
    requests = [Request(str(run_of(folder)), arm=arm.name) for arm in RECIPE.arms]
    requests += [Request(str(task)) for task in sorted((folder / "run" / "tasks").iterdir())]
    return [digest({name: value.tolist() for name, value in find_subject(request).model.state_dict().items()})
            for request in requests]  # fmt: skip


def carried_out(folder, name):
    """The networks of a run that goes on."""
    run(choice(folder / name))
    return {path.name: path.read_bytes() for path in (run_of(folder, name) / "networks").iterdir()}


def begun_again(folder):
    """The networks of levels that start once more from the dense training that is there."""
    for task in (folder / "run" / "tasks").glob("levels-*"):
        shutil.rmtree(task)
    return carried_out(folder, "run")


def read_mask(folder):
    return {name: entry.tolist() for name, entry in bb.Mask.load(folder / "store0/masks/level-001.safetensors").items()}


def read_weights(folder):
    path = next((folder / "run" / "tasks").glob("*/model.safetensors"))
    return {name: tensor.tolist() for name, tensor in read_state(path).items()}


def read_official(folder):
    content = read_pickle((folder / "pickle").read_bytes(), folder / "pickle")
    return {key: getattr(value, "tolist", lambda value=value: value)() for key, value in content.items()}


READERS = {
    "store0/*": lambda folder: iterated(folder / "store0"),
    "store0/masks/level-001.safetensors": read_mask,
    "run/tiny-*/results.json": read_run,
    "run/tiny-*/tasks.json": read_subjects,
    "run/tasks/*/task.json": read_subjects,
    "run/tasks/levels-*/checkpoint.safetensors": read_subjects,
    "run/tasks/*/*.json": read_tasks,
    "run/tasks/*/masks/*": read_tasks,
    "run/tasks/dense-*/*": begun_again,
    "run/tasks/dense-*/masks/*": begun_again,
    "part/*/*": lambda folder: carried_out(folder, "part"),
    "part/tasks/*/*": lambda folder: carried_out(folder, "part"),
    "part/tasks/*/masks/*": lambda folder: carried_out(folder, "part"),
    "run/tasks/*/model.safetensors": read_weights,
    "pickle": read_official,
}


@functools.cache
def undisturbed(pattern):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(originals(), folder, dirs_exist_ok=True)
        return READERS[pattern](Path(folder))


def one_round(random, folder):
    shutil.copytree(originals(), folder, dirs_exist_ok=True)
    pattern = random.choice(sorted(READERS))
    expected = undisturbed(pattern)
    files = sorted(path for path in folder.glob(pattern) if path.is_file() and path.stat().st_size)
    path = random.choice(files)
    forge = random.random() < 0.5
    what = "forged" if forge else random.choice(DAMAGES)
    if forge:
        forged(random, path)
    else:
        path.write_bytes(what(random, path.read_bytes(), folder))
        what = what.__name__
    found = read(pattern, folder, f"{what} {path.relative_to(folder)}")
    if found is REFUSED:
        return "refused"
    # weights and pickles carry no checksum of ours: a data set's is compared before, by who calls the reader
    guarded = pattern not in ("pickle", "run/tasks/*/model.safetensors")
    if pattern == "store0/masks/level-001.safetensors" and what == "swapped":
        guarded = False  # any whole mask will do for who loads a mask
    if not forge and guarded and repr(found) != repr(expected):
        raise Broken(f"{what} {path.relative_to(folder)}: accepted, with another outcome")
    return "without effect" if repr(found) == repr(expected) else "believed"


REFUSED = object()


def read(pattern, folder, what):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return READERS[pattern](folder)
    except BudbreakError as error:
        if not str(error).strip() or len(str(error)) > 5000 or "Traceback" in str(error):
            raise Broken(f"{what}: {len(str(error))} characters of message: {str(error)[-1500:]}") from error
        return REFUSED
    except Exception as error:
        raise Broken(f"{what}: a traceback: {type(error).__name__}: {error}") from error


if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        code = campaign("readers", one_round, rounds=100, limit=30)
    finally:
        shutil.rmtree(originals(), ignore_errors=True)
    sys.exit(code)
