"""Which network a command means, of what was typed."""

from __future__ import annotations

import argparse

from budbreak.studies import Request


def request_of(options: argparse.Namespace) -> Request:
    """What a command that looks at one network was asked for."""
    return Request(
        options.model,
        data_dir=options.data_dir,
        dataset=options.dataset,
        weights=options.weights,
        mask=options.mask,
        arm=options.arm,
        seed=options.seed,
        network=options.network,
    )
