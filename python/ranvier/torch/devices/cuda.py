"""torch.cuda, mps, xpu and accelerator: there is no such device, and programs choose the CPU."""

from __future__ import annotations

from typing import Any

from ranvier.tensors.types import DeviceLike


def is_available() -> bool:
    """False: this library computes on the CPU.

    >>> import ranvier as rv
    >>> rv.cuda.is_available(), rv.accelerator.current_accelerator(), rv.mps.device_count()
    (False, None, 0)
    """
    return False


_initialized = False
is_initialized = is_bf16_supported = is_available


def device_count() -> int:
    return 0


def current_accelerator(check_available: bool = False) -> None:
    return None


def manual_seed(seed: int) -> None:
    """Does nothing; :func:`ranvier.manual_seed` seeds all random numbers."""


manual_seed_all = manual_seed


def seed() -> None:
    """Does nothing; :func:`ranvier.seed` draws a seed for all random numbers."""


seed_all = seed


def empty_cache() -> None:
    """Does nothing; :func:`ranvier.empty_cache` empties the cache of the CPU."""


def synchronize(device: DeviceLike | None = None) -> None:
    """Does nothing."""


def memory_allocated(device: DeviceLike | None = None) -> int:
    """0, in bytes: see :func:`ranvier.memory_stats` for the CPU."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated
reset_peak_memory_stats = reset_max_memory_allocated = synchronize


def get_rng_state_all() -> list[Any]:
    """No states: there are no devices."""
    return []


def set_rng_state_all(new_states: Any) -> None:
    """Takes the states that get_rng_state_all gives. Raises RuntimeError for others."""
    if list(new_states):
        raise RuntimeError(f"[cuda.set_rng_state_all] got {len(list(new_states))} states; expected none")


class OutOfMemoryError(RuntimeError):
    """Never raised: NumPy's MemoryError is."""


def _refused(name: str) -> Any:
    def refuse(*args: Any, **settings: Any) -> Any:
        raise RuntimeError(
            f"[cuda.{name}] got a call; expected cuda.is_available() before it: this library computes on "
            "the CPU"
        )

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = "Raises RuntimeError: there is no such device."
    if name[0].isupper():  # a class, which annotations and isinstance name
        return type(name, (), {"__new__": refuse, "__doc__": refuse.__doc__})
    return refuse


_NAMES = """
    BFloat16Tensor BoolTensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor IntTensor LongTensor
    ShortTensor Event Stream current_device current_stream device get_device_capability get_device_name
    get_device_properties get_rng_state initial_seed memory_summary set_device set_device_index
    set_rng_state stream
"""
for _name in _NAMES.split():
    globals()[_name] = _refused(_name)
