"""What EarlyStopping, Checkpoint and Schedule watch: its direction is known or asked for, NaN is said."""

import math

import numpy as np
import pytest
import ranvier as rv
from ranvier.metrics.named import direction
from ranvier.optim import lr_scheduler
from ranvier.train.callbacks.control import Monitor
from support.training import X, Y, classifier


def words(text):
    return text.split()


# scikit-learn's names of metrics and scorers, with what its documentation calls better.
RISING = words("""accuracy accuracy_score adjusted_mutual_info_score adjusted_rand_score auc average_precision
average_precision_score balanced_accuracy balanced_accuracy_score calinski_harabasz_score cohen_kappa_score
completeness_score consensus_score d2_absolute_error_score d2_brier_score d2_log_loss_score d2_pinball_score
d2_tweedie_score dcg_score explained_variance explained_variance_score f1 f1_macro f1_micro f1_samples
f1_score f1_weighted fbeta_score fowlkes_mallows_score homogeneity_score jaccard jaccard_macro jaccard_micro
jaccard_samples
jaccard_score jaccard_weighted label_ranking_average_precision_score matthews_corrcoef
mutual_info_score ndcg_score neg_brier_score neg_log_loss neg_max_error neg_mean_absolute_error
neg_mean_squared_error neg_negative_likelihood_ratio neg_root_mean_squared_error normalized_mutual_info_score
positive_likelihood_ratio precision precision_macro precision_samples precision_score r2 r2_score rand_score
recall recall_micro recall_score roc_auc roc_auc_ovo roc_auc_ovo_weighted roc_auc_ovr roc_auc_ovr_weighted
roc_auc_score silhouette_score top_k_accuracy top_k_accuracy_score v_measure_score
top_3_accuracy binary_accuracy""")
FALLING = words("""loss val_loss brier_score_loss coverage_error davies_bouldin_score hamming_loss hinge_loss
label_ranking_loss log_loss max_error mean_absolute_error mean_absolute_percentage_error mean_gamma_deviance
mean_pinball_loss mean_poisson_deviance mean_squared_error mean_squared_log_error mean_tweedie_deviance
median_absolute_error root_mean_squared_error root_mean_squared_log_error zero_one_loss mae
mse rmse""")
UNKNOWN = ["iou", "dice", "accuracy_gap", "recall_at", "precision_of_nothing", "quality", "<lambda>"]


def test_directions_of_names():
    assert {name for name in RISING if direction(f"val_{name}") != "max"} == set()
    assert {name for name in FALLING if direction(name) != "min"} == set()
    assert {name for name in UNKNOWN if direction(name) is not None} == set()


def iou(y_true, y_pred):
    both = np.sum(y_true & y_pred)
    return float(both / max(np.sum(y_true | y_pred), 1))


def rising_iou(y_true, y_pred):
    return iou(y_true, y_pred)


rising_iou.greater_is_better = True


def falling(y_true, y_pred):
    return 1 - iou(y_true, y_pred)


falling.greater_is_better = False


def fit(metric, *callbacks, epochs=2, **settings):
    rv.manual_seed(0)
    trainer = rv.Trainer(classifier(), "cross_entropy", "adam", lr=0.05, metrics=[metric])
    arguments = {
        "validation_data": (X, Y),
        "callbacks": [c(trainer) if callable(c) else c for c in callbacks],
    }
    trainer.fit(X, Y, epochs=epochs, **arguments, **settings)
    return trainer


WATCHERS = {
    "EarlyStopping": lambda folder, name, **mode: rv.EarlyStopping(f"val_{name}", **mode),
    "Checkpoint": lambda folder, name, **mode: rv.Checkpoint(folder, monitor=f"val_{name}", **mode),
}


@pytest.mark.parametrize("owner", WATCHERS)
def test_a_metric_whose_direction_is_not_known_needs_a_mode(tmp_path, owner):
    with pytest.raises(ValueError, match=rf"\[{owner}\] got monitor 'val_iou' without mode, and whether"):
        fit(iou, WATCHERS[owner](tmp_path, "iou"))
    for mode in ("min", "max"):
        fit(iou, WATCHERS[owner](tmp_path / mode, "iou", mode=mode))


def test_the_metric_itself_may_say_it():
    for metric, mode in ((rising_iou, "max"), (falling, "min")):
        stopping = rv.EarlyStopping(f"val_{metric.__name__}")
        assert stopping.mode == "auto"
        fit(metric, stopping)
        assert stopping.mode == mode


def test_the_best_weights_are_those_of_the_largest_value():
    stopping = rv.EarlyStopping("val_iou", mode="max", patience=3)
    trainer = fit(iou, stopping, epochs=30)
    best = max(trainer.history["val_iou"])
    assert stopping.best == best
    assert trainer.evaluate(X, Y)["iou"] == best


def plateau(of_schedule="min", monitor="val_iou", **settings):
    def make(trainer):
        schedule = lr_scheduler.ReduceLROnPlateau(trainer.optimizer, mode=of_schedule)
        return rv.Schedule(schedule, monitor=monitor, **settings)

    return make


def test_a_schedule_that_watches_a_metric_has_its_direction():
    with pytest.raises(ValueError, match=r"\[Schedule\] got monitor 'val_iou' without mode"):
        fit(iou, plateau())  # "min" is the schedule's default
    fit(iou, plateau("max"))
    fit(iou, plateau(mode="min"))
    fit(rising_iou, plateau("max", "val_rising_iou"))
    for metric, name, ours in (("accuracy", "val_accuracy", "min"), (rising_iou, "val_rising_iou", "min")):
        with pytest.raises(
            ValueError, match=rf"with mode 'min' for '{name}', of which the direction is 'max'"
        ):
            fit(metric, plateau(ours, name))
        fit(metric, plateau(ours, name, mode="min"))  # it is meant
    with pytest.raises(ValueError, match="with mode 'max' for 'val_loss'"):
        fit(iou, plateau("max", "val_loss"))
    with pytest.raises(ValueError, match="with mode 'min' for 'the loss', of which the direction is 'max'"):
        fit(iou, plateau("min", None, mode="max"))
    fit(iou, plateau(monitor=None))


def test_a_mode_for_a_schedule_without_one():
    with pytest.raises(ValueError, match="got mode 'max' for a schedule without a mode of its own"):
        fit(iou, lambda trainer: rv.Schedule(lr_scheduler.StepLR(trainer.optimizer, 1), mode="max"))
    with pytest.raises(ValueError, match="got mode 'up'; expected 'auto', 'min' or 'max'"):
        fit(iou, plateau(mode="up"))


def nan_score(y_true, y_pred):
    return math.nan


@pytest.mark.parametrize("owner", [*WATCHERS, "Schedule"])
def test_nan_is_said_once(tmp_path, owner):
    if owner == "Schedule":
        watcher = plateau("max", "val_nan_score")
    else:
        watcher = WATCHERS[owner](tmp_path, "nan_score")
    with pytest.warns(UserWarning, match=rf"\[{owner}\] 'val_nan_score' is NaN") as said:
        fit(nan_score, watcher, epochs=4)
    assert len(said) == 1


@pytest.mark.parametrize("name", ["loss", "val_loss"])
def test_nan_is_said_of_the_loss_that_is_watched(name):
    monitor = Monitor("EarlyStopping", None, "auto")
    with pytest.warns(UserWarning, match=rf"\[EarlyStopping\] '{name}' is NaN"):
        assert not monitor.improved(0, {"loss": math.nan, name: math.nan})
