"""GAN: a generator learns a distribution from a critic's judgement of its samples alone."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim

BATCH, NOISE = 256, 4
MOMENTS = (0, 500, 5000)  # steps after which samples are drawn


def data(count: int) -> rv.Tensor:
    """The data: two humps, 60 % about -2 and 40 % about 1.5."""
    left = rv.rand(count, 1) < 0.6
    return rv.where(left, -2 + 0.5 * rv.randn(count, 1), 1.5 + 0.4 * rv.randn(count, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    rv.manual_seed(0)
    generator = nn.Sequential(nn.Linear(NOISE, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    critic = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    # no momentum: each chases a moving target; the critic learns faster
    of_generator = optim.Adam(generator.parameters(), lr=5e-4, betas=(0.0, 0.9))
    of_critic = optim.Adam(critic.parameters(), lr=2e-3, betas=(0.0, 0.9))
    loss_of = nn.BCEWithLogitsLoss()
    real, made = rv.ones(BATCH, 1), rv.zeros(BATCH, 1)

    @rv.compile  # both updates are recorded once and replayed; the noise is new each time
    def step():
        """Goodfellow et al., "Generative Adversarial Nets" (2014), algorithm 1."""
        samples = generator(rv.randn(BATCH, NOISE))
        of_critic.zero_grad()
        loss = loss_of(critic(data(BATCH)), real) + loss_of(critic(samples.detach()), made)
        loss.backward()  # the critic learns to tell them apart ...
        of_critic.step()
        of_generator.zero_grad()
        loss_of(critic(samples), real).backward()  # ... the generator to be taken for real
        of_generator.step()
        return loss

    plt.style.use("tableau-colorblind10")
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.4), sharex=True, sharey=True, layout="constrained")
    grid, bins = np.linspace(-4, 4, 200, dtype=np.float32)[:, None], np.linspace(-4, 4, 65)
    truth, done = data(20000).numpy(), 0
    for panel, moment in zip(panels, MOMENTS, strict=True):
        for _ in range(done, moment):
            step()
        done = moment
        with rv.no_grad():
            samples = generator(rv.randn(20000, NOISE)).numpy()
            opinion = rv.sigmoid(critic(rv.tensor(grid))).numpy()
        print(f"after {moment:4} steps: mean {samples.mean():5.2f}, standard deviation {samples.std():.2f}")
        panel.hist(truth, bins, density=True, histtype="step", linewidth=1.5, color="black", label="data")
        panel.hist(samples, bins, density=True, alpha=0.6, label="generated")
        panel.plot(grid, opinion, "--", linewidth=2, label="critic: probability of real")
        panel.set(xlabel="value", title=f"after {moment} steps", ylim=(0, 1.5))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("density, probability")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(out / "17_gan.png", dpi=110)
    share = (samples < 0).mean()
    print(
        f"samples: mean {samples.mean():.2f}, deviation {samples.std():.2f}, {share:.0%} on the left; "
        f"data: {truth.mean():.2f}, {truth.std():.2f}, {(truth < 0).mean():.0%}"
    )


if __name__ == "__main__":
    main()
