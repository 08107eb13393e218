"""Pictures with matplotlib (the extra `plot`), which is imported when the first picture is drawn."""

from ranvier.plot.curves import history
from ranvier.plot.figure import require_matplotlib
from ranvier.plot.program import program
from ranvier.plot.rates import lr_range_test

__all__ = ["history", "lr_range_test", "program", "require_matplotlib"]
