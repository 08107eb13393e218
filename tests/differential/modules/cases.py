"""PyTorch's own lists of modules as cases: a constructor, its arguments, what it is called with."""

import random
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ranvier as rv
import torch
from differential.opinfo.samples import DTYPES, Arguments, NotHere
from torch.testing._internal import common_modules, common_nn

Input = common_modules.FunctionInput  # args and kwargs of one call
SINGLES, HALVES = (torch.float32, torch.float64), (torch.float16, torch.bfloat16)


@dataclass
class Case:
    """One module of PyTorch's lists. error: the exception's class, and whether the constructor raises it."""

    title: str
    theirs: Any
    ours: Any  # None where the module does not exist here
    construct: Any = field(default_factory=Input)
    call: Any = field(default_factory=Input)
    dtype: torch.dtype = torch.float64
    training: bool = True
    error: tuple[type[Exception], bool] | None = None


def cases(source: str) -> Iterator[Case]:
    """The cases of a list, the same in every run."""
    yield from {
        "module_db": _module_db,
        "module_errors": partial(_module_db, errors=True),
        "module_halves": partial(_module_db, dtypes=HALVES),
        "common_nn": _common_nn,
        "attention": partial(map, _attention, range(200)),
    }[source]()


def _module_db(errors: bool = False, dtypes: tuple[torch.dtype, ...] = SINGLES) -> Iterator[Case]:
    for info in common_modules.module_db:
        kind = info.module_cls
        make = info.module_error_inputs_func if errors else info.module_inputs_func
        for dtype in dtypes:
            if make is None or (dtypes is SINGLES and dtype not in info.supported_dtypes("cpu")):
                continue
            for training in (True, False) if info.train_and_eval_differ else (True,):
                torch.manual_seed(0)
                inputs = make(info, "cpu", dtype, requires_grad=True, training=training)
                for number, one in enumerate(inputs):
                    error = None
                    if errors:
                        construction = common_modules.ModuleErrorEnum.CONSTRUCTION_ERROR
                        error = one.error_type, one.error_on is construction
                        one = one.module_error_input
                    call = one.forward_input
                    yield Case(
                        f"{info.name}#{number} {one.desc}".strip(),
                        kind,
                        getattr(rv.nn, kind.__name__, None),
                        one.constructor_input,
                        Input() if call is None else call,
                        dtype,
                        training,
                        error,
                    )


def _common_nn() -> Iterator[Case]:
    """The older lists, of float64. A test there is a dict; criteria have a target beside their input."""
    tests = [*common_nn.module_tests, *common_nn.get_new_module_tests(), *common_nn.criterion_tests]
    for options in tests:
        test = _Test(**options)
        torch.manual_seed(0)
        values = _tuple(test.values("input")), test.values("extra_args", ())
        target = (test.values("target"),) if test.has("target") else ()
        name = options.get("module_name")
        kind = options["constructor"] if name is None else getattr(torch.nn, name)
        arguments = Input(*test.values("constructor_args", ()))
        call = Input(*values[0], *target, *values[1])
        title = options.get("fullname") or "_".join(filter(None, (name, options.get("desc"))))
        try:
            ours = getattr(rv.nn, name, None) if name else _translated(kind)
        except NotHere:
            ours = None
        yield Case(f"old {title}", kind, ours, arguments, call)


def _attention(seed: int) -> Case:
    """MultiheadAttention of random sizes, settings and masks, which may hide all keys of a query."""
    torch.manual_seed(seed)
    draw = random.Random(seed)
    apart, alone, first, weights, training, *added = (draw.random() < 0.5 for _ in range(7))
    heads, n, length = (draw.randint(1, 3) for _ in range(3))
    keys, width, n = draw.randint(1, 4) if apart else length, 2 * heads, 1 if alone else n

    def inputs(size: int, width: int) -> torch.Tensor:
        shape = (size, width) if alone else (n, size, width) if first else (size, n, width)
        return torch.randn(shape, dtype=torch.float64, requires_grad=True)

    def mask(*shape: int) -> torch.Tensor:
        hidden, kind = torch.rand(shape) < 0.4, draw.randint(0, 2)
        numbers = torch.randn(shape).double().masked_fill(hidden, -torch.inf).requires_grad_(kind > 1)
        return numbers if kind else hidden

    x = inputs(length, width)
    given = (x, inputs(keys, 3), inputs(keys, 5)) if apart else (x, x, x)
    causal = torch.ones(length, keys).triu(1) > 0
    chosen = draw.choice((None, mask(length, keys), mask(n * heads, length, keys), causal))
    padding = draw.choice((None, mask(keys) if alone else mask(n, keys)))
    is_causal = chosen is causal and (weights or not any(added))
    settings = {"attn_mask": chosen, "average_attn_weights": draw.random() < 0.5, "is_causal": is_causal}
    sizes = {"kdim": 3, "vdim": 5} if apart else {}
    construct = Input(width, heads, 0.0, draw.random() < 0.5, *added, batch_first=first, **sizes)
    layers = torch.nn.MultiheadAttention, rv.nn.MultiheadAttention
    call = Input(*given, padding, weights, **settings)
    return Case(f"attention#{seed}", *layers, construct, call, training=training)


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


class _Test:
    def __init__(self, **options: Any) -> None:
        self.options = options

    def has(self, name: str) -> bool:
        return any(name + end in self.options for end in ("", "_fn", "_size"))

    def values(self, name: str, default: Any = None) -> Any:
        """A value, what its function returns, or tensors of a size."""
        found = self.options
        if name in found:
            return _double(found[name])
        if name + "_fn" in found:
            return _double(found[name + "_fn"]())
        return _random(found[name + "_size"]) if name + "_size" in found else default


def _random(size: Any) -> Any:
    if isinstance(size, list):
        return [_random(one) for one in size]
    return _double(size if isinstance(size, torch.Tensor) else torch.randn(size))


def _double(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().double() if value.is_floating_point() else value
    return type(value)(map(_double, value)) if type(value) in (tuple, list) else value


# --- PyTorch's lambdas around functions, with this library's functions
def _translated(value: Any) -> Any:
    """A function of PyTorch's tests, or a class of one method, with this library's modules inside."""
    if callable(value) and hasattr(torch.nn.functional, getattr(value, "__name__", " ")):
        return getattr(rv.nn.functional, value.__name__, None)
    if isinstance(value, types.FunctionType):
        known = {"F": rv.nn.functional, "nn": rv.nn, "torch": rv}
        cells = tuple(types.CellType(_translated(cell.cell_contents)) for cell in value.__closure__ or ())
        copy = types.FunctionType(
            value.__code__, {**value.__globals__, **known}, value.__name__, value.__defaults__, cells
        )
        copy.__kwdefaults__ = value.__kwdefaults__
        return copy
    if isinstance(value, type):
        return type(value.__name__, (rv.nn.Module,), {"forward": _translated(vars(value)["forward"])})
    if isinstance(value, dict):
        return {name: _translated(one) for name, one in value.items()}
    return Both().both(value)[1] if isinstance(value, (torch.Tensor, torch.dtype)) else value


def _module(theirs: torch.nn.Module) -> Any:
    """A module that is an argument of another: one without parameters, or a layer of a Transformer."""
    name = type(theirs).__name__
    if name in ("TransformerEncoderLayer", "TransformerDecoderLayer"):
        activation = theirs.activation
        ours = getattr(rv.nn, name)(
            theirs.self_attn.embed_dim,
            theirs.self_attn.num_heads,
            theirs.linear1.out_features,
            theirs.dropout.p,
            activation if isinstance(activation, str) else _translated(activation),
            theirs.norm1.eps,
            theirs.self_attn.batch_first,
            theirs.norm_first,
            theirs.linear1.bias is not None,
        )
        return ours.to(DTYPES[next(theirs.parameters()).dtype])
    if list(theirs.parameters()) or not hasattr(rv.nn, name):
        raise NotHere(f"a module {name} as argument")
    return getattr(rv.nn, name)()


class Both(Arguments):
    """Arguments of constructors and calls for both libraries."""

    def __init__(self) -> None:
        self.pairs = {}

    def both(self, value: Any) -> tuple[Any, Any]:
        if isinstance(value, torch.nn.utils.rnn.PackedSequence):
            parts = [(None, None) if part is None else self.both(part) for part in value]
            ours = rv.nn.utils.rnn.PackedSequence(*(part[1] for part in parts))
            return type(value)(*(part[0] for part in parts)), ours
        if isinstance(value, dict):
            pairs = {name: self.both(part) for name, part in value.items()}
            return tuple({name: pair[i] for name, pair in pairs.items()} for i in (0, 1))  # type: ignore
        if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
            pairs = [self.both(part) for part in value]
            return tuple(type(value)(pair[i] for pair in pairs) for i in (0, 1))  # type: ignore
        named = getattr(value, "__name__", "")
        if named and value is getattr(torch.nn, named, None):
            return value, getattr(rv.nn, named)
        if isinstance(value, types.FunctionType):
            return value, _translated(value)
        if isinstance(value, types.BuiltinFunctionType) and hasattr(rv, named):
            return value, getattr(rv, named)
        if isinstance(value, torch.nn.Module):
            return value, _module(value)
        return self._both(value)
