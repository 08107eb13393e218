"""PyTorch's torch.amp: `autocast`, blocks of mixed precision, and the functions that read and set its state.

The state of blocks on the CPU is `tape.autocast.state.block`, which ops read. Other devices have no tensors
here; for them the state is only kept, so that programs read what they have set.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ranvier import Tensor, bfloat16, dtype as as_dtype, float16
from ranvier.settings import ThreadSettings
from ranvier.tape.autocast import Block, begin, casts, state
from ranvier.tensors.types import DtypeLike
from ranvier.torch.training.grad_scaler import GradScaler as GradScaler

_DTYPES = {  # the default dtype of autocast for each device
    **dict.fromkeys(("cpu", "hpu", "maia", "xla"), bfloat16),
    **dict.fromkeys(("cuda", "ipu", "mps", "mtia", "privateuseone", "xpu"), float16),
}
# For each device that has no tensors: (whether this thread is in a block, the block's dtype).
_others = ThreadSettings(**{kind: (False, kept) for kind, kept in _DTYPES.items()})


def _known(device_type: str) -> str:
    """The kind of a device, "cuda" for "cuda:0"; RuntimeError for one that PyTorch does not have."""
    kind: str = device_type.partition(":")[0] if isinstance(device_type, str) else ""
    if kind not in _DTYPES:
        raise RuntimeError(f"[autocast] got device_type {device_type!r}; expected one of {[*_DTYPES]}")
    return kind


def is_autocast_available(device_type: str) -> bool:
    """True if `autocast` knows the device. | is_autocast_available("cpu") -> True"""
    return device_type.partition(":")[0] in _DTYPES


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """True if this thread is in a block of autocast for the device. | is_autocast_enabled("cpu") -> False"""
    kind = _known(device_type)
    return bool(state.block.enabled if kind == "cpu" else getattr(_others, kind)[0])


def get_autocast_dtype(device_type: str) -> Any:
    """The dtype of blocks of autocast without a dtype. | get_autocast_dtype("cpu") -> torch.bfloat16"""
    kind = _known(device_type)
    if kind == "cpu":
        return as_dtype(state.block.dtype)
    return getattr(_others, kind)[1]


def set_autocast_enabled(device_type: str | bool, enabled: bool | None = None) -> None:
    """Switches autocast on or off for this thread; without a device, as in old programs, for "cuda"."""
    if enabled is None:
        device = "cuda"
        enabled = bool(device_type)
    else:
        device = str(device_type)
    _set(_known(device), bool(enabled), get_autocast_dtype(device), *state.block[2:])


def set_autocast_dtype(device_type: str, dtype: DtypeLike) -> None:
    """The dtype of blocks of autocast, on this thread."""
    _set(_known(device_type), is_autocast_enabled(device_type), dtype, *state.block[2:])


def _set(kind: str, enabled: bool, dtype: DtypeLike, keeps: bool, depth: int) -> None:
    if kind != "cpu":
        setattr(_others, kind, (enabled, as_dtype(dtype)))
        enabled, dtype = state.block[:2]
    begin(Block(enabled, np.dtype(dtype), keeps, depth))


is_autocast_cpu_enabled = functools.partial(is_autocast_enabled, "cpu")
set_autocast_cpu_enabled = functools.partial(set_autocast_enabled, "cpu")
get_autocast_cpu_dtype = functools.partial(get_autocast_dtype, "cpu")
set_autocast_cpu_dtype = functools.partial(set_autocast_dtype, "cpu")
get_autocast_gpu_dtype = functools.partial(get_autocast_dtype, "cuda")
set_autocast_gpu_dtype = functools.partial(set_autocast_dtype, "cuda")


def is_autocast_cache_enabled() -> bool:
    """True if blocks keep the cast copies of leaf tensors, to use them again."""
    return bool(state.block.keeps)


def set_autocast_cache_enabled(enabled: bool) -> None:
    state.block = state.block._replace(keeps=bool(enabled))


def clear_autocast_cache() -> None:
    """Drops the casts that blocks of this thread keep."""
    casts.kept.clear()


def autocast_increment_nesting() -> int:
    state.block = state.block._replace(depth=state.block.depth + 1)
    return int(state.block.depth)


def autocast_decrement_nesting() -> int:
    state.block = state.block._replace(depth=state.block.depth - 1)
    return int(state.block.depth)


class autocast:
    """A block or decorator in which ops of this thread compute in the dtypes of PyTorch's CPU lists.

    Matrix products, linear layers, convolutions, attention, ``prelu`` and recurrent layers cast float32
    inputs to `dtype` (bfloat16 or float16), and their results have this dtype. Losses, ``prod``, ``cdist``,
    ``quantile``, ``grid_sample``, ``pad`` that reflects or repeats, linear algebra and Fourier transforms
    cast half floats to float32. float64 is not cast. All other ops compute in the dtypes that they get.
    Call ``backward`` after the block: gradients have the dtypes of their tensors.

    device_type: only the CPU has tensors; other devices are accepted and have no effect. dtype: None for
    bfloat16; a dtype other than bfloat16 and float16 switches the block off, with a warning. enabled=False: a
    block without casts. cache_enabled: leaves that require gradients are cast once, until the outermost block
    ends.

    >>> import ranvier as rv
    >>> weight = rv.ones(3, 2, requires_grad=True)
    >>> with rv.autocast("cpu", dtype=rv.bfloat16):
    ...     y = rv.ones(2, 3) @ weight
    >>> y.dtype
    torch.bfloat16
    >>> y.sum().backward()
    >>> weight.grad.dtype
    torch.float32
    """

    def __init__(
        self,
        device_type: str,
        dtype: DtypeLike | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"[autocast] got device_type {device_type!r}; expected a str: 'cpu'")
        self.device, self._kind = device_type, _known(device_type)
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        if cache_enabled is None:
            self._cache_enabled = state.block.keeps
        else:
            self._cache_enabled = bool(cache_enabled)
        if enabled and self._kind == "cuda":
            enabled = False
            warnings.warn("CUDA is not available. Disabling autocast.", stacklevel=2)
        elif enabled and np.dtype(self.fast_dtype) not in (bfloat16, float16):
            enabled = False
            warnings.warn(
                f"In {device_type.upper()} autocast, but the target dtype is not supported. Disabling "
                f"autocast.\n{device_type.upper()} Autocast only supports dtypes of torch.bfloat16, "
                "torch.float16 currently.",
                stacklevel=2,
            )
        self._enabled = bool(enabled)
        self._before: list[tuple[bool, Any, bool]] = []  # the state before each `with`

    def __enter__(self) -> autocast:
        was = state.block
        if self._kind == "cpu":
            of_kind = was[:2]
        else:
            of_kind = getattr(_others, self._kind)
        self._before.append((*of_kind, was.keeps))
        _set(self._kind, self._enabled, self.fast_dtype, self._cache_enabled, was.depth + 1)
        return self

    def __exit__(self, *error: object) -> None:
        depth = state.block.depth - 1
        if depth == 0:
            clear_autocast_cache()
        _set(self._kind, *self._before.pop(), depth)

    def __call__(self, function: Callable[..., Any]) -> Any:
        if not callable(function):
            raise TypeError(
                f"[autocast] got {type(function).__name__}; expected a function: a block is "
                "`with torch.autocast(device_type):`"
            )

        @functools.wraps(function)
        def wrapper(*args: Any, **settings: Any) -> Any:
            with self:
                return function(*args, **settings)

        return wrapper


class CPUAutocast(autocast):
    """torch.cpu.amp.autocast"""

    def __init__(self, enabled: bool = True, dtype: DtypeLike = bfloat16, cache_enabled: bool = True) -> None:
        super().__init__("cpu", dtype, enabled, cache_enabled)


class CUDAAutocast(autocast):
    """torch.cuda.amp.autocast, which has no effect."""

    def __init__(self, enabled: bool = True, dtype: DtypeLike = float16, cache_enabled: bool = True) -> None:
        super().__init__("cuda", dtype, enabled, cache_enabled)


def _cast(value: Any, dtype: DtypeLike) -> Any:
    """Nested values, in which float32 and half floats are cast to a dtype."""
    if isinstance(value, Tensor):
        if value.is_floating_point() and value.dtype != np.float64:
            return value.to(dtype)
        return value
    if isinstance(value, Mapping):
        return {_cast(k, dtype): _cast(v, dtype) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(v, dtype) for v in value)
    return value


def custom_fwd(fwd: Any = None, *, device_type: str = "cuda", cast_inputs: Any = None) -> Any:
    """A decorator for ``forward(ctx, ...)`` of an autograd.Function.

    With `cast_inputs`, in a block of :class:`autocast` its tensors are cast to that dtype, and autocast is
    off while it runs.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx: Any, *args: Any, **settings: Any) -> Any:
        in_block = is_autocast_enabled(device_type)
        ctx._dtype = get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = in_block and cast_inputs is None
        if cast_inputs is None or not in_block:
            return fwd(ctx, *args, **settings)
        with autocast(device_type, enabled=False):
            return fwd(ctx, *_cast(args, cast_inputs), **_cast(settings, cast_inputs))

    return forward


def custom_bwd(bwd: Any = None, *, device_type: str = "cuda") -> Any:
    """A decorator for ``backward(ctx, ...)``, which then runs with the state of autocast that forward had."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx: Any, *args: Any, **settings: Any) -> Any:
        with autocast(device_type, enabled=ctx._fwd_used_autocast, dtype=ctx._dtype):
            return bwd(ctx, *args, **settings)

    return backward
