"""Pictures with matplotlib (the extra `plot`), which is imported when the first picture is drawn."""

from ranvier.plot.curves import history
from ranvier.plot.figure import require_matplotlib

__all__ = ["history", "require_matplotlib"]
