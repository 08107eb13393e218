"""Parameters of complex numbers: what ``nn.Parameter(z)`` gives.

Programs see complex numbers; the core, optimizers and files see pairs (.., 2). Functions of torch ask the
class `PairParameter` (`__torch_function__`), which calls them with `Complex` views.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import ranvier as rv
import ranvier._core as _core
from ranvier.tensors.types import TensorLike
from ranvier.torch.tensors.pair_functions import view_as_complex
from ranvier.torch.tensors.pairs import Complex
from ranvier.torch.torch_function.activation import activate
from ranvier.torch.torch_function.dispatch import switched_off

# attributes and methods that a parameter has itself, as a parameter of real numbers does
_NAMES = """
    __deepcopy__ grad_fn is_leaf output_nr register_hook register_post_accumulate_grad_hook
    requires_grad requires_grad_ retain_grad retains_grad
"""
_OF_PARAMETER = frozenset(_NAMES.split())


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
    _kind = rv.nn.Parameter  # the class that files name

    @property
    def real(self) -> Any:
        return _numbers(self).real

    @real.setter
    def real(self, value: TensorLike) -> None:
        _numbers(self).real = value

    @property
    def imag(self) -> Any:
        return _numbers(self).imag

    @imag.setter
    def imag(self, value: TensorLike) -> None:
        _numbers(self).imag = value

    def __reduce_ex__(self, protocol: object) -> Any:
        return parameter, (_numbers(self).detach(), rv.nn.Parameter, self._requires_grad)

    def _as_parameter(self, kind: type[rv.nn.Parameter], requires_grad: bool) -> Any:
        """nn.Parameter(self)"""
        return parameter(_numbers(self), kind, requires_grad)

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        owner: Any = getattr(func, "__self__", None)
        is_attribute = isinstance(owner, _core.PublicAttribute)  # then func reads or sets it
        name = owner.__name__ if is_attribute else func.__name__
        settings = {key: _numbers(value) for key, value in (kwargs or {}).items()}
        is_grad_or_data = name in ("grad", "data")
        # args: (parameter,) of a getter, (parameter, value) of a setter
        if is_grad_or_data and isinstance(args[0], cls):
            if not isinstance(args[-1], (cls, Complex, type(None))):
                raise TypeError(f"[{name}] got {type(args[1]).__name__}; expected complex numbers")
            result = _call_with_pairs(func, args, settings)
            if result is None:
                return None
            return view_as_complex(result)
        if name in _OF_PARAMETER:
            return _call_with_pairs(func, args, settings)
        numbers = [_numbers(x) for x in args]
        if is_attribute:
            result = getattr(numbers[0], name)
        else:
            result = func(*numbers, **settings)
        for arg, x in zip(args, numbers, strict=True):
            if result is x:  # a function in place gives its argument
                return arg
        return result


def _call_with_pairs(func: Callable[..., Any], args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """The result of a function of a parameter itself, with pairs for its other complex arguments."""
    first, *others = args
    with switched_off(1):
        return func(first, *map(_pairs, others), **settings)


def _pairs(x: object) -> object:
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


def parameter(data: Complex, kind: type[rv.nn.Parameter], requires_grad: bool) -> Any:
    """nn.Parameter(data), on its memory. kind: Parameter, or a class of the program below it."""
    activate()  # functions, methods and attributes ask its class
    made = kind(data._pairs, requires_grad)
    made.__class__ = PairParameter
    return made
