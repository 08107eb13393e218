"""Programs that steps of the same form have in common, such as those of the fits of a cross-validation.

A program that was checked once against its step is kept without its memory. A step of the same form gets a
copy of it for its own parameters, optimizer state and gradients: it is not recorded, nor compared again.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import Any

import numpy as np

import ranvier._core as _core
import ranvier.program.gradients as of_gradients
from ranvier.program.arguments import copied
from ranvier.program.form import Form, form_of
from ranvier.program.kinds import Kind, pairs_of
from ranvier.program.locks import Lock
from ranvier.program.program import Program
from ranvier.program.signature import is_array
from ranvier.program.walk import Walk

__all__ = ["Shared", "find", "forget", "form", "share"]

Array = np.ndarray[Any, Any]
_MOST = 64  # programs
_OFTEN = 128  # calls that ask for a program of the same signature
_PLAIN = (int, bool, str, type(None))
_PARTS = tuple(f"ranvier.{part}" for part in ("autograd", "ops", "nn", "optim", "train", "sklearn"))
_kept: OrderedDict[Any, Shared] = OrderedDict()
_asked: dict[int, int] = {}  # by the hash of a signature
_wanted: dict[int, int] = {}  # ... of a form
_guards: list[_core.Guards] = []  # on the code that they were made with, at most one
_lock = Lock()


class Shared:
    """A checked program without its memory, and the numbers of the objects that it belongs to."""

    def __init__(self, core: Any, program: Program, form: Form) -> None:
        self.core = core
        self.leaves = [form.number(leaf) for leaf, _ in program.core.gradients()]
        self.changed = [form.number(t) for t in program.changed_in_place]
        self.modules = [form.number(m) for m in program.modules]
        plans = [(id(x), id(group)) for _, x, group in program.plans]
        places = [(id(x), id(x.param_groups[i])) for x, i in form.optimizers]
        self.plans = [places.index(plan) for plan in plans]
        self.call, self.took, self.results = program.form, program.took, program.result_form

    def bound(self, form: Form, arrays: list[Array]) -> Program | None:
        """The program for a step of the same form, called with such arrays; None where it cannot be."""
        leaves = [form.objects[n] for n in self.leaves]
        if any(leaf._grad is None for leaf in leaves):
            return None
        if any(np.may_share_memory(t._array, a) for t in form.walk.tensors for a in arrays):
            return None
        made = [of_gradients.renewed(leaf._grad) for leaf in leaves]
        core = self.core.bound(form.arrays, [copied(a) for a in arrays], [g._array for g in made])
        if core is None:
            return None
        left = [(leaf, grad, i) for i, (leaf, grad) in enumerate(zip(leaves, made, strict=True))]
        parts = {
            "plans": [form.group(place) for place in self.plans],
            "modules": [form.objects[n] for n in self.modules],
            "changed_in_place": [form.objects[n] for n in self.changed],
            "result_form": self.results,
            "form": self.call,
            "took": self.took,
        }
        program = Program.of_form(core, form.walk, left, parts)
        return program if program.is_current() else None


def form(walk: Walk | None, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Form | None:
    """The form of a step of the library's own; None where it is not known."""
    if walk is None or kwargs or not all(type(x) in _PLAIN or is_array(x) for x in args):
        return None
    return form_of(walk, key)


def _code() -> _core.Guards:
    """Guards on the modules and classes of the library that take part in steps."""
    found: list[tuple[int, Any, Any, Any]] = []
    for name, module in sorted(sys.modules.items()):
        if not name.startswith(_PARTS) or module is None:
            continue
        own = vars(module)
        found.append((int(Kind.DICT), own, "", pairs_of(own)))
        kinds = [x for x in own.values() if isinstance(x, type) and x.__module__ == name]
        found += [(int(Kind.NAMES), x, "", pairs_of(vars(x))) for x in kinds]
    guards = _core.Guards()
    guards.set(found)
    return guards


def forget() -> None:
    """Drops all programs."""
    with _lock:
        for found in (_kept, _guards, _asked, _wanted):
            found.clear()


def _forget_outdated() -> None:
    """Drops all programs where functions of the library have been replaced since.

    Within one fit only a comparison with an eager step would notice that, but the next one has to.
    """
    if _guards and _guards[0].first_changed() >= 0:
        _kept.clear()
        _guards.clear()


def may_have(signature: Any, calls: int) -> bool:
    """Whether to look for a program for so many calls: one of the signature is there, or often asked for."""
    with _lock:
        if any(key[0] == signature for key in _kept):
            return True
        asked = _asked.pop(hash(signature), 0) + calls
        _asked[hash(signature)] = asked % _OFTEN
        _limit(_asked)
        return asked >= _OFTEN


def is_wanted(form: Form) -> bool:
    """Whether this is not the first time that there is no program of this form."""
    with _lock:
        known = _wanted.pop(hash(form.key), None)
        _wanted[hash(form.key)] = 1
        _limit(_wanted)
        return known is not None


def _limit(kept: dict[int, int]) -> None:
    if len(kept) > _MOST:
        del kept[next(iter(kept))]


def find(form: Form, arrays: list[Array]) -> Program | None:
    """A program of this form for this step, or None."""
    with _lock:
        _forget_outdated()
        shared = _kept.get(form.key)
        if shared is not None:
            _kept.move_to_end(form.key)
    return None if shared is None else shared.bound(form, arrays)


def share(program: Program, form: Form) -> None:
    """Keeps a program that was checked, for other steps of its form."""
    if not program.needs_nothing_else() or form.key in _kept:
        return
    core = program.core.form(form.arrays)
    if core is None:
        return
    try:
        shared = Shared(core, program, form)
    except (KeyError, ValueError):  # it uses something that is no part of the form
        return
    with _lock:
        _forget_outdated()
        if not _guards:
            _guards.append(_code())
        _kept[form.key] = shared
        if len(_kept) > _MOST:
            _kept.popitem(last=False)
