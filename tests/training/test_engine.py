"""The loop: exact arithmetic, equal bits, every image counted, float32 evaluation, refusals."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from budbreak.data import PAD, Images, batches, crop_and_flip, load, split
from budbreak.errors import EmptyBatches, InvalidValue, NotFinite, UnknownName
from budbreak.files import tensor_bytes
from budbreak.networks import build, lenet_300_100, mlp, resnet_20
from budbreak.networks.lenet import lenet_5
from budbreak.networks.resnet import ResNet
from budbreak.training import SGD, Engine, choose_engine, evaluate, steps_per_epoch, train_epoch

FLOAT32 = Engine(bf16=False, channels_last=False, threads=1)
BFLOAT16 = Engine(bf16=True, channels_last=True, threads=1)


def make_images(count: int = 37, channels: int = 3, size: int = 8, classes: int = 4) -> Images:
    generator = torch.Generator().manual_seed(7)
    labels = torch.randint(0, classes, (count,), generator=generator)
    images = torch.randint(0, 200, (count, channels, size, size), generator=generator)
    images[:, 0, 0, 0] = labels * 50  # something to learn
    return Images(images.to(torch.uint8), labels, (0.4,) * channels, (0.2, 0.3, 0.4)[:channels])


def state_hash(model: nn.Module) -> str:
    hasher = hashlib.sha256()
    for tensor in model.state_dict().values():
        hasher.update(tensor_bytes(tensor).data)
    return hasher.hexdigest()


# --- images ------------------------------------------------------------------------------------------------


def test_normalising_is_pixel_over_255_minus_mean_over_std() -> None:
    data = make_images(5)
    expected = (data.images.double() / 255 - 0.4) / torch.tensor(data.std).double().view(1, 3, 1, 1)
    got = data.normalised(data.images)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-6)  # float32 rounding of values up to 5


def test_normalising_keeps_channels_last() -> None:
    data = make_images(5)
    wide = data.images.contiguous(memory_format=torch.channels_last)
    assert data.normalised(wide).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(data.normalised(wide), data.normalised(data.images))


def test_crop_and_flip_equals_one_image_at_a_time() -> None:
    images = make_images(50, size=6).images
    offsets, mirrored = torch.randint(0, 2 * PAD + 1, (2, 50)), torch.rand(50) < 0.5
    got = crop_and_flip(images, offsets, mirrored)
    for i, image in enumerate(images.numpy()):
        faced = image[:, :, ::-1] if mirrored[i] else image
        padded = np.pad(faced, ((0, 0), (PAD, PAD), (PAD, PAD)))
        top, left = offsets[:, i].tolist()
        np.testing.assert_array_equal(got[i].numpy(), padded[:, top : top + 6, left : left + 6])


def test_batches_hold_every_image_once_in_order_and_again() -> None:
    data = make_images(37)
    loader = batches(data, 10)
    for _ in range(2):
        inputs, labels = zip(*loader, strict=True)
        assert [len(part) for part in labels] == [10, 10, 10, 7]
        assert torch.equal(torch.cat(labels), data.labels)
        assert torch.equal(torch.cat(inputs), data.normalised(data.images))
    assert len(loader) == 4


def test_a_limit_takes_the_first_images() -> None:
    data = make_images(37)
    assert torch.equal(torch.cat([labels for _, labels in batches(data, 10, limit=12)]), data.labels[:12])
    assert len(batches(data, 10, limit=99)) == 4


@pytest.mark.parametrize("change", ["float", "shape", "labels", "std", "channels"])
def test_images_refuse_other_shapes_and_dtypes(change: str) -> None:
    pixels, labels = torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)
    broken = {
        "float": (pixels.float(), labels, (0.5,), (0.5,)),
        "shape": (pixels[0], labels, (0.5,), (0.5,)),
        "labels": (pixels, labels[:2], (0.5,), (0.5,)),
        "std": (pixels, labels, (0.5,), (0.0,)),
        "channels": (pixels, labels, (0.5, 0.5), (0.5, 0.5)),
    }
    with pytest.raises(InvalidValue):
        Images(*broken[change])


def test_no_images_no_batches() -> None:
    empty = make_images(3).take(torch.zeros(0, dtype=torch.int64))
    model = mlp((3, 8, 8), 4, (5,))
    with pytest.raises(EmptyBatches):
        batches(empty, 10)
    with pytest.raises(EmptyBatches):
        train_epoch(model, SGD(0.1).build(model), empty, engine=FLOAT32, batch_size=2)


# --- training ----------------------------------------------------------------------------------------------


def plain_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, data: Images, batch_size: int) -> float:
    """The textbook loop, in the order that the same generator state gives."""
    order = torch.randperm(len(data))
    total = 0.0
    for index in order.split(batch_size):
        loss = functional.cross_entropy(model(data.normalised(data.images[index])), data.labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += float(loss.detach()) * len(index)
    return total / len(data)


def test_an_epoch_equals_the_textbook_loop() -> None:
    data, calls = make_images(37), [0]
    fast, plain = mlp((3, 8, 8), 4, (9,)), mlp((3, 8, 8), 4, (9,))
    plain.load_state_dict(fast.state_dict())
    settings = {"momentum": 0.9, "weight_decay": 1e-3, "nesterov": True}

    def count() -> None:
        calls[0] += 1

    torch.manual_seed(3)
    report = train_epoch(fast, SGD(0.1, **settings).build(fast), data, engine=FLOAT32, batch_size=10, after_step=count)
    torch.manual_seed(3)
    loss = plain_epoch(plain, torch.optim.SGD(plain.parameters(), 0.1, **settings), data, 10)
    assert report.loss == pytest.approx(loss, rel=1e-5)
    assert report.steps == calls[0] == 4 == steps_per_epoch(37, 10)
    assert report.seconds > 0
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(fast.state_dict()[name], tensor, atol=1e-5, rtol=1e-4)  # fused: other rounding


@pytest.mark.parametrize("engine", [FLOAT32, BFLOAT16])
def test_same_seed_same_bits_and_a_restored_generator_repeats_an_epoch(engine: Engine) -> None:
    data = make_images(40)

    def run(split: bool) -> tuple[str, float]:
        torch.manual_seed(5)
        model = engine.prepare(ResNet((3, 8, 8), 4, blocks=1))
        optimizer = SGD(0.05, momentum=0.9, weight_decay=0.0).build(model)
        train_epoch(model, optimizer, data, engine=engine, batch_size=16, augment=True)
        if split:
            state = torch.get_rng_state()
            torch.rand(99)
            torch.set_rng_state(state)
        report = train_epoch(model, optimizer, data, engine=engine, batch_size=16, augment=True)
        return state_hash(model), report.loss

    first = run(split=False)
    assert run(split=True) == first
    torch.manual_seed(6)
    other = engine.prepare(ResNet((3, 8, 8), 4, blocks=1))
    assert state_hash(other) != first[0]


def test_augmentation_changes_what_is_learned_and_nothing_else() -> None:
    data, hashes = make_images(40), []
    for augment in (False, True):
        torch.manual_seed(5)
        model = mlp((3, 8, 8), 4, (9,))
        train_epoch(model, SGD(0.1).build(model), data, engine=FLOAT32, batch_size=16, augment=augment)
        hashes.append(state_hash(model))
    assert hashes[0] != hashes[1]
    assert torch.equal(data.images, make_images(40).images)


def test_half_of_the_images_are_mirrored_and_all_crops_occur(monkeypatch) -> None:
    drawn: list[tuple[Tensor, Tensor]] = []

    def record(images: Tensor, offsets: Tensor, mirrored: Tensor) -> Tensor:
        drawn.append((offsets, mirrored))
        return crop_and_flip(images, offsets, mirrored)

    monkeypatch.setattr("budbreak.training.engine.crop_and_flip", record)
    torch.manual_seed(0)
    model = mlp((1, 4, 4), 4, (5,))
    data = make_images(2000, channels=1, size=4)
    train_epoch(model, SGD(0.01).build(model), data, engine=FLOAT32, batch_size=300, augment=True)
    offsets, mirrored = torch.cat([row for row, _ in drawn], 1), torch.cat([row for _, row in drawn])
    assert len(mirrored) == 2000
    assert float(mirrored.float().mean()) == pytest.approx(0.5, abs=0.05)  # 4.5 standard errors
    counts = torch.stack([row.bincount() for row in offsets])
    assert counts.shape == (2, 2 * PAD + 1)
    assert int(counts.min()) > 150  # of 222 expected, with standard deviation 14


@pytest.mark.parametrize(("engine", "dtype"), [(FLOAT32, torch.float32), (BFLOAT16, torch.bfloat16)])
def test_convolutions_train_in_the_precision_of_the_engine(engine: Engine, dtype: torch.dtype) -> None:
    seen: set[torch.dtype] = set()
    model = engine.prepare(ResNet((3, 8, 8), 4, blocks=1))
    model.conv.register_forward_hook(lambda _module, _inputs, output: seen.add(output.dtype))
    train_epoch(model, SGD(0.01).build(model), make_images(20), engine=engine, batch_size=10)
    assert seen == {dtype}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_training_learns_and_sets_training_mode() -> None:
    torch.manual_seed(0)
    data = make_images(200)
    model = FLOAT32.prepare(mlp((3, 8, 8), 4, (32,))).eval()
    optimizer = SGD(0.05, momentum=0.9, weight_decay=0.0).build(model)
    losses = [train_epoch(model, optimizer, data, engine=FLOAT32, batch_size=20).loss for _ in range(15)]
    assert model.training
    assert losses[-1] < losses[0] / 3
    assert evaluate(model, data, engine=FLOAT32).accuracy > 0.95


@pytest.mark.parametrize("bad_step", [1, 3, 60])
def test_a_loss_that_is_not_finite_names_its_step(bad_step: int) -> None:
    data, model = make_images(130), mlp((3, 8, 8), 4, (5,))
    steps = [0]

    def poison() -> None:
        steps[0] += 1
        if steps[0] == bad_step:
            with torch.no_grad():
                next(model.parameters()).fill_(math.nan)

    with pytest.raises(NotFinite, match=f"loss is nan at step {bad_step + 1} of"):
        train_epoch(model, SGD(0.1).build(model), data, engine=FLOAT32, batch_size=2, after_step=poison)
    assert steps[0] <= bad_step + 50


# --- evaluation --------------------------------------------------------------------------------------------


def test_every_image_counts_in_float32_evaluation_mode() -> None:
    data = make_images(37)
    seen: list[tuple[torch.dtype, bool]] = []

    def watch(module: nn.Module, _args: object, output: Tensor) -> None:
        seen.append((output.dtype, module.training))

    torch.manual_seed(1)
    model = BFLOAT16.prepare(ResNet((3, 8, 8), 4, blocks=1))
    model.bn.eval()  # a mode of its own, to be found again
    model.conv.register_forward_hook(watch)
    before = state_hash(model)
    result = evaluate(model, data, engine=BFLOAT16, batch_size=10)
    assert seen == [(torch.float32, False)] * 4
    assert (model.training, model.bn.training, model.fc.training) == (True, False, True)
    assert state_hash(model) == before
    model.eval()
    with torch.no_grad():
        outputs = model(data.normalised(data.images)).double()
    assert result.samples == 37
    assert result.accuracy == int((outputs.argmax(1) == data.labels).sum()) / 37
    assert result.loss == pytest.approx(float(functional.cross_entropy(outputs, data.labels)), rel=1e-5)


def test_a_nan_output_is_wrong() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.full((len(x), 4), math.nan)

    data = make_images(37)
    assert evaluate(Broken(), data, engine=FLOAT32).accuracy == 0.0


# --- choice ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factory", "shape", "capabilities", "expected"),
    [
        (resnet_20, (3, 32, 32), {"amx_tile": True, "avx512_bf16": True}, (True, True)),
        (resnet_20, (3, 32, 32), {"avx512_bf16": True}, (True, True)),
        (resnet_20, (3, 32, 32), {"avx512_bf16": False, "avx2": True}, (False, True)),
        (resnet_20, (3, 32, 32), {}, (False, True)),
        (lenet_5, (1, 28, 28), {"amx_tile": True}, (False, True)),
        (lenet_300_100, (1, 28, 28), {"amx_tile": True}, (False, False)),
    ],
)
def test_the_measured_rules(factory, shape, capabilities, expected) -> None:
    engine = choose_engine(factory(shape, 10), device="cpu", capabilities=capabilities, threads=3)
    assert (engine.bf16, engine.channels_last) == expected
    assert (engine.threads, engine.device) == (3, "cpu")
    assert ("bfloat16 autocast" in engine.summary()) is expected[0]


def test_preparing_sets_the_threads() -> None:
    for threads in (2, 1):
        Engine(bf16=False, channels_last=False, threads=threads).prepare(nn.Linear(1, 1))
        assert torch.get_num_threads() == threads


def test_an_asked_precision_is_obeyed() -> None:
    model = lenet_300_100((1, 28, 28), 10)
    assert choose_engine(model, precision="bfloat16", device="cpu", capabilities={}).bf16
    model = resnet_20((3, 32, 32), 10)
    assert not choose_engine(model, precision="float32", device="cpu", capabilities={"amx_tile": True}).bf16


def test_the_machine_is_asked() -> None:
    engine = choose_engine(resnet_20((3, 32, 32), 10), device="cpu")
    assert engine.threads == torch.get_num_threads()
    assert isinstance(engine.bf16, bool)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [({"precision": "bf16"}, UnknownName), ({"device": "gpu"}, UnknownName), ({"threads": 0}, InvalidValue)],
)
def test_an_unknown_choice_is_refused(wrong, error) -> None:
    with pytest.raises(error):
        choose_engine(lenet_300_100((1, 28, 28), 10), **wrong)


def test_channels_last_changes_memory_not_values() -> None:
    engine = Engine(bf16=False, channels_last=True, threads=1)
    model = resnet_20((3, 32, 32), 10)
    before = state_hash(model)
    engine.prepare(model)
    assert model.stage1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert state_hash(model) == before
    assert engine.place(torch.zeros(2, 3, 4, 4)).is_contiguous(memory_format=torch.channels_last)


def test_a_trained_network_of_the_command_gives_equal_bits_with_two_threads() -> None:
    class Task:
        shape, classes = (1, 12, 12), 4

    data, hashes = make_images(60, channels=1, size=12), set[str]()
    engine = Engine(bf16=False, channels_last=True, threads=2)
    for _ in range(2):
        model = engine.prepare(build("lenet-5", Task(), seed=3))
        torch.manual_seed(8)
        train_epoch(model, SGD(0.1).build(model), data, engine=engine, batch_size=20)
        hashes.add(state_hash(model))
    assert len(hashes) == 1


def test_bfloat16_learns_the_digits_as_well_as_float32() -> None:
    pytest.importorskip("sklearn")
    digits = split(load("digits"))
    accuracies = []
    for engine in (FLOAT32, BFLOAT16):
        torch.manual_seed(0)
        model = engine.prepare(ResNet((1, 8, 8), 10, blocks=1))
        optimizer = SGD(0.05, momentum=0.9, weight_decay=0.0).build(model)
        for _ in range(4):
            train_epoch(model, optimizer, digits.train, engine=engine, batch_size=32)
        accuracies.append(evaluate(model, digits.test, engine=engine).accuracy)
    assert min(accuracies) > 0.93
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.03)  # 360 images: a standard error is 0.01
