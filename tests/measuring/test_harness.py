import os
import subprocess
import sys

import numpy as np
import pytest

from budbreak.errors import InvalidValue
from budbreak.measuring import peak_extra
from budbreak.measuring.harness import Clock, Contender, Meter, Timing, machine_busy, quartiles


class FakeMachine:
    """Time that passes only while contenders run: ``lost`` seconds of each run go to other processes."""

    def __init__(self):
        self.cpu = self.wall = self.busy = 0.0
        self.runs = []
        self.clock = Clock(lambda: self.cpu, lambda: self.wall, lambda: self.busy, cores=2)

    def contender(self, name, seconds, lost=(), **options):
        """Takes ``seconds``; its n-th run waits ``lost[n]`` seconds for others."""
        waits = iter(lost)

        def run():
            wait = next(waits, 0.0)
            self.runs.append(name)
            self.cpu += seconds
            self.wall += seconds + wait
            self.busy += seconds + 2 * wait

        return Contender(name, run, **options)


@pytest.fixture
def machine():
    return FakeMachine()


def meter(machine, rounds, **options):
    return Meter(rounds, shortest=0.0, clock=machine.clock, **options)


def test_quartiles_are_those_of_numpy():
    values = [0.3, 9.0, 1.5, 2.0, 7.7, 4.1]
    assert quartiles(values) == pytest.approx(np.percentile(values, [25, 75]))
    assert quartiles([2.0]) == (2.0, 2.0)


def test_median_and_quartiles_by_hand():
    timing = Timing((4.0, 1.0, 2.0, 3.0, 100.0))
    assert timing.median == 3.0
    assert timing.quartiles == (2.0, 4.0)


def test_ratios_are_of_neighbours_so_that_drift_cancels():
    """The machine becomes 10 times slower midway: ratios of medians would mix fast and slow samples."""
    one, other = Timing((2.0, 20.0, 20.0)), Timing((1.0, 10.0, 10.0))
    assert one.over(other) == (2.0, 2.0, 2.0)
    assert other.over(one) == (0.5, 0.5, 0.5)


def test_contenders_take_turns(machine):
    meter(machine, 3)([machine.contender("a", 1.0), machine.contender("b", 2.0)])
    assert machine.runs == ["a", "b"] + ["a", "b"] * 3  # each is tried once before


def test_cpu_time_leaves_waiting_out_and_wall_time_counts_it(machine):
    disturbed = [0.5] * 100
    options = {"patience": 0.0}
    cpu = meter(machine, 2, **options)([machine.contender("a", 1.0, disturbed)])["a"]
    wall = meter(machine, 2, mode="wall", **options)([machine.contender("a", 1.0, disturbed)])["a"]
    assert cpu.seconds == pytest.approx((1.0, 1.0))
    assert wall.seconds == pytest.approx((1.5, 1.5))


@pytest.mark.parametrize("mode", ["cpu", "wall"])
def test_disturbed_samples_are_taken_again(machine, mode):
    lost = [0.0, 0.5, 0.0, 0.5, 0.0, 0.0]  # the first is the trial
    timing = meter(machine, 3, mode=mode)([machine.contender("a", 1.0, lost)])["a"]
    assert timing.seconds == pytest.approx((1.0, 1.0, 1.0))
    assert (timing.discarded, timing.disturbed) == (2, 0)


def test_patience_ends_and_the_least_disturbed_are_kept_and_counted(machine):
    lost = [0.0, 0.9, 0.3, 0.0, 0.6, 0.2, 0.8, 0.7, 0.1, 0.4]
    timing = meter(machine, 3, patience=2.0, mode="wall")([machine.contender("a", 1.0, lost)])["a"]
    assert timing.seconds == pytest.approx((1.0, 1.2, 1.1))  # in the order of time
    assert (timing.discarded, timing.disturbed) == (6, 2)


def test_a_little_waiting_is_tolerated(machine):
    timing = meter(machine, 2)([machine.contender("a", 1.0, [0.0, 0.04, 0.04])])["a"]
    assert (len(timing.seconds), timing.discarded, timing.disturbed) == (2, 0, 0)


def test_short_work_is_repeated_and_reported_per_run(machine):
    measure = Meter(1, shortest=1.0, clock=machine.clock)
    timing = measure([machine.contender("a", 0.125)])["a"]
    assert timing.seconds == pytest.approx((0.125,))
    assert len(machine.runs) == 1 + 3 + 8  # a trial, three to learn its time, then 1.0 / 0.125


def test_preparation_comes_before_each_sample_and_is_not_timed(machine):
    def prepare():
        machine.runs.append("prepare")
        machine.cpu += 50.0
        machine.wall += 50.0

    timing = meter(machine, 2)([machine.contender("a", 1.0, prepare=prepare)])["a"]
    assert timing.seconds == (1.0, 1.0)
    assert machine.runs == ["prepare", "a"] * 3


def test_what_takes_long_is_not_tried_before_and_sampled_less(machine):
    timings = meter(machine, 3)([machine.contender("a", 1.0), machine.contender("slow", 15.0, [9.0], most=1)])
    assert machine.runs == ["a", "a", "slow", "a", "a"]
    assert (len(timings["slow"].seconds), timings["slow"].discarded, timings["slow"].disturbed) == (1, 0, 1)


def test_two_contenders_of_one_name_are_refused(machine):
    with pytest.raises(InvalidValue, match="'a', 'a'"):
        meter(machine, 1)([machine.contender("a", 1.0), machine.contender("a", 1.0)])


def test_the_device_is_waited_for_before_each_look_at_the_clock(machine):
    waits = []
    meter(machine, 1, synchronise=lambda: waits.append(machine.cpu))([machine.contender("a", 1.0)])
    assert waits == [0.0, 1.0, 1.0, 2.0]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/stat")
def test_the_busy_time_of_the_machine_grows_with_work():
    before = machine_busy()
    subprocess.run([sys.executable, "-c", "sum(range(10_000_000))"], check=True)
    assert machine_busy() > before


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is exact only where the kernel resets it")
def test_peak_memory_is_that_of_the_work_alone(monkeypatch, tmp_path):
    ballast = np.ones(300 * 2**20, dtype=np.uint8)  # the peak of this process must not count in the other
    (tmp_path / "piece_of_work.py").write_text(
        "import numpy as np\n"
        "def make(inputs, work):\n"
        "    kept = np.ones(inputs * 2**20, dtype=np.uint8)\n"
        "    np.ones(2 * inputs * 2**20, dtype=np.uint8)\n"  # a peak while the inputs are made must not count either
        "    return lambda: len(np.ones(work * 2**20, dtype=np.uint8)) + len(kept)\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    found = peak_extra("piece_of_work:make", {"inputs": 100, "work": 40}, {"inputs": 1, "work": 1})
    assert found == pytest.approx(40, abs=3)  # pages and small objects
    assert len(ballast)
