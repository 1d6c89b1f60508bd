"""What captures graphs on a GPU: as many streams as threads at a time, whoever comes and goes."""

import pytest

from xpnet.backends.capture import CapturedStep

cupy_backend = pytest.importorskip(
    "xpnet.backends.cuda.cupy_backend", reason="CuPy can't be imported", exc_type=ImportError
)


class Stream:
    """A stream that does nothing: to make one of CuPy's takes a device."""

    made = 0

    def __init__(self, non_blocking):
        assert non_blocking
        type(self).made += 1


@pytest.fixture
def backend(monkeypatch):
    """Return a backend that can be made without a device, as it makes no kernels."""
    monkeypatch.setattr(cupy_backend.cupy.cuda, "Stream", Stream)
    monkeypatch.setattr(Stream, "made", 0)
    made = cupy_backend.CupyBackend(fused=False)
    made._fused = True
    return made


def test_the_graphs_of_a_thread_share_a_stream(backend):
    one, other = backend.replay(len), backend.replay(max)
    assert isinstance(one, CapturedStep)
    assert one._recorder is other._recorder
    assert Stream.made == 1


def test_a_stream_is_used_again_when_its_recorder_is_gone(backend):
    stream = backend.replay(len)._recorder._stream
    del backend._local.recorder  # as at a thread's end
    assert backend.replay(len)._recorder._stream is stream
    assert Stream.made == 1


def test_a_stream_is_nobody_else_s_while_a_graph_lives(backend):
    kept = backend.replay(len)
    del backend._local.recorder
    assert backend.replay(len)._recorder._stream is not kept._recorder._stream
    assert Stream.made == 2


def test_threads_say_once_what_can_t_be_captured(backend):
    first = backend.replay(len)._recorder.warned
    del backend._local.recorder
    assert backend.replay(len)._recorder.warned is first
