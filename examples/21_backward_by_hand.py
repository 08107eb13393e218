"""Backpropagation by hand: the chain rule on one path and on a network, compared with autograd."""

import argparse
from pathlib import Path

import numpy as np
import ranvier as rv
import ranvier.nn.functional as F


def slopes() -> None:
    """The derivative at a point, by its formula and by autograd."""

    def f(x):
        return x**2 + 3 * x + 2

    found = [rv.grad(f)(x) for x in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    print("slope of x^2 + 3x + 2 at -2, -1, 0, 1, 2: 2x + 3 =", *(f"{slope:g}" for slope in found))


def one_step_downhill() -> None:
    """The target of relu(x w + b) is 2x. A gradient below 0 means that a larger weight has a smaller loss."""
    x = rv.tensor([[1.0], [2.0], [3.0], [4.0]])
    w, b = rv.tensor([[1.5]], requires_grad=True), rv.tensor([0.5], requires_grad=True)

    def loss() -> rv.Tensor:
        return F.mse_loss(rv.relu(x @ w + b), 2 * x)

    before = loss()
    before.backward()
    print(f"loss {before.item():g}, dw {w.grad.item():g}, db {b.grad.item():g}", end="; ")
    with rv.no_grad():
        w -= 0.1 * w.grad
        b -= 0.1 * b.grad
    print(f"a step of 0.1 downhill: w {w.item():g}, b {b.item():g}, loss {loss().item():g}\n")


def one_path(picture: Path) -> None:
    """x, times w, ReLU, times v, squared error. Each line of the backward pass is one factor."""
    x, w, v, target = 2.0, 3.0, 0.5, 5.0
    z = w * x  # 6
    h = max(z, 0.0)  # 6
    output = v * h  # 3
    loss = (output - target) ** 2  # 4

    d_output = 2 * (output - target)  # -4
    d_v = d_output * h  # -24: h is what v was multiplied by
    d_h = d_output * v  # -2
    d_z = d_h * (z > 0)  # -2: the slope of ReLU is 1 for z > 0
    d_w = d_z * x  # -4
    print(f"by hand:  loss {loss:g}, dv {d_v:g}, dh {d_h:g}, dz {d_z:g}, dw {d_w:g}")

    named = {"w": rv.tensor(w, requires_grad=True), "v": rv.tensor(v, requires_grad=True)}

    def forward() -> rv.Tensor:
        named["z"] = named["w"] * x
        named["h"] = rv.relu(named["z"])
        named["output"] = named["v"] * named["h"]
        return (named["output"] - target) ** 2

    forward().backward()
    print(f"autograd: dv {named['v'].grad.item():g}, dw {named['w'].grad.item():g}")
    rv.plot.graph(forward, named, path=picture)
    print(f"a step of 0.1 downhill: w {w} -> {w - 0.1 * d_w:g}, v {v} -> {v - 0.1 * d_v:g}\n")


def by_hand(x, y, w1, b1, w2, b2):
    """Forward and backward of linear, ReLU, linear, softmax and cross-entropy, all samples at once."""
    z1 = x @ w1.T + b1  # (samples, hidden)
    a1 = np.maximum(z1, 0)
    z2 = a1 @ w2.T + b2  # (samples, classes)
    e = np.exp(z2 - z2.max(axis=1, keepdims=True))  # less the largest: exp cannot overflow
    p = e / e.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(y)), y]).mean()

    d = {"z2": (p - np.eye(p.shape[1])[y]) / len(y)}  # softmax and cross-entropy together: prediction - truth
    d["w2"], d["b2"] = d["z2"].T @ a1, d["z2"].sum(axis=0)
    d["a1"] = d["z2"] @ w2
    d["z1"] = d["a1"] * (z1 > 0)
    d["w1"], d["b1"] = d["z1"].T @ x, d["z1"].sum(axis=0)
    return loss, d


def by_autograd(x, y, *weights):
    """The same with Tensors; retain_grad also keeps the gradients of intermediate values."""
    w1, b1, w2, b2 = (rv.tensor(w, requires_grad=True) for w in weights)
    z1 = rv.linear(rv.tensor(x), w1, b1)
    a1 = rv.relu(z1)
    z2 = rv.linear(a1, w2, b2)
    loss = F.cross_entropy(z2, rv.tensor(y))
    named = {"z2": z2, "w2": w2, "b2": b2, "a1": a1, "z1": z1, "w1": w1, "b1": b1}
    for tensor in (z1, a1, z2):
        tensor.retain_grad()
    loss.backward()
    return loss.item(), {name: tensor.grad.numpy() for name, tensor in named.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    slopes()
    one_step_downhill()
    one_path(out / "21_backward_by_hand.png")

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5, 3)), rng.integers(0, 2, 5)  # 5 samples, 3 features, 2 classes
    he = [rng.standard_normal((n, m)) * np.sqrt(2 / m) for m, n in ((3, 4), (4, 2))]
    weights = he[0], np.zeros(4), he[1], np.zeros(2)

    loss, mine = by_hand(x, y, *weights)
    loss_found, found = by_autograd(x, y, *weights)
    print(f"3-4-2 network: loss by hand {loss:.6f}, of autograd {loss_found:.6f}")
    print("from the loss back to the first layer:")
    for name, gradient in mine.items():
        norm, difference = np.linalg.norm(gradient), np.abs(gradient - found[name]).max()
        print(f"  d{name}  shape {gradient.shape!s:<7}  norm {norm:.4f}  largest difference {difference:.0e}")

    worst = max(np.abs(mine[name] - found[name]).max() for name in mine)
    print(f"all {len(mine)} gradients agree to {worst:.0e}")


if __name__ == "__main__":
    main()
