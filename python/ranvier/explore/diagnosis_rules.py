"""The rules of `rv.diagnose`, with their thresholds and the reasons for them.

A rule is a generator of findings; a healthy network has none. `diagnose` calls the rules, and gives them the
model, the history or the `Measurements` of a pass over the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

import ranvier.nn as nn
from ranvier.explore.examine import SAMPLES, SATURATED, Loss, Measurements, rms, spread, weighs
from ranvier.explore.fit import judge_fit, level
from ranvier.train.hints import far_targets
from ranvier.train.losses import link_of

INPUT_RMS = 10.0
"""The largest root mean square of a feature: ten times that of the unit variance which the usual
initialisations assume (LeCun et al., Efficient BackProp, 1998, section 4.3)."""

INPUT_RATIO = 100.0
"""The largest feature over the smallest (without the smallest tenth, because of pixels that are always 0):
the curvatures along their weights and the learning rates they need differ by the square (same source)."""

IMBALANCE = 4.0
"""The largest class over the smallest: one of two classes has less than a fifth, which is called a moderate
imbalance (He and Garcia, Learning from Imbalanced Data, 2009, call 100:1 severe)."""

DEAD_SHARE = 0.25
"""The share of a layer's units. Some dead units after training do no harm (10 to 20 % of a good network on
digits); more than half are an error (Lu et al., Dying ReLU and Initialization, 2020)."""

SATURATED_SHARE = 0.5
"""The share of a layer's outputs with a derivative below `examine.SATURATED` (Glorot and Bengio,
Understanding the difficulty of training deep feedforward neural networks, 2010)."""

DEPTH_RATIO = 1e3
"""The ratio between the first and the last layer: three of float32's seven decimal places are lost, and no
learning rate fits both (Glorot and Bengio, 2010; He et al., Delving Deep into Rectifiers, 2015)."""

DEEP = 3
"""The least number of layers with weights for the rules of depth."""

CLIMB = 1.0
"""The sum of the rises of the training loss over its whole fall: a larger ratio is an oscillation."""

ABOVE_CHANCE = 1.05
"""The cross-entropy over the entropy of the classes: above it, predictions are worse than the shares of the
classes, which an untrained network gives, so that the steps are too large."""

SLOW_FALL = 0.2
"""The share by which the training loss falls: below it, steps are too short if ..."""

STEADY = 0.8
"""... this share of the epochs lowers it."""


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        rule: the name of the rule, such as "dead units".
        severity: "error" (training cannot work), "warning" (training is worse) or "note".
        evidence: the observation and its place, with the figures.
        remedy: what to do.
        figures: the figures by name.
    """

    rule: str
    severity: str
    evidence: str
    remedy: str
    figures: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.severity}: {self.rule}: {self.evidence}\n  try: {self.remedy}"


Findings = Iterator[Finding]


def weights(model: nn.Module) -> Findings:
    """Weights that are NaN or infinite."""
    for name, parameter in model.named_parameters():
        bad = parameter.numel() - int(np.isfinite(parameter._array).sum())
        if bad:
            yield Finding(
                "weights",
                "error",
                f"{bad} of {parameter.numel()} elements of {name} are NaN or Inf",
                "go back to a checkpoint, lower the learning rate, clip the gradients; look for log or "
                "division of 0 in the loss",
                {"elements": bad},
            )


def output_layer(model: nn.Module, loss: Loss, seen: Measurements | None) -> Findings:
    """An output layer that does not fit the loss. Without data only a Sequential's last layer is known."""
    if seen is not None and seen.loss_error:
        yield Finding("output and loss", "error", f"the loss refuses them: {seen.loss_error}", "see there")
    link = link_of(loss)  # the function that makes probabilities of the output: "softmax", "sigmoid" ...
    last = _last_layer(model) if seen is None else seen.last_layer
    if link is None or last is None:
        return
    last_name = type(last).__name__
    loss_name = type(loss).__name__
    ready = "leave it out: the loss applies it, and Trainer.predict_proba gives probabilities"
    if isinstance(loss, nn.NLLLoss):
        fits = isinstance(last, nn.LogSoftmax)
        takes = "log-probabilities"
        remedy = "end in LogSoftmax"
    elif link == "identity":
        fits = isinstance(last, (nn.Sigmoid, nn.Softmax))
        takes = "probabilities"
        remedy = "end in Sigmoid"
    else:  # log-softmax of log-probabilities changes nothing
        fits = not isinstance(last, (nn.Softmax, nn.Sigmoid, nn.ReLU, nn.ReLU6))
        takes = "raw scores of any sign"
        remedy = ready if last_name.lower() == link else "leave it out"
    if not fits:
        evidence = f"the model ends in {last_name}, and {loss_name} takes {takes}"
        yield Finding("output and loss", "error", evidence, remedy)


def _last_layer(model: nn.Module) -> nn.Module | None:
    """The last layer of a Sequential, or a model that is one layer; None if it is not known."""
    while isinstance(model, nn.Sequential) and len(model):
        model = model[-1]
    if list(model.children()):
        return None
    return model


def inputs(seen: Measurements) -> Findings:
    """Inputs that are not finite, large, or of very different sizes."""
    x = seen.x
    if x.dtype.kind != "f":  # indices of an embedding
        return
    bad = int(x.size - np.isfinite(x).sum())
    if bad:
        yield Finding(
            "inputs",
            "error",
            f"{bad} of {x.size} values are NaN or Inf",
            "leave these samples out, or fill the gaps (with the feature's mean)",
            {"values": bad},
        )
        return
    features = np.sqrt(np.mean(np.square(x, dtype=np.float64), axis=0))  # root mean squares (features,)
    sizes = np.sort(features[features > 0])
    if not len(sizes):
        return
    largest = sizes[-1]
    smallest = sizes[(len(sizes) - 1) // 10]  # without the smallest tenth, see INPUT_RATIO
    scale = "scale them: rv.data.Standardize, or divide pixels by 255"
    if largest > INPUT_RMS:
        evidence = f"feature or channel {features.argmax()} has a root mean square of {largest:.3g}"
        yield Finding("inputs", "warning", evidence, scale, {"rms": float(largest)})
    elif largest > INPUT_RATIO * smallest:
        ratio = float(largest / smallest)
        evidence = f"the largest feature is {ratio:.3g} times the smallest"
        yield Finding("inputs", "warning", evidence, scale, {"ratio": ratio})


def targets(seen: Measurements) -> Findings:
    """Targets of a loss of values that are far from the numbers that a new network gives."""
    if seen.y is None:
        return
    text, _, remedy = far_targets(seen.loss, seen.y).partition(": ")
    if text:
        figures = {"mean": float(seen.y.mean()), "deviation": float(seen.y.std())}
        yield Finding("targets", "warning", text, remedy, figures)


def classes(seen: Measurements) -> Findings:
    """Classes of very different numbers of samples."""
    y = seen.y
    regression = seen.loss is not None and link_of(seen.loss) is None
    if y is None or regression or not np.array_equal(y, np.rint(y)):
        return
    if y.dtype.kind == "f" and not np.isin(y, (0, 1)).all():  # integers, but not labels
        return
    values, counts = np.unique(y, return_counts=True)
    if len(values) < 2 or counts.max() <= IMBALANCE * counts.min():
        return
    few = counts.argmin()
    many = counts.argmax()
    yield Finding(
        "classes",
        "warning",
        f"class {values[few]:g} has {counts[few]} samples and class {values[many]:g} has {counts[many]}: "
        f"always saying {values[many]:g} is right for {counts[many] / len(y):.0%}",
        'fit(class_weight="balanced"), or a weighted sampler; judge by f1_macro or a confusion matrix',
        {"ratio": float(counts.max() / counts.min())},
    )


def dead_units(seen: Measurements) -> Findings:
    """Units behind a ReLU that are 0 for all samples, so that their weights have no gradient."""
    if seen.samples < SAMPLES:
        return
    shares = {}  # {name of the layer: the share of its dead units}
    texts = []
    for name, dead in seen.dead.items():
        share = float(dead.mean())
        if share > DEAD_SHARE:
            shares[name] = share
            texts.append(f'{dead.sum()} of {dead.size} units of "{name}"')
    if not shares:
        return
    severity = "error" if max(shares.values()) > 0.5 else "warning"
    yield Finding(
        "dead units",
        severity,
        f"0 for all {seen.samples} samples: {', '.join(texts)}",
        "lower the learning rate, start from kaiming_normal_ and biases of 0, or take LeakyReLU",
        shares,
    )


def saturation(seen: Measurements) -> Findings:
    """Sigmoids and tanhs whose outputs are so close to their limits that hardly any gradient passes."""
    last = seen.calls[-1].name if seen.calls else ""
    for name, share in seen.saturated.items():
        if share > SATURATED_SHARE and name != last:  # an output may be close to 0 or 1
            yield Finding(
                "saturation",
                "warning",
                f'{share:.0%} of the outputs of "{name}" have a derivative below {SATURATED}',
                "scale the inputs, start from smaller weights (xavier_normal_), normalize between the "
                "layers, or take ReLU",
                {"share": share},
            )


def depth(seen: Measurements) -> Findings:
    """Signals from the first layer with weights to the last, and gradients in reverse."""
    calls = [call for call in seen.calls if weighs(call.layer)]
    if len(calls) < DEEP:
        return
    names = [call.name for call in calls]
    signals = [spread(call.value) for call in calls]
    yield from _compare_ends("signals", names, signals)
    names = []
    gradients = []
    for call in reversed(calls):  # the way that gradients take
        if call.gradient is not None:
            names.append(call.name)
            gradients.append(rms(call.gradient))
    wrong = [name for name, size in zip(names, gradients, strict=True) if not np.isfinite(size)]
    if wrong:
        remedy = "lower the learning rate, scale the inputs, start from smaller weights"
        yield Finding("gradients", "error", f'the gradient at "{wrong[-1]}" is NaN or Inf', remedy)
    elif len(gradients) >= DEEP:
        yield from _compare_ends("gradients", names, gradients)


def _compare_ends(rule: str, names: Sequence[str], sizes: Sequence[float]) -> Findings:
    """Report sizes that vanish or explode on the way from the first of the layers to the last one."""
    first = sizes[0]
    last = sizes[-1]
    if not first > 0 or first / DEPTH_RATIO <= last <= first * DEPTH_RATIO:
        return
    change = "vanishing" if last < first else "exploding"
    remedy = (
        "start from weights made for the activation (kaiming_normal_ for ReLU, xavier_normal_ for tanh), "
        "normalize between the layers (BatchNorm, LayerNorm), add residual connections"
    )
    if change == "exploding":
        remedy += ", clip the gradients"
    yield Finding(
        f"{change} {rule}",
        "warning",
        f'from {first:.3g} at "{names[0]}" to {last:.3g} at "{names[-1]}"',
        remedy,
        {"first": first, "last": last},
    )


def learning_rate(history: Mapping[str, Sequence[float]], seen: Measurements | None, loss: Loss) -> Findings:
    """Judge the learning rate by the course of the training loss: too high, or too low."""
    losses = np.asarray(history["loss"], np.float64)
    finite = losses[np.isfinite(losses)]
    lower = "divide the learning rate by 3 to 10, warm up, clip gradients"
    if len(finite) < len(losses) and not np.isfinite(losses[-1]):
        epoch = 1  # epochs are counted from 1
        if len(finite):
            last_finite = int(np.flatnonzero(np.isfinite(losses))[-1])  # counted from 0
            epoch = last_finite + 2
        evidence = f"training loss is {losses[-1]:g} since epoch {epoch}"
        yield Finding("learning rate too high", "error", evidence, lower, {"epoch": epoch})
        return
    if len(finite) < 3:
        return
    jumps = np.diff(finite)
    share_of_falls = (jumps < 0).mean()
    chance = _chance(seen, loss)
    fall = float(finite[0] - finite.min())
    climbs = float(jumps[jumps > 0].sum())
    figures = {"start": float(finite[0]), "end": level(finite), "fall": fall, "climbs": climbs}
    # A tenth of the first loss at least: a run that began near its minimum hardly falls, and noise climbs.
    if climbs > CLIMB * fall and climbs > 0.1 * abs(finite[0]):
        evidence = (
            f"training loss climbed by {climbs:.3g} in all and went {fall:.3g} below its start of "
            f"{finite[0]:.3g}"
        )
        yield Finding("learning rate too high", "warning", evidence, lower, figures)
    elif figures["end"] > ABOVE_CHANCE * chance:
        evidence = f"training loss is {figures['end']:.3g}, above the {chance:.3g} of always the same answer"
        yield Finding("learning rate too high", "warning", evidence, lower, {**figures, "chance": chance})
    elif (
        0 < fall < SLOW_FALL * finite[0]
        and share_of_falls >= STEADY
        and judge_fit(history).verdict == "underfitting"
    ):
        evidence = (
            f"training loss fell in {share_of_falls:.0%} of the epochs, but only from {finite[0]:.3g} to "
            f"{finite[-1]:.3g}"
        )
        remedy = "multiply the learning rate by 3 to 10, or take Adam"
        yield Finding("learning rate too low", "warning", evidence, remedy, figures)


def _chance(seen: Measurements | None, loss: Loss) -> float:
    """The cross-entropy of predicting the shares of the classes; infinite if not known."""
    if not isinstance(loss, nn.CrossEntropyLoss) or loss.reduction != "mean":
        return float("inf")
    if loss.weight is not None or loss.label_smoothing:
        return float("inf")
    if seen is None or seen.y is None or seen.y.dtype.kind not in "iu":
        return float("inf")
    _, counts = np.unique(seen.y, return_counts=True)
    shares = counts / seen.y.size
    return float(-(shares * np.log(shares)).sum())


def fit(history: Mapping[str, Sequence[float]]) -> Findings:
    """Underfitting and overfitting, by the curves."""
    judged = judge_fit(history)
    if judged.verdict in ("underfitting", "overfitting"):
        yield Finding(judged.verdict, "warning", judged.reasons[0], judged.remedy, judged.figures)
