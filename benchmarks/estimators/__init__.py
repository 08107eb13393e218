"""Estimators of `ranvier.sklearn` beside scikit-learn's: scores on small tables, and the time of a fit."""
