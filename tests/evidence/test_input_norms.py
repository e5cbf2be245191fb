import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import budbreak as bb
from budbreak.errors import EmptyBatches, InvalidValue, NotFinite
from budbreak.evidence import InputNorms, MeanActivations, input_norms
from budbreak.masks import every_weight
from budbreak.testing import mlp, residual_cnn


def norms_of(model, batches, **options):
    return bb.probe(model, [InputNorms()], batches=batches, **options)[InputNorms()]


def by_outputs(layer, x):
    """Norms by brute force, in the shape of the weight: of what each weight adds to the outputs, one at a time.

    An output is linear in the weights, so with weight i = 1 and all others 0 it is what i is multiplied with.
    """
    twin = copy.deepcopy(layer).double().requires_grad_(False)
    if twin.bias is not None:
        twin.bias.zero_()
    norms = torch.zeros(twin.weight.shape, dtype=torch.float64)
    for i in range(norms.numel()):
        twin.weight.zero_().view(-1)[i] = 1
        norms.view(-1)[i] = twin(x.double()).norm()
    return norms


LAYERS = {
    "linear": (nn.Linear(3, 2), (5, 3)),
    "tokens": (nn.Linear(3, 2), (2, 4, 3)),
    "plain": (nn.Conv2d(2, 3, 3), (4, 2, 6, 5)),
    "padded": (nn.Conv2d(2, 3, 3, padding=1, stride=2, dilation=2), (4, 2, 7, 6)),
    "reflecting": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (3, 2, 5, 5)),
    "same": (nn.Conv1d(2, 3, 3, padding="same", dilation=2), (3, 2, 9)),
    "grouped": (nn.Conv2d(4, 6, (2, 3), groups=2, padding=1, bias=False), (3, 4, 5, 5)),
    "depthwise": (nn.Conv1d(3, 6, 3, groups=3), (4, 3, 8)),
    "cubes": (nn.Conv3d(2, 2, 2), (2, 2, 3, 4, 3)),
    "transposed": (nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1), (3, 2, 4, 5)),
    "transposed grouped": (nn.ConvTranspose1d(4, 6, 3, groups=2, stride=2, padding=2), (3, 4, 6)),
    "unbatched": (nn.Conv2d(2, 3, 3), (2, 6, 5)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_norms_are_those_of_what_each_weight_is_multiplied_with(kind):
    layer, shape = LAYERS[kind]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = norms_of(layer, [x])["weight"]
    assert found.norms.dtype == torch.float32
    spread = found.of_columns(found.norms, layer.weight.shape)
    expected = by_outputs(layer, x)
    # float32 sums of squares of fewer than a thousand numbers
    torch.testing.assert_close(spread.double(), expected, rtol=1e-5, atol=1e-6)
    arranged = found.arranged(expected)
    assert arranged.shape == (len(found.norms), arranged.shape[1], found.norms.shape[1])
    torch.testing.assert_close(arranged, found.norms.double().unsqueeze(1).expand_as(arranged), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", LAYERS)
def test_rows_are_the_outputs(kind):
    """Where a weight changes the output, that output is its row."""
    layer, shape = LAYERS[kind]
    x = 1 + torch.rand(shape)
    found = norms_of(layer, [x])["weight"]
    twin = copy.deepcopy(layer).double().requires_grad_(False)
    units = twin(x.double()).shape[-1 if isinstance(layer, nn.Linear) else 0 if kind == "unbatched" else 1]
    numbers = torch.arange(units).reshape(len(found.norms), -1)
    rows = found.of_rows(numbers, twin.weight.shape)
    assert torch.equal(found.arranged(rows), numbers.unsqueeze(2).expand_as(found.arranged(rows)))
    if twin.bias is not None:
        twin.bias.zero_()
    for i in range(twin.weight.numel()):
        twin.weight.zero_().view(-1)[i] = 1
        y = twin(x.double())
        y = y.unsqueeze(0) if kind == "unbatched" else y
        y = y.movedim(-1 if isinstance(layer, nn.Linear) else 1, 0).flatten(1)
        assert y.any(1).nonzero().flatten().tolist() == [int(rows.reshape(-1)[i])]


def test_a_number_for_each_column_is_no_copy():
    shape = torch.Size([64, 2, 3, 3])
    found = norms_of(nn.Conv2d(2, 64, 3), [torch.randn(1, 2, 6, 6)])["weight"]
    assert found.of_columns(found.norms, shape).untyped_storage().nbytes() == 18 * 4
    assert found.of_rows(torch.ones(1, 64), shape).untyped_storage().nbytes() == 64 * 4


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_batches_add_up_however_they_are_cut(dtype):
    model = residual_cnn().to(dtype)
    x = torch.randn(12, 3, 8, 8, dtype=dtype)
    whole, parts = norms_of(model, [x]), norms_of(model, [x[:1], x[1:5], x[5:]])
    assert list(whole) == list(parts) == ["stem.weight", "conv1.weight", "conv2.weight", "fc.weight"]
    for name, found in parts.items():
        assert found.norms.dtype == torch.promote_types(dtype, torch.float32)
        # convolutions of other batch sizes round otherwise: by 2^-8 for bfloat16
        rough = {torch.float64: 1e-13, torch.float32: 1e-5, torch.bfloat16: 2**-7}[dtype]
        torch.testing.assert_close(found.norms, whole[name].norms, rtol=rough, atol=rough)


def test_images_of_several_sizes_and_memory_formats_add_up():
    layer = nn.Conv2d(3, 4, 3, padding=1)
    small, large = torch.randn(2, 3, 5, 5), torch.randn(2, 3, 100, 90)
    found = norms_of(layer, [small, large.contiguous(memory_format=torch.channels_last), small])["weight"].norms
    parts = [norms_of(layer, [x])["weight"].norms.double() for x in (small, large)]
    expected = (2 * parts[0] ** 2 + parts[1] ** 2).sqrt()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    strided = small.contiguous(memory_format=torch.channels_last)
    assert torch.equal(norms_of(layer, [strided])["weight"].norms, norms_of(layer, [small])["weight"].norms)


def test_the_norms_are_those_inside_the_network_and_work_in_inference_mode():
    model, x = mlp(), torch.randn(9, 8)
    with torch.inference_mode():
        found = norms_of(model, [x])
        hidden = model[:2](x)
    torch.testing.assert_close(found["2.weight"].norms[0], hidden.norm(dim=0), rtol=1e-5, atol=1e-6)


def test_a_layer_that_nobody_hears_is_refused_before_anything_runs():
    batches = [torch.randn(2, 5, 8)]
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    with pytest.raises(InvalidValue, match=r"'self_attn.out_proj.weight' is the projection") as caught:
        bb.evidence.check_inputs(layer, [InputNorms()], batches=batches, loss=None)
    assert "bb.excluding('self_attn.out_proj.weight')" in str(caught.value)
    found = norms_of(layer, batches, prunable=bb.excluding("*out_proj.weight"))
    assert list(found) == ["linear1.weight", "linear2.weight"]
    with pytest.raises(InvalidValue, match="'weight' belongs to Embedding"):
        norms_of(nn.Embedding(4, 3), [torch.tensor([1, 2])], prunable=every_weight)


class Unused(nn.Sequential):
    def forward(self, x):
        return self[0](x)


def test_a_layer_that_was_not_called_is_named():
    with pytest.raises(InvalidValue, match=r"the layer of '1.weight' was not called on the batches"):
        norms_of(Unused(nn.Linear(8, 3), nn.Linear(3, 3)), [torch.randn(2, 8)])


def test_inputs_that_are_not_finite_are_named():
    with pytest.raises(NotFinite, match=r"layer of '0.weight' is NaN"):
        norms_of(mlp(), [torch.tensor([[1.0] * 7 + [float("nan")]])])


# --- mean activations --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "conv", "tokens"])
def test_mean_activations_are_those_of_the_formula(kind):
    model, shape, dims = {
        "linear": (nn.Sequential(nn.Linear(8, 4), nn.Tanh()), (7, 8), (0,)),
        "conv": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), (7, 3, 6, 5), (0, 2, 3)),
        "tokens": (nn.Sequential(nn.Linear(8, 4), nn.GELU()), (3, 5, 8), (0, 1)),
    }[kind]
    x = torch.randn(shape)
    (means,) = bb.probe(model, [MeanActivations()], batches=[x[:2], x[2:]])[MeanActivations()].values()
    expected = model(x).detach().double().abs().mean(dims)
    assert means.site.name == "1"
    torch.testing.assert_close(means.magnitudes, expected, rtol=1e-5, atol=1e-7)


def test_outputs_that_are_not_finite_have_no_mean():
    with pytest.raises(NotFinite, match="site '1' gave NaN"):
        bb.probe(mlp(), [MeanActivations()], batches=[torch.full((1, 8), float("nan"))])


def test_functional_references_agree():
    """The unfolded sum is that of torch's own unfold: the control of the brute force above."""
    layer, x = nn.Conv2d(2, 3, 3, padding=1, stride=2), torch.randn(4, 2, 6, 6)
    columns = functional.unfold(x, 3, padding=1, stride=2).transpose(0, 1).flatten(1)
    torch.testing.assert_close(norms_of(layer, [x])["weight"].norms[0], columns.norm(dim=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("cached", [1, 300, 1 << 17])
def test_numbers_of_16_bits_are_widened_a_few_rows_at_a_time(dtype, layout, cached, monkeypatch):
    monkeypatch.setattr(input_norms, "_CACHED", cached)
    x = torch.randn(5, 3, 6, 7, generator=torch.Generator().manual_seed(2)).to(dtype).contiguous(memory_format=layout)
    layer = nn.Conv2d(3, 2, 3).to(dtype)
    found = norms_of(layer, [x])["weight"].norms[0]
    columns = functional.unfold(x.double(), 3).transpose(1, 2).flatten(0, 1)
    # float32 sums of squares of a hundred numbers
    torch.testing.assert_close(found.double(), columns.square().sum(0).sqrt(), rtol=1e-6, atol=0)


def test_batches_without_samples_are_refused_and_add_nothing_to_others():
    model = mlp()
    x = torch.randn(4, model[0].in_features)
    with pytest.raises(EmptyBatches, match="hold no samples"):
        norms_of(model, [x[:0], x[:0]])
    for name, found in norms_of(model, [x[:0], x]).items():
        assert torch.equal(found.norms, norms_of(model, [x])[name].norms)


class TiedLayers(nn.Module):
    """Two layers with one weight."""

    def __init__(self, first, second, between=None):
        super().__init__()
        self.first, self.second, self.between = first, second, between or nn.Identity()
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.between(self.first(x)))


def test_tied_convolutions_meet_their_weight_each_in_its_own_way():
    """With other strides and paddings, inputs of equal sizes must not be unfolded alike."""
    first, second = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, stride=2, padding=2, dilation=2)
    model = TiedLayers(first, second).requires_grad_(False)
    x = torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    found = norms_of(model, [x[:1], x[1:]])["first.weight"]
    expected = (by_outputs(first, x).square() + by_outputs(second, first(x)).square()).sqrt()
    spread = found.of_columns(found.norms, first.weight.shape).double()
    torch.testing.assert_close(spread, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "x", "words"),
    [
        (
            TiedLayers(nn.Embedding(7, 4), nn.Linear(4, 7)),
            torch.tensor([[1, 2]]),
            "'second.weight' belongs to Embedding",
        ),
        (
            TiedLayers(nn.Conv2d(3, 3, 3), nn.ConvTranspose2d(3, 3, 3)),
            torch.randn(2, 3, 5, 5),
            r"'first.weight' is tied, and its layers \(Conv2d, ConvTranspose2d\) multiply it in different ways",
        ),
        (
            TiedLayers(nn.Conv1d(4, 8, 1, groups=2), nn.Conv1d(2, 8, 1), nn.Conv1d(8, 2, 1)),
            torch.randn(2, 4, 5),
            r"'first.weight' is tied, and its layers \(Conv1d\) multiply it in different ways",
        ),
    ],
    ids=["embedding", "transposed", "groups"],
)
def test_a_weight_that_is_tied_to_another_kind_of_layer_is_refused(model, x, words):
    with pytest.raises(InvalidValue, match=rf"^{words}\n.*\nleave it out: prunable=bb.excluding"):
        norms_of(model, [x])


class Tied(nn.Module):
    """A decoder that is the encoder, transposed, without a call of its layer."""

    def __init__(self, decode):
        super().__init__()
        self.encode, self.decode = nn.Linear(4, 3), decode

    def forward(self, x):
        return self.decode(self.encode, torch.relu(self.encode(x)))


ELSEWHERE = {
    "linear": lambda layer, hidden: functional.linear(hidden, layer.weight.t()),
    "product": lambda layer, hidden: hidden @ layer.weight,
    "forward": lambda layer, hidden: layer.forward(hidden @ torch.ones(3, 4)),
}


@pytest.mark.parametrize("kind", ELSEWHERE)
@pytest.mark.parametrize("criterion", [bb.criteria.Wanda(), bb.criteria.RIA()], ids=["Wanda", "RIA"])
def test_a_weight_that_is_multiplied_outside_of_its_layer_is_refused(kind, criterion):
    """Half of what it is multiplied with would not count."""
    model, x = Tied(ELSEWHERE[kind]), torch.randn(5, 4)
    with pytest.raises(InvalidValue, match=r"'encode\.weight' is multiplied outside of its layer, by \w+ \(.*py:\d+\)"):
        bb.prune(model, sparsity=0.5, criterion=criterion, batches=[x])
    harmless = Tied(lambda layer, hidden: hidden * layer.weight.norm() + layer.weight.detach().sum())
    assert torch.equal(norms_of(harmless, [x])["encode.weight"].norms[0], x.norm(dim=0))


@pytest.mark.parametrize("probes", [[], [bb.evidence.Gradients()]], ids=["alone", "with gradients"])
def test_what_a_checkpoint_computes_again_is_heard_once(probes):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, x):
            return checkpoint(self.last, torch.relu(self.first(x)), use_reentrant=False)

    model, x = Checkpointed(), torch.randn(5, 4)
    seen = bb.probe(
        model, [InputNorms(), *probes], batches=[(x, torch.zeros(5).long())], loss=functional.cross_entropy
    )[InputNorms()]
    assert torch.equal(seen["first.weight"].norms[0], x.norm(dim=0))
    torch.testing.assert_close(seen["last.weight"].norms[0], torch.relu(model.first(x)).detach().norm(dim=0))
