"""Trainers in several threads, each with its own model."""

import threading

import numpy as np
import ranvier as rv
from support.training import X, Y, classifier


def test_each_thread_compiles_its_steps():
    results, models = [], [[classifier() for _ in range(4)] for _ in range(4)]

    def train(models):
        for model in models:
            trainer = rv.Trainer(model, "cross_entropy", "adam", l2=0.01, metrics=["accuracy"])
            trainer.fit(X, Y, epochs=3, shuffle=False, validation_data=(X, Y))
            results.append((len(trainer.programs()), trainer.history.to_dict(), trainer.predict(X)))

    threads = [threading.Thread(target=train, args=(some,)) for some in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 16
    for programs, history, labels in results:
        assert programs > 0
        assert history == results[0][1]
        np.testing.assert_array_equal(labels, results[0][2])
