"""torch.optim.SparseAdam, for gradients that are dense here: rows without a gradient stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ranvier as rv
from ranvier.optim import Optimizer


class SparseAdam(Optimizer):
    """Adam whose step changes, of each parameter and its moments, the rows (the first dimension) in which the
    gradient is not 0: those of an embedding that the batch has.

    >>> w = rv.ones(3, 1, requires_grad=True)
    >>> (2 * w[1]).sum().backward()
    >>> SparseAdam([w], lr=0.5).step()
    >>> w
    tensor([[1.0000],
            [0.5000],
            [1.0000]], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})

    @rv.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Makes one step; a closure computes the loss and its gradients."""
        loss = None
        if closure is not None:
            with rv.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, -p.grad if group["maximize"] else p.grad, group)
        return loss

    def _update(self, p: Any, grad: Any, group: Any) -> None:
        state, (beta1, beta2) = self.state[p], group["betas"]
        if not state:
            state.update(step=0, exp_avg=rv.zeros_like(p), exp_avg_sq=rv.zeros_like(p))
        state["step"] += 1
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        touched = (grad != 0).reshape((*grad.shape[:1], -1)).any(1) if grad.ndim else grad != 0
        touched = touched.reshape(touched.shape + (1,) * (grad.ndim - 1))
        mean.copy_(rv.where(touched, mean + (1 - beta1) * (grad - mean), mean))
        square.copy_(rv.where(touched, square + (1 - beta2) * (grad * grad - square), square))
        size = group["lr"] * (1 - beta2 ** state["step"]) ** 0.5 / (1 - beta1 ** state["step"])
        p.sub_(rv.where(touched, size * mean / (square.sqrt() + group["eps"]), 0.0))
