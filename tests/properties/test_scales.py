"""Of tiny and huge numbers an op has in float32 what it has in float64, where float32 can hold that."""

import warnings

import numpy as np
import ranvier as rv
from support.tolerance import close

from properties.every import OF_ITS_DTYPE, every_op, floats, is_smooth, lacking, weights_for

SCALES = (1e-30, 1e-22, 1e-15, 1e15, 1e20, 1e30)
BOUND = 256 * float(np.finfo(np.float32).eps)
LEAVES_OUT = (
    OF_ITS_DTYPE
    | lacking("second")
    | {
        "sin cos tan sinc fmod remainder": "depends on the last digits of a huge number",
        "sum mean nanmean": "cancels",
        "rms_norm": "has the dtype's eps",
        """
        lp_pool2d local_response_norm gaussian_nll mvlgamma cross_entropy scaled_dot_product_attention
        attention_with_dropout
        """: "squares or products leave float32, as PyTorch's",
    }
)

BACKWARD_ALONE = ("layer_norm", "renorm")  # whose forward mode has powers that leave float32


def numbers(tensors):
    return [x.numpy(force=True) for x in tensors]


def outcome(call, scale):
    """By order of derivative, of leaves times a number: results; gradients, with slopes along a direction;
    second gradients."""
    dtype = call.dtype
    leaves = [(x.double() * scale).float().to(dtype).detach().requires_grad_() for x in call.leaves]
    ys = floats(call.with_leaves(*leaves))
    moving, settings = [y for y in ys if y.requires_grad], {"allow_unused": True, "materialize_grads": True}
    weights = [weights_for(y, 1) for y in moving]
    first = rv.autograd.grad(moving, leaves, weights, create_graph=True, **settings)
    live = [g for g in first if g.requires_grad]
    second = rv.autograd.grad(live, leaves, [weights_for(g, 2) for g in live], **settings) if live else ()
    primals, vectors = (tuple(f(x) for x in leaves) for f in (rv.Tensor.detach, lambda x: weights_for(x, 3)))
    _, pushed = rv.func.jvp(lambda *xs: tuple(floats(call.with_leaves(*xs))), primals, vectors)
    pushed = () if call.sample.op.name in BACKWARD_ALONE else pushed
    return numbers(ys), numbers((*first, *pushed)), numbers(second)


def largest(arrays):
    return max((np.abs(x).max(initial=0) for x in arrays), default=0)


def has_gradient(sample):
    return is_smooth(sample) and any(y.requires_grad for y in sample.tensors()())


@every_op(LEAVES_OUT, only=lambda op: not op.name[0].isupper(), of=has_gradient)
def test_scales(sample):
    """Terms of the usual size may cancel: that of a result over the scale, of a gradient."""
    single, double = sample.tensors(rv.float32), sample.tensors(rv.float64)
    for scale in SCALES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                exact = outcome(double, scale)
            except ValueError:  # of singular matrices
                continue
            usual, orders = 0.0, zip(outcome(single, scale), exact, strict=True)
            for order, (found, wanted) in enumerate(orders):
                usual = max(largest(wanted), usual / scale)
                if not 1e-36 < usual < 1e37:
                    break
                for y, z in zip(found, wanted, strict=True):
                    close(y, z, 0, BOUND * usual, f"{scale} order {order}")
