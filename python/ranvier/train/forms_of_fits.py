"""What a process knows of fits that have the same layers, sizes, loss and optimizer.

`compiled_parts.py` decides by it whether a short fit is recorded for the others; `program_policy.py` notes
that a program is shared.
"""

from __future__ import annotations

from ranvier.train.callbacks.base import Training

_MOST_FORMS = 1024


class FormOfFits:
    """What is known of the fits of a process that have the same layers, sizes, loss and optimizer.

    Attributes:
        calls: how many calls were expected of all of them, except those with very few.
        is_recorded: whether one of them with few calls was recorded for the others.
        is_shared: whether other fits may use its program.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.is_recorded = False
        self.is_shared = False


_forms: dict[int, FormOfFits] = {}


def form_of(trainer: Training, name: str) -> FormOfFits:
    """The form of a function of the Trainer; name: of the function."""
    model = trainer.model
    classes = [type(module) for module in model.modules()]
    shapes = [p.shape for p in model.parameters()]
    key = hash((name, type(trainer.loss), type(trainer.optimizer), *classes, *shapes))
    if len(_forms) >= _MOST_FORMS:
        _forms.clear()
    return _forms.setdefault(key, FormOfFits())
