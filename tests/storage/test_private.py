"""What "private" means, in the one module that says it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quanma.storage import private
from tests.support.every import every_row
from tests.support.platform import mode_of

VICTIM = b"another file of the operator's"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim.txt"
    path.write_bytes(VICTIM)
    path.chmod(0o600)
    return path


def close(descriptor: int) -> None:
    os.close(descriptor)


@every_row("umask", [0o000, 0o022, 0o777])
def test_a_new_file_has_its_mode_whatever_the_umask_is(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        close(private.make(tmp_path / "new"))
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "new") == 0o600


@pytest.mark.parametrize("dangling", [False, True])
def test_a_new_file_is_not_made_through_a_link(tmp_path: Path, victim: Path, dangling: bool) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" if dangling else victim)
    with pytest.raises(FileExistsError):
        private.make(tmp_path / "link")
    assert (victim.read_bytes(), (tmp_path / "nowhere").exists()) == (VICTIM, False)


def test_what_an_earlier_run_left_is_replaced_and_its_mode_and_links_with_it(tmp_path: Path, victim: Path) -> None:
    for number, lay in enumerate((Path.symlink_to, Path.hardlink_to)):
        part = tmp_path / f"{number}.part"
        lay(part, victim)
        descriptor = private.make_anew(part)
        os.write(descriptor, b"codes")
        close(descriptor)
        assert (mode_of(part), part.read_bytes(), part.is_symlink()) == (0o600, b"codes", False)
    assert victim.read_bytes() == VICTIM


def test_a_path_that_a_user_named_keeps_its_link_and_a_device_stays(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "link").symlink_to(victim)
    with pytest.raises(OSError, match="it is a link"):
        private.make_anew(tmp_path / "link", links=False)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is no file"):
        private.make_anew(tmp_path / "pipe")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "pipe").is_fifo()


def test_a_log_that_sqlite_left_is_not_played_into_a_new_file(tmp_path: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        (tmp_path / f"new.db{suffix}").write_bytes(b"left")
    private.make_database_anew(tmp_path / "new.db")
    assert [path.name for path in tmp_path.iterdir()] == ["new.db"]


@every_row("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o666])
def test_a_file_that_others_reach_is_refused_and_left_as_it_is(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"kept")
    path.chmod(mode)
    for opens in (private.keep, private.read):
        with pytest.raises(private.NotPrivate, match=f"it has mode {mode:04o}, so others can read codes: chmod 600"):
            opens(path, "codes")
    assert (mode_of(path), path.read_bytes()) == (mode, b"kept")


def test_a_link_is_not_followed_and_nothing_waits_for_what_is_no_file(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "link").symlink_to(victim)
    os.mkfifo(tmp_path / "pipe")
    for name, told in (("link", "it is a link"), ("pipe", "it is no file"), (".", "it is no file")):
        with pytest.raises(OSError, match=told):
            private.keep(tmp_path / name, "codes")


def test_a_link_of_ours_is_followed_where_the_caller_says_so(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "link").symlink_to(victim)
    descriptor = private.keep(tmp_path / "link", "codes", links=True)
    assert os.read(descriptor, 100) == VICTIM
    close(descriptor)
    victim.chmod(0o644)
    with pytest.raises(private.NotPrivate, match="has mode 0644"):
        private.keep(tmp_path / "link", "codes", links=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_link_or_folder_is_refused(tmp_path: Path, victim: Path) -> None:
    os.chown(victim, 12345, 12345)
    with pytest.raises(private.NotPrivate, match="is another user's"):
        private.keep(victim, "codes")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    os.chown(tmp_path / "link", 12345, 12345, follow_symlinks=False)
    with pytest.raises(private.NotPrivate, match="is another user's link"):
        private.keep(tmp_path / "link", "codes", links=True)
    private.make_folder(tmp_path / "folder")
    os.chown(tmp_path / "folder", 12345, 12345)
    with pytest.raises(private.NotPrivate, match="is another user's folder"):
        private.make_folder(tmp_path / "folder")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_root_looks_after_the_files_of_whose_folder_it_is(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    close(private.make(tmp_path / "theirs" / "pool"))
    for path in (tmp_path / "theirs", tmp_path / "theirs" / "pool"):
        os.chown(path, 12345, 12345)
    close(private.keep(tmp_path / "theirs" / "pool", "codes"))
    private.replace(tmp_path / "theirs" / "pool", b"new")
    assert (tmp_path / "theirs" / "pool").stat().st_uid == 12345


def test_a_folder_that_others_can_write_in_is_refused(tmp_path: Path) -> None:
    private.make_folder(tmp_path / "witness")
    assert mode_of(tmp_path / "witness") == 0o700
    (tmp_path / "witness").chmod(0o770)
    with pytest.raises(private.NotPrivate, match="has mode 0770, so others can write in it: chmod 700"):
        private.make_folder(tmp_path / "witness")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="it is no folder"):
        private.make_folder(tmp_path / "link")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, victim: Path) -> None:
    path = tmp_path / "platform.toml"
    path.write_bytes(b"old")
    (tmp_path / "platform.toml.new").symlink_to(victim)  # What an earlier run left, or somebody laid there.
    private.replace(path, b"new")
    assert (path.read_bytes(), mode_of(path), victim.read_bytes()) == (b"new", 0o600, VICTIM)
    with pytest.raises(FileNotFoundError):
        private.replace(tmp_path / "absent" / "x", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["platform.toml", "victim.txt"]
