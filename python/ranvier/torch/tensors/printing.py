"""torch._tensor_str: how tensors are shown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ranvier import Tensor, set_printoptions
from ranvier.tensors.printing import options as PRINT_OPTS, values, with_parts


def get_printoptions() -> dict[str, Any]:
    return dict(vars(PRINT_OPTS))


@contextlib.contextmanager
def printoptions(**settings: Any) -> Iterator[None]:
    """A block with these settings of set_printoptions.

    >>> import ranvier as rv
    >>> with printoptions(precision=1):
    ...     print(rv.tensor([0.25]))
    tensor([0.2])
    """
    before = get_printoptions()
    set_printoptions(**settings)
    try:
        yield
    finally:
        set_printoptions(**before)


def _str(self: Tensor, *, tensor_contents: str | None = None) -> str:
    return repr(self)


def _tensor_str(self: Tensor, indent: int) -> str:
    return values(self._array, indent)


def _add_suffixes(tensor_str: str, suffixes: list[str], indent: int, force_newline: bool) -> str:
    return with_parts(tensor_str, suffixes, indent) + ")"
