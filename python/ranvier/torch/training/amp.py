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
    "cpu": bfloat16,
    "hpu": bfloat16,
    "maia": bfloat16,
    "xla": bfloat16,
    "cuda": float16,
    "ipu": float16,
    "mps": float16,
    "mtia": float16,
    "privateuseone": float16,
    "xpu": float16,
}
# For each device that has no tensors: (whether this thread is in a block, the block's dtype).
_others = ThreadSettings(**{name: (False, dtype) for name, dtype in _DTYPES.items()})


def _device_name(device_type: str) -> str:
    """The device without its number, "cuda" for "cuda:0". Raises RuntimeError for one that PyTorch lacks."""
    name = ""
    if isinstance(device_type, str):
        name = device_type.partition(":")[0]
    if name not in _DTYPES:
        raise RuntimeError(f"[autocast] got device_type {device_type!r}; expected one of {[*_DTYPES]}")
    return name


def is_autocast_available(device_type: str) -> bool:
    """True if `autocast` knows the device. | is_autocast_available("cpu") -> True"""
    return device_type.partition(":")[0] in _DTYPES


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """True if this thread is in a block of autocast for the device. | is_autocast_enabled("cpu") -> False"""
    name = _device_name(device_type)
    if name == "cpu":
        return bool(state.block.enabled)
    enabled, _ = getattr(_others, name)
    return bool(enabled)


def get_autocast_dtype(device_type: str) -> Any:
    """The dtype of blocks of autocast without a dtype. | get_autocast_dtype("cpu") -> torch.bfloat16"""
    name = _device_name(device_type)
    if name == "cpu":
        return as_dtype(state.block.dtype)
    _, dtype = getattr(_others, name)
    return dtype


def set_autocast_enabled(device_type: str | bool, enabled: bool | None = None) -> None:
    """Switch autocast on or off for this thread; without a device, as in old programs, for "cuda"."""
    if enabled is None:
        device = "cuda"
        enabled = bool(device_type)
    else:
        device = str(device_type)
    block = state.block
    _set(_device_name(device), bool(enabled), get_autocast_dtype(device), block.keeps, block.depth)


def set_autocast_dtype(device_type: str, dtype: DtypeLike) -> None:
    """Set the dtype of blocks of autocast, on this thread."""
    block = state.block
    _set(_device_name(device_type), is_autocast_enabled(device_type), dtype, block.keeps, block.depth)


def _set(name: str, enabled: bool, dtype: DtypeLike, keeps: bool, depth: int) -> None:
    """Set the state of this thread for a device.

    keeps: whether casts of leaf tensors are kept.
    depth: how many blocks the thread is in.

    These two are the same for all devices.
    """
    if name != "cpu":
        setattr(_others, name, (enabled, as_dtype(dtype)))
        enabled = state.block.enabled
        dtype = state.block.dtype
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
    """Drop the casts that blocks of this thread keep."""
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

    device_type: only the CPU has tensors; other devices are accepted and have no effect.
    dtype: None for bfloat16; a dtype other than bfloat16 and float16 switches the block off, with a warning.
    enabled: if False, a block without casts.
    cache_enabled: leaves that require gradients are cast once, until the outermost block ends.

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

    _stacklevel = 2  # of the program's line, in warnings of the constructor

    def __init__(
        self,
        device_type: str,
        dtype: DtypeLike | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"[autocast] got device_type {device_type!r}; expected a str: 'cpu'")
        self.device = device_type
        self._device_name = _device_name(device_type)
        if dtype is None:
            dtype = get_autocast_dtype(device_type)
        self.fast_dtype = dtype
        if cache_enabled is None:
            self._cache_enabled = state.block.keeps
        else:
            self._cache_enabled = bool(cache_enabled)
        if enabled and self._device_name == "cuda":
            enabled = False
            warnings.warn("CUDA is not available. Disabling autocast.", stacklevel=self._stacklevel)
        elif enabled and np.dtype(self.fast_dtype) not in (bfloat16, float16):
            enabled = False
            warnings.warn(
                f"In {device_type.upper()} autocast, but the target dtype is not supported. Disabling "
                f"autocast.\n{device_type.upper()} Autocast only supports dtypes of torch.bfloat16, "
                "torch.float16 currently.",
                stacklevel=self._stacklevel,
            )
        self._enabled = bool(enabled)
        # before each `with`: whether autocast was on, its dtype, and whether casts were kept
        self._before: list[tuple[bool, Any, bool]] = []

    def __enter__(self) -> autocast:
        before = state.block
        if self._device_name == "cpu":
            enabled = before.enabled
            dtype = before.dtype
        else:
            enabled, dtype = getattr(_others, self._device_name)
        self._before.append((enabled, dtype, before.keeps))
        _set(self._device_name, self._enabled, self.fast_dtype, self._cache_enabled, before.depth + 1)
        return self

    def __exit__(self, *error: object) -> None:
        depth = state.block.depth - 1
        if depth == 0:
            clear_autocast_cache()
        enabled, dtype, keeps = self._before.pop()
        _set(self._device_name, enabled, dtype, keeps, depth)

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

    _stacklevel = 3  # after the constructor of `autocast` comes the one here

    def __init__(self, enabled: bool = True, dtype: DtypeLike = bfloat16, cache_enabled: bool = True) -> None:
        super().__init__("cpu", dtype, enabled, cache_enabled)


class CUDAAutocast(autocast):
    """torch.cuda.amp.autocast, which has no effect."""

    _stacklevel = 3  # after the constructor of `autocast` comes the one here

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
