"""A search survives: killed at every trial, in fact killed, damaged, of another search, in use."""

import json
import signal

import killed_search
import pytest
import torch
from small_searches import CHOICES, pruned, search, told, train

import budbreak as bb
import forking
from budbreak.errors import CorruptFile, InvalidValue, StoreBusy, StoreMismatch
from budbreak.files import FolderLock
from budbreak.search import Genetic, LateAcceptance, RandomSearch, SimulatedAnnealing
from budbreak.testing import mlp


class Killed(BaseException):
    pass


def killing(after):
    """A training that is killed the ``after``-th time, in its middle."""
    left = [after]

    def fit(model):
        left[0] -= 1
        if left[0] == 0:
            torch.rand(7)
            raise Killed
        train(model)

    return fit


@pytest.mark.parametrize("sampler", [LateAcceptance(), Genetic(), RandomSearch(), SimulatedAnnealing()], ids=str)
def test_a_search_killed_in_every_training_ends_as_one_that_was_not(tmp_path, sampler):
    settings = {"sampler": sampler, "trials": 10, "epochs": 2.5}
    straight = search(**settings)
    trained = sum(trial.same_as is None for trial in straight.history)
    for _ in range(trained - 1):  # each gets through one training more, and is killed in the next one
        with pytest.raises(Killed):
            search(train=killing(2), store=tmp_path / "store", **settings)
    result = search(train=killing(2), store=tmp_path / "store", **settings)
    assert told(result.history) == told(straight.history)
    assert result.plan == straight.plan


def test_a_search_goes_on_after_an_error_between_trials(tmp_path):
    def full(history):
        raise OSError("no space left")

    straight = told(search().history)
    for number in range(8):
        with pytest.raises(OSError, match="no space"):
            search(store=tmp_path, report=full)
        assert len(list((tmp_path / "trials").iterdir())) == number + 1
    assert told(search(store=tmp_path, train=killing(1), report=full).history) == straight


def test_trials_that_are_there_are_not_trained_again(tmp_path):
    first = search(store=tmp_path, trials=5)
    again = search(store=tmp_path, trials=5, train=killing(1))
    assert again == first  # seconds and all
    assert search(store=tmp_path, trials=3, train=killing(1)).history == first.history[:3]
    more = search(store=tmp_path, trials=9)
    assert more.history[:5] == first.history
    assert told(more.history) == told(search(trials=9).history)


def test_what_lies_at_pruned_places_does_not_matter(tmp_path):
    model, mask = pruned()
    first = search(model, mask, store=tmp_path)
    with torch.no_grad():
        model[0].weight.add_(mask["0.weight"].logical_not())
    assert search(model, mask, store=tmp_path, train=killing(1)) == first


def test_trials_that_diverged_are_kept(tmp_path):
    first = search(store=tmp_path, evaluate=lambda model: float("nan"))
    assert search(store=tmp_path, train=killing(1)).history == first.history
    assert {trial.note for trial in first.history} == {"the score is NaN"}


def test_a_search_that_is_really_killed_goes_on(tmp_path):
    assert forking.end(forking.start(killed_search.main, tmp_path, 3)) == -signal.SIGKILL
    assert len(list((tmp_path / "trials").iterdir())) >= 3
    trained = []
    found = search(store=tmp_path, train=lambda model: trained.append(train(model)))
    straight = search()
    assert told(found.history) == told(straight.history)
    assert len(trained) == len({trial.candidate for trial in straight.history}) - 3


OTHERS = {
    "space": {"space": CHOICES[:3]},
    "order": {"space": CHOICES[::-1]},
    "sampler": {"sampler": RandomSearch()},
    "setting": {"sampler": LateAcceptance(history=4)},
    "seed": {"seed": 1},
    "epochs": {"epochs": 3},
    "also": {"also": {"data": torch.ones(3)}},
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_store_of_another_search_is_refused(tmp_path, name):
    search(store=tmp_path, trials=2)
    with pytest.raises(StoreMismatch, match="another search: ") as kept:
        search(store=tmp_path, trials=2, **OTHERS[name])
    assert kept.tb  # whose frames still hold the store: it was let go all the same
    assert len(search(store=tmp_path, train=killing(1), trials=2).history) == 2


def test_the_store_of_another_network_is_refused(tmp_path):
    model, mask = pruned()
    search(model, mask, store=tmp_path, trials=1)
    other, other_mask = pruned(seed=1)
    with pytest.raises(StoreMismatch, match="weights: "):
        search(other, other_mask, store=tmp_path)
    with pytest.raises(StoreMismatch, match="mask: "):
        search(model, bb.Mask.dense(model), store=tmp_path)
    bigger = mlp(hidden=9)
    with pytest.raises(StoreMismatch, match=r"model.0.weight"):
        search(bigger, bb.Mask.dense(bigger), store=tmp_path)
    model[1] = torch.nn.LeakyReLU()
    with pytest.raises(StoreMismatch, match=r"modules.1: 'ReLU\(\)' -> 'LeakyReLU"):
        search(model, mask, store=tmp_path)


def test_a_store_in_use_is_refused_and_let_go(tmp_path):
    lock = FolderLock(tmp_path)
    lock.take()
    with pytest.raises(StoreBusy):
        search(store=tmp_path)
    lock.release()

    def nested(model):
        with pytest.raises(StoreBusy):
            search(store=tmp_path)
        train(model)

    search(store=tmp_path, train=nested, trials=1)
    FolderLock(tmp_path).take()


def test_a_store_is_let_go_although_its_error_is_kept(tmp_path):
    with pytest.raises(Killed) as kept:
        search(store=tmp_path, train=killing(2))
    assert kept.tb
    assert len(search(store=tmp_path, trials=2).history) == 2


def damage_missing(folder):
    (folder / "trials" / "0001.json").unlink()


def damage_cut(folder):
    path = folder / "trials" / "0002.json"
    path.write_text(path.read_text()[:-20])


def damage_changed(folder):
    path = folder / "trials" / "0000.json"
    path.write_text(path.read_text().replace('"score": 0', '"score": 1'))


def damage_search(folder):
    (folder / "search.json").write_text("{}")


def damage_swapped(folder):
    search(store=folder / "other", trials=3, seed=4)
    (folder / "other" / "trials" / "0001.json").replace(folder / "trials" / "0001.json")


@pytest.mark.parametrize(
    "damage", [damage_missing, damage_cut, damage_changed, damage_search, damage_swapped], ids=lambda one: one.__name__
)
def test_a_damaged_store_is_refused(tmp_path, damage):
    search(store=tmp_path, trials=4)
    damage(tmp_path)
    with pytest.raises((CorruptFile, StoreMismatch)):
        search(store=tmp_path, trials=4)


def test_a_half_written_file_is_swept_away(tmp_path):
    search(store=tmp_path, trials=2)
    (tmp_path / "trials" / ".0002.json.ab.budbreak-unfinished").write_text("{")
    search(store=tmp_path, trials=3)
    assert sorted(path.name for path in (tmp_path / "trials").iterdir()) == ["0000.json", "0001.json", "0002.json"]


def test_a_bad_evaluation_loses_nothing(tmp_path):
    scores = iter([0.5, 0.6, "0.7"])
    with pytest.raises(InvalidValue):
        search(store=tmp_path, evaluate=lambda model: next(scores))
    files = sorted((tmp_path / "trials").iterdir())
    assert [json.loads(path.read_text())["trial"]["score"] for path in files] == [0.5, 0.6]
