"""Switches a Python mutant on in the processes that a test starts: this folder is on their PYTHONPATH."""

import os

if os.environ.get("RANVIER_MUTANT"):
    from mutation.switch import mutate_imports

    mutate_imports(int(os.environ["RANVIER_MUTANT"]))
