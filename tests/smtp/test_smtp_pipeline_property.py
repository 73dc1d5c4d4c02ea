"""Whatever a server does and wherever the connection breaks: each outcome is what really happened.

ASYNCMAIL_EXAMPLES sets the number of examples; 10000 take some minutes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import asyncmail.smtp.pipeline
from asyncmail.errors import ConnectionLost, MailError, RemoteProtocolError, Stage
from asyncmail.smtp import (
    ClientProtocol,
    ConnectionEnded,
    Mail,
    Outcome,
    Pipeline,
    ReplyReceived,
    Status,
    Transaction,
)
from asyncmail.wire import Signal
from smtp_model import Behaviour, ModelServer
from smtp_talk import sent, session

if TYPE_CHECKING:
    import pytest

EXAMPLES = int(os.environ.get("ASYNCMAIL_EXAMPLES", "200"))

behaviours = st.builds(
    Behaviour,
    pipelining=st.sampled_from([True, True, True, False]),
    chunking=st.booleans(),
    lmtp=st.sampled_from([False, False, True]),
    keeps_transaction=st.booleans(),
    goes_on=st.booleans(),
    cannot_follow=st.sampled_from([False, False, True]),
    is_hasty=st.sampled_from([False, False, True]),
)
contents = st.sampled_from(
    [b"", b"\r\n", b".\r\n", b"x\r\n", b"no end", b"\r\n.\r\nMAIL FROM:<>\r\n", b"bare\nLF\rCR\r\n", b"x" * 300]
)  # fmt: skip


@dataclass
class World:
    """Both ends and the network between them."""

    data: st.DataObject
    server: ModelServer
    client: ClientProtocol
    pipeline: Pipeline
    cut_up: int  # octets after which nothing reaches the server any more
    cut_down: int  # octets after which nothing reaches the client any more
    up: bytearray = field(default_factory=bytearray)  # left the client
    left: bytearray = field(default_factory=bytearray)  # all that reached the network
    arrived: int = 0  # of it, at the server
    heard: int = 0  # octets that the client got
    refused: set[str] = field(default_factory=set)  # senders, for reasons of their own
    ended_by_421: bool = False

    def run(self, transactions: list[Transaction]) -> None:
        waiting = list(transactions)
        error: MailError = ConnectionLost()
        while True:
            if waiting and (self.pipeline.has_room or len(waiting) > 3):
                self.pipeline.submit(waiting.pop(0))
            self.pipeline.advance()
            self.up += sent(self.client)
            try:
                if self.step() is False:
                    break
            except RemoteProtocolError as failure:
                error = failure
                break
            if not waiting and not len(self.pipeline):
                break
        for transaction in waiting:
            self.pipeline.submit(transaction)
        # What is still here did not leave; who drives may know less of it.
        unsent = self.data.draw(st.sampled_from([0, len(self.up)]), "unsent octets")
        if not unsent:
            self.left += self.up
        self.pipeline.abandon(error, unsent_octets=unsent)

    def step(self) -> bool:
        """Move some octets one way; False if the session is over."""
        can_go_up = bool(self.up) and self.arrived < self.cut_up
        can_go_down = bool(self.server.output) and self.heard < self.cut_down
        if not can_go_up and not can_go_down:
            self.client.receive_eof()
            return self.read()
        some = self.data.draw(st.sampled_from([1, 7, 100, 100_000]))
        if can_go_up and (not can_go_down or self.data.draw(st.booleans())):
            some = min(some, self.cut_up - self.arrived)
            piece = bytes(self.up[:some])
            del self.up[:some]
            self.left += piece
            self.arrived += len(piece)
            self.server.receive(piece)
            return True
        some = min(some, self.cut_down - self.heard)
        piece = bytes(self.server.output[:some])
        del self.server.output[:some]
        self.heard += len(piece)
        self.client.receive_data(piece)
        if self.heard == self.cut_down or (self.server.closed and not self.server.output):
            self.client.receive_eof()
        return self.read()

    def read(self) -> bool:
        if self.data.draw(st.booleans(), "all at once"):
            replies = self.client.next_replies()
            if replies:
                self.ended_by_421 = False
                self.pipeline.take(replies)
                return True
        while not isinstance(event := self.client.next_event(), Signal):
            if isinstance(event, ConnectionEnded):
                return False
            assert isinstance(event, ReplyReceived), event
            code = event.reply.code
            self.ended_by_421 = code == 421
            if isinstance(event.command, Mail) and code >= 400 and code not in (421, 503):
                self.refused.add(event.command.sender)
            self.pipeline.handle([event])
            if self.data.draw(st.booleans()):
                self.pipeline.advance()
        return True


@st.composite
def worlds(draw: st.DrawFn, data: st.DataObject) -> World:
    behaviour = draw(behaviours)
    keywords = "SIZE"
    if behaviour.pipelining:
        keywords += " PIPELINING"
    if behaviour.chunking:
        keywords += " CHUNKING"
    client = session(keywords, lmtp=behaviour.lmtp)
    window = draw(st.sampled_from([1, 2, 64]))
    pipeline = Pipeline(
        client,
        window=window,
        window_octets=draw(st.sampled_from([1, 500, 1_048_576])),
        piece_octets=draw(st.sampled_from([20, 1_048_576])),
    )
    cuts = st.one_of(st.just(1_000_000), st.integers(0, 1500))
    server = ModelServer(behaviour, lambda codes: data.draw(st.sampled_from(codes)))
    return World(data, server, client, pipeline, draw(cuts), draw(cuts))


def on_the_wire(content: bytes, *, chunked: bool) -> bytes:
    """The octets of which the last one completes the content."""
    if chunked:
        return b"BDAT %d LAST\r\n%b" % (len(content), content)
    stuffed = b"\r\n".join(b"." + line if line[:1] == b"." else line for line in content.split(b"\r\n"))
    if content and not content.endswith(b"\r\n"):
        stuffed += b"\r\n"
    return stuffed + b".\r\n"


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(st.data(), st.sampled_from([500, 500, 4]), st.integers(1, 12))
def test_each_outcome_is_what_happened(
    monkeypatch: pytest.MonkeyPatch, data: st.DataObject, most_in_flight: int, count: int
) -> None:
    monkeypatch.setattr(asyncmail.smtp.pipeline, "_MAX_IN_FLIGHT", most_in_flight)
    world = data.draw(worlds(data))
    transactions = []
    for index in range(count):
        recipients = [f"t{index}r{n}@mx.example" for n in range(data.draw(st.sampled_from([1, 1, 2, 3, 7])))]
        content = data.draw(contents) + b"\r\nMessage: %d\r\n\r\n" % index + data.draw(contents)
        transactions.append(Transaction(f"t{index}@client.example", recipients, content, index=index))
    world.run(transactions)
    check(world, transactions)


def check(world: World, transactions: list[Transaction]) -> None:
    pipeline, server = world.pipeline, world.server
    assert len(pipeline) == 0

    # Nothing is lost, nothing is reported twice.
    reported = [transaction for transaction, _ in pipeline.outcomes] + pipeline.unsent
    assert sorted(each.index or 0 for each in reported) == list(range(len(transactions)))

    # What the server took, it took once, under its own envelope, and with its own octets.
    taken = {}
    for message in server.taken:
        index = int(message.sender.removeprefix("t").split("@")[0])
        transaction = transactions[index]
        content = transaction.content
        if not server.behaviour.chunking and not content.endswith(b"\r\n"):
            content += b"\r\n"
        assert message.content == content
        assert message.recipient in transaction.recipients
        taken[index, message.recipient] = message
    assert len(taken) == len(server.taken)

    for transaction in pipeline.unsent:
        assert not any((transaction.index, recipient) in taken for recipient in transaction.recipients)
        assert world.ended_by_421 or transaction.sender not in world.refused
    for transaction, outcome in pipeline.outcomes:
        check_outcome(world, transaction, outcome)
        assert (outcome.error is not None) is any(each.reply is None for each in outcome.recipients)
        for each in outcome.recipients:
            really = taken.get((transaction.index or 0, each.address))
            if each.status is Status.ACCEPTED:
                assert really is not None
                assert each.reply is not None
                assert each.reply.lines[0] == really.reply
            elif each.status is not Status.UNKNOWN:
                assert really is None


def check_outcome(world: World, transaction: Transaction, outcome: Outcome) -> None:
    assert outcome.index == transaction.index
    assert outcome.sender == transaction.sender
    assert [each.address for each in outcome.recipients] == transaction.recipients
    for each in outcome.recipients:
        if each.status is Status.UNKNOWN:
            assert each.reply is None
            assert each.stage is Stage.CONTENT
            chunked = world.server.behaviour.chunking
            assert on_the_wire(transaction.content, chunked=chunked) in world.left
            continue
        if each.reply is None:  # others were refused in the middle of the content
            assert each.status is Status.DEFERRED
            assert world.server.behaviour.lmtp
            assert world.server.behaviour.is_hasty
            continue
        assert each.reply is not None
        code = each.reply.code
        expected = Status.ACCEPTED if code < 300 else Status.DEFERRED if code < 500 else Status.REFUSED
        assert each.status is expected
        asked = {
            Stage.SENDER: ("MAIL", transaction.sender),
            Stage.RECIPIENT: ("RCPT", each.address),
            Stage.CONTENT: ("CONTENT", transaction.sender),
        }[each.stage]
        assert each.reply.lines[0] in world.server.answers[asked]
        assert each.reply.lines[0] not in world.server.too_early
