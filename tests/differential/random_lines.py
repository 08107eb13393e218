"""The operations of a random program on a tensor: the lines that `random_programs` chooses from."""

from typing import Any

ELEMENTWISE = ("abs", "cos", "exp", "expm1", "neg", "reciprocal", "relu", "round", "sigmoid", "sign", "sin")
ACTIVATIONS = ("elu", "gelu", "hardtanh", "leaky_relu", "relu", "selu", "sigmoid", "silu", "softplus", "tanh")
REDUCTIONS = ("amax", "amin", "logsumexp", "mean", "norm", "prod", "std", "sum", "var")
WITHOUT_ARGUMENTS = ("clone", "clone", "sum", "float", "double", "mean", "max", "tril")
ALONG = ("cumprod", "cumsum", "log_softmax", "softmax")


def is_name(operand: str) -> bool:
    """True if an operand is a tensor, by its name (a0, a1, ...), and not a number."""
    return operand.startswith("a")


def views(drawing: Any, name: str, x: Any) -> list[str]:
    """Texts that follow the name in a line that makes, or may make, a view of x."""
    rng, d = drawing.rng, drawing.dim(x.ndim)
    n = x.shape[d] if x.ndim else 1
    start = rng.randint(0, max(n - 1, 0))
    shape = tuple(x.shape)
    choices = [
        f"[{drawing.key(shape)}]",
        f"[{drawing.key(shape)}]",
        f"[{drawing.key(shape)}][{rng.choice(['...', '0', ':1', '1:'])}]",
        f".select({d}, {start})",
        f".narrow({d}, {start}, {rng.randint(0, n - start)})",
        f".permute({drawing.order(x.ndim)})",
        f".transpose({d}, {drawing.dim(x.ndim)})",
        f".movedim({d}, {drawing.dim(x.ndim)})",
        f".view({drawing.reshaped(shape)})",
        f".reshape({drawing.reshaped(shape)})",
        f".unsqueeze({rng.randint(0, x.ndim)})",
        f".squeeze({rng.choice(['', str(d)])})",
        f".expand({', '.join(['2', *map(str, x.shape)])})",
        f".expand({', '.join(str(3 if n == 1 else n) for n in x.shape) or '2'})",
        f".broadcast_to({(2, *shape)})",
        f".unbind({d})[{start}]",
        f".split({rng.randint(1, max(n, 1))}, {d})[0]",
        f".chunk(2, {d})[0]",
        ".detach()",
        ".data" if drawing.may_be_unwatched(x) else ".detach()",
        f".view_as({name})",
        ".flatten()",
        ".ravel()",
        ".contiguous()",
        f".to({name}.dtype)",
        ".float()",
        f".flip({d})" if x.ndim else ".flip(())",
        f".expand_as({name})",
        f".unflatten({d}, (-1, 1))" if x.ndim else ".view(1)",
    ]
    if x.ndim >= 2:
        choices += [f".diagonal({rng.randint(-1, 1)})"] * 2 + [".mT", ".swapaxes(0, 1)"]
    if x.ndim == 2:
        choices += [".T", ".t()"]
    return choices


def results(drawing: Any, name: str, x: Any, other: str, third: str) -> list[str]:
    """Lines that make a new tensor from x. other: a number or a name that mostly fits x; third: any name."""
    rng, d = drawing.rng, drawing.dim(x.ndim)
    functional = "T.nn.functional"
    # In a program whose lines change memory unwatched, PyTorch would read the changed values of what a
    # quotient, a ReLU or an activation in place has saved; this library has copies. It gets other lines.
    unwatched = drawing.unwatched
    choices = [
        f"{name} + {other}",
        f"{name} - {other}",
        *[f"{name} * {other}"] * 2,
        f"{other} - {name}",
        f"{name} / {drawing.number()}",
        f"{name} * {name}" if unwatched else f"{drawing.number()} / {name}",
        f"{name} ** {rng.choice([2, 3, 0.5, 1, 0])}",
        f"-{name}",
        *(f"{name}.{method}()" for method in WITHOUT_ARGUMENTS),
        f"{name}.{rng.choice(REDUCTIONS)}(dim={d})",
        f"{name}.{rng.choice(REDUCTIONS)}(dim={d}, keepdim=True)",
        f"{name}.{rng.choice(ALONG)}({d})",
        *(f"{name}.{rng.choice(ELEMENTWISE)}()" for _ in range(3)),
        *(f"{functional}.{rng.choice(ACTIVATIONS)}({name})" for _ in range(2)),
        f"{name}.clamp(-1.0, 1.5)",
        f"{name}.clamp({third})",
        f"{name}.to(T.float64)",
        f"{name}.{rng.choice(['long', 'int', 'bool'])}()",
        f"({name} > 0.0)",
        f"{name}[{drawing.picks(tuple(x.shape))}]",
        f"{name}[{name} > 0.0]",
        f"{name}.masked_select({name} < 1.0)",
        f"T.where({name} > 0.0, {name}, {other})",
        f"T.where({third} > 0.0, {name}, {third})",
        f"{functional}.{'relu6' if unwatched else 'relu'}({name}, inplace={not unwatched})",
        f"{name}.masked_fill({name} > 0.0, {drawing.number()})",
        f"{name}.masked_fill({name} > 0.0, {third}.sum())",
        f"T.cat([{name}, {third if rng.random() < 0.3 else name}], {d})",
        f"T.stack([{name}, {third if rng.random() < 0.3 else name}], {d})",
        f"{name}.max({d})[0]",
        f"{name}.repeat({', '.join('2' for _ in x.shape) or '1'})",
        f"{name}.roll(1, {d})",
        f"{name}.clone().detach()",
        f"{name}.detach().clone().requires_grad_()",
        f"T.zeros_like({name})",
        f"T.ones_like({name}, requires_grad=True)",
        f"T.maximum({name}, {third})",
        f"{name} @ {other}" if x.ndim and is_name(other) else f"{name}.clone()",
        f"{name}.matmul({name}.transpose(0, 1))" if x.ndim == 2 else f"{name} * {name}",
        f"{functional}.linear({name}, {third})",
        f"{functional}.mse_loss({name}, {name}.detach() * 0.5)",
        f"{functional}.dropout({name}, 0.0)",
        f"{functional}.leaky_relu({name}, inplace={not unwatched})",
        f"{functional}.{rng.choice(['elu', 'hardtanh', 'leaky_relu'])}({name}, inplace={not unwatched})",
        f"T.autograd.grad({name}.sum(), {third}, None, True, allow_unused=True)[0].clone()",
        f"T.autograd.grad([{name}.sum(), ({third} * 2.0).sum()], [{name}, {third}], retain_graph=True, "
        "allow_unused=True)[1].clone()",
    ]
    if drawing.may_be_unwatched(x):
        choices.append(f"T.from_numpy({name}.detach().numpy())")
    return choices


def changes(drawing: Any, name: str, x: Any, other: str) -> list[str]:
    """Lines that change the tensor in place. other: a number or a name that mostly fits it."""
    rng, number = drawing.rng, drawing.number()
    tensor = other if is_name(other) else name
    choices = [
        f"{name}.add_({other})",
        f"{name}.add_({other}, alpha=0.5)",
        f"{name}.sub_({other})",
        *[f"{name}.mul_({other})"] * 2,
        f"{name}.div_({number})",
        f"{name}.div_({other})",
        f"{name}.pow_({rng.choice([2, 2, 3, 1, 0, 0.5])})",
        f"{name}.copy_({tensor})",
        f"{name}.copy_({tensor}.detach())",
        f"{name}.copy_({tensor}.double())",
        f"{name}.fill_({number})",
        f"{name}.zero_()",
        f"{name}.clamp_(-1.0, 1.0)",
        f"{name}.clamp_(max={tensor})",
        f"{name}.masked_fill_({name} > 0.0, {number})",
        f"{name}.masked_fill_({name} > 0.0, {tensor}.sum())",
        f"{name} += {other}",
        f"{name} *= {other}",
        f"{name} -= {other}",
        f"{name} /= {number}",
        f"{name} **= 2",
        f"{name}.detach().add_({other})",
        f"{name}.neg_()",
        f"{name}.add_({name})",
        f"{name}.mul_({name}.detach())",
        f"{name}.unsqueeze_({rng.randint(0, x.ndim)})",
        f"{name}.squeeze_()",
        f"{name}.transpose_({drawing.dim(x.ndim)}, {drawing.dim(x.ndim)})",
        f"{name}.addcmul_({tensor}, {tensor}, value=0.5)",
        f"{name}.lerp_({tensor}, 0.5)",
        f"{name}.clamp_min_({number})",
        f"{name}.masked_scatter_({name} > 0.0, {name}.detach() * 2.0)",
        f"{name}.masked_fill_({tensor} > 0.0, {number})",
        f"{name}.index_put_(({name} > 0.0,), T.tensor({number}, dtype={name}.dtype))",
        f"{name}[{tensor} > 0.0] = {tensor}[{tensor} > 0.0]",
    ]
    if x.ndim == 2:
        choices += [f"{name}.fill_diagonal_({number})", f"{name}.tril_()"]
    if drawing.may_be_unwatched(x):
        choices += [
            f"{name}.data.mul_({number})",
            f"{name}.data.copy_({name})",
            f"{name}.data.add_({other})",
            f"{name}.detach().numpy()[...] = {number}",
        ]
        if not x._is_view():  # in PyTorch it stays a view of its base, with other memory
            choices.append(f"{name}.data = {name}.detach() * {number}")
    if not drawing.unwatched:
        choices += [f"{name}.{rng.choice(['relu', 'sigmoid', 'tanh', 'exp', 'sqrt'])}_()" for _ in range(4)]
    return choices


def with_index(drawing: Any, name: str, x: Any, i: str, third: str) -> list[str]:
    """Lines with a tensor of two indices. third: any name.

    In most draws many are refused: third rarely has the shape of what is written, and an index may be out of
    range. Both libraries have to refuse the same ones.
    """
    rng, d, new = drawing.rng, drawing.dim(x.ndim), drawing.new
    row = f"{i}.reshape({'1, ' * (x.ndim - 1)}2)"
    return [
        f"{new()} = {name}[{i}]",
        f"{new()} = {name}[:, {i}]",
        f"{new()} = {name}[..., {i}]",
        f"{new()} = {name}.index_select({d}, {i})",
        f"{new()} = {name}.gather({d}, {row})",
        f"{new()} = {name}.take_along_dim({row}, {d})",
        f"{name}[{i}] = {drawing.number()}",
        f"{name}[:, {i}[1]] = {third}",
        f"{name}.index_add_({d}, {i}, {name}.detach().index_select({d}, {i}))",
        f"{name}.index_add_({d}, {i}, {third}.index_select({d}, {i}), alpha=2.0)",
        f"{name}.scatter_(0, {i}, {drawing.number()})",
        f"{name}.scatter_({d}, {row}[..., :1], {third})",
        f"{name}.scatter_add_({d}, {row}, {third})",
        f"{name}.scatter_({d}, {i}, {third})",
        f"{name}.scatter_({d}, {row}, {drawing.number()})",
        f"{name}.scatter_({d}, {row}, {drawing.number()}, reduce={rng.choice(['add', 'multiply'])!r})",
        f"{name}.scatter_({d}, {row} + 1, {third})",
        f"{name}.scatter_reduce_({d}, {row}, {third}, {rng.choice(['sum', 'amax', 'mean'])!r})",
        f"{name}.index_put_(({i},), {third}, accumulate=True)",
        f"{name}.index_put_(({i}[:1],), {third})",
        f"{name}.index_fill_({d}, {i}, {drawing.number()})",
        f"{name}.index_copy_({d}, {i}[1:], {name}.detach().index_select({d}, {i}[1:]) * 2.0)",
        f"{new()} = {name}.scatter({d}, {row}[..., :1], {third})",
        f"{new()} = {name}.index_add({d}, {i}, {third}.index_select({d}, {i}))",
        f"{new()} = {name}.repeat_interleave({i} + 1, {d})",
        f"{new()} = T.nn.functional.embedding({i}, {name})",
        f"{i}.zero_()",
        f"{i}[0] = 1",
    ]
