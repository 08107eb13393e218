"""``Variable``, which a Tensor was before PyTorch 0.4: programs of that time still call it."""

from __future__ import annotations

from ranvier.tensors.tensor import Tensor


class _MakesTensors(type):
    """The class of Variable: a call of Variable gives a Tensor, and every Tensor is an instance of it."""

    def __call__(cls, data: Tensor, requires_grad: bool = False, volatile: bool = False) -> Tensor:
        if not isinstance(data, Tensor):
            raise TypeError(f"[Variable] got {type(data).__name__}; expected a Tensor: use ranvier.tensor")
        out = data.detach()
        if requires_grad and not volatile:
            return out.requires_grad_()
        return out

    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, Tensor)


class Variable(metaclass=_MakesTensors):
    """``Variable(x)``: a Tensor on the memory of x, off the tape; all Tensors are its instances.

    >>> import ranvier as rv
    >>> rv.autograd.Variable(rv.ones(1), requires_grad=True)
    tensor([1.], requires_grad=True)
    """
