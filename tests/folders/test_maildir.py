from __future__ import annotations

import asyncio
import errno
import mailbox
import os
import resource
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncmail.errors import ClosedError, FolderError, InputError
from asyncmail.folders import Maildir, settle
from asyncmail.folders.disk import folder_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

CONTENT = b"Subject: one\r\n\r\n.dots\r\nbare\nLF, bare\rCR, NUL \x00, 8-bit \xff\r\n"


def files(path: Path, directory: str = "new") -> list[Path]:
    return sorted((path / directory).iterdir())


async def test_a_message_is_stored_octet_for_octet(tmp_path: Path) -> None:
    name = await Maildir(tmp_path / "deep" / "er").deliver(CONTENT)
    (file,) = files(tmp_path / "deep" / "er")
    assert file.name == name
    assert file.read_bytes() == CONTENT
    assert file.stat().st_mode & 0o777 == 0o600
    assert files(tmp_path / "deep" / "er", "tmp") == []
    assert files(tmp_path / "deep" / "er", "cur") == []


async def test_the_standard_library_reads_what_was_delivered(tmp_path: Path) -> None:
    key = await Maildir(tmp_path / "m", newline="lf").deliver(b"Subject: x\r\n\r\nbody\r\n")
    box = mailbox.Maildir(tmp_path / "m", create=False)
    assert box.get_bytes(key) == b"Subject: x\n\nbody\n"
    assert box.get_message(key).get_subdir() == "new"


async def test_pieces_of_any_kind(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b" * 600_000

    maildir = Maildir(tmp_path)
    await maildir.deliver(pieces())
    await maildir.deliver([b"a", b"b" * 600_000])
    await maildir.deliver(memoryview(b"a" + b"b" * 600_000))
    assert {file.read_bytes() for file in files(tmp_path)} == {b"a" + b"b" * 600_000}
    assert len(files(tmp_path)) == 3


async def test_an_empty_message(tmp_path: Path) -> None:
    await Maildir(tmp_path).deliver([])
    (file,) = files(tmp_path)
    assert file.read_bytes() == b""


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text("a\r\n", max_size=5).map(str.encode), max_size=6), st.booleans())
async def test_line_ends_become_lf_however_the_message_is_divided(
    tmp_path: Path, pieces: list[bytes], flush_each: bool
) -> None:
    maildir = Maildir(tmp_path / "m", newline="lf")
    async with maildir.begin() as delivery:
        for piece in pieces:
            await delivery.write(piece)
            if flush_each:
                await delivery._flush(is_last=False)
        name = await delivery.commit()
    assert (tmp_path / "m" / "new" / name).read_bytes() == b"".join(pieces).replace(b"\r\n", b"\n")
    assert delivery.octets == sum(map(len, pieces))


async def test_a_group_in_two_halves(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m", newline="lf")
    contents = [b"%d\r\n" % n for n in range(70)]
    names = await maildir.write(contents)
    assert files(tmp_path / "m") == []
    assert [(tmp_path / "m" / "tmp" / name).read_bytes() for name in names] == [
        content.replace(b"\r\n", b"\n") for content in contents
    ]
    maildir.discard(names[60:])
    await maildir.publish(names[:60])
    assert {file.name for file in files(tmp_path / "m")} == set(names[:60])
    assert files(tmp_path / "m", "tmp") == []


async def test_names_are_unique_between_tasks(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path)
    names = await asyncio.gather(*[maildir.deliver(b"x") for _ in range(50)])
    assert len(set(names)) == 50
    assert all(":" not in name and "/" not in name for name in names)


async def test_what_was_left_in_tmp_is_settled(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m")
    assert await settle(maildir.path, ["never"]) == set()
    in_tmp, in_new, in_cur, removed = await maildir.write([b"1", b"2", b"3", b"4"])
    await maildir.publish([in_new, in_cur, removed])
    os.rename(tmp_path / "m" / "new" / in_cur, tmp_path / "m" / "cur" / f"{in_cur}:2,S")
    os.unlink(tmp_path / "m" / "new" / removed)
    settled = await settle(maildir.path, [in_tmp, in_new, in_cur, removed, "never"])
    assert settled == {in_tmp, in_new, in_cur}
    assert {file.name for file in files(tmp_path / "m")} == {in_tmp, in_new}


async def test_publishing_what_another_process_settled_is_no_error(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m")
    names = await maildir.write([b"1", b"2"])
    await settle(maildir.path, names[:1])
    await maildir.publish(names)
    assert len(files(tmp_path / "m")) == 2


async def test_publishing_what_is_nowhere_is_an_error(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m")
    names = await maildir.write([b"1"])
    maildir.discard(names)
    with pytest.raises(FolderError, match="no such file"):
        await maildir.publish(names)


async def test_old_leftovers_of_dead_programs_go(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path)
    await maildir.deliver(b"x")
    for name, age in (("old", 37), ("young", 35)):
        (tmp_path / "tmp" / name).touch()
        os.utime(tmp_path / "tmp" / name, (time.time() - age * 3600,) * 2)
    await Maildir(tmp_path).deliver(b"y")
    assert [file.name for file in files(tmp_path, "tmp")] == ["young"]


# --- placeholders


@pytest.mark.parametrize(
    "user, name",
    [
        ("anna", "anna"),
        ("a@b.c", "a@b.c"),
        ("jörg", "jörg"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("a/b", "a%2Fb"),
        ("../../etc", "%2E.%2F..%2Fetc"),
        ("a%2Fb", "a%252Fb"),
        ("a\\b", "a%5Cb"),
        ("a\0b\r\n", "a%00b%0D%0A"),
        ("\udcff", "%ED%B3%BF"),
        ("{host}", "{host}"),
        ("a b", "a b"),
    ],
)
async def test_placeholder_values_cannot_leave_the_directory(tmp_path: Path, user: str, name: str) -> None:
    resolved = Maildir(tmp_path / "{user}").resolve(user=user)
    assert resolved.path == str(tmp_path / name)
    await resolved.deliver(b"x")
    assert os.listdir(tmp_path) == [name]


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_values_make_different_directories(first: str, second: str) -> None:
    maildir = Maildir("/m/{user}")
    paths = [maildir.resolve(user=user).path for user in (first, second)]
    assert all(os.path.dirname(path) == "/m" for path in paths)
    assert (paths[0] == paths[1]) is (first == second)


def test_both_placeholders_and_braces() -> None:
    maildir = Maildir("/m/{{x}}/{host}/{user}", newline="lf")
    assert maildir.resolve(user="u", host="::1").path == "/m/{x}/::1/u"
    assert maildir.resolve(user="u", host="h").resolve(user="other").path == "/m/{x}/h/u"
    assert repr(maildir) == "<Maildir '/m/{{x}}/{host}/{user}'>"
    assert repr(Maildir("/m/x")) == "<Maildir '/m/x'>"


def test_a_relative_path_means_the_directory_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    maildir = Maildir("m")
    monkeypatch.chdir("/")
    assert maildir.path == str(tmp_path / "m")


@pytest.mark.parametrize("path", ["{}", "{usr}", "{0}", "{user.__class__}", "{", "}", "a{user"])
def test_other_placeholders_are_refused(path: str) -> None:
    with pytest.raises(InputError, match=r"\{\{"):
        Maildir(path)


def test_unknown_line_ends_are_refused() -> None:
    with pytest.raises(InputError, match="crlf"):
        Maildir("m", newline="crlf")  # type: ignore[arg-type]


async def test_placeholders_must_be_filled() -> None:
    maildir = Maildir("m/{user}")
    with pytest.raises(InputError, match="placeholders"):
        await maildir.deliver(b"x")
    with pytest.raises(InputError, match="needs a user"):
        maildir.resolve(host="h")


# --- failures


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(path)]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system can be mounted by root alone")
    yield path
    subprocess.run(["umount", str(path)], check=True)


async def test_a_full_disk(small_disk: Path) -> None:
    maildir = Maildir(small_disk)
    await maildir.deliver(b"x" * 1000)
    with pytest.raises(FolderError, match=r"the disk is full.*free space") as info:
        await maildir.deliver(b"x" * 1_000_000)
    assert info.value.path == str(small_disk)
    assert info.value.is_transient
    with pytest.raises(FolderError, match="the disk is full"):
        await maildir.write([b"x" * 30_000 for _ in range(10)])
    assert len(files(small_disk)) == 1
    assert files(small_disk, "tmp") == []
    await maildir.deliver(b"there is room again" * 1000)


def test_a_file_size_limit(tmp_path: Path) -> None:
    program = """
        import anyio, resource, signal, sys
        from asyncmail.folders import Maildir, settle
        from asyncmail.errors import FolderError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        async def main():
            maildir = Maildir(sys.argv[1])
            await maildir.deliver(b"x" * 50_000)
            for deliver in (maildir.deliver(b"x" * 200_000), maildir.write([b"x", b"x" * 200_000])):
                try:
                    await deliver
                except FolderError as error:
                    print(error)
        anyio.run(main)
    """
    output = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert output.count("ulimit -f") == 2
    assert len(files(tmp_path)) == 1
    assert files(tmp_path, "tmp") == []


async def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FolderError, match=r"not a directory.*move that file away"):
            await Maildir(path).deliver(b"x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_no_permission(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o500)
    with pytest.raises(FolderError, match="permission denied"):
        await Maildir(tmp_path / "m").deliver(b"x")


async def test_a_place_where_nobody_may_write() -> None:
    with pytest.raises(FolderError) as info:
        await Maildir("/proc/asyncmail").deliver(b"x")
    assert info.value.cure


async def test_a_folder_removed_meanwhile(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m")
    names = await maildir.write([b"x"])
    (tmp_path / "m" / "new").rmdir()
    with pytest.raises(FolderError, match="no such file"):
        await maildir.publish(names)
    async with maildir.begin() as delivery:
        await delivery.write(b"x")
        with pytest.raises(FolderError, match="no such file"):
            await delivery.commit()
    assert [file.name for file in files(tmp_path / "m", "tmp")] == names


def test_every_refusal_has_a_text() -> None:
    with pytest.raises(FolderError, match="Bad file descriptor"), folder_errors("p"):
        raise OSError(errno.EBADF, "Bad file descriptor")
    with pytest.raises(FolderError, match=r"p: odd"), folder_errors("p"):
        raise OSError("odd")


async def test_too_many_open_files(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path)
    await maildir.deliver(b"x")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
    taken: list[int] = []
    try:
        with pytest.raises(OSError):
            while True:
                taken.append(os.dup(0))
        os.close(taken.pop())
        with pytest.raises(FolderError, match="ulimit -n"):
            await maildir.write([b"x"] * 3)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)
    assert files(tmp_path, "tmp") == []


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_directories_that_were_made_are_on_the_disk_before_a_message_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_streamed: bool
) -> None:
    unsynced: set[str] = set()
    mkdir, fsync, rename = os.mkdir, os.fsync, os.rename

    def make(path: str, mode: int) -> None:
        mkdir(path, mode)
        unsynced.add(os.path.dirname(path))

    def sync(descriptor: int) -> None:
        fsync(descriptor)
        unsynced.discard(os.readlink(f"/proc/self/fd/{descriptor}"))

    def publish(source: str, target: str) -> None:
        assert unsynced <= {os.path.dirname(target)}
        rename(source, target)
        unsynced.add(os.path.dirname(target))

    monkeypatch.setattr(os, "mkdir", make)
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "rename", publish)
    maildir = Maildir(tmp_path / "mail" / "ann")
    if is_streamed:
        await maildir.deliver(b"x")
    else:
        names = await maildir.write([b"x"] * 40)
        assert not unsynced  # for what a ledger notes now another process may publish
        await maildir.publish(names)
    assert not unsynced


async def test_directories_are_synced_later_where_the_first_write_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def sync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if not synced and not os.path.isdir(path):
            synced.append("nothing")
            raise OSError(errno.EIO, "broken")
        synced.append(path)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    maildir = Maildir(tmp_path / "m")
    with pytest.raises(FolderError):
        await maildir.write([b"x"])
    await maildir.publish(await maildir.write([b"x"]))
    assert {str(tmp_path), str(tmp_path / "m"), str(tmp_path / "m" / "new")} <= set(synced)


async def test_a_file_that_does_not_close_keeps_no_other_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []
    close = os.close

    def fail_to_close(descriptor: int) -> None:
        is_file = os.path.isfile(os.readlink(f"/proc/self/fd/{descriptor}"))
        close(descriptor)
        if is_file:
            closed.append(descriptor)
            raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "close", fail_to_close)
    with pytest.raises(FolderError, match="the disk failed"):
        await Maildir(tmp_path).write([b"x"] * 3)
    assert len(closed) == 3
    assert files(tmp_path, "tmp") == []


async def test_what_the_system_writes_in_parts_is_written_wholly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    maildir = Maildir(tmp_path)
    (name,) = await maildir.write([b"0123456789"])
    assert (tmp_path / "tmp" / name).read_bytes() == b"0123456789"


async def test_contents_that_are_no_octets_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        await Maildir(tmp_path).write([b"x", "text"])  # type: ignore[list-item]
    assert files(tmp_path, "tmp") == []


# --- deliveries in pieces


async def test_a_delivery_left_by_an_exception_is_discarded(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path)
    with pytest.raises(ZeroDivisionError):
        async with maildir.begin() as delivery:
            await delivery.write(b"x" * 300_000)
            assert len(files(tmp_path, "tmp")) == 1
            raise ZeroDivisionError
    assert files(tmp_path, "tmp") == []
    assert files(tmp_path) == []
    async with maildir.begin():
        pass


async def test_a_delivery_ends_once(tmp_path: Path) -> None:
    async with Maildir(tmp_path).begin() as delivery:
        await delivery.write(b"x")
        assert repr(delivery) == f"<Delivery into {str(tmp_path)!r}, 1 octets>"
        await delivery.commit()
        with pytest.raises(ClosedError):
            await delivery.write(b"x")
        with pytest.raises(ClosedError):
            await delivery.commit()
    assert len(files(tmp_path)) == 1


async def test_a_thread_that_comes_late_writes_nothing(tmp_path: Path) -> None:
    delivery = Maildir(tmp_path).begin()
    delivery.discard()
    delivery._write(b"x", True)
    assert not (tmp_path / "tmp").exists()


@pytest.mark.parametrize("delay", [0.0, 0.0005, 0.002, 0.01])
async def test_cancelled_at_any_moment_it_is_there_wholly_or_not_at_all(tmp_path: Path, delay: float) -> None:
    task = asyncio.create_task(Maildir(tmp_path / "m").deliver(b"x" * 1_000_000))
    await asyncio.sleep(delay)
    task.cancel()
    await asyncio.wait([task])
    if (tmp_path / "m" / "new").exists():
        assert all(file.stat().st_size == 1_000_000 for file in files(tmp_path / "m"))


def test_on_trio(tmp_path: Path) -> None:
    anyio.run(Maildir(tmp_path).deliver, CONTENT, backend="trio")
    assert len(files(tmp_path)) == 1
