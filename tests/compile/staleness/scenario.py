"""How a scenario is written: what is made, how it changes, how a step reads it, and in which ways it is run.

    scenario(Plain, sets("value"), lambda o: o.value, eager(lambda o: vars(o)["value"]))

makes two scenarios. `Plain(1.0)` is made, and its value becomes 2.0, 3.0 and 4.0 between the calls of a
training step, whose loss has a factor that the step reads by the first function or by the second, which makes
it run eagerly. A function of two arguments gets the step's input, too: `lambda o, x: x * o.value`.
"""

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
        self.function, self.ways = function, ways


def takes_input(read: Read) -> bool:
    return read.__code__.co_argcount - len(read.__defaults__ or ()) > 1


# --- the ways
def trained(run: Run, o: Any, read: Read) -> Case:
    """In a training step: a factor of the loss, or the input."""
    small = Small()
    if takes_input(read):
        step = lambda x: small.train(read(o, x), 1.5)  # noqa: E731
    else:
        step = lambda x: small.train(x, read(o))  # noqa: E731
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
    m = Own((lambda x: x * read(o, x)) if takes_input(read) else lambda x: x * read(o))
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
def add(build: Callable[..., Case], at: Any = None, way: str = "", **more: Any) -> None:
    """Adds a scenario. at: the function whose place names it, if not the caller's of the caller."""
    frame: Any = sys._getframe(2)
    while Path(frame.f_code.co_filename).stem == "scenario":
        frame = frame.f_back
    own = at is not None and at.__code__.co_filename == frame.f_code.co_filename
    place = f"{Path(frame.f_code.co_filename).stem}:{at.__code__.co_firstlineno if own else frame.f_lineno}"
    name = next(n for k in range(1, 999) if (n := f"{place}.{k} {way}".strip()) not in SCENARIOS)
    SCENARIOS[name] = Scenario(name, build, **more)


def scenario(
    make: Callable[[Any], Any],
    change: Callable[[Any, Any], Any] | None,
    *reads: Read | eager,
    values: Sequence[Any] = (1.0, 2.0, 3.0, 4.0),
    ways: Sequence[Callable[..., Case]] = (trained,),
    **more: Any,
) -> None:
    """A scenario for each function that reads and each way; more: of Scenario."""
    for read in reads:
        function = read.function if isinstance(read, eager) else read
        for way in ways:
            is_eager = isinstance(read, eager) and (not read.ways or way in read.ways)
            add(
                lambda run, o, way=way, function=function: way(run, o, function),
                function,
                way.__name__,
                make=make,
                change=change,
                values=values,
                eager=is_eager,
                **more,
            )


def changed(
    make: Callable[[Any], Any], *changes: Read | eager, ways: Sequence[Callable[..., Case]], **more: Any
) -> None:
    """A scenario for each change, a function of the thing and of the number of the change, and each way.

    The ways of these scenarios get the change in place of a function that reads.
    """
    for marked in changes:
        change = marked.function if isinstance(marked, eager) else marked
        read = eager(change, *marked.ways) if isinstance(marked, eager) else change
        scenario(make, lambda o, v, change=change: change(o, int(v) - 1), read, ways=ways, **more)


# --- changes
def sets(name: str) -> Callable[[Any, Any], None]:
    """Sets this attribute."""
    return lambda o, v: setattr(o, name, v)


def puts(key: Any) -> Callable[[Any, Any], None]:
    """Sets this item."""
    return lambda o, v: o.__setitem__(key, v)
