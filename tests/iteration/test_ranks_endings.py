"""Several processes: one of them ends a training, optimizers are attached on all of them, all levels are kept."""

import signal

import pytest
from launching import launch
from ranks_endings import attached_and_killed, endings, kept
from ranks_run import Half

import budbreak as bb
from budbreak.live import model_digest


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("endings")
    return launch(endings, folder, str(folder / "store"))


@pytest.mark.parametrize("how", ["one_stops", "one_stops_and_leaves", "one_records", "one_asks"])
def test_what_one_rank_ends_is_ended_on_all(outcomes, how):
    assert [fine[how] for fine, _ in outcomes] == [[1, 2, 3]] * 2


def test_attached_on_all_ranks_they_do_what_a_given_one_does(outcomes):
    assert [fine["both_attach"] for fine, _ in outcomes] == [[True, [2, 2, 2]]] * 2


def test_ranks_that_stray_are_named_on_all_of_them(outcomes):
    for rank, (_, (nonsense, others, alone, keeping)) in enumerate(outcomes):
        assert nonsense[0] == "InvalidValue"
        assert nonsense[1].startswith("until gave None" if rank else "rank 1: until gave None")
        assert others[0] == "RanksDisagree"
        assert "attach() in level 0, stage 0: rank 0 has optimizers: " in others[1]
        assert alone[0] == "RanksDisagree"
        assert "rank 0 has attach() in level 0, stage 0, rank 1 has the end of level 0" in alone[1]
        assert keeping[0] == "RanksDisagree"
        assert "rank 1 carries out another iteration than rank 0: keep: 'last' -> 'all'" in keeping[1]


def test_killed_with_optimizers_attached_each_rank_goes_on_with_its_own(tmp_path):
    straight = launch(attached_and_killed, tmp_path, str(tmp_path / "straight"), False)
    first = launch(attached_and_killed, tmp_path, str(tmp_path / "store"), True)
    assert first == [{"signal": signal.SIGKILL}] * 2
    assert launch(attached_and_killed, tmp_path, str(tmp_path / "store"), False) == straight


def test_all_levels_are_kept_with_the_buffers_of_rank_0(tmp_path):
    first, second = launch(kept, tmp_path, str(tmp_path / "store"))
    assert first == second
    for level, digest in first:
        model = Half(0, wrap=False).plain
        bb.load_level(model, tmp_path / "store", level)
        assert model_digest(model) == digest
