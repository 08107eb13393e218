"""The policy of the compiled functions of a Trainer: fits of the same form share programs.

`compiled_parts.py` loads it with `ranvier.compile`, at the first call that is not eager.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from ranvier.compile.compiled_function import CompiledFunction
from ranvier.compile.guarding.traced_code import TracedCode
from ranvier.compile.guarding.walk import Walk
from ranvier.compile.policy import Policy
from ranvier.nn.hooks import tables_of_all
from ranvier.observe import callers_level
from ranvier.tape.hooks import hooks_of
from ranvier.train.forms_of_fits import FormOfFits


class OfTrainer(Policy):
    """The policy of a compiled function of a Trainer.

    name: the caller, for the warning.
    at_second_call: whether a signature is recorded only at its second call.
    shares: whether other fits may use the programs.
    form: what is known of functions like this one; it notes that a program is shared.
    """

    as_tensors = True  # arrays arrive as Tensors in the function

    def __init__(self, name: str, at_second_call: bool, shares: bool, form: FormOfFits) -> None:
        self._caller = name
        self._form = form
        self.waits = at_second_call  # `Policy.waits`
        self.shares_after = int(shares)  # `Policy.shares_after`

    def known_guards(self, function: Callable[..., Any]) -> Walk | None:
        return _library_walk(function)

    def when_shared(self) -> None:
        self._form.is_shared = True

    def when_refused(self, call: CompiledFunction, why: str) -> None:
        text = f"[{self._caller}] runs some steps without replaying them: {why}"
        warnings.warn(text, stacklevel=callers_level())


def _library_walk(function: Callable[..., Any]) -> Walk | None:
    """The walk over the objects that a step uses, for a step that calls code of the library alone.

    None if it calls code of the user, or hooks: another fit may have other code there.
    """
    walk = Walk(TracedCode())
    walk.run([(function, "the step")])
    has_hooks = any(tables_of_all()) or any(map(hooks_of, walk.tensors))
    if walk.users or walk.fault or has_hooks:
        return None
    return walk


def compiled(
    name: str, function: Callable[..., Any], at_second_call: bool, shares: bool, form: FormOfFits
) -> CompiledFunction:
    """The compiled function of a Trainer with this policy."""
    return CompiledFunction(function, strict=True, policy=OfTrainer(name, at_second_call, shares, form))
