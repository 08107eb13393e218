"""Tables in text files: their values, labels and classes, and the errors that name what is wrong.

`grouped` is parametrize with many cases in a test. The fixture `table` writes a text into a file.
"""

import gzip

import numpy as np
import pytest
from ranvier.data import load
from ranvier.data.datasets import load_csv
from support.grouped import grouped
from support.refused import refused


@pytest.fixture
def table(tmp_path):
    def write(text, name="table.csv", encoding="utf-8"):
        path, content = tmp_path / name, text.encode(encoding)
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


PETS = "weight,height,kind\n4.5,25,cat\n30,60,dog\n5,24,cat\n"


def test_classes_beyond_float64(table):
    """Numbers of 64 bits, of which float64 makes one, and larger ones than int64 holds."""
    labels = [2**53 + 1, 2**53, 5, 2**53 + 1]
    samples = load_csv(table("a,label\n" + "".join(f"{i},{k}\n" for i, k in enumerate(labels))))
    assert [samples.class_names[k] for k in samples.y] == [str(label) for label in labels]
    wide = load_csv(table(f"a,label\n{2**64},1\n2,{2**64}\n"), None, dtype="float64")
    assert wide.x.tolist() == [[2.0**64, 1], [2, 2.0**64]]
    large = load_csv(table("a,label\n1,1e300\n2,2e300\n3,1e300\n"))
    assert (large.y.tolist(), len(set(large.class_names))) == ([0, 1, 0], 2)
    values = load_csv(table("a,label\n1,1e20\n2,0.5\n"))
    assert (values.class_names, values.y.tolist()) == (None, [np.float32(1e20), 0.5])


def test_a_label_that_two_columns_have(table):
    path = table("kind,a,kind\n1,2,3\n2,3,1\n")
    refused(ValueError, "more than one column 'kind'; expected one, or its number", load_csv, path, "kind")
    assert load_csv(path, -1).y.tolist() == [1, 0]


@pytest.mark.parametrize("label", ["kind", 2, -1, "auto"])
def test_a_table_with_words_as_labels(table, label):
    pets = load_csv(table(PETS), label)
    assert pets.x.dtype == np.float32
    assert pets.x.tolist() == [[4.5, 25], [30, 60], [5, 24]]
    assert pets.y.dtype == np.int64
    assert pets.y.tolist() == [0, 1, 0]
    assert pets.class_names == ("cat", "dog")
    assert pets.feature_names == ("weight", "height")
    assert len(pets) == 3


@grouped("name", ["t.tsv", "t.data", "t.dat", "t.txt", "t.csv.gz"])
def test_names_of_files(table, name):
    pets = load(table(PETS, name), "kind")
    assert pets.x.tolist() == [[4.5, 25], [30, 60], [5, 24]]
    assert (pets.class_names, pets.feature_names) == (("cat", "dog"), ("weight", "height"))


@grouped(
    ("text", "how", "classes", "names"),
    [
        ('weight,kind\n4,"cat, black"\n5,dog\n', {"label": "kind"}, ("cat, black", "dog"), ("weight",)),
        ("label,a,b\n7,1,2\n9,3,4\n", {}, ("7", "9"), ("a", "b")),
        ("Target,a\n7,1\n9,3\n", {}, ("7", "9"), ("a",)),
        ("5.1,3.5,setosa\n6.2,2.9,virginica\n", {}, ("setosa", "virginica"), None),
        ("1,2\n3,4\n", {"label": 0}, ("1", "3"), None),
        ("1,2,0\n3,4,1\n", {"header": 0}, ("1",), ("1", "2")), ("1.5,cat\n", {}, ("cat",), None),
        ("a,b\n1,2\n3,4\n", {"label": None}, None, ("a", "b")), ("x,y\n1,0.5\n2,1.5\n", {}, None, ("x",)),
        ("x,y\n1,0.5\n2,1.5\n", {"task": "classification"}, ("0.5", "1.5"), ("x",)),
        ("x,y\n1,1.0\n2,0\n", {}, ("0", "1"), ("x",)), ("x,y\n1,10\n2,-3\n3,10\n", {}, ("-3", "10"), ("x",)),
        ("x,y\n1,007\n2,7\n3,010\n", {}, ("007", "010", "7"), ("x",)),
        ("a;y\n1;1,5\n2;2,5\n", {"label": "y", "task": "classification"}, ("1,5", "2,5"), ("a",)),
        ("a;y\n1;1,5\n2;b\n", {"label": "y"}, ("1,5", "b"), ("a",)),
    ],
)  # fmt: skip
def test_labels_and_names(table, text, how, classes, names):
    found = load_csv(table(text), **how)
    assert (found.class_names, found.feature_names) == (classes, names)


def test_a_label_before_words(table):
    found = load_csv(table("a,y,c\n1,p,red\n2,q,blue\n3,p,red\n"), "y", categories=True)
    assert (found.class_names, found.categories) == (("p", "q"), (None, ("blue", "red")))
    assert (found.x.tolist(), found.y.tolist()) == ([[1, 1], [2, 0], [3, 1]], [0, 1, 0])
    values = load_csv(table("y,a,b\n1.5,2,3\n2.5,4,5\n"), task="regression")  # all columns are numbers
    assert (values.x.tolist(), values.y.tolist()) == ([[2, 3], [4, 5]], [1.5, 2.5])


def test_values(table):
    for text, values in (("x,y\n1,10\n2,-3\n3,10\n", [10, -3, 10]), ("x,y\n1,007\n2,7\n", [7, 7])):
        found = load_csv(table(text), task="regression")
        assert (found.y.dtype, found.y.tolist(), found.class_names) == (np.float32, values, None)


@grouped(
    ("text", "label", "message"),
    [
        ("a,b,y\n1,2,0\n1,red,1\n", "y", "line 3, column 'b' holds 'red'; expected a finite number"),
        ("1,2,0\n1,red,1\n", 2, "line 2, column 1 holds 'red'"),
        ("1,5;2,5;0\n1,5;2,5;1\n", 2, r"line 1, column 0 holds '1,5'; "),
        ("0,5\t1,5\t3,5\tx\n" * 2, 3, "line 1, column 0 holds '0,5'; .*decimal=',' reads"),
        ('"a" "b"\n"r1" 1 2\n"r2" 3 4\n"r3" 3 4\n', "b", "line 1 has 2 cells separated by blanks"),
        ("a b\n1 2,5\n3 4,5\n", "b", "holds '2,5'; .*decimal=',' reads"),
        ("1,2,0\n1,2,0\n", "kind", "its columns are none: the file has no header"),
        ("1,2,0\n", 3, "got label 3 for 3 columns"),
        ("1\n2\n", 0, "has no columns beside the label"),
        ("", 0, "is empty"),
    ],
)
def test_wrong_tables(table, text, label, message):
    with pytest.raises(ValueError, match=rf"\[load_csv\] .*({message})"):
        load_csv(table(text), label)


def test_numbers_are_those_of_python(table):
    rng = np.random.default_rng(0)
    cells = [rng.normal(size=(200, 3)), rng.normal(size=(200, 3)) * 10.0 ** rng.integers(-30, 30, (200, 3))]
    rows = np.hstack(cells).tolist()
    found = load_csv(table("".join(",".join(map(repr, row)) + "\n" for row in rows)), None, dtype="float64")
    assert found.x.tolist() == rows


def test_files_that_are_no_tables(table, tmp_path):
    refused(ValueError, "is no text in UTF-8", load_csv, table("a,é\n1,2\n", encoding="latin-1"))
    cut = table(PETS, "t.csv.gz")
    cut.write_bytes(cut.read_bytes()[:-9])
    refused(ValueError, "is damaged or cut off", load, cut)
    refused(FileNotFoundError, "[load_csv] no file", load_csv, tmp_path / "nowhere.csv")
    refused(TypeError, "got label 1.5; expected a column's name", load_csv, table(PETS), 1.5)
    refused(ValueError, "got task 'rank'", load_csv, table(PETS), task="rank")
    both = {"label": "kind", "without": ["kind"]}
    refused(ValueError, "column 'kind' as label and in without", load_csv, table(PETS), **both)
    refused(ValueError, "got dtype for a folder of images", load, tmp_path, dtype="float64")


def test_names_of_classes_that_mean_missing_elsewhere(table):
    """None, NA ... among words may be classes: they are lost only where it is said that they are missing."""
    for name in ("None", "NA", "nan", "null", "N/A"):
        path = table(f"a,b,y\n1,2,p\n3,4,{name}\n5,6,q\n7,8,{name}\n")
        for missing in ("error", "drop", "keep"):
            text = rf"line 3, .* holds '{name}' \(as 2 of 4 lines do\), a class or .*na=False makes"
            with pytest.raises(ValueError, match=text):
                load_csv(path, missing=missing)
        assert name in load_csv(path, keep_default_na=False).class_names
        assert load_csv(path, na_values=[name], missing="drop").class_names == ("p", "q")


@pytest.mark.parametrize("mark", ["", "?", "--", "#N/A"])
def test_lines_without_a_label_beside_other_gaps(table, mark):
    path = table(f"a,b,y\n1,2,p\n3,,q\n5,6,{mark}\n7,8,p\n")
    with pytest.warns(UserWarning, match="has 1 of 4 lines without a label, which are left out"):
        kept = load_csv(path, missing="keep")
    np.testing.assert_array_equal(kept.x, np.float32([[1, 2], [3, np.nan], [7, 8]]))
    assert (kept.y.tolist(), kept.rows.tolist()) == ([0, 1, 0], [0, 1, 3])
    assert load_csv(path, missing="drop").rows.tolist() == [0, 3]
    refused(ValueError, "line 4, column 'y' has a missing value", load_csv, path)


def test_numerals_among_words(table):
    few = table("farm,y\n" + "".join(f"{w},{i}\n" for i, w in enumerate(["alpha", "beta", "1", "gamma"] * 5)))
    assert load_csv(few, "y", categories=True).categories == (("1", "alpha", "beta", "gamma"),)
    most = table("a,y\n" + "".join(f"{w},{i % 2}\n" for i, w in enumerate(["1", "2", "old", "3"] * 5)))
    with pytest.warns(
        UserWarning, match="has 15 numbers and 5 words, such as 'old': all are read as categories"
    ):
        load_csv(most, "y", categories=True)
    assert load_csv(most, "y", missing="keep", na_values=["OLD"]).categories is None


@grouped(
    "cell",
    ["5-Jan-24", "2024-01-05 10:30", "2024-01", "2024Q1", "12:30:05.5", "3 days 02:00:00", "Jan 5, 2024"],
)
def test_dates(table, cell):
    for lines in (f'"{cell}",p\n' * 3, f'"{cell}",p\n?,q\n'):
        text = f"holds '{cell}', a date or time; expected a number"
        refused(ValueError, text, load_csv, table("a,y\n" + lines), missing="keep", categories=True)
        refused(ValueError, text, load_csv, table("a,y\n" + lines), missing="keep")


def test_digit_recognizer(table):
    """Kaggle's table of digits becomes images, with and without labels."""
    pixels, names = np.random.default_rng(0).integers(0, 256, (5, 784)), [f"pixel{i}" for i in range(784)]
    rows = [",".join(map(str, row)) for row in pixels]
    text = "\n".join([",".join(["label", *names]), *map("{},{}".format, [7, 0, 3, 9, 1], rows)]) + "\n"
    for path in (table(text), table(text, "t.csv.gz")):
        digits = load(path)
        assert digits.x.shape == (5, 1, 28, 28)
        np.testing.assert_array_equal(np.rint(digits.x.reshape(5, -1) * 255), pixels)
        assert (digits.y.tolist(), digits.class_names) == ([7, 0, 3, 9, 1], tuple("0123456789"))
    assert load(path, None).y is load(table("\n".join([",".join(names), *rows])), None).y is None
    for wrong in (text.replace(",255", ",256").replace(",254", ",256"), text.replace("\n9,", "\n10,")):
        refused(ValueError, "has a pixel beyond 0 to 255, or a label beyond 0 to 9", load, table(wrong))


MIXED = "size,colour,y\n1,red,a\n,blue,b\n3,?,a\n5,red,b\n"


def test_categories_and_missing_values(table):
    kept = load_csv(table(MIXED), missing="keep", categories=True)
    assert kept.categories == (None, ("blue", "red"))
    np.testing.assert_array_equal(kept.x, np.float32([[1, 1], [np.nan, 0], [3, np.nan], [5, 1]]))
    full = load_csv(table(MIXED), missing="drop", categories=True)
    assert full.rows.tolist() == [0, 3]
    assert (full.x.tolist(), full.class_names) == ([[1, 1], [5, 1]], ("a", "b"))
    numbers = load_csv(table("zip,v,y\n10,1,a\n20,2,b\n10,3,b\n"), categories=["zip"])
    assert (numbers.categories, numbers.x[:, 0].tolist()) == ((("10", "20"), None), [0, 1, 0])
    known = load_csv(table("c,v\nred,1\n"), None, categories={"c": ("blue", "green", "red"), "v": None})
    assert known.x.tolist() == [[2, 1]]


@grouped(
    ("text", "how", "message"),
    [
        ("a,y\nred,x\n", {"categories": {"a": ("blue",)}}, "line 2, .* holds 'red'; expected a known"),
        ("a,b,y\n,1,x\n", {"missing": "drop"}, "a missing value in each line"),
        ("a,y\n1,x\n", {"missing": "mean"}, "got missing 'mean'; expected 'error', 'drop' or 'keep'"),
        ("a,y\n1,x\n", {"without": ["b"]}, "has no column 'b'"),
        ("a,y\n1,x\n", {"categories": ["b"]}, "has no column 'b'"),
        ("a,y\n1,x\n2,z\n", {"task": "regression"}, "'y' has words, such as 'x'; .*task='classification'"),
        ("a,y\n1,5\n", {"label": "y", "decimal": ","}, "columns are a,y; sep="),
        ("a,y\n1,x\n", {"header": True}, "got header True; expected 0 where .*, or None"),
        ("1 2 0\n 3  4 1\n5 6\n", {"sep": r"\s+"}, "line 3 has 2 cells separated by blanks; expected 3"),
        ('a,y\n"1,x\n2,x\n', {}, "line 1 has 2 cells separated by ','; expected 1"),
        ("v,y\n" + "1,1.5\n2,2.5\n" * 30 + "1,lost\n", {"task": "regression"}, "'lost'.*na_values=.*task="),
        ("a,y\n1,x\n", {"encoding": "klingon"}, "got encoding 'klingon'; expected a name"),
    ],
)
def test_tables_that_cannot_be_read(table, text, how, message):
    with pytest.raises(ValueError, match=rf"\[load_csv\] .*({message})"):
        load_csv(table(text), **how)


def test_line_breaks_in_quotes(table):
    text = 'size,note,y\n1,"a, ""b""\n\nc",p\n\n2,plain,q\n3,"a, ""b""\n\nc",p\n4,5" pipe,q\n'
    found = load_csv(table(text), categories=True)
    assert found.categories == (None, ('5" pipe', 'a, "b"\n\nc', "plain"))
    assert (found.x.tolist(), found.y.tolist()) == ([[1, 1], [2, 2], [3, 1], [4, 0]], [0, 1, 0, 1])
    with pytest.raises(ValueError, match="line 6, column 'note' has a missing value"):
        load_csv(table(text.replace("plain", "")), categories=True)


@pytest.mark.parametrize("rows", [3, 400_000])
def test_numbers_with_decimal_commas_in_quotes(table, rows):
    """Commas separate the cells, too; of a large table pandas reads them."""
    text = "a,b,y\n" + '"1,5","2,25",3\n' * rows
    found = load_csv(table(text), decimal=",", task="regression")
    assert found.x.shape == (rows, 2)
    assert (found.x == [1.5, 2.25]).all()
    assert (found.y == 3).all()


def test_all_digits_of_large_numbers(table, tmp_path):
    x, y = [[1_700_000_001.0], [1_700_000_002.5]], [1e10 + 0.125, 1e10]
    rows = np.column_stack([x, y])
    path = table("\n".join(["t,when", *(f"{a!r},{b!r}" for a, b in rows.tolist())]))
    np.savez(tmp_path / "t.npz", x=x, y=y)
    np.save(tmp_path / "t.npy", rows)
    for file in (path, tmp_path / "t.npz", tmp_path / "t.npy"):
        found = load(file, task="regression", dtype="float64")
        assert (found.x.tolist(), found.y.tolist()) == (x, y)
