"""`python -m ranvier.torch program.py ...`: a program for PyTorch, with this library in its place."""

from __future__ import annotations

import os
import runpy
import sys
from types import ModuleType, TracebackType
from zipfile import is_zipfile

from ranvier.torch import install

_USAGE = """usage: python -m ranvier.torch [--report] program.py [arguments ...]
       python -m ranvier.torch [--report] -m module [arguments ...]
       python -m ranvier.torch [--report] -c code [arguments ...]
       python -m ranvier.torch [--report] - [arguments ...]             code from stdin

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
    how = arguments[0]
    rest = arguments[1:]
    if how in ("-m", "-c") and not rest:
        sys.exit(f"python -m ranvier.torch: got {how} without its argument")
    if how[0] == "-" and how not in ("-", "-m", "-c"):
        sys.exit(f"python -m ranvier.torch: got the option {how}; expected --report, -m, -c, - or a program")
    install(report)
    sys.excepthook = _print_error
    if how == "-m":
        _require_program(rest[0])
        sys.argv = rest  # run_module writes the path of the module to its first place
        sys.path[0] = os.getcwd()
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif how in ("-c", "-"):
        code, file = (rest.pop(0), "<string>") if how == "-c" else (sys.stdin.read(), "<stdin>")
        sys.argv = [how, *rest]
        sys.path[0] = ""
        exec(compile(code, file, "exec"), _as_main())
    else:
        if not os.path.exists(how):
            sys.exit(f"python -m ranvier.torch: there is no file {how}")
        sys.argv = arguments
        path = os.path.abspath(how)
        if os.path.isdir(path) or is_zipfile(path):
            sys.path[0] = path
            runpy.run_path(path, run_name="__main__")
        else:
            sys.path[0] = os.path.dirname(path)
            with open(path, "rb") as source:
                exec(compile(source.read(), path, "exec"), _as_main(path))


def _require_program(module: str) -> None:
    if module in ("torch.distributed.run", "torch.distributed.launch"):
        sys.exit(f"{module}: ranvier leaves it out; expected mpirun -n 4 python -m ranvier.torch program.py")
    if module.partition(".")[0] in ("torch", "torchvision"):
        sys.exit(f"{module}: ranvier leaves it out")


def _print_error(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Prints an error without the frames that have started the program."""
    here = (os.path.dirname(os.path.abspath(__file__)), "<frozen runpy>")
    shown = traceback
    while shown is not None and shown.tb_frame.f_code.co_filename.startswith(here):
        shown = shown.tb_next
    sys.__excepthook__(kind, error.with_traceback(shown), shown)
    error.with_traceback(traceback)


def _as_main(file: str = "") -> dict[str, object]:
    """The names of a new module `__main__`, where classes that are pickled are found again."""
    sys.modules["__main__"] = module = ModuleType("__main__")
    if file:
        module.__file__ = file
    return vars(module)


if __name__ == "__main__":
    main()
