"""Which files are a part, how many mutants are drawn from it, and which tests try them."""

from __future__ import annotations

from dataclasses import dataclass

# A group of tests is collected once, and each of its mutants is tried in a fork.
GROUPS: dict[str, tuple[str, ...]] = {
    "kernels": ("tests/kernels", "tests/runtime"),
    "ops": ("tests/ops", "tests/inputs/test_wrong_input.py"),
    "compile": ("tests/compile",),
}


@dataclass(frozen=True)
class Part:
    name: str
    files: tuple[str, ...]  # globs below the root
    count: int  # mutants drawn
    groups: tuple[str, ...]  # tried in this order
    extra: bool = False  # drawn besides, from files of other parts: not counted in the whole


PARTS = (
    Part("kernels", ("cpp/kernels/**/*.cpp", "cpp/kernels/**/*.h"), 130, ("kernels", "ops", "compile")),
    Part("base", ("cpp/base/*.cpp", "cpp/base/*.h", "cpp/simd/*.h"), 25, ("kernels", "ops", "compile")),
    Part("program", ("cpp/program/*.cpp", "cpp/program/*.h"), 45, ("compile",)),
    Part("bindings", ("cpp/bindings/*.cpp", "cpp/bindings/*.h"), 45, ("kernels", "ops", "compile")),
    # What decides whether a compiled step may be replayed.
    Part("guards", ("cpp/bindings/guards*", "cpp/bindings/array_program*"), 35, ("compile",), extra=True),
)
