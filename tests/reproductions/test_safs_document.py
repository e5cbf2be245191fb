"""The document on SAFS: its numbers, and the sentences that judge by them."""

from pathlib import Path

import pytest
from made_searches import made_sparse

from reproductions.safs.combined import COMBINED, combined_study, gains
from reproductions.safs.document import safs_document
from reproductions.safs.studies import OPERATORS, operators, safs_studies
from reproductions.settings import SAFS

RECIPES = Path(__file__).parents[2] / "recipes"
NOISE = (0.0, 0.002, -0.002)
ENDS = {"relu": 0.80, "stage-1": 0.82, "stage-2": 0.84, "safs": 0.86, "relu-tuned": 0.84}
NAMES = ("relu", "relu6", "swish", "gelu", "elu", "tanh", "symlog", "srs", "acon", "prelu")


def text_of(cells):
    return safs_document(cells, recipes=RECIPES)


def arms(ends=ENDS, seeds=3, **fields):
    """Cells of some arms: name -> accuracy, with little noise."""
    return [
        made_sparse(arm, seed, accuracy + NOISE[seed] * (1 + place % 2), **fields)
        for place, (arm, accuracy) in enumerate(ends.items())
        for seed in range(seeds)
    ]


def singles(seeds=3, sparsities=(0.9, 0.95, 0.97, 0.99), **best):
    """Cells of the grid of activations; some better than the others."""
    return [
        made_sparse(
            f"{name}@sparsity={at}",
            seed,
            0.7 + best.get(name, 0.0) + NOISE[seed] * place / 10,
            sparsity=at,
            recipe=OPERATORS,
        )
        for place, name in enumerate(NAMES)
        for at in sparsities
        for seed in range(seeds)
    ]


def section(text, title):
    return text.split(f"# {title}")[1].split("\n#")[0]


def row_of(text, begin):
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {begin} |")]
    return row


def test_without_cells_all_of_it_is_missing():
    text = text_of([])
    assert "Nothing was measured yet." in text
    assert all(f"- `{SAFS}{suffix}`: all of it (7 arms, 5 seeds)" in text for suffix in ("", "-95", "-99"))
    assert f"- `{OPERATORS}`: all of it (40 arms, 3 seeds)" in text
    assert "nan" not in text.lower()


def test_each_arm_stands_with_its_seeds_and_its_difference_to_relu():
    part = section(text_of(arms()), "LeNet-5 on MNIST, 97 % sparse")
    assert "15 of 35 cells" in part
    assert "**Half-powered: 3 of 5 seeds at most.**" in part
    assert row_of(part, "dense").startswith("| dense | 3 of 5 | 98.60 +- 0.10 | - |")
    assert row_of(part, "relu").startswith("| relu | 3 of 5 | 80.00 +- 0.20 | - | - | - | 10.0 +- 0.0 |")
    found = row_of(part, "stage-1")  # seeds differ by 2.0, 2.2 and 1.8 points: 0.2 * 4.303 / sqrt(3) = 0.50
    assert "| 82.00 +- 0.40 | **+2.00 [+1.50, +2.50]** |" in found
    assert "| above |" in found


def test_the_paper_stands_beside_its_sparsity_only():
    cells = arms({"relu": 0.4, "relu-tuned": 0.5}, sparsity=0.99)
    text = text_of([*arms(), *cells])
    there = section(text, "LeNet-5 on MNIST, 99 % sparse")
    assert row_of(there, "dense").endswith("| 98.49 |")
    assert row_of(there, "relu").endswith("| 46.69 |")
    assert row_of(there, "relu-tuned").endswith("| - |")
    assert "with `--set prune.schedule.sparsity=0.99`: 6 of 35 cells" in there
    assert "the paper" not in section(text, "LeNet-5 on MNIST, 97 % sparse")


def test_the_gain_is_divided_over_both_orders():
    text = text_of(arms())
    # activations: 2 points without tuning, 2 with it; hyper-parameters: 4 and 4
    assert "activations +2.00 [" in text
    assert "hyper-parameters with alpha and beta +4.00 [" in text
    assert "(33 % and 67 %, 3 seeds)" in text


def test_no_gain_is_not_divided():
    none = text_of(arms({**ENDS, "safs": 0.80}))
    assert "No gain of both stages is shown: there is nothing to divide." in none
    some = text_of([cell for cell in arms() if (cell.arm, cell.seed) != ("stage-1", 2)])
    assert "Fewer than 3 seeds have all four arms" in some
    assert " % and " not in some


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_are_never_judged(seeds):
    text = text_of([*arms(seeds=seeds), *singles(seeds, srs=0.2)])
    assert "Fewer than 3 seeds: nothing is judged, and no gain is divided." in text
    assert "No activation has 3 seeds beside relu yet" in text
    assert "| above |" not in text
    assert "| **" not in text
    assert row_of(section(text, "LeNet-5 on MNIST, 97"), "safs").count("| fewer than 3 seeds: no verdict |") == 1


def test_masks_cap_what_can_be_reached():
    cells = arms({"relu": 0.4, "safs": 0.5}, sparsity=0.99, reached=5)
    cells += arms({"relu-floor": 0.4, "relu-connected": 0.7}, sparsity=0.99)
    text = section(text_of(cells), "LeNet-5 on MNIST, 99 % sparse")
    assert "12 of 35 cells" in text
    reach = section(text_of(cells).split("99 % sparse\n")[1], "Classes that are reached")
    # the caps are 60 %: 20 and 10 points above what relu and safs reach
    assert (
        "In 6 of 12 cells classes without a path cap the accuracy. There it lies in the mean 15.0 points below" in reach
    )
    assert "| 0 | relu and safs | 5 | 60 | 200 of 500 | 40.00 (relu) | 50.00 (safs) |" in reach
    both = "relu-floor and relu-connected | 10 | 100 | 200 of 500 | 40.00 (relu-floor) | 70.00 (relu-connected)"
    assert f"| 0 | {both} |" in reach
    assert "| connectivity, repaired | relu-connected - relu-floor | **+30.00 [" in text_of(cells)
    assert "In all 15 cells every class is reached" in text_of(arms())


def test_what_searches_chose_cost_and_promised_is_told():
    text = text_of(arms())
    sites = section(text, "Operators by site")
    assert "| 97 % sparse | stage-1 | 3 of 5 | relu1 | srs 3 |" in sites
    assert "| 97 % sparse | safs | 3 of 5 | relu2 | tanh 2, swish 1 |" in sites
    assert "| 97 % sparse | stage-2 | 2 | adam, learning_rate 0.012 | constant |" in section(text, "Hyper-parameters")
    costs = section(text, "What a search cost, and what it promised")
    assert "| 97 % sparse | safs | 3 of 5 | 6 +- 0 | 133 +- 0 | 25 +- 0 | 66.5 |" in costs  # of a training of 2 epochs
    assert "| 2.00 +- 0.00 |" in costs
    course = "10.00 +- 0.00 | 50.00 +- 0.00 | 50.00 +- 0.00 | 50.00 +- 0.00 | 70.00 +- 0.00 |"
    assert f"| 97 % sparse | stage-1 | activations | {course}" in costs  # what was stopped at 90 % is no best
    assert f"| 97 % sparse | safs | hyper-parameters | {course}" in costs


def test_activations_are_compared_at_each_sparsity():
    part = section(
        text_of(singles(srs=0.1, tanh=-0.1)).replace("### ", "## "), "ReLU is not the best of a sparse network"
    )
    assert "120 of 120 cells" in part
    assert "with 3.0 % left above: srs, below: tanh" in part
    assert row_of(part, "relu") == "| relu | 70.00 +- 0.00 | 70.00 +- 0.00 | 70.00 +- 0.00 | 70.00 +- 0.00 |"
    assert row_of(part, "tanh - relu").count("| **-10.00 [-10.25, -9.75]** ") == 4  # 0.02 * 5 * 4.303 / sqrt(3) = 0.25
    some = text_of([cell for cell in singles() if cell.seed == 0 or "0.99" not in cell.arm])
    assert "| 70.00 (n=1) |" in some
    assert "swish@sparsity=0.99 (seeds 1 and 2)" in some


def test_the_best_operator_of_each_seed_is_that_of_the_best_validation():
    cells = [*arms(), *singles(srs=0.1)]
    cells = [cell for cell in cells if (cell.arm, cell.seed) != ("gelu@sparsity=0.97", 2)]
    one = safs_studies(cells, operators(cells, RECIPES), RECIPES)[SAFS]
    # srs: 80 % and a noise of 7 * 0.02 points; seed 2 lacks an activation
    assert one.accuracies("best operator") == pytest.approx([0.8, 0.8014])
    assert "| best operator | 2 of 5 |" in text_of(cells)
    assert "best operator" not in text_of(cells).split("## Not measured yet")[1]
    assert safs_studies(cells, operators(cells, RECIPES), RECIPES)[f"{SAFS}-95"].study.cells == ()


def test_the_correction_goes_over_all_activations_and_sparsities():
    single = operators(singles(srs=0.1), RECIPES)
    row = single.difference("relu6", 0.9)
    assert len(single.differences) == 9 * 4
    assert row is not None
    assert row.p_adjusted >= row.p
    assert single.difference("srs", 0.9).p_adjusted >= 30 * single.difference("srs", 0.9).p


def test_other_networks_stand_beside_their_rows_of_the_paper():
    text = text_of(arms({"relu": 0.7, "relu-tuned": 0.8}, sparsity=0.99, recipe="cifar10-vgg16-safs"))
    part = section(text, "LeNet-5 on MNIST, 99 % sparse")  # the name of the made network
    assert "[`cifar10-vgg16-safs`](../../recipes/cifar10-vgg16-safs.toml): 6 of 15 cells" in part
    assert row_of(part, "relu").endswith("| 70.32 |")
    assert f"- `{SAFS}-99`: all of it" in text


def test_the_subset_of_imagenet_has_swish_and_its_own_classes():
    ends = {"swish": 0.2, "swish-tuned": 0.3, "stage-1": 0.2, "safs": 0.3}
    cells = arms(ends, sparsity=0.95, reached=60, recipe="imagenet16-efficientnet-b0-safs", data="tiny-imagenet-16-120")
    text = text_of(cells)
    part = section(text, "LeNet-5 on 120 classes of Tiny-ImageNet at 16 x 16, 95 % sparse")
    assert "minus swish, points" in part
    assert row_of(part, "swish").endswith("| 60.0 +- 0.0 | 10.96 |")
    assert "do not compare" in part
    assert "In 12 of 12 cells classes without a path cap the accuracy" in text  # of 61 classes of 120
    assert "| 0 | all arms | 60 | 51 |" in text
    assert "equally tuned Swish | safs - swish-tuned |" in text
    assert "hyper-parameters, Swish as it was | swish-tuned - swish | **+10.00" in text


HOSTS = {"magnitude": 0.6, "magnitude-safs": 0.7, "magnitude-ap-safs": 0.7, "magnitude-ap": 0.7}


def test_what_searching_gains_is_compared_with_and_without_ap():
    text = text_of(arms(HOSTS, recipe=COMBINED))
    part = text.split("## All three methods")[1].split("\n## ")[0]
    assert "12 of 40 cells" in part
    assert "shown to help without AP for 1 of 1 hosts (magnitude-safs); after AP for 0 of 1 hosts." in part
    assert "| magnitude-ap-safs - magnitude-ap |" in part
    # noise by seed, of 0.2 points: 1 - 2 parts of it with AP, 2 - 1 without: 0.4 * 4.303 / sqrt(3) = 0.99
    assert "| magnitude | -10.00 [-10.99, -9.01] |" in part
    assert "| smaller with AP |" in part


def test_what_searching_gains_needs_all_four_arms_and_three_seeds():
    study = combined_study(arms(HOSTS, seeds=2, recipe=COMBINED), RECIPES)
    assert [(host, one.n) for host, one, _ in gains(study)] == [("magnitude", 2)]
    assert gains(combined_study(arms({"counts": 0.6, "counts-ap": 0.7}, recipe=COMBINED), RECIPES)) == []
    text = text_of(study.cells)
    assert "No arm has 3 seeds with and without a search" in text
    assert "with AP |" not in text


def test_other_sparsities_and_arms_are_shown_as_they_come():
    text = text_of([*arms({"relu": 0.9, "relu-ap": 0.91}, sparsity=0.8)])
    part = section(text, "LeNet-5 on MNIST, 80 % sparse")
    assert "| relu-ap | 3 of 5 |" in part
    assert "3 of 35 cells, and 3 of other arms" in part
    assert "- `mnist-lenet5-safs-80`: relu (seeds 3 and 4), stage-1, " in text
