"""What another library writes by path is there as a whole, or not at all."""

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from budbreak.errors import CannotWrite, InvalidValue
from budbreak.files import staging
from budbreak.files.storage import cannot_write


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write(path, **parts):
    with staging(path) as aside:
        assert aside.name == path.name
        assert not path.exists() or path.read_text() == "old"
        aside.write_text("new")
        for name, text in parts.items():
            (aside.parent / name).write_text(text)


def names(folder):
    return sorted(one.name for one in folder.iterdir())


def test_files_move_when_all_are_complete(tmp_path):
    path = tmp_path / "deep" / "net.xml"
    write(path, weights="w")
    assert names(path.parent) == ["net.xml", "weights"]
    assert (path.read_text(), (path.parent / "weights").read_text()) == ("new", "w")


def test_the_one_that_was_asked_for_comes_last(tmp_path, monkeypatch):
    moved, replace = [], type(tmp_path).replace

    def watched(self, target):
        moved.append(self.name)
        return replace(self, target)

    monkeypatch.setattr(type(tmp_path), "replace", watched)
    write(tmp_path / "m", a="a", z="z")
    assert moved == ["a", "z", "m"]


@pytest.mark.parametrize("call", ["fsync", "replace", "mkdir", "write_text"])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    path = tmp_path / "net"
    path.write_text("old")
    monkeypatch.setattr(os if call == "fsync" else type(path), call, full_disk)
    with pytest.raises(CannotWrite, match="net: No space left on device"):
        write(path)
    assert names(tmp_path) == ["net"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError("not ours"), InvalidValue("a", "b")])
def test_what_else_is_raised_passes_through_and_nothing_is_moved(tmp_path, error):
    def broken():
        with staging(tmp_path / "net") as aside:
            aside.write_text("half")
            raise error

    kind = error if isinstance(error, type) else type(error)
    with pytest.raises(kind):
        broken()
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["a\0b", "n" * 300, "folder"])
def test_a_name_that_cannot_be_written_is_named(tmp_path, name):
    (tmp_path / "folder" / "in it").mkdir(parents=True)
    with pytest.raises(CannotWrite):
        write(tmp_path / name)
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize("name", ["net.xml", "beside"])
def test_a_folder_in_the_way_of_any_file_leaves_all_of_the_old_ones(tmp_path, name):
    (tmp_path / name).mkdir()
    other = {"net.xml": "beside", "beside": "net.xml"}[name]
    (tmp_path / other).write_text("old")
    with pytest.raises(CannotWrite, match=r"Is a directory[\s\S]*give another name"):
        write_two(tmp_path / "net.xml")
    assert names(tmp_path) == ["beside", "net.xml"]
    assert (tmp_path / other).read_text() == "old"


def write_two(path):
    with staging(path) as aside:
        aside.write_text("new")
        (aside.parent / "beside").write_text("new")


def test_killed_between_two_files_no_old_one_is_read_with_a_new_one_beside_it(tmp_path, monkeypatch):
    path, replace = tmp_path / "net.xml", type(tmp_path).replace
    path.write_text("old")

    def killed(self, target):
        if self.name == "net.xml":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(type(tmp_path), "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_two(path)
    assert names(tmp_path) == ["beside"]


def test_what_a_killed_process_left_goes_the_next_day(tmp_path):
    path, yesterday = tmp_path / "n[e]t", time.time() - 90_000
    for name in (".n[e]t.1.budbreak-unfinished", ".n[e]t.2.budbreak-unfinished", ".net.3.budbreak-unfinished"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("half")
    for number in (1, 3):
        (name,) = tmp_path.glob(f".*.{number}.*")
        os.utime(name, (yesterday, yesterday))
    write(path)
    assert names(tmp_path) == [".n[e]t.2.budbreak-unfinished", ".net.3.budbreak-unfinished", "n[e]t"]


def test_of_two_that_write_the_same_files_none_is_beside_anothers(tmp_path, monkeypatch):
    path, replace = tmp_path / "net.xml", type(tmp_path).replace
    other = threading.Thread(target=lambda: write(path, beside="new"))

    def slow(self, target):
        replace(self, target)
        if other.ident is None:  # the first file of the first: the other one tries to come between
            other.start()
            other.join(0.5)

    monkeypatch.setattr(type(tmp_path), "replace", slow)
    with staging(path) as aside:
        aside.write_text("old")
        (aside.parent / "beside").write_text("old")
    other.join()
    assert path.read_text() == (tmp_path / "beside").read_text()
    assert names(tmp_path) == ["beside", "net.xml"]


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.EACCES, "give yourself the right to it"),
        (errno.EROFS, "give yourself the right to it"),
        (errno.ENOSPC, "free some space"),
        (errno.EISDIR, "give another name"),
    ],
)
def test_what_is_not_written_says_what_to_do_about_its_reason(number, fix):
    error = cannot_write(Path("a"), OSError(number, os.strerror(number)))
    assert os.strerror(number) in error.value
    assert error.fix.startswith(fix)
