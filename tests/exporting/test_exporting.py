"""bb.export writes what loads into a fresh instance and gives what the model gives; or nothing at all."""

import copy
import errno
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from nets import NETS, ROWS, by_torch, mlp, net, pruned
from safetensors.torch import load_file
from torch import nn

import budbreak as bb
from budbreak.errors import CannotWrite, InvalidValue, InvariantBroken, MaskMismatch, NotFinite, UnknownName
from budbreak.exporting import (
    FAMILY,
    Agreement,
    Artifact,
    Onnx,
    Packed,
    Safetensors,
    Written,
    layout,
    load_exported,
    packed,
    safetensors,
    ship,
    write_forms,
)
from budbreak.graph import example_outputs
from budbreak.live import model_digest

FORMS = {"net.packed.safetensors": "packed", "net.safetensors": "safetensors"}


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETS)
def test_a_network_leaves_and_comes_back(tmp_path, name, form):
    model, example = net(name)
    before, mode = model_digest(model), model.training
    artifact = bb.export(model, tmp_path / form, example=example)
    fresh, _ = net(name, seed=7)
    loaded = bb.load_exported(artifact.path, fresh)
    assert model_digest(loaded) == model_digest(model) == before
    assert (model.training, loaded.training) == (mode, mode)
    assert all(torch.equal(*pair) for pair in zip(*(example_outputs(m, example) for m in (model, loaded)), strict=True))
    assert model_digest(fresh) == model_digest(net(name, seed=7)[0])
    notes = artifact.notes if name == "tied" else ()
    assert artifact == Artifact(FORMS[form], (Written.of(tmp_path / form),), Agreement(0.0, 0.0, 1.0), notes)
    assert [one.name for one in tmp_path.iterdir()] == [form]


def test_the_plain_form_is_read_by_anybody(tmp_path):
    model, example = net("tied")
    bb.export(model, tmp_path / "x.safetensors", example=example)
    state = load_file(tmp_path / "x.safetensors")
    assert set(state) == set(model.state_dict())
    fresh = NETS["tied"][0]()
    fresh.load_state_dict(state)
    assert model_digest(fresh) == model_digest(model)


def test_what_torch_pruned_is_folded_and_leaves_no_signed_zeros(tmp_path):
    model = by_torch(mlp())
    artifact = bb.export(model, tmp_path / "x.packed.safetensors", example=ROWS)
    assert artifact.notes == ()
    loaded = bb.load_exported(artifact.path, mlp())
    assert torch.equal(loaded[0].weight, model[0].weight)
    assert not torch.signbit(loaded[0].weight[loaded[0].weight == 0]).any()
    assert hasattr(model[0], "weight_orig"), "the model itself stays as it is"
    assert artifact.bytes < 0.5 * bb.export(mlp(), tmp_path / "y.packed.safetensors", example=ROWS).bytes


def test_wrappers_are_taken_off(tmp_path):
    model = pruned(mlp())
    bb.export(nn.DataParallel(model), tmp_path / "x.safetensors", example=ROWS)
    loaded = bb.load_exported(tmp_path / "x.safetensors", nn.DataParallel(mlp()))
    assert type(loaded) is nn.Sequential
    assert model_digest(loaded) == model_digest(model)


@pytest.mark.parametrize("form", FORMS)
def test_a_compact_model_comes_back_in_the_dense_architecture(tmp_path, form):
    model = pruned(mlp(), 0.8)
    with torch.no_grad():
        model[0].weight[::2] = 0
    compacted = bb.compact(model, ROWS)
    artifact = bb.export(compacted, tmp_path / form, example=ROWS)
    loaded = bb.load_exported(artifact.path, mlp())
    assert loaded[0].weight.shape == compacted.model[0].weight.shape == (15, 20)
    assert model_digest(loaded) == model_digest(compacted.model)
    with_plan = type(FAMILY.names[FORMS[form]]())(plan=compacted.plan)
    again = bb.export(compacted.model, tmp_path / form, to=with_plan, example=ROWS)
    assert again.sha256 == artifact.sha256


def test_a_buffer_that_is_not_stored_is_cut_as_the_plan_says(tmp_path):
    class Places(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(20, 8), nn.Linear(8, 2)
            self.register_buffer("shift", torch.arange(8.0), persistent=False)

        def forward(self, inputs):
            return self.second(torch.relu(self.first(inputs)) + self.shift)

    model = Places()
    with torch.no_grad():
        model.second.weight[:, ::2] = 0
    compacted = bb.compact(model, ROWS)
    bb.export(compacted, tmp_path / "x.packed.safetensors", example=ROWS)
    loaded = bb.load_exported(tmp_path / "x.packed.safetensors", Places())
    assert loaded.shift.tolist() == compacted.model.shift.tolist() == [1, 3, 5, 7]


def test_forward_and_mappings_are_how_the_model_is_called(tmp_path):
    model = mlp()
    a = bb.export(model, tmp_path / "x.safetensors", example={"input": ROWS})
    b = bb.export(model, tmp_path / "x.safetensors", example=(ROWS, 3), forward=lambda m, batch: m(batch[0]) * batch[1])
    assert a.sha256 == b.sha256


def test_a_mask_is_applied_to_what_leaves(tmp_path):
    model = mlp()
    mask = bb.select(bb.Scores.elementwise(torch.abs, {"0.weight": model[0].weight.detach()}), 60)
    artifact = bb.export(model, tmp_path / "x.packed.safetensors", example=ROWS, mask=mask)
    loaded = bb.load_exported(artifact.path, mlp())
    assert torch.equal(loaded[0].weight, model[0].weight * mask["0.weight"])
    assert int(torch.count_nonzero(model[0].weight)) == 600
    with pytest.raises(UnknownName, match=r"no parameter named '0\.weight' in Linear"):
        bb.export(nn.Linear(20, 3), tmp_path / "x.packed.safetensors", example=ROWS, mask=mask)
    with pytest.raises(InvalidValue, match="mask"):
        bb.export(model, tmp_path / "x.packed.safetensors", example=ROWS, mask={"0.weight": mask["0.weight"]})


def test_a_name_that_the_format_keeps_is_refused(tmp_path):
    model = mlp()
    model.register_buffer("__metadata__", torch.ones(3))
    with pytest.raises(InvalidValue, match="a tensor is named '__metadata__'"):
        bb.export(model, tmp_path / "x.safetensors", example=ROWS)
    artifact = bb.export(model, tmp_path / "x.packed.safetensors", example=ROWS)
    assert model_digest(bb.load_exported(artifact.path, model)) == model_digest(model)


def test_the_form_is_said_by_name_by_value_or_by_the_ending(tmp_path):
    path, model = tmp_path / "x.packed.safetensors", mlp()
    written = [bb.export(model, path, to=to, example=ROWS).format for to in (None, "packed", Packed(), "safetensors")]
    assert written == ["packed", "packed", "packed", "safetensors"]
    assert bb.export(model, str(path), example=ROWS).path == path


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"to": "paked"}, UnknownName, "to is 'paked'\nit is one of .*\ndid you mean 'packed'?"),
        ({"to": Packed}, InvalidValue, r"to is the class Packed[\s\S]*write to=Packed\(\)"),
        ({"to": 3}, InvalidValue, "int"),
        ({"path": "x.ONNX"}, InvalidValue, r"write to=\.\.\., or '\S*x\.onnx'$"),
        ({"path": "x.onx"}, InvalidValue, "no form is given\nits ending says the form: it is one of "),
        (
            {"path": "x.pt", "to": "packed"},
            InvalidValue,
            "files of this form end in '.packed.safetensors'\nwrite .*x.pac",
        ),
        ({"path": ".safetensors"}, InvalidValue, "files of this form end in '.safetensors'"),
        ({"model": "net"}, InvalidValue, "model is 'net'"),
        ({"example": torch.zeros(2, 3)}, InvalidValue, "the model does not take the example"),
        ({"example": ROWS * float("nan")}, NotFinite, "NaN or infinite"),
        ({"forward": lambda *_: None}, InvalidValue, "gives no tensor for the example"),
        ({"path": "a\0.safetensors"}, CannotWrite, "cannot write"),
        ({"example": ROWS[:0]}, InvalidValue, "gives no number for the example"),
        ({"to": Packed(plan=3), "path": "x.packed.safetensors"}, InvalidValue, "plan is 3"),
        ({"to": Onnx(static_batch="no"), "path": "x.onnx"}, InvalidValue, "static_batch is 'no'"),
    ],
)
def test_wrong_input_is_answered_and_nothing_is_written(tmp_path, arguments, error, said):
    arguments = {"model": mlp(), "path": "x.safetensors", "example": ROWS, **arguments}
    with pytest.raises(error, match=said):
        bb.export(arguments.pop("model"), tmp_path / arguments.pop("path"), **arguments)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_path_is_refused():
    with pytest.raises(InvalidValue, match=r"write to=\.\.\., or 'model\.onnx'"):
        bb.export(mlp(), "", example=ROWS)
    for call in (lambda: bb.export(mlp(), None, example=ROWS), lambda: load_exported(3, mlp())):
        with pytest.raises(InvalidValue, match=r"path is (None|3)\nit is the path of a file"):
            call()


@pytest.mark.parametrize("form", FORMS)
def test_buffers_that_no_state_dict_holds_are_named(tmp_path, form):
    model, example = net("tied")
    (note,) = bb.export(model, tmp_path / form, example=example).notes
    assert "not in the file, for the state_dict leaves them out: scale;" in note


@pytest.mark.parametrize("kind", [Packed, Safetensors])
def test_a_plan_of_another_model_is_refused(tmp_path, kind):
    model = mlp()
    model[0].weight.data[2] = 0
    plan = bb.compact(model, ROWS).plan
    with pytest.raises(MaskMismatch, match=r"'0.weight' is of shape \(30, 20\) in the model, and the plan leaves \(29"):
        bb.export(model, tmp_path / f"x{kind.suffix}", to=kind(plan), example=ROWS)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_stored_is_named(tmp_path):
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"a": 1}

        def set_extra_state(self, state):
            pass

    with pytest.raises(InvalidValue, match=r"'0\._extra_state' of the state_dict is \{'a': 1\}, a dict"):
        bb.export(nn.Sequential(Extra(20, 2)), tmp_path / "x.safetensors", example=ROWS)
    with pytest.raises(InvalidValue, match=r"'weight' is of torch\.complex128"):
        bb.export(nn.Linear(20, 2, dtype=torch.complex128), tmp_path / "x.safetensors", example=ROWS.cdouble())
    assert list(tmp_path.iterdir()) == []


# --- nothing half-written, nothing wrong --------------------------------------------------------------------


@dataclass(frozen=True)
class Odd:
    """Writes a file, and gives outputs, as it is told."""

    fault: str
    suffix: ClassVar[str] = ".odd"

    def __call__(self, model, path, *, example, forward=None):
        return ship("odd", model, path, example=example, forward=forward, write=self.write, run=self.run)

    def write(self, model, path):
        (path.parent / "beside").write_text("beside")
        path.write_text("half")
        if self.fault == "write":
            full_disk()
        with torch.no_grad():
            model[2].bias.add_(0.5 if self.fault == "bias" else 0)
        return ("a note",)

    def run(self, model, path):
        if self.fault == "stop":
            raise KeyboardInterrupt
        assert path.read_text() == "half"
        (given,) = example_outputs(model, ROWS)
        return {"none": [], "two": [given, given], "shape": [given[:1]], "nan": [given * float("nan")]}.get(
            self.fault, [given]
        )


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ("write", CannotWrite, "x.odd: No space left on device"),
        ("bias", InvariantBroken, "the odd file gives other outputs: an output differs by 0.5, over"),
        ("none", InvariantBroken, "gives 0 outputs, and the model 1"),
        ("two", InvariantBroken, "gives 2 outputs, and the model 1"),
        ("shape", InvariantBroken, "the odd file gives outputs of shapes"),
        ("nan", InvariantBroken, "an output differs by inf"),
        ("stop", KeyboardInterrupt, None),
    ],
)
def test_an_export_that_fails_leaves_what_was_there(tmp_path, fault, error, said):
    (tmp_path / "x.odd").write_text("old")
    with pytest.raises(error, match=said):
        bb.export(mlp(), tmp_path / "x.odd", to=Odd(fault), example=ROWS)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("x.odd", "old")]


def test_one_that_does_not_fail_has_its_files_and_notes(tmp_path):
    artifact = bb.export(mlp(), tmp_path / "x.odd", to=Odd(""), example=ROWS)
    assert [(file.path.name, file.bytes) for file in artifact.files] == [("x.odd", 4), ("beside", 6)]
    assert (artifact.path, artifact.bytes, artifact.notes) == (tmp_path / "x.odd", 10, ("a note",))
    assert artifact.files[0] == Written.of(artifact.path)
    assert str(artifact).splitlines() == [
        f"odd: {tmp_path / 'x.odd'} and 1 beside it, 10 bytes",
        "outputs differ by 0 at most, 0 on average; 100 % of the predictions agree",
        "a note",
    ]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("call", ["fsync", "replace", "open", "mkdir"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, form, call):
    path = tmp_path / form
    path.write_bytes(b"old")
    model = mlp()
    with monkeypatch.context() as patched:
        patched.setattr(os if call == "fsync" else Path, call, full_disk)
        with pytest.raises(CannotWrite, match="No space left on device"):
            bb.export(model, path, example=ROWS)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [(form, b"old")]


def test_a_model_that_remembers_its_calls_is_refused(tmp_path):
    class Counting(nn.Linear):
        calls = 0

        def forward(self, inputs):
            self.calls += 1
            return super().forward(inputs) * self.calls

    with pytest.raises(InvariantBroken, match="does its result depend on more than its inputs"):
        bb.export(Counting(20, 2), tmp_path / "x.safetensors", example=ROWS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMS)
def test_a_file_with_other_values_is_refused_though_the_outputs_agree(tmp_path, monkeypatch, form):
    def tampered(path, entries, notes):
        entries = {
            name: replace(entry, parts=tuple(part & 0xFE for part in entry.parts)) for name, entry in entries.items()
        }
        layout.write_entries(path, entries, notes)

    for module in (packed, safetensors):
        monkeypatch.setattr(module, "write_entries", tampered)
    with pytest.raises(InvariantBroken, match="the file of Sequential holds other values than the model"):
        bb.export(nn.Sequential(nn.Linear(20, 2)), tmp_path / form, example=ROWS * 0 + 1e-9)
    assert list(tmp_path.iterdir()) == []


def test_agreement_counts_predictions_and_differences():
    one, two = torch.tensor([[1.0, 2.0], [5.0, 3.0]]), torch.tensor([[1.5, 2.0], [1.0, 3.0]])
    assert Agreement.between([one], [two]) == Agreement(4.0, 4.5 / 4, 0.5)
    assert Agreement.between([one[:, :1]], [one[:, :1]]).predictions is None
    assert Agreement.between([one, one], [one, two]) == Agreement(4.0, 4.5 / 8, 1.0)
    assert Agreement.between([torch.zeros(0, 3)], [torch.zeros(0, 3)]) == Agreement(0.0, 0.0, None)
    with pytest.raises(InvariantBroken):
        Agreement.between([one], [one[:1]])


def test_the_model_is_not_changed_by_a_failure(tmp_path):
    model = mlp().train()
    twin = copy.deepcopy(model)
    with pytest.raises(InvariantBroken):
        bb.export(model, tmp_path / "x.odd", to=Odd("bias"), example=ROWS)
    assert model_digest(model) == model_digest(twin)
    assert model.training


def test_an_older_card_goes_with_the_files_that_it_tells_of(tmp_path):
    model, cards = mlp(), (tmp_path / "card.json", tmp_path / "card.md")
    for card in cards:
        card.write_text("of the files before")
    with pytest.raises(InvalidValue):
        write_forms(model, tmp_path, ["packed"], example=ROWS[:, :3])
    assert all(card.exists() for card in cards)
    write_forms(model, tmp_path, ["packed"], example=ROWS)
    assert [file.name for file in tmp_path.iterdir()] == ["network.packed.safetensors"]
