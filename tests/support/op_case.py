"""OpCase: declare an op's inputs and its reference, get its tests.

A case says what the op is, what it is fed and what is expected; the base class holds the tests:

    class TestLeakyRelu(OpCase):
        op_name = "leaky_relu"      # ops.leaky_relu
        module = activation         # of reference, which has leaky_relu and leaky_relu_backward
        arguments = ("slope",)      # what follows the arrays in all four: self.slope
        variants = ({"slope": 0.01}, {"slope": 0.3})        # each test runs for each, set as attributes
        shape, large, empty = (3, 7), (41, 1013), (2, 0)    # of inputs, large_inputs and empty_inputs
        kinks = (0.0,)              # where it has no derivative

Every hook can be overridden instead (``op``, ``reference``, ``inputs``,
``draw`` ...). A test without its hook does not exist.
"""

import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from ranvier.autograd import Tensor, numeric_gradients
from support.draws import any_shape
from support.grouped import each_case
from support.layouts import LAYOUTS, along_axes, any_layout, in_layout
from support.op_values import check_views, double, gradient_for, listed
from support.tolerance import tolerance

Array = np.ndarray[Any, Any]
FLOATS = ("float32", "float64")
ENTRIES = 25  # elements of each input that central differences look at
# one, vectors of each level and dtype and one more and less, tiles and blocks
WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 22, 31, 33, 64, 65, 128, 129, 145, 257)
LARGEST = 4000  # elements of an input of one of these sizes
SECOND_ENTRIES = 5  # and those of second gradients
DRAWS = int(os.environ.get("RANVIER_DRAWS", "6"))  # random calls of each case


class OpCase:
    op_name: ClassVar[str | tuple[str, ...]]  # the names in ranvier.ops that this case covers
    name: ClassVar[str] = ""  # the one of them that a variant tests
    module: ClassVar[Any] = None  # of reference, which has the function and its _backward
    reference_name: ClassVar[str] = ""  # if it has another name there
    arguments: ClassVar[tuple[str, ...]] = ()  # settings that follow the arrays, by position
    saves_y: ClassVar[bool] = False  # the reference's backward receives the result instead of the inputs
    variants: ClassVar[Sequence[dict[str, Any]]] = ({},)
    dtypes: ClassVar[tuple[str, ...]] = FLOATS
    layouts: ClassVar[tuple[str, ...]] = LAYOUTS
    differentiable: ClassVar[bool] = True  # False: forward only (comparisons, argmax ...)
    twice: ClassVar[bool] = True  # False: create_graph=True is refused
    exact: ClassVar[bool] = False  # True: the result equals the reference bit for bit (moves, comparisons)
    inner: ClassVar[float] = 0.0  # what is as large inside the op, and cancels: 1 in 1 - tanh(x) ** 2
    kinks: ClassVar[tuple[float, ...]] = ()  # values of the first input where the op has no derivative
    # shapes for ``sized``: sizes just off the vector width find most mistakes
    shape: ClassVar[Any] = None
    large: ClassVar[Any] = None  # large enough for a team of threads, with a remainder
    empty: ClassVar[Any] = None  # one dimension is zero
    any_size: ClassVar[bool] = False  # True: any size may stand in place of one of ``shape``
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0

    # --- the inputs
    def sized(self, rng: np.random.Generator, dtype: Any, shape: Any) -> tuple[Array, ...]:
        """Inputs of this shape, or of these shapes: uniform numbers from ``low`` to ``high``."""
        shapes = shape if len(shape) and isinstance(shape[0], (tuple, list)) else (shape,)
        return tuple(np.asarray(rng.uniform(self.low, self.high, s)).astype(dtype) for s in shapes)

    def inputs(self, rng: np.random.Generator, dtype: Any) -> tuple[Array, ...]:
        return self.sized(rng, dtype, self.shape)

    def large_inputs(self, rng: np.random.Generator, dtype: Any) -> tuple[Array, ...]:
        return self.inputs(rng, dtype) if self.large is None else self.sized(rng, dtype, self.large)

    def empty_inputs(self, dtype: Any) -> tuple[Array, ...]:
        return self.sized(np.random.default_rng(0), dtype, self.empty)

    def resized(self) -> Iterator[Any]:
        """What ``sized`` is given: ``shape`` with its last size replaced by each of WIDTHS, others by
        some of them."""
        sizes = list(dict.fromkeys(n for n in _sizes(self.shape or ()) if n > 1))
        for at, size in enumerate(reversed(sizes)):
            yield from (_replaced(self.shape, size, n) for n in WIDTHS[at :: at + 1])

    def draw(self, rng: np.random.Generator, dtype: Any) -> tuple[dict[str, Any], tuple[Array, ...]]:
        """Settings (as in ``variants``) and inputs, both at random; their layouts are drawn afterwards."""
        settings = self.drawn_variant(rng)
        return settings, self.sized(rng, dtype, self.drawn_shape(rng))

    def drawn_shape(self, rng: np.random.Generator) -> Any:
        return any_shape(rng)

    def drawn_variant(self, rng: np.random.Generator) -> dict[str, Any]:
        """One of ``variants``, set as attributes."""
        settings = self.variants[int(rng.integers(len(self.variants)))]
        self._settings(settings)
        return settings

    # --- the op and its reference
    def after(self, *arrays: Any) -> tuple[Any, ...]:
        """What follows the arrays in a call of the op and the reference."""
        return tuple(getattr(self, name) for name in self.arguments)

    def op(self, *tensors: Tensor) -> Any:
        """The op on Tensors: one Tensor, or a tuple of them."""
        return getattr(ops, self.name or self.op_name)(*tensors, *self.after(*tensors))

    def reference(self, *arrays: Array) -> Any:
        """The expected value, in plain NumPy, independent of the op; it is called in float64."""
        return getattr(self.module, self._reference_name)(*arrays, *self.after(*arrays))

    def reference_backward(self, dy: Any, *arrays: Array) -> tuple[Any, ...]:
        """The expected gradient of each input, None where there is none; dy: a tuple for several outputs."""
        saved = (self.reference(*arrays),) if self.saves_y else arrays
        found = getattr(self.module, f"{self._reference_name}_backward")(dy, *saved, *self.after(*arrays))
        gradients = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        return gradients + (None,) * (len(arrays) - len(gradients))

    @property
    def _reference_name(self) -> Any:
        return self.reference_name or self.name or self.op_name

    # --- how far a result may be off
    def reduction(self, *arrays: Array) -> int:
        """The longest sum that an output element or a gradient element is made of."""
        return 1

    def magnitude(self, *arrays: Array) -> float:
        """The largest term of such a sum; here of inputs, outputs and gradients (at least 1)."""
        return max([1.0, *(float(np.max(np.abs(a))) for a in arrays if a.size and a.dtype.kind == "f")])

    def off_kinks(self, *arrays: Array) -> tuple[Array, ...]:
        """The inputs moved by more than 0.01 from where the op has no derivative (relu at 0, ties of max)."""
        x, *others = arrays or (None,)
        for kink in self.kinks:
            x = np.where(np.abs(x - kink) < 0.01, x + np.asarray(0.03, x.dtype), x)
        return (x, *others) if arrays else ()

    # --- the machinery
    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        given = {
            "test_empty": cls.empty is not None or cls.empty_inputs is not OpCase.empty_inputs,
            "test_forward_and_gradients_when_drawn": cls.draw is not None,
            "test_every_size": cls.any_size or cls.resized is not OpCase.resized,
            "test_gradients": cls.differentiable,
            "test_second_gradients": cls.differentiable,
            "test_reference_gradients": cls.differentiable,
        }
        for test in [test for test in given if test not in vars(cls)]:  # in the same order in each process
            chosen = (getattr(cls, test) or getattr(OpCase, test)) if given[test] else None
            setattr(cls, test, chosen)  # pytest does not collect None

    @pytest.fixture(autouse=True)
    def _of_variant(self, variant: Any) -> None:
        """variant: settings, or a group of cases, each with a dtype (`each_case`)."""
        self._settings(variant if isinstance(variant, dict) else {"cases": variant})

    def _settings(self, variant: dict[str, Any]) -> None:
        for name, value in variant.items():
            setattr(self, name, value)

    def _run(
        self, arrays: tuple[Array, ...], gradients: bool = True, of_dy: str = ""
    ) -> tuple[list[Array], Any, list[Any]]:
        """Outputs, the dy in this layout that was sent back through them, and the gradients of the inputs."""
        without = listed(self.op(*map(rv.autograd.wrap, arrays)))
        assert not any(y.requires_grad for y in without)
        plain = [y._array for y in without]
        if not (gradients and self.differentiable):
            return plain, None, []
        leaves = [rv.autograd.wrap(a, requires_grad=a.dtype.kind == "f") for a in arrays]
        outs = listed(self.op(*leaves))
        check_views(outs, arrays)
        for y, z in zip(outs, plain, strict=True):  # no node was made for these
            np.testing.assert_array_equal(y._array, z, strict=True)
            assert y._array.strides == z.strides
        floating = [y for y in outs if y.requires_grad]
        dys = [in_layout(gradient_for(y._array), of_dy) for y in floating]
        wanted = [x for x in leaves if x.requires_grad]
        alone = [
            rv.autograd.grad(floating, x, dys, retain_graph=True, allow_unused=True)[0] for x in wanted[1:]
        ]
        found = rv.autograd.grad(floating, wanted, dys, allow_unused=True)
        for one, g in zip(alone, found[1:], strict=True):  # the others are not computed
            assert (one is None) == (g is None)
            assert g is None or one.numpy().tobytes() == g.numpy().tobytes()
        found = iter(found)
        grads = [next(found) if x.requires_grad else None for x in leaves]
        raw = [None if g is None else g._array for g in grads]
        return [y._array for y in outs], dys, raw

    def _expected(self, exact: list[Array], dys: Any) -> tuple[list[Any], Any]:
        """What the reference gives: outputs, and gradients for these dy (None: no gradients)."""
        outputs = listed(self.reference(*exact))
        if dys is None:
            return outputs, None
        gradients = self.reference_backward(dys if len(dys) > 1 else dys[0], *exact)
        assert len(gradients) == len(exact), "reference_backward returns a gradient, or None, for each input"
        return outputs, gradients

    def _compare(
        self,
        arrays: tuple[Array, ...],
        gradients: bool,
        isas: Iterable[str] = ("",),
        layouts: Iterable[tuple[str, str]] = (("", ""),),
    ) -> None:
        """Runs the op at these ISA levels and on inputs and gradients in these layouts, and compares it with
        the float64 reference, which is computed once."""
        exact = [double(a) for a in arrays]
        want: list[Any] = []
        for isa, orders in ((isa, orders) for isa in isas for orders in layouts):  # not all levels at once
            given = tuple(in_layout(a, orders[0]) for a in arrays)
            ys, dys, grads = self._run(given, gradients, orders[1])
            if not want:
                dy = tuple(double(d) for d in dys) if gradients else None
                outputs, wanted = self._expected(exact, dy)
                floats = [a for a in arrays if a.dtype.kind == "f"]
                dtype = floats[0].dtype if floats else np.dtype("float32")
                others = (*outputs, *(dy or ()), *(wanted or ()))
                terms = [*arrays, *(np.asarray(x) for x in others if x is not None)]
                limits = self.reduction(*arrays), self.magnitude(*terms)
                want = [*outputs, *(wanted or ())]
                noise = functools.cache(functools.partial(self._noise, exact, dy, dtype, want))
                names = [f"output {i}" for i in range(len(outputs))]
                names += [f"gradient of input {i}" for i in range(len(wanted or ()))]
            for index, (name, got, right) in enumerate(zip(names, [*ys, *grads], want, strict=True)):
                what = " ".join(filter(None, (isa, *orders, name)))
                if right is None:
                    assert got is None or not got.any(), f"{what}: got one, expected none"
                    continue
                assert got is not None, f"{what} is missing"
                if index >= len(ys):
                    assert got.dtype == arrays[index - len(ys)].dtype, what
                self._check(what, got, right, dtype, limits, lambda times, of=noise, at=index: of(times)[at])

    def _noise(self, exact: list[Array], dy: Any, dtype: Any, want: list[Any], times: int) -> list[Any]:
        """How far each expected element moves where inputs differ by a rounding; nan: not compared with it.

        Where no sums are involved, each input (and dy) is moved alone: the sum over the inputs is the op's
        condition, |df/dx| |x| eps, in which nothing cancels. Else all are moved at random, some times; where
        a sum of two terms happens to keep its value each time, more often.
        """
        if self.exact:
            return [np.nan] * len(want)
        rng, eps, given = np.random.default_rng(1), float(np.finfo(dtype).eps), [*exact, *(dy or ())]
        floats = [i for i, a in enumerate(given) if a.dtype.kind == "f"]

        def change(moved: list[int]) -> list[Any]:
            arrays = [
                a * (1 + eps * rng.choice([-1.0, 1.0], a.shape)) if i in moved else a
                for i, a in enumerate(given)
            ]
            found = self._expected(arrays[: len(exact)], None if dy is None else tuple(arrays[len(exact) :]))
            pairs = zip([*found[0], *(found[1] or ())], want, strict=True)
            return [np.abs(f - w) if np.asarray(w).dtype.kind == "f" else 0.0 for f, w in pairs]

        alone = self.reduction(*exact) == 1
        with np.errstate(invalid="ignore"):  # inf - inf
            changes = [change(moved) for moved in ([[i] for i in floats] if alone else [floats] * times)]
            found = [sum(c) if alone else np.max(c, axis=0) for c in zip(*changes, strict=True)]
            return found or [0.0] * len(want)

    def _check(self, what: str, got: Array, want: Any, dtype: Any, limits: Any, noise: Any) -> None:
        want = np.asarray(want)
        assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
        if got.dtype.kind != "f" or self.exact:
            np.testing.assert_array_equal(got, want.astype(got.dtype), err_msg=what)
            return
        assert got.dtype == dtype, f"{what}: dtype {got.dtype}, expected {dtype}"
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance(dtype, *limits), err_msg=what)
        share, tiny, eps = 4 * tolerance(dtype, limits[0]), np.finfo(dtype).tiny, np.finfo(dtype).eps
        for times in (3, 30):  # small elements beside large ones, too
            moved = np.broadcast_to(noise(times), want.shape)
            finite = np.isfinite(want) & np.isfinite(moved)
            off = np.abs(got[finite] - want[finite])
            each = share * (np.abs(want[finite]) + self.inner + moved[finite] / eps) + tiny
            if (off < each).all():
                return
        np.testing.assert_array_less(off, each, err_msg=f"{what}, element by element")

    # --- the tests
    def test_forward(self, rng: Any, dtype: str, isas: Any) -> None:
        self._compare(self.inputs(rng, dtype), gradients=False, isas=isas)

    def test_gradients(self, rng: Any, dtype: str, isas: Any) -> None:
        self._compare(self.off_kinks(*self.inputs(rng, dtype)), gradients=True, isas=isas)

    def test_layouts(self, rng: Any) -> None:
        arrays = self.off_kinks(*self.inputs(rng, self.dtypes[0]))
        layouts = [(layout, of_dy) for layout in self.layouts for of_dy in ("", layout)]
        for each in (layouts, [("", "one element")]):
            self._compare(arrays, self.differentiable, layouts=each)

    def test_axes_backward_or_repeated(self, rng: Any, isas: Any) -> None:
        """A stride below 0, and one of 0, along each axis of each input."""
        for arrays in along_axes(self.inputs(rng, self.dtypes[0])):
            self._compare(arrays, gradients=False, isas=isas)

    def test_every_size(self, rng: Any, dtype: str, isas: Any) -> None:
        """Each in the next memory orders."""
        self.inner = max(self.inner, 1.0)  # of few terms the slopes may cancel
        orders = itertools.cycle(itertools.product(("", *self.layouts), repeat=2))
        for shape in self.resized():
            arrays = self.off_kinks(*self.sized(rng, dtype, shape))
            if max(a.size for a in arrays) <= LARGEST:
                self._compare(arrays, self.differentiable, isas=isas, layouts=[next(orders)])

    def test_same_bits_at_any_thread_count(self, rng: Any, threads: Any) -> None:
        arrays = self.large_inputs(rng, self.dtypes[0])
        runs = []
        for count in (1, 2, 3):
            threads(count)
            ys, _, grads = self._run(arrays)
            runs.append([a.tobytes() for a in (*ys, *grads) if a is not None])
            assert runs[-1] == runs[0], f"{count} threads"

    @pytest.mark.slow
    def test_reference_gradients(self, rng: Any) -> None:
        """The reference itself, against central differences."""
        arrays = self.off_kinks(*self.inputs(rng, "float64"))
        ys = [np.asarray(y) for y in listed(self.reference(*arrays))]
        keep = [i for i, y in enumerate(ys) if y.dtype.kind == "f"]
        dys = tuple(gradient_for(ys[i]) for i in keep)
        numeric = numeric_gradients(
            lambda *a: [listed(self.reference(*a))[i] for i in keep], arrays, dys, ENTRIES
        )
        wanted = self.reference_backward(dys if len(dys) > 1 else dys[0], *arrays)
        for index, (want, number) in enumerate(zip(wanted, numeric, strict=True)):
            checked = ~np.isnan(number)
            want = np.zeros(number.shape) if want is None else np.asarray(want)
            limit = 1e-6 * float(np.max(np.abs(number[checked]), initial=1.0))
            np.testing.assert_allclose(want[checked], number[checked], 0, limit, err_msg=f"input {index}")

    def test_second_gradients(self, rng: Any) -> None:
        """With create_graph: the same first gradients, and second ones against central differences."""
        arrays = self.off_kinks(*self.inputs(rng, "float64"))
        leaves = [rv.autograd.wrap(a, requires_grad=a.dtype.kind == "f") for a in arrays]
        ys = [y for y in listed(self.op(*leaves)) if y.requires_grad]
        wanted, dys = [x for x in leaves if x.requires_grad], [gradient_for(y._array) for y in ys]
        if not self.twice:
            with pytest.raises(NotImplementedError, match="got create_graph=True; expected"):
                rv.autograd.grad(ys, wanted, dys, create_graph=True, allow_unused=True)
            return
        settings = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        plain = rv.autograd.grad(ys, wanted, dys, **settings)
        first = rv.autograd.grad(ys, wanted, dys, create_graph=True, **settings)
        for got, want in zip(first, plain, strict=True):
            limit = tolerance("float64", self.reduction(*arrays), self.magnitude(*arrays, want._array))
            np.testing.assert_allclose(got._array, want._array, rtol=1e-12, atol=limit)
        assert rv.autograd.gradgradcheck(self.op, arrays, rtol=1e-5, entries=SECOND_ENTRIES)

    def test_empty(self, dtype: str) -> None:
        self._compare(self.empty_inputs(dtype), self.differentiable)

    def test_forward_and_gradients_when_drawn(self, rng: Any, dtype: str, isas: Any) -> None:
        """Each ISA level in turn."""
        levels = itertools.chain.from_iterable(itertools.repeat(isas))
        for arrays, _ in zip(self._drawn(rng, dtype), levels, strict=False):
            self._compare(arrays, gradients=self.differentiable)

    def _drawn(self, rng: Any, dtype: str) -> Iterator[tuple[Array, ...]]:
        """The inputs of DRAWS random calls; the last one printed is the one that failed."""
        for number in range(DRAWS):
            settings, arrays = self.draw(rng, dtype)
            self._settings(settings)
            arrays = tuple(map(np.asarray, self.off_kinks(*map(np.asarray, arrays))))
            arrays = tuple(any_layout(rng, a) for a in arrays)
            print(f"draw {number}: {settings} on {[(a.shape, a.strides, str(a.dtype)) for a in arrays]}")
            yield arrays


def _sizes(shape: Any) -> Iterator[int]:
    """The sizes of a shape, or of several."""
    for part in shape:
        yield from _sizes(part) if isinstance(part, (tuple, list)) else (part,)


def _replaced(shape: Any, old: int, new: int) -> Any:
    """Shapes with another size in place of one."""
    return tuple(
        _replaced(n, old, new) if isinstance(n, (tuple, list)) else new if n == old else n for n in shape
    )


for _name, _test in [(name, test) for name, test in vars(OpCase).items() if name.startswith("test_")]:
    setattr(OpCase, _name, each_case(_test))
