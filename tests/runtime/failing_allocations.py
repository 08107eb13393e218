"""Allocations that fail one after another, in a program that `failing_malloc.c` is loaded into.

``python -m runtime.failing_allocations SUBJECTS KINDS POINTS`` lets the nth allocation of a call fail, then
the nth and all after it. It prints a line for each fault, and the number of points last.
"""

import copy
import ctypes
import faulthandler
import gc
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ranvier as rv
from ranvier import nn, optim
from ranvier.nn import functional as F
from support.run_call import EVERY, call_of, run
from support.training import X, Y, classifier

# fault: without memory for NumPy, lu ends with a SystemError
CALLS = [call for call in EVERY if call != ("ops", "lu")]
NEW = 4  # the kind of allocations by operator new
ALL_AFTER = 1 << 40

Made = tuple[Callable[[], Any], Callable[[], Any]]  # a call, and what may change in whole calls only
IMAGES = np.random.default_rng(3).normal(size=(6, 3, 9, 9)).astype(np.float32)
LABELS = np.arange(6) % 4


def bytes_of(value: Any) -> Any:
    """The values that are compared: the bits of all arrays."""
    if isinstance(value, rv.Tensor):
        value = value.numpy(force=True)
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, dict):
        return [(key, bytes_of(x)) for key, x in value.items()]
    return [bytes_of(x) for x in value] if isinstance(value, (list, tuple)) else repr(value)


def one_call(module: str, name: str) -> Made:
    arrays, attributes = copy.deepcopy(call_of(module, name))
    backward = module == "ops"
    try:
        run(module, name, arrays, attributes, backward)
    except RuntimeError:  # it has no derivative
        backward = False
    return lambda: run(module, name, arrays, attributes, backward), lambda: None


def training_step(model: nn.Module, x: Any, y: Any, make: Any, calls: int | None = None) -> Made:
    """An update; calls: captured, after so many calls."""
    optimizer = make(model.parameters())
    x, y = rv.tensor(x), rv.tensor(y)

    def step(x: rv.Tensor, y: rv.Tensor) -> rv.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def state() -> Any:
        return bytes_of([list(model.parameters()), optimizer.state_dict()["state"]])

    step(x, y)  # which makes the optimizer's state
    if calls is None:
        return lambda: step(x, y), state
    captured = rv.compile(step)
    for _ in range(calls):
        captured(x, y)
    return lambda: captured(x, y), state


def tables(**more: Any) -> Made:
    return training_step(classifier(nn.BatchNorm1d(8)), X, Y, lambda p: optim.Adam(p, lr=0.05), **more)


def images(**more: Any) -> Made:
    rv.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 4)
    )
    return training_step(model, IMAGES, LABELS, lambda p: optim.SGD(p, lr=0.1, momentum=0.9), **more)


def host_calls() -> Made:
    """A captured step with NumPy's functions in it."""
    captured = rv.compile(lambda x: rv.erf(x).floor() + x.flip(0).sort(1).values)
    x = rv.tensor(X)
    for _ in range(5):
        captured(x)
    return lambda: captured(x), lambda: None


def caught() -> Made:
    """A captured step with another answer where a product has no memory; it is not replayed later."""

    def step(x: rv.Tensor) -> rv.Tensor:
        try:
            return x @ x.T
        except MemoryError:
            return x.sum()

    captured, x = rv.compile(step), rv.tensor(X)

    def call() -> Any:
        y = captured(x)
        if y.ndim == 0:
            raise MemoryError
        return y

    return call, lambda: None


def fit(folder: Path) -> Made:
    """Three epochs with checkpoints. After an error, a trainer that resumes ends with the same weights."""

    def call() -> Any:
        model = classifier()
        trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.05))
        resume = folder if any(folder.glob("checkpoint-*")) else None
        trainer.fit(X, Y, epochs=3, batch_size=8, callbacks=[rv.Checkpoint(folder)], resume=resume)
        return list(model.parameters())

    return call, lambda: None


def batches() -> Made:
    data = rv.data.TensorDataset(rv.tensor(X), rv.tensor(Y))
    loader = rv.data.DataLoader(data, batch_size=7, shuffle=True)

    def call() -> Any:
        rv.manual_seed(3)
        return [tuple(batch) for batch in loader]

    return call, lambda: None


def save(folder: Path) -> Made:
    model, path = classifier(), folder / "model.safetensors"
    rv.save(model, path)
    first = path.read_bytes()
    with rv.no_grad():
        for p in model.parameters():
            p.mul_(2)
    rv.save(model, folder / "second.safetensors")
    second = (folder / "second.safetensors").read_bytes()
    path.write_bytes(first)

    def state() -> Any:
        return sorted(os.listdir(folder)), {first: "old", second: "new"}.get(path.read_bytes(), "broken")

    return lambda: rv.save(model, path), state


def load(folder: Path) -> Made:
    rv.save(classifier(), folder / "model.safetensors")
    return lambda: list(rv.load(folder / "model.safetensors").parameters()), lambda: None


def load_onnx(folder: Path) -> Made:
    path, x = folder / "model.onnx", rv.tensor(X)
    rv.onnx.export(classifier().eval(), (x,), path)
    return lambda: rv.onnx.load(path)(x), lambda: None


SUBJECTS: dict[str, Callable[[Path], Made]] = {
    "tables": lambda folder: tables(),
    "images": lambda folder: images(),
    **{f"captured-{n}": lambda folder, n=n: tables(calls=n) for n in (0, 1, 3, 4)},
    **{f"captured-images-{n}": lambda folder, n=n: images(calls=n) for n in (0, 1, 3, 4)},
    "host-calls": lambda folder: host_calls(),
    "caught": lambda folder: caught(),
    "fit": fit,
    "batches": lambda folder: batches(),
    "save": save,
    "load": load,
    "load-onnx": load_onnx,
    **{f"{m}.{name}": lambda folder, m=m, name=name: one_call(m, name) for m, name in CALLS},
}


class Failing:
    """The functions of the loaded library."""

    def __init__(self) -> None:
        library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self.off, self._on, self.left = library.failing_off, library.failing_on, library.failing_left
        self.failed, self.seen = library.failing_failed, library.failing_seen
        self._on.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_long]

    def run(self, kinds: int, first: int, last: int, call: Callable[[], Any]) -> tuple[Any, Any]:
        """The result and the exception of a call."""
        try:
            self._on(kinds, first, last)
            return call(), None
        except BaseException as error:
            return None, error.with_traceback(None)
        finally:
            self.off()


def is_of_memory(error: BaseException) -> bool:
    # A file's ValueError names it; an index of NumPy may give a SystemError that says nothing.
    return isinstance(error, MemoryError) or "MemoryError" in str(error) or isinstance(error, SystemError)


def faults_at(failing: Failing, make: Any, kinds: int, at: int, last: int, right: list[Any]) -> list[str]:
    """The fault, or "", if allocations at ... last - 1 of the call fail."""
    faults, error = [], None
    with tempfile.TemporaryDirectory() as folder:
        call, state = make(Path(folder))
        before = state()
        gc.collect()
        rv.empty_cache()
        value, error = failing.run(kinds, at, last, call)
        after = state()
        if error is None:
            if [bytes_of(value), after] != right[0]:
                faults.append("another result")
        elif not is_of_memory(error):
            faults.append(f"raised {error!r}")
        elif not failing.failed():
            faults.append("MemoryError though nothing failed")
        elif after != before:
            faults.append("a state that is neither old nor new" if after != right[0][1] else "changed")
        for expected in right[:2] if error else right[1:]:
            try:
                if [bytes_of(call()), state()] != expected:
                    faults.append("wrong afterwards")
            except Exception as later:
                faults.append(f"afterwards {later!r}")
    error = value = call = state = None
    gc.collect()
    rv.empty_cache()
    if failing.left():
        faults.append(f"{failing.left()} blocks are left")
    return faults


def right_calls(failing: Failing, make: Any, kinds: int) -> tuple[list[Any], int]:
    """The results and states of four calls where nothing fails; the allocations of the first."""
    with tempfile.TemporaryDirectory() as folder:
        call, state = make(Path(folder))
        gc.collect()
        rv.empty_cache()
        first, _ = failing.run(kinds, ALL_AFTER, ALL_AFTER, call)
        total = failing.seen()
        return [[bytes_of(first), state()], *([bytes_of(call()), state()] for _ in range(3))], total


def examine(name: str, kinds: int, most: int) -> int:
    """Prints the faults of a subject; at how many allocations it failed."""
    failing, make = Failing(), SUBJECTS[name]
    kinds &= ~NEW if make is load_onnx else ~0  # onnx's own checker dies
    for _ in range(2):  # the second time, what is imported and made once is there
        right, total = right_calls(failing, make, kinds)
        gc.freeze()  # the collections from here on look at new objects only
    points = sorted({int(x) for x in np.linspace(0, total - 1, most)}) if total > most else range(total)
    for at in points:
        for last in (at + 1, ALL_AFTER):
            for fault in faults_at(failing, make, kinds, at, last, right):
                print(
                    f"{name}: {fault} where {at}{'' if last == at + 1 else ' and all after'} of {total} fail"
                )
    return len(points)


if __name__ == "__main__":
    faulthandler.enable()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    warnings.simplefilter("ignore")
    names = [name for name in SUBJECTS if any(name.startswith(part) for part in sys.argv[1].split(","))]
    print(sum(examine(name, int(sys.argv[2]), int(sys.argv[3])) for name in names), "points")
