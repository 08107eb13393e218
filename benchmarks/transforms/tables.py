"""All rows by table and name."""

from __future__ import annotations

from benchmarks.transforms.of_functions import captured_rows, function_rows
from benchmarks.transforms.of_ops import op_rows
from benchmarks.transforms.private import private_rows

TITLES = {
    "A": "Functions and networks",
    "B": "Families of ops under vmap",
    "C": "Captured functions",
    "D": "A step of differentially private training",
}
ROWS = {
    (row.table, row.name): row for row in (*function_rows(), *op_rows(), *captured_rows(), *private_rows())
}
