"""Pictures of descents: the points and values drawn, the verdicts, the part of the plane shown."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import explore, plot
from ranvier.explore import surfaces
from support.refused import refused


def line(ax, name):
    (found,) = [one for one in ax.lines if one.get_label() == name]
    return np.stack(found.get_data(), axis=1)


def test_on_contours(tmp_path):
    path = explore.gradient_descent(surfaces.bowl, (-2, 2), lr=0.1, steps=30)
    ax = plot.descent(surfaces.bowl, path, path=tmp_path / "descent.png")
    assert (tmp_path / "descent.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    np.testing.assert_array_equal(line(ax, "steps"), path.points)
    np.testing.assert_array_equal(line(ax, "start"), path.points[:1])
    np.testing.assert_array_equal(line(ax, "end"), path.points[-1:])
    assert ax.get_xlim() == (-3, 3)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("first weight", "second weight")
    (filled,) = [c for c in ax.collections if hasattr(c, "levels") and c.filled]
    assert filled.levels[0] < 0.01  # near the least value of the bowl
    assert filled.levels[-1] > 30  # near its corner


def test_on_a_curve_and_from_bare_points():
    ax = plot.descent(lambda w: ((w - 2) ** 2).sum(), [[5.0], [4.0], [3.0]])
    np.testing.assert_array_equal(line(ax, "steps"), [[5, 9], [4, 4], [3, 1]])
    curve = line(ax, "f")
    np.testing.assert_allclose(curve[:, 1], (curve[:, 0] - 2) ** 2)
    assert ax.get_title() == "descent: 9 to 1 in 2 steps"


def test_guesses_are_dots():
    rv.manual_seed(0)
    path = explore.random_search(surfaces.bowl, (-3, -3), (3, 3), trials=50)
    ax = plot.descent(surfaces.bowl, path)
    np.testing.assert_array_equal(line(ax, "guesses"), path.points)
    np.testing.assert_array_equal(line(ax, "best"), path.best[None])
    (dots,) = [one for one in ax.lines if one.get_label() == "guesses"]
    assert dots.get_linestyle() == "None"
    assert ax.get_title() == f"random search: best {path.best_value:.3g} of 50 guesses"


def test_the_model_keeps_the_end_of_the_path():
    model = rv.nn.Linear(1, 1)
    loss = explore.ParameterLoss(model, rv.nn.MSELoss(), np.array([[0.0], [1.0]]), np.array([[1.0], [3.0]]))
    loss.y = loss.y.to(rv.float32)
    path = explore.gradient_descent(loss, loss.start, lr=0.3, steps=20)
    plot.descent(loss, path)
    np.testing.assert_allclose([model.weight.item(), model.bias.item()], path.end, rtol=1e-6)


def test_race():
    race = explore.compare_optimizers(surfaces.ripples, steps=30)
    left, right = plot.optimizer_race(surfaces.ripples, race)
    for name, path in race.items():
        np.testing.assert_array_equal(line(left, name), path.points)
        np.testing.assert_allclose(line(right, name)[:, 1], path.values - race.minimum, atol=1e-15)
    assert right.get_yscale() == "log"
    np.testing.assert_array_equal(line(left, "minimum"), surfaces.ripples.minima)
    assert [t.get_text() for t in right.get_legend().get_texts()] == list(race)


@pytest.mark.parametrize("f", [None, surfaces.bowl])
def test_learning_rates(f):
    found = explore.compare_learning_rates(surfaces.bowl, (-2, 2), (0.01, 0.1, 0.6), steps=20)
    panels = plot.learning_rates(found, f)
    titles = ["rate 0.01: slow", "rate 0.1: good", "rate 0.6: diverged"]
    assert [panel.get_title() for panel in panels] == titles
    for panel, path in zip(panels, found.values(), strict=True):
        if f is None:
            np.testing.assert_array_equal(panel.lines[0].get_ydata(), path.values)
            assert panel.get_ylim()[1] < 2 * path.values[0]  # what diverges leaves the panel
        else:
            np.testing.assert_array_equal(line(panel, "steps"), path.points)


def test_what_left_the_finite_numbers_is_left_out():
    path = explore.gradient_descent(lambda w: (w**4).sum(), [10.0, 1.0], lr=1.0, steps=50)
    held = explore.Path([*path.points[:2].tolist(), [np.inf, 1.0]], [1.0, 2.0, np.inf])
    ax = plot.descent(surfaces.bowl, held)
    assert len(line(ax, "steps")) == 2


def test_wrong_calls():
    with pytest.raises(ValueError, match=r"\[plot.descent\] got points of shape \(1, 3\)"):
        plot.descent(surfaces.bowl, [[1.0, 2.0, 3.0]])
    refused(ValueError, "no finite point", plot.descent, surfaces.bowl, [[np.nan, 2.0]])
    with pytest.raises(ValueError, match=r"\[plot.optimizer_race\] got dict; expected at least one"):
        plot.optimizer_race(surfaces.bowl, {})
    refused(ValueError, "[plot.learning_rates] got list", plot.learning_rates, [1, 2])
    one = {"a": explore.gradient_descent(lambda w: (w * w).sum(), 1.0, steps=2)}
    with pytest.raises(ValueError, match=r"got points of shape \(3, 1\); expected \(n, 2\)"):
        plot.optimizer_race(surfaces.bowl, one)
