"""Element-wise losses: variances, extremes, dtypes, shapes."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from support.refused import refused


def test_gaussian_variance_of_rows(rng):
    """One variance for each row, with or without a last size of 1: the gradient is the sum over the row."""
    x, t = rv.tensor(rng.normal(size=(3, 4))), rv.tensor(rng.normal(size=(3, 4)))
    for shape in [(3,), (3, 1)]:
        var = rv.tensor(np.full(shape, 2.0), requires_grad=True)
        ops.gaussian_nll(x, t, var).backward()
        full = rv.tensor(np.full((3, 4), 2.0), requires_grad=True)
        ops.gaussian_nll(x, t, full).backward()
        np.testing.assert_allclose(var.grad.numpy().reshape(3), full.grad.numpy().sum(1), rtol=1e-12)
    with pytest.raises(ValueError, match=r"\[gaussian_nll\] got var of shape \(4,\) for x of shape \(3, 4\)"):
        ops.gaussian_nll(x, t, rv.ones(4, dtype=rv.float64))


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
    assert ops.mse(x, rv.tensor([1, 3])).item() == 0.5
    target = rv.tensor([1.0, 3.0], dtype=rv.float64)
    refused(TypeError, "[bce] got x of dtype float32 and target of dtype float64", ops.bce, x / 2, target / 3)


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


def test_one_target_for_all_rows():
    x1, x2 = rv.tensor([[1.0, 0.0], [1.0, 0.0]]), rv.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert ops.cosine_embedding(x1, x2, rv.tensor([1]), reduction="none").tolist() == [0.0, 1.0]
    refused(
        ValueError, "[cosine_embedding] got target of shape (3,)", ops.cosine_embedding, x1, x2, rv.ones(3)
    )


@pytest.mark.parametrize("name", ["mse", "bce", "bce_with_logits", "l1", "huber", "kl_div"])
def test_shapes_are_not_broadcast(name):
    message = rf"\[{name}\] got x of shape \(3,\) and target of shape \(3, 1\); expected equal shapes"
    with pytest.raises(ValueError, match=message):
        getattr(ops, name)(np.ones(3, np.float32), np.ones((3, 1), np.float32))


def test_errors():
    x = np.zeros((4, 3), np.float32)
    refused(ValueError, "[mse] got reduction 'avg'; expected 'mean', 'sum' or 'none'", ops.mse, x, x, "avg")
    refused(ValueError, "[mse] got reduction 'batchmean'", ops.mse, x, x, "batchmean")
    with pytest.raises(ValueError, match=r"\[bce\] got x with the value 1.5; expected values from 0 to 1"):
        ops.bce(x + np.float32(1.5), x)
    refused(ValueError, "[bce] got target with the value -1.0; expected values from 0", ops.bce, x, x - 1)
    refused(ValueError, "[huber] got delta 0.0; expected a number above 0", ops.huber, x, x, delta=0.0)
    with pytest.raises(ValueError, match=r"\[smooth_l1\] got beta -1.0; expected a number of at least 0"):
        ops.smooth_l1(x, x, beta=-1.0)
    with pytest.raises(
        ValueError,
        match=r"\[bce\] got weight of shape \(4,\); expected one that broadcasts to x's shape \(4, 3\)",
    ):
        ops.bce(x, x, weight=np.ones(4))
    with pytest.raises(ValueError, match=r"\[bce_with_logits\] got pos_weight that requires a gradient"):
        ops.bce_with_logits(x, x, pos_weight=rv.ones(3, requires_grad=True))
