"""docs/playground in a browser: it loads, shows a unit large, and does not speak in each frame.

The tests skip where Chromium is not installed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "playground"


def shown(page: Path, settings: str) -> tuple[str, str]:
    """The document after five epochs, and what the browser says of errors."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("Chromium is not installed: the page is not loaded")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command = [
        browser,
        *flags,
        "--virtual-time-budget=4000",
        "--dump-dom",
        f"{page.as_uri()}#{settings}&run=5",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout, done.stderr


@pytest.mark.parametrize("settings", ["data=xor", "data=toString&batch=2.5&features=x2,x1&rate=__proto__"])
def test_the_page_loads_without_an_error(settings: str) -> None:
    document, errors = shown(FOLDER / "index.html", settings)
    assert re.search(r'id="scores"[^>]*>training: loss 0\.\d+', document), errors
    assert "CONSOLE" not in errors


ACTIONS = """<script>
let said = 0;
new MutationObserver(() => { said++; }).observe(document.querySelector("[role=status]"), { childList: true });
const told = [], tell = () => {
  const numbers = byId("scale").hidden ? "" : byId("scale").textContent;
  const focused = document.activeElement.getAttribute("aria-label");
  told.push([byId("shown").textContent, numbers, byId("back").hidden, focused]);
};
setTimeout(() => {
  const unit = document.querySelector("[aria-label='unit 2 of layer 1']");
  tell();
  unit.focus();
  unit.click();
  tell();
  document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
  tell();
  unit.click();
  byId("back").focus();
  byId("back").click();
  tell();
  document.body.append(JSON.stringify({ said, told }));
}, 2000);
</script></body>"""
LARGE = [  # settings -> name and scale of the output; name of a unit, pattern of its scale
    ("data=circle", ["Output: probability of blue", "0 %50 %100 %"], "Values", "−101"),
    ("data=plane&activation=ReLU", ["Output", "−101"], "Values", r"−(\d+)0\1"),
    ("data=digits&hidden=4", ["Test digits; framed: wrong", ""], "Weights", r"−([\d.]+)0\1"),
]


@pytest.mark.parametrize(("settings", "output", "kind", "scale"), LARGE)
def test_a_unit_is_shown_large_and_the_output_again(
    settings: str, output: list[str], kind: str, scale: str, tmp_path: Path
) -> None:
    """By a click or a key; the focus stays at the unit, and the status does not speak in each frame."""
    page = shutil.copytree(FOLDER, tmp_path / "page") / "index.html"
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", ACTIONS), encoding="utf-8")
    document, errors = shown(page, settings)
    assert "CONSOLE" not in errors
    found = json.loads(document[document.index('{"said"') :].partition("</body>")[0])
    assert 1 <= found["said"] <= 4
    first, large, *after = found["told"]
    unit = "unit 2 of layer 1"
    assert first == [*output, True, None]
    assert large[0] == f"{kind} of {unit}"
    assert re.fullmatch(scale, large[1])
    assert large[2:] == [False, unit]
    assert after == [[*output, True, unit]] * 2
