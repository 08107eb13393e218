"""Vision transformer: an image as a sequence of patches, with and without their positions."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim

PATCH, WIDTH, HEADS, LAYERS = 2, 32, 4, 2
SIDE = 8 // PATCH  # patches along a side


class VisionTransformer(nn.Module):
    """Dosovitskiy et al., "An Image is Worth 16x16 Words" (2021), for 8x8 pixels."""

    def __init__(self, positions: bool) -> None:
        super().__init__()
        # a convolution whose stride is its size: each patch becomes a token of WIDTH numbers
        self.words = nn.Conv2d(1, WIDTH, PATCH, stride=PATCH)
        self.first = nn.Parameter(rv.zeros(1, 1, WIDTH))  # the class token, from which the answer is read
        places = 0.02 * rv.randn(1 + SIDE * SIDE, WIDTH)  # a vector for each place, which is learnt
        self.places = nn.Parameter(places) if positions else 0.0
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 2 * WIDTH, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH))
        self.head = nn.Linear(WIDTH, 10)

    def sentence(self, x):
        words = self.words(x).flatten(2).transpose(1, 2)  # (N, 16, WIDTH)
        return rv.cat([self.first.expand(len(words), 1, WIDTH), words], 1) + self.places

    def forward(self, x):
        return self.head(self.encoder(self.sentence(x))[:, 0])

    def looked_at(self, x):
        """The attention of the class token in the last layer: (N, SIDE, SIDE), the mean over the heads."""
        h = self.sentence(x)
        for layer in self.encoder.layers[:-1]:
            h = layer(h)
        h = self.encoder.layers[-1].norm1(h)
        _, weights = self.encoder.layers[-1].self_attn(h, h, h)
        return weights[:, 0, 1:].reshape(-1, SIDE, SIDE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    x, y = rv.data.datasets.load_digits()
    x, x_test, y, y_test = rv.data.train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    right = {}
    for positions in (False, True):  # without them the order of the patches is lost
        rv.manual_seed(0)
        model = VisionTransformer(positions)
        optimizer = optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
        trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer)
        trainer.fit(x, y, epochs=15, batch_size=64)
        right[positions] = rv.metrics.accuracy_score(y_test, trainer.predict(x_test))
        print(f"{'with' if positions else 'without':<8} positions: {right[positions]:.1%} of held-out digits")

    model.eval()
    shown = [int(np.flatnonzero(y_test == digit)[0]) for digit in range(10)]
    with rv.no_grad():
        weights = model.looked_at(rv.tensor(x_test[shown])).numpy()
    figure, panels = plt.subplots(2, 10, figsize=(10, 2.6), layout="constrained")
    for i, digit in enumerate(shown):
        panels[0, i].imshow(x_test[digit, 0], cmap="gray_r")
        drawn = panels[1, i].imshow(weights[i], cmap="viridis", vmin=0, vmax=weights.max())
    for panel in panels.flat:
        panel.set(xticks=[], yticks=[])
    panels[0, 0].set_ylabel("digit")
    panels[1, 0].set_ylabel("attention")
    figure.colorbar(drawn, ax=panels[1], label="weight", aspect=8)
    figure.suptitle(
        "Where the answer is looked for: weights of the 4x4 patches in the last layer", fontsize=11
    )
    figure.savefig(out / "13_vision_transformer.png", dpi=110)
    print(f"held-out accuracy {right[True]:.1%}, and {right[False]:.1%} where patches have no places")


if __name__ == "__main__":
    main()
