"""What a pipeline writes, when, and what it makes of the answers."""

from __future__ import annotations

import pytest

import asyncmail.smtp.pipeline
from asyncmail.errors import AddressSyntaxError, ConnectionLost, LocalProtocolError, Stage
from asyncmail.smtp import (
    ClientProtocol,
    ConnectionEnded,
    Outcome,
    Pipeline,
    Quit,
    Reply,
    ReplyReceived,
    Status,
    Transaction,
    UnsolicitedReply,
)
from asyncmail.wire import Signal
from smtp_talk import heard, sent, session

ACCEPTED, REFUSED, DEFERRED, UNKNOWN = Status.ACCEPTED, Status.REFUSED, Status.DEFERRED, Status.UNKNOWN
LOST = ConnectionLost()


def message(name: str = "a", recipients: str = "r", content: bytes = b"hello\r\n") -> Transaction:
    return Transaction(f"{name}@x.example", [f"{each}@y.example" for each in recipients], content, tag=name)


def pipeline(
    keywords: str, *messages: Transaction, lmtp: bool = False, refusals: int | None = None
) -> tuple[Pipeline, ClientProtocol]:
    client = session(keywords, lmtp=lmtp)
    found = Pipeline(client, refusals=refusals)
    for each in messages:
        found.submit(each)
    return found, client


def hear(found: Pipeline, client: ClientProtocol, *pieces: bytes) -> bytes:
    """Hand over the server's octets, and return what is written because of them."""
    for piece in pieces:
        client.receive_data(piece)
        while not isinstance(event := client.next_event(), Signal):
            if isinstance(event, ConnectionEnded):
                found.abandon(LOST)
                break
            assert isinstance(event, ReplyReceived)
            found.handle([event])
            found.advance()
    return sent(client)


def write(found: Pipeline, client: ClientProtocol) -> bytes:
    found.advance()
    return sent(client)


def statuses(outcome: Outcome) -> list[Status]:
    return [each.status for each in outcome.recipients]


def decided(found: Pipeline) -> list[tuple[str, list[Status]]]:
    return [(outcome.tag, statuses(outcome)) for _, outcome in found.outcomes]


ENVELOPE_A = b"MAIL FROM:<a@x.example>\r\nRCPT TO:<r@y.example>\r\n"
ENVELOPE_B = b"MAIL FROM:<b@x.example>\r\nRCPT TO:<r@y.example>\r\n"
OK = b"250 ok\r\n"


# --- what is written


def test_one_by_one() -> None:
    found, client = pipeline("", message("a"), message("b"))
    assert write(found, client) == b"MAIL FROM:<a@x.example>\r\n"
    assert write(found, client) == b""
    assert hear(found, client, OK) == b"RCPT TO:<r@y.example>\r\n"
    assert hear(found, client, OK) == b"DATA\r\n"
    assert hear(found, client, b"354 go\r\n") == b"hello\r\n.\r\n"
    assert hear(found, client, OK) == b"MAIL FROM:<b@x.example>\r\n"
    assert decided(found) == [("a", [ACCEPTED])]


def test_one_by_one_with_chunks() -> None:
    found, client = pipeline("CHUNKING", message("a"), message("b", content=b""))
    write(found, client)
    hear(found, client, OK)
    assert hear(found, client, OK) == b"BDAT 7 LAST\r\nhello\r\n"
    assert hear(found, client, OK) == b"MAIL FROM:<b@x.example>\r\n"
    hear(found, client, OK)
    assert hear(found, client, OK) == b"BDAT 0 LAST\r\n"
    hear(found, client, OK)
    assert decided(found) == [("a", [ACCEPTED]), ("b", [ACCEPTED])]


def test_content_leaves_with_the_next_envelope() -> None:
    found, client = pipeline("PIPELINING", message("a"), message("b"))
    assert write(found, client) == ENVELOPE_A + b"DATA\r\n"
    assert hear(found, client, OK * 2 + b"354 go\r\n") == b"hello\r\n.\r\n" + ENVELOPE_B + b"DATA\r\n"
    assert hear(found, client, OK * 3 + b"354 go\r\n") == b"hello\r\n.\r\n"
    hear(found, client, OK)
    assert decided(found) == [("a", [ACCEPTED]), ("b", [ACCEPTED])]
    assert len(found) == 0


def test_whole_transactions_leave_together() -> None:
    found, client = pipeline("PIPELINING CHUNKING", message("a"), message("b", content=b"bare\n."))
    assert write(found, client) == (
        ENVELOPE_A + b"BDAT 7 LAST\r\nhello\r\nRSET\r\n" + ENVELOPE_B + b"BDAT 7 LAST\r\nbare\r\n."
    )
    hear(found, client, OK * 7)
    assert decided(found) == [("a", [ACCEPTED]), ("b", [ACCEPTED])]


def test_chunks_are_used_only_if_wanted() -> None:
    client = session("PIPELINING CHUNKING")
    found = Pipeline(client, chunking=False)
    found.submit(message())
    assert write(found, client).endswith(b"DATA\r\n")


def test_large_content_is_added_piece_by_piece() -> None:
    found = Pipeline(client := session("PIPELINING"), piece_octets=4)
    found.submit(message("a", content=b"one\r\n.two\r\n"))
    write(found, client)
    client.receive_data(OK * 2 + b"354 go\r\n")
    found.handle(client.next_events())
    pieces = [sent(client)]
    while found._content_left:
        found.advance()
        pieces.append(sent(client))
    assert pieces == [b"one\r", b"\n..tw", b"o\r\n.\r\n"]
    assert hear(found, client, OK) == b""
    assert decided(found) == [("a", [ACCEPTED])]


def begun(*messages: Transaction) -> tuple[Pipeline, ClientProtocol]:
    """A pipeline of which the first piece of content is out."""
    found = Pipeline(client := session("PIPELINING"), piece_octets=4)
    for each in messages:
        found.submit(each)
    write(found, client)
    client.receive_data(OK * 2 + b"354 go\r\n")
    found.handle(client.next_events())
    assert sent(client) == b"hell"
    return found, client


def test_content_refused_in_the_middle_is_sent_to_its_end() -> None:
    found, client = begun(message("a"), message("b"))
    assert hear(found, client, b"552 too large\r\n") == b"o\r\n.\r\n" + ENVELOPE_B + b"DATA\r\n"
    assert decided(found) == [("a", [REFUSED])]
    client.receive_data(OK * 2 + b"354 go\r\n")
    found.handle(client.next_events())
    found.advance()
    assert sent(client) == b"hello\r\n.\r\n"
    assert hear(found, client, OK) == b""
    assert decided(found) == [("a", [REFUSED]), ("b", [ACCEPTED])]


def test_content_refused_in_the_middle_is_refused_though_the_connection_is_lost() -> None:
    found, client = begun(message("a"))
    client.receive_data(b"552 too large\r\n")
    found.handle(client.next_events())
    found.abandon(LOST)
    assert decided(found) == [("a", [REFUSED])]
    assert found.unsent == []


def test_content_cut_off_in_the_middle_is_unsent() -> None:
    found, client = begun(first := message("a"), second := message("b"))
    found.abandon(LOST)
    assert found.outcomes == []
    assert found.unsent == [first, second]
    assert client.in_flight


def test_421_in_the_middle_of_content() -> None:
    found, client = begun(message("a"), second := message("b"))
    client.receive_data(b"421 going down\r\n")
    found.handle(client.next_events())
    assert found.is_closing
    found.advance()
    assert sent(client) == b""
    found.abandon(LOST)
    assert decided(found) == [("a", [DEFERRED])]
    assert found.unsent == [second]


def test_parameters() -> None:
    transaction = Transaction(
        "j\u00fcrgen@x.example", ["r@y.example"], b"four", eight_bit=True, smtputf8=True, tag="t", index=7
    )
    found, client = pipeline("SIZE", transaction)
    assert (
        write(found, client) == "MAIL FROM:<j\u00fcrgen@x.example> SIZE=4 BODY=8BITMIME SMTPUTF8\r\n".encode()
    )
    hear(found, client, b"550 no\r\n")
    (each, outcome) = found.outcomes[0]
    assert each is transaction
    assert (outcome.index, outcome.tag, outcome.sender) == (7, "t", "j\u00fcrgen@x.example")


def test_content_that_is_known_to_be_normalized_is_not_looked_at() -> None:
    content = b"one\r\n.two\r\n"
    transaction = Transaction("", ["r@y.example"], content, is_checked=True)
    assert transaction.content is content
    found, client = pipeline("PIPELINING", transaction)
    write(found, client)
    assert hear(found, client, OK * 2 + b"354 go\r\n") == b"one\r\n..two\r\n.\r\n"


@pytest.mark.parametrize(
    ("sender", "recipients", "smtputf8", "error"),
    [
        ("", [], False, LocalProtocolError),
        ("nobody", ["r@y.example"], False, AddressSyntaxError),
        ("", ["r@y.example", "nobody"], False, AddressSyntaxError),
        ("\u00fc@x.example", ["r@y.example"], False, AddressSyntaxError),
        ("", ["r@y.example", "\u00fc@y.example"], False, AddressSyntaxError),
    ],
)
def test_a_transaction_that_cannot_be_sent_is_none(
    sender: str, recipients: list[str], smtputf8: bool, error: type[Exception]
) -> None:
    with pytest.raises(error):
        Transaction(sender, recipients, b"", smtputf8=smtputf8)


def test_addresses_beyond_ascii() -> None:
    found, client = pipeline("PIPELINING", Transaction("", ["a@b\u00fccher.example"], b""))
    assert b"RCPT TO:<a@xn--bcher-kva.example>\r\n" in write(found, client)
    transaction = Transaction("", ["\u00fc@y.example"], b"", smtputf8=True)
    found, client = pipeline("PIPELINING", transaction)
    assert "RCPT TO:<\u00fc@y.example>\r\n".encode() in write(found, client)


def test_events_may_be_read_before_they_are_handed_over() -> None:
    found, client = pipeline("PIPELINING", message("a"))
    write(found, client)
    for event in heard(client, OK * 2 + b"354 go\r\n"):
        assert isinstance(event, ReplyReceived)
        assert write(found, client) == b""
        found.handle([event])
    assert sent(client) == b"hello\r\n.\r\n"


# --- refusals


def test_a_refused_sender() -> None:
    for keywords in ("", "CHUNKING"):
        found, client = pipeline(keywords, message("a", "rs"), message("b"))
        write(found, client)
        assert hear(found, client, b"450 later\r\n") == b"MAIL FROM:<b@x.example>\r\n"
        assert decided(found) == [("a", [DEFERRED, DEFERRED])]
        outcome = found.outcomes[0][1]
        assert {each.stage for each in outcome.recipients} == {Stage.SENDER}
        assert outcome.recipients[0].reply == Reply(450, "later")
        assert outcome.error is None


def test_refused_recipients() -> None:
    found, client = pipeline("", message("a", "rst"), message("b"))
    write(found, client)
    hear(found, client, OK, b"550 no\r\n", b"450 later\r\n")
    assert hear(found, client, b"551 gone\r\n") == b"RSET\r\n"
    assert hear(found, client, OK) == b"MAIL FROM:<b@x.example>\r\n"
    assert decided(found) == [("a", [REFUSED, DEFERRED, REFUSED])]
    recipients = found.outcomes[0][1].recipients
    assert [str(each.reply) for each in recipients] == ["550 no", "450 later", "551 gone"]
    assert {each.stage for each in recipients} == {Stage.RECIPIENT}


def test_354_for_nobody_is_answered_with_a_lone_dot() -> None:
    found, client = pipeline("PIPELINING", message("a"), message("b"))
    write(found, client)
    octets = hear(found, client, OK + b"550 no\r\n354 go\r\n")
    assert octets == b".\r\n" + ENVELOPE_B + b"DATA\r\n"
    hear(found, client, b"554 nobody\r\n")
    assert decided(found) == [("a", [REFUSED])]
    assert found.outcomes[0][1].recipients[0].reply == Reply(550, "no")


def test_data_refused() -> None:
    found, client = pipeline("PIPELINING", message("a", "rs"), message("b"))
    write(found, client)
    octets = hear(found, client, OK + b"550 no\r\n" + OK + b"451 later\r\n")
    assert octets == b"RSET\r\n" + ENVELOPE_B + b"DATA\r\n"
    assert decided(found) == [("a", [REFUSED, DEFERRED])]
    assert found.outcomes[0][1].recipients[1].stage is Stage.CONTENT


def test_content_refused() -> None:
    for keywords in ("PIPELINING", "PIPELINING CHUNKING"):
        found, client = pipeline(keywords, message("a", "rs"))
        write(found, client)
        go = b"" if "CHUNKING" in keywords else b"354 go\r\n"
        hear(found, client, OK * 3 + go, b"554 spam\r\n")
        assert decided(found) == [("a", [REFUSED, REFUSED])]


def test_reset_follows_a_refused_chunk() -> None:
    found, client = pipeline("PIPELINING CHUNKING", message("a"))
    write(found, client)
    hear(found, client, OK * 2 + b"554 spam\r\n")
    found.submit(message("b"))
    assert write(found, client).startswith(b"RSET\r\n" + ENVELOPE_B)


def test_lmtp_outcomes_are_those_of_each_recipient() -> None:
    for keywords in ("PIPELINING", "PIPELINING CHUNKING"):
        found, client = pipeline(keywords, message("a", "rst"), message("b"), lmtp=True)
        write(found, client)
        go = b"" if "CHUNKING" in keywords else b"354 go\r\n"
        hear(found, client, OK + OK + b"550 no\r\n" + OK + go, b"250 in\r\n")
        assert decided(found) == []
        hear(found, client, b"452 full\r\n")
        assert decided(found) == [("a", [ACCEPTED, REFUSED, DEFERRED])]


def test_a_server_that_cannot_follow_is_given_one_at_a_time() -> None:
    found, client = pipeline("PIPELINING CHUNKING", *[message(name) for name in "abcd"])
    write(found, client)
    refused = OK + b"503 too early\r\n" * 3
    assert hear(found, client, OK * 3 + refused + refused) == b""
    octets = hear(found, client, refused)
    assert octets.startswith(b"RSET\r\n")
    assert octets.count(b"MAIL") == 1
    for _ in range(3):
        hear(found, client, OK * 4)
    assert sorted(decided(found)) == [(name, [ACCEPTED]) for name in "abcd"]


def test_503_for_a_message_on_its_own_is_a_refusal() -> None:
    found, client = pipeline("PIPELINING", message("a"))
    write(found, client)
    hear(found, client, b"503 log in first\r\n" * 3)
    assert decided(found) == [("a", [REFUSED])]


# --- windows


def test_the_window() -> None:
    client = session("PIPELINING CHUNKING")
    found = Pipeline(client, window=2, window_octets=20)
    assert found.has_room
    for name in "abc":
        found.submit(message(name))
        found.advance()
    assert repr(found) == "<Pipeline 1 waiting, 2 unanswered>"
    assert len(found) == 3
    assert not found.has_room
    hear(found, client, OK * 3)
    assert repr(found) == "<Pipeline 0 waiting, 2 unanswered>"
    found = Pipeline(session("PIPELINING CHUNKING"), window=9, window_octets=20)
    for name in "ab":
        found.submit(message(name, content=b"x" * 15))
        found.advance()
        assert found.has_room is (name == "a")


def test_a_window_that_changes() -> None:
    client = session("PIPELINING CHUNKING")
    found = Pipeline(client, window=1)
    for name in "abcdef":
        found.submit(message(name))
    write(found, client)
    for window, unanswered in ((2, 2), (4, 4), (1, 3), (1, 2), (1, 1)):
        found.window = window
        hear(found, client, OK * (3 if not found.outcomes else 4))
        assert repr(found).endswith(f" {unanswered} unanswered>")


def test_no_more_commands_than_answers_that_fit() -> None:
    """More could make both sides wait for each other: RFC 2920 §3.1."""
    recipients = [f"r{n}@y.example" for n in range(700)]
    transaction = Transaction("", recipients, b"x")
    found, client = pipeline("PIPELINING", transaction, message("b"))
    octets = write(found, client)
    assert octets.count(b"\r\n") == 500
    assert b"r498@" in octets
    assert b"r499@" not in octets
    octets = hear(found, client, OK * 100)
    assert octets.count(b"\r\n") == 100
    octets = hear(found, client, OK * 400)
    assert octets.endswith(b"r699@y.example>\r\nDATA\r\n")
    assert b"FROM:<b@" not in octets
    hear(found, client, OK * 201 + b"354 go\r\n", OK)
    assert statuses(found.outcomes[0][1]) == [ACCEPTED] * 700


def test_no_more_recipients_under_way_than_answers_that_fit() -> None:
    messages = [
        Transaction("", [f"r{n}@y.example" for n in range(200)], b"x", tag=str(number)) for number in range(5)
    ]
    found, client = pipeline("PIPELINING CHUNKING", *messages)
    assert write(found, client).count(b"BDAT") == 3
    assert not found.has_room


def test_a_sender_refused_in_the_middle_of_the_recipients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncmail.smtp.pipeline, "_MAX_IN_FLIGHT", 4)
    found, client = pipeline("PIPELINING", message("a", "rst"), message("b"))
    write(found, client)
    octets = hear(found, client, b"550 no\r\n")
    assert octets.startswith(b"RSET\r\nMAIL FROM:<b@x.example>\r\n")
    assert decided(found) == []
    hear(found, client, b"503 no\r\n" * 3)
    assert decided(found) == [("a", [REFUSED] * 3)]
    hear(found, client, OK * 3, b"354 go\r\n", OK)
    assert decided(found)[1:] == [("b", [ACCEPTED])]


# --- ends


def end(found: Pipeline, client: ClientProtocol, *pieces: bytes) -> None:
    """The server says this, then the connection ends."""
    hear(found, client, *pieces)
    client.receive_eof()
    hear(found, client, b"")
    assert len(found) == 0


def unsent(found: Pipeline) -> list[str]:
    return [transaction.tag for transaction in found.unsent]


def test_too_many_recipients_are_deferred() -> None:
    """RFC 5321 §4.5.3.1.10: 552 to RCPT means 452, unless it says what else it means."""
    found, client = pipeline("PIPELINING CHUNKING", message("a", "rstu"))
    write(found, client)
    hear(found, client, OK + OK + b"552 too many\r\n552 5.2.2 full\r\n452 4.5.3 too many\r\n" + OK)
    assert decided(found) == [("a", [ACCEPTED, DEFERRED, REFUSED, DEFERRED])]


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        (b"", "dddd"),
        (b"503 x\r\n" * 2, "dddd"),
        (OK + b"550 no\r\n" + OK + b"552 too many\r\n", "rddd"),
        (OK + b"550 no\r\n" + OK + b"552 5.2.2 full\r\n", "rdrd"),
        (OK + b"450 no\r\n" + OK, "dddd"),
    ],
)
def test_what_was_said_before_the_session_ended(replies: bytes, expected: str) -> None:
    """Who was refused is; of the others the message goes elsewhere."""
    transaction = message("a", "rstu")
    found, client = pipeline("PIPELINING", message("before"), transaction)
    write(found, client)
    hear(found, client, OK * 2 + b"354 go\r\n")
    end(found, client, OK + replies + b"421 too many errors\r\n")
    assert unsent(found) == ["a"]
    outcome = transaction.failed(LOST)
    assert "".join([each.status.value[0] for each in outcome.recipients]) == expected
    for each in outcome.recipients:
        assert (each.stage is Stage.RECIPIENT) == (each.reply is not None)


def test_content_that_left_and_was_not_answered_is_unknown() -> None:
    found, client = pipeline("PIPELINING", message("a", "rs"), message("b"), message("c"))
    write(found, client)
    hear(found, client, OK + b"550 no\r\n" + OK + b"354 go\r\n")
    end(found, client, b"250")
    assert decided(found) == [("a", [REFUSED, UNKNOWN])]
    outcome = found.outcomes[0][1]
    assert outcome.error is LOST
    assert outcome.recipients[1].reply is None
    assert outcome.recipients[1].stage is Stage.CONTENT
    assert unsent(found) == ["b", "c"]
    assert found.is_closing
    assert not found.has_room


def test_what_was_refused_stays_refused() -> None:
    found, client = pipeline("PIPELINING CHUNKING", message("a"), message("b", "rs"), message("c"))
    write(found, client)
    end(found, client, b"550 no\r\n503\r\n503\r\n" + OK + OK + b"550 no\r\n450 later\r\n")
    assert decided(found) == [("a", [REFUSED]), ("b", [REFUSED, DEFERRED]), ("c", [UNKNOWN])]
    assert found.outcomes[1][1].error is None
    assert unsent(found) == []


def test_octets_that_did_not_leave_make_no_content() -> None:
    for dropped, expected in ((0, [("a", [UNKNOWN]), ("b", [UNKNOWN])]), (1, [("a", [UNKNOWN])])):
        found, client = pipeline("PIPELINING CHUNKING", message("a"), message("b"))
        write(found, client)
        found.abandon(LOST, unsent_octets=dropped)
        assert decided(found) == expected
        assert unsent(found) == ["b"][:dropped]
    found, client = pipeline("PIPELINING CHUNKING", message("a"))
    found.advance()  # and nobody writes it
    found.abandon(LOST)
    assert unsent(found) == ["a"]
    assert client.data_to_send() == []


def test_behind_421_nothing_was_looked_at() -> None:
    found, client = pipeline("PIPELINING CHUNKING", *[message(name) for name in "abc"])
    write(found, client)
    end(found, client, OK * 4 + b"421 too many messages\r\n")
    assert decided(found) == [("a", [ACCEPTED])]
    assert unsent(found) == ["b", "c"]
    assert found.goodbye == Reply(421, "too many messages")


def test_a_server_that_says_421_and_goes_on() -> None:
    found, client = pipeline("PIPELINING CHUNKING", *[message(name) for name in "abc"])
    write(found, client)
    end(found, client, b"421 bye\r\n503\r\n503\r\n" + OK + OK)
    assert unsent(found) == ["a"]
    assert decided(found) == [("b", [UNKNOWN]), ("c", [UNKNOWN])]


def test_a_complaint_is_noted() -> None:
    found, client = pipeline("PIPELINING", message("a"), message("b"))
    write(found, client)
    hear(found, client, b"450 4.2.1 busy\r\n503 no\r\n503 no\r\n")
    assert found.complaint is None
    hear(found, client, b"450 4.7.1 too much mail\r\n503 no\r\n503 no\r\n")
    assert found.complaint == Reply(450, "too much mail", "4.7.1")
    assert not found.is_closing
    assert [statuses(outcome) for _, outcome in found.outcomes] == [[DEFERRED], [DEFERRED]]


def test_a_goodbye_that_nothing_had_asked_for() -> None:
    found, _ = pipeline("")
    unasked = UnsolicitedReply(Reply(421, "too many connections", "4.7.0"))
    assert found.handle([unasked]) is unasked
    assert found.is_closing
    assert found.goodbye is found.complaint is not None


def test_421_to_data_for_nobody_changes_nothing() -> None:
    found, client = pipeline("PIPELINING", message("a", "rs"))
    write(found, client)
    end(found, client, OK + b"550 no\r\n" * 2 + b"421 too many errors\r\n")
    assert decided(found) == [("a", [REFUSED, REFUSED])]


def test_421_to_data_cuts_off() -> None:
    found, client = pipeline("PIPELINING", message("a", "rs"))
    write(found, client)
    end(found, client, OK + b"550 no\r\n" + OK + b"421 bye\r\n")
    assert unsent(found) == ["a"]


def test_no_to_rset_is_a_goodbye() -> None:
    found, client = pipeline("PIPELINING CHUNKING", *[message(name) for name in "abc"])
    write(found, client)
    end(found, client, OK * 3 + b"554 too many nonmail commands\r\n")
    assert found.goodbye is not None
    assert decided(found) == [("a", [ACCEPTED])]
    assert unsent(found) == ["b", "c"]


def test_no_to_rset_is_no_refusal_of_the_message_behind_it() -> None:
    """The server is still in the transaction before."""
    found, client = pipeline("PIPELINING CHUNKING", message("a"))
    write(found, client)
    hear(found, client, OK * 2 + b"554 not this\r\n")
    found.submit(message("b"))
    assert write(found, client).startswith(b"RSET\r\nMAIL")
    hear(found, client, b"500 what?\r\n" + b"503 nested\r\n" * 3)
    assert decided(found) == [("a", [REFUSED])]
    assert unsent(found) == ["b"]
    assert found.is_closing


def test_no_to_rset_is_no_harm_where_there_is_nothing_to_reset() -> None:
    found, client = pipeline("PIPELINING CHUNKING", message("a"))
    write(found, client)
    hear(found, client, OK * 2 + b"554 not this\r\n")
    found.submit(message("b"))
    write(found, client)
    hear(found, client, b"500 what?\r\n" + OK * 3)
    assert decided(found) == [("a", [REFUSED]), ("b", [ACCEPTED])]
    assert unsent(found) == []


def test_a_session_has_only_so_many_refusals() -> None:
    """No more can be in flight, as each could be one."""
    found, client = pipeline("PIPELINING CHUNKING", *[message(name) for name in "abcdefgh"], refusals=3)
    refused = OK + b"550 no\r\n503 no\r\n"
    assert write(found, client).count(b"MAIL") == 3  # a b c
    assert hear(found, client, OK * 3).count(b"MAIL") == 1  # d, as a was taken
    assert hear(found, client, OK + refused).count(b"MAIL") == 0  # b
    assert hear(found, client, OK * 4).count(b"MAIL") == 1  # c was taken, e goes
    assert hear(found, client, OK + refused).count(b"MAIL") == 0  # d
    assert hear(found, client, OK * 4).count(b"MAIL") == 1  # e was taken, f goes
    assert not found.is_closing
    assert hear(found, client, refused) == b""
    assert found.is_closing
    assert not found.has_room
    found.abandon(LOST)
    assert unsent(found) == ["g", "h"]


def test_behind_421_nothing_is_begun() -> None:
    found, client = pipeline("", message("a"), message("b"))
    write(found, client)
    assert hear(found, client, b"421 bye\r\n") == b""
    assert found.is_closing
    end(found, client, b"")
    assert unsent(found) == ["a", "b"]


def test_lmtp_recipients_without_answer_are_unknown() -> None:
    found, client = pipeline("PIPELINING", message("a", "rst"), message("b"), lmtp=True)
    write(found, client)
    end(found, client, OK * 4 + b"354 go\r\n", b"250 in\r\n421 bye\r\n")
    assert decided(found) == [("a", [ACCEPTED, DEFERRED, UNKNOWN])]
    assert unsent(found) == ["b"]


def test_what_came_too_early_is_sent_again_elsewhere() -> None:
    found, client = pipeline("PIPELINING CHUNKING", message("a"), message("b"))
    write(found, client)
    end(found, client, OK * 4 + b"503 too early\r\n")
    assert unsent(found) == ["b"]


@pytest.mark.parametrize("how", ["quit", "eof", "failed"])
def test_nothing_is_sent_in_a_session_that_has_ended(how: str) -> None:
    found, client = pipeline("PIPELINING", message("a"))
    match how:
        case "quit":
            client.send(Quit())
        case "eof":
            client.receive_eof()
            heard(client)
        case _:
            client.send_failed()
    sent(client)
    assert write(found, client) == b""
    found.abandon(LOST)
    assert unsent(found) == ["a"]
    assert found.outcomes == []


def test_answers_behind_a_failed_write() -> None:
    found, client = pipeline("PIPELINING", message("a"))
    write(found, client)
    client.send_failed()
    assert hear(found, client, OK * 2 + b"354 go\r\n") == b""
    found.abandon(LOST)
    assert unsent(found) == ["a"]


def test_a_transaction_may_be_for_some_of_its_recipients() -> None:
    transaction = message("a", "rst")
    transaction.narrow(["s@y.example"])
    found, client = pipeline("PIPELINING CHUNKING", transaction)
    assert write(found, client).count(b"RCPT") == 1
    hear(found, client, OK * 3)
    [(_, outcome)] = found.outcomes
    assert [each.address for each in outcome.accepted] == ["s@y.example"]


def test_a_transaction_may_be_sent_again() -> None:
    transaction = message("a")
    for _ in range(2):
        found, client = pipeline("PIPELINING", transaction)
        write(found, client)
        end(found, client, OK)
        assert found.unsent == [transaction]
    found, client = pipeline("PIPELINING", transaction)
    write(found, client)
    hear(found, client, OK * 2 + b"354 go\r\n", OK)
    assert decided(found) == [("a", [ACCEPTED])]


def test_the_outcome_of_what_was_never_sent() -> None:
    transaction = message("a", "rs")
    outcome = transaction.failed(LOST)
    assert statuses(outcome) == [DEFERRED, DEFERRED]
    assert outcome.error is LOST
    assert repr(transaction) == "<Transaction of 7 octets for 2>"


def test_a_transaction_is_narrowed_to_addresses_only() -> None:
    transaction = message("a")
    with pytest.raises(AddressSyntaxError):
        transaction.narrow(["x@y.example> NOTIFY=NEVER ORCPT=<"])
