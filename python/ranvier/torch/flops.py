"""torch.utils.flop_counter: a counter that has counted nothing; to count is refused."""

from __future__ import annotations

from typing import Any


class FlopCounterMode:
    """What Lightning makes for each summary. Entered, it raises NotImplementedError: nothing is counted."""

    def __init__(self, mods: Any = None, depth: int = 2, display: bool = True, **settings: Any) -> None:
        self.depth, self.display = depth, display

    def get_total_flops(self) -> int:
        return 0

    def get_flop_counts(self) -> dict[str, dict[Any, int]]:
        return {}

    def __enter__(self) -> FlopCounterMode:
        raise NotImplementedError("[torch.utils.flop_counter] ranvier does not count operations")

    def __exit__(self, *_: Any) -> None:
        """Never reached."""
