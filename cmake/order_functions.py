"""Write an order of the functions of object files in which similar ones are neighbours.

python cmake/order_functions.py ORDER LIST...

A wheel is compressed with deflate, which looks back 32 KB. The linker gets ORDER, the names of the functions'
sections; each LIST has the paths of objects (ELF, 64 bits). Similar means: with many runs of four bytes in
common, rare ones above all.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

RUN = 4  # bytes
HALF = 10_000  # bytes of code after which a function counts half as much
SECTION = np.dtype(
    [
        ("name", "u4"),
        ("type", "u4"),
        ("flags", "u8"),
        ("address", "u8"),
        ("offset", "u8"),
        ("size", "u8"),
        ("rest", "V24"),
    ]
)


def functions(path: str) -> dict[str, bytes]:
    """The contents of an object's sections of functions."""
    data = Path(path).read_bytes()
    start = int.from_bytes(data[40:48], "little")
    count, names = np.frombuffer(data, "u2", 2, 60)
    sections = np.frombuffer(data, SECTION, count, start)
    text = data[sections[names]["offset"] :]
    named = {
        text[s["name"] : text.index(0, s["name"])].decode(): data[s["offset"] :][: s["size"]]
        for s in sections
    }
    return {name: body for name, body in named.items() if name.startswith(".text.") and body}


def ordered(bodies: list[bytes]) -> list[int]:
    n, sizes = len(bodies), np.array([len(body) for body in bodies])
    codes = []
    for body in bodies:
        padded = np.frombuffer(body + bytes(RUN), np.uint8)[: len(body) + RUN - 1].astype(np.uint32)
        codes.append(np.unique(sum(padded[k : len(padded) - RUN + 1 + k] << (8 * k) for k in range(RUN))))
    of = np.repeat(np.arange(n), [len(c) for c in codes])
    _, run, times = np.unique(np.concatenate(codes), return_inverse=True, return_counts=True)
    telling = (times[run] >= 2) & (times[run] < n / 8)
    of, run = of[telling], run[telling]
    runs = np.split(run, np.searchsorted(of, np.arange(1, n)))  # of each function
    holders = of[
        np.argsort(run, kind="stable")
    ]  # the functions that have run 0, then those that have run 1, ...
    begin = np.searchsorted(np.sort(run), np.arange(len(times)))
    weight = np.log(n / times)

    order: list[int] = []
    left, score, scale = np.ones(n, bool), np.zeros(n), np.maximum(sizes, 200) ** 1.5
    while len(order) < n:
        best = np.where(left, score / scale, -1)
        last = int(best.argmax()) if best.max() > 0 else int(np.where(left, sizes, -1).argmax())
        order.append(last)
        left[last] = False
        r = runs[last]
        ends = np.cumsum(times[r])
        at = np.arange(ends[-1] if len(r) else 0) + np.repeat(begin[r] - ends + times[r], times[r])
        shared = np.bincount(holders[at], np.repeat(weight[r], times[r]), n)
        score = score * 0.5 ** (sizes[last] / HALF) + shared**3
    return order


if __name__ == "__main__":
    target, *lists = map(Path, sys.argv[1:])
    sections: dict[str, bytes] = {}
    for path in " ".join(file.read_text() for file in lists).split():
        sections = functions(path) | sections
    names = sorted(sections)
    target.write_text("".join(names[i] + "\n" for i in ordered([sections[name] for name in names])))
