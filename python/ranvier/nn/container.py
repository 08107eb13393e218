"""Modules made of modules or parameters, and mlp, which makes a Sequential from the sizes of its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ranvier.autograd.data import refuse_torch
from ranvier.autograd.tensor import Tensor
from ranvier.nn.activation import named as activation_named
from ranvier.nn.dropout import Dropout
from ranvier.nn.init import named as initialiser_named
from ranvier.nn.init import zeros_
from ranvier.nn.linear import Linear
from ranvier.nn.module import Module, Parameter
from ranvier.nn.norm import BatchNorm1d
from ranvier.ops.rows import examples

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


def _add(container: Module, name: str, layer: Any) -> None:
    if not isinstance(layer, Module):
        refuse_torch(kind := type(container).__name__, f"layer {name}", layer)
        raise TypeError(f"[{kind}] layer {name} is a {type(layer).__name__}; expected a Module")
    setattr(container, name, layer)


class _Numbered(Module):
    """What Sequential and ModuleList share: children with the names '0', '1', ... in order."""

    def __len__(self) -> int:
        return len(self._module_names)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def _name(self, index: int) -> str:
        """The name of a child by its place; negative counts from the end."""
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"[{type(self).__name__}] index {index} is out of range for {n} layers")
        return list(self._module_names)[index]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._of(list(self._modules.items())[index])
        return self._modules[self._name(int(index))]

    def _of(self, items: list[tuple[str, Module]]) -> Any:
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name(int(index)), module)

    def __delitem__(self, index: int) -> None:
        delattr(self, self._name(int(index)))
        self._renumber(list(self))

    def pop(self, key: int) -> Module:
        """Removes a layer by its place and returns it."""
        module: Module = self[key]
        del self[key]
        return module

    def _renumber(self, modules: list[Module]) -> None:
        for name in list(self._module_names):
            delattr(self, name)
        for i, module in enumerate(modules):
            _add(self, str(i), module)

    def append(self, module: Module) -> Any:
        """Adds a layer at the end; returns the container."""
        _add(self, str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        modules = list(self)
        modules.insert(index, module)
        self._renumber(modules)
        return self


class Sequential(_Numbered):
    """Layers applied one after the other: ``Sequential(a, b)`` computes b(a(x)).

    Takes layers, or one mapping of names to layers. Raises TypeError for anything else.

    >>> from ranvier import nn
    >>> nn.Sequential(nn.Flatten(), nn.Sequential())
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Sequential()
    )
    """

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            items = list(layers[0].items())
        else:
            items = [(str(i), layer) for i, layer in enumerate(layers)]
        for name, layer in items:
            _add(self, name, layer)

    def _of(self, items: list[tuple[str, Module]]) -> Any:
        return type(self)(dict(items))

    def forward(self, input: Any) -> Any:
        attributes = self.__dict__
        for name in self._module_names:
            input = attributes[name](input)
        return input


class ModuleList(_Numbered):
    """A list of modules. Their parameters are also the parent's.
    | len(rv.nn.ModuleList([rv.nn.Flatten(), rv.nn.Flatten()])) -> 2"""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def _of(self, items: list[tuple[str, Module]]) -> Any:
        return type(self)(module for _, module in items)

    def __iadd__(self, modules: Iterable[Module]) -> Any:
        return self.extend(modules)

    def __repr__(self) -> str:
        """Equal neighbours on one line, as in PyTorch: ``(0-2): 3 x Linear(...)``."""
        runs: list[tuple[int, int, str]] = []  # first, last, text
        for i, text in enumerate(map(repr, self)):
            if runs and runs[-1][2] == text:
                runs[-1] = (runs[-1][0], i, text)
            else:
                runs.append((i, i, text))
        lines = [
            f"({first}): {text}" if first == last else f"({first}-{last}): {last - first + 1} x {text}"
            for first, last, text in runs
        ]
        return _block(type(self).__name__, lines)


def _block(name: str, lines: list[str]) -> str:
    """A name and, indented between its parentheses, the lines."""
    inside = "".join("\n  " + line.replace("\n", "\n  ") for line in lines)
    return f"{name}({inside}\n)" if lines else f"{name}()"


class _Dictionary(Module):
    """What ModuleDict and ParameterDict share: ``_registry`` is the property of Module with their entries."""

    _registry: str

    def update(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            self[name] = value

    def __getitem__(self, name: str) -> Any:
        return getattr(self, self._registry)[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(
                f"[{type(self).__name__}] got name {name!r}; expected a string without dots, not empty"
            )
        if hasattr(self, name) and name not in self:
            kind = type(self).__name__
            raise KeyError(f"[{kind}] the name {name!r} is taken by an attribute of {kind}")
        if self._registry == "_modules":
            _add(self, name, value)
        else:
            setattr(self, name, value)

    def __delitem__(self, name: str) -> None:
        delattr(self, name)

    def __len__(self) -> int:
        return len(getattr(self, self._registry))

    def __iter__(self) -> Iterator[str]:
        return iter(getattr(self, self._registry))

    def __contains__(self, name: str) -> bool:
        return name in getattr(self, self._registry)

    def keys(self) -> Iterable[str]:
        return getattr(self, self._registry).keys()

    def values(self) -> Iterable[Any]:
        return getattr(self, self._registry).values()

    def items(self) -> Iterable[tuple[str, Any]]:
        return getattr(self, self._registry).items()

    def pop(self, name: str) -> Any:
        value = self[name]
        del self[name]
        return value

    def clear(self) -> None:
        for name in list(self):
            del self[name]


class ModuleDict(_Dictionary):
    """A dictionary of modules. Their parameters are also the parent's.
    | list(rv.nn.ModuleDict({"a": rv.nn.Flatten()})) -> ['a']"""

    _registry = "_modules"

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update(modules or {})


class ParameterList(Module):
    """A list of parameters, which are also the parent's; Tensors and arrays become Parameters.
    | len(rv.nn.ParameterList([rv.ones(2), rv.zeros(3)])) -> 2"""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(values or ())

    def __len__(self) -> int:
        return len(self._parameter_names)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parameters.values())

    def __getitem__(self, index: int) -> Any:
        return self._parameters[self._name(index)]

    def __setitem__(self, index: int, value: Any) -> None:
        self.register_parameter(self._name(index), _parameter(value))

    def _name(self, index: int) -> str:
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"[ParameterList] index {index} is out of range for {n} parameters")
        return str(index % n)

    def append(self, value: Any) -> ParameterList:
        """Adds a parameter at the end; returns the list."""
        self.register_parameter(str(len(self)), _parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        for value in values:
            self.append(value)
        return self

    def __repr__(self) -> str:
        return _block("ParameterList", [f"({i}): {_sketch(p)}" for i, p in enumerate(self)])


class ParameterDict(_Dictionary):
    """A dictionary of parameters, which are also the parent's; Tensors and arrays become Parameters.
    | list(rv.nn.ParameterDict({"scale": rv.ones(2)})) -> ['scale']"""

    _registry = "_parameters"

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.update(parameters or {})

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, _parameter(value))

    def get(self, name: str, default: Any = None) -> Any:
        return self._parameters.get(name, default)

    def __repr__(self) -> str:
        return _block("ParameterDict", [f"({name}): {_sketch(p)}" for name, p in self.items()])


def _parameter(value: Any) -> Parameter:
    if isinstance(value, Parameter):
        return value
    refuse_torch("Parameter", "a value", value)  # a copy would not be the other library's parameter
    return Parameter(value)


def _sketch(parameter: Tensor) -> str:
    size = "x".join(map(str, parameter.shape))
    kind = f"ranvier.{parameter.dtype}"
    return f"Parameter containing: [{kind} of size {size}]"


def mlp(
    sizes: Sequence[int],
    activation: str | type[Module] | Sequence[str | type[Module]] = "relu",
    init: str | Callable[[Tensor], Any] = "he",
    output: str | None = None,
    dropout: float = 0.0,
    batch_norm: bool = False,
    dtype: Any = None,
) -> Sequential:
    """A multi-layer perceptron, an ordinary Sequential: a = f(a W^T + b) layer after layer.

    x (N, sizes[0]), y (N, sizes[-1]). A hidden layer is Linear, optionally BatchNorm1d (the Linear then has
    no bias, which the norm would cancel), the activation and Dropout; the last layer is Linear.

    Args:
        sizes: inputs, hidden layers, outputs: [784, 128, 64, 10].
        activation: of the hidden layers, a name ("relu", "leaky_relu", "tanh", "sigmoid", "gelu", "linear"
            ...) or the class of a layer; or one for each of them.
        init: the starting values of weights: "he" (for relu), "xavier" (Glorot's), "lecun", each also with
        "_uniform",
            "normal" (standard deviation 0.01), "zeros", a function that fills a weight, or "default" for
            Linear's. Biases start at 0, except with "default".
        output: an activation after the last layer, such as "sigmoid"; None for a loss that takes logits.
        dropout: the share of each hidden layer that is dropped in training.
        batch_norm: normalize each hidden layer before its activation.
        dtype: of the parameters, float32 or float64.

    Raises:
        TypeError: sizes or activations of another type, an init that is neither a name nor a function.
        ValueError: fewer than two sizes, a size below 1, an unknown name, another number of activations than
            of hidden layers, or a dropout outside [0, 1].

    Source: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986).

    >>> import ranvier as rv
    >>> model = rv.mlp([784, 128, 64, 10], activation="relu", init="he")
    >>> sum(p.numel() for p in model.parameters())
    109386
    >>> rv.mlp([2, 4, 1], activation="tanh", output="sigmoid")
    Sequential(
      (0): Linear(in_features=2, out_features=4, bias=True)
      (1): Tanh()
      (2): Linear(in_features=4, out_features=1, bias=True)
      (3): Sigmoid()
    )
    """
    _check_sizes(sizes)
    one = isinstance(activation, (str, type))
    for kind in [activation] if one or not isinstance(activation, Sequence) else activation:
        refuse_torch("mlp", "an activation", kind)
        if not isinstance(kind, str) and not (isinstance(kind, type) and issubclass(kind, Module)):
            raise TypeError(
                f"[mlp] got activation {activation!r}; expected a name, or one for each hidden layer"
            )
    if isinstance(activation, str):
        activation_named(activation)  # a wrong name is an error without hidden layers, too
    hidden = len(sizes) - 2
    names: list[Any] = [activation] * hidden if one else list(activation)  # type: ignore[arg-type]
    if len(names) != hidden:
        raise ValueError(
            f"[mlp] got {len(names)} activations for {hidden} hidden layers; expected one for each"
        )
    layers: list[Module] = []
    for i, name in enumerate(names):
        layers.append(_linear(sizes[i], sizes[i + 1], init, not batch_norm, dtype))
        if batch_norm:
            layers.append(BatchNorm1d(sizes[i + 1], dtype=dtype))
        layers.append(activation_named(name) if isinstance(name, str) else name())
        if dropout:
            layers.append(Dropout(dropout))
    layers.append(_linear(sizes[-2], sizes[-1], init, True, dtype))
    if output is not None:
        layers.append(activation_named(output))
    return Sequential(*layers)


def _linear(n: int, m: int, init: Any, bias: bool, dtype: Any) -> Linear:
    layer = Linear(n, m, bias, dtype)
    if init != "default":
        initialiser_named(init)(layer.weight)
        if layer.bias is not None:
            zeros_(layer.bias)
    return layer


def _check_sizes(sizes: Any) -> None:
    if not isinstance(sizes, Sequence):
        raise TypeError(f"[mlp] got sizes {sizes!r}; expected whole numbers such as [2, 4, 1]")
    whole = all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in sizes)
    if len(sizes) < 2 or not whole:
        raise ValueError(f"[mlp] got sizes {list(sizes)}; expected at least two whole numbers >= 1")


examples(globals())
