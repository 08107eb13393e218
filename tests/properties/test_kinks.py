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


def at_points(sample):
    """Each array of floats in turn is full of one number, or has it at one place."""
    infinite = () if lacks(sample, "infinity") else (np.inf, -np.inf)
    for array in arrays_in((sample.args, sample.settings)):
        if array.dtype.kind == "f" and array.size:
            kept = array.copy()
            try:
                for value in {0.0, 1.0, -1.0, *sample.op.kinks, *infinite}:
                    array[...] = value
                    yield value
                array[...] = kept
                if np.isfinite(kept).all():
                    array.flat[array.size // 2] = 0.0
                    yield 0.0
            finally:  # a test that fails leaves the sample as it was
                array[...] = kept


def slopes(call, graph=False):
    return gradients(call(), call.leaves, create_graph=graph)


def has_gradient(sample):
    return sample.error is None and any(y.requires_grad for y in sample.tensors(rv.float64)())


@every_op(lacking("second"), of=has_gradient)
def test_kinks(sample):
    for value in at_points(sample):
        try:
            plain = slopes(sample.tensors(rv.float64))
        except (ValueError, RuntimeError):
            continue  # out of the domain
        for y, z in zip(slopes(sample.tensors(rv.float64), True), plain, strict=True):
            close(y.numpy(force=True), z.numpy(), 1e-9, 1e-9, str(value))


def is_judged(sample):
    return has_gradient(sample) and "pytorch" not in sample.left_out


def second(library, slopes, leaves):
    """The gradient of the sum of slopes, NaN where it is not finite; 0 where they are constant."""
    moving = [g for g in slopes if g.requires_grad]
    if not moving:
        return [np.zeros(tuple(x.shape)) for x in leaves]
    total = sum(g.sum() for g in moving)
    found = library.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    return [g.numpy(force=True) for g in found]


@every_op(APART, only=lambda op: not op.draws and not op.name[0].isupper(), of=is_judged)
def test_kinks_of_pytorch(sample, torch):
    """Values and gradients; second gradients of functions of each element, where PyTorch's are finite."""
    name, of_elements = sample.op.name, sample.op.source.__module__ in OF_ELEMENTS
    for value in at_points(sample):
        call = sample.tensors(rv.float64)
        try:
            found = slopes(call, of_elements)
        except (ValueError, RuntimeError):
            continue  # out of the domain
        if np.isinf(value) and "infinities" in sample.op.apart.split():
            continue
        theirs, leaves = answer(torch, call)
        moving = [z for z in theirs if z.requires_grad]
        weights = [torch.from_numpy(weights_for(y, 1).numpy()) for y in call() if y.requires_grad]
        settings = {"allow_unused": True, "materialize_grads": True, "create_graph": of_elements}
        wanted = torch.autograd.grad(moving, leaves, weights, **settings)
        pairs = [*zip(found, wanted, strict=True)]
        if of_elements and name not in SECOND_APART.split():
            for y, z in zip(second(rv, found, call.leaves), second(torch, wanted, leaves), strict=True):
                pairs.append((np.where(np.isfinite(z), y, z), z))
        for y, z in pairs:
            y, z = (x if isinstance(x, np.ndarray) else x.numpy(force=True) for x in (y, z))
            close(y, z, 1e-7, 1e-7, str(value))
