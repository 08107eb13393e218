"""Looking into how networks learn: small searches, comparisons, measurements and diagnoses.

What is here explains; what trains is in :mod:`ranvier.train`.
"""

from ranvier.explore import surfaces
from ranvier.explore.parameters import ParameterLoss
from ranvier.explore.path import Path
from ranvier.explore.search import gradient_descent, random_search
from ranvier.explore.surfaces import SURFACES, Surface

__all__ = [
    "SURFACES",
    "ParameterLoss",
    "Path",
    "Surface",
    "gradient_descent",
    "random_search",
    "surfaces",
]
