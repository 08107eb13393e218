"""Losses: extreme values, dtypes of x and target, settings; of class scores: rows that are ignored, single
samples, weights. Expected values are by hand; formulas: tests/properties. A test with the fixture `isa` runs
at each ISA level (instruction set).
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from support.refused import refused


def test_gaussian_variance_without_a_limit():
    var = rv.tensor([np.inf, np.nan], requires_grad=True)
    loss = ops.gaussian_nll(rv.zeros(2), rv.ones(2), var, reduction="none")
    assert np.isposinf(loss[0].item())
    assert np.isnan(loss[1].item())
    loss[0].backward()
    assert var.grad[0] == 0


def test_gaussian_variance_below_eps():
    """eps bounds the value; the gradient reaches var as if it were eps, as in PyTorch."""
    var = rv.tensor([1e-9], requires_grad=True)
    loss = ops.gaussian_nll(rv.tensor([1.0]), rv.tensor([1.0]), var, eps=0.5)
    loss.backward()
    np.testing.assert_allclose([loss.item(), var.grad.item()], [np.log(0.5) / 2, 1.0], rtol=1e-6)


def test_extremes_stay_finite(isa):
    """Certain and wrong costs 100; logits of 10000 cost what they should; the gradients are finite."""
    x = rv.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    loss = ops.bce(x, np.array([1.0, 0.0, 0.0, 1.0], np.float32), reduction="none")
    np.testing.assert_array_equal(loss.detach().numpy(), [100, 100, 0, 0])
    loss.backward(np.ones(4, np.float32))
    assert np.isfinite(x.grad.numpy()).all()
    logits, targets = np.array([1e4, -1e4], np.float32), np.array([0.0, 1.0], np.float32)
    for weight in (None, np.float32([1, 1])):
        loss = ops.bce_with_logits(logits, targets, reduction="none", pos_weight=weight)
        np.testing.assert_array_equal(loss.numpy(), [1e4, 1e4])


def test_kl_div_of_impossible_events(isa):
    """0 log 0 is 0, also where x says that it is impossible too."""
    x, t = np.float32([-np.inf, -1.0]), np.float32([0.0, 0.5])
    np.testing.assert_allclose(ops.kl_div(x, t, "none").numpy(), [0, 0.5 * (np.log(0.5) + 1)], rtol=1e-6)
    logs = np.float32([-np.inf, np.log(0.5)])
    assert ops.kl_div(x, logs, "none", log_target=True).numpy()[0] == 0


@pytest.mark.parametrize("name", ["l1", "smooth_l1", "huber", "mse"])
def test_nan_and_equality(name, isa):
    x = rv.tensor([1.0, float("nan")], requires_grad=True)
    loss = getattr(ops, name)(x, rv.tensor([1.0, 1.0]), "none")
    loss.sum().backward()
    np.testing.assert_array_equal(loss.detach().numpy(), [0, np.nan])
    np.testing.assert_array_equal(x.grad.numpy(), [0, np.nan])


def test_targets_take_the_dtype_of_x():
    x = rv.tensor([1.0, 2.0])
    assert ops.mse(x, np.array([1.0, 3.0])).dtype == np.float32
    assert ops.mse(x, np.array([1, 3])).item() == 0.5


I, F, D = rv.int64, rv.float32, rv.float64
PROMOTED = [  # the dtypes of the arguments, and that of the loss, as in PyTorch; None: refused
    ("mse l1 smooth_l1 poisson_nll margin_ranking", {(I, F): F, (F, I): F, (I, D): D, (F, D): D, (D, F): D}),
    ("huber", {(I, F): None, (F, I): F, (F, D): F, (D, F): D}),
    ("kl_div cross_entropy", {(I, F): None, (F, D): D, (D, F): D}),
    ("bce_with_logits", {(I, F): None, (F, I): F, (F, D): D, (D, F): F}),
    ("gaussian_nll triplet_margin cosine_embedding", {(F, D): D, (D, F): D, (I, D): D, (D, I): D, (I, F): F}),
]


@pytest.mark.parametrize(("names", "pairs"), PROMOTED, ids=lambda p: p if isinstance(p, str) else "")
def test_dtypes_are_promoted(names, pairs):
    """The dtype of the loss, its value beside that in float64, and gradients in the dtypes of their
    tensors."""
    for name, ((a, b), want) in ((name, pair) for name in names.split() for pair in pairs.items()):
        arguments = [rv.tensor([[1.0, 0.0]]).to(dtype) for dtype in (a, b)]
        if name in ("gaussian_nll", "margin_ranking", "triplet_margin"):
            arguments.append(rv.tensor([[1, 1]]).to(rv.float32))
        if name == "cosine_embedding":
            arguments.append(rv.tensor([1]))
        if want is None:
            refused(TypeError, f"[{name}] got x of dtype int64", getattr(ops, name), *arguments)
            continue
        loss = getattr(ops, name)(*arguments)
        assert loss.dtype == want, (name, a, b)
        wide = getattr(ops, name)(*(x.double() for x in arguments))
        np.testing.assert_allclose(loss.numpy(), wide.numpy(), rtol=1e-6, atol=1e-6)
        floats = [x.requires_grad_() for x in arguments[:2] if x.is_floating_point()]
        if name != "kl_div":
            getattr(ops, name)(*arguments).backward()
            assert [x.grad.dtype for x in floats] == [x.dtype for x in floats]


def test_weights_of_classes_are_promoted():
    x, t, w = rv.zeros(1, 2), rv.tensor([[0.5, 0.5]]), rv.ones(2, dtype=rv.float64)
    assert ops.cross_entropy(x, t, w).dtype == np.float64


def test_wrong_settings():
    x = rv.zeros(4, 3)
    refused(ValueError, "[mse] got reduction 'batchmean'", ops.mse, x, x, "batchmean")
    refused(ValueError, "[huber] got delta 0.0; expected a number above 0", ops.huber, x, x, delta=0.0)
    text = "[smooth_l1] got beta -1.0; expected a number of at least 0"
    refused(ValueError, text, ops.smooth_l1, x, x, beta=-1.0)


# Losses of class scores.


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "int32", "int64", "uint64"])
def test_class_indices_of_any_integer_dtype(kind):
    x = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    want = ops.cross_entropy(x, np.array([1, 0])).item()
    assert ops.cross_entropy(x, np.array([1, 0], kind)).item() == want
    assert ops.cross_entropy(rv.tensor(x), rv.tensor(np.array([1, 0], kind))).item() == want


@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
def test_all_ignored(name, isa):
    """The mean of nothing is NaN; the other reductions and their gradients are 0."""
    target = np.array([-100, -100])
    for reduction, want in (("mean", np.nan), ("sum", 0.0), ("none", [0.0, 0.0])):
        x = rv.tensor([[1.0, 2.0, 3.0], [1.0, np.inf, np.nan]], requires_grad=True)
        loss = getattr(ops, name)(x, target, reduction=reduction)
        np.testing.assert_array_equal(loss.detach().numpy(), want)
        (slope,) = rv.autograd.grad(loss.sum(), x, create_graph=True)
        (second,) = rv.autograd.grad(slope.sum(), x)
        loss.sum().backward()
        for found in (x.grad, slope.detach(), second):
            np.testing.assert_array_equal(found.numpy(), np.zeros((2, 3)))


@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
@pytest.mark.parametrize("weight", [None, [0.5, 0.0, 2.0]])
def test_ignored_rows_beside_others(name, weight):
    """Their gradients are 0, whatever they hold, also with create_graph; others are as without them."""
    x = rv.tensor([[1.0, 2.0, 3.0], [1.0, np.inf, np.nan]], requires_grad=True)
    weight = None if weight is None else rv.tensor(weight)
    for target in (2, 1):  # the weight of 1 may be 0
        loss = getattr(ops, name)(x, rv.tensor([target, -100]), weight)
        (plain,) = rv.autograd.grad(loss, x, retain_graph=True)
        (slope,) = rv.autograd.grad(loss, x, create_graph=True)
        np.testing.assert_allclose(slope.detach().numpy(), plain.numpy(), 1e-6)
        assert slope[1].tolist() == rv.autograd.grad(slope.sum(), x)[0][1].tolist() == [0.0] * 3


@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
def test_a_single_sample(name):
    x = rv.tensor([1.0, 2.0, 3.0], requires_grad=True)
    batch = getattr(ops, name)(rv.tensor([[1.0, 2.0, 3.0]]), rv.tensor([1]))
    for reduction in ("mean", "sum", "none"):
        loss = getattr(ops, name)(x, rv.tensor(1), reduction=reduction)
        assert loss.shape == ()
        assert loss.item() == batch.item()
    loss.backward()
    assert x.grad.shape == (3,)


def test_single_sample_of_probabilities():
    x, p = rv.tensor([1.0, 2.0]), rv.tensor([0.25, 0.75])
    want = ops.cross_entropy(x.reshape(1, 2), p.reshape(1, 2)).item()
    assert ops.cross_entropy(x, p).item() == want


def test_weights_are_taken_as_given():
    """Sequences, arrays of another float dtype and strided ones."""
    x, t = rv.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]]), rv.tensor([0, 2])
    want = ops.cross_entropy(x, t, weight=rv.tensor([1.0, 2.0, 3.0])).item()
    for weight in ([1, 2, 3], np.array([1.0, 2.0, 3.0]), np.array([1.0, 0, 2, 0, 3, 0])[::2]):
        assert ops.cross_entropy(x, t, weight=weight).item() == want


@pytest.mark.parametrize("name", ["hinge_embedding_loss", "soft_margin_loss"])
def test_the_dtype_is_that_of_x_in_whatever_order_the_arguments_are_named(name):
    loss = getattr(rv.nn.functional, name)
    x, target = rv.tensor([0.5, 0.25]).half(), rv.tensor([1.0, -1.0])
    for y in (loss(x, target), loss(input=x, target=target), loss(target=target, input=x)):
        assert y.dtype == rv.float16
        assert y.item() == loss(x, target).item()


def test_cosine_embedding_of_several_shapes():
    """As in PyTorch each norm is that of the operand before it is broadcast."""
    x1 = rv.tensor([[3.0, 4.0]], requires_grad=True)
    x2 = rv.tensor([[2.0]], requires_grad=True)
    loss = rv.nn.functional.cosine_embedding_loss(x1, x2, rv.tensor([1.0]))
    loss.backward()
    assert loss.item() == pytest.approx(1 - (6 + 8) / (5 * 2))
    np.testing.assert_allclose(x1.grad.numpy(), [[-(1 / 5 - 7 * 3 / 125), -(1 / 5 - 7 * 4 / 125)]], rtol=1e-5)
    assert x2.grad.item() == pytest.approx(0, abs=1e-6)


def test_multi_margin_of_one_row():
    """The row and its target may each have the dimension of rows or not."""
    row = rv.tensor([0.5, 0.25])
    for x in (row, row.unsqueeze(0)):
        for target in (rv.tensor(0), rv.tensor([0])):
            loss = rv.nn.functional.multi_margin_loss(x, target, reduction="none")
            assert (loss.shape, loss.sum().item()) == (target.shape, 0.375)


def test_a_target_may_change_after_a_ranking_loss():
    x1 = rv.tensor([0.5, 1.0], requires_grad=True)
    x2 = rv.zeros(2)
    target = rv.tensor([1.0, -1.0])
    loss = rv.nn.functional.margin_ranking_loss(x1, x2, target, margin=1.0, reduction="sum")
    target.zero_()
    loss.backward()
    assert x1.grad.tolist() == [-1.0, 1.0]
