"""Many calls of a compiled function in one call of the core: `step.run`, and the batches of a Trainer.

`Batches` says which samples of the arguments each call gets. `ManyCalls` is the part of `CompiledFunction`
that replays a program in the core on one batch after another, until a call has to be made in Python. So a run
has several parts, and `_together` joins their results into one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
from ranvier.compile.guarding.signature import Place, array_of, filled, flattened, parts_of, replaced
from ranvier.observe import may_replay, observers
from ranvier.tensors.tensor import Tensor, wrap

if TYPE_CHECKING:
    from ranvier.compile.program import Program
    from ranvier.tensors.memory import Array
    from ranvier.tensors.types import ArrayLike

_SHARE = 100  # a check may take 1/_SHARE of the time since the last check


class Batches:
    """`count` batches of `size` samples each, from number `first` on.

    `_core.run_batches` reads the attributes by these names, and sets `done`.

    Attributes:
        order: indices of the samples of all batches, one batch after another; None: entry i of axis 0 of each
            array is the argument of call i.
        entries: whether an array with one axis more than in a single call has an entry for each batch.
        done: how many batches the latest call has run, also if it raised an exception.
    """

    def __init__(
        self,
        order: np.ndarray[Any, np.dtype[np.intp]] | None,
        size: int,
        first: int,
        count: int,
        entries: bool = True,
    ) -> None:
        self.order = order
        self.size = size
        self.first = first
        self.count = count
        self.entries = entries
        self.done = 0

    def next_of(self, samples: Array | Tensor) -> Any:
        """The part of an array or Tensor that the call of the batch `first` gets."""
        if self.order is None:
            if isinstance(samples, Tensor):
                return samples[self.first]
            return samples[self.first, ...]
        return samples[self.order[self.first * self.size :][: self.size]]


class ManyCalls:
    """The part of CompiledFunction that makes several calls in one, for `run` and Trainer.

    CompiledFunction sets the attributes (`_cache`, `_latest`, `_policy` ...). The Trainer (train/step.py,
    train/run.py) and distributed/reduction.py call `run_batches`, `writes` and `check_soon`.
    """

    def run(self: Any, *args: Any, indices: ArrayLike | None = None, **kwargs: Any) -> Any:
        """Many calls in one: what ``step(x[0], y[0])``, ``step(x[1], y[1])`` ... do and return.

        With indices, (steps, batch) or a list of (batch,): ``step(x[indices[0]], y[indices[0]])`` ...

        Every array and plain Tensor among the arguments, in lists, tuples and dicts too, has the axis of
        steps or samples first; parameters, modules and plain values are the same in each call. Replays run in
        the core one after another, with the bits of the calls; a call that is recorded, compared or not
        captured runs as it does in a loop. Optimizer settings are those at the beginning of the run.

        Returns what a call returns, with a new axis of steps in front of each Tensor, without a tape. If the
        calls return anything but Tensors and None, or other shapes, a list with the result of each. An error
        in a step ends the run; the steps before it have been made.

        Raises:
            ValueError: no array, one without axes, other lengths, no steps, an index out of range (also < 0).
            TypeError: indices are not integers (steps, batch) or a list of (batch,).

        >>> import numpy as np, ranvier as rv
        >>> model = rv.nn.Linear(3, 1)
        >>> optimizer = rv.optim.SGD(model.parameters(), lr=0.1)
        >>> @rv.compile
        ... def step(x, y):
        ...     optimizer.zero_grad()
        ...     loss = rv.nn.functional.mse_loss(model(x), y)
        ...     loss.backward()
        ...     optimizer.step()
        ...     return loss
        >>> x, y = rv.randn(64, 3), rv.zeros(64, 1)
        >>> step.run(x, y, indices=np.random.default_rng(0).permutation(64).reshape(4, 16)).shape
        (4,)
        """
        args = self._policy.before_run(args)
        arrays: list[Any] = []  # each once; `replaced` is called for its visits, its result is not used
        replaced((args, kwargs), arrays.append)
        results = []
        for batches in _batches_of([*map(array_of, arrays)], indices):
            end = batches.count
            while batches.first < end:
                batches.count = end - batches.first
                batches.done = 0
                result = self.run_batches(args, batches, kwargs)
                count = batches.done
                if not count:  # the next call is recorded, compared or eager
                    one_args, one_kwargs = replaced((args, kwargs), batches.next_of)
                    result = self(*one_args, **one_kwargs)
                    batches.done = 1
                results.append((result, count))
                batches.first += batches.done
        return _together(results)

    def run_batches(
        self: Any, args: tuple[Any, ...], batches: Batches, kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replays one of the latest programs on several batches: what the calls return, along a new axis 0.

        An array among the arguments has the samples or entries of all batches. The run ends
        early (`batches.done`) after 50 ms, before a check, and after a batch with a number that is not
        finite. Returns None if the next call would not be a replay of one of the latest programs.
        """
        found = replayed([Call(self, args, kwargs or {})], batches)
        if found is None:
            return None
        return found[0]

    def _usable(self: Any, all_of_them: bool) -> list[Any]:
        """The programs that may make many calls in one: among all, or among the two latest."""
        if all_of_them:
            programs = self._cache.all()
        else:
            programs = (self._latest, self._before)
        return [program for program in programs if program is not None and program.may_repeat()]

    def _ran_many(self: Any, program: Program) -> None:
        """Notes that a program has replayed, so that the cache counts these replays for recordings."""
        self._cache.row = 0
        if program is not self._latest:
            self._ran(program)

    def writes(self: Any, arrays: Iterable[Any]) -> bool:
        """True if the program that ran last writes to one of these arrays. A draw of random numbers writes to
        the state of its stream."""
        program = self._latest
        return program is not None and program.core.overlaps([*arrays])

    def check_soon(self: Any) -> None:
        """Makes the next call a check, unless checks would then take more than 1 % of the time."""
        program = self._latest
        long_ago = time.perf_counter() - self._checked > _SHARE * self._check_took
        if program is not None and program.checks_left > 0 and self._verify is True and long_ago:
            program.grant(0)


class Call:
    """Calls of a compiled function, one for each batch, on the rows [begin, end) of the batch; end -1: all.

    distributed/reduction.py divides a batch into several of them."""

    def __init__(
        self,
        function: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None = None,
        begin: int = 0,
        end: int = -1,
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs or {}
        self.begin = begin
        self.end = end


def replayed(calls: list[Call], batches: Batches, between: _core.Between | None = None) -> Any:
    """Replays the programs of `calls`, one after another, for each batch.

    Returns the results of the last program, along a new axis 0, and the numbers of `between`, (batches, 2);
    None where nothing can be replayed. Only the last program may return something. between: a
    `_core.Between`, which acts before the last program of each batch. The run ends early as in `run_batches`.
    """
    if observers and not may_replay():
        return None
    functions = {id(call.function): call.function for call in calls}
    with ExitStack() as locks:
        for function in functions.values():
            locks.enter_context(function._lock)
        usable = {key: function._usable(between is not None) for key, function in functions.items()}
        chosen = [usable[id(call.function)] for call in calls]
        core_calls = []
        for call, programs in zip(calls, chosen, strict=True):
            cores = tuple([program.core for program in programs])
            end = batches.size if call.end < 0 else call.end
            core_calls.append((cores, call.args, call.kwargs, call.begin, end))
        found = _core.run_batches(tuple(core_calls), batches, between)
        if found is None:
            return None
        places, results, numbers = found
        ran = [programs[i] for programs, i in zip(chosen, places, strict=True)]
        for call, program in zip(calls, ran, strict=True):
            call.function._ran_many(program)
        return ran[-1].result(results), numbers


def _batches_of(arrays: list[Array], indices: ArrayLike | None) -> list[Batches]:
    """The steps of a run, as one `Batches` for consecutive steps of the same size.

    indices: None, integers (steps, batch), or a list of (batch,). Raises the errors of `run`.
    """
    if not arrays or any(a.ndim == 0 for a in arrays):
        if arrays:
            what = "an array without axes among"
        else:
            what = "no array among"
        raise ValueError(f"[run] got {what} the arguments; expected arrays with an axis of steps or samples")
    samples = len(arrays[0])
    if any(len(a) != samples for a in arrays):
        lengths = ", ".join(str(len(a)) for a in arrays)
        raise ValueError(f"[run] got arrays of {lengths} steps or samples; expected the same number in each")
    groups: list[Batches] = []
    if indices is None:
        groups.append(Batches(order=None, size=0, first=0, count=samples))
    for rows in _index_arrays(indices):
        if rows.size and not 0 <= rows.min() <= rows.max() < samples:
            wrong = rows.min() if rows.min() < 0 else rows.max()
            raise ValueError(f"[run] got the index {wrong}; expected indices of {samples} samples")
        order = np.ascontiguousarray(rows, np.intp).reshape(-1)
        groups.append(Batches(order, size=rows.shape[1], first=0, count=len(rows), entries=False))
    if not sum(group.count for group in groups):
        raise ValueError("[run] got no steps; expected at least one")
    return groups


def _index_arrays(indices: ArrayLike | None) -> list[Array]:
    """The indices of a run as arrays (steps, batch): one for consecutive steps of the same batch size."""
    if indices is None:
        return []
    if isinstance(indices, (list, tuple)):
        batches = [*map(array_of, indices)]
        _require_indices(batches, ndim=1)
        return [np.stack([*group]) for _, group in groupby(batches, len)]
    steps = [array_of(indices)]
    _require_indices(steps, ndim=2)
    return steps


def _require_indices(arrays: list[Array], ndim: int) -> None:
    if any(array.ndim != ndim or array.dtype.kind not in "iu" for array in arrays):
        raise TypeError("[run] got other indices; expected integers (steps, batch), or a list of (batch,)")


def _together(results: list[tuple[Any, int]]) -> Any:
    """The results of the parts of a run as one, along axis 0; if their forms differ, a list of all steps'
    results.

    results: (result, steps) of each part: its number of steps along axis 0; 0: one step, without that axis.
    """
    forms: list[Any] = []
    tensors: list[list[Tensor]] = []  # of each result
    arrays: list[list[Array]] = []  # the arrays of these, with an axis of steps in front
    shapes = set()
    for result, count in results:
        found: list[Tensor] = []
        forms.append(flattened(result, found))
        tensors.append(found)
        if count:
            with_steps = [t._array for t in found]
        else:
            with_steps = [t._array[None] for t in found]
        arrays.append(with_steps)
        shapes.add(tuple([(a.shape[1:], a.dtype) for a in with_steps]))
    layouts = [_layout(form) for form in forms]
    if len(shapes) == 1 and all(layout == layouts[0] for layout in layouts):
        return filled(forms[0], [wrap(np.concatenate(column)) for column in zip(*arrays, strict=True)])
    each: list[Any] = []
    for (result, count), form, found in zip(results, forms, tensors, strict=True):
        if not count:
            each.append(result)
        for i in range(count):
            each.append(filled(form, [t[i] for t in found]))
    return each


def _layout(form: object) -> Any:
    """A key that is equal for two forms (see `flattened`) with Tensors and None at the same places."""
    items = parts_of(form)
    if items is None:
        if form is None or type(form) is Place:
            return form
        return object()
    keys = [*form] if isinstance(form, dict) else None
    return type(form), keys, [_layout(item) for item in items]
