"""PyTorch's random numbers: `Twister` is its generator, and `start` makes functions draw as in PyTorch.

`RANVIER_TORCH_RANDOM=1 python -m ranvier.torch program.py` switches it on: after torch.manual_seed(0),
torch.rand(3) gives the same numbers as PyTorch. It is not the default, because this library's own numbers are
drawn several times faster, and also in captured steps. docs/unchanged.md says which numbers still differ.

`start` replaces functions and methods of the core by those of this file: the kernels of draws, the mask of a
dropout, and the orders of samplers. Nothing is replaced before it is called, once, when a program starts.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np

import ranvier._core as _core
import ranvier.torch.functions.rejection as rejection
from ranvier import Generator, Tensor, data, multinomial
from ranvier.autograd import wrap
from ranvier.nn import MultiheadAttention, init
from ranvier.observe import refuse
from ranvier.ops.making import draws as rows, philox, random, uniform
from ranvier.ops.making.random import current
from ranvier.ops.neural.dropout import Dropout
from ranvier.settings import defined
from ranvier.tensors.memory import HALVES, Array
from ranvier.tensors.types import Shape

_WIDE = 2**28  # whole numbers of at least as large a range are made of words of 64 bits
Sizes: TypeAlias = Sequence[int]
Draw: TypeAlias = Callable[..., float]


class Twister:
    """The Mersenne Twister (Matsumoto and Nishimura, 1998), in place of NumPy's Generator; draws as PyTorch.

    >>> Twister(0).uniform(2, "float32")
    array([0.4962566, 0.7682218], dtype=float32)
    """

    apart = False  # True while a draw fills elements that are not adjacent in memory (`_in_memory_order`)
    short = False  # True while a draw fills elements of 16 bits (`start`)

    def __init__(self, seed: int) -> None:
        self._words = np.random.RandomState(seed & 0xFFFFFFFF)  # is seeded as PyTorch's generator
        self._kept: float | None = None  # the second normal number of a pair, which the next draw returns

    def words(self, n: int) -> Array:
        """n words of 32 bits."""
        return self._words.randint(0, 2**32, n, np.uint32)

    def pairs(self, n: int) -> Array:
        """n words of 64 bits, each of two words of 32 bits; the upper half is drawn first."""
        halves = self.words(2 * n).astype(np.uint64)
        return (halves[0::2] << np.uint64(32)) | halves[1::2]

    def uniform(self, n: int, dtype: str, low: float = 0.0, high: float = 1.0) -> Array:
        """n numbers in [low, high): of the lower 24 bits of a word for float32, 53 of two for float64."""
        if dtype == "float32":
            values = (self.words(n) & np.uint32(2**24 - 1)) * 2.0**-24
        else:
            values = (self.pairs(n) & np.uint64(2**53 - 1)) * 2.0**-53
        if (low, high) != (0.0, 1.0):
            least, most = np.array([low, high], dtype)
            values = values * float(most - least) + float(least)
        return values.astype(dtype)

    def normal(self, n: int, dtype: str, mean: float = 0.0, std: float = 1.0) -> Array:
        """n normal numbers by Box and Muller (1958).

        Fewer than 16, and those for elements that are not adjacent, are drawn in pairs in float64, others in
        blocks of 16. If n is no multiple of 16, the last 16 are drawn again as a block; for elements of 16
        bits the incomplete block was not drawn before.
        """
        if n < 16 or self.apart:
            return (self._singles(n) * std + mean).astype(dtype)
        in_full_blocks = n // 16 * 16
        drawn = n
        if self.short:
            drawn = in_full_blocks
        values = _normal_blocks(self.uniform(drawn, dtype)[:in_full_blocks])
        if in_full_blocks < n:
            last = _normal_blocks(self.uniform(16, dtype))
            values = np.append(values[: n - 16], last)
        if (mean, std) != (0.0, 1.0):
            return (values * float(std) + float(mean)).astype(dtype)
        return values

    def _singles(self, n: int) -> Array:
        """n standard normal numbers, drawn in pairs; a number that is left is kept for the next call."""
        before = []
        if self._kept is not None:
            before.append(self._kept)
        missing = max(n - len(before), 0)
        drawn = (missing + 1) // 2 * 2  # an even number
        turn, u = self.uniform(drawn, "float64").reshape(-1, 2).T
        radius = np.sqrt(-2.0 * np.log1p(-u))
        angle = 2.0 * math.pi * turn
        pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)
        values = np.concatenate([before, pairs])
        self._kept = None
        if len(values) > n:
            self._kept = float(values[n])
        return values[:n]

    @contextlib.contextmanager
    def one_by_one(self) -> Iterator[tuple[Callable[[], float], Callable[[], float]]]:
        """A block with two functions, which return the next number in [0, 1) (float64) and the next normal
        number.

        They are drawn ahead; after the block the state is that of the numbers that were taken.
        """
        before = self._words.get_state(legacy=False)
        taken = 0
        waiting: list[float] = []

        def uniform() -> float:
            nonlocal taken, waiting
            if not waiting:
                waiting = self.uniform(512, "float64").tolist()[::-1]  # 512 at a time, only for speed
            taken += 1
            return waiting.pop()

        def normal() -> float:
            value = self._kept
            self._kept = None
            if value is None:
                angle = 2.0 * math.pi * uniform()
                u = uniform()
                radius = math.sqrt(-2.0 * math.log1p(-u))
                value = radius * math.cos(angle)
                self._kept = radius * math.sin(angle)
            return value

        try:
            yield uniform, normal
        finally:
            self._words.set_state(before)
            self.words(2 * taken)  # a number of float64 takes two words

    def integers(
        self, low: int, high: int, size: Sizes | None = None, dtype: np.dtype[Any] | type | str | None = None
    ) -> Any:
        """Whole numbers, low <= n < high: remainders of words, of 64 bits for large ranges or dtypes.

        size None: one int.
        """
        span = int(high) - int(low)
        if size is None:
            n = 1
        else:
            n = math.prod(size)
        if dtype is None:
            is_wide = span >= _WIDE
        else:
            is_wide = np.dtype(dtype).itemsize == 8
        if is_wide:
            words = self.pairs(n)
        else:
            words = self.words(n).astype(np.uint64)
        if span < 2**64:
            words = words % np.uint64(span)
        values = (words + np.uint64(int(low) % 2**64)).astype(np.int64)
        if size is None:
            return int(values[0])
        return values.reshape(size)

    def permutation(self, n: int) -> Array:
        """0 to n - 1 in random order: each place is swapped with a random one that is not before it."""
        order = list(range(n))
        for i, word in enumerate(self.words(max(n - 1, 0)).tolist()):
            j = i + word % (n - i)
            order[i], order[j] = order[j], order[i]
        return np.array(order, np.int64)

    def random(self, size: Sizes = (), dtype: np.dtype[Any] | type | str = "float64") -> Array:
        """Numbers in [0, 1)."""
        return self.uniform(math.prod(size), np.dtype(dtype).name).reshape(size)

    def exponential(self, scale: float = 1.0, size: Sizes = ()) -> Array:
        """Numbers of density exp(-x / scale) / scale."""
        return -scale * np.log1p(-self.random(size))

    def standard_cauchy(self, size: Sizes = ()) -> Array:
        """Tangents of uniform angles."""
        return np.tan(math.pi * (self.random(size) - 0.5))

    def lognormal(self, mean: float = 0.0, sigma: float = 1.0, size: Sizes = ()) -> Array:
        """exp of normal numbers."""
        return np.exp(self._singles(math.prod(size)) * sigma + mean).reshape(size)

    def geometric(self, p: float, size: Sizes = ()) -> Array:
        """Numbers of trials up to the first success."""
        with np.errstate(divide="ignore"):
            return np.maximum(np.ceil(np.log(self.random(size)) / np.log1p(-p)), 1)

    def standard_gamma(self, shape: Array | float, size: Sizes | None = None) -> Array:
        """Draws of Gamma(shape, 1)."""
        return self._draw_each(rejection.gamma, size, rejection.gamma_parameters(np.asarray(shape)))

    def log_gamma(self, shape: Array) -> Array:
        """Logarithms of draws of Gamma(shape, 1), which may underflow."""
        return self._draw_each(rejection.log_gamma, None, rejection.gamma_parameters(shape))

    def poisson(self, lam: Array | float = 1.0, size: Sizes | None = None) -> Array:
        """Numbers of Poisson's distribution."""
        return self._draw_each(rejection.poisson, size, [np.asarray(lam)])

    def binomial(self, n: Array | int, p: Array | float, size: Sizes | None = None) -> Array:
        """Numbers of successes of n trials."""
        return self._draw_each(rejection.binomial, size, [np.asarray(n), np.asarray(p)])

    def _draw_each(self, draw: Draw, size: Sizes | None, parameters: Sequence[Array]) -> Array:
        """draw(uniform, normal, *parameters) for each element of the parameters, broadcast to size."""
        if size is None:
            size = ()
        shape = np.broadcast_shapes(*[x.shape for x in parameters], tuple(size))
        columns = [np.broadcast_to(x, shape).ravel().tolist() for x in parameters]
        with self.one_by_one() as (uniform, normal):
            values = [draw(uniform, normal, *row) for row in zip(*columns, strict=True)]
        return np.array(values, np.float64).reshape(shape)

    def __getattr__(self, name: str) -> Any:  # other distributions: NumPy's, drawn from the same words
        return getattr(np.random.Generator(self._words._bit_generator), name)

    @property
    def bit_generator(self) -> Twister:
        """The object that has the state."""
        return self

    @property
    def state(self) -> dict[str, Any]:
        """The state for `Generator.get_state`, which reads it here and sets it."""
        return {"words": self._words.get_state(legacy=False), "kept": self._kept}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._words.set_state(state["words"])
        self._kept = state["kept"]


def _normal_blocks(u: Array) -> Array:
    """Normal numbers made of uniform ones, in blocks of 16: 8 give the radius, 8 the angle."""
    near, turn = u.reshape(-1, 2, 8).swapaxes(0, 1)
    radius = np.sqrt(-2 * np.log(1 - near))
    angle = (2 * math.pi * turn).astype(u.dtype)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)


def _twister(generator: Generator) -> Any:
    """In place of Generator.numpy."""
    if generator._numpy is None:
        generator._numpy = Twister(generator._in_force())  # type: ignore[assignment]
    return generator._numpy


_plain_truncated = init.truncated


def _truncated(tensor: Tensor, mean: float, std: float, a: float, b: float, key: Any) -> Array:
    """Replaces `nn.init.truncated`: normal numbers between a and b, in the shape and dtype of a tensor.

    Normal numbers outside [a, b] are rejected (von Neumann, 1951); if that would reject most, uniform ones
    are drawn, and accepted by the density. Each round draws all n anew.
    """
    n = tensor.numel()
    dtype: Any = tensor.dtype
    share = 0.0  # of normal numbers, those that lie between a and b
    if std:
        scale = std * math.sqrt(2)
        share = (math.erf((b - mean) / scale) - math.erf((a - mean) / scale)) / 2
    draws_normal = share > 0.3  # as in PyTorch, else the numbers differ
    draws_uniform = 0 < std < math.inf and b - a < math.inf
    if not draws_normal and not draws_uniform:  # what PyTorch refuses
        return _plain_truncated(tensor, mean, std, a, b, key)
    low, high = np.array([a, b]).astype(dtype)
    log_peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2  # of the density between a and b
    values = np.empty(n, dtype)
    waiting = np.ones(n, bool)
    while waiting.any():
        if draws_normal:
            drawn = philox.numbers("random_normal", (n,), dtype, mean, std, key)
            accepted = (low <= drawn) & (drawn <= high)
        else:
            drawn = philox.numbers("random_uniform", (n,), dtype, a, b, key)
            limit = wrap(drawn).sub(mean).div(std).pow(2).mul(-0.5).sub(log_peak)
            u = wrap(philox.numbers("random_uniform", (n,), dtype, 0.0, 1.0, key))
            accepted = (u.log() <= limit).numpy()
        values = np.where(waiting, drawn, values)
        waiting &= ~accepted
    return values.reshape(tensor.shape)


def _slopes(x: Tensor) -> Tensor:
    """Replaces `uniform.slopes`, those of rrelu: PyTorch draws none for elements that are positive."""
    values = np.zeros(x.shape)
    below = x._read("rrelu") <= 0
    values[below] = random.generator().random((int(below.sum()),))
    return wrap(values)


def _memory_axes(x: Array) -> list[int]:
    """The axes of x, those with the longest strides first."""

    def negative_stride(axis: int) -> int:
        return -x.strides[axis]

    return sorted(range(x.ndim), key=negative_stride)


def _drawing_axes(x: Array) -> list[int]:
    """The axes of x in PyTorch's order of drawing: that of its memory (images are stored differently)."""
    axes = _memory_axes(x)
    if x.ndim != 4 and x.transpose(axes).flags.c_contiguous:
        return axes
    return list(range(x.ndim))


def _transposed(attend: Callable[..., Any]) -> Callable[..., Any]:
    """MultiheadAttention.forward with results in PyTorch's order in memory, in which a dropout draws."""

    def forward(layer: MultiheadAttention, *args: Any, **settings: Any) -> Any:
        y, weights = attend(layer, *args, **settings)
        if layer.training and layer.batch_first and y.ndim == 3:
            y = y.transpose(0, 1).contiguous().transpose(0, 1)
        return y, weights

    return forward


class _Key(np.ndarray[Any, Any]):
    """The key of a draw, as this library's kernels take it, with the generator of PyTorch's numbers."""

    generator: Generator
    mask: Array | None = None  # for a dropout: which elements are not set to 0, for its gradient
    by_memory = False  # True if the mask is drawn in the order of the input's memory


def _in_memory_order(fill: Callable[..., Any]) -> Callable[..., Any]:
    """Makes `draws._filled` draw in the order of a tensor's memory; `Twister.apart` is set for gaps."""

    def fill_in_memory_order(
        name: str, x: Tensor, generator: Generator | None, draw: Callable[[Shape], Any], *parameters: Any
    ) -> Any:
        array = x._array
        if parameters or array.flags.c_contiguous:
            return fill(name, x, generator, draw, *parameters)
        is_apart = True
        axes = _memory_axes(array)
        if x.ndim == 4:  # images: in logical order, and without gaps if they are stored channels last
            axes = [0, 1, 2, 3]
            is_apart = not array.transpose(0, 2, 3, 1).flags.c_contiguous

        def draw_in_memory_order(shape: Shape) -> Array:
            Twister.apart = is_apart
            try:
                values = np.asarray(draw(tuple(shape[i] for i in axes)))
            finally:
                Twister.apart = False
            return values.transpose(np.argsort(axes))

        return fill(name, x, generator, draw_in_memory_order)

    return fill_in_memory_order


def _refuse_capture() -> None:
    """Tell a captured step that it cannot repeat a draw of this file."""
    refuse("a draw of PyTorch's random numbers", "leave RANVIER_TORCH_RANDOM unset")


def start() -> None:
    """All Generators, loaders and samplers draw PyTorch's numbers from now on.

    The functions within have the names and parameters of those that they replace.
    """
    plain_fresh_key = Generator.fresh_key
    plain_dropout = _core.dropout
    plain_forward = Dropout.forward
    plain_numbers = philox.numbers

    def fresh_key(generator: Generator) -> _Key:
        key = plain_fresh_key(generator).view(_Key)
        key.generator = generator
        return key

    def draw_by_twister(kernel: Callable[..., Array], method: str) -> Callable[..., Array]:
        """A kernel of the core that draws with the method of `Twister`, where the key is a `_Key`."""

        def draw(shape: Shape, dtype: str, a: float, b: float, key: Any) -> Array:
            if type(key) is not _Key:
                return kernel(shape, dtype, a, b, key)
            kernel((0,), dtype, a, b, key)  # checks the arguments
            _refuse_capture()
            numbers = getattr(key.generator.numpy(), method)(math.prod(shape), dtype, a, b)
            return numbers.reshape(shape)

        return draw

    def dropout(x: Array, p: float, key: Array, out: Array | None = None) -> Array:
        if type(key) is not _Key:
            return plain_dropout(x, p, key, out)
        nothing = x
        if x.ndim:
            nothing = x[:0]
        plain_dropout(nothing, p, key, None)  # checks the arguments
        _refuse_capture()
        if key.mask is None:  # else it is a gradient, or one of a gradient
            key.mask = _draw_mask(x, p, key)
        scale = 0.0
        if p < 1:
            scale = 1 / (1 - p)
        y = np.where(key.mask, x * x.dtype.type(scale), x.dtype.type(0))
        if out is None:
            return y
        out[...] = y
        return out

    def forward(node: Dropout, x: Array, out: Array | None = None) -> Any:
        node.key.by_memory = True  # type: ignore[attr-defined]
        return plain_forward(node, x, out)

    def numbers(kernel: str, shape: Shape, dtype: Any, *rest: Any) -> Array:
        Twister.short = dtype in HALVES
        try:
            return plain_numbers(kernel, shape, dtype, *rest)
        finally:
            Twister.short = False

    philox.numbers = numbers  # type: ignore[assignment]
    _core.random_uniform = draw_by_twister(_core.random_uniform, "uniform")
    _core.random_normal = draw_by_twister(_core.random_normal, "normal")
    _core.dropout = dropout
    Dropout.forward = forward  # type: ignore[method-assign, assignment]
    rows._drawn_by_core = rows.drawn_by_key  # else the core draws without the functions replaced above
    rows._filled = _in_memory_order(rows._filled)
    Generator.fresh_key = fresh_key  # type: ignore[method-assign, assignment]
    Generator.numpy = _twister  # type: ignore[method-assign, assignment]
    MultiheadAttention.forward = _transposed(MultiheadAttention.forward)
    uniform.wide = np.float64  # the dtype in which `ops/making/uniform.py` draws
    uniform.slopes = _slopes
    init.truncated = _truncated
    _start_orders()
    defined()  # compiled steps are recorded anew, since functions that they may call have changed


def _draw_mask(x: Array, p: float, key: _Key) -> Array:
    """Which elements of x a dropout does not set to 0, drawn in PyTorch's order."""
    axes = list(range(x.ndim))
    if key.by_memory:
        axes = _drawing_axes(x)
    if p == 1:
        draws = np.ones(x.shape)
    else:
        draws = key.generator.numpy().random([x.shape[i] for i in axes])
    return draws.transpose(np.argsort(axes)) < 1 - p


# --- loaders and samplers
def _base_seed(loader: Any) -> int:
    """In place of DataLoader._draw: the number that PyTorch's loaders draw at each pass.

    A loader whose workers persist draws it once, and keeps it as `_seed`.
    """
    seed = None
    if loader.persistent_workers:
        seed = getattr(loader, "_seed", None)
    if seed is None:
        seed = _numpy_generator(loader.generator).integers(0, 2**63)
        loader._seed = seed
    return seed


def _numpy_generator(generator: Generator | None) -> Any:
    """The `Twister` of a Generator, or of the default one."""
    if generator is None:
        generator = current()
    return generator.numpy()


def _random_order(sampler: data.RandomSampler) -> Iterator[int]:
    """In place of RandomSampler.__iter__."""
    n = len(sampler.data_source)
    count = sampler.num_samples
    draws = _numpy_generator(sampler.generator)
    if sampler.generator is None:
        draws = Twister(draws.integers(0, 2**63))
    if sampler.replacement:
        yield from draws.integers(0, n, (count,)).tolist()
        return
    for _ in range(count // n):
        yield from draws.permutation(n).tolist()
    yield from draws.permutation(n).tolist()[: count % n]


def _subset_order(sampler: data.SubsetRandomSampler) -> Iterator[Any]:
    """In place of SubsetRandomSampler.__iter__."""
    for i in _numpy_generator(sampler.generator).permutation(len(sampler.indices)).tolist():
        yield sampler.indices[i]


def _weighted_order(sampler: data.WeightedRandomSampler) -> Iterator[int]:
    """In place of WeightedRandomSampler.__iter__."""
    rows = multinomial(sampler.weights, sampler.num_samples, sampler.replacement, generator=sampler.generator)
    yield from rows.tolist()


def _seeded_permutation(n: int, seed: int) -> Array:
    """In place of `permutation` in the module of DistributedSampler."""
    return Twister(seed).permutation(n)


def _start_orders() -> None:
    """Makes loaders and samplers draw from this generator, as in PyTorch."""
    data.DataLoader._keyed = False  # a pass draws from the generator, not by its key (`data/loader.py`)
    data.DataLoader._draw = _base_seed  # type: ignore[method-assign, assignment]
    data.RandomSampler.__iter__ = _random_order  # type: ignore[method-assign, assignment]
    data.SubsetRandomSampler.__iter__ = _subset_order  # type: ignore[method-assign, assignment]
    data.WeightedRandomSampler.__iter__ = _weighted_order  # type: ignore[method-assign, assignment]
    with suppress(ModuleNotFoundError):  # the folder `distributed` may have been deleted
        from ranvier.distributed import parallel

        vars(parallel)["permutation"] = _seeded_permutation
