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
from ranvier.tensors.types import TensorLike
from ranvier.torch.fx.nodes import Arguments, Graph, Keywords, Node, Target, map_aggregate
from ranvier.torch.torch_function.activation import activate
from ranvier.torch.torch_function.overrides import is_tensor_method_or_property

# (id of a module's globals, name of a function that `wrap` was called for) -> these globals
_wrapped: dict[tuple[int, str], dict[str, Any]] = {}
# types of values that stay as they are in the arguments of a node
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
        target: Target,
        args: Arguments,
        kwargs: Keywords,
        name: str | None = None,
        type_expr: type | None = None,
    ) -> Node:
        return self.graph.create_node(kind, target, args, kwargs, name, type_expr)

    def proxy(self, node: Node) -> Proxy:
        return Proxy(node, self)

    def create_proxy(
        self,
        kind: str,
        target: Target,
        args: Arguments,
        kwargs: Keywords,
        name: str | None = None,
        type_expr: type | None = None,
        proxy_factory_fn: Callable[[Node], Proxy] | None = None,
    ) -> Proxy:
        """A new node, as a proxy; its arguments may have proxies in them."""
        args = self.create_arg(args)
        kwargs = self.create_arg(kwargs)
        node = self.create_node(kind, target, args, kwargs, name, type_expr)
        make_proxy = proxy_factory_fn or self.proxy
        return make_proxy(node)

    def create_arg(self, a: Any) -> Any:
        """An argument with nodes in place of proxies."""
        if isinstance(a, (tuple, list, dict, slice)):
            return map_aggregate(a, self.create_arg)
        if isinstance(a, range):
            return range(self.create_arg(a.start), self.create_arg(a.stop), self.create_arg(a.step))
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
        caller = sys._getframe(1)
        instructions = dis.get_instructions(caller.f_code)
        running = next(x for x in instructions if x.offset == caller.f_lasti)
        if running.opname == "UNPACK_SEQUENCE":  # a, b = x
            return (self[i] for i in range(running.arg or 0))  # arg: the number of names on the left
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

    def __deepcopy__(self, memo: dict[int, Any]) -> Proxy:
        raise TraceError("[fx.Proxy] got deepcopy; expected x.clone()")

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Arguments = (),
        kwargs: Keywords | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        tracer = _proxies_in(args, kwargs)[0].tracer
        if is_tensor_method_or_property(func):
            return tracer.create_proxy("call_method", func.__name__, args, kwargs)
        return tracer.create_proxy("call_function", func, args, kwargs)

    __getitem__: Any


# Operators that Proxy has also with a proxy on the right side; comparisons, x[i], operators of one value.
_REFLECTED = "add sub mul floordiv truediv mod matmul pow and or xor lshift rshift"
_UNREFLECTED = "eq ne lt gt le ge getitem pos neg invert abs"


def _add_operators() -> None:
    """Gives Proxy a method for each operator, whose calls become nodes."""
    for name in f"{_REFLECTED} {_UNREFLECTED}".split():
        python_name = f"{name}_" if name in ("and", "or") else name
        setattr(Proxy, f"__{name}__", _operator_method(getattr(operator, python_name)))
    for name in _REFLECTED.split():
        python_name = f"{name}_" if name in ("and", "or") else name
        setattr(Proxy, f"__r{name}__", _reflected_method(getattr(operator, python_name)))
    Proxy.__hash__ = object.__hash__  # type: ignore[method-assign]


def _operator_method(function: Callable[..., Any]) -> Callable[..., Proxy]:
    def apply(self: Proxy, *others: Any) -> Proxy:
        return self.tracer.create_proxy("call_function", function, (self, *others), {})

    return apply


def _reflected_method(function: Callable[..., Any]) -> Callable[..., Proxy]:
    def apply_reflected(self: Proxy, other: TensorLike) -> Proxy:
        return self.tracer.create_proxy("call_function", function, (other, self), {})

    return apply_reflected


_add_operators()


class _LateProxy(Proxy):
    """A proxy whose node is made when it is used."""

    def __init__(self, tracer: TracerBase, kind: str, target: Target, args: Arguments) -> None:
        self.tracer = tracer
        self._kind = kind
        self._target = target
        self._args = args
        self._node: Node | None = None

    @property
    def node(self) -> Node:  # type: ignore[override]
        if self._node is None:
            self._node = self.tracer.create_proxy(self._kind, self._target, self._args, {}).node
        return self._node


class Attribute(_LateProxy):
    """An attribute of a proxy; a call of it is one of a method."""

    def __init__(self, root: Proxy, attr: str) -> None:
        super().__init__(root.tracer, "call_function", getattr, (root, attr))
        self.root = root
        self.attr = attr

    def __call__(self, *args: Any, **kwargs: Any) -> Proxy:
        return self.tracer.create_proxy("call_method", self.attr, (self.root, *args), kwargs)


class ParameterProxy(_LateProxy):
    """A parameter of a module that is traced."""


def wrap(fn_or_name: Callable[..., Any] | str) -> Any:
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


def _proxies_in(args: Arguments, kwargs: Keywords) -> list[Proxy]:
    """The proxies in nested arguments."""
    proxies: list[Proxy] = []

    def add_proxy(x: object) -> None:
        if isinstance(x, Proxy):
            proxies.append(x)

    map_aggregate((args, kwargs), add_proxy)
    return proxies


def _recording(function: Callable[..., Any]) -> Any:
    """A function whose calls with proxies become nodes, and whose other calls run `function`."""

    def call(*args: Any, **kwargs: Any) -> Any:
        proxies = _proxies_in(args, kwargs)
        if not proxies:
            return function(*args, **kwargs)
        return proxies[0].tracer.create_proxy("call_function", function, args, kwargs)

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
        functions: list[object] = [*autowrap_functions]
        for module in autowrap_modules:
            functions += [x for name, x in vars(module).items() if not name.startswith("_")]
        # the ids of the functions whose calls become nodes
        self._wrapped_ids = {id(f) for f in functions if callable(f) and not isinstance(f, type)}
        self._modules = autowrap_modules
        self.param_shapes_constant = param_shapes_constant
        self.submodule_paths: dict[Module, str] = {}

    def is_leaf_module(self, m: Module, module_qualname: str) -> bool:
        return type(m).__module__.startswith(("torch.nn", "ranvier.nn")) and not isinstance(m, nn.Sequential)

    def path_of_module(self, mod: Module) -> str:
        if mod not in self.submodule_paths:
            raise NameError("module is not installed as a submodule")
        return self.submodule_paths[mod]

    def call_module(self, m: Module, forward: Callable[..., Any], args: Arguments, kwargs: Keywords) -> Any:
        """The result of a call of a layer; forward: what calls it without this tracer."""
        path = self.path_of_module(m)
        if self.is_leaf_module(m, path):
            return self.create_proxy("call_module", path, args, kwargs)
        return forward(*args, **kwargs)

    def create_arg(self, a: Any) -> Any:
        if isinstance(a, Tensor):
            if id(a) not in self._paths:  # a constant, which the module gets as an attribute
                constants = [path for path in self._paths.values() if path.startswith("_tensor_c")]
                name = f"_tensor_constant{len(constants)}"
                self._paths[id(a)] = name
                setattr(self.root, name, a)
            return self.create_node("get_attr", self._paths[id(a)], (), {})
        if isinstance(a, nn.Module):
            return self.create_node("get_attr", self.path_of_module(a), (), {})
        return super().create_arg(a)

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: dict[str, Any] | None = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """The function, and its arguments: concrete ones, and proxies for the others; *args is one proxy."""
        concrete_args = concrete_args or {}
        function: Any = inspect.unwrap(root_fn)
        code = function.__code__
        parameters = inspect.signature(function).parameters
        # co_varnames: positional parameters, those by name only, then *args and **kwargs, then locals
        names = [*code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]]
        if code.co_flags & inspect.CO_VARARGS:
            names.append("*" + code.co_varnames[len(names)])
        if code.co_flags & inspect.CO_VARKEYWORDS:
            names.append("**" + code.co_varnames[len(names)])
        args: list[Any] = [self.root] if is_module else []
        for name in names[len(args) :]:
            default: Arguments = ()
            if name in parameters and parameters[name].default is not inspect.Parameter.empty:
                default = (parameters[name].default,)
            proxy = self.create_proxy("placeholder", name, default, {})
            args.append(concrete_args.get(name, proxy))
        if len(names) > code.co_argcount:
            # a function of the same code that takes all of them as plain arguments
            plain_code = code.replace(
                co_flags=code.co_flags & ~inspect.CO_VARARGS & ~inspect.CO_VARKEYWORDS,
                co_argcount=len(names),
                co_kwonlyargcount=0,
                co_posonlyargcount=0,
            )
            root_fn = FunctionType(plain_code, function.__globals__, closure=function.__closure__)
        return root_fn, args

    def trace(self, root: Module | Callable[..., Any], concrete_args: dict[str, Any] | None = None) -> Graph:
        """The graph of a module or a function."""
        activate()
        is_module = isinstance(root, nn.Module)
        if isinstance(root, nn.Module):
            self.root = root
            function: Callable[..., Any] = type(root).forward
        else:
            self.root = nn.Module()
            function = root
        self.submodule_paths = {module: path for path, module in self.root.named_modules()}
        self._paths: dict[int, str] = {}  # id of a tensor -> its path below the root
        for module, path in self.submodule_paths.items():
            for name, x in vars(module).items():
                if isinstance(x, Tensor) and not isinstance(x, nn.Parameter):
                    self._paths.setdefault(id(x), f"{path}.{name}".lstrip("."))
        for path, parameter in self.root.named_parameters():
            self._paths[id(parameter)] = path
        self.graph = Graph(tracer_cls=type(self))
        function, args = self.create_args_for_root(function, is_module, concrete_args)
        with self._patched(inspect.unwrap(function)):
            result = self.create_arg(function(*args))
            self.create_node("output", "output", (result,), {})
        return self.graph

    @contextmanager
    def _patched(self, function: Callable[..., Any]) -> Iterator[None]:
        """A block in which modules and wrapped functions call this tracer, and parameters are proxies."""
        seen: set[int] = set()

        def wrap_functions_in(namespace: dict[str, Any]) -> None:
            """Replaces the functions of `autowrap_modules` and the like in the globals of a module."""
            if id(namespace) not in seen:
                seen.add(id(namespace))
                wrapped = {name: _recording(f) for name, f in namespace.items() if id(f) in self._wrapped_ids}
                stack.enter_context(_swapped(namespace, wrapped))

        class CallsOfModules(Observer):
            """Is told of each call of a module, whose result it returns."""

            def call(_, run: Callable[..., Any], module: Module, *args: Any, **kwargs: Any) -> Any:
                wrap_functions_in(getattr(module.forward, "__globals__", {}))
                return self.call_module(module, run, args, kwargs)

        with CallsOfModules(), ExitStack() as stack:
            for (_, name), namespace in _wrapped.items():
                wrapped_function = namespace.get(name) or getattr(builtins, name)
                stack.enter_context(_swapped(namespace, {name: _recording(wrapped_function)}))
            for module in self.submodule_paths:
                stack.enter_context(_swapped(vars(module), self._parameter_proxies(module)))
            wrap_functions_in(getattr(function, "__globals__", {}))
            for python_module in self._modules:
                wrap_functions_in(vars(python_module))
            yield

    def _parameter_proxies(self, module: Module) -> dict[str, ParameterProxy]:
        """The proxies of a layer's own parameters, by their names."""
        attributes = vars(module)
        proxies = {}
        for name in attributes.get("_parameters", ()):  # a module's parameters are in its __dict__, too
            parameter = attributes[name]
            if parameter is not None:
                proxies[name] = ParameterProxy(self, "get_attr", self._paths[id(parameter)], ())
        return proxies
