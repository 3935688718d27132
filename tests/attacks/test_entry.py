"""What a process of ours may be born with: a descriptor, a thread or a mapping of somebody else's.

The controls show that the child has it, when nobody looks.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.enclave.parent import TaskEnclave
from strongroom.isolated import boot, start
from strongroom.isolated.errors import CodeRefused

_OPENED = {
    "a file": lambda: os.open("/etc/hostname", os.O_RDONLY),
    "a memory file": lambda: os.memfd_create("foreign", 0),
    "a socket": lambda: socket.socket().detach(),
    "a pipe": lambda: os.pipe()[1],
    "a folder": lambda: os.open("/", os.O_RDONLY | os.O_DIRECTORY),
}


@pytest.fixture(params=_OPENED)
def foreign(request: pytest.FixtureRequest) -> Iterator[int]:
    descriptor = _OPENED[request.param]()
    os.set_inheritable(descriptor, True)
    yield descriptor
    os.close(descriptor)


def test_a_foreign_descriptor(foreign: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A starter that lets more through than it says: as a library could that replaced ``Popen``."""
    held = f"import os; os.fstat({foreign})"
    subprocess.run([sys.executable, "-I", "-c", held], pass_fds=[foreign], check=True)
    popen: Any = subprocess.Popen.__init__

    def leaking(self: Any, *arguments: Any, pass_fds: tuple[int, ...], **options: Any) -> None:
        popen(self, *arguments, pass_fds=(*pass_fds, foreign), **options)

    monkeypatch.setattr(start.subprocess.Popen, "__init__", leaking)
    with pytest.raises(CodeRefused) as caught:
        start.run("strongroom.policies.interpreter", environment={})
    assert caught.value.place == f"descriptor {foreign}"
    enclave = TaskEnclave("prober", "strongroom.enclave.roles.probe")
    with pytest.raises(CodeRefused), enclave:
        enclave.evidence()


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A file that is mapped as a library would be, and is none of the measured ones."""
    copy = tmp_path / "libz.so.1"
    shutil.copy(boot.__file__, copy)
    return copy


_BEFORE = {
    "a thread": "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()",
    "a mapping": """
import mmap
file = open(LIBRARY, 'rb')
held = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
file.close()
import os
for number in os.listdir('/proc/self/fd'):
    if os.path.realpath(f'/proc/self/fd/{number}') == LIBRARY:
        os.close(int(number))
""",
}


@pytest.mark.parametrize("kind", _BEFORE)
def test_what_ran_before_our_first_line(
    kind: str, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a preloaded library, or a changed start of the interpreter, could leave it."""
    before = textwrap.dedent(_BEFORE[kind]).replace("LIBRARY", repr(str(library)))
    assert start.run("strongroom.policies.interpreter", environment={}).returncode == 1
    monkeypatch.setattr(start, "_LINE", f"exec({before!r}); {start._LINE}")
    monkeypatch.setattr(start, "_OPTIONS", (*start._OPTIONS[:-1], start._LINE))
    with pytest.raises(CodeRefused) as caught:
        start.run("strongroom.policies.interpreter", environment={})
    expected = {"a thread": "the process at its start", "a mapping": str(library)}
    assert caught.value.place == expected[kind]
