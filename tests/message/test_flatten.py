from __future__ import annotations

import copy
import re
from email import message_from_bytes
from email.header import Header
from email.headerregistry import Address as StandardAddress
from email.headerregistry import Group
from email.message import EmailMessage, Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import SMTP, compat32, default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import AddressSyntaxError, MessageError
from asyncmail.message import Envelope, Parcel, compose, flatten, prepare

FIXED = "Date: Mon, 01 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n"


def fixed(**fields: str) -> EmailMessage:
    message = EmailMessage()
    message["Date"] = "Mon, 01 Jan 2024 00:00:00 +0000"
    message["Message-ID"] = "<1@example.com>"
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return message


def header_of(message: Message) -> str:
    return flatten(message).decode().removeprefix(FIXED).partition("\r\n\r\n")[0]


@pytest.mark.parametrize(
    ("given_octets", "octets"),
    [
        (b"", b"\r\n"),
        (b"A: b\n\nx", b"A: b\r\n\r\nx\r\n"),
        (b"A: b\r\n\r\nx\r\n", b"A: b\r\n\r\nx\r\n"),
        (
            b"Bcc: b@x.example\r\nA:no space\r\n\r\nx\rx\n",
            b"Bcc: b@x.example\r\nA:no space\r\n\r\nx\r\nx\r\n",
        ),
    ],
)
def test_octets_stay(given_octets: bytes, octets: bytes) -> None:
    assert flatten(given_octets) == octets
    assert flatten(bytearray(given_octets)) == octets  # type: ignore[arg-type]


def test_octets_are_not_copied() -> None:
    octets = b"A: b\r\n\r\nx\r\n"
    assert flatten(octets) is octets


def test_text_is_no_message() -> None:
    with pytest.raises(MessageError, match=r"str.*EmailMessage"):
        flatten("From: a@x.example")  # type: ignore[arg-type]


def test_blind_copies_do_not_leak() -> None:
    message = compose(
        sender="a@x.example", to="b@x.example", bcc=["H <hidden1@x.example>"], subject="s", text="t"
    )
    message["Resent-Bcc"] = "hidden2@x.example"
    before = copy.deepcopy(message).items()
    octets = flatten(message)
    assert b"\nbcc" not in octets.lower()
    assert b"-bcc" not in octets.lower()
    assert b"hidden" not in octets
    assert message.items() == before
    old = Message()
    old["From"] = "a@x.example"
    old["bCC"] = "hidden1@x.example"
    old["BCC"] = "hidden2@x.example"
    old.set_payload("x")
    assert b"\nbcc" not in flatten(old).lower()
    assert old.get_all("Bcc") == ["hidden1@x.example", "hidden2@x.example"]


def test_message_is_not_changed() -> None:
    message = compose(sender="a@x.example", to="b@x.example", text="t", html="h", attachments=[("n", b"c")])
    del message["Date"]
    del message["Message-ID"]
    before = [part.items() for part in message.walk()]
    octets = flatten(message)
    assert [part.items() for part in message.walk()] == before
    assert octets.startswith(b"Date: ")
    assert re.search(rb"^Message-ID: <\w+@x\.example>\r$", octets, re.MULTILINE)
    parsed = message_from_bytes(octets, policy=default)
    assert parsed["Date"].datetime is not None
    assert [part.get_content_type() for part in parsed.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "application/octet-stream",
    ]


def test_date_and_message_id_of_the_message_stay() -> None:
    message = fixed(From="a@x.example")
    message.set_content("x")
    octets = flatten(message)
    assert octets.startswith(FIXED.encode())
    assert octets.lower().count(b"\r\ndate:") == 0
    assert octets.lower().count(b"message-id:") == 1


@pytest.mark.parametrize("author", ["", "nobody", "A <a@ü>", "a@-x"])
def test_message_id_needs_no_usable_author(author: str) -> None:
    message = Message()
    if author:
        message["From"] = author
    assert re.search(rb"^Message-ID: <\w+@[a-z0-9-]+>\r$", flatten(message), re.MULTILINE)


def test_parsed_fields_stay_as_they_are() -> None:
    octets = (
        b"Subject:  two spaces,\r\n\tfolded\r\n   oddly =?utf-8?q?=C3=A4?=\r\n"
        b"X-Long: " + b"word " * 30 + b"\r\n"
        b'To: "A"   <a@x.example>, (comment) b@x.example\r\n'
        b"X-Raw: \xff\xe4\r\n"
        b'Content-Type: text/plain;charset=UTF-8; x="y z"\r\n\r\nbody \xff\r\n'
    )
    for policy in (default, SMTP, compat32):
        parsed = message_from_bytes(octets, policy=policy)
        parsed["Date"] = "Mon, 01 Jan 2024 00:00:00 +0000"
        parsed["Message-ID"] = "<1@example.com>"
        flattened = flatten(parsed)
        for line in octets.split(b"\r\n"):
            # The parser of the standard library drops what is before and after the value.
            assert line.replace(b":  ", b": ").rstrip() in flattened


@given(
    st.lists(
        st.sampled_from([b"X: y", b" z", b"\t", b"\xff", b"", b"Bcc: q", b"a", b"\r", b"\n"]), max_size=20
    )
)
def test_anything_parsed_can_be_written(lines: list[bytes]) -> None:
    octets = flatten(message_from_bytes(b"From: a@x.example\r\n" + b"\r\n".join(lines), policy=default))
    assert octets.endswith(b"\r\n")
    assert octets.replace(b"\r\n", b"").count(b"\n") == 0
    assert octets.replace(b"\r\n", b"").count(b"\r") == 0


def test_fields_of_messages() -> None:
    message = fixed()
    message["To"] = (
        StandardAddress("Jürgen", "j", "bücher.example"),
        Group("Ä", (StandardAddress("X, Y", "x", "y.example"), StandardAddress("", "z", "y.example"))),
        Group("none", ()),
    )
    message["Subject"] = "Grüße"
    message["Reply-To"] = '"a, b" <c@d.example>'
    message["References"] = "<" + "a" * 60 + "@x> <" + "b" * 60 + "@x>"
    assert header_of(message).split("\r\n") == [
        'To: =?utf-8?q?J=C3=BCrgen?= <j@xn--bcher-kva.example>, =?utf-8?b?w4Q=?=: "X,',
        ' Y" <x@y.example>, z@y.example;, none: ;',
        "Subject: =?utf-8?b?R3LDvMOfZQ==?=",
        'Reply-To: "a, b" <c@d.example>',
        f"References: <{'a' * 60}@x>",
        f" <{'b' * 60}@x>",
    ]


def test_fields_of_messages_in_utf8() -> None:
    message = fixed(To="Jürgen <jürgen@bücher.example>", Subject="Grüße")
    message.set_content("x")
    assert header_of(message).split("\r\n")[:2] == ["To: Jürgen <jürgen@bücher.example>", "Subject: Grüße"]
    prepared = prepare(message, sender="", recipients="a@x.example")
    assert prepared.needs_smtputf8
    assert prepared.needs_8bit


def test_address_that_cannot_be_written() -> None:
    message = fixed(To="a@" + "ü" * 100 + ".example")
    with pytest.raises(AddressSyntaxError):
        flatten(message)


def test_mime_fields() -> None:
    message = EmailMessage()
    message.add_attachment(b"x", maintype="application", subtype="x", filename='ü; ".txt')
    message.add_attachment(
        b"x", maintype="application", subtype="x", filename="plain; " + "name " * 20 + ".txt"
    )
    octets = flatten(message)
    assert b"Content-Disposition: attachment; filename*=utf-8''%C3%BC%3B%20%22.txt\r\n" in octets
    first, second = message_from_bytes(octets, policy=default).iter_attachments()
    assert first.get_filename() == 'ü; ".txt'
    assert second.get_filename() == "plain; " + "name " * 20 + ".txt"


def test_old_messages() -> None:
    message = Message()
    message["Date"] = "Mon, 01 Jan 2024 00:00:00 +0000"
    message["Message-ID"] = "<1@example.com>"
    message["Subject"] = "Grüße"
    message["To"] = "Jürgen <j@x.example>"
    message["Cc"] = ", ".join([f"a{number}@x.example" for number in range(100)])
    message["X-Header"] = Header("Grüße", "utf-8")  # type: ignore[assignment]
    lines = header_of(message).split("\r\n")
    assert lines[0] == "Subject: =?utf-8?b?R3LDvMOfZQ==?="
    assert lines[1] == "To: =?utf-8?q?J=C3=BCrgen?= <j@x.example>"
    assert lines[-1] == "X-Header: =?utf-8?b?R3LDvMOfZQ==?="
    assert max(map(len, lines)) <= 76

    mixed = MIMEMultipart()
    mixed.attach(MIMEText("Grüße\n"))
    mixed.attach(MIMEText("x"))
    assert b'boundary="' in flatten(mixed)
    assert mixed.get_boundary() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Subject", "a\r\nBcc: b@x.example"),
        ("Subject", "a\nX: y"),
        ("Subject", "a\n\nbody"),
        ("A\r\nB", "c"),
        ("A B", "c"),
    ],
)
def test_header_injection(name: str, value: str) -> None:
    message = Message()
    message[name] = value
    message.set_payload("x")
    with pytest.raises(MessageError, match="line break"):
        flatten(message)


def test_header_injection_by_header_objects() -> None:
    message = Message()
    message["X"] = Header("a\nBcc: b@x.example")  # type: ignore[assignment]
    with pytest.raises(MessageError):
        flatten(message)
    hidden = message_from_bytes(b"Subject: =?utf-8?q?a=0D=0ABcc=3A_b?=\r\n\r\n", policy=default)["Subject"]
    copied = fixed()
    copied["Subject"] = hidden
    assert "\nBcc" not in header_of(copied)


@pytest.mark.parametrize("payload", ["Grüße", 5, None])
def test_message_that_has_no_octets(payload: object) -> None:
    message = Message()
    message.set_payload(payload)  # type: ignore[call-overload]
    if payload is None:
        assert flatten(message).endswith(b"\r\n\r\n")
        return
    with pytest.raises(MessageError, match="cannot be written"):
        flatten(message)


def test_prepare() -> None:
    message = compose(
        sender="a@x.example", to="B <b@x.example>", bcc="c@x.example", subject="s", text="Grüße"
    )
    prepared = prepare(message, tag="1")
    assert prepared.envelope == Envelope(sender="a@x.example", recipients=("b@x.example", "c@x.example"))
    assert prepared.tag == "1"
    assert not prepared.needs_8bit
    assert not prepared.needs_smtputf8
    assert prepared.message_id == message["Message-ID"]
    assert prepare(message, "", "d@x.example").envelope == Envelope(sender="", recipients=("d@x.example",))
    assert prepare(Parcel(message, "e@x.example")).envelope.sender == "e@x.example"
    parcel = Parcel(b"x", "e@x.example", ["f@x.example"], tag="2")
    assert prepare(parcel, tag="1").tag == "2"
    assert prepare(parcel, "g@x.example", ["h@x.example"]).envelope == Envelope(
        sender="g@x.example", recipients=("h@x.example",)
    )


@pytest.mark.parametrize(
    ("octets", "needs_8bit", "needs_smtputf8", "message_id"),
    [
        (
            b"From: a@x.example\nTo: b@x.example\nMessage-Id:\n <1@x>\n\nMessage-ID: <2@x>\n",
            False,
            False,
            "<1@x>",
        ),
        (b"From: a@x.example\r\nTo: b@x.example\r\n\r\n\xff\r\n", True, False, ""),
        ("From: Ä <a@x.example>\r\nTo: b@x.example\r\n\r\nx\r\n".encode(), True, True, ""),
        ("From: Ä <a@x.example>\r\nTo: b@x.example\r\n\r\nx\r\n".encode("latin-1"), True, False, ""),
        ("From: a@x.example\r\nTo: ä@x.example".encode(), True, True, ""),
    ],
)
def test_prepare_octets(octets: bytes, needs_8bit: bool, needs_smtputf8: bool, message_id: str) -> None:
    prepared = prepare(octets)
    assert prepared.envelope.sender == "a@x.example"
    assert prepared.needs_8bit is needs_8bit
    assert prepared.needs_smtputf8 is needs_smtputf8
    assert prepared.message_id == message_id


def test_prepare_octets_without_header() -> None:
    with pytest.raises(MessageError, match="no sender"):
        prepare(b"\r\nFrom: a@x.example")
    assert prepare(b"\r\n\xff", "a@x.example", "b@x.example").needs_8bit
