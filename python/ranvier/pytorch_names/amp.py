"""torch.amp: mixed precision. Here all is computed in the dtypes of the tensors; losses need no scale."""

from __future__ import annotations

import functools
from typing import Any


class autocast:
    """A block or decorator without effect: operations keep the dtypes of their inputs.

    >>> import ranvier as rv
    >>> with rv.autocast("cpu"):
    ...     print(rv.ones(2).dtype)
    torch.float32
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        pass

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __call__(self, function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **settings: Any) -> Any:
            return function(*args, **settings)

        return wrapper


class GradScaler:
    """A scaler that is switched off: the loss keeps its scale, and ``step`` is the optimizer's.

    >>> import ranvier as rv
    >>> scaler = rv.amp.GradScaler()
    >>> scaler.scale(rv.tensor(2.0))
    tensor(2.)
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        pass

    def scale(self, outputs: Any) -> Any:
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """Does nothing."""

    def step(self, optimizer: Any, *args: Any, **settings: Any) -> Any:
        return optimizer.step(*args, **settings)

    def update(self, new_scale: Any = None) -> None:
        """Does nothing."""

    def get_scale(self) -> float:
        return 1.0

    def is_enabled(self) -> bool:
        return False

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Does nothing."""
