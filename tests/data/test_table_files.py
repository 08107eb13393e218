"""Tables as people have them: each is read as its row says, or refused with the setting that reads it."""

import datetime

import numpy as np
import pytest
from ranvier.data import load
from ranvier.data.datasets import load_csv
from support.grouped import grouped
from support.refused import refused

ANY = {"categories": True, "missing": "keep"}
MARKS = ["", "?", "NA", "Na", "-", "--", "null", "NULL", "nan", "#DIV/0!"]
DAYS = {"parse_dates": ["d"]}
ROWS = [[1, 2, "p"], [3, 4, "q"]]

FILES = [  # (text, settings, its rows or a part of the error)
    # separators
    ("a;b;y\n1;2;p\n3;4;q\n", {}, ROWS),
    ("a\tb\ty\n1\t2\tp\n3\t4\tq\n", {}, ROWS),
    ("a|b|y\n1|2|p\n3|4|q\n", {}, ROWS),
    ("  1   2  p\n 3  4   q\n", {}, ROWS),
    ("1   2.0\tp\n3   4.0\tq\n", {}, ROWS),
    *[(line + "a;b;y\n1;2;p\n3;4;q\n", {}, ROWS) for line in ("sep=;\n", '"sep=;"\r\n', "\ufeffSEP=;\n")],
    ("kg, net;cm, net;y\n1;2;p\n3;4;q\n", {}, ROWS),
    ("a^b^y\n1^2^p\n3^4^q\n", {}, r"sep='\^' names"),
    ("a^b^y\n1^2^p\n3^4^q\n", {"sep": "^"}, ROWS),
    ("5,41 x 97\n19,05 y 31\n", ANY, r"commas or by blanks; sep='.*s\+' names blanks"),
    ("red,u\nblue,v\n", ANY, "may be a sample"),
    ("a;b,c,y\n1,2,p\n3,4,q\n", {}, "line 1 has 2 cells.*sep=',' names"),
    # ends of lines, blank lines, comments, titles
    ("a,b,y,\r\n1,2,p,\r\n3,4,q,\r\n", {}, ROWS),
    ("a,b,y\r1,2,p,\r3,4,q,\r", {}, ROWS),
    ("\na,b,y\n\n1,2,p\n \n3,4,q", {}, ROWS),
    ("# x\na,b,y\n1,2,p\n3,4,q\n", {}, "comment='#' leaves such lines out"),
    ("# x\na,b,y\n1,2,p\n3,4,q\n", {"comment": "#"}, ROWS),
    ("A title\na,b,y\n1,2,p\n3,4,q\n", {}, "skiprows=1 leaves out a title"),
    ("A title\na,b,y\n1,2,p\n3,4,q\n", {"skiprows": 1}, ROWS),
    ("a,b,y\n1,2,p\n3,4\n", ANY, "line 3 has 2 cells"),
    ("a,b,y\n1,2,p\n3,4,5,q\n", {}, "line 3 has 4 cells"),
    ('a,b,y\n1,2,p\n3,4,p\n3,"4,q\n5,6,p', {}, "a quote that is not closed"),
    # headers
    ("1,2,p\n3,4,q\n", {}, ROWS),
    ("red,1,p\nblue,2,q\nred,2,q\n", ANY, [[1, 1, "p"], [0, 2, "q"], [1, 2, "q"]]),
    ("0,1,y\n1,2,p\n3,4,q\n", {}, "may be a sample, or names .*; header=0 takes it as names; header=None as"),
    ("0,1,y\n1,2,p\n3,4,q\n", {"header": 0}, ROWS),
    ("0,1,p\n3,4,q\n", {"header": None}, [[0, 1, "p"], [3, 4, "q"]]),
    ("x,2019,2020,2021\nu,1,2,5\n", {}, "may be a sample"),
    ("x,7,y\n1,2,p\n3,4,q\n", {}, "may be a sample.*header="),
    ("1,5;2;p\n3,5;4;q\n", {"decimal": ","}, [[1.5, 2, "p"], [3.5, 4, "q"]]),
    ("a,y\n", {}, "a header and no samples"),
    ("#N/A,p\n1,q\n2,q\n", ANY, [[np.nan, "p"], [1, "q"], [2, "q"]]),
    ("x;y;\nu;p;\nv;q;\nv;q;\n", ANY, [[0, "p"], [1, "q"], [1, "q"]]),
    (",x,y\n1,u,p\n2,v,q\n", ANY, [[1, 0, "p"], [2, 1, "q"]]),
    # numbers
    ("a;y\n1,5;p\n2;q\n", ANY, r"holds '1,5'; expected a plain.*decimal=',' reads"),
    ('a,y\n"1,234",p\n"5",q\n', ANY, "thousands=',' leaves"),
    ('a,y\n"1,234",p\n"5",q\n', {"thousands": ","}, [[1234, "p"], [5, "q"]]),
    ("a,y\ninf,p\n2,q\n", {}, "holds 'inf'"),
    ("a;y\n1.234,5;p\n2;q\n", {"decimal": ",", "thousands": "."}, [[1234.5, "p"], [2, "q"]]),
    ("a,y\n1e400,p\n2,q\n", {}, "holds '1e400'"),
    ("a,y\n1e39,p\n2,q\n", {}, "at most 3.4e.38"),
    (f"a,y\n{2**53},p\n{2**53 + 1},q\n", {}, "float64 takes it for other whole numbers"),
    ("zip,y\n1,q\n007,p\n", {}, r"line 3, .*'007', a code .*categories=\['zip'\] reads codes"),
    ("zip,v,y\n1,0,q\n007,00.5,p\n", ANY, [[1, 0, "q"], [0, 0.5, "p"]]),
    ("a;y\n10.3;p\n5;q\n", {"thousands": ".", "decimal": ","}, "'a' holds '10.3'; expected groups of three"),
    ('a,y\n"1,5",p\n"5",q\n', ANY | {"thousands": ","}, "'a' holds '1,5'; expected groups of three digits"),
    ("x,x,y\n1,2,p\n", {}, "has more than one column 'x'; expected different names"),
    ("t,y\n20210131,p\n1,q\n", {}, "holds '20210131', and float32 takes .*; dtype='float64' keeps"),
    ("t,y\n1700000000.25,p\n1700000000.5,q\n", {}, "and float32 takes it for another value; dtype="),
    ("d,y\n2021-01-05 10:00:00,p\n2021-01-05 10:00:01,q\n", DAYS, "holds '2021-01-05 10:00:00', and float32"),
    # words, flags, missing values
    *[(f"a,y\n1,p\n{mark},q\n", ANY, [[1, "p"], [np.nan, "q"]]) for mark in MARKS],
    ("a,y\nx,p\nNA,q\nx,q\n", ANY, [[0, "p"], [np.nan, "q"], [0, "q"]]),
    ("a,y\ntrue,p\nfalse,q\n,q\n", ANY, [[1, "p"], [0, "q"], [np.nan, "q"]]),
    (
        "a,y\n1,p\nTrue,q\n",
        {},
        "column 'a' holds 'True'; expected a finite number; categories=.*; na_values=.*reads",
    ),
    ("a,y\n" + "1,p\n" * 20 + "lost,q\n", {}, "holds 'lost'; expected a finite number; na_values=.*; cat"),
    ("a,y\ngone,p\n2,q\n", ANY | {"na_values": ["gone"]}, [[np.nan, "p"], [2, "q"]]),
    ("a,b,y\n1,,p\n2,,q\n", ANY | {"missing": "error"}, "'b' is empty"),
    # dates
    ("d,y\n2024-01-05,p\n", ANY, r"holds '2024-01-05', a date .*parse_dates=\['d'\] reads days.*; without="),
    ("d,y\n2024-01-05,p\n,q\n", ANY | DAYS, [[19727, "p"], [np.nan, "q"]]),
    ("d,v,y\n2024-01-05,1,p\n2024-01-06,2,q\n", {"without": ["d"]}, [[1, "p"], [2, "q"]]),
    ("d,y\n12:30,p\n", ANY, "holds '12:30', a date or time; expected a number; without="),
    ("d,y\n12:30,p\n", DAYS | {"dayfirst": True}, "'12:30'; expected a date, not a time alone; without="),
    ("d,y\n20210131,p\n", DAYS, "expected a date, no number.*; date_format='%Y%m%d' reads"),
    ("d,y\n20210131,p\n,q\n", ANY | DAYS | {"date_format": "%Y%m%d"}, [[18658, "p"], [np.nan, "q"]]),
    ("d,y\n13.02.2021,p\n", DAYS, "year first, or .*dayfirst=True reads .*; date_format='%d.%m.%Y'"),
    ("d,y\n02/13/21,p\n", DAYS, "year first, or .*dayfirst=False reads .*; date_format='%m/%d/%y'"),
    ("d,y\n02/13/21,p\n", DAYS | {"dayfirst": True}, "expected a date, in the form %d/%m/%y; dayfirst=False"),
    ("d,y\n2.1.2024,p\n2.1.24,q\n", DAYS | {"date_format": "%d.%m.%Y"}, "'2.1.24'; .* form %d.%m.%Y"),
    ("d,y\n01.02.2021,p\n13.02.2021,q\n", DAYS | {"dayfirst": True}, [[18659, "p"], [18671, "q"]]),
    ("d,y\n01.02.2021,p\n02.03.2021,q\n", DAYS | {"dayfirst": False}, [[18629, "p"], [18661, "q"]]),
    # several columns at once
    (
        "id,d,a,y\n" + "".join(f"k{i},2024-01-05,{i or ''},p\n" for i in range(101)),
        ANY | {"missing": "error"},
        r"'id' has 101 different words in 101 lines.*; line 2, column 'd' holds .*; "
        r"line 2, column 'a' has a missing.*without=\['id', 'd'\]",
    ),
]


@grouped(("text", "how", "expected"), FILES)
def test_files(tmp_path, text, how, expected):
    (tmp_path / "t.csv").write_bytes(text.encode())
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=rf"\[load_csv\] .*{expected}"):
            load_csv(tmp_path / "t.csv", **how)
        return
    found = load_csv(tmp_path / "t.csv", **how)
    np.testing.assert_array_equal(found.x, np.float32([row[:-1] for row in expected]))
    assert [found.class_names[k] for k in found.y] == [row[-1] for row in expected]


FORMS = [
    "(1.20)", "$(1,234.5)", "1.5D+00", "-1d3", "5%", "-$0.88", "0.88-", "15'575.19", "1_234", "\u22121.5",
    "1.5*", "1.5±0.1", ".25-100", "$5", "12,5 €", "15\u202f575", "'1.5'", '="1.5"', "USD 5.2", "4,428.65",
]  # fmt: skip


@pytest.mark.parametrize("cell", [*FORMS, "1 kg", "12.5°C", "~1.5", "0x1f", "3/4"])
def test_numbers_in_forms_that_are_not_read(tmp_path, cell):
    """Such a column is no column of categories unless it is named as one; few with units may be names."""
    quoted = '"' + cell.replace('"', '""') + '"'
    (tmp_path / "t.csv").write_text("v,y\n" + f"{quoted},p\n7,q\n" * 20, encoding="utf-8")
    text = r"line 2, column 'v' holds .*; expected a plain number, .*categories=\['v'\]"
    with pytest.raises(ValueError, match=text):
        load_csv(tmp_path / "t.csv")
    named = load_csv(tmp_path / "t.csv", categories=["v"])
    assert named.categories == (("7", cell),) or named.categories == ((cell, "7"),)
    if cell in FORMS:
        refused(ValueError, "expected a plain number", load_csv, tmp_path / "t.csv", categories=True)


@pytest.mark.parametrize("cell", ["XL", "A4", "1.2-2.2", "10.0.0.1", "20-30", "2wd"])
def test_words_with_digits_are_categories(tmp_path, cell):
    (tmp_path / "t.csv").write_text(f"v,y\n{cell},p\nother,q\n{cell},q\n")
    assert cell in load_csv(tmp_path / "t.csv", categories=True).categories[0]


def test_encodings(tmp_path):
    for name in ("utf-16", "cp1252"):
        (tmp_path / "t.csv").write_bytes("größe €,y\n1,p\n2,q\n".encode(name))
        refused(ValueError, f"encoding='{name}' reads such files", load_csv, tmp_path / "t.csv")
        assert load_csv(tmp_path / "t.csv", encoding=name).feature_names == ("größe €",)


def test_a_wide_table(tmp_path):
    rows = np.arange(60_000).reshape(3, -1) % 7 + 0.5
    (tmp_path / "t.csv").write_text("\n".join(",".join(map(str, row)) for row in rows.tolist()))
    np.testing.assert_array_equal(load_csv(tmp_path / "t.csv", None).x, rows)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_frames(library):
    """Flags and words are categories, dates are days, names and missing values are those of the frame."""
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    frame_of = module.table if library == "pyarrow" else module.DataFrame
    days = [datetime.datetime(1970, 1, 2), datetime.datetime(1970, 1, 3, 12), None]
    columns = {"a": [1, None, 3], "f": [True, False, True], "d": days, "c": ["u", "v", None]}
    columns["y"] = ["p", "q", "p"]
    found = load(frame_of(columns), "y", missing="keep", categories=True)
    expected = [[1, 1, 1, 0], [np.nan, 0, 2.5, 1], [3, 1, np.nan, np.nan]]
    np.testing.assert_array_equal(found.x, np.float32(expected))
    assert (found.feature_names, found.class_names, found.target) == (("a", "f", "d", "c"), ("p", "q"), "y")
    assert found.categories == (None, ("False", "True"), None, ("u", "v"))
    text = "the frame row 1, column 'a' has a missing value .*; row 2, column 'd' has"
    with pytest.raises(ValueError, match=text):
        load(frame_of(columns), "y", categories=True)
    refused(ValueError, "got sep for the frame; expected it for", load, frame_of(columns), sep=";")
    refused(ValueError, "the frame has no columns; expected at least one", load, frame_of({}))
    assert load(frame_of({"f": [True, False], "y": ["p", "q"]}), "y").x.tolist() == [[1], [0]]
    codes = frame_of({"code": [1, 2, 1], "id": [2**60, 2**60 + 1, 5]})
    assert load(codes, "id").class_names == ("1152921504606846976", "1152921504606846977", "5")
    assert load(codes, None, without=["id"], categories=["code"]).categories == (("1", "2"),)
