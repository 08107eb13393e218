"""`utils.tensorboard`: PyTorch's SummaryWriter, from the package tensorboardX."""

from __future__ import annotations

from typing import Any

try:
    from tensorboardX import SummaryWriter as _Writer  # type: ignore[import-untyped]
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "[tensorboard] expected tensorboardX, which writes TensorBoard's files: pip install tensorboardX",
        name=error.name,
    ) from error

from ranvier import Tensor

__all__ = ["SummaryWriter"]


def _plain(value: Any) -> Any:
    """Tensors as arrays, in lists and dicts too."""
    if isinstance(value, Tensor):
        return value.detach().numpy()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return value


class SummaryWriter(_Writer):  # type: ignore[misc,unused-ignore]
    """tensorboardX's writer, whose methods also take Tensors: ``add_scalar(tag, loss, step)``.

    add_graph raises NotImplementedError.
    """

    def __getattribute__(self, name: str) -> Any:
        found: Any = super().__getattribute__(name)
        if not name.startswith("add_"):
            return found
        return lambda *args, **kwargs: found(*_plain(args), **_plain(kwargs))

    def add_graph(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("[tensorboard] add_graph is not available; expected ranvier.summary(model)")
