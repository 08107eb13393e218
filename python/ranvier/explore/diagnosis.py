"""`rv.diagnose`: faults of a network or its training, with their evidence and remedies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

import ranvier.explore.diagnosis_rules as rules
from ranvier.autograd import Tensor
from ranvier.explore.diagnosis_rules import Finding
from ranvier.explore.examine import Measurements
from ranvier.nn import Module
from ranvier.train import Trainer

__all__ = ["Diagnosis", "Finding", "diagnose"]

_ORDER = ("error", "warning", "note")


def _sort_key(finding: Finding) -> int:
    """The place of a finding in the report; see `Diagnosis`."""
    if finding.rule == "inputs":
        return 0
    return _ORDER.index(finding.severity)


class Diagnosis(Sequence[Finding]):
    """The findings, worst first; those about the inputs count as errors here, since they cause others.

    Empty, and so false, for a healthy network.

    `str()` of it is the report.

    Attributes:
        missing: what could not be examined, and the arguments that it needs.
    """

    def __init__(self, findings: Sequence[Finding], missing: Sequence[str] = ()) -> None:
        self._findings = sorted(findings, key=_sort_key)
        self.missing = tuple(missing)

    def __len__(self) -> int:
        return len(self._findings)

    @overload
    def __getitem__(self, index: int) -> Finding: ...

    @overload
    def __getitem__(self, index: slice) -> list[Finding]: ...

    def __getitem__(self, index: int | slice) -> Finding | list[Finding]:
        return self._findings[index]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._findings)

    def __str__(self) -> str:
        if not self._findings:
            lines = ["nothing found"]
        else:
            lines = [str(finding) for finding in self._findings]
        lines += [f"not examined: {what}" for what in self.missing]
        return "\n".join(lines)

    def __repr__(self) -> str:
        rules = ", ".join(finding.rule for finding in self._findings)
        return f"<Diagnosis: {rules or 'nothing found'}>"


def diagnose(
    model: Module | Trainer,
    history: Mapping[str, Sequence[float]] | None = None,
    data: Any = None,
    *,
    loss: Callable[[Any, Any], Tensor] | None = None,
) -> Diagnosis:
    """Examine a network, its training curves and its data, and name faults with their remedies.

    The faults, with thresholds that `ranvier.explore.diagnosis_rules` explains: weights that are NaN or
    Inf; an output layer that does not fit the loss (softmax before CrossEntropyLoss); inputs that are not
    finite or badly scaled; targets far from 1; imbalanced classes; dead ReLU units; saturated sigmoids and
    tanhs; signals and gradients that vanish or explode; a learning rate that is too high or too low;
    underfitting and overfitting. The model runs in evaluation mode and is not changed, gradients included.

    Args:
        model: a Module, or a Trainer, which also gives its history and loss.
        history: the result of `Trainer.fit`.
        data: `(x, y)`, a loader of such batches, or samples `x` alone.
        loss: called as `loss(output, target)`; needed, with targets, to examine gradients.

    Returns:
        A Diagnosis: a sequence of findings that can be printed. Its `missing` names what could not be
            examined.

    Raises TypeError: model is not a Module or Trainer, or history not a mapping.
    Raises ValueError: data of another form than `(x, y)`, or that the model does not take.

    >>> import numpy as np, ranvier as rv
    >>> from ranvier import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Softmax(dim=1))
    >>> print(rv.diagnose(model, loss=nn.CrossEntropyLoss()))
    error: output and loss: the model ends in Softmax, and CrossEntropyLoss takes raw scores of any sign
      try: leave it out: the loss applies it, and Trainer.predict_proba gives probabilities
    not examined: inputs, classes, units and gradients: give data=(x, y)
    not examined: learning rate and fit: give history
    """
    if isinstance(model, Trainer):
        if history is None and model.history.epochs:
            history = model.history
        if loss is None:
            loss = model.loss
        model = model.model
    if not isinstance(model, Module):
        raise TypeError(f"[diagnose] got model of type {type(model).__name__}; expected a Module or Trainer")
    if history is not None and not isinstance(history, Mapping):
        raise TypeError(
            f"[diagnose] got history of type {type(history).__name__}; expected a History or a mapping"
        )
    findings = list(rules.weights(model))
    missing = []
    seen = None if data is None else Measurements(model, data, loss)
    findings += rules.output_layer(model, loss, seen)
    if seen is None:
        missing.append("inputs, classes, units and gradients: give data=(x, y)")
    else:
        findings += rules.inputs(seen)
        findings += rules.classes(seen)
        findings += rules.targets(seen)
        errors = {finding.rule for finding in findings if finding.severity == "error"}
        if errors.isdisjoint({"weights", "inputs"}):
            findings += _examine_units(seen)
            missing += seen.missing
        else:
            missing.append("units and gradients: what goes through them is not finite")
    if history is None or "loss" not in history:
        missing.append("learning rate and fit: give history")
    elif not any(finding.rule == "targets" for finding in findings):  # far targets explain bad losses
        rate_findings = list(rules.learning_rate(history, seen, loss))
        if rate_findings:
            findings += rate_findings  # the cause of a bad fit
        else:
            findings += rules.fit(history)
    return Diagnosis(findings, missing)


def _examine_units(seen: Measurements) -> list[Finding]:
    """What is wrong with the units, and with the signals and gradients that go through them."""
    findings = list(rules.dead_units(seen))
    blocked = any(finding.severity == "error" for finding in findings)
    findings += rules.saturation(seen)
    if not blocked:  # else the dead units explain small signals
        findings += rules.depth(seen)
    return findings
