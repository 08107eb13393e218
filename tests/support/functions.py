"""Functions on plain NumPy, so that the tape is tested without the core's kernels."""

import numpy as np
import ranvier as rv
from ranvier.autograd import Function


def leaf(*values):
    """A Tensor of these numbers that requires a gradient."""
    return rv.tensor(values, requires_grad=True)


class Add(Function):
    """Hands the same array to both inputs."""

    def forward(self, x, y):
        return x + y

    def backward(self, dy):
        return dy, dy


class Mul(Function):
    def forward(self, x, y):
        self.x, self.y = x, y
        return x * y

    def backward(self, dy):
        return dy * self.y, dy * self.x


class Exp(Function):
    def forward(self, x):
        self.y = np.exp(x)
        return self.y

    def backward(self, dy):
        return dy * self.y


class Sum(Function):
    def forward(self, x):
        self.shape = x.shape
        return x.sum()

    def backward(self, dy):
        return np.broadcast_to(dy, self.shape)


class Transpose(Function):
    is_view = True

    def forward(self, x):
        return x.T

    def backward(self, dy):
        return dy.T


class Halves(Function):
    """Two outputs and an integer one: the halves of a vector, and its length."""

    def forward(self, x):
        self.half = len(x) // 2
        return x[: self.half].copy(), x[self.half :].copy(), np.array(len(x))

    def backward(self, dfirst, dsecond, _):
        zero = np.zeros(self.half, np.float32)
        return np.concatenate([zero if d is None else d for d in (dfirst, dsecond)])


class Positive(Function):
    differentiable = False

    def forward(self, x):
        return x > 0


def add(x, y):
    return Add().apply(x, y)


def mul(x, y):
    return Mul().apply(x, y)


def exp(x):
    return Exp().apply(x)


def total(x):
    return Sum().apply(x)


class Product(Function):
    """The product of Tensors, by what the context has saved."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, dy):
        x, y = ctx.saved_tensors
        return dy * y, dy * x
