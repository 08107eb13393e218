"""Every optimizer whose rule is one of the core."""

from ranvier import optim

KINDS = {name: getattr(optim, name) for name in optim.__all__ if getattr(getattr(optim, name), "_rule", "")}
