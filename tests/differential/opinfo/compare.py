"""Two results side by side: the first difference in words, or None."""

from typing import Any

import numpy as np
import ranvier as rv
import torch

# PyTorch's own defaults for tests; integers and bools are equal or not
TOLERANCES = {
    "bfloat16": (1.6e-2, 1e-5),
    "float16": (1e-3, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
}
HALVES = ("bfloat16", "float16")


def flat(value: Any) -> list[Any]:
    """Tensors and numbers in a result, in order."""
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return [leaf for part in value for leaf in flat(part)]
    return [value]


def dtype_name(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def array_of(tensor: Any) -> np.ndarray[Any, Any]:
    """The elements; those of bfloat16, which PyTorch gives no array of, as float32."""
    if isinstance(tensor, torch.Tensor):
        if tensor._is_zerotensor():  # zeros without memory
            tensor = torch.zeros(tensor.shape, dtype=tensor.dtype)
        tensor = tensor.detach().resolve_conj().resolve_neg()
        return tensor.float().numpy() if tensor.dtype is torch.bfloat16 else tensor.numpy()
    return tensor.detach().float().numpy() if tensor.dtype == rv.bfloat16 else tensor.detach().numpy()


def kinds(ours: Any, theirs: Any) -> str | None:
    """A difference in what the result is: number or tensor, shape, dtype, whether it has a gradient."""
    if not isinstance(theirs, torch.Tensor):
        if isinstance(ours, rv.Tensor) or type(ours) is not type(theirs):
            return f"got {type(ours).__name__}; expected {type(theirs).__name__}"
        return None
    if not isinstance(ours, rv.Tensor):
        return f"got {type(ours).__name__}; expected a tensor"
    if ours.shape != tuple(theirs.shape):
        return f"shape {ours.shape}; expected {tuple(theirs.shape)}"
    if dtype_name(ours) != dtype_name(theirs):
        return f"dtype {dtype_name(ours)}; expected {dtype_name(theirs)}"
    if ours.requires_grad != theirs.requires_grad:
        return f"requires_grad {ours.requires_grad}; expected {theirs.requires_grad}"
    return None


def values(ours: Any, theirs: Any, exact: Any = None, but: Any = None) -> str | None:
    """A difference in values beyond rounding.

    exact: the same result computed by PyTorch in a wider dtype. Where it is given, an element may instead be
    twice as far from it as PyTorch's own; one of half precision must be within tolerance of it. but: True
    where an element of a result of this shape may be anything.
    """
    if not isinstance(theirs, torch.Tensor):
        same = ours == theirs or (ours != ours and theirs != theirs)
        return None if same or np.isclose(ours, theirs, 1e-6) else f"got {ours}; expected {theirs}"
    a, b = array_of(ours), array_of(theirs)
    halves = dtype_name(theirs) in HALVES
    rtol, atol = TOLERANCES.get(dtype_name(theirs), (0.0, 0.0))
    close = np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=True) if rtol else np.asarray(a == b)
    if exact is not None and rtol and not close.all():
        with np.errstate(invalid="ignore"):
            right = array_of(exact.to(theirs.dtype) if halves else exact)
            if halves:
                close |= np.isclose(a, right, rtol=rtol, atol=atol, equal_nan=True)
            else:
                close |= np.abs(a - right) <= 2 * np.abs(b - right) + rtol * np.abs(right) + atol
    if but is not None and but.shape == a.shape:
        close = np.asarray(close | but)
    if np.all(close):
        return None
    at = tuple(int(i) for i in np.argwhere(~np.asarray(close))[0])
    return f"{int(np.sum(~close))} of {a.size} differ, at {at}: {a[at]}; expected {b[at]}"


def shares(result: Any, arguments: Any) -> bool:
    """True where a tensor of the result is memory of a tensor of the arguments."""
    if isinstance(result, torch.Tensor):
        place = result.untyped_storage().data_ptr()
        return any(place == theirs.untyped_storage().data_ptr() for theirs in arguments)
    return any(np.may_share_memory(result._array, ours._array) for ours in arguments)


def cotangents(outputs: list[torch.Tensor]) -> list[Any]:
    """A fixed random gradient for each output, of its shape, with numbers that all dtypes have."""
    rng = np.random.default_rng(1)
    drawn = [torch.from_numpy(np.asarray(rng.standard_normal(tuple(y.shape)))) for y in outputs]
    return [array_of(x.bfloat16().to(y.dtype)) for x, y in zip(drawn, outputs, strict=True)]
