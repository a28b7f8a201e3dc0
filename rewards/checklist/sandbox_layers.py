"""What shuts a process off from everything but its own memory: namespaces, and a filter of system calls.

Used only by ``sandbox_child``, in a fresh interpreter, so it imports the standard library only. Linux; the filter
knows x86-64 and aarch64. Numbers are those of the kernel's headers (``unistd_64.h``, ``asm-generic/unistd.h``).
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 1, 2, 4, 8, 0x4000, 0x40000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_CAPABILITY_VERSION_3 = 0x20080522

_X86_64 = {
    "read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12,
    "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24, "mremap": 25, "madvise": 28,
    "nanosleep": 35, "getpid": 39, "exit": 60, "gettimeofday": 96, "sigaltstack": 131, "gettid": 186, "futex": 202,
    "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231,
    "getrandom": 318,
}  # fmt: skip
_AARCH64 = {
    "read": 63, "write": 64, "close": 57, "fstat": 80, "lseek": 62, "mmap": 222, "mprotect": 226, "munmap": 215,
    "brk": 214, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "sched_yield": 124, "mremap": 216,
    "madvise": 233, "nanosleep": 101, "getpid": 172, "exit": 93, "gettimeofday": 169, "sigaltstack": 132,
    "gettid": 178, "futex": 98, "restart_syscall": 128, "clock_gettime": 113, "clock_getres": 114,
    "clock_nanosleep": 115, "exit_group": 94, "getrandom": 278,
}  # fmt: skip
_SHARING_X86_64 = {
    "shmget": 29, "shmat": 30, "shmctl": 31, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "semget": 64,
    "semop": 65, "semctl": 66, "shmdt": 67, "msgget": 68, "msgsnd": 69, "msgrcv": 70, "msgctl": 71, "ptrace": 101,
    "semtimedop": 220, "mq_open": 240, "mq_unlink": 241, "mq_timedsend": 242, "mq_timedreceive": 243,
    "mq_notify": 244, "mq_getsetattr": 245, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272,
    "perf_event_open": 298, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "bpf": 321,
    "execveat": 322, "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "pidfd_open": 434, "clone3": 435, "pidfd_getfd": 438,
}  # fmt: skip
_SHARING_AARCH64 = {
    "unshare": 97, "ptrace": 117, "mq_open": 180, "mq_unlink": 181, "mq_timedsend": 182, "mq_timedreceive": 183,
    "mq_notify": 184, "mq_getsetattr": 185, "msgget": 186, "msgctl": 187, "msgrcv": 188, "msgsnd": 189,
    "semget": 190, "semctl": 191, "semtimedop": 192, "semop": 193, "shmget": 194, "shmctl": 195, "shmat": 196,
    "shmdt": 197, "add_key": 217, "request_key": 218, "keyctl": 219, "clone": 220, "execve": 221,
    "perf_event_open": 241, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "bpf": 280,
    "execveat": 281, "userfaultfd": 282, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "pidfd_open": 434, "clone3": 435, "pidfd_getfd": 438,
}  # fmt: skip
_MACHINES = {
    "x86_64": (0xC000003E, _X86_64, _SHARING_X86_64),
    "aarch64": (0xC00000B7, _AARCH64, _SHARING_AARCH64),
}
"""For each machine the kernel's audit number, the system calls that a program may make, and those that namespaces
alone leave open. The former are what computing in memory takes, and writing to descriptors that are already open:
nothing opens a file or socket, starts or signals a process. The latter start processes (no limit on their number holds
for root) or keep data beyond the process: shared memory, message queues, keyrings."""

_BPF_LOAD, _BPF_EQUAL, _BPF_AT_LEAST, _BPF_RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | 1  # the last one: errno EPERM
_X32_BIT = 0x40000000


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Leave the namespaces that ``flags`` names; ``OSError`` where the kernel refuses."""
    _checked(_LIBC.unshare(flags), "unshare")


def enter_pid_namespace(descriptor: int) -> None:
    """Make the namespace of ``descriptor`` the one that new children are born in."""
    _checked(_LIBC.setns(descriptor, CLONE_NEWPID), "setns")


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that forked it ends."""
    _checked(_LIBC.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(9), 0, 0, 0), "prctl")


def enter_namespaces() -> None:
    """Enter new user, network, mount, IPC, UTS and PID namespaces (the last one from the next fork on).

    Raises:
        OSError: the kernel or a container's policy does not allow it.
    """
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID)
    for name, line in (("setgroups", "deny"), ("uid_map", f"65534 {uid} 1"), ("gid_map", f"65534 {gid} 1")):
        Path("/proc/self", name).write_text(line)


def empty_filesystem() -> None:
    """Make an empty read-only file system the root of this process.

    Raises:
        OSError: the process is not in a mount namespace of its own.
    """
    mount = _LIBC.mount
    _checked(mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), "mount private")
    flags = ctypes.c_ulong(_MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _checked(mount(b"tmpfs", b"/proc", b"tmpfs", flags, b"size=4k,nr_inodes=2"), "mount tmpfs")
    os.chdir("/proc")
    os.chroot(".")
    os.chdir("/")


def limit(memory_mb: int, cpu_seconds: int) -> None:
    """Limit memory and processor time, and forbid files, processes and core dumps; no limit can be raised again."""
    megabytes = memory_mb * 2**20
    for what, most in (
        (resource.RLIMIT_AS, megabytes),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 8),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(what, (most, most))


def drop_privileges() -> None:
    """Give up all capabilities, and the way to get new ones."""
    _checked(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0), "prctl no_new_privs")
    _checked(_LIBC.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), 0, 0, 0), "prctl dumpable")
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    none = ctypes.create_string_buffer(24)
    _checked(_LIBC.capset(header, none), "capset")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def filter_system_calls() -> None:
    """Refuse (``EPERM``) every system call that is not needed to compute in memory, from now on and for good.

    Raises:
        OSError: the kernel has no such filter, or this machine's system calls are not known here.
    """
    audit, calls, _ = _machine()
    _install(audit, calls, _ALLOW, _REFUSE)


def refuse_sharing() -> None:
    """Refuse (``EPERM``) the system calls by which a program in namespaces starts processes or leaves data to others.

    Raises:
        OSError: the kernel has no such filter, or this machine's system calls are not known here.
    """
    audit, _, calls = _machine()
    _install(audit, calls, _REFUSE, _ALLOW)


def share_memory() -> None:
    """Make a segment of System V shared memory, and remove it; ``OSError`` where that is refused."""
    segment = _checked(_LIBC.shmget(0, ctypes.c_size_t(4096), 0o1600), "shmget")
    _LIBC.shmctl(segment, 0, None)


def keep_a_key() -> None:
    """Look up this process's keyring; ``OSError`` where that is refused."""
    _checked(_LIBC.syscall(ctypes.c_long(_machine()[2]["keyctl"]), 0, -2, 1), "keyctl")


def _machine() -> tuple[int, dict[str, int], dict[str, int]]:
    machine = platform.machine()
    if machine not in _MACHINES:
        raise OSError(38, f"no system call table for {machine}")
    return _MACHINES[machine]


def _install(audit: int, calls: dict[str, int], listed: int, others: int) -> None:
    steps = [
        (_BPF_LOAD, 0, 0, 4),
        (_BPF_EQUAL, 1, 0, audit),
        (_BPF_RETURN, 0, 0, _KILL),
        (_BPF_LOAD, 0, 0, 0),
        (_BPF_AT_LEAST, 0, 1, _X32_BIT),
        (_BPF_RETURN, 0, 0, _KILL),
    ]
    for number in calls.values():
        steps += [(_BPF_EQUAL, 0, 1, number), (_BPF_RETURN, 0, 0, listed)]
    steps.append((_BPF_RETURN, 0, 0, others))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.addressof(code))
    zero = ctypes.c_ulong(0)
    result = _LIBC.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(2), ctypes.byref(program), zero, zero)
    _checked(result, "prctl seccomp")
