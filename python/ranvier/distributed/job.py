"""Connects the processes of the job at the first `init`, binds each to its part of the cores, and ends them
together.

The environment variables of a launcher (`mpirun`, `srun`) say how many processes there are. Only if there are
several, MPI is loaded. `world()` returns the connected processes as a `ranks.World`.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import importlib
import math
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Any

import ranvier._core as _core
from ranvier.config import get_num_threads, set_num_threads
from ranvier.distributed.ranks import LEFT, TIMEOUT, World, agree, announced, complete, neighbours
from ranvier.settings import Settings


def part_of(cores: list[set[int]], place: int, ranks: int) -> list[set[int]]:
    """The cores of one rank; cores: the CPUs of each core of the host. [] if there are fewer cores than
    ranks.

    place: the number of the rank among the `ranks` ranks of the host.
    """
    if len(cores) < ranks:
        return []
    first, end = (len(cores) * i // ranks for i in (place, place + 1))
    return cores[first:end]


def share_cores(place: int, ranks: int) -> None:
    """Bind this process to its part of the host's cores, and use one thread for each core.

    place: its number among the `ranks` ranks of this host. The cores are all that the system allows, although
    mpirun may have bound the process to one of them. Nothing changes if OMP_NUM_THREADS or `set_num_threads`
    has set the threads. With more ranks than cores, each rank has one thread on any core.
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
        with contextlib.suppress(OSError):  # the thread has ended, or the system forbids it
            os.sched_setaffinity(int(thread), cpus)


def _physical(cpus: set[int]) -> list[set[int]]:
    """The CPUs of each physical core."""
    cores: dict[str, set[int]] = {}
    for cpu in sorted(cpus):
        siblings = str(cpu)
        path = f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        with contextlib.suppress(OSError), open(path) as file:
            siblings = file.read()
        cores.setdefault(siblings, set()).add(cpu)
    return list(cores.values())


def end_job_on_failure(comm: Any, finalize: Callable[[], None] | None) -> None:
    """Install hooks of the interpreter: an uncaught exception ends all ranks, and a rank that ends waits for
    all.

    comm: mpi4py's communicator of all ranks.
    finalize: ends MPI when all ranks have come to their end; None if the program has loaded mpi4py, which
        then ends MPI itself.
    """
    rank = os.getpid()

    def ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if os.getpid() == rank:
            code = 130 if issubclass(kind, KeyboardInterrupt) else 1  # 130: a shell's code for Ctrl-C
            abort(comm, error, code)
        else:  # This process is a fork of the rank, which does not end the job.
            sys.__excepthook__(kind, error, trace)

    def left() -> None:
        if os.getpid() != rank:
            return
        try:
            _leave()
        except (ValueError, RuntimeError, TimeoutError) as error:
            abort(comm, error)
        if finalize is not None:
            finalize()

    sys.excepthook = ended
    atexit.register(left)


def abort(comm: Any, error: BaseException, code: int = 1) -> None:
    """Print the traceback with the rank in front, and end all processes of the job."""
    text = "".join(traceback.format_exception(error))
    sys.stdout.flush()
    print(f"[rank {comm.Get_rank()} of {comm.Get_size()}] ends the job:\n{text}", file=sys.stderr, flush=True)
    comm.Abort(code)


# The variables in which launchers (Open MPI, MPICH and Intel MPI, Slurm) tell the processes that they start
# how many there are. The first variable that is set counts: mpirun may run below Slurm, which then has set
# its variable for the daemons of mpirun.
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
# Variables that state a number of processes but do not start MPI; `init` compares them with what MPI
# connects. Those of _UNSTARTED count only in a program that neither srun nor mpirun has started.
_STATED = ("WORLD_SIZE",)
_UNSTARTED = ("PET_NNODES", "SLURM_NTASKS", "SLURM_JOB_NUM_NODES")
_SHELL = "4294967290"  # the number of the step of Slurm that is the shell of salloc
# The variables in which launchers say which process this is. A program that the process starts inherits them.
_PLACES = ("PMIX_NAMESPACE", "PMIX_RANK", "PMI_PORT", "PMI_FD", "PMI_RANK", "SLURM_STEP_ID", "SLURM_PROCID")
# The variable in which a rank leaves its process number and its place, for the processes that it starts.
_MARK = "RANVIER_RANK"
# The variables for the number of this process (its rank), and for how many processes are on its host.
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
_ON_HOST = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_TASKS_PER_NODE")

_world: World | None = None
# is_open: True between init and close. backend: the one that the program asked for.
chosen = Settings(is_open=False, backend="mpi")


def launched_size() -> int:
    """The number of processes that the launcher has started, from its environment variables."""
    return next(iter(_numbers(_SIZES).values()), 1)


def _numbers(names: tuple[str, ...]) -> dict[str, int]:
    """The environment variables of these names that are set; ValueError where one is no number."""
    if os.environ.get("SLURM_STEP_ID") == _SHELL:
        names = tuple(name for name in names if name != "SLURM_STEP_NUM_TASKS")
    texts = {name: os.environ[name] for name in names if os.environ.get(name)}
    wrong = [f"{name} {text!r}" for name, text in texts.items() if not text.isdigit()]
    if wrong:
        raise ValueError(f"[init] got {', '.join(wrong)} in the environment; expected a number")
    return {name: int(text) for name, text in texts.items()}


def is_initialized() -> bool:
    return bool(chosen.is_open)


def close() -> None:
    """`is_initialized` is False from here on, until the next call of `world` or `init`."""
    chosen.is_open = False


def world() -> World:
    """The processes of the job; the first call is `init()`."""
    if _world is not None and chosen.is_open:
        return _world
    return init()


def init(timeout: timedelta | float | None = None, size: int | None = None, rank: int | None = None) -> World:
    """As `ranvier.distributed.init`.

    Raises RuntimeError if size or rank is given and is not that of the job.
    """
    global _world
    if _world is None:
        if timeout is None:
            seconds = limit_of("init", os.environ.get("RANVIER_TIMEOUT", TIMEOUT))
        else:
            seconds = limit_of("init", timeout)
        sizes = _numbers(_SIZES)
        if launched_size() > 1:
            connected = _connected(launched_size(), seconds)
        else:
            connected = World(timeout=seconds)
        stated = _STATED if sizes else (*_STATED, *_UNSTARTED)
        _require(connected, _numbers(stated), _numbers(("RANK",)))
        if sizes and connected.size == 1:
            share_cores(0, 1)  # mpirun has bound the one process to one core
        _world = connected
    chosen.is_open = True
    stated_sizes = {} if size is None else {"world_size": size}
    stated_ranks = {} if rank is None else {"rank": rank}
    _require(_world, stated_sizes, stated_ranks)
    return _world


def limit_of(name: str, timeout: timedelta | float | str) -> float:
    """A time limit in seconds, or a timedelta, as seconds; ValueError if it is neither."""
    try:
        if isinstance(timeout, timedelta):
            seconds = timeout.total_seconds()
        else:
            seconds = float(timeout)
    except (TypeError, ValueError):
        seconds = math.nan
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(f"[{name}] got timeout {timeout}; expected a finite number of seconds above 0")
    return seconds


def _require(here: World, sizes: dict[str, int], ranks: dict[str, int]) -> None:
    """Raise RuntimeError unless size and rank are as stated.

    sizes, ranks: name of the source -> stated value.
    """
    for name, value in sizes.items():
        if value != here.size:
            raise RuntimeError(
                f"[init] {name} is {value}, and MPI connects {here.size} process{'es' * (here.size > 1)}; "
                f"expected a start by MPI: mpirun -n {value} python ... (Slurm: srun --mpi=pmix python ..., "
                f"Kubernetes: an MPIJob), or {name}={here.size}"
            )
    for name, value in ranks.items():
        if value != here.rank:
            raise RuntimeError(
                f"[init] {name} is {value}, and MPI connects this process as rank {here.rank} of "
                f"{here.size}; expected that rank (a start by mpirun needs no RANK)"
            )


def _require_own_place(size: int) -> None:
    """Raise RuntimeError in a process that a rank has started: MPI would take it for that rank."""
    place = " ".join(os.environ.get(name, "") for name in _PLACES)
    pid, _, other = os.environ.get(_MARK, "").partition(" ")
    if pid and pid != str(os.getpid()) and other == place:
        raise RuntimeError(
            f"[init] got a process that one of {size} ranks has started (process {pid}), which cannot share "
            "its place; expected calls of the rank itself"
        )
    os.environ[_MARK] = f"{os.getpid()} {place}"


def _connected(size: int, timeout: float) -> World:
    """Connect to the other ranks, or end this process after the timeout with a message."""
    _require_own_place(size)
    ours = "mpi4py.MPI" not in sys.modules
    limit = min(max(timeout, TIMEOUT), 1e6)
    rank = next((os.environ[name] for name in _RANKS if os.environ.get(name)), "?")
    # MPI's start waits without a limit and holds Python's lock; this timer ends the process all the same.
    faulthandler.dump_traceback_later(limit + 1, exit=True, file=2)
    try:
        with announced(size, rank, limit, _job(size)):
            return _join(size, timeout, ours)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _job(size: int) -> str:
    """A text that names this job on its host; empty if some ranks are on other hosts, or the launcher has no
    name for the job."""
    name = " ".join(os.environ.get(n, "") for n in ("PMIX_NAMESPACE", "SLURM_JOB_ID", "SLURM_STEP_ID"))
    is_whole = str(size) in (os.environ.get(n) for n in _ON_HOST)
    if sys.platform == "linux" and name.strip() and is_whole:
        return f"ranvier {name}"
    return ""


def _join(size: int, timeout: float, ours: bool) -> World:
    """Start MPI, which waits for all ranks. ours: mpi4py was not loaded before, so this library ends MPI."""
    try:
        if ours:  # a fork that ends must not end MPI, as mpi4py would
            importlib.import_module("mpi4py").rc.finalize = False
        mpi: Any = importlib.import_module("mpi4py.MPI")
    except ImportError as error:
        raise ImportError(
            f"[init] {size} processes were started, and mpi4py cannot be imported ({error}); expected it: "
            "pip install 'ranvier[mpi]'"
        ) from error
    comm = mpi.COMM_WORLD.Dup()  # calls of the program on COMM_WORLD do not mix with ours
    if comm.Get_size() != size:
        name = mpi.Get_library_version().split("\n")[0][:60]
        raise RuntimeError(
            f"[init] {size} processes were started, and mpi4py sees {comm.Get_size()}: it uses {name!r}; "
            "expected the mpirun of that MPI, or srun --mpi=pmix"
        )
    finalize = mpi.Finalize if ours else None
    end_job_on_failure(comm, finalize)
    here = comm.Split_type(mpi.COMM_TYPE_SHARED)
    share_cores(here.Get_rank(), here.Get_size())
    return World(comm.Get_rank(), size, comm, timeout, ranks=tuple(range(size)), host=neighbours(comm, here))


def _leave() -> None:
    """Tell the other ranks that this program ends, and wait for their ends without a limit. Raises as
    `agree`.

    There is no limit because another rank may have more to do at the end, such as writing files.
    """
    here = replace(world(), timeout=math.inf)
    others = [other for other in range(here.size) if other != here.rank]
    said = [here.comm.Isend(bytearray(1), other, LEFT) for other in others]
    agree(here, "the end of the program")
    said += [here.comm.Irecv(bytearray(1), other, LEFT) for other in others]
    complete(here, said, "the end of the program")
