"""What stays of each parameter and buffer, as data that fits any instance of the same architecture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torch import nn

from budbreak.checks import check_model
from budbreak.compaction.surgery import Kept, Setting, add_biases, cut_tensors, put_settings
from budbreak.errors import CorruptFile, InvalidValue, MaskMismatch
from budbreak.files import conform, read_json, write_json
from budbreak.live import model_state, transient_state
from budbreak.masks import copied, unwrap

KIND = "compaction plan 1"
_REMEDY = "give what plan.save(path) or compacted.save(folder) wrote"


@dataclass(frozen=True)
class CompactionPlan:
    """Which units stay in each layer of an architecture.

    Args:
        shapes: of every parameter and buffer of the dense network, by state_dict name.
        kept: the indices that stay, of each parameter and buffer of which some go.
        settings: attributes of modules that change with them.
        biases: biases that layers are given, to hold what constants added.
    """

    shapes: Mapping[str, tuple[int, ...]] = field(repr=False)
    kept: tuple[Kept, ...]
    settings: tuple[Setting, ...] = ()
    biases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no network has."""
        for one in self.kept:
            shape = self.shapes.get(one.name, ())
            if one.dim >= len(shape) or not one.fits(shape[one.dim]):
                raise InvalidValue(
                    f"the plan keeps of {one.name!r}, of shape {tuple(shape)}, along {one.dim}: {one.indices[:5]}...",
                    "indices are ascending, within the dimension, and at least one",
                    _REMEDY,
                )

    def __str__(self) -> str:
        """A line for each parameter and buffer that shrinks."""
        lines = [
            f"{one.name} dim {one.dim}: {len(one.indices)} of {self.shapes[one.name][one.dim]}" for one in self.kept
        ]
        return "\n".join(lines or ["all units stay"])

    def apply(self, model: nn.Module) -> nn.Module:
        """The smaller network of another instance of the architecture, with that instance's own weights.

        Args:
            model: which stays as it is; wrappers (``torch.compile``, data-parallel) are taken off.

        Returns:
            A copy of which only the kept units are there; biases that the plan adds are zero.

        Raises:
            MaskMismatch: if it is another architecture: with the first name that differs.
            InvalidValue: if it is no model.
        """
        check_model(model)
        own = unwrap(model)
        self.check(own)
        smaller = copied(own)
        cut_tensors(smaller, self.kept)
        put_settings(smaller, self.settings)
        add_biases(smaller, self.biases)
        return smaller

    def check(self, model: nn.Module) -> None:
        """Refuse a model whose parameters and buffers have other names or shapes.

        Raises:
            MaskMismatch: with the first name that differs.
        """
        free = transient_state(model).keys() - {one.name for one in self.kept}  # caches, which grow with their inputs
        theirs = {name: shape for name, shape in shapes_of(model).items() if name not in free}
        mine = {name: tuple(shape) for name, shape in self.shapes.items() if name not in free}
        if mine != theirs:
            odd = next(name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name))
            raise MaskMismatch(
                f"{odd!r} is {mine.get(odd, 'absent')} in the plan and {theirs.get(odd, 'absent')} in the model",
                "a plan fits only the architecture that it was made for, before it was compacted",
                "build the dense model as it was then",
            )

    def to_json(self) -> str:
        """As text; `from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> CompactionPlan:
        """What `to_json` wrote.

        Raises:
            CorruptFile: if it is not what was written.
        """
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CorruptFile(f"the text is no JSON: {error}", "a plan is what to_json() gave", _REMEDY) from None
        return conform(cls, plain, Path("the plan"), _REMEDY)

    def save(self, path: str | Path) -> None:
        """Write it as a JSON file, atomically, with a checksum.

        Raises:
            CannotWrite: on a full disk or a forbidden folder.
        """
        write_json(Path(path), asdict(self), KIND)

    @classmethod
    def load(cls, path: str | Path) -> CompactionPlan:
        """Read what `save` wrote.

        Raises:
            CorruptFile: if the file was changed, or is no plan.
            FileNotFoundError, CannotRead: if it is not there, or no file.
        """
        return read_json(Path(path), KIND, cls, remedy=_REMEDY)


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter and buffer, by its state_dict name."""
    return {name: tuple(tensor.shape) for name, tensor in model_state(model).items()}
