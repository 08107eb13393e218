"""torch.optim.lr_scheduler: in the mode the schedules say that they are of it, which programs compare."""

from __future__ import annotations

from ranvier.optim import lr_scheduler as _here
from ranvier.torch import is_installed

if is_installed():
    for _kind in vars(_here).values():
        if isinstance(_kind, type) and issubclass(_kind, _here.LRScheduler):
            _kind.__module__ = "torch.optim.lr_scheduler"
