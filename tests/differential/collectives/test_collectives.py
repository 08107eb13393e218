"""PyTorch's own tests of collectives (``distributed_test``) as a judge, on 2 and 3 ranks."""

import re
from collections import Counter
from importlib.util import find_spec

import pytest
from support.ranks import launch, mpirun, told_by

if find_spec("torch") is None:
    pytest.skip("torch is not installed", allow_module_level=True)
from differential.collectives.cases import names

# The others are of DistributedDataParallel, model averaging, samplers and logs.
OF_COLLECTIVES = re.compile(
    r"test_(get_rank|get_backend|get_future|Backend|destroy|barrier|monitored_barrier|new_subgroups|coalescing|"
    r"(batch_isend_irecv|send_recv|isend|irecv|broadcast|reduce|reduce_scatter|all_reduce|sparse_all_reduce|"
    r"scatter|gather|all_gather|all_to_all|nccl)(_|$))"
)
EXCLUDED = {
    r"_cuda|nccl|_v_|high_priority": "GPUs",
    r"complex|sparse": "complex and sparse numbers, which docs/versions.md leaves out",
    r"profiler": "profilers, which docs/versions.md leaves out",
    r"coalesc|all_to_all|batch_isend|new_subgroups|monitored|Backend_enum|future": "a name that is not here",
    r"any_source": "a private name, of the rank that a Work came from",
    r"barrier_timeout_(global|arg)": "another job within the process, or another limit for one call",
}
DTYPES = ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8")
OF_EACH_DTYPE = re.compile(r"test_(broadcast|reduce|all_reduce|scatter|gather|all_gather)(?!.*object)")
ENDS_THE_JOB = re.compile("barrier_timeout")  # one rank calls: an error that no further call gets over
OF_RANKS_1_AND_2 = re.compile(r"(?<!full)(?<!destroy)(?<!size)_group")
NOT_IN_IT = (("_min", "int8"), ("_min", "uint8"), ("_product", "int8"), ("_max", "uint8"))  # 1,010, 200, -1
LEAST = {2: 227, 3: 317}

PROGRAM = """
import os, sys, warnings
import ranvier as rv
from differential.collectives.cases import outcomes
from support.ranks import tell
warnings.simplefilter("ignore")  # calls outside a group warn here
rv.distributed.init()
tell(list(outcomes(sys.argv[1:])))
if sys.argv[1].startswith("test_barrier_timeout"):
    os._exit(0)
"""


def excluded(name: str) -> str | None:
    return next((why for part, why in EXCLUDED.items() if re.search(part, name)), None)


def judged(ranks: int) -> list[str]:
    """Tests as "name dtype"."""
    tests = [name for name in names() if OF_COLLECTIVES.match(name) and not excluded(name)]
    if ranks < 3:
        tests = [name for name in tests if not OF_RANKS_1_AND_2.search(name)]
    return [
        f"{name} {dtype}"
        for name in tests
        for dtype in (DTYPES if OF_EACH_DTYPE.match(name) else DTYPES[:1])
        if not any(part in name and dtype == other for part, other in NOT_IN_IT)
    ]


def run(ranks: int, tests: list[str], folder) -> dict[str, list[str]]:
    """The report of each rank on each test; one that failed is followed by a new job with the rest."""
    found = {}
    alone = [[test] for test in tests if ENDS_THE_JOB.search(test)]
    jobs = [[test for test in tests if [test] not in alone], *alone]
    while jobs:
        job = jobs.pop(0)
        done = launch(ranks, PROGRAM, *job, TEMP_DIR=str(folder), RANVIER_TIMEOUT="20")
        told = told_by(done)
        assert told, done.stdout + done.stderr
        count = max(map(len, told))
        for i, test in enumerate(job[:count]):
            found[test] = [said[i] if i < len(said) else "" for said in told]
        if job[count:]:
            jobs.insert(0, job[count:])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("ranks", LEAST)
def test_collectives(ranks, tmp_path, capsys):
    mpirun()
    (tmp_path / "test_dir").mkdir()
    found = run(ranks, judged(ranks), tmp_path)
    counts = Counter(excluded(name) or "judged" for name in names() if OF_COLLECTIVES.match(name))
    with capsys.disabled():
        right = sum(not any(said) for said in found.values())
        print(f"\n{ranks} ranks: {right} of {len(found)} right (dtypes counted); tests: {dict(counts)}")
    faults = [f"{test}: {said}" for test, said in found.items() if any(said)]
    assert not faults, "\n".join(faults[:10])
    assert len(found) >= LEAST[ranks]


def test_the_judge_sees_what_is_wrong(tmp_path):
    mpirun()
    said = run(2, ["test_get_backend float32", "test_absent float32", "test_barrier float32"], tmp_path)
    assert [any(texts) for texts in said.values()] == [False, True, False]
