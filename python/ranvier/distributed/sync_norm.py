"""Batch norm with the statistics of all ranks: within a pass, the parts of a batch exchange numbers to be
summed.

A layer calls the function that `current()` returns, with its numbers, and gets their sum over the parts.
Without a Trainer, the batch of each rank is one part. A distributed Trainer may have several parts on a rank,
and ranks without samples: it runs each part on a thread (`Parts`) and sets the part's function (`meeting`).
"""

from __future__ import annotations

import contextlib
import threading
from _thread import _local as local  # threading.local, without the time that importing threading takes
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd import Function
from ranvier.distributed.job import is_initialized, world
from ranvier.distributed.ranks import World, agree, complete
from ranvier.observe import refuse
from ranvier.tensors.memory import Array

Add = Callable[[Array, Array], Array]  # rows of numbers and as many rows -> the sums of each pair
Join = Callable[[Array, Add], Array]  # the numbers of a part -> the sum over the parts of the batch
CALL = "SyncBatchNorm"
_TAG = 1  # the tag of messages here; those of `tree_sum` have 0


class _Local(local):
    joins: tuple[Join | None, ...] = ()  # the function that a Trainer has set, or () if it has not set any


_local = _Local()


@contextlib.contextmanager
def meeting(join: Join | None) -> Iterator[None]:
    """Within the block, the parts of this thread sum numbers by this function; None: there is one part."""
    before = _local.joins
    _local.joins = (join,)
    try:
        yield
    finally:
        _local.joins = before


def current() -> Join | None:
    """The function that sums numbers over the parts; None if this part is the only one."""
    if _local.joins:
        return _local.joins[0]
    if is_initialized() and world().size > 1:
        return _every_rank
    return None


def compare(about: str) -> None:
    """Compare a call between all ranks (`ranks.agree`), unless a Trainer has set the function."""
    if not _local.joins:
        agree(world(), CALL, about)


def _every_rank(values: Array, add: Add) -> Array:
    """The sum of the numbers of all ranks: the function without a Trainer."""
    here = world()
    return along_tree(of_ranks(here, here.size, values[None]), add)


def along_tree(rows: Array, add: Add) -> Array:
    """The sum of rows along a binary tree: neighbouring rows are added, then neighbouring sums, and so on.

    A last row without a neighbour goes to the next round unchanged.
    """
    while len(rows) > 1:
        pairs = len(rows) // 2 * 2
        rows = np.concatenate([add(rows[0:pairs:2], rows[1:pairs:2]), rows[pairs:]])
    return rows[0]


def of_ranks(here: World, ranks: int, rows: Array) -> Array:
    """The rows of the first `ranks` ranks, which all make this call with rows of the same shape."""
    refuse(f"{CALL} exchanges statistics", "call it outside the compiled step, or use Trainer")
    if ranks == 1:
        return rows
    all_rows = np.empty((ranks, *rows.shape), rows.dtype)
    if ranks == here.size:
        requests = [here.comm.Iallgather(np.ascontiguousarray(rows), all_rows)]
    else:
        all_rows[here.rank] = rows
        others = [other for other in range(ranks) if other != here.rank]
        requests = [here.comm.Irecv(all_rows[other], other, _TAG) for other in others]
        requests += [here.comm.Isend(all_rows[here.rank], other, _TAG) for other in others]
    complete(here, requests, CALL)
    return all_rows.reshape(-1, *rows.shape[1:])


class Parts:
    """Runs the parts of a rank as coroutines that meet at each SyncBatchNorm.

    Each part has a thread, but only one runs at a time: the first part until it waits at a meeting or ends,
    then the second part, and so on. When all wait, their numbers are summed with those of the other ranks,
    and they continue in the same order. While a part runs, the parameters' gradients and the buffers are its
    own.
    """

    def __init__(self, parameters: list[Any], buffers: list[Any]) -> None:
        self._parameters = parameters
        self._buffers = buffers

    def run(self, works: Sequence[Callable[[], None]], join: Callable[[Array], Array]) -> None:
        """Call the functions.

        join: exchanges the rows of this rank's parts for those of all parts of the batch.
        """
        before = [b._array.copy() for b in self._buffers]
        parts = [_Part(work, [None] * len(self._parameters), before) for work in works]
        try:
            while True:
                for part in parts:
                    self._resume(part)
                waiting = [part.asked for part in parts if part.asked is not None]
                if not waiting:
                    return
                if len({(values.shape, add) for values, add in waiting}) > 1 or len(waiting) < len(parts):
                    raise RuntimeError(
                        "[SyncBatchNorm] got parts of a batch that reach different layers; expected the same "
                        "SyncBatchNorm layers, in the same order, for all samples"
                    )
                rows = join(np.stack([values for values, _ in waiting]))
                sums = along_tree(rows, waiting[0][1])
                for part in parts:
                    part.sums = sums
        finally:
            for part in parts:
                part.end()
            for b, values in zip(self._buffers, before, strict=True):
                b._array[...] = values

    def _resume(self, part: _Part) -> None:
        """Run a part to its next meeting or its end, with its own gradients and buffers."""
        for p, gradient in zip(self._parameters, part.gradients, strict=True):
            p._grad = gradient
        for b, values in zip(self._buffers, part.values, strict=True):
            b._array[...] = values
        part.resume()
        part.gradients = [p._grad for p in self._parameters]
        part.values = [b._array.copy() for b in self._buffers]
        if part.error is not None:
            raise part.error


class _Ended(BaseException):
    """Is raised in a part that waits, to end it after another part has failed."""


class _Part:
    """One part: a function that runs on its own thread while `resume` is called.

    asked: (numbers, function that adds two rows of them) of the meeting at which the part waits; None after
    its end.
    gradients, values: the gradients of the parameters and the values of the buffers, while other parts run.
    """

    def __init__(self, work: Callable[[], None], gradients: list[Any], values: list[Array]) -> None:
        self._work = work
        self._ended = False
        # The thread of the part acquires _runs to run, and the caller of `resume` acquires _waits to run. At
        # most one of the two locks is free at a time.
        self._runs, self._waits = threading.Lock(), threading.Lock()
        self._runs.acquire()
        self._waits.acquire()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self.asked: tuple[Array, Add] | None = None
        self.sums: Any = None  # the sum of all parts
        self.error: BaseException | None = None
        self.gradients = gradients
        self.values = values
        self._thread.start()

    def resume(self) -> None:
        """Let the part run until its next meeting or its end."""
        self.asked = None
        self._runs.release()
        self._waits.acquire()

    def end(self) -> None:
        """End the thread; a part that waits raises _Ended."""
        if self._thread.is_alive():
            self._ended = True
            self._runs.release()
        self._thread.join()

    # --- on its own thread

    def _main(self) -> None:
        self._runs.acquire()
        try:
            if not self._ended:
                with meeting(self._meet):
                    self._work()
        except BaseException as error:
            self.error = error
        self._waits.release()

    def _meet(self, values: Array, add: Add) -> Any:
        """The Join of this part: gives its numbers, waits for the other parts, and returns the sum."""
        self.asked = values, add
        self._waits.release()
        self._runs.acquire()
        if self._ended:
            raise _Ended
        return self.sums


class SyncBatchNorm(Function):
    """y = (x - mean) rstd weight + bias, with mean and rstd = 1 / sqrt(var + eps) over all parts; x: (N, C,
    ...).

    forward sets `count` (the values of a channel), `mean` and `var`. With sums over all parts and
    xhat = (x - mean) rstd, as for batch norm:

        dx = weight rstd (dy - (sum dy + xhat sum(dy xhat)) / count)

    The gradients of weight and bias are those of this part alone.
    """

    def __init__(self, join: Join, eps: float) -> None:
        self.join = join
        self.eps = eps

    def forward(self, x: Array, weight: Array | None, bias: Array | None) -> Array:
        _core.batch_norm(x[:0], weight, bias)  # checks shapes and dtypes
        with np.errstate(all="ignore"):
            moments = self.join(_moments(x), _joined)
        self.count, self.mean, squares = _split(moments)
        if self.count == 1:
            raise ValueError(
                f"[batch_norm] got x of shape {x.shape} when training, and no other values on all ranks; "
                "expected more than 1 value per channel"
            )
        self.var = squares / max(self.count, 1.0)
        self.rstd = 1 / np.sqrt(self.var + self.eps)
        self.x = x
        self.weight = weight
        self.scale = self.rstd if weight is None else self.rstd * weight
        if bias is None:
            bias = np.zeros(len(self.scale))
        return _affine(x, self.mean, self.scale, bias)

    def backward(self, dy: Array) -> tuple[Array | None, Array | None, Array | None]:
        x = self.x
        weight = self.weight
        statistics = self.mean, self.rstd, False
        gradients: Any = _core.batch_norm_backward(dy, x, weight, *statistics, True, True, True)
        direct, dots, sums = gradients
        own_sums = np.concatenate([dots, sums]).astype(np.float64)
        dot, total = np.split(self.join(own_sums, np.add), 2)
        scale = -self.scale / max(self.count, 1.0)
        rest = _affine(x, self.mean, scale * dot * self.rstd, scale * total)
        _core.add(direct, rest, direct)
        needs_x, needs_weight, needs_bias = self.needs
        dx = direct if needs_x else None
        dweight = dots if needs_weight else None
        dbias = sums if needs_bias else None
        return dx, dweight, dbias


def _moments(x: Array) -> Array:
    """(1 + 2 C): the number of values of a channel, their means, and their sums of squared differences."""
    channels = x.shape[1]
    count = x.size // max(channels, 1)
    mean = squares = np.zeros(channels)
    if count == 1:
        mean = x.reshape(channels).astype(np.float64)
    elif x.size:
        _, mean, rstd = _core.batch_norm(x, training=True, eps=0.0)
        squares = count / (rstd * rstd)
    return np.concatenate([[count], mean, squares])


def _split(moments: Array) -> tuple[Any, Array, Array]:
    """Count, means and sums of squared differences of moments (..., 1 + 2 C)."""
    channels = moments.shape[-1] // 2
    return moments[..., 0], moments[..., 1 : 1 + channels], moments[..., 1 + channels :]


def _joined(a: Array, b: Array) -> Array:
    """The moments of the union of two sets, from those of each (Chan, Golub and LeVeque, 1979)."""
    of_a, mean_a, squares_a = _split(a)
    of_b, mean_b, squares_b = _split(b)
    of_a = of_a[..., None]
    of_b = of_b[..., None]
    count = of_a + of_b
    share = of_b / np.maximum(count, 1)
    apart = mean_b - mean_a
    squares = squares_a + squares_b + apart * apart * of_a * share
    return np.concatenate([count, mean_a + apart * share, squares], -1)


def _affine(x: Array, mean: Array, scale: Array, shift: Array) -> Array:
    """(x - mean) scale + shift in x's dtype, by the kernel of batch norm; mean, scale and shift are float64.

    The kernel gets the mean rounded to x's dtype; the rounding error is added to the shift.
    """
    near = mean.astype(x.dtype)
    shift = shift + (near - mean) * scale
    statistics = scale.astype(x.dtype), shift.astype(x.dtype), near, np.ones_like(near)
    y, _, _ = _core.batch_norm(x, *statistics, training=False, eps=0.0)
    return y
