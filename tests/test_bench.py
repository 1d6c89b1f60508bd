"""The benchmarks' commands, on made-up results: report, compare and run."""

import copy
import json
from pathlib import Path
from typing import Any

import checkpoint_cost
import compare
import harness
import numpy as np
import path
import pytest
import report
import results
import run
from bench_kernels import MEMBERS, fused, implementations
from emulator import emulated, why_no_compiler
from kernel_cases import Cases

from xpnet.analysis.profiling import flops
from xpnet.backends.reference import Kernels
from xpnet.backends.select import select, why_not_compiled

MACHINE = {
    "python_version": "3.11.7",
    "cpu": {"brand_raw": "A processor (R) 3000"},
    "cores": 2,
    "threads": 1,
    "blas": "openblas 0.3, threads: 1",
    "devices": [{"name": "A GPU"}],
    "versions": {"numpy": "2.0", "cupy": "14.0"},
}


def _spread(median: float) -> dict[str, float]:
    return {"q1": 0.9 * median, "median": median, "q3": 1.2 * median}


def _benchmark(
    net: str, batch: int, backend: str, median: float, suite: str = "step", **about: Any
) -> dict[str, Any]:
    """Return a benchmark as pytest-benchmark saves it."""
    about |= {"suite": suite, "net": net, "batch": batch, "backend": backend, "dtype": "float32"}
    about |= {"device": f"a machine with {backend}", "samples": batch}
    stats = _spread(median) | {"min": median, "rounds": 5, "iterations": 1, "data": [1.0] * 5}
    name = f"test_{suite}[{net}, batch {batch}-{backend}]"
    return {"name": name, "extra_info": about, "stats": stats}


def _race(net: str, median: float, **rivals: float) -> dict[str, Any]:
    """Return a race with ratios; a value is ten steps."""
    found = {k: {**_spread(r * median), "ratio": _spread(r)} for k, r in rivals.items()}
    about = {"steps": 10, "rivals": found, "absent": {"notes": "no batch norm"}}
    return _benchmark(net, 8, "NumPy", 10 * median, "rivals", **about)


def _saved(*benchmarks: dict[str, Any], **machine: Any) -> dict[str, Any]:
    return {
        "machine_info": MACHINE | machine,
        "commit_info": {"id": "abc", "dirty": False, "author": "someone"},
        "datetime": "2026-01-01T00:00:00",
        "benchmarks": list(benchmarks),
    }


def _write(path: Path, *benchmarks: dict[str, Any], **machine: Any) -> str:
    path.write_text(json.dumps(_saved(*benchmarks, **machine)))
    return str(path)


# -- report ----


def _report(tmp_path: Path, *benchmarks: dict[str, Any], **machine: Any) -> str:
    return report.report(results.read(_write(tmp_path / "r.json", *benchmarks, **machine)))


def test_backends_stand_side_by_side(tmp_path):
    text = _report(
        tmp_path,
        _benchmark("wide", 128, "NumPy", 4e-3),
        _benchmark("wide", 128, "CuPy", 5e-5),
        _benchmark("wide", 8, "NumPy", 1e-3),
        _benchmark("narrow", 8, "NumPy", 5e-6),
        {"name": "of something else", "extra_info": {}, "stats": {"median": 1.0}},
        note="shared with others",
    )
    assert text.splitlines()[2:] == [
        "Medians.",
        "",
        "- a machine with NumPy",
        "- a machine with CuPy",
        "- A processor (R) 3000, 2 cores, openblas 0.3, threads: 1",
        "- threads that everyone may use on the CPU: 1",
        "- Python 3.11.7, numpy 2.0, cupy 14.0",
        "- shared with others",
        "",
        "## Training steps: `Trainer.step` with Adam, the batch on the device already",
        "",
        "| net | dtype | batch | NumPy, µs | samples/s | CuPy, µs | samples/s | speed-up |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| wide | float32 | 8 | 1,000 | 8,000 | – | – | – |",
        "| wide | float32 | 128 | 4,000 | 32,000 | 50.0 | 2,560,000 | 80.0 |",
        "| narrow | float32 | 8 | 5.00 | 1,600,000 | – | – | – |",
    ]


def test_a_race_shows_ratios_and_who_is_missing(tmp_path):
    text = _report(
        tmp_path, _race("wide", 1e-3, torch=2.0, products=0.5), _race("narrow", 1e-5, jax=3.0)
    )
    assert text.splitlines()[-6:] == [
        "| on NumPy | dtype | batch | ours, µs | torch | products | jax |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| wide | float32 | 8 | 1,000 | 2.00 (1.80–2.40) | 0.50 (0.45–0.60) | – |",
        "| narrow | float32 | 8 | 10.0 | – | – | 3.00 (2.70–3.60) |",
        "",
        "Left out where there is a dash: notes: no batch norm.",
    ]


def test_one_backend_has_no_speed_up(tmp_path):
    assert "speed-up" not in _report(tmp_path, _benchmark("a", 1, "NumPy", 1e-3))


def test_a_time_of_zero_divides_nothing(tmp_path):
    text = _report(
        tmp_path, _benchmark("a", 1, "NumPy", 1e-3), _benchmark("a", 1, "CuPy", 0.0)
    ).splitlines()
    assert text[-1] == "| a | float32 | 1 | 1,000 | 1,000 | 0.00 | – | – |"


def test_a_machine_that_says_nothing(tmp_path):
    path = tmp_path / "results.json"
    saved = {"machine_info": {}, "benchmarks": [_benchmark("a", 1, "NumPy", 1e-3)]}
    path.write_text(json.dumps(saved))
    assert "| a | float32 | 1 | 1,000 | 1,000 |" in report.report(results.read(path))


def test_report_prints(tmp_path, capsys):
    path = _write(tmp_path / "r.json", _benchmark("a", 1, "NumPy", 1e-3))
    assert report.main([path]) == 0
    assert "| a | float32 | 1 |" in capsys.readouterr().out


BROKEN = [
    ("", "is not JSON"),
    ('{"benchmarks": [', "is not JSON"),
    ("[]", "is not as pytest --benchmark-json writes it"),
    ("{}", "is not as pytest --benchmark-json writes it (KeyError: 'benchmarks')"),
    (
        '{"machine_info": {}, "benchmarks": [{"name": "b", "extra_info": {"suite": "a"}}]}',
        "is not as pytest --benchmark-json writes it (KeyError: 'kernel')",
    ),
    ('{"machine_info": {}, "benchmarks": []}', "holds no benchmark"),
]


@pytest.mark.parametrize("command", [report, compare])
@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_a_broken_file_is_one_clear_line(tmp_path, capsys, command, content, message):
    path = tmp_path / "results.json"
    path.write_text(content)
    assert command.main([str(path)] * (1 if command is report else 2)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{command.__name__}.py: {path} {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", [report, compare])
def test_a_missing_file_is_one_clear_line(tmp_path, capsys, command):
    path = str(tmp_path / "none.json")
    assert command.main([path] * (1 if command is report else 2)) == 2
    assert "none.json can't be read: No such file" in capsys.readouterr().err


# -- compare ----


def _compare(tmp_path: Path, new: list[float], *options: str, **machine: Any) -> int:
    """Compare steps that took 1 ms, from 0.9 to 1.2, with others."""
    old = [_benchmark("a", 2**i, "NumPy", 1e-3) for i in range(len(new))]
    now = [_benchmark("a", 2**i, "NumPy", 1e-3 * median) for i, median in enumerate(new)]
    files = _write(tmp_path / "old.json", *old), _write(tmp_path / "new.json", *now, **machine)
    return compare.main([*files, *options])


@pytest.mark.parametrize(
    ("median", "options", "status", "verdict"),
    [
        (1.0, [], 0, "as before"),
        (1.4, [], 0, "as before"),  # its lower quartile is 1.26, and 1.2 + 10 % is 1.32
        (1.5, [], 1, "SLOWER"),
        (1.4, ["--tolerance", "0"], 1, "SLOWER"),
        (1.5, ["--tolerance", "0.2"], 0, "as before"),
        (0.6, [], 0, "faster"),
        (0.74, [], 0, "as before"),
        (0.74, ["--tolerance", "0"], 0, "faster"),
    ],
)
def test_a_change_is_one_beyond_the_noise(tmp_path, capsys, median, options, status, verdict):
    assert _compare(tmp_path, [1.0, median], *options) == status
    out, err = capsys.readouterr()
    old, new = "1,000", results.figures(median * 1e3)
    expected = f"| test_step[a, batch 2-NumPy] | {verdict} | {old} | {new} | {median:.2f} |"
    assert expected in out.splitlines()
    assert out.splitlines()[-1].startswith("2 benchmarks: ")
    assert err == ""


def test_a_race_is_compared_by_our_step_and_shows_the_drift(tmp_path, capsys):
    old = _write(tmp_path / "old.json", _race("a", 1e-3, torch=2.0, products=0.5))
    new = _write(tmp_path / "new.json", _race("a", 2e-3, torch=1.0, products=0.5))
    assert compare.main([old, new]) == 1
    out = capsys.readouterr().out
    assert "| SLOWER | 1,000 | 2,000 | 2.00 |" in out
    assert "new / old of the rivals, medians: products 2.00, torch 1.00" in out


def test_other_circumstances_are_said(tmp_path, capsys):
    changed = {"threads": 2, "versions": {"numpy": "3.0"}, "cpu": {"brand_raw": "Another"}}
    assert _compare(tmp_path, [1.0], **changed) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[:3] for line in lines] == [
        ["compare.py", "warning", "machines differ"],
        ["compare.py", "warning", "threads differ"],
        ["compare.py", "warning", "versions differ"],
    ]
    assert lines[1].endswith("1 and 2")


def test_what_only_one_file_has_is_said(tmp_path, capsys):
    both, gone, come = (_benchmark(name, 1, "NumPy", 1e-3) for name in ("both", "gone", "come"))
    files = _write(tmp_path / "o.json", both, gone), _write(tmp_path / "n.json", both, come)
    assert compare.main([*files]) == 0
    out, err = capsys.readouterr()
    assert "only in the old file: 1 benchmarks, as test_step[gone, batch 1-NumPy]" in err
    assert "only in the new file: 1 benchmarks, as test_step[come, batch 1-NumPy]" in err
    assert out.splitlines()[-1].startswith("1 benchmarks")


def test_nothing_in_common_is_one_clear_line(tmp_path, capsys):
    files = [_write(tmp_path / f"{name}.json", _benchmark(name, 1, "NumPy", 1e-3)) for name in "ab"]
    assert compare.main(files) == 2
    assert capsys.readouterr().err == "compare.py: the files have no benchmark in common\n"


@pytest.mark.parametrize("tolerance", ["much", "-1", "nan", "inf"])
def test_a_tolerance_that_is_none(tmp_path, capsys, tolerance):
    assert _compare(tmp_path, [1.0], f"--tolerance={tolerance}") == 2
    assert f"--tolerance is {tolerance}: give a share" in capsys.readouterr().err


# -- run ----


@pytest.fixture
def suites(monkeypatch):
    """Stand in for the suites: what each gives, exit status and JSON, by name."""
    given: dict[str, tuple[int, Any]] = {
        name: (0, results.kept(_saved(_benchmark("a", 1, "NumPy", 1e-3, suite=name))))
        for name in run.SUITES
    }
    monkeypatch.setattr(run, "run_suite", lambda suite, options: given[suite])
    return given


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_run_writes_all_suites_as_json_and_markdown(suites, tmp_path, capsys):
    assert run.main(["-o", str(tmp_path / "new" / "folder"), "--note", "shared"]) == 0
    folder = tmp_path / "new" / "folder"
    stem = "a-processor-r-3000-1-thread"
    assert _files(folder) == [f"{stem}.json", f"{stem}.md"]
    saved = results.read(folder / f"{stem}.json")
    assert [r.suite for r in saved.results] == list(run.SUITES)
    assert saved.machine == MACHINE | {"note": "shared"}
    assert capsys.readouterr().out == (folder / f"{stem}.md").read_text() + "\n"


def test_the_calmest_pass_is_kept(monkeypatch, tmp_path):
    passes = [
        # The second pass of "a" is better for us, and the first one for all together.
        [_race("a", 2e-3, torch=1.0), _race("b", 2e-3, torch=1.0)],
        [_race("a", 1e-3, torch=9.0), _race("b", 1e-3, torch=2.5)],
    ]
    left = [results.kept(_saved(*benchmarks)) for benchmarks in passes]
    monkeypatch.setattr(run, "run_suite", lambda suite, options: (0, left.pop(0)))
    assert run.main(["--only", "rivals", "--passes", "2", "-o", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*.json")
    assert {r.case: r.seconds.median for r in results.read(path).results} == {"a": 2e-3, "b": 1e-3}


def test_a_gpu_gives_the_files_their_name(suites, tmp_path):
    suites["step"] = 0, results.kept(_saved(_benchmark("a", 1, "CuPy", 1e-3)))
    options = ["--only", "step", "--threads", "2", "--quick", "-o", str(tmp_path)]
    assert run.main(options) == 0
    assert "a-gpu-2-threads-step-quick.json" in _files(tmp_path)


def test_chosen_cases_are_in_the_files_name(suites, tmp_path):
    assert run.main(["--only", "step", "-k", "64 and not norm", "-o", str(tmp_path)]) == 0
    assert "a-processor-r-3000-1-thread-step-64-and-not-norm.json" in _files(tmp_path)


def test_a_failed_benchmark_keeps_the_others_and_shows_in_the_status(suites, tmp_path):
    suites["kernels"] = run.FAILED, suites["kernels"][1]
    assert run.main(["-o", str(tmp_path)]) == 1
    assert len(_files(tmp_path)) == 2


def test_an_interrupted_run_keeps_what_it_has_and_leaves_older_results_alone(
    suites, tmp_path, capsys
):
    assert run.main(["-o", str(tmp_path)]) == 0
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    suites["predict"] = run.INTERRUPTED, None
    assert run.main(["-o", str(tmp_path)]) == 130
    unfinished = tmp_path / "a-processor-r-3000-1-thread-unfinished.json"
    assert [r.suite for r in results.read(unfinished).results] == ["ceilings", "step", "epoch"]
    assert {p.name: p.read_text() for p in tmp_path.iterdir() if p != unfinished} == before
    assert str(unfinished) in capsys.readouterr().err


def test_nothing_measured_is_no_success(suites, tmp_path, capsys):
    suites["step"] = run.NOTHING_RAN, None
    assert run.main(["--only", "step", "-o", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith("run.py: nothing was measured\n")
    assert _files(tmp_path) == []


@pytest.mark.parametrize(
    "wrong", [["--only", "steps"], ["--threads", "0"], ["--threads", "x"], ["--device", "tpu"]]
)
def test_run_refuses_what_it_does_not_know(capsys, wrong):
    with pytest.raises(SystemExit) as ended:
        run.main(wrong)
    assert ended.value.code == 2
    assert wrong[1] in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_run_runs_a_suite(monkeypatch, tmp_path):
    # The only one for real: the quickest. Within a worker of pytest-xdist nothing is measured.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    assert run.main(["--only", "kernels", "--quick", "--device", "cpu", "-o", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*-kernels-quick.json")
    saved = results.read(path)
    kernels = set(fused(select("cpu").kernels))
    cases = {r.case for r in saved.results}
    of_members = {f"{name}, {MEMBERS} members" for name in kernels}
    assert kernels <= cases <= kernels | of_members
    assert all(r.seconds.median > 0 and r.rivals for r in saved.results)
    assert saved.machine["threads"] == 1
    assert {"node", "release"}.isdisjoint(saved.machine)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        results.write(path, "new \ud800")
    assert _files(tmp_path) == ["file"]
    assert path.read_text() == "old"


def test_what_is_kept_is_read_as_what_was_saved():
    saved = _saved(_race("a", 1.23456789e-3, torch=2.0), _benchmark("b", 2, "CuPy", 1e-3))
    before = copy.deepcopy(saved)
    again = json.loads(results.as_json(results.kept(saved)))
    assert saved == before
    assert again["commit"] == {"id": "abc", "dirty": False}
    assert again["benchmarks"][0]["stats"]["median"] == 0.012346
    assert "data" not in again["benchmarks"][0]["stats"]


# -- kernels ----


class _Own(Kernels):
    def softmax(self, z, row, out):
        """Stand for a fused one."""


class _OwnToo(_Own):
    def dropout(self, x, key, threshold, work, out):
        """Stand for another."""

    def softmax(self, z, row, out):
        """Stand for a better one."""


def test_fused_kernels_are_found_wherever_they_stand():
    assert fused(Kernels(np)) == []
    assert fused(_OwnToo(np)) == ["dropout", "softmax"]
    kernels, reference = _OwnToo(np), Kernels(np)
    found = implementations(kernels, reference, "softmax")
    assert list(found) == ["Kernels", "_Own", "_OwnToo"]
    assert [kernel.__func__ for kernel in found.values()] == [
        kind.softmax for kind in (Kernels, _Own, _OwnToo)
    ]
    assert list(implementations(kernels, reference, "dropout")) == ["Kernels", "_OwnToo"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [n for n in dir(Kernels) if hasattr(Cases, n) and n[0] != "_"])
def test_a_kernel_can_be_called_over_and_over(name, dtype):
    arguments = getattr(Cases(select("cpu"), 8, dtype), name)()
    with np.errstate(all="raise"):
        for _ in range(1000):
            getattr(select("cpu").kernels, name)(*arguments)
    for array in arguments:
        if isinstance(array, np.ndarray) and array.dtype.kind == "f":
            assert array.dtype == dtype
            assert ((array == 0) | (np.abs(array) > 1e-20)).all()


@pytest.mark.skipif(why_no_compiler() is not None, reason=str(why_no_compiler()))
@pytest.mark.parametrize("name", fused(emulated().kernels))
def test_each_kernel_of_a_gpu_has_arguments_to_be_measured_with(name):
    backend = emulated()
    getattr(backend.kernels, name)(*getattr(Cases(backend, 40, "float32"), name)())
    assert backend.kernels._launcher.launches or "product" in name or "gradient" in name


def test_steps_are_set_against_the_ceilings(tmp_path):
    peak = _benchmark("", 2048, "NumPy", 1.0, "ceilings", kernel="product", flops=1e11, bytes=0.0)
    copy_ = _benchmark("", 1024, "NumPy", 0.1, "ceilings", kernel="copy", flops=0.0, bytes=2e9)
    bound = _benchmark("a", 32, "NumPy", 2.0, flops=1e11, bytes=1e3)
    passing = _benchmark("b", 1, "NumPy", 1.0, flops=1e9, bytes=1e10)
    other = _benchmark("c", 1, "CuPy", 1.0, flops=1e9, bytes=1e10)
    text = _report(tmp_path, peak, copy_, bound, passing, other)
    assert "| product, 2,048 | float32 | NumPy | 100 | – |" in text
    assert "| copy, 1,024 | float32 | NumPy | – | 20.0 |" in text
    assert "| a | float32 | 32 | NumPy | 50.0 | 50% | 50% |" in text
    assert "| b | float32 | 1 | NumPy | 1.00 | 1% | 50% |" in text
    assert "| c |" not in text.partition("floor of a step")[2]


def test_without_ceilings_there_are_no_shares(tmp_path):
    assert "floor of a step" not in _report(tmp_path, _benchmark("a", 32, "NumPy", 2.0, flops=1e9))


@pytest.mark.parametrize("net", [*harness.NETS, *harness.LARGE_NETS])
def test_the_floor_of_a_step_is_its_products_and_one_pass(net):
    network = harness.make_network(*harness.every(net), "float32", select("cpu"))
    found = harness.work(net, 1, "float32")
    assert found["flops"] == flops(network, "training")
    assert found["bytes"] >= 7 * 4 * network.n_parameters
    assert found["bytes"] < 7 * 4 * network.n_parameters * 1.01


@pytest.mark.skipif(why_not_compiled() is not None, reason=f"Numba: {why_not_compiled()}")
def test_a_mini_batch_takes_few_calls_in_few_files():
    calls = path.path()
    assert len(calls) <= 45
    assert len({file for file, _ in calls}) <= 9
    assert ("train/step.py", "Step._compute") in calls


@pytest.mark.skipif(why_not_compiled() is not None, reason=f"Numba: {why_not_compiled()}")
def test_the_readme_shows_the_path_as_it_is():
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    assert f"```text\n{path.show(path.path())}\n```" in readme


def test_what_checkpoints_cost(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["checkpoint_cost", "--epochs", "3", "--folder", str(tmp_path)])
    checkpoint_cost.main()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("3 epochs: ")
    assert not any(tmp_path.iterdir())
