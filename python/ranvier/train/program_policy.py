"""The policy of the compiled functions of a Trainer: fits of the same form share programs.

`compiled_parts.py` loads it with `ranvier.compile`, at the first call that is not eager.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ranvier.compile import shared_programs
from ranvier.compile.compiled_function import CompiledFunction
from ranvier.compile.guarding.traced_code import TracedCode
from ranvier.compile.guarding.walk import Walk
from ranvier.compile.policy import Policy
from ranvier.compile.record import OneCall, callers_level
from ranvier.nn.hooks import tables_of_all
from ranvier.tape.hooks import hooks_of

if TYPE_CHECKING:
    import ranvier._core as _core
    from ranvier.compile.program import Program


class OfTrainer(Policy):
    """The policy of a compiled function of a Trainer.

    name: the caller, for the warning.
    at_second_call: whether a signature is recorded only at its second call.
    shares: whether other fits may use the programs.
    """

    as_tensors = True  # arrays arrive as Tensors in the function

    def __init__(self, name: str, at_second_call: bool, shares: bool) -> None:
        self._caller = name
        self.waits = at_second_call  # `Policy.waits`
        self._shares = shares
        # hash of a program's key -> what it computes (`shared_programs.form`), until the program is checked
        # by an eager call and shared with other fits
        self._forms: dict[int, Any] = {}

    def before_first(self, function: Callable[..., Any], call: OneCall) -> tuple[Program | None, Walk | None]:
        """Called before a function is recorded for a new key.

        Returns (a program of another fit that does the same, or None; the walk over the function's objects).
        """
        walk = _library_walk(function)
        form = shared_programs.form(walk, call) if self._shares else None
        if form is None:
            program = None
        else:
            program = shared_programs.find(form, call.arrays)
        if program is None:
            self._forms[hash(call.key)] = form
        return program, walk

    def after_check(self, key: _core.Signature, program: Program) -> None:
        """Called when an eager call has confirmed a program: other fits may use it from now on."""
        form = self._forms.pop(hash(key), None)
        if form is not None:
            shared_programs.share(program, form)

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


def compiled(name: str, function: Callable[..., Any], at_second_call: bool, shares: bool) -> CompiledFunction:
    """The compiled function of a Trainer with this policy."""
    return CompiledFunction(function, strict=True, policy=OfTrainer(name, at_second_call, shares))
