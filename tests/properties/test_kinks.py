"""Where an op has no derivative, at 0, at equal elements, at infinity: the gradients with a graph are those
without one, and PyTorch's."""

import numpy as np
import ranvier as rv
from samples.sample import arrays_in
from support.tolerance import close

from properties.every import apart, every_op, gradients, lacking, lacks, weights_for
from properties.test_pytorch import answer

APART = apart("gradient") | {
    "topk kthvalue quantile nanquantile embedding_bag": "one of equal elements has the gradient",
    "bce bce_with_weights kl_div poisson_nll logit digamma addcdiv cov_weighted": "at the end of the domain",
    "linalg_eigvalsh linalg_svdvals qr linalg_qr logdet": "of a singular matrix",
}

OF_ELEMENTS = ("samples.elementwise", "samples.elementwise_pairs", "samples.activation")
SECOND_APART = "prelu softplus lgamma mvlgamma pow"  # another side of the kink, poles


def values_at_kinks(sample):
    """What is tested: kinks of the op, the usual special numbers and, if the op has limits, infinities."""
    values = {0.0, 1.0, -1.0, *sample.op.kinks}
    if not lacks(sample, "infinity"):
        values |= {np.inf, -np.inf}
    return values


def placed_at_kinks(sample):
    """Puts each array of floats at a kink in turn, and yields the number that stands there.

    All elements become one number; then a single element becomes 0. A test that fails leaves the sample as
    it was.
    """
    arrays = arrays_in((sample.args, sample.settings))
    for array in arrays:
        if array.dtype.kind != "f" or not array.size:
            continue
        original = array.copy()
        try:
            for value in values_at_kinks(sample):
                array[...] = value
                yield value
            array[...] = original
            if np.isfinite(original).all():
                array.flat[array.size // 2] = 0.0
                yield 0.0
        finally:
            array[...] = original


def slopes(call, create_graph=False):
    return gradients(call(), call.leaves, create_graph=create_graph)


def slopes_in_domain(call, create_graph=False):
    """The gradients, or None where the op refuses the numbers."""
    try:
        return slopes(call, create_graph)
    except (ValueError, RuntimeError):
        return None


def has_gradient(sample):
    if sample.error is not None:
        return False
    results = sample.tensors(rv.float64)()
    return any(y.requires_grad for y in results)


@every_op(lacking("second"), of=has_gradient)
def test_kinks(sample):
    """The gradients that are computed with a graph are those without one."""
    for value in placed_at_kinks(sample):
        plain = slopes_in_domain(sample.tensors(rv.float64))
        if plain is None:
            continue
        with_graph = slopes(sample.tensors(rv.float64), create_graph=True)
        for found, expected in zip(with_graph, plain, strict=True):
            close(found.numpy(force=True), expected.numpy(), 1e-9, 1e-9, f"at {value}")


# --- PyTorch's gradients
def is_judged(sample):
    return has_gradient(sample) and "pytorch" not in sample.left_out


def is_a_function_without_draws(op):
    is_layer = op.name[0].isupper()
    return not is_layer and not op.draws


def pytorch_slopes(torch, call, create_graph):
    """What `slopes(call)` gives, computed by PyTorch; and PyTorch's leaves."""
    results, leaves = answer(torch, call)
    moving = [y for y in results if y.requires_grad]
    weights = [torch.from_numpy(weights_for(y, 1).numpy()) for y in call() if y.requires_grad]
    found = torch.autograd.grad(
        moving, leaves, weights, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    return found, leaves


def second_slopes(library, first_slopes, leaves):
    """The gradients of the sum of the first ones, as arrays; 0 where these are constant."""
    moving = [slope for slope in first_slopes if slope.requires_grad]
    if not moving:
        return [np.zeros(tuple(leaf.shape)) for leaf in leaves]
    total = sum(slope.sum() for slope in moving)
    found = library.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    return [slope.numpy(force=True) for slope in found]


@every_op(APART, only=is_a_function_without_draws, of=is_judged)
def test_kinks_of_pytorch(sample, torch):
    """Gradients; second gradients of functions of each element, where PyTorch's are finite."""
    op = sample.op
    of_elements = op.source.__module__ in OF_ELEMENTS
    has_second = of_elements and op.name not in SECOND_APART.split()
    for value in placed_at_kinks(sample):
        call = sample.tensors(rv.float64)
        found = slopes_in_domain(call, create_graph=of_elements)
        if found is None:
            continue
        if np.isinf(value) and "infinities" in op.apart.split():
            continue

        expected, leaves = pytorch_slopes(torch, call, create_graph=of_elements)
        for slope, theirs in zip(found, expected, strict=True):
            close(slope.numpy(force=True), theirs.numpy(force=True), 1e-7, 1e-7, f"at {value}")

        if has_second:
            ours = second_slopes(rv, found, call.leaves)
            theirs = second_slopes(torch, expected, leaves)
            for our_slope, their_slope in zip(ours, theirs, strict=True):
                compared = np.where(np.isfinite(their_slope), our_slope, their_slope)
                close(compared, their_slope, 1e-7, 1e-7, f"second at {value}")
