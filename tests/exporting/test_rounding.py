"""Values stored as float16 or bfloat16: read back as they were rounded, and within what is accepted."""

import numpy as np
import pytest
import torch
from nets import ROWS, mlp, net, pruned
from safetensors.torch import load_file
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue, InvariantBroken, MaskMismatch
from budbreak.exporting import Packed, Safetensors
from budbreak.files import packed_reader
from budbreak.live import model_digest

HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
FORMS = {"x.packed.safetensors": Packed, "x.safetensors": Safetensors}


def rounded(tensor, values):
    return tensor.to(HALVES[values]).to(tensor.dtype) if tensor.dtype in (torch.float32, torch.float64) else tensor


@pytest.mark.parametrize("values", HALVES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["mlp", "conv", "bf16", "float64", "tied", "lstm", "nothing"])
def test_what_is_read_is_what_was_rounded(tmp_path, name, form, values):
    model, example = net(name)
    before = model_digest(model)
    artifact = bb.export(model, tmp_path / form, to=FORMS[form](values=values), example=example)
    assert model_digest(model) == before, "the model itself stays as it is"
    loaded = bb.load_exported(artifact.path, net(name, seed=7)[0]).state_dict()
    for key, tensor in model.state_dict().items():
        assert loaded[key].dtype == tensor.dtype
        assert torch.equal(loaded[key], rounded(tensor, values)), key
    assert f"rounded to {values}: outputs differ by " in artifact.notes[-1]


def test_agreement_is_that_of_the_rounded_network(tmp_path):
    model, example = net("mlp")
    artifact = bb.export(model, tmp_path / "x.packed.safetensors", to=Packed(values="bfloat16"), example=example)
    expected = model(example).detach()
    apart = (bb.load_exported(artifact.path, mlp())(example).detach() - expected).abs().double()
    assert artifact.agreement.largest == pytest.approx(float(apart.max()))
    assert artifact.agreement.largest > 1e-4
    share = 100 * float(apart.mean()) / float(expected.abs().mean())
    assert artifact.notes[-1] == (
        f"rounded to bfloat16: outputs differ by {share:.3g} % of their mean magnitude on average, "
        "of 5 % that are accepted"
    )


@pytest.mark.parametrize("values", HALVES)
def test_the_reader_that_stands_alone_reads_them(tmp_path, values):
    model = pruned(mlp(), 0.1)
    path = bb.export(model, tmp_path / "x.packed.safetensors", to=Packed(values=values), example=ROWS).path
    for key, array in packed_reader.read(path).items():
        wanted = model.state_dict()[key].to(HALVES[values])
        assert array.dtype == (np.float16 if values == "float16" else np.float32)
        assert np.array_equal(array.astype(np.float32), wanted.float().numpy()), key


def test_they_take_half_the_room_and_others_read_the_plain_file(tmp_path):
    model = nn.Linear(200, 200)
    example = torch.randn(4, 200)
    sizes = {
        values: bb.export(model, tmp_path / "x.packed.safetensors", to=Packed(values=values), example=example).bytes
        for values in (None, *HALVES)
    }
    assert max(sizes["float16"], sizes["bfloat16"]) < 0.51 * sizes[None]
    bb.export(model, tmp_path / "x.safetensors", to=Safetensors(values="float16"), example=example)
    assert load_file(tmp_path / "x.safetensors")["weight"].dtype == torch.float16


def test_a_compact_network_is_rounded_too(tmp_path):
    model = pruned(mlp(), 0.8)
    with torch.no_grad():
        model[0].weight[::2] = 0
    compacted = bb.compact(model, ROWS)
    path = bb.export(compacted, tmp_path / "x.packed.safetensors", to=Packed(values="float16"), example=ROWS).path
    loaded = bb.load_exported(path, mlp())
    assert torch.equal(loaded[0].weight, compacted.model[0].weight.half().float())


def test_a_tolerance_is_held_unless_more_is_accepted(tmp_path):
    model, example = net("mlp")
    path = tmp_path / "x.packed.safetensors"
    with pytest.raises(InvariantBroken, match=r"0\.01 % are accepted unless you say more") as caught:
        bb.export(model, path, to=Packed(values="bfloat16", tolerance=1e-4), example=example)
    assert list(tmp_path.iterdir()) == []
    wanted = float(caught.value.fix.partition("tolerance=")[2].partition(",")[0])
    assert bb.export(model, path, to=Packed(values="bfloat16", tolerance=wanted), example=example).path == path


def test_what_no_half_precision_holds_and_what_does_not_fit(tmp_path):
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight[0, 0] = 1e6
    with pytest.raises(InvalidValue, match=r"'weight' holds 1e\+06\nfloat16 ends at 65504"):
        bb.export(model, tmp_path / "x.safetensors", to=Safetensors(values="float16"), example=torch.ones(1, 2))
    path = bb.export(
        model, tmp_path / "x.safetensors", to=Safetensors(values="bfloat16"), example=torch.ones(1, 2)
    ).path
    with pytest.raises(MaskMismatch, match="'weight' is bfloat16"):
        bb.load_exported(path, nn.Linear(2, 2).half())
    bb.export(model.bfloat16(), path, example=torch.ones(1, 2).bfloat16())
    with pytest.raises(MaskMismatch, match="'weight' is bfloat16"):
        bb.load_exported(path, nn.Linear(2, 2)), "not rounded by us: a file of bfloat16 is of such a model"


@pytest.mark.parametrize("form", FORMS.values())
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"values": "float61"}, "it is one of 'float16', 'bfloat16'"),
        ({"values": "float32"}, "values is 'float32'"),
        ({"values": "float16", "tolerance": 0.0}, "tolerance is 0.0"),
        ({"values": "float16", "tolerance": float("nan")}, "tolerance is nan"),
    ],
)
def test_what_cannot_be_asked_for(form, asked, said):
    with pytest.raises(InvalidValue, match=said):
        form(**asked)
