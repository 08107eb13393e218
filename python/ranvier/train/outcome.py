"""Hints about a fit that is over, and about predictions without one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

import ranvier.nn as nn
from ranvier.train.callbacks.base import Training
from ranvier.train.faults import HintWarning
from ranvier.train.inputs import Prepared
from ranvier.train.losses import link_of

FAR = 1000.0  # times the loss of a constant answer: no trained network is there
EPOCHS = 3  # from which on a loss that is the same in all of them tells something


def judge(trainer: Training, data: Prepared, losses: Sequence[float]) -> None:
    """Warn where the first fit has learnt nothing for certain; losses: of its epochs."""
    if trainer.on_nonfinite != "raise" or not losses or not all(map(math.isfinite, losses)):
        return
    rates = sorted({float(group["lr"]) for group in getattr(trainer.optimizer, "param_groups", ())})
    rate = f"the learning rate {rates[-1]:g} is" if rates else "the learning rate is"
    constant = _of_constant(trainer, data)
    if losses[-1] > FAR * constant > 0:
        text = (
            f"the loss is {losses[-1]:.3g} at the end, where a constant answer gives {constant:.3g}: {rate} "
            "likely too large: try a hundredth of it"
        )
    elif len(losses) >= EPOCHS and rates and 0 < rates[-1] <= 1e-7 and _is_still(losses):
        text = f"the loss is {losses[-1]:.4g} in all {len(losses)} epochs: {rate} likely too small"
    else:
        return
    warnings.warn(f"[Trainer.fit] {text}", HintWarning, stacklevel=3)


def _is_still(losses: Sequence[float]) -> bool:
    return max(losses) - min(losses) <= 1e-5 * abs(losses[0])


def _of_constant(trainer: Training, data: Prepared) -> float:
    """The loss of an answer that is the same for all samples, about; 0 where it is not known."""
    loss, y = trainer.loss, data.y
    if getattr(loss, "reduction", None) != "mean" or trainer.l1 or trainer.l2 or not y.size:
        return 0.0
    if isinstance(loss, (nn.CrossEntropyLoss, nn.BCEWithLogitsLoss)):
        return (
            math.log(max(int(y.max()) + 1, 2)) if link_of(loss) == "softmax" and y.ndim == 1 else math.log(2)
        )
    if isinstance(loss, nn.MSELoss):
        return float(np.mean(np.square(y, dtype=np.float64)))
    if isinstance(loss, (nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)):
        return float(np.mean(np.abs(y), dtype=np.float64))
    return 0.0


def note_untrained(trainer: Training, name: str) -> None:
    """Warn of predictions by a Trainer that began no fit, with weights as the layers drew them.

    A layer fills each of its parameters once. What is read from a file, copied or trained was written more
    often, or is in new Tensors.
    """
    if trainer.on_nonfinite != "raise" or any((trainer.epoch, trainer.updates, trainer.last_epoch)):
        return
    writes = {p._version for p in trainer.model.parameters()}
    if trainer.optimizer is not None and writes == {1}:
        warnings.warn(
            f"[{name}] no fit was made, and no weights were loaded: the answers are those of random weights; "
            "call fit first",
            HintWarning,
            stacklevel=4,
        )
