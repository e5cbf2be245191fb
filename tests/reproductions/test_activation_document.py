"""The document on activation-based pruning: its numbers, and the sentences that judge by them."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_cells import made_cell
from made_networks import DENSE_EPOCHS, STANDARD, made_end, made_factor, made_network

from reproductions.activation.channels import OTHERS, SHARES, curves, rows_of
from reproductions.activation.comparing import forms, shrunk_more
from reproductions.activation.document import activation_document
from reproductions.activation.studies import CHANNELS, channel_studies, measured_studies
from reproductions.settings import SETTINGS, Setting

RECIPES = Path(__file__).parents[2] / "recipes"
NAME = "fashion-activation"
NOISE = (0.0, 0.001, -0.001)


def text_of(cells, networks=(), factors=()):
    return activation_document(cells, networks, factors, recipes=RECIPES)


def ends(seeds=3, **accuracies):
    """Cells of some arms: name -> accuracy, with little noise."""
    return [
        made_end(arm.replace("_", "-"), seed, accuracy + NOISE[seed] * (1 + place))
        for place, (arm, accuracy) in enumerate(accuracies.items())
        for seed in range(seeds)
    ]


def claim(text, words):
    """The answer to the claim with these words."""
    return next(part for part in text.split("\n> ") if words in part.split("\n\n")[0]).split("\n## ")[0]


def section(text, title):
    return text.split(f"### {title}\n")[1].split("\n#")[0]


def test_without_cells_all_of_it_is_missing():
    text = text_of([])
    assert "Nothing was measured yet." in text
    assert text.count("Not measured yet.") == 5  # each claim
    assert all(f"- `{NAME}{setting.suffix}`: all of it" in text for setting in SETTINGS)
    assert all(f"- `{name}`: all of it (5 arms, 5 seeds)" in text for name in CHANNELS)


def test_what_is_within_a_point_is_comparable_and_what_is_not_is_said():
    answer = claim(text_of(ends(units=0.80, count_weights=0.90, magnitude=0.901)), "comparable")
    (near,) = [line for line in answer.splitlines() if "| count-weights - magnitude |" in line]
    assert near.endswith("| within 1 point |")
    (far,) = [line for line in answer.splitlines() if "| units - magnitude |" in line]
    assert far.endswith("| below |")
    assert "| 75.0 +- 0.0 and 75.0 +- 0.0 |" in near  # 250 of 1,000 weights stay
    assert "Of 2 comparisons 2 have an interval. 1 lie wholly within 1 point" in answer
    assert "0 are shown to be above, 1 below." in answer


def test_a_single_seed_is_never_judged():
    cells = ends(seeds=1, units=0.2, magnitude=0.9)
    text = text_of(cells, [made_network(cell) for cell in cells], [made_factor(cells[0], "pca", 0.1)])
    assert "a single seed shows nothing" in claim(text, "comparable")
    assert "+10.00 (n=1): a single seed" in claim(text, "by PCA")
    assert "**Half-powered: 1 of 5 seeds at most.**" in text
    assert "pruned is above" not in text
    assert "+-" not in section(text, "Ranks")


def test_the_standard_network_is_what_the_authors_arm_starts_from():
    cells = ends(units=0.8, magnitude_authors=0.85)
    text = text_of(cells)
    (row,) = [line for line in text.splitlines() if line.startswith("| standard |")]
    mean = 100 * (STANDARD + 0.001)
    assert f"| {DENSE_EPOCHS}.0 +- 0.0 | - | {mean:.2f} +- 0.10 | - | - |" in row
    assert "| units - standard | - |" in text  # it has no accuracy right after a pruning


def test_tables_say_what_the_cells_hold():
    text = text_of(ends(units=0.8, magnitude=0.9))
    (row,) = [line for line in text.splitlines() if line.startswith("| units | 3 of 5 | 80.0 |")]
    assert "| 12.0 +- 0.0 | 62.00 +- 0.00 | 80.00 +- 0.10 | 80.00 +- 0.10 | 81.00 +- 0.10 |" in row
    prunings = section(text, "Each pruning, and what was trained after it")
    assert "| units | 61.0 +- 0.0 to 81.0 +- 0.0 | 62.0 +- 0.0 to 82.0 +- 0.0 |" in prunings
    ranks = next(line for line in section(text, "Ranks").splitlines() if line.startswith("| units |"))
    assert "| 40.0 +- 0.0 / 20.0 +- 0.0 | 10.0 +- 0.0 / 10.0 +- 0.0 |" in ranks
    assert "| 13.0 +- 0.0 / 13.0 +- 0.0 | 80 +- 0 / 80 +- 0 |" in ranks


def test_the_books_of_ranks_agree_or_say_how_far_they_are_off():
    cells = ends(units=0.8)
    right = claim(text_of(cells, [made_network(cell) for cell in cells]), "retrained")
    assert "In 6 of 6 hidden layers" in right
    assert "because, dead units have such biases" in right
    wrong = claim(text_of(cells, [made_network(cell, positive=5) for cell in cells]), "retrained")
    assert "In 0 of 6 hidden layers" in wrong
    assert "The largest difference in a layer is -2" in wrong
    assert "because, dead units have such biases" not in wrong


def test_factors_are_paired_by_seed_and_corrected_together():
    cells = ends(units=0.8, count_weights=0.9)
    factors = [made_factor(cell, "pca", 0.7 + 0.01 * cell.seed) for cell in cells]
    factors += [
        made_factor(cell, "trained", cell.end["test_accuracy"][-1] + (0.02, -0.02, 0.001)[cell.seed]) for cell in cells
    ]
    found = {(form.arm, form.method): form for form in forms(measured_studies(cells, [], factors, RECIPES)[NAME])}
    assert found["units", "pca"].difference.mean == pytest.approx(0.09)
    assert found["count-weights", "pca"].outcome == "pruned is above"
    assert found["units", "trained"].outcome == "no difference shown"
    assert all(form.p >= form.difference.p for form in found.values())
    answer = claim(text_of(cells, [], factors), "by PCA")
    assert "against pca shown to be above in 2 of 2 rows, below in 0 (count-weights and units above)" in answer
    assert "against svd not measured yet" in answer
    missing = text_of(cells, [], factors).split("## Not measured yet")[1]
    assert "the standard network as factors, in part or whole: units seed 0, units seed 1, units seed 2" in missing


def test_which_arm_shrinks_small_singular_values_most_is_read_from_the_thirds():
    cells = ends(units=0.8, random=0.8)
    networks = [made_network(cell, third=-50.0 if cell.arm == "units" else -1.0) for cell in cells]
    answer = claim(text_of(cells, networks), "nuclear norm")
    assert "It holds in every layer for units; not in every one: random." in answer
    assert shrunk_more(networks[:3]) == (6, 6)
    assert shrunk_more(networks[3:]) == (0, 6)


@pytest.mark.parametrize(
    ("share", "verdict"),
    [(0.3, "vectors, which no weighted nuclear norm does: it is not equivalent."), (1.0, "such a step.")],
)
def test_a_pruning_is_equivalent_to_a_nuclear_norm_only_where_it_keeps_singular_vectors(share, verdict):
    cells = ends(units=0.8, random=0.8)
    networks = [made_network(cell, along=share if cell.arm == "units" else 0.1) for cell in cells]
    answer = claim(text_of(cells, networks), "nuclear norm")
    assert f"{100 * share:.0f} to {100 * share:.0f} % is, in 6 layers: " in answer
    assert verdict in answer
    before = [replace(network, along={}) for network in networks]
    assert "was not measured yet" in claim(text_of(cells, before), "nuclear norm")


def test_settings_are_studies_of_their_own_without_what_they_do_not_change():
    name = f"{NAME}{Setting(0.9, 5).suffix}"
    cells = [made_end(arm, seed, 0.8, recipe=name) for arm in ("units", "units-local") for seed in (0, 1)]
    text = text_of(cells)
    assert "with `--set prune.schedule.sparsity=0.9`: 2 of 25 cells." in text
    assert "| units-local |" not in text
    assert Setting(0.8, 10).command == "--set prune.schedule.levels=10 --set train.until.prunings=10"


def channel_cells(arms, seeds=3):
    """Cells and networks of arms that differ in MACs as well as in accuracy."""
    cells, networks = [], []
    for place, arm in enumerate(arms):
        for seed in range(seeds):
            accuracies = [0.9, 0.8 - 0.02 * place + NOISE[seed], 0.6 - 0.02 * place + NOISE[seed] * place]
            cell = made_cell(arm, seed, accuracies, recipe=CHANNELS[0], reference=None)
            cells.append(cell)
            networks.append(made_network(cell, macs=(1000, 500 + 100 * place, 200 + 10 * place)))
    return cells, networks


def test_channels_are_compared_at_equal_macs():
    cells, networks = channel_cells(("count", *OTHERS))
    text = text_of(cells, networks)
    part = text.split("## Channels: ")[1]
    # count at 30 %: a third of the way from 20 % (0.6) to 50 % (0.8), seeds at +-0.001 / 3: 66.67
    (row,) = [line for line in part.splitlines() if line.startswith("| count | 3 of 5 |")]
    assert "| 66.67 +- 0.03 | - |" in row  # nothing is read below the last level
    assert "activation count was shown to be above" in part
    assert "| count - apoz |" in part
    assert "Compaction computes exactly what is connected." in part
    assert "Latencies were measured on P (c), 1 thread, torch 2, budbreak 0." in part
    assert "[`mnist-lenet5-channels`](../../recipes/mnist-lenet5-channels.toml): 15 of 25 cells" in part


def test_what_compaction_keeps_beyond_what_is_connected_is_said():
    cells, networks = channel_cells(("count", "apoz"))
    networks = [replace(one, compact_macs=(1000, 2 * one.macs[-1])) if one.arm == "apoz" else one for one in networks]
    assert "compaction still computes: apoz 100.0 %." in text_of(cells, networks)


def test_channels_need_networks_to_be_compared():
    cells, networks = channel_cells(("count", "apoz"))
    study = text_of(cells, networks[:3])
    assert "nothing to compare" in study
    assert f"- `{CHANNELS[0]}`, what is measured on stored networks: apoz seed 0, apoz seed 1 and apoz seed 2" in study


def test_the_correction_goes_over_all_criteria_and_shares():
    cells, networks = channel_cells(("count", "apoz", "magnitude"))
    rows = rows_of(curves(channel_studies(cells, networks, RECIPES)[CHANNELS[0]]))
    assert {(pair[1], share) for pair, share, *_ in rows} == {
        (arm, s) for arm in ("apoz", "magnitude") for s in SHARES[:3]
    }
    tested = [(one.p, p) for _, _, one, p in rows if one.p is not None]  # others differ by the same in all seeds
    assert tested
    assert min(p / alone for alone, p in tested) >= 1
    assert max(p / alone for alone, p in tested) > 1
