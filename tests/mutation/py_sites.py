"""The places in Python source where a mutant can be made, and the mutated source."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import Any

from mutation.sites import Site, named

COMPARES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    **{
        ast.Lt: ast.LtE,
        ast.LtE: ast.Lt,
        ast.Gt: ast.GtE,
        ast.GtE: ast.Gt,
        ast.Eq: ast.NotEq,
        ast.NotEq: ast.Eq,
    },
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In},
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult},
    **{ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd},
}
BOUNDS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def sites_of(file: str, text: str) -> list[Site]:
    """All candidate sites of a Python file."""
    tree = ast.parse(text)
    lines = text.splitlines()
    found = []
    for index, node in enumerate(_walk(tree)):
        for kind in _kinds(node):
            before = ast.unparse(node).split("\n")[0]
            changed = _changed(copy.deepcopy(node), kind)
            after = "(dropped)" if kind == "statement" else ast.unparse(changed).split("\n")[0]
            line: int = node.lineno  # type: ignore[attr-defined]
            where = {"index": index, "kind": kind}
            found.append(Site(file, line, kind, before, after, lines[line - 1].strip(), where=where))
    return named(found)


def mutated(text: str, site: Site) -> ast.Module:
    """The file's tree with the site's change."""
    tree = ast.parse(text)
    target = next(node for i, node in enumerate(_walk(tree)) if i == site.where["index"])
    replacement = _changed(target, site.where["kind"])
    if replacement is not target:
        tree = _Replace(target, replacement).visit(tree)
    return ast.fix_missing_locations(tree)


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Depth first, without what is not run: annotations, docstrings, type-checking imports."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_comment"):
            continue
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_text(child) and not isinstance(child, ast.JoinedStr):
                yield from _walk(child)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _kinds(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARES:
        yield "bound" if isinstance(node.ops[0], BOUNDS) else "operator"
    elif isinstance(node, ast.BoolOp) or (isinstance(node, ast.BinOp) and type(node.op) in OPERATORS):
        yield "operator"
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        yield "constant"
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
        yield "condition"
    elif isinstance(node, (ast.Expr, ast.AugAssign)) or (
        isinstance(node, ast.Assign) and not any(isinstance(t, ast.Name) for t in node.targets)
    ):
        yield "statement"


def _changed(node: ast.AST, kind: str) -> ast.AST:
    """The node, changed in place, or another in its place."""
    if isinstance(node, ast.Compare):
        node.ops = [COMPARES[type(node.ops[0])]()]
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.BinOp):
        node.op = OPERATORS[type(node.op)]()
    elif isinstance(node, ast.Constant):
        value = node.value
        node.value = (
            not value
            if isinstance(value, bool)
            else value + 1
            if isinstance(value, int)
            else 2 * value or 1.0
        )
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
        node.test = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)
    else:
        return ast.copy_location(ast.Pass(), node)
    return node


def _other(value: Any) -> Any:
    """Another constant of the same kind."""
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else 2 * value or 1.0
