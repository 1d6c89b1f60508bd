"""What is too large for memory lies in files, and is the same."""

import numpy as np
import pytest

from xpnet.recipes.settings import Settings
from xpnet.tabular import memory
from xpnet.tabular.dataset import Dataset
from xpnet.tabular.experiment import Experiment
from xpnet.tabular.readers import read

MB = 2**20


@pytest.fixture
def little():
    """Let data take next to nothing."""
    memory.allow(4096)
    yield
    memory.allow(None)


def test_what_is_allowed_is_for_several_copies():
    memory.allow(100 * MB)
    try:
        assert memory.fits(25 * MB)
        assert not memory.fits(26 * MB)
    finally:
        memory.allow(None)


def test_what_is_free_is_what_the_machine_has():
    assert 2**24 < memory.free() < 2**50
    assert memory.fits(0)


def test_a_control_group_may_allow_less(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    monkeypatch.setattr(memory, "_groups", lambda: [str(tmp_path), str(tmp_path / "none")])
    assert memory.free() == 4000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free() > 4000


def test_tables_are_gathered_in_a_file_as_in_memory(pa, little):
    from xpnet.tabular.gathering import Gathered

    parts = [
        pa.table({"a": [1, 2], "c": pa.array(["x", None]).dictionary_encode()}),
        pa.table({"a": [3, None], "c": pa.array(["y", "x"]).dictionary_encode()}),
        pa.table({"a": pa.array([2**63], pa.uint64()), "c": pa.array(["z"]).dictionary_encode()}),
    ] * 40
    with Gathered(10**9) as gathered:
        for part in parts:
            gathered.add(part)
        whole = gathered.table()
    assert gathered.in_file
    assert [int(v) for v in whole["a"].to_pylist() if v] == [1, 2, 3, 2**63] * 40
    assert whole["c"].to_pylist() == ["x", None, "y", "x", "z"] * 40


def test_what_turns_out_too_large_goes_to_a_file_late(pa, little, tmp_path, monkeypatch):
    from xpnet.tabular.gathering import Gathered

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Gathered(None) as gathered:
        gathered.add(pa.table({"a": [1.0]}))
        assert not gathered.in_file
        gathered.add(pa.table({"a": np.arange(1000.0)}))
        assert gathered.in_file
        assert [*tmp_path.iterdir()] == []  # it has no name: no kill leaves it behind
        whole = gathered.table()
    assert whole["a"].to_pylist() == [1.0, *range(1000)]


def test_an_error_on_the_way_leaves_no_file(pa, little, tmp_path, monkeypatch):
    from xpnet.tabular.gathering import Gathered

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gathered = Gathered(10**9)
    gathered.add(pa.table({"a": np.arange(1000.0)}))
    with pytest.raises(ValueError, match="lost"), gathered:
        raise ValueError("lost")
    assert [*tmp_path.iterdir()] == []


def test_a_disk_that_is_full_leaves_no_file(pa, little, tmp_path, monkeypatch):
    from xpnet.tabular.gathering import Gathered, _File

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(_File, "map", full)
    gathered = Gathered(10**9)
    for values in ([1], [1.5]):
        gathered.add(pa.table({"a": values}))
    with pytest.raises(OSError, match="No space left"), gathered:
        gathered.table()
    assert all(file._file.closed for file in gathered._files.values())
    assert [*tmp_path.iterdir()] == []


def test_few_files_are_open_however_often_types_change(pa, little):
    from xpnet.tabular.gathering import Gathered

    with Gathered(10**9) as gathered:
        for i in range(60):
            gathered.add(pa.table({"a": [i]} if i % 2 else {"a": [i / 1]}))
        assert len(gathered._files) == 2
        assert gathered.table()["a"].to_pylist() == [*range(60)]


def experiment(dataset):
    found = Experiment.prepare(dataset, Settings(hidden=(4,), epochs=3, batch_size=16), "cpu")
    found.run()
    return found


def test_what_lies_in_a_file_is_known_again(pa, tmp_path):
    rows = [f"{i / 7},{'uvw'[i % 3]},2024-01-{i % 28 + 1:02d},{i % 2}" for i in range(300)]
    (tmp_path / "t.csv").write_text("\n".join(["a,c,d,y", *rows]))
    in_memory = read(str(tmp_path / "t.csv"), target="y")
    memory.allow(4096)
    try:
        in_file = read(str(tmp_path / "t.csv"), target="y")
    finally:
        memory.allow(None)
    assert pa.types.is_string(in_file.rows["c"].type)  # not as in memory
    assert in_file.fingerprint() == in_memory.fingerprint()


def test_a_training_from_a_file_is_that_from_memory(pa):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(300, 3))
    rows = pa.table(
        {"a": x[:, 0], "b": x[:, 1], "c": np.array(["u", "v", "w"])[(x[:, 2] * 9).astype(int) % 3]}
    )
    in_memory = experiment(Dataset("d", rows, x[:, 0] > x[:, 1]))
    memory.allow(4096)
    try:
        in_file = experiment(Dataset("d", rows, x[:, 0] > x[:, 1]))
    finally:
        memory.allow(None)
    assert isinstance(in_file.parts["train"].features, np.memmap)
    for name, part in in_memory.parts.items():
        np.testing.assert_array_equal(part.features, in_file.parts[name].features)
    assert in_file.trainer.history["train_loss"] == in_memory.trainer.history["train_loss"]
    assert in_file.evaluate() == in_memory.evaluate()


def test_a_file_with_categories_is_the_same_from_files(pa, tmp_path):
    from xpnet.tabular.readers import read

    path, draw = tmp_path / "t.csv", np.random.default_rng(0)
    rows = zip(draw.normal(size=300), draw.integers(0, 5, 300), strict=True)
    path.write_text("a,c,y\n" + "".join(f"{a},k{c},{a > c / 9}\n" for a, c in rows))
    in_memory = read(str(path), "y")
    memory.allow(4096)
    try:
        in_file = read(str(path), "y")
        assert in_file.rows["c"].type == pa.string()  # as files have it
        assert in_file.fingerprint() == in_memory.fingerprint()
        found = experiment(in_file)
    finally:
        memory.allow(None)
    assert (
        found.trainer.history["train_loss"] == experiment(in_memory).trainer.history["train_loss"]
    )


def test_parts_have_the_rows_that_their_features_were_made_of(pa):
    x = np.arange(300.0)
    found = experiment(Dataset("d", pa.table({"a": x, "b": np.sin(x)}), x % 7 / 2))
    for part in found.parts.values():
        expected = found.model.features.transform(part.rows, np.float32)
        np.testing.assert_array_equal(part.features, expected)
        np.testing.assert_array_equal(part.rows["a"].to_numpy() % 7 / 2, part.target)


def test_a_test_set_may_be_the_training_set(pa):
    rows = pa.table({"a": np.arange(60.0), "b": np.sin(np.arange(60))})
    dataset = Dataset("d", rows, np.arange(60) % 7 / 2, rows, np.arange(60) % 7 / 2)
    dataset.test_rows = dataset.rows
    found = experiment(dataset)
    expected = found.model.features.transform(rows, np.float32)
    np.testing.assert_array_equal(found.parts["test"].features, expected)
    chosen = found.parts["train"].indices
    np.testing.assert_array_equal(found.parts["train"].features, expected[chosen])
