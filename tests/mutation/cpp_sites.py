"""The places in C++ source where a mutant can be switched on at run time.

A small tokenizer finds them in code formatted by clang-format, where a binary operator is between blanks
and a template's angle bracket does not. The change is a switch around the smallest expression that holds it,
``(RANVIER_MUTANT(17) ? (a - b) : (a + b))``, so one build holds all mutants. What does not compile like this
(constant expressions, template arguments) is found by the compiler and left out: see tree.py.
"""

from __future__ import annotations

import re
from itertools import pairwise

from mutation.sites import Site, named

TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*.*?\*/|^[ \t]*\#(?:\\\n|[^\n])*)
    |(?P<string>R"\((?:.*?)\)"|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    |(?P<number>(?:0[xX][0-9a-fA-F']+|(?:\d[\d']*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[uUlLfF]*)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<mark><<=|>>=|\.\.\.|->|::|\+\+|--|[-+*/%&|^]=|[<>=!]=|&&|\|\||<<|>>|.)""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
BOUNDS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
OPERATORS = {
    **{"==": "!=", "!=": "==", "+": "-", "-": "+", "*": "+", "/": "*", "%": "/", "&&": "||", "||": "&&"},
    **{"&": "|", "|": "&", "<<": ">>", ">>": "<<", "^": "|"},
}
ASSIGNMENTS = {"+=": "-=", "-=": "+=", "*=": "+=", "/=": "*=", "|=": "&=", "&=": "|=", "%=": "/="}
CLOSERS, OPENERS = {")": "(", "]": "[", "}": "{"}, {"(": ")", "[": "]", "{": "}"}
STOPS = {";", ",", "?", ":", "return", "else", "case", "do"}
HEADERS = {"if", "for", "while", "switch"}
FIXED = {"constexpr", "static_assert", "case", "using", "enum", "template", "alignas", "namespace", "static"}
Edits = list[tuple[int, int, str]]
NO_STATEMENT = (
    "return if for while switch else do break continue case using default const auto static constexpr struct "
    "class enum template typedef public private extern inline goto delete throw static_assert namespace"
)


class Source:
    """The tokens of one file, with each bracket's partner."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words: list[str] = []
        self.kinds: list[str] = []
        self.spans: list[tuple[int, int]] = []
        for match in TOKEN.finditer(text):
            if match.lastgroup != "skip":
                self.words.append(match.group())
                self.kinds.append(str(match.lastgroup))
                self.spans.append(match.span())
        self.partner: dict[int, int] = {}
        opened: list[int] = []
        for i, word in enumerate(self.words):
            if self.kinds[i] != "mark":
                continue
            if word in OPENERS:
                opened.append(i)
            elif word in CLOSERS and opened:
                start = opened.pop()
                self.partner[i], self.partner[start] = start, i
        self.starts = [0] + [m.end() for m in re.finditer("\n", text)]

    def line(self, position: int) -> int:
        low, high = 0, len(self.starts)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.starts[middle] <= position else (low, middle)
        return low + 1

    def line_text(self, position: int) -> str:
        start = self.text.rfind("\n", 0, position) + 1
        end = self.text.find("\n", position)
        return self.text[start : end if end >= 0 else None].strip()

    def spaced(self, i: int) -> bool:
        """Whether blanks are on both sides of token i: a binary operator, not a sign or a template."""
        start, end = self.spans[i]
        return self.text[start - 1].isspace() and self.text[end : end + 1].isspace()

    def slot(self, i: int, assignment: bool) -> tuple[int, int] | None:
        """First and last token of the smallest whole expression about token i."""
        first = i
        while first > 0:
            before = first - 1
            word = self.words[before]
            if word in OPENERS or word in STOPS or (word == "=" or word in ASSIGNMENTS):
                break
            if word in CLOSERS:
                if before not in self.partner:
                    return None
                opener = self.partner[before]
                if word == "}" and self.kinds[opener - 1] != "name" and self.words[opener - 1] != ">":
                    break
                if word == ")" and self.words[opener - 1] in HEADERS | {"constexpr"}:
                    break
                before = opener
            first = before
        last = i
        while last + 1 < len(self.words):
            word = self.words[last + 1]
            if word in CLOSERS or word in STOPS:
                break
            if word == "=" or word in ASSIGNMENTS:
                return None
            last = self.partner.get(last + 1, last + 1) if word in OPENERS else last + 1
        if first == i or last == i or ";" in self.words[first : last + 1] or "{" in self.words[first:last]:
            return None
        if assignment and self.kinds[first] == "name" and self.kinds[first + 1] == "name":
            return None
        return first, last

    def statement_words(self, i: int) -> list[str]:
        """The words of the statement before token i, for what is no place to change."""
        first = i
        while first > 0 and not (self.words[first - 1] in ";{}" and not self.initializer(first - 1)):
            first -= 1
        return self.words[first : i + 1]

    def initializer(self, i: int) -> bool:
        """Whether the brace at token i belongs to a list of values, not to a block."""
        word = self.words[i]
        if word == ";" or (word == "}" and i not in self.partner):
            return False
        opener = i if word == "{" else self.partner[i]
        return self.words[opener - 1] in ("=", "{", ",", "(", "return") or self.words[opener - 1] == "]"


def sites_of(file: str, text: str) -> list[Site]:
    """All candidate sites of a C++ file."""
    source = Source(text)
    found = []
    for i, word in enumerate(source.words):
        site = _token_site(source, i, word) or _condition_site(source, i, word)
        if site is None:
            continue
        if not FIXED & set(source.statement_words(i)):
            found.append(site)
    found += _statement_sites(source)
    found.sort(key=lambda s: s.where["at"])
    for site in found:
        site.file = file
    return named(found)


def _site(
    source: Source, at: int, kind: str, before: str, after: str, edits: list[tuple[int, int, str]]
) -> Site:
    place = {"at": at, "edits": edits}
    return Site("", source.line(at), kind, before, after, source.line_text(at), where=place)


def _token_site(source: Source, i: int, word: str) -> Site | None:
    """A changed operator or constant."""
    kind, (start, end) = source.kinds[i], source.spans[i]
    if kind == "number" or word in ("true", "false"):
        changed = _other_constant(word)
        switch = f"(RANVIER_MUTANT(@) ? {changed} : {word})"
        return _site(source, start, "constant", word, changed, [(start, end, switch)])
    if kind != "mark" or not source.spaced(i):
        return None
    assignment = word in ASSIGNMENTS
    changed = BOUNDS.get(word) or OPERATORS.get(word) or ASSIGNMENTS.get(word)
    slot = source.slot(i, assignment) if changed else None
    if slot is None:
        return None
    first, last = source.spans[slot[0]][0], source.spans[slot[1]][1]
    whole = source.text[first:last]
    if "//" in whole or "\n#" in whole:
        return None
    whole = whole.replace("\n", " ")
    flat = source.text[first:start].replace("\n", " ") + changed + source.text[end:last].replace("\n", " ")
    lines = "\n" * source.text[first:last].count("\n")  # later lines keep their numbers
    switch = f"(RANVIER_MUTANT(@) ? ({flat}) : ({whole}{lines}))"
    name = "bound" if word in BOUNDS else "operator"
    return _site(source, start, name, whole, flat, [(first, last, switch)])


def _other_constant(word: str) -> str:
    if word in ("true", "false"):
        return "false" if word == "true" else "true"
    if re.fullmatch(r"[\d']+[uUlL]*", word):
        digits = word.rstrip("uUlL")
        return str(int(digits.replace("'", "")) + 1) + word[len(digits) :]
    if word.lower().startswith("0x"):
        return f"({word} + 1)"
    return f"({word} * 2)" if float(word.rstrip("fFlL").replace("'", "")) else f"({word} + 1)"


def _condition_site(source: Source, i: int, word: str) -> Site | None:
    """A negated condition of an if or while."""
    if word not in ("if", "while") or source.words[i + 1 : i + 2] != ["("]:
        return None
    close = source.partner[i + 1]
    inner = source.words[i + 2 : close]
    if not inner or "=" in inner or ";" in inner or "{" in inner:
        return None
    first, last = source.spans[i + 2][0], source.spans[close - 1][1]
    cond = source.text[first:last]
    if "//" in cond:
        return None
    edits = [(first, first, "(RANVIER_MUTANT(@) != bool("), (last, last, "))")]
    return _site(source, first, "condition", cond.replace("\n", " "), f"!({cond})".replace("\n", " "), edits)


def _statement_sites(source: Source) -> list[Site]:
    """Statements that are an assignment or a call, dropped."""
    found = []
    words, kinds = source.words, source.kinds
    for i, word in enumerate(words):
        if kinds[i] != "name" or word in NO_STATEMENT.split() or i == 0:
            continue
        before = words[i - 1]
        after_header = (
            before == ")" and i - 1 in source.partner and words[source.partner[i - 1] - 1] in HEADERS
        )
        if before not in (";", "{", "}", "else") and not after_header:
            continue
        end = i
        while end < len(words) and words[end] not in ("{", "}", ";"):
            end = source.partner.get(end, end) + 1 if words[end] in ("(", "[") else end + 1
        if end >= len(words) or words[end] != ";" or end - i < 2 or not _is_action(source, i, end):
            continue
        first, last = source.spans[i][0], source.spans[end][1]
        text = source.text[first:last].split("\n")[0]
        edits = [(first, first, "{ if (!RANVIER_MUTANT(@)) "), (last, last, " }")]
        found.append(_site(source, first, "statement", text, "(dropped)", edits))
    return found


def _is_action(source: Source, first: int, end: int) -> bool:
    """Whether tokens first..end are an assignment or a call, not a declaration."""
    depth_free = []
    i = first
    while i < end:
        depth_free.append(i)
        i = source.partner[i] + 1 if source.words[i] in ("(", "[") and i in source.partner else i + 1
    names = source.words
    for a, b in pairwise(depth_free):
        if names[b] == "=" or names[b] in ASSIGNMENTS or names[b] in ("++", "--"):
            return True
        if source.kinds[b] == "name" and (
            source.kinds[a] == "name" or names[a] in (">", "*", "&", "&&", "]")
        ):
            return False
    return names[end - 1] == ")" or names[end - 1] in ("++", "--")
