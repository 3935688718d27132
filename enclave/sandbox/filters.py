"""The two system-call filters: one for the process that trains, one for the customer's evaluator.

Both may compute, read what Landlock lets them read, and talk on the descriptors that they hold;
neither can make a descriptor that leads outside. What was found to be needed, with real training:

* ``mmap``/``mprotect`` with ``PROT_EXEC`` in the trainer: oneDNN compiles a kernel for every new
  shape. The evaluator has no such need, so there memory is writable or executable, never both.
* ``openat`` for reading in both: transformers imports lazily and Landlock already decides where.
* ``arch_prctl`` in the trainer: oneDNN asks for the AMX state on processors that have it.

Calls that Landlock does not cover are refused for this reason: times, modes, owners, extended
attributes and locks of files, the mask of modes, the thread's name and its priority can all be read
from outside, so each would be a way out. ``sendmsg``/``recvmsg`` are refused since they can carry
descriptors. Signal masks and handlers can be read from outside, too, but are allowed: threads and
Python need them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from errno import EACCES, ENOSYS, ENOTTY, EPERM

from strongroom.enclave.sandbox.seccomp import Condition, Filter, Null, When

_PROT_WRITE, _PROT_EXEC = 2, 4
_CLONE_THREAD = 0x10000
_O_TMPFILE = 0o20000000
_WRITING = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | _O_TMPFILE
_FIONBIO, _FIOCLEX, _FIONREAD = 0x5421, 0x5451, 0x541B
_FCNTL = (0, 1, 2, 3, 4, 1030)  # duplicate, flags of descriptor and file; no locks, no owner
_PRCTL = (2, 3, 16, 21, 39)  # read: death signal, dumpable, name, seccomp, no_new_privs

_COMPUTE = """
futex sched_yield clock_gettime clock_nanosleep nanosleep gettimeofday time times getrandom
brk munmap mremap madvise mlock mlock2 munlock membarrier
read write readv writev pread64 pwrite64 lseek close dup dup2 dup3 close_range
recvfrom shutdown getsockname getpeername getsockopt poll ppoll select pselect6
epoll_create1 epoll_ctl epoll_wait epoll_pwait
fstat newfstatat statx stat lstat access faccessat faccessat2 readlink readlinkat getdents64
getcwd statfs fstatfs
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack
restart_syscall getitimer setitimer alarm pause clock_getres
set_robust_list get_robust_list set_tid_address rseq exit exit_group
getpid getppid gettid getuid geteuid getgid getegid getresuid getresgid getgroups getpgrp getpgid
getsid getpriority getrusage getrlimit uname sysinfo getcpu capget
sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min
sched_getattr get_mempolicy
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
    **dict.fromkeys(_REFUSED_FILES.split(), EACCES),
    **dict.fromkeys((_REFUSED_CHANNELS + _REFUSED_PROCESSES + _REFUSED_SYSTEM).split(), EPERM),
    # Their arguments are in memory, which a filter cannot see; the C library falls back.
    "clone3": ENOSYS,
    "openat2": ENOSYS,
    "pkey_alloc": ENOSYS,
    "pkey_mprotect": ENOSYS,
}

_OTHERWISE = {"open": EACCES, "openat": EACCES, "ioctl": ENOTTY}


def _shared() -> dict[str, Sequence[Condition]]:
    return {
        **dict.fromkeys(_COMPUTE.split(), ()),
        "sendto": (Null(4),),
        "open": (When(1, (0,), _WRITING),),
        "openat": (When(2, (0,), _WRITING),),
        "clone": (When(0, (_CLONE_THREAD,), _CLONE_THREAD),),
        "fcntl": (When(1, _FCNTL),),
        "ioctl": (When(1, (_FIONBIO, _FIOCLEX, _FIONREAD)),),
        "prctl": (When(0, _PRCTL),),
        "prlimit64": (Null(2),),  # reading a limit; setting one is visible from outside
        "tgkill": (When(0, (os.getpid(),)),),  # raise() and abort()
    }


def trainer() -> Filter:
    """For the process that holds the keys; made in that process, whose pid it names.

    ``pidfd_send_signal`` lets it kill a hanging evaluator, the only process for which it holds a
    pidfd, since it can open no other afterwards.
    """
    allowed = {
        **_shared(),
        "mmap": (),
        "mprotect": (),
        "arch_prctl": (),
        "wait4": (),
        "waitid": (),
        "pidfd_send_signal": (When(1, (signal.SIGKILL,)),),
    }
    return Filter(allowed=allowed, refused=_REFUSED, otherwise=_OTHERWISE)


def evaluator() -> Filter:
    """For the process that runs the customer's code; made in that process, whose pid it names."""
    allowed = {
        **_shared(),
        "mmap": (When(2, (0, _PROT_WRITE, _PROT_EXEC), _PROT_WRITE | _PROT_EXEC),),
        "mprotect": (When(2, (0,), _PROT_EXEC),),
    }
    refused = {
        **_REFUSED,
        **dict.fromkeys(("wait4", "waitid", "pidfd_send_signal", "arch_prctl"), EPERM),
    }
    return Filter(allowed=allowed, refused=refused, otherwise=_OTHERWISE)
