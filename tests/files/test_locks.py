"""One writer a folder."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time

import pytest

from budbreak.errors import CannotWrite, StoreBusy
from budbreak.files import FolderLock

HOLDER = """
import os, sys, time
from pathlib import Path
from budbreak.files import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.take()
if os.fork() == 0:  # a child that lives on, as the workers of a data loader may
    os.close(1)
    time.sleep(60)
    os._exit(0)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock, with a forked child of its own."""
    command = [sys.executable, "-W", "ignore", "-c", HOLDER, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "held\n"
    yield process
    os.killpg(process.pid, 9)
    process.stdout.close()
    process.wait()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_lock_dies_with_its_process_even_if_a_child_lives_on(tmp_path, holder):
    lock = FolderLock(tmp_path)
    with pytest.raises(StoreBusy, match=f"writing to {tmp_path}\n") as caught:
        lock.take()
    assert "wait for it or stop it" in str(caught.value)
    holder.kill()
    holder.wait()
    lock.take()
    lock.release()


def test_a_busy_folder_is_refused_at_once_within_one_process_too(tmp_path):
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.take()
    began = time.monotonic()
    for lock in (second, first):
        with pytest.raises(StoreBusy):
            lock.take()
    assert time.monotonic() - began < 30
    first.release()
    second.take()
    second.release()


def test_one_may_wait_until_it_is_free(tmp_path):
    first, second, order = FolderLock(tmp_path), FolderLock(tmp_path), []
    first.take()

    def wait():
        second.take(wait=True)
        order.append("taken")

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.3)
    order.append("released")
    first.release()
    waiting.join(60)
    assert order == ["released", "taken"]
    with pytest.raises(StoreBusy):
        first.take()
    second.release()


def test_what_another_thread_releases_is_free(tmp_path):
    lock = FolderLock(tmp_path)
    lock.take()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    FolderLock(tmp_path).take()


def test_only_the_lock_itself_is_in_the_folder(tmp_path):
    lock = FolderLock(tmp_path / "new" / "folder")
    lock.take()
    lock.release()
    lock.release()
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "new/folder").iterdir()] == [("lock", b"")]


def test_a_link_a_folder_and_a_file_in_the_way_are_refused(tmp_path):
    (tmp_path / "precious").write_text("mine")
    for name in ("link", "dangling", "folder"):
        (tmp_path / name).mkdir()
    (tmp_path / "link" / "lock").symlink_to(tmp_path / "precious")
    (tmp_path / "dangling" / "lock").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder" / "lock").mkdir()
    for name, words in [
        ("link", "is a link"),
        ("dangling", "is a link"),
        ("folder", "directory"),
        ("precious", "something else is in its place"),
    ]:
        with pytest.raises(CannotWrite, match=words):
            FolderLock(tmp_path / name).take()
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (tmp_path / "nothing").exists()


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    """A marker file in its place would outlive a killed process."""

    def no_locks(handle, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    for wait in (False, True):
        with pytest.raises(CannotWrite, match=os.strerror(errno.ENOSYS)):
            FolderLock(tmp_path).take(wait=wait)
