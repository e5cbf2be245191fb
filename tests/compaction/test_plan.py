"""A plan fits any instance of the architecture, as data, and no other network."""

import json

import pytest
import torch
from shapes import IMAGES, image_net, kill
from torch import nn

import budbreak as bb
from budbreak.compaction import CompactionPlan, Kept
from budbreak.errors import CorruptFile, InvalidValue, MaskMismatch, MissingData, StoreMismatch


def compacted(name="resnet", seed=0):
    model, images = image_net(name, seed)
    return bb.compact(kill(model, images, 0.5, makes=True, reads=True), images), images


@pytest.mark.parametrize("name", IMAGES)
def test_a_fresh_instance_has_the_shape_and_its_own_weights(name):
    result, images = compacted(name)
    fresh, _ = image_net(name, seed=5)
    kept = {key: tensor.clone() for key, tensor in fresh.state_dict().items()}
    smaller = CompactionPlan.from_json(result.plan.to_json()).apply(fresh)
    assert {key: tensor.shape for key, tensor in smaller.state_dict().items()} == {
        key: tensor.shape for key, tensor in result.model.state_dict().items()
    }
    assert all(torch.equal(kept[key], tensor) for key, tensor in fresh.state_dict().items())
    for key in result.plan.biases:
        assert not smaller.get_parameter(key).any()
    smaller.load_state_dict(result.model.state_dict())
    with torch.no_grad():
        assert torch.equal(smaller(images), result.model(images))


def test_of_a_fresh_instance_the_same_units_are_taken():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[2].weight[:, 1] = 0
    plan = bb.compact(model, torch.randn(2, 3)).plan
    fresh = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert torch.equal(plan.apply(fresh)[0].weight, fresh[0].weight[[0, 2, 3]])
    assert torch.equal(plan.apply(fresh)[2].weight, fresh[2].weight[:, [0, 2, 3]])
    assert str(plan) == "0.weight dim 0: 3 of 4\n0.bias dim 0: 3 of 4\n2.weight dim 1: 3 of 4"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)),
            "'0.weight' is \\(4, 3\\) in the plan and \\(5, 3\\)",
        ),
        (nn.Sequential(nn.Linear(3, 4), nn.ReLU()), "'2.weight' is \\(2, 4\\) in the plan and absent"),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1), nn.Linear(4, 2)), "'1.weight' is absent in the plan"),
    ],
    ids=["shape", "fewer", "more"],
)
def test_another_network_is_refused(other, words):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    plan = bb.compact(model, torch.randn(2, 3)).plan
    with pytest.raises(MaskMismatch, match=f"{words}(?s:.*)a plan fits only the architecture"):
        plan.apply(other)


def test_a_plan_in_a_file_comes_back_and_a_changed_one_is_refused(tmp_path):
    plan = compacted()[0].plan
    plan.save(tmp_path / "plan.json")
    assert CompactionPlan.load(tmp_path / "plan.json") == plan
    text = (tmp_path / "plan.json").read_text()
    (tmp_path / "plan.json").write_text(text.replace("out_channels", "in_channels", 1))
    with pytest.raises(CorruptFile, match="does not match its checksum"):
        CompactionPlan.load(tmp_path / "plan.json")


@pytest.mark.parametrize("indices", [[], [1, 0], [0, 4], [-1], [0, 0]])
def test_indices_that_no_tensor_has_are_refused(indices):
    plain = {"shapes": {"a": [4]}, "kept": [{"name": "a", "dim": 0, "indices": indices}], "settings": [], "biases": []}
    with pytest.raises(CorruptFile, match="indices are ascending, within the dimension, and at least one"):
        CompactionPlan.from_json(json.dumps(plain))
    with pytest.raises(InvalidValue, match="the plan keeps of 'b'"):
        CompactionPlan({"a": (4,)}, (Kept("b", 0, (0,)),))


@pytest.mark.parametrize("text", ["{", "[]", '{"shapes": {}}', "[" * 10000])
def test_text_that_is_no_plan_is_refused(text):
    with pytest.raises(CorruptFile):
        CompactionPlan.from_json(text)


@pytest.mark.parametrize("name", ["resnet", "vit", "grouped"])
def test_a_saved_model_comes_back_without_a_pickle(name, tmp_path):
    result, images = compacted(name)
    result.save(tmp_path / "compact")
    assert sorted(path.name for path in (tmp_path / "compact").iterdir()) == ["plan.json", "weights.safetensors"]
    loaded = bb.load_compact(tmp_path / "compact", image_net(name, seed=3)[0])
    with torch.no_grad():
        assert torch.equal(loaded(images), result.model(images))


def test_what_is_no_saved_model_is_refused(tmp_path):
    (one, _), (other, _) = compacted("vgg", 0), compacted("vgg", 1)
    one.save(tmp_path / "one")
    other.save(tmp_path / "other")
    dense = image_net("vgg")[0]
    with pytest.raises(MissingData, match="no file"):
        bb.load_compact(tmp_path, dense)
    with pytest.raises(MaskMismatch, match=r"'0.weight' is torch.float64 in the file and torch.float32 in the model"):
        bb.load_compact(tmp_path / "one", image_net("vgg")[0].float())
    with pytest.raises(MaskMismatch, match="in the plan and"):
        bb.load_compact(tmp_path / "one", image_net("mlp")[0])
    weights = tmp_path / "one" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CorruptFile):
        bb.load_compact(tmp_path / "one", dense)


def test_weights_of_another_plan_are_refused(tmp_path):
    model, images = image_net("vgg")
    bb.compact(kill(model, images, 0.5, reads=True), images).save(tmp_path / "one")
    bb.compact(kill(model, images, 0.3, reads=True, seed=1), images).save(tmp_path / "other")
    (tmp_path / "other" / "weights.safetensors").rename(tmp_path / "one" / "weights.safetensors")
    with pytest.raises(StoreMismatch):
        bb.load_compact(tmp_path / "one", image_net("vgg")[0])
