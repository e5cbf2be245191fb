"""Odd things where a run has its files: nothing, a folder, a pipe, a link, what may not be read.

``python tests/campaigns/files.py --rounds 50 --seed 7``. Every command ends with 0, or with 1 and a message; the
file a link points to stays as it is; with the file put back, the run is again what it was.
"""

import functools
import os
import shutil
import sys
import tempfile
from pathlib import Path

from faults import RUN
from frame import Broken, campaign, command, outcome


@functools.cache
def original():
    folder = Path(tempfile.mkdtemp(prefix="files-"))
    code, said = command([*RUN, "--out", str(folder)])
    if code:
        raise Broken(said)
    return folder


def nothing(path, precious):
    pass


def folder(path, precious):
    path.mkdir()
    (path / "mine").write_text("mine")


def pipe(path, precious):
    os.mkfifo(path)


def dangling_link(path, precious):
    path.symlink_to(path.parent / "nowhere")


def link(path, precious):
    path.symlink_to(precious)


def link_to_a_folder(path, precious):
    path.symlink_to(precious.parent, target_is_directory=True)


def unreadable(path, precious):
    path.write_bytes(b"x" * 100)
    path.chmod(0)


ODD = (nothing, folder, pipe, dangling_link, link, link_to_a_folder, unreadable)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def one_round(random, place):
    out = place / "out"
    shutil.copytree(original(), out)
    precious = place / "others" / "precious"
    precious.parent.mkdir()
    precious.write_text("mine")
    run = next(out.glob("*/results.json")).parent
    path = random.choice(sorted(path for path in out.rglob("*") if path != run))
    make = random.choice(ODD)
    remove(path)
    make(path, precious)
    task = next((original() / "tasks").glob("levels-*")).name
    what = f"{make.__name__} for {path.relative_to(out)}"
    orders = ([*RUN, "--out", str(out)], ["report", str(run)], ["runs", str(out)])
    orders += (["probe", str(run), "--images", "50"], ["probe", str(out / "tasks" / task), "--images", "50"])
    try:
        ended = [command(order)[0] for order in random.sample(orders, 2)]
    except Broken as error:
        raise Broken(f"{what}: {error}") from None
    if precious.read_text() != "mine":  # a folder may be a link to another disk, and is written to then
        raise Broken(f"{what}: what the link points to was changed")
    if path.parent.is_dir():  # a folder that was a link is gone, and with it what lay in it
        remove(path)
        before = original() / path.relative_to(out)
        shutil.copytree(before, path) if before.is_dir() else shutil.copy(before, path)
        code, said = command([*RUN, "--out", str(out)])
        if code or outcome(out) != outcome(original()):
            raise Broken(f"{what}: put back, the run is not what it was: {said[-500:]}")
    return "refused" if 1 in ended else "carried out"


if __name__ == "__main__":
    try:
        code = campaign("files", one_round, rounds=40, limit=60)
    finally:
        shutil.rmtree(original(), ignore_errors=True)
    sys.exit(code)
