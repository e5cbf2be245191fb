"""Several processes prune one network: equal masks, own noise, one store, and no error that leaves others waiting."""

import dataclasses

import pytest
import torch
from launching import launch
from ranks_run import Half, carry_out, geometric, iterate
from stray_ranks import FAULTS
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import budbreak as bb
from budbreak.errors import BudbreakError, EmptyBatches, InvalidValue, NotFinite, RanksDisagree
from budbreak.evidence import Gradients, UnitCounts, Wiring
from budbreak.iteration.generators import derive_seed, seed_everything, seed_training
from budbreak.iteration.identity import mask_digest
from budbreak.processes import Processes

# --- evidence ---------------------------------------------------------------------------------------------------


def batches_of(rank, uneven):
    """This rank's batches; uneven: rank 0 has 5 samples in two batches, rank 1 has the other 43 in six."""
    half = Half(0, 1)
    if not uneven:
        return list(zip(half.x[rank::2].split(8), half.y[rank::2].split(8), strict=True))
    x, y = (half.x[:5], half.y[:5]) if rank == 0 else (half.x[5:], half.y[5:])
    return list(zip(x.split(3 if rank == 0 else 8), y.split(3 if rank == 0 else 8), strict=True))


def observed(rank, batches, group=None):
    half = Half(0, 1, wrap=rank is not None)
    found = bb.probe(half.model, [Gradients(), UnitCounts()], batches=batches, loss=cross_entropy, group=group)
    gradients = {name: g.tolist() for name, g in found[Gradients()].items()}
    return gradients, {name: [c.active.tolist(), c.samples] for name, c in found[UnitCounts()].items()}


def both_ways(rank):
    seen = [observed(rank, batches_of(rank, uneven)) for uneven in (False, True)]
    whole = Half(0, 1)
    none = observed(rank, [(whole.x, whole.y)] if rank == 1 else [])  # rank 0 has no batch at all
    half = Half(rank)
    half.epoch()
    half.model.zero_grad()
    before = [None if p.grad is None else p.grad.clone() for p in half.plain.parameters()]
    bb.probe(half.model, [Gradients()], batches=half.batches, loss=cross_entropy, group=None)
    after = [p.grad for p in half.plain.parameters()]
    untouched = all((a is None and b is None) or torch.equal(a, b) for a, b in zip(before, after, strict=True))
    half.epoch()  # the wrapper still averages gradients
    return [*seen, none, untouched, sum(float(p.detach().double().sum()) for p in half.plain.parameters())]


def test_evidence_is_that_of_all_batches_together(tmp_path):
    first, second = launch(both_ways, tmp_path)
    assert first == second
    whole = Half(0, 1, wrap=False)
    gradients, counts = observed(None, [(whole.x, whole.y)], "alone")
    for seen, units in first[:3]:
        assert units == {name: [active, samples] for name, (active, samples) in counts.items()}
        for name, expected in gradients.items():  # summed in another order: float32 rounding
            torch.testing.assert_close(torch.tensor(seen[name]), torch.tensor(expected), rtol=1e-4, atol=1e-7)
    assert first[3] is True


def wired(rank):
    whole = Half(0, 1, wrap=False)
    batches = [whole.x] if rank in (None, 1) else []  # rank 0 has no batch to trace
    found = bb.probe(whole.plain, [Wiring()], batches=batches, group="alone" if rank is None else None)[Wiring()]
    return [f"{link.source} {link.target} {link.units} {link.columns}" for link in found.links]


def test_a_rank_without_a_batch_knows_the_wiring_that_another_has_traced(tmp_path):
    assert launch(wired, tmp_path) == [wired(None)] * 2


def probe_of(rank, batches, group):
    half = Half(rank, wrap=False)
    try:
        bb.probe(half.plain, [Gradients()], batches=batches[rank], loss=cross_entropy, group=group)
    except BudbreakError as error:
        return type(error).__name__, str(error)
    return "fine"


def nothing_anywhere(rank):
    return probe_of(rank, [[], []], None)


def poisoned(rank):
    batches = batches_of(0, False)
    return probe_of(rank, [batches, [(batches[0][0] * float("nan"), batches[0][1])]], None)


def alone(rank):
    return probe_of(rank, [batches_of(0, False), []], "alone")


def test_an_error_on_one_rank_is_an_error_on_all(tmp_path):
    assert [kind for kind, _ in launch(nothing_anywhere, tmp_path)] == ["EmptyBatches"] * 2
    other, own = launch(poisoned, tmp_path)
    assert other[0] == own[0] == NotFinite.__name__
    assert other[1].startswith("rank 1: the loss of batch 0 is nan\n")
    assert own[1].startswith("the loss of batch 0 is nan\n")


def test_a_bare_probe_is_this_process_alone(tmp_path):
    fine, failed = launch(alone, tmp_path)
    assert (fine, failed[0]) == ("fine", EmptyBatches.__name__)


# --- exchange ---------------------------------------------------------------------------------------------------


def apart(rank):
    processes = Processes.of(None)
    errors = []
    for _ in range(2):  # after an error nothing is exchanged any more
        try:
            processes.exchange("tea" if rank == 0 else "coffee", rank)
        except BudbreakError as error:
            errors.append([type(error).__name__, error.value])
    return errors


def nested(rank):
    """Rank 1 fails in the outer section while rank 0 waits in an inner one."""
    processes = Processes.of(None)
    try:
        with processes.agreeing("outer"):
            if rank == 1:
                raise ZeroDivisionError("one / none")
            with processes.agreeing("inner"):
                pass
            processes.sum({"w": torch.ones(3)})
    except Exception as error:
        return type(error).__name__, str(error).splitlines()[0]


def gone(rank):
    if rank == 1:
        return None
    try:
        Processes.of(None).exchange("waiting", 1)
    except BudbreakError as error:
        return type(error).__name__, error.value


def test_ranks_that_part_ways_are_told_so(tmp_path):
    for outcome in launch(apart, tmp_path):
        assert outcome[0] == [RanksDisagree.__name__, "rank 0 has tea, rank 1 has coffee"]
        assert outcome[1][0] == "RankFailed"


def test_a_failure_is_heard_wherever_the_others_wait(tmp_path):
    assert launch(nested, tmp_path) == [
        ["RankFailed", "rank 1: ZeroDivisionError: one / none"],
        ["ZeroDivisionError", "one / none"],
    ]


def test_a_rank_that_is_gone_is_noticed(tmp_path):
    (kind, text), _ = launch(gone, tmp_path)
    assert kind == "RankFailed"
    assert text.startswith("rank 0 of 2 lost the others: ")


# --- iterations -------------------------------------------------------------------------------------------------


def refusal(call):
    """What a rank raised: (type, message)."""
    try:
        call()
    except Exception as error:
        return type(error).__name__, str(error)
    return "nothing", ""


def three_runs(rank):
    outcomes = []
    for plan in (
        geometric(),
        geometric(then=[bb.ActivateWhilePruning(q=0.05)]),
        geometric(rewind_to=bb.Step(3)),
        geometric(train_dense=False, rounds=3),
    ):
        half = Half(rank)
        draws = []
        levels = carry_out(half, plan, each=lambda half, draws=draws: draws.append(torch.rand(1).item()))
        records = [dataclasses.asdict(record) for record in levels.history]
        weights = [parameter.tolist() for parameter in half.plain.parameters()]
        outcomes.append([records, mask_digest(levels.mask), weights, draws])
    return outcomes


def test_ranks_with_other_batches_end_with_one_network_and_one_history(tmp_path):
    for first, second in zip(*launch(three_runs, tmp_path), strict=True):
        assert first[:3] == second[:3]
        assert {record["world_size"] for record in first[0]} == {2}
        assert len({record["mask_digest"] for record in first[0]}) == len(first[0]) >= 2
        assert not set(first[3]) & set(second[3])  # dropout and augmentation are each rank's own


def shared_draws(rank):
    """A permutation drawn from a given generator, of which each rank takes its part."""
    half, seen = Half(rank), []
    with iterate(half, geometric()) as levels:
        for level in levels:
            for _ in level.epochs(1):
                seen.append(torch.randperm(48, generator=half.shuffle).tolist())
                half.epoch()
    return seen


def test_a_generator_in_resets_draws_alike_on_all_ranks(tmp_path):
    first, second = launch(shared_draws, tmp_path)
    assert first == second
    assert first[0] != first[1]


def test_rank_0_draws_what_a_process_alone_draws():
    """What was measured before by one process stays as it was."""
    seed_training(5, 2, 0, rank=0, generators=())
    first = torch.rand(1).item()
    seed_everything(derive_seed(5, 2, 0, "train"))
    assert torch.rand(1).item() == first
    seed_training(5, 2, 0, rank=1, generators=())
    assert torch.rand(1).item() != first


def alone_together(rank):
    """Under one launcher each rank carries out an iteration of its own, with another seed."""
    half = Half(rank, wrap=False)
    levels = carry_out(half, geometric(), seed=rank, group="alone")
    return [record.world_size for record in levels.history], levels.history[-1].mask_digest


def test_alone_each_rank_has_an_iteration_of_its_own(tmp_path):
    (sizes, first), (_, second) = launch(alone_together, tmp_path)
    assert sizes == [1, 1, 1]
    assert first != second


def strays(rank):
    return {fault.__name__: refusal(lambda fault=fault: fault(rank)) for fault in FAULTS}


STRAYS = {
    "sharded_weights": "is a DTensor: each process holds a part of it",
    "sharded_optimizer": "is a ZeroRedundancyOptimizer, of whose state each rank holds a part",
    "other_seed": "rank 1 carries out another iteration than rank 0: seed: 0 -> 1",
    "other_plan": "rank 1 carries out another iteration than rank 0: plan.schedule.levels: 2 -> 3",
    "other_weights": "rank 0 has 6.bias: ",
    "not_averaged": "rank 0 has 0.weight: ",
    "local_criterion": "the mask of level 1: rank 0 has 0.weight: ",
    "diverged": "'0.weight' holds NaN",
    "fewer_steps": "rank 0 took 3 optimizer steps, rank 1 took 2",
    "other_numbers": "record(accuracy=...) got 0.5 and, on rank 1, 1.5",
    "fewer_epochs": "rank 0 has the end of level 0, stage 0",
    "bad_argument": "no loss was given",
}


def test_ranks_that_stray_are_named_on_all_of_them(tmp_path):
    first, second = launch(strays, tmp_path)
    assert set(STRAYS) == set(first)
    for fault, text in STRAYS.items():
        assert text in first[fault][1], (fault, first[fault])
        assert text in second[fault][1], (fault, second[fault])
        assert first[fault][0] == second[fault][0] != "nothing"
    assert first["diverged"][1].startswith("rank 1: ")
    assert first["bad_argument"][1].startswith("rank 1: ")


def raises_in_the_body(rank):
    def each(half):
        if rank == 1 and half.steps == 4:
            raise ZeroDivisionError("in the body of rank 1")

    return refusal(lambda: carry_out(Half(rank), geometric(), each=each))


def test_an_error_in_the_body_of_one_rank_leaves_no_other_waiting(tmp_path):
    first, second = launch(raises_in_the_body, tmp_path)
    assert second == ["ZeroDivisionError", "in the body of rank 1"]
    assert first[0] != "nothing"


def in_two_groups(rank):
    """Ranks 0 and 2 prune one network, rank 1 another by itself."""
    groups = [torch.distributed.new_group(ranks) for ranks in ([0, 2], [1])]
    group = groups[rank % 2]
    with pytest.raises(InvalidValue, match="belongs to"):
        Processes.of(groups[1 - rank % 2])
    half = Half(rank, 3, wrap=False)
    half.model = DistributedDataParallel(half.plain, process_group=group)
    levels = carry_out(half, geometric(), seed=rank % 2, group=group)
    return [[record.world_size, record.mask_digest, record.metrics] for record in levels.history]


def test_each_group_of_ranks_has_an_iteration_of_its_own(tmp_path):
    first, alone, third = launch(in_two_groups, tmp_path, size=3)
    assert first == third
    assert [size for size, _, _ in first] == [2, 2, 2]
    assert [size for size, _, _ in alone] == [1, 1, 1]
    assert alone[2][1] != first[2][1]


def uneven(rank):
    """Rank 0 has no calibration batch at all; rank 0 alone records."""
    half = Half(rank)
    with iterate(half, geometric(), batches=half.batches if rank else []) as levels:
        for level in levels:
            half.epoch()
            if rank == 0:
                level.record(accuracy=0.25)
    return [[record.mask_digest, dict(record.metrics)] for record in levels.history]


def test_one_rank_may_have_no_batches_and_one_alone_may_record(tmp_path):
    first, second = launch(uneven, tmp_path)
    assert first == second
    assert [metrics for _, metrics in first] == [{"accuracy": 0.25}] * 3


@pytest.mark.parametrize("group", ["world", 3])
def test_a_group_that_is_none_is_refused(group):
    with pytest.raises(InvalidValue, match=r"group is .*\n.*'alone'"):
        Processes.of(group)
