"""The code that is built for each level: its symbols, and the rates that are measured.

No code compiled for AVX-512 may be the copy that an older CPU runs.

Every object compiled for an ISA level may define symbols in its own namespace and nothing else that another
object could pick up: an inline function of a shared header, compiled with AVX-512 and kept by the linker as
*the* copy, would crash an older CPU, and no test on a newer one would notice.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ranvier import _core

ROOT = Path(__file__).parents[2]


def isa_objects():
    """(level, object file) of the newest build tree under build/."""
    folders = sorted(ROOT.glob("build/*/CMakeFiles/ranvier_isa_*.dir"), key=lambda p: -p.stat().st_mtime)
    if not folders:
        return []
    return [
        (re.match(r"ranvier_isa_(as_v3|[^_]+)", folder.stem)[1], path)
        for folder in folders[0].parent.glob("ranvier_isa_*.dir")
        for path in folder.rglob("*.o")
    ]


def foreign_symbols(level, nm_output):
    """Symbols that an object defines for others to see, outside `ranvier::<level>::`."""
    # AddressSanitizer names each variable again
    namespace = rf"(__odr_asan\.)?_ZN?K?.*7ranvier{len(level)}{level}"
    for line in nm_output.splitlines():
        kind, name = line.split()[-2:]
        if kind in "tdbrNU" or kind == "w":  # local, or undefined
            continue
        if not re.match(namespace, name):
            yield f"{kind} {name}"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm of binutils")
def test_isa_objects_define_nothing_outside_their_namespace():
    objects = isa_objects()
    if not objects:
        pytest.skip("needs a build tree under build/ (cmake --preset dev && cmake --build build/dev)")
    for level, path in objects:
        out = subprocess.run(["nm", str(path)], capture_output=True, text=True, check=True).stdout
        assert out.strip(), path
        assert list(foreign_symbols(level, out)) == [], path


def test_the_check_sees_a_foreign_symbol():
    nm_output = "\n".join(
        [
            "0000000000000000 r _ZN7ranvier2v4L4tableE",
            "0000000000000000 R _ZN7ranvier2v420matmul_kernels_floatE",
            "                 U memcpy",
            "0000000000000000 W _ZN7ranvier5numelIfEElRKNS_10TensorViewIT_EE",
        ]
    )
    assert list(foreign_symbols("v4", nm_output)) == ["W _ZN7ranvier5numelIfEElRKNS_10TensorViewIT_EE"]


CLASS = re.compile(r"(?:template <.*> ?)?(?:struct|class|union) (\w+)[^;<]*\{")


def classes(text):
    """Qualified names of the classes that a file defines for others to see."""
    spaces = []
    for line in text.splitlines():
        if opened := re.match(r"namespace ?([\w:]*) ?\{", line):
            spaces.append(opened[1])
        elif re.match(r"\}\s*// namespace", line):
            spaces.pop()
        elif (found := CLASS.match(line)) and "" not in spaces:
            yield "::".join([*spaces, found[1]])


def test_a_class_has_one_definition():
    """Two classes of one name share one destructor, whichever the linker keeps: it took one for the other.

    What is compiled for an ISA level is left out: its functions are static.
    """
    defined = {}
    for path in sorted((ROOT / "cpp").rglob("*.*")):
        for name in classes(path.read_text()):
            if "RANVIER_ISA" not in name:
                defined.setdefault(name, []).append(path.name)
    assert len(defined) > 100
    assert {name: files for name, files in defined.items() if len(files) > 1} == {}


def test_the_check_sees_classes():
    text = "namespace a::b {\nstruct X;\nclass X final : Y {\n};\nnamespace {\nstruct Own {\n"
    text += "}  // namespace\nstruct Z {\n}  // namespace a::b\nunion U {\n"
    assert list(classes(text)) == ["a::b::X", "a::b::Z", "U"]


KIB = 1 << 10


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 3])
def test_fma_rate(isa: str, threads: Callable[[int], None], dtype: str, count: int) -> None:
    threads(count)
    assert 1e6 < _core.probe_fma(dtype, 1000) < 1e15


@pytest.mark.parametrize("kind", ["read", "read_write"])
@pytest.mark.parametrize("size", [1, 2 * KIB - 1, 2 * KIB, 1000 * KIB])
@pytest.mark.parametrize("count", [1, 3])
def test_bandwidth(isa: str, threads: Callable[[int], None], kind: str, size: int, count: int) -> None:
    threads(count)
    assert 1e6 < _core.probe_bandwidth(size, 10, kind) < 1e15


@pytest.mark.parametrize("count", [1, 2, 3])
def test_barrier(threads: Callable[[int], None], count: int) -> None:
    threads(count)
    assert 0 < _core.probe_barrier(100) < 10
