"""`save` and `load`: models and state dicts as safetensors files with JSON metadata."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import numpy as np

import ranvier.nn as nn
import ranvier.serialization.architecture as architecture
import ranvier.serialization.few_bits as few_bits
import ranvier.serialization.files as files
from ranvier._core import __version__
from ranvier.autograd import wrap
from ranvier.extension import provider
from ranvier.serialization.files import Arrays, read_checkpoint
from ranvier.serialization.foreign_files import FileError
from ranvier.serialization.work import Work
from ranvier.tensors.reading import reading, shortened

PathLike = str | os.PathLike[str]
LINKS = ("softmax", "sigmoid", "identity")


class Info:
    """The information about a model in its file, besides the weights.

    Attributes:
        input_shape: shape of one sample, without the batch.
        class_names: the names of the labels 0, 1, ...
        preprocessing: a description of each transform before the model, for
            `rv.data.transforms.from_config`.
        link: the function from outputs to probabilities: "softmax", "sigmoid" or "identity"; None for a model
            without probabilities.
        version: the version of the library that wrote the file.
        feature_names: the names of the columns of a sample, in order.
        training_data: for a model of `ranvier train`: the checksum of its data file, the seed, the parts, the
            label, and how the file was read.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...] | None = None,
        class_names: list[str] | None = None,
        preprocessing: Sequence[dict[str, Any]] = (),
        link: str | None = None,
        version: str = __version__,
        feature_names: list[str] | None = None,
        training_data: dict[str, Any] | None = None,
    ) -> None:
        self.input_shape = input_shape
        self.class_names = class_names
        self.preprocessing = list(preprocessing)
        self.link = link
        self.version = version
        self.feature_names = feature_names
        self.training_data = training_data

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"Info({values})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Info) and vars(self) == vars(other)


def save(
    obj: Any,
    f: PathLike | BinaryIO,
    *,
    input_shape: Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
    preprocessing: Sequence[Any] | None = None,
    link: str | None = None,
    feature_names: Sequence[str] | None = None,
    training_data: dict[str, Any] | None = None,
    pickle_module: Any = None,
    pickle_protocol: int | None = None,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Save a model, a Tensor, or a (nested) dict or list of them such as a state dict, as a safetensors file.

    PyTorch's other keywords (pickle_protocol ...) have no effect: a file never has code. A path has the
    complete old or new file at any moment; a new file keeps the permissions of the old file (docs/memory.md
    has more). Any safetensors reader can open the file; the names of the weights are those of the state dict.
    A model is loaded in its mode, with the same parameters frozen, and without hooks. Tensors in dicts and
    lists keep requires_grad, and each is loaded with its own memory.

    Args:
        obj: a Module, or a Tensor, array, number, string or None, or dicts, lists and tuples of these.
        f: the path of the file; ".safetensors" is the usual ending. Or a file opened for writing bytes.
        input_shape: the shape of one sample. This and the following arguments are for models; a loaded model
            has them, too.
        class_names: the names of the labels 0, 1, ...
        preprocessing: the transforms (`rv.data.Standardize` ...) of the samples.
        link: the function from outputs to probabilities: "softmax", "sigmoid" or "identity".
        feature_names: the names of the columns of a sample; `ranvier predict` orders a table by them.
        training_data: what the model was trained on, as plain values; `ranvier evaluate` reads it.

    Raises TypeError: `obj` is or holds something that cannot be saved.

    >>> import pathlib, tempfile
    >>> import ranvier as rv
    >>> path = pathlib.Path(tempfile.mkdtemp(), "model.safetensors")
    >>> rv.save(rv.nn.Sequential(rv.nn.Linear(2, 3), rv.nn.ReLU()), path, class_names=["a", "b", "c"])
    >>> model = rv.load(path)
    >>> len(model), rv.serialization.info(model).class_names
    (2, ['a', 'b', 'c'])
    """
    arguments = locals()
    about = {name: arguments[name] for name in _ABOUT}
    if isinstance(obj, nn.Module):
        state = obj.state_dict()
        arrays: Arrays = {name: np.asarray(getattr(v, "_array", v)) for name, v in state.items()}
        document: dict[str, Any] = {"content": "model", "model": architecture.describe(obj)}
        document["tied"] = tied_names(obj)
        frozen = [name for name, p in obj.named_parameters() if not p.requires_grad]
        document |= {"frozen": frozen} if frozen else {}
        for name, convert in _ABOUT.items():
            if about[name] is None:
                value = getattr(info(obj), name)
            else:
                value = about[name]
            document[name] = None if value is None else convert(value)
    else:
        if any(value is not None for value in about.values()):
            *names, last = about
            raise TypeError(
                f"[save] got {', '.join(names)} or {last} with a {type(obj).__name__}; expected a Module"
            )
        _refuse_others(obj)
        arrays = {}
        document = {"content": "dict", "dict": files.encode(obj, arrays)}
    files.write(f, arrays, {"version": files.VERSION, "library": __version__, **document})


def _refuse_others(obj: Any) -> None:
    """Raise TypeError for an object that is saved in another way, with the way in the text."""
    name = type(obj).__name__
    if hasattr(obj, "get_params") and hasattr(obj, "fit"):
        raise TypeError(
            f"[save] got the estimator {name}, whose settings, labels and columns a model file does not "
            "have; expected pickle.dump(estimator, file) or joblib.dump(estimator, path) for all of it, or "
            "rv.save(estimator.module_, path) for its network"
        )
    if hasattr(obj, "predict") and hasattr(obj, "save"):
        raise TypeError(
            f"[save] got a {name}, which saves itself; expected {name.lower()}.save(path), or its network, "
            f"rv.save({name.lower()}.model, path)"
        )


def load(
    f: PathLike | BinaryIO,
    into: Any = None,
    *,
    map_location: Any = None,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    pickle_module: Any = None,
    dtype: Any = None,
    encoding: str = "utf-8",
) -> Any:
    """Load a file of `save` (a model made of our layers, a dict ...) or a file of PyTorch. Runs no code.

    For a safetensors file of another library, returns a dict of Tensors; for a checkpoint of
    `rv.Checkpoint`, the state of its run as a nested dict. A file above 16 MB is mapped: values are read at
    their first use, and a change of them copies the page of memory. The file may be replaced or removed, but
    other processes must not write into it (docs/memory.md).

    Files of PyTorch (.pt, .pth, .bin) are read without PyTorch: containers of any kind with tensors, which
    share memory as they did before.

    Args:
        f: the path of the file, or a file opened for reading bytes, from which the data of one `save` are
            read.
        into: a model to load the weights into (and return), also from a checkpoint; needed for a model with
            your own classes. Or a device, as PyTorch's second argument.
        map_location: as in PyTorch; all is loaded to the CPU.
        weights_only: False takes any object, such as a whole module, from a file of PyTorch. That runs code
            of the file: do it only if you trust the source of the file.
        mmap: True maps the tensors of a large file of PyTorch, which are then read at their first use.
        pickle_module, encoding: as in PyTorch, for weights_only=False.
        dtype: the dtype of the floating tensors of a file of PyTorch; None keeps the dtypes of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, of a newer version, or no model file (the message says what it is,
            for example a web page); or its model has a class that is not ours; or names or shapes do not fit
            `into`. As in PyTorch, the error about a file is a RuntimeError and a `pickle.UnpicklingError`,
            too, and for an empty file also an EOFError.

    >>> import pathlib, tempfile
    >>> import ranvier as rv
    >>> path = pathlib.Path(tempfile.mkdtemp(), "state.safetensors")
    >>> rv.save({"epoch": 3, "w": rv.ones(2)}, path)
    >>> rv.load(path)
    {'epoch': 3, 'w': tensor([1., 1.])}
    """
    if isinstance(into, (str, dict)) or (callable(into) and not isinstance(into, nn.Module)):
        into, map_location = None, into
    if into is not None and not isinstance(into, nn.Module):
        raise TypeError(f"[load] got into of type {type(into).__name__}; expected a Module")
    is_path = isinstance(f, (str, os.PathLike))
    if not is_path and not hasattr(f, "read"):
        raise TypeError(f"[load] got path {f!r}; expected a path or a file opened for reading bytes")
    begin, stream = files.begin_of(f)
    if files.is_pickled(begin):
        reader = provider("files of PyTorch")
        state = reader.load(stream, map_location, pickle_module, weights_only, mmap, dtype, encoding)
        if into is None:
            return state
        return _load_state(into, f"'{getattr(f, 'name', f)}'", state)
    if dtype is not None:
        raise ValueError(f"[load] got dtype {dtype} for a file of safetensors; expected None")
    return _load_path(f, into) if is_path else _load_stream(stream, into)  # type: ignore[arg-type]


def _load_path(path: PathLike, into: nn.Module | None, shown: str = "") -> Any:
    shown = shown or f"'{path}'"
    arrays, document = files.read(path, shown)
    if into is not None:
        return _load_into(into, path, shown, arrays, document)
    if document is None:
        return {name: wrap(array) for name, array in arrays.items()}
    with reading("load", path, FileError):
        try:
            return _content(path, shown, arrays, document)
        except ValueError as error:
            raise FileError(f"[load] {shown}: {error}") from None


def _content(path: PathLike, shown: str, arrays: Arrays, document: dict[str, Any]) -> Any:
    """What a file of `save`, or of a checkpoint, holds."""
    content = document.get("content")
    if content == "dict":
        return files.decode(document.get("dict"), arrays)
    if content == "model":
        return load_model(arrays, document)
    if content == "checkpoint":
        return read_checkpoint(path, shown=shown)
    raise ValueError(f"unknown content {content!r}")


def _load_stream(stream: BinaryIO, into: nn.Module | None) -> Any:
    """As :func:`load`, for an open file, from its present place."""
    import tempfile  # loads all compressions, and a file at a path needs none

    content = files.one_of(stream)
    name = getattr(stream, "name", None)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "file.safetensors")
        with open(path, "wb") as file:
            file.write(content)
        shown = f"'{name}'" if isinstance(name, str) else "the open file"
        return _load_path(path, into, shown)


def info(model_or_path: nn.Module | PathLike) -> Info:
    """The information besides the weights, of a file or of a model that was loaded from a file."""
    if isinstance(model_or_path, nn.Module):
        return getattr(model_or_path, "_info", Info())
    _, document = files.read(model_or_path)
    return _info(document or {})


# --- parts of save


def _link(name: str) -> str:
    if name not in LINKS:
        raise ValueError(f"[save] got link {name!r}; expected one of {', '.join(map(repr, LINKS))}")
    return name


def _step(transform: Any) -> dict[str, Any]:
    if isinstance(transform, dict):
        return transform
    if not hasattr(transform, "config"):
        raise TypeError(
            f"[save] got preprocessing of type {type(transform).__name__}; "
            "expected transforms with a config method"
        )
    return {"transform": type(transform).__name__, **transform.config()}


def _integers(shape: Sequence[int]) -> list[int]:
    return [int(n) for n in shape]


def _texts(names: Sequence[str]) -> list[str]:
    return [str(name) for name in names]


def _steps(transforms: Sequence[Any]) -> list[dict[str, Any]]:
    return [_step(transform) for transform in transforms]


_ABOUT: dict[str, Callable[[Any], Any]] = {  # an argument of `save` about a model -> what makes JSON of it
    "input_shape": _integers,
    "class_names": _texts,
    "preprocessing": _steps,
    "link": _link,
    "feature_names": _texts,
    "training_data": dict,
}


def _owners(model: nn.Module) -> list[tuple[str, Any]]:
    """(name, value) for all names of all parameters and buffers: a shared one has several names."""
    owners = []
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for name, value in (*module._parameters.items(), *module._buffers.items()):
            if value is not None:
                owners.append((prefix + name, value))
    return owners


def tied_names(model: nn.Module) -> dict[str, str]:
    """{name: first name} for the second and further names of shared parameters and buffers."""
    first: dict[int, str] = {}
    tied = {}
    for name, value in _owners(model):
        if first.setdefault(id(value), name) != name:
            tied[name] = first[id(value)]
    return tied


# --- parts of load


def _load_into(
    model: nn.Module, path: PathLike, shown: str, arrays: Arrays, document: dict[str, Any] | None
) -> nn.Module:
    """Loads the weights of a model file or of a checkpoint into a model."""
    about = document or {}
    state = arrays
    if about.get("content") == "checkpoint":
        state = read_checkpoint(path, shown=shown).get("model", {})
    if about.get("content") == "dict":
        with reading("load", path, FileError):
            state = files.decode(about.get("dict"), arrays)
    _load_state(model, shown, state)
    if document is not None:
        model._info = _info(document)
    return model


def _load_state(model: nn.Module, shown: str, state: Any) -> nn.Module:
    if isinstance(state, nn.Module):
        values = state.state_dict()
    else:
        values = state
    try:
        model.load_state_dict(values)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        why = few_bits.remedy(model, values) or error
        said = f"[load] {shown} does not fit the model of type {type(model).__name__}: {why}"
        raise ValueError(shortened(said)) from None
    return model


def load_model(arrays: Arrays, document: dict[str, Any]) -> nn.Module:
    node = document.get("model")
    elements = sum(array.size for array in arrays.values())
    architecture.require_sizes(node, elements)
    # The built layers may take more memory than the weights in the file: some weights are shared, and the
    # dtype may be wider. 4000 bytes per array are for the objects of layers, of which each new tensor takes
    # 1000 below; both are estimates.
    work = Work(4 * sum(array.nbytes for array in arrays.values()) + 4000 * len(arrays))
    try:
        # Layers need no starting values, because the values come from the file.
        with nn.init.skipped(lambda tensor: work.charge(tensor.nbytes + 1000)):
            model = architecture.build(node, work=work)
    except MemoryError:
        # A layer that is larger than the file is damage, and has its own error.
        architecture.require_sizes(node, elements, products=True)
        raise
    except ValueError:
        if work.left >= 0:
            raise
        raise ValueError("its layers ask for far more work or memory than its length allows") from None
    _retie(model, document.get("tied", {}))
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        array = arrays.get(name, tensor._array)
        if array.shape == tensor.shape and (array.dtype.kind == "f" or array.dtype == tensor._array.dtype):
            whole = tensor.is_contiguous()  # The file has contiguous arrays, so the tensor gets their memory.
            if not whole:
                array = np.empty_like(tensor._array, array.dtype)
            tensor._array = array
            tensor._cell.changed_last = array  # The cell would keep the first memory alive.
    try:
        model.load_state_dict(arrays)
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"weights and layers do not belong together: {error}") from None
    _freeze(model, document.get("frozen", []))
    model._info = _info(document)
    return model


def _freeze(model: nn.Module, names: Any) -> None:
    parameters = dict(model.named_parameters())
    if not isinstance(names, list) or any(not isinstance(n, str) or n not in parameters for n in names):
        raise ValueError("the list of frozen weights is damaged")
    for name in names:
        parameters[name].requires_grad_(False)


def _retie(model: nn.Module, tied: Any) -> None:
    places = dict(_owners(model))
    modules = dict(model.named_modules())
    if not isinstance(tied, dict):
        raise ValueError("the table of tied weights is damaged")
    for name, first in tied.items():
        owner, _, attribute = name.rpartition(".")
        if not isinstance(first, str) or not {name, first} <= places.keys() or owner not in modules:
            raise ValueError(f"weights '{name}' and '{first}' are said to be tied, but are not in the model")
        setattr(modules[owner], attribute, places[first])


def _info(document: dict[str, Any]) -> Info:
    shape = _list_at(document, "input_shape")
    input_shape = None if shape is None else tuple(shape)
    link = document.get("link")
    if link not in LINKS:
        link = None
    training_data = document.get("training_data")
    if not isinstance(training_data, dict):
        training_data = None
    return Info(
        input_shape=input_shape,
        class_names=_list_at(document, "class_names"),
        preprocessing=_list_at(document, "preprocessing") or [],
        link=link,
        version=str(document.get("library", "")),
        feature_names=_list_at(document, "feature_names"),
        training_data=training_data,
    )


def _list_at(document: dict[str, Any], key: str) -> list[Any] | None:
    """The list of a document under a key; None where there is none, or another type."""
    value = document.get(key)
    if isinstance(value, list):
        return value
    return None
