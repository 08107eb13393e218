"""Which names of a function are read later, and which are certainly bound, at each of its statements."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any

_SCOPES = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
)  # fmt: skip
_LEAVES = (ast.Return, ast.Raise, ast.Break, ast.Continue)


def names_in(nodes: Iterable[ast.AST]) -> tuple[set[str], set[str]]:
    """The names that are read, those of functions inside included, and the names that are bound."""
    loads: set[str] = set()
    stores: set[str] = set()
    stack: list[Any] = list(nodes)
    while stack:
        node = stack.pop()
        if isinstance(node, _SCOPES):
            read, bound = names_in(ast.iter_child_nodes(node))
            bound -= {name for n in ast.walk(node) if isinstance(n, ast.Nonlocal) for name in n.names}
            loads |= read if isinstance(node, ast.ClassDef) else read - bound
            if hasattr(node, "name"):
                stores.add(node.name)
            stack.extend(_evaluated_outside(node))
            continue
        if isinstance(node, ast.AnnAssign) and node.value is None:
            continue  # a declaration binds nothing
        if isinstance(node, ast.Name):
            (stores if isinstance(node.ctx, ast.Store) else loads).add(node.id)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            loads.add(node.target.id)
        elif isinstance(node, ast.Nonlocal):
            loads.update(node.names)
        elif isinstance(node, ast.arg):
            stores.add(node.arg)
        elif isinstance(node, ast.alias):
            stores.add(node.asname or node.name.partition(".")[0])
        else:  # of an exception, or of a pattern
            name = getattr(node, "rest", None) or getattr(node, "name", None)
            stores |= {name} if isinstance(name, str) else set()
        stack.extend(ast.iter_child_nodes(node))
    return loads, stores


def _evaluated_outside(node: Any) -> list[ast.AST]:
    """Defaults and decorators of a function; what a comprehension iterates over first."""
    if hasattr(node, "generators"):
        return [node.generators[0].iter]
    arguments = getattr(node, "args", None)
    defaults = [] if arguments is None else [*arguments.defaults, *filter(None, arguments.kw_defaults)]
    return [*defaults, *getattr(node, "decorator_list", [])]


def blocks_of(statement: ast.AST) -> list[list[ast.stmt]]:
    """The blocks of statements in a compound statement; those of functions are not its own."""
    if isinstance(statement, _SCOPES):
        return []
    blocks = [getattr(statement, name, None) for name in ("body", "orelse", "finalbody")]
    inner = [*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())]
    return [b for b in blocks if b] + [part.body for part in inner]


def _head(statement: Any) -> list[ast.AST]:
    """What a compound statement evaluates outside its blocks."""
    names = ("test", "iter", "items", "subject")
    parts = [getattr(statement, name) for name in names if hasattr(statement, name)]
    return [node for part in parts for node in (part if isinstance(part, list) else [part])]


class Live:
    """Names that may be read before they are bound again; `after`: by the id of each statement.

    passes: whether a ``with`` statement lets exceptions through.
    """

    def __init__(self, passes: Callable[[ast.With], bool]) -> None:
        self.after: dict[int, set[str]] = {}
        self._passes = passes
        self._jump: set[str] = set()  # live where `break` and `continue` of the innermost loop lead to

    def block(self, statements: list[ast.stmt], after: set[str]) -> set[str]:
        """The names that are live before the statements."""
        for statement in reversed(statements):
            self.after[id(statement)] = set(after)
            after = self._before(statement, after)
        return after

    def _before(self, statement: Any, after: set[str]) -> set[str]:
        if isinstance(statement, (ast.Break, ast.Continue)):
            return set(self._jump)
        if not blocks_of(statement):
            loads, stores = names_in([statement])
            return loads if isinstance(statement, ast.Return) else (after - stores) | loads
        loads, stores = names_in(_head(statement))
        if isinstance(statement, ast.If):
            return loads | self.block(statement.body, after) | self.block(statement.orelse, after)
        if isinstance(statement, ast.With) and self._passes(statement):
            return loads | (self.block(statement.body, after) - stores)
        # Loops come back to their beginning, and exceptions leave from anywhere: whatever is read inside
        # counts as read later.
        later = after | names_in([statement])[0]
        outer = self._jump
        if isinstance(statement, (ast.For, ast.While)):
            self._jump = later
        for block in blocks_of(statement):
            self.block(block, later)
        self._jump = outer
        if isinstance(statement, ast.For):  # each turn binds the target before the body
            read, bound = names_in([statement.target])
            read |= names_in(statement.orelse)[0]
            return after | loads | read | (names_in(statement.body)[0] - bound)
        return later


class Bound:
    """Names that are certainly bound; `before`: by the id of each statement."""

    def __init__(self, passes: Callable[[ast.With], bool]) -> None:
        self.before: dict[int, set[str]] = {}
        self._passes = passes

    def block(self, statements: list[ast.stmt], bound: set[str]) -> set[str]:
        """The names that are bound after the statements."""
        for statement in statements:
            self.before[id(statement)] = set(bound)
            bound = self._after(statement, bound)
        return bound

    def _after(self, statement: Any, bound: set[str]) -> set[str]:
        if isinstance(statement, ast.Delete):
            return bound - names_in(ast.walk(statement))[0]
        if not blocks_of(statement):
            return bound | names_in([statement])[1]
        bound = bound | (set() if isinstance(statement, ast.For) else names_in(_head(statement))[1])
        if isinstance(statement, ast.If):
            branches = [statement.body, statement.orelse]
            ends = [self.block(b, set(bound)) for b in branches]
            ends = [e for b, e in zip(branches, ends, strict=True) if not (b and isinstance(b[-1], _LEAVES))]
            return set.intersection(*ends) if ends else bound
        if isinstance(statement, ast.With) and self._passes(statement):
            return self.block(statement.body, bound)
        for block in blocks_of(statement):
            loop = isinstance(statement, ast.For) and block is statement.body
            self.block(block, bound | (names_in([statement.target])[1] if loop else set()))
        caught = {handler.name for handler in getattr(statement, "handlers", ())}
        deleted = {
            n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Del)
        }
        return bound - caught - deleted  # the name of an exception is deleted, too
