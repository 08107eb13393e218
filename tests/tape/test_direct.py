"""Kernels off the tape: a result without a node, and changes in place that count as all others do.

`direct` and `in_place` call a kernel as ops do (`by_kernel`, `into`); they give None where the core leaves
the call to Python: where a gradient is needed, or the kernel refuses its arguments.
"""

import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core
from ranvier.ops.activation.softmax import Softmax
from ranvier.tape.function import Dtypes, by_kernel, into
from support.refused import refused


def direct(kernel, *inputs):
    return by_kernel(kernel)(lambda *given: None)(*inputs)


def in_place(kernel, *inputs):
    return into(kernel)(lambda *given: None)(*inputs) is inputs[0]


def test_the_result_is_a_new_tensor():
    x, y = rv.ones(2, 3), rv.zeros(2, 3)
    z = direct(_core.concatenate, [x, y], 0)
    assert type(z) is rv.Tensor
    assert z.shape == (4, 3)
    assert not z.requires_grad
    assert z._version == 0
    np.testing.assert_array_equal(direct(_core.add, x, 1.0).numpy(), np.full((2, 3), 2, np.float32))
    assert type(direct(_core.neg, rv.nn.Parameter(x).detach())) is rv.Tensor


def test_what_a_gradient_needs_is_recorded():
    x = rv.ones(3, requires_grad=True)
    assert direct(_core.neg, x) is None
    assert direct(_core.concatenate, [rv.ones(3), x], 0) is None
    assert not in_place(_core.add, rv.ones(3), x, x)
    with rv.no_grad():
        assert direct(_core.neg, x).tolist() == [-1, -1, -1]
        assert in_place(_core.write, x, 2.0)
    assert x.tolist() == [2, 2, 2]
    refused(RuntimeError, "leaf", x.add_, 1.0)
    y = x * 2
    assert not in_place(_core.write, y, 1.0)
    y.mul_(3.0).sum().backward()
    assert x.grad.tolist() == [6, 6, 6]


def test_a_kernel_that_refuses():
    for kernel, inputs in [
        (_core.neg, [rv.arange(3)]),
        (_core.add, [rv.ones(3), rv.ones(2)]),
        (_core.concatenate, [[]]),
        (_core.concatenate, [[rv.ones(2), 1]]),
        (_core.neg, ["a"]),
        (lambda x: NotImplemented, [rv.ones(2)]),
    ]:
        assert direct(kernel, *inputs) is None
    with pytest.raises(KeyboardInterrupt):
        direct(_interrupted, rv.ones(2))


def test_what_an_op_leaves_to_python():
    op = by_kernel(_core.softmax, Softmax, dtypes=Dtypes(), takes=2)(
        lambda *given, **settings: (given, settings)
    )
    x, whole = rv.ones(1, 2, requires_grad=True), rv.arange(2)
    y = op(x, 1)
    assert type(y._grad_fn) is Softmax
    assert y.tolist() == op(x.detach(), 1, "a name").tolist() == [[0.5, 0.5]]
    for given, settings in [
        ((whole, 0), {}),
        ((x, 2), {}),
        ((x.detach(), 5), {}),
        ((x.detach(),), {"dim": 1}),
    ]:
        assert op(*given, **settings) == (given, settings)
    pair = by_kernel(_core.sort, result=rv.ops.reduction.reduce.ValuesIndices)(lambda *given: None)
    assert pair(rv.tensor([2.0, 1.0]), 0).values.tolist() == [1, 2]


def _interrupted(array):
    raise KeyboardInterrupt


def test_changes_are_counted():
    x = rv.ones(3)
    assert in_place(_core.add, x, x, 1.0)
    assert in_place(_core._put, x, 0, 5.0)
    assert x._version == 2
    assert x.tolist() == [5, 2, 2]
    view = x[1:]
    view.mul_(2.0)
    assert x._version == view._version == 3
    assert x.tolist() == [5, 4, 4]
    w = rv.ones(3, requires_grad=True)
    y = w * x
    x.zero_()
    refused(RuntimeError, "modified by an inplace operation", y.sum().backward)


def test_a_view_of_what_needs_gradients_is_refused():
    w = rv.ones(4, requires_grad=True)
    with rv.no_grad():
        view = w[:2]
        view.add_(1.0)
    assert w.tolist() == [2, 2, 1, 1]
    with pytest.raises(RuntimeError):
        w[:2].add_(1.0)
    base = w * 1
    base[:2].mul_(3.0)
    base.sum().backward()
    assert w.grad.tolist() == [3, 3, 1, 1]


def test_borrowed_and_read_only_memory_stays():
    array = np.ones(3, np.float32)
    x = rv.autograd.borrowed(array)
    x.add_(1.0)
    assert array.tolist() == [1, 1, 1]
    assert x.tolist() == [2, 2, 2]
    array.flags.writeable = False
    refused(ValueError, "read-only", rv.from_numpy(array).add_, 1.0)
    refused(RuntimeError, "expanded", rv.ones(1).expand(3).copy_, rv.arange(3))
    assert array.tolist() == [1, 1, 1]


def test_in_place_errors_stay():
    refused(RuntimeError, "expected a dtype that it can hold", rv.arange(3).add_, 0.5)
    refused(RuntimeError, "[add_] got a result of shape", rv.ones(3).add_, rv.ones(2, 3))
    refused(ValueError, "broadcast", rv.ones(3).add_, rv.ones(2))
    with pytest.raises(IndexError, match=r"\[setitem\]"):
        rv.ones(3)[3] = 1.0
    with pytest.raises(ValueError, match=r"int64 can hold"):
        rv.arange(3)[0] = float("nan")
    with pytest.raises(TypeError):
        rv.ones(3).add_(1.0, beta=2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fused_ops_have_the_bits_of_their_parts(dtype, rng):
    a, b, c = (rv.tensor(rng.standard_normal((5, 7)).astype(dtype)) for _ in range(3))
    w = rv.tensor(a.numpy().copy(), requires_grad=True)  # with gradients the ops run one by one
    for weight in (0.1, -0.3, 0.5, 0.9, 1.0, 2, 0):
        _same(rv.lerp(a, b, weight), rv.lerp(w, b, weight), a.clone().lerp_(b, weight))
        _same(rv.addcmul(a, b, c, value=weight), rv.addcmul(w, b, c, value=weight))
        _same(rv.addcdiv(a, b, c, value=weight), rv.addcdiv(w, b, c, value=weight))
        _same(a.clone().addcmul_(b, c, value=weight), rv.addcmul(w, b, c, value=weight))
        _same(a.clone().addcdiv_(b, c, value=weight), rv.addcdiv(w, b, c, value=weight))
        _same(rv.add(a, b, alpha=weight), rv.add(w, b, alpha=weight), a.clone().add_(b, alpha=weight))
        _same(rv.sub(a, b, alpha=weight), rv.sub(w, b, alpha=weight), a.clone().sub_(b, alpha=weight))
        mask = b > 0
        _same(a.clone().masked_fill_(mask, weight), rv.masked_fill(w, mask, weight))
    _same(rv.addcmul(a, b, c), rv.addcmul(w, b, c), a.clone().addcmul_(b, c))


def _same(*tensors):
    for x in tensors[1:]:
        np.testing.assert_array_equal(x.detach().numpy(), tensors[0].detach().numpy(), strict=True)


X, Y, MASK = rv.rand(3, 4), rv.rand(3, 4), rv.tensor([True, False, True, False])
ANSWERED = {
    "two Tensors": lambda: X + Y,
    "a number": lambda: X * 2.0,
    "a bool": lambda: X + True,
    "integers": lambda: rv.arange(3) + 1,
    "a comparison": lambda: X > Y,
    "where": lambda: rv.where(MASK, X, 0.0),
    "sum": lambda: X.sum(1),
    "softmax": lambda: X.softmax(1),
    "matmul": lambda: X @ Y.T,
    "linear": lambda: rv.nn.functional.linear(X, Y),
    "lerp": lambda: X.lerp(Y, 0.25),
    "add_": lambda: X.add_(Y, alpha=2),
    "lerp_": lambda: X.lerp_(Y, 0.25),
    "addcmul_": lambda: X.addcmul_(X, Y),
    "masked_fill_": lambda: X.masked_fill_(MASK, 2.0),
}


@pytest.mark.parametrize("call", ANSWERED.values(), ids=ANSWERED)
def test_simple_calls_run_no_more_python_than_the_op_itself(call):
    call()  # loads what is loaded late
    entered = []
    sys.setprofile(lambda frame, event, _: entered.append(frame.f_code.co_name) if event == "call" else None)
    try:
        call()
    finally:
        sys.setprofile(None)
    assert not {"compute", "apply", "forward", "in_python", "as_tensor", "_computed"} & {*entered}
