"""torch.version: the version, and no CUDA."""

from ranvier._core import __version__ as __version__

cuda = hip = None
