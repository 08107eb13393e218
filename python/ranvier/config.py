"""Settings and information: threads, instruction-set level, memory, versions."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

import ranvier._core as _core

__all__ = [
    "config",
    "empty_cache",
    "get_num_threads",
    "get_winograd",
    "memory_stats",
    "set_num_threads",
    "set_numpy_threads",
    "set_winograd",
    "show_config",
]


def set_num_threads(count: int) -> None:
    """Sets how many threads a kernel may use, for every Python thread.

    The default is ``OMP_NUM_THREADS``, else the smallest of the CPUs in the affinity mask, the container's
    CPU quota and the physical cores. Results are bitwise equal at any count.

    NumPy has its own threads (:func:`set_numpy_threads`). They spin for a while after each product, and slow
    down kernels.

    Raises:
        ValueError: count is not in 1..1024.

    >>> import ranvier as rv
    >>> before = rv.get_num_threads()
    >>> rv.set_num_threads(1)
    >>> rv.get_num_threads()
    1
    >>> rv.set_num_threads(before)
    """
    _core.set_num_threads(count)


def get_num_threads() -> int:
    """The number of threads that a kernel called from this Python thread may use."""
    return int(_core.get_num_threads())


def set_numpy_threads(count: int) -> None:
    """Sets how many threads NumPy's matrix products may use, for the whole process; it needs threadpoolctl.

    After a product of NumPy, the threads of its BLAS spin for a while on cores that kernels then lack.
    ``set_numpy_threads(1)`` avoids this, and NumPy's products use one core. To keep NumPy's threads, start
    Python with ``OPENBLAS_THREAD_TIMEOUT=4`` in the environment: OpenBLAS's threads then sleep at once.

    SciPy's products are included, as are those of other packages that use a BLAS which threadpoolctl finds.

    Raises:
        TypeError: count is not an int.
        ValueError: count is not in 1..1024.
        ImportError: threadpoolctl is missing (``pip install 'ranvier[threads]'``).

    >>> import ranvier as rv
    >>> rv.config.set_numpy_threads(1)
    """
    if type(count) is not int:
        raise TypeError(f"[set_numpy_threads] got {count!r}; expected an int from 1 to 1024")
    if not 1 <= count <= 1024:
        raise ValueError(f"[set_numpy_threads] got {count}; expected a count from 1 to 1024")
    try:
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise ImportError(
            f"[set_numpy_threads] needs threadpoolctl: pip install 'ranvier[threads]' ({error})"
        ) from None
    threadpool_limits(count, user_api="blas")


def set_winograd(enabled: bool) -> None:
    """Sets whether float32 3 x 3 convolutions of stride 1 may be computed by Winograd's F(2 x 2, 3 x 3).

    It is on by default (``RANVIER_WINOGRAD=0`` in the environment turns it off) and used for the shapes for
    which it is faster than the direct sum: it needs 16 products in place of 36. Its rounding errors differ
    from the direct sum's, but are no larger. An infinity or NaN in x can reach all four outputs of a tile
    of which one reads it.

    Raises:
        TypeError: enabled is not a bool.

    >>> import ranvier as rv
    >>> rv.set_winograd(False)
    >>> rv.get_winograd()
    False
    >>> rv.set_winograd(True)
    """
    _core.set_winograd(enabled)


def get_winograd() -> bool:
    """Whether convolutions may be computed by Winograd's algorithm."""
    return bool(_core.get_winograd())


def memory_stats() -> dict[str, int]:
    """The allocator's counters: ``allocations``, ``cache_hits``, and in bytes ``bytes_in_use``,
    ``bytes_cached``, ``peak_bytes_in_use``. Freed blocks are kept in a cache and used again.

    >>> import ranvier as rv
    >>> x = rv.zeros(1000) + 1
    >>> rv.memory_stats()["bytes_in_use"] >= 4000
    True
    """
    return dict(_core.memory_stats())


def empty_cache() -> None:
    """Returns the allocator's unused blocks to the system."""
    _core.empty_cache()


def config() -> dict[str, Any]:
    """Versions, the instruction-set level in use and those of this CPU, threads, and whether convolutions
    may use Winograd's algorithm.

    >>> import ranvier as rv
    >>> sorted(rv.config.config())
    ['isa', 'isas', 'numpy', 'platform', 'python', 'ranvier', 'threads', 'winograd']
    """
    return {
        "ranvier": _core.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "isa": _core.isa(),
        "isas": list(_core.supported_isas()),
        "threads": get_num_threads(),
        "winograd": get_winograd(),
    }


def show_config() -> None:
    """Prints :func:`config`, for reports of problems.

    ``RANVIER_ISA=x86-64-v2|v3|v4`` in the environment lowers the level.
    """
    for name, value in config().items():
        print(f"{name:10}{', '.join(value) if isinstance(value, list) else value}")
