"""The store of several processes: rank 0 owns it, and a killed run ends with the bits of an undisturbed one."""

import signal

import pytest
from launching import launch
from ranks_run import Half, carry_out, fingerprint, geometric, kill_at

import budbreak as bb
from budbreak.errors import CannotWrite, StoreMismatch
from budbreak.iteration import Store

PLAN = geometric(then=[bb.ActivateWhilePruning(q=0.05, variant="pro")], rewind_to=bb.Step(2))
IN_LEVEL_1 = 6 + 6 + 4  # three steps an epoch, two epochs a training: in the second epoch of level 1, stage 1


def stored_run(rank, store, victims=()):
    half = Half(rank)
    each = kill_at(rank, IN_LEVEL_1) if rank in victims else None
    return fingerprint(half, carry_out(half, PLAN, store=store, each=each))


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    return launch(stored_run, folder, folder / "store")


def test_each_rank_keeps_buffers_and_noise_of_its_own(straight):
    (shared, own), (also_shared, other_own) = straight
    assert shared == also_shared
    assert own != other_own


@pytest.mark.parametrize("victims", [(0,), (1,), (0, 1)], ids=["rank 0", "rank 1", "both"])
def test_killed_in_the_middle_of_a_level_it_ends_with_the_same_bits(tmp_path, straight, victims):
    outcomes = launch(stored_run, tmp_path, tmp_path / "store", victims)
    for rank, outcome in enumerate(outcomes):
        assert "error" in outcome or outcome == {"signal": signal.SIGKILL}, outcome
        assert (outcome == {"signal": signal.SIGKILL}) == (rank in victims)
    assert launch(stored_run, tmp_path, tmp_path / "store") == straight


def test_a_finished_store_gives_all_ranks_its_history(tmp_path, straight):
    launch(stored_run, tmp_path, tmp_path / "store")
    first, second = launch(stored_run, tmp_path, tmp_path / "store")
    assert (first, second) == tuple(straight)


def full_disk(rank, store):
    if rank == 0:
        save, calls = Store.save_checkpoint, []

        def failing(self, tree):
            calls.append(tree)
            if len(calls) == 3:
                raise CannotWrite("cannot write: No space left on device", "files are whole or absent")
            save(self, tree)

        Store.save_checkpoint = failing
    return stored_run(rank, store)


def test_a_full_disk_of_rank_0_stops_all_and_loses_nothing(tmp_path, straight):
    first, second = launch(full_disk, tmp_path, tmp_path / "store")
    assert first["error"] == CannotWrite.__name__
    assert first["text"].startswith("cannot write: No space left on device")
    assert second == {"error": CannotWrite.__name__, "text": f"rank 0: {first['text']}"}
    assert launch(stored_run, tmp_path, tmp_path / "store") == straight


def other_plan(rank, store):
    carry_out(Half(rank), geometric(3), store=store)


def alone_on_it(rank, store):
    carry_out(Half(rank, wrap=False), PLAN, store=store, group="alone")


def test_a_store_of_something_else_is_refused_on_all_ranks(tmp_path, straight):
    launch(stored_run, tmp_path, tmp_path / "store")
    first, second = launch(other_plan, tmp_path, tmp_path / "store")
    assert first["error"] == second["error"] == StoreMismatch.__name__
    assert second["text"] == f"rank 0: {first['text']}"
    (alone,) = launch(alone_on_it, tmp_path, tmp_path / "store", size=1)
    assert alone["error"] == StoreMismatch.__name__
    assert "processes: 2 -> 1" in alone["text"]
