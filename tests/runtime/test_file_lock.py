from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rndfast.runtime import file_lock
from rndfast.runtime.file_lock import InUse, hold_lock

# Holds the lock of a file, does something, says so and waits to be killed.
HOLDER = """
import os, subprocess, sys, time
from pathlib import Path
from rndfast.runtime.file_lock import hold_lock
with hold_lock(Path(sys.argv[1]), "it", print):
    {action}
    print(child, flush=True)
    time.sleep(600)
"""
FORKED = "os.fork() and time.sleep(600); child = os.getpid()"  # the copy goes on
STARTED = "child = subprocess.Popen(['sleep', '600'], close_fds=False).pid"


def silent(_: str) -> None:
    """Say nothing."""


def start_holder(path: Path, action: str = "child = 0") -> tuple[subprocess.Popen[str], int]:
    """A process that holds the lock, and the one that it has started."""
    command = [sys.executable, "-c", HOLDER.format(action=action), str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_a_second_process_is_told_who_has_it_until_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder, _ = start_holder(path)
    try:
        for _ in range(2):
            with (
                pytest.raises(InUse, match=f"process {holder.pid} on ") as caught,
                hold_lock(path, "the file", silent),
            ):
                pass
            assert str(caught.value).startswith("the file is in use by process ")
            assert socket.gethostname() in str(caught.value)
            assert " since 20" in str(caught.value)
    finally:
        holder.kill()
        holder.communicate()
    with hold_lock(path, "the file", silent) as is_sole:
        assert is_sole
    with hold_lock(path, "the file", silent):  # it was given back
        pass


def test_a_second_thread_or_call_of_the_same_process_does_not_get_it(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "lock", "it", silent):
        with (
            pytest.raises(InUse, match=f"process {os.getpid()} on"),
            hold_lock(tmp_path / "lock", "it", silent),
        ):
            pass
        with pytest.raises(InUse), hold_lock(tmp_path / "lock", "it", silent):
            pass  # the call that failed has not given it back


@pytest.mark.parametrize("action", [FORKED, STARTED], ids=["fork", "program"])
def test_children_that_outlive_the_holder_do_not_keep_it(tmp_path: Path, action: str) -> None:
    path = tmp_path / "lock"
    holder, child = start_holder(path, action)
    try:
        holder.kill()
        holder.wait()
        os.kill(child, 0)  # it lives
        with hold_lock(path, "it", silent):
            pass
    finally:
        holder.kill()
        os.kill(child, signal.SIGKILL)
        holder.communicate()


def test_a_fork_that_ends_does_not_give_the_lock_of_its_parent_back(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "lock", "it", silent):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(InUse), hold_lock(tmp_path / "lock", "it", silent):
            pass


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    said: list[str] = []
    with hold_lock(tmp_path / "lock", "run x", said.append) as is_sole:
        assert not is_sole
    (line,) = said
    assert line.startswith("nothing keeps a second process from run x: its file system has no lock")


@pytest.mark.parametrize("option", ["local_lock=all", "local_lock=flock", "nolock", "localflock"])
def test_locks_that_other_machines_do_not_see_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    device = tmp_path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"22 1 0:5 / /proc rw - proc proc rw,{option}\n"
        f"30 1 {number} / /runs rw,noatime shared:1 - nfs4 server:/runs rw,vers=4.2,{option}\n"
    )
    monkeypatch.setattr(file_lock, "_MOUNTS", mounts)
    said: list[str] = []
    with hold_lock(tmp_path / "lock", "run x", said.append) as is_sole:
        assert not is_sole
    assert f"its locks are not seen by other machines (mounted with {option})" in said[0]

    mounts.write_text(f"30 1 {number} / /runs rw - nfs4 server:/runs rw,local_lock=none\n")
    with hold_lock(tmp_path / "lock", "run x", said.append) as is_sole:
        assert is_sole
    assert len(said) == 1


def test_a_link_or_a_pipe_in_its_place_is_refused(tmp_path: Path) -> None:
    target, link, pipe = (tmp_path / name for name in ("target", "link", "pipe"))
    target.write_text("mine")
    link.symlink_to(target)
    os.mkfifo(pipe)
    for path in (link, pipe):
        with pytest.raises(OSError, match=path.name), hold_lock(path, "it", silent):
            pass
    assert target.read_text() == "mine"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', "[" * 100_000, "\xff"])
def test_a_holder_that_is_not_named_is_another_process(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock"
    with hold_lock(path, "it", silent):
        path.write_text(text)
        with pytest.raises(InUse, match="in use by another process"), hold_lock(path, "it", silent):
            pass
