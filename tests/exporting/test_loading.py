"""A file is loaded only if it is exactly what was written, and fits the model in names, shapes and dtypes."""

import base64
import copy
import hashlib
import json
import os
import zlib

import numpy as np
import pytest
import torch
from nets import NETS, ROWS, Tied, mlp, net
from safetensors.torch import save_file
from torch import nn

import budbreak as bb
from budbreak import activations
from budbreak.errors import CannotRead, CorruptFile, InvalidValue, MaskMismatch, MissingData
from budbreak.exporting import layout, load_exported, write_packed
from budbreak.exporting.layout import Entry, write_entries
from budbreak.files import read_exported

FORMS = ["net.packed.safetensors", "net.safetensors"]
VALUES = np.arange(1, 4, dtype="<u4").view(np.uint8)


@pytest.fixture(params=FORMS)
def path(request, tmp_path):
    """A small file of each form."""
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight[:, :2] = 0
    bb.export(model, tmp_path / request.param, example=torch.ones(1, 3))
    return tmp_path / request.param


def test_every_flipped_byte_is_refused(path):
    content = path.read_bytes()
    for place in [*range(0, len(content), 3), len(content) - 1]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(CorruptFile):
            read_exported(path)


def test_every_truncation_and_extension_is_refused(path):
    content = path.read_bytes()
    for changed in [content[:length] for length in [*range(0, len(content), 5), len(content) - 1]] + [
        content + b"\0",
        content * 2,
    ]:
        path.write_bytes(changed)
        with pytest.raises(CorruptFile):
            read_exported(path)


def test_what_is_wrong_is_said_with_the_path(path):
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        CorruptFile, match=r"safetensors: its content does not match its checksum: it was cut off"
    ) as error:
        bb.load_exported(path, nn.Linear(3, 2))
    assert "export it again" in error.value.fix


def test_a_newer_version_is_refused_in_words(path, monkeypatch):
    monkeypatch.setattr(layout, "VERSION", 2)
    write_packed(path, {"w": torch.ones(2)})
    with pytest.raises(CorruptFile, match="it is of version 2, and this reader knows up to 1: take a newer one"):
        read_exported(path)


def test_files_of_others_are_refused(tmp_path):
    path = tmp_path / "x"
    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(CorruptFile, match="no safetensors file of budbreak"):
        read_exported(path)
    torch.save({"weight": torch.ones(2)}, path)
    with pytest.raises(CorruptFile, match="no safetensors file of budbreak"):
        read_exported(path)
    for text in (b"", b"\xff" * 8, b"\2\0\0\0\0\0\0\0{}", b"\2\0\0\0\0\0\0\0[]", b"\0" * 8 + b"["):
        path.write_bytes(text)
        with pytest.raises(CorruptFile, match="no safetensors file of budbreak"):
            read_exported(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for read in (read_exported, lambda path: load_exported(path, mlp())):
        with pytest.raises(CannotRead, match="no regular file"):
            read(tmp_path / "pipe")


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(MissingData, match=r"no file .*absent"):
        bb.load_exported(tmp_path / "absent", mlp())
    with pytest.raises(CannotRead, match="is a folder"):
        bb.load_exported(str(tmp_path), mlp())
    with pytest.raises(InvalidValue, match="model is 'x'"):
        bb.load_exported(tmp_path / "absent", "x")


# --- a checksum that matches, and rows that do not ----------------------------------------------------------


def row(dtype="F32", shape=(4,), stored=3, kept=3, k=1, unary=1):
    return ["w", dtype, list(shape), stored, kept, k, unary]


def hand_made(path, rows, index=(0b11100000, 0b01000000), **more):
    entries = {"values.F32": Entry("F32", (3,), (VALUES,)), "index": Entry("U8", (len(index),), (np.uint8(index),))}
    write_entries(path, entries, {"kind": "packed state", "tensors": rows, **more})


def test_rows_made_by_hand_are_read(tmp_path):
    hand_made(tmp_path / "x", [row()])
    numbers = read_exported(tmp_path / "x")["w"].view(torch.int32)
    assert numbers.tolist() == [1, 0, 2, 3]  # gaps 0, 1, 0


@pytest.mark.parametrize(
    "rows",
    [
        [row(shape=(3,))],
        [row(shape=(-4,))],
        [row(shape=(2.0, 2))],
        [row(shape="4")],
        [row(shape=(1 << 62, 4))],
        [row(shape=(1 << 80,))],
        [row(dtype="F31")],
        [row(dtype="BF16")],
        [row(stored=2)],
        [row(stored=-3)],
        [row(kept=2)],
        [row(kept=4)],
        [row(kept=None)],
        [row(k=0)],
        [row(k=9)],
        [row(k=-1)],
        [row(unary=0)],
        [row(unary=2)],
        [["w", "F32", [4], 4]],
        [["w", "F32"]],
        [["w"]],
        [[]],
        [3],
        [row(), ["v", "u"]],
        [row(), row()],
        [],
        {"w": row()},
        None,
    ],
    ids=str,
)
def test_rows_that_do_not_fit_are_refused(tmp_path, rows):
    hand_made(tmp_path / "x", rows)
    with pytest.raises(CorruptFile):
        read_exported(tmp_path / "x")
    with pytest.raises((CorruptFile, MaskMismatch)):
        bb.load_exported(tmp_path / "x", mlp())


def test_notes_that_are_none_are_refused(tmp_path, monkeypatch):
    for notes in (b"", b"no zlib", zlib.compress(b"{"), zlib.compress(b"3")):
        monkeypatch.setattr(layout.zlib, "compress", lambda *_, notes=notes: notes)
        hand_made(tmp_path / "x", [row()])
        with pytest.raises(CorruptFile):
            read_exported(tmp_path / "x")


def test_a_bool_that_is_neither_is_refused(tmp_path):
    write_entries(tmp_path / "x", {"b": Entry("BOOL", (2,), (np.uint8([1, 2]),))}, {"kind": "state"})
    with pytest.raises(CorruptFile, match="a bool that is neither 0 nor 1"):
        read_exported(tmp_path / "x")


@pytest.mark.parametrize("plan", [None, {}, {"kept": [{"name": "w"}]}, {"kept": [], "shapes": {"w": "4"}}])
def test_a_plan_that_is_none_is_refused(tmp_path, plan):
    hand_made(tmp_path / "x", [row()], plan=plan)
    with pytest.raises(CorruptFile):
        bb.load_exported(tmp_path / "x", mlp())


def test_sizes_are_compared_before_anything_is_made(tmp_path):
    hand_made(tmp_path / "x", [row(shape=(1 << 40,)), ["b", "F32", [5], 0, 0, 0, 0]])
    with pytest.raises(MaskMismatch, match="'weight' is absent in the file"):
        bb.load_exported(tmp_path / "x", nn.Linear(1, 1))


# --- another architecture -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("other", "said"),
    [
        (nn.Linear(20, 30), r"'weight' is absent in the file and float32 of shape \(30, 20\) in the model"),
        (
            nn.Sequential(nn.Linear(20, 31), nn.ReLU(), nn.Linear(31, 5)),
            r"'0.weight' is float32 of shape \(30, 20\) in",
        ),
        (mlp().bfloat16(), r"'0.weight' is float32 of shape \(30, 20\) in the file and bfloat16 of shape"),
        (nn.Sequential(*mlp(), nn.BatchNorm1d(5)), r"'3.weight' is absent in the file"),
        (
            nn.Sequential(nn.Linear(20, 30), nn.ReLU()),
            r"'2.weight' is float32 of shape \(5, 30\) in the file and absent",
        ),
        (nn.Sequential(nn.Linear(20, 30, bias=False), nn.ReLU(), nn.Linear(30, 5)), "'0.bias' is float32 of shape"),
    ],
    ids=["names", "shapes", "dtypes", "more", "fewer", "bias"],
)
def test_another_architecture_is_refused_by_the_first_name_that_differs(tmp_path, form, other, said):
    bb.export(mlp(), tmp_path / form, example=ROWS)
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(MaskMismatch, match=said):
        bb.load_exported(tmp_path / form, other)
    assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())


def with_activation(module):
    return nn.Sequential(nn.Linear(20, 30), module, nn.Linear(30, 5)).eval()


OTHERS = {
    "of torch": (nn.ReLU(), nn.GELU(), r"'1' is ReLU\(\) in the file and GELU\(approximate='none'\) in the model"),
    "constants": (nn.LeakyReLU(0.2), nn.LeakyReLU(), r"LeakyReLU\(negative_slope=0.2\) in the file and .*=0.01"),
    "of ours": (activations.SRS(trainable=False).module(), nn.ReLU(), r"'1' is SRS\(\) in the file and ReLU\(\)"),
    "scalars": (
        activations.Symlog(beta=2.0).module(),
        activations.Symlog().module(),
        r"is Symlog\(beta=2.0\) in the file",
    ),
    "none": (nn.Tanh(), nn.Identity(), r"is Tanh\(\) in the file and none in the model"),
}
OTHERS["more"] = (nn.Identity(), nn.Tanh(), r"is no nonlinearity in the file and Tanh\(\) in the model")
SAME = {
    "in place": (nn.ReLU(), nn.ReLU(inplace=True)),
    "a twin": (activations.Swish().module(), nn.SiLU()),
    "trained": (activations.SRS(trainable=True, alpha=2.0).module(), activations.SRS(trainable=True).module()),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", OTHERS)
def test_other_nonlinearities_are_refused_though_all_tensors_fit(tmp_path, form, case):
    written, other, said = OTHERS[case]
    bb.export(with_activation(written), tmp_path / form, example=ROWS)
    with pytest.raises(MaskMismatch, match=said):
        bb.load_exported(tmp_path / form, with_activation(other))


@pytest.mark.parametrize("case", SAME)
def test_what_computes_the_same_is_the_same_nonlinearity(tmp_path, case):
    one, other = map(with_activation, SAME[case])
    artifact = bb.export(one, tmp_path / FORMS[0], example=ROWS)
    assert torch.equal(bb.load_exported(tmp_path / FORMS[0], other)(ROWS), one(ROWS))
    assert any("1 activation of budbreak" in note for note in artifact.notes) == (case != "in place")


@pytest.mark.parametrize("form", FORMS)
def test_ties_that_are_not_in_the_file_are_refused(tmp_path, form):
    untied = Tied()
    untied.head.weight = nn.Parameter(torch.randn(50, 12))
    artifact = bb.export(untied, tmp_path / form, example=NETS["tied"][1])
    with pytest.raises(MaskMismatch, match=r"'embedding.weight' of the model holds other values after loading"):
        bb.load_exported(artifact.path, Tied())
    tied = bb.export(Tied(), tmp_path / form, example=NETS["tied"][1])
    assert torch.equal(*bb.load_exported(tied.path, untied).parameters()), "equal values need no tie"


def test_what_was_loaded_is_nobody_elses(tmp_path):
    model, example = net("mlp")
    bb.export(model, tmp_path / FORMS[0], example=example)
    fresh = mlp()
    one, two = bb.load_exported(tmp_path / FORMS[0], fresh), bb.load_exported(tmp_path / FORMS[0], fresh)
    with torch.no_grad():
        one[0].weight.fill_(7)
    assert torch.equal(two[0].weight, model[0].weight)
    assert one[0].weight.requires_grad
    read = read_exported(tmp_path / FORMS[0])
    read["0.weight"].fill_(3)  # nor is it read-only


def test_the_checksum_is_what_the_layout_says(path):
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    note = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["budbreak"])
    notes = json.loads(zlib.decompress(base64.b64decode(note["notes"])))
    assert notes["kind"] in ("packed state", "state")
    blank = content.replace(note["sha256"].encode(), b"0" * 64)
    assert hashlib.sha256(blank).hexdigest() == note["sha256"]
    assert (8 + size) % 8 == 0, "data are aligned"
