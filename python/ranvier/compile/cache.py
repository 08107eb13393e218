"""The programs of a compiled function, by signature, and when recordings are worth their time."""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import partial
from types import CodeType
from typing import Any
from weakref import WeakKeyDictionary

from ranvier.compile.program import Program
from ranvier.compile.signature import differ_by_numbers

_MEMORY = 1 << 28  # bytes of all programs; the least recently used one is dropped
_OVERHEAD = 1 << 16  # of a program besides its arrays
_VARIANTS = 4  # programs of one signature, which differ in their guards
_FREE = 4  # recordings of a function, and functions of the same code, before they must be earned
_SAVED = 8  # recordings, in time, that can be earned in advance
_KEYS = 4096  # signatures that are remembered
_FORMS = 256  # of models of one class, and of the regions of a step
_SHARE = 0.05  # of the time of eager calls may be taken by recordings
_HOPELESS = 16  # as so many calls counts one that cannot be replayed
_NUMBERED = 4  # ... one that differs from those before in numbers alone, and a replay that fails
_RARELY = 8  # one call in so many asks whether a recording is affordable
_OFTEN = 8  # replays from one that fails to the next
_IDLE, _LONGEST = 64, 1 << 14  # eager calls before as many rest; the most that rest
_FIRST = 128  # calls before the first comparison of their times with those of eager calls
_COMPARED, _EAGER = 24, 3  # calls of a comparison, of which one in so many runs eagerly
_SLOWER = 3  # comparisons in a row: it does not pay


class Account:
    """Seconds that recordings have cost and replays have saved, of all functions made of the same code."""

    def __init__(self, step: Account | None = None) -> None:
        """step: of the step, for a part of it, whose replays earn for both."""
        self._step = step
        self.functions = self.recordings = 0
        self.spent = self.earned = 0.0  # for recordings, and what was earned for more of them
        self._parts: dict[Any, Account] = {}

    def part(self, key: Any) -> Account:
        """Of the same part of the step, or of models of the same form."""
        if len(self._parts) >= _FORMS:
            self._parts.clear()
        return self._parts.setdefault(key, Account(self))

    def earn(self, seconds: float) -> None:
        self.earned += seconds
        if self._step is not None:
            self._step.earn(seconds)

    def mean(self) -> float:
        """Seconds of a recording."""
        return self.spent / (self.recordings or 1)

    def affords(self) -> bool:
        """Whether eager calls and replays have earned the time of another recording."""
        mean = self.mean()
        self.earned = min(self.earned, _SAVED * mean)
        return self.earned >= mean


_accounts: WeakKeyDictionary[CodeType, Account] = WeakKeyDictionary()


def account_of(function: Any) -> Account:
    """The account of a function's code: functions that are made anew in each call share one."""
    while isinstance(function, partial):
        function = function.func
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    return _accounts.setdefault(code, Account()) if isinstance(code, CodeType) else Account()


class ProgramCache:
    """Programs up to 256 MB; those of one signature differ in their guards.

    A recording takes several times as long as an eager call. So the first few signatures are recorded at
    once; later ones when they come back, and while recordings and checks have taken little of the time of
    eager calls and of half of what replays have saved. This is counted for all functions of the same code:
    from the fifth on each recording has to be earned, by all of them or by the function's own calls, and
    until then calls run eagerly.

    Attributes:
        refused: hashes of signatures whose calls run eagerly, since they cannot be replayed.
        resting: so many calls to come run eagerly at once.
        untimed: calls until the next comparison of times; negative during one.
        likely: a program for each `hint`, which may fit a call or not.
    """

    def __init__(self, account: Account | None = None) -> None:
        self.account = account = account or Account()
        account.functions += 1
        self._free = _FREE if account.functions <= _FREE else 0
        self._of: OrderedDict[Any, list[Program]] = OrderedDict()
        self._seen: dict[int, int] = {}  # calls of each signature, by its hash: a key would keep arguments
        self._last_key: Any = None
        self._recordings = self._idle = self._asked = 0
        self._rest = _IDLE
        self.refused: set[int] = set()
        self.resting = self._rested = 0 if self._free or account.affords() else _IDLE
        self.untimed = _FIRST
        self.likely: dict[Any, Program] = {}
        self._wait = self._pause = _FIRST
        self._slower, self._saving = 0, math.inf  # seconds that a call earns, at most
        self._own = 0.0  # seconds that this function's calls have earned, less its recordings
        self._times: tuple[list[float], list[float]] = [], []  # of a comparison: of calls, and eager
        self._odd = False  # the call that runs has made a recording or a check
        self._left = 0  # of the last replay that failed

    def __del__(self) -> None:
        self._earn()

    def all(self) -> list[Program]:
        return [program for programs in self._of.values() for program in programs]

    def current(self, key: Any) -> Program | None:
        """The program of this signature that a replay may use."""
        return next((program for program in self._of.get(key, ()) if program.is_current()), None)

    def use(self, key: Any) -> None:
        """Notes that a program of this signature is used."""
        self._of.move_to_end(key)
        self._last_key = key
        self.replayed()

    def replayed(self) -> None:
        self._idle, self._rest = 0, _IDLE

    def add(self, key: Any, program: Program) -> None:
        """Keeps a new program, and drops others that are too many or too large together."""
        self.put(key, program)
        self.use(key)
        self.likely.clear()
        del self._of[key][_VARIANTS:]
        sizes = {other: sum(p.size for p in programs) + _OVERHEAD for other, programs in self._of.items()}
        total = sum(sizes.values())
        while total > _MEMORY and len(self._of) > 1:
            oldest = next(iter(self._of))
            del self._of[oldest]
            total -= sizes[oldest]

    def put(self, key: Any, program: Program) -> None:
        self._of.setdefault(key, []).insert(0, program)

    def take(self, key: Any, program: Program) -> None:
        """Removes a program, while it is checked."""
        self._of[key].remove(program)

    def refuse(self, key: Any) -> None:
        if len(self.refused) >= _KEYS:
            self.refused.clear()
        self.refused.add(hash(key))

    # --- what recordings cost
    def recorded(self, seconds: float) -> None:
        self._recordings += 1
        self.account.recordings += 1
        self.account.spent += seconds
        self.checked(seconds)

    def checked(self, seconds: float) -> None:
        self._odd = True
        if self._recordings > self._free:
            self._add(-seconds)

    def _add(self, seconds: float) -> None:
        self.account.earned += seconds
        self._own += seconds

    def _earn(self) -> None:
        seconds = sum([program.earned(self._saving) for program in self.all()])
        self.account.earn(seconds)
        self._own += seconds

    def affords(self) -> bool:
        """Whether eager calls and replays, of all functions or of this one, have earned a recording."""
        self._earn()
        mean = self.account.mean()
        self._own = min(self._own, _SAVED * mean)
        return self.account.affords() or self._own >= mean

    def ran_eagerly(self, key: Any, seconds: float) -> bool:
        """Notes an eager call; True where, for the first time, so many came together that the next rest."""
        self._add(_SHARE * seconds * (1 + self._rested))
        self._rested = 0
        refused, waits = hash(key) in self.refused, self._waits()
        first = self._rest == _IDLE and self._recordings >= _FREE and not refused
        counts = _IDLE if waits else _HOPELESS if refused else _NUMBERED if self._is_numbered(key) else 1
        if not self._rests(counts):
            return False
        if waits:
            self._rested = self._rest = _IDLE
        return first

    def _rests(self, counts: int) -> bool:
        """Notes a call in vain; after many the next ones rest, each time twice as many."""
        self._idle += counts
        if self._idle < _IDLE:
            return False
        self.resting, self._idle = self._rest, 0
        self._rest = min(2 * self._rest, _LONGEST)
        return True

    def failed(self, left: int) -> None:
        """Notes a replay that a check of values has ended; left: the replays until its program is checked."""
        often = 0 <= self._left - left <= _OFTEN
        self._left = left
        if often:
            self._rests(_NUMBERED)
        else:
            self.replayed()

    def _waits(self) -> bool:
        """Whether the function has no recording, since others of the same code have earned none."""
        return not (self._free or self._recordings)

    def _is_numbered(self, key: Any) -> bool:
        """Whether nothing but a number among the arguments has kept the recordings from being replayed."""
        last = self._last_key
        replayed = self._recordings < _FREE or any(program.checks for program in self.all())
        return not (replayed or last is None or key is None) and differ_by_numbers(last, key)

    # --- whether replays are faster
    def next_is_eager(self) -> bool:
        """Whether the next call of a comparison of times is an eager one."""
        self._odd = False
        return self.untimed % _EAGER == 0

    def compare(self, eager: bool, seconds: float) -> bool:
        """Notes a call; at the end of a comparison calls rest if eager ones are faster.

        What is slow is mostly the search for a program, in steps of few kernels. The slowest quarter is left
        out, since another process may have had the core. True where calls were slower several times in a row.
        """
        if not self._odd:
            self._times[eager].append(seconds)
        if self.untimed > -_COMPARED or not all(self._times):
            return False
        ours, theirs = (sorted(times)[: 1 + len(times) * 3 // 4] for times in self._times)
        mean = sum(theirs) / len(theirs)
        saved = mean - sum(ours) / len(ours)
        slower = saved < 0
        self._saving = max(0.0, saved / 2)
        self._times = [], []
        self._slower = self._slower + 1 if slower else 0
        if not slower:
            self.untimed, self._pause = self._wait, _FIRST
            self._wait = min(2 * self._wait, _LONGEST)
            return False
        self.untimed, self._wait = _IDLE, _FIRST
        self.resting, self._pause = self._pause, min(2 * self._pause, _LONGEST)
        self._add(_SHARE * self.resting * mean)
        return self._slower >= _SLOWER

    def may_record(self, key: Any, after: int) -> bool:
        """Whether a call that no program fits is recorded; `after` calls of its signature must come first."""
        count = self._seen.get(hash(key), 0)
        if len(self._seen) >= _KEYS:
            self._seen.clear()
        self._seen[hash(key)] = count + 1
        if count < after:
            return False
        if self._recordings < self._free:
            return True
        self._asked += 1
        return (self._waits() or (count > after and self._asked % _RARELY == 0)) and self.affords()

    def may_check(self, program: Program) -> bool:
        """Whether a check that is due is made now; the first of a program always is."""
        return not program.checks or self._recordings <= self._free or self.affords()

    def cause(self, key: Any) -> str:
        """What differs from call to call, in words."""
        last = self._last_key
        if last is not None and last[0] != key[0]:
            pairs = enumerate(zip(last[0], key[0], strict=False))
            return next((f"argument {i}" for i, (a, b) in pairs if a != b), "the number of arguments")
        if last is not None and last != key:
            return "a setting of the library"
        changed = (program.changed() for program in self._of.get(key, ()))
        return next(filter(None, changed), "what it reads")
