"""Cells that are numbers for a reader, and no number for a program: "(1.20)", "1.5D+00", "$5", "1,234"."""

from __future__ import annotations

import re

__all__ = ["number_form"]

_SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "\ufe63": "-", "\uff0d": "-", "\uff0b": "+"})
_GAPS = "\u00a0\u202f\u2009'\u2019_ "  # what separates thousands beside the comma and the point
_CURRENCY = "€$£¥₹₽₩₺"
_NEGATIVE, _NAMES = "negative", "names"  # what a form says besides: a sign; that such words may be names
_STEPS = [  # (form, what it is, the rest, what it says besides), each looked for in the rest of those before
    (re.compile(form, re.DOTALL), kind, rest, says)
    for form, kind, rest, says in (
        (r"([-+]?[\d.]+)\s?(?:±|\+/-|\+-)\s?[\d.]+", "with its error", r"\1", ""),
        (r"([-+]?\d?\.\d+)([-+]\d{3})", "with an exponent of Fortran", r"\1E\2", ""),
        (rf"(?=[({_CURRENCY}])([^()]*)\(([^()]+)\)([^()]*)(?<=[){_CURRENCY}%])",
         "in parentheses", r"\1\2\3", _NEGATIVE),
        (r"(\S*\d)-", "with its sign behind it", r"\1", _NEGATIVE),
        (r"(.*\d)[*†]", "with a mark", r"\1", ""),
        (r"([~≈<>≤≥]=?)\s?([-+.,\d].*)", r"with \1 before it", r"\2", _NAMES),
        (r"([-+]?(?:\d+\.?\d*|\.\d+))[dDqQ]([-+]?\d+)", "with an exponent of Fortran", r"\1E\2", ""),
        (rf"([-+]?)(?:([A-Z]{{0,3}}[{_CURRENCY}])|([A-Z]{{3}}) )\s?([-+.,\d].*)",
         r"with the unit \2\3", r"\1\4", ""),
    )
]  # fmt: skip
_AFTER = re.compile(rf"(?<=[\d.,])\s?([%‰{_CURRENCY}])$")
_UNIT = re.compile(r"(?<=[\d.,])\s?((?:[°µμ]?[A-Za-zΩ]{1,3}|°)(?:[/^]?[A-Za-z\d²³]{1,3})?)$")


def number_form(cell: str, decimal: str = ".") -> tuple[str, str, bool] | None:
    """What the form of a cell is, the plain number, and whether words of such a form may be names; or None.

    >>> number_form("(1,234.50)")
    ('a negative number in parentheses with separators of thousands', '-1234.50', False)
    >>> number_form("2wd"), number_form("red")
    (('a number with the unit wd', '2', True), None)
    """
    text, forms, says = cell, list[str](), set[str]()

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
    for form, kind, rest, besides in _STEPS:
        if found := form.fullmatch(text):
            taken(found.expand(kind), found.expand(rest))
            says.add(besides)
    if found := _AFTER.search(text):
        taken(f"with the unit {found[1]}", text[: found.start()])
    elif not forms and (found := _UNIT.search(text)) and not re.fullmatch(r"[-+]?[\d.]+[eE]\d*", text):
        says.add(_NAMES)
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
    if _NEGATIVE in says:
        return (
            f"a negative number {' '.join(forms)}",
            f"-{text.lstrip('-')}",
            _NAMES in says and "." not in text,
        )
    return f"a number {' '.join(forms)}", text, _NAMES in says and "." not in text
