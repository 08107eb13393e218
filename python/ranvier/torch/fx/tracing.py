"""torch.fx's symbolic tracing: a Tracer runs a module on proxies, which record the calls on them as nodes."""

from __future__ import annotations

import builtins
import dis
import inspect
import math
import operator
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

import ranvier as rv
import ranvier.nn as nn
from ranvier import Tensor
from ranvier.nn import Module
from ranvier.observe import Observer
from ranvier.torch.fx.nodes import Graph, Node, map_aggregate
from ranvier.torch.torch_function.activation import activate
from ranvier.torch.torch_function.overrides import is_tensor_method_or_property

# (id of a module's globals, name of a function that `wrap` was called for) -> these globals
_wrapped: dict[tuple[int, str], dict[str, Any]] = {}
_PLAIN: tuple[Any, ...] = (int, float, str, bool, bytes, complex, type(None), type(...), Enum)
_PLAIN += (rv.device, type(rv.float32), np.dtype)


class TraceError(ValueError):
    """Python code needs the value of a proxy, which is not known while tracing."""


class TracerBase:
    """Turns calls on proxies into nodes of `graph`."""

    graph: Graph

    def create_node(
        self,
        kind: str,
        target: Any,
        args: Any,
        kwargs: dict[str, Any],
        name: Any = None,
        type_expr: Any = None,
    ) -> Node:
        return self.graph.create_node(kind, target, args, kwargs, name, type_expr)

    def proxy(self, node: Node) -> Proxy:
        return Proxy(node, self)

    def create_proxy(
        self,
        kind: str,
        target: Any,
        args: Any,
        kwargs: dict[str, Any],
        name: Any = None,
        type_expr: Any = None,
        proxy_factory_fn: Any = None,
    ) -> Proxy:
        """A new node, as a proxy; its arguments may have proxies in them."""
        args = self.create_arg(args)
        kwargs = self.create_arg(kwargs)
        node = self.create_node(kind, target, args, kwargs, name, type_expr)
        return (proxy_factory_fn or self.proxy)(node)

    def create_arg(self, a: Any) -> Any:
        """An argument with nodes in place of proxies."""
        if isinstance(a, (tuple, list, dict, slice)):
            return map_aggregate(a, self.create_arg)
        if isinstance(a, range):
            return range(*(self.create_arg(x) for x in (a.start, a.stop, a.step)))
        if isinstance(a, Proxy):
            return a.node
        if isinstance(a, (Node, Tensor, *_PLAIN)) or callable(a):
            return a
        raise NotImplementedError(f"argument of type: {type(a)}")

    def to_bool(self, obj: Proxy) -> bool:
        raise TraceError("symbolically traced variables cannot be used as inputs to control flow")

    def iter(self, obj: Proxy) -> Iterator[Any]:
        raise TraceError(
            "Proxy object cannot be iterated. This can be attempted when the Proxy is used in a loop or as a "
            "*args or **kwargs function argument. See the torch.fx docs on pytorch.org for a more detailed "
            "explanation of what types of control flow can be traced"
        )

    def keys(self, obj: Proxy) -> Any:
        return Attribute(obj, "keys")()


class GraphAppendingTracer(TracerBase):
    """A tracer that adds nodes to an existing graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph


class Proxy:
    """Stands for the result of a node: operators, methods, attributes and functions on it become nodes."""

    def __init__(self, node: Node, tracer: TracerBase | None = None) -> None:
        self.tracer = tracer or GraphAppendingTracer(node.graph)
        self.node = node

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.node.name})"

    def __getattr__(self, k: str) -> Attribute:
        return Attribute(self, k)

    def __call__(self, *args: Any, **kwargs: Any) -> Proxy:
        return self.tracer.create_proxy("call_method", "__call__", (self, *args), kwargs)

    def __iter__(self) -> Iterator[Any]:
        frame = sys._getframe(1)
        here = next(i for i in dis.get_instructions(frame.f_code) if i.offset == frame.f_lasti)
        if here.opname == "UNPACK_SEQUENCE":  # a, b = x
            return (self[i] for i in range(here.arg or 0))
        return self.tracer.iter(self)

    def __bool__(self) -> bool:
        return self.tracer.to_bool(self)

    def __len__(self) -> int:
        raise RuntimeError(
            "'len' is not supported in symbolic tracing by default. If you want this call to be recorded, "
            "please call torch.fx.wrap('len') at module scope"
        )

    def keys(self) -> Any:
        return self.tracer.keys(self)

    def __deepcopy__(self, memo: Any) -> Proxy:
        raise TraceError("[fx.Proxy] got deepcopy; expected x.clone()")

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        tracers = []
        map_aggregate((args, kwargs), lambda x: tracers.append(x.tracer) if isinstance(x, Proxy) else None)
        if is_tensor_method_or_property(func):
            return tracers[0].create_proxy("call_method", func.__name__, args, kwargs)
        return tracers[0].create_proxy("call_function", func, args, kwargs)

    __getitem__: Any


def _operators() -> None:
    names = "add sub mul floordiv truediv mod matmul pow and or xor lshift rshift eq ne lt gt le ge getitem"
    for name in f"{names} pos neg invert abs".split():
        function = getattr(operator, f"{name}_" if name in ("and", "or") else name)

        def apply(self: Proxy, *others: Any, function: Callable[..., Any] = function) -> Any:
            return self.tracer.create_proxy("call_function", function, (self, *others), {})

        def reflected(self: Proxy, other: Tensor, function: Callable[..., Any] = function) -> Any:
            return self.tracer.create_proxy("call_function", function, (other, self), {})

        setattr(Proxy, f"__{name}__", apply)
        if name in names.split()[:13]:
            setattr(Proxy, f"__r{name}__", reflected)
    Proxy.__hash__ = object.__hash__  # type: ignore[method-assign]


_operators()


class _Late(Proxy):
    """A proxy whose node is made when it is used."""

    def __init__(self, tracer: TracerBase, kind: str, target: Any, args: Any) -> None:
        self.tracer = tracer
        self._call = (kind, target, args)
        self._node: Any = None

    @property
    def node(self) -> Node:  # type: ignore[override]
        if self._node is None:
            self._node = self.tracer.create_proxy(*self._call, {}).node
        return self._node


class Attribute(_Late):
    """An attribute of a proxy; a call of it is one of a method."""

    def __init__(self, root: Proxy, attr: str) -> None:
        super().__init__(root.tracer, "call_function", getattr, (root, attr))
        self.root = root
        self.attr = attr

    def __call__(self, *args: Any, **kwargs: Any) -> Proxy:
        return self.tracer.create_proxy("call_method", self.attr, (self.root, *args), kwargs)


class ParameterProxy(_Late):
    """A parameter of a module that is traced."""


def wrap(fn_or_name: Any) -> Any:
    """Makes calls of a function of the calling module nodes if an argument is a proxy; a decorator too."""
    if not (callable(fn_or_name) or isinstance(fn_or_name, str)):
        raise RuntimeError("Unsupported type for global function! Must be either a callable or string name")
    if isinstance(fn_or_name, str):
        name = fn_or_name
    else:
        name = fn_or_name.__name__
    frame = sys._getframe(1)
    if frame.f_code.co_name != "<module>":
        raise NotImplementedError("wrap must be called at the top level of a module")
    _wrapped[id(frame.f_globals), name] = frame.f_globals
    return fn_or_name


def _first_proxy(*values: Any) -> Proxy | None:
    found: list[Proxy] = []
    map_aggregate(values, lambda x: found.append(x) if isinstance(x, Proxy) else None)
    if found:
        return found[0]
    return None


def _noting(function: Callable[..., Any]) -> Any:
    """A function whose calls with proxies become nodes, and whose other calls run `function`."""

    def call(*args: Any, **kwargs: Any) -> Any:
        proxy = _first_proxy(args, kwargs)
        if proxy is None:
            return function(*args, **kwargs)
        return proxy.tracer.create_proxy("call_function", function, args, kwargs)

    return call


@contextmanager
def _swapped(values: dict[str, Any], others: dict[str, Any]) -> Iterator[None]:
    """A block in which the dict `values` has the entries of `others`; afterwards it has its own again."""
    before = {key: values[key] for key in others if key in values}
    values.update(others)
    try:
        yield
    finally:
        for key in others.keys() - before:
            del values[key]
        values.update(before)


class Tracer(TracerBase):
    """Runs a module or a function on proxies. A call of a layer of torch.nn becomes one node (a leaf).

    autowrap_modules: Python modules whose functions become nodes, as if `wrap` was called for them.
    autowrap_functions: further functions of this kind.
    """

    def __init__(
        self,
        autowrap_modules: tuple[ModuleType, ...] = (math,),
        autowrap_functions: tuple[Callable[..., Any], ...] = (),
        param_shapes_constant: bool = False,
    ) -> None:
        public = [x for m in autowrap_modules for name, x in vars(m).items() if name[0] != "_"]
        functions = [x for x in public if callable(x)]
        self._alone = {id(f) for f in (*functions, *autowrap_functions) if not isinstance(f, type)}
        self._search = autowrap_modules
        self.param_shapes_constant = param_shapes_constant
        self.submodule_paths: dict[Any, str] = {}

    def is_leaf_module(self, m: Module, module_qualname: str) -> bool:
        return type(m).__module__.startswith(("torch.nn", "ranvier.nn")) and not isinstance(m, nn.Sequential)

    def path_of_module(self, mod: Any) -> str:
        if mod not in self.submodule_paths:
            raise NameError("module is not installed as a submodule")
        return self.submodule_paths[mod]

    def call_module(self, m: Module, forward: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        path = self.path_of_module(m)
        if self.is_leaf_module(m, path):
            return self.create_proxy("call_module", path, args, kwargs)
        return forward(*args, **kwargs)

    def create_arg(self, a: Any) -> Any:
        if isinstance(a, Tensor):
            if id(a) not in self._paths:
                name = f"_tensor_constant{sum(path.startswith('_tensor_c') for path in self._paths.values())}"
                self._paths[id(a)] = name
                setattr(self.root, name, a)
            return self.create_node("get_attr", self._paths[id(a)], (), {})
        if isinstance(a, nn.Module):
            return self.create_node("get_attr", self.path_of_module(a), (), {})
        return super().create_arg(a)

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: dict[str, Any] | None = None
    ) -> tuple[Any, list[Any]]:
        """The function, and its arguments: concrete ones, and proxies for the others; *args is one proxy."""
        function = inspect.unwrap(root_fn)
        code = function.__code__
        defaults = inspect.signature(function).parameters
        names = [*code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]]
        flags = {"*": inspect.CO_VARARGS, "**": inspect.CO_VARKEYWORDS}
        for star, flag in flags.items():
            if code.co_flags & flag:
                names.append(star + code.co_varnames[len(names)])
        args: list[Any] = [self.root] if is_module else []
        for name in names[len(args) :]:
            if name in defaults:
                default = defaults[name].default
            else:
                default = inspect.Parameter.empty
            given = () if default is inspect.Parameter.empty else (default,)
            proxy = self.create_proxy("placeholder", name, given, {})
            args.append((concrete_args or {}).get(name, proxy))
        if len(names) > code.co_argcount:
            count = {"co_argcount": len(names), "co_kwonlyargcount": 0, "co_posonlyargcount": 0}
            plain = code.replace(co_flags=code.co_flags & ~sum(flags.values()), **count)
            root_fn = FunctionType(plain, function.__globals__, closure=function.__closure__)
        return root_fn, args

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> Graph:
        """The graph of a module or a function."""
        activate()
        is_module = isinstance(root, nn.Module)
        self.root = root if is_module else nn.Module()
        function = type(root).forward if is_module else root
        self.submodule_paths = {module: path for path, module in self.root.named_modules()}
        self._paths: dict[int, str] = {}
        for module, path in self.submodule_paths.items():
            for name, x in vars(module).items():
                if isinstance(x, Tensor) and not isinstance(x, nn.Parameter):
                    self._paths.setdefault(id(x), f"{path}.{name}".lstrip("."))
        self._paths |= {id(x): path for path, x in self.root.named_parameters()}
        self.graph = Graph(tracer_cls=type(self))
        function, args = self.create_args_for_root(function, is_module, concrete_args)
        with self._patched(inspect.unwrap(function)):
            self.create_node("output", "output", (self.create_arg(function(*args)),), {})
        return self.graph

    @contextmanager
    def _patched(self, function: Callable[..., Any]) -> Iterator[None]:
        """A block in which modules and wrapped functions call this tracer, and parameters are proxies."""
        seen, alone_of = set(), getattr(function, "__globals__", {})

        def alone(namespace: dict[str, Any]) -> None:
            if id(namespace) not in seen:
                seen.add(id(namespace))
                found = {name: _noting(f) for name, f in namespace.items() if id(f) in self._alone}
                stack.enter_context(_swapped(namespace, found))

        class Modules(Observer):
            def call(_, run: Any, module: Module, *args: Any, **kwargs: Any) -> Any:
                alone(getattr(module.forward, "__globals__", {}))
                return self.call_module(module, run, args, kwargs)

        with Modules(), ExitStack() as stack:
            for (_, name), namespace in _wrapped.items():
                function = namespace.get(name) or getattr(builtins, name)
                stack.enter_context(_swapped(namespace, {name: _noting(function)}))
            for module in self.submodule_paths:
                own = vars(module)
                paths = {n: self._paths[id(own[n])] for n in own.get("_parameters", ()) if own[n] is not None}
                proxies = {name: ParameterProxy(self, "get_attr", path, ()) for name, path in paths.items()}
                stack.enter_context(_swapped(own, proxies))
            for namespace in (alone_of, *map(vars, self._search)):
                alone(namespace)
            yield
