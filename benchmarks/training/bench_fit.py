"""Whole fits: shuffled batches, forward, loss, backward, Adam, and all that a fit does in an epoch.

A call is a fit of some epochs (`fits.CASES`), of a model that has been fitted before: what compiles and warms
up is not timed. All libraries fit the same samples; each has to classify nearly all of them right.
"""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer
from benchmarks.training.fits import CASES, LR, Case, Fit

UNLEARNED = 0.05  # share of the samples that may still be classified wrong


def trainer(case: Case, x: np.ndarray, y: np.ndarray) -> Fit:
    rv.manual_seed(0)
    made = rv.Trainer(rv.mlp(list(case.sizes)), "cross_entropy", "adam", lr=LR)
    return Fit(
        lambda epochs: made.fit(x, y, epochs=epochs, batch_size=case.batch, verbose=0),
        lambda: np.asarray(made.predict(x)),
        y,
        case.epochs,
    )


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("name", CASES)
def bench_fit(race: Race, name: str, threads: int) -> None:
    case = CASES[name]
    options = {"case": name}
    race(
        "fit",
        name,
        ours=lambda x, y: trainer(case, x, y),
        inputs=case.data(),
        expected=np.array(1.0),
        tolerance=UNLEARNED,
        flops=case.flops,
        peers={
            "nn-engine-core": Peer("nnengine", options),
            "torch": Peer("torch", options),
            "scikit-learn": Peer("sklearn", options),
        },
        threads=threads,
    )
