"""Writing files so that after a crash or on a full disk a file is there whole or not at all.

What is being written has a temporary name that says whose it is, ``tmp-<host>-<process id>``; it is
renamed at the end. `remove_leftovers` clears what was left where a process was killed meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

_HOST = re.sub(r"[^\w.]", "_", socket.gethostname(), flags=re.ASCII)
# An earlier version wrote no host.
_TEMPORARY = re.compile(r"(?:\..+\.)?tmp-(?:(?P<host>[\w.]+)-)?(?P<process_id>\d{1,9})", re.ASCII)


def temporary_name() -> str:
    """What this process calls what it has not finished writing."""
    return f"tmp-{_HOST}-{os.getpid()}"


def remove_leftovers(directory: Path, *, is_sole_writer: bool = False) -> None:
    """Delete temporary files and directories of processes that are gone.

    Args:
        directory: Where they lie; may be missing.
        is_sole_writer: No other process writes here: whoever's they are, it is gone.
    """
    for path in directory.glob("*tmp-*"):
        temporary = _TEMPORARY.fullmatch(path.name)
        if temporary is None:
            continue
        host, process_id = temporary["host"], int(temporary["process_id"])
        if not (is_sole_writer or (host in (None, _HOST) and _is_gone(process_id))):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """Let an error of the system, such as a full disk, say which file it is about.

    The system says so where a file is opened, but not where it is written.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def require_size(path: Path, max_bytes: int) -> None:
    """Check that a file that somebody may have made is small enough to be read.

    Raises:
        ValueError: It is larger.
        OSError: There is none.
    """
    num_bytes = path.stat().st_size
    if num_bytes > max_bytes:
        raise ValueError(f"{path} must have at most {max_bytes:,} bytes, got {num_bytes:,}")


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file that somebody may have made.

    Raises:
        ValueError: It is larger than ``max_bytes``.
        OSError: It cannot be read.
    """
    require_size(path, max_bytes)
    with path.open("rb") as file:
        return file.read(max_bytes)  # a pipe has no size


def require_writable(path: Path) -> None:
    """Check that a file can be written, before work is done for it; its directories are made.

    Raises:
        OSError: It cannot; the message names the file or the directory.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    code = 0
    if path.is_dir():
        code = errno.EISDIR
    elif path.exists() and not os.access(path, os.W_OK):
        code = errno.EACCES
    else:
        try:
            tempfile.TemporaryFile(dir=path.parent).close()
        except OSError as error:
            code = error.errno or errno.EACCES
    if code != 0:
        raise OSError(code, os.strerror(code), str(path))


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file and flush it to the disk.

    Raises:
        FileExistsError: There is such a file, or a link of that name, which is not followed.
        OSError: The system refused.
    """
    with named_in_errors(path), path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Flush a directory's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(path: Path, data: bytes) -> None:
    """Write a file that may exist: afterwards it holds the old data or the new, never a part.

    Raises:
        OSError: The system refused; the old file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{temporary_name()}")
    temporary.unlink(missing_ok=True)  # by a killed process that had this one's number
    try:
        write_durably(temporary, data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def _is_gone(process_id: int) -> bool:
    """Whether no other process of this machine has that number."""
    if process_id == os.getpid():
        return True  # an earlier process had it, and what this one writes it removes itself
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's
        pass
    return False
