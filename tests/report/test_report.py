"""The report: well-formed HTML that loads nothing, with the metrics' own numbers in it."""

import html.parser
import json
import re
import struct
import zlib
from base64 import b64decode

import numpy as np
import pytest
import ranvier as rv
from ranvier import metrics, nn, report
from ranvier.report import charts
from ranvier.report import html as images

VOID = {"meta", "link", "img", "br", "circle", "line", "polyline"}
NAMES = ["cat", "dog <b>&", "eel"]
RNG = np.random.default_rng(0)
TRUE = RNG.integers(0, 3, 60)
PROBABILITIES = RNG.dirichlet(np.ones(3), 60) + 0.5 * np.eye(3)[TRUE]
PREDICTED = PROBABILITIES.argmax(1)
HISTORY = {"loss": [0.9, 0.5, 0.25], "val_loss": [float("nan"), 0.75, 0.5], "accuracy": [0.5, 0.75, 1.0]}


class Page(html.parser.HTMLParser):
    """Elements with their attributes and text; a tag that is not closed where it should be is an error."""

    def __init__(self, source):
        super().__init__()
        self.open, self.elements, self.tables = [], [], {}
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        assert len(attributes) == len(dict(attributes)), "an attribute twice"
        self.elements.append(element)
        if tag == "table":
            self.rows = []
        if tag == "tr":
            self.rows.append([])
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        assert tag in VOID
        self.elements.append({"tag": tag, "text": "", **dict(attributes)})

    def handle_endtag(self, tag):
        element = self.open.pop()
        assert element["tag"] == tag
        if tag in ("th", "td"):
            self.rows[-1].append(element["text"])
        if tag == "caption":
            self.tables[element["text"]] = self.rows

    def handle_data(self, data):
        if self.open:
            self.open[-1]["text"] += data

    def all(self, tag):
        return [element for element in self.elements if element["tag"] == tag]

    def facts(self):
        names, values = ([e["text"] for e in self.all(tag)] for tag in ("dt", "dd"))
        return dict(zip(names, values, strict=True))


def written(tmp_path, **parts):
    path = tmp_path / "report.html"
    report.write(path, **parts)
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture
def page(tmp_path):
    return written(
        tmp_path,
        model=nn.Sequential(nn.Flatten(), nn.Linear(64, 3)),
        history=HISTORY,
        x=RNG.random((60, 1, 8, 8), np.float32),
        y_true=TRUE,
        y_pred=PREDICTED,
        probabilities=PROBABILITIES / PROBABILITIES.sum(1, keepdims=True),
        class_names=NAMES,
        configuration={"lr": 0.1, "names": "<i>", "momentum": None},
        command="ranvier train 'a & b.csv'",
        title="A <run>",
    )


def test_the_document_is_proper(page):
    assert page.all("html")[0]["lang"] == "en"
    assert [e["text"] for e in page.all("title")] == [e["text"] for e in page.all("h1")] == ["A <run>"]
    assert [e["text"] for e in page.all("h2")] == ["Curves", "Results", "Network", "Configuration"]
    assert {e["name"]: e["content"] for e in page.all("meta") if "name" in e}["viewport"]
    assert all(e["alt"] for e in page.all("img"))
    assert all(e["role"] == "img" and e["aria-label"] for e in page.all("svg"))
    assert all(e["text"] for e in page.all("th"))
    assert all(e["scope"] in ("row", "col") for e in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) == len(page.tables) > 4


def test_it_refers_to_nothing_outside(page):
    assert {e["tag"] for e in page.elements}.isdisjoint({"script", "iframe", "object", "video"})
    assert all(e["src"].startswith("data:image/png;base64,") for e in page.all("img"))
    assert [e["href"] for e in page.all("link")] == ["data:,"]
    assert not any("href" in e for e in page.elements if e["tag"] != "link")
    assert not re.search(r"url\(|@import", page.all("style")[0]["text"])
    policy = next(e["content"] for e in page.all("meta") if "http-equiv" in e)
    assert policy.startswith("default-src 'none'")


def test_the_numbers_are_the_metrics(page):
    matrix = metrics.confusion_matrix(TRUE, PREDICTED)
    rows = page.tables["Confusion matrix"]
    assert rows[0] == ["true", *NAMES]
    assert [row[0] for row in rows[1:]] == NAMES
    assert [[int(cell) for cell in row[1:]] for row in rows[1:]] == matrix.tolist()

    scores = np.stack(metrics.precision_recall_fscore_support(TRUE, PREDICTED), 1)
    classes = page.tables["Each class"]
    assert classes[0] == ["class", "precision", "recall", "F1", "support"]
    found = np.array([[float(cell) for cell in row[1:]] for row in classes[1:4]])
    np.testing.assert_allclose(found, scores, atol=5e-5)
    for row, average in zip(classes[4:], ("macro", "weighted"), strict=True):
        means = metrics.precision_recall_fscore_support(TRUE, PREDICTED, average=average)[:3]
        np.testing.assert_allclose([float(cell) for cell in row[1:4]], means, atol=5e-5)

    assert page.facts() == {
        "accuracy": f"{metrics.accuracy_score(TRUE, PREDICTED):.4f}",
        "F1, mean of the classes": f"{metrics.f1_score(TRUE, PREDICTED, average='macro'):.4f}",
        "samples": "60",
        "of them wrong": str((TRUE != PREDICTED).sum()),
    }
    off = matrix - np.diag(np.diag(matrix))
    i, j = np.unravel_index(off.argmax(), off.shape)
    share = off[i, j] / matrix[i].sum()
    assert page.tables["Confused most"][1] == [NAMES[i], NAMES[j], str(off.max()), f"{share:.1%}"]


def test_samples_say_right_and_wrong_in_words_and_colours(page):
    figures = page.all("figure")
    captions = page.all("figcaption")
    assert len(figures) == len(captions) == 15 + min(15, (TRUE != PREDICTED).sum())
    for figure, caption, image in zip(figures, captions, page.all("img"), strict=True):
        n, true, found = re.fullmatch(r"sample (\d+): true (.*), predicted (.*)", image["alt"]).groups()
        assert (NAMES[TRUE[int(n)]], NAMES[PREDICTED[int(n)]]) == (true, found)
        assert figure["class"] == ("right" if true == found else "wrong")
        assert ("right" if true == found else f"wrong: it is {true}") in caption["text"]


def test_the_rest_of_the_run(page, tmp_path):
    assert [e["text"] for e in page.all("span")] == ["ranvier", "train", "'a", "&", "b.csv'"]
    assert page.all("pre")[0]["text"] == "    "
    assert page.tables["Settings"][1:] == [["lr", "0.1"], ["names", "<i>"]]
    assert ["ranvier", rv.__version__] in page.tables["Machine and versions"]
    assert page.tables["Layers of a sample of 1 x 8 x 8"][-1] == ["all", "", "195"]
    labels = [e["aria-label"] for e in page.all("svg")]
    assert labels == [
        "loss over epoch; at the end: training 0.25, validation 0.5",
        "accuracy over epoch; at the end: training 1",
    ]
    assert len(page.all("polyline")) == 3
    first, second, _ = (e["points"].split() for e in page.all("polyline"))
    assert (len(first), len(second)) == (3, 2)  # the validation's first value is not finite


def test_a_run_that_was_timed(tmp_path):
    x, y = RNG.random((50, 4), np.float32), RNG.random((50, 2), np.float32)
    model = nn.Linear(4, 2)
    trainer = rv.Trainer(model, nn.MSELoss(), rv.optim.SGD(model.parameters(), lr=0.1))
    trainer.fit(x, y, epochs=3, batch_size=20, validation_data=(x, y))
    history = trainer.history
    assert history.samples == [50.0] * 3
    assert min(history.seconds) > 0
    predicted = trainer.predict(x)
    page = written(tmp_path, model=model, history=history, x=x, y_true=y, y_pred=predicted)
    facts = page.facts()
    assert facts["epochs"] == "3"
    assert facts["threads"] == str(rv.get_num_threads())
    assert int(facts["samples a second"].replace(",", "")) == int(150 / sum(history.seconds))
    assert facts["root mean squared error"] == f"{metrics.root_mean_squared_error(y, predicted):.4g}"
    assert facts["mean absolute error"] == f"{metrics.mean_absolute_error(y, predicted):.4g}"
    assert facts["R², share of the variance"] == f"{metrics.r2_score(y, predicted):.4g}"
    assert [e["text"] for e in page.all("h2")] == ["Curves", "Results", "Time", "Network", "Configuration"]
    errors = (predicted - y).astype(np.float64).ravel()
    worst = page.tables["Largest errors"][1]
    assert int(worst[0]) == np.abs(errors).argmax()
    assert float(worst[3]) == pytest.approx(errors[np.abs(errors).argmax()], rel=1e-3)
    assert len(page.all("circle")) == 2 * 100 + 2 * 3  # two clouds of 100 values, curves of 3 epochs


def test_binary_and_text_labels(tmp_path):
    page = written(
        tmp_path,
        y_true=np.array([[0.0], [1.0], [1.0]]),
        y_pred=np.array([[0], [1], [0]]),
        probabilities=np.array([[0.2], [0.9], [0.4]]),
    )
    assert page.tables["Confusion matrix"] == [["true", "0", "1"], ["0", "1", "0"], ["1", "1", "1"]]
    assert [row[-1] for row in page.tables["Samples: 3 of 3, evenly spaced."][1:]] == [
        "80.0%",
        "90.0%",
        "60.0%",
    ]
    page = written(tmp_path, y_true=["yes", "no"], y_pred=["yes", "yes"])
    assert page.tables["Confusion matrix"][1:] == [["no", "0", "1"], ["yes", "0", "1"]]
    assert page.tables["Mistakes: 1 of 1, in their order."][1][1:] == ["no", "yes", "✗ wrong"]


def test_classes_that_do_not_occur(tmp_path):
    p = np.array([[0.7, 0.1, 0.2], [0.2, 0.0, 0.8]])
    page = written(tmp_path, y_true=np.array([0, 2]), y_pred=np.array([0, 2]), probabilities=p)
    assert page.tables["Confusion matrix"][0] == ["true", "0", "1", "2"]
    assert [row[-1] for row in page.tables["Samples: 2 of 2, evenly spaced."][1:]] == ["70.0%", "80.0%"]


def test_many_classes_have_no_matrix(tmp_path):
    page = written(tmp_path, y_true=np.arange(40), y_pred=np.roll(np.arange(40), 1))
    assert "Confusion matrix" not in page.tables
    assert len(page.tables["Confused most"]) == 11
    assert any("40 classes: too many" in e["text"] for e in page.all("p"))


def test_a_page_of_settings_alone(tmp_path):
    page = written(tmp_path, model=nn.Linear(2, 3))
    assert page.facts() == {"parameters": "9"}
    assert page.all("pre")[0]["text"] == str(nn.Linear(2, 3))
    assert written(tmp_path, history={"loss": [float("nan")]}).all("svg") == []


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"y_true": [1]}, "got one of y_true and y_pred"),
        ({"y_true": [1, 2], "y_pred": [1]}, r"got y_true of shape \(2,\) and y_pred of shape \(1,\)"),
        ({"y_true": [], "y_pred": []}, "at least one sample"),
        ({"y_true": [1], "y_pred": [1], "x": np.ones((2, 3))}, "got x of 2 samples and y_true of 1"),
        ({"y_true": [1], "y_pred": [1], "probabilities": [[1], [0]]}, "got probabilities of 2 samples"),
        ({"y_true": ["a"], "y_pred": ["b"], "probabilities": [[0.2] * 3]}, "of 3 classes and 2 labels"),
        ({"y_true": [0, 2], "y_pred": [0, 0], "class_names": ["a"]}, "got the label 2 and 1 class_names"),
    ],
)
def test_wrong_parts(parts, message, tmp_path):
    with pytest.raises(ValueError, match=r"\[report.write\] .*" + message):
        report.write(tmp_path / "no.html", **parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("channels", [1, 3])
def test_png_holds_the_pixels(channels):
    pixels = RNG.integers(0, 256, (5, 7, channels), np.uint8)
    content = b64decode(images.data_uri(pixels).partition(",")[2])
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, found = 8, {}
    while at < len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + size]
        assert zlib.crc32(kind + data) == struct.unpack(">I", content[at + 8 + size : at + 12 + size])[0]
        found[kind] = data
        at += 12 + size
    assert struct.unpack(">IIBB", found[b"IHDR"][:10]) == (7, 5, 8, 0 if channels == 1 else 2)
    rows = np.frombuffer(zlib.decompress(found[b"IDAT"]), np.uint8).reshape(5, -1)
    assert (rows[:, 0] == 0).all()
    np.testing.assert_array_equal(rows[:, 1:].reshape(pixels.shape), pixels)


def test_pixels():
    x = np.linspace(-1, 1, 2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    pixels = images.as_pixels(x)
    assert (pixels.shape, pixels.min(), pixels.max()) == ((2, 4, 5, 3), 0, 255)
    np.testing.assert_array_equal(images.as_pixels(x[:, 0])[..., 0], images.as_pixels(x[:, :1])[..., 0])
    assert images.as_pixels(np.zeros((1, 1, 300, 200))).shape == (1, 75, 50, 1)
    assert images.as_pixels(np.zeros((2, 5))) is None
    assert images.as_pixels(np.zeros((2, 5, 8, 8))) is None


def test_curves_lie_where_their_axes_say():
    svg = charts.lines({"training": [0.0, 10.0]}, "epoch", "loss")
    first, last = re.search(r'points="(\S+) (\S+)"', svg).groups()
    ticks = {text: float(y) for y, text in re.findall(r'y="([\d.]+)" text-anchor="end">([\d.]+)<', svg)}
    assert list(ticks) == ["0", "2.5", "5", "7.5", "10"] or list(ticks) == ["0", "5", "10"]
    assert float(first.split(",")[1]) == pytest.approx(ticks["0"] - 4)  # text is 4 below its line
    assert float(last.split(",")[1]) == pytest.approx(ticks["10"] - 4)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ((-3, 7), [-2, 0, 2, 4, 6]),
        ((1e-9, 5e-9), None),
        ((5, 5.5), None),
    ],
)
def test_ticks_are_round(span, expected):
    ticks = charts._ticks(span)
    assert 3 <= len(ticks) <= 7
    assert span[0] - 1e-9 <= ticks[0] < ticks[-1] <= span[1] + 1e-9
    if expected is not None:
        assert ticks == pytest.approx(expected)
    assert all(json.loads(f"{tick / (ticks[1] - ticks[0]):.6f}") % 1 == 0 for tick in ticks)


def test_long_curves_are_thinned_out():
    svg = charts.lines({"training": list(range(5000))}, "epoch", "loss")
    assert len(re.search(r'points="([^"]+)"', svg)[1].split()) <= 1001
    assert charts.points(np.arange(5000.0), np.arange(5000.0), "a", "b", "zero").count("<circle") == 1000
