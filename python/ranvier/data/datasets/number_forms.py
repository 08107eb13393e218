"""Cells that are numbers for a reader, and no number for a program: "(1.20)", "1.5D+00", "$5", "1,234"."""

from __future__ import annotations

import re

__all__ = ["number_form"]

_SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "\ufe63": "-", "\uff0d": "-", "\uff0b": "+"})
_GAPS = "\u00a0\u202f\u2009'\u2019_ "  # what separates thousands beside the comma and the point
_CURRENCY = "€$£¥₹₽₩₺"
_FORTRAN = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))[dDqQ]([-+]?\d+)")
_BEFORE = re.compile(rf"([-+]?)((?:[A-Z]{{1,3}})?[{_CURRENCY}]|[A-Z]{{3}} )\s?(?=[-+.,\d])")
_AFTER = re.compile(rf"(?<=[\d.,])\s?([%‰{_CURRENCY}])$")
_UNIT = re.compile(r"(?<=[\d.,])\s?((?:[°µμ]?[A-Za-zΩ]{1,3}|°)(?:[/^]?[A-Za-z\d²³]{1,3})?)$")
_COMPARED = re.compile(r"([~≈<>≤≥]=?)\s?(?=[-+.,\d])")


def number_form(cell: str, decimal: str = ".") -> tuple[str, str, bool] | None:
    """What the form of a cell is, the plain number, and whether words of such a form may be names; or None.

    >>> number_form("(1,234.50)")
    ('a negative number in parentheses with separators of thousands', '-1234.50', False)
    >>> number_form("2wd"), number_form("red")
    (('a number with the unit wd', '2', True), None)
    """
    text, names = cell, False
    forms: list[str] = []

    def taken(kind: str, rest: str) -> None:
        nonlocal text
        text = rest.strip()
        forms.append(kind)

    if re.fullmatch(r"=?([\"'`]).*\1|'.*", text):
        taken("in quotes", text.lstrip("=").strip("\"'`"))
    if text.translate(_SIGNS) != text:
        taken("with another sign than '-'", text.translate(_SIGNS))
    if re.fullmatch("0[xX][0-9A-Fa-f]+", text):
        return "a number in hexadecimal form", str(int(text, 16)), True
    if (found := re.fullmatch(r"([-+]?\d+)/([1-9]\d*)", text)) and len(text) < 16:
        return "a fraction", f"{int(found[1]) / int(found[2]):g}", True
    if found := re.fullmatch(r"([-+]?[\d.]+)\s?(?:±|\+/-|\+-)\s?[\d.]+", text):
        taken("with its error", found[1])
    if found := re.fullmatch(r"([-+]?\d?\.\d+)([-+]\d{3})", text):
        taken("with an exponent of Fortran", f"{found[1]}E{found[2]}")
    negative = False
    if (
        re.fullmatch(r"[^()]*\([^()]+\)[^()]*", text)
        and text[0] in f"({_CURRENCY}"
        and text[-1] in f"){_CURRENCY}%"
    ):
        taken("in parentheses", text.replace("(", "").replace(")", ""))
        negative = True
    if re.fullmatch(r"\S*\d-", text):
        taken("with its sign behind it", text[:-1])
        negative = True
    if text[-1:] in "*†" and text[-2:-1].isdigit():
        taken("with a mark", text[:-1])
    if found := _COMPARED.match(text):
        names = True
        taken(f"with {found[1]} before it", text[found.end() :])
    if found := _FORTRAN.fullmatch(text):
        taken("with an exponent of Fortran", f"{found[1]}E{found[2]}")
    if found := _BEFORE.match(text):
        taken(f"with the unit {found[2].strip()}", found[1] + text[found.end() :])
    if found := _AFTER.search(text):
        taken(f"with the unit {found[1]}", text[: found.start()])
    elif not forms and (found := _UNIT.search(text)) and not re.fullmatch(r"[-+]?[\d.]+[eE]\d*", text):
        names = True
        taken(f"with the unit {found[1]}", text[: found.start()])
    elif found := re.search(r"(?<=[\d.,])\s?([kKmMbB]n?)$", text):
        taken(f"with the unit {found[1]}", text[: found.start()])
    marks = _GAPS + (",." if decimal == "." else ".")
    if found := re.fullmatch(rf"([-+]?\d{{1,3}}(?:([{marks}])\d{{3}})(?:\2\d{{3}})*)((?:[.,]\d*)?)", text):
        whole, mark, rest = found[1], found[2], found[3]
        if rest[:1] != mark and (mark != "." or rest or whole.count(".") > 1):
            taken("with separators of thousands", whole.replace(mark, "") + rest.replace(",", "."))
    elif forms and text.count(",") == 1 and "." not in text:
        taken("with a decimal comma", text.replace(",", "."))
    if not forms or not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text):
        return None
    if negative:
        text = f"-{text.lstrip('-')}"
    kind = "a negative number" if negative else "a number"
    return f"{kind} {' '.join(forms)}", text, names and "." not in text
