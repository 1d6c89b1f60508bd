"""``ci/gpu.sh quick``: whatever a claim does, the others are settled, and the table has all."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "ci" / "gpu"))

import quick  # noqa: E402 - it is found only now

pytestmark = pytest.mark.slow

#: A part whose claims do what a GPU may do to them.
STUB = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {gpu!r})
import worker

class Device:
    def is_sound(self):
        return not sick

sick = False

def fail():
    raise ValueError("two\\n lines")

def sicken():
    global sick
    sick = True
    raise RuntimeError("cudaErrorIllegalAddress")

CLAIMS = dict(
    good=lambda: (True, "1 µs", dict(device=1)),
    wrong=lambda: (False, "2 µs | 3"),
    failing=fail,
    sick=sicken,
    dead=lambda: os.kill(os.getpid(), signal.SIGSEGV),
    gone=lambda: os._exit(0),
    hanging=lambda: time.sleep(60),
    last=lambda: (None, "no JAX"),
)

if sys.argv[1] == "memory":
    raise ImportError("no such module")
part, path, skip = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3].partition("=")[2])
writer = worker.Writer(part, path)
writer.write(claims=list(CLAIMS))
print("a line of", part)
for name, claim in list(CLAIMS.items())[skip:]:
    if not writer.settle(name, claim) and not Device().is_sound():
        os._exit(3)
os._exit(0)
"""


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """Put a worker in the place of that with the true claims; return where it runs."""
    path = tmp_path / "stub.py"
    path.write_text(STUB.replace("{gpu!r}", repr(str(quick.HERE))))
    monkeypatch.setattr(quick, "WORKER", path)
    monkeypatch.setattr(quick, "ONE_CLAIM", 1.5)
    return tmp_path


def results(folder):
    saved = json.loads((folder / "quick.json").read_text())
    return {(c["part"], c["claim"]): (c["held"], c["figure"]) for c in saved["claims"]}


def test_a_claim_that_fails_costs_itself_alone(stub, capsys):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    status = quick.main(["machine", "step", "memory", "-o", str(stub)])
    assert status == 1
    found = results(stub)
    for part in ("machine", "step"):
        assert {claim: held for (p, claim), (held, _) in found.items() if p == part} == {
            "good": True,
            "wrong": False,
            "failing": False,
            "sick": False,
            "dead": False,
            "gone": False,
            "hanging": False,
            "last": None,
        }
        assert found[part, "failing"][1] == "ValueError: two lines"
        assert "SIGSEGV" in found[part, "dead"][1]
        assert "not done within 1.5 s" in found[part, "hanging"][1]
    assert found["memory", "the part begins"][0] is False
    out = capsys.readouterr().out
    assert "2 claims held, 13 did not, 2 could not be told: see" in out
    assert "ImportError: no such module" in (stub / "quick.log").read_text()
    assert "| step | wrong | NOT HELD | 2 µs \\| 3 |" in (stub / "quick.md").read_text()
    assert json.loads((stub / "quick.json").read_text())["facts"] == {"device": 1}
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_a_part_is_ended_when_its_time_is_up(stub, monkeypatch):
    monkeypatch.setitem(quick.PARTS, "step", quick.Part("", "", 0, 1.0))
    monkeypatch.setattr(quick, "ONE_CLAIM", 60.0)
    assert quick.main(["step", "-o", str(stub)]) == 1
    found = results(stub)
    assert found["step", "hanging"] == (None, "not done when the time was up")
    assert found["step", "last"] == (None, "not reached")


def test_all_ends_when_the_whole_time_is_up(stub, monkeypatch):
    monkeypatch.setattr(quick, "ONE_CLAIM", 60.0)
    assert quick.main(["machine", "step", "--limit", "1.5", "-o", str(stub)]) == 1
    found = results(stub)
    assert found["machine", "hanging"] == (None, "not done when the time was up")
    assert found["step", "the part begins"] == (None, "not reached")


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_what_was_settled_is_kept_when_it_is_broken_off(stub, sent):
    code = (
        f"import sys; sys.path.insert(0, {str(quick.HERE)!r}); import quick; "
        f"quick.WORKER = {str(quick.WORKER)!r}; sys.exit(quick.main(['step', '-o', {str(stub)!r}]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    while not _begun(stub):
        time.sleep(0.05)
    process.send_signal(sent)
    out, _ = process.communicate()
    assert process.returncode == 130
    assert results(stub)["step", "good"] == (True, "1 µs")
    assert "did not" in out


def _begun(folder):
    path = folder / "quick.jsonl"
    return path.exists() and '"hanging", "time"' in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nosuch"], "no part 'nosuch': there are machine, kernels"),
        (["--limit", "0"], "--limit is 0: give seconds above 0"),
        (["--limit", "nan"], "--limit is nan: give seconds above 0"),
    ],
)
def test_a_wrong_command_is_told(arguments, said, capsys):
    with pytest.raises(SystemExit) as stop:
        quick.main(arguments)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_a_folder_that_can_t_be_written_to_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert quick.main(["-o", str(tmp_path / "file")]) == 2
    assert "can't be written" in capsys.readouterr().err


def test_without_a_gpu_it_says_so(tmp_path):
    from xpnet.backends.select import why_no_cuda

    why = why_no_cuda()
    if why is None:
        pytest.skip("there is a GPU")
    assert quick.main(["machine", "-o", str(tmp_path)]) == 1
    assert all(held is False and why in figure for held, figure in results(tmp_path).values())


def test_a_dry_run_holds_all_claims_but_those_of_time(tmp_path):
    """Every line that needs no device runs, on the stand-in."""
    status = quick.main(["--dry-run", "-o", str(tmp_path)])
    found = results(tmp_path)
    assert {part for part, _ in found} == set(quick.PARTS)
    assert [claim for claim, (held, _) in found.items() if held is False] == []
    assert status == 0
    assert {part for (part, _), (held, _) in found.items() if held is None} <= {
        "times",
        "members",  # whose biases cuBLASLt adds, which the stand-in has not
        "compiling",  # where PyTorch or JAX is not installed
        "estimators",  # those with PyTorch's tensors, where it is not installed
    }
    assert "none of this is a figure of a GPU" in (tmp_path / "quick.md").read_text()
