"""Names of torch.optim.optimizer that optimizers of other libraries import, and SparseAdam.

Most of these functions choose among PyTorch's implementations of an optimizer, of which there is one here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

import ranvier as rv
from ranvier import Tensor
from ranvier.optim import Optimizer
from ranvier.optim.hooks import of_all

_Function = TypeVar("_Function", bound=Callable[..., Any])

ParamsT = Any  # PyTorch's name of the type of an optimizer's parameters
StateDict = dict
_params_doc = _maximize_doc = _foreach_doc = _fused_doc = _capturable_doc = _differentiable_doc = ""


def _default_to_fused_or_foreach(
    params: Iterable[Tensor], differentiable: bool, use_fused: bool = False
) -> tuple[bool, bool]:
    """(False, False): as PyTorch for parameters of the CPU."""
    return False, False


def _use_grad_for_differentiable(func: Callable[..., Any]) -> Callable[..., Any]:
    """A step without gradients, unless the optimizer's setting `differentiable` is True."""

    @functools.wraps(func)
    def step(self: Optimizer, *args: Any, **settings: Any) -> Any:
        with rv.set_grad_enabled(bool(self.defaults.get("differentiable", False))):
            return func(self, *args, **settings)

    return step


register_optimizer_step_pre_hook = functools.partial(of_all, "before step")
register_optimizer_step_post_hook = functools.partial(of_all, "after step")


def _get_value(x: Tensor | float) -> Any:
    if isinstance(x, Tensor):
        return x.item()
    return x


_to_scalar = _get_value


def _stack_if_compiling(x: Tensor) -> Tensor:
    return x


def _dispatch_sqrt(x: Tensor | float) -> Any:
    if isinstance(x, Tensor):
        return x.sqrt()
    return math.sqrt(x)


def _get_scalar_dtype(is_fused: bool | None = None) -> Any:
    if is_fused:
        return rv.float32
    return rv.get_default_dtype()


def _get_capturable_supported_devices(supports_xla: bool = True) -> list[str]:
    return []


def _disable_dynamo_if_unsupported(
    single_tensor_fn: Callable[..., Any] | None = None,
) -> Callable[[_Function], _Function]:
    return _unchanged


def _unchanged(func: _Function) -> _Function:
    """A decorator without effect."""
    return func


def _view_as_real(params: Iterable[Tensor], *state_and_grads: list[Tensor]) -> None:
    """Does nothing: there are no complex numbers."""


TensorGroups: TypeAlias = dict[Any, tuple[list[list[Any]], list[int]]]
"""(device, dtype) -> lists of tensors, and the places that their entries had."""


def by_dtype(tensors: Sequence[Sequence[Tensor | None]], with_indices: bool = False) -> TensorGroups:
    """Group parallel lists, such as parameters and gradients, by device and dtype of the first one's tensors.

    It is also `Optimizer._group_tensors_by_device_and_dtype` (`attached.py`).
    Returns, for each pair (device, dtype), the lists with the entries of this group and, if `with_indices`,
    their places in the arguments.

    >>> import ranvier as rv
    >>> list(by_dtype([[rv.ones(1), rv.ones(2)]], with_indices=True).values())
    [([[tensor([1.]), tensor([1., 1.])]], [0, 1])]
    """
    groups: TensorGroups = {}
    for place, row in enumerate(zip(*tensors, strict=True)):
        first: Any = row[0]
        key = (first.device, first.dtype)
        if key not in groups:
            groups[key] = ([[] for _ in row], [])
        lists, places = groups[key]
        for group, tensor in zip(lists, row, strict=True):
            group.append(tensor)
        if with_indices:
            places.append(place)
    return groups


class SparseAdam(Optimizer):
    """Adam that changes only the rows (the first dimension) of a parameter and its moments where the gradient
    is not 0, such as the rows of an embedding that the batch has used.

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
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        if not (lr > 0 and eps > 0 and all(0 <= beta < 1 for beta in betas)):
            raise ValueError(
                f"[SparseAdam] got lr {lr}, betas {betas} and eps {eps}; expected lr and eps above 0, and "
                "two numbers, 0 <= beta < 1"
            )
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})

    @rv.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; a closure computes the loss and its gradients."""
        loss = None
        if closure is not None:
            with rv.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                gradient = p.grad
                if group["maximize"]:
                    gradient = -gradient
                self._update(p, gradient, group)
        return loss

    def _update(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        """Change the rows of p and of its moments where grad is not 0. group: the settings."""
        state = self.state[p]
        beta1, beta2 = group["betas"]
        if not state:
            state.update(step=0, exp_avg=rv.zeros_like(p), exp_avg_sq=rv.zeros_like(p))
        state["step"] += 1
        mean = state["exp_avg"]
        square = state["exp_avg_sq"]
        touched = grad != 0  # which rows change, in a shape that is broadcast to that of p
        if grad.ndim:
            rows = touched.reshape((*grad.shape[:1], -1)).any(1)
            touched = rows.reshape(rows.shape + (1,) * (grad.ndim - 1))
        mean.copy_(rv.where(touched, mean + (1 - beta1) * (grad - mean), mean))
        square.copy_(rv.where(touched, square + (1 - beta2) * (grad * grad - square), square))
        step = state["step"]
        size = group["lr"] * (1 - beta2**step) ** 0.5 / (1 - beta1**step)
        change = -size * mean / (square.sqrt() + group["eps"])
        p.add_(rv.where(touched, change, 0.0))
