"""Regions: runs of statements of a function that can become functions of their own.

A step that cannot be captured as a whole is divided: statements that a replay cannot repeat stay in Python,
and the runs of statements between them become functions, each compiled by itself. The division works on the
syntax tree, which is used only if it compiles to exactly the code of the function.
"""

from __future__ import annotations
import __future__

import ast
import copy
import functools
import inspect
import linecache
import warnings
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

from ranvier.program.liveness import Bound, Live, blocks_of, names_in

_LONGEST = 5_000  # lines of a file
_FUTURE = 0
for _name in __future__.all_feature_names:
    _FUTURE |= getattr(__future__, _name).compiler_flag
# What looks at the frame that calls it.
_FRAMES = frozenset({"locals", "vars", "dir", "eval", "exec", "super", "_getframe", "currentframe", "stack"})
_SUSPENDED = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_SUSPENDS = (ast.Yield, ast.YieldFrom, ast.Await, ast.AsyncFor, ast.AsyncWith)
_DECLARES = (ast.Global, ast.Nonlocal, ast.Delete)
_LOOPS = (ast.For, ast.While)
# Names in a region: of the function that makes its results, and of the tuple of its arguments.
RESULTS, _INPUTS = "__region_results__", "__region_inputs__"
CALLED = "__called__"  # in a divided function: what stands for a function that it calls outside of regions


class Region:
    """A run of statements as a function.

    Attributes:
        name: under which the divided function calls it.
        node: its definition.
        lines: its first and last line.
        ends: whether it ends with a `return` of the step.
    """

    def __init__(self, number: int, node: ast.FunctionDef, first: ast.stmt, last: ast.stmt) -> None:
        self.name, self.node, self.ends = f"__region_{number}__", node, isinstance(last, ast.Return)
        self.lines = first.lineno, last.end_lineno or last.lineno
        self.key = (*self.lines, first.col_offset, last.end_col_offset, ast.dump(node.args))


def parsed(function: FunctionType) -> ast.FunctionDef | None:
    """The syntax tree of a function; None if its source is not at hand or compiles to other code."""
    code = function.__code__
    odd = _FRAMES & {*code.co_names} or "__class__" in code.co_freevars or code.co_flags & _SUSPENDED
    lines = linecache.getlines(code.co_filename, function.__globals__)
    if odd or not 0 < len(lines) <= _LONGEST:
        return None
    try:
        tree, codes = _parsed("".join(lines), code.co_filename, code.co_flags & _FUTURE)
    except (SyntaxError, ValueError, RecursionError):
        return None
    named = [n for n in ast.walk(tree) if type(n) is ast.FunctionDef and n.name == code.co_name]
    node = next((n for n in named if _first(n) == code.co_firstlineno), None)
    if node is None or code not in codes or any(isinstance(n, ast.NamedExpr) for n in ast.walk(node)):
        return None
    return node


@functools.lru_cache(maxsize=4)
def _parsed(text: str, file: str, flags: int) -> tuple[ast.Module, set[CodeType]]:
    """The syntax tree of a file, and all code that it compiles to."""
    with warnings.catch_warnings():  # which importing the file has given
        warnings.simplefilter("ignore")
        tree = ast.parse(text)
        codes = [compile(tree, file, "exec", flags, dont_inherit=True)]
    for code in codes:
        codes += [c for c in code.co_consts if isinstance(c, CodeType)]
    return tree, {*codes}


def _first(node: ast.FunctionDef) -> int:
    return min([node.lineno, *[d.lineno for d in node.decorator_list]])


def code_of(node: ast.FunctionDef, code: CodeType, more: Iterable[str]) -> CodeType:
    """A definition compiled in the place of the function that has this code; more: further free names.

    It has a name of its own while it is compiled: that of the function may be a global variable in it.
    """
    free = [ast.arg(name, lineno=1, col_offset=0) for name in (*code.co_freevars, *more)]
    parameters = ast.arguments([], free, None, [], [], None, [])
    inner = _definition(node, name="inner")
    around = _definition(node, name="around", args=parameters, body=[inner], decorator_list=[], returns=None)
    module = ast.Module([ast.fix_missing_locations(around)], [])
    compiled: Any = compile(module, code.co_filename, "exec", code.co_flags & _FUTURE, dont_inherit=True)
    for name in ("around", "inner"):  # the code is a constant of the code around it
        compiled = next(c for c in compiled.co_consts if isinstance(c, CodeType) and c.co_name == name)
    return cast(CodeType, compiled.replace(co_name=node.name))


def _definition(node: ast.FunctionDef, **fields: Any) -> ast.FunctionDef:
    """A definition with other fields."""
    return ast.copy_location(ast.FunctionDef(**{**dict(ast.iter_fields(node)), **fields}), node)


def statements_with(function: ast.FunctionDef, name: str) -> Iterator[int]:
    """The lines on which a name, an attribute or a function of that name stands."""
    for node in ast.walk(function):
        if name in (getattr(node, field, None) for field in ("id", "attr", "name")):
            yield getattr(node, "lineno", function.lineno)


def lines_that_bind(function: ast.FunctionDef, name: str) -> list[int]:
    """The lines on which a variable is assigned."""
    names = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == name]
    return [node.lineno for node in names if isinstance(node.ctx, ast.Store)]


class _Division:
    """Makes regions of all that is between the lines that stay in Python."""

    def __init__(self, node: Any, function: FunctionType, lines: set[int], calling: set[int]) -> None:
        code = self._code = function.__code__
        self._node, self._function, self._lines, self._calling = node, function, lines, calling
        self._own = {*code.co_varnames, *code.co_cellvars}
        self._live, self._bound = Live(self._passes), Bound(self._passes)
        self._live.block(node.body, set())
        self._bound.block(node.body, {*code.co_varnames[: _arguments(code)]})
        # Variables of inner functions that are bound more than once: these see the latest value.
        times = {n: self._changes(n, node.body) + self._is_parameter(n) for n in code.co_cellvars}
        self._captured = {name for name, count in times.items() if count > 1}
        self._captured |= {name for n in ast.walk(node) if isinstance(n, ast.Nonlocal) for name in n.names}
        self.regions: list[Region] = []

    def _passes(self, statement: ast.With) -> bool:
        """Whether a ``with`` statement lets exceptions through: that of the library's own managers."""
        return all(self._is_librarys(item.context_expr) for item in statement.items)

    def _is_librarys(self, node: ast.expr) -> bool:
        names: list[str] = []
        inner: Any = node.func if isinstance(node, ast.Call) else node
        while isinstance(inner, ast.Attribute):
            names.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name) or inner.id in self._own:
            return False
        value = self._function.__globals__.get(inner.id)
        for name in reversed(names):
            value = getattr(value, name, None) if isinstance(value, ModuleType) else None
        return str(getattr(value, "__module__", "")).startswith("ranvier.")

    def _changes(self, name: str, statements: list[ast.stmt]) -> int:
        """How often a name is assigned; twice in a loop."""
        count = 0
        for statement in statements:
            inner = [s for block in blocks_of(statement) for s in block]
            count += (2 if isinstance(statement, _LOOPS) else 1) * (name in names_in([statement])[1])
            count += self._changes(name, inner) if inner and name in names_in(inner)[1] else 0
        return count

    def _is_parameter(self, name: str) -> bool:
        return name in self._code.co_varnames[: _arguments(self._code)]

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """The statements with regions replaced by calls."""
        divided_block: list[ast.stmt] = []
        run: list[ast.stmt] = []
        for statement in statements:
            if self._stays(statement):
                divided_block += [*self._region(run), self._inside(statement)]
                run = []
            else:
                run.append(statement)
        return divided_block + self._region(run)

    def _stays(self, statement: ast.stmt) -> bool:
        """Whether a statement is in no region: on one of the lines, or no statement of another function."""
        last = statement.end_lineno or statement.lineno
        if any(statement.lineno <= line <= last for line in self._lines):
            return True
        nodes = _in_scope(statement)
        if isinstance(statement, ast.Return) and any(isinstance(n, ast.Call) for n in ast.walk(statement)):
            next(nodes)  # the return itself: it may end a region
        return isinstance(statement, ast.Pass) or any(map(_leaves, nodes))

    def _inside(self, statement: ast.stmt) -> ast.stmt:
        """A statement that stays, with regions in its blocks."""
        passes = isinstance(statement, ast.With) and self._passes(statement)
        if not (passes or isinstance(statement, (ast.If, *_LOOPS))):
            calls = statement.lineno in self._calling and not blocks_of(statement)
            return _Calls().visit(copy.deepcopy(statement)) if calls else statement
        fields = dict(ast.iter_fields(statement))
        for name in ("body", "orelse"):
            if fields.get(name):
                fields[name] = self.block(fields[name])
        return ast.copy_location(type(statement)(**fields), statement)

    def _region(self, run: list[ast.stmt]) -> list[ast.stmt]:
        """A call of the run as a function; or the run itself, where it is too small or cannot be one."""
        if not any(isinstance(n, ast.Call) for s in run for n in ast.walk(s)):
            return run
        if not self._keeps_variables(run):
            single = [s for s in run if not self._keeps_variables([s])]
            if not single:
                return run
            place = run.index(single[0])
            return [*self._region(run[:place]), single[0], *self._region(run[place + 1 :])]
        stores = names_in(run)[1]
        bound = self._bound.before[id(run[0])]
        ends = isinstance(run[-1], ast.Return)
        inputs = Live(self._passes).block(run, set()) & self._own
        outputs = set() if ends else stores & self._live.after[id(run[-1])]
        # What the run binds on some paths only is returned unchanged on the others.
        inputs |= outputs - Bound(self._passes).block(run, set(inputs))
        if not inputs <= bound:  # the call would raise where the run itself may not
            return run
        return [self._call(run, sorted(inputs), sorted(outputs), ends)]

    def _keeps_variables(self, run: list[ast.stmt]) -> bool:
        """Whether no other function sees variables that the run binds.

        A variable of functions inside is used in this run only, or is bound once, outside.
        """
        loads, stores = names_in(run)
        if not stores <= self._own:  # global or nonlocal
            return False
        for name in (loads | stores) & {*self._code.co_cellvars}:
            lines = statements_with(self._node, name)
            last = run[-1].end_lineno or 0
            inside = not self._is_parameter(name) and all(run[0].lineno <= line <= last for line in lines)
            if not inside and (name in stores or name in self._captured):
                return False
        return True

    def _call(self, run: list[ast.stmt], inputs: list[str], outputs: list[str], ends: bool) -> ast.stmt:
        """Makes the run a region, and gives the statement that calls it: `outputs = region(inputs)`."""
        number, first = len(self.regions), run[0]
        body = list(run)
        if not ends:
            before = ast.Assign([ast.Name(_INPUTS, ast.Store())], _tuple(inputs, ast.Load()))
            names: Any = ast.Tuple([ast.Constant(name) for name in outputs], ast.Load())
            values = [ast.Name(_INPUTS, ast.Load()), names, _tuple(outputs, ast.Load())]
            body = [before, *run, ast.Return(_called(RESULTS, values))]
        arguments = ast.arguments([], [ast.arg(name) for name in inputs], None, [], [], None, [])
        node = _definition(self._node, args=arguments, body=body, decorator_list=[], returns=None)
        for part in (node, arguments, *arguments.args):
            ast.copy_location(part, first)
        if not ends:
            for inner in (*ast.walk(body[0]), *ast.walk(body[-1])):
                ast.copy_location(inner, first if inner is body[0] else run[-1])
        region = Region(number, node, first, run[-1])
        self.regions.append(region)
        called = _called(region.name, [ast.Name(name, ast.Load()) for name in inputs])
        statement: ast.stmt = ast.Expr(called)
        if ends:
            statement = ast.Return(called)
        elif outputs:
            statement = ast.Assign([_tuple(outputs, ast.Store())], called)
        for inner in ast.walk(statement):
            ast.copy_location(inner, first)
        return statement


class _Calls(ast.NodeTransformer):
    """Asks for each function that is called whether another stands for it."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        asked = ast.copy_location(_called(CALLED, [node.func]), node.func)
        ast.copy_location(asked.func, node.func)
        node.func = asked
        return node


def divided(
    node: ast.FunctionDef, function: FunctionType, lines: set[int], calling: set[int]
) -> tuple[ast.FunctionDef, list[Region]]:
    """The function with calls of regions; its statements on the lines stay in Python.

    calling: lines among them on which the functions that are called are to be compiled.
    """
    division = _Division(node, function, lines, calling)
    definition = _definition(node, body=division.block(node.body), decorator_list=[])
    return definition, division.regions


def _arguments(code: CodeType) -> int:
    stars = bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_argcount + code.co_kwonlyargcount + stars


def _in_scope(statement: ast.AST, in_loop: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """The nodes of a statement without those of functions inside, each with whether it is in a loop of it."""
    yield statement, in_loop
    if isinstance(statement, _FUNCTIONS):
        return
    for child in ast.iter_child_nodes(statement):
        yield from _in_scope(child, in_loop or isinstance(statement, _LOOPS))


def _leaves(node_in_loop: tuple[ast.AST, bool]) -> bool:
    """Whether a node of a statement leaves it, or binds or deletes what is not the function's own."""
    node, in_loop = node_in_loop
    if isinstance(node, (ast.Break, ast.Continue)):
        return not in_loop
    declares = isinstance(node, ast.AnnAssign) and node.value is None  # it makes the name a local one
    return declares or isinstance(node, (ast.Return, *_SUSPENDS, *_DECLARES))


def _tuple(names: list[str], context: ast.expr_context) -> ast.Tuple:
    return ast.Tuple([ast.Name(name, context) for name in names], context)


def _called(name: str, arguments: list[Any]) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), arguments, [])
