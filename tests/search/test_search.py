"""The loop: the same start for each candidate, held masks, cached candidates, what diverges, what is refused."""

import copy
import logging
import math
import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from small_searches import CHOICES, X, Y, evaluate, pruned, search, told, train
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.optimizer import _global_optimizer_pre_hooks

import budbreak as bb
from budbreak.activations import PReLU, ReLU, Swish, Symlog, Tanh
from budbreak.errors import InvalidValue, InvariantBroken, MaskMismatch, NoSites, NotFinite, UnknownName
from budbreak.networks import build
from budbreak.networks.efficientnet import MBConv
from budbreak.search import Genetic, History, LateAcceptance, RandomSearch, Sampler, SearchResult, SearchSpace
from budbreak.testing import mlp, residual_cnn


@dataclass(frozen=True)
class Task:
    shape: tuple[int, int, int]
    classes: int = 10


def seed_all(seed):
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def test_a_search_finds_what_a_plain_loop_finds():
    model, mask = pruned()
    result = search(model, mask, epochs=1)
    assert isinstance(result, SearchResult)
    assert [trial.candidate for trial in result.history[:1]] == [
        LateAcceptance().propose(result.space, History(), 0, 0)
    ]
    by_hand = {}
    for trial in result.history:
        alone = bb.replace_activations(model, result.space.plan(trial.candidate), example=X[:2])
        bb.iteration.seed_everything(bb.iteration.derive_seed(0, "trial"))
        optimizer = torch.optim.SGD(bb.activations.parameter_groups(alone), lr=0.2, momentum=0.9, weight_decay=1e-2)
        with bb.hold(alone, optimizer, mask):
            for batch in torch.randperm(60).split(20):
                optimizer.zero_grad()
                cross_entropy(alone(X[batch]), Y[batch]).backward()
                optimizer.step()
        by_hand[trial.candidate] = evaluate(alone)
    assert len(set(by_hand.values())) > 2
    assert {trial.candidate: trial.score for trial in result.history} == by_hand
    assert result.score == max(by_hand.values())
    assert result.plan == result.space.plan(max(by_hand, key=by_hand.get))
    assert result.history.epochs == len(by_hand)


def test_late_acceptance_and_the_space_of_the_paper_are_the_defaults():
    result = search(space="paper", trials=None, train=lambda model: None)
    assert len(result.history) >= 22
    assert result.space.lengths == (13, 13)
    assert list(result.space) == ["1", "3"]


def test_nothing_of_the_user_is_changed():
    model, mask = pruned()
    model.eval()
    before = copy.deepcopy(model.state_dict())
    seed_all(5)
    wanted = torch.rand(1).item(), np.random.rand(), random.random()
    seed_all(5)
    search(model, mask)
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == wanted
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not model.training
    assert type(model[1]) is nn.ReLU


def test_global_generators_do_not_matter():
    seed_all(1)
    one = search()
    seed_all(2)
    assert told(search().history) == told(one.history)


def test_each_training_starts_from_the_pruned_weights():
    model, mask = pruned()
    nn.init.ones_(model[0].weight)  # regrown since: the mask says what is pruned
    seen = []

    def look(one):
        seen.append([one.get_parameter(name).detach().clone() for name in mask])
        train(one)

    search(model, mask, train=look)
    assert len(seen) > 4
    assert all(torch.equal(a, b) for weights in seen for a, b in zip(weights, seen[0], strict=True))
    assert torch.equal(seen[0][0], mask["0.weight"].float())


def test_a_dense_model_needs_no_mask():
    model = mlp(hidden=8)
    result = search(model, None)
    assert result.score > 0.4
    assert told(search(model, bb.Mask.dense(model)).history) == told(result.history)


def test_a_candidate_is_trained_once():
    trained = []
    result = search(
        space=CHOICES[:2], trials=30, sampler=RandomSearch(30), train=lambda model: trained.append(train(model))
    )
    assert len(result.history) == 30
    assert len(trained) == len({trial.candidate for trial in result.history}) == result.space.size == 4
    for number, trial in enumerate(result.history):
        first = result.history.first_of(trial.candidate)
        assert trial.same_as == (None if first == number else first)
        assert trial.score == result.history[first].score
        assert (trial.seconds > 0) == (first == number)


def test_trials_are_an_upper_bound():
    assert len(search(trials=3).history) == 3
    assert len(search(trials=99, sampler=RandomSearch(5)).history) == 5


def test_after_each_trial_it_is_reported(caplog):
    seen = []
    with caplog.at_level(logging.INFO, "budbreak.search"):
        result = search(trials=4, report=seen.append)
    assert [len(history) for history in seen] == [1, 2, 3, 4]
    assert seen[-1] == result.history
    assert len([record for record in caplog.records if record.message.startswith("trial")]) == 4


def test_functional_sites_and_norms_are_searched():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = residual_cnn(channels=2)

        def forward(self, x):
            return nn.functional.softplus(self.inside(x))

    images = torch.randn(20, 3, 6, 6)
    model = Functional()

    def fit(one):
        one.train()
        cross_entropy(one(images), torch.arange(20) % 3).backward()

    result = bb.search_activations(
        model, train=fit, evaluate=lambda one: 0.5, example=images[:2], space=CHOICES, trials=2
    )
    assert list(result.space) == ["inside.relu", "inside.relu1", "inside.relu2", "softplus"]
    assert not model.inside.norm.running_mean.any()


def test_the_best_plans_can_be_trained_again():
    result = search(trials=10)
    plans = result.top(3)
    assert plans[0] == result.plan
    assert len(set(plans)) == 3
    scores = {result.space.plan(trial.candidate): trial.score for trial in result.history}
    assert [scores[plan] for plan in plans] == sorted(scores.values(), reverse=True)[:3]


# --- the mask ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["adam", "lbfgs", "two", "closure"])
def test_whatever_optimizer_trains_the_mask_is_held(kind):
    model, mask = pruned()

    def fit(one):
        def loss():
            one.zero_grad()
            value = cross_entropy(one(X), Y)
            value.backward()
            return value

        parts = [list(one[0].parameters()), list(one[2:].parameters())]
        optimizers = {
            "adam": lambda: [torch.optim.AdamW(one.parameters(), weight_decay=0.1)],
            "lbfgs": lambda: [torch.optim.LBFGS(one.parameters(), max_iter=4)],
            "two": lambda: [torch.optim.SGD(part, lr=0.1, momentum=0.9) for part in parts],
            "closure": lambda: [torch.optim.SGD(one.parameters(), lr=0.1)],
        }[kind]()
        before = one[4].weight.detach().clone()
        for _ in range(3):
            loss()
            for optimizer in optimizers:
                optimizer.step(loss) if kind in ("lbfgs", "closure") else optimizer.step()
        assert not torch.equal(one[4].weight, before)

    assert search(model, mask, train=fit, trials=3).score > 0


def test_optimizers_of_other_models_are_left_alone():
    other = nn.Linear(4, 4)
    free = torch.optim.SGD(other.parameters(), lr=0.1)

    def fit(one):
        other(torch.ones(1, 4)).sum().backward()
        free.step()
        train(one)

    search(train=fit, trials=2)
    assert not free._optimizer_step_pre_hooks
    assert not _global_optimizer_pre_hooks


def test_what_grew_back_is_named():
    def fit(one):
        train(one)
        with torch.no_grad():
            one[2].weight.add_(0.1)

    with pytest.raises(InvariantBroken, match=r"after train\(model\): \d+ pruned weights of '2.weight'") as caught:
        search(train=fit)
    assert "trial 0" in caught.value.__notes__[0]
    assert not _global_optimizer_pre_hooks


def test_a_forgotten_mask_is_noticed():
    model, _ = pruned()
    with pytest.raises(InvalidValue, match="mask is None, and 91 of 152"):
        search(model, None)


# --- what diverges -----------------------------------------------------------------------------------------


def spoil(model):
    with torch.no_grad():
        model[0].weight.mul_(math.nan)


def spoil_buffer(model):
    train(model)
    model.running.fill_(math.inf)


def fail(error):
    def broken(model):
        raise error

    return broken


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"evaluate": lambda model: math.nan}, "the score is NaN"),
        ({"evaluate": lambda model: torch.tensor(-math.inf)}, "the score is -inf"),
        ({"train": spoil}, "'0.weight' is not finite after the training"),
        ({"train": fail(FloatingPointError("loss is nan"))}, "FloatingPointError: loss is nan"),
        ({"evaluate": fail(NotFinite("loss is nan", "it is finite"))}, "NotFinite: loss is nan it is finite"),
    ],
    ids=["nan", "minus inf", "weights", "train", "evaluate"],
)
def test_what_diverges_is_a_trial_without_a_score(changes, note, caplog):
    result = search(trials=3, **changes)
    assert [trial.score for trial in result.history] == [None] * 3
    assert {trial.note for trial in result.history} == {note}
    assert all(trial.energy == math.inf for trial in result.history)
    assert "trial 0 diverged" in caplog.text
    assert result.history.best is None
    assert result.top(2) == ()
    for ask in (lambda: result.plan, lambda: result.score, lambda: result.best):
        with pytest.raises(NotFinite, match="all 3 trials diverged"):
            ask()


def test_buffers_count_but_those_that_were_never_finite_do_not():
    model, mask = pruned()
    model.register_buffer("hidden", torch.tensor([0.0, -math.inf]))
    model.register_buffer("running", torch.zeros(2))
    assert search(model, mask, trials=1).score > 0
    (trial,) = search(model, mask, trials=1, train=spoil_buffer).history
    assert trial.note == "'running' is not finite after the training"


@pytest.mark.parametrize("sampler", [LateAcceptance(), Genetic(), RandomSearch(22)], ids=str)
def test_a_search_survives_some_that_diverge(sampler):
    def fit(model):
        train(model)
        if any(isinstance(getattr(one, "activation", None), Tanh) for one in model):
            raise FloatingPointError("nan")

    result = search(train=fit, sampler=sampler, trials=20)
    assert {trial.diverged for trial in result.history} == {True, False}
    assert Tanh() not in result.plan.values()


def test_an_error_ends_the_search_and_says_where():
    with pytest.raises(ZeroDivisionError) as caught:
        search(train=fail(ZeroDivisionError("a bug")))
    assert caught.value.__notes__[0].startswith("in trial 0: 1 ")


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "words"),
    [
        ("0.9", "'0.9'"),
        (None, "is there a return"),
        (True, "evaluate returned True"),
        (93.5, "divided by 100: 0.935"),
        (torch.tensor(1.0000001), "rounding?"),
        (torch.tensor(93.5), "divided by 100"),
        (torch.tensor([0.5, 0.6]), "give its mean"),
        (np.array([0.5]), "give its mean"),
        (-1.5, r"1 / \(1 \+ loss\)"),
        (250.0, "a share in"),
        (math.inf, "a share in"),
        ([0.5], "a list"),
    ],
    ids=range(12),
)
def test_an_evaluation_that_gives_no_share_is_refused(score, words):
    with pytest.raises(InvalidValue, match=words):
        search(evaluate=lambda model: score)


@pytest.mark.parametrize("score", [0, 1, 0.5, np.float32(0.5), np.array(0.5), torch.tensor(0.5)], ids=repr)
def test_an_evaluation_may_give_any_number(score):
    result = search(evaluate=lambda model: score, trials=1)
    assert type(result.score) is float
    assert result.score == float(score)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"space": "papper"}, UnknownName, "'paper'"),
        ({"space": "relu6"}, UnknownName, r"this is an activation\nwrite several: \[bb.activations.ReLU6\(\), ...\]"),
        ({"space": ["swich"]}, InvalidValue, r"bb.activations.Swish\(\)"),
        ({"space": ["silu"]}, InvalidValue, r"bb.activations.Swish\(\)"),
        ({"space": [nn.SiLU()]}, InvalidValue, r"write bb.activations.Swish\(\)"),
        ({"space": [Swish]}, InvalidValue, "an instance"),
        ({"space": [nn.ReLU()]}, InvalidValue, "one is ReLU"),
        ({"space": [ReLU(), ReLU()]}, InvalidValue, "there twice"),
        ({"space": []}, InvalidValue, "a space maps"),
        ({"space": {}}, InvalidValue, "a space maps"),
        ({"space": {"fc": CHOICES}}, UnknownName, "no site 'fc' in Sequential"),
        ({"space": {1: CHOICES}}, InvalidValue, "a site is named 1"),
        ({"space": {"1": ()}}, InvalidValue, "a space maps"),
        ({"space": [ReLU()]}, InvalidValue, "nothing to search"),
        ({"space": {"1": [Tanh()], "3": [ReLU()]}}, InvalidValue, "one candidate"),
        ({"sampler": "genetik"}, InvalidValue, r"sampler=bb.search.Genetic\(\)"),
        ({"sampler": "lahc"}, InvalidValue, r"sampler=bb.search.LateAcceptance\(\)"),
        ({"sampler": "sa"}, InvalidValue, r"sampler=bb.search.SimulatedAnnealing\(\)"),
        ({"stop": "asha"}, InvalidValue, r"stop=bb.search.Hyperband\(most=10\)"),
        ({"sampler": LateAcceptance}, InvalidValue, "an instance"),
        ({"sampler": None}, InvalidValue, r"LateAcceptance\(\)"),
        ({"trials": 0}, InvalidValue, "trials is 0"),
        ({"trials": -3}, InvalidValue, "trials is -3"),
        ({"trials": 2.5}, InvalidValue, "trials is 2.5"),
        ({"seed": -1}, InvalidValue, "seed is -1"),
        ({"epochs": 0}, InvalidValue, "epochs is 0"),
        ({"store": 5}, InvalidValue, "store is 5"),
        ({"train": None}, InvalidValue, "train is None"),
        ({"evaluate": 0.5}, InvalidValue, "evaluate is 0.5"),
        ({"report": 1}, InvalidValue, "report is 1"),
        ({"train": copy.deepcopy}, InvalidValue, "another Sequential"),
    ],
    ids=range(31),
)
def test_wrong_arguments_are_refused(changes, error, words):
    with pytest.raises(error, match=words):
        search(**changes)


def test_models_and_masks_that_do_not_fit_are_refused():
    model, mask = pruned()
    with pytest.raises(NoSites, match="calls no activation"):
        search(nn.Sequential(nn.Linear(8, 3)), None)
    with pytest.raises(InvalidValue, match="an instance"):
        search(nn.Linear, None)
    with pytest.raises(MaskMismatch):
        search(mlp(hidden=9), mask)
    with pytest.raises(InvalidValue, match="mask"):
        search(model, dict(mask))


def test_scalars_of_units_are_refused_where_there_are_no_units_before_anything_is_trained():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 3)
            self.relu, self.sum = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            return self.relu(self.fc(x)) + self.sum(x.sum())

    trained = []
    choices = [ReLU(), Tanh(), PReLU(per="unit")]
    with pytest.raises(InvalidValue, match="needs units"):
        search(Flat(), None, space=choices, train=trained.append)
    assert not trained


@pytest.mark.parametrize("answer", [(9, 9), [0, 0], (0,), None], ids=str)
def test_a_sampler_that_leaves_the_space_is_refused(answer):
    class Odd:
        def propose(self, space, history, seed, number):
            return answer

    assert isinstance(Odd(), Sampler)
    with pytest.raises(InvalidValue, match="proposes nothing" if answer is None else "the candidate is"):
        search(sampler=Odd())


def test_a_gate_is_no_site_unless_it_is_named():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.gate = nn.Linear(8, 8), nn.Linear(8, 8)
            self.hidden = nn.Sigmoid()

        def forward(self, x):
            return torch.relu(self.fc(self.hidden(x))) * torch.sigmoid(self.gate(x)).view(-1, 8)

    model = Gated()
    sites = list(SearchSpace.of(model, example=X[:2]))
    assert sites == ["hidden", "relu"]
    assert list(SearchSpace.of(model, {"sigmoid": CHOICES}, example=X[:2])) == ["sigmoid"]


@pytest.mark.parametrize(
    ("name", "shape", "sites"), [("lenet-5-safs", (1, 28, 28), 4), ("resnet-18-safs", (3, 32, 32), 17)]
)
def test_networks_have_as_many_sites_as_the_paper_counts(name, shape, sites):
    space = SearchSpace.of(build(name, Task(shape), seed=0), example=torch.zeros(2, *shape))
    assert space.size == 13**sites


def test_a_gate_of_squeeze_and_excitation_is_no_site():
    space = SearchSpace.of(MBConv(4, 4, 4, 1, 3), example=torch.zeros(2, 4, 6, 6))
    assert list(space) == ["expand.act", "depthwise.act", "se.act"]


def test_a_space_is_a_value():
    space = SearchSpace({"a": CHOICES, "b": list(CHOICES[:2])})
    assert space == SearchSpace({"a": list(CHOICES), "b": CHOICES[:2]}) != SearchSpace({"b": CHOICES[:2], "a": CHOICES})
    assert hash(space) == hash(SearchSpace(dict(space)))
    assert space.size == 8
    names = {kind.__name__: kind for kind in (ReLU, Swish, Symlog, Tanh, SearchSpace)}
    assert eval(repr(space), names) == space
    assert (3, 1) in space.candidates
    for wrong in ((3, 2), (4, 0), (-1, 0), (0,), (0, 0, 0), [0, 0], (True, 0), (0.0, 0), None):
        assert wrong not in space.candidates
    with pytest.raises(UnknownName):
        space["c"]
