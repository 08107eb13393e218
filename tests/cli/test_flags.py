"""Flags of the commands, their help, summary and export.

What a command prints, its exit code and its files are compared with texts and figures that stand here. The
fixtures `works` and `refused` (conftest.py) run a command that has to succeed, or to fail with one line.
"""

import os
import re
import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier import cli, nn
from ranvier.cli import _parser

QUICK = ["--epochs", "1", "--model", "mlp"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a table, an archive, a folder of no images, and models of each task."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2)).round(3)
    kinds = np.where(x[:, 0] > x[:, 1], "up", "down")
    rows = [f"{a},{b},{kind}" for (a, b), kind in zip(x, kinds, strict=True)]
    (folder / "table.csv").write_text("\n".join(["a,b,kind", *rows]) + "\n")
    (folder / "values.csv").write_text(
        "\n".join(["a,b,y", *(f"{a},{b},{2 * a - b:.4f}" for a, b in x)]) + "\n"
    )
    np.savez(folder / "arrays.npz", x=x, y=(x[:, 0] > 0).astype(int))
    (folder / "images").mkdir()
    for name in ("table", "values"):
        out = str(folder / f"{name}.safetensors")
        assert cli.main(["train", str(folder / f"{name}.csv"), "--epochs", "3", "--out", out]) == 0
    (folder / "one.png").write_bytes(b"")
    return folder


def test_flags_of_train(files, tmp_path, refused):
    table = files / "table.csv"
    archive = files / "arrays.npz"
    images = files / "images"
    out = ["--out", tmp_path / "m.safetensors"]
    for arguments, message in (
        (["digits", "--label", "y"], "--label is for a .csv or .npz file, not for digits"),
        (["digits", "--task", "regression"], "--task is for a .csv or .npz file, not for digits"),
        (["digits", "--size", "8x8"], "--size is for a folder of images, not for digits"),
        (["digits", "--grayscale"], "--grayscale is for a folder of images, not for digits"),
        ([table, "--size", "8x8"], f"--size is for a folder of images, not for {table}"),
        ([archive, "--grayscale"], f"--grayscale is for a folder of images, not for {archive}"),
        ([archive, "--label", "2"], "has no array '2'; it has x, y"),
        ([images, "--label", "y"], f"--label is for a .csv or .npz file, not for {images}"),
        ([images, "--task", "regression"], f"--task is for a .csv or .npz file, not for {images}"),
        ([table, "--data-dir", tmp_path], f"--data-dir is for mnist and fashion_mnist, not for {table}"),
        ([table, "--momentum", "0.5"], "--momentum is for --optimizer sgd, not for adam"),
        ([table, "--optimizer", "rmsprop", "--momentum", "0.9"], "--momentum is for --optimizer sgd"),
        ([table, "--threads", os.cpu_count() + 1], f"this machine has {os.cpu_count()} processor"),
        ([table, "--json", tmp_path / "m.safetensors"], "--out and --json are both "),
        ([table, "--json", tmp_path / "m.png"], "the picture next to it and --json are both "),
    ):
        assert message in refused("train", *arguments, *out)
    assert not (tmp_path / "m.safetensors").exists()


def test_init_without_layers_to_initialise(files, tmp_path, refused):
    network = tmp_path / "net.py"
    network.write_text("from ranvier import nn\ndef build():\n    return nn.Sequential(nn.BatchNorm1d(2))\n")
    out = ["--out", tmp_path / "m.safetensors"]
    message = refused("train", files / "table.csv", "--model", network, "--init", "he", *out)
    assert message == "--init he is for linear layers and convolutions, and the network has none"


def test_flags_of_evaluate_and_predict(files, refused):
    model = files / "table.safetensors"
    values = files / "values.safetensors"
    table = files / "table.csv"
    for arguments, message in (
        (["evaluate", model, table, "--label", "kind", "--seed", "1"], "--seed is for digits and iris"),
        (["evaluate", model, table, "--size", "8x8"], "--size is for a folder of images"),
        (["predict", model, table, "--label", "kind", "--invert"], "--invert is for an image, not for"),
        (["predict", model, files / "one.png", "--label", "y"], "--label is for a .csv or .npz file"),
        (["predict", values, files / "values.csv", "--label", "y", "--top", "2"], "--top is for classes"),
        (["predict", model, table, "--label", "kind", "--json", files], "is a folder; expected a file"),
    ):
        assert message in refused(*arguments)


def test_columns_are_known_by_their_names(files, tmp_path, capsys):
    def output(command, name, text, *more):
        """The exit code, what is printed and the errors of a command on a file with this text."""
        path = tmp_path / name
        path.write_text(text)
        code = cli.main([command, str(files / "values.safetensors"), str(path), *more])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    assert rv.serialization.info(files / "values.safetensors").feature_names == ["a", "b"]
    code, expected, error = output("predict", "ab.csv", "a,b\n0.5,-2\n1,3\n")
    assert (code, error) == (0, "")
    assert output("predict", "ba.csv", "b,a\n-2,0.5\n3,1\n") == (0, expected, "")
    in_order = "a,b,y\n0.5,-2,2.5\n1,3,-0.5\n"
    reordered = "y,b,a\n2.5,-2,0.5\n-0.5,3,1\n"
    first_code, first_printed, _ = output("evaluate", "1.csv", in_order, "--label", "y")
    second_code, second_printed, _ = output("evaluate", "2.csv", reordered, "--label", "y")
    assert (first_code, first_printed) == (second_code, second_printed)
    code, printed, error = output("predict", "none.csv", "0.5,-2\n1,3\n")
    assert (code, printed) == (0, expected)
    assert error == "ranvier: the columns have no names; they are taken to be a, b\n"
    for text, message in (
        ("a,c\n1,2\n3,4\n", "the table lacks 'b'; it has, and the model does not take, 'c': expected the"),
        ("a\n1\n2\n3\n", "the table lacks 'b'"),
        ("a,b,a\n1,2,3\n3,4,5\n", "the table has twice 'a'"),
    ):
        code, printed, error = output("predict", "wrong.csv", text)
        assert (code, printed) == (1, "")
        assert message in error


def test_columns_that_the_model_does_not_take_are_left_out(files, tmp_path, works):
    """Also words; of `evaluate`, the labels are in the column of the training, or in the only other one."""
    model = str(files / "values.safetensors")
    path = tmp_path / "more.csv"
    path.write_text("a,b\n0.5,-2\n1,3\n")
    expected = works("predict", model, path).out
    path.write_text("a,y,b,c\n0.5,1.5,-2,red\n1,2,3,blue\n")
    captured = works("predict", model, path)
    assert captured.out == expected
    assert captured.err == "ranvier: columns that the model does not take are left out: 'y', 'c'\n"
    said = works("evaluate", model, path, "--label", "y").err
    assert said == "ranvier: columns that the model does not take are left out: 'c'\n"
    path.write_text("y,a,b\n1.5,0.5,-2\n2,1,3\n")
    assert "the labels are in column 'y' (values)" in works("evaluate", model, path).out


def archive_of(path, **more):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 3)).astype(np.float32)
    xt = rng.normal(size=(20, 3)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    yt = (xt[:, 0] > 0).astype(int)
    np.savez(path, x_train=x, y_train=y, x_test=xt, y_test=yt, **more)
    return str(path)


def test_test_arrays_of_an_archive_are_what_is_tested(tmp_path, refused, works):
    path = archive_of(tmp_path / "a.npz", extra=np.ones(3))
    out = str(tmp_path / "m.safetensors")
    printed = works("train", path, "--epochs", "2", "--out", out).out
    assert "a: 72 training, 8 validation and 20 test samples" in printed
    assert f"not used of {path}: extra\nthe test part is x_test and y_test of {path}\n" in printed
    found = printed.split("test accuracy ")[1].split(",")[0]
    printed = works("evaluate", out, path).out
    assert f"measured on x_test and y_test of {path}" in printed
    assert f"accuracy {found}," in printed
    assert "x_train and y_train are taken, not used: x_test, y_test, extra" in works("predict", out, path).err
    other = tmp_path / "other.npz"
    arrays = dict(np.load(path))
    np.savez(other, **{**arrays, "y_test": arrays["y_test"] + 1})
    assert "'y_test' has the class '2', which the training part lacks" in refused("train", other)


def test_the_library_names_what_it_does_not_use(tmp_path):
    path = archive_of(tmp_path / "a.npz")
    with pytest.warns(
        UserWarning, match=r"x_train and y_train are taken, not used: x_test, y_test \(x= and y="
    ):
        samples = rv.data.load(path)
    assert samples.unused == ("x_test", "y_test")
    assert (
        len(rv.data.datasets.load_npz(path, "x_test", "y_test")) == 20
    )  # said, so that nothing is to be warned of
    for arguments, name in (
        ({"label": 1}, "label"),
        ({"size": 8}, "size"),
        ({"grayscale": True}, "grayscale"),
    ):
        with pytest.raises(ValueError, match=rf"\[load\] got {name} for "):
            rv.data.load(path, **arguments)


def test_one_hot_targets_are_classes(tmp_path, works):
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=x, y=np.eye(3, dtype=np.float32)[x.argmax(1)])
    samples = rv.data.load(tmp_path / "a.npz")
    assert samples.class_names == ("0", "1", "2")
    assert np.array_equal(samples.y, x.argmax(1))
    assert rv.data.load(tmp_path / "a.npz", task="regression").y.shape == (60, 3)
    out = str(tmp_path / "m.safetensors")
    assert "test accuracy" in works("train", tmp_path / "a.npz", "--epochs", "1", "--out", out).out
    np.savez(tmp_path / "b.npz", x=x, y=x)
    with pytest.raises(ValueError, match=r"'y' of shape \(60, 3\); expected classes \(n,\), or one-hot rows"):
        rv.data.load(tmp_path / "b.npz", task="classification")


def test_numbers_too_large_for_float32(tmp_path):
    for text, place in (
        ("a,b,y\n1,2,0\n1e39,2,1\n", r"line 3, column 'a' holds '1e39'"),
        ("a,b,y\n1,2,0.5\n1,2,-4e40\n", r"column 'y': -4e\+40 is more than float32 holds"),
    ):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(ValueError, match=place):
            rv.data.load(tmp_path / "t.csv", "y")
    np.savez(tmp_path / "t.npz", x=np.array([[1.0], [1e39]]), y=np.array([0, 1]))
    with pytest.raises(ValueError, match=r"'x' with a value too large: 1e\+39 is more than float32 holds"):
        rv.data.load(tmp_path / "t.npz")


def test_classes_that_cannot_be_split(tmp_path, refused):
    one = tmp_path / "one.csv"
    one.write_text("a,kind\n" + "".join(f"{i},x\n" for i in range(40)))
    assert refused("train", one).endswith("are of class 'x'; expected two classes or more")


def test_a_longer_run_of_a_constant_rate_is_gone_on_with(files, tmp_path, works, refused):
    def run(epochs, *more):
        state = ["--checkpoint", str(tmp_path / "state"), "--out", str(tmp_path / "m.safetensors")]
        return ["train", str(files / "table.csv"), "--epochs", str(epochs), *state, *more]

    constant = ("--schedule", "constant")
    works(*run(3, *constant))
    works(*run(5, *constant, "--resume"))
    longer = (tmp_path / "m.safetensors").read_bytes()
    for more, message in (
        (["--resume"], "it has --schedule constant"),
        ([*constant, "--resume", "--init", "he"], "it has --init default"),
    ):
        assert message in refused(*run(5, *more))
    assert "it has --epochs 5" in refused(*run(4, *constant, "--resume"))
    for path in (tmp_path / "state").iterdir():
        path.unlink()
    works(*run(5, *constant))
    assert (tmp_path / "m.safetensors").read_bytes() == longer


def test_arrays_whose_names_say_nothing(tmp_path, refused):
    np.savez(tmp_path / "a.npz", x=np.ones((9, 2)), outcome=np.arange(9) % 2)
    message = refused("train", tmp_path / "a.npz")
    assert message.endswith("has no labels that are known by their name; of its arrays outcome: --label NAME")


def test_a_file_as_checkpoint_folder_is_refused_before_the_data_is_read(tmp_path, monkeypatch, refused):
    def fail(*arguments):
        pytest.fail("read the data")

    monkeypatch.setattr("ranvier.cli.train.open_problem", fail)
    (tmp_path / "state").write_text("")
    expected = f"'{tmp_path / 'state'}' is a file; expected a folder, which may be new"
    assert refused("train", "iris", "--checkpoint", tmp_path / "state" / "run").endswith(expected)


def test_output_that_cannot_be_written(monkeypatch, refused):
    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

        def flush(self):
            pass

    monkeypatch.setattr("sys.stdout", Full())
    assert refused("config") == "[Errno 28] No space left on device"


# Every command explains itself, with examples that it accepts.


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "summary", "export", "config"])
def test_help_ends_with_examples(command, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    examples = re.findall(
        rf"^  (?:\w+=\S+ )?ranvier {command}(.*)$", text.partition("examples:")[2], re.MULTILINE
    )
    assert examples
    for example in examples:
        _parser([]).parse_args([command, *example.split()])


# `ranvier summary`: the table of a model file, and what the file says beside it.


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "model.safetensors"
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 2))
    names = ["cat", "dog"]
    steps = [rv.data.MinMaxScaler(0, 16)]
    rv.save(model, path, input_shape=(2, 3), class_names=names, preprocessing=steps, link="softmax")
    return path


def test_everything_the_file_says(model_file, works):
    printed = works("summary", model_file).out
    assert "1 Linear   (N, 2)                14" in printed
    assert "input       2x3\nclasses     cat, dog\nbefore it   MinMaxScaler (low 0, high 16)\n" in printed
    assert printed.endswith(f"after it    softmax\nwritten by  ranvier {rv.__version__}\n")


def test_another_input(model_file, refused):
    assert cli.main(["summary", str(model_file), "--input-shape", "6"]) == 0
    assert "[linear] got x of shape (1, 7)" in refused("summary", model_file, "--input-shape", "1x7")
    with pytest.raises(SystemExit):
        cli.main(["summary", str(model_file), "--input-shape", "axb"])


def test_mistakes(tmp_path, refused):
    state = tmp_path / "state"
    bare = tmp_path / "bare"
    text = tmp_path / "text"
    rv.save({"w": np.ones(2)}, state)
    rv.save(nn.Sequential(nn.ReLU()), bare)
    text.write_text("no model")
    for path, message in (
        (tmp_path / "absent", "no such file"),
        (state, "holds weights without a model"),
        (bare, "does not say what its input is; pass --input-shape"),
        (text, "text"),
        (tmp_path, f"'{tmp_path}' is a folder; expected a model file"),
    ):
        assert message in refused("summary", path)


# `ranvier export`: a model file as an ONNX file or as C.


def test_the_network_and_what_is_around_it(model_file, tmp_path, works):
    pytest.importorskip("onnx", reason="onnx is not installed")
    file = tmp_path / "new" / "model.onnx"
    assert works("export", model_file, file).out == (
        "input       x: batch x 2x3, float32\noutput      output: batch x 2\nclasses     cat, dog\n"
        f"before it   MinMaxScaler (low 0, high 16)\nafter it    softmax\nwritten to  {file}\n"
    )
    x = np.random.default_rng(0).random((5, 2, 3), np.float32)
    found = rv.onnx.load(file)
    model = rv.load(model_file)
    np.testing.assert_allclose(found(x).detach().numpy(), model(x).detach().numpy(), 1e-5, 1e-6)


def test_a_network_with_two_results(tmp_path, works):
    pytest.importorskip("onnx", reason="onnx is not installed")
    code = tmp_path / "code.py"
    weights = tmp_path / "m.safetensors"
    file = tmp_path / "m.onnx"
    code.write_text(
        "from ranvier import nn\n\n"
        "class Two(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x * 2, x.sum(1)\n\n"
        "def build():\n"
        "    return Two()\n"
    )
    rv.save({}, weights)
    printed = works("export", weights, file, "--code", code, "--input-shape", "3").out
    assert "output_1: batch" in printed
    doubled, summed = rv.onnx.load(file)(np.ones((5, 3), np.float32))
    assert doubled.tolist() == [[2, 2, 2]] * 5
    assert summed.tolist() == [3] * 5


def test_a_network_as_c(model_file, tmp_path, works):
    samples = np.random.default_rng(0).random((40, 6), np.float32)
    own = tmp_path / "own"
    np.save(tmp_path / "x.npy", samples)
    own.mkdir()
    for more, given in (([], None), (["--int8", tmp_path / "x.npy"], samples.reshape(-1, 2, 3) / 16)):
        said = works("export", model_file, tmp_path / "net.c", *more).out
        assert said.startswith("functions   net_predict: input 1x2x3, float32\nclasses     cat")
        rv.export.c(rv.load(model_file), own / "net.c", rv.zeros(1, 2, 3), calibration=given)
        for name in ("net.c", "net.h"):
            assert (tmp_path / name).read_text() == (own / name).read_text()
    np.save(tmp_path / "x.npy", samples[:5])
    assert (
        "has 5 samples; expected 32"
        in works("export", model_file, own / "n.c", "--int8", tmp_path / "x.npy").err
    )


def test_mistakes_of_export(model_file, tmp_path, refused):
    bare = tmp_path / "bare"
    rv.save(nn.Sequential(nn.ReLU()), bare)
    for arguments, message in (
        ([str(tmp_path / "none"), str(tmp_path / "a.onnx")], "no such file"),
        ([str(model_file), str(model_file)], "which is read; writing it would destroy"),
        ([str(model_file), str(tmp_path)], "is a folder; expected a file to write"),
        ([str(model_file), str(tmp_path / "a.cpp")], "ends in '.cpp'; expected .onnx, or .c for C"),
        ([str(model_file), str(tmp_path / "a")], "ends in ''; expected .onnx, or .c for C"),
        ([str(bare), str(tmp_path / "a.onnx")], "does not say what its input is; pass --input-shape"),
    ):
        assert message in refused("export", *arguments)


def test_without_the_package(model_file, tmp_path, monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "onnx", None)
    error = refused("export", model_file, tmp_path / "a.onnx")
    assert "ONNX files need onnx: pip install 'ranvier[onnx]'" in error
    assert not (tmp_path / "a.onnx").exists()
