"""Samplers: the formulas against independent forms, moves against the paper's code, and broken promises."""

import math
import random
import statistics
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from budbreak.activations import ReLU, Swish, Tanh, space
from budbreak.errors import ContractBroken, InvalidValue
from budbreak.search import Genetic, History, LateAcceptance, RandomSearch, SearchSpace, SimulatedAnnealing, Trial
from budbreak.search.parameters import drawn
from budbreak.search.sampler import generator, moved
from budbreak.search.samplers.simulated_annealing import _spread
from budbreak.testing import check_sampler
from budbreak.testing.sampling import searched

PAPER = space("paper")


def sites(count, choices=PAPER):
    return SearchSpace({f"site{number}": choices for number in range(count)})


def landscape(seed, noise=0.0):
    """Additive, with a score for each activation at each site, in (0, 1); noise makes one of its own for each trial."""
    worth = np.random.default_rng(seed).random((20, 13))

    def score(number, candidate):
        mean = float(np.mean([worth[site, place] for site, place in enumerate(candidate)]))
        return 0.05 + 0.9 * mean + noise * random.Random(f"{seed}/{number}").random() * 0.05

    return score


# --- moves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "shares"), [(4, (0.02, 0.31, 0.35, 0.32)), (17, (0.01, 0.13, 0.15, 0.71))], ids=["lenet", "resnet"]
)
def test_a_move_changes_as_many_sites_as_that_of_the_paper(count, shares):
    draw, among, changed = random.Random(0), sites(count), Counter()
    for _ in range(8000):
        before = drawn(among, draw)
        after = moved(among, before, draw)
        changed[sum(a != b for a, b in zip(before, after, strict=True))] += 1
    # the standard deviation of a share is at most 0.6 %; the paper's were rounded to 1 %
    assert [changed[number] / 8000 for number in range(4)] == pytest.approx(shares, abs=0.02)
    assert max(changed) == 3


def test_a_move_draws_each_activation_and_exchanges_each_pair():
    draw, among = random.Random(1), sites(3)
    moves = [moved(among, (0, 1, 2), draw) for _ in range(6000)]
    exchanged = {move for move in moves if sorted(move) == [0, 1, 2]}
    assert exchanged == {(0, 1, 2), (1, 0, 2), (2, 1, 0), (0, 2, 1)}
    assert {place for move in moves for place in move} == set(range(13))


def test_sites_exchange_what_both_may_have_and_nothing_else():
    among = SearchSpace({"a": [ReLU(), Swish()], "b": [Tanh(), Swish(), ReLU()]})
    draw = random.Random(0)
    met = {moved(among, (0, 1), draw) for _ in range(500)}
    assert (1, 2) in met  # exchanged: a has Swish now, at another place of its own, and b has ReLU
    met = {moved(among, (1, 0), draw) for _ in range(500)}
    assert met == {(0, 0), (1, 0), (1, 1), (1, 2), (0, 1)}  # Tanh stays where it is, as a may not have it


# --- late acceptance ---------------------------------------------------------------------------------------


def climb(score, among, seed, length=3, least=20, share=0.02):
    """Late acceptance as it is written in textbooks, with state that changes; draws as the sampler does."""
    step, idle = 0, 0
    candidate = current = drawn(among, generator(seed, 0))
    tried, energy = [candidate], 1 / score(0, candidate)
    late = [energy] * length
    while not (step > least and idle > share * step):
        candidate = moved(among, current, generator(seed, step + 1))
        tried.append(candidate)
        new = 1 / score(step + 1, candidate)
        idle = idle + 1 if new >= energy else 0
        if new < late[step % length] or new <= energy:
            current, energy = candidate, new
        if energy < late[step % length]:
            late[step % length] = energy
        step += 1
    return tried


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("settings", [(3, 20, 0.02), (1, 5, 0.0), (4, 40, 0.1)], ids=str)
def test_late_acceptance_is_that_of_the_textbook(seed, settings):
    history, steps, idle = settings
    among, score = sites(4), landscape(seed, noise=1.0)
    found = searched(LateAcceptance(history, steps, idle), among, score, seed, most=500)
    assert [trial.candidate for trial in found] == climb(score, among, seed, *settings)


def test_late_acceptance_takes_22_trials_and_seldom_more():
    lengths = [len(searched(LateAcceptance(), sites(4), landscape(seed), seed, most=99)) for seed in range(60)]
    assert min(lengths) == 22
    assert max(lengths) <= 25
    assert statistics.mean(lengths) == pytest.approx(22.2, abs=0.2)


def test_late_acceptance_stops_where_nothing_is_better():
    assert len(searched(LateAcceptance(), sites(4), lambda number, candidate: 0.5, most=99)) == 22
    assert len(searched(LateAcceptance(), sites(4), lambda number, candidate: None, most=99)) == 22


def test_late_acceptance_goes_on_while_the_last_step_was_better():
    rising = searched(LateAcceptance(), sites(4), lambda number, candidate: 0.1 + number / 1000, most=99)
    assert len(rising) == 99
    until_30 = searched(LateAcceptance(), sites(4), lambda number, candidate: 0.1 + min(number, 30) / 1000, most=99)
    assert len(until_30) == 32


def test_it_accepts_what_is_worse_than_now_and_better_than_three_steps_ago():
    # by hand: E is 1/score. h = [10, 10, 10]. step 0: 2 < 10, accepted, h[0] = 2. step 1: 5 < h[1] = 10, accepted
    # though worse than 2, h[1] = 5. step 2: 10 is neither < h[2] = 10 nor <= 5: refused, h[2] = 5. step 3: 4 > h[0]
    # = 2, but <= 5: accepted, h[0] stays 2. step 4: 5 is neither < h[1] = 5 nor <= 4: refused, h[1] = 4. step 5: 1 is
    # accepted, h[2] = 1. step 6: 3 is neither < h[0] = 2 nor <= 1: refused, h[0] = 1. step 7: 8 is neither < h[1] = 4
    # nor <= 1: refused, h[1] = 1. step 8: 1 is not < h[2] = 1, but <= 1: accepted, and idle all the same.
    energies = (10, 2, 5, 10, 4, 5, 1, 3, 8, 1)
    history = History(tuple(Trial(candidate=(n,), score=1 / e, seconds=0.0) for n, e in enumerate(energies)))
    current = [LateAcceptance()._replay(history[: n + 1]) for n in range(len(energies))]
    assert [candidate for (candidate,), _ in current] == [0, 1, 2, 2, 4, 4, 6, 6, 6, 9]
    assert [idle for _, idle in current] == [0, 0, 1, 2, 0, 1, 0, 1, 2, 3]


# --- the others --------------------------------------------------------------------------------------------


def test_annealing_follows_its_formula():
    sampler, seed, among = SimulatedAnnealing(steps=15, start=2.0, end=0.1), 3, sites(4)
    history = searched(sampler, among, landscape(3, noise=1.0), seed)
    assert len(history) == 16
    current, energies, refused = history[0], [history[0].energy], 0
    for k, trial in enumerate(history[1:]):
        assert trial.candidate == moved(among, current.candidate, generator(seed, k + 1))
        energies.append(trial.energy)
        spread = float(np.median(np.abs(np.array(energies) - np.median(energies))))
        heat = 2.0 * 0.05 ** (k / 15) * spread
        chance = min(1.0, math.exp((current.energy - trial.energy) / heat))
        if generator(seed, k + 1, "acceptance").random() < chance:
            current = trial
        else:
            refused += 1
    assert 0 < refused < 15


def test_a_temperature_that_is_not_scaled_to_the_energies_is_a_random_walk():
    score, among = landscape(0), sites(4)
    walk = searched(SimulatedAnnealing(start=1e4, end=1e3), among, score)
    steps = [moved(among, trial.candidate, generator(0, n + 1)) for n, trial in enumerate(walk[:-1])]
    assert steps == [trial.candidate for trial in walk[1:]]  # each from the one before: nothing was refused
    scaled = searched(SimulatedAnnealing(), among, score)
    steps = [moved(among, trial.candidate, generator(0, n + 1)) for n, trial in enumerate(scaled[:-1])]
    assert steps != [trial.candidate for trial in scaled[1:]]


@pytest.mark.parametrize("score", [0.5, None], ids=str)
def test_annealing_takes_what_is_no_worse_whatever_the_temperature(score):
    among = sites(4)
    walk = searched(SimulatedAnnealing(), among, lambda number, candidate: score)
    steps = [moved(among, trial.candidate, generator(0, n + 1)) for n, trial in enumerate(walk[:-1])]
    assert steps == [trial.candidate for trial in walk[1:]]


def test_a_spread_is_not_moved_by_what_diverged_or_failed():
    assert _spread([1.0, 1.2, 1.1, math.inf]) == pytest.approx(0.1)
    assert _spread([1.0, 1.2, 1.1, 1.15, 40.0]) == pytest.approx(0.05)
    assert _spread([math.inf]) == _spread([2.0]) == 0


def test_a_generation_is_bred_from_the_one_before():
    sampler, score = Genetic(population=6, generations=4, mutation=0.0), landscape(1)
    history = searched(sampler, sites(5), score)
    assert len(history) == 24
    for number in range(6, 24):
        parents = history[(number // 6 - 1) * 6 : number // 6 * 6]
        child = history[number].candidate
        if number % 6 == 0:
            assert child == parents[parents.best].candidate
        genes = [{parent.candidate[site] for parent in parents} for site in range(5)]
        assert all(place in among for place, among in zip(child, genes, strict=True))


def test_mutation_gives_one_site_another_activation():
    plain = searched(Genetic(population=40, crossover=0.0, mutation=0.0), sites(4), landscape(2), most=99)
    always = searched(Genetic(population=40, crossover=0.0, mutation=1.0), sites(4), landscape(2), most=99)
    assert plain[:40] == always[:40]
    changed = [
        sum(a != b for a, b in zip(one.candidate, other.candidate, strict=True))
        for one, other in zip(plain[41:], always[41:], strict=True)
    ]
    assert set(changed) == {1}
    assert {place for trial in always[41:] for place in trial.candidate} > {0, 1, 5, 12}


def test_the_best_of_a_generation_is_never_one_that_diverged():
    history = searched(Genetic(), sites(3), lambda number, candidate: None if number < 4 else 0.1)
    assert history[5].candidate == history[4].candidate


def test_random_draws_every_candidate_as_often():
    history = searched(RandomSearch(trials=4000), sites(2, PAPER[:3]), lambda number, candidate: 0.5, most=5000)
    counts = Counter(trial.candidate for trial in history)
    assert len(history) == 4000
    assert len(counts) == 9
    # 4000 / 9 = 444, with a standard deviation of 20
    assert all(abs(count - 444) < 90 for count in counts.values())


@pytest.mark.parametrize("sampler", [LateAcceptance(), SimulatedAnnealing(), Genetic(), RandomSearch()], ids=str)
def test_another_seed_is_another_search(sampler):
    one, same, other = (searched(sampler, sites(4), landscape(0), seed) for seed in (0, 0, 1))
    assert one == same != other


def test_climbing_is_better_than_drawing():
    """Over 30 landscapes of 8 sites, as the specification measured it: from 60 trials on the climber wins."""
    best = {}
    for sampler in (LateAcceptance(steps=60), RandomSearch(trials=62)):
        found = [searched(sampler, sites(8), landscape(seed), seed, most=62) for seed in range(30)]
        best[sampler] = statistics.mean(history[history.best].score for history in found)
    climbed, random_best = best.values()
    assert climbed > random_best + 0.03


# --- wrong settings, broken promises -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LateAcceptance(history=0), "history is 0"),
        (lambda: LateAcceptance(steps=-1), "steps is -1"),
        (lambda: LateAcceptance(idle=2), "write 0.02"),
        (lambda: SimulatedAnnealing(start=0.1, end=0.5), "temperatures fall"),
        (lambda: SimulatedAnnealing(end=0), "finite number > 0"),
        (lambda: Genetic(population=1), "population is 1"),
        (lambda: Genetic(mutation=1.5), "probability"),
        (lambda: Genetic(crossover=True), "probability"),
        (lambda: RandomSearch(trials=0), "trials is 0"),
    ],
    ids=range(9),
)
def test_wrong_settings_are_refused(make, words):
    with pytest.raises(InvalidValue, match=words):
        make()


@dataclass(frozen=True)
class Outside:
    def propose(self, space, history, seed, number):
        return (99,) * len(space)


@dataclass(frozen=True)
class Numpys:
    def propose(self, space, history, seed, number):
        return tuple(np.zeros(len(space), dtype=np.int64))


@dataclass(frozen=True)
class Global:
    def propose(self, space, history, seed, number):
        return tuple(random.randrange(length) for length in space.lengths)


@dataclass(frozen=True)
class GlobalTorch:
    def propose(self, space, history, seed, number):
        torch.rand(1)
        return (0,) * len(space)


_SEEN = []


@dataclass(frozen=True)
class Remembers:
    def propose(self, space, history, seed, number):
        _SEEN.append(history)
        return tuple(len(_SEEN) % length for length in space.lengths)


@dataclass(frozen=True)
class Nothing:
    def propose(self, space, history, seed, number):
        return None


@dataclass(frozen=True)
class TakesBest:
    """Fails where all trials diverged."""

    def propose(self, space, history, seed, number):
        return max(history, key=lambda trial: trial.score).candidate if len(history) > 1 else (0,) * len(space)


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        (Outside(), "stays in the space"),
        (Numpys(), "tuples of int"),
        (Global(), "generator of its own"),
        (GlobalTorch(), "generator of its own"),
        (Remembers(), "from a history alone"),
        (Nothing(), "first candidate"),
    ],
    ids=["outside", "numpy", "global", "global torch", "remembers", "nothing"],
)
def test_the_contract_notices(sampler, words):
    with pytest.raises(ContractBroken, match=words):
        check_sampler(sampler)


def test_the_contract_meets_samplers_with_trials_that_diverged():
    with pytest.raises(TypeError):
        check_sampler(TakesBest())
