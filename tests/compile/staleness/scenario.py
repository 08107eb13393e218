"""How a scenario is written: what is made, how it changes, how a step reads it, and in which ways it is run.

    scenario(Plain, sets("value"), lambda o: o.value, eager(lambda o: vars(o)["value"]))

makes two scenarios. `Plain(1.0)` is made, and its value becomes 2.0, 3.0 and 4.0 between the calls of a
training step, whose loss has a factor that the step reads by the first function or by the second, which makes
it run eagerly. A function of two arguments gets the step's input, too: `lambda o, x: x * o.value`.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from compile.staleness.judge import Case, Run, Scenario, default_inputs
from compile.staleness.small import Configured, Own, Small, Z, descends, fitted, regression, sgd, squares

Read = Callable[..., Any]
SCENARIOS: dict[str, Scenario] = {}


class eager:
    """A function with which a step may run eagerly: in these ways, or in all."""

    def __init__(self, function: Read, *ways: Callable[..., Case]) -> None:
        self.function = function
        self.ways = ways

    def covers(self, way: Callable[..., Case]) -> bool:
        return not self.ways or way in self.ways


def takes_input(read: Read) -> bool:
    """True for `lambda o, x: ...`, which gets the step's input beside the thing that it reads."""
    without_default = read.__code__.co_argcount - len(read.__defaults__ or ())
    return without_default > 1


# --- the ways
def trained(run: Run, o: Any, read: Read) -> Case:
    """In a training step: a factor of the loss, or the input."""
    small = Small()

    def step_with_factor(x: Any) -> Any:
        return small.train(x, read(o))

    def step_with_input(x: Any) -> Any:
        return small.train(read(o, x), 1.5)

    step = step_with_input if takes_input(read) else step_with_factor
    return Case(run.compile(step), lambda: small.watch)


def whole(run: Run, o: Any, read: Read) -> Case:
    """The step itself."""
    return Case(run.compile(lambda x: read(o, x)), lambda: o)


def argument(run: Run, o: Any, read: Read) -> Case:
    small = Small()
    step = run.compile(lambda x, o: small.train(x, read(o)))
    return Case(step, lambda: small.watch, lambda n: (*default_inputs(n), o))


def keyword(run: Run, o: Any, read: Read) -> Case:
    small = Small()
    step = run.compile(lambda x, o: small.train(x, read(o)))
    return Case(step, lambda: small.watch, lambda n: (default_inputs(n), {"o": o}))


def model(run: Run, o: Any, read: Read) -> Case:
    """In the forward pass of a model, which has it as an attribute."""
    m = Configured(o, read)
    return Case(run.compile(descends(squares(m), sgd(m, 0.05))), lambda: m)


def alone(run: Run, o: Any, read: Read) -> Case:
    """In a module that is called without gradients, and is replayed by itself."""

    def times_factor(x: Any) -> Any:
        return x * read(o)

    def times_result(x: Any) -> Any:
        return x * read(o, x)

    m = Own(times_result if takes_input(read) else times_factor)
    return Case(run.alone(m), lambda: m)


def loss(run: Run, o: Any, read: Read) -> Case:
    """In the loss of a Trainer."""
    t = regression(run.compiled, lambda: read(o))
    return Case(lambda: fitted(t, "callback", run.change, Z), lambda: [t.model, t.optimizer], empty, calls=1)


def empty(number: int) -> tuple[()]:
    """No arguments."""
    return ()


TWICE = (trained, alone)
EVERYWHERE = (trained, argument, keyword, model, loss, alone)


# --- scenarios
def place_of(function: Any, frame: Any) -> str:
    """The file and line of the function, or of the frame if the function stands in another file."""
    file = frame.f_code.co_filename
    line = frame.f_lineno
    if function is not None and function.__code__.co_filename == file:
        line = function.__code__.co_firstlineno
    return f"{Path(file).stem}:{line}"


def new_name(place: str, way: str) -> str:
    """`place.1 way`, or with the first number that no other scenario of the line has."""
    number = 1
    while f"{place}.{number} {way}".strip() in SCENARIOS:
        number += 1
    return f"{place}.{number} {way}".strip()


def add(build: Callable[..., Case], function: Any = None, way: str = "", **fields: Any) -> None:
    """Adds a scenario, named after the place of the function, or of the caller outside this file.

    fields: of Scenario.
    """
    frame: Any = sys._getframe(2)
    while Path(frame.f_code.co_filename).stem == "scenario":
        frame = frame.f_back
    name = new_name(place_of(function, frame), way)
    SCENARIOS[name] = Scenario(name, build, **fields)


def scenario(
    make: Callable[[Any], Any],
    change: Callable[[Any, Any], Any] | None,
    *reads: Read | eager,
    values: Sequence[Any] = (1.0, 2.0, 3.0, 4.0),
    ways: Sequence[Callable[..., Case]] = (trained,),
    **fields: Any,
) -> None:
    """A scenario for each function that reads and each way; fields: of Scenario."""
    for read in reads:
        for way in ways:
            function = read
            may_be_eager = False
            if isinstance(read, eager):
                function = read.function
                may_be_eager = read.covers(way)
            build = functools.partial(build_in, way, function)
            add(
                build,
                function,
                way.__name__,
                make=make,
                change=change,
                values=values,
                eager=may_be_eager,
                **fields,
            )


def build_in(way: Callable[..., Case], function: Read, run: Run, o: Any) -> Case:
    return way(run, o, function)


def changed(
    make: Callable[[Any], Any],
    *changes: Read | eager,
    ways: Sequence[Callable[..., Case]],
    **fields: Any,
) -> None:
    """A scenario for each change, a function of the thing and of the number of the change, and each way.

    The ways of these scenarios get the change in place of a function that reads.
    """
    for marked in changes:
        change = marked.function if isinstance(marked, eager) else marked

        def with_number(o: Any, value: float, change: Read = change) -> Any:
            return change(o, int(value) - 1)  # `values` are 1.0, 2.0 ..., of which `make` gets the first

        scenario(make, with_number, marked, ways=ways, **fields)


# --- changes
def sets(name: str) -> Callable[[Any, Any], None]:
    """A change: sets the attribute of this name."""

    def change(o: Any, value: Any) -> None:
        setattr(o, name, value)

    return change


def puts(key: Any) -> Callable[[Any, Any], None]:
    """A change: sets the item at this key."""

    def change(o: Any, value: Any) -> None:
        o[key] = value

    return change
