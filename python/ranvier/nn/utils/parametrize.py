"""Parameters that modules compute, under the names of torch.nn.utils.parametrize.

A parametrization is a module whose result stands in the place of a parameter or buffer; its inputs, which are
trained or saved in the tensor's place, are the originals. A layer has its parametrizations in
``layer.parametrizations``, one `ParametrizationList` for each tensor that is computed. `reweighted.py` has
the mechanism: it makes the tensor's name a property of the layer's class.
"""

from __future__ import annotations

from _thread import _local as local  # threading.local, without the import of threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ranvier.grad_mode import no_grad
from ranvier.nn.container import ModuleDict, ModuleList
from ranvier.nn.module import Module
from ranvier.nn.parameter import Parameter
from ranvier.nn.utils.reweighted import HELD, Reweighting, hold
from ranvier.observe import current, refuse
from ranvier.settings import ThreadSettings
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor

if TYPE_CHECKING:
    from ranvier.tensors.recording import Recording


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor: modules that are applied in turn to ``original``. If
    ``right_inverse`` of the first module gives several tensors, it gets ``original0``, ``original1`` ..."""

    original: Any
    ntensors: int | None = None  # the number of originals if their names have numbers, else None

    def originals(self) -> list[Any]:
        """The inputs of the first module."""
        if self.ntensors is None:
            return [self.original]
        return [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def forward(self) -> Any:
        """The tensor: the result of the last module."""
        first, *rest = self
        x = first(*self.originals())
        for module in rest:
            x = module(x)
        return x

    def right_inverse(self, value: Any) -> None:
        """Sets the originals so that forward gives the value, by ``right_inverse`` of each module."""
        with no_grad():
            modules: list[Any] = list(self)
            for module in reversed(modules):
                value = module.right_inverse(value)
            for original, new in zip(self.originals(), _as_list(value), strict=True):
                original.copy_(new)


def _as_list(value: Tensor | tuple[Tensor, ...] | list[Tensor]) -> list[Tensor]:
    """The results of a `right_inverse`, which gives a Tensor or several."""
    if isinstance(value, (tuple, list)):
        return list(value)
    return [value]


class Parametrized(Reweighting):
    """The weight is the result of ``module.parametrizations[name]``: all its modules, applied in turn."""

    def __init__(self, name: str) -> None:
        self.name = name

    def weight(self, module: Any) -> Tensor:
        if _blocks.depth:
            return _cache.get(module, self.name)
        return module.parametrizations[self.name]()

    def assign(self, module: Any, value: Tensor) -> None:
        if not all(hasattr(entry, "right_inverse") for entry in module.parametrizations[self.name]):
            raise AttributeError(
                f"[setattr] got {self.name!r}; expected modules with right_inverse, or original"
            )
        _cache.forget(module, self.name)
        module.parametrizations[self.name].right_inverse(value)


class _Computed(NamedTuple):
    """A tensor that has been computed in a block of `cached`."""

    module: Module  # The reference keeps it alive, so that no other module gets its id.
    tensor: Tensor


class _Cache(local):
    """The tensors that a thread has computed in its blocks of `cached`."""

    def __init__(self) -> None:
        self.tensors: dict[tuple[int, str], _Computed] = {}  # by the id of the module and the tensor's name
        self.recording: Recording | None = None  # the recording in which the outermost block began

    def get(self, module: Any, name: str) -> Tensor:
        """The tensor of this name, computed at its first use in the block."""
        # The block began outside the recorded step: a replay would compute the tensor at each call, where
        # eager runs compute it once in the block.
        if current() is not self.recording:
            refuse("parametrize.cached() around it", "open the block inside the compiled step")
        key = (id(module), name)
        if key not in self.tensors:
            self.tensors[key] = _Computed(module, module.parametrizations[name]())
        return self.tensors[key].tensor

    def forget(self, module: Module, name: str) -> None:
        self.tensors.pop((id(module), name), None)


_blocks = ThreadSettings(depth=0)  # how many blocks of `cached` the thread is in
_cache = _Cache()


@contextmanager
def cached() -> Iterator[None]:
    """Within the block each parametrized tensor is computed once, at its first use, for all modules.

    A tensor that is used several times, as the weight of a cell in a loop, is then computed as often as
    once, and one with random numbers is the same at each use. A value that is assigned to the tensor
    (``layer.weight = value``) holds from then on. Of nested blocks the outermost counts.

    >>> import ranvier as rv
    >>> from ranvier.nn.utils import parametrize
    >>> layer = parametrize.register_parametrization(rv.nn.Linear(3, 2), "weight", rv.nn.Tanh())
    >>> with parametrize.cached():
    ...     layer.weight is layer.weight
    True
    """
    if _blocks.depth == 0:
        _cache.recording = current()
    _blocks.depth += 1
    try:
        yield
    finally:
        _blocks.depth -= 1
        if _blocks.depth == 0:
            _cache.tensors.clear()
            _cache.recording = None


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """True if this tensor of the module, or without a name any tensor, has a parametrization.

    >>> import ranvier as rv
    >>> rv.nn.utils.parametrize.is_parametrized(rv.nn.Linear(3, 2))
    False
    """
    parametrizations = module.__dict__.get("parametrizations", ())
    if tensor_name:
        return tensor_name in parametrizations
    return len(parametrizations) > 0


def _register(module: Module, name: str, value: Tensor) -> None:
    """Registers the value as a parameter if it is one, else as a buffer."""
    if isinstance(value, Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)


def register_parametrization(
    module: Any, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Any:
    """Lets a module compute a parameter or buffer of the layer whenever it is read. Returns the layer.

    The tensor itself is then ``layer.parametrizations.weight.original``. A second parametrization gets the
    result of the first. ``layer.weight = value`` sets the original to
    ``parametrization.right_inverse(value)``; a module with this method also keeps the value of the weight at
    registration. If the method gives several tensors, these are ``original0``, ``original1`` ... unsafe:
    whether the result may have another shape or dtype than the tensor that it replaces.

    Raises ValueError for a name that is no parameter or buffer, and for another shape or dtype; TypeError for
    no Module, and for a result that is no Tensor.

    >>> import ranvier as rv
    >>> class Symmetric(rv.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).mT
    >>> layer = rv.nn.utils.parametrize.register_parametrization(rv.nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.mT).all()), [name for name, _ in layer.named_parameters()]
    (True, ['bias', 'parametrizations.weight.original'])
    """
    if not isinstance(parametrization, Module):
        raise TypeError(f"[register_parametrization] got {parametrization!r}; expected a Module")
    parametrization.train(module.training)
    is_second = is_parametrized(module, tensor_name)
    if is_second:
        value = getattr(module, tensor_name)
    else:
        registered = {**module._parameters, **module._buffers}
        value = registered.get(tensor_name)
    if value is None:
        raise ValueError(f"[register_parametrization] got {tensor_name!r}; expected a parameter or buffer")
    with no_grad():
        start = value.detach()  # the originals' values: a Tensor, or several by `right_inverse`
        if not is_second and hasattr(parametrization, "right_inverse"):
            start = parametrization.right_inverse(start)
        y = parametrization(*_as_list(start))
    if not isinstance(y, Tensor):
        raise TypeError(f"[register_parametrization] got the result {y!r}; expected a Tensor")
    if not unsafe and (y.shape, y.dtype) != (value.shape, value.dtype):
        raise OpError(
            f"[register_parametrization] got a result of shape {y.shape} and {y.dtype.name}; expected "
            f"{value.shape} and {value.dtype.name}, or unsafe=True"
        )
    if is_second:
        module.parametrizations[tensor_name].append(parametrization)
        return module
    delattr(module, tensor_name)
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
    chain = ParametrizationList([parametrization])
    module.parametrizations[tensor_name] = chain
    _register_originals(chain, value, start)
    hold(module, {**module.__dict__.get(HELD, {}), tensor_name: Parametrized(tensor_name)})
    return module


def _register_originals(chain: ParametrizationList, value: Tensor, start: Tensor | Sequence[Tensor]) -> None:
    """Registers the originals in the list. value: the parameter or buffer before; start: their values."""
    if isinstance(start, Tensor):
        with no_grad():
            value.copy_(start)  # The parameter stays the same object, which an optimizer may have.
        _register(chain, "original", value)
        return
    chain.ntensors = len(start)
    for i, tensor in enumerate(start):
        original = tensor.detach().clone()
        if isinstance(value, Parameter):
            original = Parameter(original, value.requires_grad)
        _register(chain, f"original{i}", original)


def remove_parametrizations(module: Any, tensor_name: str, leave_parametrized: bool = True) -> Any:
    """Makes the tensor an ordinary parameter or buffer again. Returns the layer.

    leave_parametrized: the tensor keeps the value that the parametrizations compute; else it gets the value
    of ``original``, which is possible only where there is one original.

    Raises ValueError where there is no parametrization.

    >>> import ranvier as rv
    >>> from ranvier.nn.utils import parametrize
    >>> layer = parametrize.register_parametrization(rv.nn.Linear(3, 2), "weight", rv.nn.Tanh())
    >>> [name for name, _ in parametrize.remove_parametrizations(layer, "weight").named_parameters()]
    ['bias', 'weight']
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"[remove_parametrizations] got {tensor_name!r}; expected a parametrized tensor")
    chain = module.parametrizations[tensor_name]
    if chain.ntensors is not None and not leave_parametrized:
        raise ValueError("[remove_parametrizations] got leave_parametrized=False; expected one original")
    # An original becomes the plain tensor, and no new object is made: an optimizer that has the original then
    # goes on to train the layer. Of several originals it is the last one, which usually has the weight's
    # shape: the originals of weight_norm are the length and the direction.
    original = chain.originals()[-1]
    with no_grad():
        if leave_parametrized:
            value = getattr(module, tensor_name).detach().clone()
            if value.shape == original.shape:
                original.copy_(value)  # This keeps the memory: views of the original change with it.
            else:
                original.data = value  # copy_ needs the same shape; this replaces the memory.
    held = dict(module.__dict__[HELD])
    del held[tensor_name]
    hold(module, held)
    del module.parametrizations[tensor_name]
    if not is_parametrized(module):
        del module.parametrizations
    _register(module, tensor_name, original)
    return module
