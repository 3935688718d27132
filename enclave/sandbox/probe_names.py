"""The probes by name, the values each may take, and which values a key's owner accepts.

Evidence may hold nothing else, so this table also bounds what evidence can carry. *Tolerated*
values are weaknesses that another layer covers at A1; they must be named as warnings:

* ``netns`` shared: seccomp still refuses every socket;
* ``mounts`` shared: the last stage still refuses every look-up;
* ``landlock_abi`` 3 to 5: no TCP rules before 4 and no scopes before 6, which seccomp covers too;
* ``secret_memory`` other than ``memfd_secret``: plaintext pages are in the kernel's map;
* ``swap`` present or ``mlock`` unlocked: but not both (:mod:`enclave.evidence` checks the pair);
* ``title`` open: code inside can write to the command line that ``ps`` shows;
* ``executable_memory`` allowed: bfloat16 on a CPU compiles kernels; never for an evaluator;
* what an engine that reads files needs, as ``engine``: it is code of the plan, and not customers';
  a further Landlock layer leaves it nothing but its private folder;
* ``mapped_files`` unsealed: the kernel (before 6.10) lets libraries be unmapped, which is seen;
* ``host_root`` trusted: root on the host can always read an A1 enclave's memory.
"""

from __future__ import annotations

from typing import NamedTuple

ATTEMPTS = frozenset(
    {
        *("write.tmp", "write.var_tmp", "write.dev_shm", "write.here"),
        *("read.passwd", "read.proc", "read.root", "mkdir", "unlink", "truncate", "memfd_create"),
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


FILE_ATTEMPTS = frozenset(
    {
        *("write.tmp", "write.var_tmp", "write.dev_shm", "write.here"),
        *("read.passwd", "read.proc", "read.root"),
    }
)
"""Those that Landlock refuses by itself, tried once more before the filter: ``files.read.proc``."""

LAST = frozenset(
    {
        *("look_up.stat", "look_up.newfstatat", "look_up.statx", "look_up.access"),
        *("look_up.faccessat", "look_up.readlink", "look_up.readlinkat", "look_up.statfs"),
        *("look_up.open", "look_up.path", "look_up.library", "list_folder", "write.null"),
        *("thread", "signal_mask", "signal_mask.ppoll", "signal_handler", "signal_self", "timer"),
        *("descriptor", "shared_futex", "lock_memory", "advise_memory", "move_memory"),
        *("shared_memory", "map_file", "replace_memory"),
    }
)
"""What a process in its last stage cannot do, as it could be observed from outside."""

ENGINE = LAST - {"look_up.library", "write.null", "signal_self", "lock_memory"}
"""Those of them that an engine which reads files does in the process that trains."""

TRIED = ATTEMPTS | LAST | {f"files.{name}" for name in FILE_ATTEMPTS}
"""All of these, whose results are ``blocked``, ``open`` or ``absent``."""


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
    "executable_memory": _state("refused", refused="allowed"),
}
_MAIN_STATES = {
    "netns": _state("own", "shared"),
    "mounts": _state("own", "shared"),
    "swap": _state("none", "present unknown"),
    "secret_memory": _state("memfd_secret", "locked plain"),
    "title": _state("hidden", "open"),
    "host_root": _state("", "trusted"),
    "mapped_files": _state("sealed", "unsealed"),
    "executable_memory": _state("refused", "allowed"),
}

MAIN = TRIED | _STATES.keys() | _MAIN_STATES.keys()
"""What every enclave reports."""

EVALUATOR = frozenset(f"evaluator.{name}" for name in TRIED | _STATES.keys())
"""What an enclave with an evaluator reports of that process as well."""


def known(name: str, value: str) -> bool:
    """Whether evidence may hold this pair."""
    if name not in MAIN and name not in EVALUATOR:
        return False
    if _short(name) in TRIED:
        return value in ("blocked", "open", "absent") or tolerated(name, value)
    return any(value in values for values in _of(name))


def closed(name: str, value: str) -> bool:
    """Whether the value shows a layer that holds."""
    if _short(name) in TRIED:
        return value in ("blocked", "absent")
    return value in _of(name).good


def tolerated(name: str, value: str) -> bool:
    """Whether the value shows a weakness to accept with a warning."""
    if _short(name) in TRIED:
        return value == "engine" and name in ENGINE
    return value in _of(name).tolerated


def _short(name: str) -> str:
    return name.removeprefix("evaluator.")


def _of(name: str) -> _State:
    return _MAIN_STATES.get(name) or _STATES[_short(name)]
