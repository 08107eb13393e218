"""stack and unstack: many modules of the same structure as one module, each with its own weights and batches.

The modules are the *members* of the `Stack`. A Stack holds the parameters of all members stacked along a
leading axis; or with split=True the members themselves, with separate parameters. A call runs each member on
its slice of the arguments, with its slice of the parameters (`functional_call`), and stacks the results.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

from numpy import ndarray

from ranvier.autograd import no_grad
from ranvier.autograd.trees import list_values
from ranvier.func.call import functional_call
from ranvier.func.vectorized_map import InDims, join_results, slice_arguments
from ranvier.nn import Module, Parameter
from ranvier.nn.parameter import UninitializedParameter
from ranvier.ops import stack as stack_tensors, unbind
from ranvier.ops.making import random
from ranvier.tensors.errors import own_errors
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import Shape

__all__ = ["Stack", "stack", "unstack"]


class Stack(Module):
    """Members of the same structure as one module: see :func:`stack`."""

    def __init__(
        self, members: Sequence[Module], generators: Sequence[random.Generator], split: bool = False
    ) -> None:
        super().__init__()
        self._members = tuple(members)
        self._generators = tuple(generators)
        self._split = split
        self._active = tuple(range(len(self._members)))
        parameters, buffers = state_of(self._members)  # with split, too: it checks that the members fit
        if split:
            for i, member in enumerate(self._members):
                self.add_module(str(i), member)
            return
        persistent = self._members[0].state_dict().keys()
        for name, parameter in parameters.items():
            layer, attribute = self._layer_of(name)
            layer.register_parameter(attribute, parameter)
        for name, buffer in buffers.items():
            layer, attribute = self._layer_of(name)
            layer.register_buffer(attribute, buffer, persistent=name in persistent)
        self.training = self._members[0].training

    def _layer_of(self, name: str) -> tuple[Module, str]:
        """The layer for a parameter or buffer of this name, made if it is missing, and the name there."""
        layer: Module = self
        *path, attribute = name.split(".")
        for step in path:
            if step not in layer._modules:
                layer.add_module(step, _Layer())
            layer = layer._modules[step]
        return layer, attribute

    def __len__(self) -> int:
        return len(self._members)

    def extra_repr(self) -> str:
        return f"{len(self)} x {type(self._members[0]).__name__}"

    def train(self, mode: bool = True) -> Stack:
        for member in self._members:
            member.train(mode)
        for layer in self.modules():  # not by train(), which a _Layer refuses
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
        is_rising = list(members) == sorted(set(members))
        if not (members and is_rising and members[0] >= 0 and members[-1] < count):
            raise OpError(
                f"[stack] got active {members!r}; expected different members of {count} in rising order"
            )
        self._active = members

    def forward(self, *args: Any, in_dims: InDims = 0, **kwargs: Any) -> Any:
        """Each member's result for its slice of the arguments, stacked along dimension 0.

        in_dims: as of :func:`vmap`. 0: each member has its own batch; None: all members have the same batch.
        """
        for name, value in kwargs.items():
            if any(map(_is_array, list_values(value))):
                raise TypeError(f"[stack] got the Tensor {name!r} by name; expected Tensors by place")
        sliced = slice_arguments("stack", in_dims, args)
        count = len(self._active)
        if sliced is not None and len(sliced) != count:
            raise OpError(f"[stack] got {len(sliced)} slices; expected one for each of {count} members")
        call = self._call_split_member if self._split else self._member_caller()
        results = []
        for place, i in enumerate(self._active):
            with random.using(self._generators[i]):
                arguments = args if sliced is None else sliced[place]
                results.append(call(i, arguments, kwargs))
        return join_results("stack", results)

    def _call_split_member(self, i: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._members[i](*args, **kwargs)

    def _member_caller(self) -> Callable[[int, tuple[Any, ...], dict[str, Any]], Any]:
        """A function that calls a member with its slices of the parameters and buffers."""
        parameters = {name: unbind(parameter) for name, parameter in self.named_parameters()}
        buffers = {name: unbind(buffer) for name, buffer in self.named_buffers()}

        def call(i: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            buffers_of_member = {name: slices[i] for name, slices in buffers.items()}
            state = {name: slices[i] for name, slices in parameters.items()}
            state.update(buffers_of_member)
            result = functional_call(self._members[i], state, args, kwargs)
            for name, buffer in buffers_of_member.items():
                # The member has assigned a new buffer instead of changing its slice.
                if state[name] is not buffer:
                    with no_grad():
                        buffer.copy_(state[name])
            return result

        return call


_REMEDY = "expected it of the modules before stack(), or of the members of stack(..., split=True)"


class _Layer(Module):
    """Holds the parameters of one layer in a Stack. The layers that run are those of the members, so a hook
    or a setting here would have no effect: it is refused."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("[stack] got a call, mode, hook or setting of a layer of all members; " + _REMEDY)

    forward = _refuse
    train = _refuse
    apply = _refuse
    register_forward_hook = _refuse
    register_forward_pre_hook = _refuse
    register_full_backward_hook = _refuse
    register_full_backward_pre_hook = _refuse

    def __setattr__(self, name: str, value: Any) -> None:
        is_of_stack = name in ("training", *self._parameters, *self._buffers)
        if not (is_of_stack or isinstance(value, _Layer)):
            self._refuse()
        super().__setattr__(name, value)


def _is_array(x: object) -> bool:
    return isinstance(x, (Tensor, ndarray))


def stack(
    models: Sequence[Module], generators: Sequence[random.Generator] | None = None, *, split: bool = False
) -> Stack:
    """Modules of the same structure as one module, whose parameters and buffers have a leading axis.

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
    members = _require_modules("stack", models)
    if generators is None:
        current = random.current()
        generators = [random.Generator().manual_seed(current.next_key()) for _ in members]
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
    if module._split:
        return members
    stacked: dict[str, Tensor] = dict(module.named_parameters())
    stacked.update(module.named_buffers())
    for i, member in enumerate(members):
        for name, x in (*member.named_parameters(), *member.named_buffers()):
            x._array = stacked[name].detach()[i].clone()._array
            x.requires_grad_(stacked[name].requires_grad)
    return members


def _require_modules(name: str, models: Iterable[Any]) -> list[Module]:
    """The modules as a list, checked. name: the public function, for errors."""
    members = list(models)
    if not members:
        raise OpError(f"[{name}] got no modules; expected at least one")
    for member in members:
        if not isinstance(member, Module):
            raise TypeError(f"[{name}] got {type(member).__name__}; expected modules")
    return members


def state_of(members: Sequence[Module]) -> tuple[dict[str, Parameter], dict[str, Tensor]]:
    """The parameters and the buffers of all members by name, stacked: `torch.func.stack_module_state`."""
    _require_same_structure(members)
    parameters: dict[str, Parameter] = {}
    parameters_of_members = [dict(member.named_parameters()) for member in members]
    for name, parameter in parameters_of_members[0].items():
        stacked = _stack_detached([named[name] for named in parameters_of_members])
        parameters[name] = Parameter(stacked, parameter.requires_grad)
    buffers: dict[str, Tensor] = {}
    buffers_of_members = [dict(member.named_buffers()) for member in members]
    for name in buffers_of_members[0]:
        buffers[name] = _stack_detached([named[name] for named in buffers_of_members])
    return parameters, buffers


def _stack_detached(tensors: Sequence[Tensor]) -> Tensor:
    return stack_tensors([x.detach() for x in tensors])


class _Described(NamedTuple):
    """What must be equal of a parameter or buffer in all members."""

    type: type[Tensor]
    shape: Shape
    dtype: str
    requires_grad: bool
    tied_to: str  # the first name of the same Tensor

    def __str__(self) -> str:
        frozen = "" if self.requires_grad else ", frozen"
        return f"{self.dtype} {self.shape}{frozen}, tied to {self.tied_to!r}"


def _require_same_structure(members: Sequence[Module]) -> None:
    """Raises ValueError unless all members have the same parameters and buffers, and none is still without
    its parameters."""
    first = _describe_state(members[0])
    for i, member in enumerate(members):
        described = _describe_state(member)
        if any(tensor.type is UninitializedParameter for tensor in described.values()):
            raise OpError(f"[stack] got member {i} with a lazy layer; expected it to have been called once")
        for name in {**first, **described}:
            in_first = first.get(name, "missing")
            in_member = described.get(name, "missing")
            if in_first != in_member:
                raise OpError(
                    f"[stack] got {name!r} as {in_first} in member 0 and {in_member} in member {i}; "
                    "expected modules of one form"
                )


def _describe_state(member: Module) -> dict[str, _Described]:
    """A description of each parameter and buffer by its name; tied ones have several names."""
    described: dict[str, _Described] = {}
    for named in (
        member.named_parameters(remove_duplicate=False),
        member.named_buffers(remove_duplicate=False),
    ):
        first_names: dict[int, str] = {}
        for name, x in named:
            tied_to = first_names.setdefault(id(x), name)
            dtype = str(x._array.dtype)
            described[name] = _Described(type(x), tuple(x.shape), dtype, x.requires_grad, tied_to)
    return described


own_errors(globals(), __all__)
