"""Tables whose numbers are written for readers, and files that only look like tables."""

import warnings

import pytest
from ranvier.data import load
from ranvier.data.datasets import load_csv
from ranvier.data.datasets.columns import number_form
from ranvier.data.datasets.text_table import TableError


@pytest.mark.parametrize(
    ("cell", "form", "plain"),
    [
        ("(1.20)", "a negative number in parentheses", "-1.20"),
        ("$(1,234.5)", "with the unit $ with separators of thousands", "-1234.5"),
        ("1.5D+00", "an exponent of Fortran", "1.5E+00"), ("-1d3", "an exponent of Fortran", "-1E3"),
        ("5%", "the unit %", "5"), ("-0.88 %", "the unit %", "-0.88"), ("-$0.88", "the unit $", "-0.88"),
        ("USD 5.2", "the unit USD", "5.2"), ("12,5 €", "a decimal comma", "12.5"),
        ("0.88-", "a negative number with its sign behind it", "-0.88"), ("1.2k", "the unit k", "1.2"),
        ("4,428.65", "separators of thousands", "4428.65"), ("15.575,19", "thousands", "15575.19"),
        ("15'575.19", "thousands", "15575.19"), ("15\u202f575", "thousands", "15575"),
        ("1_234", "thousands", "1234"), ("\u22121.5", "another sign", "-1.5"),
        ("12.5°C", "the unit °C", "12.5"), ("~1.5", "~ before it", "1.5"), ("'1.5'", "in quotes", "1.5"),
        ('="1.5"', "in quotes", "1.5"), ("1.5*", "a mark", "1.5"), ("0x1f", "hexadecimal", "31"),
        ("1.5±0.1", "its error", "1.5"), (".25-100", "Fortran", ".25E-100"), ("3/4", "a fraction", "0.75"),
    ],
)  # fmt: skip
def test_forms_of_numbers(cell, form, plain):
    found = number_form(cell)
    assert form in found[0]
    assert found[1] == plain


@pytest.mark.parametrize("cell", ["", "red", "1.5", "1e5", "1,5", "XL", "A4", "1.2-2.2", "10.0.0.1", "-"])
def test_other_cells(cell):
    assert number_form(cell) is None


def rows(cell="{i}.5", label="{i}", count=40):
    """A table of two columns; of the first every third cell is a number."""
    cells = [((cell if i % 3 else "{i}").format(i=i), label.format(i=i)) for i in range(1, count)]
    return "v,y\n" + "".join(f'"{cell}","{label}"\n' for cell, label in cells)


@pytest.mark.parametrize(
    ("text", "how", "message"),
    [
        (rows("(1.{i})"), {}, r"line 2, column 'v' holds '\(1.1\)', a negative number in parenthe.*: -1.1;"),
        (rows("{i}D+00"), {}, "line 2, .* holds '1D\\+00', a number with an exponent of Fortran; .*: 1E"),
        (rows("1{i}.5°C"), {}, "holds '11.5°C'.* categories=\\['v'\\] .* without="),
        (rows("{i} kg"), {}, "line 2, column 'v' holds '1 kg', a number with the unit kg"),
        (rows(f"{10**30}{{i}}"), {}, "takes it for other whole"),
        (rows(f"{2**60 // 100}{{i:02}}"), {}, "takes it for other whole"),
        ("v,y\n" + "".join(f"{i if i % 4 else '.'},x\n" for i in range(40)), {}, "holds '.'; .*marks="),
        (rows(label="4,{i:03}.65"), {}, "column 'y' holds '4,001.65', .*thousands.* task='classification'"),
        (rows(label="4,{i:03}"), {}, "holds '4,001', .*thousands: 4001; decimal=',' .*; task="),
        (rows(label="{i} kg"), {}, "column 'y' holds '1 kg'"),
        (rows(label="{i} kg", count=5), {"task": "regression"}, "holds '1 kg', a number with the unit kg"),
        (rows(label="20{i:02}-01-01"), {}, "'y' holds '2001-01-01', a date"),
        ("v,y\n1,inf\n2,1.5\n", {}, "column 'y' holds 'inf'; expected a finite number; missing_marks=[^;]*$"),
        ("v,w,y\n1,,a\n2,,b\n", {}, r"column 'w' is empty: none of its 2 cells .*; without=\['w'\] leaves"),
        ("v,w,y\n1,NA,a\n2,NA,b\n", {"missing": "drop"}, "column 'w' is empty"),
        ("v,y\n#DIV/0!,a\n2,b\n", {}, "has a missing value \\('#DIV/0!'\\)"),
        ("v,y\n1\0,a\n", {}, "line 2 holds a NUL byte"),
        ("v,y\n1,a\n".encode("utf-16-le"), {}, "NUL byte.*encoding='utf-16-le' reads"),
        ("v,y\n€1,a\n".encode("cp1252"), {}, "no text in UTF-8.*encoding='cp1252' reads"),
        (b"PK\3\4" + bytes(50), {}, "is a workbook of Excel.*pandas.read_excel"),
        (b"\xd0\xcf\x11\xe0" + bytes(50), {}, "is a workbook of Excel"),
        (b"PAR1" + bytes(50), {}, "is a Parquet file; its name has to end in .parquet"),
        ('[{"a": 1}]', {}, "is JSON; pandas.read_json"), ("<html></html>", {}, "is a page of HTML"),
        ("version https://git-lfs.github.com/spec/v1\nsize 1\n", {}, "is a pointer of Git LFS"),
        ("# made by x\na,b,y\n1,2,x\n", {}, "'# made by x': remove the line if it is a comment"),
        ("a,b,y\n" + '1,2,x\n' * 9 + '1,"2,x\n1,2,x\n', {}, "line 11 .* has a quote that is not closed"),
    ],
)  # fmt: skip
def test_tables_that_are_refused(tmp_path, text, how, message):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TableError, match=message):
        load_csv(path, "y", **{"categories": True, **how})


@pytest.mark.parametrize("line", ["sep=;\r\n", '"sep=;"\n', "\ufeffSEP=;\r\n"])
def test_the_line_of_excel_that_names_the_separator(tmp_path, line):
    path = tmp_path / "t.csv"
    path.write_text(line + "a;b;y\n1;2;x\n3;red;x\n", newline="")
    with pytest.raises(ValueError, match="line 4, column 'b' holds 'red'"):  # counted with the line
        load_csv(path)
    path.write_text(line + "a;b;y\n1;2;x\n3;4;x\n", newline="")
    assert (load_csv(path).feature_names, load_csv(path).x.tolist()) == (("a", "b"), [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "name",
    [
        "PK",
        "PAR1",
        "GGUF",
        "RIFF",
        "<DATE>",
        "<error rate>",
        "cost",
        "(i",
        "[a]",
        "{x}",
        "Rar!",
        "BZh9",
        "version",
    ],
)
def test_tables_that_begin_as_other_files(tmp_path, name):
    (tmp_path / "t.csv").write_text(f"{name},y\n1,a\n2,b\n")
    assert load_csv(tmp_path / "t.csv").feature_names == (name,)
    (tmp_path / "t.csv").write_text(f"{name}\n1\n2\n")
    assert load_csv(tmp_path / "t.csv", None, header=True).x.tolist() == [[1], [2]]


def test_numbers_that_are_names(tmp_path):
    """A few words such as 2wd are categories and classes; large numbers that stay apart are numbers."""
    path = tmp_path / "t.csv"
    lines = [f"{i % 2}wd,1{i % 10}{'ABCDE'[i % 5]},{17 * 10**17 + i * 10**9},{i % 3}0%" for i in range(30)]
    path.write_text("\n".join(["d,room,t,y", *lines]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = load_csv(path, categories=True, dtype="float64")
    assert [kind and len(kind) for kind in found.categories] == [2, 10, None]
    assert found.class_names == ("00%", "10%", "20%")


def test_words_that_differ_in_case(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("c,y\nred,Yes\nRed, yes\n")
    with pytest.warns(UserWarning, match="'y' has 'Yes' and 'yes', different classes that differ in upper"):  # noqa: SIM117
        with pytest.warns(UserWarning, match="'c' has 'Red' and 'red', different categories"):
            load_csv(path, categories=True)


@pytest.mark.parametrize(
    ("name", "reader"), [("t.xlsx", "read_excel"), ("t.json", "read_json"), ("t.pkl", "read_pickle")]
)
def test_files_of_other_programs(tmp_path, name, reader):
    (tmp_path / name).write_bytes(b"1")
    with pytest.raises(ValueError, match=rf"pandas.{reader}\(path\).to_csv\('table.csv', index=False\)"):
        load(tmp_path / name)


@pytest.mark.parametrize("name", ["t.npy", "t.npz"])
def test_arrays_that_are_files_of_another_kind(tmp_path, name):
    for content, text in (
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"", "empty"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"' is {text}"):
            load(tmp_path / name)
