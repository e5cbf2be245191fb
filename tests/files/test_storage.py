import contextlib
import copy
import dataclasses
import errno
import json
import math
import os
import random
import resource
import subprocess
import sys
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from budbreak.errors import CannotRead, CannotWrite, CorruptFile, InvalidValue, StoreMismatch
from budbreak.files import digest, read_json, read_tree, storage, tensor_bytes, write_bytes, write_json, write_tree
from budbreak.files.storage import canonical


def same(one, other):
    """Equal in type, dtype and bits."""
    if isinstance(one, torch.Tensor):
        return (
            isinstance(other, torch.Tensor)
            and (one.dtype, one.shape) == (other.dtype, other.shape)
            and bytes(tensor_bytes(one)) == bytes(tensor_bytes(other))
        )
    if isinstance(one, np.ndarray):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


def back(tmp_path, tree):
    write_tree(tmp_path / "tree", tree, "t 1")
    return read_tree(tmp_path / "tree", "t 1")


# --- round trips -------------------------------------------------------------------------------------------


def trained(make_optimizer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = make_optimizer(
        [{"params": model[0].parameters()}, {"params": model[1].parameters(), "lr": 0.5, "weight_decay": 0.0}]
    )
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).square().mean().backward()
        optimizer.step()
    return model, optimizer


@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4),
        lambda groups: torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), amsgrad=True),
    ],
    ids=["SGD", "AdamW"],
)
def test_an_optimizer_comes_back_and_steps_alike(tmp_path, make_optimizer):
    model, optimizer = trained(make_optimizer)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    read = back(tmp_path, state)
    assert same(dict(state["model"]), read["model"])
    assert same(state["optimizer"], read["optimizer"])
    twin, other = trained(make_optimizer)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    twin.load_state_dict(read["model"])
    other.load_state_dict(read["optimizer"])
    for net, opt in [(model, optimizer), (twin, other)]:
        opt.zero_grad()
        net(torch.ones(1, 3)).sum().backward()
        opt.step()
    assert same(dict(model.state_dict()), dict(twin.state_dict()))


def test_random_generators_come_back_and_continue_alike(tmp_path):
    ours, legacy, pcg, philox = random.Random(1), np.random.RandomState(2), np.random.PCG64(3), np.random.Philox(4)
    mine = torch.Generator().manual_seed(5)
    state = {
        "torch": mine.get_state(),
        "python": ours.getstate(),
        "numpy": legacy.get_state(legacy=True),
        "pcg": pcg.state,
        "philox": philox.state,
    }
    read = back(tmp_path, state)
    assert same(state, read)
    other, theirs, other_legacy = torch.Generator(), random.Random(9), np.random.RandomState(9)
    other_pcg, other_philox = np.random.PCG64(9), np.random.Philox(9)
    other.set_state(read["torch"])
    theirs.setstate(read["python"])
    other_legacy.set_state(read["numpy"])
    other_pcg.state, other_philox.state = read["pcg"], read["philox"]
    assert torch.equal(torch.rand(9, generator=other), torch.rand(9, generator=mine))
    assert theirs.random() == ours.random()
    assert np.array_equal(other_legacy.rand(9), legacy.rand(9))
    assert np.array_equal(np.random.Generator(other_pcg).random(9), np.random.Generator(pcg).random(9))
    assert np.array_equal(np.random.Generator(other_philox).random(9), np.random.Generator(philox).random(9))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(3.5, dtype=torch.float64),
        torch.zeros(0, 3),
        torch.tensor([True, False]),
        torch.tensor([1.0, -0.0, math.inf, math.nan], dtype=torch.bfloat16),
        torch.tensor([1.0, -0.0], dtype=torch.float16),
        torch.tensor([-(2**63), 2**63 - 1]),
        torch.tensor([255, 0], dtype=torch.uint8),
        torch.tensor([1 + 2j], dtype=torch.complex64),
        # NaNs with a payload, quiet and signalling: an exact file keeps their bits
        torch.tensor([0x7FC12345, 0x7F800001, -1], dtype=torch.int32).view(torch.float32),
        torch.tensor([0x7FC1, 0x7F81], dtype=torch.int16).view(torch.bfloat16),
    ],
)
def test_tensors_keep_dtype_shape_and_bits(tmp_path, tensor):
    assert same(tensor, back(tmp_path, {"x": tensor})["x"])
    assert same(tensor, back(tmp_path, tensor))


def test_tensors_come_back_in_logical_order_and_detached(tmp_path):
    strided = torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
    parameter = nn.Parameter(torch.ones(2))
    shared = torch.arange(6.0)
    tree = {"strided": strided, "transposed": shared.reshape(2, 3).T, "view": shared[1::2], "parameter": parameter}
    read = back(tmp_path, tree)
    assert torch.equal(read["strided"], strided)
    assert torch.equal(read["transposed"], shared.reshape(2, 3).T)
    assert torch.equal(read["view"], torch.tensor([1.0, 3.0, 5.0]))
    assert not read["parameter"].requires_grad


def test_a_tensor_without_elements_has_no_bytes():
    assert tensor_bytes(torch.zeros(0, 3)).size == 0


def test_views_have_the_bytes_of_what_they_show():
    one = torch.arange(6.0).view(2, 3).t()[1:2, :1]
    assert bytes(tensor_bytes(one)) == bytes(tensor_bytes(torch.tensor([1.0])))
    number = torch.tensor([1 + 2j])
    assert bytes(tensor_bytes(number.conj())) == bytes(tensor_bytes(torch.tensor([1 - 2j])))
    assert bytes(tensor_bytes(number.conj().imag)) == bytes(tensor_bytes(torch.tensor([-2.0])))
    assert tensor_bytes(torch.from_numpy(np.zeros(0, dtype=np.float32))).size == 0


def test_reading_does_not_tie_tensors_together(tmp_path):
    read = back(tmp_path, {"a": torch.zeros(3), "b": torch.zeros(3)})
    read["a"].fill_(7)
    assert read["b"].tolist() == [0, 0, 0]
    assert read_tree(tmp_path / "tree", "t 1")["a"].tolist() == [0, 0, 0]  # nor to the file


@pytest.mark.parametrize(
    "array",
    [
        np.array(3.5),
        np.zeros((3, 0)),
        np.zeros((0, 3), dtype=np.int16),
        np.arange(10)[::2],
        np.arange(3, dtype=">f8"),
        np.array(["ab", "c"]),
        np.array([True, False]),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([1 + 2j]),
    ],
)
def test_arrays_keep_dtype_shape_and_bits(tmp_path, array):
    assert same(array, back(tmp_path, {"x": array})["x"])


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        -(2**200),
        0.1,
        -0.0,
        math.inf,
        -math.inf,
        math.nan,
        "",
        'ä\n"/\\',
        5e-324,
        1e308,
        {},
        [],
        (),
    ],
)
def test_plain_values_keep_type_and_value(tmp_path, value):
    read = back(tmp_path, {"x": value})["x"]
    assert same(value, read)
    if isinstance(value, float):
        assert math.copysign(1, read) == math.copysign(1, value)


def test_keys_keep_their_type_and_order(tmp_path):
    tree = {1: "int", "1": "str", "b": (1, [2, (3,)]), "a": OrderedDict(x=1), 0: {-1: None}}
    read = back(tmp_path, tree)
    assert list(read) == [1, "1", "b", "a", 0]
    assert read == tree
    assert type(read["b"][1][1]) is tuple


def test_tensors_whose_paths_look_alike_do_not_overwrite_each_other(tmp_path):
    tree = {1: torch.zeros(1), "1": torch.ones(1), "a": {"b": torch.full((1,), 2.0)}, "a/b": np.array([3.0])}
    assert same(tree, back(tmp_path, tree))


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(exclude_categories=["Cs"]))
)
trees = st.recursive(
    leaves | st.builds(lambda n: torch.arange(n), st.integers(0, 4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.integers() | st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(tree=trees)
def test_any_tree_comes_back(tmp_path_factory, tree):
    assert same(tree, back(tmp_path_factory.getbasetemp(), tree))


def test_equal_trees_give_equal_bytes(tmp_path):
    tree = {"b": torch.ones(3), "a": [1, 2.5, torch.zeros(2)]}
    write_tree(tmp_path / "one", tree, "t 1")
    write_tree(tmp_path / "two", copy.deepcopy(tree), "t 1")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("thing", "kind"),
    [
        ({1, 2}, "set"),
        (b"bytes", "bytes"),
        (1j, "complex"),
        (object(), "object"),
        (np.array([{}], dtype=object), "ndarray"),
        (np.zeros(2, dtype=[("a", "i4")]), "ndarray"),
        (np.ma.array([1, 2], mask=[True, False]), "MaskedArray"),
        (torch.eye(2).to_sparse(), "Tensor"),
        (torch.empty(2, device="meta"), "Tensor"),
        (torch.ones(2, dtype=torch.complex128), "Tensor"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_path(tmp_path, thing, kind):
    with pytest.raises(InvalidValue, match=f"cannot store {kind} at '/state/0/exp'"):
        write_tree(tmp_path / "tree", {"state": [{"exp": thing}]}, "t 1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", [1.5, (1, 2), None, True, b"k"])
def test_keys_other_than_int_and_str_are_refused(tmp_path, key):
    with pytest.raises(InvalidValue, match=f"cannot store {type(key).__name__} at '/a'"):
        write_tree(tmp_path / "tree", {"a": {key: 1}}, "t 1")


# --- damage ------------------------------------------------------------------------------------------------

TREE = {"w": torch.arange(5.0), "n": [1, (2.5, None)], "bits": np.arange(7, dtype=np.uint8), 3: torch.tensor([True])}


def tree_of(path):
    return read_tree(path, "t 1")


def json_of(path):
    return read_json(path, "p 1", dict[str, Any])


def refused_or_harmless(path, expected, read=tree_of):
    try:
        return same(expected, read(path))
    except CorruptFile:
        return True


def test_every_flipped_byte_is_refused_or_harmless(tmp_path):
    path = tmp_path / "tree"
    write_tree(path, TREE, "t 1")
    whole = path.read_bytes()
    assert same(TREE, read_tree(path, "t 1"))
    for position in range(len(whole)):
        for flip in (0x01, 0x20, 0xFF):
            damaged = bytearray(whole)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            assert refused_or_harmless(path, TREE), (position, flip)


def test_every_truncation_and_extension_is_refused(tmp_path):
    path = tmp_path / "tree"
    write_tree(path, TREE, "t 1")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptFile, match="tree"):
            read_tree(path, "t 1")
    path.write_bytes(whole + b"\0")
    with pytest.raises(CorruptFile):
        read_tree(path, "t 1")


def test_swapped_tensors_are_refused(tmp_path):
    """Damage that keeps the file well formed: only the checksum can tell."""
    path = tmp_path / "tree"
    write_tree(path, {"a": torch.zeros(4), "b": torch.ones(4)}, "t 1")
    whole = path.read_bytes()
    path.write_bytes(whole[:-32] + whole[-16:] + whole[-32:-16])
    with pytest.raises(CorruptFile, match="checksum"):
        read_tree(path, "t 1")


@pytest.mark.parametrize("notes", [None, {"format": "pt"}, {"tree": ""}, {"tree": '["value",1]'}, {"tree": "0 ["}])
def test_a_foreign_safetensors_file_is_refused(tmp_path, notes):
    save_file({"w": torch.ones(3)}, tmp_path / "foreign", notes)
    with pytest.raises(CorruptFile, match="checksum"):
        read_tree(tmp_path / "foreign", "t 1")


@pytest.mark.parametrize("read", [tree_of, json_of])
def test_a_missing_file_is_missing_not_corrupt(tmp_path, read):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read(tmp_path / "nowhere")


# --- JSON --------------------------------------------------------------------------------------------------


def test_json_comes_back(tmp_path):
    payload = {"b": [1, 2.5, None, True], "a": {"ä": "\n"}, "x": math.inf, "tiny": 5e-324, "big": 2**80}
    write_json(tmp_path / "p", payload, "p 1")
    assert read_json(tmp_path / "p", "p 1", dict[str, Any]) == payload
    assert (tmp_path / "p").read_text(encoding="utf-8").endswith("}\n")


def test_json_with_whole_numbers_as_keys_can_be_read(tmp_path):
    write_json(
        tmp_path / "p", {"levels": {2: 0.5, 10: 0.25}, "pair": (1, 2)}, "p 1"
    )  # as numbers 2 < 10, as text "10" < "2"
    assert read_json(tmp_path / "p", "p 1", dict[str, Any]) == {"levels": {"2": 0.5, "10": 0.25}, "pair": [1, 2]}


def test_json_does_not_lose_a_key_to_its_checksum(tmp_path):
    with pytest.raises(InvalidValue, match="sha256"):
        write_json(tmp_path / "p", {"sha256": "mine"}, "p 1")


def test_every_flipped_byte_of_json_is_refused_or_harmless(tmp_path):
    path, payload = tmp_path / "p", {"accuracy": [0.25, 1e-7], "name": "x", "n": 12}
    write_json(path, payload, "p 1")
    whole = path.read_bytes()
    for position in range(len(whole)):
        for flip in (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF):
            damaged = bytearray(whole)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            assert refused_or_harmless(path, payload, json_of), (position, flip)


@pytest.mark.parametrize("text", ["", "[]", "3", '"x"', "null", "{}", '{"a": 1}', '{"a": 1, "sha256": 5}', "{"])
def test_what_is_not_our_json_is_refused(tmp_path, text):
    (tmp_path / "p").write_text(text)
    with pytest.raises(CorruptFile):
        read_json(tmp_path / "p", "p 1", dict[str, Any])


def test_a_changed_number_is_refused(tmp_path):
    write_json(tmp_path / "p", {"accuracy": 0.5}, "p 1")
    body = json.loads((tmp_path / "p").read_text())
    (tmp_path / "p").write_text(json.dumps({**body, "accuracy": 0.6}))
    with pytest.raises(CorruptFile, match="checksum"):
        read_json(tmp_path / "p", "p 1", dict[str, Any])


def test_the_canonical_text_by_hand():
    assert canonical({"b": 0.1, "a": [1, "ä", None]}) == '{"a":[1,"ä",null],"b":0.1}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1}) != digest({"a": 1, "b": 2})
    # sha256sum of the two bytes {}
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


# --- atomic writes -----------------------------------------------------------------------------------------


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fill_the_disk_half_way(path):
    with storage.atomic(path) as stream:
        stream.write(b"half of the n")
        full_disk()


def interrupt_half_way(path):
    with storage.atomic(path) as stream:
        stream.write(b"half")
        raise KeyboardInterrupt


@pytest.mark.parametrize("call", ["fsync", "replace", "write"])
def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "result"
    write_bytes(path, b"old")
    if call == "write":
        with pytest.raises(CannotWrite, match="No space left"):
            fill_the_disk_half_way(path)
    else:
        target = storage.os if call == "fsync" else storage.Path
        monkeypatch.setattr(target, call, full_disk)
        with pytest.raises(CannotWrite, match=r"result: No space left on device"):
            write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["result"]


def test_another_failure_inside_the_write_passes_through_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "result"
    write_bytes(path, b"old")
    with pytest.raises(KeyboardInterrupt):
        interrupt_half_way(path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["result"]


def test_the_new_file_has_no_name_before_it_is_complete(tmp_path):
    path = tmp_path / "deep" / "er" / "result"
    with storage.atomic(path) as stream:
        stream.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CannotWrite, match="file/result"):
        write_bytes(tmp_path / "file" / "result", b"new")


LIMITED = """
import resource, sys
from pathlib import Path
import torch
from budbreak.errors import CannotWrite
from budbreak.files import read_tree, write_tree
path = Path(sys.argv[1])
write_tree(path, {"w": torch.zeros(10)}, "t 1")
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # the kernel itself refuses the rest
try:
    write_tree(path, {"w": torch.ones(100_000)}, "t 1")
except CannotWrite as error:
    assert read_tree(path, "t 1")["w"].tolist() == [0.0] * 10
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    print(error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="this system limits no file sizes")
def test_a_write_that_the_kernel_refuses_leaves_the_old_file(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "tree")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "cannot write" in done.stdout
    assert "File too large" in done.stdout


@contextlib.contextmanager
def small_disk(folder):
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_leaves_the_old_file(tmp_path):
    with small_disk(tmp_path / "disk") as folder:
        write_tree(folder / "tree", {"w": torch.zeros(10)}, "t 1")
        with pytest.raises(CannotWrite, match="No space left on device"):
            write_tree(folder / "tree", {"w": torch.ones(100_000)}, "t 1")
        assert read_tree(folder / "tree", "t 1")["w"].tolist() == [0.0] * 10
        assert [file.name for file in folder.iterdir()] == ["tree"]


# --- what is no file of ours ---------------------------------------------------------------------------------


def forged(path, skeleton, tensors):
    """A file with the right checksum and any skeleton."""
    from safetensors.torch import save

    from budbreak.files import trees

    body = json.dumps({"kind": "t 1", "store": None, "tree": skeleton})
    path.write_bytes(save(tensors, {"tree": f"{trees._tensors_digest(tensors, body)} {body}"}))


ODD = {
    "nothing": None,
    "an empty node": [],
    "an unknown kind": ["pickle", 1],
    "a node too long": ["value", 1, 2],
    "a container as a value": ["value", [1]],
    "a missing tensor": ["tensor", "x"],
    "a tensor twice": ["list", [["tensor", "a"], ["tensor", "a"]]],
    "a list as a name": ["tensor", ["a"]],
    "a tensor left over": ["value", 1],
    "nested without end": "deep",
    "no pairs": ["dict", [1]],
    "a key of the wrong type": ["dict", [[["int", "x"], ["tensor", "a"]]]],
    "a key twice": ["dict", [[["int", 1], ["value", 1]], [["int", 1], ["tensor", "a"]]]],
    "an array of objects": ["array", "a", "O", [1]],
    "an array of fields": ["array", "a", "u1,u1", [4]],
    "an array that is too long": ["array", "a", "uint8", [9]],
    "an array of negative size": ["array", "a", "uint8", [-8]],
    "an array of half numbers": ["array", "a", "float64", [8]],
    "an array of no type": ["array", "a", 7, [8]],
    "an array of strange bools": ["array", "a", "bool", [8]],
}


@pytest.mark.parametrize("what", ODD)
def test_a_skeleton_that_was_never_written_is_refused(tmp_path, what):
    skeleton = ODD[what]
    if skeleton == "deep":
        skeleton = ["tensor", "a"]
        for _ in range(300):
            skeleton = ["list", [skeleton]]
    forged(tmp_path / "f", skeleton, {"a": torch.full((8,), 2, dtype=torch.uint8)})
    with pytest.raises(CorruptFile):
        read_tree(tmp_path / "f", "t 1")


def test_deep_nesting_ends_in_a_refusal(tmp_path):
    circle: dict[str, Any] = {}
    circle["again"] = circle
    with pytest.raises(InvalidValue, match="nested deeper than"):
        write_tree(tmp_path / "f", circle, "t 1")
    (tmp_path / "p").write_text("[" * 100_000)
    with pytest.raises(CorruptFile, match="nested too deeply"):
        json_of(tmp_path / "p")
    (tmp_path / "p").write_text('{"a": ' + "9" * 100_000 + "}")
    with pytest.raises(CorruptFile, match="100000 digits") as caught:
        json_of(tmp_path / "p")
    assert len(str(caught.value)) < 2000


@dataclasses.dataclass(frozen=True)
class Inner:
    n: int
    pair: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner
    by_name: dict[str, float | None]


RIGHT = {"inner": {"n": 1, "pair": [1, 0.5]}, "by_name": {"b": math.inf, "a": None}}


def test_json_comes_back_in_its_schema(tmp_path):
    write_json(tmp_path / "p", RIGHT, "p 1", store="mine")
    found = read_json(tmp_path / "p", "p 1", Outer, stores={"mine"})
    assert found == Outer(Inner(1, (1.0, 0.5)), {"b": math.inf, "a": None})
    assert list(found.by_name) == ["b", "a"]


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"inner": {"n": 1.5, "pair": []}}, "inner.n"),
        ({"inner": {"n": True, "pair": []}}, "inner.n"),
        ({"inner": {"n": 1, "pair": [1, "2"]}}, "inner.pair.1"),
        ({"inner": {"n": 1}}, "inner.pair"),
        ({"inner": {"n": 1, "pair": [], "more": 2}}, "inner.more"),
        ({"by_name": []}, "by_name"),
        ({"else": 1}, "else"),
    ],
)
def test_json_of_another_structure_is_refused_with_the_place(tmp_path, wrong, where):
    write_json(tmp_path / "p", {**RIGHT, **wrong}, "p 1")
    with pytest.raises(CorruptFile, match=f"structure is wrong at {where}"):
        read_json(tmp_path / "p", "p 1", Outer)


def test_kind_and_store_are_compared(tmp_path):
    write_json(tmp_path / "p", RIGHT, "p 1", store="mine")
    with pytest.raises(CorruptFile, match="is of kind 'p 1', and 'q 1' is wanted"):
        read_json(tmp_path / "p", "q 1", Outer)
    with pytest.raises(StoreMismatch, match=r"belongs to another store or run \(mine\)"):
        read_json(tmp_path / "p", "p 1", Outer, stores={"yours"})


def test_the_umask_is_obeyed_and_long_names_can_be_written(tmp_path):
    before = os.umask(0o077)
    try:
        write_bytes(tmp_path / ("n" * 255), b"x")
    finally:
        os.umask(before)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(CannotWrite, match="File name too long"):
        write_bytes(tmp_path / ("n" * 256), b"x")
    with pytest.raises(CannotWrite):
        write_bytes(tmp_path / "a\0b", b"x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path):
    write_json(tmp_path / "p", RIGHT, "p 1")
    (tmp_path / "p").chmod(0)
    with pytest.raises(CannotRead, match="Permission denied"):
        read_json(tmp_path / "p", "p 1", Outer)
