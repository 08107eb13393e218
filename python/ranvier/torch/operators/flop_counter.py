"""torch.utils.flop_counter: counts the floating-point operations of products, for each module.

The counts follow PyTorch's formulas: a product of (m, k) and (k, n) matrices counts 2 m k n. Those of the
backward pass are known from the forward call, and are added when backward is called. A formula below gets the
result and the arguments of a call, and gives a `_Product` for each product that the call computes.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import Any, NamedTuple

from ranvier import Tensor
from ranvier.nn import Module, MultiheadAttention
from ranvier.torch.operators.torch_ops import ops
from ranvier.torch.torch_function.dispatch import pop, push
from ranvier.torch.torch_function.overrides import TorchFunctionMode


class _Product(NamedTuple):
    """The operations of a product, and of the gradients that its backward pass computes."""

    op: str  # the name of the operator in torch.ops.aten, by which they are listed
    flops: int
    backward_op: str
    backward_flops: int


def _count(
    op: str,
    flops: int,
    backward_op: str,
    *operands: Tensor,
    shares: Sequence[int] | None = None,
) -> _Product:
    """A product of operands. The gradient of each that needs one counts as the product times its share.

    shares: one for each operand. None: 1 each.
    """
    if shares is None:
        shares = [1] * len(operands)
    backward_flops = 0
    for operand, share in zip(operands, shares, strict=True):
        if _needs_gradient(operand):
            backward_flops += flops * share
    return _Product(op, flops, backward_op, backward_flops)


def _needs_gradient(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def _linear(y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Iterator[_Product]:
    out_features = weight.shape[0]
    if bias is None:
        op = "mm"
    else:
        op = "addmm"
    yield _count(op, 2 * x.numel() * out_features, "mm", x, weight)


def _matmul(y: Tensor, a: Tensor, b: Tensor, **_: Any) -> Iterator[_Product]:
    if min(a.ndim, b.ndim) < 2:  # PyTorch counts no products with vectors
        return
    if b.ndim == 2:
        op = "mm"
    else:
        op = "bmm"
    yield _count(op, 2 * y.numel() * a.shape[-1], op, a, b)


def _addmm(y: Tensor, x: Tensor, a: Tensor, b: Tensor, **_: Any) -> Iterator[_Product]:
    yield _count("addmm", 2 * y.numel() * a.shape[-1], "mm", a, b)


def _baddbmm(y: Tensor, x: Tensor, a: Tensor, b: Tensor, **_: Any) -> Iterator[_Product]:
    yield _count("baddbmm", 2 * y.numel() * a.shape[-1], "bmm", a, b)


def _einsum(y: Tensor, equation: Any, *operands: Any) -> Iterator[_Product]:
    """Einsum of two operands; of others, and of an equation with "...", nothing is counted."""
    if operands and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])  # einsum(equation, [a, b])
    if not isinstance(equation, str) or "." in equation or len(operands) != 2:
        return
    inputs = equation.replace(" ", "").partition("->")[0]
    sizes: dict[str, int] = {}  # of each letter
    for letters, operand in zip(inputs.split(","), operands, strict=True):
        sizes.update(zip(letters, operand.shape, strict=True))
    yield _count("bmm", 2 * math.prod(sizes.values()), "bmm", *operands)


def _convolution(
    y: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    **_: Any,
) -> Iterator[_Product]:
    yield _count_windows(y, x, weight, groups)


def _transposed_convolution(
    y: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    **_: Any,
) -> Iterator[_Product]:
    yield _count_windows(x, x, weight, groups)


def _count_windows(windows: Tensor, x: Tensor, weight: Tensor, groups: int) -> _Product:
    """A convolution. windows, (n, c, *size): the weight is applied once at each of its places."""
    places = windows.shape[0] * math.prod(windows.shape[2:])
    flops = 2 * math.prod(weight.shape) * places
    shares = (1, groups)  # PyTorch counts the gradient of the weight as if each group had all channels
    return _count("convolution", flops, "convolution_backward", x, weight, shares=shares)


def _attention(
    y: tuple[Tensor, Tensor | None],
    layer: MultiheadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    *_: Any,
    **__: Any,
) -> Iterator[_Product]:
    """The products of MultiheadAttention: three projections, that of the result, and those of the scores."""
    size = layer.embed_dim
    weights = next(layer.parameters())
    needs_gradient = y[0].requires_grad
    for x in (query, key, value):
        yield _count("addmm", 2 * x.numel() * size, "mm", x, weights)
    projection = 2 * query.numel() * size
    gradients = 0
    if needs_gradient:
        gradients = 1 + int(weights.requires_grad)  # of the input of the projection, and of its weight
    yield _Product("addmm", projection, "mm", projection * gradients)
    if need_weights or (layer.training and layer.dropout):
        rows = query.numel() // query.shape[-1]
        batch = max(1, rows // query.shape[0])  # a query is (steps, batch, size), or (steps, size)
        key_steps = key.numel() // key.shape[-1] // batch
        scores = 2 * query.numel() * key_steps
        # query @ key and scores @ value; each has a gradient for both of its operands
        yield _Product("bmm", 2 * scores, "bmm", 4 * scores * int(needs_gradient))


def _recurrent(y: Any, layer: Module, x: Any, *_: Any, **__: Any) -> Iterator[_Product]:
    """A recurrent layer; for an LSTM, one operator without a formula in PyTorch, nothing is counted."""
    if getattr(layer, "mode", "") == "LSTM" or not isinstance(x, Tensor):
        return
    rows = x.numel() // x.shape[-1]
    matrices = [p for p in layer.parameters() if p.ndim == 2]
    for weight in matrices:
        yield _count("addmm", 2 * rows * weight.numel(), "mm", weight)


# The name of a function or method -> what gives its products. Functions that are not here count nothing.
_FORMULAS: dict[str, Callable[..., Iterator[_Product]]] = {
    "linear": _linear,
    "matmul": _matmul,
    "mm": _matmul,
    "bmm": _matmul,
    "__matmul__": _matmul,
    "addmm": _addmm,
    "baddbmm": _baddbmm,
    "einsum": _einsum,
    "conv1d": _convolution,
    "conv2d": _convolution,
    "conv3d": _convolution,
    "conv_transpose1d": _transposed_convolution,
    "conv_transpose2d": _transposed_convolution,
    "multi_head_attention_forward": _attention,
    "rnn": _recurrent,
    "rnn_tanh_cell": _recurrent,
    "lstm_cell": _recurrent,
    "gru_cell": _recurrent,
}


class _Waiting(NamedTuple):
    """Operations that the next backward pass adds to the counts of modules."""

    modules: list[str]
    op: str
    flops: int


class FlopCounterMode(TorchFunctionMode):
    """Count the floating-point operations of the calls within a block.

    depth: how many levels of modules `get_table` lists.
    display: print that table at the end of the block.

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
        self._waiting: list[_Waiting] = []

    def get_total_flops(self) -> int:
        return sum(self.flop_counts["Global"].values())

    def get_flop_counts(self) -> dict[str, dict[Any, int]]:
        return {name: dict(counts) for name, counts in self.flop_counts.items()}

    def get_table(self, depth: int | None = None) -> str:
        """A line for each module that is no deeper: its count and its share."""
        total = max(self.get_total_flops(), 1)
        max_depth = depth or self.depth
        names = sorted(name for name in self.flop_counts if name.count(".") < max_depth)
        if "Global" in names:
            names.remove("Global")
            names.insert(0, "Global")
        lines = [f"{'Module':40} {'FLOP':>15} {'% Total':>8}"]
        for name in names:
            flops = sum(self.flop_counts[name].values())
            lines.append(f"{name:40} {flops:15} {flops / total:8.2%}")
        return "\n".join(lines)

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
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Every call of a function within the block comes here; it runs, and its products are counted."""
        kwargs = kwargs or {}
        name = func.__name__
        if name == "forward" and (hasattr(args[0], "weight") or any(args[0].children())):
            push(self)  # the call of a whole layer, by a meta tensor: the calls inside it are counted
            try:
                return func.__wrapped__(*args, **kwargs)  # type: ignore[attr-defined]
            finally:
                pop()
        result = func(*args, **kwargs)
        if name in ("backward", "grad"):
            for waiting in self._waiting:
                self._add(waiting.modules, waiting.op, waiting.flops)
            self._waiting.clear()
        if name not in _FORMULAS:
            return result
        products = list(_FORMULAS[name](result, *args, **kwargs))
        if not products:
            return result
        outputs = result
        if not isinstance(outputs, tuple):
            outputs = (result,)
        is_recorded = any(_needs_gradient(y) for y in outputs)
        modules = self._find_modules(args)
        for product in products:
            self._add(modules, product.op, product.flops)
            if product.backward_flops and is_recorded:
                self._waiting.append(_Waiting(modules, product.backward_op, product.backward_flops))
        return result

    def _add(self, modules: list[str], op: str, flops: int) -> None:
        for name in modules:
            self.flop_counts[name][getattr(ops.aten, op)] += flops

    def _find_modules(self, args: tuple[Any, ...]) -> list[str]:
        """The names of the modules whose forward runs now, from the frames of the stack; first "Global".

        A name is the class of the outermost module, and the path below it. args: those of the call that is
        counted, whose first one may be a layer that runs as a whole.
        """
        running = [x for x in args[:1] if isinstance(x, Module)]
        frame: FrameType | None = sys._getframe(2)  # the caller of __torch_function__
        while frame is not None:
            code = frame.f_code
            if code.co_name == "forward":
                module = frame.f_locals.get(code.co_varnames[0])  # the self of this forward
                if isinstance(module, Module) and module not in running:
                    running.append(module)
            frame = frame.f_back
        for module in reversed(running):
            name = self._names.setdefault(module, type(module).__name__)
            for key, child in module.named_children():
                self._names[child] = f"{name}.{key}"
        return ["Global"] + [self._names[module] for module in running]
