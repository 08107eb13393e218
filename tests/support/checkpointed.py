"""Runs with checkpoints that crash when told to."""

import ranvier as rv
from ranvier import nn, optim
from support.training import X, Y, classifier, trainer_of


def new_trainer(make=optim.Adam, **settings):
    model = classifier(nn.Dropout(0.2))
    return trainer_of(model, make(model.parameters(), lr=0.05), metrics=["accuracy"], **settings)


def fit(trainer, folder, epochs=3, callbacks=(), every_batches=1, **arguments):
    given = {"x": X, "y": Y, "batch_size": 16, "validation_data": (X, Y), **arguments}
    checkpoint = rv.Checkpoint(folder, every_batches=every_batches)
    given |= {"epochs": epochs, "callbacks": [checkpoint, *callbacks], "resume": folder}
    trainer.fit(given.pop("x"), given.pop("y"), **given)
    return trainer


def state_of(trainer):
    arrays = {}
    state = {"model": dict(trainer.model.state_dict()), "optimizer": trainer.optimizer.state_dict()}
    encoded = rv.serialization.files.encode(state, arrays)
    return encoded, {name: array.tobytes() for name, array in arrays.items()}, trainer.history.to_dict()
