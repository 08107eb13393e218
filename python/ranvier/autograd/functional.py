"""Jacobians, Hessians and their products with vectors, with the arguments of ``torch.autograd.functional``.

``func`` gets the inputs, a Tensor or a tuple of Tensors, and returns a Tensor or a tuple of them. If inputs
or outputs are a tuple, so is the result. The results are off the tape unless ``create_graph`` is set.
``strict``: outputs and gradients that do not depend on an input raise RuntimeError; else they are 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.function import Function
from ranvier.autograd.grad import gradients
from ranvier.autograd.graph import cut, rule
from ranvier.autograd.memory import filled_like
from ranvier.autograd.mode import enable_grad
from ranvier.autograd.tensor import Tensor, wrap

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = tuple[Tensor, ...]


class Rows(Function):
    """y[i] = the i-th input; all have one shape"""

    def forward(self, *rows: Any) -> Any:
        return _core.concatenate([row[None] for row in rows], 0)

    def backward(self, dy: Any) -> Any:
        return tuple(dy)


@rule(Rows)
def _rows(node: Any, dy: Tensor) -> Tensors:
    return tuple(dy[i] for i in range(dy.shape[0]))


class _Call:
    """One call of func, on a tape of its own: what the functions of this module begin with."""

    def __init__(self, name: str, func: Any, inputs: Any, create_graph: bool, strict: bool) -> None:
        self.name, self.create_graph, self.strict = name, create_graph, strict
        self.several_inputs = isinstance(inputs, (tuple, list))
        self.xs = tuple(self._leaf(x) for x in self.tensors("inputs", inputs))
        y = func(*self.xs)
        self.ys, self.several_outputs = self.tensors("the result of func", y), isinstance(y, (tuple, list))
        if strict and any(not y.requires_grad for y in self.ys):
            raise RuntimeError(f"[{name}] got strict=True and an output that is independent of the inputs")

    def tensors(self, what: str, values: Any) -> Tensors:
        found = tuple(values) if isinstance(values, (tuple, list)) else (values,)
        for x in found:
            if not isinstance(x, Tensor):
                raise TypeError(f"[{self.name}] got {type(x).__name__} in {what}; expected Tensors")
        return found

    def _leaf(self, x: Tensor) -> Tensor:
        if x._array.dtype.kind != "f":
            raise TypeError(f"[{self.name}] got inputs of dtype {x.dtype}; expected float32 or float64")
        return cut(x) if self.create_graph and x._requires_grad else x.detach().requires_grad_()

    def number(self) -> Tensor:
        """What func returned, of one element."""
        if len(self.ys) != 1 or self.ys[0].numel() != 1:
            shapes = [tuple(y.shape) for y in self.ys]
            raise RuntimeError(f"[{self.name}] got a function with results {shapes}; expected one element")
        return self.ys[0]

    def vectors(self, v: Any, like: Tensors, what: str) -> Tensors:
        """v as a tuple; 1 if it is None and there is one element."""
        if v is None:
            if len(like) != 1 or like[0].numel() != 1:
                raise RuntimeError(
                    f"[{self.name}] got no v; expected one: there are several elements of {what}"
                )
            return (wrap(filled_like(1, like[0]._array)),)
        vs = self.tensors("v", v)
        shapes, wanted = [tuple(x.shape) for x in vs], [tuple(x.shape) for x in like]
        if shapes != wanted:
            raise RuntimeError(f"[{self.name}] got v of shapes {shapes}; expected those of {what}, {wanted}")
        return vs

    def gradients(self, ys: Tensors, xs: Tensors, vs: Tensors, create_graph: bool) -> Tensors:
        """The gradients of ys, weighted by vs, for each x; 0 where there is none."""
        used = [(y, v) for y, v in zip(ys, vs, strict=True) if y.requires_grad]
        found: Any = (None,) * len(xs)
        if used:
            outputs, weights = [y for y, _ in used], [v for _, v in used]
            found = gradients(outputs, xs, weights, True, create_graph, allow_unused=True)
        if self.strict and any(g is None for g in found):
            raise RuntimeError(f"[{self.name}] got strict=True and an input that is not used")
        return tuple(
            wrap(filled_like(0, x._array)) if g is None else g for g, x in zip(found, xs, strict=True)
        )

    def given(self, values: Sequence[Any], several: bool) -> Any:
        """The values as the caller gets them."""
        found = tuple(x if self.create_graph else x.detach() for x in values)
        return found if several else found[0]

    def rows(self, y: Tensor) -> Tensors:
        """The Jacobian of one output, for each input."""
        rows = []
        for i in range(y.numel()):
            v = np.zeros(y.numel(), y.dtype)
            v[i] = 1
            rows.append(self.gradients((y,), self.xs, (wrap(v.reshape(y.shape)),), self.create_graph))
        return tuple(
            Rows().apply(*(row[j] for row in rows)).reshape((*y.shape, *x.shape))
            if rows
            else wrap(np.zeros((*y.shape, *x.shape), y.dtype))
            for j, x in enumerate(self.xs)
        )


@enable_grad()
def vjp(func: Any, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(func(inputs), v J) for the Jacobian J; v: like the outputs, not needed for one number.

    >>> import ranvier as rv
    >>> rv.autograd.functional.vjp(lambda x: x**2, rv.tensor([1.0, 2.0]), rv.tensor([3.0, 1.0]))
    (tensor([1., 4.]), tensor([6., 4.]))
    """
    call = _Call("vjp", func, inputs, create_graph, strict)
    found = call.gradients(call.ys, call.xs, call.vectors(v, call.ys, "the outputs"), create_graph)
    return call.given(call.ys, call.several_outputs), call.given(found, call.several_inputs)


@enable_grad()
def jvp(func: Any, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(func(inputs), J v) for the Jacobian J; v: like the inputs, not needed for one number.

    u J is linear in u: J v is its gradient by u.

    >>> import ranvier as rv
    >>> rv.autograd.functional.jvp(lambda x: x**2, rv.tensor([1.0, 2.0]), rv.tensor([3.0, 1.0]))
    (tensor([1., 4.]), tensor([6., 4.]))
    """
    call = _Call("jvp", func, inputs, create_graph, strict)
    us = tuple(wrap(filled_like(0, y._array), requires_grad=True) for y in call.ys)
    rows = call.gradients(call.ys, call.xs, us, True)
    found = call.gradients(rows, us, call.vectors(v, call.xs, "the inputs"), create_graph)
    return call.given(call.ys, call.several_outputs), call.given(found, call.several_outputs)


@enable_grad()
def hvp(func: Any, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(func(inputs), H v) for the Hessian H of a function with one number as result; v: like the inputs.

    >>> import ranvier as rv
    >>> rv.autograd.functional.hvp(lambda x: (x**3).sum(), rv.tensor([1.0, 2.0]), rv.tensor([1.0, 0.5]))
    (tensor(9.), tensor([6., 6.]))
    """
    call = _Call("hvp", func, inputs, create_graph, strict)
    y = call.number()
    slopes = call.gradients((y,), call.xs, (wrap(filled_like(1, y._array)),), True)
    found = call.gradients(slopes, call.xs, call.vectors(v, call.xs, "the inputs"), create_graph)
    return call.given((y,), call.several_outputs), call.given(found, call.several_inputs)


vhp = hvp  # H is symmetric


@enable_grad()
def jacobian(
    func: Any,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """J[..., ...], the derivative of each output by each input: (*shape of output, *shape of input).

    A tuple over the outputs of tuples over the inputs, where these are tuples. One backward for each element
    of the outputs: vectorize changes nothing. Raises ValueError for another strategy.

    >>> import ranvier as rv
    >>> rv.autograd.functional.jacobian(lambda x: x**2, rv.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy != "reverse-mode":
        raise ValueError(f"[jacobian] got strategy {strategy!r}; expected 'reverse-mode'")
    call = _Call("jacobian", func, inputs, create_graph, strict)
    found = tuple(call.given(call.rows(y), call.several_inputs) for y in call.ys)
    return found if call.several_outputs else found[0]


@enable_grad()
def hessian(
    func: Any,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """H[..., ...], the second derivatives of a function with one number as result, for each two inputs:
    (*shape of the first, *shape of the second). Settings as of :func:`jacobian`.

    >>> import ranvier as rv
    >>> rv.autograd.functional.hessian(lambda x: x[0] ** 2 * x[1], rv.tensor([1.0, 2.0]))
    tensor([[4., 2.],
            [2., 0.]])
    """
    if outer_jacobian_strategy != "reverse-mode":
        raise ValueError(
            f"[hessian] got outer_jacobian_strategy {outer_jacobian_strategy!r}; expected 'reverse-mode'"
        )
    call = _Call("hessian", func, inputs, create_graph, strict)
    y = call.number()
    slopes = call.gradients((y,), call.xs, (wrap(filled_like(1, y._array)),), True)
    found = tuple(call.given(call.rows(slope), call.several_inputs) for slope in slopes)
    return found if call.several_inputs else found[0]
