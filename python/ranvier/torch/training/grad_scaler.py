"""torch.amp.GradScaler: multiplies losses by a scale, so that small gradients in half floats do not become
0."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import ranvier as rv
from ranvier import Tensor
from ranvier.optim import Optimizer
from ranvier.tensors.types import DeviceLike
from ranvier.torch.devices.machine import OptState


def _new_state() -> dict[str, Any]:
    return {"stage": OptState.READY, "found_inf_per_device": {}}


class GradScaler:
    """Multiplies losses by a scale, and divides gradients by it before a step of an optimizer.

    A step whose gradients have an infinity or NaN is left out, and ``update`` then multiplies the scale by
    backoff_factor. After growth_interval steps in a row without such gradients it multiplies it by
    growth_factor. bfloat16 needs no scale, because it has the range of float32. With enabled=False, and for
    the device "cuda", which does not exist here, ``scale`` returns its argument and ``step`` calls the
    optimizer's. Steps read values of tensors, so they cannot be compiled.

    >>> import ranvier as rv
    >>> weight = rv.ones(1, requires_grad=True)
    >>> scaler, optimizer = rv.amp.GradScaler("cpu", init_scale=1024.0), rv.optim.SGD([weight], lr=0.5)
    >>> scaler.scale(weight.sum()).backward()
    >>> weight.grad
    tensor([1024.])
    >>> scaler.step(optimizer); scaler.update()
    >>> weight.item(), scaler.get_scale()
    (0.5, 1024.0)
    """

    _stacklevel = 2  # of the program's line, in the warning of the constructor

    def __init__(
        self,
        device: DeviceLike = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        self._enabled = enabled
        if enabled and device == "cuda":
            warnings.warn(
                "torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.",
                stacklevel=self._stacklevel,
            )
            self._enabled = False
        if not self._enabled:
            return
        if not growth_factor > 1:
            raise AssertionError(f"[GradScaler] got growth_factor {growth_factor}; expected more than 1")
        if not backoff_factor < 1:
            raise AssertionError(f"[GradScaler] got backoff_factor {backoff_factor}; expected less than 1")
        self._init_scale = init_scale
        self._init_growth_tracker = 0
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._scale: Tensor | None = None
        self._growth_tracker: Tensor | None = None
        self._per_optimizer_states: defaultdict[int, dict[str, Any]] = defaultdict(_new_state)

    def _lazy_init_scale_growth_tracker(self, dev: DeviceLike = "cpu") -> None:
        self._scale = rv.full((), self._init_scale, dtype=rv.float32)
        self._growth_tracker = rv.full((), self._init_growth_tracker, dtype=rv.int32)

    def _check_scale_growth_tracker(self, funcname: str) -> tuple[Tensor, Tensor]:
        if self._scale is None or self._growth_tracker is None:
            raise AssertionError(f"[GradScaler.{funcname}] got no scaled loss; expected scale(loss) before")
        return self._scale, self._growth_tracker

    def scale(self, outputs: Any) -> Any:
        """The Tensor, or each of several, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._lazy_init_scale_growth_tracker()
            return outputs * self._scale
        if not isinstance(outputs, Iterable):
            raise ValueError(
                f"[GradScaler.scale] got {type(outputs).__name__}; expected a Tensor, or several"
            )
        scaled = map(self.scale, outputs)
        if isinstance(outputs, (list, tuple)):
            return type(outputs)(scaled)
        return scaled

    def _unscale_grads_(
        self,
        optimizer: Optimizer,
        inv_scale: Tensor | float,
        found_inf: Tensor | float,
        allow_fp16: bool,
    ) -> dict[rv.device, Tensor]:
        """Multiply gradients by inv_scale. Returns {device: 1 if one is not finite, else found_inf}."""
        factor = float(inv_scale)
        found = float(found_inf)
        parameters: list[Tensor] = []
        for group in optimizer.param_groups:
            parameters += group["params"]
        for p in parameters:
            if p.grad is None:
                continue
            if p.grad.dtype == rv.float16 and not allow_fp16:
                raise ValueError("Attempting to unscale FP16 gradients.")
            if not p.grad.isfinite().all().item():
                found = 1.0
            if factor != 1:
                with rv.no_grad():
                    p.grad.mul_(factor)
        return {rv.device("cpu"): rv.tensor(found)}

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer by the scale, once for each step.

        Raises RuntimeError the second time before ``update``, ValueError for gradients in float16.
        """
        if not self._enabled:
            return
        scale, _ = self._check_scale_growth_tracker("unscale_")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        inverse = rv.tensor(1 / scale.item())
        state["found_inf_per_device"] = self._unscale_grads_(optimizer, inverse, rv.tensor(0.0), False)
        state["stage"] = OptState.UNSCALED

    def _maybe_opt_step(
        self, optimizer: Optimizer, optimizer_state: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        """The step of the optimizer, unless one of its gradients was not finite."""
        if any(found.item() for found in optimizer_state["found_inf_per_device"].values()):
            return None
        return optimizer.step(*args, **kwargs)

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step()`` after ``unscale_``, unless a gradient is not finite; what it returns, or None.

        Raises RuntimeError the second time before ``update``, and for a closure.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._check_scale_growth_tracker("step")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if state["stage"] is OptState.READY:
            self.unscale_(optimizer)
        result = self._maybe_opt_step(optimizer, state, *args, **kwargs)
        state["stage"] = OptState.STEPPED
        return result

    def update(self, new_scale: Tensor | float | None = None) -> None:
        """Set the scale to new_scale, or change it as the steps since the last call demand."""
        if not self._enabled:
            return
        scale, tracker = self._check_scale_growth_tracker("update")
        found: list[float] = []  # for each step, 1 if a gradient was not finite
        for state in self._per_optimizer_states.values():
            found += [x.item() for x in state["found_inf_per_device"].values()]
        if new_scale is not None:
            scale.fill_(float(new_scale))
        elif not found:
            raise AssertionError("[GradScaler.update] got no step; expected step(optimizer) before")
        elif any(found):
            scale.mul_(self._backoff_factor)
            tracker.zero_()
        elif tracker.item() + 1 < self._growth_interval:
            tracker.add_(1)
        else:
            grown = scale * self._growth_factor
            if math.isfinite(grown.item()):
                scale.copy_(grown)
            tracker.zero_()
        self._per_optimizer_states.clear()

    def _check_inf_per_device(self, optimizer: Optimizer) -> Any:
        self._check_scale_growth_tracker("_check_inf_per_device")
        found = self._unscale_grads_(optimizer, 1.0, 0.0, True)
        self._per_optimizer_states[id(optimizer)]["found_inf_per_device"] = found
        return found

    def _found_inf_per_device(self, optimizer: Optimizer) -> Any:
        return self._per_optimizer_states[id(optimizer)]["found_inf_per_device"]

    def _get_scale_async(self) -> Tensor | None:
        return self._scale

    def get_scale(self) -> float:
        """The scale; 1 if the scaler is not enabled."""
        if not self._enabled:
            return 1.0
        if self._scale is None:
            return self._init_scale
        return self._scale.item()

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        if self._growth_tracker is None:
            return self._init_growth_tracker
        return self._growth_tracker.item()

    def get_growth_factor(self) -> float:
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The settings, the scale, and the number of steps since it changed; empty if not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what ``state_dict`` returned.

        Raises RuntimeError for the state of a scaler that is not enabled.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "[GradScaler.load_state_dict] got an empty dict; expected the state of an enabled GradScaler"
            )
        self._init_scale = state_dict["scale"]
        self._init_growth_tracker = state_dict["_growth_tracker"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        if self._scale is not None and self._growth_tracker is not None:
            self._scale.fill_(self._init_scale)
            self._growth_tracker.fill_(self._init_growth_tracker)

    def __getstate__(self) -> dict[str, Any]:
        if not self._enabled:
            return dict(vars(self))
        if self._per_optimizer_states:
            raise AssertionError("[GradScaler] got steps without update(); expected to be pickled after it")
        state = dict(vars(self))
        state["_init_scale"] = self.get_scale()
        state["_init_growth_tracker"] = self._get_growth_tracker()
        state["_scale"] = None
        state["_growth_tracker"] = None
        return state


class CUDAGradScaler(GradScaler):
    """torch.cuda.amp.GradScaler, which has no effect."""

    _stacklevel = 3  # after the constructor of `GradScaler` comes the one here

    def __init__(self, *settings: Any, **named: Any) -> None:
        super().__init__("cuda", *settings, **named)


class CPUGradScaler(GradScaler):
    """torch.cpu.amp.GradScaler"""

    _stacklevel = 3  # after the constructor of `GradScaler` comes the one here

    def __init__(self, *settings: Any, **named: Any) -> None:
        super().__init__("cpu", *settings, **named)
