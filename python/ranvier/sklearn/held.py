"""Held: the lists of a network's arrays that estimators have as attributes, `coefs_` and `intercepts_`."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np


class Held(list[Any]):
    """A list of fixed length of a network's arrays: a value assigned to an item is copied into its array.

    >>> a = np.zeros(2)
    >>> Held("weights", [a])[0] = [1, 2]; a.tolist()
    [1.0, 2.0]
    """

    def __init__(self, name: str, arrays: list[Any]) -> None:
        super().__init__(arrays)
        self._name = name

    def __setitem__(self, key: Any, value: Any) -> None:
        arrays, values = (self[key], list(value)) if isinstance(key, slice) else ([self[key]], [value])
        values = [np.asarray(x) for x in values]
        shapes = [x.shape for x in values]
        expected = [x.shape for x in arrays]
        if shapes != expected:
            raise ValueError(
                f"[{self._name}] got arrays of shapes {shapes}; expected {expected}: those of the network"
            )
        for array, x in zip(arrays, values, strict=True):
            array[...] = x

    def _fixed(self, *args: Any, **settings: Any) -> NoReturn:
        raise TypeError(f"[{self._name}] got a change of its length or order; expected arrays for its items")

    append = extend = insert = pop = remove = clear = sort = reverse = _fixed
    __delitem__ = __iadd__ = __imul__ = _fixed

    def __reduce__(self) -> Any:  # a copy is a plain list, independent of the network
        return list, ([*self],)
