"""The programs of a compiled function, by signature, and which calls are recorded.

A recording takes several times as long as an eager call, and pays by its replays:

1. The first four recordings of a function are made at once, and another one for each 16 replays, up to 16.
2. Then a call is recorded while recordings have cost less than replays have saved, and a sixteenth of the
   time of eager calls. A new signature is recorded when it comes back.
3. Other calls run eagerly. After 64 of them in a row the next 64 rest: they go straight to the function. Then
   one call is recorded; if that does not pay, the next rest is twice as long, up to 16,384 calls.
4. Where four functions of the same code ended with fewer than 64 replays each, as when one is made in each
   call of another function, a further one rests first. Functions that still exist, such as members of an
   ensemble, do not count.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from time import perf_counter
from typing import Any

from ranvier.compile.program import Program

_MEMORY = 1 << 28  # the most bytes of all programs; beyond, the least recently used one is dropped
_TIMED = 4  # how many replays are timed after a recording
_OVERHEAD = 1 << 16  # the bytes of a program besides its arrays
_VARIANTS = 4  # the most programs of one signature, which differ in their guards
_KEYS = 4096  # the most signatures, and codes, that are remembered
_FREE, _MOST_FREE = 4, 16  # recordings that need not be paid for, at first and later
_PAYS = 16  # the replays for which one more recording is free
_SHARE = 1 / 16  # the share of the time of eager calls that recordings may take
_IN_ADVANCE = 8  # the most recordings that replays can pay for in advance
_SAMPLES = 8  # eager calls that are timed before a recording has to be paid for
_ROW, _LONGEST = 64, 1 << 14  # eager calls in a row after which as many rest; the most calls that rest
_BY_REPLAY = 4  # a replay among eager calls in a row reduces their count by this number
RECORDED, EAGER, REFUSED = range(3)
# The state of a signature: seen, not recorded once, or never to be recorded.
_SEEN, _PASSED, _REFUSED = range(3)
_HOPELESS = 16  # a call that cannot be replayed, or whose replay fails, counts as this many calls


# How many recorded functions of a code (the key) ended since one of them paid for its recordings.
_unpaid: dict[int, int] = {}


class ProgramCache:
    """Programs up to 256 MB; those of one signature differ in their guards.

    Attributes:
        kept: programs by their key, a `_core.Signature`, the one used last at the end.
        ran: those that have replayed since the last count, the latest at the end.
        row: eager calls in a row, but for a few replays among them.
        replay: seconds that a replay takes, at most. untimed: how many replays are still to be timed.
    """

    def __init__(self, code: int = 0, waits: bool = False) -> None:
        """code: a number shared by all functions of the same code; 0: no other function counts with this one.

        waits: whether each signature is recorded only when it comes back.
        """
        self.kept: OrderedDict[Any, list[Program]] = OrderedDict()
        self.ran: deque[Program] = deque(maxlen=_ROW)
        # The state of each signature, by its hash: a key would keep arguments alive.
        self._known: dict[int, int] = {}
        self._checks: dict[int, int] = {}
        self._last_key: Any = None  # the key of the latest replay or recording
        self._asked: Any = None
        self.row, self._rest, self.untimed = 0, _ROW, 0
        self._recordings = self._replays = self._valued = self._at_rest = 0
        self._spent = self._saved = 0.0  # the seconds that recordings have cost, and that replays have saved
        self._cheapest = self._eager = self.replay = math.inf
        # the number of eager calls whose time is known, and of recordings refused for reasons that might have
        # passed
        self._timed = self._passed = 0
        self._code, self._waits = code, waits
        self._free = _FREE if _unpaid.get(code, 0) < _FREE else 0

    def __del__(self) -> None:
        self._count_replays()
        if self._code and self._recordings > 0 and self._replays < _ROW:
            _unpaid[self._code] = _unpaid.pop(self._code, 0) + 1
            if len(_unpaid) > _KEYS:
                del _unpaid[next(iter(_unpaid))]

    # --- programs
    def all(self) -> list[Program]:
        return [program for programs in self.kept.values() for program in programs]

    def used(self, key: Any, began: float) -> None:
        """Notes a replay that was looked up."""
        self.kept.move_to_end(key)
        self._last_key = key
        if self.untimed:
            self.replay, self.untimed = min(self.replay, perf_counter() - began), self.untimed - 1

    def look_up(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Program | int:
        """Decides about a call that is no replay: RECORDED, EAGER, REFUSED, or the program that it checks."""
        self._asked = key
        known = self._known.get(hash(key))
        if known == _REFUSED:
            return REFUSED
        program = next((program for program in self.kept.get(key, ()) if program.is_current()), None)
        if program is None:
            return RECORDED if self._may_record(key, known is None) else EAGER
        return EAGER if program.checks_left or program.core.meets(args, kwargs) else program

    def put(self, key: Any, program: Program) -> None:
        """Keeps a new program, and drops others that are too many or too large together."""
        programs = self.kept.setdefault(key, [])
        programs.insert(0, program)
        del programs[_VARIANTS:]
        self.kept.move_to_end(key)
        self._last_key, self.untimed = key, _TIMED
        while sum(p.size + _OVERHEAD for p in self.all()) > _MEMORY and len(self.kept) > 1:
            self.kept.popitem(last=False)

    def checked(self, key: Any, again: bool) -> int:
        """The number of checks of calls that differ only in numbers, without the first ones."""
        alike = key.hash_without_numbers()
        before = self._checks.get(alike, 0)
        self._checks[alike] = before + (again or not before)
        return self._checks[alike]

    def change(self, key: Any, before: Program | None, after: Program | None) -> None:
        """Keeps a new program, drops one that is wrong, or has one in the place of another."""
        self._count_replays()
        if before is not None:
            self.kept[key].remove(before)
        if after is not None:
            self._known[hash(key)] = _SEEN
            self.put(key, after)

    # --- which calls are recorded
    def passes(self, key: Any) -> bool:
        """True if the reason against a recording, one that may pass, has come for the first time."""
        before = self._known.get(hash(key))
        self._known[hash(key)] = _PASSED
        self._passed += 1
        # This is done for a few keys, not for each of many.
        return before != _PASSED and self._passed < _FREE

    def refuse(self, key: Any) -> None:
        """Calls of this signature run eagerly."""
        self._known[hash(key)] = _REFUSED
        for program in self.kept.get(key, ()):
            program.grant(0)

    def begins_with(self) -> int:
        """The number of calls that rest at first."""
        return 0 if self._free else _ROW

    def _may_record(self, key: Any, is_new: bool) -> bool:
        if len(self._known) >= _KEYS:
            self._known.clear()
        self._known.setdefault(hash(key), _SEEN)
        if is_new and (self._waits or self._recordings >= _FREE):
            return False
        if self._recordings < self._free:
            return True
        if self._timed < _SAMPLES:
            return False
        self._count_replays()
        return self._recordings < self._free or self._saved >= self._spent

    def spend(self, seconds: float, recording: bool) -> None:
        """Notes the time of a recording or check."""
        self._recordings += recording
        self._count_replays()
        if self._recordings > self._free:
            self._cheapest = min(self._cheapest, seconds)
            # Other programs may have had the processor meanwhile, so the seconds have a limit.
            self._spent += min(seconds, 2 * self._cheapest)

    def missed(self, seconds: float, hopeless: bool) -> int:
        """Notes an eager call; returns how many of the next calls rest."""
        self._eager = min(self._eager, seconds)
        self._timed += 1
        self._saved += _SHARE * seconds
        self.row += _HOPELESS if hopeless else 1
        if self.row < _ROW:
            return 0
        self._count_replays()
        rest = _ROW if self._replays - self._at_rest >= _ROW else self._rest
        self.row, self._rest, self._at_rest = 0, min(2 * rest, _LONGEST), self._replays
        self._saved = max(self._saved + _SHARE * self._eager * rest, self._spent)  # one at least, after it
        return rest

    def replayed(self) -> None:
        """Notes a replay where there were eager calls."""
        self.row = max(self.row - _BY_REPLAY, 0)

    def is_rare(self) -> bool:
        """True if calls rest though what they do could be replayed: too much changes."""
        return self._recordings >= _FREE and bool(self.kept)

    def _count_replays(self) -> None:
        self._replays += sum([program.replays_since() for program in self.ran])
        while len(self.ran) > 2:  # the latest, and the one before
            self.ran.popleft()
        if self._eager < math.inf:
            saved = max(0.0, self._eager - self.replay) * (self._replays - self._valued)
            mean = self._spent / max(self._recordings - self._free, 1)
            self._saved = min(self._saved + saved, self._spent + _IN_ADVANCE * mean)
            self._valued = self._replays
        if self._free:
            self._free = min(_FREE + self._replays // _PAYS, _MOST_FREE)
        if self._replays >= _ROW:
            _unpaid.pop(self._code, None)

    def cause(self) -> str:
        """A text that says what differs from call to call."""
        last, key = self._last_key, self._asked
        if last is not None and key is not None and last != key:
            argument = key.different_argument(last)
            return "a setting of the library" if argument < 0 else f"argument {argument}"
        changed = (program.reads.changed() for program in self.kept.get(key, ()))
        return next(filter(None, changed), "what it reads")
