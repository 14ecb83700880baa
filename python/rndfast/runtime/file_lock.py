"""A lock on a file: one process at most holds it, and it ends with that process, however that ends.

It is an advisory `flock`: who only reads does not ask for it, and is not kept out.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

# What a file system answers that has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
# Options of network mounts (NFS, Lustre) under which a lock holds among processes of one machine.
_LOCAL_LOCKS = {"nolock", "local_lock=all", "local_lock=flock", "localflock"}
_MOUNTS = Path("/proc/self/mountinfo")
_MAX_HOLDER_BYTES = 1000

_descriptors: set[int] = set()  # of the locks that this process holds


class InUse(OSError):
    """Another process holds the lock."""


@contextlib.contextmanager
def hold_lock(path: Path, what: str, say: Callable[[str], None]) -> Iterator[bool]:
    """Hold the lock of the file ``path``, which is made if it is missing, and stays.

    The file names the holder: machine, process and since when. A copy of this process made by
    `os.fork` does not hold the lock, nor does a program that it starts.

    Args:
        path: The file, in a directory that exists.
        what: What the lock protects, for messages: "run directory runs/first".
        say: Receives a line where the file system has no locks, or none that other machines see.

    Returns:
        Whether it is certain that nobody else holds the lock, on any machine.

    Raises:
        InUse: Another process holds it; the message names it.
        OSError: The file is a link or no plain file, or the system refuses to open it.
    """
    descriptor = _open_locked(path, what)
    _descriptors.add(descriptor)
    try:
        weakness = _weakness(descriptor)
        if weakness is not None:
            say(f"nothing keeps a second process from {what}: {weakness}")
        with contextlib.suppress(OSError):  # a full disk: the lock holds, though without a name
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _this_process(), 0)
        yield weakness is None
    finally:
        if descriptor in _descriptors:  # not in a fork, which has closed it
            _descriptors.discard(descriptor)
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _open_locked(path: Path, what: str) -> int:
    """A descriptor of the file, locked where the file system has locks."""
    while True:
        # Python opens files so that programs it starts do not inherit them
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a plain file", str(path))
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InUse(
                    f"{what} is in use by {_holder(descriptor)}: wait until it has ended, or end it"
                ) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            if path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder has removed it meanwhile: lock the next file


def _weakness(descriptor: int) -> str | None:
    """Why the lock of an open file does not keep everybody out; None if it does."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return f"its file system has no locks ({error.strerror})"
    device = os.fstat(descriptor).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts = _MOUNTS.read_text().splitlines() if _MOUNTS.exists() else []
    for fields in map(str.split, mounts):
        if number == fields[2] and (local := _LOCAL_LOCKS & set(fields[-1].split(","))):
            return f"its locks are not seen by other machines (mounted with {', '.join(local)})"
    return None


def _this_process() -> bytes:
    since = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    holder = {"host": socket.gethostname(), "process_id": os.getpid(), "since": since}
    return json.dumps(holder).encode()


def _holder(descriptor: int) -> str:
    """Who has the lock, as its file says."""
    try:
        holder = json.loads(os.pread(descriptor, _MAX_HOLDER_BYTES, 0))
        host, process_id, since = (holder[key] for key in ("host", "process_id", "since"))
    except (ValueError, KeyError, TypeError, RecursionError):
        return "another process"
    return f"process {process_id} on {host} since {since}"


def _forget_in_fork() -> None:
    """Let the lock end with the process that took it, whatever its copies do."""
    for descriptor in _descriptors:
        os.close(descriptor)
    _descriptors.clear()


os.register_at_fork(after_in_child=_forget_in_fork)
