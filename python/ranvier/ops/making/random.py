"""Random numbers: the global Generator, which :func:`manual_seed` seeds, and further Generators.

Floats (``randn``, initialisation, dropout, augmentation) are drawn by counter-based kernels, which get a new
key from the Generator for each call. Integers and permutations come from a NumPy generator that the Generator
holds. Within ``using(g)``, this thread draws both from ``g``.
"""

from __future__ import annotations

import contextlib
import os
from _thread import _local as local  # threading.local, without the import of threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import Lock, observers, refuse
from ranvier.ops.making import philox
from ranvier.ops.making.creation import _finish, _size, empty
from ranvier.tensors.batched import Level
from ranvier.tensors.data import array_of, shape_of
from ranvier.tensors.devices import CPU, contexts, device, is_meta
from ranvier.tensors.dtypes import default
from ranvier.tensors.errors import index, named, number, whole
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import DeviceLike, DtypeLike, ShapeLike, TensorLike

__all__ = ["rand", "rand_like", "randint", "randn", "randn_like", "randperm"]

_MASK = (1 << 64) - 1
_STATE_BYTES = 8192  # more than the longest state in JSON, that of the 624 words of a Mersenne twister
_lock = Lock()


class Generator:
    """A stream of random numbers, as `torch.Generator`: its seed and the number of draws.

    >>> import ranvier as rv
    >>> a, b = rv.Generator().manual_seed(3), rv.Generator().manual_seed(3)
    >>> a.next_key() == b.next_key(), a.initial_seed()
    (True, 3)
    """

    device = device("cpu")
    # The attributes that a compiled step guards (compile/guarding/library_guards.py): none, since kernels
    # read the state.
    step_state = ()
    only = ""  # if not empty: the text of the error for a draw from another generator in a block of this one

    def __init__(self, device: Any = "cpu") -> None:
        self._numpy: np.random.Generator | None = None
        self._bits: Any = None  # the bit generator of _numpy, if the core can draw from it: see philox.py
        self._seeded = True
        # (seed, number of keys drawn), in memory that the kernels of a replay read, so that it draws new
        # keys.
        self._state = np.array([67280421310721, 0])  # PyTorch's default seed

    def manual_seed(self, seed: int) -> Generator:
        """Starts the stream of `seed`; returns self."""
        refuse("manual_seed", "call it before the step")
        with _lock:
            self._begin(seed)
        return self

    def _begin(self, seed: int) -> None:
        seed = int(number("manual_seed", "seed", seed, -(2.0**63), 2.0**64))
        self._state.view(np.uint64)[...] = seed & _MASK, 0  # set before other threads see _seeded
        self._numpy = None
        self._bits = None
        self._seeded = True

    def seed(self) -> int:
        """Starts a stream with a seed drawn from the system, and returns the seed."""
        self.manual_seed(_drawn_seed())
        return self.initial_seed()

    def initial_seed(self) -> int:
        """The seed in force: the one given to manual_seed, else one drawn from the system."""
        refuse("initial_seed", "call it before the step and pass what it gives")
        return self._in_force()

    def _in_force(self) -> int:
        """The seed; draws one from the system if the Generator has none yet."""
        if not self._seeded:
            with _lock:
                if not self._seeded:
                    self._begin(_drawn_seed())
        return int(self._state[0]) & _MASK

    def over(self, other: Generator) -> Generator:
        """The generator that a draw from another one gets while this one is in force."""
        return other

    def level_of_draws(self) -> Level | None:
        """The level of vmap whose slices draw different numbers; None outside of such a call."""
        return None

    def numpy(self) -> np.random.Generator:
        """NumPy's generator, for random integers and permutations."""
        if self._numpy is None:
            seed = self._in_force()
            with _lock:
                if self._numpy is None:
                    self._numpy = np.random.Generator(np.random.Philox(seed))
                    self._bits = philox.bits_of(self._numpy)
        return self._numpy

    def next_key(self) -> int:
        """A new key for a counter-based kernel: a function of the seed and of the number of draws before."""
        return int(self.fresh_key()[0]) & _MASK

    def fresh_key(self) -> np.ndarray[Any, Any]:
        """A new key as the buffer that a random kernel reads: see :func:`fresh_key`."""
        if not self._seeded:
            self._in_force()
        return _core.next_key(self._state)

    def coming_keys(self, count: int) -> list[int]:
        """The keys that the next calls of `next_key` return, if nothing else draws from the stream.
        train/batch_source.py makes the orders of coming epochs of them."""
        self._in_force()
        state = self._state.copy()
        return [int(_core.next_key(state)[0]) & _MASK for _ in range(count)]

    def state_to_draw(self) -> np.ndarray[Any, Any]:
        """The memory of the state, for a kernel that takes the next key from it."""
        if not self._seeded:
            self._in_force()
        return self._state

    @property
    def state(self) -> np.ndarray[Any, Any]:
        """The memory of the stream's state, which kernels change."""
        return self._state

    def get_state(self) -> Tensor:
        """The state as a Tensor of bytes, which files can hold. All states have as many: == compares two."""
        import json

        text = json.dumps(self.plain_state()).ljust(_STATE_BYTES)  # JSON allows spaces at the end
        return wrap(np.frombuffer(text.encode(), np.uint8).copy())

    def plain_state(self) -> dict[str, Any]:
        """The state as plain Python values, for checkpoints."""
        refuse("get_state", "call it outside the step")
        numbers = _plain(self.numpy().bit_generator.state)
        return {"seed": self._in_force(), "calls": int(self._state[1]), "generator": numbers}

    def set_state(self, state: Any) -> Generator:
        """Goes back to a state from get_state; returns self. Raises RuntimeError for other bytes."""
        if isinstance(state, Tensor):
            import json

            try:
                state = json.loads(state.numpy().tobytes())
            except (ValueError, RecursionError):
                raise RuntimeError(
                    f"[set_state] got {len(state)} bytes, which are not of get_state or get_rng_state here"
                ) from None
        self.manual_seed(state["seed"])
        self.numpy().bit_generator.state = _arrays(state["generator"])
        self._state[1] = int(state["calls"])
        return self


default_generator = Generator()
default_generator._seeded = False  # until the program seeds it, or the first number is drawn


class _Local(local):
    generator: Generator | None = None  # the generator of this thread's innermost `using` block


_local = _Local()


def current() -> Generator:
    """The Generator of this thread."""
    return _local.generator or default_generator


def using(generator: Generator) -> held:
    """A block in which this thread draws all random numbers from `generator`.

    A DataLoader makes each batch in such a block: its numbers depend neither on the time nor on the thread.
    """
    _refuse_other(generator)
    return held(current().over(generator))


class held:
    """As :func:`using`, for the generators of vmap, which take the place of others."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def __enter__(self) -> None:
        self._before = _local.generator
        _local.generator = self._generator

    def __exit__(self, *error: object) -> None:
        _local.generator = self._before


def _refuse_other(generator: Generator) -> None:
    """Raises RuntimeError if the generator in force allows no draw from another one (`Generator.only`)."""
    held = _local.generator
    if held is not None and held.only and not generator.only:
        raise RuntimeError(held.only)


def manual_seed(seed: int) -> Generator:
    """Seeds all random numbers of the library; returns their Generator.

    >>> import ranvier as rv
    >>> a = rv.rand(3, generator=rv.manual_seed(0))
    >>> rv.manual_seed(0) is rv.default_generator, a.tolist() == rv.rand(3).tolist()
    (True, True)
    """
    return current().manual_seed(seed)


def seed() -> int:
    """Seeds all random numbers with a number drawn from the system, and returns it.

    >>> import ranvier as rv
    >>> rv.seed() == rv.initial_seed()
    True
    """
    return current().seed()


def initial_seed() -> int:
    """The seed in force: the one given to manual_seed, else one drawn from the system."""
    return current().initial_seed()


def generator() -> np.random.Generator:
    """NumPy's generator, for random integers and permutations."""
    refuse("a draw of NumPy's generator", "pass them as an argument, or draw floats with rv.rand or rv.randn")
    return current().numpy()


def fresh_key() -> np.ndarray[Any, Any]:
    """The buffer (key, number of the call) that a random kernel reads; it depends on ``rv.manual_seed``.

    ``_core.dropout(x, p, key, out)``, ``_core.random_uniform(shape, dtype, low, high, key)`` and
    ``_core.random_normal(shape, dtype, mean, std, key)`` give the same values for the same buffer. A
    replay adds to the second number and so draws new ones.
    """
    return (_local.generator or default_generator).fresh_key()


def get_rng_state() -> Tensor:
    """The state of the random numbers as a Tensor of bytes, which files can hold.

    >>> import ranvier as rv
    >>> state = rv.get_rng_state(); a = rv.rand(2); rv.set_rng_state(state)
    >>> rv.equal(rv.rand(2), a), state.dtype
    (True, torch.uint8)
    """
    return current().get_state()


def set_rng_state(new_state: Any) -> None:
    """Goes back to a state from get_rng_state, or of a Generator. Raises RuntimeError for other bytes."""
    current().set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, *, device_type: str = "cpu") -> Iterator[None]:
    """After the block, or the decorated function, random numbers continue as if it had drawn none.

    devices and device_type, of GPUs, have no effect. enabled=False: neither has the block.

    >>> import ranvier as rv
    >>> a = rv.rand(1, generator=rv.manual_seed(0)).item(); _ = rv.manual_seed(0)
    >>> with rv.random.fork_rng():
    ...     b = rv.rand(1).item()
    >>> a == b == rv.rand(1).item()
    True
    """
    refuse("fork_rng", "use it around the step")
    state = current().plain_state() if enabled else None
    try:
        yield
    finally:
        if state is not None:
            set_rng_state(state)


def _drawn_seed() -> int:
    """63 bits of the system. No module is imported: a fork in another thread would leave its lock locked."""
    return int.from_bytes(os.urandom(8), "little") >> 1


def _plain(state: Any) -> Any:
    """The state of a NumPy generator with lists in place of arrays; `_arrays` is the inverse."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    if hasattr(state, "tolist"):
        return state.tolist()
    return state


def _arrays(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _arrays(value) for key, value in state.items()}
    if isinstance(state, list):
        return np.array(state, np.uint64)
    return state


def _random(name: str, kernel: str, about: str) -> Callable[..., Tensor]:
    def op(
        *size: Any,
        generator: Generator | None = None,
        dtype: DtypeLike | None = None,
        device: DeviceLike | None = None,
        requires_grad: bool = False,
        **settings: Any,
    ) -> Tensor:
        on_cpu = device is None and not contexts
        if not on_cpu and is_meta(device):  # no numbers are drawn
            return empty(*size, dtype=dtype, device=device, requires_grad=requires_grad, **settings)
        shape = _size(size, settings)
        kind = np.dtype(dtype or default.dtype)
        values = philox.numbers(kernel, shape, kind, 0.0, 1.0, key_of(name, generator))
        if on_cpu and not (requires_grad or settings):
            return wrap(values)
        return _finish(values, requires_grad, device, settings)

    return named(op, name, about)


_WHOSE = "float32 or float64, by dtype or the default; of a generator, if given."
rand = _random("rand", "random_uniform", f"Uniform numbers in [0, 1), {_WHOSE}")
randn = _random("randn", "random_normal", f"Standard normal numbers, {_WHOSE}")


def key_of(name: str, generator: Generator | None) -> Any:
    """The next key of the process, or of the generator."""
    if generator is None:
        return (_local.generator or default_generator).fresh_key()
    return _given(name, generator).fresh_key()


def state_of(name: str, generator: Generator | None) -> Any:
    """The state that the next key of the process, or of the generator, comes from."""
    own = current() if generator is None else _given(name, generator)
    return own.state_to_draw()


def _given(name: str, generator: Generator | None) -> Generator:
    if not isinstance(generator, Generator):
        raise TypeError(f"[{name}] got generator {generator!r}; expected a ranvier.Generator")
    _refuse_other(generator)
    return current().over(generator)


def _random_like(name: str, kernel: str) -> Callable[..., Tensor]:
    def op(
        input: TensorLike,
        *,
        generator: Generator | None = None,
        dtype: DtypeLike | None = None,
        device: DeviceLike | None = None,
        requires_grad: bool = False,
        **settings: Any,
    ) -> Tensor:
        if type(input) is Tensor:
            array = input._array
        else:
            array = array_of(name, input)
        kind = np.dtype(dtype or array.dtype)
        values = philox.numbers(kernel, array.shape, kind, 0.0, 1.0, key_of(name, generator))
        device = device or getattr(input, "device", CPU)
        if device is CPU and not (requires_grad or settings):
            return wrap(values)
        return _finish(values, requires_grad, device, settings)

    return named(op, name, f"As :func:`{name[:-5]}`, in the shape and dtype of x.")


rand_like = _random_like("rand_like", "random_uniform")
randn_like = _random_like("randn_like", "random_normal")


def _bits_of(name: str, drawn_from: Any) -> Any:
    """The bit generator in force, or of a given generator, if the core can draw from it; else None."""
    if observers:
        return None
    if drawn_from is None:
        own = _local.generator or default_generator
    else:
        own = _given(name, drawn_from)
    return own._bits or philox.bits_of(own.numpy())


def numpy_of(name: str, drawn_from: Any) -> np.random.Generator:
    """NumPy's generator in force, or of a given generator. Distributions draw from it, too."""
    if drawn_from is None:
        return generator()
    return _given(name, drawn_from).numpy()


def randint(
    low: Any = 0,
    high: Any = None,
    size: ShapeLike | None = None,
    *,
    generator: Generator | None = None,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
    **settings: Any,
) -> Tensor:
    """Whole numbers, low <= n < high, in int64: ``randint(10, (3,))`` or ``randint(5, 10, (3,))``.

    Raises ValueError unless low < high, and for numbers that the dtype cannot hold.
    """
    if isinstance(high, (tuple, list)):
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    low = whole("randint", "low", low)
    high = whole("randint", "high", high)
    philox.check_range("randint", low, high, dtype or philox.I64)
    if dtype is not None:
        low, high = philox.held(low, high, dtype)
    shape = shape_of((size,), "tensor")
    y = _core._next_integers(_bits_of("randint", generator), low, high, shape)
    if y is None:  # NumPy's generator makes them
        y = wrap(np.asanyarray(numpy_of("randint", generator).integers(low, high, shape)))
    if dtype is None:
        values = y._array
    else:
        values = y._array.astype(dtype, copy=False)
    return _finish(values, requires_grad, device, settings)


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    **settings: Any,
) -> Tensor:
    """The numbers 0 ... n - 1 in random order. Raises ValueError for n < 0."""
    n = index(n)
    philox.check_range("randperm", 0, n or 1, dtype or philox.I64)
    y = _core._next_permutation(_bits_of("randperm", generator), n)
    if y is None:  # NumPy's generator makes them
        y = wrap(np.asanyarray(numpy_of("randperm", generator).permutation(n)))
    if dtype is None:
        values = y._array
    else:
        values = y._array.astype(dtype, copy=False)
    return _finish(values, requires_grad=False, device=device, settings=settings)
