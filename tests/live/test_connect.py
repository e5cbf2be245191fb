"""`bb.connect`: a path to each class, equally many weights; against the same rule written in numpy for three layers."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.errors import CannotTrace, InvalidValue, MaskMismatch, NotFinite, UnknownName, Unreached
from budbreak.masks import NM, Global, Layer, Mask, Rows, Scores, survivors
from budbreak.networks import build
from budbreak.testing import residual_cnn

NAMES = ("0.weight", "2.weight", "4.weight")
SCOPES = {"global": Global(), "layer": Layer(), "rows": Rows()}


def multilayer(seed, widths=(6, 8, 7, 5)):
    torch.manual_seed(seed)
    layers = [(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(widths)]
    return nn.Sequential(*[module for pair in layers for module in pair][:-1])


def magnitudes(model):
    weights = Mask.dense(model).parameters(model)
    return Scores.elementwise(lambda weight: weight.abs(), {name: weight.detach() for name, weight in weights.items()})


def pruned(model, sparsity, scope, floor=0):
    scores = magnitudes(model)
    return bb.select(scores, survivors(sparsity, Mask.dense(model).total), scope=scope, floor=floor)


def classes(model, mask, x):
    return bb.trace(model, x).reachable(mask).classes[0].tolist()


# --- in numpy --------------------------------------------------------------------------------------------------


def arena(scope, layer, row):
    return {"global": 0, "layer": layer, "rows": (layer, row)}[scope]


def strongest(weights, able, place):
    """The path to a class with the greatest product, over all of them; None if there is none."""
    first, second, third = (np.abs(weight.astype(float)) * one for weight, one in zip(weights, able, strict=True))
    best = None
    for third_in, second_in, begin in np.ndindex(third.shape[1], second.shape[1], first.shape[1]):
        product = third[place, third_in] * second[third_in, second_in] * first[second_in, begin]
        if product > 0 and (best is None or product > best[0]):
            best = product, [(0, second_in, begin), (1, third_in, second_in), (2, place, third_in)]
    return None if best is None else best[1]


def connected(weights, kept, scope):
    """The mask that `bb.connect` promises, where each class finds a path that fits in at once."""
    counts = {}
    for layer, row, _ in cells(kept):
        counts[arena(scope, layer, row)] = counts.get(arena(scope, layer, row), 0) + 1
    taken = set()
    found = {place: strongest(weights, kept, place) for place in range(len(kept[2]))}
    order = sorted(found, key=lambda place: found[place] is None)
    for place in order:
        used = {}
        for layer, row, _ in taken:
            used[arena(scope, layer, row)] = used.get(arena(scope, layer, row), 0) + 1
        able = [np.zeros_like(entry) for entry in kept]
        for layer, entry in enumerate(kept):
            for row, column in np.ndindex(entry.shape):
                number = arena(scope, layer, row)
                alive = entry[row, column] if found[place] is not None else True
                room = used.get(number, 0) < counts.get(number, 0)
                able[layer][row, column] = alive and ((layer, row, column) in taken or room)
        path = strongest(weights, able, place)
        if path is None:
            return None
        taken |= set(path)
    chosen = set(taken)
    left = sorted(cells(kept) - taken, key=lambda cell: (-abs(weights[cell[0]][cell[1:]]), cell))
    for cell in left:
        number = arena(scope, cell[0], cell[1])
        if sum(arena(scope, layer, row) == number for layer, row, _ in chosen) < counts[number]:
            chosen.add(cell)
    return chosen


def cells(entries):
    return {(layer, *map(int, index)) for layer, entry in enumerate(entries) for index in np.argwhere(entry)}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("seed", range(5))
def test_what_comes_in_and_what_goes_as_in_numpy(seed, scope):
    model, x = multilayer(seed), torch.zeros(1, 6)
    mask = pruned(model, {"global": 0.85, "layer": 0.8, "rows": 0.8}[scope], SCOPES[scope])
    weights = [model.get_parameter(name).detach().numpy() for name in NAMES]
    expected = connected(weights, [mask[name].numpy() for name in NAMES], scope)
    found = bb.connect(model, mask, x, scope=SCOPES[scope])
    assert cells([found[name].numpy() for name in NAMES]) == expected
    assert classes(model, found, x) == [True] * 5


def test_most_cases_above_exchange_something():
    exchanged = 0
    for scope, sparsity in {"global": 0.85, "layer": 0.8, "rows": 0.8}.items():
        for seed in range(5):
            model = multilayer(seed)
            mask = pruned(model, sparsity, SCOPES[scope])
            exchanged += bb.connect(model, mask, torch.zeros(1, 6), scope=SCOPES[scope]) != mask
    assert exchanged >= 5


# --- LeNet-5 of SAFS ---------------------------------------------------------------------------------------------


def lenet(seed):
    return build("lenet-5-safs", SimpleNamespace(shape=(1, 28, 28), classes=10), seed=seed), torch.zeros(1, 1, 28, 28)


@pytest.mark.parametrize("seed", range(3))
def test_lenet_at_99_percent_layer_by_layer(seed):
    """Of 840 weights into the classes a uniform hundredth is 8, which is too few for ten: with a floor of 10."""
    model, x = lenet(seed)
    mask = pruned(model, 0.99, Layer(), floor=10)
    assert sum(classes(model, mask, x)) in range(1, 7)
    found = bb.connect(model, mask, x, scope=Layer())
    assert classes(model, found, x) == [True] * 10
    assert [found.kept_in(name) for name in found] == [mask.kept_in(name) for name in mask]
    assert found.kept == 442
    bare = pruned(model, 0.99, Layer())
    assert bare.kept_in("fc3.weight") == 8
    with pytest.raises(InvalidValue, match=r"8 of 'fc3.weight' stay\n.*\n.*floor=10"):
        bb.connect(model, bare, x, scope=Layer())


@pytest.mark.parametrize("sparsity", [0.999, 0.9995])
def test_lenet_in_all_layers_together(sparsity):
    model, x = lenet(0)
    mask = pruned(model, sparsity, Global())
    found = bb.connect(model, mask, x)
    assert sum(classes(model, mask, x)) < 10
    assert classes(model, found, x) == [True] * 10
    assert found.kept == mask.kept
    assert [found.kept_in(name) for name in found] != [mask.kept_in(name) for name in mask]


def test_each_row_keeps_its_number_whoever_chose_them():
    model, x = multilayer(0, (6, 12, 12, 8)), torch.zeros(1, 6)
    generator = torch.Generator().manual_seed(0)
    torn = {}
    for name, entry in Mask.dense(model).items():
        order = torch.rand(entry.shape, generator=generator).argsort(1)
        torn[name] = order < 1 + torch.randint(2, (len(entry), 1), generator=generator)
    torn["0.weight"][::2] = False
    torn = Mask(torn)
    assert not all(classes(model, torn, x))
    found = bb.connect(model, torn, x, scope=Rows())
    assert all(classes(model, found, x))
    for name, entry in torn.items():
        counts = entry.flatten(1).sum(1)
        assert len(set(counts.tolist())) > 1
        assert torch.equal(found[name].flatten(1).sum(1), counts)


# --- the rest of the promise ------------------------------------------------------------------------------------


def test_a_mask_that_reaches_all_is_returned_as_it_is_and_the_model_is_left_alone():
    model, x = residual_cnn(), torch.randn(2, 3, 8, 8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    mask = pruned(model, 0.3, Layer())
    assert bb.connect(model, mask, x, scope=Layer()) is mask
    torn = Mask(
        {name: entry & (torch.arange(entry[0].numel()).reshape(entry[0].shape) == 1) for name, entry in mask.items()}
    )
    assert bb.connect(model, torn, x) != torn
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_lowest_scores_go_and_of_equal_ones_the_higher_index():
    """The second class needs one weight; of four equal ones, three of them on no path, the last goes."""
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(1, 2, bias=False), nn.Linear(2, 4, bias=False))
    nn.init.constant_(model[0].weight, 1.0)
    nn.init.constant_(model[1].weight, 1.0)
    model[2].weight.data = torch.tensor([[2.0, 1.0], [0.4, 0.3], [3.0, 1.0], [2.5, 1.0]])
    last = torch.tensor([[1, 1], [0, 0], [1, 1], [1, 1]])
    mask = Mask({"0.weight": torch.ones(1, 2), "1.weight": torch.ones(2, 1), "2.weight": last})
    found = bb.connect(model, mask, torch.ones(1, 2), scope=Layer())
    assert found["2.weight"].int().tolist() == [[1, 1], [1, 0], [1, 1], [1, 0]]
    assert [found.kept_in(name) for name in found] == [2, 2, 6]
    model[2].weight.data[0, 1] = 0.9
    other = bb.connect(model, mask, torch.ones(1, 2), scope=Layer())
    assert other["2.weight"].int().tolist() == [[1, 0], [1, 0], [1, 1], [1, 1]]
    weights = {name: model.get_parameter(name).detach() for name in mask}
    upside_down = Scores.elementwise(lambda weight: -weight.abs(), weights)
    third = bb.connect(model, mask, torch.ones(1, 2), scope=Layer(), scores=upside_down)
    assert third["2.weight"].int().tolist() == [[1, 1], [1, 0], [1, 1], [1, 0]]


def test_what_scores_infinity_is_not_given_back():
    model = multilayer(0)
    mask = pruned(model, 0.85, Global())
    without = bb.connect(model, mask, torch.zeros(1, 6))
    gone = mask & Mask({name: ~without[name] for name in mask})
    assert gone.kept
    scores = Scores.elementwise(
        lambda weight, kept: weight.abs().masked_fill(kept.bool(), math.inf),
        {name: model.get_parameter(name).detach() for name in mask},
        {name: gone[name].float() for name in mask},
    )
    assert gone.is_within(bb.connect(model, mask, torch.zeros(1, 6), scores=scores))


def test_what_scores_infinity_leaves_less_room_for_paths():
    model = multilayer(0)
    weights = {name: model.get_parameter(name).detach() for name in NAMES}
    mask = Mask({name: torch.zeros_like(weight) for name, weight in weights.items()} | {"0.weight": torch.ones(8, 6)})
    free = bb.connect(model, mask, torch.zeros(1, 6), within=Mask.dense(model))
    assert all(classes(model, free, torch.zeros(1, 6)))
    assert free.kept == 48
    spared = Scores.of({name: torch.full(weight.shape, math.inf) for name, weight in weights.items()})
    with pytest.raises(InvalidValue, match="no path to class 0 fits in beside those to others: 48 of"):
        bb.connect(model, mask, torch.zeros(1, 6), within=Mask.dense(model), scores=spared)


def test_what_is_zero_is_gone_unless_it_is_said_to_be_alive():
    model = multilayer(0)
    mask = pruned(model, 0.85, Global())
    dense = Mask.dense(model)
    bb.live.apply_mask(model, mask)
    with pytest.raises(Unreached, match=r"no path leads to class \d, .*\n.*\n.*before what is pruned is set to zero"):
        bb.connect(model, mask, torch.zeros(1, 6))
    assert all(classes(model, bb.connect(model, mask, torch.zeros(1, 6), within=dense), torch.zeros(1, 6)))


def test_tied_weights_and_a_forward_of_ones_own():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
            self.second.weight = self.first.weight

        def forward(self, batch):
            return self.last(torch.relu(self.second(torch.relu(self.first(batch["x"])))))

    model, batch = Tied(), {"x": torch.zeros(1, 4)}
    first = torch.tensor([[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]])
    mask = Mask({"second.weight": first, "last.weight": torch.ones(3, 4).tril()})
    found = bb.connect(model, mask, batch, forward=lambda model, batch: model(batch))
    assert list(found) == ["second.weight", "last.weight"]
    assert found.kept == mask.kept
    graph = bb.trace(model, batch, lambda model, batch: model(batch))
    assert graph.reachable(found).classes[0].tolist() == [True] * 3
    few = Mask({"second.weight": torch.eye(4) * first, "last.weight": torch.ones(3, 4).tril() * torch.eye(3, 4)})
    with pytest.raises(InvalidValue, match=r"0 of 'second\.weight', 3 of 'last\.weight' stay"):
        bb.connect(model, few, batch, forward=lambda model, batch: model(batch))


def sized(mask, change):
    return Mask({name: change(name, entry) for name, entry in mask.items()})


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"scope": NM(2, 4)}, InvalidValue, r"in scope NM\(.*\n.*Global, Layer and Rows\n.*leave connect out"),
        ({"scope": "layer"}, InvalidValue, "scope is|in scope 'layer'"),
        ({"floor": -1}, InvalidValue, "floor is -1"),
        ({"within": "all"}, InvalidValue, "within is 'all'"),
        ({"scores": {"0.weight": torch.ones(8, 6)}}, InvalidValue, "it must be Scores"),
        ({"scores": Scores.of({"0.weight": torch.ones(8, 6)})}, MaskMismatch, "no scores for '2.weight'"),
    ],
    ids=["n:m", "name", "floor", "within", "no scores", "too few scores"],
)
def test_wrong_arguments_are_refused(options, error, words):
    model = multilayer(0)
    with pytest.raises(error, match=words):
        bb.connect(model, pruned(model, 0.85, Global()), torch.zeros(1, 6), **options)


def test_wrong_masks_models_and_examples_are_refused():
    model, x = multilayer(0), torch.zeros(1, 6)
    mask = pruned(model, 0.85, Global())
    with pytest.raises(InvalidValue, match="mask is None"):
        bb.connect(model, None, x)
    with pytest.raises(UnknownName, match=r"'9\.weight'"):
        bb.connect(model, Mask({"9.weight": torch.ones(2, 2)}), x)
    with pytest.raises(MaskMismatch, match=r"shape \(2, 2\)"):
        bb.connect(model, Mask({"0.weight": torch.ones(2, 2)}), x)
    with pytest.raises(InvalidValue, match=r"the mask keeps more of '0\.weight' than within"):
        bb.connect(model, mask, x, within=sized(mask, lambda _, entry: torch.zeros_like(entry)))
    with pytest.raises(InvalidValue, match="does not take"):
        bb.connect(model, mask, torch.zeros(1, 7))
    model[0].weight.data[0, 0] = math.nan
    with pytest.raises(NotFinite, match=r"'0\.weight' holds NaN"):
        bb.connect(model, mask, x, within=Mask.dense(model))


def test_a_model_that_cannot_be_followed_is_refused():
    class Numbers(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.last(torch.tensor(self.first(x).tolist()))

    model = Numbers()
    with pytest.raises((CannotTrace, Unreached)):
        bb.connect(model, pruned(model, 0.7, Global()), torch.zeros(1, 4))
