"""Cores and threads of a rank: the cores of a host are divided among the ranks there."""

from __future__ import annotations

import os

import ranvier._core as _core
from ranvier.config import get_num_threads, set_num_threads

__all__ = ["part_of", "share_cores"]


def part_of(cores: list[set[int]], place: int, ranks: int) -> list[set[int]]:
    """The cores of the rank at a place among the ranks of a host; none where there are too few."""
    if len(cores) < ranks:
        return []
    first, end = (len(cores) * i // ranks for i in (place, place + 1))
    return cores[first:end]


def share_cores(place: int, ranks: int) -> None:
    """Keep this process and its threads on its part of the host's cores, and use one thread a core.

    mpirun may have bound the process to one core; all cores that the system allows count. Nothing changes
    where OMP_NUM_THREADS or `set_num_threads` has set the threads. With more ranks than cores, each has one
    thread on any core.
    """
    if "OMP_NUM_THREADS" in os.environ or get_num_threads() != _core.usable_cpus():
        return
    if not hasattr(os, "sched_setaffinity"):
        set_num_threads(max(1, (os.cpu_count() or 1) // ranks))
        return
    _bind(set(range(os.cpu_count() or 1)))  # the system leaves out those that it does not allow
    ours = part_of(_physical(os.sched_getaffinity(0)), place, ranks)
    threads = min(len(ours), _core.usable_cpus() // ranks)  # a container may have a quota below its cores
    if ours:
        _bind(set().union(*ours))
    set_num_threads(max(1, threads))


def _bind(cpus: set[int]) -> None:
    """Let all threads of this process run on these CPUs."""
    for thread in os.listdir("/proc/self/task"):
        try:
            os.sched_setaffinity(int(thread), cpus)
        except OSError:  # the thread has ended, or the system forbids it
            continue


def _physical(cpus: set[int]) -> list[set[int]]:
    """The CPUs of each physical core."""
    cores: dict[str, set[int]] = {}
    for cpu in sorted(cpus):
        cores.setdefault(_siblings(cpu), set()).add(cpu)
    return list(cores.values())


def _siblings(cpu: int) -> str:
    try:
        with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") as file:
            return file.read()
    except OSError:
        return str(cpu)
