"""A training step of an op that is compiled has the bits of the step itself, with other numbers at each call."""

import ranvier as rv
from compile.beside import CALLS, same
from ranvier import nn

from properties.every import every_op, floats

REFUSED = {
    "nonzero masked_select argwhere unique": "the size of the result depends on values",
    "EmbeddingBag": "offsets are checked at each call",
}
LEAVES_OUT: dict[str, str] = {}


def maker(sample, dtype):
    """A step on inputs times a weight, so that there is always something to train, and what it changes."""

    def made():
        call = sample.tensors(dtype)
        function, moving = call.of_inputs(), [x.requires_grad for x in call.inputs]
        weight = nn.Parameter(rv.full((1,), 0.9, dtype=dtype))
        parameters = [weight, *(x for x in call.leaves if isinstance(x, nn.Parameter))]
        optimizer = rv.optim.SGD(parameters, lr=0.05, momentum=0.9)

        def step(*inputs):
            optimizer.zero_grad()
            scaled = [x * weight if moves else x for x, moves in zip(inputs, moving, strict=True)]
            ys = function(*scaled)
            loss = sum(((y * y).mean() for y in floats(ys)), (weight * weight).sum())
            loss.backward()
            optimizer.step()
            return loss, ys

        return step, parameters, optimizer, call.states

    return made


def given(sample, dtype):
    def inputs(number):
        made = sample.tensors(dtype, records=False).inputs
        return [x * (1 - number / 32) if x.is_floating_point() else x for x in made]

    return inputs


def between(number, parameters, optimizer, states):
    """All parameters and the learning rate change."""
    optimizer.param_groups[0]["lr"] *= 0.7
    with rv.no_grad():
        for p in parameters:
            p.mul_(0.95)


@every_op(REFUSED | LEAVES_OUT)
def test_captured(sample):
    dtypes = (rv.float32, rv.float64, rv.bfloat16, rv.float16)
    for dtype in {rv.float32, dtypes[sample.number % 4]}:
        step = same(maker(sample, dtype), given(sample, dtype), CALLS, between)
        assert len(step.programs) == 1
