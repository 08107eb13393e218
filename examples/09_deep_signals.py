"""Deep networks before training: weights and activation decide whether a signal vanishes or explodes."""

import argparse
from pathlib import Path

import ranvier as rv
from matplotlib.figure import Figure
from ranvier import nn

DEPTH, WIDTH = 20, 128
CHOICES = [("he", "relu"), ("xavier", "tanh"), ("xavier", "sigmoid"), (0.01, "relu"), (0.5, "relu")]


WEIGHTS = {
    "he": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "xavier": nn.init.xavier_normal_,
}


def signals(init, activation):
    """Variances of the activations and of the gradients of each layer, and the dead units of each.

    Noise goes forward through the network, and other noise backward from its output.
    """
    rv.manual_seed(0)
    x = rv.randn(256, WIDTH)
    sums, outputs = [], []
    for _ in range(DEPTH):
        layer = nn.Linear(WIDTH, WIDTH, bias=False)
        WEIGHTS[init](layer.weight) if init in WEIGHTS else nn.init.normal_(layer.weight, std=init)
        sums.append(layer(x))
        x = getattr(rv, activation)(sums[-1])
        outputs.append(x)
    gradients = rv.autograd.grad(x, sums, rv.randn(256, WIDTH))
    dead = [int((y <= 0).all(dim=0).sum()) for y in outputs]
    return [y.var().item() for y in outputs], [g.var().item() for g in gradients], dead


def verdict(forward, backward):
    """Whether a variance changes by a factor of 1,000 over the network."""
    ratios = forward[-1] / forward[0], backward[0] / backward[-1]
    return "exploding" if max(ratios) > 1e3 else "vanishing" if min(ratios) < 1e-3 else "stable"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    # Depth alone does not help: ten linear layers equal one.
    rv.manual_seed(0)
    stack = nn.Sequential(nn.Linear(8, 64), *[nn.Linear(64, 64) for _ in range(8)], nn.Linear(64, 3))
    one = nn.Linear(8, 3).double()
    weight, bias = rv.eye(8, dtype=rv.float64), rv.zeros(8, dtype=rv.float64)
    for layer in stack.double():  # W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2)
        weight, bias = layer.weight @ weight, layer.weight @ bias + layer.bias
    one.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
    noise = rv.randn(1000, 8, dtype=rv.float64)
    difference = (stack(noise) - one(noise)).abs().max().item()
    print(f"ten linear layers against {one}: outputs differ by {difference:.1e} at most")

    # With activations the size of the output is a product of one factor a layer, and each must be near 1.
    figure = Figure(figsize=(10, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    print(f"\n{'weights':>8} {'activation':>11} {'signal':>9} {'gradient':>9}   over {DEPTH} layers")
    for (init, activation), mark in zip(CHOICES, "os^vD", strict=True):
        forward, backward, dead = signals(init, activation)
        ratios = forward[-1] / forward[0], backward[0] / backward[-1]
        found = verdict(forward, backward)
        print(f"{init!s:>8} {activation:>11} {ratios[0]:9.1e} {ratios[1]:9.1e}   {found}")
        for panel, variances in zip(panels[0], (forward, backward), strict=True):
            panel.plot(range(1, DEPTH + 1), variances, mark + "-", label=f"{init}, {activation}: {found}")
        if (init, activation) == CHOICES[0]:
            few = {layer: dead[layer - 1] for layer in (1, 5, 10, 20)}
    for panel, what in zip(panels[0], ("activations", "gradients"), strict=True):
        panel.set(yscale="log", xlabel="layer", ylabel=f"variance of the {what}")
        panel.grid(alpha=0.3)
    panels[0, 1].legend(fontsize=8)

    # A ReLU unit that is 0 for every sample is dead: no gradient passes it.
    print("\ndead units, he and relu:", ", ".join(f"{n} of {WIDTH} in layer {i}" for i, n in few.items()))

    # The same in a network for digits: the gradients of one batch, layer by layer.
    x, y = rv.data.datasets.load_digits()
    x = x.reshape(len(x), -1)
    panels[1, 1].sharex(panels[1, 0])
    sizes = {}
    for panel, activation in zip(panels[1], ("sigmoid", "relu"), strict=True):
        rv.manual_seed(0)
        model = rv.mlp([64, *[32] * 6, 10], activation=activation)
        nn.CrossEntropyLoss()(model(rv.tensor(x[:256])), rv.tensor(y[:256])).backward()
        means = {name: p.grad.abs().mean().item() for name, p in model.named_parameters() if p.ndim > 1}
        panel.barh(list(means), list(means.values()))
        panel.set(xscale="log", xlabel="mean |gradient|", title=f"six hidden layers with {activation}")
        panel.invert_yaxis()  # the input at the top: the backward pass goes upwards
        sizes[activation] = means["0.weight"]
    picture = out / "09_deep_signals.png"
    figure.savefig(picture, dpi=120)
    print(f"saved {picture}")
    print(
        f"mean gradient of the first layer: {sizes['sigmoid']:.1e} with sigmoid, {sizes['relu']:.1e} with "
        f"relu, {sizes['relu'] / sizes['sigmoid']:.0f} times as large"
    )


if __name__ == "__main__":
    main()
