"""A pytest run that collects a group of tests once and tries each mutant in a fork of itself."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mutation import tree
from mutation.parts import GROUPS, PARTS
from mutation.sites import Site
from mutation.switch import Core

BUDGET = float(os.environ.get("RANVIER_MUTATION_BUDGET", "60"))  # seconds of tests for each mutant
MEMORY = 12 << 30


class Worker:
    """The plugin: takes over after collection."""

    def __init__(self, group: str, fresh: str | None) -> None:
        self.group, self.fresh = group, fresh
        self.sites = tree.sites()
        self.failed: str | None = None

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and self.failed is None:
            self.failed = f"{report.nodeid} [{report.when}]"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool:
        self.items = {item.nodeid: item for item in session.items}
        if self.fresh is not None:
            _answer(self.try_items(json.loads(Path(self.fresh).read_text())))
        self.core = Core(tree.MOST)
        self.at_import = set(self.core.reached())
        wanted = [s for s in self.sites if self.group in _groups(s)]
        session.config.pluginmanager.getplugin("capturemanager").suspend_global_capture(in_=True)
        self.known = known = self.baseline()
        parts = os.environ.get("RANVIER_MUTATION_PARTS", "").split()
        for site in wanted:
            if not parts or site.part in parts:
                self.judge(site, known)
        return True

    # --- what each test takes and reaches, without a mutant
    def baseline(self) -> dict[str, Any]:
        path = tree.STATE / f"baseline-{self.group}.jsonl"
        known = _results(path)
        while missing := [name for name in self.items if name not in known]:
            pid = _fork(4 * 3600)
            if pid == 0:
                _be_silent()
                self.measure(missing, path)
                os._exit(0)
            os.waitpid(pid, 0)
            known = _results(path)
            left = [name for name in self.items if name not in known]
            if left:  # it ended in this test
                _append(path, {"key": left[0], "ok": False, "seconds": 0.0, "reached": []})
                known = _results(path)
        return known

    def measure(self, names: list[str], path: Path) -> None:
        shared: dict[str, set[int]] = {}  # by module: what its tests reached, for fixtures that they share
        for i, name in enumerate(names):
            self.core.clear()
            self.failed = None
            following = self.items[names[i + 1]] if i + 1 < len(names) else None
            started = time.perf_counter()
            self.items[name].config.hook.pytest_runtest_protocol(item=self.items[name], nextitem=following)
            seconds = round(time.perf_counter() - started, 4)
            reached = {*self.core.reached()}
            of_module = shared.setdefault(name.split("::")[0], set())
            of_module |= reached
            if _shares_fixtures(self.items[name]):
                reached = of_module
            entry = {"key": name, "ok": self.failed is None, "seconds": seconds}
            _append(path, {**entry, "reached": sorted(reached)})

    # --- one mutant
    def judge(self, site: Site, known: dict[str, Any]) -> None:
        results = tree.STATE / "results.jsonl"
        done = _results(results).get(site.key)
        if done is not None and (done["killed"] or self.group in done["groups"]):
            return
        able = [name for name in self.items if known[name]["ok"]]
        reaching = [name for name in able if site.number in known[name]["reached"]]
        fresh = site.number in self.at_import and not reaching
        names = _chosen(site, able if fresh else reaching, known)
        groups = [*(done["groups"] if done else []), self.group]
        outcome: dict[str, Any] = {"key": site.key, "groups": groups, "tests": len(names), "killed": False}
        started = time.perf_counter()
        while names:
            seconds = sum(known[name]["seconds"] for name in names)
            by = self.try_fresh(site, names, seconds) if fresh else self.try_forked(site, names, seconds)
            test = by.rsplit(" [", 1)[0] if by else ""
            if test in names and self.try_forked(None, [test], known[test]["seconds"]):
                names.remove(test)  # it fails without the mutant, too
                continue
            outcome |= {"killed": bool(by), "by": by}
            break
        outcome["seconds"] = round(time.perf_counter() - started, 1)
        outcome["reached"] = len(reaching) if not fresh else -1
        _append(results, outcome)
        print(site.number, site.part, site.file, site.line, outcome, file=sys.stderr, flush=True)

    def try_forked(self, site: Site | None, names: list[str], seconds: float) -> str:
        read, write = os.pipe()
        limit = mmap.mmap(-1, 8)  # shared with who watches: until when the test in progress may run
        pid = _fork(60 + 6 * seconds, limit)
        if pid == 0:
            os.close(read)
            _be_silent()
            if site is not None:
                os.environ["RANVIER_MUTANT"] = str(site.number)
                self.core.switch_on(site.number)
            os.write(write, (self.try_items(names, limit) or "survived").encode())
            os._exit(0)
        os.close(write)
        said = b""
        while part := os.read(read, 65536):
            said += part
        os.close(read)
        _, status = os.waitpid(pid, 0)
        _end_group(pid)
        text = (
            said.decode() or f"ended by signal {os.WTERMSIG(status)}"
            if os.WIFSIGNALED(status)
            else said.decode()
        )
        return "" if text == "survived" else text or "ended"

    def try_fresh(self, site: Site, names: list[str], seconds: float) -> str:
        """In a new process, for what happens at import."""
        order = tree.STATE / f"order-{self.group}.json"
        order.write_text(json.dumps(names))
        command = [sys.executable, "-m", "mutation.worker", self.group, str(order)]
        env = {**os.environ, "RANVIER_MUTANT": str(site.number)}
        try:
            done = subprocess.run(
                command, env=env, capture_output=True, text=True, timeout=120 + 15 * seconds
            )
        except subprocess.TimeoutExpired:
            return "ran too long"
        answers = [line[8:] for line in done.stdout.splitlines() if line.startswith("@answer ")]
        return "does not start" if not answers else "" if answers[-1] == "survived" else answers[-1]

    def try_items(self, names: list[str], limit: mmap.mmap | None = None) -> str:
        """Runs these tests until one fails, and names it."""
        self.failed = None
        for i, name in enumerate(names):
            if limit is not None:
                limit[:] = struct.pack("d", time.monotonic() + 20 + 8 * self.known[name]["seconds"])
            following = self.items[names[i + 1]] if i + 1 < len(names) else None
            self.items[name].config.hook.pytest_runtest_protocol(item=self.items[name], nextitem=following)
            if self.failed:
                return self.failed
        return ""


def _shares_fixtures(item: Any) -> bool:
    """Whether a fixture of the test was perhaps made for another one."""
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    return any(made.scope != "function" for found in fixtures for made in found)


def _chosen(site: Site, names: list[str], known: dict[str, Any]) -> list[str]:
    """Up to the budget: the tests of the site's own files before others, and of each kind of test some before
    many of one kind; the fastest first."""
    words = {Path(site.file).parent.name, Path(site.file).name.split(".")[0].replace("bind_", "")}
    names.sort(key=lambda n: known[n]["seconds"])
    of_kind: Counter[str] = Counter()
    order = {}
    for n in names:
        test, _, values = n.partition("[")
        kind = test + re.split(r"[/_-]", values)[0]
        order[n] = -sum(w in n.split("::")[0] for w in words), of_kind[kind]
        of_kind[kind] += 1
    chosen, total = [], 0.0
    for name in sorted(names, key=lambda n: order[n]):
        if not chosen or total + known[name]["seconds"] <= BUDGET:
            total += known[name]["seconds"]
            chosen.append(name)
    return sorted(chosen, key=lambda n: known[n]["seconds"])


def _groups(site: Site) -> tuple[str, ...]:
    return next(part.groups for part in PARTS if part.name == site.part)


def _fork(cpu: float, limit: mmap.mmap | None = None) -> int:
    """A fork with limits; what passes them is ended by a signal."""
    sys.stdout.flush(), sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu), int(cpu) + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        watched = os.getpid()
        if limit is not None and os.fork() == 0:
            _watch(watched, limit)
    return pid


def _be_silent() -> None:
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)


def _end_group(pid: int) -> None:
    """Ends what the tests of a killed fork have left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _watch(pid: int, limit: mmap.mmap) -> None:
    """Ends the process when a test takes too long: a deadlock takes no processor time."""
    os.closerange(3, 4096)
    while os.getppid() == pid:
        until: float = struct.unpack("d", limit[:])[0]
        if until and time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
    os._exit(0)


def _results(path: Path) -> dict[str, Any]:
    """The last entry of each key; what any group of tests found stays found."""
    found: dict[str, Any] = {}
    for entry in map(json.loads, path.read_text().splitlines() if path.exists() else []):
        before = found.get(entry["key"])
        if before is not None and "groups" in entry:
            groups = list(dict.fromkeys([*before["groups"], *entry["groups"]]))
            entry = {**(before if before["killed"] else entry), "groups": groups}
        found[entry["key"]] = entry
    return found


def _append(path: Path, entry: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")


def _answer(text: str) -> None:
    os.write(1, f"\n@answer {text or 'survived'}\n".encode())
    os._exit(0)


def main() -> None:
    group, fresh = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # which is ignored in a background job of a shell
    os.chdir(tree.TREE)
    worker = Worker(group, fresh)
    flags = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--rootdir", str(tree.TREE)]
    sys.exit(pytest.main([*flags, *GROUPS[group]], plugins=[worker]))


if __name__ == "__main__":
    main()
