"""Runs scripts, each in a fork of this process, which has loaded matplotlib and ranvier.

It reads a line for each script: its path, the value of --out, the folder to run in, and the file for what it
prints, with tabs between them. It answers with the path and the exit status.
"""

import os
import runpy
import sys
import traceback

import matplotlib.pyplot  # noqa: F401
import ranvier  # noqa: F401


def run(script: str, out: str, folder: str, printed: str) -> None:
    """Run a script in this process, which ends after it: its folder, arguments and output are changed."""
    file = os.open(printed, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(folder)
    sys.argv = [script, "--out", out]
    runpy.run_path(script, run_name="__main__")


for line in sys.stdin:
    process = os.fork()
    if process == 0:
        code = 1
        try:
            run(*line.rstrip("\n").split("\t"))
            code = 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    script, _, _ = line.partition("\t")
    _, status = os.waitpid(process, 0)
    print(script, status, sep="\t", flush=True)
