"""References of the core's losses, recurrent layers, random numbers and updates; see ``core_references``."""

from collections.abc import Callable
from typing import Any

import numpy as np
from reference import augment, class_loss, distance, dropout, loss, optimizer, penalty, recurrent
from support.core_references import Changed, add

Array = np.ndarray[Any, Any]


# --- losses: the mean or sum of all elements; backward gives one of the gradients
def _given(c: dict[str, Any], *names: str) -> dict[str, Any]:
    """The settings of a loss: the others, without those that are None."""
    return {name: v for name, v in c.items() if name not in names and v is not None}


def _element_loss(function: Any, inputs: tuple[str, ...], which: str) -> tuple[Any, Any]:
    def forward(**c: Any) -> Any:
        return function(*(c[name] for name in inputs), **_given(c, *inputs))

    def backward(**c: Any) -> Any:
        arrays, settings = [c[name] for name in inputs], _given(c, *inputs, which, "dy")
        found = function.backward(c["dy"], *arrays, **settings)
        return found[inputs.index(c[which]) if which == "of" else int(c[which])]

    return forward, backward


def _elements(c: Any) -> int:
    return int(c["x" if "x" in c else "x1"].size) + 8


_LOSSES = (
    "mse l1 soft_margin smooth_l1 huber hinge_embedding cosine_margin bce bce_with_logits kl_div "
    "sigmoid_focal poisson_nll"
)
for _name in _LOSSES.split():
    _pair = _element_loss(getattr(loss, _name), ("x", "target"), "of_target")
    add(_name, _pair[0], _elements, 2)
    add(f"{_name}_backward", _pair[1], 8, 2)
for _name, _inputs in (("margin_ranking", ("x1", "x2", "target")), ("gaussian_nll", ("x", "target", "var"))):
    _pair = _element_loss(getattr(loss, _name), _inputs, "of")
    add(_name, _pair[0], _elements, 2)
    add(f"{_name}_backward", _pair[1], 8, 2)


def _class_loss(function: Any, with_sums: bool) -> tuple[Any, Any]:
    def forward(x: Array, target: Array, reduction: str, **settings: Any) -> Any:
        settings = _given(settings)
        shares = function.parts(x, target, **settings)[1]
        divisor = np.asarray(shares.sum() if reduction == "mean" else 1.0)
        top = x.max(1, keepdims=True)
        sums = np.log(np.exp(x - top).sum(1)) + top[:, 0]
        found = function(x, target, reduction=reduction, **settings), divisor
        return (*found, sums) if with_sums else found

    def backward(dy: Array, x: Array, target: Array, reduction: str, **c: Any) -> Any:
        settings = _given(c, "divisor", "log_sum_exp", "of_target")
        return function.backward(dy, x, target, reduction=reduction, **settings)[
            int(c.get("of_target", False))
        ]

    return forward, backward


for _name in ("cross_entropy", "nll", "focal", "multi_margin"):
    _pair = _class_loss(getattr(class_loss, _name), _name in ("cross_entropy", "focal"))
    add(_name, _pair[0], _elements, 2)
    add(f"{_name}_backward", _pair[1], _elements, 2)

for _name in ("cosine_similarity", "pairwise_distance"):
    _back = getattr(distance, f"{_name}_backward")
    add(_name, getattr(distance, _name), lambda c: c["x1"].size + 8, 2)
    add(
        f"{_name}_backward",
        lambda dy, x1, x2, of_second, _back=_back, **c: _back(dy, x1, x2, **c)[int(of_second)],
        lambda c: c["x1"].size + 8,
        3,
    )


# --- recurrent layers: rows of x are those of step 0, then those of step 1 ...
def _rows(x: Array, sizes: Any) -> tuple[Array, Array]:
    if sizes is None:
        return x.reshape(-1, x.shape[2]), np.full(x.shape[0], x.shape[1])
    return x, sizes


def _recurrent(**c: Any) -> Any:
    x, sizes = _rows(c["x"], c["sizes"])
    hidden, batch = c["w_hh"].shape[1], int(sizes[0]) if len(sizes) else c["x"].shape[1]
    zeros, bias = np.zeros((batch, hidden)), np.zeros(len(c["w_ih"]))
    h0, c0 = (zeros if state is None else state for state in (c["h0"], c["c0"]))
    b_ih, b_hh = (bias if b is None else b for b in (c["b_ih"], c["b_hh"]))
    weights = c["w_ih"], c["w_hh"], b_ih, b_hh
    y, h_n, c_n, saved = recurrent.recurrent(c["cell"], x, h0, c0, *weights, sizes, c["reverse"])
    is_lstm, kept = c["cell"] == "lstm", [None, None, None, None]
    if c["keep"]:
        order = sorted(saved)
        gates = {"lstm": 4, "gru": 3}.get(c["cell"], 0)
        if gates:
            kept[0] = np.concatenate([np.hstack(saved[t][1][:gates]) for t in order])
        if c["cell"] == "gru":
            kept[1] = np.concatenate([saved[t][1][3] for t in order])
        kept[2] = np.concatenate([saved[t][0] for t in order])
        if is_lstm:
            kept[3] = np.concatenate([saved[t][1][4] for t in order])
    return y.reshape(*c["x"].shape[:-1], hidden), h_n, c_n if is_lstm else None, *kept


def _recurrent_backward(**c: Any) -> Any:
    """From what the forward call has kept: the gates, and the states before each step."""
    x, sizes = _rows(c["x"], c["sizes"])
    y, _ = _rows(c["y"], c["sizes"])
    hidden, batch = y.shape[1], int(sizes[0])
    saved = {}
    for t, rows, _ in recurrent.rows_of_steps(sizes, False):
        before = c["h_before"][rows]
        if c["cell"] == "lstm":
            i, f, g, o = np.split(c["gates"][rows], 4, axis=1)
            c_before = c["c_before"][rows]
            of_step: Any = i, f, g, o, c_before, np.tanh(f * c_before + i * g)
        elif c["cell"] == "gru":
            of_step = *np.split(c["gates"][rows], 3, axis=1), c["candidate"][rows], before
        else:
            of_step = (y[rows],)
        saved[t] = before, of_step
    dy = np.zeros_like(y) if c["dy"] is None else _rows(c["dy"], c["sizes"])[0]
    states = [np.zeros((batch, hidden)) if c[name] is None else c[name] for name in ("dh_n", "dc_n")]
    dx, dh, dc, dw_ih, dw_hh, db_ih, db_hh = recurrent.recurrent_backward(
        c["cell"], dy, *states, x, c["w_ih"], c["w_hh"], saved, sizes, c["reverse"]
    )
    biases = (db_ih, db_hh) if c["need_db"] else (None, None)
    return (
        dx.reshape(c["x"].shape) if c["need_dx"] else None,
        dh,
        dc if c["cell"] == "lstm" else None,
        dw_ih if c["need_dw_ih"] else None,
        dw_hh if c["need_dw_hh"] else None,
        *biases,
    )


def _steps(c: Any) -> int:
    return (
        int(sum(c["w_ih"].shape) + c["w_hh"].shape[1]) * len(_rows(c["x"], c["sizes"])[1])
        + c["x"].shape[0]
        + 8
    )


add("recurrent", _recurrent, _steps, 2)
add("recurrent_backward", _recurrent_backward, _steps, 3)


# --- random numbers: exact, but for normal ones
def _mixed(z: int) -> int:
    """One step of SplitMix64 (Steele, Lea and Flood, 2014)."""
    mask = (1 << 64) - 1
    z = z + 0x9E3779B97F4A7C15 & mask
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
    return z ^ (z >> 31)


def _next_key(state: Array) -> Changed:
    seed, calls = int(state[0]) & ((1 << 64) - 1), int(state[1]) + 1
    key = _mixed((_mixed(seed) + calls) & ((1 << 64) - 1))
    signed = np.array([key, 0], np.uint64).view(np.int64)
    return Changed(signed, {"state": np.array([state[0], calls], np.int64)})


def _uniform(shape: Any, dtype: str, low: float, high: float, key: Array) -> Array:
    """53 or 24 bits of the words, as `augment.standard_normal` makes them."""
    size, double = int(np.prod(shape)), dtype == "float64"
    words = dropout.random_words((2 if double else 1) * (-(-size // 64) * 64), key).astype(np.uint64)
    if double:
        pairs = words.reshape(-1, 2, 16)
        high_bits, low_bits = pairs[:, 0] >> np.uint64(5), pairs[:, 1] >> np.uint64(6)
        unit = ((high_bits << np.uint64(26)) | low_bits).astype(np.float64) * 2.0**-53
    else:
        unit = (words >> np.uint64(8)).astype(np.float64) * 2.0**-24
    return low + (high - low) * unit.reshape(-1)[:size].reshape(shape)


def _normal(shape: Any, dtype: str, mean: float, std: float, key: Array) -> Array:
    return mean + std * augment.standard_normal(int(np.prod(shape)), key, dtype).reshape(shape)


add("next_key", _next_key, None)
add("dropout", dropout.dropout, 2)
add("random_uniform", _uniform, 2)
add("random_normal", _normal, 8)


# --- gradients and updates
def _norm_of(gradients: list[Array], norm_type: float) -> Array:
    return np.array([optimizer.gradient_norm(gradients, norm_type)])


def _clip(gradients: list[Array], limit: Array, norm: Array | None) -> Changed:
    limit = np.asarray(limit).reshape(-1)[0]
    if norm is None:
        return Changed(None, {"gradients": [np.clip(g, -limit, limit) for g in gradients]})
    scale = np.minimum(1.0, limit / (norm.reshape(-1)[0] + 1e-6))
    return Changed(None, {"gradients": [g * scale for g in gradients]})


def _penalty(parameters: list[Array], gradients: Any, l1: Array, l2: Array, scale: Array) -> Any:
    strengths = list(zip(parameters, l1.tolist(), l2.tolist(), strict=True))
    value = np.array([sum(penalty.weight_penalty(p, a, b) for p, a, b in strengths)])
    if gradients is None:
        return value
    factor = np.asarray(scale).reshape(-1)[0]
    slopes = [penalty.weight_penalty_backward(p, a, b) for p, a, b in strengths]
    return Changed(value, {"gradients": [factor * g + s for g, s in zip(gradients, slopes, strict=True)]})


def _moved(parameters: list[Array], values: list[Array], factor: Any, towards: bool) -> Changed:
    factor = np.asarray(factor).reshape(-1)[0]
    pairs = zip(parameters, values, strict=True)
    return Changed(None, {"parameters": [p + factor * (v - p if towards else v) for p, v in pairs]})


def _average_weight(count: Array, decay: float | None) -> Changed:
    seen = int(count)
    weight = 1.0 if seen == 0 else 1 / (seen + 1) if decay is None else 1 - decay
    return Changed(np.array([weight]), {"count": np.asarray(seen + 1)})


_RULES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sgd": (("lr", "momentum", "dampening", "weight_decay"), ("momentum_buffer",)),
    "rmsprop": (
        ("lr", "alpha", "eps", "momentum", "weight_decay"),
        ("square_avg", "momentum_buffer", "grad_avg"),
    ),
    "adam": (("lr", "beta1", "beta2", "eps", "weight_decay"), ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")),
    "adagrad": (("lr", "lr_decay", "eps", "weight_decay"), ("sum",)),
    "adadelta": (("lr", "rho", "eps", "weight_decay"), ("square_avg", "acc_delta")),
    "adamax": (("lr", "beta1", "beta2", "eps", "weight_decay"), ("exp_avg", "exp_inf")),
    "nadam": (("lr", "beta1", "beta2", "eps", "weight_decay", "momentum_decay"), ("exp_avg", "exp_avg_sq")),
    "radam": (("lr", "beta1", "beta2", "eps", "weight_decay"), ("exp_avg", "exp_avg_sq")),
    "lion": (("lr", "beta1", "beta2", "weight_decay"), ("exp_avg",)),
    "rprop": (("lr", "eta0", "eta1", "size0", "size1"), ("prev", "step_size")),
    "asgd": (("lr", "lambd", "alpha", "t0", "weight_decay"), ("ax",)),
}
_DECOUPLED = ("adam", "nadam", "radam")


def _settings(rule: str, c: Any, given: tuple[bool, ...]) -> dict[str, Any]:
    """The keyword arguments of a rule in ``reference.optimizer``."""
    settings = dict(zip(_RULES[rule][0], c["settings"].tolist(), strict=True))
    if "beta1" in settings:
        settings["betas"] = settings.pop("beta1"), settings.pop("beta2")
    if "eta0" in settings:
        settings["etas"] = settings.pop("eta0"), settings.pop("eta1")
        settings["step_sizes"] = settings.pop("size0"), settings.pop("size1")
    settings["maximize"] = c["maximize"]
    if rule == "sgd":
        settings["nesterov"] = c["nesterov"]
    if rule in _DECOUPLED:
        settings["decoupled_weight_decay"] = c["decoupled_decay"]
    if rule == "adam":
        settings["amsgrad"] = given[2]
    if rule == "rmsprop":
        settings["centered"] = given[2]
    return settings


def _optimizer_step(**c: Any) -> Changed:
    if c["loss"] is not None and not np.isfinite(c["loss"]).all():
        return Changed()
    rule, names = c["rule"], _RULES[c["rule"]][1]
    settings = _settings(rule, c, tuple(s is not None for s in c["states"]))
    function: Callable[..., Array] = getattr(optimizer, rule)
    changed: dict[str, Any] = {"parameters": [], "steps": [], "states": [s and [] for s in c["states"]]}
    if c["products"] is not None:
        changed["products"] = []
    for i, (p, g, step) in enumerate(zip(c["parameters"], c["gradients"], c["steps"], strict=True)):
        state = {name: s[i] for name, s in zip(names, c["states"], strict=True) if s is not None}
        state["step"] = float(step)
        if c["products"] is not None:
            state["eta" if rule == "asgd" else "mu_product"] = c["products"][i].reshape(-1)[0]
        if rule == "sgd" and step == 0:
            state.pop("momentum_buffer", None)
        changed["parameters"].append(function(p, g, state, **settings))
        changed["steps"].append(np.full(step.shape, float(step) + 1))
        for name, values in zip(names, changed["states"], strict=True):
            if values is not None:
                values.append(state[name])
        if c["products"] is not None:
            product = state["eta" if rule == "asgd" else "mu_product"]
            changed["products"].append(np.full(c["products"][i].shape, product))
    return Changed(None, changed)


add("gradient_norm", _norm_of, lambda c: sum(g.size for g in c["gradients"]) + 4, 2)
add("clip_gradients", _clip)
add("weight_penalty", _penalty, lambda c: sum(p.size for p in c["parameters"]) + 4, 2)
add("move_parameters", _moved)
add("average_weight", _average_weight)
add("optimizer_step", _optimizer_step, 16, 2)
add("flat_dot", lambda a, b: np.array([a @ b]), lambda c: c["a"].size + 1, 2)

# --- images
add("move_images", augment.move_images, None)
add("affine_images", augment.affine_images, 8)
add("erase_images", augment.erase_images, None)
add("mix_images", augment.mix_images)
add("add_noise", augment.add_noise, 8)
