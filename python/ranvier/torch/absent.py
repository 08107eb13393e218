"""Names that stay out: libraries import them, and what they are used for is refused by name."""

from __future__ import annotations

from typing import Any

from ranvier.torch.names import FLAT, OUT

LACKS = "ranvier, which is in place of PyTorch, lacks it; docs/pytorch_names.md lists its names"


def why(path: str) -> str:
    """The reason why a name stays out, or "" for a name that does not."""
    if path.startswith("nn.") and path.endswith("3d"):
        return FLAT
    while path not in OUT and "." in path:
        path = path.rpartition(".")[0]
    return OUT.get(path, "")


def _full(path: str) -> str:
    return path if path.startswith("torchvision.") else f"torch.{path}"


class _Absent(type):
    """The class of such names: an annotation, a base class, a test with isinstance; a call raises."""

    _path: str

    def __call__(cls, *args: Any, **settings: Any) -> Any:
        raise NotImplementedError(f"[{_full(cls._path)}] ranvier leaves it out: {why(cls._path)}")

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return absent(f"{cls._path}.{name}")

    def __getitem__(cls, key: Any) -> Any:
        return cls


def absent(path: str) -> Any:
    """What stands for a name that stays out.

    >>> absent("fx.symbolic_trace")(None)
    Traceback (most recent call last):
    NotImplementedError: [torch.fx.symbolic_trace] ranvier leaves it out: there are no graphs of modules
    """
    module, _, name = _full(path).rpartition(".")
    return _Absent(name, (), {"_path": path, "__module__": module})


class Lacking:
    """A method of PyTorch's Tensor that is not here, which says so; `hasattr` is False."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, tensor: Any, owner: Any) -> Any:
        text = f"'Tensor' object has no attribute {self._name!r}: {LACKS}"
        raise AttributeError(text, name=self._name, obj=tensor)
