"""The layers of the core: no C++ file includes one of a higher folder."""

import re
from pathlib import Path

import pytest

CPP = Path(__file__).parents[2] / "cpp"

# From the lowest layer to the highest; folders in one line do not include each other. "bindings" are the
# files directly in that folder.
LAYERS = """
    base
    simd
    kernels
    program
    bindings/binder
    bindings/tensors
    bindings/tape
    bindings/replay
    bindings/ops bindings/ranks
    bindings
"""
RANK = {folder: rank for rank, line in enumerate(LAYERS.split("\n")) for folder in line.split()}


def folder(file):
    """The layer's folder of a file, named from cpp/ on."""
    parts = Path(file).parts
    in_room = parts[0] == "bindings" and len(parts) > 2
    return "/".join(parts[:2]) if in_room else parts[0]


def upward(files):
    """The includes of a folder in the same or a higher layer: (file, included file). files: text by name."""
    found = []
    for name, text in files.items():
        for included in re.findall(r'^#\s*include "([^"]+)"', text, re.MULTILINE):
            if folder(name) != folder(included) and RANK[folder(name)] <= RANK[folder(included)]:
                found.append((name, included))
    return found


def test_layers_of_the_core():
    paths = [path for path in CPP.rglob("*") if path.suffix in (".h", ".cpp")]
    files = {path.relative_to(CPP).as_posix(): path.read_text() for path in paths}
    assert {folder(name) for name in files} == RANK.keys()
    assert upward(files) == []


@pytest.mark.parametrize(
    ("file", "included"),
    [
        ("bindings/tensors/tensors.cpp", "bindings/tape/tape.h"),
        ("bindings/tape/tape.cpp", "bindings/replay/guards.h"),
        ("bindings/ops/bind_conv2d.cpp", "bindings/ranks/rank_sum.h"),
        ("kernels/copy/copy.cpp", "program/invoke.h"),
        ("simd/vec.h", "kernels/copy/copy.h"),
    ],
)
def test_an_include_of_a_higher_folder_is_seen(file, included):
    assert upward({file: f'#include "base/isa.h"\n#include "{included}"\n'}) == [(file, included)]
