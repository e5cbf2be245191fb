"""Each file of a store is its own: of its kind, of this store, of the structure it should have."""

import contextlib
import dataclasses
import json
import shutil

import pytest
import torch
from small_runs import STEPS_PER_EPOCH, Parts, geometric, outcome, run

import budbreak as bb
from budbreak.errors import BudbreakError, CannotRead, CannotWrite, CorruptFile, StoreMismatch
from budbreak.files import digest, read_tree, write_tree
from budbreak.iteration import read_records
from budbreak.iteration.state import Position
from budbreak.iteration.store import read_identity

FULL = geometric(2, then=[bb.ActivateWhilePruning(q=0.05, variant="pro")], rewind_to=bb.Step(3))


class Killed(BaseException):
    """Ends a run in this process."""


def half_done(store, seed=0, count=2 * 2 * STEPS_PER_EPOCH + 3):
    """Killed in level 1, stage 0... or after so many steps."""

    def each(parts, x):
        if parts.steps == count:
            raise Killed

    with contextlib.suppress(Killed):
        run(Parts(), FULL, store=store, each=each, seed=seed)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The stores of two seeds, both in level 1, stage 1."""
    folder = tmp_path_factory.mktemp("two")
    for seed in (0, 1):
        half_done(folder / str(seed), seed)
    return folder


@pytest.fixture
def stores(two, tmp_path):
    shutil.copytree(two, tmp_path / "two")
    return tmp_path / "two"


def resume(store):
    return run(Parts(), FULL, store=store, seed=0)


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "rewind.safetensors", "masks/level-000.safetensors"])
def test_a_file_of_another_store_is_refused(stores, name):
    shutil.copy(stores / "1" / name, stores / "0" / name)
    with pytest.raises(StoreMismatch, match=f"{name} belongs to another store"):
        resume(stores / "0")


def test_the_records_of_another_store_are_refused(stores):
    shutil.copy(stores / "1" / "records.json", stores / "0" / "records.json")
    with pytest.raises(StoreMismatch, match=r"records\.json belongs to another store"):
        read_records(stores / "0", digest(read_identity(stores / "0").identity))


@pytest.mark.parametrize("name", ["rewind.safetensors", "masks/level-000.safetensors"])
def test_a_file_of_another_kind_is_refused(stores, name):
    shutil.copy(stores / "0" / name, stores / "0" / "checkpoint.safetensors")
    with pytest.raises(CorruptFile, match=r"is of kind '(rewind point|mask) 1', and 'checkpoint 1' is wanted"):
        resume(stores / "0")


def test_the_mask_of_another_level_is_refused_and_the_advice_works(stores):
    resume(stores / "0")
    masks = stores / "0" / "masks"
    shutil.copy(masks / "level-002.safetensors", masks / "level-001.safetensors")
    with pytest.raises(CorruptFile, match="is not the mask of level 1") as caught:
        resume(stores / "0")
    assert "delete it" in str(caught.value)
    (masks / "level-001.safetensors").unlink()
    resume(stores / "0")


def test_a_damaged_mask_is_noticed_when_going_on(stores):
    path = stores / "0" / "masks" / "level-000.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CorruptFile, match="level-000"):
        resume(stores / "0")


@pytest.mark.parametrize("damage", ["damaged", "lost"])
def test_without_its_rewind_point_a_store_is_refused_with_advice_that_works(stores, damage):
    path = stores / "0" / "rewind.safetensors"
    copy = path.read_bytes()
    path.write_bytes(copy[:100])
    if damage == "lost":
        path.unlink()
    with pytest.raises(CorruptFile, match=r"rewind\.safetensors") as caught:
        resume(stores / "0")
    assert "restore it from a copy, or begin again in another folder" in str(caught.value)
    path.write_bytes(copy)
    resume(stores / "0")


@pytest.mark.parametrize("name", ["records.json", "identity.json"])
def test_what_may_be_deleted_is_written_again(stores, name):
    path = stores / "0" / name
    before = path.read_bytes()
    path.unlink()
    half_done(stores / "0", count=1)
    assert path.read_bytes() == before


def change(path, kind, **parts):
    """Forge a file: right checksum, kind and store, other content."""
    store = digest(read_identity(path.parent).identity)
    tree = read_tree(path, kind)
    write_tree(path, {**tree, **parts}, kind, store=store)
    return tree


FORGED = {
    "no position": {"position": {}},
    "a level beyond the plan": {"level": 99},
    "a negative epoch": {"epochs": -1},
    "a text for a number": {"steps": "7"},
    "no records": {"records": []},
    "records of nothing": {"records": [{}]},
    "mask of numbers": {"mask": {"0.weight": torch.ones(12, 8)}},
    "model as a list": {"model": [1, 2]},
    "model in double": {"double": True},
    "start weights of another": {"start_weights": {"x": torch.ones(1)}},
    "no optimizers": {"optimizers": None},
    "an empty optimizer": {"optimizers": ({},)},
    "an optimizer too many": {"two": True},
    "resets as a text": {"resets": "abc"},
    "too few resets": {"resets": ()},
    "generators as a number": {"generators": 3},
    "generators without torch's": {"generators": {"numpy": 1, "random": 2}},
    "one part more": {"more": 1},
}


@pytest.mark.parametrize("what", FORGED)
def test_a_checkpoint_of_the_wrong_structure_is_refused(stores, what):
    path = stores / "0" / "checkpoint.safetensors"
    tree, parts = read_tree(path, "checkpoint 1"), dict(FORGED[what])
    if parts.keys() <= tree["position"].keys():
        parts = {"position": {**tree["position"], **parts}}
    if parts.pop("double", False):
        parts = {"model": {name: tensor.double() for name, tensor in tree["model"].items()}}
    if parts.pop("two", False):
        parts = {"optimizers": (*tree["optimizers"], {})}
    change(path, "checkpoint 1", **parts)
    with pytest.raises(CorruptFile, match=r"checkpoint\.safetensors"):
        resume(stores / "0")


def less(tree, *keys):
    """Forget the last of these keys."""
    for key in keys[:-1]:
        tree = tree[key]
    del tree[keys[-1]]


def more(tree, *keys):
    """Something beside the last of these keys."""
    for key in keys[:-1]:
        tree = tree[key]
    tree["more"] = tree[keys[-1]]


def wrong(tree, *keys):
    """An object in the place of a part, which is one nowhere."""
    for key in keys[:-1]:
        tree = tree[key]
    tree[keys[-1]] = {"an": "object"}


POSITION = [field.name for field in dataclasses.fields(Position) if "introduced" not in field.metadata]
LATER = [field.name for field in dataclasses.fields(Position) if "introduced" in field.metadata]
RECORD = [field.name for field in dataclasses.fields(bb.iteration.LevelRecord) if field.default is dataclasses.MISSING]
RECORDED_LATER = {
    field.name: field.default
    for field in dataclasses.fields(bb.iteration.LevelRecord)
    if field.default is not dataclasses.MISSING
}
CHECKPOINT = ["position", "mask", "records", "model", "start_weights", "extra", "optimizers", "resets", "generators"]
REWIND = ["step", "state", "digest", "extra", "optimizers", "resets", "ranks"]


def changes(names):
    """Each part taken away or made wrong, and one part more."""
    return [(how, name) for name in names for how in (less, wrong)] + [(more, names[0])]


def forged(path, kind, how, *keys):
    """The file with one part changed, resumed from."""
    store = digest(read_identity(path.parent).identity)
    tree = read_tree(path, kind)
    how(tree, *keys)
    write_tree(path, tree, kind, store=store)
    with pytest.raises(CorruptFile, match=path.name.replace(".", r"\.")) as caught:
        resume(path.parent)
    assert caught.value.rule == "a file is used only if it is exactly what was written"


@pytest.mark.parametrize(("how", "key"), changes([*CHECKPOINT, "ranks"]))
def test_a_checkpoint_with_a_part_more_less_or_of_a_wrong_type_is_refused(stores, how, key):
    if (how, key) == (wrong, "extra"):
        how = less  # a dict is what it is
    forged(stores / "0" / "checkpoint.safetensors", "checkpoint 1", how, key)


@pytest.mark.parametrize("key", LATER)
def test_what_a_position_had_not_at_first_is_there_only_where_it_says_something(stores, key):
    """So a finished run from before is read, and one that needs nothing of it looks as it did."""
    path = stores / "0" / "checkpoint.safetensors"
    assert key not in read_tree(path, "checkpoint 1")["position"]
    forged(path, "checkpoint 1", wrong, "position", key)


def test_a_checkpoint_whose_attached_state_is_none_is_refused(stores):
    forged(stores / "0" / "checkpoint.safetensors", "checkpoint 1", wrong, "attached")


@pytest.mark.parametrize(("how", "key"), changes(REWIND))
def test_a_rewind_point_with_a_part_more_less_or_of_a_wrong_type_is_refused(stores, how, key):
    forged(stores / "0" / "rewind.safetensors", "rewind point 1", how, key)


@pytest.mark.parametrize(("how", "key"), changes(POSITION))
def test_a_position_with_a_field_more_less_or_of_a_wrong_type_is_refused(stores, how, key):
    if (how, key) == (wrong, "metrics"):
        how = less
    forged(stores / "0" / "checkpoint.safetensors", "checkpoint 1", how, "position", key)


@pytest.mark.parametrize(("how", "key"), changes(RECORD))
def test_a_record_with_a_field_more_less_or_of_a_wrong_type_is_refused(stores, how, key):
    forged(stores / "0" / "checkpoint.safetensors", "checkpoint 1", how, "records", 1, key)


@pytest.mark.parametrize("key", RECORDED_LATER)
def test_a_record_from_before_a_field_is_read_and_one_of_a_wrong_type_refused(stores, key):
    path = stores / "0" / "records.json"
    store = digest(read_identity(path.parent).identity)
    body = json.loads(path.read_text())
    for record in body["records"]:
        del record[key]
    del body["sha256"]
    path.write_text(json.dumps({**body, "sha256": digest(body)}))
    assert [getattr(one, key) for one in read_records(path.parent, store)] == [RECORDED_LATER[key]] * len(
        body["records"]
    )
    forged(stores / "0" / "checkpoint.safetensors", "checkpoint 1", wrong, "records", 1, key)


@pytest.mark.parametrize("how", [less, more, wrong])
@pytest.mark.parametrize(
    ("part", "key"),
    [
        ("mask", "0.weight"),
        ("model", "1.running_mean"),
        ("start_weights", "4.weight"),
        ("generators", "numpy"),
    ],
)
def test_a_part_with_an_entry_more_less_or_of_a_wrong_type_is_refused(stores, how, part, key):
    forged(stores / "0" / "checkpoint.safetensors", "checkpoint 1", how, part, key)


def test_extra_state_of_a_module_that_has_none_is_refused(stores):
    forged(stores / "0" / "checkpoint.safetensors", "checkpoint 1", lambda tree: tree["extra"].update({"0": 1}))


@pytest.mark.parametrize("how", [less, more, wrong])
@pytest.mark.parametrize(
    ("name", "keys"),
    [("identity.json", ("identity",)), ("identity.json", ("environment",))]
    + [("records.json", ("records",))]
    + [("records.json", ("records", 1, key)) for key in RECORD],
)
def test_a_json_file_with_a_field_more_less_or_of_a_wrong_type_is_refused(stores, how, name, keys):
    path = stores / "0" / name
    store = digest(read_identity(path.parent).identity)
    body = json.loads(path.read_text())
    del body["sha256"]
    if (how, name) == (wrong, "identity.json"):
        body[keys[-1]] = ["a", "list"]
    else:
        how(body, *keys)
    path.write_text(json.dumps({**body, "sha256": digest(body)}))
    with pytest.raises(CorruptFile, match=path.name):
        read_identity(path.parent) if name == "identity.json" else read_records(path.parent, store)


@pytest.mark.parametrize(
    "parts",
    [
        {"step": 2},
        {"step": "3"},
        {"state": {}},
        {"digest": "0" * 64},
        {"optimizers": [{"state": 1}]},
        {"extra": 3},
        {"resets": []},
    ],
)
def test_a_rewind_point_of_the_wrong_structure_is_refused(stores, parts):
    change(stores / "0" / "rewind.safetensors", "rewind point 1", **parts)
    with pytest.raises(CorruptFile, match=r"rewind\.safetensors"):
        resume(stores / "0")


def test_a_linked_lock_is_refused_and_its_target_left_alone(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(CannotWrite, match="lock"):
        run(Parts(), geometric(1), store=tmp_path / "store")
    assert (tmp_path / "precious").read_text() == "mine"


def test_only_our_own_unfinished_files_are_swept(tmp_path):
    store, other = tmp_path / "store", tmp_path / "other"
    half_done(store)
    other.mkdir()
    mine = [store / ".notes.json.swp", store / ".x.safetensors.bak", other / ".a.0123.budbreak-unfinished"]
    for path in mine:
        path.write_text("mine")
    (store / ".checkpoint.safetensors.0123abcd.budbreak-unfinished").write_text("half")
    shutil.rmtree(store / "masks")
    (store / "masks").symlink_to(other)
    half_done(store, count=1)
    assert [path.exists() for path in mine] == [True] * 3
    assert not list(store.glob("*unfinished*"))


def test_a_folder_or_a_pipe_in_the_place_of_a_file_is_no_hang(stores):
    import os

    for make in (os.mkdir, os.mkfifo):
        path = stores / "0" / "checkpoint.safetensors"
        path.unlink()
        make(path)
        with pytest.raises(CannotRead, match=r"is a folder|is no regular file"):
            resume(stores / "0")
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.touch()


def test_after_all_that_the_original_goes_on_to_the_same_end(stores):
    assert outcome(*resume(stores / "0")) == outcome(*run(Parts(), FULL))


def test_a_mask_file_knows_its_store(stores):
    path = stores / "0" / "masks" / "level-000.safetensors"
    own, other = (digest(read_identity(stores / name).identity) for name in ("0", "1"))
    assert bb.Mask.load(path) == bb.Mask.load(path, store=own)
    with pytest.raises(StoreMismatch):
        bb.Mask.load(path, store=other)
    bb.Mask.load(path).save(stores / "mine")
    assert bb.Mask.load(stores / "mine", store=other).total > 0


def test_a_store_may_not_be_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BudbreakError):
        run(Parts(), geometric(1), store=tmp_path / "file")
