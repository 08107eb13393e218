"""Runs scripts, each in a fork of this process, which has loaded matplotlib and ranvier."""

import os
import runpy
import sys
import traceback

import matplotlib.pyplot  # noqa: F401
import ranvier  # noqa: F401


def run(script: str, out: str, folder: str, printed: str) -> None:
    file = os.open(printed, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(folder)
    sys.argv = [script, "--out", out]
    runpy.run_path(script, run_name="__main__")


for line in sys.stdin:  # script, --out, the folder to run in, the file for what it prints
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
    print(line.partition("\t")[0], os.waitpid(process, 0)[1], sep="\t", flush=True)
