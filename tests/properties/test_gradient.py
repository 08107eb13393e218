"""Gradients, second gradients and forward mode of floating inputs are central differences, in float64."""

import ranvier as rv

from properties.every import every_op, floats, is_smooth

LEAVES_OUT = {
    "normal poisson": "the gradients of numbers that are drawn are 0, as in PyTorch",
    "ctc_loss CTCLoss": "the gradient is that of normalised probabilities, as PyTorch's",
}
REFUSE = {"digamma": "a kernel's", "scatter_reduce": "of products"}  # second gradients
ENTRIES = 25  # elements of each input that are changed; of second gradients a fifth


def checked(sample, check, entries):
    call = sample.tensors(rv.float64)
    if any(y.requires_grad for y in call()):
        assert check(lambda *xs: tuple(floats(call.with_leaves(*xs))), call.leaves, entries=entries)


@every_op(LEAVES_OUT, of=is_smooth)
def test_gradient(sample):
    checked(sample, rv.autograd.gradcheck, ENTRIES)


@every_op(LEAVES_OUT, of=is_smooth)
def test_second_gradient(sample):
    try:
        checked(sample, rv.autograd.gradgradcheck, ENTRIES // 5)
    except NotImplementedError:
        if sample.op.name not in REFUSE:
            raise
