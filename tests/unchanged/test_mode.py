"""`python -m ranvier.torch`: programs run as with Python, and the processes that they start too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ranvier
from support.python import printed

_PACKAGES = str(Path(ranvier.__file__).parents[1])
_NOTE = "is in place of torch 2.13.0\n"


def run(*arguments: str, where: Path, stdin: str = "", code: int = 0, **variables: str) -> tuple[str, str]:
    """What a command writes to stdout and stderr, without the note of the mode."""
    environment = {**os.environ, "PYTHONPATH": _PACKAGES, **variables}
    environment.pop("RANVIER_IN_PLACE_OF_TORCH", None)
    command = [sys.executable, "-m", "ranvier.torch", *arguments]
    done = subprocess.run(
        command, cwd=where, env=environment, input=stdin, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr.partition(_NOTE)[2]


def test_a_program_has_its_arguments_its_folder_and_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "beside.py").write_text("import torch\ntwo = torch.ones(2).sum()\n")
    (tmp_path / "inner" / "program.py").write_text(
        "import sys, pickle, beside\n"
        "class Kept: pass\n"
        "pickle.loads(pickle.dumps(Kept()))\n"
        "print(beside.two, sys.argv[1:], __name__, __file__)\n"
        "sys.exit(3)\n"
    )
    out, errors = run("inner/program.py", "-m", "--report", where=tmp_path, code=3)
    assert out == f"tensor(2.) ['-m', '--report'] __main__ {tmp_path}/inner/program.py\n"
    assert not errors


def test_modules_folders_code_and_stdin_run(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "inner.py").write_text("import torch\n")
    (tmp_path / "package" / "__main__.py").write_text("from .inner import torch\nprint(torch.__name__)\n")
    (tmp_path / "__main__.py").write_text("import torch\nprint(torch.__name__)\n")
    assert run("-m", "package", where=tmp_path)[0] == "torch\n"
    assert run(".", where=tmp_path)[0] == "torch\n"
    code = "import torch, sys; print(torch.__name__, sys.argv)"
    assert run("-c", code, "x", where=tmp_path)[0] == "torch ['-c', 'x']\n"
    assert run("-", "x", where=tmp_path, stdin=code)[0] == "torch ['-', 'x']\n"


def test_an_error_is_shown_from_the_first_line_of_the_program(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import torch\n1 / 0\n")
    _, errors = run("program.py", where=tmp_path, code=1)
    assert errors.splitlines()[1].strip() == f'File "{tmp_path}/program.py", line 2, in <module>'
    assert errors.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.py"], "there is no file nothing.py"),
        (["-x"], "got the option -x"),
        (["-m"], "got -m without its argument"),
        (["-m", "torch.distributed.run", "program.py"], "expected mpirun -n 4 python"),
        (["-m", "torch.utils.collect_env"], "ranvier leaves it out"),
    ],
)  # fmt: skip
def test_what_cannot_be_run(arguments: list[str], message: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ranvier.torch", *arguments]
    environment = {**os.environ, "PYTHONPATH": _PACKAGES}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr


_PROCESSES = """
import concurrent.futures, multiprocessing, subprocess, sys
import joblib, torch

def version(i):
    import torch
    return torch.__version__[6:], float(torch.ones(i).sum())

class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return torch.tensor([float(i)])

if __name__ == "__main__":
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.map(version, [2]))
    print(joblib.Parallel(2)(joblib.delayed(version)(i) for i in [2]))
    print([batch.tolist() for batch in torch.utils.data.DataLoader(Numbers(), 4, num_workers=1)])
    subprocess.run([sys.executable, "-c", "import torch; print(torch.__version__[6:])"])
"""


def test_processes_that_a_program_starts_have_this_library_too(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    (tmp_path / "program.py").write_text(_PROCESSES)
    out, errors = run("program.py", where=tmp_path)
    ours = f"ranvier{ranvier.__version__}"
    lines = [f"[('+{ours}', 2.0)]"] * 3 + ["[[[0.0], [1.0], [2.0], [3.0]]]", f"+{ours}"]
    assert out.splitlines() == lines, errors


_ASKS = """
import torch
hasattr(torch, "only_looked_for")
try:
    from torch.nn import OnlyTried
except ImportError:
    pass
x = torch.zeros(3)
x.put_(torch.tensor([1]), torch.ones(1))
torch.nn.Missing
"""


def test_a_report_tells_missing_names_from_probes_and_counts_calls_of_numpy(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(_ASKS)
    _, errors = run("--report", "program.py", where=tmp_path, code=1)
    lines = errors[errors.index("names that") :].splitlines()
    assert lines[:5] == [
        "names that ranvier does not have:",
        f"  torch.nn.Missing  {tmp_path}/program.py:10",
        "and names that the program only looked for:",
        "  torch.nn.OnlyTried",
        "  torch.only_looked_for",
    ]
    calls = lines[lines.index("calls that ran in NumPy:") :]
    assert any(line.endswith(" write.put") for line in calls)


def test_a_report_of_a_program_that_misses_nothing(tmp_path: Path) -> None:
    _, errors = run("--report", "-c", "import torch; torch.ones(2) + 1", where=tmp_path)
    assert errors.split("\n")[:2] == ["names that ranvier does not have:", "  none"]


def test_a_notebook_loads_it_again() -> None:
    code = """
import importlib, ranvier.torch as extension
extension.load_ipython_extension(None)
import torch
importlib.reload(extension).load_ipython_extension(None)
print(torch.ones(1).tolist())
"""
    assert printed("-c", code) == "[1.0]\n"
