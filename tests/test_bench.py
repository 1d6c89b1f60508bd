"""The table that bench/report.py makes of results."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent / "bench"


@pytest.fixture(scope="module")
def report() -> Any:
    """bench/report.py, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("bench_report", BENCH / "report.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _benchmark(net: str, batch: int, backend: str, median: float) -> dict[str, Any]:
    about = {"net": net, "batch": batch, "backend": backend, "device": f"a machine with {backend}"}
    return {"extra_info": about, "stats": {"median": median}}


def _write(folder: Path, *benchmarks: dict[str, Any]) -> Path:
    machine = {
        "python_version": "3.11.7",
        "cpu": {"brand_raw": "A processor"},
        "cores": 2,
        "blas": "openblas 0.3, threads: 1",
        "versions": {"numpy": "2.0", "cupy": "14.0"},
    }
    path = folder / "results.json"
    path.write_text(json.dumps({"machine_info": machine, "benchmarks": benchmarks}))
    return path


def test_backends_stand_side_by_side(report: Any, tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        _benchmark("wide", 128, "NumPy", 4e-3),
        _benchmark("wide", 128, "CuPy", 5e-5),
        _benchmark("wide", 8, "NumPy", 1e-3),
        _benchmark("narrow", 8, "NumPy", 5e-6),
        {"extra_info": {}, "stats": {"median": 1.0}},  # a benchmark of something else
    )
    assert report.report(path).splitlines() == [
        "One training step (float32, Adam) on a batch that is on the device already; medians.",
        "",
        "- a machine with NumPy",
        "- a machine with CuPy",
        "- A processor, 2 cores, openblas 0.3, threads: 1",
        "- Python 3.11.7, numpy 2.0, cupy 14.0",
        "",
        "| net | batch | NumPy, µs a step | samples/s | CuPy, µs a step | samples/s | speed-up |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| wide | 8 | 1,000 | 8,000 | – | – | – |",
        "| wide | 128 | 4,000 | 32,000 | 50.0 | 2,560,000 | 80.0 |",
        "| narrow | 8 | 5.00 | 1,600,000 | – | – | – |",
    ]


def test_one_backend_has_no_speed_up(report: Any, tmp_path: Path) -> None:
    assert "speed-up" not in report.report(_write(tmp_path, _benchmark("a", 1, "NumPy", 1e-3)))


def test_a_time_of_zero_divides_nothing(report: Any, tmp_path: Path) -> None:
    path = _write(tmp_path, _benchmark("a", 1, "NumPy", 1e-3), _benchmark("a", 1, "CuPy", 0.0))
    assert report.report(path).splitlines()[-1] == "| a | 1 | 1,000 | 1,000 | 0.00 | – | – |"


def test_a_machine_that_says_nothing(report: Any, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    saved = {"machine_info": {}, "benchmarks": [_benchmark("a", 1, "NumPy", 1e-3)]}
    path.write_text(json.dumps(saved))
    assert "| a | 1 | 1,000 | 1,000 |" in report.report(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ('{"benchmarks": [', "is not JSON"),
        ("[]", "is not as pytest --benchmark-json writes it"),
        ("{}", "is not as pytest --benchmark-json writes it (KeyError: 'benchmarks')"),
        (
            '{"machine_info": {}, "benchmarks": [{"extra_info": {"net": "a"}}]}',
            "is not as pytest --benchmark-json writes it (KeyError: 'batch')",
        ),
        ('{"machine_info": {}, "benchmarks": []}', "holds no benchmark of a step"),
    ],
)
def test_a_broken_file_is_one_clear_line(
    report: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    assert report.main([str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"report.py: {path} {message}")
    assert err.count("\n") == 1


def test_a_missing_file_is_one_clear_line(
    report: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main([str(tmp_path / "none.json")]) == 2
    assert "none.json can't be read: No such file" in capsys.readouterr().err
