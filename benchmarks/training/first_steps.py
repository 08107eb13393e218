"""Memory of the first steps of a training, and of later ones: ``python -m benchmarks.training.first_steps``.

Each way (PyTorch, this library's eager step, its captured step) runs each network in fresh processes. The
base is the resident set after a step of another small network, when the parameters and the batch are there.
The peak of the first six steps has, of a captured step, the recording and the comparisons at calls 2 and 4.
Later come 16 more steps, of which two are compared, and then six of which none is: their peak, and what the
process has kept after them.

    python -m benchmarks.training.first_steps   # all, as a table of MB
    python -m benchmarks.training.first_steps captured unet   # one process, as JSON
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.process import ROOT, interpreter

FIRST, LATER, LAST = 6, 16, 6
WAYS = ("torch", "eager", "captured")
STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


def resident(field: str) -> int:
    """Bytes: VmRSS, now, or VmHWM, the most since `forget_peak`."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def forget_peak() -> None:
    RESET.write_text("5")


# --- the networks, written once for both libraries


def residual(library: Any) -> Any:
    nn = library.nn
    relu = nn.functional.relu

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
            self.norm1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
            self.norm2 = nn.BatchNorm2d(outputs)
            self.shortcut = nn.Identity()
            if stride > 1:
                narrowing = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
                self.shortcut = nn.Sequential(narrowing, nn.BatchNorm2d(outputs))

        def forward(self, x: Any) -> Any:
            y = relu(self.norm1(self.conv1(x)))
            y = self.norm2(self.conv2(y))
            return relu(y + self.shortcut(x))

    stem = nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()
    blocks = Block(32, 32, 1), Block(32, 64, 2), Block(64, 128, 2)
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def encoder(library: Any) -> Any:
    nn = library.nn

    class Classifier(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True)
            self.layers = nn.TransformerEncoder(layer, 4)
            self.head = nn.Linear(256, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.layers(x).mean(1))

    return Classifier()


def unet(library: Any) -> Any:
    nn = library.nn

    def double(inputs: int, outputs: int) -> Any:
        layers = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        return nn.Sequential(*layers)

    class UNet(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first = double(3, 32)
            self.second = double(32, 64)
            self.third = double(64, 128)
            self.pool = nn.MaxPool2d(2)
            self.up_second = nn.ConvTranspose2d(128, 64, 2, stride=2)
            self.back_second = double(128, 64)
            self.up_first = nn.ConvTranspose2d(64, 32, 2, stride=2)
            self.back_first = double(64, 32)
            self.head = nn.Conv2d(32, 1, 1)

        def forward(self, x: Any) -> Any:
            first = self.first(x)
            second = self.second(self.pool(first))
            third = self.third(self.pool(second))
            joined = library.cat([self.up_second(third), second], 1)
            second = self.back_second(joined)
            joined = library.cat([self.up_first(second), first], 1)
            return self.head(self.back_first(joined))

    return UNet()


def mlp(library: Any) -> Any:
    nn = library.nn
    hidden = nn.Linear(784, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU()
    return nn.Sequential(*hidden, nn.Linear(2048, 10))


def lstm(library: Any) -> Any:
    nn = library.nn

    class Classifier(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.LSTM(64, 256, 2, batch_first=True)
            self.head = nn.Linear(256, 10)

        def forward(self, x: Any) -> Any:
            states, _ = self.layers(x)
            return self.head(states[:, -1])

    return Classifier()


# name: title, what makes the network, the shape of its batch
NETWORKS: dict[str, tuple[str, Callable[[Any], Any], tuple[int, ...]]] = {
    "residual": ("residual network, 64x3x64x64", residual, (64, 3, 64, 64)),
    "encoder": ("encoder of 4 layers of 256, 16x128", encoder, (16, 128, 256)),
    "unet": ("U-Net, 16x3x96x96", unet, (16, 3, 96, 96)),
    "mlp": ("mlp 784-2048-2048-10, 512 rows", mlp, (512, 784)),
    "lstm": ("LSTM of 2 layers of 256, 64x100", lstm, (64, 100, 64)),
}


# --- one process


def training(library: Any, model: Any, loss_of: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    optimizer = library.optim.Adam(model.parameters(), lr=1e-3)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def batch_of(library: Any, network: str) -> tuple[Any, Any, Callable[[Any, Any], Any]]:
    """Inputs, targets and the loss."""
    shape = NETWORKS[network][2]
    rng = np.random.default_rng(0)
    x = library.from_numpy(rng.standard_normal(shape, dtype=np.float32))
    functional = library.nn.functional
    if network == "unet":
        images = rng.random((shape[0], 1, *shape[2:]), dtype=np.float32)
        return x, library.from_numpy(images), functional.mse_loss
    return x, library.from_numpy(rng.integers(0, 10, shape[0])), functional.cross_entropy


def measure(way: str, network: str) -> dict[str, float]:
    """MB over the base."""
    name = "torch" if way == "torch" else "ranvier"
    library: Any = importlib.import_module(name)
    for part in ("nn.functional", "optim"):
        importlib.import_module(f"{name}.{part}")
    library.set_num_threads(1)
    library.manual_seed(0)

    def step_of(model: Any, loss_of: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        step = training(library, model, loss_of)
        return library.compile(step) if way == "captured" else step

    # What the library loads or builds in the first step of a process is not counted.
    x, y, loss_of = batch_of(library, "mlp")
    warm = step_of(library.nn.Linear(784, 10), loss_of)
    for _ in range(FIRST):
        warm(x, y)
    x, y, loss_of = batch_of(library, network)
    step = step_of(NETWORKS[network][1](library), loss_of)
    gc.collect()
    base = resident("VmRSS")

    def peak_of(steps: int) -> float:
        forget_peak()
        for _ in range(steps):
            step(x, y)
        return (resident("VmHWM") - base) / 1e6

    found = {"first": peak_of(FIRST), "later": peak_of(LATER), "last": peak_of(LAST)}
    found["kept"] = (resident("VmRSS") - base) / 1e6
    if name == "ranvier":
        stats = library.memory_stats()
        found["peak in use"] = stats["peak_bytes_in_use"] / 1e6
        found["in use"] = stats["bytes_in_use"] / 1e6
        found["cached"] = stats["bytes_cached"] / 1e6
    return found


# --- all


def measured(way: str, network: str) -> dict[str, float]:
    """As `measure`, in a fresh process on one thread."""
    python = interpreter("torch") if way == "torch" else sys.executable
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    paths = [str(ROOT), *sys.path[1:]] if way != "torch" else [str(ROOT)]
    environment = {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths)}
    command = [python, "-m", "benchmarks.training.first_steps", way, network]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=ROOT)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def table() -> None:
    print("| MB over the base | way | six steps | later, compared | later, not compared | kept |")
    print("|---|---|---|---|---|---|")
    for network, (title, _, _) in NETWORKS.items():
        for way in WAYS:
            found = measured(way, network)
            cells = [f"{found[name]:.0f}" for name in ("first", "later", "last", "kept")]
            print(f"| {title} | {way} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measure(*sys.argv[1:])))
    else:
        table()
