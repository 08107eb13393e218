"""The tables of `benchmarks.estimators.tables`, twice in two halves.

By the choosing halves the defaults of TabularClassifier and TabularRegressor were chosen; the figures of the
documents are those of the reporting halves, which no choice has seen.

Real tables are read from copies of three public repositories in one folder, and are in no commit:
github.com/mwaskom/seaborn-data as ``seaborn-data``, github.com/vincentarelbundock/Rdatasets as ``Rdatasets``
and github.com/ageron/handson-ml2 as ``handson-ml2`` (``housing.csv``, the houses of California).
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets

Array = np.ndarray[Any, Any]
MISSING = {"", "NA", "NULL", "NaN"}


@dataclass
class Table:
    """x (n, columns), float64: NaN where missing, a column of `categories` as codes; y classes or values."""

    x: Array
    y: Array
    of_classes: bool
    categories: list[int] = field(default_factory=list)

    def sampled(self, rows: int) -> Table:
        """At most this many rows, drawn at random."""
        if len(self.x) <= rows:
            return self
        kept = np.random.default_rng(0).permutation(len(self.x))[:rows]
        if self.of_classes:  # classes with too few rows for the folds are left out
            names, counts = np.unique(self.y[kept], return_counts=True)
            kept = kept[np.isin(self.y[kept], names[counts >= 10])]
        return Table(self.x[kept], self.y[kept], self.of_classes, self.categories)


def _codes(values: list[str]) -> Array:
    names = sorted(set(values) - MISSING)
    places = {name: float(i) for i, name in enumerate(names)}
    return np.array([places.get(value, np.nan) for value in values])


def _numbers(values: list[str]) -> Array | None:
    try:
        return np.array([np.nan if value in MISSING else float(value) for value in values])
    except ValueError:
        return None


def real(path: str, target: str, without: str = "", categories: str = "", classes: bool = False) -> Any:
    """A function of the folder: the CSV file `path` with the column `target` as y.

    without: columns that are left out, such as keys and what is made from the target. categories: columns of
    numbers that are codes. Columns with strings are categories too.
    """

    def load(folder: Path) -> Table:
        with open(folder / path, newline="") as file:
            names, *rows = list(csv.reader(file))
        rows = [row for row in rows if row[names.index(target)] not in MISSING]
        columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
        y = _codes(columns[target]) if classes else _numbers(columns[target])
        found, marked = [], []
        for name in names:
            if name in (target, "rownames", *without.split()):
                continue
            column = None if name in categories.split() else _numbers(columns[name])
            if column is None:
                marked.append(len(found))
                column = _codes(columns[name])
            found.append(column)
        assert y is not None
        return Table(np.stack(found, axis=1), y, classes, marked)

    return load


def made(make: Callable[..., Any], *args: Any, classes: bool = False, **settings: Any) -> Any:
    """A function of the folder: a table of a generator, or one that scikit-learn has."""

    def load(folder: Path) -> Table:
        table = make(*args, **settings)
        if isinstance(table, Table):
            return table
        x, y = map(np.asarray, table)
        return Table(x, np.unique(y, return_inverse=True)[1] if classes else y, classes)  # classes from 0 on

    return load


def _bundled(load: Callable[..., Any], classes: bool = False) -> Any:
    return made(load, return_X_y=True, classes=classes)


def _linnerud() -> tuple[Array, Array]:
    x, y = datasets.load_linnerud(return_X_y=True)
    return x, y[:, 0]


def thresholds(seed: int, n: int = 1500, columns: int = 10, classes: bool = True) -> Table:
    """The sum of steps of five columns and of two boxes, with noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, columns))
    values = sum(rng.normal() * (x[:, i] > rng.normal(0, 0.7)) for i in range(5)) + 0.3 * rng.normal(size=n)
    for i in range(2):
        values += 2 * ((x[:, i] > -0.5) & (x[:, i + 1] < 0.5))
    return Table(x, (values > np.median(values)).astype(float) if classes else values, classes)


def skewed(seed: int, n: int = 1500, columns: int = 8) -> Table:
    """Columns between 1e-3 and 1e5 in products and ratios; the targets are skewed too."""
    rng = np.random.default_rng(seed)
    logs = rng.normal(size=(n, columns)) * 2
    values = 0.5 * logs[:, 0] - 0.4 * logs[:, 1] + np.sin(logs[:, 2]) + 0.3 * logs[:, 3] * (logs[:, 4] > 0)
    return Table(np.exp(logs), np.exp(0.7 * values + 0.2 * rng.normal(size=n)), False)


def many_categories(seed: int, n: int = 2000, categories: int = 300, classes: bool = False) -> Table:
    """A column of categories with an effect each, a small one, and four of numbers."""
    rng = np.random.default_rng(seed)
    code, kind = rng.integers(categories, size=n), rng.integers(5, size=n)
    x = np.column_stack([code, kind, rng.normal(size=(n, 4))])
    slopes = rng.normal(size=(5, 2))
    values = rng.normal(size=categories)[code] + (slopes[kind] * x[:, 2:4]).sum(axis=1) + np.abs(x[:, 4])
    values = values + 0.3 * rng.normal(size=n)
    return Table(x, (values > 1).astype(float) if classes else values, classes, [0, 1])


def places(seed: int, n: int = 2000) -> Table:
    """Values of regions on a map: each of 40 centres has its level, and two columns of numbers add to it."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(n, 4))
    centres, levels = rng.uniform(size=(40, 2)), rng.normal(size=40)
    nearest = ((x[:, None, :2] - centres) ** 2).sum(axis=2).argmin(axis=1)
    return Table(x, levels[nearest] + np.sin(6 * x[:, 2]) * x[:, 3] + 0.3 * rng.normal(size=n), False)


def rotated(seed: int, n: int = 1500, columns: int = 10, noise: int = 0) -> Table:
    """Three classes by a quadratic form of rotated columns, and columns of noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, columns + noise))
    z = x[:, :columns] @ np.linalg.qr(rng.normal(size=(columns, columns)))[0]
    values = z[:, 0] * z[:, 1] + z[:, 2] ** 2 - z[:, 3] + 0.2 * rng.normal(size=n)
    return Table(x, np.digitize(values, np.quantile(values, [0.4, 0.7])).astype(float), True)


def duplicates(seed: int, n: int = 1500) -> Table:
    """Few different rows, many times, and a target with noise."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 4, size=(120, 6)).astype(float)
    chosen = rng.integers(len(rows), size=n)
    level = rng.normal(size=len(rows)) + rows[:, 0] - (rows[:, 1] == 2)
    return Table(rows[chosen], level[chosen] + 0.5 * rng.normal(size=n), False)


_R, _S = "Rdatasets/csv", "seaborn-data"
_classes = partial(real, classes=True)

CHOOSING: dict[str, Callable[[Path], Table]] = {
    "titanic": _classes(f"{_S}/titanic.csv", "survived", "alive", "pclass"),
    "orange juice": _classes(f"{_R}/ISLR/OJ.csv", "Purchase", categories="StoreID STORE"),
    "attrition": _classes(f"{_R}/modeldata/attrition.csv", "Attrition"),
    "hpc jobs": _classes(f"{_R}/modeldata/hpc_data.csv", "class"),
    "credit": _classes(f"{_R}/modeldata/credit_data.csv", "Status"),
    "chile": _classes(f"{_R}/carData/Chile.csv", "vote"),
    "glass": _classes(f"{_R}/MASS/fgl.csv", "type"),
    "wine": _bundled(datasets.load_wine, classes=True),
    "digits": _bundled(datasets.load_digits, classes=True),
    "thresholds 1": made(thresholds, 1),
    "rotated 1": made(rotated, 1),
    "diamonds": real(f"{_S}/diamonds.csv", "price"),
    "airbnb": real(f"{_R}/bayesrules/airbnb.csv", "price"),
    "sacramento": real(f"{_R}/modeldata/Sacramento.csv", "price"),
    "concrete": real(f"{_R}/modeldata/concrete.csv", "compressive_strength"),
    "computers": real(f"{_R}/Ecdat/Computers.csv", "price"),
    "wage": real(f"{_R}/ISLR/Wage.csv", "wage", "logwage"),
    "carseats": real(f"{_R}/ISLR/Carseats.csv", "Sales"),
    "friedman 1": made(datasets.make_friedman1, 1000, noise=1.0, random_state=0),
    "skewed 1": made(skewed, 1),
    "300 categories 1": made(many_categories, 1),
    "places 1": made(places, 1),
}

REPORTING: dict[str, Callable[[Path], Table]] = {
    "taxi tips": _classes(f"{_R}/modeldata/taxi.csv", "tip"),
    "churn": _classes(f"{_R}/modeldata/mlc_churn.csv", "churn", categories="area_code"),
    "telephone churn": _classes(f"{_R}/modeldata/wa_churn.csv", "churn"),
    "spam": _classes(f"{_R}/DAAG/spam7.csv", "yesno"),
    "cells": _classes(f"{_R}/modeldata/cells.csv", "class", "case"),
    "mortgages": _classes(f"{_R}/AER/HMDA.csv", "deny"),
    "stroke": _classes(f"{_R}/MLDataR/stroke_classification.csv", "stroke", "pat_id"),
    "hawks": _classes(
        f"{_R}/Stat2Data/Hawks.csv", "Species", "BandNumber CaptureTime ReleaseTime Day StandardTail Tarsus"
    ),
    "penguins": _classes(f"{_S}/penguins.csv", "species", "island"),
    "iris": _bundled(datasets.load_iris, classes=True),
    "breast cancer": _bundled(datasets.load_breast_cancer, classes=True),
    "thresholds 2": made(thresholds, 2, columns=20),
    "rotated 2": made(rotated, 2, noise=10),
    "300 categories 2": made(many_categories, 2),
    "imbalanced": made(
        datasets.make_classification, 2000, 20, n_informative=8, weights=[0.95], random_state=2, classes=True
    ),
    "moons": made(datasets.make_moons, 1000, noise=0.3, random_state=2, classes=True),
    "hastie": made(datasets.make_hastie_10_2, 2000, random_state=2, classes=True),
    "taxis": real(f"{_S}/taxis.csv", "tip", "pickup dropoff total"),
    "california": real("handson-ml2/datasets/housing/housing.csv", "median_house_value"),
    "tips": real(f"{_S}/tips.csv", "tip"),
    "mpg": real(f"{_S}/mpg.csv", "mpg", "name"),
    "ames": real(f"{_R}/modeldata/ames.csv", "Sale_Price"),
    "car prices": real(f"{_R}/modeldata/car_prices.csv", "Price"),
    "wages": real(f"{_R}/carData/SLID.csv", "wages"),
    "earnings": real(f"{_R}/AER/CPSSW8.csv", "earnings"),
    "schools": real(f"{_R}/AER/CASchools.csv", "math", "district school read"),
    "college": real(f"{_R}/ISLR/College.csv", "Grad.Rate"),
    "deliveries": real(f"{_R}/modeldata/deliveries.csv", "time_to_delivery"),
    "diabetes": _bundled(datasets.load_diabetes),
    "linnerud": made(_linnerud),
    "friedman 2": made(datasets.make_friedman2, 1000, noise=50.0, random_state=2),
    "friedman 3": made(datasets.make_friedman3, 1000, noise=0.1, random_state=2),
    "regression": made(datasets.make_regression, 1000, 20, n_informative=10, noise=20.0, random_state=2),
    "thresholds 3": made(thresholds, 3),
    "skewed 2": made(skewed, 2),
    "places 2": made(places, 2),
    "duplicates": made(duplicates, 2),
    "2000 categories": made(many_categories, 3, n=5000, categories=2000),
}

# Name, path, target, columns left out, categories. Every other one, in the order of the names, chose the loss
# of targets of very different orders; the others are reported, those of many classes apart: a fit of CatBoost
# takes minutes there.
_FURTHER_CLASSES = """\
401k, wooldridge/k401ksubs, e401k, p401k incsq agesq
arrests, carData/Arrests, released
beps, carData/BEPS, vote
biopsy, MASS/biopsy, class, ID
births, openintro/births14, premie, weeks
caravan, ISLR/Caravan, Purchase
cats, modeldata/cat_adoption, event
climbers, bayesrules/climbers_sub, success, member_id highpoint_metres peak_name death_cause \
death_height_metres injury_type injury_height_metres
contraception, mlmRev/Contraception, use, woman, district
crashes, DAAG/nassCDS, dead, injSeverity caseid
csgo, MLDataR/csgo, result, team_a_rounds team_b_rounds date
diabetes symptoms, MLDataR/diabetes_data, DiabeticClass
email, openintro/email, spam, time
fishing, camerondata/fishing, mode, price crate dbeach dpier dprivate dcharter
flchain, survival/flchain, death, futime chapter
heart, MLDataR/heartdisease, HeartDisease
hotel bookings, bayesrules/hotel_bookings, is_canceled, reservation_status reservation_status_date
leaves, modeldata/leaf_id_flavia, species
lending, modeldata/lending_club, Class
loans, wooldridge/loanapp, approve, action reject
olive, dslabs/olive, area, region
species, ratdat/surveys, species_id, record_id, plot_id
stackoverflow, modeldata/stackoverflow, Remote
storm status, dplyr/storms, status, name category
thyroid, MLDataR/thyroid_disease, ThryroidClass
weather perth, bayesrules/weather_perth, raintomorrow, risk_mm
"""
_FURTHER_VALUES = """\
airfare, wooldridge/airfare, fare, id ldist y98 y99 y00 lfare ldistsq lpassen
bikes, bayesrules/bikes, rides, date
bodies, openintro/bdims, wgt
boston, MASS/Boston, medv
cars 2021, openintro/epa2021, comb_mpg, city_mpg hwy_mpg model_yr mfr_code model_type_index carline \
release_date air_aspir_method_desc transmission_desc drive_desc fuel_usage_desc transmission_speed
chemistry, mlmRev/Chem97, score, student gcsecnt school, lea
claims, insuranceData/AutoBi, LOSS, CASENUM
corn, agridat/lasrosas.corn, yield
counties, usdatasets/county_tbl_df, pop2017, name pop2010 pop2000
exams, mlmRev/Exam, normexam, student, school
films, fivethirtyeight/bechdel, intgross_2013, imdb title domgross intgross domgross_2013 code test budget
flights, openintro/nycflights, arr_delay, year tailnum flight dep_delay
gapminder, causaldata/gapminder, lifeExp
goods fast, openintro/fastfood, calories, item cal_fat
guns, AER/Guns, violent
hotel rates, modeldata/hotel_rates, avg_price_per_room, arrival_date near_christmas near_new_years \
historical_adr
houses texas, ggplot2/txhousing, volume, date
la homes, openintro/LAhomes, price
loan rates, openintro/loans_full_schema, interest_rate, emp_title grade sub_grade installment \
issue_month loan_status balance paid_total paid_principal paid_interest paid_late_fees
medical, Ecdat/MedExp, med
municipalities, AER/Municipalities, expenditures, municipality
patents, Ecdat/PatentsRD, patent
pigs, geepack/dietox, Weight, , Litter
quakes, datasets/quakes, stations
saratoga, mosaicData/SaratogaHouses, price
solder, rpart/solder, skips
storms, dplyr/storms, pressure, name
visits, AER/NMES1988, visits
wages card, wooldridge/card, wage, id lwage expersq
yield, agridat/gartner.corn, mass
"""


def _further(first: int, many: bool = False) -> dict[str, Callable[[Path], Table]]:
    """Every other table from `first` on, without those of many classes or, of all, only these."""
    found: dict[str, Callable[[Path], Table]] = {}
    for make, text in ((_classes, _FURTHER_CLASSES), (real, _FURTHER_VALUES)):
        rows = [line.split(", ") for line in text.splitlines()]
        for name, path, *rest in rows if many else rows[first::2]:
            if (name in ("leaves", "species")) == many:
                found[name] = make(f"{_R}/{path}.csv", *rest)
    return found


HALVES = {
    "choosing": CHOOSING,
    "reporting": REPORTING,
    "further-choosing": _further(0),
    "further-reporting": _further(1),
    "many-classes": _further(0, many=True),
}
