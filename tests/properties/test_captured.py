"""A compiled training step of an op has the bits of the step itself, with other numbers at each call."""

import pytest
import ranvier as rv
from compile.beside import CALLS, same
from ranvier import nn

from properties.every import every_op, floats, has_halves, lacking, lacks, outside

AT_TIMES = {
    "repeat_interleave embedding_bag EmbeddingBag index_put": "reads counts, offsets, masks",
    "amax amin": "reads whether there is NaN",
    "getitem setitem": "a slice is in a variable",
}
LEAVES_OUT = {"linalg_lstsq": "NumPy rounds by where memory lies", "det": "NumPy warns of infinity"}
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
