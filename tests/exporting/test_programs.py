"""Networks as torch programs, ONNX and OpenVINO: what the runtimes give, and what is refused."""

import re
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak import activations
from budbreak.errors import CannotTrace, CannotWrite, InvalidValue, InvariantBroken
from budbreak.exporting import Onnx, OpenVINO, TorchProgram, export
from budbreak.exporting.runtimes import openvino_core
from budbreak.networks import build

SUFFIXES = {"torch": ".pt2", "onnx": ".onnx", "openvino": ".xml"}
X = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


def run(path, inputs):
    """What the runtime of a file gives, by name of the input; written apart from the library."""
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    if path.suffix == ".pt2":
        given = torch.export.load(path).module()(*inputs.values())
        return [*given.values()] if isinstance(given, dict) else [*given] if isinstance(given, tuple) else [given]
    if path.suffix == ".onnx":
        import onnxruntime

        return [torch.from_numpy(array) for array in onnxruntime.InferenceSession(path).run(None, arrays)]

    compiled = openvino_core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [torch.from_numpy(array) for array in compiled(arrays).values()]


def used(model):
    """With statistics and gains as after a training."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.8, 1.2)
            module.weight.data.uniform_(0.8, 1.2)
    return model


def network(name, shape):
    return used(build(name, SimpleNamespace(shape=shape, classes=10), seed=0)), torch.randn(3, *shape)


def searched():
    """A residual network with other activations, without its dead channels."""
    model, x = network("bn-cnn", (3, 16, 16))
    with torch.no_grad():
        model.conv2.weight[5:] = 0
        model.bn2.bias[5:] = 0
        model.bn2.running_mean[5:] = 0
    plan = {"relu1": activations.Swish(trainable=True), "relu2": activations.SRS(), "relu3": activations.Symlog()}
    model = bb.replace_activations(model, plan, example=x)
    model.relu1.beta.data.fill_(0.7)
    return bb.compact(model, x).model, x


NETWORKS = {
    "mlp": lambda: network("lenet-300-100", (1, 28, 28)),
    "lenet-5": lambda: network("lenet-5-safs", (1, 28, 28)),
    "searched": searched,
    "resnet-20": lambda: network("resnet-20", (3, 32, 32)),
    "vgg-11": lambda: network("vgg-11-bn", (3, 32, 32)),
    "efficientnet-b0": lambda: network("efficientnet-b0", (3, 32, 32)),
}
CASES = [
    ("mlp", "torch"), ("lenet-5", "onnx"), ("searched", "onnx"), ("searched", "openvino"), ("resnet-20", "openvino"),
    ("vgg-11", "torch"), ("efficientnet-b0", "onnx"),
]  # fmt: skip
SLOW = {"vgg-11", "efficientnet-b0", "resnet-20"}


@pytest.mark.parametrize(
    ("name", "to"), [pytest.param(*case, marks=[pytest.mark.slow] * (case[0] in SLOW)) for case in CASES]
)
def test_networks_leave_as_they_are(name, to, tmp_path):
    model, x = NETWORKS[name]()
    path = tmp_path / f"it{SUFFIXES[to]}"
    artifact = export(model, path, to=to, example=x)
    assert artifact.agreement.predictions == 1
    assert {file.path for file in artifact.files} == {*tmp_path.iterdir()}
    assert artifact.bytes < 1.1 * 4 * sum(parameter.numel() for parameter in model.parameters()) + 100_000
    model.eval()
    (name,) = [names for note in artifact.notes for names in re.findall(r"any size: (\w+) -> output", note)]
    for size in (1, 5):
        batch = torch.randn(size, *x.shape[1:])
        (given,), expected = run(path, {name: batch}), model(batch).detach()
        torch.testing.assert_close(given, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


class Every(nn.Module):
    """All operators side by side."""

    def __init__(self, kinds):
        super().__init__()
        self.acts = nn.ModuleList([kind(trainable=True, per="unit").module((4,)) for kind in kinds])

    def forward(self, x):
        return torch.stack([act(x) for act in self.acts], 1)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_every_operator_leaves(to, tmp_path):
    """Some as modules of torch, others as functions; with one scalar for each unit, and with one for all."""
    model = Every(activations.ALL)
    for place, act in enumerate(model.acts):
        if place % 2:
            model.acts[place] = type(act.activation)(trainable=True).module()
        for scalar in model.acts[place].parameters():
            scalar.data.add_(0.2 * torch.rand_like(scalar))
    path = tmp_path / f"it{SUFFIXES[to]}"
    export(model, path, to=to, example=X)
    batch = torch.linspace(-4, 4, 36).view(9, 4)
    torch.testing.assert_close(run(path, {"x": batch})[0], model.eval()(batch).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["torch", "onnx"])
def test_a_transformer_that_is_called_by_keyword(to, tmp_path):
    """It gives a class of its library; the file gives a tensor by that name."""
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = ViTForImageClassification(ViTConfig(**sizes, image_size=16, patch_size=8, num_labels=5))
    pixels = torch.randn(2, 3, 16, 16)
    path = tmp_path / f"it{SUFFIXES[to]}"
    artifact = export(model, path, to=to, example={"pixel_values": pixels})
    assert artifact.notes[0] == "takes batches of any size: pixel_values -> logits"
    batch = torch.randn(5, 3, 16, 16)
    if to == "torch":
        given = torch.export.load(path).module()(pixel_values=batch)["logits"]
    else:
        (given,) = run(path, {"pixel_values": batch})
    torch.testing.assert_close(given, model.eval()(batch).logits.detach(), rtol=1e-4, atol=1e-5)


class Net(nn.Module):
    """A layer, and what a test does behind it."""

    def __init__(self, then):
        super().__init__()
        self.fc, self.then = nn.Linear(4, 4), then

    def forward(self, x, y=None):
        return self.then(self.fc(x), y)


def decide(x, y):
    return x if x.sum() > 0 else -x


NEXT = Path(__file__).name
LINE = decide.__code__.co_firstlineno + 1
REFUSED = {
    "values decide": (decide, TorchProgram(), rf"^Net decides by values what it computes in .*{NEXT}, line {LINE}\n"),
    "a batch of one size": (lambda x, y: x.view(3, -1), Onnx(), r"batch of 3 alone[\s\S]*static_batch=True"),
    "numpy": (lambda x, y: torch.from_numpy(x.detach().numpy()), TorchProgram(), rf"cannot be exported.*{NEXT}, line"),
    "no operator of ONNX": (
        lambda x, y: torch.special.bessel_j0(x), Onnx(),
        rf"^Sequential calls \S*bessel_j0 in '1' \(.*{NEXT}, line \d+\), which ONNX lacks\n",
    ),
    "no operator of OpenVINO": (
        lambda x, y: torch.special.bessel_j0(x), OpenVINO(), r"bessel_j0\S* in '1' \(.*\), which OpenVINO lacks\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_leave_is_named_with_its_line(case, tmp_path):
    then, exporter, said = REFUSED[case]
    model = Net(then)
    model = nn.Sequential(nn.Identity(), model) if "operator" in case else model
    with pytest.raises(InvalidValue, match=said):
        export(model, tmp_path / f"it{exporter.suffix}", to=exporter, example=X)
    assert list(tmp_path.iterdir()) == []


def test_a_batch_of_one_size(tmp_path):
    model = Net(lambda x, y: x.view(3, -1).flip(1))
    path = tmp_path / "it.onnx"
    assert "of the example's size alone" in export(model, path, to=Onnx(static_batch=True), example=X).notes[0]
    torch.testing.assert_close(run(path, {"x": X})[0], model(X).detach())
    with pytest.raises(Exception, match="Got: 5 Expected: 3"):
        run(path, {"x": torch.randn(5, 4)})


@pytest.mark.parametrize("to", SUFFIXES)
def test_inputs_have_the_names_that_they_were_given_by(to, tmp_path):
    """In an order of their own; of a clamp one limit may be a whole number, and the other none."""
    model = Net(lambda x, y: (x.clamp(0, 1.5) - 2 * y, y.exp()))
    path = tmp_path / f"it{SUFFIXES[to]}"
    artifact = export(model, path, to=to, example={"y": X + 1, "x": X})
    assert artifact.notes == ("takes batches of any size: y, x -> output_0, output_1",)
    batches = {"y": torch.randn(5, 4), "x": torch.randn(5, 4)}
    given = torch.export.load(path).module()(**batches) if to == "torch" else run(path, batches)
    for one, other in zip(given, model(**batches), strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "example", [(X, None, X), (X, 2, X), {"y": X, "k": 2, "x": X}], ids=["none", "number", "names"]
)
def test_inputs_beside_what_are_no_tensors_have_their_names(example, tmp_path):
    class Net(nn.Module):
        def forward(self, x, k, y):
            return x - (k or 1) * y

    artifact = export(Net(), tmp_path / "it.pt2", example=example)
    names = "y, x" if isinstance(example, dict) else "x, y"
    assert artifact.notes == (f"takes batches of any size: {names} -> output",)


def test_a_tensor_that_is_given_twice_is_named(tmp_path):
    def forward(x, y):
        h = x * y
        return {"logits": h, "again": h}

    with pytest.raises(InvalidValue, match="Net gives one tensor as logits and as again\nOpenVINO knows outputs"):
        export(Net(forward), tmp_path / "it.xml", example={"x": X, "y": X})


def test_a_forward_of_ones_own(tmp_path):
    """Beside keywords that the model leaves open."""
    model = Net(lambda x, y: x - 2 * y)
    path = tmp_path / "it.pt2"
    export(model, path, example=[X, X + 1], forward=lambda model, batch: model(batch[0], batch[1]))
    batch = [torch.randn(5, 4), torch.randn(5, 4)]
    torch.testing.assert_close(torch.export.load(path).module()(batch)[0], model(*batch)[0].detach())


class Open(nn.Linear):
    def forward(self, x, **more):
        return super().forward(x) * more["z"]


def test_keywords_that_a_model_leaves_open(tmp_path):
    artifact = export(Open(4, 4), tmp_path / "it.pt2", example={"x": X, "z": X})
    assert artifact.notes == ("takes batches of any size: x, z -> output",)


def test_a_single_sample_leaves_the_batch_free(tmp_path):
    model = Net(lambda x, y: x.flatten(1))
    export(model, tmp_path / "it.pt2", example=X[:1])
    torch.testing.assert_close(run(tmp_path / "it.pt2", {"x": X})[0], model(X).detach())


def test_one_sample_that_cannot_be_doubled(tmp_path):
    model = Net(lambda x, y: x.view(4))
    with pytest.raises(InvalidValue, match=r"does not take its one sample twice[\s\S]*static_batch=True"):
        export(model, tmp_path / "it.pt2", example=X[:1])
    export(model, tmp_path / "it.pt2", to=TorchProgram(static_batch=True), example=X[:1])


def test_what_is_called_with_more_than_tensors(tmp_path):
    model = Net(lambda x, y: x if y else -x)
    with pytest.raises(InvalidValue, match=r"called with 2 arguments, of which 1 are tensors"):
        export(model, tmp_path / "it.xml", example=(X, True))
    export(model, tmp_path / "it.xml", example=X, forward=lambda model, batch: model(batch, True))
    torch.testing.assert_close(run(tmp_path / "it.xml", {"input": X})[0], model(X, True).detach())


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_what_was_scripted_cannot_leave(tmp_path):
    for model in (torch.jit.script(nn.Linear(4, 4)), nn.Sequential(torch.jit.script(nn.Linear(4, 4)), nn.ReLU())):
        with pytest.raises((CannotTrace, InvalidValue), match=r"cannot be (traced|exported)"):
            export(model, tmp_path / "it.pt2", example=X)


@pytest.mark.parametrize("exporter", [TorchProgram(), Onnx()], ids=["torch", "onnx"])
def test_a_model_that_draws_at_random_is_refused(exporter, tmp_path):
    with pytest.raises(InvariantBroken, match=r"gives other outputs[\s\S]*draw at random"):
        export(Net(lambda x, y: x + torch.rand(4)), tmp_path / f"it{exporter.suffix}", to=exporter, example=X)
    assert list(tmp_path.iterdir()) == []


def test_no_file_tells_of_the_machine_that_wrote_it(tmp_path):
    for suffix in SUFFIXES.values():
        export(Net(lambda x, y: x.relu()), tmp_path / f"it{suffix}", example=X)
    for path in tmp_path.iterdir():
        assert str(Path(__file__).parent.parent).encode() not in path.read_bytes(), path.name


def test_openvino_sends_nothing_over_the_network(tmp_path, monkeypatch):
    """Its own `convert_model` does, unless it is told otherwise."""
    from openvino_telemetry import Telemetry

    sent = []
    monkeypatch.setattr(Telemetry, "__init__", lambda self, *given, **named: sent.append(given))
    export(Net(lambda x, y: x), tmp_path / "it.xml", example=X)
    assert sent == []


@pytest.mark.parametrize(("name", "exporter"), [("onnxscript", Onnx()), ("openvino", OpenVINO())])
def test_what_has_to_be_installed_is_said(name, exporter, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidValue, match=rf"{name} is not installed[\s\S]*pip install 'budbreak\[\w+\]'"):
        export(Net(lambda x, y: x), tmp_path / f"it{exporter.suffix}", to=exporter, example=X)


def test_numbers_that_a_runtime_lacks(tmp_path):
    model = Net(lambda x, y: x).bfloat16()
    with pytest.raises(InvalidValue, match=r"bfloat16[\s\S]*model\.float\(\)"):
        export(model, tmp_path / "it.xml", example=X.bfloat16())
    assert export(model, tmp_path / "it.pt2", example=X.bfloat16()).agreement.largest == 0
    assert [path.name for path in tmp_path.iterdir()] == ["it.pt2"]


def test_a_runtime_that_computes_in_float32_alone(tmp_path):
    model = nn.Sequential(nn.Linear(4, 30), nn.Tanh(), nn.Linear(30, 30)).double()
    with pytest.raises(InvariantBroken, match=r"openvino file gives other outputs[\s\S]*model\.float\(\)"):
        export(model, tmp_path / "it.xml", example=X.double())
    assert export(model, tmp_path / "it.onnx", example=X.double()).agreement.largest < 1e-12


def test_complex_numbers_that_onnx_gives_as_two(tmp_path):
    model = Net(lambda x, y: torch.complex(x, x))
    with pytest.raises(InvariantBroken, match=r"onnx file gives outputs of shapes [\s\S]*view_as_real"):
        export(model, tmp_path / "it.onnx", example=X)
    written = export(model, tmp_path / "it.onnx", example=X, forward=lambda net, batch: torch.view_as_real(net(batch)))
    assert written.agreement.largest < 1e-6
    assert export(model, tmp_path / "it.pt2", example=X).agreement.largest < 1e-6


@pytest.fixture
def small_disk():
    """No file gets larger than 60 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("to", SUFFIXES)
def test_a_full_disk(to, tmp_path, small_disk):
    model, x = nn.Sequential(nn.Linear(100, 300), nn.ReLU(), nn.Linear(300, 100)), torch.randn(2, 100)
    with pytest.raises(CannotWrite, match=f"cannot write .*it{SUFFIXES[to]}"):
        export(model, tmp_path / f"it{SUFFIXES[to]}", to=to, example=x)
    assert list(tmp_path.iterdir()) == []


def test_the_free_size_is_called_batch(tmp_path):
    import onnx

    export(Net(lambda x, y: x.view(-1, 2)), tmp_path / "it.onnx", example=X)
    graph = onnx.load(tmp_path / "it.onnx").graph
    sizes = [[size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim] for value in graph.input]
    assert sizes == [["batch", 4]]


@pytest.mark.parametrize("kind", [nn.SiLU, nn.LogSigmoid])
def test_a_shape_that_torch_gives_frozen(kind, tmp_path):
    """Its free size is to be called batch, too."""
    import onnx

    export(nn.Sequential(nn.Linear(4, 3), kind()), tmp_path / "it.onnx", example=X)
    graph = onnx.load(tmp_path / "it.onnx").graph
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in [*graph.input, *graph.output]} == {"batch"}


def test_an_older_file_stays_until_a_new_one_is_verified(tmp_path):
    path = tmp_path / "it.onnx"
    export(Net(lambda x, y: x), path, example=X)
    before = path.read_bytes()
    with pytest.raises(InvalidValue):
        export(Net(decide), path, example=X)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["it.onnx"]


def test_weights_over_the_limit_lie_beside_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["budbreak.exporting.onnx_file"], "_MOST", 10)
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 3))
    artifact = export(model, tmp_path / "it.onnx", example=X)
    assert [file.path.name for file in artifact.files] == ["it.onnx", "it.onnx.data"]
    torch.testing.assert_close(run(tmp_path / "it.onnx", {"input": X})[0], model(X).detach())


@pytest.mark.slow
def test_signals_are_survived_after_networks_were_opened_and_closed_in_openvino(tmp_path):
    model, example = nn.Linear(4, 4), torch.rand(2, 4)
    bb.export(model, tmp_path / "it.xml", example=example)
    program = (
        "import gc, os, signal, sys; from pathlib import Path; from budbreak.exporting.running import opened\n"
        "signal.signal(signal.SIGCHLD, lambda *_: None)  # as data loaders with workers have one\n"
        "one, other = (opened('openvino', Path(sys.argv[1]), threads=1) for _ in range(2))\n"
        "del one; gc.collect(); del other; gc.collect()\n"
        "os.kill(os.getpid(), signal.SIGCHLD)"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "it.xml"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
