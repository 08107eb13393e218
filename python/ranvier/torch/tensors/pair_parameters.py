"""Parameters of complex numbers. Programs see complex numbers; the core, optimizers and files see pairs (..,
2)."""

from __future__ import annotations

from typing import Any

import ranvier as rv
import ranvier._core as _core
from ranvier.torch.tensors.pair_functions import view_as_complex
from ranvier.torch.tensors.pairs import Complex
from ranvier.torch.torch_function.activation import activate
from ranvier.torch.torch_function.dispatch import switched_off

# attributes and methods that a parameter has itself, as a parameter of real numbers does
_NAMES = """
    __deepcopy__ grad_fn is_leaf output_nr register_hook register_post_accumulate_grad_hook
    requires_grad requires_grad_ retain_grad retains_grad
"""
_OWN = frozenset(_NAMES.split())


def _part(name: str) -> Any:
    return property(lambda w: getattr(_numbers(w), name), lambda w, value: setattr(_numbers(w), name, value))


class PairParameter(rv.nn.Parameter):
    """A Parameter whose memory and gradient are pairs (.., 2).

    >>> z = rv.nn.Parameter(view_as_complex(rv.tensor([[3.0, 4.0]])))
    >>> z.shape, z.abs().detach()
    ((1,), tensor([5.]))
    >>> z.abs().sum().backward()
    >>> z.grad.tolist()
    [(0.6000000238418579+0.800000011920929j)]
    """

    __slots__ = ()
    _kind = rv.nn.Parameter
    real, imag = map(_part, ("real", "imag"))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return parameter, (_numbers(self).detach(), rv.nn.Parameter, self._requires_grad)

    def _as_parameter(self, kind: Any, requires_grad: bool) -> Any:
        return parameter(_numbers(self), kind, requires_grad)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        owner: Any = getattr(func, "__self__", None)
        is_attribute = isinstance(owner, _core.PublicAttribute)
        name = (owner if is_attribute else func).__name__
        settings = {key: _numbers(value) for key, value in (kwargs or {}).items()}
        if name in _OWN or (name in ("grad", "data") and isinstance(args[0], cls)):
            if name in ("grad", "data") and not isinstance(args[-1], (cls, Complex, type(None))):
                raise TypeError(f"[{name}] got {type(args[1]).__name__}; expected complex numbers")
            with switched_off(1):
                result = func(args[0], *map(_pairs, args[1:]), **settings)
            if name in ("grad", "data") and result is not None:
                return view_as_complex(result)
            return result
        given = [_numbers(x) for x in args]
        if is_attribute:
            result = getattr(given[0], name)
        else:
            result = func(*given, **settings)
        return next((x for x, y in zip(args, given, strict=True) if result is y), result)


def _pairs(x: Any) -> Any:
    if isinstance(x, PairParameter):
        return x.detach()
    if type(x) is Complex:
        return x._pairs
    return x


def _numbers(x: Any) -> Any:
    """An argument in which complex parameters are replaced by `Complex` views of them, with gradients."""
    if isinstance(x, PairParameter):
        with switched_off(2):
            return view_as_complex(x[...])
    if type(x) in (tuple, list):
        return type(x)(map(_numbers, x))
    return x


def parameter(data: Complex, kind: Any, requires_grad: bool) -> Any:
    """nn.Parameter(data), on its memory."""
    activate()  # functions, methods and attributes ask its class
    made = kind(data._pairs, requires_grad)
    made.__class__ = PairParameter
    return made
