from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rndfast.runtime.durable_files import (
    named_in_errors,
    remove_leftovers,
    replace_durably,
    temporary_name,
    write_durably,
)


@pytest.fixture
def dead() -> int:
    """The number of a process that is gone."""
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


def test_temporary_files_go_when_their_owner_is_gone(tmp_path: Path, dead: int) -> None:
    host = temporary_name().split("-")[1]
    abandoned = [f"tmp-{host}-{dead}", f".config.toml.tmp-{host}-{dead}", f"tmp-{dead}"]
    abandoned += [f"tmp-{host}-{os.getpid()}"]  # of an earlier process of this number
    owned = [f"tmp-{host}-{os.getppid()}", f".config.toml.tmp-{host}-1", f"tmp-{os.getppid()}"]
    elsewhere = [f"tmp-other_host-{dead}", f".metrics.jsonl.tmp-other_host-{os.getpid()}"]
    others = ["tmp-mine", "my-tmp-1", "tmp-", "step-000000000001", f"xtmp-{host}-{dead}"]
    for name in (*abandoned, *owned, *elsewhere, *others):
        if name.startswith("."):
            (tmp_path / name).write_text("a part")
        else:
            (tmp_path / name).mkdir()
            (tmp_path / name / "file").write_text("a part")

    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*owned, *elsewhere, *others}
    remove_leftovers(tmp_path, is_sole_writer=True)
    assert {path.name for path in tmp_path.iterdir()} == {*others}
    remove_leftovers(tmp_path / "missing")


def test_a_link_in_place_of_a_temporary_file_is_not_followed(tmp_path: Path, dead: int) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    (tmp_path / f"tmp-{dead}").symlink_to(precious)
    (tmp_path / f".config.toml.{temporary_name()}").symlink_to(precious / "file")
    remove_leftovers(tmp_path)
    (tmp_path / f".config.toml.{temporary_name()}").symlink_to(precious / "file")
    replace_durably(tmp_path / "config.toml", b"new")
    assert (tmp_path / "config.toml").read_text() == "new"
    with pytest.raises(FileExistsError):
        write_durably(tmp_path / "config.toml", b"other")
    assert {path.name for path in tmp_path.iterdir()} == {"precious", "config.toml"}
    assert (precious / "file").read_text() == "mine"


def test_a_full_disk_names_the_file() -> None:
    full = Path("/dev/full")
    with (
        pytest.raises(OSError, match=r"No space left on device: '/dev/full'"),
        named_in_errors(full),
    ):
        full.write_text("a row")
