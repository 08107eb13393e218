"""Random steps: they read numbers along random paths through a random graph of objects.

Between calls something in the graph changes at random: a value, a container's content, an object, a class.
"""

import dataclasses
import random
import types
from typing import Any

from compile.staleness.judge import LATE, Case, Scenario, difference, run
from compile.staleness.small import Small

VALUES = (0.5, 2.0, -1.0, 0.0, -0.0, 1, True, 1.0, 3, False, "ab", "abc", None, 10**12, float("nan"))


class Plain:
    shared = 1.5

    def __init__(self, **more):
        vars(self).update(more)

    def first(self):
        return next(iter(vars(self).values()))

    @property
    def count(self):
        return float(len(vars(self)))


@dataclasses.dataclass
class Record:
    a: Any
    b: Any


HELPERS = """
def same(v):
    return v

def item(v, key):
    return v[key]

def attribute(v, name):
    return getattr(v, name)

def number(v):
    if v is None:
        return 0.25
    if isinstance(v, bool):
        return 2.0 if v else 0.5
    if isinstance(v, str):
        return float(len(v))
    if isinstance(v, int):
        return float(v % 1000) * 1.25
    if isinstance(v, float):
        return v if v else (4.0 if str(v) == "0.0" else 5.0)
    if isinstance(v, (list, tuple, set, dict)):
        return float(len(v))
    return 7.0
"""


STEP = """
{helpers}

def make(small, root):
    def root_of():
        return (1.0,)

    def step(x):
        total = 0.5
        {body}
        return small.train(x, total * 0.1)

    return step
"""


class Writer:
    """Writes the source of one step over a graph."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.root = self.node(3)

    def node(self, depth: int) -> Any:
        draw = self.draw
        if depth == 0 or draw.random() < 0.15:
            return draw.choice(VALUES)
        parts = [self.node(depth - 1) for _ in range(draw.randint(2, 3))]
        kind = draw.choice(("list", "dict", "plain", "namespace", "record", "tuple", "list", "dict", "plain"))
        if kind in ("list", "tuple"):
            return parts if kind == "list" else tuple(parts)
        named = dict(zip("abc", parts, strict=False))
        if kind == "dict":
            return named
        if kind == "record":
            return Record(parts[0], parts[1])
        return Plain(**named) if kind == "plain" else types.SimpleNamespace(**named)

    def path(self, node: Any, text: str) -> str:
        """An expression for a number somewhere below the node."""
        draw = self.draw
        while True:
            if isinstance(node, (list, tuple)) and node and draw.random() < 0.85:
                i = draw.randrange(len(node))
                forms = (
                    f"{text}[{i}]",
                    f"{text}[{i - len(node)}]",
                    f"list({text})[{i}]",
                    f"{text}[{i}:][0]",
                    f"[v for v in {text}][{i}]",
                    f"item({text}, {i})",
                    f"(lambda v: v[{i}])({text})",
                )
                node, text = node[i], draw.choice(forms)
            elif isinstance(node, dict) and node and draw.random() < 0.85:
                key = draw.choice(list(node))
                forms = (
                    f"{text}[{key!r}]",
                    f"{text}.get({key!r})",
                    f"dict({text})[{key!r}]",
                    f"item({text}, {key!r})",
                    f"[v for k, v in {text}.items() if k == {key!r}][0]",
                    f"(lambda **k: k[{key!r}])(**{text})",
                )
                node, text = node[key], draw.choice(forms)
            elif (
                isinstance(node, (Plain, types.SimpleNamespace, Record))
                and vars(node)
                and draw.random() < 0.9
            ):
                name = draw.choice(list(vars(node)))
                forms = [
                    f"{text}.{name}",
                    f"{text}.{name}",
                    f"getattr({text}, {name!r})",
                    f"vars({text})[{name!r}]",
                ]
                forms.append(f"attribute({text}, {name!r})")
                if isinstance(node, Plain) and name == next(iter(vars(node))):
                    forms.append(f"{text}.first()")
                node, text = vars(node)[name], draw.choice(forms)
            elif isinstance(node, Plain) and draw.random() < 0.5:
                return draw.choice((f"{text}.count", f"number({text}.shared)"))
            else:
                return f"number({draw.choice(('', 'same'))}({text}))"

    def source(self) -> str:
        draw, lines = self.draw, []
        for k in range(draw.randint(1, 4)):
            a, b, c = (self.path(self.root, "root") for _ in range(3))
            form = draw.randrange(6)
            if form < 2:
                lines.append(f"total += {a} * {k + 1}")
            elif form == 2:
                lines += [f"if {a} > 1:", f"    total += {b}", "else:", f"    total -= {c}"]
            elif form == 3:
                lines += [f"for part in ({a}, {b}):", "    total += part * 0.5"]
            elif form == 4:
                lines.append(f"total += sum(q for q in [{a}, {b}]) if {c} != 2.0 else {a}")
            else:
                lines += [
                    "try:",
                    f"    total += {a} + root_of()[0]",
                    "except (TypeError, KeyError):",
                    f"    total -= {b}",
                ]
        return STEP.format(helpers=HELPERS, body="\n        ".join(lines))


def containers(node: Any, found: list[Any]) -> list[Any]:
    """The nodes below that can be changed."""
    parts = node if isinstance(node, (list, tuple)) else node.values() if isinstance(node, dict) else None
    if parts is None:
        parts = vars(node).values() if hasattr(node, "__dict__") else ()
    if not isinstance(node, tuple) and (isinstance(node, (list, dict)) or hasattr(node, "__dict__")):
        found.append(node)
    for part in parts:
        containers(part, found)
    return found


def mutate(root: Any, draw: random.Random) -> None:
    found = containers(root, [])
    if not found:
        return
    node, value = draw.choice(found), draw.choice((*VALUES, [1.0, 2.0], {"a": 1.0}, Plain(a=2.0)))
    space = node if isinstance(node, (list, dict)) else vars(node)
    keys = list(range(len(node))) if isinstance(node, list) else list(space)
    way = draw.randrange(8)
    if way < 5 and keys:
        key = draw.choice(keys)
        if way == 4 and isinstance(
            space[key], (list, dict)
        ):  # another object with the content of the old one
            value = type(space[key])(space[key])
        space[key] = value
    elif way == 5 and isinstance(node, list):
        node.append(value) if draw.random() < 0.5 or not node else node.pop()
    elif way == 5:
        space["abcd"[draw.randrange(4)]] = value
    elif way == 6 and isinstance(node, dict) and node:
        key = next(iter(node))
        node[key] = node.pop(key)  # the other order
    elif way == 6 and isinstance(node, list):
        node.reverse()
    elif way == 7 and isinstance(node, Plain):
        node.shared = draw.random()
    elif keys and not isinstance(node, list):
        del space[draw.choice(keys)]


def scenario_of(seed: int) -> Scenario:
    def build() -> Case:
        writer, small = Writer(seed), Small()
        space: dict[str, Any] = {}
        exec(compile(writer.source(), f"random_reads_{seed}.py", "exec"), space)
        draw = random.Random(seed + 1)
        step = space["make"](small, writer.root)
        return Case(step, lambda n: mutate(writer.root, draw), small.watch, raises=True)

    return Scenario(f"random/{seed}", build)


def judge_random(seed: int) -> tuple[str, str, bool]:
    """(outcome, remark, whether the changes have an effect)."""
    one = scenario_of(seed)
    expected, got = run(one, False, LATE), run(one, True, LATE)
    unchanged = run(one, False, LATE, changed=False, unlike=expected).seen
    effect = unchanged != expected.seen
    wrong = difference(expected.seen, got.seen)
    refused = next(iter(got.refused.values()), "")
    return (
        ("wrong", f"{wrong} {refused}", effect)
        if wrong
        else ("refused" if refused else "as eager", refused, effect)
    )
