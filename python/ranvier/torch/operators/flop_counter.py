"""torch.utils.flop_counter: counts the floating-point operations of products, for each module.

The counts follow PyTorch's formulas. Those of the backward pass are known from the forward call, and are
added when backward is called.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ranvier import Tensor
from ranvier.nn import Module, MultiheadAttention
from ranvier.torch.operators.torch_ops import ops
from ranvier.torch.torch_function.dispatch import pop, push
from ranvier.torch.torch_function.overrides import TorchFunctionMode

_Part = tuple[str, int, str, int]  # an operator, its count, and the operator and the count of its gradients


def _product(op: str, count: int, back: str, *operands: Tensor, shares: Any = None) -> _Part:
    """The counts of a product.

    The gradient of each operand that needs one counts as the product times its share.
    """
    shares = shares or [1] * len(operands)
    return op, count, back, sum(count * n for x, n in zip(operands, shares, strict=True) if _grad(x))


def _grad(x: Tensor) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def _linear(y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Iterator[_Part]:
    yield _product("mm" if bias is None else "addmm", 2 * x.numel() * weight.shape[0], "mm", x, weight)


def _matmul(y: Tensor, a: Tensor, b: Tensor, **_: Any) -> Iterator[_Part]:
    if min(a.ndim, b.ndim) > 1:
        op = "mm" if b.ndim == 2 else "bmm"
        yield _product(op, 2 * y.numel() * a.shape[-1], op, a, b)


def _added(op: str, back: str) -> Callable[..., Iterator[_Part]]:
    def parts(y: Tensor, x: Tensor, a: Tensor, b: Tensor, **_: Any) -> Iterator[_Part]:
        yield _product(op, 2 * y.numel() * a.shape[-1], back, a, b)

    return parts


def _einsum(y: Tensor, equation: Any, *operands: Any) -> Iterator[_Part]:
    if operands and isinstance(operands[0], (list, tuple)):
        parts = operands[0]
    else:
        parts = operands
    if isinstance(equation, str) and "." not in equation and len(parts) == 2:
        terms = equation.replace(" ", "").partition("->")[0].split(",")
        sizes: dict[str, int] = {}
        for term, x in zip(terms, parts, strict=True):
            sizes |= zip(term, x.shape, strict=True)
        yield _product("bmm", 2 * math.prod(sizes.values()), "bmm", *parts)


def _convolution(transposed: bool) -> Callable[..., Iterator[_Part]]:
    def parts(y: Tensor, x: Tensor, weight: Tensor, *rest: Any, groups: int = 1, **_: Any) -> Iterator[_Part]:
        places = (x if transposed else y).shape
        count = 2 * math.prod(weight.shape) * places[0] * math.prod(places[2:])
        shares = (1, rest[4] if len(rest) > 4 else groups)  # the weight's is counted with all channels
        yield _product("convolution", count, "convolution_backward", x, weight, shares=shares)

    return parts


def _attention(
    y: Tensor,
    layer: MultiheadAttention,
    query: Tensor,
    key: Any,
    value: Any,
    mask: Tensor | None = None,
    need_weights: bool = True,
    *_: Any,
    **__: Any,
) -> Iterator[_Part]:
    """FLOP of the products of MultiheadAttention, forward and backward."""
    size = layer.embed_dim
    weights = next(layer.parameters())
    for x in (query, key, value):
        yield _product("addmm", 2 * x.numel() * size, "mm", x, weights)
    count = 2 * query.numel() * size
    yield "addmm", count, "mm", count * (1 + weights.requires_grad) * y[0].requires_grad
    if need_weights or (layer.training and layer.dropout):
        steps = key.numel() // key.shape[-1] // max(1, query.numel() // query.shape[-1] // query.shape[0])
        scores = 2 * query.numel() * steps
        yield "bmm", 2 * scores, "bmm", 4 * scores * y[0].requires_grad


def _recurrent(y: Tensor, layer: Module, x: Tensor, *_: Any, **__: Any) -> Iterator[_Part]:
    if getattr(layer, "mode", "") != "LSTM" and isinstance(x, Tensor):  # one operator without a formula
        rows = x.numel() // x.shape[-1]
        for weight in [p for p in layer.parameters() if p.ndim == 2]:
            yield _product("addmm", 2 * rows * weight.numel(), "mm", weight)


_PARTS: dict[str, Callable[..., Iterator[_Part]]] = {
    "linear": _linear,
    **dict.fromkeys(("matmul", "mm", "bmm", "__matmul__"), _matmul),
    "addmm": _added("addmm", "mm"),
    "baddbmm": _added("baddbmm", "bmm"),
    "einsum": _einsum,
    **{f"conv{n}d": _convolution(False) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _convolution(True) for n in (1, 2)},
    "multi_head_attention_forward": _attention,
    **dict.fromkeys(("rnn", "rnn_tanh_cell", "lstm_cell", "gru_cell"), _recurrent),
}


class FlopCounterMode(TorchFunctionMode):
    """Counts within a block.

    >>> import ranvier as rv
    >>> with FlopCounterMode(display=False) as counter:
    ...     y = rv.nn.Linear(4, 3)(rv.ones(2, 4))
    >>> counter.get_total_flops()
    48
    """

    def __init__(self, mods: Any = None, depth: int = 2, display: bool = True, **settings: Any) -> None:
        super().__init__()
        self.depth = depth
        self.display = display
        self.flop_counts: dict[str, dict[Any, int]] = defaultdict(lambda: defaultdict(int))
        self._names: dict[Module, str] = {}
        # (names of modules, operator, count) that the next backward pass adds
        self._waiting: list[tuple[list[str], str, int]] = []

    def get_total_flops(self) -> int:
        return sum(self.flop_counts["Global"].values())

    def get_flop_counts(self) -> dict[str, dict[Any, int]]:
        return {name: dict(counts) for name, counts in self.flop_counts.items()}

    def get_table(self, depth: int | None = None) -> str:
        """A line for each module that is no deeper: its count and its share."""
        total = self.get_total_flops()
        names = [name for name in self.flop_counts if name.count(".") < (depth or self.depth)]
        in_order = sorted(names, key=lambda n: (n != "Global", n))
        sums = {name: sum(self.flop_counts[name].values()) for name in in_order}
        lines = [f"{name:40} {n:15} {n / max(total, 1):8.2%}" for name, n in sums.items()]
        return "\n".join([f"{'Module':40} {'FLOP':>15} {'% Total':>8}", *lines])

    def __enter__(self) -> FlopCounterMode:
        self.flop_counts.clear()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if self.display:
            print(self.get_table())

    def __torch_function__(
        self,
        func: Any,
        types: Iterable[type],
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = func.__name__
        if name == "forward" and (hasattr(args[0], "weight") or any(args[0].children())):
            push(self)  # the call of a whole layer, by a meta tensor: the calls inside it are counted
            try:
                return func.__wrapped__(*args, **kwargs)
            finally:
                pop()
        result = func(*args, **kwargs)
        if name in ("backward", "grad"):
            for names, op, count in self._waiting:
                self._add(names, op, count)
            self._waiting.clear()
        for op, count, back, more in _PARTS[name](result, *args, **kwargs) if name in _PARTS else ():
            names = self._modules(args)
            self._add(names, op, count)
            outputs = result if isinstance(result, tuple) else (result,)
            if more and any(_grad(y) for y in outputs):
                self._waiting.append((names, back, more))
        return result

    def _add(self, names: list[str], op: str, count: int) -> None:
        for name in names:
            self.flop_counts[name][getattr(ops.aten, op)] += count

    def _modules(self, args: Any) -> list[str]:
        """The names of the modules whose forward runs now, from the frames of the stack.

        A name is the class of the outermost module, and the path below it.
        """
        frame = sys._getframe(2)
        running = [x for x in args[:1] if isinstance(x, Module)]
        while frame is not None:
            code = frame.f_code
            if code.co_name == "forward":
                module = frame.f_locals.get(code.co_varnames[0])
            else:
                module = None
            if isinstance(module, Module) and module not in running:
                running.append(module)
            frame = frame.f_back  # type: ignore[assignment]
        for module in reversed(running):
            name = self._names.setdefault(module, type(module).__name__)
            self._names |= {child: f"{name}.{key}" for key, child in module.named_children()}
        return ["Global", *(self._names[module] for module in running)]
