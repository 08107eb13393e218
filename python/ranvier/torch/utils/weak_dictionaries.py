"""torch.utils.weak: dictionaries with weak references to objects as keys, which are compared by identity."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, MutableMapping
from typing import Any

WeakRef = TensorWeakRef = weakref.ref


class WeakIdRef(weakref.ref):  # type: ignore[type-arg]
    """A weak reference that equals other references to the same object, even if this defines ==."""

    def __init__(self, key: Any, callback: Any = None) -> None:
        super().__init__(key, callback)  # type: ignore[call-arg]
        self._id = id(key)

    def __hash__(self) -> int:
        return self._id

    def __eq__(self, other: object) -> bool:
        here = self()
        there = other() if isinstance(other, WeakIdRef) else None
        if here is None or there is None:
            return self is other
        return here is there

    def __ne__(self, other: object) -> bool:  # weakref.ref.__ne__ would compare the objects
        return not self == other


class WeakIdKeyDictionary(MutableMapping[Any, Any]):
    """A dict whose keys are compared by identity; an entry is removed when its key is deleted elsewhere.

    >>> import ranvier as rv
    >>> x, kept = rv.ones(2), WeakIdKeyDictionary()
    >>> kept[x] = 3
    >>> (kept[x], len(kept), rv.ones(2) in kept)
    (3, 1, False)
    >>> del x
    >>> len(kept)
    0
    """

    def __init__(self, dict: Any = None, ref_type: Any = WeakIdRef) -> None:
        self.ref_type = ref_type
        self.data = {}
        self.update(dict or {})

    data: dict[Any, Any]

    def __setitem__(self, key: Any, value: Any) -> None:
        data = self.data

        def remove(reference: WeakIdRef) -> None:  # it must not hold self, which the key may have
            data.pop(reference, None)

        data[self.ref_type(key, remove)] = value

    def __getitem__(self, key: Any) -> Any:
        return self.data[self.ref_type(key)]

    def __delitem__(self, key: Any) -> None:
        del self.data[self.ref_type(key)]

    def __contains__(self, key: Any) -> bool:
        return self.ref_type(key) in self.data

    def __iter__(self) -> Iterator[Any]:
        keys = [reference() for reference in list(self.data)]
        return iter([key for key in keys if key is not None])

    def __len__(self) -> int:
        return len(self.data)

    def copy(self) -> WeakIdKeyDictionary:
        return WeakIdKeyDictionary(self, self.ref_type)

    def keyrefs(self) -> list[Any]:
        return list(self.data)


WeakTensorKeyDictionary = WeakIdKeyDictionary
