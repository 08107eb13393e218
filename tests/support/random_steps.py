"""Training steps drawn at random as lines of Python: second gradients, distributions, hooks, views, changes
in place, containers as arguments and results, dtypes and shapes, accumulated gradients, two optimizers.

All tensors ``t0``, ``t1`` ... have the shape (n, 6), so that lines fit each other and can be left out.
"""

import contextlib
import random
import re
from typing import Any

import numpy as np
import ranvier as rv
from compile.staleness.judge import Case, Scenario, difference, run
from ranvier import nn
from ranvier.nn import functional as F
from support import random_step_lines as lines

STEP = """
def make(world):
    rv, nn, F, D, grad = world.rv, world.nn, world.F, world.D, world.grad
    {parts} = {values}
    first, second, kept = world.first, world.second, world.kept

    def step(x, y, box, *more, flag=True, k=2, scale=1.0):
        hooks, loss = [], 0.0
        {body}
        return {result}
    return step
"""
PARTS = "lin, bn, bn1, ln, rms, emb, drop, prelu, gru, conv, att, hooked, watched, w, state"


def lines_of(text: str, several: bool) -> list[str]:
    """Lines that bind NEW; where several are in one line, each is a drawing of its own."""
    parts = [
        part.strip() for line in text.strip().splitlines() for part in line.split(";" if several else "\n")
    ]
    return [f"NEW = {part}" if several else part for part in parts if part]


KINDS = (
    (lines_of(lines.PURE, True), 8),
    (lines_of(lines.MODEL, True), 5),
    (lines_of(lines.SECOND, False), 2),
    (lines_of(lines.DISTRIBUTIONS, True), 2),
    (lines_of(lines.CHANGES, False), 3),
    (lines_of(lines.CONTROL, False), 3),
    (lines_of(lines.DENIED, False), 0.2),  # they run eagerly
)
ENDINGS = (
    ("loss.backward(); first.step(); second.step()", 6),
    ("loss.backward(); first.step()", 6),
    ("loss.backward(retain_graph=True); (loss * 0.5).backward(); second.step(); first.step()", 6),
    ("(loss + lin(x).mean()).backward(); nn.utils.clip_grad_norm_(lin.parameters(), 0.5); first.step()", 6),
    ("loss.backward(); first.step() if flag else second.step()", 6),
    ("loss.backward()", 6),
    ("(loss / 2).backward(); (first.step(), first.zero_grad()) if k > 1 else None; second.step()", 6),
    ("g, = grad(loss, [w]); world.descend(g)", 6),
    ("g, = grad(loss, [w], create_graph=True); (g * g).sum().backward(); second.step()", 6),
    ("g = grad(loss, [w]); w.grad = g[0].detach() * 0.5; second.step()", 1),
    ("loss.backward(); kept.update(n=kept.get('n', 0) + 1); first.step()", 1),
)
BEGINNINGS = (
    ("first.zero_grad(); second.zero_grad()", 5),
    ("first.zero_grad(set_to_none=False); second.zero_grad()", 2),
    ("pass", 2),
    ("first.zero_grad() if flag else None", 1),
)
RESULTS = (
    "loss.detach()",
    "{'loss': loss.detach(), 'all': [t.detach() for t in made[-3:]]}",
    "(loss.detach(), [made[-1].detach().clone(), {'k': k}], made[0].detach().sum())",
    "[t.detach() for t in made[-2:]], flag",
    "loss.detach(), w.grad.clone() if w.grad is not None else None",
    "loss.detach(), w.detach()[1:3].clone(), made[-1].detach().double(), made[-1].detach() > 0",
)
OPTIMIZERS = (
    lambda p: rv.optim.SGD(p, lr=0.05, momentum=0.9),
    lambda p: rv.optim.SGD(p, lr=0.01),
    lambda p: rv.optim.Adam(p, lr=0.01),
    lambda p: rv.optim.AdamW(p, lr=0.01, amsgrad=True),
    lambda p: rv.optim.RMSprop(p, lr=0.01, centered=True, momentum=0.5),
    lambda p: rv.optim.Adagrad(p, lr=0.05),
    lambda p: rv.optim.NAdam(p, lr=0.01),
    lambda p: rv.optim.Lion(p, lr=0.01),
)


class Program:
    """The lines of one step, and what changes between its calls."""

    def __init__(self, seed: int) -> None:
        self.seed, self.draw = seed, random.Random(seed)
        count, self.lines = 1, ["t0 = x * 1.0"]
        self.checked = self.draw.choice((False, False, False, False, True, None))  # validate_args
        for _ in range(self.draw.randint(2, 12)):
            line = self._line(count)
            count += "NEW" in line
            self.lines.append(line.replace("NEW", f"t{count - 1}"))
        self.beginning, self.ending = self._weighted(BEGINNINGS), self._weighted(ENDINGS)
        self.result = self.draw.choice(RESULTS)
        self.optimizers = self.draw.choice(OPTIMIZERS), self.draw.choice(OPTIMIZERS)
        self.changes = self.draw.choice((0.0, 0.3, 0.6))

    def _weighted(self, options: Any) -> Any:
        return self.draw.choices([one for one, _ in options], [weight for _, weight in options])[0]

    def _line(self, count: int) -> str:
        draw = self.draw
        line = draw.choice(self._weighted(KINDS))
        names = [f"t{draw.randrange(max(0, count - 4), count)}" for _ in "TUV"]
        values = {"A": round(draw.random(), 2), "C": f"dict(validate_args={self.checked})"}
        for word, value in {**dict(zip("TUV", names, strict=True)), **values}.items():
            line = _replaced(line, word, str(value))
        return line

    def source(self) -> str:
        names = [line.split(" =")[0] for line in self.lines if line[0] == "t" and line[1].isdigit()]
        names += [w.split(" =")[0] for line in self.lines for w in line.split("; ")[1:] if w[0] == "t"]
        names += [
            line.split(": ")[1].split(" =")[0]
            for line in self.lines
            if line.startswith("with") and ": t" in line
        ]
        made = [n for n in dict.fromkeys(names) if n[1:].isdigit()]
        body = [self.beginning, *self.lines, f"made = [{', '.join(made)}]"]
        body += ["loss = loss + sum((t * t).mean() for t in made[-3:]) * 0.1 + (w * w).sum() * 0.01"]
        body += [self.ending, "for h in hooks: h.remove()"]
        values = ", ".join(f"world.{name}" for name in PARTS.split(", "))
        return STEP.format(body="\n        ".join(body), parts=PARTS, values=values, result=self.result)


def _replaced(line: str, word: str, value: str) -> str:
    return re.sub(rf"(?<![\w.]){word}(?!\w)", value, line)


class World(nn.Module):
    """What the lines may name."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        rv.manual_seed(program.seed)
        self.rv, self.nn, self.F, self.D, self.grad = rv, nn, F, rv.distributions, rv.autograd.grad
        self.lin, self.bn, self.bn1, self.ln = (
            nn.Linear(6, 6),
            nn.BatchNorm1d(6),
            nn.BatchNorm1d(1),
            nn.LayerNorm(6),
        )
        self.rms, self.emb, self.drop, self.prelu = (
            nn.RMSNorm(6),
            nn.Embedding(6, 6),
            nn.Dropout(0.4),
            nn.PReLU(6),
        )
        self.gru, self.conv = nn.GRU(6, 6, batch_first=True), nn.Conv1d(1, 1, 3, padding=1)
        self.att, self.hooked = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 6)
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
        space: dict[str, Any] = {}
        exec(compile(program.source(), f"random_steps_{program.seed}.py", "exec"), space)
        self.step = space["make"](self)

    def descend(self, g: Any) -> None:
        with rv.no_grad():
            self.w.sub_(g * 0.05)

    def change(self, draw: random.Random) -> None:
        optimizer = draw.choice((self.first, self.second))
        way = draw.randrange(14)
        if way == 0:
            optimizer.param_groups[0]["lr"] = draw.choice((0.0, 0.02, 0.1))
        elif way == 1:
            self.w.requires_grad_(not self.w.requires_grad)
        elif way == 2:
            self.train(not self.training)
        elif way == 3:
            self.w.data.mul_(0.9)
        elif way == 4:
            self.drop.p = draw.choice((0.0, 0.4, 0.7))
        elif way == 5:
            self.w.grad = draw.choice((None, rv.ones(6)))
        elif way == 6:
            self.first.zero_grad(set_to_none=draw.random() < 0.5)
        elif way == 7:
            self.state = draw.choice((rv.ones(6), self.state.clone()))
        elif way == 8:
            self.hooked.register_forward_hook(lambda module, args, output: output + 0.1)
        elif way == 9:
            self.schedule.step()
        elif way == 10:
            self.load_state_dict(
                {name: x * 0.9 if x.is_floating_point() else x for name, x in self.state_dict().items()}
            )
        elif way == 11:
            optimizer.load_state_dict(optimizer.state_dict())
        elif way == 12:
            with contextlib.suppress(RuntimeError, ValueError):  # the step's own
                self.step(*arguments(99, 4))  # eagerly
        else:
            rv.set_num_threads(draw.randint(1, 2))


def arguments(number: int, n: int, dtype: Any = np.float32) -> tuple[Any, ...]:
    rng = np.random.default_rng(number)
    x, one = rng.standard_normal((2, n, 6)).astype(np.float32)
    more = (rv.tensor(one * 0.5), rng.standard_normal((n, 6)).astype(np.float32))
    return rv.tensor(x.astype(dtype)), rv.tensor(rng.integers(0, 3, n)), {"one": rv.tensor(one)}, *more


def scenario_of(program: Program) -> Scenario:
    def build() -> Case:
        world, draw = World(program), random.Random(program.seed + 1)
        rows, mixed = draw.choice((4, 4, 3)), draw.random() < 0.3

        def inputs(number: int) -> Any:
            n = rows + (mixed and draw.random() < 0.3)
            args = arguments(number, n, np.float64 if mixed and draw.random() < 0.1 else np.float32)
            args[2]["names"] = ["a", number if mixed and number > 9 else 0]
            keywords = {"flag": draw.random() < 0.9, "k": 2 if draw.random() < 0.9 else 1}
            keywords["scale"] = 0.5 if draw.random() < 0.1 else 1.0
            return args, keywords

        def each(number: int, result: Any) -> None:
            if draw.random() < program.changes:
                world.change(draw)

        watch = lambda: [world, world.first, world.second, world.kept]  # noqa: E731
        return Case(world.step, None, watch, inputs, each, raises=True)

    return Scenario(f"steps/{program.seed}", build)


def judged(program: Program) -> tuple[str, str]:
    """("wrong", "as eager", "refused" or "raises", a remark)."""
    one = scenario_of(program)
    expected, got = run(one, False, ()), run(one, True, (), verify=bool(program.seed % 2))
    wrong = difference(expected.seen, got.seen)
    warned = "; ".join(text for text in got.warned if text not in expected.warned)
    if wrong:
        return "wrong", f"{wrong} {warned}"
    raised = [seen["results"] for seen in expected.seen if "raised" in str(seen.get("results", ""))]
    if len(raised) == len(expected.seen):
        return "raises", str(raised[0])
    return (
        "refused" if warned else "as eager",
        warned or f"{got.programs[-1]} programs, {len(raised)} raised",
    )


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
