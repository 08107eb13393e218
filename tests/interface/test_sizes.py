"""Files have at most 400 lines, functions at most 60, without their docstrings (CONTRIBUTING.md)."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = [path for folder in ("python/ranvier", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
CPP = [path for ending in ("*.h", "*.cpp") for path in sorted((ROOT / "cpp").rglob(ending))]


def python_functions(text):
    """The name of each function and the lines of its body."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[ast.get_docstring(node, clean=False) is not None :] or node.body
            yield node.name, node.end_lineno - first[0].lineno + 1


def cpp_functions(text):
    """The first line of each function and the number of its lines.

    In a formatted file a function ends with a brace alone in its line, and all lines between are indented
    further.
    """
    lines = text.splitlines()
    for last, line in enumerate(lines):
        if line.strip() == "}":
            inner, first = line.replace("}", " "), last - 1
            while first and (not lines[first] or lines[first].startswith((inner, "#"))):
                first -= 1
            yield lines[first].strip(), last - first + 1


def test_files_have_at_most_400_lines_and_functions_60():
    for path in PYTHON + CPP:
        text, name = path.read_text(), path.relative_to(ROOT).as_posix()
        assert text.count("\n") <= 400, name
        functions = python_functions(text) if path.suffix == ".py" else cpp_functions(text)
        assert not [one for one in functions if one[1] > 60], name


def test_lines_of_functions_are_counted():
    python = 'def f(\n    x,\n):\n    """Doc\n    more."""\n    if x:\n        return 1\n'
    assert list(python_functions(python)) == [("f", 2)]
    cpp = "int f(int a,\n      int b) {\n#if X\n  if (a) {\n    g();\n  }\n#endif\n\n  b;\n}\n"
    assert list(cpp_functions(cpp)) == [("if (a) {", 3), ("int f(int a,", 10)]
