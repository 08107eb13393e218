"""A compiled step follows a number of an op that is a Tensor of one element, as the step itself does."""

from numbers import Real

import pytest
import ranvier as rv
from compile.beside import outcome
from ranvier import nn
from ranvier.compile import cache
from ranvier.nn import often
from samples.sample import tensors_in

from properties.every import every_op

pytestmark = pytest.mark.filterwarnings("ignore")  # such steps run eagerly
LEAVES_OUT = {"linalg_lstsq": "NumPy rounds by where memory lies"}


def is_number(value):
    return isinstance(value, Real) and type(value) is not bool


def numbers_in(value):
    """The numbers among arguments, in order."""
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, (list, tuple)):
        return [number for part in value for number in numbers_in(part)]
    return [value] if is_number(value) else []


def with_numbers(value, numbers):
    """The arguments with the next one of an iterator in place of each number."""
    if isinstance(value, dict):
        return {name: with_numbers(part, numbers) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(with_numbers(part, numbers) for part in value)
    return next(numbers) if is_number(value) else value


def with_number(value, place, number):
    """The arguments with another number in place of the one at this place of `numbers_in`."""
    numbers = numbers_in(value)
    numbers[place] = number
    return with_numbers(value, iter(numbers))


def seeded(step, *args):
    rv.manual_seed(1)
    return outcome(step, *args)


class Calls(nn.Module):
    """A module whose forward pass calls the op, and which is replayed by itself."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    @rv.no_grad()
    def __call__(self, n):
        return super().__call__(n)

    def forward(self, n):
        return self.step(n)


def judged(step, n, before, after, wrap):
    """The results after the change are those of the step itself, whatever the calls before have kept."""
    expected = [seeded(step, n.fill_(number)) for number in (before, after)]
    cache._unpaid.clear()  # of functions of the same code
    n.fill_(before)
    fast = wrap(step)
    calls = 4 if wrap is rv.compile else 24
    assert [seeded(fast, n) for _ in range(calls)] == calls * expected[:1]
    assert seeded(fast, n.fill_(after)) == expected[1]


@every_op(LEAVES_OUT, only=lambda op: any(numbers_in((s.args, s.settings)) for s in op.samples))
def test_numbers_in_tensors(sample, monkeypatch):
    monkeypatch.setattr(often, "_ENOUGH", 0.0)
    call = sample.tensors(rv.float32, records=False)
    given = call.args, call.settings
    for place, before in enumerate(numbers_in(given)):
        after = before + 1 if isinstance(before, int) else before / 2 + 0.125
        n = rv.tensor(
            before if (sample.number + place) % 2 else [before],
            dtype=rv.int64 if isinstance(before, int) else None,
        )

        def step(n, place=place):
            args, settings = with_number(given, place, n)
            return [y.clone() for y in tensors_in(sample.op.function(*args, **settings))]

        judged(step, n, before, after, Calls if (sample.number + place) % 3 == 0 else rv.compile)


def test_a_number_is_put_in_its_place():
    given = (1, [2.0, {"a": True, "b": 3}])
    assert numbers_in(given) == [1, 2.0, 3]
    assert [with_number(given, place, 9) for place in range(3)] == [
        (9, [2.0, {"a": True, "b": 3}]),
        (1, [9, {"a": True, "b": 3}]),
        (1, [2.0, {"a": True, "b": 9}]),
    ]
