"""Settings of the core and information on it: threads, Winograd's algorithm, the precision of products, the
instruction-set level, memory, versions. The core has the values; other settings are in settings.py.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from typing import Any

import numpy as np

import ranvier._core as _core

__all__ = [
    "config", "empty_cache", "float32_matmul_precision", "get_consistent", "get_float32_matmul_precision",
    "get_num_threads", "get_winograd", "memory_stats", "set_consistent", "set_float32_matmul_precision",
    "set_num_threads", "set_numpy_threads", "set_winograd", "show_config",
]  # fmt: skip

PRECISIONS = ("highest", "high", "medium")  # the precisions of products of float32
CONSISTENT_LEVELS = ("x86-64-v3", "aarch64-as-v3")  # the levels whose results have the same bits


def set_num_threads(count: int) -> None:
    """Sets how many threads a kernel may use, for every Python thread.

    The default is ``OMP_NUM_THREADS``; without it, the smallest of three numbers: the CPUs in the affinity
    mask, the CPU quota of the container, and the physical cores. Results are bitwise equal at any count.

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

    After a product of NumPy, the threads of NumPy's BLAS spin for a while on cores that kernels then lack.
    ``set_numpy_threads(1)`` avoids this, but then NumPy's products use one core. To keep NumPy's threads,
    start Python with ``OPENBLAS_THREAD_TIMEOUT=4`` in the environment: OpenBLAS's threads then sleep
    immediately.

    The setting also holds for products of SciPy, and of other packages whose BLAS threadpoolctl finds.

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

    It is on by default (``RANVIER_WINOGRAD=0`` in the environment turns it off). It is used for the shapes
    for which it is faster than the direct sum: it needs 16 products instead of 36. Its rounding errors differ
    from those of the direct sum, but are no larger. If one output of a tile of 2 x 2 reads an infinity or NaN
    in x, all four outputs of the tile may get it.

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
    """True if convolutions may be computed by Winograd's algorithm."""
    return bool(_core.get_winograd())


def set_float32_matmul_precision(precision: str) -> None:
    """Sets how products of float32 are computed, for every thread: "highest", "high" or "medium".

    "highest" is the default: factors and sums are float32. With "medium" the factors are rounded to bfloat16
    (8 bits, to nearest, ties to even; subnormal numbers become 0), and sums stay float32. This takes half the
    time or less, and the error of an element is at most some 2^-7 times the sum of its absolute products.
    With "high" each factor is the sum of two such numbers, and the error is at most 2^-15 times that sum,
    mostly 2^-19. If the processor, at the level in use, is not faster with bfloat16 (:func:`config` shows
    ``bfloat16``; "high" needs AMX), both settings mean "highest".

    The setting holds for ``matmul``, linear layers, attention, the inputs of recurrent layers and
    convolutions, and their gradients. Small products and products with few columns or channels stay float32.
    The number of rows never decides this, so that a row has the same bits in any batch. ``docs/accuracy.md``
    says what the setting changes, and where it should not be used.

    Raises:
        ValueError: another precision.

    >>> import ranvier as rv
    >>> rv.set_float32_matmul_precision("medium")
    >>> rv.get_float32_matmul_precision()
    'medium'
    >>> rv.set_float32_matmul_precision("highest")
    """
    _core.set_precision(PRECISIONS.index(require_precision("set_float32_matmul_precision", precision)))


def get_float32_matmul_precision() -> str:
    """The value with which :func:`set_float32_matmul_precision` was last called.

    >>> import ranvier as rv
    >>> rv.get_float32_matmul_precision()
    'highest'
    """
    return PRECISIONS[_core.get_precision()]


@contextlib.contextmanager
def float32_matmul_precision(precision: str | None) -> Iterator[None]:
    """A block with another precision of products, on this thread: see :func:`set_float32_matmul_precision`.

    It holds for all results of the block, and for their gradients, wherever ``backward`` runs. None changes
    nothing.

    >>> import ranvier as rv
    >>> with rv.config.float32_matmul_precision("medium"):
    ...     y = rv.ones(64, 64) @ rv.ones(64, 64)
    >>> y[0, 0].item()
    64.0
    """
    if precision is not None:
        require_precision("float32_matmul_precision", precision)
    # It returns the setting of this thread before: a place in PRECISIONS, or -1, with which the setting of
    # the process holds.
    before = _core.set_own_precision(-1)
    inside = before if precision is None else PRECISIONS.index(precision)
    _core.set_own_precision(inside)
    try:
        yield
    finally:
        _core.set_own_precision(before)


def require_precision(name: str, precision: object) -> str:
    """Returns the precision if it is a valid one, else raises ValueError. name: the caller, for the error."""
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise ValueError(f"[{name}] got {precision!r}; expected 'highest', 'high' or 'medium'")
    return precision


def set_consistent(enabled: bool) -> None:
    """Sets whether results have the same bits on every CPU with fused multiply-add.

    It is off by default. Each CPU then uses its widest vectors, and sums have as many partial sums as a
    vector has elements. If it is on, CPUs of x86-64 use the code of level x86-64-v3, and CPUs of aarch64 code
    with vectors of the same length. ``docs/design/isa_levels.md`` says what this costs. The setting holds for
    the process; while it is on, ``RANVIER_ISA`` has no effect. :func:`config` shows a digest of the
    arithmetic: two machines with the same digest give the same bits.

    Raises:
        TypeError: enabled is not a bool.
        RuntimeError: the CPU has no fused multiply-add (level x86-64-v2), or this build lacks the level.

    >>> import ranvier as rv
    >>> rv.set_consistent(True)
    >>> rv.get_consistent()
    True
    >>> rv.set_consistent(False)
    """
    if not isinstance(enabled, bool):
        raise TypeError(f"[set_consistent] got {enabled!r}; expected True or False")
    levels = _core.supported_isas()
    if not enabled:
        _core.set_isa(os.environ.get("RANVIER_ISA") or levels[0])
        return
    for level in CONSISTENT_LEVELS:
        if level in levels:
            _core.set_isa(level)
            return
    raise RuntimeError(
        f"[set_consistent] got the levels {', '.join(levels)}; expected a CPU with fused multiply-add and "
        f"{' or '.join(CONSISTENT_LEVELS)} in this build (pip install . -C cmake.define.RANVIER_LEVELS=all)"
    )


def get_consistent() -> bool:
    """True if results have the same bits on every CPU with fused multiply-add: see :func:`set_consistent`.

    >>> import ranvier as rv
    >>> rv.set_consistent(True)
    >>> rv.get_consistent()
    True
    >>> rv.set_consistent(False)
    """
    return _core.isa() in CONSISTENT_LEVELS


def memory_stats() -> dict[str, int]:
    """The counters of the allocator: ``allocations`` and ``cache_hits``, and in bytes ``bytes_in_use``,
    ``bytes_cached`` and ``peak_bytes_in_use``. Freed blocks stay in a cache and are used again.

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
    """A dict of settings and facts: the versions; the instruction-set level in use (isa), and the levels that
    both this CPU and this build have (isas); the threads; whether convolutions may use Winograd's algorithm;
    the precision of products; whether the processor, at this level, has products of bfloat16; the
    instructions that multiply bytes (int8); and a digest of the arithmetic, which is the same on machines
    whose results have the same bits.

    >>> import ranvier as rv
    >>> list(rv.config.config())[4:]
    ['isa', 'isas', 'threads', 'winograd', 'matmul_precision', 'bfloat16', 'int8', 'arithmetic']
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
        "matmul_precision": get_float32_matmul_precision(),
        "bfloat16": _core.has_bfloat16(),
        "int8": _BYTE_PRODUCTS[_core.byte_products()],
        "arithmetic": _arithmetic(),
    }


# the instructions of products of bytes, by the number that `_core.byte_products()` gives
_BYTE_PRODUCTS = ("words of 16 bits", "AVX512_VNNI", "AMX", "AMX, emulated")


def _arithmetic() -> str:
    """The first digits of a SHA-256 of sums, products, convolutions and functions of fixed numbers."""
    import hashlib  # It is imported here because it loads OpenSSL.

    digest = hashlib.sha256()
    for dtype in (np.float32, np.float64):
        # Numbers from -2.4 to 2.4 in an order that looks random, as a matrix and as images in channels-last.
        x = ((np.arange(6144) * 37 % 1009 - 504) / 211).astype(dtype).reshape(48, 128)
        images = x.reshape(2, 16, 16, 12).transpose(0, 3, 1, 2)
        filters = images[:, :, :3, :3]
        results = (
            _core.matmul(x[:3], x.T),
            _core.matmul(x, x.T),
            _core.conv2d(images, filters, padding=1),
            _core.sum(x, 1),
            _core.softmax(x),
            _core.exp(x),
            _core.tanh(x),
            _core.erf(x),
            _core.sin(x),
            _core.gelu(x),
            _core.log(_core.abs(x)),
            _core.pow(_core.abs(x), 1.7),
        )
        for result in results:
            digest.update(np.ascontiguousarray(result).tobytes())
    return digest.hexdigest()[:12]


def show_config() -> None:
    """Prints :func:`config`, for reports of problems.

    With ``RANVIER_ISA`` in the environment, a program uses another of the levels ``isas``.
    """
    for name, value in config().items():
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{name:18}{text}")
