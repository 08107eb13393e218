"""`Level`: one call of a function on a tape of its own, and its derivatives, for `ranvier.func` and others.

The inputs of the call are new Tensors on the memory of the given ones, and the derivatives are taken with
respect to these. So nested calls have inputs of their own, and the derivatives of an inner call can be on the
tape of the outer call. A tree, here, is a nested structure of tuples, lists and dicts with values in it.
"""

from __future__ import annotations

import functools
from _thread import _local as local  # threading.local, without the import of threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ranvier.autograd.gradients import gradients
from ranvier.grad_mode import enable_grad, mode
from ranvier.tape.higher_order import Rows, cut
from ranvier.tensors.deepcopy_pickle import in_class_of, is_of_program
from ranvier.tensors.errors import require_function
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import filled_like, keep
from ranvier.tensors.tensor import Tensor, wrap

Tensors = tuple[Tensor, ...]


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with function(value) in place of each value."""
    if isinstance(tree, dict):
        return {key: mapped(function, value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        values = [mapped(function, value) for value in tree]
        if hasattr(tree, "_fields"):
            return type(tree)(*values)
        return type(tree)(values)
    return function(tree)


def values_of(tree: Any) -> list[Any]:
    """The values in a tree, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    values: list[Any] = []
    mapped(values.append, tree)
    return values


def like(tree: Any, values: Iterable[Any]) -> Any:
    """The tree with these values, in order, in place of its own."""
    rest = iter(values)
    if isinstance(tree, Tensor):
        return next(rest)
    return mapped(lambda _: next(rest), tree)


class _Calls(local):
    depth = 0  # the number of levels that this thread is in


_calls = _Calls()


def _as_now(x: Tensor) -> Tensor:
    """A Tensor that keeps the present history of x: a later change in place, of x or of its base if x is a
    view, gives x another history."""
    if x._grad_fn is None:
        return x
    now = wrap(x._array, requires_grad=True)
    now._grad_fn = x._grad_fn
    now._cell = x._cell
    return now


class Level:
    """A block in which a function is called and its derivatives are taken; recording is on inside.

    name: the public function, for errors. inputs: a tree of Tensors. given: whether the results keep a
    history that leads out of the block, to Tensors outside that require gradients. None: they do if recording
    was on before the block. strict: outputs and inputs that do not depend on each other raise RuntimeError.

    Attributes:
        inputs: the tree of the new Tensors that the function gets
        xs, ys: these inputs, and the outputs, on the tape of the block, as flat tuples
        outputs: the tree that the function has returned
        history: whether derivatives are recorded, so that they can be differentiated again; `weighted` says
            it for derivatives that are weighted by other Tensors
        _own, _inside: ids of the leaves of the block, and nodes from which no path leads out of the block
    """

    def __init__(self, name: str, inputs: Any, given: bool | None = None, strict: bool = False) -> None:
        self.name = name
        self.inputs = inputs
        self.given = given
        self.strict = strict
        self._enabled = self.history = mode.enabled if given is None else given

    # True where PyTorch's function gives inputs of the class of the given ones, and results of the class
    # of the outputs.
    keeps_class = False

    def __enter__(self) -> Level:
        self._block = enable_grad()
        self._block.__enter__()
        _calls.depth += 1
        try:
            leaves = tuple(map(self._leaf, self.tensors("inputs", self.inputs)))
            self.inputs, self.xs = like(self.inputs, leaves), tuple(map(_as_now, leaves))
        except BaseException:
            self.__exit__()
            raise
        self._own = {id(x) for x in self.xs if x._grad_fn is None}
        self._inside: set[Any] = set()
        return self

    def __exit__(self, *error: object) -> None:
        _calls.depth -= 1
        self._block.__exit__(*error)

    def tensors(self, what: str, tree: Any) -> Tensors:
        """The values of a tree. Raises TypeError if one is no Tensor; what: names the tree."""
        xs = tuple(values_of(tree))
        for x in xs:
            if not isinstance(x, Tensor):
                raise TypeError(f"[{self.name}] got {type(x).__name__} in {what}; expected Tensors")
        return xs

    def _leaf(self, x: Tensor) -> Tensor:
        """A new Tensor on the memory of an input: a leaf; or, if derivatives are recorded and the input
        requires a gradient, `cut(x)`, the result of the identity on x. It keeps the history of x, but a
        gradient by it counts only uses inside the block, not other uses of x."""
        if x._array.dtype.kind != "f":
            raise DtypeError(
                f"[{self.name}] got inputs of dtype {x._array.dtype}; expected float32 or float64"
            )
        if self.history and x._requires_grad:
            leaf = cut(x)
        else:
            leaf = wrap(x._array, requires_grad=True)
            leaf._cell = x._cell  # the same count of changes: backward notices a change of x in place
        if not self.keeps_class or not is_of_program(type(x)):
            return leaf
        # A class that is asked about calls may detach to another one, as a class of parameters does.
        return in_class_of(leaf, x.detach() if hasattr(type(x), "__torch_function__") else x)

    def call(self, function: Any, args: Any, kwargs: Any = None, has_aux: bool = False) -> Any:
        """Calls the function and takes its outputs. With has_aux the function returns (outputs, aux), and
        `call` returns aux."""
        outputs = require_function(self.name, "func", function)(*args, **(kwargs or {}))
        aux = None
        if has_aux:
            if not (isinstance(outputs, tuple) and len(outputs) == 2):
                raise TypeError(
                    f"[{self.name}] got has_aux=True and a function that returns {type(outputs).__name__}; "
                    "expected a tuple (output, aux)"
                )
            outputs, aux = outputs
        self.take(outputs)
        if has_aux:
            return mapped(lambda x: self.result(x) if isinstance(x, Tensor) else x, aux)
        return None

    def take(self, outputs: Any) -> None:
        """Sets the outputs: what the function has returned, a tree of Tensors."""
        self.outputs, self.ys = outputs, self.tensors("the result of func", outputs)
        if self.strict and any(not y.requires_grad for y in self.ys):
            raise RuntimeError(
                f"[{self.name}] got strict=True and an output that is independent of the inputs"
            )
        if self.given is None:
            self.history = self._enabled and any(map(self._leads_out, self.ys))

    def _leads_out(self, x: Tensor) -> bool:
        """True if the history of x leads to a leaf outside of the block."""
        if x._requires_grad:
            stack = [x if x._grad_fn is None else x._grad_fn]
        else:
            stack = []
        seen = set()
        while stack:
            node = stack.pop()
            if node in seen or node in self._inside:
                continue
            seen.add(node)
            if isinstance(node, Tensor) and id(node) not in self._own:
                return True
            # edges: the nodes that get the gradients of this one; a leaf, a Tensor, has none
            stack += [edge for edge in node.edges if edge is not None]
        self._inside |= seen
        return False

    def result(self, x: Tensor) -> Tensor:
        """A Tensor as the caller gets it: detached, unless it keeps a history that leads out of the block."""
        kept = not x._requires_grad or (self._enabled and (self.given or self._leads_out(x)))
        if kept:
            return x
        return x.detach()

    def results(self) -> Any:
        """The results of the function, as the caller gets them."""
        return like(self.outputs, map(self.result, self.ys))

    def number(self) -> Tensor:
        """The only output of the function, which must have one element."""
        if len(self.ys) != 1 or self.ys[0].numel() != 1:
            shapes = [tuple(y.shape) for y in self.ys]
            raise RuntimeError(f"[{self.name}] got a function with results {shapes}; expected one element")
        return self.ys[0]

    def vectors(self, v: Any, tree: Any, xs: Tensors, what: str) -> Tensors:
        """The values of v, which must have the shapes of xs, and the structure of `tree` if one is given.

        v None: 1, if xs have one element in all. what: names xs in errors.
        """
        if v is None:
            if len(xs) != 1 or xs[0].numel() != 1:
                raise RuntimeError(
                    f"[{self.name}] got no v; expected one: there are several elements of {what}"
                )
            return (wrap(filled_like(1, xs[0]._array)),)
        vs = self.tensors("v", v)
        shapes = [tuple(x.shape) for x in vs]
        wanted = [tuple(x.shape) for x in xs]
        if shapes != wanted or (tree is not None and like(v, shapes) != like(tree, wanted)):
            got, wanted = (like(v, shapes), like(tree, wanted)) if tree is not None else (shapes, wanted)
            raise RuntimeError(f"[{self.name}] got v of shapes {got}; expected those of {what}, {wanted}")
        return vs

    def weighted(self, vs: Tensors) -> bool:
        """True if derivatives weighted by vs are recorded."""
        return self.history or (self.given is None and self._enabled and any(map(self._leads_out, vs)))

    def gradients(
        self, ys: Tensors, xs: Tensors, vs: Tensors, history: bool | None = None, retain: bool = True
    ) -> Tensors:
        """The gradients of ys, weighted by vs and summed, by each x; 0 for an x on which no y depends."""
        used = [(y, v) for y, v in zip(ys, vs, strict=True) if y.requires_grad]
        slopes: Any = (None,) * len(xs)
        if history is None:
            history = self.history
        if used:
            outputs = [y for y, _ in used]
            weights = [v for _, v in used]
            slopes = gradients(outputs, xs, weights, retain, history, allow_unused=True)
        if self.strict and any(g is None for g in slopes):
            raise RuntimeError(f"[{self.name}] got strict=True and an input that is not used")
        pairs = zip(slopes, xs, strict=True)
        return tuple(wrap(filled_like(0, x._array)) if g is None else g for g, x in pairs)

    def slopes(self) -> list[Tensor]:
        """The gradients of one number by each input, as the caller gets them."""
        unweighted: Any = (None,)
        slopes = self.gradients((self.number(),), self.xs, unweighted, retain=self.history)
        return [*map(self.result, slopes)]

    def pulled(self, ys: Tensors) -> tuple[Tensors, Tensors]:
        """New variables u in the shapes of ys, and u J for the Jacobian J of ys. u J is linear in u, so that
        its gradient by u, weighted by v, is J v."""
        us = tuple(wrap(filled_like(0, y._array), requires_grad=True) for y in ys)
        self._own |= {id(u) for u in us}
        return us, self.gradients(ys, self.xs, us, True)

    def pushed(self, vs: Tensors) -> Any:
        """J v, computed in reverse, in the tree of the outputs."""
        us, slopes = self.pulled(self.ys)
        return like(self.outputs, map(self.result, self.gradients(slopes, us, vs, self.weighted(vs))))

    def jacobian(self, ys: Tensors, history: bool | None = None, columns: bool = True) -> list[Tensors]:
        """For each of ys its derivatives by each input: (*shape of y, *shape of input).

        Computed by rows: one backward for each element of ys. columns: if the inputs have less than half as
        many elements as ys, and all ops have second derivatives, computed by columns (`_columns`) instead.
        """
        if columns and 2 * sum(x.numel() for x in self.xs) < sum(y.numel() for y in ys):
            try:
                return self._columns(ys, history)
            except NotImplementedError:
                pass
        derivatives = []
        for y in ys:
            rows = [self.gradients((y,), self.xs, (v,), history) for v in _units(y)]
            derivatives.append(tuple(_stacked(part, y, x) for part, x in _turned(rows, self.xs)))
        return derivatives

    def _columns(self, ys: Tensors, history: bool | None) -> list[Tensors]:
        """As `jacobian`: one backward in all gives u J (`pulled`), then one for each element of the inputs
        gives a column J v, for a unit vector v."""
        us, slopes = self.pulled(ys)
        of_outputs: list[list[Tensor]] = [[] for _ in ys]
        for x, slope in zip(self.xs, slopes, strict=True):
            columns = [self.gradients((slope,), us, (v,), history) for v in _units(x)]
            places = tuple(range(x.ndim)), tuple(range(-x.ndim, 0))
            for derivatives, (part, y) in zip(of_outputs, _turned(columns, ys), strict=True):
                # The axes of x go to the end, and the dtype is that of x, as with rows.
                derivatives.append(_stacked(part, x, y).movedim(*places).to(x.dtype))
        return [tuple(derivatives) for derivatives in of_outputs]

    def jacobians(self, columns: bool = True) -> Any:
        """The tree of the outputs, with the tree of the derivatives by the inputs in place of each output."""
        return like(self.outputs, map(self._tree, self.jacobian(self.ys, columns=columns)))

    def hessians(self) -> Any:
        """As `jacobians`, with the tree of the second derivatives by the inputs in place of each
        derivative."""
        first = self.jacobian(self.ys, True)
        second = iter(self.jacobian(tuple(slope for slopes in first for slope in slopes)))
        trees = [like(self.inputs, [self._tree(next(second)) for _ in slopes]) for slopes in first]
        return like(self.outputs, trees)

    def _tree(self, slopes: Tensors) -> Any:
        """The derivatives by the inputs, as the caller gets them, in the tree of the inputs."""
        results: Iterable[Any] = map(self.result, slopes)
        if self.keeps_class and self.ys and is_of_program(type(self.ys[0])):
            results = (in_class_of(x, self.ys[0]) for x in results)
        return like(self.inputs, results)


def _units(x: Tensor) -> Iterator[Tensor]:
    """The tensors like x with a 1 in one place and 0 in the others."""
    for i in range(x.numel()):
        unit = np.zeros(x.numel(), x.dtype)
        unit[i] = 1
        yield wrap(keep(unit.reshape(x.shape)))


def _turned(rows: list[Tensors], xs: Tensors) -> Iterable[tuple[Any, Tensor]]:
    """(the parts of all rows for x, x) for each x. rows: tuples with a part for each x."""
    return zip(zip(*rows, strict=True) if rows else [()] * len(xs), xs, strict=True)


def _stacked(of_elements: Tensors, first: Tensor, second: Tensor) -> Tensor:
    """(*shape of the first, *shape of the second) from one tensor for each element of the first."""
    shape = (*first.shape, *second.shape)
    if not of_elements:
        return wrap(np.zeros(shape, second.dtype))
    rows: Tensor = of_elements[0] if len(of_elements) == 1 else Rows().apply(*of_elements)
    if rows.shape == shape:
        return rows
    return rows.reshape(shape)


def numbers(name: str, argnums: Any, count: int) -> tuple[int, ...]:
    """argnums as different non-negative numbers below `count`, the number of arguments. Raises TypeError or
    ValueError for others. name: the public function."""
    if type(argnums) is int and 0 <= argnums < count:
        return (argnums,)
    if isinstance(argnums, (tuple, list)):
        places = argnums
    else:
        places = (argnums,)
    if not places or not all(isinstance(i, (int, np.integer)) for i in places):
        raise TypeError(f"[{name}] got argnums {argnums!r}; expected an int or a tuple of ints")
    wanted = tuple(int(i) + count if i < 0 else int(i) for i in places)
    if not all(0 <= i < count for i in wanted) or len({*wanted}) < len(wanted):
        raise OpError(f"[{name}] got argnums {argnums!r}; expected different places of {count} arguments")
    return wanted


def level_of(name: str, argnums: Any, args: Any) -> tuple[Level, Callable[[], list[Any]]]:
    """A level whose inputs are the arguments with the numbers `argnums`, and a function that gives all
    arguments of the call inside the level."""
    wanted = numbers(name, argnums, len(args))
    several = isinstance(argnums, (tuple, list))
    level = Level(name, tuple(args[i] for i in wanted) if several else args[wanted[0]])

    def inside() -> list[Any]:
        arguments = list(args)
        for i, value in zip(wanted, level.inputs if several else (level.inputs,), strict=True):
            arguments[i] = value
        return arguments

    return level, inside


def value_and_grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns the value and the gradients with respect to ``args[argnums]``.

    An argument may be a number (then the gradient is a float, computed in float64), an array, a Tensor, or a
    list, tuple or dict of these. Calls may be nested: the gradients inside are then on the tape of the outer
    call. Raises RuntimeError if the function does not return one number.

    >>> import ranvier as rv
    >>> rv.value_and_grad(lambda x: x.clone())(3.0)
    (3.0, 1.0)
    """
    several = not isinstance(argnums, int)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        wanted = numbers("grad", argnums, len(args))
        values = tuple(args[i] for i in wanted)
        # None in another level, which may differentiate the results: they keep a history if recording was on.
        with Level("grad", mapped(_tensor, values), None if _calls.depth else False) as level:
            inner = list(args)
            for i, value in zip(wanted, level.inputs, strict=True):
                inner[i] = value
            level.take(_value(function(*inner, **kwargs)))
            value = level.results()
            slopes = level.slopes()
        plain = any(isinstance(x, (int, float)) for x in values)
        pairs = zip(slopes, values_of(values), strict=True)
        grads = like(values, [_number(g) if isinstance(x, (int, float)) else g for g, x in pairs])
        return _number(value) if plain else value, grads if several else grads[0]

    return wrapper


def _value(value: Any) -> Tensor:
    """What a function has returned, which must be a Tensor of one element."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        if isinstance(value, Tensor):
            got = f"shape {value.shape}"
        else:
            got = type(value).__name__
        raise RuntimeError(f"[grad] the function returned {got}; expected a Tensor of one element")
    return value


def _number(x: Tensor) -> Any:
    if x.requires_grad:
        return x
    return x.item()


def _tensor(value: Any) -> Tensor:
    """A number, array or Tensor as a Tensor."""
    if isinstance(value, Tensor):
        return value
    return wrap(np.asarray(value, np.float64 if isinstance(value, (int, float)) else None))


def grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns the gradients with respect to ``args[argnums]``: see :func:`value_and_grad`.

    >>> import ranvier as rv
    >>> rv.grad(lambda x: x**3)(2.0), rv.grad(rv.grad(lambda x: x**3))(2.0)
    (12.0, 12.0)
    """
    both = value_and_grad(function, argnums)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return wrapper
