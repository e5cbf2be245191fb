"""The driver of tasks: order, needs, failures, and processes that are lost, on executors without any process."""

from __future__ import annotations

import contextlib
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from budbreak.errors import InvalidValue
from budbreak.executors.executing import ProcessEnded
from budbreak.executors.executors import HereExecutor
from budbreak.executors.scheduling import Failure, carry_out


@dataclass(frozen=True)
class Letter:
    """A task that is told by its name alone."""

    name: str
    needs: tuple[Letter, ...] = ()

    @property
    def identity(self) -> str:
        return f"identity of {self.name}"


@dataclass(frozen=True)
class Circular:
    name: str
    needed: str

    @property
    def identity(self) -> str:
        return self.name

    @property
    def needs(self):
        return (Circular(self.needed, self.name),)


class Held(Executor):
    """Keeps each call until the test lets it end, so that what runs at a time can be seen."""

    def __init__(self) -> None:
        self.calls: list[tuple[Future, object]] = []
        self.most = 0

    def submit(self, fn, /, *args):
        future: Future = Future()
        self.calls.append((future, lambda: fn(*args)))
        self.most = max(self.most, len(self.calls))
        return future

    def let_last_end(self) -> None:
        if self.calls:
            future, call = self.calls.pop()
            future.set_result(call())


class Losing(HereExecutor):
    """Its process ends so many times at the tasks of some names."""

    def __init__(self, **times: int) -> None:
        self.times = times

    def submit(self, fn, /, *args):
        name = args[1].name
        if self.times.get(name, 0) == 0:
            return super().submit(fn, *args)
        self.times[name] -= 1
        future: Future = Future()
        future.set_exception(ProcessEnded("its process ended with code -9 (killed; out of memory?)"))
        return future


def letters(names: str) -> list[Letter]:
    return [Letter(name) for name in names]


def drive(tasks, compute=lambda task: None, *, executor=None, workers=1, tick=lambda: None):
    """The failures, and the names of what finished, in order."""
    done: list[str] = []
    failures = carry_out(
        tasks,
        compute,
        executor=executor or HereExecutor(),
        workers=workers,
        tick=tick,
        finished=lambda task: done.append(task.name),
    )
    return failures, done


def failing(*names: str, error: Exception | None = None):
    def compute(task: Letter) -> None:
        if task.name in names:
            raise error or RuntimeError(f"no luck with {task.name}")

    return compute


def test_tasks_are_begun_in_the_order_given():
    begun = []
    failures, done = drive(letters("cabd"), lambda task: begun.append(task.name))
    assert not failures
    assert begun == done == list("cabd")


def test_nothing_to_do_is_done():
    assert drive([]) == ([], [])


def test_what_a_task_needs_comes_first_and_finishes_first_even_if_it_is_listed_later():
    dense = Letter("dense")
    events = []
    tasks = [Letter("level", (dense,)), Letter("other"), dense]
    carry_out(
        tasks,
        lambda task: events.append(f"compute {task.name}"),
        executor=HereExecutor(),
        workers=1,
        tick=lambda: None,
        finished=lambda task: events.append(f"finished {task.name}"),
    )
    order = ["other", "dense", "level"]
    assert events == [event for name in order for event in (f"compute {name}", f"finished {name}")]


def test_two_workers_do_not_begin_a_task_while_another_one_computes_what_it_needs():
    executor = Held()
    dense = Letter("dense")
    tasks = [dense, Letter("level", (dense,))]
    failures, done = drive(tasks, executor=executor, workers=2, tick=executor.let_last_end)
    assert (failures, done) == ([], ["dense", "level"])
    assert executor.most == 1


def test_what_is_being_computed_is_told_before_each_tick():
    executor, told = Held(), []
    carry_out(
        letters("abc"),
        lambda task: None,
        executor=executor,
        workers=2,
        tick=executor.let_last_end,
        finished=lambda task: None,
        working=lambda tasks: told.append("".join(task.name for task in tasks)),
    )
    assert [names for names in dict.fromkeys(told) if names] == ["ab", "a", "c"]
    assert told[-1] == ""


def test_a_need_that_is_not_in_the_list_is_complete():
    assert drive([Letter("level", (Letter("dense"),))]) == ([], ["level"])


def test_no_more_tasks_than_workers_are_given_at_a_time():
    executor = Held()
    failures, done = drive(letters("abcdefg"), executor=executor, workers=3, tick=executor.let_last_end)
    assert not failures
    assert sorted(done) == list("abcdefg")
    assert executor.most == 3


def test_a_failure_stops_only_those_that_need_it_and_they_name_the_first_cause():
    dense = Letter("dense")
    host = Letter("host", (dense,))
    table = Letter("table", (host, Letter("free")))
    failures, done = drive([table, host, dense, Letter("free")], failing("dense"))
    assert done == ["free"]
    assert [failure.task for failure in failures] == ["dense", "host", "table"]
    assert "RuntimeError: no luck with dense" in failures[0].text
    assert "Traceback" in failures[0].text
    assert "in compute" in failures[0].text
    assert not failures[0].known
    assert failures[1] == Failure("host", "it was not begun: it needs 'dense', which failed", known=True)
    assert failures[2] == Failure("table", "it was not begun: it needs 'dense', which failed", known=True)


def test_our_own_errors_explain_themselves():
    error = InvalidValue("rate is 2", "it must be a share", "write 0.2")
    failures, done = drive(letters("ab"), failing("a", error=error))
    assert failures == [Failure("a", "rate is 2\nit must be a share\nwrite 0.2", known=True)]
    assert done == ["b"]


def test_a_task_that_loses_its_process_is_tried_once_more_after_the_others(caplog):
    level = Letter("a-level", (Letter("a"),))
    failures, done = drive([*letters("abc"), level], executor=Losing(a=1))
    assert not failures
    assert done == ["b", "c", "a", "a-level"]
    said = "a: its process ended with code -9 (killed; out of memory?); it goes on from its last checkpoint"
    assert caplog.messages == [said]


def test_a_task_that_loses_two_processes_fails_and_so_does_what_needs_it(caplog):
    level = Letter("a-level", (Letter("a"),))
    failures, done = drive([*letters("ab"), level], executor=Losing(a=2))
    assert failures == [
        Failure("a", "its process ended with code -9 (killed; out of memory?), twice", known=True),
        Failure("a-level", "it was not begun: it needs 'a', which failed", known=True),
    ]
    assert done == ["b"]
    assert len(caplog.messages) == 1


def test_an_executor_that_cannot_send_a_task_fails_that_task_alone():
    class Refusing(HereExecutor):
        def submit(self, fn, /, *args):
            future: Future = Future()
            future.set_exception(TypeError("cannot pickle"))
            return future if args[1].name == "a" else super().submit(fn, *args)

    failures, done = drive(letters("ab"), executor=Refusing())
    assert [(failure.task, failure.known) for failure in failures] == [("a", False)]
    assert "TypeError: cannot pickle" in failures[0].text
    assert done == ["b"]


def test_ticks_go_on_while_tasks_run():
    ticks = []
    with ThreadPoolExecutor(1) as executor:
        import threading

        enough = threading.Event()

        def tick() -> None:
            ticks.append(1)
            if len(ticks) == 3:
                enough.set()

        failures, done = drive(letters("a"), lambda task: enough.wait(20), executor=executor, tick=tick)
    assert (failures, done) == ([], ["a"])
    assert len(ticks) >= 3


@pytest.mark.parametrize("hook", ["tick", "finished"])
def test_an_error_in_a_hook_ends_the_whole(hook):
    def stop(*anything) -> None:
        raise KeyboardInterrupt

    begun = []
    hooks = {"tick": lambda: None, "finished": lambda task: None, hook: stop}
    with pytest.raises(KeyboardInterrupt):
        carry_out(letters("ab"), lambda task: begun.append(task), executor=HereExecutor(), workers=1, **hooks)
    assert len(begun) == 1


def test_two_tasks_of_one_identity_are_refused():
    with pytest.raises(InvalidValue, match="two tasks have the identity 'identity of a'"):
        drive([Letter("a"), Letter("b"), Letter("a", (Letter("b"),))])


def test_a_circle_is_refused():
    with pytest.raises(InvalidValue, match=r"in a circle: '(a' - 'b' - 'a|b' - 'a' - 'b)'"):
        drive([Circular("a", "b"), Circular("b", "a")])


def test_workers_are_counted_from_one():
    with pytest.raises(InvalidValue, match="workers is 0"):
        drive(letters("a"), workers=0)


def test_what_the_executor_carries_out_is_wrapped_so_that_errors_travel_as_text():
    kept = []

    class Keeping(HereExecutor):
        def submit(self, fn, /, *args):
            kept.append(super().submit(fn, *args))
            return kept[-1]

    with contextlib.suppress(KeyboardInterrupt):
        drive(letters("a"), failing("a"), executor=Keeping())
    assert isinstance(kept[0].result(), Failure)
