"""Normalisations: forward and backward against the references."""

from functools import partial

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from reference import norm as reference
from support.draws import any_shape
from support.layouts import in_layout
from support.op_case import WIDTHS, OpCase
from support.tolerance import tolerance

SHAPES = [(9, 5), (3, 6, 7), (2, 4, 3, 5)]
LARGE = {2: (411, 70), 3: (9, 33, 65), 4: (5, 20, 31, 17)}


class NormCase(OpCase):
    """x, and weight and bias as far as ``parameters`` goes; eps is large, so that no deviation is tiny."""

    parameters = 2
    eps = 0.1
    any_size = True
    low, high = -2, 3
    larger = LARGE

    def parameter_shape(self, x):
        return (x.shape[1],)

    def sized(self, rng, dtype, shape):
        return self.with_parameters(rng, *super().sized(rng, dtype, shape))

    def with_parameters(self, rng, x):
        shape = self.parameter_shape(x)
        made = [rng.uniform(0.5, 1.5, shape), rng.uniform(-1, 1, shape)][: self.parameters]
        return (x, *(p.astype(x.dtype) for p in made))

    def large_inputs(self, rng, dtype):
        x, *parameters = self.sized(rng, dtype, self.larger[len(self.shape)])
        return in_layout(x, "channels_last"), *parameters

    def empty_inputs(self, dtype):
        return self.with_parameters(np.random.default_rng(0), np.zeros((0, *self.shape[1:]), dtype))

    def reduction(self, x, *parameters):
        return x.size

    def both(self, parameters):
        return (*parameters, None, None)[:2]

    def expected_gradients(self, dx, *dparameters):
        return (dx, *dparameters)[: 1 + self.parameters]


class TestBatchNorm(NormCase):
    op_name = "batch_norm"
    variants = tuple({"shape": s, "parameters": p} for s in SHAPES for p in (2, 1, 0))
    training = True

    def running(self, x):
        channels = np.arange(x.shape[1])
        return 0.1 * channels - 0.2, 1 + 0.3 * channels

    def draw(self, rng, dtype):
        shape = any_shape(rng, least=2)
        if np.prod(shape) == shape[1]:
            shape = (shape[0] + 1, *shape[1:])
        settings = {"parameters": int(rng.integers(3)), "training": bool(rng.integers(2))}
        self.parameters = settings["parameters"]
        return settings, self.sized(rng, dtype, shape)

    def op(self, x, *parameters):
        running = [None, None] if self.training else [r.astype(x.dtype) for r in self.running(x)]
        weight, bias = self.both(parameters)
        return ops.batch_norm(x, *running, weight, bias, self.training, eps=self.eps)

    def reference(self, x, *parameters):
        if self.training:
            return reference.batch_norm(x, *self.both(parameters), self.eps)
        return reference.batch_norm_eval(x, *self.both(parameters), *self.running(x), self.eps)

    def reference_backward(self, dy, x, *parameters):
        weight, _ = self.both(parameters)
        if self.training:
            return self.expected_gradients(*reference.batch_norm_backward(dy, x, weight, self.eps))
        return self.expected_gradients(
            *reference.batch_norm_eval_backward(dy, x, weight, *self.running(x), self.eps)
        )


class TestBatchNormEval(TestBatchNorm):
    training = False


class TestGroupNorm(NormCase):
    op_name = "group_norm"
    larger = {2: (400, 66), 3: (9, 12, 365), 4: (5, 20, 31, 17)}  # noqa: RUF012
    variants = tuple(
        {"shape": s, "groups": g, "parameters": p}
        for s, g, p in [
            ((2, 6), 2, 2),
            ((3, 6, 7), 1, 2),
            ((3, 6, 7), 3, 1),
            ((2, 4, 3, 5), 2, 0),
            ((2, 4, 3, 5), 4, 2),
        ]
    )

    def resized(self):
        more = self.shape[2:-1]
        return ((2, self.groups * width, *more, n) for n in WIDTHS for width in ((n,) if n < 34 else (2,)))

    def draw(self, rng, dtype):
        groups, width = int(rng.choice([1, 2, 3, 5, 8])), int(rng.choice([2, 3, 4, 9, 17]))
        rest = any_shape(rng, most=2)
        settings = {"parameters": int(rng.integers(3)), "groups": groups}
        self.parameters = settings["parameters"]
        return settings, self.sized(rng, dtype, (int(rng.integers(1, 4)), groups * width, *rest))

    def op(self, x, *parameters):
        return ops.group_norm(x, self.groups, *parameters, eps=self.eps)

    def reference(self, x, *parameters):
        return reference.group_norm(x, self.groups, *self.both(parameters), self.eps)

    def reference_backward(self, dy, x, *parameters):
        weight, _ = self.both(parameters)
        return self.expected_gradients(*reference.group_norm_backward(dy, x, self.groups, weight, self.eps))


class TestInstanceNorm(TestGroupNorm):
    op_name = "instance_norm"
    variants = tuple({"shape": s, "parameters": p} for s in SHAPES[1:] for p in (2, 1, 0))

    def resized(self):
        return ((2, n, *self.shape[2:-1], n + 1) for n in WIDTHS)

    def draw(self, rng, dtype):
        settings, (x, *_) = super().draw(rng, dtype)
        x = x if x.ndim > 2 and np.prod(x.shape[2:]) > 1 else np.repeat(x.reshape(*x.shape[:2], 1), 3, 2)
        x = (x + rng.uniform(-1, 1, x.shape)).astype(dtype)
        return {"parameters": settings["parameters"]}, self.with_parameters(rng, x)

    def op(self, x, *parameters):
        weight, bias = self.both(parameters)
        return ops.instance_norm(x, None, None, weight, bias, eps=self.eps)

    def reference(self, x, *parameters):
        self.groups = x.shape[1]
        return super().reference(x, *parameters)

    def reference_backward(self, dy, x, *parameters):
        self.groups = x.shape[1]
        return super().reference_backward(dy, x, *parameters)


class TestLayerNorm(NormCase):
    op_name = "layer_norm"
    axes = 1
    larger = {1: (70001,), **LARGE}  # noqa: RUF012
    variants = tuple(
        {"shape": s, "axes": a, "parameters": p}
        for s, a, p in [
            ((9, 5), 1, 2),
            ((9, 5), 2, 1),
            ((3, 4, 19), 1, 0),
            ((2, 3, 4, 5), 3, 2),
            ((33,), 1, 2),
        ]
    )

    def parameter_shape(self, x):
        return x.shape[x.ndim - self.axes :]

    def empty_inputs(self, dtype):
        shape = (*self.shape[:-1], 0) if len(self.shape) == 1 else (0, *self.shape[1:])
        return self.with_parameters(np.random.default_rng(0), np.zeros(shape, dtype))

    def draw(self, rng, dtype):
        shape = any_shape(rng, least=1)
        settings = {"axes": int(rng.integers(1, len(shape) + 1)), "parameters": int(rng.integers(3))}
        self.axes, self.parameters = settings["axes"], settings["parameters"]
        return settings, self.sized(rng, dtype, shape)

    def op(self, x, *parameters):
        return getattr(ops, self.op_name)(x, self.parameter_shape(x), *parameters, eps=self.eps)

    def reference(self, x, *parameters):
        return reference.layer_norm(x, self.axes, *self.both(parameters), self.eps)

    def reference_backward(self, dy, x, *parameters):
        weight, _ = self.both(parameters)
        return self.expected_gradients(*reference.layer_norm_backward(dy, x, self.axes, weight, self.eps))


class TestRMSNorm(TestLayerNorm):
    op_name = "rms_norm"
    variants = tuple({**v, "parameters": min(v["parameters"], 1)} for v in TestLayerNorm.variants)

    def draw(self, rng, dtype):
        settings, arrays = super().draw(rng, dtype)
        return {**settings, "parameters": min(settings["parameters"], 1)}, arrays[:2]

    def reference(self, x, *parameters):
        return reference.rms_norm(x, self.axes, self.both(parameters)[0], self.eps)

    def reference_backward(self, dy, x, *parameters):
        gradients = reference.rms_norm_backward(dy, x, self.axes, self.both(parameters)[0], self.eps)
        return self.expected_gradients(*gradients)


@pytest.mark.parametrize("momentum", [0.1, 0.5, 1.0, None])
@pytest.mark.parametrize("shape", [(7, 3), (5, 3, 4), (2, 3, 6, 5)])
def test_running_statistics(shape, momentum, rng, isa):
    """They are written in place, as the formula has it; the count goes up; versions change."""
    mean, var = np.zeros(3), np.ones(3)
    running = rv.zeros(3), rv.ones(3)
    count = rv.tensor(0)
    for step in range(1, 4):
        x = rng.uniform(-1, 4, shape).astype("float32")
        places = [r._array.ctypes.data for r in running]
        ops.batch_norm(x, *running, training=True, momentum=momentum, num_batches_tracked=count)
        factor = 1 / step if momentum is None else momentum
        mean, var = reference.running(mean, var, x.astype("float64"), factor)
        assert count.item() == step
        assert [r._version for r in running] == [step, step]
        assert places == [r._array.ctypes.data for r in running]
        limit = tolerance("float32", x.size, 16)
        np.testing.assert_allclose(running[0].numpy(), mean, rtol=0, atol=limit)
        np.testing.assert_allclose(running[1].numpy(), var, rtol=0, atol=limit)
    before = [r.numpy().copy() for r in running]
    ops.batch_norm(x, *running, training=False)
    assert all((r.numpy() == b).all() for r, b in zip(running, before, strict=True))


def test_running_statistics_of_instance_norm(rng):
    """The means over the samples of their means and variances."""
    x = rng.uniform(-1, 4, (3, 2, 5))
    mean, var = rv.zeros(2, dtype=rv.float64), rv.ones(2, dtype=rv.float64)
    ops.instance_norm(x, mean, var, momentum=0.25)
    np.testing.assert_allclose(mean.numpy(), 0.25 * x.mean((0, 2)))
    np.testing.assert_allclose(var.numpy(), 0.75 + 0.25 * x.var(2, ddof=1).mean(0))


def test_backward_after_the_running_statistics_moved_on(rng):
    """Evaluation's backward has the statistics that its forward had."""
    x = rv.tensor(rng.standard_normal((4, 3)), requires_grad=True)
    mean, var = rv.zeros(3, dtype=rv.float64), rv.full((3,), 4.0, dtype=rv.float64)
    y = ops.batch_norm(x, mean, var, eps=0)
    var.fill_(100)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full((4, 3), 0.5))


@pytest.mark.parametrize("norm", [partial(ops.group_norm, num_groups=2), ops.instance_norm])
def test_gradients_over_no_element_are_zero(norm):
    weight, bias = (rv.ones(4, requires_grad=True) for _ in range(2))
    norm(rv.zeros(2, 4, 0), weight=weight, bias=bias).sum().backward()
    assert weight.grad.tolist() == bias.grad.tolist() == [0.0] * 4
