"""The weights of every level, kept in the store and read back."""

import runpy
import shutil
from pathlib import Path

import pytest
import torch
from small_runs import Parts, geometric, run
from torch import nn

import budbreak as bb
from budbreak.errors import CorruptFile, InvalidValue, MaskMismatch, MissingData, StoreMismatch, UnknownName
from budbreak.files import read_tree, write_tree
from budbreak.iteration.identity import mask_digest
from budbreak.iteration.levelweights import LevelWeights
from budbreak.live import model_digest

PLAN = geometric(2, then=[bb.ActivateWhilePruning(q=0.05, variant="pro")])


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A finished store that has kept all levels, and its history."""
    store = tmp_path_factory.mktemp("kept") / "store"
    return store, run(Parts(), PLAN, store=store, keep="all")[1]


@pytest.fixture
def store(kept, tmp_path):
    shutil.copytree(kept[0], tmp_path / "store")
    return tmp_path / "store"


def ends(history):
    return [record for record in history if record.last_stage]


def is_there(record, store):
    """Whether a level can be read, into a model with other weights, bit for bit as it ended."""
    model = Parts(seed=9).model
    mask = bb.load_level(model, store, record.level)
    assert model_digest(model) == record.end_digest
    assert mask_digest(mask) == record.mask_digest
    assert not any(weight[~mask[name]].any() for name, weight in mask.parameters(model).items())
    return True


def test_each_level_comes_back_bit_for_bit(kept):
    store, history = kept
    assert all(is_there(record, store) for record in ends(history))
    assert sorted(path.name for path in (store / "weights").iterdir()) == [
        "level-000.safetensors", "level-001.safetensors", "level-002.safetensors",
    ]  # fmt: skip


def test_the_best_level_measures_what_its_record_says(kept):
    store, history = kept
    best = max(ends(history), key=lambda record: (record.metrics["accuracy"], -record.level))
    parts = Parts(seed=4)
    bb.load_level(parts.model, store, best.level)
    parts.x, parts.y = Parts().x, Parts().y
    assert parts.accuracy() == best.metrics["accuracy"]


def test_a_wrapped_model_is_looked_through(kept):
    store, history = kept
    model = Parts(seed=5).model
    bb.load_level(torch.compile(model, backend="eager"), store, 1)
    assert model_digest(model) == ends(history)[1].end_digest


def test_they_take_the_size_of_what_is_kept_for_each_level_and_change_nothing_else(kept, tmp_path):
    store, history = kept
    _, without = run(Parts(), PLAN, store=tmp_path)
    assert [r.end_digest for r in without] == [r.end_digest for r in history]
    assert not (tmp_path / "weights").exists()
    files = [{path.relative_to(folder) for path in folder.rglob("*")} for folder in (store, tmp_path)]
    assert {path.parts[0] for path in files[0] - files[1]} == {"weights"}
    tensors = sum(t.numel() * t.element_size() for t in Parts().model.state_dict().values())
    for path, record in zip(sorted((store / "weights").iterdir()), ends(history), strict=True):
        kept = tensors - 4 * (record.total - record.kept)
        assert kept < path.stat().st_size < kept + 3000, "names and shapes besides"


def test_what_is_pruned_takes_no_room_unless_it_is_not_zero_in_all_bits(kept):
    store, _ = kept
    mask = bb.Mask.load(store / "masks/level-002.safetensors")
    parts = Parts()
    bb.load_level(parts.model, store, 2)
    state = {name: tensor.clone() for name, tensor in parts.model.state_dict().items()}
    (name, entry), *_ = mask.items()
    place = tuple((~entry).nonzero()[0])
    for odd in (0.0, -0.0, 1.0):
        state[name][place] = odd
        weights = LevelWeights(2, state, {}, mask_digest(mask))
        tree = weights.tree(mask)
        packed = str(odd) == "0.0"
        assert (name in tree.get("packed", ())) == packed
        assert tree["state"][name].numel() == (int(entry.sum()) if packed else entry.numel())
        again = LevelWeights.from_tree(tree, 2, Path("x"), lambda: mask)
        assert all(torch.equal(again.state[key].view(torch.int32), state[key].view(torch.int32)) for key in mask)


def test_weights_that_do_not_fit_their_mask_are_refused(store):
    shutil.copy(store / "masks/level-001.safetensors", store / "masks/level-002.safetensors")
    with pytest.raises(CorruptFile, match=r"the mask of level 2 in .* is not that of its weights"):
        bb.load_level(Parts().model, store, 2)


def test_without_being_asked_a_store_has_the_last_level_only(tmp_path):
    _, history = run(Parts(), PLAN, store=tmp_path)
    assert is_there(history[-1], tmp_path)
    with pytest.raises(MissingData, match=r'has no weights of level 1; it has those of 2\n.*\n.*keep="all"'):
        bb.load_level(Parts().model, tmp_path, 1)


def test_of_a_level_that_is_not_over_nothing_is_there(tmp_path):
    def stop(parts, level):
        if level.number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Parts(), PLAN, store=tmp_path, each_level=stop)
    with pytest.raises(MissingData, match="has no weights of level 1; it has those of none"):
        bb.load_level(Parts().model, tmp_path, 1)


def test_keeping_may_begin_later_and_says_what_is_gone(tmp_path):
    def stop(parts, level):
        if level.number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Parts(), PLAN, store=tmp_path, each_level=stop)
    with pytest.warns(UserWarning, match="has not kept the weights of level 0, which ended before") as caught:
        _, history = run(Parts(), PLAN, store=tmp_path, keep="all")
    assert caught[0].filename.endswith("small_runs.py"), "the line that enters the levels"
    assert all(is_there(record, tmp_path) for record in ends(history)[1:])
    with pytest.raises(MissingData, match="has no weights of level 0; it has those of 1, 2"):
        bb.load_level(Parts().model, tmp_path, 0)


def test_a_finished_store_gives_what_it_has(tmp_path):
    run(Parts(), geometric(1), store=tmp_path)
    with pytest.warns(UserWarning, match="has not kept the weights of level 0"):
        _, history = run(Parts(), geometric(1), store=tmp_path, keep="all")
    assert is_there(history[1], tmp_path)
    assert (tmp_path / "weights/level-001.safetensors").exists()


def test_a_finished_store_that_keeps_all_is_left_as_it_is(store):
    before = {path: path.stat().st_mtime_ns for path in (store / "weights").iterdir()}
    run(Parts(), PLAN, store=store, keep="all")
    run(Parts(), PLAN, store=store)
    assert {path: path.stat().st_mtime_ns for path in (store / "weights").iterdir()} == before


def test_level_0_of_a_dense_store_is_kept_as_well(tmp_path):
    run(Parts(), PLAN.dense, store=tmp_path / "dense")
    _, history = run(Parts(), PLAN, store=tmp_path / "own", dense=tmp_path / "dense", keep="all")
    assert all(is_there(record, tmp_path / "own") for record in ends(history))


def test_the_example_ships_the_sparsest_level_that_was_good_enough(capsys):
    runpy.run_path(str(Path(__file__).parents[2] / "examples" / "best_level.py"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    good = [number for number, line in enumerate(lines[:6]) if float(line.split("%")[1].split()[-1]) > 93]
    assert lines[-1].startswith(f"shipped: level {good[-1]}, density ")
    assert " after 12 epochs" in lines[5], "its gate stayed closed"
    assert " after 12 epochs" not in lines[0]


class Counting(nn.Linear):
    """A layer with extra state, and a buffer that a state_dict leaves out."""

    def __init__(self):
        super().__init__(4, 3)
        self.calls = 0
        self.register_buffer("seen", torch.zeros(4), persistent=False)

    def forward(self, x):
        self.calls += self.training
        self.seen += x.detach().mean(0) * self.training
        return super().forward(x)

    def get_extra_state(self):
        return {"calls": self.calls}

    def set_extra_state(self, state):
        self.calls = state["calls"]


def test_extra_state_and_buffers_that_are_not_persistent_come_back(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(Counting(), nn.ReLU(), nn.Linear(3, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with bb.iterate(model, optimizer, geometric(1, rewind_to=None), store=tmp_path, keep="all") as levels:
        for level in levels:
            for _ in range(2 + level.number):
                model(torch.rand(8, 4)).sum().backward()
                optimizer.step()
    other = nn.Sequential(Counting(), nn.ReLU(), nn.Linear(3, 2))
    bb.load_level(other, tmp_path, 0)
    assert other[0].calls == 2
    assert other[0].seen.any()
    assert model_digest(other) == levels.history[0].end_digest


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", ["best", "All", None, True, 3])
def test_what_is_to_be_kept_has_two_names(keep, tmp_path):
    with pytest.raises(UnknownName, match=r"keep is .*\n.*last.*all"):
        Parts().iterate(geometric(), store=tmp_path, keep=keep)


def test_to_keep_takes_a_store():
    with pytest.raises(InvalidValue, match=r'keep is "all"\n.*\ngive store= as well'):
        Parts().iterate(geometric(), keep="all")


NONSENSE = {
    "no model": (lambda s: bb.load_level(s, Parts().model, 1), InvalidValue, "model is "),
    "a class": (lambda s: bb.load_level(nn.Linear, s, 1), InvalidValue, "model is the class Linear"),
    "no folder": (lambda s: bb.load_level(Parts().model, None, 1), InvalidValue, "store is None"),
    "an empty path": (lambda s: bb.load_level(Parts().model, "", 1), InvalidValue, "store is ''"),
    "another folder": (lambda s: bb.load_level(Parts().model, s / "masks", 1), StoreMismatch, "masks holds no store"),
    "a negative level": (lambda s: bb.load_level(Parts().model, s, -1), InvalidValue, "level is -1"),
    "half a level": (lambda s: bb.load_level(Parts().model, s, 1.5), InvalidValue, "level is 1.5"),
    "a record": (lambda s: bb.load_level(Parts().model, s, "1"), InvalidValue, "level is '1'"),
    "a level too many": (lambda s: bb.load_level(Parts().model, s, 3), MissingData, "those of 0, 1, 2"),
    "a wider model": (lambda s: bb.load_level(Parts(hidden=13).model, s, 1), MaskMismatch, r"'0.bias' is \(12,\)"),
    "another dtype": (
        lambda s: bb.load_level(Parts().model.double(), s, 1),
        CorruptFile,
        "that of the model torch.float64",
    ),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_what_cannot_be_read_is_refused(kept, what):
    call, kind, words = NONSENSE[what]
    with pytest.raises(kind, match=words):
        call(kept[0])


def test_a_model_that_does_not_fit_is_left_as_it_was(kept):
    model = Parts(hidden=13).model
    before = model_digest(model)
    with pytest.raises(MaskMismatch):
        bb.load_level(model, kept[0], 1)
    assert model_digest(model) == before


def damage(store, what):
    """Spoil what belongs to level 1; other levels stay as they are."""
    weights, masks = store / "weights", store / "masks"
    path = weights / "level-001.safetensors"
    if what == "cut":
        path.write_bytes(path.read_bytes()[:-3])
    elif what == "of level 2":
        shutil.copy(weights / "level-002.safetensors", path)
    elif what == "mask of level 2":
        shutil.copy(masks / "level-002.safetensors", masks / "level-001.safetensors")
    elif what == "mask lost":
        (masks / "level-001.safetensors").unlink()
    else:
        identity = bb.iteration.Store(store)
        identity.look()
        tree = read_tree(path, "level weights 1")
        forged = {"fewer parts": {"level": 1}, "no tensors": {**tree, "state": {"0.weight": 1}}}[what]
        write_tree(path, forged, "level weights 1", store=identity.identity)


@pytest.mark.parametrize(
    ("what", "kind", "words"),
    [
        ("cut", CorruptFile, "level-001"),
        ("of level 2", CorruptFile, "it does not hold level 1"),
        ("mask of level 2", CorruptFile, "the mask of level 1 in .* is not that of its weights"),
        ("mask lost", MissingData, "level-001"),
        ("fewer parts", CorruptFile, "it does not hold extra, level, mask, state"),
        ("no tensors", CorruptFile, "its state is not made of named tensors"),
    ],
)
def test_a_damaged_level_is_refused_and_the_others_are_read(store, kept, what, kind, words):
    damage(store, what)
    model = Parts().model
    before = model_digest(model)
    with pytest.raises(kind, match=words):
        bb.load_level(model, store, 1)
    assert model_digest(model) == before
    assert is_there(ends(kept[1])[0], store)


def test_weights_of_another_store_are_refused(store, tmp_path):
    run(Parts(), PLAN, store=tmp_path / "other", keep="all", seed=1)
    shutil.copy(tmp_path / "other/weights/level-001.safetensors", store / "weights/level-001.safetensors")
    with pytest.raises(StoreMismatch, match=r"level-001\.safetensors belongs to another store"):
        bb.load_level(Parts().model, store, 1)
