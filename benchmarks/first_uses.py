"""The first use of a part in a process beside the second: ``python -m benchmarks.first_uses [--rounds 11]``.

Each round runs every use in a new process, on one thread, and takes the processor's time in ms: of the first
call less that of the second, with what the first one loads. Data are made before. The command is a whole
process less one that imports ranvier. Bytecode is there from the first round, which does not count, as pip
leaves it. Shown are medians of the rounds, and the number of modules that the first call loads.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import ranvier as rv
from ranvier import nn

BEGIN = """
import sys
from time import process_time
import numpy as np, numpy.random
import ranvier as rv
x = np.random.default_rng(0).standard_normal((320, 20)).astype("f")
y = np.arange(320) % 3
"""
FIT = """
def use():
    from ranvier import nn
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 3))
    rv.Trainer(model, "cross_entropy", "adam").fit(x, y, epochs=1, verbose=False)
"""
COMPILED = """
from ranvier import nn
import ranvier.nn.functional as F
inputs, labels = rv.tensor(x[:32]), rv.tensor(y[:32])
def make():
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3))
    optimizer = rv.optim.Adam(model.parameters())
    def step():
        loss = F.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()
    return step
make()()
def use():
    rv.compile(make())()
"""
LOAD = """
def use():
    rv.load(sys.argv[1])
"""
ESTIMATOR = """
import warnings
import sklearn.neural_network
warnings.simplefilter("ignore")
def use():
    from ranvier.sklearn import MLPClassifier
    MLPClassifier(max_iter=1, batch_size=32).fit(x, y)
"""
PEER = ESTIMATOR.replace("from ranvier.sklearn import", "from sklearn.neural_network import")
END = """
before = len(sys.modules)
begin = process_time()
use()
first = process_time() - begin
loaded = len(sys.modules) - before
later = []
for _ in range(2):
    begin = process_time()
    use()
    later.append(process_time() - begin)
print(1e3 * (first - min(later)), loaded)
"""
USES = {
    "Trainer.fit": FIT,
    "a compiled step": COMPILED,
    "rv.load": LOAD,
    "MLPClassifier.fit": ESTIMATOR,
    "scikit-learn's MLPClassifier.fit": PEER,
}


def measured(program: str, model: str) -> tuple[float, float]:
    """(ms, modules) of the first use in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", program, model], check=True, capture_output=True, text=True, env=environment()
    )
    ms, modules = done.stdout.split()
    return float(ms), float(modules)


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}


def processor_ms(*arguments: str) -> float:
    """The processor's time of a whole process of Python."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def command_ms(model: str, rows: str) -> float:
    """`ranvier predict` less a process that imports ranvier."""
    predict = processor_ms("-m", "ranvier", "predict", model, rows)
    return predict - processor_ms("-c", "import ranvier")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder) / "model.safetensors")
        rows = str(Path(folder) / "rows.npy")
        rv.save(nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3)), model, input_shape=(4,))
        np.save(rows, np.zeros((5, 4), np.float32))
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in USES}
        commands = []
        for _ in range(rounds + 1):
            for name, use in USES.items():
                try:
                    found[name].append(measured(BEGIN + use + END, model))
                except subprocess.CalledProcessError:  # scikit-learn is not installed
                    found[name].append((float("nan"), float("nan")))
            commands.append(command_ms(model, rows))
    for name, results in found.items():
        ms, modules = (statistics.median(column) for column in zip(*results[1:], strict=True))
        print(f"{name:34} {ms:6.1f} ms   {modules:4.0f} modules")
    print(f"{'ranvier predict':34} {statistics.median(commands[1:]):6.1f} ms")


if __name__ == "__main__":
    main()
