"""Random programs of views, in-place changes and backward passes, as lines of Python that PyTorch runs too.

A program is drawn line by line while PyTorch runs it, so that most lines are legal. ``T`` is the library.
Numbers are small multiples of a power of two: most results are exact in both libraries.
"""

import random
from typing import Any

from differential import random_lines as lines

SHAPES = (
    *((), (1,), (2,), (3,), (4,)),
    *((2, 3), (3, 2), (2, 2), (1, 3), (2, 1), (2, 3, 2), (2, 1, 3)),
    *((0,), (0, 3)),
)
_LIMIT = 10  # tensors alive at a time


class Drawing:
    """Draws the lines of one program."""

    def __init__(self, seed: int, dtype: str = "") -> None:
        self.rng = random.Random(seed)
        self.count = 0
        self.indices = 0
        self.handles = 0
        self.dtype = self.rng.choice(["float32", "float32", "float64"])
        self.dtype = dtype or self.dtype
        self.shape = self.rng.choice(SHAPES)  # the shape of most tensors, so that they fit each other
        # `.data` is not watched: PyTorch reads what an activation saved there; here it has a copy
        self.unwatched = self.rng.random() < 0.3

    def start(self) -> list[str]:
        first = [self._leaf(True) for _ in range(self.rng.randint(1, 2))]
        return first + [self._leaf(False) for _ in range(self.rng.randint(0, 2))]

    def line(self, tensors: dict[str, Any]) -> str:
        """A line for the tensors that are alive, by name."""
        kinds = _KINDS if len(tensors) < _LIMIT else _KINDS_WHEN_FULL
        kind = self.rng.choices([*kinds], [*kinds.values()])[0]
        tensors = {name: t for name, t in tensors.items() if name[0] == "a"}
        if not tensors:
            return self._leaf(True)
        line = getattr(self, f"_{kind}")(tensors)
        if kind in ("view", "compute", "change", "assign", "pair", "index") and self.rng.random() < 0.12:
            mode = self.rng.choice(["no_grad()"] * 8 + ["enable_grad()", "set_grad_enabled(False)"])
            return f"with T.{mode}: {line}"
        return line

    def may_be_unwatched(self, x: Any) -> bool:
        """True if a line may give x to code that counts no changes: leaves that are no saved result."""
        return self.unwatched and ((on_tape(x) and x.is_leaf) or not x.requires_grad)

    # --- names and numbers
    def new(self) -> str:
        self.count += 1
        return f"a{self.count - 1}"

    def number(self) -> float:
        return self.rng.choice([-2.0, -1.0, -0.5, 0.5, 1.5, 2.0, 3.0])

    def _leaf(self, wants: bool, shape: tuple[int, ...] | None = None) -> str:
        shape = self.shape if shape is None and self.rng.random() < 0.6 else shape
        shape = self.rng.choice(SHAPES) if shape is None else shape
        dtype = self.dtype if self.rng.random() < 0.9 else "float64"
        flag = ", requires_grad=True" if wants else ""
        if 0 in shape:
            return f"{self.new()} = T.zeros({shape}, dtype=T.{dtype}{flag})"
        return f"{self.new()} = T.tensor({self._values(shape)}, dtype=T.{dtype}{flag})"

    def _values(self, shape: tuple[int, ...]) -> Any:
        if not shape:
            return self.rng.randint(-8, 8) / 4
        return [self._values(shape[1:]) for _ in range(shape[0])]

    def _name(self, tensors: dict[str, Any], taped: bool = False) -> str:
        """A tensor; the younger ones more often."""
        names = [n for n in tensors if not taped or on_tape(tensors[n])] or list(tensors)
        return self.rng.choices(names, range(1, len(names) + 1))[0]

    def _operand(self, tensors: dict[str, Any], x: Any) -> str:
        """An operand that fits x: a number, a tensor of its shape or one that broadcasts to it, or any."""
        if self.rng.random() < 0.3:
            return str(self.number())
        shape = tuple(x.shape)
        fits = [
            n for n, t in tensors.items() if _broadcasts(tuple(t.shape), shape) and t.dtype.is_floating_point
        ]
        return self.rng.choice(fits) if fits and self.rng.random() < 0.9 else self._name(tensors)

    def key(self, shape: tuple[int, ...]) -> str:
        """A key of integers, slices, None and ... that gives a view."""
        parts: list[str] = []
        for n in shape[: self.rng.randint(1, max(len(shape), 1))]:
            kind = self.rng.random()
            if kind < 0.45 and n:
                parts.append(str(self.rng.randint(-n, n - 1)))
            elif kind < 0.85:
                start, stop = sorted(self.rng.randint(0, n) for _ in range(2))
                step = self.rng.choice(["", "", ":2"])
                parts.append(self.rng.choice([f"{start}:{stop}{step}", ":", f"{start}:", f":{stop}"]))
            else:
                parts.append(self.rng.choice(["None", ":"]))
        if not parts or self.rng.random() < 0.1:
            parts.append("...")
        return ", ".join(parts)

    def picks(self, shape: tuple[int, ...], once: bool = False) -> str:
        n = shape[0] if shape else 1
        if not shape or self.rng.random() < 0.3:
            return "..."
        places = [self.rng.randint(-n, n - 1) for _ in range(self.rng.randint(1, 3))] if n else []
        if once:  # PyTorch may keep any of several values for one place
            places = list({place % n: place for place in places}.values())
        return str(places)

    # --- lines
    def _make(self, tensors: dict[str, Any]) -> str:
        return self._leaf(self.rng.random() < 0.5)

    def _view(self, tensors: dict[str, Any]) -> str:
        name = self._name(tensors)
        return f"{self.new()} = {name}{self.rng.choice(lines.views(self, name, tensors[name]))}"

    def _compute(self, tensors: dict[str, Any]) -> str:
        name = self._name(tensors)
        x = tensors[name]
        other, third = self._operand(tensors, x), self._name(tensors)
        drawn = self.rng.choice(lines.results(self, name, x, other, third))
        if self.rng.random() < 0.1:  # a name that is bound anew: the tensor before it goes
            return f"{name} = {drawn}"
        return f"{self.new()} = {drawn}"

    def _change(self, tensors: dict[str, Any]) -> str:
        name = self._name(tensors)
        return self.rng.choice(
            lines.changes(self, name, tensors[name], self._operand(tensors, tensors[name]))
        )

    def _assign(self, tensors: dict[str, Any]) -> str:
        name = self._name(tensors)
        x = tensors[name]
        shape = tuple(x.shape)
        key = self.key(shape)
        try:
            part = x.detach()[eval(f"__import__('numpy').s_[{key}]")]
        except IndexError:
            part = x
        data = ".data" if self.may_be_unwatched(x) and self.rng.random() < 0.25 else ""
        kind, value = self.rng.random(), self._operand(tensors, part)
        if kind < 0.15:
            return f"{name}{data}[{self.picks(shape, True)}] = {value}"
        if kind < 0.25:
            return f"{name}{data}[{name} > 0.0] = {self.number()}"
        if kind < 0.3:
            return f"{name}{data}[{name} > 0.0] {self.rng.choice('+*-')}= {self.number()}"
        if kind < 0.35:
            return f"{name}{data}[{self.picks(shape, True)}] {self.rng.choice('+*-')}= {value}"
        if kind < 0.45:
            return f"{name}{data}[{key}] {self.rng.choice('+*-')}= {value}"
        return f"{name}{data}[{key}] = {value}"

    def _pair(self, tensors: dict[str, Any]) -> str:
        """Two results of one call."""
        name = self._name(tensors)
        x = tensors[name]
        dims = [d for d, n in enumerate(x.shape) if n >= 2]
        if not dims:
            return self._view(tensors)
        d = self.rng.choice(dims)
        n = x.shape[d]
        choices = [f"{name}.chunk(2, {d})", f"{name}.chunk(2, {d})", f"{name}.split([1, {n - 1}], {d})"]
        choices += [f"{name}.max({d})", f"{name}.min({d})", f"{name}.sort({d}, stable=True)"]
        if n == 2:
            choices += [f"{name}.unbind({d})"] * 2 + [f"{name}.split(1, {d})", f"list({name})"]
        drawn = self.rng.choice(choices)
        if any(word in drawn for word in ("max", "min", "sort")):
            self.indices += 1
            return f"{self.new()}, i{self.indices - 1} = {drawn}"
        return f"{self.new()}, {self.new()} = {drawn}"

    def _index(self, tensors: dict[str, Any]) -> str:
        """A tensor of indices, made, used or changed."""
        name = self._name(tensors)
        if not self.indices or self.rng.random() < 0.2:
            self.indices += 1
            return f"i{self.indices - 1} = T.tensor([0, {self.rng.choice([0, 1, 1])}])"
        i = f"i{self.rng.randrange(self.indices)}"
        return self.rng.choice(lines.with_index(self, name, tensors[name], i, self._name(tensors)))

    def _backward(self, tensors: dict[str, Any]) -> str:
        name, other = self._name(tensors, taped=True), self._name(tensors, taped=True)
        keep = self.rng.choice(["", "", "retain_graph=True"])
        kind = self.rng.random()
        if kind < 0.15:
            return f"{name}.backward(T.ones_like({name}), {keep})"
        if kind < 0.3:
            return f"{name}.sum().backward(inputs=[{other}], {keep})"
        if kind < 0.4:
            return f"({name} * 2.0).sum().backward({keep}); ({other} ** 2).sum().backward({keep})"
        return f"{name}.sum().backward({keep})"

    def _hook(self, tensors: dict[str, Any]) -> str:
        name = self._name(tensors, taped=True)
        return self.rng.choice(
            [
                f"{name}.register_hook(lambda g: g * 2)",
                f"{name}.register_hook(lambda g: log.append(float(g.sum())))",
                f"{name}.retain_grad()",
                f"{name}.retain_grad()",
                f"{self._handle()} = {name}.register_hook(lambda g: g * 3)",
                f"{name}.register_post_accumulate_grad_hook(lambda t: log.append(float(t.grad.sum())))",
                f"h{max(self.handles - 1, 0)}.remove()",
            ]
        )

    def _handle(self) -> str:
        self.handles += 1
        return f"h{self.handles - 1}"

    def _flag(self, tensors: dict[str, Any]) -> str:
        name = self._name(tensors)
        return self.rng.choice(
            [
                f"{name}.requires_grad_()",
                f"{name}.requires_grad = {self.rng.choice([True, False])}",
                f"{name}.requires_grad_(False)",
                f"{name}.detach_()"
                if on_tape(tensors[name]) and not tensors[name].is_leaf
                else f"{name}.requires_grad_(False)",
                f"{name}.grad = None",
                f"{name}.grad.mul_(2.0)",
                f"{name}.grad.zero_()",
                f"{name}.grad = {self._name(tensors)}.detach().clone()",
                f"{self.new()} = {name}.grad.clone()",
                f"{self.new()} = {name}.grad",
                f"{name}.grad = {self._name(tensors)}.detach()",
            ]
        )

    def _forget(self, tensors: dict[str, Any]) -> str:
        return f"del {self.rng.choice(list(tensors))}"

    def dim(self, ndim: int) -> int:
        return self.rng.randint(0, max(ndim - 1, 0))

    def order(self, ndim: int) -> str:
        return ", ".join(map(str, self.rng.sample(range(ndim), ndim))) or "()"

    def reshaped(self, shape: tuple[int, ...]) -> str:
        size = 1
        for n in shape:
            size *= n
        new = self.rng.choice([(-1,), (size,), (1, size), shape[::-1], (*shape, 1)])
        return str(new if size or -1 not in new else (0,))


def same_memory(x: Any, y: Any) -> bool:
    return bool(x.untyped_storage()._cdata == y.untyped_storage()._cdata)


def on_tape(x: Any) -> bool:
    """True if PyTorch's tensor requires gradients and can have hooks.

    A view made under no_grad() says that it requires them where its base does, has no history, and
    ``register_hook`` of it ends the process.
    """
    try:
        return bool(x.requires_grad and not (x._is_view() and x.grad_fn is None))
    except RuntimeError:
        return False


def reaches_leaf(x: Any) -> bool:
    """True if a gradient of PyTorch's tensor gets to a leaf."""
    if not on_tape(x) or x.grad_fn is None:
        return on_tape(x)
    nodes = [x.grad_fn]
    while nodes:
        node = nodes.pop()
        if "AccumulateGrad" in type(node).__name__:
            return True
        nodes += [edge for edge, _ in node.next_functions if edge is not None]
    return False


# the kinds of lines, each a method of Drawing, and how often they are drawn
_KINDS = {"make": 1, "view": 9, "compute": 5, "change": 9, "assign": 5, "pair": 0.7, "index": 2}
_KINDS |= {"backward": 2, "hook": 1.5, "flag": 1, "forget": 1}
_KINDS_WHEN_FULL = {"change": 4, "assign": 3, "backward": 2, "hook": 1, "forget": 6}


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    if len(shape) > len(to):
        return False
    return all(n in (1, m) for n, m in zip(shape[::-1], to[::-1], strict=False))
