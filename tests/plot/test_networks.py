"""Pictures of networks: the graph of a run, layers of units, images and filters.

What matplotlib holds (texts, patches, lines, pixels) is compared with the values of small networks.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.plot.networks import layered
from ranvier.tape.trace import outputs_kept
from support.refused import refused


def boxes(ax):
    """name -> (shape, value, gradient), four texts to a box."""
    texts = [text.get_text() for text in ax.texts]
    return {texts[i]: tuple(texts[i + 1 : i + 4]) for i in range(0, len(texts), 4)}


@pytest.fixture
def leaves():
    values = {"w": 3.0, "x": 2.0, "b": 1.0}
    return {name: rv.tensor(value, requires_grad=True) for name, value in values.items()}


def test_values_and_gradients_of_every_node(leaves):
    w, x, b = leaves.values()
    ax = rv.plot.graph(lambda: (w * x + b) ** 2, leaves)
    assert boxes(ax) == {
        "w": ("scalar", "value 3", "grad 28"),
        "x": ("scalar", "value 2", "grad 42"),
        "mul": ("scalar", "value 6", "grad 14"),
        "b": ("scalar", "value 1", "grad 14"),
        "add": ("scalar", "value 7", "grad 14"),
        "square": ("scalar", "value 49", "grad 1"),
    }
    arrows = [patch for patch in ax.patches if type(patch).__name__ == "FancyArrowPatch"]
    assert len(arrows) == 5
    assert ax.get_title() == "Computation graph: 6 nodes"


def test_a_tensor_shows_what_the_program_holds_and_can_still_go_backward(leaves):
    w, x, b = leaves.values()
    z = w * x
    loss = rv.exp(z - b * 6)
    found = boxes(rv.plot.graph(loss, {"z": z}))
    assert found["z = mul"] == ("scalar", "value 6", "grad 1")
    assert found["sub"] == ("scalar", "value not kept", "grad 1")
    assert found["exp"] == ("scalar", "value 1", "grad 1")
    assert w.grad is None
    loss.backward()
    assert w.grad.item() == 2


def test_after_backward_the_leaves_keep_their_gradients(leaves):
    w, x, _ = leaves.values()
    loss = rv.exp(w * x)
    loss.backward()
    found = boxes(rv.plot.graph(loss, leaves))
    assert found["w"][2] == f"grad {2 * np.exp(6):.3g}"
    assert found["mul"] == ("", "value not kept", "no gradient kept")


def test_a_model_gives_its_names_and_large_arrays_their_range():
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    x = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)

    def loss():
        return nn.CrossEntropyLoss()(model(x), np.array([0, 1, 2, 0, 1]))

    found = boxes(rv.plot.graph(loss, model))
    assert list(found)[:3] == ["0.weight", "0.bias", "linear"]
    assert {"2.weight", "2.bias", "relu", "cross_entropy"} < set(found)
    w = model[0].weight.detach().numpy()
    assert found["0.weight"][:2] == ("8 × 2", f"value {w.min():.3g} … {w.max():.3g}")
    assert found["relu"][0] == "5 × 8"
    assert found["2.bias"][1].startswith("value [")


def test_several_outputs_are_separate_nodes():
    class Halves(rv.autograd.Function):
        def forward(self, x):
            return x[:1].copy(), x[1:].copy()

        def backward(self, first, second):
            if first is None:  # no gradient for this output
                first = np.zeros(1, np.float32)
            if second is None:
                second = np.zeros(1, np.float32)
            return np.concatenate([first, second])

    x = rv.tensor([1.0, 2.0], requires_grad=True)

    def loss():
        a, b = Halves().apply(x)
        return (a * b).sum()

    found = boxes(rv.plot.graph(loss))
    assert found["leaf"] == ("2", "value [1 2]", "grad [2 1]")
    assert found["output 0"] == ("1", "value [1]", "grad [2]")
    assert found["output 1"] == ("1", "value [2]", "grad [1]")


def test_a_node_stands_right_of_its_inputs_and_arrows_pass_between_boxes(leaves):
    w, x, b = leaves.values()

    def loss():
        h = rv.tanh(w * x)
        return (h * rv.sigmoid(h + b) + w).exp() * b

    ax = rv.plot.graph(loss, leaves)
    centres = []
    for patch in ax.patches:
        if hasattr(patch, "get_x"):  # a box, not an arrow
            x_centre = patch.get_x() + patch.get_width() / 2
            y_centre = patch.get_y() + patch.get_height() / 2
            centres.append((x_centre, y_centre))
    assert len(set(centres)) == len(centres) == 11  # no two in one place
    arrows = [p._path_original.vertices for p in ax.patches if type(p).__name__ == "FancyArrowPatch"]
    assert len(arrows) == 13
    assert all(points[0][0] < points[-1][0] for points in arrows)


def test_layers():
    places, arrows = layered({"a": [], "b": ["a"], "late": [], "c": ["b", "late", "a"]})
    assert {node: place[0] for node, place in places.items()} == {"a": 0, "b": 1, "late": 1, "c": 2}
    assert len({*places.values()}) == 4
    from_b, from_late, from_a = arrows[1:]
    assert (from_b[0], from_b[-1]) == (places["b"], places["c"])
    assert len(from_a) == 3  # by its own place in the column between
    assert from_a[1] not in places.values()
    assert (len(from_b), len(from_late)) == (2, 2)


def test_keeping_outputs_ends_with_the_block(leaves):
    with outputs_kept() as kept:
        y = leaves["w"] * 2
    leaves["w"] * 3
    assert list(kept) == [y.grad_fn]
    assert kept[y.grad_fn] is y


def test_wrong_arguments():
    refused(TypeError, "got float; expected a Tensor, or a function", rv.plot.graph, lambda: 3.0)
    refused(TypeError, "got int; expected a Tensor", rv.plot.graph, 7)
    refused(ValueError, "expected one number that was computed", rv.plot.graph, rv.tensor(1.0))
    two = rv.tensor([1.0, 2.0], requires_grad=True) * 2
    refused(ValueError, "shape (2,) made by <Mul", rv.plot.graph, two)


def test_too_large_a_graph(leaves):
    def product():
        return leaves["w"] * leaves["x"]

    with pytest.raises(ValueError, match="graph of 3 nodes; expected at most 2"):
        rv.plot.graph(product, limit=2)


# The diagram of a network: how many units and weights are drawn, and what is written beside them.


def texts(ax):
    """What is written in the picture, in the order of drawing."""
    return [text.get_text() for text in ax.texts]


def lines(ax):
    """How many lines each collection has: one for each pair of layers, or for each sign of the weights."""
    return [len(collection.get_segments()) for collection in ax.collections]


def test_units_and_names():
    ax = rv.plot.network(rv.mlp([3, 4, 2]), input_names="abc", output_names=[0, 1])
    assert len(ax.patches) == 9
    assert sum(lines(ax)) == 20
    shown = ["input\n3 units", "hidden 1\n4 units\nReLU", "output\n2 units", *"abc01"]
    assert texts(ax) == shown
    assert ax.get_title() == "2 layers, 26 parameters"


def test_weights_are_drawn_by_sign_and_size():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())
    model.load_state_dict({"0.weight": np.array([[4.0, -2.0], [0.0, 1.0]])})
    above, below = rv.plot.network(model).collections
    assert len(above.get_segments()) == 2
    assert len(below.get_segments()) == 1  # a weight of 0 is no line
    widths = above.get_linewidth()
    assert widths[0] > widths[1] > 0.25  # widths of the weights 4 and 1
    assert {style[1] for style in above.get_linestyle()} == {None}
    assert below.get_linestyle()[0][1] is not None
    (from_unit, to_unit), *_ = below.get_segments()
    assert from_unit[1] < to_unit[1]  # from the second input to the first output


def test_large_layers_are_abbreviated():
    ax = rv.plot.network(rv.mlp([784, 100, 10]), limit=5, output_names=range(10))
    assert len(ax.patches) == 12
    assert texts(ax)[0] == "input\n784 units"
    assert texts(ax)[3:] == ["0", "1", "8", "9"]
    assert len(ax.lines) == 3 + 2  # the dots of what is left out, and the legend
    assert ax.get_title() == "2 layers, 79,510 parameters"


def test_convolutions_have_channels():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3), nn.Softmax(dim=1)
    )
    ax = rv.plot.network(model)
    assert texts(ax) == ["input\n1 channel", "hidden 1: Conv2d\n4 channels\nReLU", "output\n3 units\nSoftmax"]
    assert lines(ax) == [4, 12]
    assert [type(patch).__name__ for patch in ax.patches] == ["Rectangle"] * 5 + ["Circle"] * 3


def test_wrong_arguments_of_network():
    draw = rv.plot.network
    layer = nn.Linear(3, 2)
    refused(TypeError, "got model of type list; expected a Module", draw, [3])
    refused(ValueError, "without a Linear or convolution layer", draw, nn.ReLU())
    refused(ValueError, "3 output_names; expected 2", draw, layer, output_names="abc")
    refused(ValueError, "limit 2; expected at least 3", draw, layer, limit=2)


# Grids of images and feature maps: which pixels, which titles, which scales.


X = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 1, 3, 4)


def titles(panels):
    return [panel.get_title() for panel in panels]


def test_grey_images_share_a_scale():
    panels = rv.plot.images(X, ["first", 2])
    assert titles(panels) == ["first", "2"]
    for panel, image in zip(panels, X[:, 0], strict=True):
        np.testing.assert_array_equal(panel.images[0].get_array(), image)
        assert panel.images[0].get_clim() == (0, 23)


@pytest.mark.parametrize("shape", [(1, 5, 5), (5, 5), (1, 1, 5, 5)])
def test_one_constant_image(shape):
    (panel,) = rv.plot.images(np.ones(shape))
    assert panel.images[0].get_array().shape == (5, 5)


def test_colour_images_are_scaled_only_if_they_must_be():
    colours = np.zeros((2, 3, 4, 5), np.float32)
    colours[0, 1, 2, 3] = 1
    drawn = rv.plot.images(colours)[0].images[0].get_array()
    np.testing.assert_array_equal(drawn, colours[0].transpose(1, 2, 0))
    normalised = rv.plot.images(colours * 4 - 2)[0].images[0].get_array()
    np.testing.assert_array_equal(normalised, colours[0].transpose(1, 2, 0))


def test_limit_and_columns():
    panels = rv.plot.images(np.zeros((9, 2, 2)), limit=5, columns=2)
    assert len(panels) == len(panels[0].figure.axes) == 5
    assert panels[4].get_subplotspec().rowspan.start == 2


def tile(ax, row, column, size):
    """The pixels of one of the square maps of a panel; there is one pixel between neighbours."""
    top = row * (size + 1)
    left = column * (size + 1)
    return ax.images[0].get_array()[top : top + size, left : left + size]


@pytest.fixture
def model():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Dropout(), nn.Conv2d(3, 10, 2))


def test_feature_maps_are_those_of_each_convolution(model):
    x = np.random.default_rng(0).standard_normal((1, 6, 6)).astype(np.float32)
    panels = rv.plot.feature_maps(model, x)
    assert [p.get_title() for p in panels] == [
        "input: 1 × 6 × 6",
        "0 Conv2d: 3 × 4 × 4",
        "3 Conv2d: 10 × 3 × 3",
    ]
    model.eval()
    with rv.no_grad():
        first = model[0](x[None]).numpy()[0]
        last = model(x[None]).numpy()[0]
    np.testing.assert_array_equal(tile(panels[1], 0, 2, 4), first[2])  # as it was before the ReLU
    np.testing.assert_array_equal(tile(panels[2], 1, 1, 3), last[9])  # below the first, of 8 columns
    assert panels[2].images[0].get_clim() == (-np.abs(last).max(), np.abs(last).max())


def test_feature_maps_of_chosen_layers(model):
    x = np.ones((1, 1, 6, 6), np.float32)  # a batch of one
    panels = rv.plot.feature_maps(model, x, ["1"], limit=2)
    assert [p.get_title() for p in panels] == ["input: 1 × 6 × 6", "1 ReLU: 3 × 4 × 4 (the first 2 drawn)"]
    assert panels[1].images[0].get_clim()[0] == 0
    assert model.training


def test_wrong_arguments_of_images(model):
    refused(ValueError, "images of shape (2, 4, 5, 5); expected", rv.plot.images, np.zeros((2, 4, 5, 5)))
    refused(ValueError, "n at least 1", rv.plot.images, np.zeros((0, 5, 5)))
    refused(ValueError, "1 titles; expected one for each of 2", rv.plot.images, X, ["a"])
    refused(ValueError, "limit 0; expected at least 1", rv.plot.images, X, limit=0)
    refused(TypeError, "images of list; expected numbers", rv.plot.images, ["a"])
    maps = rv.plot.feature_maps
    refused(ValueError, "layer '9'; expected some of 0, 1", maps, model, np.ones((1, 6, 6)), ["9"])
    refused(ValueError, "limit 0; expected at least 1", maps, model, np.ones((1, 6, 6)), limit=0)
    refused(ValueError, "no layer that gives", maps, nn.Linear(2, 2), np.ones(2))
    refused(TypeError, "builtin_function_or_method; expected a Module", maps, len, np.ones(2))
    refused(ValueError, "channels", maps, model, np.ones((2, 6, 6)))


def test_titles_of_images_are_whole():
    """Long ones take several lines, or a smaller font where a word is long; none is cut."""
    long = [f"circle/triangle {i / 100:.2f}" for i in range(12)]
    panels = rv.plot.images(np.zeros((12, 3, 32, 32)), long)
    assert [title.replace("\n", " ") for title in titles(panels)] == long
    word = "a_name_without_any_space_in_it"
    (panel, *_) = np.ravel(rv.plot.images(np.zeros((12, 8, 8)), [word] * 12))
    assert panel.get_title() == word
    usual = np.ravel(rv.plot.images(np.zeros((12, 8, 8)), ["a"] * 12))[0]
    assert panel.title.get_fontsize() < usual.title.get_fontsize()
    assert titles(rv.plot.images(np.zeros((3, 8, 8)), np.arange(3))) == ["0", "1", "2"]
