"""The report in Chromium, where it is installed: a silent console, no request, no sideways scrolling."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# The page in a frame as wide as a telephone's screen (a window of Chromium cannot be that narrow).
FRAME = """<!DOCTYPE html><meta charset="utf-8"><title>test</title><pre id="found"></pre>
<iframe id="frame" style="border:0;width:{width}px;height:2000px" srcdoc="{page}"></iframe>
<script>
document.getElementById("frame").onload = (event) => {{
  const inside = event.target.contentDocument, root = inside.documentElement;
  const boxes = (svg) => [...svg.querySelectorAll("text")].map((entry) => entry.getBoundingClientRect());
  const meet = (a, b) => a.left < b.right - 0.5 && b.left < a.right - 0.5
    && a.top < b.bottom - 0.5 && b.top < a.bottom - 0.5;
  const pairs = (found) => found.flatMap((a, i) => found.slice(i + 1).filter((b) => meet(a, b)));
  const outside = (svg, box) => box.top < svg.getBoundingClientRect().top - 0.5
    || box.bottom > svg.getBoundingClientRect().bottom + 0.5;
  const charts = [...inside.querySelectorAll("svg")];
  const requests = event.target.contentWindow.performance.getEntriesByType("resource");
  document.getElementById("found").textContent = JSON.stringify({{
    page: root.scrollWidth, window: root.clientWidth,
    requests: requests.map((entry) => entry.name).filter((name) => !name.startsWith("data:")),
    unseen: [...inside.images].filter((image) => image.naturalWidth === 0).length,
    headings: inside.querySelectorAll("h1, h2").length,
    overlaps: charts.flatMap((svg) => pairs(boxes(svg))).length,
    cut: charts.flatMap((svg) => boxes(svg).filter((box) => outside(svg, box))).length,
    scrolls: [...inside.querySelectorAll(".scroll")].filter((box) => box.scrollWidth > box.clientWidth)
      .map((box) => box.getAttribute("aria-label")),
    colour: event.target.contentWindow.getComputedStyle(inside.body).backgroundColor,
  }});
}};
</script>"""


def load(folder, page, width, *settings):
    """What the browser found, and what it wrote on its console."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    file = folder / f"frame-{width}.html"
    file.write_text(FRAME.format(width=width, page=html.escape(page)), encoding="utf-8")
    settings = [
        *settings,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder / 'profile'}",
    ]
    silent = [
        "--hide-scrollbars",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
    ]
    said = ["--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom", file.as_uri()]
    done = subprocess.run(
        [CHROMIUM, *settings, *silent, *said], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'<pre id="found">(\{.*?\})</pre>', done.stdout)
    assert found, done.stderr
    return json.loads(html.unescape(found[1])), re.findall(r".*CONSOLE.*", done.stderr)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A classification with many long names, and a regression."""
    folder, rng = tmp_path_factory.mktemp("pages"), np.random.default_rng(0)
    true = rng.integers(0, 20, 300)
    predicted = np.where(rng.random(300) < 0.3, rng.integers(0, 20, 300), true)
    names = [f"class number {i} has_a_name_that_cannot_be_broken" for i in range(20)]
    x, wide = rng.random((300, 1, 28, 28), np.float32), "--option=" + "x" * 200
    report.write(
        folder / "classes.html",
        model=nn.Sequential(nn.Flatten(), nn.Linear(784, 20)),
        history={"loss": [1.0, 0.5], "val_loss": [1.0, 0.75]},
        x=x,
        y_true=true,
        y_pred=predicted,
        class_names=names,
        configuration={"data": "/a/very/long/path/" + "folder/" * 20},
        command=f"ranvier train digits {wide}",
        title="A_title_that_cannot_be_broken_and_is_wide",
    )
    x, y = rng.random((300, 4), np.float32), rng.random((300, 2), np.float32)
    model = nn.Linear(4, 2)
    trainer = rv.Trainer(model, nn.MSELoss(), rv.optim.SGD(model.parameters(), lr=0.1))
    history = trainer.fit(x, y, epochs=2)
    report.write(folder / "values.html", history=history, x=x, y_true=y, y_pred=trainer.predict(x))
    return folder


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["classes", "values"])
def test_page_in_a_browser(pages, name, width):
    found, console = load(pages, (pages / f"{name}.html").read_text(encoding="utf-8"), width)
    assert console == []
    assert found.pop("headings") >= 4
    found.pop("scrolls")
    good = {"requests": [], "unseen": 0, "overlaps": 0, "cut": 0, "colour": "rgb(255, 255, 255)"}
    assert found == {"page": width, "window": width, **good}


@pytest.mark.parametrize("largest", [2e-7, 9999.0, 99_999.0, 3e8])
def test_labels_of_a_regression_do_not_overlap(tmp_path, largest):
    true = np.linspace(-largest, largest, 50)
    curve = {"loss": [largest, largest / 3]}
    name = "median value of the houses of a district in dollars"
    report.write(tmp_path / "v.html", y_true=true, y_pred=1.1 * true, history=curve, target=name)
    found, _ = load(tmp_path, (tmp_path / "v.html").read_text(encoding="utf-8"), 390)
    assert (found["overlaps"], found["cut"], found["scrolls"], found["page"]) == (0, 0, [], 390)


def test_ten_classes_of_a_thousand_samples_fit_on_a_phone(tmp_path):
    true = np.repeat(np.arange(10), 1200)
    report.write(tmp_path / "c.html", y_true=true, y_pred=np.where(np.arange(12000) % 50, true, true[::-1]))
    found, _ = load(tmp_path, (tmp_path / "c.html").read_text(encoding="utf-8"), 390)
    assert (found["scrolls"], found["page"]) == ([], 390)


def test_dark_scheme(pages):
    dark = "--blink-settings=preferredColorScheme=0"
    found, _ = load(pages, (pages / "values.html").read_text(encoding="utf-8"), 390, dark)
    assert found["colour"] == "rgb(22, 24, 27)"


def test_what_must_not_be_is_found(pages):
    page = (pages / "values.html").read_text(encoding="utf-8")
    bad = '<div style="width:700px">wide</div><img src="http://127.0.0.1:9/a.png" alt=""></body>'
    found, console = load(pages, page.replace("</body>", bad), 390)
    assert found["page"] > 390
    assert found["unseen"] == 1
    assert "Content Security Policy" in " ".join(console)
