"""Networks in 8 bits: what they give, how far that is, and what is refused. Each file is written once."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nets import IMAGES, conv
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue, InvariantBroken
from budbreak.exporting import LowBits, OnnxInt8, OpenVINO, OpenVINOInt8, Rounding, configured, quantizing
from budbreak.exporting.low_bits import LOW_BITS
from budbreak.exporting.onnx_int8 import feed_of
from budbreak.exporting.runtimes import openvino_core

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def tiny():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).eval()


def rows(count, seed=1):
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def lying(tmp_path_factory):
    """A network in float32, as ONNX and OpenVINO."""
    folder = tmp_path_factory.mktemp("float")
    bb.export(tiny(), folder / "0.onnx", example=rows(4))
    bb.export(tiny(), folder / "0.xml", example=rows(4))
    return folder / "0"


def given(path, inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: inputs.numpy()})[0])


@pytest.mark.parametrize("calibrate", [None, rows(100)], ids=["dynamic", "static"])
def test_weights_are_of_8_bits_and_outputs_near(lying, tmp_path, calibrate):
    feed = None if calibrate is None else {"input": calibrate}
    quantizing.quantize(lying.with_suffix(".onnx"), tmp_path / "x.onnx", feed)
    inputs = rows(50, seed=2)
    expected = tiny()(inputs).detach()
    apart = (given(tmp_path / "x.onnx", inputs) - expected).abs().mean() / expected.abs().mean()
    assert 1e-4 < apart < 0.05
    held = [onnx.numpy_helper.to_array(one) for one in onnx.load(tmp_path / "x.onnx").graph.initializer]
    matrices = [one for one in held if one.ndim == 2]
    assert [one.dtype for one in matrices] == [np.int8, np.int8]
    scales = [one for one in held if one.dtype == np.float32 and one.shape == (16,)]
    assert any(np.allclose(one, tiny()[0].weight.detach().abs().amax(1).numpy() / 127, rtol=0.01) for one in scales)


def test_a_calibration_set_is_run_piece_by_piece_and_counts_whole(lying, tmp_path):
    calibrate = rows(9)
    calibrate[8] *= 100
    for count in (8, 9):
        feed = {"input": calibrate[:count]}
        quantizing.quantize(lying.with_suffix(".onnx"), tmp_path / f"{count}.onnx", feed, at_once=4)
    inputs = rows(50, seed=2)
    near, far = ((given(tmp_path / f"{n}.onnx", inputs) - tiny()(inputs).detach()).abs().mean() for n in (8, 9))
    assert far > 3 * near


def test_each_runtime_in_low_bits_is_near_and_counts_its_files(lying):
    example = rows(20)
    for form in LOW_BITS:
        run, size = LowBits(rows(100)).runner_of(form, tiny(), example, lying)
        assert (run(example) - tiny()(example)).abs().max() < 0.1, form
        ending = {"onnx-int8": [".int8.onnx"], "openvino-int8": [".int8.xml", ".int8.bin"]}.get(form, [".xml", ".bin"])
        assert size == sum(lying.with_suffix(one).stat().st_size for one in ending)
    with pytest.raises(InvariantBroken, match="onnx-int8 file: outputs differ by"):
        LowBits(rows(100), tolerance=1e-6).runner_of("onnx-int8", tiny(), example, lying)


@pytest.mark.parametrize("form", LOW_BITS)
def test_without_the_float32_file_there_is_nothing_to_run(form, tmp_path):
    with pytest.raises(InvalidValue, match="what was written in float32 is quantized, and run"):
        LowBits(rows(10)).runner_of(form, tiny(), rows(4), tmp_path / "0")


def test_exporters_write_and_say_what_they_rounded(tmp_path):
    calibrate, example = rows(64), rows(20, seed=2)
    artifact = bb.export(tiny(), tmp_path / "x.int8.onnx", to=OnnxInt8(calibrate=calibrate), example=example)
    assert artifact.agreement.largest == pytest.approx(
        float((given(artifact.path, example) - tiny()(example).detach()).abs().max()), rel=1e-4
    )
    assert "calibrated on 64 samples" in artifact.notes
    assert "of 10 % that are accepted" in artifact.notes[-1]
    assert given(artifact.path, rows(3)).shape == (3, 4)


def test_openvino_takes_them_too(tmp_path):
    pytest.importorskip("openvino")
    example = IMAGES
    artifact = bb.export(conv().eval(), tmp_path / "x.int8.xml", to=OpenVINOInt8(calibrate=IMAGES), example=example)
    assert [file.path.name for file in artifact.files] == ["x.int8.xml", "x.int8.bin"]
    kinds = {str(node.get_element_type()) for node in openvino_core().read_model(artifact.path).get_ops()}
    assert any("int8" in kind for kind in kinds)


def test_float16_in_openvino_halves_the_file(lying, tmp_path):
    artifact = bb.export(tiny(), tmp_path / "x.xml", to=OpenVINO(values="float16"), example=rows(4))
    assert artifact.notes[-1].startswith("rounded to float16: ")
    weights = (tmp_path / "x.bin").stat().st_size
    assert weights < 0.6 * lying.with_suffix(".bin").stat().st_size


def test_what_needs_a_calibration_set_says_so(tmp_path, monkeypatch):
    with pytest.raises(InvalidValue, match=r"no calibration set is given\nOpenVINO computes in 8 bits where ranges"):
        bb.export(tiny(), tmp_path / "x.int8.xml", example=rows(4))
    monkeypatch.setattr(quantizing, "_convolutions", lambda path: 2)
    with pytest.raises(InvalidValue, match="the network has 2 convolutions, and no calibration set is given"):
        quantizing.quantize(tmp_path / "x.onnx", tmp_path / "y.onnx", None)


def test_a_calibration_set_of_other_shapes_is_refused(lying, tmp_path):
    with pytest.raises(InvalidValue, match=r"onnxruntime.quantization raised[\s\S]*like the example"):
        quantizing.quantize(lying.with_suffix(".onnx"), tmp_path / "x.onnx", {"input": torch.zeros(3, 5)})
    program = SimpleNamespace(example=rows(4))
    with pytest.raises(
        InvalidValue, match=r"calibrate holds \[\(3, 5\)\]\nit is a batch like the example, \[\(4, 8\)\]"
    ):
        feed_of(program, torch.zeros(3, 5))


def test_exporters_are_told_what_they_take():
    calibrate = rows(2)
    told = configured("onnx-int8", values="float16", tolerance=0.2, calibrate=calibrate)
    assert (told.tolerance, told.calibrate is calibrate) == (0.2, True)
    assert configured("packed", values="bfloat16").values == "bfloat16"
    assert configured("onnx", values="float16").__class__.__name__ == "Onnx"
    with pytest.raises(InvalidValue, match="OpenVINO holds values as they are, or rounded: it is 'float16'"):
        configured("openvino", values="bfloat16")


def test_a_share_of_nothing_and_of_no_number():
    from budbreak.exporting import Agreement

    zero, nan = torch.zeros(3), torch.full((3,), float("nan"))
    assert "0 %" in Rounding("int8").note("x", [zero], Agreement.between([zero], [zero]))
    for given_ in (zero + 1, nan):
        with pytest.raises(InvariantBroken, match="inf %"):
            Rounding("int8").note("x", [zero], Agreement(1.0, float(given_.mean()), None))
