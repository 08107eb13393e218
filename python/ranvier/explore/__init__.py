"""Looking into how networks learn: small searches, comparisons, measurements and diagnoses.

What is here explains; what trains is in :mod:`ranvier.train`.
"""

from ranvier.explore import exercises, surfaces
from ranvier.explore.compare import Comparison, compare_learning_rates, compare_optimizers, judge_descent
from ranvier.explore.depth import Signals, signals
from ranvier.explore.diagnosis import Diagnosis, Finding, diagnose
from ranvier.explore.differences import Differences, finite_differences
from ranvier.explore.examine import dead_units
from ranvier.explore.filters import KERNELS, filter_image
from ranvier.explore.fit import Fit, judge_fit
from ranvier.explore.flow import Gradients, gradients
from ranvier.explore.linear import Collapsed, collapse
from ranvier.explore.parameters import ParameterLoss
from ranvier.explore.path import Path
from ranvier.explore.perceptron import Perceptron
from ranvier.explore.search import gradient_descent, random_search
from ranvier.explore.size import dense_against_convolution
from ranvier.explore.steps import count_steps, one_step
from ranvier.explore.surfaces import SURFACES, Surface
from ranvier.explore.tune import Results, Trial, ablate, grid_search, log_uniform, randomized_search, uniform

__all__ = [
    "KERNELS",
    "SURFACES",
    "Collapsed",
    "Comparison",
    "Diagnosis",
    "Differences",
    "Finding",
    "Fit",
    "Gradients",
    "ParameterLoss",
    "Path",
    "Perceptron",
    "Results",
    "Signals",
    "Surface",
    "Trial",
    "ablate",
    "collapse",
    "compare_learning_rates",
    "compare_optimizers",
    "count_steps",
    "dead_units",
    "dense_against_convolution",
    "diagnose",
    "exercises",
    "filter_image",
    "finite_differences",
    "gradient_descent",
    "gradients",
    "grid_search",
    "judge_descent",
    "judge_fit",
    "log_uniform",
    "one_step",
    "random_search",
    "randomized_search",
    "signals",
    "surfaces",
    "uniform",
]
