"""Optimizer: the parameter groups and their state; a step is one call of the core for each group.

`Rule` makes the constructor of an optimizer from the settings that its class declares.
"""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from inspect import Parameter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ranvier.grad_mode import enable_grad
from ranvier.nn.layer import dataclass_transform
from ranvier.observe import current, is_replaced, observers
from ranvier.ops.generated import made
from ranvier.ops.making.creation import from_numpy
from ranvier.optim.hooks import HookedOptimizer
from ranvier.optim.optimizer_state import Plan, in_place, loaded, moved, require_state
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.errors import number, ordered, require_function, truth
from ranvier.tensors.strangers import printable
from ranvier.tensors.tensor import Tensor

Group = dict[str, Any]
required = object()  # PyTorch's mark of a setting without a default, which programs import
ANY = -math.inf, math.inf  # limits of a setting that may be any number
IGNORED = frozenset({"foreach", "fused", "capturable", "differentiable"})  # settings without effect


def _keyword(*, default: Any, kw_only: bool) -> Any:
    """For type checkers: a setting that must be passed by name."""


@dataclass_transform(eq_default=False, field_specifiers=(_keyword,))
class Optimizer(HookedOptimizer):
    """Base of the optimizers: takes ``model.parameters()``, or a list of groups, each with its own settings.

    A group is a dict with ``params`` and any of the optimizer's settings, as ``dict(params=..., lr=1e-4)``.
    ``param_groups`` may be changed between steps. A parameter without a gradient is skipped and keeps its
    state. Parameters are updated in place.

    PyTorch's ``foreach``, ``fused`` and ``capturable`` are accepted and ignored: there is one implementation,
    a kernel over all parameters; ``differentiable`` must be False. For half floats a step is computed in
    float32, and the parameters and states are rounded once. With ``maximize`` the optimizer maximises.
    Settings out of range raise ValueError.

    A :class:`Rule` names the core's rule and its state:

    - ``_rule``: the core's name of the rule; ``_name`` is the name in errors
    - ``_limits``: the least and greatest value of each setting; without an entry it is at least 0
    - ``_states``: the names of the arrays of each parameter; ``_optional``: further arrays, and for each the
      setting that adds it
    - ``_number``: the name of a number that each parameter has besides its step count; it starts with 1
    - ``_derived``: entries of PyTorch's state dict that follow from the others
    - ``_counts``: whether the state has the step count; if not, the rule only asks whether it is the first
      step, which is a step without states

    >>> import ranvier as rv
    >>> a, b = rv.ones(1, requires_grad=True), rv.ones(1, requires_grad=True)
    >>> optimizer = rv.optim.SGD([dict(params=a), dict(params=b, lr=0.5)], lr=0.25)
    >>> (a + b).backward(); optimizer.step()
    >>> a.item(), b.item()
    (0.75, 0.5)
    """

    _name: ClassVar[str] = "optimizer"
    _rule: ClassVar[str] = ""
    _defaults: ClassVar[dict[str, Any]] = {}
    _limits: ClassVar[Mapping[str, tuple[float, float]]] = {}
    _states: ClassVar[tuple[str | None, ...]] = ()
    _optional: ClassVar[Mapping[str, str]] = {}
    _number: ClassVar[str | None] = None
    _derived: ClassVar[tuple[str, ...]] = ()
    _counts: ClassVar[bool] = True
    _finite: Tensor | None = None  # a Trainer's loss: if it is NaN or infinite, `step` changes nothing

    def __init__(
        self, params: Iterable[Any], defaults: Mapping[str, Any], ignored: Mapping[str, Any] | None = None
    ) -> None:
        for key in ignored or ():
            if key not in IGNORED:
                raise TypeError(f"[{self._name}] got an unknown setting '{key}'")
        if ignored and ignored.get("differentiable"):
            raise ValueError(
                f"[{self._name}] got differentiable=True; expected False: steps are not recorded"
            )
        self.defaults = dict(defaults)
        if self._rule:
            self._check(self.defaults)  # It comes before the parameters, as in PyTorch.
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self._plans: dict[int, Plan] = {}
        if isinstance(params, (Tensor, np.ndarray)):
            raise TypeError(
                f"[{self._name}] got params of type {type(params).__name__}; expected an iterable of "
                "Tensors or of dicts"
            )
        groups = ordered(self._name, params)
        if not groups:
            raise ValueError(f"[{self._name}] got an empty parameter list; expected at least one parameter")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)
        self._joined()

    # --- what a subclass defines
    def _check(self, group: Group) -> None:
        """Raises ValueError for a setting of the group that is out of range."""
        for key, default in self._defaults.items():
            if isinstance(default, tuple):
                for x in _pair(self._name, key, group[key]):
                    number(self._name, key, x)
            else:
                value = group[key]
                is_other_flag = default is False and type(value) is not bool
                if is_other_flag and not truth(self._name, key, value):
                    value = False
                number(self._name, key, value, *self._limits.get(key, (0.0,)))
        betas = group["betas"] if "betas" in self._defaults else ()  # a user's class may give it a meaning
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"[{self._name}] got betas {betas}; expected two numbers, 0 <= beta < 1")

    def _settings(self, group: Group) -> tuple[Any, ...]:
        """The numbers that the rule reads, in order; a pair such as betas gives two of them."""
        raise NotImplementedError

    def _state_names(self, group: Group) -> tuple[str | None, ...]:
        """The names of the arrays of each parameter; None instead of an optional array that is not used."""
        names = self._states
        for name, setting in self._optional.items():
            names += (name if group[setting] else None,)
        return names

    # --- groups
    def add_param_group(self, param_group: Group) -> None:
        """Adds a group of parameters. The settings that it does not give are the optimizer's defaults."""
        group = param_group
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError(
                f"[{self._name}] got a group {type(group).__name__}; expected a dict with 'params'"
            )
        params = group["params"]
        if isinstance(params, Tensor):
            params = [params]
        else:
            params = ordered(self._name, params)
        named = [p for p in params if isinstance(p, tuple)]  # (name, parameter) pairs
        kinds = {bool(named), *("param_names" in other for other in self.param_groups)}
        if len(kinds) > 1 or 0 < len(named) < len(params):
            raise ValueError(f"[{self._name}] got names of some parameters; expected those of all or of none")
        params = [p[1] for p in named] or params
        for p in params:
            if not isinstance(p, Tensor):
                refuse_torch(self._name, "a parameter", p)
                raise TypeError(
                    f"[{self._name}] got a parameter of type {type(p).__name__}; expected a Tensor"
                )
            if p._grad_fn is not None:
                raise ValueError(f"[{self._name}] got the result of an operation; expected leaf Tensors")
        all_params = [p for other in self.param_groups for p in other["params"]] + params
        if len(set(map(id, all_params))) < len(all_params):
            raise ValueError(f"[{self._name}] got a parameter twice; expected each in one group only")
        kept = {k: v for k, v in group.items() if k not in IGNORED and k != "params"}
        full: Group = {"params": params, **self.defaults, **kept}
        if self._rule:
            self._refuse_misspelled(kept)
        if named:
            full["param_names"] = [name for name, _ in named]
        self._check(full)
        for key in IGNORED & group.keys():
            del group[key]
        group.update(full)  # As in PyTorch, the group is the dict of the program, not a copy.
        self.param_groups.append(group)

    def _refuse_misspelled(self, group: Group) -> None:
        """Raises TypeError for an entry of a group whose name is almost that of a setting, and which nothing
        reads. A group may have entries of the program, with other names."""
        unknown = [key for key in group if isinstance(key, str) and key not in self.defaults]
        if not unknown:
            return
        from difflib import get_close_matches

        for key in unknown:
            near = get_close_matches(key, self.defaults, 1, 0.85)
            if near:
                raise TypeError(
                    f"[{self._name}] got a group with '{key}', which nothing reads; expected '{near[0]}', or "
                    "a name that is not so close to it"
                )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients, or sets them to zero."""
        if observers and is_replaced("zero_grad", self):
            return
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    if observers and (recording := current()) is not None:
                        recording.sets_gradient(p)
                    p._grad = None
                elif p.grad is not None:
                    if p.grad.requires_grad:
                        p.grad = p.grad.detach()
                    p.grad.zero_()

    # --- the step
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient, once.

        closure: a function that computes the loss and the gradients again. Gradients are recorded in it even
        in a :class:`ranvier.no_grad` block. Its result is returned.
        """
        loss = None
        if observers and is_replaced("step", self, closure):
            return loss
        if closure is not None:
            with enable_grad():
                loss = require_function(self._name, "closure", closure)()
        for group in self.param_groups:
            active = [p for p in group["params"] if p._grad is not None]
            plan = self._plans.get(id(group))
            if plan is None or not plan.fits(self, group, active):
                plan = self._plans[id(group)] = Plan(self, group, active)
                plan.refresh(self, group)
            plan.run(self, group)
            if plan.by_class:
                from ranvier.optim.own_arithmetic import step

                for p in plan.by_class:
                    step(self, group, p)
        return loss

    # --- saving
    def state_dict(self) -> dict[str, Any]:
        """``{"state": {index: {name: Tensor}}, "param_groups": [...]}``; index: the number of a parameter."""
        for hook in self._hooks_of("before saving"):
            hook(self)
        index: dict[int, int] = {}
        groups: list[Group] = []
        for group in self.param_groups:
            for p in group["params"]:
                index.setdefault(id(p), len(index))
            settings = {k: v for k, v in group.items() if k != "params"}
            groups.append({**settings, "params": [index[id(p)] for p in group["params"]]})
        state = {index[id(p)]: dict(values) for p, values in self.state.items() if values}
        return self._changed("after saving", {"state": state, "param_groups": groups})

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Loads settings and state from a state_dict with equal groups. The values may be NumPy arrays, or
        Tensors of torch or ranvier.

        Raises ValueError for different groups, and for the state of another kind of optimizer. After an error
        nothing has changed.
        """
        state_dict = self._changed("before loading", state_dict)
        require_state(type(self).__name__, state_dict)
        groups = state_dict["param_groups"]
        ours, theirs = ([len(g["params"]) for g in which] for which in (self.param_groups, groups))
        if ours != theirs:
            raise ValueError(
                f"[{self._name}] got groups of {theirs} parameters; expected {ours}: the loaded state dict "
                + ("contains a parameter group that doesn't match the size of optimizer's group"
                   if len(ours) == len(theirs) else "has a different number of parameter groups")
            )  # fmt: skip
        for values in state_dict["state"].values():
            self._require_own(values)
        by_index: dict[int, Tensor] = {}
        for group, saved in zip(self.param_groups, groups, strict=True):
            by_index.update(zip(saved["params"], group["params"], strict=True))
        states = {by_index[int(k)]: values for k, values in state_dict["state"].items() if int(k) in by_index}
        loaded_states = {p: self._load_state(p, values) for p, values in states.items()}
        memo: dict[int, Any] = {}  # So a Tensor in several groups stays one Tensor.
        for group, saved in zip(self.param_groups, groups, strict=True):
            kept = {k: deepcopy(v, memo) for k, v in saved.items() if k != "params" and k not in IGNORED}
            for k in [k for k in group if not (k in kept or k in self.defaults or k.startswith("param"))]:
                del group[k]  # A schedule added this entry after the state was saved.
            group.update(kept)  # It also has the entries of schedules, such as initial_lr.
        before = dict(self.state)
        self.state.clear()
        for p, state in loaded_states.items():
            self.state[p] = in_place(before.get(p, {}), state) if self._rule else state
        self.__setstate__({"state": self.state, "param_groups": self.param_groups})
        for hook in self._hooks_of("after loading"):
            hook(self)

    def _require_own(self, values: Mapping[str, Any]) -> None:
        """Raises ValueError unless the names are those of this rule's state."""
        names = {k for k, v in values.items() if v is not None} - {"step", *self._derived}
        needed = {name for name in (*self._states, self._number) if name is not None}
        ours = self._rule and type(self).__module__.startswith("ranvier.")
        if ours and names and not needed <= names <= needed.union(self._optional):
            raise ValueError(
                f"[{self._name}] got the state of another optimizer, {printable(', '.join(sorted(names)))}; "
                f"expected {', '.join([*sorted(needed), *self._optional])}"
            )

    def _load_state(self, p: Tensor, values: Mapping[str, Any]) -> dict[str, Any]:
        """The state of parameter p, made of its state in a state_dict."""
        if not self._rule:  # A user's optimizer may keep any entries.
            return {k: moved(v, p) for k, v in values.items()}
        dropped = self._derived if self._counts else ("step", *self._derived)
        kept = {k: v for k, v in values.items() if v is not None and k not in dropped}
        of = dict.fromkeys(("step", self._number))  # None, for p in `loaded`: these are single numbers.
        return {k: from_numpy(loaded(v, k, of.get(k, p))) for k, v in kept.items()}

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {k}: {group[k]}" for k in sorted(group) if k != "params"]
        return printable("\n".join([*lines, ")"]))

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_plans", "_hooks", "_step", "step")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _plans={})
        self._joined()
        for group in self.param_groups:  # A file of an older PyTorch lacks newer settings.
            group.update({k: v for k, v in self._defaults.items() if k not in group})


def _pair(name: str, key: str, value: Any) -> tuple[Any, Any]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"[{name}] got {key} {value}; expected two numbers")
    return value[0], value[1]


def _in_a_row(defaults: Mapping[str, Any]) -> Callable[[Any, Group], tuple[Any, ...]]:
    """Makes the method `_settings`, which gives these settings as a tuple; a pair becomes two numbers."""
    parts = [f"{'*' * isinstance(value, tuple)}group[{key!r}]" for key, value in defaults.items()]
    return made("_settings", ["self", "group"], f"return ({', '.join(parts)},)", globals())


class Rule(Optimizer):
    """An optimizer whose rule is in the core. Its settings are the annotated attributes of the class, in the
    core's order. A setting is a number, a pair of numbers or a flag, like its default.

    The constructor takes ``params`` and the settings. Every optimizer has the setting ``maximize``, by
    default at the end; ``maximize`` and the settings after it are passed by name.
    """

    if TYPE_CHECKING:
        params: Iterable[Any]
        maximize: bool = _keyword(default=False, kw_only=True)
        foreach: Any = _keyword(default=None, kw_only=True)
        fused: Any = _keyword(default=None, kw_only=True)
        capturable: Any = _keyword(default=None, kw_only=True)
        differentiable: Any = _keyword(default=None, kw_only=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "_rule" in vars(cls):
            annotations = inspect.get_annotations(cls)
            cls._defaults = {name: vars(cls)[name] for name in annotations}
            for name in annotations:
                delattr(cls, name)
            cls._defaults.setdefault("maximize", False)
            cls._settings = _in_a_row(cls._defaults)  # type: ignore[method-assign, assignment]
            types = {**annotations, "maximize": "bool"}
            cls.__init__ = _constructor(cls, types)  # type: ignore[method-assign]
        super().__init_subclass__(**kwargs)


def _constructor(cls: Any, types: Mapping[str, str]) -> Any:
    """Makes ``__init__`` for a rule with these settings, the same as one written by hand."""
    kind: Any = Parameter.POSITIONAL_OR_KEYWORD
    taken = [Parameter("self", kind), Parameter("params", kind, annotation="Iterable[Any]")]
    for name, value in cls._defaults.items():
        if name == "maximize":
            kind = Parameter.KEYWORD_ONLY
        taken.append(Parameter(name, kind, default=value, annotation=types[name]))
    taken.append(Parameter("ignored", Parameter.VAR_KEYWORD, annotation="Any"))
    call = "Optimizer.__init__(self, params, arguments(locals()), ignored)"
    return made(f"{cls.__qualname__}.__init__", taken, call, globals(), "None")


def arguments(names: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among the `locals()` of an optimizer's constructor."""
    settings = {k: v for k, v in names.items() if k not in ("self", "params", "ignored", "__class__")}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
