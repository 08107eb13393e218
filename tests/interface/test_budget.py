"""The lines of code of each package stay within packaging/budget.txt, and their sum within its total.

Blank lines, comments and docstrings do not count. A change that needs more lines raises its package's row and
lowers others by as many in the same commit. ``RANVIER_WRITE=1 pytest tests/interface/test_budget.py`` lowers
the rows, and the totals, to what is there.
"""

import ast
import io
import os
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / "packaging" / "budget.txt"
SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE}
SILENT |= {tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def python_lines(text):
    """The lines with code of a Python file."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in SILENT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        for part in body if isinstance(body, list) else []:
            if (
                isinstance(part, ast.Expr)
                and isinstance(part.value, ast.Constant)
                and isinstance(part.value.value, str)
            ):
                lines.difference_update(range(part.lineno, (part.end_lineno or part.lineno) + 1))
    return len(lines)


def cpp_lines(text):
    """The lines with code of a C++ file."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return sum(bool(re.sub(r"//.*", "", line).strip()) for line in text.splitlines())


def package_of(path):
    """The row of a file: python/ranvier/ops, cpp/kernels/matmul, tests ..."""
    parts = path.relative_to(ROOT).parts
    if parts[0] == "python":
        return "/".join(parts[:3]) if len(parts) > 3 else "python/ranvier"
    if parts[0] == "cpp":
        return "/".join(parts[: 3 if parts[1] == "kernels" and len(parts) > 3 else 2])
    return "tests"


def counted():
    """The lines of each package, and of each language."""
    counts = {}
    for folder, ending, count in (
        ("python/ranvier", "*.py", python_lines),
        ("cpp", "*.h", cpp_lines),
        ("cpp", "*.cpp", cpp_lines),
        ("tests", "*.py", python_lines),
    ):
        for path in sorted((ROOT / folder).rglob(ending)):
            number = count(path.read_text())
            for row in (package_of(path), f"all of {folder.partition('/')[0]}"):
                counts[row] = counts.get(row, 0) + number
    return counts


def budget():
    rows = (line.rsplit(None, 1) for line in FILE.read_text().splitlines() if line.strip())
    return {name: int(lines) for name, lines in rows}


@pytest.mark.skipif(not FILE.exists(), reason="the tests lie apart from the sources")
def test_each_package_is_within_its_budget():
    counts = counted()
    if os.environ.get("RANVIER_WRITE"):
        old = budget()
        rows = {name: min(lines, old.get(name, lines)) for name, lines in counts.items()}
        FILE.write_text("".join(f"{name:36} {lines:6}\n" for name, lines in sorted(rows.items())))
    allowed = budget()
    over = {
        name: (lines, allowed.get(name, 0)) for name, lines in counts.items() if lines > allowed.get(name, 0)
    }
    assert not over, f"(lines, budget): {over}; shorten these, or others by as many, and change {FILE.name}"


def test_only_lines_of_code_are_counted():
    text = (
        '"""Doc."""\n\nx = 1  # one\n# two\n\n\ndef f():\n    """Doc\n    more."""\n    return """a\n\nb"""\n'
    )
    assert python_lines(text) == 5
    assert cpp_lines("// one\n/* two\n   three */\nint x;  // four\n\n}\n") == 2
