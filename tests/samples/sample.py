"""How each op and each layer is called: `@op` above a function with its name, which yields samples.

    @op(reference=np.hypot)
    def hypot(x):
        yield call(x(3, x.n), x(3, x.n))
        yield call(x(3, 1), x(7))  # broadcast
        yield call(x(5), 2.5)
        yield refused(TypeError, "[hypot] got str", x(5), "text")

`x` draws arrays: `x(3, 7)` floats, and the other methods of `Draw`. Arrays become Tensors, those of floats in
the dtype that a property asks for, with a gradient; `fixed(array)` has none, and `state(array)` is changed by
the call. `x.n` is 7, or another size. A sample of a layer begins with it: `call(nn.Linear(7, 2), x(3, 7))`.

Every property of `tests/properties` runs on the samples of all ops; `pytest -k hypot` on those of one. What
is true of one op alone stands in its `@op(...)`, in words: `lacks` has what it does not have (keys of LACKS),
`apart` where its answer is not PyTorch's (keys of APART); the class Op explains the others. Of one sample,
`call(...).without(reason, "reference")` says so.
"""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ranvier as rv
from ranvier import nn
from ranvier.nn.arguments import arguments_of

from samples.draw import SIZE, Array, Draw

LACKS = {  # what an op may not have, and why
    "C": "has no counterpart in C",
    "ONNX": "has no counterpart in ONNX, or no tensor that is an input, or none that is a result",
    "halves": "has no halves, as in PyTorch",
    "rounding": "halves are rounded several times: of several ops, or of weights",
    "promotion": "takes no operands of two dtypes",
    "second": "has no second gradient",
    "jet": "in one of its samples, has no derivatives of higher order by forward mode",
    "0-d": "needs a dimension",
    "NaN": "refuses NaN, or has none where a row has",
    "limits": "the formula in NumPy has other limits",
    "infinity": "has infinity times 0, in one of several formulas",
    "written": "has a gradient that is computed from the result, which must then stay as it is",
    "captured": "is refused in a compiled step: reads values, or draws or computes by NumPy",
    "C-infinity": "of an infinity, or of a square beyond the range, C makes other numbers of a row NaN or 0",
}
APART = {  # where an op has another answer than PyTorch
    "ties": "takes no numbers that are equal or whole, or has no one place or slope there",
    "NaN": "takes no NaN, or gives NaN where PyTorch gives another number, or the reverse",
    "infinity": "takes no infinity, or one of both gives NaN by its limit or another order of sums",
    "infinities": "has another limit of the gradient",
    "limits": "has a number where PyTorch has NaN, at infinity, or NaN where PyTorch has a number",
    "gradient": "has another gradient everywhere, as of a triangle or one of two places, or PyTorch has none",
}
NUMPY: dict[Any, Any] = {dtype: np.dtype(str(dtype)[6:]) for dtype in (rv.float32, rv.float64)}
NUMPY |= {dtype: dtype for dtype in (np.float32, np.float64)}
OPS: dict[str, Op] = {}  # by name, also the layers


@dataclass
class Marked:
    """An array of floats that has no gradient; changes: the call writes to it."""

    array: Array
    changes: bool = False


def fixed(array: Array) -> Marked:
    return Marked(array)


def state(array: Array) -> Marked:
    return Marked(array, changes=True)


@dataclass
class Sample:
    """One call. `function` and `tensors` make it with Tensors."""

    args: tuple[Any, ...]
    settings: dict[str, Any]
    error: type[Exception] | None = None  # the call is refused with this error
    text: str = ""  # which its message contains
    left_out: dict[str, str] = field(default_factory=dict)  # properties that it does not have, and why
    kink: bool = False  # the op has no derivative there
    has_size: bool = False  # its arrays have the size `x.n`
    op: Op = field(init=False, repr=False)
    number: int = field(init=False, default=0)

    def without(self, why: str, *properties: str) -> Sample:
        """The sample, which does not have these properties: names of tests without `test_`."""
        self.left_out |= dict.fromkeys(properties, why)
        return self

    @property
    def arrays(self) -> list[Array]:
        return arrays_in((self.args, self.settings))

    @property
    def is_smooth(self) -> bool:
        """True if the op has a derivative there: no array has a kink, an infinity or NaN."""
        if self.kink:
            return False
        given = [x for x in self.arrays if x.dtype.kind == "f"]
        return all(np.isfinite(x).all() and not np.isin(x, [*self.op.kinks]).any() for x in given)

    @property
    def is_layer(self) -> bool:
        return bool(self.args) and isinstance(self.args[0], nn.Module)

    def layer_in(self, library: Any) -> Any:
        """The layer made again of its arguments, with new parameters; library: this one or PyTorch."""
        layer = self.args[0]
        return _built({"layer": type(layer).__name__, "arguments": arguments_of(layer)}, library)

    def __str__(self) -> str:
        return f"sample {self.number} of {self.op.name}"

    def tensors(self, dtype: Any = rv.float64, of: Any = None, records: bool = True) -> Call:
        """The call with new Tensors. dtype: of the floats; of: a dtype that has their numbers, too.

        records: floats require a gradient.
        """
        made = Call(self, dtype, of, records)
        made.args = made.replaced(self.args)
        made.settings = made.replaced(self.settings)
        return made


class Call:
    """A sample as Tensors: `inputs`, `leaves`, which require a gradient, and `states`, which it changes."""

    args: tuple[Any, ...]
    settings: dict[str, Any]

    def __init__(self, sample: Sample, dtype: Any, of: Any, records: bool) -> None:
        self.sample = sample
        self.dtype = dtype
        self.of = of
        self.records = records
        self.inputs: list[Any] = []
        self.leaves: list[Any] = []
        self.states: list[Any] = []

    def replaced(self, value: Any) -> Any:
        """The value with Tensors in place of arrays, and a copy of a layer."""
        if isinstance(value, (list, tuple)):
            return type(value)(self.replaced(part) for part in value)
        if isinstance(value, dict):
            return {name: self.replaced(part) for name, part in value.items()}
        if isinstance(value, nn.Module):
            module = copy.deepcopy(value).to(self.of or self.dtype).to(self.dtype)
            self.states += module.buffers()
            if self.records:
                self.leaves += [p for p in module.parameters() if p.is_floating_point()]
            return module
        marked = isinstance(value, Marked)
        array = value.array if marked else value
        if not isinstance(array, np.ndarray):
            return array
        if array.dtype.kind == "f":
            tensor = self.of_floats(array)
        else:
            tensor = rv.tensor(array)
        if self.records and not marked and tensor.is_floating_point():
            self.leaves.append(tensor.requires_grad_())
        if marked and value.changes:
            self.states.append(tensor)
        else:
            self.inputs.append(tensor)
        return tensor

    def of_floats(self, array: Array) -> rv.Tensor:
        """The Tensor of an array of floats; NumPy rounds to the dtypes that it has in less time."""
        dtypes = [self.of or self.dtype, self.dtype]
        with np.errstate(over="ignore"):
            while dtypes and dtypes[0] in NUMPY:
                array = array.astype(NUMPY[dtypes[0]], copy=False)
                del dtypes[0]
        tensor = rv.tensor(array)
        for dtype in dtypes:
            tensor = tensor.to(dtype)
        return tensor

    def __call__(self) -> list[rv.Tensor]:
        """The Tensors that the op returns."""
        return self.run(self.args)

    def run(self, args: Any) -> list[rv.Tensor]:
        rv.manual_seed(0)  # for ops that draw
        return tensors_in(self.sample.op.function(*args, **self.settings))

    def with_leaves(self, *leaves: Any) -> list[rv.Tensor]:
        """The result of the op with other values for the leaves, as a function of these alone."""
        rv.manual_seed(0)
        return self._with(dict(zip(map(id, self.leaves), leaves, strict=True)))

    def with_inputs(self, *inputs: Any) -> list[rv.Tensor]:
        """The result with other values for the inputs, integers and bools too."""
        rv.manual_seed(0)
        return self._with(dict(zip(map(id, self.inputs), inputs, strict=True)))

    def of_inputs(self) -> Callable[..., list[rv.Tensor]]:
        """The call as a function of its inputs for a compiled step: it sets no seed and looks nothing up."""
        places = {id(x): Place(i) for i, x in enumerate(self.inputs)}
        args = swapped(self.args, places)
        settings = swapped(self.settings, places)
        function = self.sample.op.function

        def called(*inputs: Any) -> list[rv.Tensor]:
            return tensors_in(function(*_filled(args, inputs), **_filled(settings, inputs)))

        return called

    def _with(self, places: dict[int, Any]) -> list[rv.Tensor]:
        function = self.sample.op.function
        if self.sample.is_layer:
            module, *args = self.args
            named = {name: places.get(id(p), p) for name, p in module.named_parameters()}
            function = functools.partial(rv.func.functional_call, module, named)
            return tensors_in(function(swapped(tuple(args), places), swapped(self.settings, places)))
        return tensors_in(function(*swapped(self.args, places), **swapped(self.settings, places)))


def _built(value: Any, library: Any) -> Any:
    """An argument of a layer from what `arguments_of` gives, such as a layer inside it."""
    if isinstance(value, dict):
        given = value.get("arguments", value).items()
        named = {name: _built(part, library) for name, part in given}
        named |= {name: library.tensor(part) for name, part in given if name in ("weight", "pos_weight")}
        return getattr(library.nn, value["layer"])(**named) if "layer" in value else named
    return tuple(value) if isinstance(value, list) else value


def swapped(value: Any, places: dict[int, Any]) -> Any:
    """An argument with others in place of some Tensors, by their ids."""
    if isinstance(value, (list, tuple)):
        return type(value)(swapped(part, places) for part in value)
    if isinstance(value, dict):
        return {name: swapped(part, places) for name, part in value.items()}
    return places.get(id(value), value)


@dataclass
class Place:
    """Where the input of this number stands in the arguments."""

    number: int


def _filled(value: Any, given: tuple[Any, ...]) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_filled(part, given) for part in value)
    if isinstance(value, dict):
        return {name: _filled(part, given) for name, part in value.items()}
    return given[value.number] if isinstance(value, Place) else value


def tensors_in(value: Any) -> list[rv.Tensor]:
    """The Tensors in an argument or a result."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (list, tuple)):
        return [tensor for part in value for tensor in tensors_in(part)]
    return [value] if isinstance(value, rv.Tensor) else []


def arrays_in(value: Any) -> list[Array]:
    """The arrays in an argument, of a layer its parameters."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (list, tuple)):
        return [array for part in value for array in arrays_in(part)]
    if isinstance(value, Marked):
        value = value.array
    return [value] if isinstance(value, np.ndarray) else []


def plain(value: Any, dtype: Any = np.float64) -> Any:
    """The argument with the numbers of dtype as float64, as a reference takes it."""
    if isinstance(value, dict):
        return {name: plain(part, dtype) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(part, dtype) for part in value)
    if isinstance(value, Marked):
        value = value.array
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(dtype).astype(np.float64)
    return value


def call(*args: Any, **settings: Any) -> Sample:
    """A right call."""
    return Sample(args, settings)


def at_kink(*args: Any, **settings: Any) -> Sample:
    """A right call where the op has no derivative that is not seen in a number: equal extremes, an edge."""
    return Sample(args, settings, kink=True)


def refused(error: type[Exception], text: str, *args: Any, **settings: Any) -> Sample:
    """A call that raises this error, with this text in its message."""
    return Sample(args, settings, error, text)


def all_terms(x: Array, *args: Any, **settings: Any) -> int:
    """For `terms`: a sum of all elements of the first argument."""
    return x.size


def many(*args: Any, **settings: Any) -> int:
    """For `terms`: sums of sums."""
    return 64


def parameters_of(module: Any) -> dict[str, Array]:
    """The parameters of a layer in float64, for a reference."""
    return {name: value.numpy(force=True).astype(float) for name, value in module.state_dict().items()}


@dataclass
class Op:
    """The properties of an op besides its samples.

    reference: a function of NumPy with the same arguments, in float64, independent of the op.
    kinks: values of an array of floats where the op has no derivative.
    exact: the result has the bits of the reference (moves, comparisons).
    terms: how many terms the longest sum of an element has, from the arguments (arrays).
    inner: what is as large inside the op, and cancels: 1 in 1 - tanh(x) ** 2.
    draws: the op draws random numbers.
    lacks: words of `LACKS`, what the op does not have. apart: words of `APART`, where PyTorch's answer is
        another by intention, or one of both has none.
    autocast: the dtype that it computes in in such a block, by PyTorch's lists: "lower", "float32" or any.
    around: makes the function that the samples call of the op, such as one of symmetric matrices alone.
    anything: names or places of arguments that may be anything: they are not used in a sample, or may be more
        than their right value says.
    """

    name: str
    source: Callable[[Draw], Iterator[Sample]]
    of: Callable[..., Any] | str = ""  # another place than the op's name, seen from `ranvier`
    reference: Callable[..., Any] | None = None
    kinks: Collection[float] = ()
    exact: bool = False
    inner: float = 0.0
    terms: Callable[..., int] = lambda *args, **settings: 1
    draws: bool = False
    lacks: str = ""
    apart: str = ""
    autocast: str = ""
    around: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None
    anything: str = ""

    def __post_init__(self) -> None:
        unknown = {*self.lacks.split()} - LACKS.keys() | {*self.apart.split()} - APART.keys()
        assert not unknown, f"{self.name}: {unknown}"

    @functools.cached_property
    def function(self) -> Callable[..., Any]:
        """The function that the samples call."""
        return self.around(self.named) if self.around else self.named

    @property
    def named(self) -> Callable[..., Any]:
        """The op, as a program names it; the module may be loaded only now."""
        if isinstance(self.of, str) and self.of:
            return operator.attrgetter(self.of)(rv)
        if self.of:
            return self.of
        for place in (rv.ops, rv, rv.nn.functional):
            if hasattr(place, self.name):
                return getattr(place, self.name)  # type: ignore[no-any-return]
        if isinstance(getattr(nn, self.name, None), type):
            return lambda module, *args, **settings: module(*args, **settings)
        return lambda x, *args, **settings: getattr(x, self.name)(*args, **settings)

    @functools.cached_property
    def all_samples(self) -> list[Sample]:
        return self.drawn()

    def drawn(self, width: int = SIZE, seed: int = 0) -> list[Sample]:
        """The samples with this size as `x.n`, and other random numbers."""
        rv.manual_seed(seed)  # for the parameters of layers
        samples = []
        draw = Draw(self, width, seed)
        for number, sample in enumerate(self.source(draw)):
            sample.op = self
            sample.number = number
            sample.has_size = draw.has_size  # whether the sample has read x.n
            draw.has_size = False
            samples.append(sample)
        return samples

    @functools.cached_property
    def has_random_shapes(self) -> bool:
        """True if shapes or settings are drawn with `size` and `shape`."""
        draw = Draw(self)
        list(self.source(draw))
        return draw.draws_shapes

    @property
    def samples(self) -> list[Sample]:
        """Those that are not refused."""
        return [sample for sample in self.all_samples if sample.error is None]


def op(source: Any = None, *, names: str = "", **known: Any) -> Any:
    """Registers the function below as the samples of the op of its name. known: see Op.

    names: of several ops that have the same samples, in place of its name.
    """
    if source is None:
        return functools.partial(op, names=names, **known)
    for name in names.split() or [source.__name__]:
        assert name not in OPS, f"{name} has samples already"
        OPS[name] = Op(name, source, **known)
    return source
