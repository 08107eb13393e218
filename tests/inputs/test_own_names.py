"""Random calls of all public functions, methods and classes: an error begins with the name that was called.

It is a ValueError or TypeError (a RuntimeError or IndexError where PyTorch has one), never that of a function
or of NumPy inside. RANVIER_NAME_CALLS sets the number of calls of each, RANVIER_FUZZ_SEED draws others.
"""

import inspect
import os
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from differential.distribution_cases import TABLE
from ranvier import nn, optim
from ranvier.nn.loss.functional import OF_OP
from ranvier.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from support.grouped import grouped
from support.optimizers import KINDS
from support.refused import refused
from support.wrong_input import describe

CALLS = int(os.environ.get("RANVIER_NAME_CALLS", "60"))
SEED = int(os.environ.get("RANVIER_FUZZ_SEED", "20240229"))
REFUSALS = (ValueError, TypeError, RuntimeError, IndexError, NotImplementedError)
NAMED = re.compile(r"\[([\w.]+)\] .")
SIGNATURE = re.compile(r"(\w+\.)*[\w<>]+\(\) (missing|got|takes) ")  # Python's: the arguments do not fit it


def _numbers(*shape: int, dtype: str = "float32") -> Any:
    return rv.from_numpy(np.random.default_rng(3).uniform(0.1, 0.9, shape).astype(dtype))


RIGHT: tuple[Callable[[], Any], ...] = (
    lambda: _numbers(2, 3),
    lambda: _numbers(3, 3),
    lambda: _numbers(3),
    lambda: _numbers(1, 2, 4, 4),
    lambda: rv.tensor([0, 1, 2]),
)
TENSORS: tuple[Callable[[], Any], ...] = (
    *RIGHT,
    lambda: _numbers(),
    lambda: _numbers(2, 3).requires_grad_(),
    lambda: _numbers(2, 3, dtype="float64"),
    lambda: _numbers(2, 3, dtype="float16"),
    lambda: rv.ones(3, 3),  # singular
    *(lambda shape=shape: rv.zeros(*shape) for shape in ((0,), (0, 3), (2, 0), (0, 1, 2, 2), (1, 1))),
    *(lambda x=x: rv.tensor(x) for x in (2, -1.0, float("nan"), [-1, 5], [True, False, True])),
    lambda: rv.tensor([float("nan"), float("inf"), -1.0]),
    lambda: rv.full((2, 3), 1e30),
    lambda: rv.tensor([1, 2, 3], dtype=rv.uint8),
)
OTHERS: tuple[Callable[[], Any], ...] = (
    *(lambda x=x: x for x in (None, -1, 0, 1, 2, 7, -7, 2**63, 2**70, 0.1, 1.5, -0.5, 1j, True, False)),
    *(lambda x=x: x for x in (float("nan"), float("inf"), "foo", "", b"mean", "sum", "float32", "cuda")),
    *(
        lambda x=x: x
        for x in ((), (0,), (0, 0), (1, 1), (1, 2, 3), (0, 99), ("x", "y"), slice(0, 2), range(3))
    ),
    lambda: [1],
    lambda: [-1, 1],
    lambda: [1.0, 2.0, 3.0],
    lambda: [[1.0, 2.0], [3.0]],
    lambda: [None],
    lambda: [],
    lambda: {},
    lambda: {1, 2},
    lambda: [_numbers(2, 3), _numbers(2, 3)],
    *(lambda x=x: x for x in (object(), int, np.float32(0.5), np.int8(-3), rv.float32)),
    *(lambda x=x: np.array(x) for x in ([1, 2], 1, [], ["a", "b"], [1j, 2])),
    lambda: np.array([1, None], object),
    lambda: np.ones((2, 3), np.float32),
)
EVERY = (*TENSORS, *OTHERS)
FLAGS: tuple[Callable[[], Any], ...] = tuple(lambda x=x: x for x in (True, False, 1, 0))  # truth as in Python
MANY: tuple[Callable[[], Any], ...] = (lambda: rv.ones(2), lambda: np.ones((2, 2)))  # no flag
WORDS: tuple[Callable[[], Any], ...] = tuple(lambda x=x: x for x in ("foo", "", "sum", "none", "mean"))
FIRST = {"input", "other", "x", "self", "target", "tensor", "mat2"}

# settings of the process, files, functions that call the user's, and contexts
NO_NAMES = """
    compile save load load_gguf seed manual_seed summary diagnose vmap grad value_and_grad mlp constant numel
    set_num_threads set_numpy_threads set_consistent set_default_dtype set_default_device set_printoptions
    set_rng_state set_grad_enabled set_winograd set_float32_matmul_precision
    set_default_tensor_type show_config enable_grad no_grad inference_mode autocast named skipped fans key_of
    use_deterministic_algorithms from_dlpack empty_cache register_hook register_post_accumulate_grad_hook
    bump
"""
CALLED = {"scale_fn", "augment", "collate_fn", "transform"}  # functions of the caller, whose errors stay
WORD_NAMES = {"mode", "memory_format", "rounding_mode", "device"}


def _parameters(function: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _names(name: str, function: Any) -> set[str]:
    """The names that an error may have: of an alias also that of its function, of a loss that of its op."""
    own = getattr(inspect.unwrap(function), "__name__", name)
    ops = {op for op, form in OF_OP.items() if form is function}
    return {_plain(n) for n in (name, name.rstrip("_"), own, getattr(function, "__name__", own), *ops)}


def _functions() -> Iterator[tuple[str, str]]:
    for place in ("", "nn.functional", "linalg", "nn.init", "nn.utils", "metrics", "data", "func"):
        module = _place(place)
        for name in sorted(getattr(module, "__all__", None) or dir(module)):
            function = getattr(module, name)
            own = getattr(function, "__module__", "") or ""
            if (
                name[0] != "_"
                and inspect.isfunction(function)
                and own.startswith("ranvier")
                and name not in NO_NAMES.split()
            ):
                yield place, name
    for name in dir(rv.Tensor):
        if name[0] != "_" and name not in NO_NAMES.split() and inspect.isfunction(getattr(rv.Tensor, name)):
            yield "Tensor", name


def _place(place: str) -> Any:
    at: Any = rv
    for part in place.split(".") if place else ():
        at = getattr(at, part)
    return at


def drawn(rng: Any, parameter: inspect.Parameter, pool: Any = EVERY) -> Any:
    """A value for the parameter, often one that is right."""
    if parameter.annotation in ("bool", "bool | None") or isinstance(parameter.default, bool):
        pool = FLAGS if rng.random() < 0.8 else MANY
    elif isinstance(parameter.default, str) or parameter.name in WORD_NAMES:
        pool = WORDS
    elif parameter.name in FIRST and rng.random() < 0.6:
        pool = RIGHT
    elif parameter.name in ("dim", "axis") and rng.random() < 0.6:
        return int(rng.integers(-1, 2))
    return pool[rng.integers(len(pool))]()


def arguments(rng: Any, parameters: list[inspect.Parameter]) -> tuple[list[Any], dict[str, Any]]:
    given: list[Any] = []
    settings: dict[str, Any] = {}
    for p in parameters:
        if p.kind is p.VAR_POSITIONAL:
            given, settings = [*settings.values()], {}
            given += [EVERY[rng.integers(len(EVERY))]() for _ in range(rng.integers(3))]
        elif p.kind is not p.VAR_KEYWORD and (p.default is p.empty or rng.random() < 0.45):
            settings[p.name] = drawn(rng, p)
    return given, settings


def attempt(what: str, names: set[str] | None, call: Callable[[], Any]) -> Any:
    """The result, or None where the call was refused under one of the names, None: any of the library.

    Fails on any other end.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return call()
    except MemoryError:
        return None
    except Exception as error:
        named = NAMED.match(str(error))
        if (
            named
            and isinstance(error, REFUSALS)
            and (names is None or _plain(named[1].rpartition(".")[2]) in names)
        ):
            return None
        if isinstance(error, TypeError) and SIGNATURE.match(str(error)):
            return None
        raise AssertionError(f"{what}: {type(error).__name__}: {str(error)[:200]}") from error


def _shown(name: str, given: list[Any], settings: dict[str, Any]) -> str:
    words = [*map(describe, given), *(f"{key}={describe(value)}" for key, value in settings.items())]
    return f"{name}({', '.join(words)})"


@grouped(("place", "name"), list(_functions()))
def test_functions(place: str, name: str) -> None:
    function = getattr(_place(place), name)
    method = place == "Tensor"
    rng = np.random.default_rng([SEED, *map(ord, place + name)])
    for _ in range(CALLS):
        given, settings = arguments(rng, _parameters(function)[method:])
        if method:
            given.insert(0, TENSORS[rng.integers(len(TENSORS))]())
        what = _shown(f"{place}.{name}", given, settings)
        attempt(what, _names(name, function), lambda g=given, s=settings: function(*g, **s))


def _classes() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name in (*KINDS, "LBFGS"):
        yield "optim", name, {"params": [rv.ones(2, requires_grad=True)]}
    optimizer = optim.SGD([rv.ones(2, requires_grad=True)], lr=0.1, momentum=0.9)
    for name, right in SCHEDULES.items():
        yield "optim.lr_scheduler", name, {"optimizer": optimizer, **right}
    for place, table in (("distributions", DISTRIBUTIONS), ("data", DATA), ("train", CALLBACKS)):
        yield from ((place, name, right) for name, right in table.items())


SCHEDULES: dict[str, Any] = {
    "ConstantLR": {},
    "CosineAnnealingLR": {"T_max": 3},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "CyclicLR": {"base_lr": 0.1, "max_lr": 0.5},
    "ExponentialLR": {"gamma": 0.5},
    "LinearLR": {},
    "MultiStepLR": {"milestones": [1, 2]},
    "OneCycleLR": {"max_lr": 0.5, "total_steps": 10},
    "ReduceLROnPlateau": {},
    "StepLR": {"step_size": 2},
}
DISTRIBUTIONS: dict[str, Any] = {
    name: dict(zip(inspect.signature(getattr(rv.distributions, name)).parameters, rows[0], strict=False))
    for name, (rows, _) in TABLE.items()
}
DISTRIBUTIONS |= {"AffineTransform": {"loc": 0.0, "scale": 1.0}, "TanhTransform": {}}
DATA: dict[str, Any] = {
    **{name: {"data_source": [1, 2, 3]} for name in ("RandomSampler", "SequentialSampler")},
    "BatchSampler": {"sampler": [0, 1, 2], "batch_size": 2, "drop_last": False},
    "Compose": {"transforms": []},
    "ConcatDataset": {"datasets": [[1, 2], [3]]},
    "DataLoader": {"dataset": [1, 2, 3]},
    "DistributedSampler": {"dataset": [1, 2, 3], "num_replicas": 2, "rank": 1},
    "Subset": {"dataset": [1, 2, 3], "indices": [0]},
    "SubsetRandomSampler": {"indices": [0, 1]},
    "WeightedRandomSampler": {"weights": [0.1, 0.9], "num_samples": 2},
}
CALLBACKS: dict[str, Any] = {"EarlyStopping": {}, "ProgressBar": {}}


@grouped(("place", "name", "right"), list(_classes()))
def test_classes(place: str, name: str, right: dict[str, Any]) -> None:
    """The settings when an object is made, then a step of optimizers and schedules, a draw of others."""
    make = getattr(_place(place), name)
    rng = np.random.default_rng([SEED, *map(ord, name)])
    parameters = [p for p in _parameters(make) if p.kind is not p.VAR_KEYWORD and p.name not in CALLED]
    for _ in range(5 * CALLS):
        p = parameters[rng.integers(len(parameters))]
        settings = {**right, p.name: drawn(rng, p)}
        what = _shown(name, [], settings)
        made = attempt(what, {_plain(name)}, lambda s=settings: make(**s))
        if made is None:
            continue
        if hasattr(made, "step"):
            given = () if rng.random() < 0.5 else (EVERY[rng.integers(len(EVERY))](),)
            attempt(_shown(f"{what}.step", given, {}), {_plain(name)}, lambda m=made, g=given: m.step(*g))
        elif hasattr(made, "sample"):
            attempt(f"{what}.sample()", {_plain(name)}, made.sample)
        elif hasattr(made, "__iter__"):
            attempt(f"next({what})", {_plain(name), "defaultcollate"}, lambda m=made: next(iter(m), None))


def test_numbers_as_tensors() -> None:
    """Tensors of one number where a number is expected, and True where PyTorch takes it."""
    x, one = _numbers(2, 3), rv.tensor(1)
    pairs = [
        (x.select(1, one), x.select(1, 1)),
        (x.movedim(rv.tensor(0), one), x.movedim(0, 1)),
        (x.norm(rv.tensor(3.0)), x.norm(3.0)),
        (x.clamp(min=True), x.clamp(min=1)),
        (x.clamp_min(True), x.clamp_min(1)),
    ]
    for ours, right in pairs:
        assert ours.dtype == right.dtype
        np.testing.assert_array_equal(ours.numpy(), right.numpy())


class _Broken(list[int]):
    def __len__(self) -> int:
        raise KeyError("the user's")


@pytest.mark.parametrize(
    ("call", "cause"),
    [
        (lambda: rv.utils.data.default_collate([]), "(IndexError: list index out of range)"),
        (lambda: ReduceLROnPlateau(_optimizer()).step("a"), "not convert string to float: 'a')"),
    ],
)
def test_the_general_sentence_ends_with_the_cause(call: Any, cause: str) -> None:
    refused((ValueError, TypeError), cause, call)
    refused((ValueError, TypeError), "that it can work with (", call)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: nn.init.normal_(None), "[normal_] got tensor None; expected a Tensor"),
        (lambda: nn.init.xavier_uniform_(nn.Flatten()), "[xavier_uniform_] got tensor Flatten(start_dim=1"),
        (lambda: nn.init.xavier_uniform_(rv.ones(2, 2), "1"), "got gain '1'; expected a number"),
        (lambda: nn.init.kaiming_normal_("w"), "[kaiming_normal_] got tensor 'w'; expected a Tensor"),
        (lambda: rv.histc(rv.ones(2), "a"), "[histc] got bins 'a'; expected a whole number"),
        (lambda: nn.utils.weight_norm("layer"), "[weight_norm] got module 'layer'; expected a module"),
        (
            lambda: nn.utils.weight_norm(nn.Linear(2, 2), dim="x"),
            "[weight_norm] got dim 'x'; expected a whole",
        ),
        (lambda: nn.utils.weight_norm(nn.Linear(2, 2), dim=2), "[weight_norm] got dim 2 for 2 dimensions"),
        (
            lambda: nn.utils.parameters_to_vector("x"),
            "[parameters_to_vector] got parameters 'x'; expected a list",
        ),
        (
            lambda: nn.utils.vector_to_parameters(5, []),
            "[vector_to_parameters] got vec of type int; expected a T",
        ),
        (
            lambda: rv.data.random_split(range(4), [0.5, "a"]),
            "[random_split] got lengths[1] 'a'; expected a number",
        ),
        (lambda: rv.data.random_split(range(4), 5), "[random_split] got lengths 5; expected a list"),
        (
            lambda: rv.ones(2).type("abc"),
            "got dtype 'abc'; expected a dtype, such as float32 (TypeError: data type",
        ),
        (
            lambda: rv.utils.data.default_collate(5),
            "[default_collate] got batch 5; expected a list of samples",
        ),
        (lambda: rv.data.random_split(5, [1]), "[random_split] got dataset 5; expected a data set"),
        (lambda: rv.data.RandomSampler(5), "[RandomSampler] got data_source 5; expected a data set"),
        (
            lambda: rv.data.ConcatDataset([1, "a"]),
            "[ConcatDataset] got datasets [1, 'a']; expected a list of data",
        ),
        (
            lambda: rv.data.WeightedRandomSampler("x", 1),
            "[WeightedRandomSampler] got weights 'x'; expected a list",
        ),
        (lambda: nn.ModuleDict(5), "[ModuleDict] got modules 5; expected a dict or None"),
        (
            lambda: nn.AvgPool1d(nn.ReLU()),
            "[AvgPool1d] got kernel_size ReLU(); expected a whole number, or one",
        ),
        (lambda: rv.arange("a"), "[arange] got start 'a'; expected a number"),
        (
            lambda: rv.full_like(rv.ones(2), [1, "a"]),
            "[full_like] got fill_value [1, 'a']; expected a number",
        ),
        (lambda: nn.functional.cosine_similarity(-3, 1), "[cosine_similarity] got x1 -3; expected a Tensor"),
        (
            lambda: nn.functional.affine_grid(rv.ones(1, 2, 3), 5),
            "[affine_grid] got size 5; expected the sizes",
        ),
        (
            lambda: LambdaLR(_optimizer(), lambda epoch: None),
            "got a result of lr_lambda, None; expected a number",
        ),
        (lambda: rv.einsum("ij"), "[einsum] got 'ij' without operands; expected one for each term"),
        (lambda: rv.zeros(2, dtype="x"), "[zeros] got dtype 'x'; expected a dtype, such as float32"),
        (
            lambda: rv.bernoulli(rv.ones(2), generator="x"),
            "[bernoulli] got generator 'x'; expected a Generator",
        ),
    ],
)
def test_an_argument_of_another_type_is_named_with_the_type_expected(call: Any, text: str) -> None:
    refused((TypeError, IndexError, ValueError), text, call)


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("[conv2d] got x of type str; expected a NumPy array", lambda: rv._core.conv2d("a", 1, 2)),
        ("[constant_] got 'a'; expected numbers", lambda: nn.init.constant_(rv.ones(2), "a")),
        ("[amax] got axis 5 for an array of 1 dimensions; expected -1 to 0", lambda: rv.amax(rv.ones(2), 5)),
        ("[cov] got x of shape (1, 1, 1); expected at most two dimensions", lambda: rv.cov(rv.ones(1, 1, 1))),
        ("[bmm] got shapes (2, 3) and (); expected 3 and 3 dimensions", lambda: rv.bmm(rv.ones(2, 3), 1)),
    ],
)
def test_the_parts_of_an_error_are_attributes(text: str, call: Any) -> None:
    """Of the core's errors, and of those that come through a public function, which puts its name in."""
    with pytest.raises((ValueError, TypeError)) as raised:
        call()
    error: Any = raised.value
    assert str(error) == f"[{error.op}] got {error.got}; expected {error.expected}" == text


def _optimizer() -> Any:
    return optim.SGD([rv.ones(1)], lr=0.1)


def test_errors_of_users_code_stay() -> None:
    def broken(*args: Any) -> Any:
        raise KeyError("the user's")

    for call in (
        lambda: rv.data.RandomSampler(_Broken()),
        lambda: LambdaLR(optim.SGD([rv.ones(2)], lr=0.1), broken),
    ):
        refused(KeyError, "the user's", call)
