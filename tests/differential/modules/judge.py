"""One case of PyTorch's lists: right, wrong, refused, raw or absent, as in `differential.opinfo.judge`."""

import copy
import re
import warnings
from typing import Any

import numpy as np
import ranvier as rv
import torch
from differential.modules.cases import Both, Case
from differential.opinfo import compare
from differential.opinfo.samples import DTYPES, NotHere, as_ours

STANDARD = re.compile(r"^\[[\w.]+\] got .+; expected .+", re.DOTALL)
# Their draws while training are not PyTorch's: kinds are compared, values are not.
RANDOM = {"RReLU", "Dropout", "Dropout2d", "AlphaDropout"}


def judge(case: Case) -> tuple[str, str]:
    """The verdict on a case and what was different."""
    if case.ours is None:
        return "absent", "no such name"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pair = _Pair(case)
            if case.error is not None:
                return pair.errors()
            found = pair.differences()
        except NotHere as error:
            return "absent", str(error)
        except Exception as error:
            kind = "refused" if STANDARD.match(str(error)) else "raw"
            return kind, f"{type(error).__name__}: {error}"
    return ("wrong", found) if found else ("right", "")


class _Pair:
    """A module of both libraries with equal arguments."""

    def __init__(self, case: Case) -> None:
        self.case, self.arguments = case, Both()
        both = self.arguments.both
        self.construct = both(case.construct.args), both(case.construct.kwargs)
        self.call = both(case.call.args), both(case.call.kwargs)
        self.double: tuple[Any, Any] | None = None

    # --- right answers
    def differences(self) -> str | None:
        case = self.case
        torch.manual_seed(0)
        theirs = case.theirs(*self.construct[0][0], **self.construct[1][0]).to(case.dtype)
        ours = case.ours(*self.construct[0][1], **self.construct[1][1])
        ours.to(DTYPES[case.dtype])
        lazy = any(isinstance(p, torch.nn.UninitializedParameter) for p in theirs.parameters())
        if lazy:
            self._lazily(theirs, ours)
        theirs.train(case.training)
        ours.train(case.training)
        state = theirs.state_dict()
        if found := self._state(ours, state, False):
            return found
        ours.load_state_dict({name: as_ours(value.clone()) for name, value in state.items()})
        self.random = case.training and any(type(m).__name__ in RANDOM for m in theirs.modules())
        exact = None if self.random or case.dtype is torch.float64 else self._exactly(theirs)
        try:
            expected = compare.flat(self._called(theirs, 0))
        except RuntimeError as error:  # no kernel for half floats
            if "not implemented for" in str(error):
                raise NotHere(f"in PyTorch: {error}") from None
            raise
        results = expected, compare.flat(self._called(ours, 1))
        return self._results(*results, exact) or self._gradients(theirs, ours, *results, exact)

    def _called(self, module: Any, i: int) -> Any:
        return module(*self.call[0][i], **self.call[1][i])

    def _lazily(self, *modules: Any) -> None:
        for i, module in enumerate(modules):
            module.eval()
            module(*self.call[0][i], **self.call[1][i])

    def _state(self, ours: Any, state: Any, values: bool) -> str | None:
        mine = ours.state_dict()
        if list(mine) != list(state):
            return f"state dict {list(mine)}; expected {list(state)}"
        for name, value in state.items():
            found = compare.kinds(mine[name], value)
            if not found and values:
                found = compare.values(mine[name], value)
            if found:
                return f"{name}: {found}"
        return None

    def _exactly(self, theirs: Any) -> Any:
        """PyTorch's results and gradients in float64, or None."""
        module, both = copy.deepcopy(theirs).double(), Both()
        args, kwargs = (both.both(_widened(part))[0] for part in (self.call[0][0], self.call[1][0]))
        try:
            results = compare.flat(module(*args, **kwargs))
            outputs = [y for y in results if isinstance(y, torch.Tensor) and y.requires_grad]
            leaves = [*(b for b, _ in both.leaves), *_trained(module)]
            gradients = torch.autograd.grad(
                outputs, leaves, self._cotangents(outputs, _theirs), None, False, True
            )
        except Exception:
            return None
        return results, gradients

    def _results(self, theirs: Any, ours: Any, exact: Any) -> str | None:
        if len(ours) != len(theirs):
            return f"got {len(ours)} results; expected {len(theirs)}"
        for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            found = compare.kinds(a, b)
            if not found and not self.random:
                found = _values(a, b, exact and exact[0][index])
            if found:
                return f"result {index}: {found}"
        return None

    def _gradients(self, theirs: Any, ours: Any, expected: Any, got: Any, exact: Any) -> str | None:
        outputs = [
            pair
            for pair in zip(got, expected, strict=True)
            if isinstance(pair[1], torch.Tensor) and pair[1].requires_grad
        ]
        leaves = [*self.arguments.leaves, *zip(_trained(theirs), _trained(ours), strict=True)]
        if outputs and leaves:
            torch.autograd.backward(
                [b for _, b in outputs], self._cotangents([b for _, b in outputs], _theirs)
            )
            rv.autograd.backward([a for a, _ in outputs], self._cotangents([b for _, b in outputs], _ours))
        for index, (b, a) in enumerate(leaves):
            wanted = torch.zeros_like(b) if b.grad is None else b.grad
            if a.grad is None:
                if b.grad is not None:
                    return f"gradient {index}: got None"
                continue
            if wanted.is_sparse:
                wanted = wanted.to_dense()
            found = compare.kinds(a.grad, wanted)
            if not found and not self.random:
                found = _values(a.grad, wanted, exact and exact[1][index])
            if found:
                return f"gradient {index}: {found}"
        return self._state(ours, theirs.state_dict(), not self.random)

    def _cotangents(self, outputs: list[torch.Tensor], make: Any) -> list[Any]:
        rng = np.random.default_rng(1)
        arrays = [_theirs(rng.standard_normal(tuple(y.shape)), self.case.dtype) for y in outputs]
        return [make(a, y.dtype) for a, y in zip(arrays, outputs, strict=True)]

    # --- errors
    def errors(self) -> tuple[str, str]:
        """Where PyTorch raises: here as well, in the standard form. A RuntimeError of PyTorch's may be a
        ValueError, TypeError or IndexError here."""
        assert self.case.error is not None
        kind, construction = self.case.error
        try:
            module = self.case.ours(*self.construct[0][1], **self.construct[1][1])
        except Exception as error:
            return self._error(error, kind)
        if construction:
            return "wrong", f"made a module; expected {kind.__name__}"
        module.to(DTYPES[self.case.dtype])
        try:
            module.train(self.case.training)(*self.call[0][1], **self.call[1][1])
        except Exception as error:
            return self._error(error, kind)
        return "wrong", f"returned; expected {kind.__name__}"

    def _error(self, error: Exception, kind: type[Exception]) -> tuple[str, str]:
        standard = STANDARD.match(str(error))
        fits = isinstance(error, kind) or (
            kind is RuntimeError and isinstance(error, (ValueError, TypeError, IndexError))
        )
        if standard and fits:
            return "right", ""
        return "wrong", f"{type(error).__name__}: {error}; expected {kind.__name__}"


def _values(ours: Any, theirs: Any, exact: Any) -> str | None:
    """A difference beyond rounding. Modules of several ops round halves after each: what a small element may
    be off depends on the largest."""
    found = compare.values(ours, theirs, exact)
    if not found or exact is None or compare.dtype_name(ours) not in compare.HALVES:
        return found
    a, b, right = map(compare.array_of, (ours, theirs, exact))
    off, rtol = np.abs(b - right).max(), compare.TOLERANCES[compare.dtype_name(ours)][0]
    return found if np.abs(a - right).max() > 4 * off + rtol * np.abs(right).max() else None


def _theirs(array: Any, dtype: torch.dtype) -> torch.Tensor:
    return torch.as_tensor(array).to(dtype)


def _ours(array: torch.Tensor, dtype: torch.dtype) -> Any:
    return as_ours(array.to(dtype))


def _trained(module: Any) -> list[Any]:
    return [p for p in module.parameters() if p.requires_grad]


def _widened(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        if not value.is_floating_point():
            return value
        return value.detach().double().requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        return {name: _widened(one) for name, one in value.items()}
    if isinstance(value, torch.nn.utils.rnn.PackedSequence):
        return value.to(torch.float64)
    return type(value)(map(_widened, value)) if type(value) in (tuple, list) else value
