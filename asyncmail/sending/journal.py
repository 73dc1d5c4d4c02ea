"""The journal of a run: what became of each message, on the disk, so that an interrupted run can go on.

A file that is only ever added to, one line of JSON for each thing that happened. A message is noted as begun, and that
is on the disk, before any of it can reach the server; its outcome is noted when it is known, or that it was not tried.
A run that dies leaves messages that were begun and have no outcome: those may have been delivered, and are not sent
again unasked.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import anyio

from ..errors import BusyError, ClosedError, FolderError, InputError, printable, quoted
from ..folders.disk import in_thread
from ..net import Waiter, spawn
from ..smtp import Status
from .journal_file import FORMAT, JournalFile, not_a_journal
from .resume import Feed

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from types import TracebackType

    from ..message import Parcel
    from ..smtp import Outcome
    from .mailer import Mailer

__all__ = ["Journal", "Unsettled"]

_VERSION = 1

# Of the line that notes the answer to one recipient, which is given room on the disk before the message is sent.
_ANSWER_OCTETS = 2_048
_TEXT_CHARACTERS = 200  # of a reply

_TO_SEND = frozenset({Status.DEFERRED})
_TO_RETRY = _TO_SEND | {Status.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A recipient who has not got the message, as far as the journal knows.

    Args:
        address: the forward-path; empty if the message could not even be prepared.
        status: `refused`, `deferred` or `unknown`.
        text: the server's reply, or what went wrong; empty if the run ended before there was an answer.
    """

    address: str
    status: Status
    text: str = ""


class Journal:
    """The journal of a run that can be interrupted; open inside `async with`.

    Each message has a key, which is the same in every run: the `tag` of its parcel. One process at a time may have a
    journal open.

    Args:
        path: the file; it is made if it is not there, its directory is not.
        subject: what the run is about, such as a digest of its template. A journal with another subject is refused.
        fresh: begin a new journal; one that is there is renamed to `path.1`, or the next number that is free.
    """

    def __init__(self, path: str | os.PathLike[str], *, subject: str = "", fresh: bool = False) -> None:
        self._path = os.path.abspath(path)
        self._subject = subject
        self._fresh = fresh
        self._file: JournalFile | None = None
        self._entries: dict[str, tuple[Unsettled, ...]] = {}
        self._before: dict[str, tuple[Unsettled, ...] | None] = {}  # of what is begun: its entry until then
        self._lines: list[bytes] = []  # to be written
        self._due: list[Waiter] = []  # who waits for these lines
        self._is_writing = False
        self._end = 0  # octets of the file, once all lines are written
        self._failure: FolderError | None = None
        self._unanswered: dict[str, int] = {}  # recipients of messages that have no outcome in this run
        self.id: str = ""
        """Random, made with the journal; what the Message-IDs are made of."""

    def __repr__(self) -> str:
        state = "open" if self._file else "closed"
        return f"<Journal {quoted(self._path)} {state}, {len(self._entries)} messages>"

    @property
    def path(self) -> str:
        """The absolute path."""
        return self._path

    async def __aenter__(self) -> Self:
        """Open it, and read what earlier runs wrote.

        Raises:
            FolderError: it cannot be read or written, another process has it, or it is damaged.
            InputError: it is not a journal, or one of another subject.
        """
        if self._file is not None:
            raise BusyError("this journal is open already")
        self._lines.clear()
        self._failure = None
        self._file = await in_thread(self._open)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            # By itself: asyncio's cancellation passes the shield.
            await spawn(self._close, name="asyncmail journal").wait()
        if self._failure is not None and exc is None:
            raise self._failure

    # --- what is known

    def __len__(self) -> int:
        """How many messages have been begun, and not withdrawn."""
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        """Whether a message has been begun."""
        return key in self._entries

    def __iter__(self) -> Iterator[str]:
        """The keys of all messages that have been begun."""
        return iter(self._entries)

    def unsettled(self, key: str) -> tuple[Unsettled, ...]:
        """The recipients of a message that has been begun, but for those accepted."""
        return self._entries[key]

    def to_send(self, key: str, *, retry_unknown: bool = False) -> frozenset[str]:
        """The recipients of a message that has been begun to whom it is still to be sent.

        Args:
            retry_unknown: send again to those who may have got it.
        """
        wanted = _TO_RETRY if retry_unknown else _TO_SEND
        return frozenset([each.address for each in self._entries[key] if each.status in wanted])

    def is_done(self, key: str, *, retry_unknown: bool = False) -> bool:
        """Whether a message has been begun, and nothing of it is still to be sent; see `to_send`."""
        return key in self._entries and not self.to_send(key, retry_unknown=retry_unknown)

    def message_id(self, key: str, domain: str) -> str:
        """Return the Message-ID for a message: the same in every run, and in no other journal.

        Args:
            domain: the part after the @, usually the sender's domain.

        RFC 5322 §3.6.4.
        """
        digest = hashlib.sha256(f"{self.id} {key}".encode("utf-8", "surrogatepass")).hexdigest()
        return f"<{digest[:32]}@{domain}>"

    # --- writing

    async def begin(self, messages: Mapping[str, Sequence[str]]) -> None:
        """Note messages as begun; on return that is on the disk, with room for their outcomes.

        Args:
            messages: the recipients to send to, by key.

        Raises:
            FolderError: it cannot be written; these messages must not be sent.
            InputError: a key cannot be used.
        """
        file = self._writable()
        for key in messages:
            if not key or not key.isprintable():
                raise InputError(f"{quoted(key)} cannot be a key", cure="use printable text")
        lines = [_line({"key": key, "begun": list(recipients)}) for key, recipients in messages.items()]
        unanswered = {key: len(recipients) for key, recipients in messages.items()}
        answers = sum(self._unanswered.values()) + sum(unanswered.values())
        await in_thread(file.reserve, self._end + sum(map(len, lines)) + answers * _ANSWER_OCTETS)
        self._unanswered.update(unanswered)
        for key, addresses in messages.items():
            self._apply_begun(key, addresses)
        self._append(*lines)
        await self.flush()

    def record(self, key: str, outcome: Outcome) -> None:
        """Note what became of a message that was begun; `flush` waits until that is on the disk."""
        answers: dict[str, dict[str, str]] = {}
        failure = "" if outcome.error is None else _text(outcome.error)
        for each in outcome.recipients:
            text = failure if each.reply is None else _text(each.reply)
            answers.setdefault(each.status.value, {})[each.address] = text
        if not outcome.recipients:
            answers[Status.REFUSED.value] = {"": failure}
        self._unanswered.pop(key, None)
        self._apply_answers(key, answers)
        self._append(_line({"key": key, **answers}))

    def withdraw(self, key: str) -> None:
        """Note that a message has not been tried, if this run began it: all is as before; `flush` as for `record`."""
        if key not in self._before:
            return
        self._unanswered.pop(key, None)
        self._apply_withdrawn(key)
        self._append(_line({"key": key, "withdrawn": True}))

    async def flush(self) -> None:
        """Wait until all that was noted is on the disk.

        Raises:
            FolderError: it is not.
        """
        self._writable()
        if self._lines or self._is_writing:
            # Lines that are being written now have come before those that wait, so the latter's turn is enough.
            waiter = Waiter()
            self._due.append(waiter)
            await waiter.wait()
            self._writable()

    async def send_many(
        self,
        mailer: Mailer,
        parcels: Iterable[Parcel] | AsyncIterable[Parcel],
        *,
        retry_unknown: bool = False,
        window: int = 64,
    ) -> AsyncGenerator[Outcome, None]:
        """Send messages through a mailer as its `send_many` does, but for what earlier runs have sent.

        Recipients who were accepted or refused are left out, and so are those of whom nothing is known.

        Args:
            mailer: sends. Its limit `PoolLimits.window` should not exceed `window / connections`, or one connection
                may take all there is.
            parcels: the messages; the `tag` of each is its key. They are begun in groups of up to half the window,
                of which the first waits for the last.
            retry_unknown: send again to those who may have got the message.
            window: messages that may be begun and without an outcome at the same time: so many may become unknown if
                the process is killed.

        Yields:
            The outcome of each message that is sent; `index` is its position in `parcels`.

        Raises:
            MailError: no session can be had any more, or the journal cannot be written. Before that, the outcome of
                every message that was handed to the mailer has been yielded.
            InputError: a parcel has no tag, or the tag of another.
        """
        feed = Feed(self, parcels, retry_unknown=retry_unknown, window=window)
        try:
            async with aclosing(mailer.send_many(feed)) as outcomes:
                async for outcome in outcomes:
                    yield feed.settle(outcome)
        finally:
            feed.close()
        await self.flush()

    # --- inside

    def _writable(self) -> JournalFile:
        if self._file is None:
            raise ClosedError("the journal is not open", cure="use it inside `async with`")
        if self._failure is not None:
            raise self._failure
        return self._file

    def _append(self, *lines: bytes) -> None:
        if self._file is None or self._failure is not None:
            return
        self._lines += lines
        self._end += sum(map(len, lines))
        if not self._is_writing:
            self._is_writing = True
            spawn(self._write_out, name="asyncmail journal")

    async def _write_out(self) -> None:
        """Write and sync what waits, and what comes to wait meanwhile."""
        assert self._file is not None
        due: list[Waiter] = []
        try:
            while self._lines or self._due:
                lines, self._lines = self._lines, []
                due, self._due = self._due, []
                await in_thread(self._file.append, b"".join(lines))
                for waiter in due:
                    waiter.set()
        except FolderError as error:
            self._failure = error
        except BaseException:
            self._failure = FolderError("it was given up in mid-writing", path=self._path)
            raise
        finally:
            self._is_writing = False
            self._lines.clear()
            for waiter in (*due, *self._due):
                waiter.set()
            self._due.clear()

    async def _close(self) -> None:
        file = self._file
        assert file is not None
        with suppress(FolderError):  # it is the failure
            await self.flush()
        self._file = None
        try:
            await in_thread(file.close)
        except FolderError as error:
            self._failure = self._failure or error

    def _apply_begun(self, key: str, addresses: Iterable[str]) -> None:
        self._before[key] = self._entries.get(key)
        known = {each.address: each for each in self._entries.get(key, ())}
        known.update({address: Unsettled(address, Status.UNKNOWN) for address in addresses})
        self._entries[key] = tuple(known.values())

    def _apply_withdrawn(self, key: str) -> None:
        before = self._before.pop(key)
        if before is None:
            del self._entries[key]
        else:
            self._entries[key] = before

    def _apply_answers(self, key: str, answers: Mapping[str, Mapping[str, str]]) -> None:
        self._before.pop(key, None)
        known = {each.address: each for each in self._entries.get(key, ())}
        for name, texts in answers.items():
            status = Status(name)
            for address, text in texts.items():
                if status is Status.ACCEPTED:
                    known.pop(address, None)
                else:
                    known[address] = Unsettled(address, status, text)
        self._entries[key] = tuple(known.values())

    def _open(self) -> JournalFile:
        file = JournalFile(self._path, fresh=self._fresh)
        try:
            self._entries = {}
            self._before = {}
            number = 0
            for number, line in enumerate(file.lines(), 1):
                self._read(number, line)
            self._before.clear()  # what an earlier run began and left so is unknown for good
            if not number:
                self.id = secrets.token_hex(16)
                header = {"format": FORMAT, "version": _VERSION, "id": self.id, "subject": self._subject}
                file.append(_line(header))
                file.sync_directory()
            self._end = file.end
        except BaseException:
            file.close()
            raise
        return file

    def _read(self, number: int, line: bytes) -> None:
        try:
            entry = json.loads(line)
            if number == 1:
                self._read_header(entry)
                return
            key = entry.pop("key")
            if "begun" in entry:
                self._apply_begun(key, entry["begun"])
            elif "withdrawn" in entry:
                self._apply_withdrawn(key)
            else:
                self._apply_answers(key, entry)
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError):
            if number == 1:
                raise not_a_journal(self._path) from None
            raise FolderError(
                f"the journal is damaged in line {number}",
                path=self._path,
                cure="see what happened to the file; what the lines from there on say is lost",
            ) from None

    def _read_header(self, header: dict[str, object]) -> None:
        if header["format"] != FORMAT:
            raise not_a_journal(self._path)
        if header["version"] != _VERSION:
            raise InputError(
                f"{printable(self._path)} is a journal of version {printable(header['version'])}, this program"
                f" knows {_VERSION}",
                cure="install a newer asyncmail, or choose another path",
            )
        self.id = str(header["id"])
        if header["subject"] != self._subject:
            raise InputError(
                f"{printable(self._path)} is the journal of another run",
                cure="go on with what that run was about, or begin another journal",
            )


def _line(entry: Mapping[str, object]) -> bytes:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"


def _text(value: object) -> str:
    return printable(value, _TEXT_CHARACTERS)
