"""L-BFGS, and its line search for the strong Wolfe conditions.

The search first brackets good step lengths (`_bracket`), then shrinks the interval: each new step length is
the minimum of a cubic through both ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import enable_grad, no_grad
from ranvier.observe import refuse
from ranvier.optim.optimizer import Group, Optimizer, Params, settings_of
from ranvier.optim.optimizer_state import has_own, plain
from ranvier.tensors.data import as_array
from ranvier.tensors.errors import number, own_errors, require_function
from ranvier.tensors.memory import Array, in_dtype, narrow, widened
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.views import bump

# the usual constants of the strong Wolfe conditions; see `strong_wolfe`
C1 = 1e-4
C2 = 0.9


@dataclass(frozen=True, eq=False)
class Point:
    """A step length t, the loss f there, its gradient g and its slope along the direction, g . d."""

    t: float
    f: float
    g: Any
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], Point],
    start: Point,
    t: float,
    size: float,
    tolerance_change: float,
    max_evaluations: int,
    c1: float = C1,
    c2: float = C2,
) -> tuple[Point, int]:
    """A point with f <= f(0) + c1 t slope(0) and |slope| <= c2 |slope(0)|, or the best point found.

    Args:
        evaluate: gives the Point at a step length.
        start: the Point at 0; its slope is negative.
        t: the first step length to try.
        size: the largest magnitude in the direction; the search ends if the length of the interval times
            size is below tolerance_change.

    Returns: The point, and the number of evaluations.

    Source: Nocedal and Wright, "Numerical Optimization" (2006), algorithms 3.5 and 3.6, with the safeguards
    of minFunc (Schmidt), as in PyTorch.
    """
    bracket, count, done = _bracket(evaluate, start, t, max_evaluations, c1, c2)
    low, high = _ordered(bracket)
    stuck = False  # True if the last interpolation was close to an end of the interval
    while not done and count <= max_evaluations:  # Each pass makes one evaluation.
        if abs(high.t - low.t) * size < tolerance_change:
            break
        t, stuck = _inside(cubic_minimum(bracket[0], bracket[1]), bracket, stuck)
        new = evaluate(t)
        count += 1
        if new.f > start.f + c1 * t * start.slope or new.f >= low.f:
            bracket[bracket.index(high)] = new
            low, high = _ordered(bracket)
            continue
        done = abs(new.slope) <= -c2 * start.slope
        falls_towards_high = new.slope * (high.t - low.t) < 0
        other = high if done or falls_towards_high else low
        if bracket[0] is low:
            bracket = [new, other]
        else:
            bracket = [other, new]
        low = new
        high = other
    return low, count


def _bracket(
    evaluate: Callable[[float], Point], start: Point, t: float, limit: int, c1: float, c2: float
) -> tuple[list[Point], int, bool]:
    """(the two ends of an interval that contains a good point, number of evaluations, False); or if the
    search has met a good point, (this point twice, number of evaluations, True). limit: the most intervals
    that it tries."""
    before = start
    new = evaluate(t)
    count = 1
    for tries in range(limit):
        if new.f > start.f + c1 * new.t * start.slope or (tries > 1 and new.f >= before.f):
            return [before, new], count, False
        if abs(new.slope) <= -c2 * start.slope:
            return [new, new], count, True
        if new.slope >= 0:
            return [before, new], count, False
        bounds = new.t + 0.01 * (new.t - before.t), 10 * new.t
        following = evaluate(cubic_minimum(before, new, bounds))
        before = new
        new = following
        count += 1
    return [start, new], count, False


def _ordered(bracket: list[Point]) -> tuple[Point, Point]:
    first, second = bracket
    if first.f <= second.f:
        return (first, second)
    return (second, first)


def _inside(t: float, bracket: list[Point], stuck: bool) -> tuple[float, bool]:
    """(t, stuck): t, moved to a tenth of the interval from an end if it is outside, or if it is close to an
    end for the second time. stuck: whether t was close to an end the last time; returned for the next
    time."""
    left, right = sorted(point.t for point in bracket)
    margin = 0.1 * (right - left)
    if min(right - t, t - left) >= margin:
        return t, False
    if not (stuck or t >= right or t <= left):
        return t, True
    if abs(t - right) < abs(t - left):
        return right - margin, False
    return left + margin, False


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """The step length at the minimum of the cubic through both points, with their slopes; clipped to bounds.

    Source: Nocedal and Wright (2006), equation 3.59.
    """
    low, high = bounds or (min(a.t, b.t), max(a.t, b.t))
    if a.t == b.t:
        return low
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    if a.t > b.t:
        a, b = b, a
    d2 = math.sqrt(square)
    divisor = b.slope - a.slope + 2 * d2
    if divisor == 0:
        return (low + high) / 2
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / divisor)
    return min(max(t, low), high)


class LBFGS(Optimizer):
    """Limited-memory BFGS: quasi-Newton steps from the last changes of the gradient. For full batches.

    Each ``step(closure)`` makes up to max_iter iterations d = -H g, p += t d. H approximates the inverse
    Hessian; the two-loop recursion applies it, from the last history_size steps s and gradient changes y. The
    closure clears the gradients, computes the loss, calls backward and returns the loss; it is called several
    times.

    Args:
        lr: the step length t; with a line search, the first step length that it tries.
        max_eval: the most calls of the closure in one step; 1.25 max_iter if not given.
        tolerance_grad: a step ends when no gradient is larger than this.
        tolerance_change: a step also ends when neither loss nor parameters change by more than this.
        line_search_fn: None, or "strong_wolfe".

    All parameters are in one group and have one dtype; for half floats, directions and gradients are float32.
    The memory is (2 history_size + 4) times the memory of the parameters. Raises ValueError for settings out
    of range, several groups, or a step without closure; TypeError for mixed dtypes.
    Sources: Liu and Nocedal, "On the limited memory BFGS method" (1989); Nocedal and Wright, "Numerical
    Optimization" (2006), algorithm 7.4; iterations and stopping as in minFunc (Schmidt) and PyTorch.

    >>> import ranvier as rv
    >>> p = rv.tensor([3.0, -1.0], requires_grad=True)
    >>> optimizer = rv.optim.LBFGS([p], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((p - 1) ** 4).sum()
    ...     loss.backward()
    ...     return loss
    >>> loss = optimizer.step(closure)
    >>> round(loss.item(), 3), closure().item() < 1e-4
    (32.0, True)
    """

    _name = "lbfgs"

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        max_iter = self._count("max_iter", max_iter)
        if max_eval is None:
            max_eval = max_iter * 5 // 4
        else:
            max_eval = self._count("max_eval", max_eval)
        history_size = self._count("history_size", history_size)
        super().__init__(params, settings_of(locals()))

    def _count(self, key: str, value: float) -> int:
        """The setting `key`, a number of at least 1, rounded up. inf means no limit."""
        return math.ceil(min(number(self._name, key, value, 1), 2**62))

    def _check(self, group: Group) -> None:
        if self.param_groups:
            raise ValueError("[lbfgs] got several groups; expected one")
        for key in ("lr", "tolerance_grad", "tolerance_change"):
            number(self._name, key, group[key], 0)
        for key in ("max_iter", "max_eval", "history_size"):
            number(self._name, key, group[key], 1)
        if group["line_search_fn"] is not None and str(group["line_search_fn"]) != "strong_wolfe":
            raise ValueError(
                f"[lbfgs] got line_search_fn '{group['line_search_fn']}'; expected None or 'strong_wolfe'"
            )
        if len({p._array.dtype for p in group["params"]}) > 1:
            raise TypeError("[lbfgs] got parameters of several dtypes; expected one")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Makes up to max_iter iterations. Returns the loss before the first of them."""
        if closure is None:
            raise ValueError("[lbfgs] got no closure; expected a function that computes loss and gradients")
        require_function("lbfgs", "closure", closure)
        refuse("LBFGS.step()", "it decides by values how often to evaluate: leave it eager")
        group = self.param_groups[0]
        state = self.state[group["params"][0]]
        loss = None
        n_iter = 0

        def evaluate() -> tuple[float, Array]:
            nonlocal loss
            with enable_grad():
                value = closure()
            if loss is None:
                loss = value
            state["func_evals"] = state.get("func_evals", 0) + 1
            return float(value), self._gradient()

        state.setdefault("n_iter", 0)
        f, g = evaluate()
        last = state["func_evals"] + group["max_eval"] - 1
        while n_iter < group["max_iter"] and not _largest(g) <= group["tolerance_grad"]:
            n_iter += 1
            state["n_iter"] += 1
            d = self._direction(state, g, group["history_size"])
            state.update(d=wrap(d), prev_flat_grad=wrap(g), prev_loss=f)
            first = state["n_iter"] == 1
            lr = plain(group["lr"])
            if first:
                t = min(1.0, 1.0 / _norm(g, 1.0)) * lr
            else:
                t = lr
            state["t"] = t
            slope = _dot(g, d)
            if slope > -group["tolerance_change"]:
                break
            if group["line_search_fn"] is not None:
                here = Point(0.0, f, g, slope)
                t, f, g = self._search(evaluate, here, t, d, last - state["func_evals"])
                state["t"] = t
            self._move(d, t)
            if group["line_search_fn"] is None and n_iter < group["max_iter"]:
                f, g = evaluate()  # After the last iteration nothing needs them.
            if state["func_evals"] >= last or abs(t) * _largest(d) <= group["tolerance_change"]:
                break
            if abs(f - state["prev_loss"]) < group["tolerance_change"]:
                break
        return loss

    def _direction(self, state: dict[str, Any], g: Array, history_size: int) -> Array:
        """-H g. Before, the last step is added to the history if the curvature along it is positive."""
        d = _core.neg(g)
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=_scalar(1.0))
            return d
        before, gradient = (in_dtype(state[key]._array, g.dtype) for key in ("d", "prev_flat_grad"))
        s = _core.mul(before, np.asarray(state["t"], g.dtype))
        y = _core.sub(g, gradient)
        curvature = _dot(y, s)
        if curvature > 1e-10:
            pair = wrap(y), wrap(s), _scalar(1.0 / curvature)
            for key, value in zip(("old_dirs", "old_stps", "ro"), pair, strict=True):
                state[key] = [*state[key], value][-history_size:]
            state["H_diag"] = _scalar(curvature / _dot(y, y))
        ro = np.array([r.item() for r in state["ro"]], np.float64)
        changes = [in_dtype(x._array, d.dtype) for x in state["old_dirs"]]
        steps = [in_dtype(x._array, d.dtype) for x in state["old_stps"]]
        alphas = np.zeros(len(ro))
        _core.lbfgs_loop(d, changes, steps, ro, alphas, None, False)
        _core.lbfgs_loop(d, changes, steps, ro, alphas, np.array([state["H_diag"].item()]), True)
        return d

    def _search(
        self, evaluate: Callable[[], tuple[float, Array]], here: Point, t: float, d: Array, calls: int
    ) -> tuple[float, float, Array]:
        """Step length, loss and gradient of a good point along d. The parameters are the same afterwards.
        here: the Point at step length 0. calls: the number of evaluations that are left."""
        params = self.param_groups[0]["params"]
        before = [p._array.copy() for p in params]

        def point(t: float) -> Point:
            self._move(d, t)
            f, g = evaluate()
            for p, values in zip(params, before, strict=True):
                np.copyto(p._array, values)
                bump(p)
            return Point(t, f, g, _dot(g, d))

        best, _ = strong_wolfe(point, here, t, _largest(d), self.param_groups[0]["tolerance_change"], calls)
        return best.t, best.f, best.g

    def _gradient(self) -> Array:
        """All gradients as one vector; zeros for a parameter without a gradient."""
        gradients = []
        for p in self.param_groups[0]["params"]:
            if p._grad is None:
                gradients.append(np.zeros(p._array.size, p._array.dtype))
            else:
                gradients.append(p._grad._array.reshape(-1))
        wide = widened(gradients)  # The dtypes differ if the program has cast some parameters.
        return _core.concatenate([in_dtype(x, np.result_type(*wide)) for x in wide], 0)

    def _move(self, d: Array, t: float) -> None:
        params = self.param_groups[0]["params"]
        arrays = [p._array for p in params]
        ends = np.cumsum([x.size for x in arrays])
        steps = [d[end - x.size : end].reshape(x.shape) for x, end in zip(arrays, ends, strict=True)]
        if any(has_own(type(p)) for p in params):
            refuse("an optimizer calls add_ of a parameter", "the class decides what a step does")
            with no_grad():
                for p, step in zip(params, steps, strict=True):
                    p.add_(wrap(in_dtype(step, p._array.dtype)), alpha=float(t))
            return
        wide = [in_dtype(x, d.dtype) for x in arrays]
        _core.move_parameters(wide, steps, np.array([float(t)]), False)
        narrow(arrays, wide)
        for p in params:
            bump(p)

    def _load_state(self, p: Tensor, values: Mapping[str, Any]) -> dict[str, Any]:
        def flat(value: Any) -> Tensor:
            return wrap(widened([np.array(as_array(value), p._array.dtype)])[0])

        take: dict[str, Callable[[Any], Any]] = {
            **dict.fromkeys(("d", "prev_flat_grad"), flat),
            **dict.fromkeys(("old_dirs", "old_stps"), lambda value: [*map(flat, value)]),
            **dict.fromkeys(("func_evals", "n_iter"), int),
            **dict.fromkeys(("t", "prev_loss"), float),
            "H_diag": _scalar,
            "ro": lambda value: [*map(_scalar, value)],
        }
        return {key: take[key](v) for key, v in values.items() if key in take and v is not None}


def _scalar(x: Any) -> Tensor:
    return wrap(np.array(float(x)))


def _dot(a: Array, b: Array) -> float:
    return float(_core.flat_dot(a, b)[0])


def _norm(x: Array, p: float) -> float:
    return float(_core.gradient_norm([x], p)[0])


def _largest(x: Array) -> float:
    return _norm(x, math.inf)


own_errors(LBFGS, ["__init__"])
