"""L-BFGS, and its line search for the strong Wolfe conditions.

The search looks for a step length t at which the loss is low enough and its slope along the direction is flat
enough: the Wolfe conditions, in `strong_wolfe`. It first brackets good step lengths (`_bracket`), then
shrinks the interval: each new step length is the minimum of a cubic through both ends.

Directions and gradients are vectors of the elements of all parameters, one after another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import enable_grad, no_grad
from ranvier.observe import refuse
from ranvier.optim.optimizer import Group, Optimizer, Params, settings_of
from ranvier.optim.optimizer_state import State, adds_itself, plain
from ranvier.tensors.data import as_array
from ranvier.tensors.errors import number, own_errors, require_function
from ranvier.tensors.memory import Array, in_dtype, narrow, widened
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.views import bump

# the usual constants of the strong Wolfe conditions; see `strong_wolfe`
C1 = 1e-4
C2 = 0.9


# the loss at the present parameters, and its gradient, a vector
Evaluation: TypeAlias = tuple[float, Array]


class Point:
    """A step length t, the loss f there, its gradient g and its slope along the direction, g . d.

    g is what the caller's `evaluate` computes: the search passes it on.
    """

    def __init__(self, t: float, f: float, g: Any, slope: float) -> None:
        self.t = t
        self.f = f
        self.g = g
        self.slope = slope


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
    low, high = _by_loss(bracket)  # the ends with the lower and the higher loss
    stuck = False  # True if the last interpolation was close to an end of the interval
    while not done and count <= max_evaluations:  # Each pass makes one evaluation.
        if abs(high.t - low.t) * size < tolerance_change:
            break
        t, stuck = _inside(cubic_minimum(bracket[0], bracket[1]), bracket, stuck)
        new = evaluate(t)
        count += 1
        if new.f > start.f + c1 * t * start.slope or new.f >= low.f:
            bracket[bracket.index(high)] = new
            low, high = _by_loss(bracket)
            continue
        done = abs(new.slope) <= -c2 * start.slope
        falls_towards_high = new.slope * (high.t - low.t) < 0
        if done or falls_towards_high:
            other = high
        else:
            other = low
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
        # From the third try on, as in PyTorch; the book compares with the point before from the second on.
        if new.f > start.f + c1 * new.t * start.slope or (tries > 1 and new.f >= before.f):
            return [before, new], count, False
        if abs(new.slope) <= -c2 * start.slope:
            return [new, new], count, True
        if new.slope >= 0:
            return [before, new], count, False
        # The next step length is a little longer at least, ten times as long at most, as in minFunc.
        bounds = new.t + 0.01 * (new.t - before.t), 10 * new.t
        following = evaluate(cubic_minimum(before, new, bounds))
        before = new
        new = following
        count += 1
    return [start, new], count, False


def _by_loss(bracket: list[Point]) -> tuple[Point, Point]:
    """The ends of the interval, that of the lower loss first."""
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
    if bounds is None:
        bounds = min(a.t, b.t), max(a.t, b.t)
    low, high = bounds
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

    _searches = True
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

        def evaluate() -> Evaluation:
            nonlocal loss
            with enable_grad():
                value = closure()
            if loss is None:
                loss = value
            state["func_evals"] = state.get("func_evals", 0) + 1
            return float(value), self._gradient()

        state.setdefault("n_iter", 0)
        f, g = evaluate()
        last = state["func_evals"] + group["max_eval"] - 1  # the number of the last call that is allowed
        while n_iter < group["max_iter"] and not _largest(g) <= group["tolerance_grad"]:
            n_iter += 1
            state["n_iter"] += 1
            d = self._direction(state, g, group["history_size"])
            state.update(d=wrap(d), prev_flat_grad=wrap(g), prev_loss=f)
            lr = plain(group["lr"])
            if state["n_iter"] == 1:  # Nothing is known of the curvature yet, so the step is short.
                t = min(1.0, 1.0 / _norm(g, 1.0)) * lr
            else:
                t = lr
            state["t"] = t
            slope = _dot(g, d)
            if slope > -group["tolerance_change"]:
                break
            if group["line_search_fn"] is not None:
                start = Point(0.0, f, g, slope)
                best = self._search(evaluate, start, t, d, last - state["func_evals"])
                t = best.t
                f = best.f
                g = best.g
                state["t"] = t
            self._move(d, t)
            if group["line_search_fn"] is None and n_iter < group["max_iter"]:
                f, g = evaluate()  # After the last iteration nothing needs them.
            if state["func_evals"] >= last or abs(t) * _largest(d) <= group["tolerance_change"]:
                break
            if abs(f - state["prev_loss"]) < group["tolerance_change"]:
                break
        return loss

    def _direction(self, state: State, g: Array, history_size: int) -> Array:
        """-H g. Before, the last step is added to the history if the curvature along it is positive.

        The history in the state has PyTorch's names: ``old_stps`` are the steps s, ``old_dirs`` the changes y
        of the gradient, ``ro`` the numbers 1 / (y . s).
        """
        d = _core.neg(g)
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=_scalar(1.0))
            return d
        last_direction = in_dtype(state["d"]._array, g.dtype)
        last_gradient = in_dtype(state["prev_flat_grad"]._array, g.dtype)
        s = _core.mul(last_direction, np.asarray(state["t"], g.dtype))
        y = _core.sub(g, last_gradient)
        curvature = _dot(y, s)
        if curvature > 1e-10:  # PyTorch's limit; `ro` is 1 / curvature
            newest = {"old_dirs": wrap(y), "old_stps": wrap(s), "ro": _scalar(1.0 / curvature)}
            for key, value in newest.items():
                state[key] = [*state[key], value][-history_size:]
            state["H_diag"] = _scalar(curvature / _dot(y, y))
        # The two-loop recursion changes d: the first loop from the newest step on, the second from the
        # oldest. The first one writes alphas; the second multiplies d by the diagonal, then reads alphas.
        ro = np.array([r.item() for r in state["ro"]], np.float64)
        changes = [in_dtype(x._array, d.dtype) for x in state["old_dirs"]]
        steps = [in_dtype(x._array, d.dtype) for x in state["old_stps"]]
        alphas = np.zeros(len(ro))
        diagonal = np.array([state["H_diag"].item()])
        _core.lbfgs_loop(d, changes, steps, ro, alphas, None, False)
        _core.lbfgs_loop(d, changes, steps, ro, alphas, diagonal, True)
        return d

    def _search(
        self, evaluate: Callable[[], Evaluation], start: Point, t: float, d: Array, calls: int
    ) -> Point:
        """A good point along d. The parameters are the same afterwards.
        start: the Point at step length 0. calls: the number of evaluations that are left."""
        params = self.param_groups[0]["params"]
        before = [p._array.copy() for p in params]

        def point(t: float) -> Point:
            self._move(d, t)
            f, g = evaluate()
            for p, values in zip(params, before, strict=True):
                np.copyto(p._array, values)
                bump(p)
            return Point(t, f, g, _dot(g, d))

        tolerance = self.param_groups[0]["tolerance_change"]
        best, _ = strong_wolfe(point, start, t, _largest(d), tolerance, calls)
        return best

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
        """p += t d for all parameters, whose elements are one after another in d."""
        params = self.param_groups[0]["params"]
        arrays = [p._array for p in params]
        ends = np.cumsum([x.size for x in arrays])
        steps = [d[end - x.size : end].reshape(x.shape) for x, end in zip(arrays, ends, strict=True)]
        if any(adds_itself(type(p)) for p in params):  # a program's class with an add_ of its own
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

    def _load_state(self, p: Tensor, values: Mapping[str, Any]) -> State:
        """The state, which belongs to the first parameter p, made of its state in a state_dict."""

        def vector(value: Any) -> Tensor:
            return wrap(widened([np.array(as_array(value), p._array.dtype)])[0])

        state: State = {}
        for key, value in values.items():
            if value is None:
                continue
            if key in ("d", "prev_flat_grad"):
                state[key] = vector(value)
            elif key in ("old_dirs", "old_stps"):
                state[key] = [vector(entry) for entry in value]
            elif key in ("func_evals", "n_iter"):
                state[key] = int(value)
            elif key in ("t", "prev_loss"):
                state[key] = float(value)
            elif key == "H_diag":
                state[key] = _scalar(value)
            elif key == "ro":
                state[key] = [_scalar(entry) for entry in value]
        return state


def _scalar(x: Any) -> Tensor:
    """A number of a state, which may be of another library, as a float64 Tensor."""
    return wrap(np.array(float(x)))


def _dot(a: Array, b: Array) -> float:
    return float(_core.flat_dot(a, b)[0])


def _norm(x: Array, p: float) -> float:
    """The p-norm of a vector."""
    return float(_core.gradient_norm([x], p)[0])


def _largest(x: Array) -> float:
    """The largest magnitude in a vector."""
    return _norm(x, math.inf)


own_errors(LBFGS, ["__init__"])
