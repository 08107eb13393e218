"""State dicts of modules: what is saved and loaded, with PyTorch's hooks and methods to override.

`StateDicts` is a base of Module (nn/module.py). `state_dict` calls `_save_to_state_dict`, and `state_dict` of
each child. `load_state_dict` calls `_load_from_state_dict` of each module. The attribute `_metadata` of a
state dict has the versions of the modules: {path: {"version": number}}.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from os import PathLike
from typing import Any, ClassVar, NamedTuple

from ranvier.grad_mode import no_grad
from ranvier.nn.parameter import Parameter
from ranvier.tape.hooks import RemovableHandle
from ranvier.tensors.data import as_array
from ranvier.tensors.sanitize import printable
from ranvier.tensors.tensor import Tensor, wrap

Hook = Callable[..., Any]
EXTRA = "_extra_state"  # the name in a state dict of what `get_extra_state` returns


class LoadResult(NamedTuple):
    """The names that differed between a state dict and the module."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        text = f"_IncompatibleKeys(missing_keys={self[0]}, unexpected_keys={self[1]})"  # PyTorch's name
        if any(self):
            return text
        return "<All keys matched successfully>"


class StateHooks:
    """The hooks of one module on its state dict: for each event a dictionary {number: hook}."""

    def __init__(self) -> None:
        self.before_saving: dict[int, Hook] = {}
        self.after_saving: dict[int, Hook] = {}
        self.before_loading: dict[int, Hook] = {}
        self.after_loading: dict[int, Hook] = {}


_NO_HOOKS = StateHooks()


def _require_whole(name: str, values: Iterable[Any]) -> None:
    """Raises an error if a value lies in a file that has been cut off since it was loaded."""
    from ranvier.tensors.mapped_files import require_whole  # It is here because it takes a millisecond.

    require_whole(name, values)


def _hooks_property(event: str) -> Any:
    """The property of a module that is one dictionary of its `StateHooks`."""

    def get(module: StateDicts) -> dict[int, Hook]:
        return getattr(module._rv_own_state_hooks(), event)

    return property(get)


class StateDicts:
    """The base of Module that saves and loads. ``_rv_state_hooks`` is None until the first hook."""

    _version: ClassVar[int] = 1
    _rv_state_hooks: StateHooks | None = None
    _state_dict_pre_hooks = _hooks_property("before_saving")
    _state_dict_hooks = _hooks_property("after_saving")
    _load_state_dict_pre_hooks = _hooks_property("before_loading")
    _load_state_dict_post_hooks = _hooks_property("after_loading")

    # --- saving
    def get_extra_state(self) -> Any:
        """Further state for the state dict; a subclass that defines it defines set_extra_state, too."""
        raise RuntimeError(f"[get_extra_state] {type(self).__name__} does not define it")

    def set_extra_state(self, state: Any) -> None:
        """Takes what get_extra_state gave."""
        raise RuntimeError(f"[set_extra_state] {type(self).__name__} does not define it")

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """{path: Tensor} of all parameters and persistent buffers, without copies.

        A shared Tensor is there with each of its paths.

        Args:
            destination: a dict to add to; a new OrderedDict if it is not given.
            prefix: what all paths begin with.
            keep_vars: whether the values are the parameters themselves, not detached Tensors.
        """
        if args:  # the former signature of PyTorch: the same three arguments by place
            arguments = [*args, *(destination, prefix, keep_vars)[len(args) :]]
            destination, prefix, keep_vars = arguments
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        version = {"version": self._version}
        hooks = self._rv_state_hooks or _NO_HOOKS
        attributes = self.__dict__
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = version
        for hook in list(hooks.before_saving.values()):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name in attributes["_modules"]:
            child = attributes[name]
            if child is not None:
                child.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in list(hooks.after_saving.values()):
            changed = hook(self, destination, prefix, version)
            if changed is not None:
                destination = changed
        if not prefix:
            _require_whole("state_dict", destination.values())
        return destination

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Adds the values of this module, without those of its children."""
        attributes = self.__dict__
        names = attributes["_parameters"]
        if attributes["_buffers"]:  # Without buffers, which is the usual case, no list is made.
            names = self._rv_saved_names()
        for name in names:
            value = attributes[name]
            if value is not None:
                destination[prefix + name] = value if keep_vars else value.detach()
        if type(self).get_extra_state is not StateDicts.get_extra_state:
            destination[prefix + EXTRA] = self.get_extra_state()

    def _rv_saved_names(self) -> list[str]:
        """The names of this module's parameters and persistent buffers."""
        attributes: Any = self.__dict__
        transient = attributes["_non_persistent_buffers_set"]
        persistent = [name for name in attributes["_buffers"] if name not in transient]
        return [*attributes["_parameters"], *persistent]

    # --- loading
    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> LoadResult:
        """Copies values by path into the memory of the parameters and buffers.

        As in PyTorch, what fits is loaded before an error is raised, which names all that does not fit.

        Args:
            state_dict: a mapping of paths to Tensors, NumPy arrays or torch tensors; they are cast to the
                dtypes of the module.
            strict: whether missing and unexpected names are an error.
            assign: whether the values become the parameters and buffers, in place of a copy into the present
                ones.

        Returns:
            ``(missing_keys, unexpected_keys)``, a named tuple.

        Raises:
            RuntimeError: a wrong shape; with strict, also missing or unexpected names.
            TypeError: no mapping, or names that are no strings.
        """
        if not hasattr(state_dict, "keys"):
            remedy = ""
            if isinstance(state_dict, StateDicts):
                remedy = "; its method state_dict gives one"
            elif isinstance(state_dict, (str, PathLike)):
                remedy = "; rv.load reads a file"
            raise TypeError(
                f"[load_state_dict] got {type(state_dict).__name__}; expected a mapping of names to arrays"
                f"{remedy}"
            )
        values = {name: state_dict[name] for name in state_dict.keys()}  # noqa: SIM118
        for name in values:
            if not isinstance(name, str):
                raise TypeError(f"[load_state_dict] got the key {name!r}; expected names of weights")
        _require_whole("load_state_dict", values.values())
        loading = Loading(getattr(state_dict, "_metadata", None), assign)
        loading.load(self, values, "")
        problems = loading.problems
        if strict and loading.unexpected:
            problems.insert(0, f"Unexpected key(s) in state_dict: {_quoted(loading.unexpected)}. ")
        if strict and loading.missing:
            problems.insert(0, f"Missing key(s) in state_dict: {_quoted(loading.missing)}. ")
        if problems:
            problems += _remedies(values, loading)
            raise RuntimeError(
                f"[load_state_dict] Error(s) in loading state_dict for {type(self).__name__}:\n\t"
                + printable("\n\t".join(problems))
            )
        return LoadResult(loading.missing, loading.unexpected)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Loads the values of this module, without those of its children; adds to the three lists."""
        hooks = self._rv_state_hooks or _NO_HOOKS
        for hook in list(hooks.before_loading.values()):
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        assign = local_metadata.get("assign_to_params_buffers", False)
        expected = [name for name in self._rv_saved_names() if self.__dict__[name] is not None]
        for name in expected:
            path = prefix + name
            if path in state_dict:
                problem = _load_value(self, name, path, state_dict[path], assign)
                if problem:
                    error_msgs.append(problem)
            # Old files, and the files of most converters, lack num_batches_tracked.
            elif strict and name != "num_batches_tracked":
                missing_keys.append(path)
        if type(self).set_extra_state is not StateDicts.set_extra_state:
            if prefix + EXTRA in state_dict:
                self.set_extra_state(state_dict[prefix + EXTRA])
            elif strict:
                missing_keys.append(prefix + EXTRA)
            expected.append(EXTRA)
        if strict:
            for path in state_dict:
                if not path.startswith(prefix):
                    continue
                name, dot, _ = path.removeprefix(prefix).partition(".")
                if dot:  # The value is of a child, if there is one of this name.
                    is_expected = name in self.__dict__["_modules"]
                else:
                    is_expected = name in expected
                if not is_expected:
                    unexpected_keys.append(path)

    # --- hooks
    def _rv_own_state_hooks(self) -> StateHooks:
        """The hooks of this module; made at the first call."""
        if self._rv_state_hooks is None:
            self._rv_state_hooks = StateHooks()
        return self._rv_state_hooks

    def _register_state_dict_hook(self, hook: Hook) -> RemovableHandle:
        """Calls ``hook(module, state_dict, prefix, local_metadata)`` after saving; what it returns, if not
        None, is the state dict."""
        return RemovableHandle(self._rv_own_state_hooks().after_saving, hook)

    def register_state_dict_post_hook(self, hook: Hook) -> RemovableHandle:
        """Calls ``hook(module, state_dict, prefix, local_metadata)`` after saving, which may change the
        dict."""
        return self._register_state_dict_hook(partial(_without_result, "register_state_dict_post_hook", hook))

    def register_state_dict_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Calls ``hook(module, prefix, keep_vars)`` before saving."""
        return RemovableHandle(self._rv_own_state_hooks().before_saving, hook)

    def _register_load_state_dict_pre_hook(self, hook: Hook, with_module: bool = False) -> RemovableHandle:
        """Calls ``hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
        error_msgs)`` before the module's values are loaded; with_module: the module comes first."""
        if with_module:
            hook = partial(hook, self)
        return RemovableHandle(self._rv_own_state_hooks().before_loading, hook)

    def register_load_state_dict_pre_hook(self, hook: Hook) -> RemovableHandle:
        """As ``_register_load_state_dict_pre_hook``; the module is the first argument."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def register_load_state_dict_post_hook(self, hook: Hook) -> RemovableHandle:
        """Calls ``hook(module, incompatible_keys)`` after loading. The hook may change the lists
        ``missing_keys`` and ``unexpected_keys``."""
        name = "register_load_state_dict_post_hook"
        return RemovableHandle(self._rv_own_state_hooks().after_loading, partial(_without_result, name, hook))


class Loading:
    """One call of `load_state_dict`: its settings, and the names and problems that it found so far."""

    def __init__(self, metadata: Mapping[str, Any] | None, assign: bool) -> None:
        self.metadata = metadata or {}
        self.assign = assign
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.problems: list[str] = []

    def load(self, module: Any, values: dict[str, Any], prefix: str) -> None:
        """Loads a module and its children. values: those whose path begins with prefix, the module's path."""
        if f"{prefix}weight" in values and hasattr(module, "_materialise_from"):  # a lazy layer
            module._materialise_from(values[f"{prefix}weight"])
        local_metadata = dict(self.metadata.get(prefix[:-1], {}))
        if self.assign:
            local_metadata["assign_to_params_buffers"] = True
        # strict is True: missing and unexpected names are always collected, and `load_state_dict` decides.
        module._load_from_state_dict(
            values, prefix, local_metadata, True, self.missing, self.unexpected, self.problems
        )
        values_of_children: dict[str, dict[str, Any]] = {}
        for path, value in values.items():
            name, dot, _ = path[len(prefix) :].partition(".")
            if dot and path.startswith(prefix):
                values_of_children.setdefault(name, {})[path] = value
        for name, child in list(module._modules.items()):
            if child is not None:
                self.load(child, values_of_children.get(name, {}), f"{prefix}{name}.")
        hooks = module._rv_state_hooks or _NO_HOOKS
        for hook in list(hooks.after_loading.values()):
            hook(module, LoadResult(self.missing, self.unexpected))


def _load_value(module: Any, name: str, path: str, loaded: Any, assign: bool) -> str:
    """Loads one parameter or buffer and returns "", or returns a text that says what is wrong with the value.

    loaded: the value in the state dict, a Tensor, an array or a torch tensor. assign: see `load_state_dict`.
    """
    tensor = module.__dict__[name]
    value = as_array(loaded)
    noun = "parameter" if isinstance(tensor, Parameter) else "buffer"
    if value.shape == (1,) and not tensor.ndim:
        value = value.reshape(())
    if value.dtype.kind in "OSUMm":  # objects, texts, dates
        expected = f"expected a Tensor or an array of numbers from checkpoint but received {type(loaded)}"
        return f'While copying the {noun} named "{path}", {expected}'
    if value.shape != tensor.shape:
        text = f"copying a param with shape torch.Size({list(value.shape)}) from checkpoint"
        expected = f"the shape in current model is torch.Size({list(tensor.shape)})"
        return f"size mismatch for {path}: {text}, {expected}."
    # A Tensor on the device "meta" has a shape and no values.
    if not assign and tensor.is_meta:
        if not getattr(loaded, "is_meta", False):
            warnings.warn(
                f"for {path}: copying from a non-meta parameter in the checkpoint to a meta parameter in the "
                "current model, which is a no-op. (Did you mean to pass `assign=True`, so that the values "
                "become the parameters?)",
                # The line of the program: after this function, _load_from_state_dict, `load` for the module
                # and for each one around it, and load_state_dict.
                stacklevel=5 + path.count("."),
            )
        return ""
    if not assign and getattr(loaded, "is_meta", False):
        sizes = f"are torch.Size({[*value.shape]})"
        return (
            f'While copying the {noun} named "{path}", whose dimensions in the model {sizes} and whose '
            f"dimensions in the checkpoint {sizes}, an exception occurred : ('Cannot copy out of meta "
            "tensor; no data!',)."
        )
    # The value is the tensor's own memory: there is nothing to copy. (Complex Tensors have no `_array`.)
    if value is getattr(tensor, "_array", None):
        return ""
    with no_grad():
        if not assign:
            tensor.copy_(wrap(value))
        elif isinstance(tensor, Parameter):
            if isinstance(loaded, Parameter):
                parameter = loaded
            else:
                parameter = Parameter(loaded, tensor.requires_grad)
            setattr(module, name, parameter.requires_grad_(tensor.requires_grad))
        elif isinstance(loaded, Tensor):
            setattr(module, name, loaded)
        else:
            setattr(module, name, wrap(value))
    return ""


def _remedies(values: dict[str, Any], loading: Loading) -> list[str]:
    """Sentences for the error about a state dict with other names than the module: how to correct the names,
    for two common mistakes."""
    missing = loading.missing
    for path in loading.unexpected:
        value = values[path]
        if hasattr(value, "keys") and not set(missing).isdisjoint(value.keys()):
            return [f'The state dict is the entry "{path}" of what is given: load that.']
    for path in loading.unexpected:
        for name in missing:
            if path.endswith(f".{name}"):
                prefix = path[: -len(name)]
                return [
                    f"The given names begin with '{prefix}': remove it, with name.removeprefix('{prefix}')."
                ]
            prefix = name[: -len(path)]
            if name.endswith(f".{path}") and all(other.startswith(prefix) for other in missing):
                return [f"The names expected begin with '{prefix}': put it before those given."]
    return []


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _without_result(name: str, hook: Hook, *args: Any) -> None:
    """Calls a hook that has to change its arguments in place."""
    if hook(*args) is not None:
        raise RuntimeError(f"[{name}] got a result of the hook; expected None: it changes its arguments")
