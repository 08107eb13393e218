"""A result that is no view may be detached and changed in place, whatever the op makes it from."""

import numpy as np
import pytest
import ranvier as rv

from properties.every import every_op, weights_for

SAVED = """
    relu ReLU sigmoid Sigmoid tanh Tanh softmax log_softmax gumbel_softmax Softmax Softmax2d LogSoftmax
    reciprocal sqrt rsqrt exp exp2 expm1 hypot true_divide div pow lp_pool2d LPPool2d scatter_reduce
    MultiheadAttention LSTM inverse linalg_inv cholesky linalg_cholesky cholesky_inverse cholesky_solve
    triangular_solve linalg_solve_triangular linalg_solve linalg_lstsq lu_solve lu qr linalg_qr pinverse
    linalg_pinv linalg_svdvals linalg_eigvalsh linalg_matrix_norm linalg_vector_norm cdist pdist dist median
    nanmedian amax amin aminmax max min norm logsumexp prod std std_mean
"""  # from whose result the gradient is computed, as in PyTorch
VIEWS = """
    positive getitem reshape view reshape_as flatten ravel expand permute squeeze split tensor_split unbind
    narrow diagonal
"""  # which share no memory where they are empty


def own_results(sample):
    """The call made anew for each result with a gradient that is no view, the result, and its number."""
    for number in range(len(sample.tensors()())):
        call = sample.tensors()
        y = call()[number]
        given = [x.numpy(force=True) for x in (*call.inputs, *call.leaves)]
        is_view = any(np.shares_memory(y.numpy(force=True), x) for x in given)
        if y.requires_grad and not is_view and (y.numel() or sample.op.name not in VIEWS.split()):
            yield call, y, number


@every_op({})
def test_detached(sample):
    for call, y, _ in own_results(sample):
        kept, alias = y.reshape(-1)[:1], y.detach()  # others that have the memory
        assert y.detach_() is y
        assert (y.requires_grad, y.is_leaf, alias.requires_grad) == (False, True, False)
        assert kept.requires_grad
        y.requires_grad_().sum().backward()
        assert (y.grad == 1).all()
        assert all(x.grad is None for x in call.leaves)


def slopes(y, leaves):
    settings = {"allow_unused": True, "materialize_grads": True}
    return [x.numpy() for x in rv.autograd.grad(y, leaves, weights_for(y, 1), **settings)]


def compare(sample, change, expected):
    """The gradients of each result that is changed are those that are expected of it."""
    for call, y, number in own_results(sample):
        again = sample.tensors()
        changed = change(again()[number])
        for found, wanted in zip(
            slopes(changed, again.leaves), slopes(expected(y), call.leaves), strict=True
        ):
            np.testing.assert_array_equal(found, wanted)


@every_op({})
def test_changed_in_place(sample):
    compare(sample, lambda y: y.mul_(2.0).add_(1.0), lambda y: y * 2.0 + 1.0)


def written(y):
    """Without the tape: the gradients stay, as they are computed from what PyTorch saves, too."""
    with rv.no_grad():
        return y.zero_()


def begun_with_0(y):
    """Through a view, on the tape."""
    if y.numel():
        y[(0,) * y.ndim].zero_()
    return y


def times_mask(y):
    mask = np.ones(y.shape)
    mask.flat[:1] = 0
    return y * rv.tensor(mask)


@pytest.mark.parametrize(("change", "expected"), [(written, lambda y: y), (begun_with_0, times_mask)])
@every_op({})
def test_memory_is_written(sample, change, expected):
    try:
        compare(sample, change, expected)
    except RuntimeError as error:
        text = str(error)
        assert "modified by an inplace operation" in text
        assert sample.op.name in SAVED.split(), text
