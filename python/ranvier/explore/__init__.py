"""Looking into how networks learn: small searches, comparisons, measurements and diagnoses.

What is here explains; what trains is in :mod:`ranvier.train`.
"""

from ranvier.explore import surfaces
from ranvier.explore.diagnosis import Diagnosis, Finding, diagnose
from ranvier.explore.fit import Fit, judge_fit
from ranvier.explore.parameters import ParameterLoss
from ranvier.explore.path import Path
from ranvier.explore.search import gradient_descent, random_search
from ranvier.explore.surfaces import SURFACES, Surface

__all__ = [
    "SURFACES",
    "Diagnosis",
    "Finding",
    "Fit",
    "ParameterLoss",
    "Path",
    "Surface",
    "diagnose",
    "gradient_descent",
    "judge_fit",
    "random_search",
    "surfaces",
]
