"""The page: text and elements of HTML, images of samples, the whole document."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from typing import Any

import numpy as np

from ranvier.autograd.memory import Array
from ranvier.version import __version__

__all__ = ["as_pixels", "data_uri", "facts", "number", "page", "png", "section", "table", "text"]


def text(value: Any) -> str:
    """Escaped; a float with four significant digits, a large whole number with commas."""
    if isinstance(value, float):
        return escape(number(value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else escape(str(value))


def number(value: float) -> str:
    if not math.isfinite(value):
        return {math.inf: "infinite", -math.inf: "-infinite"}.get(value, "-")
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def section(heading: str, *content: str) -> str:
    """A section with its heading; "" without content."""
    inside = "\n".join(filter(None, content))
    return f"<section>\n<h2>{text(heading)}</h2>\n{inside}\n</section>" if inside else ""


def facts(pairs: Iterable[tuple[str, Any]]) -> str:
    rows = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs)
    return f"<dl>{rows}</dl>"


def table(
    caption: str, columns: Sequence[str], rows: Iterable[tuple[Any, Sequence[str]]], *, kind: str = ""
) -> str:
    """A table with row headings in the first column; it scrolls separately on a narrow page.

    Args:
        columns: the column headings.
        rows: a heading and the cells as HTML; a cell that starts with `<td` is used unchanged.
        kind: the class in the style sheet.
    """
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in columns)
    body = "\n".join(
        f'<tr><th scope="row">{text(name)}</th>{"".join(map(_cell, cells))}</tr>' for name, cells in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{text(caption)}">\n'
        f'<table class="{kind}"><caption>{text(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n</div>"
    )


def _cell(content: str) -> str:
    return content if content.startswith("<td") else f"<td>{content}</td>"


THUMBNAIL = 96  # pixels


def as_pixels(x: Array) -> Array | None:
    """Samples as images (n, height, width, 1 or 3) of uint8, with the smallest value black; None for rows.

    Images larger than a thumbnail are subsampled.
    """
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        return None
    every = -(-max(x.shape[2:]) // THUMBNAIL)
    x = x[:, :, ::every, ::every]
    x = np.nan_to_num(x.transpose(0, 2, 3, 1).astype(np.float64))
    low, high = x.min(initial=0), x.max(initial=0)
    return np.rint((x - low) * (255 / ((high - low) or 1))).astype(np.uint8)


def png(pixels: Array) -> bytes:
    """A picture (height, width, 1 or 3) of uint8 as a PNG file (ISO/IEC 15948), its rows unfiltered."""
    height, width, channels = pixels.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with 0, for no filter
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def data_uri(pixels: Array) -> str:
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


# On a narrow screen tables scroll, not the page. Printing keeps colours and breaks pages between parts.
STYLE = """
*{box-sizing:border-box}
:root{color-scheme:light dark;--text:#1a1a1a;--page:#fff;--quiet:#555;--line:#ddd;--box:#f3f5f7;
--right:#0b6b2c;--wrong:#b3001b;--first:#0072b2;--second:#c04a00}
@media screen and (prefers-color-scheme:dark){:root{
--text:#e8e8e8;--page:#16181b;--quiet:#b0b4b8;--line:#3a3d42;
--box:#24272c;--right:#5fd08a;--wrong:#ff8a8a;--first:#5ab4f0;--second:#ff9a4d}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--text);background:var(--page);max-width:62rem;
margin:0 auto;padding:1rem;overflow-wrap:anywhere}
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0}
h2{font-size:1.25rem;margin:2rem 0 .7rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1.4rem 0 .4rem}
p{margin:.4rem 0}
.note{color:var(--quiet);font-size:.9rem}
.scroll{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;overflow-wrap:normal}
caption{text-align:left;font-weight:600;padding-bottom:.3rem}
th,td{padding:.2rem .5rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
thead th{border-bottom:2px solid #888}
tbody th,thead th:first-child{text-align:left}
.plain td,.plain th{text-align:left}
.beside{display:flex;flex-wrap:wrap;align-items:flex-start;column-gap:2.5rem}
.beside>*{max-width:100%}
.matrix th,.matrix td{padding:.2rem .4rem;text-align:center;min-width:2.2rem}
.matrix tbody th{text-align:left}
.matrix .hit{font-weight:700}
.matrix .none{color:var(--quiet)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,9.5rem),1fr));gap:.6rem;margin:.8rem 0}
dl div{background:var(--box);border-radius:.4rem;padding:.4rem .7rem}
dt{font-size:.85rem;color:var(--quiet)}
dd{margin:0;font-weight:600}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1rem}
svg{width:100%;height:auto;font-size:12px;fill:var(--text)}
svg .grid{stroke:var(--line)}
.samples{display:grid;grid-template-columns:repeat(auto-fill,minmax(6.4rem,1fr));gap:.6rem}
figure{margin:0;padding:.4rem;border:2px solid;border-radius:.4rem;text-align:center;font-size:.85rem}
figure img{width:100%;max-width:6rem;image-rendering:pixelated;background:#000}
figcaption b{display:block}
.right{color:var(--right)}
.wrong{color:var(--wrong)}
figure.wrong{border-style:dashed}
pre{background:var(--box);padding:.7rem;border-radius:.4rem;white-space:pre-wrap}
pre span{display:inline-block;max-width:100%}
@media (max-width:30rem){th,td{padding:.2rem .25rem;font-size:.85rem;white-space:normal}
.matrix th,.matrix td{padding:.15rem .1rem;min-width:1.5rem;font-size:.75rem}
.wide th,.wide td{padding:.15rem .05rem;font-size:.65rem}}
@media print{body{max-width:none;padding:0;font-size:11pt;print-color-adjust:exact;
-webkit-print-color-adjust:exact}
figure,svg,tr,dl div{break-inside:avoid}h2,h3,caption,.note{break-after:avoid}.scroll{overflow:visible}}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(title: str, parts: Sequence[str]) -> str:
    """The document. Its content policy forbids loading anything."""
    written = datetime.now().astimezone()
    content = "\n".join(filter(None, parts))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="ranvier {text(__version__)}">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<title>{text(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{text(title)}</h1>
<p class="note">ranvier {text(__version__)},
<time datetime="{written.isoformat(timespec="seconds")}">{written:%Y-%m-%d %H:%M}</time></p>
</header>
<main>
{content}
</main>
</body>
</html>
"""
