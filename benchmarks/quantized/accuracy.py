"""What weights of 8 and 4 bits cost in accuracy: ``python -m benchmarks.quantized.accuracy [--write]``.

Networks are trained in float32 from several seeds, then `rv.quantize` makes each form of them. Beside them is
ONNX Runtime: the network in float32 by `rv.onnx.export`, then `quantize_dynamic` with a scale for each column
(per_channel); its convolutions become integers, too. "quantized": the share of the weights that rv.quantize
takes. A cell is the mean over the seeds of the difference to float32 in points, hundredths of an accuracy or
of R^2, and the standard deviation of it. Encoders of sentences carry the weights of a package: cells are
cosines of the embeddings with float32's, the mean and the lowest. What is not installed or given is left out
with a message.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ranvier as rv

from benchmarks import marked
from benchmarks.quantized import networks
from benchmarks.quantized.networks import Array, Task

FORMS: dict[str, dict[str, Any]] = {
    "int8, group=None": {"dtype": "int8", "group": None},
    "int8": {"dtype": "int8"},
    "int4": {"dtype": "int4"},
}
ORT = "ONNX Runtime, int8"
TABLES = ("iris", "wine", "breast_cancer", "digits", "diabetes")
PAGE = networks.DOCS / "quantized.md"


def outputs(task: Task, model: Any) -> Array:
    with rv.no_grad():
        return np.concatenate([model(*map(rv.from_numpy, batch)).numpy() for batch in task.batches])


def quantized_by_onnxruntime(task: Task, names: list[str], folder: str) -> str:
    """A file of the network whose weights quantize_dynamic rounds to int8."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.preprocess import quant_pre_process

    axes = {0: "batch", 1: "length"} if task.lengths else {0: "batch"}
    whole, ready, small = (f"{folder}/{name}.onnx" for name in ("float32", "ready", "int8"))
    dynamic = dict.fromkeys(names, axes)
    rv.onnx.export(task.model, task.batches[0], whole, input_names=names, dynamic_axes=dynamic)
    # transposed weights become constants, which alone are quantized
    quant_pre_process(whole, ready, skip_symbolic_shape=True)
    graph = onnx.load(ready).graph
    shapes = {weight.name: len(weight.dims) for weight in graph.initializer}
    stacks = [
        node.name for node in graph.node if node.op_type == "MatMul" and shapes.get(node.input[1], 2) > 2
    ]
    quantize_dynamic(ready, small, per_channel=True, weight_type=QuantType.QInt8, nodes_to_exclude=stacks)
    return small


def outputs_of_onnxruntime(task: Task) -> Array:
    import onnxruntime

    names = [f"input_{i}" for i in range(len(task.batches[0]))]
    with tempfile.TemporaryDirectory() as folder:
        file = quantized_by_onnxruntime(task, names, folder)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        found = [session.run(None, dict(zip(names, batch, strict=True)))[0] for batch in task.batches]
    return np.concatenate(found)


def all_outputs(task: Task) -> dict[str, Array]:
    """Of each form, float32 first."""
    found = {"float32": outputs(task, task.model)}
    for name, form in FORMS.items():
        found[name] = outputs(task, rv.quantize(task.model, **form))
    try:
        found[ORT] = outputs_of_onnxruntime(task)
    except ImportError as missing:
        print(f"left out: {missing}")
    return found


def share(model: rv.nn.Module) -> float:
    """Of the weights, those that rv.quantize takes: what it leaves are the parameters of its copy."""
    left = sum(p.numel() for p in rv.quantize(model, "int8").parameters())
    return 1 - left / sum(p.numel() for p in model.parameters())


def differences(name: str, tasks: Callable[[int], Task], seeds: int) -> str:
    """A row: the score in float32, and what each form adds to it."""
    scores: dict[str, list[float]] = {}
    for seed in range(seeds):
        task = tasks(seed)
        assert task.score is not None
        for form, values in all_outputs(task).items():
            scores.setdefault(form, []).append(100 * task.score(values))
    whole = np.array(scores["float32"])
    cells = [name, f"{share(task.model):.0%}", f"{whole.mean():.2f} ± {whole.std(ddof=1):.2f}"]
    for form in (*FORMS, ORT):
        if form not in scores:
            cells.append("")
            continue
        found = np.array(scores[form]) - whole
        mean = round(float(found.mean()), 2) + 0.0  # no -0.00
        cells.append(f"{mean:+.2f} ± {found.std(ddof=1):.2f}")
    return f"| {' | '.join(cells)} |"


def cosines(name: str, task: Task) -> str:
    """A row: the mean and the lowest cosine of each form's embeddings with those of float32."""
    found = all_outputs(task)
    cells = [name, f"{share(task.model):.0%}"]
    for form in (*FORMS, ORT):
        if form not in found:
            cells.append("")
            continue
        cosine = (found[form] * found["float32"]).sum(1)
        cells.append(f"{cosine.mean():.5f} ({cosine.min():.4f})")
    return f"| {' | '.join(cells)} |"


def head(*columns: str) -> list[str]:
    cells = [*columns, *FORMS, ORT]
    return [f"| {' | '.join(cells)} |", "|---" * len(cells) + "|"]


def scored(settings: argparse.Namespace) -> Iterator[str]:
    """The table of networks that are trained."""
    tasks: dict[str, Callable[[int], Task]] = {"digits, convolutions": networks.digits_cnn}
    if settings.mnist is None:
        print("left out: MNIST; --mnist FOLDER names the folder of its four files")
    else:
        tasks["MNIST, 784-512-256-10"] = networks.mnist_mlp(settings.mnist)
    tasks |= {
        f"{name}, {'R^2' if name == 'diabetes' else 'a table'}": networks.table(name) for name in TABLES
    }
    yield from head(f"points, {settings.seeds} seeds", "quantized", "float32")
    for name, task in tasks.items():
        if settings.part in name:
            yield differences(name, task, settings.seeds)


def compared(settings: argparse.Namespace) -> Iterator[str]:
    """The table of encoders with weights of a package."""
    tasks = {"all-MiniLM-L6-v2": networks.minilm, "WordLlama, an Embedding": networks.wordllama}
    yield from head("cosine, mean (lowest)", "quantized")
    for name, task in tasks.items():
        if settings.part in name:
            try:
                yield cosines(name, task(0))
            except ModuleNotFoundError as missing:
                print(f"left out: {name}: {missing}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=Path, help="the folder of MNIST's four files")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("-k", dest="part", default="", help="only rows whose name contains this")
    parser.add_argument("--write", action="store_true", help="the tables into docs/quantized.md")
    settings = parser.parse_args()
    for mark, rows in (("accuracy", scored(settings)), ("cosines", compared(settings))):
        lines = []
        for line in rows:
            print(line, flush=True)
            lines.append(line)
        if settings.write:
            marked.write(PAGE, f"{mark}: python -m benchmarks.quantized.accuracy", lines)


if __name__ == "__main__":
    main()
