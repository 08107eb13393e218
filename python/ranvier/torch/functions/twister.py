"""PyTorch's random numbers: `Twister` is its generator, and `start` makes functions draw as in PyTorch.

`RANVIER_TORCH_RANDOM=1 python -m ranvier.torch program.py` switches it on: after torch.manual_seed(0),
torch.rand(3) gives the same numbers as PyTorch. It is not the default, because this library's own numbers are
drawn several times faster, and also in captured steps. docs/unchanged.md says which numbers still differ.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

import ranvier._core as _core
import ranvier.torch.functions.rejection as rejection
from ranvier import Generator, data, multinomial
from ranvier.autograd import wrap
from ranvier.nn import MultiheadAttention, init
from ranvier.observe import refuse
from ranvier.ops.making import draws as rows, philox, random, uniform
from ranvier.ops.making.random import current
from ranvier.ops.neural.dropout import Dropout
from ranvier.settings import defined
from ranvier.tensors.memory import HALVES

_REFUSED = "a draw of PyTorch's random numbers", "leave RANVIER_TORCH_RANDOM unset"
_WIDE = 2**28  # whole numbers of at least as large a range are made of words of 64 bits


class Twister:
    """The Mersenne Twister (Matsumoto and Nishimura, 1998), in place of NumPy's Generator; draws as PyTorch.

    >>> Twister(0).uniform(2, "float32")
    array([0.4962566, 0.7682218], dtype=float32)
    """

    apart = False  # set while a draw fills elements that are not adjacent in memory
    short = False  # set while a draw fills elements of 16 bits

    def __init__(self, seed: int) -> None:
        self._words = np.random.RandomState(seed & 0xFFFFFFFF)  # is seeded as PyTorch's generator
        self._kept: float | None = None  # the second normal number of a pair, which the next draw returns

    def words(self, n: int) -> Any:
        """n words of 32 bits."""
        return self._words.randint(0, 2**32, n, np.uint32)

    def pairs(self, n: int) -> Any:
        """n words of 64 bits, each of two words of 32 bits; the upper half is drawn first."""
        halves = self.words(2 * n).astype(np.uint64)
        return (halves[0::2] << np.uint64(32)) | halves[1::2]

    def uniform(self, n: int, dtype: str, low: float = 0.0, high: float = 1.0) -> Any:
        """n numbers in [low, high): of the lower 24 bits of a word for float32, 53 of two for float64."""
        if dtype == "float32":
            values = (self.words(n) & np.uint32(2**24 - 1)) * 2.0**-24
        else:
            values = (self.pairs(n) & np.uint64(2**53 - 1)) * 2.0**-53
        if (low, high) != (0.0, 1.0):
            least, most = np.array([low, high], dtype)
            values = values * float(most - least) + float(least)
        return values.astype(dtype)

    def normal(self, n: int, dtype: str, mean: float = 0.0, std: float = 1.0) -> Any:
        """n normal numbers by Box and Muller (1958). Fewer than 16, and those for elements that are not
        adjacent, are drawn in pairs in float64, others in blocks of 16. If n is no multiple of 16, the last
        16 are drawn again as a block; for elements of 16 bits the incomplete block was not drawn before."""
        if n < 16 or self.apart:
            return (self._singles(n) * std + mean).astype(dtype)
        whole = n // 16 * 16
        values = _blocks(self.uniform(whole if self.short else n, dtype)[:whole])
        if whole < n:
            values = np.append(values[: n - 16], _blocks(self.uniform(16, dtype)))
        if (mean, std) != (0.0, 1.0):
            return (values * float(std) + float(mean)).astype(dtype)
        return values

    def _singles(self, n: int) -> Any:
        """n standard normal numbers, drawn in pairs; a number that is left is kept for the next call."""
        before = [] if self._kept is None else [self._kept]
        turn, u = self.uniform(max(n - len(before) + 1, 0) // 2 * 2, "float64").reshape(-1, 2).T
        radius = np.sqrt(-2.0 * np.log1p(-u))
        angle = 2.0 * math.pi * turn
        pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)
        values = np.concatenate([before, pairs])
        self._kept = float(values[n]) if len(values) > n else None
        return values[:n]

    @contextlib.contextmanager
    def one_by_one(self) -> Iterator[tuple[Callable[[], float], Callable[[], float]]]:
        """A block with two functions, which return the next number in [0, 1) (float64) and the next normal
        number. They are drawn ahead; after the block the state is that of the numbers that were taken."""
        before, taken, waiting = self._words.get_state(legacy=False), 0, list[float]()

        def uniform() -> float:
            nonlocal taken, waiting
            if not waiting:
                waiting = self.uniform(512, "float64").tolist()[::-1]
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
            self.words(2 * taken)

    def integers(self, low: int, high: int, size: Any = None, dtype: Any = None) -> Any:
        """Whole numbers, low <= n < high: remainders of words, of 64 bits for large ranges or dtypes."""
        span = int(high) - int(low)
        n = 1 if size is None else math.prod(size)
        if dtype is None:
            wide = span >= _WIDE
        else:
            wide = np.dtype(dtype).itemsize == 8
        words = self.pairs(n) if wide else self.words(n).astype(np.uint64)
        if span < 2**64:
            words = words % np.uint64(span)
        values = (words + np.uint64(int(low) % 2**64)).astype(np.int64)
        if size is None:
            return int(values[0])
        return values.reshape(size)

    def permutation(self, n: int) -> Any:
        """0 to n - 1 in random order: each place is swapped with a random one that is not before it."""
        order = list(range(n))
        for i, word in enumerate(self.words(max(n - 1, 0)).tolist()):
            j = i + word % (n - i)
            order[i], order[j] = order[j], order[i]
        return np.array(order, np.int64)

    def random(self, size: Any = (), dtype: Any = "float64") -> Any:
        """Numbers in [0, 1)."""
        return self.uniform(math.prod(size), np.dtype(dtype).name).reshape(size)

    def exponential(self, scale: float = 1.0, size: Any = ()) -> Any:
        """Numbers of density exp(-x / scale) / scale."""
        return -scale * np.log1p(-self.random(size))

    def standard_cauchy(self, size: Any = ()) -> Any:
        """Tangents of uniform angles."""
        return np.tan(math.pi * (self.random(size) - 0.5))

    def lognormal(self, mean: float = 0.0, sigma: float = 1.0, size: Any = ()) -> Any:
        """exp of normal numbers."""
        return np.exp(self._singles(math.prod(size)) * sigma + mean).reshape(size)

    def geometric(self, p: float, size: Any = ()) -> Any:
        """Numbers of trials up to the first success."""
        with np.errstate(divide="ignore"):
            return np.maximum(np.ceil(np.log(self.random(size)) / np.log1p(-p)), 1)

    def standard_gamma(self, shape: Any, size: Any = None) -> Any:
        """Draws of Gamma(shape, 1)."""
        return self._each(rejection.gamma, size, rejection.prepared(np.asarray(shape)))

    def log_gamma(self, shape: Any) -> Any:
        """Logarithms of draws of Gamma(shape, 1), which may underflow."""
        return self._each(rejection.log_gamma, None, rejection.prepared(shape))

    def poisson(self, lam: Any = 1.0, size: Any = None) -> Any:
        """Numbers of Poisson's distribution."""
        return self._each(rejection.poisson, size, [np.asarray(lam)])

    def binomial(self, n: Any, p: Any, size: Any = None) -> Any:
        """Numbers of successes of n trials."""
        return self._each(rejection.binomial, size, [np.asarray(n), np.asarray(p)])

    def _each(self, draw: Any, size: Any, of: Any) -> Any:
        """draw(uniform, normal, parameters) for each element."""
        arrays = np.broadcast_arrays(*of, np.empty(() if size is None else size))[: len(of)]
        with self.one_by_one() as streams:
            values = [draw(*streams, *row) for row in zip(*(x.ravel().tolist() for x in arrays), strict=True)]
        return np.array(values, np.float64).reshape(arrays[0].shape)

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


def _blocks(u: Any) -> Any:
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


def _truncated(tensor: Any, mean: float, std: float, a: float, b: float, key: Any) -> Any:
    """Replaces `nn.init.truncated`. Normal numbers outside [a, b] are rejected (von Neumann, 1951); if that
    would reject most, uniform ones are drawn, and accepted by the density. Each round draws all n anew."""
    n = tensor.numel()
    kind = tensor.dtype
    scale = std * math.sqrt(2)
    share = std and (math.erf((b - mean) / scale) - math.erf((a - mean) / scale)) / 2
    if not (share > 0.3 or 0 < std < math.inf > b - a):  # what PyTorch refuses
        return _plain_truncated(tensor, mean, std, a, b, key)
    low, high = np.array([a, b]).astype(kind)
    peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
    values = np.empty(n, kind)
    waiting = np.ones(n, bool)
    while waiting.any():
        if share > 0.3:
            drawn = philox.numbers("random_normal", (n,), kind, mean, std, key)
            accepted = (low <= drawn) & (drawn <= high)
        else:
            drawn = philox.numbers("random_uniform", (n,), kind, a, b, key)
            limit = wrap(drawn).sub(mean).div(std).pow(2).mul(-0.5).sub(peak)
            u = wrap(philox.numbers("random_uniform", (n,), kind, 0.0, 1.0, key))
            accepted = (u.log() <= limit).numpy()
        values = np.where(waiting, drawn, values)
        waiting &= ~accepted
    return values.reshape(tensor.shape)


def _slopes(x: Any) -> Any:
    """Replaces the slopes of rrelu: PyTorch draws numbers only for elements that are not positive."""
    values = np.zeros(x.shape)
    below = x._read("rrelu") <= 0
    values[below] = random.generator().random((int(below.sum()),))
    return wrap(values)


def _axes(x: Any) -> Any:
    """The axes of x in PyTorch's order of drawing: that of its memory (images are stored differently)."""
    axes = sorted(range(x.ndim), key=lambda i: -x.strides[i])
    if x.ndim != 4 and x.transpose(axes).flags.c_contiguous:
        return axes
    return range(x.ndim)


def _transposed(attend: Any) -> Any:
    """MultiheadAttention.forward with results in PyTorch's order in memory, in which a dropout draws."""

    def forward(layer: Any, *args: Any, **settings: Any) -> Any:
        y, weights = attend(layer, *args, **settings)
        if layer.training and layer.batch_first and y.ndim == 3:
            y = y.transpose(0, 1).contiguous().transpose(0, 1)
        return y, weights

    return forward


class _Key(np.ndarray[Any, Any]):
    """The key of a draw, as this library's kernels take it, with the generator of PyTorch's numbers."""

    generator: Generator
    kept: Any = None  # for a dropout: a mask of the elements that are kept, for its gradient
    by_memory = False  # True if the mask is drawn in the order of the input's memory


def _in_memory_order(fill: Any) -> Any:
    """Makes `fill` draw in the order of a tensor's memory; see `Twister.apart` for elements with gaps."""

    def filled(name: str, x: Any, generator: Any, draw: Any, *parameters: Any) -> Any:
        array = x._array
        if parameters or array.flags.c_contiguous:
            return fill(name, x, generator, draw, *parameters)
        if x.ndim != 4:
            axes = sorted(range(x.ndim), key=lambda i: -array.strides[i])
        else:
            axes = [*range(4)]

        def drawn(shape: Any) -> Any:
            Twister.apart = x.ndim != 4 or not array.transpose(0, 2, 3, 1).flags.c_contiguous
            try:
                return np.asarray(draw(tuple(shape[i] for i in axes))).transpose(np.argsort(axes))
            finally:
                Twister.apart = False

        return fill(name, x, generator, drawn)

    return filled


def start() -> None:
    """All Generators, loaders and samplers draw PyTorch's numbers from now on."""
    fresh = Generator.fresh_key

    def fresh_key(generator: Generator) -> Any:
        key = fresh(generator).view(_Key)
        key.generator = generator
        return key

    def drawn(kernel: Any, draw: str) -> Any:
        def call(shape: Any, dtype: str, a: float, b: float, key: Any) -> Any:
            if type(key) is not _Key:
                return kernel(shape, dtype, a, b, key)
            kernel((0,), dtype, a, b, key)  # checks the arguments
            refuse(*_REFUSED)
            return getattr(key.generator.numpy(), draw)(math.prod(shape), dtype, a, b).reshape(shape)

        return call

    def dropout(x: Any, p: float, key: Any, out: Any) -> Any:
        if type(key) is not _Key:
            return plain_dropout(x, p, key, out)
        plain_dropout(x[:0] if x.ndim else x, p, key, None)
        refuse(*_REFUSED)
        if key.kept is None:  # else it is a gradient, or one of a gradient
            axes = _axes(x) if key.by_memory else range(x.ndim)
            if p == 1:
                draws = np.ones(x.shape)
            else:
                draws = key.generator.numpy().random([x.shape[i] for i in axes])
            key.kept = draws.transpose(np.argsort(axes)) < 1 - p
        y = np.where(key.kept, x * x.dtype.type(1 / (1 - p) if p < 1 else 0), x.dtype.type(0))
        if out is None:
            return y
        out[...] = y
        return out

    def forward(node: Dropout, x: Any, out: Any = None) -> Any:
        node.key.by_memory = True  # type: ignore[attr-defined]
        return plain_forward(node, x, out)

    def numbers(kernel: str, shape: Any, dtype: Any, *rest: Any) -> Any:
        Twister.short = dtype in HALVES
        try:
            return plain_numbers(kernel, shape, dtype, *rest)
        finally:
            Twister.short = False

    plain_dropout = _core.dropout
    plain_forward = Dropout.forward
    plain_numbers = philox.numbers
    philox.numbers = numbers  # type: ignore[assignment]
    _core.random_uniform = drawn(_core.random_uniform, "uniform")
    _core.random_normal = drawn(_core.random_normal, "normal")
    _core.dropout, Dropout.forward = dropout, forward  # type: ignore[method-assign, assignment]
    rows._drawn_by_core = rows.drawn_by_key  # else the core draws without the functions replaced above
    rows._filled = _in_memory_order(rows._filled)
    Generator.fresh_key, Generator.numpy = fresh_key, _twister  # type: ignore[method-assign, assignment]
    MultiheadAttention.forward = _transposed(MultiheadAttention.forward)
    uniform.wide = np.float64
    uniform.slopes = _slopes
    init.truncated = _truncated
    _start_orders()
    defined()


# --- loaders and samplers
def _base_seed(loader: Any) -> int:
    """In place of DataLoader._draw: the number that PyTorch's loaders draw at each pass."""
    if loader.persistent_workers:
        seed = getattr(loader, "_seed", None)
    else:
        seed = None
    if seed is None:
        seed = loader._seed = _source(loader.generator).integers(0, 2**63)
    return seed


def _source(generator: Generator | None) -> Any:
    return (current() if generator is None else generator).numpy()


def _random_order(sampler: Any) -> Any:
    """In place of RandomSampler.__iter__."""
    n = len(sampler.data_source)
    count = sampler.num_samples
    given = sampler.generator
    draws = _source(sampler.generator)
    if given is None:
        draws = Twister(draws.integers(0, 2**63))
    if sampler.replacement:
        yield from draws.integers(0, n, (count,)).tolist()
        return
    for _ in range(count // n):
        yield from draws.permutation(n).tolist()
    yield from draws.permutation(n).tolist()[: count % n]


def _subset_order(sampler: Any) -> Any:
    """In place of SubsetRandomSampler.__iter__."""
    for i in _source(sampler.generator).permutation(len(sampler.indices)).tolist():
        yield sampler.indices[i]


def _weighted_order(sampler: Any) -> Any:
    """In place of WeightedRandomSampler.__iter__."""
    w = sampler.weights
    n = sampler.num_samples
    yield from multinomial(w, n, sampler.replacement, generator=sampler.generator).tolist()


def _start_orders() -> None:
    """Makes loaders and samplers draw from this generator, as in PyTorch."""
    data.DataLoader._keyed, data.DataLoader._draw = False, _base_seed  # type: ignore[method-assign, assignment]
    data.RandomSampler.__iter__ = _random_order  # type: ignore[method-assign]
    data.SubsetRandomSampler.__iter__ = _subset_order  # type: ignore[method-assign]
    data.WeightedRandomSampler.__iter__ = _weighted_order  # type: ignore[method-assign]
    with suppress(ModuleNotFoundError):  # the folder `distributed` may have been deleted
        from ranvier.distributed import parallel

        # the order of DistributedSampler
        vars(parallel).update(permutation=lambda n, seed: Twister(seed).permutation(n))
