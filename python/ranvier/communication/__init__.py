"""The processes that `mpirun` started: who they are, and how they exchange arrays.

`ranvier.distributed` has the public names. This package is below it, so that `nn` and `train` can use it.
"""

from __future__ import annotations
