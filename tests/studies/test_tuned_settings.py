"""What the spaces of settings with a name choose is what ``[train]`` takes, however few epochs there are."""

import random

import pytest

from budbreak.recipes.learning_sections import TrainSection
from budbreak.search import TUNING_SPACES, TuningSpace, drawn


@pytest.mark.parametrize("name", TUNING_SPACES)
@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 5, 6, 20, 21, 80])
def test_every_choice_is_a_training(name, epochs):
    space, met = TuningSpace.of(name, epochs), set()
    for seed in range(60):
        candidate = drawn(space, random.Random(seed))
        settings = space.settings(candidate)
        section = TrainSection(epochs=epochs, **settings)
        section.schedule.check(epochs, 50)
        learning_rate = space.chosen(candidate)[f"optimizer.{candidate[0]}.learning_rate"]
        assert section.optimizer.learning_rate == learning_rate
        met |= {candidate[0], candidate[-1]}
    assert met == {"sgd", "adam", "tadam", "fromage", None, *space.parameters[-1].domain.values}
