"""stack and unstack: many modules of the same structure as one module, each with its own weights and batches.

A `Stack` holds the parameters of all members stacked along a leading axis. A call runs each member on its
slice of the arguments, with its slice of the parameters (`functional_call`), and stacks the results.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from numpy import ndarray

from ranvier.autograd import no_grad
from ranvier.autograd.level import values_of
from ranvier.func.call import functional_call
from ranvier.func.vectorized_map import joined, slices
from ranvier.nn import Module, Parameter
from ranvier.nn.parameter import UninitializedParameter
from ranvier.ops import stack as stacked_tensors, unbind
from ranvier.ops.making import random
from ranvier.tensors.errors import own_errors
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor

__all__ = ["Stack", "stack", "unstack"]


class Stack(Module):
    """Members of one form as one module: see :func:`stack`."""

    def __init__(
        self, members: Sequence[Module], generators: Sequence[random.Generator], split: bool = False
    ) -> None:
        super().__init__()
        self._members, self._generators, self._split = tuple(members), tuple(generators), split
        self._active = tuple(range(len(self._members)))
        parameters, buffers = state_of(self._members)
        if split:
            for i, member in enumerate(self._members):
                self.add_module(str(i), member)
            return
        kept = self._members[0].state_dict().keys()
        for name, parameter in parameters.items():
            owner, own = self._place(name)
            owner.register_parameter(own, parameter)
        for name, buffer in buffers.items():
            owner, own = self._place(name)
            owner.register_buffer(own, buffer, persistent=name in kept)
        self.training = self._members[0].training

    def _place(self, name: str) -> tuple[Module, str]:
        """The module that has a parameter or buffer of this name, and its name there."""
        owner: Module = self
        *path, own = name.split(".")
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, _Layer())
            owner = owner._modules[part]
        return owner, own

    def __len__(self) -> int:
        return len(self._members)

    def extra_repr(self) -> str:
        return f"{len(self)} x {type(self._members[0]).__name__}"

    def train(self, mode: bool = True) -> Stack:
        for member in self._members:
            member.train(mode)
        for layer in self.modules():
            layer.training = bool(mode)
        return self

    def apply(self, fn: Callable[[Module], Any]) -> Stack:
        if not self._split:
            raise TypeError("[stack] got apply() of layers of all members at once; " + _REMEDY)
        return super().apply(fn)

    @property
    def members(self) -> tuple[Module, ...]:
        """The members, whose parameters are those of the Stack; only with split=True."""
        if not self._split:
            raise RuntimeError(
                "[stack] got members with parameters of all at once, which one optimizer moves; expected "
                "stack(..., split=True), or unstack(...) for copies"
            )
        return self._members

    @property
    def active(self) -> tuple[int, ...]:
        """The members that a call computes, in order. Set it, with split=True, to those that go on.

        Members that are left out cost nothing. Each change makes another program of a compiled step.
        """
        return self._active

    @active.setter
    def active(self, members: Sequence[int]) -> None:
        members = tuple(members)
        count = len(self.members)
        in_order = list(members) == sorted(set(members))
        if not (members and in_order and members[0] >= 0 and members[-1] < count):
            raise OpError(
                f"[stack] got active {members!r}; expected different members of {count} in rising order"
            )
        self._active = members

    def forward(self, *args: Any, in_dims: Any = 0, **kwargs: Any) -> Any:
        """Each member's result for its slice of the arguments, stacked along dimension 0.

        in_dims: as of :func:`vmap`. 0: each member has its own batch; None: all members have the same batch.
        """
        named = next((name for name, x in kwargs.items() if any(map(_is_array, values_of(x)))), None)
        if named is not None:
            raise TypeError(f"[stack] got the Tensor {named!r} by name; expected Tensors by place")
        parts, count = slices("stack", in_dims, args)
        if count is not None and count != len(self._active):
            raise OpError(f"[stack] got {count} slices; expected one for each of {len(self._active)} members")
        call = self._own if self._split else self._sliced()
        results = []
        for place, i in enumerate(self._active):
            with random.using(self._generators[i]):
                results.append(call(i, parts(place), kwargs))
        return joined("stack", results, 0)

    def _own(self, i: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._members[i](*args, **kwargs)

    def _sliced(self) -> Callable[[int, tuple[Any, ...], dict[str, Any]], Any]:
        """A function that calls a member with its slices of the parameters and buffers."""
        weights = {name: unbind(p) for name, p in self.named_parameters()}
        buffers = {name: unbind(b) for name, b in self.named_buffers()}

        def call(i: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            state = {name: x[i] for name, x in buffers.items()}
            given = {**{name: x[i] for name, x in weights.items()}, **state}
            result = functional_call(self._members[i], given, args, kwargs)
            for name, x in state.items():
                # The member has assigned a new buffer instead of changing its slice.
                if given[name] is not x:
                    with no_grad():
                        x.copy_(given[name])
            return result

        return call


_REMEDY = "expected it of the modules before stack(), or of the members of stack(..., split=True)"


class _Layer(Module):
    """Holds the parameters of one layer in a Stack. The layers that run are those of the members, so a hook
    or a setting here would have no effect: it is refused."""

    def _refused(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("[stack] got a call, mode, hook or setting of a layer of all members; " + _REMEDY)

    forward = train = apply = _refused
    register_forward_hook = register_forward_pre_hook = _refused
    register_full_backward_hook = register_full_backward_pre_hook = _refused

    def __setattr__(self, name: str, value: Any) -> None:
        inside = name in ("training", *self._parameters, *self._buffers)
        if not (inside or isinstance(value, _Layer)):
            self._refused()
        super().__setattr__(name, value)


def _is_array(x: Any) -> bool:
    return isinstance(x, (Tensor, ndarray))


def stack(
    models: Sequence[Module], generators: Sequence[random.Generator] | None = None, *, split: bool = False
) -> Stack:
    """Modules of one form as one module, whose parameters and buffers have a leading axis.

    models: at least one; equal in the names, shapes and dtypes of parameters and buffers, and in which of
    them are frozen. They are copied. generators: for each the stream of its dropout and other random numbers;
    by default new ones, seeded from the global stream.

    A call gives member i slice i of each argument and stacks the results: (members, ...) to (members, ...),
    or with in_dims=None one batch to all. Each member computes the bits that it computes alone: in a step
    compiled by :func:`ranvier.compile` members run side by side on the threads, each wholly on one. One
    optimizer of `parameters()` serves all members with the same settings. split=True: each member keeps
    parameters of its own, in `members`, for an optimizer, a schedule or a limit of gradients of its own; then
    `active` leaves out members that have ended. `unstack` gives copies of the members back.

    Raises ValueError for no or different modules, TypeError for other objects.

    >>> import ranvier as rv
    >>> nets = [rv.nn.Linear(3, 1) for _ in range(4)]
    >>> many = rv.func.stack(nets)
    >>> many.weight.shape, many(rv.ones(4, 5, 3)).shape, many(rv.ones(5, 3), in_dims=None).shape
    ((4, 1, 3), (4, 5, 1), (4, 5, 1))
    >>> optimizer = rv.optim.Adam(many.parameters())
    >>> losses = rv.func.vmap(rv.nn.functional.mse_loss)(many(rv.ones(4, 5, 3)), rv.zeros(4, 5, 1))
    >>> losses.sum().backward()
    >>> optimizer.step()
    >>> trained = rv.func.unstack(many)
    """
    members = _members("stack", models)
    if generators is None:
        seed = random.current().next_key
        generators = [random.Generator().manual_seed(seed()) for _ in members]
    if len(generators) != len(members) or not all(isinstance(g, random.Generator) for g in generators):
        raise OpError(f"[stack] got generators {generators!r}; expected {len(members)} of rv.Generator")
    return Stack([copy.deepcopy(member) for member in members], generators, split)


def unstack(module: Stack) -> list[Module]:
    """The members of a Stack as modules of their own, with copies of its parameters and buffers.

    >>> import ranvier as rv
    >>> one, two = rv.func.unstack(rv.func.stack([rv.nn.Linear(2, 1), rv.nn.Linear(2, 1)]))
    >>> one.weight.shape
    (1, 2)
    """
    if not isinstance(module, Stack):
        raise TypeError(f"[unstack] got {type(module).__name__}; expected a Stack, of rv.func.stack")
    members = [copy.deepcopy(member) for member in module._members]
    if not module._split:
        stacked = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        for i, member in enumerate(members):
            for name, x in (*member.named_parameters(), *member.named_buffers()):
                x._array = stacked[name].detach()[i].clone()._array
                x.requires_grad_(stacked[name].requires_grad)
    return members


def _members(name: str, models: Any) -> list[Module]:
    """The modules as a list, checked. name: the public function, for errors."""
    members = list(models)
    if not members:
        raise OpError(f"[{name}] got no modules; expected at least one")
    other = next((m for m in members if not isinstance(m, Module)), None)
    if other is not None:
        raise TypeError(f"[{name}] got {type(other).__name__}; expected modules")
    return members


def state_of(members: Sequence[Module]) -> tuple[dict[str, Parameter], dict[str, Tensor]]:
    """The parameters and the buffers of all members by name, stacked: `torch.func.stack_module_state`."""
    first = _form(members[0])
    for i, member in enumerate(members):
        form = _form(member)
        if any(of_one is UninitializedParameter for of_one, *_ in form.values()):
            raise OpError(f"[stack] got member {i} with a lazy layer; expected it to have been called once")
        for name in {**first, **form}:
            if form.get(name) != first.get(name):
                raise OpError(
                    f"[stack] got {name!r} as {_said(first.get(name))} in member 0 and "
                    f"{_said(form.get(name))} in member {i}; expected modules of one form"
                )
    stacked: list[Any] = []
    for kind in ("named_parameters", "named_buffers"):
        named = [dict(getattr(member, kind)()) for member in members]
        stacked.append({name: stacked_tensors([of[name].detach() for of in named]) for name in named[0]})
    of_first = members[0].named_parameters()
    parameters = {name: Parameter(stacked[0].pop(name), p.requires_grad) for name, p in of_first}
    return parameters, stacked[1]


def _form(member: Module) -> dict[str, tuple[Any, ...]]:
    """What must be equal in all members, by the name of a parameter or buffer: (class, shape, dtype,
    requires_grad, the first name of the same Tensor)."""
    form: dict[str, tuple[Any, ...]] = {}
    for kind in ("named_parameters", "named_buffers"):
        names: dict[int, str] = {}
        for name, x in getattr(member, kind)(remove_duplicate=False):
            tied = names.setdefault(id(x), name)
            form[name] = type(x), tuple(x.shape), str(x._array.dtype), x.requires_grad, tied
    return form


def _said(form: tuple[Any, ...] | None) -> str:
    """An entry of `_form` as text, for errors."""
    if form is None:
        return "missing"
    _, shape, dtype, trained, tied = form
    return f"{dtype} {shape}{'' if trained else ', frozen'}, tied to {tied!r}"


own_errors(globals(), __all__)
