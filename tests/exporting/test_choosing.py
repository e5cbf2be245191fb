"""The fastest form that is good enough, of what was measured; and what is on the front."""

import math

import pytest
import torch
from torch import nn

from budbreak.compaction import Compacted
from budbreak.data import Images
from budbreak.errors import InvalidValue
from budbreak.exporting import Candidate, Fastest, LowBits, choose_fastest, choosing, side_by_side
from budbreak.exporting.running import accuracy_of, eager
from budbreak.exporting.side_by_side import Latency
from budbreak.measuring import Timing


@pytest.fixture(autouse=True)
def torch_alone(monkeypatch):
    for room in (choosing, side_by_side):
        monkeypatch.setattr(room, "installed", lambda: ("torch",))


def meter_of(**seconds):
    """A meter that finds these times; a contender that is not named takes 1 s."""

    def meter(contenders):
        for contender in contenders:
            contender.run()
        names = {contender.name: contender.name.partition(" in ")[0].replace(" ", "_") for contender in contenders}
        return {name: Timing((seconds.get(key.replace("/", "_"), 1.0),)) for name, key in names.items()}

    return meter


def network():
    """Of 32 units 16 are dead."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    with torch.no_grad():
        model[1].weight[16:] = 0
        model[1].bias[16:] = 0
    return model.eval()


def images(model, count=60):
    """Labelled as the network sees them."""
    pixels = torch.randint(0, 256, (count, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    found = Images(pixels, torch.zeros(count, dtype=torch.int64), (0.5,), (0.5,))
    return Images(pixels, model(found.normalised(pixels)).argmax(1), (0.5,), (0.5,))


def choose(model, seen, meter, **asked):
    return choose_fastest(model, seen, example=seen.normalised(seen.images), meter=meter, **asked)


def test_the_fastest_that_holds_the_floor_is_chosen():
    model = network()
    seen = images(model)
    found = choose(model, seen, meter_of(as_is=0.5, compact=0.3, factors_1_8=0.1, factors_1_4=0.2, factors_1_2=0.25))
    by_name = {one.network: one for one in found.candidates}
    assert by_name["factors 1/4"].accuracy < 0.9  # so that the fastest ones do not hold it
    assert [one.latency.median for one in found.candidates] == sorted(one.latency.median for one in found.candidates)
    assert (found.best.network, found.best.accuracy, found.dense) == ("compact", 1.0, 1.0)
    assert isinstance(found.model, Compacted)
    assert sum(one.numel() for one in found.model.model.parameters()) == 16 * 16 + 16 + 16 * 4 + 4
    assert choose(model, seen, meter_of(factors_1_4=0.2), max_drop=0.99).best.network == "factors 1/4"


def test_the_front_holds_what_no_other_beats():
    model = network()
    found = choose(model, images(model), meter_of(as_is=0.5, compact=0.3))
    front = {one.network for one in found.candidates if one.on_front}
    assert "compact" in front
    assert "as is" not in front  # larger, slower, and no better
    rows = {row["network"]: row["on the front"] for row in found.sections("validation")["candidates"]}
    assert {name for name, on_front in rows.items() if on_front} == front


def test_a_floor_that_none_holds_names_the_best_found():
    model, dense = network(), network()
    seen = images(dense)
    with torch.no_grad():
        model[3].weight[:, :8] = 0
    found = choose(model, seen, meter_of(), dense=dense)
    accuracy = accuracy_of(eager(model), seen)
    assert found.dense == 1.0
    with pytest.raises(InvalidValue, match="no candidate holds an accuracy of 0\\.9950") as caught:
        _ = found.best
    assert f"{accuracy:.4f}" in caught.value.value
    dropped = float(caught.value.fix.partition("--max-drop ")[2].partition(",")[0])
    assert choose(model, seen, meter_of(), dense=dense, max_drop=dropped).best.accuracy == accuracy


def test_sparse_rows_leave_as_the_compact_network(monkeypatch):
    model = network()
    with torch.no_grad():
        model[1].weight[:, 4:] = 0
    seen = images(model)

    def meter(contenders):
        """Sparse layers, and what holds them, are the fastest."""
        for contender in contenders:
            contender.run()
        return {one.name: Timing((0.1 if "sparse" in one.name else 1.0,)) for one in contenders}

    found = choose(model, seen, meter)
    assert (found.best.network, found.best.runtime, found.best.form) == ("sparse rows", "torch", "packed")
    assert isinstance(found.model, Compacted)
    assert "budbreak.exporting.sparsify(model, batch)" in str(found)


def test_models_that_give_more_than_a_tensor_are_measured_by_the_first_and_stay_in_training_mode():
    class Told(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.drop = network(), nn.Dropout()

        def forward(self, x):
            return {"logits": self.drop(self.net(x)), "loss": None}

    model = Told().train()
    found = choose(model, images(model.net), meter_of(compact=0.3))
    assert (found.best.network, found.best.accuracy) == ("compact", 1.0)
    assert all(module.training for module in (model, model.drop))


def test_a_model_that_does_not_take_the_images_is_answered():
    seen = images(network())
    with pytest.raises(InvalidValue, match="does not take the example"):
        choose(network().double(), seen, meter_of())
    with pytest.raises(InvalidValue, match="does not take the example"):
        choose(network(), seen, meter_of(), dense=nn.Linear(3, 2))


@pytest.mark.parametrize(("asked", "said"), [({"batch": 0}, "batch"), ({"max_drop": 1.0}, "max_drop")])
def test_what_is_no_floor_or_batch(asked, said):
    model = network()
    with pytest.raises(InvalidValue, match=said):
        choose(model, images(model), meter_of(), **asked)


class Quantized(LowBits):
    """What runs as the network does, with an offset; it remembers what was accepted."""

    def runner_of(self, form, model, example, path):
        assert (form, self.tolerance) == ("onnx-int8", math.inf)
        return lambda batch: model(batch) + torch.tensor([0.0, 0.0, 0.0, 1e-3]), 7


def test_low_bits_are_tried_where_they_are_asked_for_and_the_floor_decides(monkeypatch):
    monkeypatch.setattr(side_by_side, "LOW_BITS", {"onnx-int8": ("torch",), "openvino-int8": ("torch", "openvino")})
    model = network()
    seen = images(model)

    def meter(contenders):
        return {one.name: Timing((0.1 if "int8" in one.name else 1.0,)) for one in contenders}

    low_bits = Quantized(seen.normalised(seen.images))
    found = choose(model, seen, meter, low_bits=low_bits, max_drop=0.5)
    assert (found.best.runtime, found.best.form, found.best.bytes) == ("onnx-int8", "onnx-int8", 7)
    assert found.best.name.endswith("in ONNX Runtime, int8")
    assert {one.runtime for one in choose(model, seen, meter).candidates} == {"torch"}


def test_bfloat16_leaves_as_the_float32_file_and_says_how_it_is_run():
    best = Candidate("compact", "openvino-bf16", 7, Latency(1, 1.0, 1.0, 1.0), 1.0)
    found = Fastest(None, (best,), 1.0, 0.0, 1)
    assert best.form == "openvino"
    assert str(found).endswith("OpenVINO is to be told INFERENCE_PRECISION_HINT=bf16")


def test_quality_may_be_what_the_user_says():
    model = network()
    example = torch.randn(8, 1, 4, 4)
    expected = model(example).detach()

    def closeness(run):
        return 1 - float((run(example) - expected).abs().max())

    meter = meter_of(as_is=0.5, compact=0.3, factors_1_8=0.1)
    found = choose_fastest(model, closeness, example=example, meter=meter)
    by_name = {one.network: one.accuracy for one in found.candidates}
    assert (found.dense, found.best.network) == (1.0, "compact")
    assert by_name["compact"] == pytest.approx(1, abs=1e-5)
    assert by_name["factors 1/8"] < 0.995
