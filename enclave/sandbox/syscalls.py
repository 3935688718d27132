"""System calls by name and number, made through ``ctypes``.

That is a choice: the wrappers on package indexes are stale, development releases or need a
compiler, and a lock-down should be readable to its end. The numbers are the
kernel's (``asm/unistd_64.h`` for x86-64, ``asm-generic/unistd.h`` for aarch64). aarch64 is
untested: the numbers are right by the header, the filter has never run there.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""The architecture's name in the seccomp data (``linux/audit.h``)."""

MACHINE = platform.machine()

# name x86-64/aarch64; "-" where the architecture never had the call.
_TABLE = """
read 0/63, write 1/64, readv 19/65, writev 20/66, pread64 17/67, pwrite64 18/68, close 3/57
lseek 8/62
fstat 5/80, newfstatat 262/79, statx 332/291, stat 4/-, lstat 6/-, access 21/-, faccessat 269/48
faccessat2 439/439, readlink 89/-, readlinkat 267/78, getdents64 217/61, getcwd 79/17, open 2/-
openat 257/56, openat2 437/437, creat 85/-, fcntl 72/25, ioctl 16/29, dup 32/23, dup2 33/-
dup3 292/24
close_range 436/436
mmap 9/222, munmap 11/215, mremap 25/216, mprotect 10/226, madvise 28/233, brk 12/214
mincore 27/232
mlock 149/228, mlock2 325/284, munlock 150/229, mlockall 151/230, munlockall 152/231, msync 26/227
membarrier 324/283, memfd_create 319/279, memfd_secret 447/447, userfaultfd 323/282
pkey_alloc 330/289, pkey_mprotect 329/288, process_madvise 440/440
futex 202/98, futex_waitv 449/449, set_robust_list 273/99, get_robust_list 274/100
set_tid_address 218/96, rseq 334/293, clone 56/220, clone3 435/435, fork 57/-, vfork 58/-
execve 59/221
execveat 322/281, exit 60/93, exit_group 231/94, wait4 61/260, waitid 247/95, arch_prctl 158/-
rt_sigaction 13/134, rt_sigprocmask 14/135, rt_sigreturn 15/139, rt_sigpending 127/136
rt_sigtimedwait 128/137, rt_sigsuspend 130/133, sigaltstack 131/132, restart_syscall 219/128
kill 62/129, tkill 200/130, tgkill 234/131, rt_sigqueueinfo 129/138, rt_tgsigqueueinfo 297/240
pidfd_open 434/434, pidfd_getfd 438/438, pidfd_send_signal 424/424
clock_gettime 228/113, clock_getres 229/114, clock_nanosleep 230/115, nanosleep 35/101
gettimeofday 96/169, time 201/-, times 100/153, getitimer 36/102, setitimer 38/103, alarm 37/-
pause 34/-, timer_create 222/107, timerfd_create 283/85, clock_settime 227/112, settimeofday 164/170
adjtimex 159/171
getpid 39/172, getppid 110/173, gettid 186/178, getuid 102/174, geteuid 107/175, getgid 104/176
getegid 108/177, getresuid 118/148, getresgid 120/150, getgroups 115/158, getpgrp 111/-
getpgid 121/155, getsid 124/156, getpriority 140/141, setpriority 141/140, getrusage 98/165
getrlimit 97/163, setrlimit 160/164, prlimit64 302/261, uname 63/160, sysinfo 99/179, getcpu 309/168
getrandom 318/278, capget 125/90, capset 126/91, umask 95/166
sched_yield 24/124, sched_getaffinity 204/123, sched_setaffinity 203/122, sched_getparam 143/121
sched_setparam 142/118, sched_getscheduler 145/120, sched_setscheduler 144/119
sched_get_priority_max 146/125, sched_get_priority_min 147/126, sched_getattr 315/275
sched_setattr 314/274, get_mempolicy 239/236, set_mempolicy 238/237, mbind 237/235
migrate_pages 256/238, move_pages 279/239
poll 7/-, ppoll 271/73, select 23/-, pselect6 270/72, epoll_create 213/-, epoll_create1 291/20
epoll_ctl 233/21, epoll_wait 232/-, epoll_pwait 281/22, eventfd2 290/19, eventfd 284/-, pipe 22/-
pipe2 293/59, inotify_init 253/-, inotify_init1 294/26, fanotify_init 300/262, signalfd4 289/74
recvfrom 45/207, sendto 44/206, recvmsg 47/212, sendmsg 46/211, recvmmsg 299/243, sendmmsg 307/269
shutdown 48/210, getsockname 51/204, getpeername 52/205, getsockopt 55/209, setsockopt 54/208
socket 41/198, socketpair 53/199, bind 49/200, connect 42/203, listen 50/201, accept 43/202
accept4 288/242
ptrace 101/117, process_vm_readv 310/270, process_vm_writev 311/271, kcmp 312/272, bpf 321/280
io_uring_setup 425/425, io_uring_enter 426/426, io_uring_register 427/427, io_setup 206/0
perf_event_open 298/241, add_key 248/217, request_key 249/218, keyctl 250/219
mount 165/40, umount2 166/39, move_mount 429/429, fsopen 430/430, open_tree 428/428
mount_setattr 442/442, pivot_root 155/41, chroot 161/51, unshare 272/97, setns 308/268
swapon 167/224
swapoff 168/225, quotactl 179/60, reboot 169/142, sethostname 170/161, setdomainname 171/162
syslog 103/116, init_module 175/105, finit_module 313/273, delete_module 176/106, kexec_load 246/104
acct 163/89, iopl 172/-, ioperm 173/-, name_to_handle_at 303/-, open_by_handle_at 304/-
chdir 80/49, fchdir 81/50, mkdir 83/-, mkdirat 258/34, rmdir 84/-, rename 82/-, renameat 264/38
renameat2 316/276, link 86/-, linkat 265/37, unlink 87/-, unlinkat 263/35, symlink 88/-
symlinkat 266/36, mknod 133/-, mknodat 259/33, truncate 76/45, ftruncate 77/46, fallocate 285/47
fsync 74/82, fdatasync 75/83, sync 162/81, syncfs 306/267, sync_file_range 277/84, flock 73/32
statfs 137/43, fstatfs 138/44, sendfile 40/71, splice 275/76, tee 276/77, vmsplice 278/75
copy_file_range 326/285, fadvise64 221/223, readahead 187/213
chmod 90/-, fchmod 91/52, fchmodat 268/53, fchmodat2 452/452, chown 92/-, fchown 93/55, lchown 94/-
fchownat 260/54, utime 132/-, utimes 235/-, utimensat 280/88, futimesat 261/-, setxattr 188/5
lsetxattr 189/6, fsetxattr 190/7, removexattr 197/14, lremovexattr 198/15, fremovexattr 199/16
getxattr 191/8, lgetxattr 192/9, fgetxattr 193/10, listxattr 194/11, llistxattr 195/12
flistxattr 196/13, setxattrat 463/463
setuid 105/146, setgid 106/144, setreuid 113/145, setregid 114/143, setresuid 117/147
setresgid 119/149, setfsuid 122/151, setfsgid 123/152, setgroups 116/159, setpgid 109/154
setsid 112/157, prctl 157/167, seccomp 317/277, landlock_create_ruleset 444/444
landlock_add_rule 445/445, landlock_restrict_self 446/446, personality 135/92, vhangup 153/58
mseal 462/462
shmget 29/194, shmat 30/196, shmctl 31/195, shmdt 67/197, semget 64/190, semop 65/193, semctl 66/191
msgget 68/186, msgsnd 69/189, msgrcv 70/188, msgctl 71/187, mq_open 240/180, mq_unlink 241/181
mq_timedsend 242/182
"""


def _numbers(machine: str) -> dict[str, int]:
    column = {"x86_64": 0, "aarch64": 1}.get(machine)
    if column is None:
        return {}
    found = {}
    for entry in _TABLE.replace("\n", ",").split(","):
        if entry.strip():
            name, numbers = entry.split()
            number = numbers.split("/")[column]
            if number != "-":
                found[name] = int(number)
    return found


NUMBERS = _numbers(MACHINE)
"""This machine's system calls: name to number; empty on an architecture we do not know."""

_libc = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG, PR_GET_PDEATHSIG = 1, 2
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
PR_GET_SECCOMP = 21
PR_CAPBSET_DROP = 24
PR_SET_MM = 35
PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS = 38, 39
PR_CAP_AMBIENT = 47


def call(name: str, *arguments: int | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make the system call ``name``; integers pass as machine words, buffers by address.

    Raises ``OSError`` with the kernel's errno, and ``ENOSYS`` where this machine has no number.
    """
    number = NUMBERS.get(name)
    if number is None:
        raise OSError(38, os.strerror(38), name)
    words = [ctypes.c_void_p(a) if isinstance(a, int) else a for a in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), name)
    return result


def text(value: str) -> ctypes.Array[ctypes.c_char]:
    """A path, or another text, as an argument of :func:`call`."""
    return ctypes.create_string_buffer(value.encode())


def libc(name: str, *arguments: int) -> int:
    """Call a function of the C library that takes words, returns an int and sets errno."""
    function = getattr(_libc, name)
    result = int(function(*(ctypes.c_ulong(a & (2**64 - 1)) for a in arguments)))
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), name)
    return result


def prctl(operation: int, *arguments: int) -> int:
    """``prctl(2)`` with unused arguments as zero."""
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return libc("prctl", operation, *padded)


def parent_death_signal() -> int:
    """The signal that this process gets when the thread that started it ends; 0 for none."""
    value = ctypes.c_int(0)
    prctl(PR_GET_PDEATHSIG, ctypes.addressof(value))
    return value.value


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the parent ends; end at once if it is already gone.

    Fork and a change of credentials clear this, so it must be called again after both.
    """
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
