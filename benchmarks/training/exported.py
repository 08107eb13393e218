"""Networks on MNIST as C beside ranvier and ONNX Runtime.

``python -m benchmarks.training.exported --data FOLDER``, where FOLDER has MNIST's four files. An MLP and a
CNN are trained for some epochs, then written by ``rv.export.c`` in float32 and in int8 (calibrated on 1,000
training images) and compiled with ``-O3 -march=native``. Printed: the share of the 10,000 test images that
each gets right, and the time of one image, the median of rounds in which all take turns, on one thread.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ranvier as rv
from ranvier import nn

CALLS, ROUNDS = 200, 15


def networks() -> dict[str, nn.Module]:
    mlp = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    cnn = nn.Sequential(
        *(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(
            nn.Conv2d(16, 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(800, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        ),
    )
    return {"mlp": mlp, "cnn": cnn}


def compiled(model: nn.Module, folder: Path, name: str, **options: Any) -> Callable[[Any], Any]:
    """The exported file as a function of one image, and of many, one after the other."""
    rv.export.c(model, folder / f"{name}.c", rv.zeros(1, 1, 28, 28), **options)
    library = folder / f"{name}.so"
    command = [
        "cc",
        "-std=c99",
        "-O3",
        "-march=native",
        "-fPIC",
        "-shared",
        folder / f"{name}.c",
        "-lm",
        "-o",
        library,
    ]
    subprocess.run(command, check=True)
    function = getattr(ctypes.CDLL(str(library)), f"{name}_predict")
    result = np.empty(10, np.float32)
    target = ctypes.c_void_p(result.ctypes.data)

    def predict(x: Any) -> Any:
        function(ctypes.c_void_p(x.ctypes.data), target)
        return result

    return predict


def onnx_session(model: nn.Module, folder: Path) -> Callable[[Any], Any] | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    rv.onnx.export(model, (rv.zeros(1, 1, 28, 28),), folder / "net.onnx", input_names=["x"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "net.onnx"), options)
    return lambda x: session.run(None, {"x": x})[0][0]


def seconds(predict: Callable[[Any], Any], image: Any) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        predict(image)
    return (time.perf_counter() - start) / CALLS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of MNIST's files")
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    (x, y), (test_x, test_y) = rv.data.datasets.load_mnist(arguments.data)
    rv.manual_seed(0)
    for name, model in networks().items():
        rv.set_num_threads(2)
        trainer = rv.Trainer(model, loss="cross_entropy", optimizer="adam", lr=1e-3)
        trainer.fit(x, y, epochs=arguments.epochs, batch_size=64, verbose=0)
        model.eval()
        rv.set_num_threads(1)
        with tempfile.TemporaryDirectory() as temporary, rv.no_grad():
            folder = Path(temporary)
            fast = rv.compile(model)
            ways = {
                "ranvier": lambda image, fast=fast: fast(rv.tensor(image)).numpy()[0],
                "C, float32": compiled(model, folder, "net"),
                "C, int8": compiled(model, folder, "small", calibration=x[:1000]),
            }
            session = onnx_session(model, folder)
            if session is not None:
                ways["ONNX Runtime"] = session
            images = [np.ascontiguousarray(np.asarray(image, np.float32)[None]) for image in test_x]
            right = {
                way: np.mean([predict(i).argmax() for i in images] == test_y) for way, predict in ways.items()
            }
            times = [
                {way: seconds(predict, images[0]) for way, predict in ways.items()} for _ in range(ROUNDS)
            ]
        for way, share in right.items():
            median = np.median([row[way] for row in times])
            print(f"{name:4} {way:13} {100 * share:6.2f} % right {1e6 * median:8.1f} us an image")


if __name__ == "__main__":
    main()
