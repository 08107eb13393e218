"""The text of a Tensor, in PyTorch's form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.observe import value_read
from ranvier.settings import Settings
from ranvier.tensors.dtypes import default
from ranvier.tensors.failures import OpError

if TYPE_CHECKING:
    from ranvier.tensors.protocols import TensorSlots

_DEFAULT: dict[str, Any] = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80}
_PROFILES = {
    "default": _DEFAULT,
    "short": {**_DEFAULT, "precision": 2, "edgeitems": 2},
    "full": {**_DEFAULT, "threshold": math.inf},
}
MOST_SHOWN = 10**6
"""The most elements of a shortened text: the ends of twenty dimensions of two elements are all elements."""
options = Settings(**_DEFAULT, sci_mode=None)  # see `set_printoptions`


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Sets how tensors are printed. None leaves a setting as it is, except sci_mode.

    Args:
        precision: digits after the point.
        threshold: a tensor of more elements is shortened.
        edgeitems: how many elements a shortened tensor shows at each end of a dimension.
        linewidth: characters in a line.
        profile: "default", "short" or "full": the values of the settings above that are not given.
        sci_mode: True prints powers of ten, False never, None where the range of the elements is large.

    Raises ValueError for another profile or a negative number.

    >>> import math, ranvier as rv
    >>> rv.set_printoptions(precision=2)
    >>> rv.tensor([math.pi])
    tensor([3.14])
    >>> rv.set_printoptions(profile="default")
    """
    if profile is not None and profile not in _PROFILES:
        names = ", ".join(_PROFILES)
        raise OpError(f"[set_printoptions] got profile {profile!r}; expected one of {names}")
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    for name, value in given.items():
        if value is not None and not value >= 0:
            raise OpError(f"[set_printoptions] got {name} {value!r}; expected a number of at least 0")
    if profile is not None:
        for name, value in _PROFILES[profile].items():
            setattr(options, name, value)
    for name, value in given.items():
        if value is not None:
            setattr(options, name, value)
    options.sci_mode = sci_mode


def text(tensor: TensorSlots) -> str:
    """``tensor([1., 2.], requires_grad=True)``"""
    value_read("str() or repr()", tensor)
    array = tensor._array
    tensor_class = type(tensor)
    prefix = ""
    if tensor_class.__name__.endswith("Parameter"):
        prefix = "Parameter containing:\n"
    if tensor_class.__module__.partition(".")[0] in ("ranvier", "torch"):
        name = "tensor("
    else:  # a class of the program
        name = f"{tensor_class.__name__}("
    parts = []
    if tensor.is_meta:
        body = "..."
        parts += ["device='meta'", f"size={array.shape}"]
    else:
        body = values(array, len(name))
        if array.size == 0 and array.shape != (0,):
            parts.append(f"size={array.shape}")
    if array.dtype != default.dtype and (tensor.is_meta or array.dtype not in (np.int64, np.bool_)):
        parts.append(f"dtype=torch.{array.dtype}")
    if tensor.grad_fn is not None:
        parts.append(f"grad_fn={tensor.grad_fn!r}")
    elif tensor.requires_grad:
        parts.append("requires_grad=True")
    return prefix + with_parts(name + body, parts, len(name)) + ")"


def values(array: np.ndarray[Any, Any], indent: int) -> str:
    """The elements as text. indent: the column at which each line after the first begins."""
    if array.size == 0:
        return "[]"
    summarise = array.size > options.threshold
    shown = array
    if summarise:  # only the shown elements decide the format
        ends = _ends(array.shape, options.edgeitems)
        if math.prod(axis.size for axis in ends) > MOST_SHOWN:
            return "[...]"
        shown = array[ends]
    return _body(array, _Format(shown), indent, summarise)


def _ends(shape: tuple[int, ...], edge: int) -> tuple[Any, ...]:
    """The index of the elements at both ends of each long axis. It is one for all axes: to take an axis after
    the other would copy the rest, which is large where an expanded tensor has one element many times."""
    axes = []
    for n in shape:
        axes.append(_shown_places(n, edge, shorten=n > 2 * edge))
    return np.ix_(*axes)


def _shown_places(n: int, edge: int, shorten: bool) -> list[int]:
    """The indices along a dimension of n elements that are shown: `edge` at each end if it is shortened."""
    if shorten:
        return [*range(edge), *range(n - edge, n)]
    return [*range(n)]


def with_parts(line: str, parts: list[str], indent: int) -> str:
    """The text of the elements, followed by the parts: each in the same line if it fits, else in a new
    one."""
    used = len(line) - line.rfind("\n") + 1  # as PyTorch counts: two more than the last line has
    for part in parts:
        if used + len(part) + 2 <= options.linewidth:
            line += ", " + part
            used += len(part) + 2
        else:
            line += ",\n" + " " * indent + part
            used = indent + len(part)
    return line


class _Format:
    """The format of all elements: integers, fixed point or powers of ten, and the width."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.floating = array.dtype.kind == "f"
        self.style = "int"
        self.width = 1
        with np.errstate(invalid="ignore"):  # NumPy warns of some NaN
            if self.floating:
                values = array.astype(np.float64).ravel()
            else:
                values = array.ravel()
        counted = values  # the values that decide the width
        if self.floating:
            counted = finite = values[np.isfinite(values) & (values != 0)]
            if finite.size:
                low = np.abs(finite).min()
                high = np.abs(finite).max()
                whole = bool((finite == np.ceil(finite)).all())
                # PyTorch's limits for powers of ten
                far = bool(high / low > 1000 or high > 1e8 or (not whole and low < 1e-4))
                powers = far if options.sci_mode is None else options.sci_mode
                if powers:
                    self.style = "e"
                elif whole:
                    self.style = "int"
                else:
                    self.style = "f"
        self.width = max((len(self.number(v)) for v in counted.tolist()), default=1)

    def number(self, value: float) -> str:
        """The text of an element, without spaces before it."""
        if not self.floating:
            return str(value)
        if self.style == "int":
            if math.isfinite(value):
                return f"{value:.0f}."
            return f"{value:.0f}"
        return f"{value:.{options.precision}{self.style}}"

    def __call__(self, value: float) -> str:
        return self.number(value).rjust(self.width)


def _body(array: np.ndarray[Any, Any], number: _Format, indent: int, summarise: bool) -> str:
    """The nested brackets of an array; summarise: whether the middle of long dimensions is left out."""
    if array.ndim == 0:
        return number(array.item())
    n = len(array)
    edge = options.edgeitems
    cut = summarise and n > 2 * edge
    rows = _shown_places(n, edge, shorten=cut)
    if array.ndim == 1:
        cells = [number(array[i].item()) for i in rows]
        if cut:
            cells.insert(edge, " ...")
        per_line = max(1, (options.linewidth - indent) // (number.width + 2))
        lines = [", ".join(cells[i : i + per_line]) for i in range(0, len(cells), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    blocks = [_body(array[i], number, indent + 1, summarise) for i in rows]
    if cut:
        blocks.insert(edge, "...")
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(blocks) + "]"
