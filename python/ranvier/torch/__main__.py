"""`python -m ranvier.torch program.py ...`: a program for PyTorch, with this library in its place."""

from __future__ import annotations

import os
import runpy
import sys
from types import ModuleType

from ranvier.torch import install

_USAGE = """usage: python -m ranvier.torch [--report] program.py [arguments ...]
       python -m ranvier.torch [--report] -m module [arguments ...]
       python -m ranvier.torch [--report] -c code [arguments ...]

Runs a program that is written for PyTorch, with ranvier in place of torch and torchvision. Nothing is
installed, and no file is changed. docs/unchanged.md says what works.

  --report   at the end, which names were missing, and which calls ran in NumPy
"""


def main() -> None:
    """Runs the program that the arguments of the process name, as Python would."""
    arguments = sys.argv[1:]
    report = arguments[:1] == ["--report"]
    arguments = arguments[report:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE, end="")
        sys.exit(0 if arguments else 2)
    how, rest = arguments[0], arguments[1:]
    if how in ("-m", "-c") and not rest:
        sys.exit(f"python -m ranvier.torch: got {how} without its argument")
    if how[0] == "-" and how not in ("-m", "-c"):
        sys.exit(f"python -m ranvier.torch: got the option {how}; expected --report, -m, -c or a program")
    install(report)
    if how == "-m":
        sys.argv = rest  # run_module writes the path of the module to its first place
        sys.path[0] = os.getcwd()
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif how == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path[0] = ""
        exec(compile(rest[0], "<string>", "exec"), _as_main())
    else:
        if not os.path.exists(how):
            sys.exit(f"python -m ranvier.torch: there is no file {how}")
        sys.argv = arguments
        sys.path[0] = how if os.path.isdir(how) else os.path.dirname(os.path.abspath(how))
        runpy.run_path(how, run_name="__main__")


def _as_main() -> dict[str, object]:
    """The names of a new module `__main__`, where classes that are pickled are found again."""
    sys.modules["__main__"] = module = ModuleType("__main__")
    return vars(module)


if __name__ == "__main__":
    main()
