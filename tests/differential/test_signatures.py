"""Every public name in common with PyTorch takes PyTorch's arguments: their names, order and defaults.

PyTorch's signatures are those of its Python functions, and the schemas of its operators. What differs is in
LEFT_OUT and ALLOWED, with the reason.
"""

from __future__ import annotations

import importlib
import inspect
from collections import defaultdict

import pytest
import ranvier as rv
from ranvier import nn, optim

EMPTY = inspect.Parameter.empty
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

# Arguments that are refused (a TypeError names them): results written into given tensors, gradients of
# sparse layouts; and those that PyTorch's dispatch has for itself.
LEFT_OUT = {
    "out",
    "out_dtype",
    "_stacklevel",
    "cudnn_enabled",
    "cudnn_enable",
    "self",
    "layout",
    "pin_memory",
}
LEFT_OUT |= {"memory_format", "implicit", "get_infos", "pivot"}
LEFT_OUT |= {"align_to_window"}  # where the frames of stft begin without center
# obsolete there: Hardtanh
LEFT_OUT |= {"min_value", "max_value"}
# Taken by every layer and optimizer, whatever its signature says (nn/registry.py, Optimizer.IGNORED).
LEFT_OUT |= {"device", "dtype", "foreach", "fused", "capturable", "differentiable"}
ALLOWED = {
    # the function of this name in PyTorch is another one: its operator, not its layer
    "torch": """
        alpha_dropout batch_norm dropout embedding initial_seed instance_norm kl_div compile layer_norm
        group_norm elu_ rrelu_
    """,
    # PyTorch's overloads have several meanings: the tests of arguments call them
    "overloads": """
        arange repeat_interleave randint randint_like scatter std std_mean var var_mean searchsorted isin
        split tensor_split swapaxes swapdims where max min sort median nanmedian mode
        kthvalue topk ldexp scalar_tensor log where_ scatter_ uniform_ random_ bernoulli_ view expand to
        unflatten histogram lu qr
    """,
    # any number of tensors
    "tensors": "atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors cartesian_prod einsum resize_",
    # a matrix is A, as in torch.linalg, whose functions they are
    "matrices": "cholesky det inverse logdet lu_unpack matrix_power pinverse slogdet",
    # nn.init: PyTorch's deprecated names
    "old": "normal uniform swapaxes_",
    # files that run no code, or with more settings
    "files": "load save from_dlpack set_rng_state get_rng_state set_default_dtype",
}
NAMES_ALLOWED = {name for names in ALLOWED.values() for name in names.split()}


def parameters(function):
    return list(inspect.signature(function).parameters.values())


def differences(ours, theirs, self_name):
    """What of PyTorch's (name, keyword only, default) the function does not take in the same way."""
    mine = parameters(ours)
    by_name = {p.name: p for p in mine if p.kind not in VARIABLE}
    order = [p.name for p in mine if p.kind in POSITIONAL]
    anything = any(p.kind == inspect.Parameter.VAR_KEYWORD for p in mine)
    several = any(p.kind == inspect.Parameter.VAR_POSITIONAL for p in mine)
    found = []
    for place, (name, keyword_only, default) in enumerate(theirs):
        name = self_name if name == "self" else name
        if name in LEFT_OUT or name is None:
            continue
        if name not in by_name:
            if not anything:
                found.append(f"no {name}")
            continue
        if not keyword_only and not several and place < len(order) and order[place] != name:
            found.append(f"{order[place]} in the place of {name}")
        own = by_name[name].default
        if default is not EMPTY and own is EMPTY:
            found.append(f"{name} has no default")
        elif default is not EMPTY and own != default and not _same_default(own, default):
            found.append(f"{name}={own!r}, there {default!r}")
    return found


def _same_default(ours, theirs):
    """A list of equal numbers is the number; callables, generators and None stand for the same default."""
    if isinstance(theirs, (list, tuple)):
        values = list(ours) if isinstance(ours, (list, tuple)) else [ours]
        return not theirs or {*theirs} == {*values} or ours is None
    return (
        callable(theirs) or ours is None or theirs is None or isinstance(ours, str) != isinstance(theirs, str)
    )


def schemas(torch):
    found = defaultdict(list)
    for schema in torch._C._jit_get_all_schemas():
        space, _, name = schema.name.partition("::")
        words = schema.overload_name.lower()
        plain = "out" not in words and "name" not in words and "scalar" not in words
        if space == "aten" and plain and any("Tensor" in str(a.type) for a in schema.arguments[:1]):
            arguments = [
                (a.name, a.kwarg_only, a.default_value if a.has_default_value() else EMPTY)
                for a in schema.arguments
            ]
            found[name].append(arguments)
    return found


def wanted(function, name, operators):
    """The signatures of a function of PyTorch."""
    try:
        own = parameters(function)
    except (TypeError, ValueError):
        return operators.get(name, [])
    if all(p.kind in VARIABLE for p in own):
        return operators.get(name, [])
    return [[(p.name, p.kind == p.KEYWORD_ONLY, p.default) for p in own if p.kind not in VARIABLE]]


def public(ours, theirs):
    for name in dir(ours):
        mine = getattr(ours, name)
        if name[0] != "_" and hasattr(theirs, name) and callable(mine) and not inspect.isclass(mine):
            yield name, mine, getattr(theirs, name)


def check(ours, theirs, operators, self_name):
    """The functions that differ from all of PyTorch's forms of that name."""
    wrong = {}
    for name, mine, other in public(ours, theirs):
        forms = [] if name in NAMES_ALLOWED else wanted(other, name, operators)
        found = [differences(mine, form, self_name) for form in forms]
        if found and all(found):
            wrong[name] = min(found, key=len)
    return wrong


@pytest.mark.parametrize("place", ["", "nn.functional", "nn.init", "nn.utils", "nn.utils.rnn"])
def test_functions(place, torch):
    ours, theirs = (importlib.import_module(f"{lib}.{place}".rstrip(".")) for lib in ("ranvier", "torch"))
    assert check(ours, theirs, schemas(torch), "input") == {}


def test_methods_of_tensor(torch):
    assert check(rv.Tensor, torch.Tensor, schemas(torch), None) == {}


@pytest.mark.parametrize("place", ["nn", "optim", "optim.lr_scheduler", "utils.data", "distributions"])
def test_constructors_and_methods(place, torch):
    ours, theirs = (importlib.import_module(f"{lib}.{place}") for lib in ("ranvier", "torch"))
    wrong = {}
    for name in dir(ours):
        mine, other = getattr(ours, name), getattr(theirs, name, None)
        if not (inspect.isclass(mine) and inspect.isclass(other)) or name in ("Parameter", "Tensor"):
            continue
        for method in ("__init__", "forward", "step", "load_state_dict", "add_param_group", "apply"):
            pair = getattr(mine, method, None), getattr(other, method, None)
            if all(map(inspect.isfunction, pair)) and not name.startswith("Lazy"):
                (form,) = wanted(pair[1], method, {}) or [[]]
                found = differences(pair[0], form, "self")
                if found:
                    wrong[f"{name}.{method}"] = found
    assert wrong == {}


def test_what_is_left_out_is_taken_or_refused():
    """device= and dtype= of layers; foreach= and its like of optimizers; most functions refuse out=."""
    assert nn.Linear(2, 3, device="cpu", dtype=rv.float64).weight.dtype == rv.float64
    optim.Adam([rv.ones(1, requires_grad=True)], foreach=True, fused=False, capturable=False)
    for call in (
        lambda: rv.exp(rv.ones(2), out=rv.ones(2)),
        lambda: rv.zeros(2, out=rv.ones(2)),
        lambda: rv.mm(rv.ones(2, 2), rv.ones(2, 2), out_dtype=rv.float64),
    ):
        with pytest.raises(TypeError, match="out"):
            call()
