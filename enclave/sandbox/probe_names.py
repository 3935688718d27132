"""The probes by name, the values each may take, and which values a key's owner accepts.

Evidence may hold nothing else, so this table also bounds what evidence can carry. *Tolerated*
values are weaknesses that another layer covers at A1; they must be named as warnings:

* ``netns`` shared: seccomp still refuses every socket;
* ``landlock_abi`` 3 to 5: no TCP rules before 4 and no scopes before 6, which seccomp covers too;
* ``secret_memory`` other than ``memfd_secret``: plaintext pages are in the kernel's map;
* ``swap`` present or ``mlock`` unlocked: but not both (:mod:`enclave.evidence` checks the pair);
* ``title`` open: code inside can write to the command line that ``ps`` shows;
* ``host_root`` trusted: root on the host can always read an A1 enclave's memory.
"""

from __future__ import annotations

from typing import NamedTuple

ATTEMPTS = frozenset(
    {
        *("write.tmp", "write.var_tmp", "write.dev_shm", "write.here"),
        *("read.passwd", "read.proc", "mkdir", "unlink", "truncate", "memfd_create"),
        *("chmod", "chown", "utime", "xattr", "flock"),
        *("socket.inet", "socket.inet6", "socket.unix", "socket.vsock", "socket.netlink"),
        *("socket.packet", "socketpair", "sendmsg", "pipe"),
        *("shm", "message_queue", "keyring", "io_uring"),
        *("fork", "exec", "signal", "priority", "affinity", "thread_name", "raise_limit"),
        *("ptrace", "process_memory", "pidfd", "perf_event", "bpf", "userfaultfd"),
        *("mount", "unshare", "chroot", "set_dumpable", "credentials"),
    }
)
"""Things tried from inside: ``blocked``, ``open``, or ``absent`` without such a call."""


class _State(NamedTuple):
    """The values of one property of a process, by whether a key's owner accepts them."""

    good: frozenset[str]
    tolerated: frozenset[str]
    refused: frozenset[str]


def _state(good: str, tolerated: str = "", refused: str = "") -> _State:
    return _State(*(frozenset(values.split()) for values in (good, tolerated, refused)))


_STATES = {
    "dumpable": _state("0", refused="1 2"),
    "core_limit": _state("0", refused="raised"),
    "file_limit": _state("0", refused="raised"),
    "no_new_privs": _state("1", refused="0"),
    "seccomp": _state("2", refused="0 1"),
    "capabilities": _state("none ipc_lock", refused="some"),
    "parent_death": _state("killed", refused="survives"),
    "stdio": _state("null", refused="open"),
    "inherited_fds": _state("0", refused="some"),
    "landlock_abi": _state("6 7 8 9 10 11 12", "3 4 5", "0 1 2"),
    "mlock": _state("locked", "unlocked"),
}
_MAIN_STATES = {
    "netns": _state("own", "shared"),
    "swap": _state("none", "present unknown"),
    "secret_memory": _state("memfd_secret", "locked plain"),
    "title": _state("hidden", "open"),
    "host_root": _state("", "trusted"),
}

MAIN = ATTEMPTS | _STATES.keys() | _MAIN_STATES.keys()
"""What every enclave reports."""

EVALUATOR = frozenset(f"evaluator.{name}" for name in ATTEMPTS | _STATES.keys())
"""What an enclave with an evaluator reports of that process as well."""


def known(name: str, value: str) -> bool:
    """Whether evidence may hold this pair."""
    if name not in MAIN and name not in EVALUATOR:
        return False
    if _short(name) in ATTEMPTS:
        return value in ("blocked", "open", "absent")
    return any(value in values for values in _of(name))


def closed(name: str, value: str) -> bool:
    """Whether the value shows a layer that holds."""
    if _short(name) in ATTEMPTS:
        return value in ("blocked", "absent")
    return value in _of(name).good


def tolerated(name: str, value: str) -> bool:
    """Whether the value shows a weakness to accept with a warning."""
    return _short(name) not in ATTEMPTS and value in _of(name).tolerated


def _short(name: str) -> str:
    return name.removeprefix("evaluator.")


def _of(name: str) -> _State:
    return _STATES.get(_short(name)) or _MAIN_STATES[name]
