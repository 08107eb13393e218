"""DataParallel on the one device: the module itself, under the names of PyTorch's state dict."""

from __future__ import annotations

from typing import Any

from ranvier.nn.module import Module

__all__ = ["DataParallel", "DistributedDataParallel"]


class DataParallel(Module):
    """Calls `module`, which uses all threads; its parameters are named "module.weight" ..., as in PyTorch.

    device_ids, output_device and dim have no effect, as in PyTorch on a machine without GPUs.

    >>> import ranvier as rv
    >>> list(rv.nn.DataParallel(rv.nn.Linear(2, 1)).state_dict())
    ['module.weight', 'module.bias']
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0, **settings: Any
    ) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)


class DistributedDataParallel(DataParallel):
    """As :class:`DataParallel`: there is one process.

    >>> import ranvier as rv
    >>> rv.nn.parallel.DistributedDataParallel(rv.nn.ReLU())(rv.tensor([-1.0]))
    tensor([0.])
    """
