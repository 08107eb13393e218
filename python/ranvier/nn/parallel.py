"""DataParallel and DistributedDataParallel, under the names of PyTorch's state dict."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
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
    """Calls `module`; at the end of each backward, its gradients are the means over all ranks.

    Parameters and buffers begin as those of rank 0, and buffers (running statistics) are taken from rank 0
    again before each forward pass in training mode, unless `broadcast_buffers` is False. A parameter that no
    rank has used keeps grad None. Over a power of two of ranks the sums are added along one binary tree. The
    ranks are those of :func:`ranvier.distributed.init`. The other settings of PyTorch have no effect.

    Raises RuntimeError: a module without parameters that require gradients, as in PyTorch.

    >>> import ranvier as rv
    >>> rv.nn.parallel.DistributedDataParallel(rv.nn.Linear(2, 1))(rv.zeros(1, 2)).shape
    (1, 1)
    """

    def __init__(
        self,
        module: Module,
        device_ids: Any = None,
        output_device: Any = None,
        dim: int = 0,
        broadcast_buffers: bool = True,
        **settings: Any,
    ) -> None:
        from ranvier.communication.gradients import MeanGradients  # loaded at its first use
        from ranvier.communication.world import world

        super().__init__(module)
        trained = [p for p in module.parameters() if p.requires_grad]
        if not trained:
            raise RuntimeError(
                "[DistributedDataParallel] got a module without parameters that require gradients; expected "
                "some"
            )
        self.broadcast_buffers = broadcast_buffers
        shared = world().size > 1
        self._means = MeanGradients(module, trained) if shared else None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._means is not None and self.broadcast_buffers and self.training:
            self._means.share_buffers()
        return self.module(*args, **kwargs)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Within the block gradients are added up on each rank; the next backward after it exchanges them."""
        means = self._means
        if means is None:
            yield
            return
        before, means.enabled = means.enabled, False
        try:
            yield
        finally:
            means.enabled = before
