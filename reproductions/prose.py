"""What every document says: of which networks and data a study is, what is missing, and where cells were computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reproductions.cells import Cell
from reproductions.study import Study
from reproductions.wording import listed

_NETWORKS = {
    "efficientnet-b0-safs": "EfficientNet-B0",
    "lenet-300-100": "LeNet-300-100",
    "lenet-5": "LeNet-5",
    "lenet-5-safs": "LeNet-5",
    "resnet-18-safs": "ResNet-18",
    "vgg-16-bn": "VGG-16",
    "bn-cnn": "a small CNN with BatchNorm",
    "mlp-300-200-100-50": "784-300-200-100-50-10",
}
_DATA = {
    "mnist": "MNIST",
    "fashion-mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "digits": "digits",
    "imagenet16": "ImageNet at 16 x 16",
    "tiny-imagenet-16-120": "120 classes of Tiny-ImageNet at 16 x 16",
}


def name_of(study: Study) -> str:
    """Network and data of a study that has cells, e.g. "LeNet-5 on MNIST"."""
    setup = study.cells[0].setup
    network, data = str(setup["network"]["name"]), str(setup["data"]["name"])
    limit = int(setup["data"]["limit"])
    part = f"{limit:,} images of " if limit else ""
    return f"{_NETWORKS.get(network, network)} on {part}{_DATA.get(data, data)}"


def missing_section(studies: Mapping[str, Study]) -> str:
    """What was planned and is not there."""
    lines = [f"- `{name}`: {missing_of(study)}" for name, study in studies.items() if study.missing]
    return "\n".join(["## Not measured yet", "", *(lines or ["Everything that was planned is there."])])


def missing_of(study: Study) -> str:
    """The arms and seeds of a study without cells."""
    if not study.cells:
        return f"all of it ({len(study.planned)} arms, {study.seeds} seeds)"
    texts = [
        arm if len(seeds) == study.seeds else f"{arm} (seed{'s' * (len(seeds) > 1)} {listed(map(str, seeds))})"
        for arm, seeds in study.missing
    ]
    return listed(texts)


def places_section(found: Mapping[str, Study]) -> str:
    """Where the cells were computed, and what they cost."""
    lines = [f"- `{name}`: {'; '.join(_machines(study.cells))}" for name, study in found.items()]
    return "\n".join(["## Where this was computed", "", *lines])


def _machines(cells: Sequence[Cell]) -> list[str]:
    counts: dict[str, list[float]] = {}
    for cell in cells:
        counts.setdefault(_machine(cell), []).append(sum(cell.seconds[1:]))  # level 0 is shared by the arms of a seed
    return [f"{len(times)} cells, {sum(times) / 3600:.1f} hours, on {machine}" for machine, times in counts.items()]


def _machine(cell: Cell) -> str:
    return f"{processor_of(cell.environment)}, run `{cell.run}`"


def processor_of(where: Mapping[str, object]) -> str:
    """Processor, threads and versions of an environment."""
    capabilities = where["capabilities"]
    features = ", ".join(map(str, capabilities)) if isinstance(capabilities, list | tuple) else ""
    device = f"{listed_devices(where)}{where['processor']} ({features})"
    return f"{device}, {where['threads']} thread, torch {where['torch']}, budbreak {where['budbreak']}"


def listed_devices(environment: Mapping[str, object]) -> str:
    """The GPUs of an environment, before the processor; empty if there is none."""
    devices = environment.get("cuda")
    return f"{', '.join(map(str, devices))}, " if isinstance(devices, list | tuple) and devices else ""


def tidy(text: str) -> str:
    """One empty line between parts, one line end at the end."""
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip() + "\n"
