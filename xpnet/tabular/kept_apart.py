"""A test set and a development set in files of their own, which are read as the data are."""

from __future__ import annotations

import os
from dataclasses import replace

from . import readers
from .columns.schema import Column, Schema
from .dataset import DataError, Dataset
from .formats.opening import format_of
from .formats.source import PLAIN, TextOptions
from .formats.text import SEPARATORS
from .loading import Plan


def with_set(dataset: Dataset, part: str, source: str, text: TextOptions = PLAIN) -> Dataset:
    """Return a data set with a set of one's own, for which nothing of its rows is held out.

    A table is read by the schema of the data, which it has no part in; columns that the data do
    not have are no matter.

    Parameters
    ----------
    dataset : Dataset
        What is trained on, as `readers.read` returns it.
    part : {"test", "dev"}
        What the set is for.
    source : str
        The set, as `readers.read` takes it.
    text : TextOptions
        How text files are written.

    Raises
    ------
    OSError, TypeError, ValueError
        If it can't be read, or is of another kind than the data; the message names it.
    """
    if part in dataset.kept():
        raise DataError(f"{dataset.name} has a {part} set of its own: leave --{part} {source} out")
    found = _read(dataset, source, text)
    own = {f"{part}_rows": found.rows, f"{part}_target": found.target}
    return replace(dataset, **own, apart=dataset.apart | {part: shown(source)})


def plan_alike(
    data: str,
    source: str,
    schema: Schema,
    column: Column | None,
    text: TextOptions = PLAIN,
) -> Plan:
    """Return how a table is read by the schema of another one.

    Parameters
    ----------
    data : str
        What the other one is called, for messages.
    source : str
        The table.
    schema, column : Schema, Column or None
        How the other's columns are read, and its labels, if these are wanted.
    text : TextOptions
        How text files are written.

    Raises
    ------
    OSError, TypeError, ValueError
        If it is no table, or lacks a column.
    """
    if not readers.has_columns(source):
        raise TypeError(f"{source}: {data} is a table with named columns: give such a table")
    return readers.plan(
        source,
        None if column is None else column.name,
        text=text if format_of(source) in SEPARATORS else PLAIN,
        schema=schema,
        column=column,
        labels=column is not None,
    )


def _read(dataset: Dataset, source: str, text: TextOptions) -> Dataset:
    """Read a source as a data set was read, with labels."""
    if dataset.schema is not None:
        own = dataset.schema, dataset.target_column
        return plan_alike(dataset.name, source, *own, text).load()
    if readers.has_columns(source):
        raise TypeError(f"{source}: {dataset.name} has no named columns: give a file of arrays")
    found = readers.read(source, n_features=dataset.rows.shape[1])
    if found.test_rows is not None:
        raise DataError(f"{source}: holds a training set and a test set: give one set, as X and y")
    return found


def shown(source: str) -> str:
    """Return what a set is called in messages and in model files: its file's name.

    Examples
    --------
    >>> shown("a/test.csv"), shown("openml:titanic")
    ('test.csv', 'openml:titanic')
    """
    return os.path.basename(os.path.normpath(source)) if readers.is_file(source) else source
