"""Each setting of a picture changes it, or is refused: pixels are compared with those without the setting."""

import inspect
import io

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.effects import Exempt, With, require_effect, require_rows

plt = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is not installed")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 2)).astype(np.float32)
Y = np.arange(30) % 2
IMAGES = RNG.normal(size=(6, 1, 8, 8)).astype(np.float32)
rv.manual_seed(0)
NETWORK = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
WIDE = nn.Sequential(nn.Linear(2, 30), nn.Tanh(), nn.Linear(30, 2))
CNN = nn.Sequential(nn.Conv2d(1, 20, 3), nn.ReLU(), nn.Conv2d(20, 3, 3))
HISTORY = {"loss": [3.0, 2.0, 1.0], "val_loss": [3.0, 2.5, 2.6]}
WHERE = Exempt("where it is drawn or saved: test_results")


def pixels(axes):
    """The picture as bytes."""
    figure = np.ravel(axes)[0].figure
    out = io.BytesIO()
    figure.savefig(out, format="raw", dpi=60)
    plt.close(figure)
    return np.frombuffer(out.getvalue(), np.uint8)


def loss():
    return NETWORK(rv.tensor(X)).square().mean()


def larger_loss():
    return loss() + 1


PLACES = {"ax": WHERE, "figure": WHERE, "path": WHERE}
# name: (the arguments of the first picture, a value of each argument that has to change it)
PICTURES = {
    "confusion_matrix": (
        {"y_true": Y, "y_pred": 1 - Y},
        {"y_true": 1 - Y, "y_pred": Y, "class_names": ["no", "yes"], "shares": With(True, {}, False)},
    ),
    "decision_boundary": (
        {"model": NETWORK, "x": X, "y": Y, "steps": 20},
        {
            "model": WIDE, "x": X * 2, "y": 1 - Y, "class_names": ["no", "yes"], "steps": 7,
            "feature_names": ("a", "b"),
        },
    ),
    "feature_maps": (
        {"model": CNN, "x": IMAGES[0]},
        {"model": CNN[:1], "x": IMAGES[1], "layers": ["2"], "limit": 3},
    ),
    "graph": ({"loss": loss}, {"loss": larger_loss, "names": {"w": NETWORK[0].weight}, "limit": 3}),
    "heatmap": (
        {"matrix": X[:4]},
        {
            "matrix": X[1:5], "x_names": ["a", "b"], "y_names": list("cdef"), "title": "title",
            "x": "columns", "y": "rows",
        },
    ),
    "history": ({"history": HISTORY}, {"history": {"loss": [1.0, 2.0]}, "kept": 2}),
    "images": (
        {"images": IMAGES},
        {"images": IMAGES[::-1], "titles": list("abcdef"), "columns": 2, "limit": 4},
    ),
    "network": (
        {"model": NETWORK},
        {
            "model": WIDE, "input_names": ["a", "b"], "output_names": ["c", "d"],
            "limit": With(4, {"model": WIDE}),
        },
    ),
}  # fmt: skip
ROWS = []
for _name, (_, _values) in PICTURES.items():
    ROWS += [(_name, _setting) for _setting in _values]


def test_each_picture_has_rows():
    drawing = set()
    for name in rv.plot.__all__:
        thing = getattr(rv.plot, name)
        if callable(thing) and not inspect.isclass(thing):
            drawing.add(name)
    assert drawing - {"program", "require_matplotlib"} == set(PICTURES)
    for name, (_, rows) in PICTURES.items():
        function = getattr(rv.plot, name)
        places = [n for n in PLACES if n in inspect.signature(function).parameters]
        require_rows(function, rows, given=places)


@pytest.mark.parametrize(("name", "setting"), ROWS)
def test_a_setting_of_a_picture(name, setting):
    base, rows = PICTURES[name]
    function = getattr(rv.plot, name)
    row = rows[setting]
    if setting in base:  # it is compared with the value there
        if not isinstance(row, With):
            row = With(row, {})
        row = row._replace(before=base[setting])

    def draw(**settings):
        return pixels(function(**{**base, **settings}))

    require_effect(draw, setting, row)
