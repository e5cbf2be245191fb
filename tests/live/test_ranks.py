"""Several processes prune one network: equal masks, own noise, one store, and no error that leaves others waiting."""

import torch
from launching import launch
from ranks_run import Half
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.errors import BudbreakError, EmptyBatches, NotFinite, RanksDisagree
from budbreak.probes import Gradients, UnitCounts
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
