"""Keeps the programs of a compiled function by signature, and decides which calls are recorded.

A recording takes several times as long as an eager call, so it must be paid for by the time that replays
save:

1. The first four recordings of a function are made at once, and another one for each 16 replays, up to 16.
2. Then a call is recorded while recordings have cost less than replays have saved, and a sixteenth of the
   time of eager calls. A new signature is recorded when it comes back.
3. Other calls run eagerly. After 64 of them in a row the next 64 rest: they go straight to the function. Then
   one call is recorded; if that does not pay, the next rest is twice as long, up to 16,384 calls.
4. Where four functions of the same code ended with fewer than 64 replays each, as when one is made in each
   call of another function, a further one rests first. Functions that still exist, such as members of an
   ensemble, do not count.

CompiledFunction calls the cache under its lock: `look_up` for a call that no program has answered, then
`missed` after an eager call, or `spend` and `change` after a recording or a check.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ranvier.compile.program import Program

if TYPE_CHECKING:
    import ranvier._core as _core

_MEMORY = 1 << 28  # the most bytes of all programs of a function; then the least recently used is dropped
_TIMED = 4  # how many replays are timed after a recording
_OVERHEAD = 1 << 16  # an estimate of the bytes of a program besides its arrays
_VARIANTS = 4  # the most programs of one signature, which differ in their guards
_KEYS = 4096  # the most signatures, and codes, that are remembered
# recordings that need not be paid for: at first, and at most
_FREE = 4
_MOST_FREE = 16
_PAYS = 16  # the replays for which one more recording is free
_SHARE = 1 / 16  # the share of the time of eager calls that recordings may take besides
_IN_ADVANCE = 8  # the most recordings for which the time saved so far counts in advance
_SAMPLES = 8  # eager calls that are timed before a recording has to be paid for
# After _ROW eager calls in a row as many calls rest; later more rest, up to _LONGEST.
_ROW = 64
_LONGEST = 1 << 14
_BY_REPLAY = 4  # a replay among eager calls in a row reduces their count by this number
# What `look_up` says that a call becomes.
RECORDED = 0
EAGER = 1
REFUSED = 2
# The state of a signature: seen; refused once for a reason that may pass; never to be recorded.
_SEEN = 0
_PASSED = 1
_REFUSED = 2
_HOPELESS = 16  # a call that cannot be replayed, or whose replay fails, counts as this many eager calls


# By the number of a code (`Policy.code_of`): how many of its functions were recorded and freed without having
# paid for their recordings, since one last did.
_unpaid: dict[int, int] = {}


class ProgramCache:
    """The programs of one function, of up to 256 MB; programs of the same signature differ in their guards.

    Attributes:
        kept: lists of programs by their key, a `_core.Signature`; the key used last is at the end.
        ran: the programs whose replays are not counted yet (`_count_replays`), the latest at the end.
        row: how many eager calls came in a row. A replay between them reduces the number, but does not clear
            it.
        replay: the shortest time of a replay, in seconds. untimed: how many replays are still to be timed.
    """

    def __init__(self, code: int = 0, waits: bool = False) -> None:
        """code: a number shared by all functions of the same code; 0: no other function counts with this one.

        waits: whether each signature is recorded only when it comes back.
        """
        self.kept: OrderedDict[Any, list[Program]] = OrderedDict()
        self.ran: deque[Program] = deque(maxlen=_ROW)
        # The state of each signature, by its hash. The signature itself would keep arguments alive.
        self._known: dict[int, int] = {}
        self._checks: dict[int, int] = {}  # the number of checks, by the key's hash without numbers
        self._last_key: Any = None  # the key of the latest replay or recording
        self._asked: Any = None  # the key of the latest `look_up`
        # _rest: how many calls rest the next time.
        self.row = 0
        self._rest = _ROW
        self.untimed = 0
        # Numbers of recordings; of replays: all, those counted in _saved, those before the function last
        # rested.
        self._recordings = self._replays = self._valued = self._at_rest = 0
        self._spent = self._saved = 0.0  # the seconds that recordings have cost, and that replays have saved
        # The shortest times of a recording that is not free, of an eager call and of a replay.
        self._cheapest = self._eager = self.replay = math.inf
        # The number of timed eager calls, and of recordings refused for reasons that might pass.
        self._timed = self._passed = 0
        self._code = code
        self._waits = waits
        # How many recordings are free. With 0 it stays 0: then rule 4 above holds for the whole function.
        self._free = _FREE if _unpaid.get(code, 0) < _FREE else 0

    def __del__(self) -> None:
        self._count_replays()
        if self._code and self._recordings > 0 and self._replays < _ROW:
            _unpaid[self._code] = _unpaid.pop(self._code, 0) + 1
            if len(_unpaid) > _KEYS:
                del _unpaid[next(iter(_unpaid))]

    # --- programs
    def all(self) -> list[Program]:
        """All programs, those of the signature used last at the end."""
        found: list[Program] = []
        for programs in self.kept.values():
            found += programs
        return found

    def used(self, key: _core.Signature, began: float) -> None:
        """Notes a replay of a program in `kept`. began: when its call began (`perf_counter`)."""
        self.kept.move_to_end(key)
        self._last_key = key
        if self.untimed:
            self.replay = min(self.replay, perf_counter() - began)
            self.untimed = self.untimed - 1

    def look_up(self, key: _core.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Program | int:
        """Decides what a call becomes that no program has answered: RECORDED, EAGER, REFUSED, or a program:
        it fits the call and is due for a check."""
        self._asked = key
        known = self._known.get(hash(key))
        if known == _REFUSED:
            return REFUSED
        program = next((program for program in self.kept.get(key, ()) if program.is_current()), None)
        if program is None:
            if self._may_record(key, known is None):
                return RECORDED
            return EAGER
        # The program is right, but a replay must not get these arguments: one shares memory with what it
        # changes, or is a Tensor of its guards.
        if program.checks_left or program.core.meets(args, kwargs):
            return EAGER
        return program

    def put(self, key: _core.Signature, program: Program) -> None:
        """Keeps a new program, and drops others that are too many or too large together."""
        programs = self.kept.setdefault(key, [])
        programs.insert(0, program)
        del programs[_VARIANTS:]
        self.kept.move_to_end(key)
        self._last_key = key
        self.untimed = _TIMED
        if program.shared is not None:
            self._limit(program.shared)
        while sum(p.size + _OVERHEAD for p in self.all()) > _MEMORY and len(self.kept) > 1:
            self.kept.popitem(last=False)

    def _limit(self, shared: object) -> None:
        """Drops the oldest programs of one form, such as those for the caches of earlier texts."""
        self._count_replays()  # so that `ran` does not keep them
        keys = [key for key, programs in self.kept.items() if any(p.shared is shared for p in programs)]
        for key in keys[:-_VARIANTS]:
            self.kept[key] = [p for p in self.kept[key] if p.shared is not shared]
            if not self.kept[key]:
                del self.kept[key]

    def checked(self, key: _core.Signature, again: bool) -> int:
        """Counts a check, and returns the number of checks of all calls that differ from it only in numbers.

        again: whether the program was checked before. Only one first check is counted, so that many programs
        for different numbers do not make checks rarer.
        """
        alike = key.hash_without_numbers()
        before = self._checks.get(alike, 0)
        if again or before == 0:
            self._checks[alike] = before + 1
        return self._checks[alike]

    def change(self, key: _core.Signature, before: Program | None, after: Program | None) -> None:
        """Replaces the program `before` by `after`. None: there is no program before, or after."""
        self._count_replays()
        if before is not None:
            self.kept[key].remove(before)
        if after is not None:
            self._known[hash(key)] = _SEEN
            self.put(key, after)

    # --- which calls are recorded
    def passes(self, key: _core.Signature) -> bool:
        """Notes that a recording gave no program for a reason that may pass (`CaptureError.kept`). True if
        the signature may be recorded again: it is the first time for this signature, and rare among all."""
        before = self._known.get(hash(key))
        self._known[hash(key)] = _PASSED
        self._passed += 1
        return before != _PASSED and self._passed < _FREE

    def refuse(self, key: _core.Signature) -> None:
        """Calls of this signature run eagerly."""
        self._known[hash(key)] = _REFUSED
        for program in self.kept.get(key, ()):
            program.grant(0)  # without replays left its `call` answers no call

    def begins_with(self) -> int:
        """The number of calls that rest when the function is new."""
        if self._free:
            return 0
        return _ROW

    def _may_record(self, key: _core.Signature, is_new: bool) -> bool:
        """True if a call without a program is recorded. is_new: whether its signature was not seen before."""
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
        """Notes the time of a recording (`recording`) or of a check."""
        self._recordings += recording
        self._count_replays()
        if self._recordings > self._free:
            self._cheapest = min(self._cheapest, seconds)
            # The time is limited, since other processes may have had the processor meanwhile.
            self._spent += min(seconds, 2 * self._cheapest)

    def missed(self, seconds: float, hopeless: bool) -> int:
        """Notes an eager call of this many seconds; returns how many of the next calls rest.

        hopeless: whether the call can never be replayed.
        """
        self._eager = min(self._eager, seconds)
        self._timed += 1
        self._saved += _SHARE * seconds
        self.row += _HOPELESS if hopeless else 1
        if self.row < _ROW:
            return 0
        self._count_replays()
        if self._replays - self._at_rest >= _ROW:
            rest = _ROW
        else:
            rest = self._rest
        self.row = 0
        self._rest = min(2 * rest, _LONGEST)
        self._at_rest = self._replays
        # At least _spent, so that after the rest one call is recorded.
        self._saved = max(self._saved + _SHARE * self._eager * rest, self._spent)
        return rest

    def replayed(self) -> None:
        """Notes a replay that came after eager calls."""
        self.row = max(self.row - _BY_REPLAY, 0)

    def is_rare(self) -> bool:
        """True if the function rests although it has programs: its arguments or reads change too often."""
        return self._recordings >= _FREE and bool(self.kept)

    def _count_replays(self) -> None:
        """Adds the replays since the last count, and the time that they have saved."""
        self._replays += sum([program.replays_since() for program in self.ran])
        while len(self.ran) > 2:  # The two latest programs may replay further, without a call of Python code.
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
        """A text that names the argument or value which differs from call to call."""
        last = self._last_key
        key = self._asked
        if last is not None and key is not None and last != key:
            argument = key.different_argument(last)
            if argument < 0:
                return "a setting of the library"
            return f"argument {argument}"
        changed = (program.guards.changed() for program in self.kept.get(key, ()))
        return next(filter(None, changed), "what it reads")
