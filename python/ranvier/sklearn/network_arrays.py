"""NetworkArrays: the type of `coefs_` and `intercepts_`, lists of the weights of a network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn, SupportsIndex

import numpy as np

from ranvier.tensors.memory import Array


class NetworkArrays(list[Any]):
    """A list of fixed length of a network's arrays: a value assigned to an item is copied into its array.

    Args:
        name: the attribute that the list is the value of, for errors.
        arrays: views of the weights of the network.

    >>> a = np.zeros(2)
    >>> NetworkArrays("weights", [a])[0] = [1, 2]; a.tolist()
    [1.0, 2.0]
    """

    def __init__(self, name: str, arrays: list[Array]) -> None:
        super().__init__(arrays)
        self._name = name

    def __setitem__(self, index: SupportsIndex | slice, value: Any) -> None:
        if isinstance(index, slice):
            arrays = self[index]
            values = [np.asarray(x) for x in value]
        else:
            arrays = [self[index]]
            values = [np.asarray(value)]
        self._copy(values, arrays)

    def _copy(self, values: list[Array], arrays: Iterable[Array]) -> None:
        """Copy each value into its array. Raises ValueError, before any copy, unless the shapes are equal."""
        shapes = [x.shape for x in values]
        expected = [x.shape for x in arrays]
        if shapes != expected:
            raise ValueError(
                f"[{self._name}] got arrays of shapes {shapes}; expected {expected}: those of the network"
            )
        for array, x in zip(arrays, values, strict=True):
            array[...] = x

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"[{self._name}] got a change of its length or order; expected arrays for its items")

    append = extend = insert = pop = remove = clear = sort = reverse = _refuse
    __delitem__ = __iadd__ = __imul__ = _refuse

    def __reduce__(self) -> Any:  # copies and pickles are plain lists, which are independent of the network
        return list, ([*self],)
