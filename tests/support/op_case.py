"""OpCase: declare an op's inputs and its reference, get its tests.

A case says what the op is, what it is fed and what is expected; the base class holds the tests:

    class TestRelu(OpCase):
        op_name = "relu"

        def inputs(self, rng, dtype):
            return (rng.standard_normal((3, 4)).astype(dtype),)

        def op(self, x):
            return ops.relu(x)

        def reference(self, x):
            return reference.relu(x)

        def reference_backward(self, dy, x):
            return (reference.relu_backward(dy, x),)

``variants`` lists settings of the op; each test runs for each, with the settings as attributes of the case:

        variants = ({"stride": 1}, {"stride": 2})      # self.stride

The other hooks (``reduction``, ``off_kinks``, ``empty_inputs``, ``torch_op``, ``draw`` ...) are described
where they are declared. A test whose hook a case does not give is not there, rather than skipped.
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import ranvier as rv
from ranvier.autograd import Tensor, numeric_gradients
from support.layouts import LAYOUTS, any_layout, in_layout
from support.tolerance import tolerance

Array = np.ndarray[Any, Any]
Expected = Callable[[list[Array], Any], tuple[list[Any], Any]]  # inputs, dys -> outputs, gradients
FLOATS = ("float32", "float64")
ENTRIES = 60  # elements of each input that central differences look at
DRAWS = int(os.environ.get("RANVIER_DRAWS", "12"))  # random calls of each case


class OpCase:
    """The tests of one op: see the module's text."""

    registry: ClassVar[dict[str, list[type[OpCase]]]] = {}

    op_name: ClassVar[str | tuple[str, ...]]  # the names in ranvier.ops that this case covers
    variants: ClassVar[Sequence[dict[str, Any]]] = ({},)
    dtypes: ClassVar[tuple[str, ...]] = FLOATS
    layouts: ClassVar[tuple[str, ...]] = LAYOUTS
    differentiable: ClassVar[bool] = True  # False: forward only (comparisons, argmax ...)
    exact: ClassVar[bool] = False  # True: the result equals the reference bit for bit (moves, comparisons)
    inner: ClassVar[float] = 0.0  # what is as large inside the op, and cancels: 1 in 1 - tanh(x) ** 2

    # --- what a case declares
    def inputs(self, rng: np.random.Generator, dtype: Any) -> tuple[Array, ...]:
        """The arrays fed to the op; sizes just off the vector width find most mistakes."""
        raise NotImplementedError

    def op(self, *tensors: Tensor) -> Any:
        """The op on Tensors: one Tensor, or a tuple of them."""
        raise NotImplementedError

    def reference(self, *arrays: Array) -> Any:
        """The expected value, in plain NumPy, independent of the op; it is called in float64."""
        raise NotImplementedError

    def reference_backward(self, dy: Any, *arrays: Array) -> tuple[Any, ...]:
        """The expected gradient of each input, None where there is none; dy: a tuple for several outputs."""
        raise NotImplementedError

    # --- what a case may declare
    def reduction(self, *arrays: Array) -> int:
        """The longest sum that an output element or a gradient element is made of."""
        return 1

    def magnitude(self, *arrays: Array) -> float:
        """The largest term of such a sum; here of inputs, outputs and gradients (at least 1)."""
        return max([1.0, *(float(np.max(np.abs(a))) for a in arrays if a.size and a.dtype.kind == "f")])

    def off_kinks(self, *arrays: Array) -> tuple[Array, ...]:
        """The inputs moved by more than 0.01 from where the op has no derivative (relu at 0, ties of max)."""
        return arrays

    def large_inputs(self, rng: np.random.Generator, dtype: Any) -> tuple[Array, ...]:
        """Inputs large enough for a team of threads, with a remainder."""
        return self.inputs(rng, dtype)

    def empty_inputs(self, dtype: Any) -> tuple[Array, ...]:
        """Inputs of which one dimension is zero; the result must be the reference's."""
        raise NotImplementedError

    def torch_op(self, torch: Any, *tensors: Any) -> Any:
        """The op in PyTorch, against which op and reference are checked where torch is installed."""
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, dtype: Any) -> tuple[dict[str, Any], tuple[Array, ...]]:
        """Settings (as in ``variants``) and inputs, both at random; their layouts are drawn afterwards."""
        raise NotImplementedError

    @classmethod
    def drawn_variant(cls, rng: np.random.Generator) -> dict[str, Any]:
        """One of ``variants``, for a ``draw`` whose settings are these."""
        return cls.variants[int(rng.integers(len(cls.variants)))]

    # --- the machinery
    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        names = getattr(cls, "op_name", ())
        for name in (names,) if isinstance(names, str) else names:
            OpCase.registry.setdefault(name, []).append(cls)
        absent = []
        if not cls.differentiable:
            absent += [t for t in dir(cls) if t.startswith("test_") and "grad" in t]
        if not cls.gives("torch_op"):
            absent += ["test_reference_equals_torch", "test_equals_torch_when_drawn"]
        if not cls.gives("empty_inputs"):
            absent.append("test_empty")
        if not cls.gives("draw"):
            absent += ["test_forward_and_gradients_when_drawn", "test_equals_torch_when_drawn"]
        for test in absent:
            setattr(cls, test, None)  # pytest does not collect it

    @classmethod
    def gives(cls, hook: str) -> bool:
        """Whether the case declares this hook itself."""
        return getattr(cls, hook) is not getattr(OpCase, hook)

    @pytest.fixture(autouse=True)
    def _settings(self, variant: dict[str, Any]) -> None:
        for name, value in variant.items():
            setattr(self, name, value)

    def _run(self, arrays: tuple[Array, ...], gradients: bool = True) -> tuple[list[Array], Any, list[Any]]:
        """Outputs, the dy that was sent back through them, and the gradients of the inputs."""
        gradients = gradients and self.differentiable
        leaves = [rv.autograd.wrap(a, requires_grad=gradients and a.dtype.kind == "f") for a in arrays]
        outs = _listed(self.op(*leaves))
        if not gradients:
            return [y._array for y in outs], None, []
        _check_views(outs, arrays)
        floating = [y for y in outs if y.requires_grad]
        dys = [_gradient_for(y._array) for y in floating]
        wanted = [x for x in leaves if x.requires_grad]
        found = iter(rv.autograd.grad(floating, wanted, dys, allow_unused=True))
        grads = [next(found) if x.requires_grad else None for x in leaves]
        raw = [None if g is None else g._array for g in grads]
        return [y._array for y in outs], dys, raw

    def _expected(self, exact: list[Array], dys: Any) -> tuple[list[Any], Any]:
        """What the reference gives: outputs, and gradients for these dy (None: not asked for)."""
        outputs = _listed(self.reference(*exact))
        if dys is None:
            return outputs, None
        gradients = self.reference_backward(dys if len(dys) > 1 else dys[0], *exact)
        assert len(gradients) == len(exact), "reference_backward returns a gradient, or None, for each input"
        return outputs, gradients

    def _expected_of_torch(self, exact: list[Array], dys: Any) -> tuple[list[Any], Any]:
        """The same of PyTorch, in float64."""
        torch = pytest.importorskip("torch", reason="torch is not installed")
        plain = [torch.tensor(np.ascontiguousarray(a)).reshape(a.shape) for a in exact]
        leaves = [x.requires_grad_(x.is_floating_point() and dys is not None) for x in plain]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # PyTorch's, about its own speed
            outputs = _listed(self.torch_op(torch, *leaves))
        if dys is not None:
            floating = [y for y in outputs if y.requires_grad]
            torch.autograd.backward(floating, [torch.tensor(d) for d in dys])
        return [y.detach().numpy() for y in outputs], [
            x.grad if x.grad is None else x.grad.numpy() for x in leaves
        ]

    def _compare(
        self,
        arrays: tuple[Array, ...],
        gradients: bool,
        expected: Expected | None = None,
        isas: Iterable[str] = ("",),
        layouts: Iterable[str] = ("",),
    ) -> None:
        """Runs the op at these ISA levels and on inputs in these layouts, and compares it with the float64
        reference, which is computed once."""
        exact = [_double(a) for a in arrays]
        expect = expected or self._expected
        want: list[Any] = []
        for isa, layout in itertools.product(isas, layouts):
            given = tuple(in_layout(a, layout) for a in arrays)
            ys, dys, grads = self._run(given, gradients)
            if not want:
                dy = tuple(_double(d) for d in dys) if gradients else None
                outputs, wanted = expect(exact, dy)
                floats = [a for a in arrays if a.dtype.kind == "f"]
                dtype = floats[0].dtype if floats else np.dtype("float32")
                terms = [
                    *arrays,
                    *(np.asarray(e) for e in (*outputs, *(dy or ()), *(wanted or ())) if e is not None),
                ]
                limits = self.reduction(*arrays), self.magnitude(*terms)
                want = wanted if gradients else outputs
                moved = self._moved(expect, exact, dy, dtype, int(gradients))
            where = f"{isa} {layout}".strip()
            assert len(ys) == len(outputs), where
            for index, (got, right) in enumerate(zip(grads if gradients else ys, want, strict=True)):
                what = f"{where} {'gradient of input' if gradients else 'output'} {index}".lstrip()
                if gradients and right is None:
                    assert got is None or not got.any(), f"{what}: got one, expected none"
                    continue
                assert got is not None, f"{what} is missing"
                if gradients:
                    assert got.dtype == arrays[index].dtype, what
                self._check(what, got, right, dtype, limits, [m[index] for m in moved])

    def _moved(self, expect: Expected, exact: list[Array], dy: Any, dtype: Any, which: int) -> list[Any]:
        """What is expected of inputs that differ by a rounding: how far each element may be off."""
        if self.exact or expect == self._expected_of_torch:  # PyTorch rounds, too
            return []
        rng, eps = np.random.default_rng(1), float(np.finfo(dtype).eps)

        def near(a: Array) -> Array:
            return a * (1 + eps * rng.choice([-1.0, 1.0], a.shape)) if a.dtype.kind == "f" else a

        return [
            expect([near(a) for a in exact], None if dy is None else tuple(map(near, dy)))[which]
            for _ in range(3)
        ]

    def _check(
        self, what: str, got: Array, want: Any, dtype: Any, limits: tuple[int, float], moved: list[Any]
    ) -> None:
        want = np.asarray(want)
        assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
        if got.dtype.kind != "f" or self.exact:
            np.testing.assert_array_equal(got, want.astype(got.dtype), err_msg=what)
            return
        assert got.dtype == dtype, f"{what}: dtype {got.dtype}, expected {dtype}"
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance(dtype, *limits), err_msg=what)
        finite = np.isfinite(want) & np.isfinite(moved).all(0) if moved else np.zeros(want.shape, bool)
        if finite.any():  # small elements beside large ones, too
            got, want = got[finite], want[finite]
            noise = np.max([np.abs(np.asarray(m)[finite] - want) for m in moved], axis=0)
            share = 4 * tolerance(dtype, limits[0])
            each = share * (np.abs(want) + self.inner + noise / np.finfo(dtype).eps) + np.finfo(dtype).tiny
            np.testing.assert_array_less(np.abs(got - want), each, err_msg=f"{what}, element by element")

    # --- the tests
    def test_forward(self, rng: Any, dtype: str, isas: Any) -> None:
        self._compare(self.inputs(rng, dtype), gradients=False, isas=isas)

    def test_gradients(self, rng: Any, dtype: str, isas: Any) -> None:
        self._compare(self.off_kinks(*self.inputs(rng, dtype)), gradients=True, isas=isas)

    def test_layouts(self, rng: Any) -> None:
        self._compare(self.inputs(rng, self.dtypes[0]), gradients=False, layouts=self.layouts)

    def test_gradients_in_layouts(self, rng: Any) -> None:
        arrays = self.off_kinks(*self.inputs(rng, self.dtypes[0]))
        self._compare(arrays, gradients=True, layouts=self.layouts)

    def test_same_bits_at_any_thread_count(self, rng: Any, threads: Any) -> None:
        arrays = self.large_inputs(rng, self.dtypes[0])
        runs = []
        for count in (1, 2, 3, 4):
            threads(count)
            ys, _, grads = self._run(arrays)
            runs.append([a.tobytes() for a in (*ys, *grads) if a is not None])
            assert runs[-1] == runs[0], f"{count} threads"

    @pytest.mark.slow
    def test_reference_gradients(self, rng: Any) -> None:
        """The reference itself, against central differences."""
        arrays = self.off_kinks(*self.inputs(rng, "float64"))
        ys = [np.asarray(y) for y in _listed(self.reference(*arrays))]
        keep = [i for i, y in enumerate(ys) if y.dtype.kind == "f"]
        dys = tuple(_gradient_for(ys[i]) for i in keep)
        numeric = numeric_gradients(
            lambda *a: [_listed(self.reference(*a))[i] for i in keep], arrays, dys, ENTRIES
        )
        wanted = self.reference_backward(dys if len(dys) > 1 else dys[0], *arrays)
        for index, (want, number) in enumerate(zip(wanted, numeric, strict=True)):
            checked = ~np.isnan(number)
            want = np.zeros(number.shape) if want is None else np.asarray(want)
            scale = float(np.max(np.abs(number[checked]), initial=1.0))
            what = f"input {index}"
            np.testing.assert_allclose(
                want[checked], number[checked], rtol=0, atol=1e-6 * scale, err_msg=what
            )

    def test_empty(self, dtype: str) -> None:
        arrays = self.empty_inputs(dtype)
        self._compare(arrays, gradients=False)
        if self.differentiable:
            self._compare(arrays, gradients=True)

    def test_reference_equals_torch(self, rng: Any) -> None:
        arrays = self.off_kinks(*self.inputs(rng, self.dtypes[-1]))
        exact = [_double(a) for a in arrays]
        _, sent, _ = self._run(arrays, self.differentiable)
        dys = None if sent is None else tuple(sent)
        outputs, grads = self._expected(exact, dys)
        theirs, their_grads = self._expected_of_torch(exact, dys)
        limit = tolerance(
            "float64", self.reduction(*arrays), self.magnitude(*arrays, *map(np.asarray, outputs))
        )
        for y, want in zip(theirs, outputs, strict=True):
            np.testing.assert_allclose(y, want, rtol=0, atol=limit)
        if dys is not None:
            for x, *pair in zip(arrays, their_grads, grads, strict=True):
                got, want = (np.zeros(x.shape) if g is None else g for g in pair)
                np.testing.assert_allclose(got, want, rtol=0, atol=limit * self.magnitude(*dys))

    def test_forward_and_gradients_when_drawn(self, rng: Any, dtype: str) -> None:
        for arrays in self._drawn(rng, dtype):
            self._compare(arrays, gradients=self.differentiable)
            self._compare(arrays, gradients=False)

    def test_equals_torch_when_drawn(self, rng: Any, dtype: str) -> None:
        for arrays in self._drawn(rng, dtype):
            self._compare(arrays, gradients=self.differentiable, expected=self._expected_of_torch)
            self._compare(arrays, gradients=False, expected=self._expected_of_torch)

    def _drawn(self, rng: Any, dtype: str) -> Iterator[tuple[Array, ...]]:
        """The inputs of DRAWS random calls; the last one printed is the one that failed."""
        for number in range(DRAWS):
            settings, arrays = self.draw(rng, dtype)
            for name, value in settings.items():
                setattr(self, name, value)
            arrays = tuple(map(np.asarray, self.off_kinks(*map(np.asarray, arrays))))
            arrays = tuple(any_layout(rng, a) for a in arrays)
            print(f"draw {number}: {settings} on {[(a.shape, a.strides, str(a.dtype)) for a in arrays]}")
            yield arrays


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def _double(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array.copy()


def _gradient_for(y: Array) -> Array:
    """A dy of varied values in the shape and dtype of y, the same for equal shapes."""
    values = np.random.default_rng(y.size).uniform(-1, 1, y.shape)
    return np.asarray(values + np.sign(values) * 0.25, y.dtype)


def _check_views(outs: list[Tensor], arrays: tuple[Array, ...]) -> None:
    """A Function that returns a view has to say so: in-place changes are tracked through it."""
    for y in outs:
        if any(np.shares_memory(y._array, a) for a in arrays) and y.grad_fn is not None:
            maker = getattr(y.grad_fn, "function", y.grad_fn)
            assert maker.is_view, f"{type(maker).__name__} returns a view of its input: set is_view = True"
