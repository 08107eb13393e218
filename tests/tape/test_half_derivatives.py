"""Second gradients, forward mode and vmap of halves, in and outside of blocks of autocast, beside float64."""

from contextlib import nullcontext

import numpy as np
import pytest
import ranvier as rv
from ops.test_halves import MORE, OPS, WRITES, X, tensors_in, with_numbers
from ranvier.ops.activation.table import TABLE
from ranvier.tensors.failures import DtypeError
from support.layers import LAYERS, layer

ACTIVATIONS = [layer(row.layer) for row in TABLE.values()]
EPS = {rv.float16: 2.0**-10, rv.bfloat16: 2.0**-7}


def of_op(name, own, dtype):
    """The function and the leaves of a call of an op, with numbers that `own` has."""
    arrays, attributes = OPS.get(name, ((X,), {}))
    arrays = (*arrays, *attributes.get("*", ()))
    state = WRITES.get(("ops", name), ())
    given = [with_numbers(x, own, dtype, 0.93, i not in state) for i, x in enumerate(arrays)]
    settings = {key: with_numbers(x, own, dtype, 0.93) for key, x in attributes.items() if key != "*"}
    op = MORE.get(name) or getattr(rv.ops, name)
    leaves = [x for x in tensors_in(given) if x.requires_grad]

    def function(*xs):
        rv.manual_seed(0)
        places = dict(zip(map(id, leaves), xs, strict=True))
        return op(*(replaced(x, places) for x in given), **settings)

    return function, leaves


def replaced(value, places):
    if isinstance(value, (list, tuple)):
        return type(value)(replaced(part, places) for part in value)
    return places.get(id(value), value)


def of_layer(case, own, dtype):
    """The same of a layer, whose leaves are its floating inputs and its parameters."""
    rv.manual_seed(0)
    module = getattr(rv.nn, case.name)(*case.args, **case.kwargs).to(own).to(dtype)
    inputs = [rv.tensor(x) for x in case.draw(np.random.default_rng(3))]
    inputs = [x.to(own).to(dtype).requires_grad_() if x.is_floating_point() else x for x in inputs]
    names, weights = zip(*module.named_parameters(), strict=True) if [*module.parameters()] else ((), ())
    leaves = [*(x for x in inputs if x.requires_grad), *weights]

    def function(*xs):
        rv.manual_seed(0)
        own_inputs = iter(xs)
        args = [next(own_inputs) if x.requires_grad else x for x in inputs]
        given = dict(zip(names, own_inputs, strict=True))
        y = rv.func.functional_call(module, given, tuple(args))
        return y[0] if isinstance(y, tuple) else y

    return function, leaves


def weights_for(x, seed):
    drawn = np.random.default_rng(seed).uniform(0.5, 1.5, tuple(x.shape))
    return rv.tensor(drawn).bfloat16().to(x.dtype)  # numbers that all dtypes have


def floats(ys):
    return [y for y in tensors_in(ys if isinstance(ys, (list, tuple)) else [ys]) if y.is_floating_point()]


def second(function, leaves, block):
    with block():
        ys = [y for y in floats(function(*leaves)) if y.requires_grad]
    settings = {"allow_unused": True, "materialize_grads": True}
    first = rv.autograd.grad(ys, leaves, [weights_for(y, 1) for y in ys], create_graph=True, **settings)
    live = [g for g in first if g.requires_grad]
    of_first = rv.autograd.grad(live, leaves, [weights_for(g, 2) for g in live], **settings) if live else ()
    return [*ys, *first, *of_first]


def forward(function, leaves, block):
    def in_block(*xs):
        with block():
            return tuple(floats(function(*xs)))

    leaves = tuple(x.detach() for x in leaves)
    ys, tangents = rv.func.jvp(in_block, leaves, tuple(weights_for(x, 3) for x in leaves))
    return [*ys, *tangents]


def mapped(function, leaves, block):
    def in_block(*xs):
        with block():
            return tuple(floats(function(*xs)))

    return rv.vmap(in_block, randomness="same")(*(rv.stack([x.detach(), x.detach() * 0.5]) for x in leaves))


CASES = [(of_op, name) for name in [*OPS, *MORE]]
CASES += [(of_layer, case) for case in LAYERS if case.name != "RReLU"]  # it draws others in float64


@pytest.mark.parametrize("own", [rv.float16, rv.bfloat16], ids=str)
@pytest.mark.parametrize(("make", "what"), CASES, ids=lambda value: str(getattr(value, "__name__", value)))
def test_half_derivatives(make, what, own):
    """As those of the same numbers in float64, within the rounding of halves; refused where these are."""
    for run in (second, forward, mapped):
        function, leaves = make(what, own, rv.float64)
        try:
            exact = run(function, leaves, nullcontext)
        except (NotImplementedError, RuntimeError, TypeError, ValueError):  # no gradients, no such rule
            continue
        for dtype, lower in ((own, None), (own, own), (rv.float32, own)):
            block = nullcontext if lower is None else lambda: rv.autocast("cpu", dtype=own)
            function, leaves = make(what, own, dtype)
            try:
                with block():
                    function(*leaves)
            except DtypeError:
                continue  # the op has no halves
            found = run(function, leaves, block)
            assert len(found) == len(exact)
            for k, (y, z) in enumerate(zip(found, exact, strict=True)):
                y, z = y.double().numpy(force=True), z.numpy(force=True)
                limit = 32 * EPS[own] * np.abs(z).max(initial=0.0) + 1e-5
                np.testing.assert_allclose(y, z, 0, limit, err_msg=f"{run.__name__} {dtype} {lower} {k}")


@pytest.mark.parametrize("own", [rv.float16, rv.bfloat16], ids=str)
@pytest.mark.parametrize("case", [*ACTIVATIONS, layer("GELU", "tanh")], ids=str)
def test_activations_far_from_0(case, own):
    """Powers of a half in a formula may leave its range where the slope does not."""
    points = [0.0, 0.25, 1.0, 2.0, 5.0, 8.0, 12.0, 20.0, 60.0, 300.0]
    module = getattr(rv.nn, case.name)(*case.args, **case.kwargs)
    found = []
    for dtype in (own, rv.float64):
        x = rv.tensor([*points, *[-x - 0.125 for x in points]]).to(dtype).requires_grad_()
        found.append(second(module, [x], nullcontext))
    for y, z in zip(*found, strict=True):
        y, z = (t.double().numpy(force=True) for t in (y, z))
        np.testing.assert_allclose(y, z, 8 * EPS[own], EPS[own] / 8)
