from __future__ import annotations

import faulthandler
import os
import pickle
from pathlib import Path

import pytest

from strongroom.enclave.sandbox import secret_memory, syscalls
from strongroom.enclave.sandbox.probes import open_fds
from strongroom.enclave.sandbox.secret_memory import SecretMemory

CANARY = b"canary-" + bytes(range(97, 120))


@pytest.fixture(params=["memfd_secret", "fallback"])
def kind(request, monkeypatch):
    if request.param == "fallback":

        def none(_: int) -> int:
            raise OSError(38, "no memfd_secret")

        monkeypatch.setattr(secret_memory, "_map_secret", none)
        return ("locked", "plain")
    try:
        os.close(syscalls.call("memfd_secret", 0))
    except OSError:
        pytest.skip("this kernel has no memfd_secret")
    return ("memfd_secret",)


def test_it_is_writable_zeroed_memory_of_the_size_asked(kind):
    with SecretMemory(10_000) as window:
        assert window.kind in kind
        assert len(window.buffer) == window.size_bytes == 10_000
        assert bytes(window.buffer) == bytes(10_000)
        window.buffer[9_990:] = b"0123456789"
        assert bytes(window.buffer[9_990:]) == b"0123456789"


def test_a_child_does_not_inherit_it(kind):
    with SecretMemory(4096) as window:
        pid = os.fork()
        if pid == 0:
            faulthandler.disable()  # pytest's would print the expected crash
            window.buffer[0]  # SIGSEGV: the mapping is not there
            os._exit(0)
        _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)


def test_no_descriptor_stays_open(kind):
    before = open_fds()
    with SecretMemory(4096):
        assert open_fds() == before


def test_it_is_left_out_of_core_files(kind):
    with SecretMemory(4096) as window:
        address = f"{window._address:x}-"
        text = Path("/proc/self/smaps").read_text()
    entry = text[text.index(address) :]
    flags = next(line for line in entry.splitlines() if line.startswith("VmFlags"))
    assert {"dd", "dc"} <= set(flags.split())


def test_the_kernel_cannot_read_it_for_root(kind):
    """``/proc/self/mem`` is how a debugger and root read: the fallback is the control."""
    with SecretMemory(4096) as window:
        window.buffer[: len(CANARY)] = CANARY
        with Path("/proc/self/mem").open("rb", buffering=0) as memory:
            memory.seek(window._address)
            if kind == ("memfd_secret",):
                with pytest.raises(OSError, match="Input/output error"):
                    memory.read(64)
            else:
                assert memory.read(64).startswith(CANARY)


def test_it_neither_pickles_nor_shows_its_content(kind):
    with SecretMemory(64) as window:
        window.buffer[: len(CANARY)] = CANARY
        assert "canary" not in repr(window)
        with pytest.raises(TypeError):
            pickle.dumps(window)


def test_closing_twice_is_harmless_and_the_buffer_is_gone(kind):
    window = SecretMemory(64)
    window.close()
    window.close()
    with pytest.raises(ValueError, match="released"):
        window.buffer[0]


def test_a_window_of_nothing_is_refused():
    with pytest.raises(ValueError, match="0 bytes"):
        SecretMemory(0)
