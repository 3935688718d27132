"""The system-call filters: for the process that holds keys, and for the customer's evaluator.

Every process here reaches a last stage, before it has the first row or key: it may compute, take
memory, wait, and talk on the descriptors that it holds, and no call is left whose argument or side
effect somebody outside could observe. The process that holds keys is in it from stage B on
(:func:`trainer`). An evaluator has to load the customer's code first: :func:`evaluator` allows
what loading needs, and :func:`watch` puts all that is not of the last stage before a listener,
which the enclave closes before the first row.

What is not of the last stage, and how it would be observed:

* calls that take a path: whoever serves a mount hears each name that is looked up, before Landlock
  has a say; inotify tells the order in which files are opened, read and closed;
* mapping, unmapping and advising memory of files: what is in the page cache can be asked for from
  outside, and the last unmapping closes a file. Memory comes from ``brk`` and anonymous mappings;
* signal masks and handlers, threads that begin or end, descriptors, timers, locked memory:
  ``/proc/PID/status`` shows them, or a number that follows from them. So do masks that ``ppoll``
  and its like take, and the frame that ``rt_sigreturn`` reads;
* writing to the null device, for which inotify has an event;
* futexes that are not private: a process outside can wait on the same page of a library;
* memory that is executable, or duplicated by ``mremap``: no observer, but more ways to make calls.

Refused in every stage, since Landlock does not cover them: times, modes, owners, extended
attributes and locks of files, the mask of modes, the thread's name and its priority can all be read
from outside. ``sendmsg``/``recvmsg`` are refused since they can carry descriptors.
"""

from __future__ import annotations

import mmap
import os
import signal
from collections.abc import Mapping, Sequence
from errno import EACCES, ENOSYS, ENOTTY, EPERM

from strongroom.enclave.sandbox.seccomp import (
    Condition,
    Either,
    Filter,
    Null,
    Unless,
    Watch,
    When,
)

NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101
"""What :mod:`enclave.sandbox.listener` does with a watch's listener."""

FAULTS = (signal.SIGILL, signal.SIGTRAP, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV)
"""Signals of a fault, for which the kernel writes to its log unless they are handled."""
_KEPT = (*FAULTS, signal.SIGSYS)

_WRITE, _EXEC = mmap.PROT_WRITE, mmap.PROT_EXEC
_SHARED, _PRIVATE, _FIXED, _ANONYMOUS = 0x01, 0x02, 0x10, 0x20
_GROWS_DOWN, _LOCKED, _HUGE_TLB = 0x100, 0x2000, 0x40000
_ARENAS = (1 << 18, 1 << 20)
_CLONE_THREAD = 0x10000
_FUTEX_PRIVATE = 128
_O_TMPFILE = 0o20000000
_WRITING = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | _O_TMPFILE
_FIONBIO, _FIOCLEX, _FIONREAD = 0x5421, 0x5451, 0x541B
_FLAGS = (1, 2, 3, 4)  # of a descriptor and of an open file; no locks, no owner
_COPIES = (0, 1030)  # F_DUPFD, F_DUPFD_CLOEXEC: never in the place of another, as with dup2
_PRCTL = (2, 3, 16, 21, 39)  # read: death signal, dumpable, name, seccomp, no_new_privs
_STANDARD, _SOCKET = (0, 1, 2), 3  # of an evaluator: the null device, and the enclave

_ALWAYS = """
sched_yield clock_gettime clock_nanosleep nanosleep clock_getres gettimeofday time times getrandom
brk poll select pause restart_syscall exit_group getsockname getpeername getsockopt
getpid getppid gettid getuid geteuid getgid getegid getresuid getresgid getgroups getpgrp getpgid
getsid getpriority getrusage getrlimit uname sysinfo getcpu capget get_mempolicy
sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min
sched_getattr
"""

_LOOK_UPS = """
fstat newfstatat statx stat lstat access faccessat faccessat2 readlink readlinkat getdents64
getcwd statfs fstatfs
"""

_LOADING = f"""
{_LOOK_UPS}
dup read write readv writev pread64 pwrite64 lseek recvfrom shutdown futex ppoll pselect6
epoll_create1 epoll_ctl epoll_wait epoll_pwait munmap mprotect mremap madvise membarrier
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack
getitimer setitimer alarm set_robust_list get_robust_list set_tid_address rseq exit
"""

_TALKING = "read readv pread64 pwrite64 lseek close recvfrom shutdown wait4 waitid munmap"

_NEVER = """
dup2 dup3 close_range mlock mlock2 munlock mlockall munlockall arch_prctl
wait4 waitid pidfd_send_signal tgkill
"""

_REFUSED_FILES = """
creat mkdir mkdirat rmdir rename renameat renameat2 link linkat unlink unlinkat symlink symlinkat
mknod mknodat truncate ftruncate fallocate fsync fdatasync sync syncfs sync_file_range flock
sendfile splice tee vmsplice copy_file_range readahead fadvise64 chdir fchdir
chmod fchmod fchmodat fchmodat2 umask chown fchown lchown fchownat utime utimes utimensat futimesat
setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr setxattrat
getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr
inotify_init inotify_init1 fanotify_init name_to_handle_at open_by_handle_at
"""

_REFUSED_CHANNELS = """
socket socketpair bind connect listen accept accept4 setsockopt sendmsg recvmsg sendmmsg recvmmsg
pipe pipe2 eventfd eventfd2 signalfd4 timerfd_create timer_create memfd_create memfd_secret
shmget shmat shmctl shmdt semget semop semctl msgget msgsnd msgrcv msgctl
mq_open mq_unlink mq_timedsend add_key request_key keyctl
io_uring_setup io_uring_enter io_uring_register io_setup
"""

_REFUSED_PROCESSES = """
fork vfork execve execveat kill tkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_open pidfd_getfd
ptrace process_vm_readv process_vm_writev process_madvise kcmp setpgid setsid
setpriority sched_setaffinity sched_setparam sched_setscheduler sched_setattr
set_mempolicy mbind migrate_pages move_pages setrlimit mincore userfaultfd perf_event_open bpf
"""

_REFUSED_SYSTEM = """
mount umount2 move_mount fsopen open_tree mount_setattr pivot_root chroot unshare setns
setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset
seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self personality
sethostname setdomainname syslog quotactl clock_settime settimeofday adjtimex
"""

_REFUSED: Mapping[str, int] = {
    **dict.fromkeys((_LOADING + _NEVER).split(), EPERM),
    **dict.fromkeys((_REFUSED_FILES + _LOOK_UPS).split(), EACCES),
    **dict.fromkeys(("open", "openat"), EACCES),
    "clone": EPERM,
    **dict.fromkeys((_REFUSED_CHANNELS + _REFUSED_PROCESSES + _REFUSED_SYSTEM).split(), EPERM),
    # Their arguments are in memory, which a filter cannot see; the C library falls back.
    "clone3": ENOSYS,
    "openat2": ENOSYS,
    "pkey_alloc": ENOSYS,
    "pkey_mprotect": ENOSYS,
}

_OTHERWISE = {"open": EACCES, "openat": EACCES, "ioctl": ENOTTY}

_ANONYMOUS_ONLY = When(
    3,
    (_PRIVATE | _ANONYMOUS,),
    _SHARED | _PRIVATE | _FIXED | _ANONYMOUS | _GROWS_DOWN | _LOCKED | _HUGE_TLB,
)
_NOT_EXECUTABLE = When(2, (0,), _EXEC)

_OPENING: Mapping[str, Sequence[Condition]] = {
    "open": (When(1, (0,), _WRITING),),
    "openat": (When(2, (0,), _WRITING),),
    "clone": (When(0, (_CLONE_THREAD,), _CLONE_THREAD),),
}

_LAST: Mapping[str, Sequence[Condition]] = {
    **dict.fromkeys(_ALWAYS.split(), ()),
    "futex": (When(1, (_FUTEX_PRIVATE,), _FUTEX_PRIVATE),),
    "mmap": (_NOT_EXECUTABLE, _ANONYMOUS_ONLY),
    "ppoll": (Null(3),),
    "pselect6": (Null(5),),
    "sendto": (Null(4),),
    "fcntl": (When(1, _FLAGS),),
    "ioctl": (When(1, (_FIONBIO, _FIOCLEX, _FIONREAD)),),
    "prctl": (When(0, _PRCTL),),
    "prlimit64": (Null(2),),  # reading a limit; setting one is visible from outside
}
"""What a process may still do in its last stage, whatever it is."""


def trainer(*, executable: bool = False, engine: bool = False) -> Filter:
    """For a process that holds keys.

    Mappings of files are sealed by then (:func:`enclave.sandbox.lockdown.keep_files`), so it may
    unmap and protect the rest. With ``pidfd_send_signal`` it stops and kills its evaluators, the
    only processes for which it holds a pidfd, since it can open no other afterwards.

    Two weaker variants, which its evidence names: ``executable`` memory, as oneDNN compiles a
    kernel for each new shape of bfloat16 (float32 needs none); and what an ``engine`` that reads
    files does at any time: it opens its private folder and starts threads.
    """
    own: dict[str, Sequence[Condition]] = {
        **dict.fromkeys(_TALKING.split(), ()),
        "write": (Unless(0, _STANDARD),),
        "writev": (Unless(0, _STANDARD),),
        "mprotect": () if executable else (_NOT_EXECUTABLE,),
        "mremap": (Unless(1, (0,)),),
        "ioctl": (When(1, (_FIONBIO, _FIOCLEX, _FIONREAD, NOTIF_RECV, NOTIF_SEND)),),
        "pidfd_send_signal": (When(1, (signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT)),),
    }
    if engine:
        loading = dict.fromkeys(_LOADING.split(), ())
        return _filter({**_LAST, **loading, **_OPENING, **own, "mmap": ()})
    if executable:
        own["mmap"] = (_ANONYMOUS_ONLY,)
    return _filter({**_LAST, **own})


def evaluator() -> Filter:
    """For the process that runs the customer's code, in every stage.

    Memory is never writable and executable, and never executable unless it is of a file.
    """
    of_file = When(3, (_PRIVATE,), _SHARED | _PRIVATE | _ANONYMOUS)
    return _filter(
        {
            **_LAST,
            **dict.fromkeys(_LOADING.split(), ()),
            **_OPENING,
            "close": (Unless(0, (*_STANDARD, _SOCKET)),),
            "fcntl": (When(1, (*_FLAGS, *_COPIES)),),
            "rt_sigaction": (Unless(0, _KEPT),),
            "mmap": (
                Either(_NOT_EXECUTABLE, of_file),
                When(2, (0, _WRITE, _EXEC), _WRITE | _EXEC),
            ),
            "mprotect": (_NOT_EXECUTABLE,),
        }
    )


def watch() -> Watch:
    """Of what :func:`evaluator` allows, all that is not of the last stage.

    A mapping of the size of an arena of Python's own allocator is not, since it could not be given
    back; objects beyond the arenas that there are come from the C library's heap.
    """
    last = {
        **_LAST,
        "read": (When(0, (_SOCKET,)),),
        "write": (When(0, (_SOCKET,)),),
        "mmap": (*_LAST["mmap"], Unless(1, _ARENAS)),
    }
    asked = {name: last.get(name) for name in evaluator().allowed}
    return Watch({name: conditions for name, conditions in asked.items() if conditions != ()})


def _filter(allowed: Mapping[str, Sequence[Condition]]) -> Filter:
    refused = {name: errno for name, errno in _REFUSED.items() if name not in allowed}
    return Filter(allowed, refused, _OTHERWISE)
