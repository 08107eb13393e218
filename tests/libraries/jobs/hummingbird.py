"""hummingbird: scikit-learn's models as tensors' operations."""

import functools

import numpy as np
import weights
from hummingbird.ml import convert
from sklearn import ensemble, linear_model, naive_bayes, neural_network, preprocessing, svm, tree
from weights import labels, normal

_MODELS = (
    ensemble.RandomForestClassifier(8, max_depth=4, random_state=0),
    ensemble.GradientBoostingClassifier(n_estimators=6, random_state=0),
    ensemble.ExtraTreesClassifier(8, max_depth=9, random_state=0),
    linear_model.LogisticRegression(),
    naive_bayes.GaussianNB(),
    neural_network.MLPClassifier((8,), max_iter=5, random_state=0),
    preprocessing.StandardScaler(),
    svm.SVC(probability=False),
    tree.DecisionTreeClassifier(max_depth=12, random_state=0),
)


@functools.cache
def converted(draw):
    """The models, fitted and converted, for numbers moved by a draw: nearly all of it is scikit-learn's."""
    x, wanted = normal(200, 6), labels(200, classes=3)
    return [convert(model.fit(x, wanted), "torch", x) for model in _MODELS]


def job():
    """What each gives for 200 rows."""
    x, answer = normal(200, 6), {}
    for model, here in zip(_MODELS, converted(weights.MOVED), strict=True):
        given = here.transform(x) if hasattr(model, "transform") else here.predict(x)
        answer[type(model).__name__] = np.asarray(given)
        if hasattr(model, "predict_proba"):
            answer[f"{type(model).__name__} shares"] = here.predict_proba(x)
    return answer
