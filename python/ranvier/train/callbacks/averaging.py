"""WeightAveraging: an average of the weights over the run, kept beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ranvier.train.callbacks.base import Callback

__all__ = ["WeightAveraging"]


class WeightAveraging(Callback):
    """Takes the weights into an average after each update or epoch; checkpoints hold the average too.

    Args:
        average: an `optim.swa_utils.AveragedModel` of the Trainer's model, or anything with
            `update_parameters(model)`, `state_dict` and `load_state_dict`.
        per: "batch" after each update of the weights (an exponential average), "epoch" after each epoch
            (stochastic weight averaging).
        begin: epochs that are left out at the beginning.

    Raises:
        TypeError: an average without `update_parameters`.
        ValueError: an unknown `per`, or a begin below 0.

    >>> import ranvier as rv
    >>> from ranvier.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
    >>> model = rv.nn.Linear(1, 1)
    >>> average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    >>> trainer = rv.Trainer(model, rv.nn.MSELoss(), rv.optim.SGD(model.parameters(), lr=0.1))
    >>> history = trainer.fit([[1.0], [2.0]], [[2.0], [4.0]], epochs=3,
    ...                       callbacks=[rv.WeightAveraging(average)])
    >>> int(average.n_averaged)
    3
    """

    def __init__(self, average: Any, *, per: str = "batch", begin: int = 0) -> None:
        if not callable(getattr(average, "update_parameters", None)):
            raise TypeError(
                f"[WeightAveraging] got an average of type {type(average).__name__}; "
                "expected an optim.swa_utils.AveragedModel"
            )
        if per not in ("epoch", "batch"):
            raise ValueError(f"[WeightAveraging] got per '{per}'; expected 'epoch' or 'batch'")
        if begin < 0:
            raise ValueError(f"[WeightAveraging] got begin {begin}; expected at least 0")
        self.average, self.per, self.begin = average, per, begin
        self.every_batch = per == "batch"

    def on_train_begin(self) -> None:
        self._updates = self.trainer.updates

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        if self.per == "batch":
            self._follow()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if self.per == "batch":
            self._follow(epoch)
        elif epoch >= self.begin:
            self.average.update_parameters(self.trainer.model)

    def _follow(self, epoch: int | None = None) -> None:
        epoch = self.trainer.epoch if epoch is None else epoch
        if self._updates < self.trainer.updates and epoch >= self.begin:
            self.average.update_parameters(self.trainer.model)
        self._updates = self.trainer.updates

    def state_dict(self) -> dict[str, Any]:
        return {"average": dict(self.average.state_dict()), "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.average.load_state_dict(state["average"])
        self._updates = state["updates"]
