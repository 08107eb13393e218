"""NaN, infinities, tiny and huge numbers in an input.

NaN and infinities are at the same places of results and gradients at each level, in both dtypes, and where
NumPy has them. Of tiny and huge numbers an op has in float32 what it has in float64, where it fits there.
"""

import warnings

import numpy as np
import ranvier as rv
from samples.sample import arrays_in
from support.tolerance import close, equal

from properties.every import OF_ITS_DTYPE, every_op, floats, gradients, is_smooth, lacking, lacks, weights_for
from properties.test_reference import expected

OVERFLOWS = {
    "batch_norm instance_norm group_norm layer_norm": "an infinite weight times 0 is NaN in one dtype",
    "ldexp": "overflows in float32",
}


def kinds(y):
    """Where are NaN, infinities and numbers."""
    return np.where(np.isnan(y), 2, np.where(np.isinf(y), np.sign(y), 0)) if y.dtype.kind == "f" else y


@every_op(OVERFLOWS | lacking("NaN"))
def test_nan(sample, isas):
    for number in range(len(sample.arrays)):
        for value in (np.nan, np.inf, -np.inf):
            array = arrays_in((sample.args, sample.settings))[number]
            if array.dtype.kind != "f" or not array.size:
                continue
            kept, array.flat[array.size // 2] = array.flat[array.size // 2], value
            try:
                compare_places(sample, isas)
            finally:
                array.flat[array.size // 2] = kept


def compare_places(sample, isas):
    results = []
    for isa in isas:
        for dtype in (rv.float32, rv.float64):
            call = sample.tensors(dtype)
            ys = call()
            results.append([kinds(y.numpy(force=True)) for y in (*ys, *gradients(ys, call.leaves))])
            for y, z in zip(results[-1], results[0], strict=True):
                equal(y, z, f"{isa} {dtype}")
    has_limits = not lacks(sample, "limits") and "reference" not in sample.left_out
    if sample.op.reference and has_limits:
        for y, z in zip(results[0], expected(sample, np.float32)[0], strict=False):
            equal(y, kinds(z))


# Gradients with respect to x, at x times a scale, stay near those of float64, also where a square would
# leave the range of float32.
SCALES = (1e-30, 1e-22, 1e-15, 1e15, 1e20, 1e30)
# It is relative to the largest number of an order. The samples' sums have some dozens of terms at most, each
# of a few operations.
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

BACKWARD_ALONE = ("renorm",)  # whose forward mode has powers that leave float32


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
    """Values, gradients and second gradients in float32 beside those in float64, where all inputs are
    multiplied by a scale.

    A gradient is near value / scale in size, and a second gradient near gradient / scale. Terms of that
    size may cancel in it, so the bound of an order is relative to the larger of its largest number and
    that size. Where it leaves float32's range, so do terms, and neither this order nor a later one is
    compared. Layers are left out: their op has the same kernels.
    """
    single, double = sample.tensors(rv.float32), sample.tensors(rv.float64)
    for scale in SCALES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                exact = outcome(double, scale)
            except ValueError:  # singular matrices
                continue
            # usual: the largest number of an order, or that of the order before / scale if it is larger
            usual, orders = 0.0, zip(outcome(single, scale), exact, strict=True)
            for order, (found, wanted) in enumerate(orders):
                usual = max(largest(wanted), usual / scale)
                if not 1e-36 < usual < 1e37:  # out of float32's range
                    break
                for y, z in zip(found, wanted, strict=True):
                    close(y, z, 0, BOUND * usual, f"{scale} order {order}")
