"""Tables with missing values and categories, folders with broken images, and predictions to files.

The tables have a known effect (the kind follows from the colour, a price from the town), which predictions
must show; notes and errors are compared with texts that stand here.
"""

import csv
import re

import numpy as np
import pytest
import ranvier as rv
from ranvier import cli


def write_table(path, rows, names=("id", "size", "colour", "kind")):
    """Write a .csv file with a line of names; returns its path as a text."""
    lines = [",".join(names)]
    lines += [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def rows():
    """(id, size, colour, kind) of 120 things: each tenth lacks its size; the kind of red ones is "yes"."""
    rng = np.random.default_rng(0)
    colours = rng.choice(["red", "green", "blue"], 120)
    sizes = [f"{size:.3f}" for size in rng.normal(size=120)]
    sizes[3::10] = [""] * 12
    kinds = np.where(colours == "red", "yes", "no").tolist()
    ids = [f"n{i}" for i in range(120)]
    return list(zip(ids, sizes, colours, kinds, strict=True))


@pytest.mark.parametrize("missing", ["mean", "median", "drop"])
def test_predict_reads_a_table_as_training_did(rows, missing, tmp_path, capsys, works):
    path = write_table(tmp_path / "t.csv", rows)
    model = str(tmp_path / "m.safetensors")
    how = ["--missing", missing, "--without", "id"]
    said = works("train", path, *how, "--epochs", "8", "--out", model)
    assert "columns of categories, one-hot: colour (3)" in said.out
    gaps = sum(not row[1] for row in rows)
    lines = f"{gaps} of {len(rows)} lines have missing values and are left out: {len(rows) - gaps} are kept\n"
    assert gaps
    assert (lines in said.err) == (missing == "drop")
    assert rv.serialization.info(rv.load(model)).feature_names == ["size", "colour"]
    # the columns in another order, the columns left out gone, no labels
    other = write_table(tmp_path / "new.csv", [row[2:0:-1] for row in rows], ("colour", "size"))
    assert cli.main(["predict", model, other, "--csv", str(tmp_path / "p.csv")]) == 0
    with open(tmp_path / "p.csv") as stream:
        found = list(csv.DictReader(stream))
    kept = [i for i, row in enumerate(rows) if row[1] or missing != "drop"]
    assert [int(row["sample"]) for row in found] == kept
    assert [row["prediction"] for row in found] == [rows[i][3] for i in kept]
    assert all(abs(float(row["yes"]) + float(row["no"]) - 1) < 1e-6 for row in found)
    assert (lines in capsys.readouterr().err) == (missing == "drop")
    captured = works("evaluate", model, path, "--label", "kind")
    assert (lines in captured.err) == (missing == "drop")
    assert "accuracy 1.0000" in captured.out
    valid = round(0.1 * len(kept))
    test = round(0.2 * len(kept))
    trained = f"{len(kept) - valid - test} of these samples trained the model and {valid} validated it"
    assert f"ranvier: {trained}; accuracy 1.0000 of the {test} others\n" in captured.err
    new = write_table(tmp_path / "new.csv", [("1", "pink")], ("size", "colour"))
    said = works("predict", model, new).err
    assert "'colour' has unknown categories (1), which count as missing: 'pink'" in said


def test_many_categories_have_an_embedding(tmp_path, works, refused):
    """More than 8 categories; what training did not have counts as missing, and is printed."""
    rng = np.random.default_rng(0)
    towns = np.array([f"town {i}" for i in range(120)])
    effect = dict(zip(towns, rng.normal(size=120), strict=True))
    chosen = [*rng.choice(towns, 1200), "hapax"]
    values = rng.normal(size=1201) / 10
    rows = []
    for town, value in zip(chosen, values, strict=True):
        price = effect.get(town, 0) + value
        rows.append((town, f"{value:.4f}", f"{price:.5f}"))
    path = write_table(tmp_path / "t.csv", rows, ("town", "area", "price"))
    model = str(tmp_path / "m.safetensors")
    out = tmp_path / "p.csv"
    said = works("train", path, "--epochs", "25", "--out", model).out
    assert "columns of categories, embedded: town (121)" in said
    assert float(said.partition("test r2 ")[2].split(",")[0]) > 0.9
    new = [("0.1", "town 5"), ("0.1", "town 6"), ("0.1", "Atlantis"), ("0.1", "hapax")]
    other = write_table(tmp_path / "new.csv", new, ("area", "town"))
    shown = works("predict", model, other, "--csv", out).err
    assert "column 'town' has unknown categories (1), which count as missing: 'Atlantis'" in shown
    found = [float(row["prediction"]) for row in csv.DictReader(out.read_text().splitlines())]
    assert found[0] == pytest.approx(effect["town 5"] + 0.1, abs=0.5)
    assert found[1] == pytest.approx(effect["town 6"] + 0.1, abs=0.5)
    assert found[2] == found[3]
    assert cli.main(["evaluate", model, path, "--label", "price"]) == 0
    labelled = write_table(tmp_path / "labelled.csv", [(*row, 1.5) for row in new], ("area", "town", "price"))
    assert works("evaluate", model, labelled, "--label", "price").err.count("has unknown categories (1)") == 1
    network = tmp_path / "net.py"
    network.write_text(
        "from ranvier import nn\ndef build(input_shape, classes):\n    return nn.Linear(1, 1)\n"
    )
    assert "column 'town' has 121 categories, too many for the one-hot columns" in refused(
        "train", path, "--model", network
    )


def test_other_columns_than_the_model_takes(rows, tmp_path, works, refused):
    model = str(tmp_path / "m.safetensors")
    named = write_table(tmp_path / "t.csv", [row[1:] for row in rows], ("size", "colour", "kind"))
    assert cli.main(["train", named, "--missing", "mean", "--epochs", "1", "--out", model]) == 0
    assert "that the model does not take are left out: 'kind'" in works("predict", model, named).err
    np.save(tmp_path / "t.npy", np.zeros((3, 2), np.float32))
    assert "the model takes words in some columns; expected a .csv" in refused(
        "predict", model, tmp_path / "t.npy"
    )
    assert f"[load] no file or folder '{tmp_path / 'missing'}'" in refused(
        "predict", model, tmp_path / "missing"
    )
    assert "has no column 'colours'; its columns are size, colour, kind; did you" in refused(
        "train", named, "--missing", "mean", "--categorical", "colours", "--epochs", "1"
    )


def test_a_column_of_row_numbers(rows, tmp_path, works):
    numbered = [(i, *row[2:]) for i, row in enumerate(rows)]
    path = write_table(tmp_path / "t.csv", numbered, ("", "colour", "kind"))
    flags = ["--epochs", "1", "--out", str(tmp_path / "m.safetensors")]
    assert (
        "column '' counts the rows, which predicts nothing: --without ''" in works("train", path, *flags).out
    )
    assert "counts the rows" not in works("train", path, "--without", "", *flags).out


def test_names_that_are_almost_right(rows, tmp_path, refused):
    path = write_table(tmp_path / "t.csv", rows)
    said = "has no column 'knd'; its columns are id, size, colour, kind; did you mean 'kind'?"
    assert said in refused("train", path, "--label", "knd")
    assert "or a Python file with build(); did you mean cnn?" in refused("train", "digits", "--model", "cn")


def test_flags_without_effect(rows, tmp_path, refused):
    for command, flag in (
        (["train", "digits", "--missing", "mean"], "--missing"),
        (["train", "iris", "--read", "decimal=,"], "--read"),
        (["train", "digits", "--skip-broken"], "--skip-broken"),
    ):
        assert refused(*command).startswith(f"{flag} is for ")


def test_broken_images_and_plain_folders(tmp_path, works, refused):
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    for number in range(10):
        for name, value in (("dark", 20), ("light", 220)):
            file = tmp_path / "images" / name / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            image.new("L", (8, 8), value + number).save(file)
    broken = tmp_path / "images" / "dark" / "3.png"
    broken.write_bytes(b"no image")
    model = str(tmp_path / "m.safetensors")
    run = ["train", str(tmp_path / "images"), "--model", "mlp", "--epochs", "40", "--out", model]
    assert f"'{broken}' is broken or no image" in refused(*run)
    assert f"skipped the broken image {broken}" in works(*run, "--skip-broken").err
    lines = works("predict", model, tmp_path / "images" / "light", "--top", "1").out.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'images' / 'light' / '0.png'}: light ")
    assert len(lines) == 10
    refused("predict", model, broken.parent)
    assert works("predict", model, broken.parent, "--skip-broken", "--top", "1").out.count(": dark ") == 9


def test_early_stopping_and_more_epochs(tmp_path, works, refused):
    state = str(tmp_path / "state")
    out = str(tmp_path / "m.safetensors")
    run = ["train", "iris", "--checkpoint", state, "--out", out]
    assert cli.main([*run, "--epochs", "4"]) == 0
    for epochs, more in (
        ("6", ", over which its learning rate falls to 0; for 6 epochs start a new run"),
        ("3", ""),
    ):
        assert f"it has --epochs 4{more}" in refused(*run, "--epochs", epochs, "--resume")
    assert "it has --early-stopping 10" in refused(*run, "--epochs", "4", "--early-stopping", "3", "--resume")
    stopped = ["train", "iris", "--early-stopping", "1", "--lr", "0.5", "--epochs", "60", "--out", out]
    printed = works(*stopped).out
    assert "epoch 60/60" not in printed
    assert (
        "stopped after 1 epoch without a better validation loss: the weights are those of epoch " in printed
    )
    said = works(*stopped[:2], "--early-stopping", "5", "--epochs", "2", "--out", out).out
    assert "\nthe weights are those of epoch 2\n" in said


def lines_of(count, ends=("p", "q")):
    rng = np.random.default_rng(1)
    return [f"{a:.3f},{b:.3f},{ends[i % len(ends)]}" for i, (a, b) in enumerate(rng.random((count, 2)))]


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        ("a,b,y\n1,,p\n2,3,q\n", [], "line 2, column 'b' has a missing value (''); fill it in; --missing"),
        (
            "a,b,y\n1,2,None\n2,3,q\n",
            [],
            "--read keep_default_na=False makes it a class; --read na_values=None makes",
        ),
        ("a,b,y\n1,2,\n2,3,q\n", [], "line 2, column 'y' has a missing value (''); fill it in; --missing"),
        ("a,b,y\n1,2,p\n2,3,q\n", ["--task", "regression"], "such as 'p'; expected numbers to predict; --t"),
        (
            "a,b,y\n1,2-5-2024,p\n2,3-5-2024,q\n",
            [],
            "a date or time; expected a number; --read parse_dates=b reads days",
        ),
        ("a;b;y\n1,5;2;p\n2;3;q\n", [], "units and marks; --read decimal=, reads decimal commas"),
        (
            "a^b^y\n1^2^p\n2^3^q\n",
            [],
            "beside the label; expected at least one; --read sep='^' names another",
        ),
        ("a,b,y\n1,2,p\n2,q\n", ["--read", "sep=,"], "line 3 has 2 cells separated by ','; expected 3"),
        ("1,lost,3\n" + "4,5,6\n" * 9, [], "may be a sample, or names of columns; --read header=0 takes"),
        ("a,b,y\n1,2,p\n2,3,q\n", ["--read", "sep=::"], "got sep '::'; expected one character"),
        ("a,y\n" + "1,p\n2,q\n" * 5 + "x y,q\n", [], "--read na_values='x y' reads it as a missing v"),
        ("a,b,y\n" + "\n".join([*lines_of(50), "1,2,rare"]), [], "class 'rare' has one sample; expected at"),
        ("a,y\n" + "1,0\n2,1\n" * 25 + "1,7\n", [], "leave it out; for labels that are values: --task r"),
        ("a,a,y\n1,2,p\n", [], "has more than one column 'a'; expected different names"),
    ],
)
def test_remedies_are_flags_of_the_command(text, flags, message, tmp_path, refused):
    (tmp_path / "t.csv").write_text(text)
    error = refused("train", tmp_path / "t.csv", *flags, "--out", tmp_path / "m.safetensors")
    assert message in error
    assert re.sub(r"--read \w+=", "", error).count("=") == 0


def test_the_model_remembers_how_its_table_is_read(tmp_path, works):
    """Separator, header and marks of the training are those of predict and evaluate; flags change them."""
    table = tmp_path / "t.csv"
    model = str(tmp_path / "m.safetensors")
    new = tmp_path / "new.csv"
    table.write_text("0^1^y\n" + "\n".join(lines_of(60, ("None", "q"))).replace(",", "^") + "\nlost^1^q\n")
    marks = ["--read", "keep_default_na=False", "--read", "na_values=lost,gone", "--missing", "mean"]
    how = ["--read", "sep=^", "--read", "header=0", *marks]
    said = works("train", table, *how, "--epochs", "1", "--out", model).out
    assert "the labels are in column 'y' (2 classes)" in said
    assert rv.serialization.info(model).class_names == ["None", "q"]
    new.write_text("0^1\n0.5^gone\n")
    expected = works("predict", model, new).out
    new.write_text("0;1\n0.5;\n")
    assert works("predict", model, new, "--read", "sep=;").out == expected
    assert "61 samples" in works("evaluate", model, table).out
    new.write_text("0;1;\n0.5;;\n")  # separators at the ends of the lines
    assert works("predict", model, new, "--read", "sep=;").out == expected
    new.write_text("0^1^y\n0.5^1^gone\n0.5^1^q\n")  # a row without a label can be predicted
    assert cli.main(["predict", model, str(new), "--label", "y"]) == 0
    captured = works("evaluate", model, new)
    assert "has 1 of 2 lines without a label, which are left out" in captured.err


def test_the_model_remembers_the_order_of_dates(tmp_path, works):
    table = tmp_path / "t.csv"
    model = str(tmp_path / "m.safetensors")
    new = tmp_path / "new.csv"
    table.write_text("d,y\n" + "".join(f"{day}.03.2021,{day * 1.5}\n" for day in range(28, 0, -1)))
    works("train", table, "--read=parse_dates=d", "--read=dayfirst=True", "--epochs", "1", "--out", model)
    new.write_text("d\n02.03.2021\n")
    expected = works("predict", model, new).out
    new.write_text("d\n2021-03-02\n")
    assert works("predict", model, new).out == expected


def test_columns_whose_names_are_numbers(tmp_path, works):
    """pandas names them so; a new table of them is known by all names, and a sample is not taken for them."""
    table = tmp_path / "t.csv"
    model = str(tmp_path / "m.safetensors")
    new = tmp_path / "new.csv"
    table.write_text("0,1,kind\n" + "\n".join(lines_of(60)))
    works("train", table, "--read", "header=0", "--epochs", "1", "--out", model)
    new.write_text("1,0\n5,7\n0,1\n")
    assert works("predict", model, new).out.count("\n") == 2


def test_words_among_numbers(tmp_path, works):
    table = tmp_path / "t.csv"
    model = str(tmp_path / "m.safetensors")
    lines = ["age,y"]
    for i in range(60):
        age = "old" if i % 4 == 0 else i % 7
        lines.append(f"{age},{'pq'[i % 2]}")
    table.write_text("\n".join(lines))
    said = works("train", table, "--epochs", "1", "--out", model).err
    note = "45 numbers and 15 words, such as 'old': all are read as categories; --read na_values names"
    assert note in said


def test_a_gap_where_training_had_none(tmp_path, works, refused):
    table = tmp_path / "t.csv"
    model = str(tmp_path / "m.safetensors")
    new = tmp_path / "new.csv"
    table.write_text("a,b,y\n" + "\n".join(lines_of(60)))
    new.write_text("a,b,y\n0.5,,p\n")
    works("train", table, "--epochs", "1", "--out", model)
    for command in ("predict", "evaluate"):
        expected = "has a missing value (''); fill it in; or train the model again with --missing median"
        assert refused(command, model, new).endswith(expected)


def test_few_samples(tmp_path, works):
    """Fewer than one of each class for each part: the parts are drawn without regard to classes."""
    (tmp_path / "t.csv").write_text("a|b|y\n1|2|p\n3|4|q\n5|6|p\n7|8|q\n")
    said = works("train", tmp_path / "t.csv", "--epochs", "1", "--out", tmp_path / "m").out
    assert "2 training, 1 validation and 1 test samples" in said


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["trian", "digits"], "did you mean train?"),
        (["train", "digits", "--eopchs", "3"], "unrecognized arguments: --eopchs 3; did you mean --epochs?"),
        (["train", "digits", "--optimizer", "adm"], "did you mean adam?"),
    ],
)
def test_a_wrong_name_is_two_lines(command, said, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(command)
    lines = capsys.readouterr().err.splitlines()
    assert (exit.value.code, len(lines)) == (2, 2)
    assert lines[0].endswith(said)
    assert lines[1].startswith("help: ranvier ")


@pytest.mark.parametrize("missing", ["error", "drop", "median"])
def test_an_empty_column_is_named(missing, tmp_path, refused):
    path = write_table(tmp_path / "t.csv", [(i, "", "xy"[i % 2]) for i in range(30)], ("a", "void", "kind"))
    text = refused("train", path, "--label", "kind", "--missing", missing)
    assert "column 'void'" in text
    assert "--without void leaves" in text


def test_a_table_without_labels_is_not_evaluated(rows, tmp_path, works, refused):
    path = write_table(tmp_path / "t.csv", rows)
    model = str(tmp_path / "m.safetensors")
    works("train", path, "--missing", "median", "--without", "id", "--epochs", "1", "--out", model)
    other = write_table(tmp_path / "u.csv", [row[1:3] for row in rows], ("size", "colour"))
    text = refused("evaluate", model, other)
    assert "has no column of labels (of the training: 'kind')" in text
    assert "--label NAME names one" in text
    path = write_table(tmp_path / "v.csv", [(*row[1:3], 1, 2) for row in rows], ("size", "colour", "v", "w"))
    assert "no column 'kind' of labels; --label NAME says which has them: 'v', 'w'" in refused(
        "evaluate", model, path
    )
