"""Underfitting, a good fit or overfitting, judged by the curves of a training run.

The history is {name: values by epoch}: "loss" and perhaps "accuracy" ... of the training, "val_loss" and
"val_accuracy" ... of the validation. The "score" is the first of `SCORES` that it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ranvier.tensors.memory import Array

__all__ = ["Fit", "judge_fit"]


SHORTEST = 3  # epochs: two points have no trend
FALL = 0.5  # little is learned if training loss fell by less than half of its first value ...
GOOD_SCORE = 0.9  # ... unless the score is this good (a run that continues a trained model)
RISE = 0.1  # validation loss rises if it is above its best by a tenth of the first training loss ...
NOISE = 2.0  # ... and by two standard deviations of its changes from epoch to epoch
GAP = 0.25  # the gap is too large if validation loss is above training by a quarter of the first loss
LEARNED = 0.2  # if the loss fell by less than this share of the first, underfitting is judged before the gap
SCORE_GAP = 0.1  # the gap is too large, too, if the score is ten points lower on new data
FALLING = 0.05  # training loss still falls if the last third of the epochs made a twentieth of the gain
SCORES = ("accuracy", "binary_accuracy", "f1_macro", "f1_weighted", "f1", "roc_auc", "r2")

REMEDIES = {
    "underfitting": "train longer or with a higher learning rate, widen or deepen the network, weaken the "
    "regularisation, add features; noise in the targets is a floor that no network goes below",
    "overfitting": "stop at the best validation loss (EarlyStopping), add data or augmentation, dropout, "
    "L1 or L2 penalties, or take a smaller network",
    "diverged": "lower the learning rate, clip the gradients, scale the inputs",
    "unknown": "train for more epochs, with validation_data or validation_split",
    "good": "",
}


@dataclass(frozen=True)
class Fit:
    """The result of `judge_fit`; print it for the text.

    Attributes:
        verdict: "underfitting", "good", "overfitting", "diverged" or "unknown".
        reasons: sentences with the figures of the decision.
        figures: these figures by name.
        remedy: what to try; empty for a good fit.
    """

    verdict: str
    reasons: tuple[str, ...]
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def remedy(self) -> str:
        return REMEDIES[self.verdict]

    def __str__(self) -> str:
        lines = [self.verdict, *(f"  {reason}" for reason in self.reasons)]
        if self.remedy:
            lines.append(f"  try: {self.remedy}")
        return "\n".join(lines)


def judge_fit(history: Mapping[str, Sequence[float]], *, baseline: float | None = None) -> Fit:
    """Judge by the losses of training and validation whether a network underfits, overfits or fits well.

    The first of these that holds: the last training loss is not finite or above the first (diverged);
    validation loss has risen from its best epoch by more than `RISE` of the baseline and more than its noise,
    while training loss fell (overfitting); training loss fell by `LEARNED` of the baseline or more, and
    validation loss is above it by `GAP` of the baseline, or the score below by `SCORE_GAP` (overfitting);
    training loss fell by less than `FALL` of the baseline (underfitting); else good. Final values are medians
    over the last fifth of the epochs, so that they do not depend on one noisy epoch. Epochs with NaN are
    ignored.

    Args:
        history: the result of `Trainer.fit`, or a mapping with "loss", "val_loss" if there was validation,
            and possibly "accuracy" or another score with the maximum 1.
        baseline: the loss of an untrained network; by default that of the first epoch.

    Returns:
        A Fit. Its verdict is "unknown" with fewer than three epochs or without validation.

    Raises TypeError: history is not a mapping; ValueError: it has no "loss".

    Source: the early-stopping criterion GL of L. Prechelt, "Early stopping - but when?" (1998), for the rise.

    >>> import ranvier as rv
    >>> print(rv.explore.judge_fit({"loss": [0.8, 0.5, 0.3, 0.1], "val_loss": [0.9, 0.55, 0.6, 0.8]}))
    overfitting
      validation loss rose from 0.55 (epoch 2) to 0.8, while training loss fell from 0.5 to 0.1
      try: stop at the best validation loss (EarlyStopping), add data or augmentation, dropout, L1 or L2 \
penalties, or take a smaller network
    """
    if not isinstance(history, Mapping):
        raise TypeError(f"[judge_fit] got {type(history).__name__}; expected a History or a mapping of lists")
    if "loss" not in history:
        raise ValueError(f"[judge_fit] got a history of {', '.join(history) or 'nothing'}; expected 'loss'")
    losses = np.asarray(history["loss"], np.float64)
    train = losses[np.isfinite(losses)]
    if len(losses) and not np.isfinite(losses[-1]):
        epoch = 1  # epochs are counted from 1
        if len(train):
            last_finite = int(np.flatnonzero(np.isfinite(losses))[-1])  # counted from 0
            epoch = last_finite + 2
        return Fit("diverged", (f"training loss is {losses[-1]:g} since epoch {epoch}",))
    if len(train) < SHORTEST:
        return Fit("unknown", (f"{len(train)} epochs with a loss: a trend needs {SHORTEST}",))
    start = float(train[0])
    figures = {"start": start, "loss": level(train)}
    if baseline is not None:
        figures["start"] = float(baseline)
    figures["gain"] = figures["start"] - figures["loss"]
    figures["scale"] = max(figures["start"], figures["gain"])  # a loss may be below 0
    if figures["gain"] < 0 and figures["loss"] > start + NOISE * noise(train):
        return Fit("diverged", (f"training loss rose from {start:.3g} to {figures['loss']:.3g}",), figures)
    score = next((name for name in SCORES if name in history), None)
    names = ["val_loss"]
    if score is not None:
        names = [score, "val_loss", f"val_{score}"]
    for name in names:
        values = np.asarray(history.get(name, ()), np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            figures[name] = level(values)
    figures["falling"] = _still_falling(train, figures["gain"])
    learned = figures["gain"] >= LEARNED * figures["start"]
    if learned:
        rules = (_rising, _gap, _little_learned)
    else:
        rules = (_rising, _little_learned, _gap)
    for rule in rules:
        reason = rule(history, figures, score)
        if reason is not None:
            verdict = "underfitting" if rule is _little_learned else "overfitting"
            return Fit(verdict, (reason,), figures)
    return _good(figures)


def level(values: Array) -> float:
    """The final value of a curve: the median of its last fifth (the last value up to nine epochs)."""
    count = max(1, len(values) // 5)
    return float(np.median(values[-count:]))


def noise(values: Array) -> float:
    """The standard deviation of a curve around its trend, from the median of its second differences.

    Second differences of independent noise have 6 times its variance; the median of absolute values times
    1.4826 is a standard deviation.
    """
    if len(values) < 6:  # too few to separate noise from trend
        return 0.0
    second_differences = np.diff(values, 2)
    deviation = 1.4826 * np.median(np.abs(second_differences))
    return float(deviation / np.sqrt(6))


def _still_falling(train: Array, gain: float) -> float:
    """The share of the gain in the last third of the epochs."""
    third = max(1, len(train) // 3)
    if gain > 0:
        return float((train[-third - 1] - level(train)) / gain)
    return 0.0


# The rules below take the history, the figures so far, and the name of the score or None. They return the
# reason for their verdict in words, or None if it does not hold; what they measure they add to the figures.
def _rising(
    history: Mapping[str, Sequence[float]], figures: dict[str, float], score: str | None
) -> str | None:
    """The rise of the validation loss in words, if it is larger than its noise; None if not."""
    if "val_loss" not in figures or figures["gain"] <= 0:
        return None
    train = np.asarray(history["loss"], np.float64)
    valid = np.asarray(history["val_loss"], np.float64)
    n = min(len(train), len(valid))
    both = np.flatnonzero(np.isfinite(train[:n]) & np.isfinite(valid[:n]))
    if len(both) < SHORTEST:
        return None
    best = int(both[np.argmin(valid[both])])
    rise = figures["val_loss"] - valid[best]
    spread = noise(valid[both])
    figures |= {"best_epoch": best + 1, "rise": float(rise), "noise": spread}
    if rise <= max(RISE * figures["scale"], NOISE * spread) or figures["loss"] >= train[best]:
        return None
    return (
        f"validation loss rose from {valid[best]:.3g} (epoch {best + 1}) to {figures['val_loss']:.3g}, while "
        f"training loss fell from {train[best]:.3g} to {figures['loss']:.3g}"
    )


def _little_learned(
    history: Mapping[str, Sequence[float]], figures: dict[str, float], score: str | None
) -> str | None:
    """The small fall of the training loss in words; None if the network has learned enough."""
    start = figures["start"]
    fallen = figures["gain"]
    if start <= 0 or fallen >= FALL * start:
        return None  # for a loss below 0, a share of the first value has no meaning
    scored = ""
    if score and score in figures:
        if figures[score] >= GOOD_SCORE:
            return None
        scored = f", {score} is {figures[score]:.3g}"
    if figures["falling"] > FALLING:
        pace = "and still falls"
    else:
        pace = "and no longer falls"
    share = max(fallen, 0.0) / start
    return (
        f"training loss fell from {start:.3g} to {figures['loss']:.3g}, by {share:.0%} only, {pace}{scored}"
    )


def _gap(history: Mapping[str, Sequence[float]], figures: dict[str, float], score: str | None) -> str | None:
    """The gap between training and new data in words, if it is large; None if not."""
    if score and f"val_{score}" in figures and score in figures:
        lost = figures[score] - figures[f"val_{score}"]
        if lost > SCORE_GAP:
            new = figures[f"val_{score}"]
            return f"{score} is {figures[score]:.3g} in training and {new:.3g} on new data"
    if "val_loss" not in figures or figures["gain"] <= 0:
        return None
    figures["gap"] = figures["val_loss"] - figures["loss"]
    if figures["gap"] <= GAP * figures["scale"]:
        return None
    share = figures["gap"] / figures["scale"]
    return (
        f"validation loss {figures['val_loss']:.3g} is above training loss {figures['loss']:.3g} by "
        f"{share:.0%} of the loss at the start"
    )


def _good(figures: dict[str, float]) -> Fit:
    reason = f"training loss fell from {figures['start']:.3g} to {figures['loss']:.3g}"
    more: tuple[str, ...] = ()
    if figures["falling"] > FALLING:
        more = ("it still falls: more epochs may help",)
    if "val_loss" not in figures:
        missing = "no validation data: whether the network overfits cannot be told"
        return Fit("unknown", (reason, missing), figures)
    return Fit("good", (f"{reason}, validation loss is {figures['val_loss']:.3g}", *more), figures)
