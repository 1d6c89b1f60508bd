"""A test set and a development set of one's own: how they are read, and what is held out then."""

import re
import warnings

import numpy as np
import pytest

from xpnet.files import safetensors_files
from xpnet.files.safetensors_files import ModelFileError
from xpnet.recipes.settings import Settings
from xpnet.tabular import memory
from xpnet.tabular.dataset import DataError, Dataset
from xpnet.tabular.experiment import Experiment
from xpnet.tabular.kept_apart import with_set
from xpnet.tabular.model import load_model
from xpnet.tabular.parts import part_dataset, part_without_dev
from xpnet.tabular.readers import read
from xpnet.tabular.tuning import TableSubject

X = np.random.default_rng(0).normal(size=(120, 3))
SUMS = X.sum(axis=1)
WORDS = np.array(["no", "yes", "maybe"])[np.arange(120) % 3]


def prepare(dataset, **options):
    return Experiment.prepare(dataset, Settings(hidden=(4,), epochs=2), "cpu", **options)


def made(test=True, dev=True):
    """Return a data set of 80 rows, with 20 of its own for each set."""
    sets = {"test_rows": X[80:100], "test_target": WORDS[80:100]} if test else {}
    sets |= {"dev_rows": X[100:], "dev_target": WORDS[100:]} if dev else {}
    apart = {"test": "t.npz"} if test else {}
    apart |= {"dev": "v.npz"} if dev else {}
    return Dataset("d", X[:80], WORDS[:80], **sets, apart=apart)


def sizes(experiment):
    return {name: len(part.labels) for name, part in experiment.parts.items()}


@pytest.mark.parametrize(
    ("own", "options", "expected"),
    [
        ((True, True), {}, {"train": 80, "dev": 20, "test": 20}),
        ((True, False), {}, {"train": 64, "dev": 16, "test": 20}),
        ((False, True), {}, {"train": 64, "dev": 20, "test": 16}),
        ((False, False), {}, {"train": 48, "dev": 16, "test": 16}),
        ((True, True), {"dev": False}, {"train": 100, "test": 20}),
        ((True, False), {"dev": False}, {"train": 80, "test": 20}),
        ((False, True), {"dev": False}, {"train": 84, "test": 16}),
        ((False, False), {"dev": False}, {"train": 64, "test": 16}),
        ((False, False), {"test": False}, {"train": 64, "dev": 16}),
        ((False, True), {"test": False}, {"train": 80, "dev": 20}),
        ((False, True), {"test": False, "dev": False}, {"train": 100}),
        ((False, False), {"test": False, "dev": False}, {"train": 80}),
    ],
)
def test_nothing_is_held_out_for_what_is_given(own, options, expected):
    experiment = prepare(made(*own), **options)
    assert sizes(experiment) == expected
    every = np.concatenate([part.rows[:, 0] for part in experiment.parts.values()])
    there = np.concatenate([X[:80], *(X[80:100],) * own[0], *(X[100:],) * own[1]])
    assert sorted(every) == sorted(there[:, 0])
    experiment.run()
    assert experiment.evaluate().keys() == expected.keys()


def test_all_rows_are_trained_on_in_their_order():
    parts = prepare(made()).parts
    np.testing.assert_array_equal(parts["train"].rows, X[:80])
    np.testing.assert_array_equal(parts["dev"].rows, X[100:])
    np.testing.assert_array_equal(parts["test"].target, WORDS[80:100])


def test_scales_are_learnt_from_the_training_rows_alone():
    found = prepare(made()).model.features.scales.mean
    np.testing.assert_allclose(found, X[:80].mean(axis=0))


def test_without_a_development_set_the_rows_are_those_of_both():
    for own in (made(dev=False), made(test=False)):
        target = prepare(own).model.target
        parts, united = part_dataset(own, target, 0), part_without_dev(own, target, 0)
        expected = [np.concatenate([getattr(parts[n], a) for n in ("train", "dev")]) for a in
                    ("rows", "target")]  # fmt: skip
        np.testing.assert_array_equal(united["train"].rows, expected[0])
        np.testing.assert_array_equal(united["train"].target, expected[1])
        np.testing.assert_array_equal(united["test"].rows, parts["test"].rows)


def test_what_is_found_again(tmp_path):
    dataset = made()
    plain, test = Dataset("d", X[:80], WORDS[:80]), Dataset("t", X[80:100], WORDS[80:100])
    assert dataset.fingerprint() == plain.fingerprint()
    assert dataset.fingerprint("test") == test.fingerprint()
    experiment = prepare(dataset)
    known = dataset.fingerprint(), dataset.sets()
    experiment.release_rows()
    assert (dataset.dev_rows, dataset.fingerprint(), dataset.sets()) == (None, *known)
    experiment.run()
    experiment.model.save(tmp_path / "m")
    told = load_model(tmp_path / "m", device="cpu").training
    assert (told["fingerprint"], told["sets"], told["parts"]) == (*known, ["train"])


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"parts": ["dev", "train"]}, "its parts are"),
        ({"parts": "train"}, "its parts are 'train'"),
        ({"parts": [["train"]]}, "its parts are"),
        ({"sets": [1]}, "its sets are"),
        ({"sets": {"train": {}}}, "its sets are"),
        ({"sets": {"test": 1}}, "its sets are"),
        ({"sets": {"test": {"data": "t"}}}, "a set of it is"),
        ({"sets": {"test": {"data": "t", "fingerprint": 3}}}, "a set of it is"),
    ],
)
def test_a_model_file_that_tells_of_no_such_sets_is_refused(tmp_path, told, message):
    experiment = prepare(made())
    experiment.model.training |= told
    safetensors_files.write(
        tmp_path / "m", experiment.model.network.state(), experiment.model._description()
    )
    with pytest.raises(ModelFileError, match=message):
        load_model(tmp_path / "m", device="cpu")


def test_a_set_in_memory_without_a_name_belongs_to_the_data():
    found = Dataset("d", X[:80], WORDS[:80], dev_rows=X[100:], dev_target=WORDS[100:])
    assert found.fingerprint() != Dataset("d", X[:80], WORDS[:80]).fingerprint()
    assert len(found.everything()[0]) == len(found.labels()) == 100
    assert sizes(prepare(found)) == {"train": 64, "dev": 20, "test": 16}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"dev_target": None}, "v: there is rows and no target: give both"),
        ({"dev_target": WORDS[:3]}, "v: rows has 20 rows and target 3: give one label for each"),
        ({"dev_rows": X[:0], "dev_target": WORDS[:0]}, "v: rows has no rows"),
        ({"dev_rows": X[:20, :2]}, r"v: rows of d holds numbers of shape \(n, 3\) and rows holds"),
        ({"dev_target": np.arange(20)}, r"v: target of d holds text .* and target holds numbers"),
        ({"dev_rows": X[:20] * np.inf}, "v: the data has 60 values that are NaN or infinite"),
        ({"dev_target": np.array(["no", "never"] * 10)}, "v: the target has labels that the model "
                                                         "does not know: never; it knows maybe, "),
    ],
)  # fmt: skip
def test_what_does_not_go_with_the_data_is_refused_by_its_name(more, message):
    own = {"dev_rows": X[100:], "dev_target": WORDS[100:]} | more
    with pytest.raises(ValueError, match=f"^{message}"):
        prepare(Dataset("d", X[:80], WORDS[:80], **own, apart={"dev": "v"}))


def test_a_regression_needs_labels_that_differ():
    own = {"test_rows": X[80:], "test_target": np.full(40, 1.5), "apart": {"test": "t"}}
    with pytest.raises(ValueError, match=r"^t: the target is 1\.5 in every row: .*give more rows"):
        prepare(Dataset("d", X[:80], SUMS[:80], **own))


def test_labels_of_a_regression_are_in_the_units_of_the_training():
    own = {"dev_rows": X[80:], "dev_target": SUMS[80:], "apart": {"dev": "v"}}
    experiment = prepare(Dataset("d", X[:80], SUMS[:80], **own), test=False)
    expected = (SUMS[80:] - SUMS[:80].mean()) / SUMS[:80].std()
    np.testing.assert_allclose(experiment.model.target.scales.mean, SUMS[:80].mean())
    np.testing.assert_allclose(experiment.parts["dev"].labels, expected)


# -- rows that are known ----


def test_the_data_themselves_are_no_test_set():
    own = {"test_rows": X[:80].copy(), "test_target": WORDS[:80].copy(), "apart": {"test": "t"}}
    with pytest.raises(DataError, match=r"^t: holds the same as d, row by row"):
        prepare(Dataset("d", X[:80], WORDS[:80], **own))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (np.r_[80:100], None),
        (np.r_[79:100], None),  # one may be there by chance
        (np.r_[:2], "2 of 2"),
        (np.r_[60:100], "20 of 40"),
        (np.r_[79:-1:-1], "80 of 80"),
    ],
)
def test_rows_that_stand_in_both_are_told_of(rows, told):
    own = {"test_rows": X[rows], "test_target": WORDS[rows], "apart": {"test": "t"}}
    dataset = Dataset("d", X[:80], WORDS[:80], **own)
    if told is None:
        prepare(dataset)
        return
    with pytest.warns(UserWarning, match=f"^t: {told} rows stand in d as well"):
        prepare(dataset)


def test_rows_that_are_often_the_same_are_none():
    rows = np.random.default_rng(0).integers(0, 3, (300, 3)).astype(float)
    y = np.arange(300) % 2
    own = {"test_rows": rows[200:], "test_target": y[200:], "apart": {"test": "t"}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare(Dataset("d", rows[:200], y[:200], **own))


def test_one_set_for_both_is_told_of():
    own = {f"{part}_{of}": v[80:] for part in ("test", "dev") for of, v in
           (("rows", X), ("target", WORDS))}  # fmt: skip
    dataset = Dataset("d", X[:80], WORDS[:80], **own, apart={"test": "t", "dev": "v"})
    with pytest.warns(UserWarning, match="^v: 40 of 40 rows stand in the test set, t, as well"):
        prepare(dataset)


# -- files ----


@pytest.fixture
def write(tmp_path, pa, monkeypatch):
    """Return what writes a table into the present folder, and reads it as the training data."""
    monkeypatch.chdir(tmp_path)

    def write(name, rows, **more):
        columns = {"a": X[rows, 0].round(3), "b": [f"c{k % 4}" for k in rows], "y": WORDS[rows]}
        columns |= {"id": rows} | more
        columns = {name: values for name, values in columns.items() if values is not None}
        table = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values()))]  # noqa: B905
        (tmp_path / name).write_text("\n".join(table) + "\n")
        return name

    write("d.csv", np.r_[:80])
    write("t.csv", np.r_[80:100], c=np.r_[:20])
    write("v.csv", np.r_[100:120])
    return write


def data():
    return read("d.csv", "y", ["id"])


def test_a_table_is_read_by_the_schema_of_the_data(write, tmp_path):
    found = with_set(with_set(data(), "test", "t.csv"), "dev", str(tmp_path / "v.csv"))
    assert found.apart == {"test": "t.csv", "dev": "v.csv"}
    assert found.test_rows.schema == found.rows.schema
    assert found.fingerprint() == data().fingerprint()
    assert sizes(prepare(found)) == {"train": 80, "dev": 20, "test": 20}


@pytest.mark.parametrize("sets", [{"dev": "v.csv"}, {"dev": "v.csv", "test": "t.csv"}])
@pytest.mark.parametrize("in_file", [(), ("d",), ("v",), ("d", "v")])
def test_tables_that_lie_in_files_give_the_same(write, sets, in_file, monkeypatch):
    def experiment(reading):
        fits, kept = memory.fits, reading.get("d", True)
        with monkeypatch.context() as patch:
            patch.setattr(memory, "fits", lambda n: kept)
            found = data()
        for part, source in sets.items():
            with monkeypatch.context() as patch:
                patch.setattr(memory, "fits", lambda n, s=source: reading.get(s[0], True))
                found = with_set(found, part, source)
        assert memory.fits is fits
        return prepare(found, dev=False)

    expected, found = experiment({}), experiment(dict.fromkeys(in_file, False))
    assert sizes(found) == sizes(expected)
    for name, part in expected.parts.items():
        np.testing.assert_array_equal(found.parts[name].features, part.features)
        np.testing.assert_array_equal(found.parts[name].labels, part.labels)


def test_a_search_trains_anew_on_both(write):
    found = with_set(data(), "dev", "v.csv")
    subject = TableSubject.prepare(found, Settings(hidden=(4,), epochs=2), "cpu")
    assert len(subject.data.dev[1]) == 20
    everything = subject.with_dev().experiment
    assert sizes(everything) == {"train": 84, "test": 16}
    assert everything.model.training["trained_on"] == ["train", "dev"]
    target = np.r_[subject.experiment.parts["train"].target, WORDS[100:]]
    np.testing.assert_array_equal(everything.parts["train"].target, target)


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"y": None}, DataError, "w.csv: there is no column 'y'; there are a, b, id"),
        ({"a": None}, DataError, "w.csv: the data has no column 'a'"),
        ({"a": ["big"] * 20}, TypeError, "w.csv: column 'a' holds text where numbers belong: 20 "),
    ],
)
def test_a_table_that_lacks_something_is_refused(write, more, error, message):
    write("w.csv", np.r_[80:100], **more)
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        with_set(data(), "test", "w.csv")


def test_files_of_arrays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    y = np.arange(120) % 2
    np.savez("d.npz", X=X[:80], y=y[:80])
    np.savez("v.npz", X_test=X[80:], y_test=y[80:])
    np.savez("two.npz", X_train=X[:80], y_train=y[:80], X_test=X[80:], y_test=y[80:])
    np.savez("wide.npz", X=np.c_[X, X], y=y)
    lines = [f"{y[k]} 1:{X[k, 0]}" for k in range(80, 120)]  # the last features are all 0
    (tmp_path / "t.svm").write_text("\n".join(lines))
    (tmp_path / "t.csv").write_text("a,y\n1,2\n")
    found = with_set(with_set(read("d.npz"), "dev", "v.npz"), "test", "t.svm")
    assert sizes(prepare(found)) == {"train": 80, "dev": 40, "test": 40}
    for part, source, message in (
        ("test", "two.npz", "two.npz: holds a training set and a test set: give one set"),
        ("test", "t.csv", "t.csv: d has no named columns: give a file of arrays"),
        ("dev", "no.npz", "no.npz: no such file"),
    ):
        with pytest.raises((ValueError, TypeError, FileNotFoundError), match=f"^{message}"):
            with_set(read("d.npz"), part, source)
    with pytest.raises(DataError, match=r"^two has a test set of its own: leave --test v"):
        with_set(read("two.npz"), "test", "v.npz")
    with pytest.raises(DataError, match=r"^wide\.npz: rows of d holds .* \(n, 3\) and rows holds"):
        prepare(with_set(read("d.npz"), "test", "wide.npz"))
