"""A run on some ranks of one thread each, of ranvier or torch: ``python -m benchmarks.distributed.jobs``.

It prints one line of JSON: the seconds of a step, and the mean loss of the last epoch. All ranks have the
same data in memory. The first epoch, which compiles and warms up, is not counted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from typing import Any

import numpy as np

LR = 0.001
NETWORKS = {  # sizes of linear layers, or the channels of two convolutions; samples of an epoch
    "mlp 128": ((784, 128, 64, 10), 8192),
    "cnn 128": ("cnn", 2048),
    "mlp of 2 million": ((784, 1024, 1152, 10), 2048),
}


def data(samples: int, image: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, 784)).astype(np.float32)
    y = (x @ rng.normal(size=(784, 10))).argmax(1)
    return (x.reshape(-1, 1, 28, 28) if image else x), y


def build(nn: Any, shape: Any) -> Any:
    """The network, from ranvier's or torch's layers."""
    if shape == "cnn":
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )
    layers: list[Any] = []
    for inputs, outputs in itertools.pairwise(shape):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def ranvier(
    shape: Any, x: np.ndarray, y: np.ndarray, batch: int, epochs: int, mode: str, shards: int
) -> list[float]:
    import ranvier as rv

    rv.manual_seed(0)
    settings: dict[str, Any] = {}
    if mode != "alone":
        settings = {"distributed": True, "deterministic": mode == "deterministic", "shards": shards}
    model = build(rv.nn, shape)
    trainer = rv.Trainer(model, "cross_entropy", "adam", lr=LR, **settings)
    trainer.fit(x, y, epochs=1, batch_size=batch, verbose=0)
    start = time.perf_counter()
    history = trainer.fit(x, y, epochs=epochs, batch_size=batch, verbose=0)
    return [(time.perf_counter() - start) / epochs, history["loss"][-1]]


def torch(
    shape: Any, x: np.ndarray, y: np.ndarray, batch: int, epochs: int, mode: str, shards: int
) -> list[float]:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model: Any = build(torch.nn, shape)
    ranks, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if mode != "alone":
        dist.init_process_group("gloo")
        model = torch.nn.parallel.DistributedDataParallel(model)
    loss, optimizer = torch.nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=LR)
    xs, ys, value = torch.from_numpy(x), torch.from_numpy(y), None

    def epoch() -> float:
        total = 0.0
        for chosen in torch.randperm(len(xs)).split(batch):
            ours = chosen.chunk(ranks)[rank]
            optimizer.zero_grad()
            value = loss(model(xs[ours]), ys[ours])
            value.backward()
            optimizer.step()
            total += value.item()
        return total / (len(xs) // batch)

    epoch()
    start = time.perf_counter()
    for _ in range(epochs):
        value = epoch()
    seconds = (time.perf_counter() - start) / epochs
    if mode != "alone":
        dist.destroy_process_group()
    return [seconds, value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=("ranvier", "torch"))
    parser.add_argument("network", choices=list(NETWORKS))
    parser.add_argument("batch", type=int)
    parser.add_argument("mode", choices=("alone", "deterministic", "free"))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--shards", type=int, default=8)
    a = parser.parse_args()
    shape, samples = NETWORKS[a.network]
    x, y = data(samples, shape == "cnn")
    seconds, loss = globals()[a.library](shape, x, y, a.batch, a.epochs, a.mode, a.shards)
    if not np.isfinite(loss) or loss > 3:
        raise SystemExit(f"{a.library} has a loss of {loss}")
    rank = int(os.environ.get("RANK", os.environ.get("OMPI_COMM_WORLD_RANK", 0)))
    if rank == 0:
        print(json.dumps([seconds / (samples // a.batch), loss]), flush=True)


if __name__ == "__main__":
    main()
