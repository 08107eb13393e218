"""Files of users: Python files with networks and data, and inputs, which commands leave as they are.

Scores of known data must be reached; what is read must have the same bytes after a command as before.
"""

import csv
import importlib.util
import json
import re
import subprocess
import sys
import textwrap

import numpy as np
import PIL.Image as pillow
import pytest
import ranvier as rv

COLOURS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Iris as a table, digits as an archive of bytes, and, where pillow is installed, squares as images."""
    path = tmp_path_factory.mktemp("data")
    x, y = rv.data.datasets.load_iris()
    with open(path / "flowers.csv", "w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow([*rv.data.datasets.IRIS_FEATURES, "species"])
        for row, label in zip(x, y, strict=True):
            rows.writerow([*map(float, row), rv.data.datasets.IRIS_CLASSES[label]])
    images, labels = rv.data.datasets.load_digits()
    pixels = np.rint(images[:600, 0] * 255).astype(np.uint8)
    np.savez(path / "numbers.npz", x=pixels, y=labels[:600])
    return path


def test_a_table(folder, tmp_path, works, refused):
    out = tmp_path / "run"
    results = tmp_path / "results.json"
    table = folder / "flowers.csv"
    printed = works("train", table, "--label", "species", "--out", out, "--epochs", 20).out
    assert "flowers: 105 training, 15 validation and 30 test samples; mlp of" in printed
    model = out / "flowers.safetensors"
    about = rv.serialization.info(model)
    assert about.class_names == ["setosa", "versicolor", "virginica"]
    assert (about.input_shape, about.link) == ((4,), "softmax")

    printed = works("evaluate", model, table, "--label", "species", "--json", results).out
    assert "virginica" in printed
    figures = json.loads(results.read_text())
    assert figures["samples"] == 150
    assert figures["accuracy"] > 0.9
    assert np.sum(figures["confusion_matrix"]) == 150

    lines = table.read_text().splitlines()
    (tmp_path / "new.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines[:5]))
    printed = works("predict", model, tmp_path / "new.csv", "--top", 1).out
    assert [line.split()[:2] for line in printed.splitlines()] == [[f"{i}:", "setosa"] for i in range(4)]
    printed = works("predict", model, table, "--label", "species", "--json", results).out
    written = json.loads(results.read_text())
    assert written["classes"] == about.class_names
    np.testing.assert_allclose(np.sum(written["probabilities"], 1), 1, rtol=1e-5)

    assert "does not take, 'species': expected the columns" in refused(
        "predict", model, table, "--label", "0"
    )
    other = refused("predict", model, folder / "numbers.npz")
    assert other == "a sample is 1x8x8, and the model takes 4"
    assert "and the model takes 4" in refused("evaluate", model, "digits")


def test_an_archive_and_a_network_of_ones_own(folder, tmp_path, works, refused):
    code_file = tmp_path / "net.py"
    code_file.write_text(
        textwrap.dedent(
            """
            from ranvier import nn

            class Net(nn.Module):
                def __init__(self, classes):
                    super().__init__()
                    hidden, head = nn.Linear(64, 32), nn.Linear(32, classes)
                    self.layers = nn.Sequential(nn.Flatten(), hidden, nn.Tanh(), head)

                def forward(self, x):
                    return self.layers(x)

            def build(classes=10):
                return Net(classes)
            """
        )
    )
    out = tmp_path / "own.safetensors"
    archive = folder / "numbers.npz"
    arguments = ("train", archive, "--model", code_file, "--epochs", 15, "--lr", 0.01, "--out", out)
    printed = works(*arguments).out
    assert "numbers: 420 training, 60 validation and 120 test images; net of 2,410 parameters" in printed
    printed = works("evaluate", out, archive, "--code", code_file).out
    assert float(printed.split()[1].rstrip(",")) > 0.85
    error = refused("evaluate", out, archive)
    assert "which is not part of ranvier" in error
    assert "--code FILE" in error

    for text, message in (
        ("x = 1", "defines no function build()"),
        ("def build(): return 3", "returned a int; expected a Module"),
    ):
        code_file.write_text(text)
        assert message in refused("train", archive, "--model", code_file)


def test_named_data_and_an_image(tmp_path, works, refused):
    out = tmp_path / "digits.safetensors"
    printed = works("train", "digits", "--model", "mlp", "--epochs", 8, "--out", out).out
    trained = printed.split("test accuracy ")[1].split(",")[0]
    printed = works("evaluate", out, "digits").out
    assert printed.startswith(f"accuracy {trained}, loss ")  # the same 360 images

    bare = tmp_path / "bare.safetensors"
    wide = tmp_path / "wide.safetensors"
    rv.save(rv.nn.Sequential(*rv.load(out)), bare)  # the file does not say what the outputs are
    rv.save(rv.nn.Linear(4, 4), wide)
    assert works("evaluate", bare, "digits").out.startswith(f"accuracy {trained}, ")
    assert "the model's output is 4; expected 3 scores" in refused("evaluate", wide, "iris")
    assert works("predict", out, "digits").out.count("\n") == 360
    assert "--label is for" in refused("predict", out, "digits", "--label", "x")

    x, y = rv.data.datasets.load_digits()
    drawn = pillow.fromarray(np.rint(x[0, 0] * 255).astype(np.uint8))
    drawn.save(tmp_path / "small.png")
    pillow.fromarray(255 - np.asarray(drawn)).save(tmp_path / "dark.png")
    small = works("predict", out, tmp_path / "small.png").out
    assert f"small.png: {y[0]} " in small
    assert works("predict", out, tmp_path / "dark.png", "--invert").out == small.replace("small", "dark")
    assert "light on black: see --invert" in works("predict", out, tmp_path / "dark.png").err
    assert works("predict", out, tmp_path / "small.png") == (small, "")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no more")
    assert "is broken or no image" in refused("predict", out, tmp_path / "broken.png")


def test_a_folder_of_images(tmp_path, works):
    rng = np.random.default_rng(0)
    for channel, colour in enumerate(reversed(COLOURS)):
        (tmp_path / "photos" / colour).mkdir(parents=True)
        for number in range(30):
            pixels = rng.integers(0, 90, (12, 10 + number % 3, 3), dtype=np.uint8)
            pixels[..., channel] += 120
            pillow.fromarray(pixels).save(tmp_path / "photos" / colour / f"{number}.png")
    out = tmp_path / "colours.safetensors"
    arguments = ("train", tmp_path / "photos", "--size", "8x8", "--epochs", 4, "--out", out)
    works(*arguments)
    assert rv.serialization.info(out).class_names == list(COLOURS)
    file = tmp_path / "photos" / "green" / "3.png"
    assert works("predict", out, file).out.startswith(f"{file}: green ")
    for size in ((), ("--size", "8x8")):
        assert works("evaluate", out, tmp_path / "photos", *size).out.startswith("accuracy 1.0000")


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_files_are_written_though_nobody_reads_what_is_printed(tmp_path, works, command):
    out = tmp_path / "m.safetensors"
    table = tmp_path / "houses.csv"
    written = tmp_path / "written.json"
    houses(table)
    works("train", table, "--epochs", 1, "--out", out)
    line = [sys.executable, "-u", "-m", "ranvier", command, out, table, "--label", "price", "--json", written]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.close()
    assert process.returncode == 1
    assert json.loads(written.read_text())


def houses(path, whole=False):
    """A table whose last column follows from the others, far from 0 and 1; returns that column."""
    rng = np.random.default_rng(0)
    rooms = rng.integers(1, 7, 400)
    age = rng.uniform(0, 90, 400)
    price = 40_000 * rooms - 900 * age + 6000 * np.sin(age / 15) + 150_000
    price = np.rint(price) if whole else price
    rows = (f"{a},{b:.3f},{c}" for a, b, c in zip(rooms, age, price.tolist(), strict=True))
    path.write_text("\n".join(["rooms,age,price", *rows]) + "\n")
    return price


@pytest.mark.parametrize("whole", [False, True])
def test_a_table_of_values(tmp_path, whole, works):
    table = tmp_path / "houses.csv"
    out = tmp_path / "houses.safetensors"
    figures = tmp_path / "run.json"
    price = houses(table, whole)
    settings = ["--label", "price", "--epochs", 60, "--out", out, "--json", figures]
    printed = works("train", table, *settings).out
    written = json.loads(figures.read_text())
    assert re.search(rf"test r2 {written['test_r2']:.4f}, \d+\.\d s\n", printed)
    assert "the losses are of standardized values" in printed
    assert written["test_r2"] > 0.98
    assert written["history"]["loss"][-1] < 0.05  # of values with standard deviation 1
    assert written["test_loss"] > 1e4  # and this in dollars
    assert rv.serialization.info(out).link is None

    printed = works("evaluate", out, table, "--label", "price", "--json", figures).out
    found = json.loads(figures.read_text())
    assert printed.startswith(f"r2 {found['r2']:.4f}, 400 samples\n\nmean absolute error {found['mae']:.4g}")
    printed = works("predict", out, table, "--label", "price").out
    predicted = np.array([float(line.split()[1]) for line in printed.splitlines()])
    assert rv.metrics.r2_score(price, predicted) == pytest.approx(found["r2"], abs=1e-3)


def test_values_where_classes_are_expected(folder, tmp_path, works, refused):
    table = tmp_path / "houses.csv"
    out = tmp_path / "houses.safetensors"
    houses(table)
    error = refused("train", table, "--class-weight", "balanced")
    assert error == "--class-weight is for classes, and the labels are values"
    works("train", table, "--epochs", 1, "--out", out)
    (tmp_path / "named.csv").write_text("rooms,age,y\n1,2,x\n3,4,z\n")
    assert "the model gives values, and the data has other labels" in refused(
        "evaluate", out, tmp_path / "named.csv"
    )


@pytest.mark.parametrize(("offset", "deviation"), [(1.7e9, 86_400), (1e10, 5), (0, 1e-3)])
def test_values_and_columns_of_any_offset(tmp_path, offset, deviation, works):
    """Seconds since 1970 differ in digits that float32 does not have, in the labels and in a column."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 30, 300)
    labels = offset + deviation * np.rint(3e3 * np.sin(x / 9) + 10 * rng.standard_normal(300)) / 1e3
    table = tmp_path / "t.csv"
    one = tmp_path / "one.csv"
    out = tmp_path / "t.safetensors"
    rows = [f"{1_700_000_000 + a},7,{b!r}" for a, b in zip(x, labels.tolist(), strict=True)]
    table.write_text("\n".join(["second,constant,when", *rows]))
    one.write_text("\n".join(["second,constant,when", rows[0]]))
    train = ("train", table, "--task", "regression", "--epochs", 30, "--out", out)
    works(*train)
    works("evaluate", out, table, "--json", tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["r2"] > 0.98
    found = tmp_path / "p.csv"
    works("predict", out, table, "--label", "when", "--csv", found)
    values = np.loadtxt(found, delimiter=",", skiprows=1)[:, 1]
    assert 1 - np.square(values - labels).mean() / labels.var() > 0.98
    printed = works("predict", out, one, "--label", "when").out
    assert float(printed.split()[1]) == pytest.approx(values[0], abs=deviation * 1e-4)
    if importlib.util.find_spec("onnx"):
        dtype = "float64" if offset else "float32"
        assert dtype in works("export", out, tmp_path / "t.onnx").out


def test_whole_numbers_and_columns_left_out(tmp_path, works, refused):
    table = tmp_path / "houses.csv"
    out = tmp_path / "houses.safetensors"
    houses(table, whole=True)
    train = ("train", table, "--epochs", 1, "--out", out, "--task", "regression")
    assert "the labels are in column 'age' (values)" in works(*train, "--without", "price").out
    assert "got column 'price' as label and in without (--label, --without)" in refused(
        *train, "--label", "price", "--without", "price"
    )
    works(*train)
    assert "the labels are in column 'price' (values)" in works("evaluate", out, table).out  # not as classes


# What is read is not written, and data of which no usable model can be made is refused in one line.


KINDS = ("down", "down", "down", "down", "up", "up", "up")  # of the numbers 0 to 6 in the first column
ROWS = "\n".join(f"{i % 7},{i % 5},{KINDS[i % 7]}" for i in range(40))


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(f"a,b,kind\n{ROWS}\n")
    return path


def test_an_output_in_the_place_of_an_input(table, tmp_path, refused):
    model = tmp_path / "m.safetensors"
    before = table.read_bytes()
    rv.save(rv.nn.Linear(2, 2), model, class_names=["up", "down"], feature_names=["a", "b"])
    weights = model.read_bytes()
    unlabelled = tmp_path / "new.csv"
    unlabelled.write_text("a,b\n1,2\n")
    link = tmp_path / "link.csv"
    link.symlink_to(table)
    for path in (table, link):
        message = refused("train", table, "--out", tmp_path / "n.safetensors", "--json", path)
        assert message == f"--json is '{path}', which is read; writing it would destroy the input"
    for path in (table, model):
        assert refused("evaluate", model, table, "--json", path).startswith("--json is ")
    for path in (model, unlabelled):
        assert refused("predict", model, unlabelled, "--json", path).startswith("--json is ")
    assert (table.read_bytes(), model.read_bytes()) == (before, weights)
    assert unlabelled.read_text() == "a,b\n1,2\n"


def test_archives_that_are_no_samples(tmp_path, refused):
    path = tmp_path / "a.npz"
    model = tmp_path / "m.safetensors"
    rv.save(rv.nn.Linear(3, 2), model, class_names=["0", "1"])
    np.savez(path, x=np.zeros((0, 3)), y=np.zeros(0, int))
    message = f"[load_npz] '{path}' has no samples in 'x'; expected at least one"
    for command in (["train", path], ["evaluate", model, path], ["predict", model, path]):
        assert refused(*command) == message
    np.savez(path, x=np.arange(40.0), y=np.arange(40) % 2)
    message = refused("train", path, "--out", tmp_path / "n.safetensors")
    assert message == (
        f"'{path}' has samples of shape (40,); expected at least 2 dimensions, such as (40, 1) for one "
        "number a sample"
    )


def test_a_model_that_gives_nan(tmp_path, refused):
    model = rv.nn.Linear(2, 2)
    new = tmp_path / "new.csv"
    with rv.no_grad():
        model.weight[0, 0] = float("nan")
    rv.save(model, tmp_path / "m.safetensors", class_names=["0", "1"])
    new.write_text("a,b\n1,2\n")
    message = refused("predict", tmp_path / "m.safetensors", new)
    assert message == "the model's output for sample 0 is NaN; expected a number"
