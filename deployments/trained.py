"""Cases from recipes that were run: each arm is one, its first seed is measured, the others give accuracies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from budbreak.data import Images
from budbreak.errors import MissingData
from budbreak.exporting import Runner, Score, accuracy_of
from budbreak.live import apply_mask
from budbreak.recipes import Arm, load_recipe
from budbreak.results import TEST_ACCURACY, RunResult, load_result
from budbreak.studies import Leaving, Request, find_leaving
from deployments.cases import NO_GOALS, Case, Goals, Places, share_of_zeros

RECIPES = Path(__file__).parent / "recipes"
_EXAMPLE = 256  # images that files are verified on, as the command does


@dataclass(frozen=True)
class RecipeStudy:
    """A recipe of `deployments/recipes`, run by ``budbreak run``.

    Args:
        name: of the recipe; title: network and data; goals: what was aimed at.
        remark: what a reader must know of its training beside the numbers.
    """

    name: str
    title: str
    goals: Goals = NO_GOALS
    remark: str = ""

    @property
    def about(self) -> str:
        """How it was trained, by the recipe itself."""
        setup = self._arms[0].setup
        epochs, levels = setup.train.epochs, setup.prune.schedule.levels
        limit = f" on the first {setup.data.limit:,} training images" if setup.data.limit else ""
        return (
            f"Recipe [`{self.name}`](../deployments/recipes/{self.name}.toml): {epochs} epochs{limit}, then pruned "
            f"{levels} time{'s' * (levels > 1)} with {epochs} epochs after each: a pruned network has had more of them "
            f"than the dense one. {self.remark}Quality is accuracy; floors are held on the validation images, and the "
            "table gives the test images. Latencies are those of the first seed."
        )

    @property
    def planned(self) -> tuple[str, ...]:
        """Its arms."""
        return tuple(arm.name for arm in self._arms)

    @property
    def _arms(self) -> Sequence[Arm]:
        return load_recipe(RECIPES / f"{self.name}.toml").arms

    def cases(self, places: Places, names: tuple[str, ...]) -> Iterator[Case]:
        """See `Study`."""
        folder = _run_of(places.runs, self.name)
        result = load_result(folder)
        for name in names:
            leaving = find_leaving(Request(str(folder), data_dir=places.data, arm=name, seed=0))
            yield _case(name, leaving, _by_seed(result, name))


def _run_of(runs: Path, name: str) -> Path:
    found = sorted(runs.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise MissingData(
            f"{runs} holds no run of {name}",
            "its networks are measured",
            f"budbreak run deployments/recipes/{name}.toml --data-dir DIR --out {runs}",
        )
    return found[-1]


def _case(name: str, leaving: Leaving, seeds: tuple[tuple[float, float], ...]) -> Case:
    subject, parts = leaving.subject, leaving.subject.parts
    if leaving.dense is None or subject.mask is None:
        raise MissingData(f"{subject.origin} has no dense network or no mask", "it is pruned", "run the recipe")
    model = subject.model.eval()
    apply_mask(model, subject.mask)
    weights: dict[str, Tensor] = dict(subject.mask.parameters(model))
    example = parts.validation.normalised(parts.validation.first(_EXAMPLE).images)
    kind, _, percent = name.rpartition("-")
    return Case(
        name, f"{_WORDS[kind]}, {percent} % of the weights", leaving.dense.eval(), model, share_of_zeros(weights),
        example, _accuracy(parts.validation), {"accuracy": _accuracy(parts.test)}, seeds,
    )  # fmt: skip


_WORDS = {"weights": "single weights by magnitude", "units": "whole units by activation count"}


def _accuracy(images: Images) -> Score:
    def score(run: Runner) -> float:
        return accuracy_of(run, images)

    return score


def _by_seed(result: RunResult, arm: str) -> tuple[tuple[float, float], ...]:
    """Test accuracy of the dense network and of the pruned one, seed by seed."""
    found: list[tuple[float, float]] = []
    for seed in result.seeds:
        levels = [one for one in result.levels if (one.arm, one.seed) == (arm, seed)]
        ends = {one.level: one.numbers[TEST_ACCURACY.name] for one in levels if TEST_ACCURACY.name in one.numbers}
        if 0 in ends and len(ends) > 1:
            found.append((ends[0], ends[max(ends)]))
    return tuple(found)
