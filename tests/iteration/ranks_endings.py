"""What two ranks do when one of them ends a training, and with optimizers that are attached; called in each of them."""

import torch
from ranks_run import Half, carry_out, fingerprint, geometric, iterate, kill_at
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.errors import BudbreakError
from budbreak.live import model_digest


def refusal(call):
    try:
        call()
    except BudbreakError as error:
        return [type(error).__name__, str(error)]
    return "nothing"


def epochs_of(levels):
    return [record.epochs for record in levels.history]


def one_stops(rank):
    half = Half(rank)
    with iterate(half, geometric()) as levels:
        for level in levels:
            for epoch in level.epochs(4):
                half.epoch()
                if rank == 1 and epoch == level.number:
                    level.stop()
    return epochs_of(levels)


def one_stops_and_leaves(rank):
    half = Half(rank)
    with iterate(half, geometric()) as levels:
        for level in levels:
            for epoch in level.epochs(4):
                half.epoch()
                if rank == 0 and epoch == level.number:
                    level.stop()
                    break
    return epochs_of(levels)


def one_records(rank):
    half = Half(rank)
    with iterate(half, geometric()) as levels:
        for level in levels:
            for epoch in level.epochs(4, until=lambda numbers, level=level: numbers["done"] > level.number):
                half.epoch()
                if rank == 0:
                    level.record(done=epoch + 1)
    return epochs_of(levels)


def one_asks(rank):
    half = Half(rank)
    with iterate(half, geometric()) as levels:
        for level in levels:
            ask = None if rank == 0 else (lambda numbers, level=level: numbers["done"] > level.number)
            for epoch in level.epochs(4, until=ask):
                half.epoch()
                level.record(done=epoch + 1)
    return epochs_of(levels)


def one_asks_nonsense(rank):
    half = Half(rank, wrap=False)
    with iterate(half, geometric()) as levels:
        for level in levels:
            for _ in level.epochs(4, until=lambda numbers: None if rank == 1 else False):
                half.epoch()


def attach(half, level, **options):
    half.optimizer = torch.optim.SGD(half.plain.parameters(), **{"lr": 0.1, "momentum": 0.9} | options)
    half.scheduler = torch.optim.lr_scheduler.ExponentialLR(half.optimizer, 0.95)
    half.shuffle = torch.Generator()
    level.attach(half.optimizer, resets=[half.scheduler, half.shuffle])


def attached_run(half, *, each=None, store=None):
    options = {"batches": half.batches, "loss": cross_entropy, "store": store}
    with bb.iterate(half.model, None, geometric(), **options) as levels:
        for level in levels:
            attach(half, level)
            for _ in level.epochs(2):
                half.epoch(each)
            level.record(fitted=float(level.number))
    return levels


def both_attach(rank):
    half = Half(rank)
    levels = attached_run(half)
    other = Half(rank)
    carry_out(other, geometric())
    return [model_digest(half.plain) == model_digest(other.plain), epochs_of(levels)]


def others_are_attached(rank):
    half = Half(rank, wrap=False)
    with bb.iterate(half.plain, None, geometric(criterion=bb.criteria.Magnitude())) as levels:
        for level in levels:
            attach(half, level, momentum=0.9 - 0.1 * rank)
            half.epoch()


def one_attaches(rank):
    half = Half(rank, wrap=False)
    with bb.iterate(half.plain, None, geometric(criterion=bb.criteria.Magnitude())) as levels:
        for level in levels:
            if rank == 0:
                attach(half, level)


def one_keeps(rank, store):
    carry_out(Half(rank, wrap=False), geometric(), store=store, keep="all" if rank else "last")


def endings(rank, folder):
    """All of the above in one launch."""
    fine = {work.__name__: work(rank) for work in (one_stops, one_stops_and_leaves, one_records, one_asks, both_attach)}
    faults = (one_asks_nonsense, others_are_attached, one_attaches, lambda rank: one_keeps(rank, folder))
    return fine, [refusal(lambda fault=fault: fault(rank)) for fault in faults]


def attached_and_killed(rank, store, kills):
    half = Half(rank)
    return fingerprint(half, attached_run(half, each=kill_at(rank, 10) if kills else None, store=store))


def kept(rank, store):
    half = Half(rank)
    levels = carry_out(half, geometric(), store=store, keep="all")
    return [[record.level, record.end_digest] for record in levels.history]
