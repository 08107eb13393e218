"""Functions of functions: gradients, Jacobians and Hessians, with the arguments of ``torch.func``.

Inputs and outputs may be nested tuples, lists and dicts of Tensors. The results can be differentiated again
where that is wanted: inside another of these functions, or where something that requires gradients leads to
them and recording is on outside. ``no_grad`` inside the function holds; around the call it only keeps the
results off the tape. No ``.grad`` and no ``requires_grad`` of an input changes. There is no forward mode and
no ``vmap``.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ranvier.autograd.level import Level, level_of, like
from ranvier.autograd.mode import mode
from ranvier.autograd.tensor import Tensor

__all__ = ["functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "vjp"]

_Argnums = int | tuple[int, ...]
_Function = Callable[..., Any]


def __getattr__(name: str) -> Any:
    if name == "vmap":
        raise ImportError(
            "[vmap] got ranvier.func.vmap; expected a function of whole batches: operations broadcast and "
            "matmul takes batches of matrices. Gradients of single samples: call grad in a loop"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def grad_and_value(func: _Function, argnums: _Argnums = 0, has_aux: bool = False) -> _Function:
    """A function that returns (the gradients, the value) of func, whose result is one number.

    argnums: the argument, or a tuple of arguments, to differentiate by; the gradients have its structure.
    has_aux: func returns (output, aux), and the result is (gradients, (output, aux)).

    Raises TypeError for inputs and outputs that are no floating Tensors, ValueError for an argnum that is no
    place, RuntimeError for an output of several elements.

    >>> import ranvier as rv
    >>> rv.func.grad_and_value(lambda p: (p["a"] ** 2).sum())({"a": rv.tensor([1.0, 2.0])})
    ({'a': tensor([2., 4.])}, tensor(5.))
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        level, inside = level_of("grad", argnums, args)
        with level:
            aux = level.call(func, inside(), kwargs, has_aux)
            gradients, value = like(level.inputs, level.slopes()), level.results()
        return gradients, (value, aux) if has_aux else value

    return wrapper


def grad(func: _Function, argnums: _Argnums = 0, has_aux: bool = False) -> _Function:
    """A function that returns the gradients of func, or (gradients, aux): see :func:`grad_and_value`.

    >>> import ranvier as rv
    >>> rv.func.grad(rv.func.grad(rv.sin))(rv.tensor(1.0)) == -rv.sin(rv.tensor(1.0))
    tensor(True)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        gradients, value = both(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return wrapper


def vjp(func: _Function, *primals: Any, has_aux: bool = False) -> Any:
    """(func(*primals), f) with f(v) = v J for the Jacobian J there: a tuple with one part for each primal.

    v has the structure of the output. With has_aux: (output, f, aux). f can be called again, unless it was
    called with retain_graph=False. Raises RuntimeError for a v of another structure or shape.

    >>> import ranvier as rv
    >>> y, pull = rv.func.vjp(lambda x: (x**2, x.sum()), rv.tensor([1.0, 2.0]))
    >>> pull((rv.tensor([3.0, 1.0]), rv.tensor(1.0)))
    (tensor([7., 5.]),)
    """
    level = Level("vjp", primals)
    with level:
        aux = level.call(func, level.inputs, None, has_aux)
        value = level.results()

    def f(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        vs = level.vectors(cotangents, level.outputs, level.ys, "the outputs")
        history = mode.enabled and level.weighted(vs) if create_graph is None else create_graph
        gradients = level.gradients(level.ys, level.xs, vs, history, retain_graph)
        return like(level.inputs, [level.result(g) if history else g.detach() for g in gradients])

    return (value, f, aux) if has_aux else (value, f)


def jvp(func: _Function, primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> Any:
    """(func(*primals), J v) for the Jacobian J and the tangents v, a tuple like the primals.

    Computed in reverse: u J is linear in u, and J v is its gradient by u. So every op must have second
    derivatives (else NotImplementedError), and the cost is that of two gradients. With has_aux: (output, J v,
    aux). strict: an output that does not depend on the primals raises RuntimeError.

    >>> import ranvier as rv
    >>> rv.func.jvp(lambda x: x**2, (rv.tensor([1.0, 2.0]),), (rv.tensor([3.0, 1.0]),))
    (tensor([1., 4.]), tensor([6., 4.]))
    """
    for name, value in (("primals", primals), ("tangents", tangents)):
        if not isinstance(value, tuple):
            raise TypeError(f"[jvp] got {name} of type {type(value).__name__}; expected a tuple")
    if not primals:
        raise ValueError("[jvp] got no primals; expected at least one")
    with Level("jvp", primals, strict=strict) as level:
        vs = level.vectors(tangents, level.inputs, level.xs, "the primals")
        aux = level.call(func, level.inputs, None, has_aux)
        level.strict = False  # of outputs alone: a primal may be without use
        results = level.results(), level.pushed(vs)
    return (*results, aux) if has_aux else results


def jacrev(
    func: _Function, argnums: _Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None
) -> _Function:
    """A function that returns the Jacobians of func, (*shape of output, *shape of input): in the structure of
    the output, for each Tensor there in the structure of the input.

    It costs one forward and one backward for each element of the outputs; where the inputs have less than
    half as many elements, two for each of these, if all ops have second derivatives. chunk_size, of PyTorch's
    batches of rows, changes nothing. argnums, has_aux: as of :func:`grad_and_value`.

    >>> import ranvier as rv
    >>> rv.func.jacrev(lambda x, w: x**2 * w)(rv.tensor([1.0, 2.0]), 3.0)
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    if chunk_size is not None and not (isinstance(chunk_size, int) and chunk_size > 0):
        raise ValueError(f"[jacrev] got chunk_size {chunk_size!r}; expected a positive int or None")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        level, inside = level_of("jacobian", argnums, args)
        with level:
            aux = level.call(func, inside(), kwargs, has_aux)
            jacobians = level.jacobians()
        return (jacobians, aux) if has_aux else jacobians

    return wrapper


def jacfwd(
    func: _Function, argnums: _Argnums = 0, has_aux: bool = False, *, randomness: str = "error"
) -> _Function:
    """The same as :func:`jacrev`, which takes the cheaper side by itself. func is called once: randomness, of
    PyTorch's vmap, changes nothing.

    >>> import ranvier as rv
    >>> rv.func.jacfwd(rv.sum)(rv.ones(3))
    tensor([1., 1., 1.])
    """
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: _Function, argnums: _Argnums = 0) -> _Function:
    """A function that returns the second derivatives of func, as jacfwd(jacrev(func, argnums), argnums) does.

    For one number as output it costs a gradient, and one backward on its tape for each element of the inputs.

    >>> import ranvier as rv
    >>> rv.func.hessian(lambda x: x[0] ** 2 * x[1])(rv.tensor([1.0, 2.0]))
    tensor([[4., 2.],
            [2., 0.]])
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        level, inside = level_of("hessian", argnums, args)
        with level:
            level.call(func, inside(), kwargs)
            return level.hessians()

    return wrapper


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with other parameters and buffers, by their names as in ``state_dict``.

    parameter_and_buffer_dicts: a dict, or several with different names. args: a tuple, or one argument.
    The others stay the module's. Gradients flow to the given Tensors; what the call changes in place, as
    BatchNorm its running mean, are those; what it assigns anew is put into the dict. Afterwards, also after
    an exception, the module is as before. Threads need a copy each: RuntimeError where another one is within
    functional_call of the module. Its plain call there sees the other values.

    tie_weights: one name of a Tensor that the module has under several stands for all of them. strict: raises
    RuntimeError if names are missing or unknown. Raises ValueError for a name in two dicts and for several
    values of tied names, TypeError for a value that is no Tensor, AttributeError for an unknown layer.

    >>> import ranvier as rv
    >>> given = {"weight": rv.ones(1, 2), "bias": rv.zeros(1)}
    >>> rv.func.functional_call(rv.nn.Linear(2, 1), given, rv.tensor([[1.0, 2.0]]))
    tensor([[3.]])
    """
    replaced = _merged(parameter_and_buffer_dicts)
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with _reserved(module), _replaced(module, replaced, tie_weights, strict) as places:
        try:
            return module(*args, **(kwargs or {}))
        finally:
            for name, value in replaced.items():
                owner, attribute = places[name]
                if isinstance(parameter_and_buffer_dicts, dict) and owner.get(attribute, value) is not value:
                    parameter_and_buffer_dicts[name] = owner[attribute]


def _merged(dicts: Any) -> dict[str, Any]:
    several = list(dicts) if isinstance(dicts, (list, tuple)) else [dicts]
    if not all(isinstance(one, dict) for one in several):
        raise TypeError(f"[functional_call] got {type(dicts).__name__}; expected a dict, or a tuple of dicts")
    values = {name: value for one in several for name, value in one.items()}
    if len(values) < sum(map(len, several)):
        raise ValueError("[functional_call] got a name in several dicts; expected each once")
    for name, value in values.items():
        if not isinstance(name, str) or not (value is None or isinstance(value, Tensor)):
            raise TypeError(f"[functional_call] got {type(value).__name__} for {name!r}; expected a Tensor")
    return values


_threads: dict[int, int] = {}  # id of a module -> the thread that is within functional_call of it
_lock = threading.Lock()


@contextmanager
def _reserved(module: Any) -> Iterator[None]:
    """A block in which no other thread may replace values of this module; RuntimeError if one does."""
    here, wanted = threading.get_ident(), {id(m) for m in module.modules()}
    with _lock:
        if any(_threads.get(one, here) != here for one in wanted):
            raise RuntimeError(
                "[functional_call] got a module that another thread calls with other parameters; expected a "
                "copy for each thread"
            )
        added = wanted - _threads.keys()
        _threads.update(dict.fromkeys(added, here))
    try:
        yield
    finally:
        with _lock:
            for one in added:
                del _threads[one]


@contextmanager
def _replaced(module: Any, replaced: dict[str, Any], tie: bool, strict: bool) -> Iterator[dict[str, Any]]:
    """A block in which the module has these values; gives the attributes and the name in them of each."""
    named = {
        name: x
        for names in (module.named_parameters, module.named_buffers)
        for name, x in names(remove_duplicate=False)
    }
    values = dict(replaced)
    if tie:
        for name in replaced.keys() & named.keys():
            tied = [other for other, x in named.items() if x is named[name]]
            if any(values.get(other, replaced[name]) is not replaced[name] for other in tied):
                raise ValueError(
                    f"[functional_call] got several values for the tied names {tied}; expected one, or "
                    "tie_weights=False"
                )
            values.update(dict.fromkeys(tied, replaced[name]))
    missing, unknown = named.keys() - values.keys(), replaced.keys() - named.keys()
    if strict and (missing or unknown):
        raise RuntimeError(
            f"[functional_call] got strict=True, missing {sorted(missing)} and unknown names "
            f"{sorted(unknown)}; expected those of the parameters and buffers"
        )
    places = {}
    for name in values:
        path, _, attribute = name.rpartition(".")
        places[name] = owner = module.get_submodule(path).__dict__, attribute
        if not isinstance(owner[0].get(attribute), (Tensor, type(None))):
            raise TypeError(f"[functional_call] got {name!r}; expected the name of a parameter or buffer")
    before = [(owner, name, owner.get(name, _replaced)) for owner, name in places.values()]
    try:
        for (owner, name), value in zip(places.values(), values.values(), strict=True):
            owner[name] = value
        yield places
    finally:
        for owner, name, value in reversed(before):
            if value is _replaced:
                owner.pop(name, None)
            else:
                owner[name] = value
