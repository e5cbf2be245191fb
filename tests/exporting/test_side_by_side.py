"""What is said of measured latencies: which is best, and where nothing was gained."""

import pytest

from budbreak.exporting import Row, SideBySide, recommendation
from budbreak.exporting.side_by_side import Latency


def row(network, runtime, median, spread=0.0):
    return Row(network, runtime, 100, (Latency(1, median, median - spread, median + spread),))


def said(*rows):
    smallest, fastest = recommendation(SideBySide(rows, 1), {"onnx": 300, "packed": 20})
    assert smallest == "smallest file: packed, 20 bytes"
    return fastest


def test_the_fastest_is_named_beside_the_dense_network():
    rows = (row("dense", "torch", 0.006), row("as is", "torch", 0.006), row("compact", "torch", 0.002))
    assert said(*rows) == "batch 1: compact in torch eager, 2 ms, 3.00x as fast as dense in torch eager"


def test_the_dense_network_counts_in_its_fastest_runtime_too():
    rows = (row("dense", "onnx", 0.003), row("dense", "torch", 0.006), row("compact", "torch", 0.002))
    assert said(*rows) == (
        "batch 1: compact in torch eager, 2 ms, 1.50x as fast as dense in ONNX Runtime, "
        "3.00x as fast as dense in torch eager"
    )


@pytest.mark.parametrize(("own", "spread"), [(0.007, 0.0), (0.005, 0.0005)])
def test_what_lies_within_the_spread_is_no_gain(own, spread):
    rows = (row("dense", "torch", 0.006, spread), row("as is", "torch", own, spread))
    assert "no gain beyond the spread over dense in torch eager, 6 ms" in said(*rows)


def test_without_a_dense_network_nothing_is_compared():
    assert said(row("as is", "onnx", 0.004)) == "batch 1: as is in ONNX Runtime, 4 ms"
