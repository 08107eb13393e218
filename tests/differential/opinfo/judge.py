"""Judges all samples of one OpInfo in all its forms. The verdicts:

right     the values, dtypes, shapes, shared memory and gradients of PyTorch; or both libraries refuse
wrong     anything else that was returned
refused   an error in the standard form, where PyTorch has an answer
apart     another answer by intention: APART says why
raw       another error: no `[op] got ...; expected ...`, not of a type that the library raises, or no
          IndexError where PyTorch has one; its RuntimeError is a ValueError here for shapes and values, a
          TypeError for dtypes
beyond    an answer where PyTorch refuses; nothing to compare with
absent    the sample holds what this library does not have at all (complex, sparse)
crash, hang  of the driver: the sample ended the process, or did not end in time

A pair (a, b) is always (ours, theirs): a value of this library and the same value of PyTorch. The pairs in
`Arguments` are in the other order.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import ranvier as rv
import torch
from differential.opinfo import compare
from differential.opinfo.driver import DTYPES
from differential.opinfo.forms import Form, forms_of
from differential.opinfo.samples import Arguments, NotHere, described, widened

STANDARD = re.compile(r"^\[[\w.]+\] got .+; expected .+", re.DOTALL)
TYPES = (ValueError, TypeError, RuntimeError, IndexError)
# Only shapes, dtypes and shared memory can be compared: PyTorch's samples draw from their own fixed seed.
RANDOM = {
    *("bernoulli", "cauchy", "empty", "empty_like", "empty_permuted", "empty_strided", "exponential"),
    *("geometric", "log_normal", "multinomial", "new_empty", "new_empty_strided", "normal", "rand_like"),
    *("randint", "randint_like", "randn", "randn_like", "uniform"),
    *(f"nn.functional.{name}" for name in ("alpha_dropout", "dropout", "dropout2d")),
    *("nn.functional.feature_alpha_dropout", "nn.functional.rrelu"),
}
# Among equal elements these may return any index: PyTorch promises none, here it is the first.
ANY_OF_EQUALS = {"argsort", "kthvalue", "median", "mode", "msort", "nanmedian", "sort", "topk"}
# By name and a part of the message: differences by intention; docs/from_pytorch.md lists them.
APART = {
    **{
        (
            f"special.{name}",
            "differ",
        ): "PyTorch's are up to 3e-7 from SciPy's between 4 and 8 (tests/unchanged)"
        for name in ("bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1")
    },
    ("as_strided", "differ"): "the samples that are parts of a view become arrays of their own",
    ("as_strided_scatter", "gradient 0"): "what is written over has the gradient 0",
    ("addr", "dtype int64"): "of bools integers, by this library's rule",
    ("sum_to_size", "result 0"): "a tensor of the size is the result itself",
    ("digamma", "gradient 0"): "inf at poles",
    ("nn.functional.conv_transpose3d", "result 0: 4 of 2744"): "rms errors 1.5e-5, 1.3e-5 beside 890",
    ("triangular_solve", "gradient 1: 1 of 100"): "terms cancel; rms errors 1.9e-8, PyTorch's 2.9e-8, of 400",
    ("nn.functional.scaled_dot_product_attention", "gradient 1: 1 of 768"): "rounded weights cancel",
    ("lgamma", "second"): "inf at poles",
    ("index_copy", "gradient 1"): "rows that another one overwrites have no gradient",
    ("nn.functional.max_unpool1d", "gradient 0"): "values that another one overwrites have no gradient",
    ("nn.functional.max_unpool2d", "gradient 0"): "values that another one overwrites have no gradient",
    ("nn.functional.poisson_nll_loss", "gradient 1"): "PyTorch's at a target of 0 is 0 times infinity",
    **{
        (name, "shares memory"): "memory_format=contiguous_format gives contiguous memory"
        for name in ("bool", "byte", "char", "double", "float", "half", "int", "long", "short")
    },
    **{(name, "shape"): "pairs of real numbers" for name in ("stft", *(f"fft.{n}" for n in rv.fft.__all__))},
    ("arange", "shape"): "limits lose their fractions first, in each dtype of integers",
    ("nn.functional.margin_ranking_loss", "result 0"): "no wrapping in uint8",
    ("nn.functional.triplet_margin_loss", "result 0"): "no wrapping in uint8",
}
# A reduction's axis is an argument of its kernel: ValueError. group_norm: PyTorch reads a missing dimension.
OTHER_ERROR = {"amax", "amin", "aminmax", "max", "min", "nn.functional.group_norm"}


@dataclass
class Verdict:
    """The result of one sample in one form."""

    op: str
    dtype: str
    form: str
    number: int
    verdict: str
    message: str = ""
    sample: str = ""


def samples_of(info: Any, dtype: str, which: str = "sample") -> Iterator[Any]:
    """PyTorch's samples of a dtype that it supports, the same in every run."""
    if which == "error":
        yield from (error.sample_input for error in info.error_inputs("cpu"))
        return
    torch_dtype = getattr(torch, dtype)
    if torch_dtype not in info.supported_dtypes("cpu"):
        return
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (PyTorch's samples draw from it)
    gradients = torch_dtype.is_floating_point and info.supports_autograd
    if dtype in compare.HALVES:
        gradients = torch_dtype in info.supported_backward_dtypes("cpu")
    if which == "reference":
        try:
            yield from list(info.reference_inputs("cpu", torch_dtype, requires_grad=gradients))
            return
        except (RuntimeError, ValueError):  # lists that PyTorch itself cannot make with gradients
            pass
    yield from info.sample_inputs("cpu", torch_dtype, requires_grad=gradients)


def judge(
    info: Any, title: str, begin: Any, most: int = 0, kind: str = "sample", dtypes: Sequence[str] = DTYPES
) -> Iterator[Verdict]:
    """The verdicts on an OpInfo; begin(dtype, form, number) is called before each sample. most, kind: see
    `driver.verdicts`."""
    if kind == "error":  # with their own dtypes
        dtypes = ("error",) if info.error_inputs_func is not None else ()
    if kind == "second":
        dtypes = ("float64",) if info.supports_gradgrad else ()
    for dtype in dtypes:
        samples = list(enumerate(islice(samples_of(info, dtype, kind), 1 if most == 1 else None)))
        step = max(len(samples) // most, 1) if most else 1
        for number, sample in samples[::step][: most or None]:
            for form in forms_of(info):
                if form.label.startswith("operator.") and sample.kwargs:
                    continue  # not even Python can say it
                of_tensor = form.in_place or form.label.startswith("Tensor.")
                if of_tensor and not isinstance(sample.input, torch.Tensor):
                    continue  # a number has no methods
                begin(dtype, form.label, number)
                verdict, message = judge_sample(info.name, form, sample, kind == "second")
                yield Verdict(title, dtype, form.label, number, verdict, message, described(sample))


def judge_sample(name: str, form: Form, sample: Any, second: bool = False) -> tuple[str, str]:
    """The verdict on one sample and its message. second: the gradients of the gradients are compared, too."""
    try:
        arguments = Arguments(sample)
    except NotHere as error:
        return "absent", str(error)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = _run(form.theirs, form, arguments.theirs, arguments.their_names)
        ours = _run(form.ours, form, arguments.ours, arguments.our_names)
        if isinstance(ours, Exception):
            return _verdict_on_error(name, ours, theirs)
        if isinstance(theirs, Exception):
            return "beyond", f"{type(theirs).__name__}: {theirs}"
        trained = sample.kwargs.get("training", True)
        drawn = (name in RANDOM and trained) or sample.kwargs.get("dropout_p", 0) > 0
        try:
            message = _difference(arguments, form, ours, theirs)
            if message:  # it may come from rounding, or from random numbers: compared in a wider dtype
                wider, equals = _in_wider(form, sample), name in ANY_OF_EQUALS
                message = _difference(arguments, form, ours, theirs, wider, drawn, equals)
            if second and not message and not drawn:
                message = _second_difference(arguments, compare.flat(ours), compare.flat(theirs))
        except Exception as error:
            if str(error).startswith("torch has no gradient"):
                return "beyond", str(error)
            verdict = "refused" if STANDARD.match(str(error)) else "raw"
            return verdict, f"while comparing, {type(error).__name__}: {error}"
    for (op, part), reason in APART.items():
        if message and op == name and part in message:
            return "apart", f"{reason}: {message}"
    return ("wrong", message) if message else ("right", "")


def _verdict_on_error(name: str, ours: Exception, theirs: Any) -> tuple[str, str]:
    """The verdict where this library raises an error; theirs: PyTorch's result or exception."""
    message = f"{type(ours).__name__}: {ours}"
    if not (isinstance(ours, TYPES) and STANDARD.match(str(ours))):
        return "raw", message
    if type(theirs) is IndexError and not isinstance(ours, IndexError):
        return ("apart" if name in OTHER_ERROR else "raw"), f"{message}: there an IndexError"
    return ("right" if isinstance(theirs, Exception) else "refused"), message


def _run(function: Any, form: Form, args: Any, kwargs: Any) -> Any:
    """The result or the exception; what a form in place changes is a clone."""
    try:
        torch.manual_seed(0)
        if form.in_place:
            first = args[0].clone()
            result = function(first, *args[1:], **kwargs)
            return _Unlike(result) if isinstance(first, rv.Tensor) and result is not first else result
        return function(*args, **kwargs)
    except Exception as error:
        return error


class _Unlike:
    """The result of a change in place that is not the tensor itself."""

    def __init__(self, result: Any) -> None:
        self.result = result


def _difference(
    arguments: Arguments,
    form: Form,
    ours: Any,
    theirs: Any,
    exact: Any = None,
    random: bool = False,
    equals: bool = False,
) -> str | None:
    """The first difference in words, or None.

    exact: PyTorch's results and gradients in a wider dtype, from which rounding is measured. random: values
    are drawn, and not compared. equals: an index may point to any of several equal elements.
    """
    if isinstance(ours, _Unlike):
        return "the result is not the tensor that was changed"
    ours, theirs = compare.flat(ours), compare.flat(theirs)
    if len(ours) != len(theirs):
        return f"got {len(ours)} results; expected {len(theirs)}"
    for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        difference = compare.kinds(a, b)
        if difference and random and difference.startswith("requires_grad"):
            difference = None  # PyTorch's draws are on the tape, with gradients of 0
        if not difference and not random:
            difference = compare.values(a, b, exact[0][index] if exact else None, _not_compared(arguments, b))
            if difference and equals and compare.dtype_name(b) == "int64":
                difference = _picked(arguments, a, b)
        if not difference and isinstance(b, torch.Tensor) and b.numel() and not form.in_place:
            pairs = arguments.pairs.values()
            shared = [compare.shares(a, [p[1] for p in pairs]), compare.shares(b, [p[0] for p in pairs])]
            if shared[0] != shared[1]:
                difference = f"shares memory with an argument: {shared[0]}; expected {shared[1]}"
        if difference:
            return f"result {index}: {difference}"
    for index, (b, a) in enumerate(arguments.pairs.values()):
        if difference := compare.values(a, b):
            return f"argument {index} after the call: {difference}"
    cancels = form.label.endswith(("cov", "logcumsumexp"))
    return _gradients(arguments, ours, theirs, random, exact, cancels, equals)


def _gradients(
    arguments: Arguments, ours: Any, theirs: Any, random: bool, exact: Any, cancels: bool, equals: bool
) -> str | None:
    """The first difference between gradients, or None. cancels: terms as large as the results cancel; equals:
    which of equal elements has the gradient is open."""
    outputs = [
        (a, b)
        for a, b in zip(ours, theirs, strict=True)
        if isinstance(b, torch.Tensor) and b.requires_grad and (a.requires_grad or not random)
    ]
    leaves = arguments.leaves
    if not outputs or not leaves:
        return None
    cotangents = compare.cotangents([b for _, b in outputs])
    try:
        expected = torch.autograd.grad(
            [b for _, b in outputs],
            [b for b, _ in leaves],
            [torch.from_numpy(c).to(b.dtype) for c, (_, b) in zip(cotangents, outputs, strict=True)],
            retain_graph=True,
            allow_unused=True,
        )
    except Exception as error:
        raise RuntimeError(f"torch has no gradient: {error}") from error
    got = rv.autograd.grad(
        [a for a, _ in outputs],
        [a for _, a in leaves],
        [rv.tensor(c, dtype=a.dtype) for c, (a, _) in zip(cotangents, outputs, strict=True)],
        retain_graph=True,
        allow_unused=True,
    )
    # rounding of terms as large as the results: they cancel in the gradient of a weight of cov, and are in
    # the exponents of that of logcumsumexp
    largest = max(float(np.abs(compare.array_of(b)).max(initial=0)) for _, b in outputs)
    for index, (a, b) in enumerate(zip(got, expected, strict=True)):
        if b is None:  # PyTorch's way to say that it is 0
            if a is None:
                continue
            b = torch.zeros_like(leaves[index][0])
        if a is None:
            return f"gradient {index}: got None; expected a tensor of shape {tuple(b.shape)}"
        difference = compare.kinds(a, b)
        if not difference and not random:
            # at arguments that are not finite PyTorch's gradients depend on the array's length: its code for
            # vectors and that for single elements differ
            ignored = _where(lambda x: ~np.isfinite(x), arguments)
            if cancels:
                close = np.abs(compare.array_of(a) - compare.array_of(b))
                ignored = close <= 16 * np.finfo(close.dtype).eps * largest
            if equals and index == 0:
                _, place, counts = np.unique(
                    compare.array_of(leaves[0][0]), return_inverse=True, return_counts=True
                )
                ignored = counts[place].reshape(b.shape) > 1
            difference = compare.values(a, b, exact[1][index] if exact and len(exact[1]) else None, ignored)
        if difference:
            return f"gradient {index}: {difference}"
    return None


def _second_difference(arguments: Arguments, ours: Any, theirs: Any) -> str | None:
    """A difference between the gradients of the gradients, which create_graph=True gives."""
    outputs = [(a, b) for a, b in zip(ours, theirs, strict=True) if getattr(b, "requires_grad", False)]
    leaves = arguments.leaves
    if not outputs or not leaves:
        return None
    cotangents = compare.cotangents([b for _, b in outputs])
    seconds = []
    for library, i in ((rv, 0), (torch, 1)):
        inputs = [pair[1 - i] for pair in leaves]
        seeds = [library.from_numpy(c) for c in cotangents]
        results = [pair[i] for pair in outputs]
        first = library.autograd.grad(results, inputs, seeds, create_graph=True, allow_unused=True)
        try:
            seconds.append(_gradients_of_gradients(library, first, inputs))
        except Exception as error:
            if library is torch:
                raise RuntimeError(f"torch has no gradient: {error}") from error
            raise
    ignored = _where(lambda x: ~np.isfinite(x), arguments)
    for index, (a, b) in enumerate(zip(*seconds, strict=True)):
        with np.errstate(invalid="ignore"):
            rtol = 1e-6 if b.dtype == np.float64 else 1e-4
            close = np.isclose(a, b, rtol, rtol * max(1.0, np.nan_to_num(np.abs(b)).max(initial=0)))
        close |= ~np.isfinite(b)  # PyTorch divides 0 by 0
        if ignored is not None and ignored.shape == close.shape:
            close |= ignored
        if not close.all():
            at = tuple(int(i) for i in np.argwhere(~close)[0])
            differ = f"second gradient {index}: {int((~close).sum())} of {a.size} differ"
            return f"{differ}, at {at}: {a[at]}; expected {b[at]}"
    return None


def _gradients_of_gradients(library: Any, first: Any, leaves: Any) -> list[Any]:
    """The gradient of the first gradients, weighted by fixed numbers for each leaf; zeros if none."""
    pairs = [
        (g, library.from_numpy(np.cos(np.arange(g.numel(), dtype=np.float64)).reshape(tuple(g.shape))))
        for g in first
        if g is not None and g.requires_grad
    ]
    if not pairs:
        return [np.zeros(tuple(x.shape)) for x in leaves]
    second = library.autograd.grad([g for g, _ in pairs], leaves, [c for _, c in pairs], allow_unused=True)
    return [
        np.zeros(tuple(x.shape)) if g is None else compare.array_of(g)
        for g, x in zip(second, leaves, strict=True)
    ]


def _not_compared(arguments: Arguments, result: Any) -> Any:
    """The elements whose values are not compared; None if there are none.

    They come from NaN, which stays NaN here also where PyTorch drops it (its sign is 0 there), or from
    infinities where PyTorch gives NaN instead of the limit.
    """
    at_nan, not_finite = _where(np.isnan, arguments), _where(lambda x: ~np.isfinite(x), arguments)
    array = compare.array_of(result) if isinstance(result, torch.Tensor) else np.zeros(0)
    if not_finite is None or not_finite.shape != array.shape or array.dtype.kind != "f":
        return at_nan
    return at_nan | (not_finite & np.isnan(array))


def _where(test: Any, arguments: Arguments) -> Any:
    """Where the test is true of a floating argument, broadcast with the others; None if they do not fit."""
    arrays = [compare.array_of(b) for b, _ in arguments.pairs.values() if b.is_floating_point()]
    if not arrays:
        return None
    try:
        masks = np.broadcast_arrays(*map(test, arrays))
    except ValueError:
        return None
    return np.logical_or.reduce(masks)


def _picked(arguments: Arguments, a: Any, b: Any) -> str | None:
    """A difference between the elements that two indices along one axis pick from the first argument."""
    x = next(iter(arguments.pairs.values()))[0].detach()
    for axis in range(x.ndim):
        pair = [_along(x, torch.from_numpy(compare.array_of(index)), axis) for index in (a, b)]
        if None not in pair and torch.equal(*pair):
            return None
    return "the indices pick other elements"


def _along(x: torch.Tensor, index: torch.Tensor, axis: int) -> Any:
    """The elements of x at an index along one axis; None where the index is none of that axis."""
    try:
        index = index if index.ndim == x.ndim else index.unsqueeze(axis)
        return x.take_along_dim(index, axis)
    except (IndexError, RuntimeError):
        return None


def _in_wider(form: Form, sample: Any) -> Any:
    """PyTorch's results and gradients with float32 as float64, halves as float32; None where it cannot."""
    try:
        arguments = Arguments(sample.transform(widened))
        results = compare.flat(_run(form.theirs, form, arguments.theirs, arguments.their_names))
        outputs = [y for y in results if isinstance(y, torch.Tensor) and y.requires_grad]
        leaves = [leaf for leaf, _ in arguments.leaves]
        gradients: Any = ()
        if outputs and leaves:
            gradients = torch.autograd.grad(
                outputs, leaves, [torch.from_numpy(c) for c in compare.cotangents(outputs)], allow_unused=True
            )
    except Exception:
        return None
    return results, gradients
