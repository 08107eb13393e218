"""Training steps drawn at random as lines of Python, and what changes between their calls.

Lines on tensors: second gradients, distributions, hooks, views, changes in place, containers, dtypes, shapes,
accumulated gradients, two optimizers. All tensors ``t0``, ``t1`` ... have the shape (n, 6), so that lines fit
each other and can be left out. Numbers are read along random paths through a random graph of objects.
`judged` compares a compiled step with the same step run eagerly, call by call and bit by bit; `reduced`
leaves out the lines that a difference does not need.
"""

import contextlib
import dataclasses
import random
import re
import string
import types
from typing import Any

import numpy as np
import ranvier as rv
from compile.staleness import random_lines as lines
from compile.staleness.judge import Case, Run, Scenario, difference
from ranvier import nn
from ranvier.nn import functional as F

STEP = string.Template("""
def make(world, root):
    rv, nn, F, D, grad = world.rv, world.nn, world.F, world.D, world.grad
    $parts = $values
    first, second, kept = world.first, world.second, world.kept

    def step(x, y, box, *more, flag=True, k=2, scale=1.0):
        hooks, loss, total = [], 0.0, 0.5
        $body
        return $result
    return step
""")
PARTS = "lin, bn, bn1, ln, rms, emb, drop, prelu, gru, conv, att, hooked, watched, w, state"


def item(v: Any, key: Any) -> Any:
    """For the steps: reads in a function of its own."""
    return v[key]


def number(v: Any) -> float:
    """For the steps: a number for any value. True and 1 give different ones, so do 0.0 and -0.0."""
    if v is None or isinstance(v, bool):
        return {None: 0.25, True: 2.0, False: 0.5}[v]
    if isinstance(v, int):
        return v % 1000 * 1.25
    if isinstance(v, float):
        return v or {"0.0": 4.0, "-0.0": 5.0}[str(v)]
    return float(len(v)) if isinstance(v, (str, list, tuple, dict)) else 7.0


def lines_of(text: str, before: str = "") -> list[str]:
    """The lines of a text of random_lines.py, where `;;` ends a line, too, with this before each."""
    return [before + part.strip() for line in text.strip().splitlines() for part in line.split(" ;; ")]


DENIED = lines_of(lines.DENIED)  # with most of them a step runs eagerly
KINDS = (  # the lines of each kind, and how often one is drawn of this kind
    (lines_of(lines.PURE, "NEW = "), 8),
    (lines_of(lines.MODEL, "NEW = "), 5),
    (lines_of(lines.SECOND), 2),
    (lines_of(lines.DISTRIBUTIONS, "NEW = "), 2),
    (lines_of(lines.CHANGES), 3),
    (lines_of(lines.CONTROL), 3),
    (DENIED, 0.2),
)
OPTIMIZERS = (
    lambda p: rv.optim.SGD(p, lr=0.05, momentum=0.9),
    lambda p: rv.optim.SGD(p, lr=0.01),
    lambda p: rv.optim.Adam(p, lr=0.01),
    lambda p: rv.optim.AdamW(p, lr=0.01, amsgrad=True),
    lambda p: rv.optim.RMSprop(p, lr=0.01, centered=True, momentum=0.5),
    lambda p: rv.optim.Adagrad(p, lr=0.05),
    lambda p: rv.optim.NAdam(p, lr=0.01),
)
VALUES = (0.5, 2.0, -1.0, 0.0, -0.0, 1, True, 1.0, 3, False, "ab", "abc", None, 10**12, float("nan"))
# how a step reads the part KEY (or the attribute NAME) of IT, a container or an object
FORMS = {
    list: "IT[KEY]; list(IT)[KEY]; IT[KEY:][0]; [v for v in IT][KEY]; item(IT, KEY); (lambda v: v[KEY])(IT)",
    dict: "IT[KEY]; IT.get(KEY); dict(IT)[KEY]; item(IT, KEY); [v for k, v in IT.items() if k == KEY][0]",
    object: "IT.NAME; IT.NAME; IT.NAME; (lambda v: v.NAME)(IT)",
}
# what a step does with numbers A, B and C, which it reads from the graph of objects
USES = (
    "total += A; total -= 2 * B",
    "total += B if A > 1 else -C",
    "for part in (A, B): total += part * 0.5",
    "total += sum(q for q in [A, B]) if C != 2.0 else A",
    "with contextlib.suppress(TypeError, KeyError): total += A",
)


class Plain:
    shared = 1.5

    def __init__(self, **more: Any) -> None:
        vars(self).update(more)


@dataclasses.dataclass
class Record:
    a: Any
    b: Any


def parts_of(node: Any) -> dict[Any, Any] | None:
    """The items of a container, by key."""
    if isinstance(node, (list, tuple)):
        return dict(enumerate(node))
    return node if isinstance(node, dict) else vars(node) if hasattr(node, "__dict__") else None


class Graph:
    """A graph of lists, dicts and objects, in which something can be read or changed."""

    def __init__(self, draw: random.Random) -> None:
        self.draw, self.root = draw, [self._node(draw, 2) for _ in range(2)]

    def _node(self, draw: random.Random, depth: int) -> Any:
        if depth == 0 or draw.random() < 0.15:
            return draw.choice(VALUES)
        parts = [self._node(draw, depth - 1) for _ in range(draw.randint(2, 3))]
        named = dict(zip("abc", parts, strict=False))
        return draw.choice(
            (
                lambda: parts,
                lambda: tuple(parts),
                lambda: named,
                lambda: Record(*parts[:2]),
                lambda: Plain(**named),
                lambda: types.SimpleNamespace(**named),
            )
        )()

    def path(self) -> str:
        """An expression for a number somewhere below the root."""
        node, text = self.root, "root"
        while parts := parts_of(node):
            key = self.draw.choice(list(parts))
            kind = list if isinstance(node, (list, tuple)) else dict if isinstance(node, dict) else object
            form = self.draw.choice(FORMS[kind].split("; "))
            form = form.replace("KEY", repr(key)).replace("NAME", str(key))
            node, text = parts[key], form.replace("IT", text)
        return f"number({text})"

    def line(self) -> str:
        """One of USES, with a path for each number."""
        return re.sub(r"\b[ABC]\b", lambda _: self.path(), self.draw.choice(USES))

    def change(self, draw: random.Random) -> None:
        """Changes one container or object: another value, another length or another order of its parts."""
        nodes = [self.root]
        for node in nodes:
            nodes += [part for part in (parts_of(node) or {}).values() if parts_of(part) is not None]
        node = draw.choice([node for node in nodes if not isinstance(node, tuple)])
        value = draw.choice((*VALUES, [1.0, 2.0], {"a": 1.0}, Plain(a=2.0)))
        space = node if isinstance(node, (list, dict)) else vars(node)
        keys, way = list(parts_of(node) or ()), draw.randrange(6)
        if isinstance(node, list) and way < 2:
            node.append(value) if way or not node else node.reverse()
        elif way == 0:
            space["abcd"[draw.randrange(4)]] = value
        elif way == 1 and keys:
            space[keys[0]] = space.pop(keys[0])  # the other order
        elif keys:
            space[draw.choice(keys)] = value


class Program:
    """The lines of one step, and what changes between its calls."""

    def __init__(self, seed: int) -> None:
        self.seed, self.draw = seed, random.Random(seed)
        count, self.lines = 1, ["t0 = x * 1.0"]  # count: of the tensors that have names
        self.checked = self.draw.choice((False, False, False, False, True, None))  # validate_args
        for _ in range(self.draw.randint(2, 12)):
            line = self._line(count)
            self.lines.append(line.replace("NEW", f"t{count}"))
            count += "NEW" in line
        self.beginning, self.ending = self._weighted(BEGINNINGS), self._weighted(ENDINGS)
        self.result = self.draw.choice(RESULTS)
        self.optimizers = self.draw.choice(OPTIMIZERS), self.draw.choice(OPTIMIZERS)
        self.changes = self.draw.choice((0.0, 0.3, 0.6))
        self.graph_seed = self.draw.random()
        graph = Graph(random.Random(self.graph_seed))
        self.lines += [graph.line() for _ in range(self.draw.choice((0, 1, 3)))]

    def _weighted(self, options: Any) -> Any:
        return self.draw.choices([one for one, _ in options], [weight for _, weight in options])[0]

    def _line(self, count: int) -> str:
        """A line of random_lines.py: T, U, V are among the last four tensors, A is a number, NEW stays."""
        draw = self.draw
        line = draw.choice(self._weighted(KINDS))
        tensors = {word: f"t{draw.randrange(max(0, count - 4), count)}" for word in "TUV"}
        return self.filled(line, {**tensors, "A": str(round(draw.random(), 2))})

    def filled(self, line: str, values: dict[str, str]) -> str:
        """The line with the values of its words T, U, V, A and C; not of an attribute, as in `x.T`."""
        values = {**values, "C": f"dict(validate_args={self.checked})"}
        return re.sub(r"(?<![\w.])[TUVAC](?!\w)", lambda match: values[match[0]], line)

    @classmethod
    def of(cls, *given: str) -> "Program":
        """A step with these lines alone, at most three, without changes between its calls.

        T, U and V are t0, t1 and t2 in all lines; what the lines make (NEW) is t3, t4 and t5.
        """
        made, values = cls(1), {"T": "t0", "U": "t1", "V": "t2", "A": "0.3"}
        filled = [made.filled(line, values).replace("NEW", f"t{i}") for i, line in enumerate(given, 3)]
        made.lines = ["t0 = x * 1.0", "t1 = lin(x)", "t2 = x - w", *filled]
        made.beginning, made.ending, made.result = BEGINNINGS[0][0], ENDINGS[0][0], RESULTS[0]
        made.changes = 0.0
        return made

    def source(self) -> str:
        """The step in Python; `made` are the tensors with a name, of which the last three are in the loss."""
        names = re.findall(r"(?:^|; |: )(t\d+) =", "\n".join(self.lines), re.MULTILINE)
        body = [self.beginning, *self.lines, f"made = [{', '.join(dict.fromkeys(names))}]"]
        body += ["loss = loss + sum((t * t).mean() for t in made[-3:]) * 0.1 + (w * w).sum() * 0.01 * total"]
        body += [self.ending, "for h in hooks: h.remove()"]
        values = ", ".join(f"world.{name}" for name in PARTS.split(", "))
        return STEP.substitute(body="\n        ".join(body), parts=PARTS, values=values, result=self.result)


BEGINNINGS = (
    ("first.zero_grad(); second.zero_grad()", 5),
    ("first.zero_grad(set_to_none=False); second.zero_grad()", 2),
    ("pass", 2),
    ("first.zero_grad() if flag else None", 1),
)
ENDINGS = (*((one, 6) for one in lines_of(lines.ENDINGS)), *((one, 1) for one in lines_of(lines.RARE)))
RESULTS = lines_of(lines.RESULTS)


class World(nn.Module):
    """The names that the lines may use."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        rv.manual_seed(program.seed)
        self.rv, self.nn, self.F, self.D, self.grad = rv, nn, F, rv.distributions, rv.autograd.grad
        self.lin, self.bn, self.bn1 = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.BatchNorm1d(1)
        self.ln, self.rms, self.emb = nn.LayerNorm(6), nn.RMSNorm(6), nn.Embedding(6, 6)
        self.drop, self.prelu, self.gru = nn.Dropout(0.4), nn.PReLU(6), nn.GRU(6, 6, batch_first=True)
        self.conv, self.hooked = nn.Conv1d(1, 1, 3, padding=1), nn.Linear(6, 6)
        self.att = nn.MultiheadAttention(6, 2, batch_first=True)
        self.hooked.register_forward_hook(lambda module, args, output: output * 0.5)
        self.hooked.register_forward_pre_hook(lambda module, args: (args[0] + 0.1,))
        self.watched, self.w = nn.Linear(6, 6), nn.Parameter(rv.randn(6))
        self.watched.register_full_backward_hook(lambda module, of_input, of_output: (of_input[0] * 0.5,))
        self.watched.bias.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(0.5))
        self.watched.weight.register_hook(lambda g: g.clamp(-0.1, 0.1))
        self.register_buffer("state", rv.zeros(6))
        own = [p for name, p in self.named_parameters() if not name.startswith(("w", "hooked"))]
        self.first = program.optimizers[0](own)
        self.second = program.optimizers[1]([self.w, *self.hooked.parameters()])
        self.schedule = rv.optim.lr_scheduler.ExponentialLR(self.second, 0.8)
        self.kept: dict[str, Any] = {}
        self.graph = Graph(random.Random(program.graph_seed))
        space: dict[str, Any] = {"contextlib": contextlib, "item": item, "number": number}
        exec(compile(program.source(), f"random_steps_{program.seed}.py", "exec"), space)
        self.step = space["make"](self, self.graph.root)

    def descend(self, g: Any) -> None:
        with rv.no_grad():
            self.w.sub_(g * 0.05)

    def change(self, draw: random.Random) -> None:
        optimizer = draw.choice((self.first, self.second))
        smaller = lambda x: x * 0.9 if x.is_floating_point() else x  # noqa: E731
        draw.choice(
            (
                lambda: optimizer.param_groups[0].update(lr=draw.choice((0.0, 0.02, 0.1))),
                lambda: self.w.requires_grad_(not self.w.requires_grad),
                lambda: self.train(not self.training),
                lambda: self.w.data.mul_(0.9),
                lambda: setattr(self.drop, "p", draw.choice((0.0, 0.4, 0.7))),
                lambda: setattr(self.w, "grad", draw.choice((None, rv.ones(6)))),
                lambda: self.first.zero_grad(set_to_none=draw.random() < 0.5),
                lambda: setattr(self, "state", draw.choice((rv.ones(6), self.state.clone()))),
                lambda: self.hooked.register_forward_hook(lambda module, args, output: output + 0.1),
                self.schedule.step,
                lambda: self.load_state_dict({name: smaller(x) for name, x in self.state_dict().items()}),
                lambda: optimizer.load_state_dict(optimizer.state_dict()),
                self._step_eagerly,
                lambda: rv.set_num_threads(draw.randint(1, 2)),
                *[lambda: self.graph.change(draw)] * 6,
            )
        )()

    def _step_eagerly(self) -> None:
        with contextlib.suppress(Exception):  # the step's own
            self.step(*arguments(99, 4))


def arguments(number: int, n: int, dtype: Any = np.float32) -> tuple[Any, ...]:
    rng = np.random.default_rng(number)
    x, one = rng.standard_normal((2, n, 6)).astype(np.float32)
    more = (rv.tensor(one * 0.5), rng.standard_normal((n, 6)).astype(np.float32))
    return rv.tensor(x.astype(dtype)), rv.tensor(rng.integers(0, 3, n)), {"one": rv.tensor(one)}, *more


def scenario_of(program: Program) -> Scenario:
    def build(run: Run, _: Any) -> Case:
        world, draw = World(program), random.Random(program.seed + 1)
        rows, mixed = draw.choice((4, 4, 3)), draw.random() < 0.3

        def inputs(number: int) -> Any:
            n = rows + (mixed and draw.random() < 0.3)
            args = arguments(number, n, np.float64 if mixed and draw.random() < 0.1 else np.float32)
            args[2]["names"] = ["a", number if mixed and number > 9 else 0]
            keywords = {"flag": draw.random() < 0.9, "k": 2 if draw.random() < 0.9 else 1}
            return args, {**keywords, "scale": 0.5 if draw.random() < 0.1 else 1.0}

        def each(number: int, result: Any) -> None:
            if draw.random() < program.changes:
                world.change(draw)

        watch = lambda: [world, world.first, world.second, world.kept]  # noqa: E731
        return Case(run.compile(world.step), watch, inputs, each)

    return Scenario(f"steps/{program.seed}", build, raises=True)


def judged(program: Program) -> tuple[str, str]:
    """(what the compiled step does, a remark).

    "wrong": it shows other bits than the eager step; "captured": it is replayed; "eager": it runs eagerly,
    with a warning; "raises": each call raises, as the eager step does. Of odd seeds rv.compile checks replays
    (`verify`), of even ones it does not.
    """
    one = scenario_of(program)
    expected, got = Run(one, False, ()), Run(one, True, (), verify=bool(program.seed % 2))
    warned = "; ".join(text for text in got.warned if text not in expected.warned)
    if wrong := difference(expected.seen, got.seen):
        return "wrong", f"{wrong} {warned}"
    # the errors of calls: Run notes them as results
    raised = [seen["results"] for seen in expected.seen if "raised" in str(seen.get("results", ""))]
    if len(raised) == len(expected.seen):
        return "raises", str(raised[0])
    return ("eager" if warned else "captured"), warned or f"{got.programs} programs, {len(raised)} raised"


def reduced(program: Program) -> Program:
    """Without the lines that a difference does not need."""
    n = 1
    while n < len(program.lines):
        kept = program.lines
        program.lines = kept[:n] + kept[n + 1 :]
        try:
            worse = judged(program)[0] == "wrong"
        except Exception:  # the eager step does not run without it
            worse = False
        if not worse:
            program.lines = kept
            n += 1
    return program
