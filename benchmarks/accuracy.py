"""Errors of products and convolutions against a float64 reference, ours and the peers', on the same data.

python -m benchmarks.accuracy             prints the tables
python -m benchmarks.accuracy --write     puts them into docs/accuracy.md
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import ranvier as rv
from ranvier import _core
from reference import conv2d as reference

from benchmarks import marked
from benchmarks.peers.process import ROOT, Peer, PeerMissing, Peers

MATMULS = [
    (32, 784, 128),
    (64, 64, 64),
    (256, 256, 256),
    (1024, 1024, 1024),
    (1, 1024, 1024),
    (64, 4096, 512),
]
LAYERS = [  # n, c, h, w, k, r = s, stride, padding, groups
    (4, 1, 28, 28, 32, 3, 1, 0, 1),
    (2, 64, 56, 56, 64, 3, 1, 1, 1),
    (2, 128, 28, 28, 128, 3, 1, 1, 1),
    (2, 256, 14, 14, 256, 3, 1, 1, 1),
    (2, 512, 7, 7, 512, 3, 1, 1, 1),
    (2, 64, 56, 56, 256, 1, 1, 0, 1),
    (2, 3, 112, 112, 64, 7, 2, 3, 1),
    (2, 96, 56, 56, 96, 3, 1, 1, 96),
]
PAGE = ROOT / "docs" / "accuracy.md"
Errors = dict[str, tuple[float, float]]


def errors(found: Any, exact: np.ndarray) -> tuple[float, float]:
    """Root mean square and largest error, both over the root mean square of the exact values."""
    difference = np.asarray(found, exact.dtype) - exact
    scale = np.sqrt(np.mean(np.square(exact)))
    return float(np.sqrt(np.mean(np.square(difference))) / scale), float(np.abs(difference).max() / scale)


@contextmanager
def winograd(on: bool) -> Iterator[bool]:
    """With or without Winograd's algorithm; whether there is such a choice."""
    switch = getattr(rv, "set_winograd", None)
    if switch is None:
        yield False
        return
    switch(on)
    try:
        yield True
    finally:
        switch(True)


@contextmanager
def level(isa: str) -> Iterator[None]:
    before = _core.isa()
    _core.set_isa(isa)
    try:
        yield
    finally:
        _core.set_isa(before)


def theirs(
    peers: Peers, op: str, inputs: Mapping[str, np.ndarray], named: Mapping[str, Peer], exact: np.ndarray
) -> Errors:
    found: Errors = {}
    for label, peer in named.items():
        try:
            (answer,) = peers.get(peer, 1).prepare(label, op, inputs, peer.options)
        except PeerMissing:
            continue
        found[label] = errors(answer, exact)
        peers.get(peer, 1).forget(label)
    return found


def at_levels(call: Callable[[], Any], exact: np.ndarray, prefix: str = "ranvier") -> Errors:
    found = {}
    for isa in _core.supported_isas()[:2]:
        with level(isa):
            found[f"{prefix}, {isa}"] = errors(call(), exact)
    return found


def matmul_errors(peers: Peers, shape: tuple[int, int, int], dtype: str = "float32") -> Errors:
    m, k, n = shape
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    wide = np.float64 if dtype == "float32" else np.longdouble
    exact = a.astype(wide) @ b.astype(wide)
    found = at_levels(lambda: _core.matmul(a, b, None, "none", None), exact)
    named = {"numpy (OpenBLAS)": Peer("numpy"), "torch (MKL)": Peer("torch")}
    return {**found, **theirs(peers, "matmul", {"a": a, "b": b}, named, exact)}


def conv2d_errors(peers: Peers, layer: tuple[int, ...]) -> Errors:
    n, c, h, w, k, r, stride, padding, groups = layer
    rng = np.random.default_rng(0)
    shapes = {"x": (n, c, h, w), "w": (k, c // groups, r, r), "bias": (k,)}
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    settings = {"stride": stride, "padding": padding, "groups": groups}
    exact = reference.conv2d(*(a.astype(np.float64) for a in arrays.values()), **settings)

    def call() -> Any:
        return _core.conv2d(*arrays.values(), stride, padding, 1, groups)

    with winograd(False):
        found = at_levels(call, exact, "ranvier direct")
    direct = call_bits(call, on=False)
    if not np.array_equal(direct, call_bits(call, on=True)):  # else the shape has no Winograd kernel
        with winograd(True):
            found.update(at_levels(call, exact, "ranvier Winograd"))
    named = {
        "torch (oneDNN)": Peer("torch", settings),
        "torch (oneDNN), channels_last": Peer("torch", {**settings, "channels_last": True}),
    }
    return {**found, **theirs(peers, "conv2d", arrays, named, exact)}


def call_bits(call: Callable[[], Any], on: bool) -> np.ndarray:
    with winograd(on):
        return np.array(call())


def table(rows: Mapping[str, Errors]) -> list[str]:
    """Markdown: one row a case, "rms / largest" in units of 1e-7 (of 1e-16 where float64)."""
    names = list(dict.fromkeys(name for found in rows.values() for name in found))
    lines = ["| case | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for case, found in rows.items():
        unit = 1e-16 if "float64" in case else 1e-7
        cells = [f"{found[n][0] / unit:.2f} / {found[n][1] / unit:.1f}" if n in found else "" for n in names]
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return lines


def verdicts(matmuls: Mapping[str, Errors], convs: Mapping[str, Errors]) -> list[str]:
    """Our root mean square error over each peer's, and Winograd's over the direct kernel's."""
    lines = []
    for op, rows in (("matmul", matmuls), ("conv2d, direct", convs)):
        ratios: dict[str, list[float]] = {}
        for found in rows.values():
            ours = max(e[0] for name, e in found.items() if "ranvier" in name and "Winograd" not in name)
            for name, error in found.items():
                if "ranvier" not in name:
                    ratios.setdefault(name, []).append(ours / error[0])
        for name, each in ratios.items():
            lines.append(f"- {op}, our rms error over that of {name}: {min(each):.2f} to {max(each):.2f}.")
    factors = [
        error[0] / found[name.replace("Winograd", "direct")][0]
        for found in convs.values()
        for name, error in found.items()
        if "Winograd" in name
    ]
    if factors:
        lines.append(
            f"- Winograd's rms error over the direct kernel's: {min(factors):.2f} to {max(factors):.2f} "
            "(allowed: 2)."
        )
    return lines


def measure() -> list[str]:
    peers = Peers()
    try:
        matmuls = {"x".join(map(str, s)): matmul_errors(peers, s) for s in MATMULS}
        matmuls["256x256x256, float64"] = matmul_errors(peers, (256, 256, 256), "float64")
        convs = {
            "{},{},{},{} to {}, {}x{r}, stride {}, pad {}, groups {}".format(
                *layer, r=layer[5]
            ): conv2d_errors(peers, layer)
            for layer in LAYERS
        }
    finally:
        peers.close()
    return [*table(matmuls), "", *table(convs), "", *verdicts(matmuls, convs)]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    arguments, lines = parser.parse_args(), measure()
    if arguments.write:
        marked.write(PAGE, "python -m benchmarks.accuracy", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
