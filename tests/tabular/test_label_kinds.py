"""Labels of every type: trained, written and read again, or refused before the first step."""

from decimal import Decimal

import numpy as np
import pytest

from xpnet.recipes.settings import Settings
from xpnet.tabular.dataset import Dataset
from xpnet.tabular.experiment import Experiment
from xpnet.tabular.model import load_model
from xpnet.tabular.target import Target

X = np.random.default_rng(0).normal(size=(60, 3))
SECOND = X[:, 0] > 0


def two(first, second, dtype=None):
    values = [second if is_second else first for is_second in SECOND]
    return np.array(values, dtype)


LABELS = {
    "bool": two(False, True),
    "int8": two(-3, 4, np.int8),
    "int64": two(2**53, 2**53 + 1),
    "big-endian": two(5, 6, ">i4"),
    "uint64": two(3, 2**63 + 5, np.uint64),
    "uint64, both beyond int64": two(2**63, 2**64 - 1, np.uint64),
    "float16": two(0.0, 1.0, np.float16),
    "float64": two(0.5, -2.0),
    "long double": two(0.5, 3.0, np.longdouble),
    "str": two("é", "b"),
    "bytes": two("é".encode(), b"b"),
    "StringDType": two("é", "b", "T"),
    "objects: str": two("é", "b", object),
    "objects: int": two(1, 2, object),
    "objects: large int": two(1, 2**63 + 1, object),
    "objects: float and int": two(1, 2.5, object),
    "objects: bool": two(False, True, object),
    "objects: bytes": two(b"a", b"b", object),
    "objects: text and numbers": two(1, "b", object),
}

REFUSED = {
    "date": (two(np.datetime64("2020-01-01"), np.datetime64("2021-01-01")), "dtype datetime64"),
    "time": (two(np.timedelta64(1, "s"), np.timedelta64(2, "s")), "dtype timedelta64"),
    "complex": (two(1j, 2j), "dtype complex128"),
    "objects: Decimal": (two(Decimal(1), Decimal(2), object), "the target holds Decimal"),
    "objects: bool and int": (two(True, 3, object), "the target holds bool and int"),
    "objects: int of 70 bits": (two(1, 2**70, object), "whole numbers of more than 64 bits"),
    "objects: int and a gap": (two(1, None, object), r"the target has \d+ values that are missing"),
    "objects: not finite": (two(1, np.inf, object), "NaN or infinite"),
    "bytes that are no text": (
        two(b"\xff", b"\xfe"),
        r"the target has b'\\xf[ef]', no text in UTF-8",
    ),
    "half a character": (two("a", "\ud800"), r"the label '\\ud800', which UTF-8 has no bytes for"),
    "zero at the end": (two("a", "a\0", object), "leave out the zero characters"),
}


def prepare(y, **settings):
    return Experiment.prepare(Dataset("d", X, y), Settings(hidden=(4,), **settings), "cpu")


@pytest.mark.parametrize("y", LABELS.values(), ids=LABELS)
def test_classes_come_back_from_a_file_as_they_were(tmp_path, y):
    experiment = prepare(y, epochs=40, task="binary")
    experiment.run()
    experiment.model.save(tmp_path / "m")
    again = load_model(tmp_path / "m", device="cpu")
    before, after = experiment.model.predict(X), again.predict(X)
    assert (before.dtype, before.tolist()) == (after.dtype, after.tolist())
    given = {v.decode() if isinstance(v, bytes) else v for v in y.tolist()}
    if {*map(type, given)} == {int, str}:
        given = {*map(str, given)}
    assert {*after.tolist()} == given
    kind = {"S": "U", "T": "U", "u": "iu"}.get(y.dtype.kind, y.dtype.kind)
    assert y.dtype.kind == "O" or after.dtype.kind in kind
    np.testing.assert_array_equal(again.target.encode(y), experiment.model.target.encode(y))


@pytest.mark.parametrize(("y", "message"), REFUSED.values(), ids=REFUSED)
def test_what_no_file_holds_is_refused_before_the_training(y, message):
    with pytest.raises(ValueError, match=message):
        prepare(y)


@pytest.mark.parametrize(
    ("train", "test", "classes"),
    [
        (two(0, 1), two(0, 1, np.uint64), [0, 1]),
        (two(2**53, 2**53 + 1), two(2**53, 2**53 + 1, np.uint64), [2**53, 2**53 + 1]),
        (two("é", "b"), two("é".encode(), b"b"), ["b", "é"]),
        (two("é".encode(), b"b"), two("é", "b", object), ["b", "é"]),
        (two(0, 1), two(0.0, 1.0, np.float32), [0.0, 1.0]),
        (two(1, "b", object), two("1", "b"), ["1", "b"]),
    ],
)
def test_labels_of_a_test_set_of_another_type(train, test, classes):
    dataset = Dataset("d", X, train, X[:20], test[:20])
    experiment = Experiment.prepare(dataset, Settings(hidden=(4,), task="binary"), "cpu")
    assert experiment.model.target.classes == classes
    assert [*map(type, experiment.model.target.classes)] == [*map(type, classes)]
    for name, y in (("train", train), ("test", test[:20])):
        found = {tuple(row): label for row, label in zip(X, SECOND, strict=True)}
        part = experiment.parts[name]
        wanted = [found[tuple(row)] == (classes[1] != "é") for row in part.rows]
        np.testing.assert_array_equal(part.labels, wanted)
        assert part.target.dtype == y.dtype
    labels = dataset.everything()[1]
    np.testing.assert_array_equal(
        experiment.model.target.encode(labels),
        SECOND[[*range(60), *range(20)]] == (classes[1] != "é"),
    )


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (two(False, True), two(0, 1), "target holds truth values .* and test_target holds numbers"),
        (two(0.0, 1.0), two(False, True), "target holds numbers .* and test_target holds truth"),
        (two(2, 3, object), two(False, True, object), "test_target holds truth values"),
        (two(2**53, 2**53 + 1), two(2.0**53, 1.0), "numbers of several types, and labels that flo"),
        (two(-1, 1), two(2**63, 1, np.uint64), "whole numbers of more than 64 bits"),
        (two(0, 1), two(0, None, object), r"d: test_target has \d+ values that are missing"),
    ],
)
def test_labels_of_a_test_set_of_another_kind_are_refused(train, test, message):
    with pytest.raises(ValueError, match=message):
        Experiment.prepare(Dataset("d", X, train, X, test), Settings(task="binary"), "cpu")


def test_labels_that_become_others_are_not_taken_for_known_ones():
    target = Target("binary", [2**53, 2**53 + 1])
    with pytest.raises(ValueError, match="numbers of several types, and labels that float64 does"):
        target.encode(np.array([2**53 + 1, 2.0**53], object))


@pytest.mark.skipif(np.finfo(np.longdouble).max == np.finfo(float).max, reason="no long doubles")
def test_long_doubles_that_float64_does_not_hold_are_no_classes():
    y = np.where(SECOND, np.longdouble(1) / 3, np.longdouble(1))
    with pytest.raises(ValueError, match="dtype float128, and labels that float64 does not hold"):
        prepare(y, task="binary")
    prepare(X[:, 0].astype(np.longdouble) / 3, task="regression")


@pytest.mark.parametrize(
    ("dtype", "values", "kind"),
    [
        ("Int64", (1, 2), "i"),
        ("boolean", (False, True), "b"),
        ("string", ("a", "b"), "U"),
        ("category", ("a", "b"), "U"),
        ("category", (5, 7), "i"),
        ("Float64", (0.5, 1.5), "f"),
    ],
)
def test_pandas_own_types(pd, tmp_path, dtype, values, kind):
    y = pd.Series(two(*values)).astype(dtype)
    model = prepare(y.to_numpy(), task="binary").model
    model.save(tmp_path / "m")
    again = load_model(tmp_path / "m", device="cpu")
    assert again.target.classes == [*values]
    assert again.predict(X).dtype.kind == kind
    gaps = y.copy()
    gaps[3] = None
    with pytest.raises(ValueError, match=r"1 value that is (missing|NaN)"):
        prepare(gaps.to_numpy(), task="binary")


@pytest.mark.parametrize("which", ["names", "categories"])
def test_half_a_character_in_a_table_is_refused_before_the_training(pd, which):
    text = pd.Series(two("\udce9" if which == "categories" else "a", "b"), dtype=object)
    names = ["\udce9" if which == "names" else "c", "d"]
    frame = pd.DataFrame({"c": text, "d": X[:, 0]})
    frame.columns = pd.Index(names, dtype=object)
    with pytest.raises(ValueError, match=r"'\\udce9', which UTF-8 has no bytes for: rename it"):
        Experiment.prepare(Dataset("d", frame, two(0, 1)), Settings(), "cpu")


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("json_tree.MOST_VALUES", 20, "it has more than 20 values"),
        (
            "safetensors_files.MOST_BYTES",
            2000,
            r"description has [\d,]+ bytes, more than 2,000",
        ),
    ],
)
def test_a_description_that_is_too_large_is_refused_before_the_training(
    monkeypatch, tmp_path, limit, value, message
):
    y = two(0, 1)
    prepare(y).model.save(tmp_path / "m")
    monkeypatch.setattr(f"xpnet.files.{limit}", value)
    steps = []
    monkeypatch.setattr("xpnet.train.trainer.Trainer.choose_batch_size", steps.append)
    with pytest.raises(ValueError, match=rf"could not be saved: .*{message}.*3 features and"):
        prepare(y, batch_size="auto")
    assert not steps


def test_what_two_columns_of_counts_gave_loads_again(tmp_path):
    y = np.random.default_rng(0).poisson(3.0, (60, 2)).astype(float)
    experiment = prepare(y, loss="poisson_deviance", epochs=1)
    experiment.run()
    experiment.model.save(tmp_path / "m")
    again = load_model(tmp_path / "m", device="cpu")
    np.testing.assert_array_equal(again.predict(X), experiment.model.predict(X))


def test_a_name_that_is_no_utf8_can_be_shown_and_written(tmp_path):
    names = [b"caf\xe9".decode("utf-8", "surrogateescape"), "\ud800", "café"]
    assert [Dataset(name, X).name for name in names] == ["caf\\xe9", "\\ud800", "café"]
    experiment = Experiment.prepare(Dataset(names[0], X, SECOND), Settings(epochs=1), "cpu")
    experiment.model.save(tmp_path / "m")
    assert load_model(tmp_path / "m", device="cpu").training["data"] == "caf\\xe9"
