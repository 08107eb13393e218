"""The walk: accumulation, aliasing, release, in-place checks, several outputs.

`leaf`, `add`, `mul`, `exp` and `total` work on plain NumPy (support/functions.py): no kernel takes part.
"""

import gc
import weakref

import numpy as np
import pytest
import ranvier as rv
from support.functions import Add, Exp, Function, Halves, Positive, Transpose, add, exp, leaf, mul, total
from support.refused import refused
from support.threads import in_threads


def test_gradients_of_all_paths_are_summed():
    x = leaf(1.0, 2.0)
    total(add(mul(x, x), add(x, x))).backward()
    assert x.grad.tolist() == [4.0, 6.0]


def test_nodes_run_in_the_reverse_order_of_forward():
    """Also where a chain of later nodes is ready first: a step of a recurrent layer adds a product that
    depends on the state to one that does not."""
    x, state, half = leaf(1.0, 2.0), leaf(3.0, 4.0), leaf(0.5, 0.5)
    order = []
    forward = []
    states = []
    for step in range(4):
        of_input, of_state = mul(x, half), mul(state, half)
        for name, y in (("input", of_input), ("state", of_state)):
            forward.append((step, name))
            y.register_hook(lambda dy, node=(step, name): order.append(node))
        state = add(of_input, of_state)
        states.append(state)
    directions = [add(y, z) for y, z in zip(states, reversed(states), strict=True)]
    total(add(add(directions[0], directions[1]), add(directions[2], directions[3]))).backward()
    assert order == forward[::-1]


def test_a_gradient_handed_to_two_leaves_is_two_arrays():
    x, y = leaf(1.0), leaf(2.0)
    add(x, y).backward()
    assert not np.shares_memory(x.grad.numpy(), y.grad.numpy())
    x.grad.zero_()
    assert y.grad.item() == 1.0


def test_the_array_given_to_backward_stays_the_callers():
    x, dy = leaf(1.0, 2.0), np.ones(2, np.float32)
    add(x, x).backward(dy)
    add(x, x).backward(dy)
    assert dy.tolist() == [1, 1]
    assert x.grad.tolist() == [4, 4]


def test_a_second_backward_adds_in_the_memory_of_the_gradient():
    x = leaf(1.0, 2.0)
    add(x, x).backward(np.ones(2))
    grad, held = x.grad, x.grad.numpy()
    add(x, x).backward(np.ones(2))
    assert x.grad is grad
    assert grad.tolist() == held.tolist() == [4, 4]
    x.grad = given = leaf(5.0, 6.0).detach()
    used = given * leaf(1.0, 1.0)
    view = given[:1]
    add(x, x).backward(np.ones(2))
    assert (given.tolist(), view.tolist()) == ([7, 8], [7])
    refused(RuntimeError, "modified by an inplace operation", used.sum().backward)
    x.grad = rv.ones(1).expand(2)
    add(x, x).backward(x.grad)
    assert x.grad.tolist() == [3, 3]


def test_three_uses_sum_into_an_array_of_our_own():
    kept = []

    class Keep(Function):
        def forward(self, x):
            return x.copy()

        def backward(self, dy):
            kept.append(dy)
            return dy

    x = leaf(1.0)
    y = Keep().apply(x)
    add(add(Keep().apply(y), Keep().apply(y)), Keep().apply(y)).backward()
    assert x.grad.item() == 3
    assert [k.item() for k in kept] == [1, 1, 1, 3]


def test_a_cached_array_is_never_taken_as_grad():
    constant = np.ones(1, np.float32)

    class Cached(Function):
        def forward(self, x):
            return x.copy()

        def backward(self, dy):
            return constant

    x = leaf(5.0)
    for _ in range(3):
        Cached().apply(x).backward()
    assert constant.item() == 1
    assert x.grad.item() == 3


def test_grad_has_the_layout_and_dtype_of_the_leaf():
    class Fortran(Function):
        def forward(self, x):
            return x.copy()

        def backward(self, dy):
            return np.asfortranarray(dy.astype(np.float64))

    x = rv.ones(3, 4, requires_grad=True)
    Fortran().apply(x).backward(np.ones((3, 4)))
    assert x.grad.numpy().flags.c_contiguous
    assert x.grad.dtype == np.float32


def test_backward_starts_at_any_tensor():
    x = leaf(3.0)
    x.backward()
    assert x.grad.item() == 1
    refused(RuntimeError, "does not require grad", rv.ones(1).backward)
    refused(RuntimeError, "only for scalar outputs, got shape (2,)", leaf(1.0, 2.0).backward)
    with pytest.raises(RuntimeError, match=r"gradient of shape \(3,\) for an output of shape \(2,\)"):
        leaf(1.0, 2.0).backward(np.ones(3))


def test_a_second_walk_needs_retain_graph():
    x = leaf(1.0, 2.0)
    y = total(mul(x, x))
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4, 8]
    with pytest.raises(RuntimeError, match=r"a second time.*retain_graph=True"):
        y.backward()


def test_functions_that_saved_nothing_can_run_again():
    x = leaf(1.0, 2.0)
    y = total(add(x, x))
    y.backward()
    y.backward()
    assert x.grad.tolist() == [4, 4]


def test_what_was_saved_is_freed_by_backward():
    x = leaf(1.0)
    y = exp(x)
    saved = weakref.ref(y.grad_fn.y)
    z = total(y)
    del y
    z.backward()
    gc.collect()
    assert saved() is None


def test_an_activation_that_is_not_saved_is_freed_at_once():
    x = rv.ones(4, requires_grad=True)
    y = add(x, x)
    array = weakref.ref(y._array)
    z = add(y, y)
    del y
    assert array() is None
    assert z.requires_grad


def test_a_long_chain_neither_recurses_nor_leaks():
    x = leaf(1.0)
    y = x
    for _ in range(50_000):
        y = Add().apply(y, 0.0)
    y.backward()
    assert x.grad.item() == 1


def test_several_outputs():
    x = leaf(1.0, 2.0, 3.0, 4.0)
    first, second, n = Halves().apply(x)
    assert (first.requires_grad, n.requires_grad, n.item()) == (True, False, 4)
    total(mul(second, second)).backward()
    assert x.grad.tolist() == [0, 0, 6, 8]
    x.grad = None
    first, second, _ = Halves().apply(x)
    second.retain_grad()
    total(add(first, second)).backward()
    assert x.grad.tolist() == [1, 1, 1, 1]
    assert second.grad.tolist() == [1, 1]


def test_del_grad_sets_none():
    x = leaf(2.0)
    mul(x, x).backward()
    del x.grad
    assert x.grad is None
    mul(x, x).backward()
    assert x.grad.item() == 4


def test_retain_grad():
    x = leaf(2.0)
    y = mul(x, x)
    y.retain_grad()
    assert y.retains_grad
    mul(y, y).backward()
    assert y.grad.item() == 8
    assert x.grad.item() == 32
    refused(RuntimeError, "requires_grad=False", rv.ones(1).retain_grad)


def test_changing_a_saved_input_raises():
    x, w = leaf(1.0, 2.0), rv.ones(2)
    y = mul(x, w)
    w.fill_(3.0)
    with pytest.raises(RuntimeError, match=r"\[mul\] .* modified by an inplace operation"):
        y.backward(np.ones(2))


def test_changing_a_view_or_a_detached_twin_counts_too():
    for twin in (lambda w: w.detach(), lambda w: Transpose().apply(w)):
        x, w = rv.ones(2, 2, requires_grad=True), rv.ones(2, 2)
        y = mul(x, w)
        twin(w).zero_()
        refused(RuntimeError, "modified by an inplace operation", y.backward, np.ones((2, 2)))


def test_what_is_not_saved_may_be_changed_and_what_is_may_be_replaced():
    x, w = leaf(1.0, 2.0), rv.ones(2)
    y = add(x, w)
    w.zero_()
    y.backward(np.ones(2))
    z = mul(x, w)
    w.data = rv.ones(2)
    z.backward(np.ones(2))
    assert x.grad.tolist() == [2, 2]


def test_a_wrong_function_is_named():
    class Short(Function):
        def forward(self, x, y):
            return x * y

        def backward(self, dy):
            return dy

    class Wide(Function):
        def forward(self, x):
            return x * 1

        def backward(self, dy):
            return np.ones(7)

    with pytest.raises(RuntimeError, match=r"\[Short\] backward gave 1 gradients for 2 inputs"):
        Short().apply(leaf(1.0), 2.0).backward()
    refused(RuntimeError, "gradient of shape (7,) for a leaf of (1,)", Wide().apply(leaf(1.0)).backward)
    x = leaf(1.0)
    refused(RuntimeError, "gradient of shape (7,) for an input of (1,)", rv.autograd.grad, Wide().apply(x), x)
    once = Exp()
    once.apply(leaf(1.0))
    refused(RuntimeError, "records one call", once.apply, leaf(1.0))


def test_gradients_that_are_not_wanted_or_not_there():
    x, y = leaf(1.0), rv.ones(1)

    class Watch(Function):
        def forward(self, x, y):
            return x * y

        def backward(self, dy):
            assert self.needs == (True, False)
            return None, dy

    Watch().apply(x, y).backward()
    assert x.grad is None
    assert y.grad is None
    assert not Positive().apply(x).requires_grad


def test_backward_for_some_inputs_only():
    x, y = leaf(1.0), leaf(2.0)
    mul(x, y).backward(inputs=[y])
    assert x.grad is None
    assert y.grad.item() == 1


def test_backward_for_inputs_that_are_no_leaves():
    x, y = leaf(1.0), leaf(2.0)
    z = mul(x, y)
    loss = mul(z, z)
    loss.backward(inputs=[z, y])
    assert z.grad.tolist() == [4]
    assert z.retains_grad
    assert y.grad.tolist() == [4]
    assert x.grad is None
    refused(RuntimeError, "[backward] got no inputs", z.backward, inputs=[])
    with pytest.raises(RuntimeError, match=r"\[backward\] one of the inputs does not require grad"):
        z.backward(inputs=[rv.ones(1)])


def test_what_leads_to_no_input_is_not_run():
    seen = []
    x, y = leaf(1.0), leaf(2.0)
    a, b = exp(x), exp(y)
    b.register_hook(lambda g: seen.append("b"))
    x.register_hook(lambda g: seen.append("x"))
    loss = add(a, b)
    (gradient,) = rv.autograd.grad(loss, a)
    assert gradient.tolist() == [1]
    assert seen == []
    mul(a, a).backward()  # what exp saved is still there
    b.backward()
    assert seen == ["x", "b"]


def test_gradients_of_another_dtype_take_the_tensors():
    class Widening(Function):
        def forward(self, x):
            return x * 2

        def backward(self, dy):
            return (dy * 2).astype(np.float64)

    x = rv.ones(3, requires_grad=True)
    (x * 2).backward(np.ones(3, np.float64))
    assert (x.grad.dtype, x.grad.tolist()) == (rv.float32, [2, 2, 2])
    x.grad = None
    y = x.clone()
    (y * 3 + Widening().apply(y)).sum().backward()
    assert (x.grad.dtype, x.grad.tolist()) == (rv.float32, [5, 5, 5])


def test_threads_add_to_the_gradient_of_one_leaf():
    """Each sum of 100,000 numbers is made without the GIL."""
    x = rv.zeros(100_000, requires_grad=True)

    def work(_):
        for _ in range(50):
            (x * 1).sum().backward()

    in_threads(4, work)
    assert (x.grad == 200).all()
