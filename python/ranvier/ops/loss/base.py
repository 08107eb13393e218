"""What losses share: the checks and dtypes of their arguments, their reduction, and the class `ElementLoss`
of losses that a kernel computes element by element.

`reduction` is "none", "mean" or "sum" of the elements' losses; of kl_div also "batchmean", the sum over the
batch size. A slope is a derivative of one element's loss; it is needed for gradients of gradients and for C,
since the kernels of backward compute the gradients.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

import ranvier.extension as extension
from ranvier.ops.elementwise.dtypes import F32, Array, alike, as_tensor, floating, is_floating
from ranvier.ops.namespaces import (
    FIRST_INPUT,
    KERNELS,
    SECOND_INPUT,
    Operations,
    Value,
    differentiable_backward,
    formula_of,
)
from ranvier.tape.function import Dtypes, Function
from ranvier.tensors.data import array_of
from ranvier.tensors.errors import one_of
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import HALVES, cast, in_dtype, keep
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import ArrayLike, Shape, TensorLike

OldFlag: TypeAlias = bool | None
"""size_average and reduce, PyTorch's arguments before reduction. `reduction_of` checks them."""

Slope: TypeAlias = Callable[..., Any]
"""The derivative of a loss by x or by target: a function of a namespace f, x, target and the settings."""


def reduction_of(
    name: str, size_average: OldFlag, reduce: OldFlag, reduction: str, stacklevel: int = 3
) -> str:
    """The reduction. If one of PyTorch's old arguments size_average and reduce is given, the reduction that
    they mean.

    stacklevel: of the line of the program, for the warning; 3: the line that calls the caller.

    Raises TypeError if they are not bools, such as a reduction in their position.

    >>> reduction_of("mse_loss", None, None, "sum")
    'sum'
    """
    if size_average is None and reduce is None:
        return reduction
    for setting, value in (("size_average", size_average), ("reduce", reduce)):
        if value is not None and not isinstance(value, (bool, np.bool_)):
            raise TypeError(
                f"[{name}] got {setting} {value!r}; expected True, False or None: pass reduction and the "
                "arguments that follow by name"
            )
    if reduce is not None and not reduce:
        meant = "none"
    elif size_average is None or size_average:
        meant = "mean"
    else:
        meant = "sum"
    text = f"[{name}] size_average and reduce are obsolete: use reduction={meant!r}"
    warnings.warn(text, stacklevel=stacklevel)
    return meant


def in_dtype_of(x: TensorLike, target: TensorLike) -> TensorLike:
    """A target in the dtype of x, so that float64 data can train a float32 model. Tensors of floats stay as
    they are, since they may have gradients."""
    dtype = _dtype_of(x)
    if isinstance(target, (int, float)):
        target = keep(np.asarray(target))
    if dtype is None:
        return target
    if isinstance(target, Tensor) and target._array.dtype.kind in "biu":
        return wrap(cast(target._array, dtype))
    if isinstance(target, np.ndarray) and target.dtype.kind in "biuf" and target.dtype != dtype:
        return cast(target, dtype)
    return target


def _dtype_of(x: object) -> np.dtype[Any] | None:
    """The dtype of a Tensor or an array; None for other objects."""
    if isinstance(x, Tensor):
        return x._array.dtype
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        return None
    return np.dtype(dtype)


class Shapes:
    """A setting. broadcast: whether losses broadcast x and target, with a warning, as in PyTorch; the
    satellite `torch` sets it when this module is loaded (`extension.loaded` at the end)."""

    broadcast = False


def in_one_shape(*operands: Any) -> tuple[Any, ...]:
    """The operands; with `Shapes.broadcast` Tensors of several shapes in their common shape."""
    shapes = {x.shape for x in operands if isinstance(x, Tensor)}
    if not Shapes.broadcast or len(shapes) < 2:
        return operands
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:  # The loss raises the error.
        return operands
    return tuple(_broadcast(x, shape) for x in operands)


def _broadcast(x: Any, shape: Shape) -> Any:
    """A Tensor in this shape; other operands as they are."""
    if isinstance(x, Tensor):
        return x.broadcast_to(shape)
    return x


def _warn(x_shape: Shape, target_shape: Shape) -> None:
    """The warning of losses for which PyTorch has one."""
    warnings.warn(
        f"got x of shape {x_shape} and target of shape {target_shape}, which are broadcast; expected equal "
        "shapes",
        stacklevel=5,  # _warn, paired, the op, its public function or the layer's forward, their caller
    )


def promoted(x: TensorLike, target: TensorLike) -> tuple[Any, Any]:
    """x and target for losses in which x alone sets the dtype of a target of integers: bce_with_logits,
    kl_div, cross_entropy of probabilities and cosine_embedding.

    If x has floats, two Tensors are cast to their common dtype. Else the loss refuses x: kernels take floats.
    """
    if isinstance(target, Tensor) and is_floating(x):
        if x._array.dtype is target._array.dtype:
            return (x, target)
        return alike(x, target)
    return x, in_dtype_of(x, target)


def paired(x: TensorLike, target: TensorLike) -> tuple[Any, Any]:
    """x and target for the losses of regression (mse, l1, smooth_l1, huber, gaussian_nll).

    Two Tensors are cast to their common dtype, also an x of integers beside a target of floats; of integers
    alone the kernels refuse them. With `Shapes.broadcast` x and target are broadcast, with PyTorch's warning.
    """
    if isinstance(x, Tensor) and isinstance(target, Tensor):
        if Shapes.broadcast and x.shape != target.shape:
            first, second = in_one_shape(x, target)
            if first.shape == second.shape:
                _warn(x.shape, target.shape)
            return alike(first, second)
        if x._array.dtype is target._array.dtype:
            return (x, target)
        return alike(x, target)
    return x, in_dtype_of(x, target)


def constant(op: str, name: str, value: ArrayLike | None, x: TensorLike) -> Array | None:
    """A weight (a Tensor, an array, a sequence of numbers or None) as an array in the dtype in which x is
    computed.

    op, name: the names of the op and of the argument, for errors. Raises ValueError for a Tensor with a
        gradient.
    """
    if value is None:
        return None
    if getattr(value, "requires_grad", False):
        raise OpError(f"[{op}] got {name} that requires a gradient; expected a constant: {name}.detach()")
    array = getattr(value, "_array", value)
    if not isinstance(array, np.ndarray):
        array = keep(array_of(op, array, np.float64))
    dtype = _dtype_of(x)
    if dtype in HALVES:
        dtype = F32
    if array.dtype.kind in "biuf" and dtype is not None and dtype.kind == "f":
        return in_dtype(array, dtype)
    return array


class ElementLoss(Function):
    """A loss of x and target, element by element; its kernels take the reduction, then the settings."""

    # The kernel of forward. A function of the core does not bind: self.loss(...) does not pass self.
    loss: Callable[..., Array]
    # The name of the kernel of backward. Its argument after the reduction says which gradient it computes:
    # False: that of x, True: that of target.
    gradient: str
    slopes: tuple[Slope, Slope]  # by x and by target
    # half floats are computed in float32, and in a block of autocast the result is float32, too
    dtypes = Dtypes(autocast="float32")

    def __init__(self, reduction: str, *settings: Any) -> None:
        self.reduction = reduction
        self.settings = settings

    def forward(self, x: Array, target: Array) -> Array:
        self.x = x
        self.target = target
        return self.loss(x, target, self.reduction, *self.settings)

    def backward(self, dy: Value, f: Operations = KERNELS) -> tuple[Value | None, Value | None]:
        gradient = getattr(f, self.gradient)
        arguments = (dy, self.x, self.target, self.reduction)
        dx = None
        dtarget = None
        if self.needs[0]:
            dx = gradient(*arguments, False, *self.settings)
        if self.needs[1]:
            dtarget = gradient(*arguments, True, *self.settings)
        return dx, dtarget


def element_loss(
    name: str, kernel: Callable[..., Array], slope_x: Slope, slope_target: Slope
) -> Callable[..., Function]:
    """Makes the Function of a loss from its kernel; the core also has <kernel>_backward.

    slope_x, slope_target: for create_graph and C, the derivatives of an element's loss by x and by target.
    """
    slopes = (slope_x, slope_target)
    gradient = f"{kernel.__name__}_backward"
    formula_of(gradient)(partial(_by_slopes, slopes))
    members = {"loss": kernel, "gradient": gradient, "slopes": slopes}
    return differentiable_backward(x=FIRST_INPUT, target=SECOND_INPUT)(type(name, (ElementLoss,), members))


def exchanged(slope: Slope) -> Slope:
    """The slope by target of a loss that is symmetric in x and target, from its slope by x."""

    def by_target(f: Operations, x: Value, t: Value, *settings: Any) -> Value:
        return slope(f, t, x, *settings)

    return by_target


def _by_slopes(
    slopes: tuple[Slope, Slope],
    f: Operations,
    dy: Tensor,
    x: Tensor,
    target: Tensor,
    reduction: str,
    of_target: bool,
    *settings: Any,
) -> Tensor:
    """The gradient of x, or with of_target of target, by the slopes: the formula of
    <kernel>_backward."""
    slope_x, slope_target = slopes
    slope = slope_x
    if of_target:
        slope = slope_target
    if reduction == "mean":
        dy = dy / max(x.numel(), 1)
    elif reduction == "batchmean":
        dy = dy / max(x.shape[0], 1)
    return dy * slope(f, x, target, *settings)


def same_floats(name: str, **operands: TensorLike) -> list[Tensor]:
    """The operands as Tensors of one shape, in their common dtype; with `Shapes.broadcast` they are
    broadcast. name: the op's, for errors.

    Raises ValueError for different shapes, TypeError for dtypes that do not go together.
    """
    first, *others = alike(*operands.values())
    x = floating(first, name)
    tensors = [x]
    for other in others:
        tensors.append(as_tensor(name, in_dtype_of(x, other)))
    tensors = list(in_one_shape(*tensors))
    shapes = [t._array.shape for t in tensors]
    dtypes = [t._array.dtype for t in tensors]
    *firsts, last = operands
    names = f"{', '.join(firsts)} and {last}"
    if any(shape != shapes[0] for shape in shapes):
        raise OpError(f"[{name}] got {names} of shapes {shapes}; expected equal shapes")
    if dtypes[0].kind != "f" or any(dtype != dtypes[0] for dtype in dtypes):
        found = [dtype.name for dtype in dtypes]
        raise DtypeError(f"[{name}] got {names} of dtypes {found}; expected floats")
    return tensors


def reduced(name: str, x: Tensor, reduction: str) -> Tensor:
    """The losses x, or their mean or sum, as the reduction says. Raises ValueError for another reduction."""
    one_of(name, "reduction", reduction, ("none", "mean", "sum"))
    if reduction == "none":
        return x
    if reduction == "mean":
        return x.mean()
    return x.sum()


extension.loaded(__name__)
