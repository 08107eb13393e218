"""A compiled step of an op has the bits of the step itself.

A training step has other numbers at each call. A step whose op has a number that is a Tensor of one element
follows the Tensor.
"""

from numbers import Real

import pytest
import ranvier as rv
from compile.beside import CALLS, outcome, same
from ranvier import nn
from ranvier.compile import program_cache
from ranvier.nn import call_counts
from samples.sample import tensors_in

from properties.every import every_op, floats, has_halves, lacking, lacks, outside

AT_TIMES = {
    "repeat_interleave embedding_bag EmbeddingBag index_put": "reads counts, offsets, masks",
    "amax amin": "reads whether there is NaN",
    "getitem setitem": "a slice is in a variable",
}
BY_MEMORY = {"linalg_lstsq": "NumPy rounds by where memory lies"}
LEAVES_OUT = BY_MEMORY | {"det": "NumPy warns of infinity"}
DTYPES = (rv.float32, rv.float64, rv.float32, rv.bfloat16, rv.float16)  # of the first sample, the second ...


def maker(samples, dtypes):
    """Makes a step and what it changes: (step, parameters, optimizer, states), as `same` takes it.

    The step calls the op on inputs times a weight, so that there is always something to train.
    """

    def made():
        calls = [sample.tensors(dtype) for sample, dtype in zip(samples, dtypes, strict=True)]
        weight = nn.Parameter(rv.full((), 0.9))
        parameters = [weight, *(x for call in calls for x in call.leaves if isinstance(x, nn.Parameter))]
        optimizer = rv.optim.SGD(parameters, lr=0.01, momentum=0.9)
        parts = [(call.of_inputs(), [x.requires_grad for x in call.inputs], call.dtype) for call in calls]

        def step(*inputs):
            optimizer.zero_grad()
            loss, given, results = weight * weight, iter(inputs), []
            for function, moving, dtype in parts:
                own = weight.to(dtype)
                ys = function(*(next(given) * own if moves else next(given).clone() for moves in moving))
                loss = sum(((y * y).mean() for y in floats(ys)), loss)
                results += [y.clone() for y in ys]
            loss.backward()
            optimizer.step()
            return loss, results

        return step, parameters, optimizer, [x for call in calls for x in call.states]

    return made


def given(samples, dtypes):
    def inputs(number):
        pairs = zip(samples, dtypes, strict=True)
        made = [x for sample, dtype in pairs for x in sample.tensors(dtype, records=False).inputs]
        return [x * (1 - number / 32) if x.is_floating_point() else x for x in made]

    return inputs


def between(number, parameters, optimizer, states):
    """All parameters and the learning rate change."""
    optimizer.param_groups[0]["lr"] *= 0.7
    with rv.no_grad():
        for p in parameters:
            p.mul_(0.95)


def of_op(sample):
    """All samples of its op, in one step."""
    return [one for one in sample.op.samples if "captured" not in one.left_out]


def is_first(sample):
    return sample is next(iter(of_op(sample)), None)


def is_refused(op):
    return not outside(lacking("captured") | AT_TIMES)(op)


@every_op(LEAVES_OUT, only=outside(lacking("captured") | AT_TIMES), of=is_first)
def test_captured(sample):
    samples, count = of_op(sample), len(DTYPES) if has_halves(sample.op) else 2
    dtypes = [DTYPES[one.number % count] for one in samples]
    step = same(maker(samples, dtypes), given(samples, dtypes), CALLS, between)
    assert len(step.programs) == 1


@pytest.mark.filterwarnings("ignore:.compile. .* runs eagerly")
@every_op({}, only=is_refused)
def test_captured_refused(sample):
    """Such a step says so where it must be compiled, and else runs as it is written."""
    make, inputs = maker([sample], [rv.float32]), given([sample], [rv.float32])
    same(make, inputs, 3, strict=False)
    if lacks(sample, "captured") and sample.number == 0:
        step = rv.compile(make()[0], strict=True)
        with pytest.raises(rv.CaptureError):
            step(*inputs(0))


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
    """The results after the change are those of the step itself, whatever the calls before have kept.

    n: a Tensor of one element; before, after: its numbers. wrap: rv.compile or Calls.
    """
    expected = [seeded(step, n.fill_(number)) for number in (before, after)]
    program_cache._unpaid.clear()  # counts of functions of the same code
    n.fill_(before)
    fast = wrap(step)
    calls = 4 if wrap is rv.compile else 24  # a module is recorded after 16 calls (`call_counts`)
    assert [seeded(fast, n) for _ in range(calls)] == calls * expected[:1]
    assert seeded(fast, n.fill_(after)) == expected[1]


NOT_WRITTEN = {"new_empty": "with another number the result has elements, whose values are not defined"}


@pytest.mark.filterwarnings("ignore")  # such steps run eagerly
@every_op(BY_MEMORY | NOT_WRITTEN, only=lambda op: any(numbers_in((s.args, s.settings)) for s in op.samples))
def test_numbers_in_tensors(sample, monkeypatch):
    monkeypatch.setattr(call_counts, "_ENOUGH", 0.0)  # modules are recorded however short their calls are
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
