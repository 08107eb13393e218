"""Optimizer: the parameter groups and their state; a step is one call of the core for each group.

`Rule` is the base of the optimizers whose arithmetic is in the core.
"""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from operator import itemgetter
from typing import Any, ClassVar, TypeAlias

import numpy as np

from ranvier.grad_mode import enable_grad
from ranvier.observe import current, is_replaced, observers
from ranvier.ops.making.creation import from_numpy
from ranvier.optim.hooks import HookedOptimizer
from ranvier.optim.optimizer_state import Plan, in_place, loaded, moved, require_state
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.errors import number, ordered, require_function, truth
from ranvier.tensors.sanitize import printable
from ranvier.tensors.tensor import Tensor

Group: TypeAlias = dict[str, Any]
"""The parameters of a group, under "params", and their settings."""
Params: TypeAlias = Iterable[Tensor] | Iterable[Group] | Iterable[tuple[str, Tensor]]
"""Parameters, groups of them, or parameters with their names."""
StateDict: TypeAlias = dict[str, Any]
"""``{"state": {index: {name: Tensor}}, "param_groups": [...]}``"""

required = object()  # PyTorch's mark of a setting without a default, which programs import
ANY = -math.inf, math.inf  # limits of a setting that may be any number
IGNORED = frozenset({"foreach", "fused", "capturable", "differentiable"})  # settings without effect


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
    _searches: ClassVar[bool] = False  # whether a step evaluates the loss several times, as LBFGS
    # The loss of a Trainer, which sets it for the time of a step (train/step.py): if it is NaN or infinite,
    # the kernel changes nothing.
    _finite: Tensor | None = None

    def __init__(
        self, params: Params, defaults: Mapping[str, Any], ignored: Mapping[str, Any] | None = None
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
        self._join()

    # --- what a subclass defines
    def _check(self, group: Group) -> None:
        """Raises ValueError for a setting of the group that is out of range."""
        for key, default in self._defaults.items():
            if isinstance(default, tuple):
                for x in _pair(self._name, key, group[key]):
                    number(self._name, key, x)
            else:
                value = group[key]
                # A flag given as None or [] counts as False; other values that are true go on to `number`.
                is_other_flag = default is False and type(value) is not bool
                if is_other_flag and not truth(self._name, key, value):
                    value = False
                number(self._name, key, value, *self._limits.get(key, (0.0,)))
        if "betas" not in self._defaults:  # A group of a user's class may have an entry of this name, too.
            return
        betas = group["betas"]
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"[{self._name}] got betas {betas}; expected two numbers, 0 <= beta < 1")

    def _settings(self, group: Group) -> tuple[Any, ...]:
        """The settings that the rule reads, in the core's order."""
        raise NotImplementedError

    def _state_names(self, group: Group) -> tuple[str | None, ...]:
        """The names of the arrays of each parameter; None instead of an optional array that is not used."""
        names = [*self._states]
        for name, setting in self._optional.items():
            if group[setting]:
                names.append(name)
            else:
                names.append(None)
        return tuple(names)

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
        names, params = self._without_names(params)
        for p in params:
            if not isinstance(p, Tensor):
                refuse_torch(self._name, "a parameter", p)
                raise TypeError(
                    f"[{self._name}] got a parameter of type {type(p).__name__}; expected a Tensor"
                )
            if p._grad_fn is not None:
                raise ValueError(f"[{self._name}] got the result of an operation; expected leaf Tensors")
        all_params = [*params]
        for other in self.param_groups:
            all_params += other["params"]
        if len(set(map(id, all_params))) < len(all_params):
            raise ValueError(f"[{self._name}] got a parameter twice; expected each in one group only")
        settings = {k: v for k, v in group.items() if k not in IGNORED and k != "params"}
        full: Group = {"params": params, **self.defaults, **settings}
        if self._rule:
            self._refuse_misspelled(settings)
        if names:
            full["param_names"] = names
        self._check(full)
        for key in IGNORED & group.keys():
            del group[key]
        group.update(full)  # As in PyTorch, the group is the dict of the program, not a copy.
        self.param_groups.append(group)

    def _without_names(self, params: list[Any]) -> tuple[list[str], list[Any]]:
        """(names, parameters) of the entries of a group, which are parameters or (name, parameter) pairs."""
        pairs = [entry for entry in params if isinstance(entry, tuple)]
        has_names = [bool(pairs)]
        has_names += ["param_names" in other for other in self.param_groups]
        if len(set(has_names)) > 1 or 0 < len(pairs) < len(params):
            raise ValueError(f"[{self._name}] got names of some parameters; expected those of all or of none")
        if not pairs:
            return [], params
        return [name for name, _ in pairs], [p for _, p in pairs]

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
                    recording = current() if observers else None
                    if recording is not None:
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
        # An export of a training step records this call and does not execute it (export/capture.py).
        if observers and is_replaced("step", self, closure):
            return loss
        if closure is not None:
            with enable_grad():
                loss = require_function(self._name, "closure", closure)()
        for group in self.param_groups:
            active = [p for p in group["params"] if p._grad is not None]
            # The id may be that of a group that is gone: `fits` compares the parameters.
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
    def state_dict(self) -> StateDict:
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
        self._require_sizes([len(group["params"]) for group in groups])
        for values in state_dict["state"].values():
            self._require_own(values)
        by_index: dict[int, Tensor] = {}
        for group, saved in zip(self.param_groups, groups, strict=True):
            by_index.update(zip(saved["params"], group["params"], strict=True))
        loaded_states: dict[Tensor, dict[str, Any]] = {}
        for index, values in state_dict["state"].items():
            if int(index) in by_index:
                p = by_index[int(index)]
                loaded_states[p] = self._load_state(p, values)
        memo: dict[int, Any] = {}  # So a Tensor in several groups stays one Tensor.
        for group, saved in zip(self.param_groups, groups, strict=True):
            self._load_group(group, saved, memo)
        before = dict(self.state)
        self.state.clear()
        for p, state in loaded_states.items():
            if self._rule:
                state = in_place(before.get(p, {}), state)
            self.state[p] = state
        self.__setstate__({"state": self.state, "param_groups": self.param_groups})
        for hook in self._hooks_of("after loading"):
            hook(self)

    def _require_sizes(self, theirs: list[int]) -> None:
        """Raises ValueError unless the groups have these numbers of parameters."""
        ours = [len(group["params"]) for group in self.param_groups]
        if ours == theirs:
            return
        if len(ours) == len(theirs):
            difference = "contains a parameter group that doesn't match the size of optimizer's group"
        else:
            difference = "has a different number of parameter groups"
        raise ValueError(
            f"[{self._name}] got groups of {theirs} parameters; expected {ours}: the loaded state dict "
            f"{difference}"
        )

    def _load_group(self, group: Group, saved: Mapping[str, Any], memo: dict[int, Any]) -> None:
        """Sets the settings of a group to saved ones, which include entries of schedules, as initial_lr."""
        settings = {}
        for key, value in saved.items():
            if key != "params" and key not in IGNORED:
                settings[key] = deepcopy(value, memo)
        for key in list(group):
            # "params" and "param_names" stay.
            if not (key in settings or key in self.defaults or key.startswith("param")):
                del group[key]  # A schedule added this entry after the state was saved.
        group.update(settings)

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
        state = {}
        for name, value in values.items():
            if value is None or name in self._derived or (name == "step" and not self._counts):
                continue
            if name in ("step", self._number):
                array = loaded(value, name, None)
            else:
                array = loaded(value, name, p)
            state[name] = from_numpy(array)
        return state

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {k}: {group[k]}" for k in sorted(group) if k != "params"]
        return printable("\n".join([*lines, ")"]))

    # What is left out refers to this object and its memory: plans, hooks, and `_Step` of optim/hooks.py.
    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_plans", "_hooks", "_step", "step")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _plans={})
        self._join()
        for group in self.param_groups:  # A file of an older PyTorch lacks newer settings.
            group.update({k: v for k, v in self._defaults.items() if k not in group})


def _pair(name: str, key: str, value: Any) -> tuple[Any, Any]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"[{name}] got {key} {value}; expected two numbers")
    return value[0], value[1]


class Rule(Optimizer):
    """An optimizer whose rule is in the core: its constructor takes the settings in the core's order.

    A setting is a number, a pair of numbers or a flag, like its default in the signature. Every optimizer has
    the setting ``maximize``.
    """

    _values: ClassVar[Callable[[Group], tuple[Any, ...]]]  # the settings of a group

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "_rule" in vars(cls):  # Without a rule of its own, AdamW keeps the settings of Adam.
            parameters = inspect.signature(cls.__init__).parameters.values()
            cls._defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
            cls._values = itemgetter(*cls._defaults)
        super().__init_subclass__(**kwargs)

    def _settings(self, group: Group) -> tuple[Any, ...]:
        return type(self)._values(group)


def settings_of(names: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among the `locals()` of an optimizer's constructor: all its arguments but params and the
    ones without effect. So names and defaults stand in the signature only."""
    settings = {}
    for name, value in names.items():
        if name in ("self", "params", "ignored", "__class__"):
            continue
        if isinstance(value, list):
            value = tuple(value)
        settings[name] = value
    return settings
