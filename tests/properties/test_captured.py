"""A compiled training step of an op has the bits of the step itself, with other numbers at each call."""

import pytest
import ranvier as rv
from compile.beside import CALLS, same
from ranvier import nn

from properties.every import NO_HALVES, every_op, floats, outside

REFUSED = {
    """nonzero masked_select argwhere unique unique_consecutive bincount histc histogram mode nanmedian
    quantile nanquantile masked_scatter cov_weighted""": "reads values",
    "bernoulli binomial multinomial poisson": "reads the chances",
    "randint_like cauchy_ exponential_ geometric_ log_normal_ random_": "draws by NumPy",
    "apply_ map_": "calls Python for each element",
    "as_strided tril_indices triu_indices unfold_along lu_unpack": "computed by NumPy",
    "multi_margin_loss multilabel_margin_loss": "reads its labels",
}
AT_TIMES = {
    "repeat_interleave embedding_bag EmbeddingBag index_put": "reads counts, offsets, masks",
    "amax amin": "reads whether there is NaN",
    "getitem setitem": "a slice is in a variable",
}
LEAVES_OUT = {"linalg_lstsq": "NumPy rounds by where memory lies", "det": "NumPy warns of infinity"}
DTYPES = (rv.float32, rv.float64, rv.float32, rv.bfloat16, rv.float16)  # of the first sample, the second ...


def maker(sample, dtype):
    """A step on inputs times a weight, so that there is always something to train, and what it changes."""

    def made():
        call = sample.tensors(dtype)
        function, moving = call.of_inputs(), [x.requires_grad for x in call.inputs]
        weight = nn.Parameter(rv.full((), 0.9, dtype=dtype))
        parameters = [weight, *(x for x in call.leaves if isinstance(x, nn.Parameter))]
        optimizer = rv.optim.SGD(parameters, lr=0.01, momentum=0.9)

        def step(*inputs):
            optimizer.zero_grad()
            scaled = [x * weight if moves else x.clone() for x, moves in zip(inputs, moving, strict=True)]
            ys = function(*scaled)
            loss = sum(((y * y).mean() for y in floats(ys)), (weight * weight).sum())
            loss.backward()
            optimizer.step()
            return loss, [y.clone() for y in ys]

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


@every_op(LEAVES_OUT, only=outside(REFUSED | AT_TIMES))
def test_captured(sample):
    dtype = DTYPES[sample.number % (2 if sample.op.name in NO_HALVES else len(DTYPES))]
    step = same(maker(sample, dtype), given(sample, dtype), CALLS, between)
    assert len(step.programs) == 1


@pytest.mark.filterwarnings("ignore:.compile. .* runs eagerly")
@every_op({}, only=lambda op: any(op.name in names.split() for names in REFUSED | AT_TIMES))
def test_captured_refused(sample):
    """Such a step says so where it must be compiled, and else runs as it is written."""
    make, inputs = maker(sample, rv.float32), given(sample, rv.float32)
    same(make, inputs, 3, strict=False)
    if any(sample.op.name in names.split() for names in REFUSED) and sample.number == 0:
        step = rv.compile(make()[0], strict=True)
        with pytest.raises(rv.CaptureError):
            step(*inputs(0))
