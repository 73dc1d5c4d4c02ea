from __future__ import annotations

import dataclasses
import enum
from email import message_from_bytes, message_from_string
from email.header import Header
from email.headerregistry import Address as StandardAddress
from email.message import EmailMessage, Message
from email.policy import default

import pytest

from asyncmail.address import Address
from asyncmail.errors import AddressSyntaxError, MessageError
from asyncmail.message import Envelope, Parcel, envelope_from_headers
from asyncmail.message.envelope import Mailbox, addr_spec, addr_specs, mailboxes, make_envelope


def message(header: str, *, modern: bool = True) -> Message:
    return (
        message_from_bytes(header.encode() + b"\n\nbody\n", policy=default)
        if modern
        else message_from_string(header)
    )


def test_envelope() -> None:
    envelope = Envelope(
        sender="a@Bücher.example", recipients=("x@y.example", "X@y.example", "x@Y.EXAMPLE", "Postmaster")
    )
    assert envelope.sender == "a@xn--bcher-kva.example"
    assert envelope.recipients == ("x@y.example", "X@y.example", "Postmaster")
    assert not envelope.needs_smtputf8
    assert Envelope(sender="", recipients=("a@b.example",)).sender == ""
    with pytest.raises(dataclasses.FrozenInstanceError):
        envelope.sender = ""  # type: ignore[misc]


def test_envelope_smtputf8() -> None:
    assert Envelope(sender="ü@b.example", recipients=("a@b.example",)).needs_smtputf8
    assert Envelope(sender="", recipients=("a@b.example", "ü@b.example")).needs_smtputf8


def test_envelope_refuses() -> None:
    with pytest.raises(MessageError, match=r"no recipients.*recipients="):
        Envelope(sender="a@b.example", recipients=())
    with pytest.raises(AddressSyntaxError):
        Envelope(sender="a", recipients=("a@b.example",))
    with pytest.raises(AddressSyntaxError):
        Envelope(sender="", recipients=("a@b.example\r\nDATA",))


def test_parcel_takes_positions() -> None:
    parcel = Parcel(b"", "a@b.example", ["c@d.example"], tag="7")
    assert (parcel.content, parcel.sender, parcel.recipients, parcel.tag) == (
        b"",
        "a@b.example",
        ["c@d.example"],
        "7",
    )
    assert Parcel(b"") == Parcel(b"", None, None)


@pytest.mark.parametrize(
    ("address", "spec"),
    [
        ("a@b.example", "a@b.example"),
        (" a@b.example ", "a@b.example"),
        ("", ""),
        ("A B <a@b.example>", "a@b.example"),
        ('"B, A" <a@b.example>', "a@b.example"),
        ('"a b"@b.example', '"a b"@b.example'),
        (Address(local_part="a", domain="b.example", display_name="A"), "a@b.example"),
        (StandardAddress("A", "a", "b.example"), "a@b.example"),
    ],
)
def test_addr_spec(address: str | Address | StandardAddress, spec: str) -> None:
    assert addr_spec(address) == spec
    if spec:
        assert addr_specs(address) == (spec,)
    assert addr_specs([address, "x@y.example"]) == (spec, "x@y.example")


def test_addr_spec_refuses_several() -> None:
    with pytest.raises(AddressSyntaxError):
        addr_spec("a@b.example, c@d.example")


def test_mailboxes() -> None:
    assert mailboxes("") == []
    assert mailboxes("A <a@b.example>, g: c@d.example;") == [
        Mailbox("A", "a@b.example"),
        Mailbox("", "c@d.example"),
    ]
    assert mailboxes(["A <a@b.example>"]) == [Mailbox("A", "a@b.example")]


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize(
    ("header", "sender", "recipients"),
    [
        ("From: a@x.example\nTo: b@x.example", "a@x.example", ["b@x.example"]),
        (
            "From: a@x.example, c@x.example\nTo: B <b@x.example>\nCc: d@x.example,\n B <b@X.example>\nBcc: e@x.example",
            "a@x.example",
            ["b@x.example", "d@x.example", "e@x.example"],
        ),
        ("From: a@x.example\nSender: S <s@x.example>\nBcc: b@x.example", "s@x.example", ["b@x.example"]),
        (
            "From: a@x.example\nTo: all: b@x.example;, none:;\nTo: c@x.example",
            "a@x.example",
            ["b@x.example", "c@x.example"],
        ),
        (
            (
                "Resent-From: r@x.example\nResent-To: t@x.example\nResent-Bcc: u@x.example\nResent-Date: now\n"
                "From: a@x.example\nTo: b@x.example\nBcc: e@x.example"
            ),
            "r@x.example",
            ["t@x.example", "u@x.example"],
        ),
        (  # the block above is the most recent
            (
                "Resent-From: r2@x.example\nResent-Sender: s2@x.example\nResent-To: t2@x.example\n"
                "Resent-From: r1@x.example\nResent-Cc: t1@x.example\nFrom: a@x.example\nTo: b@x.example"
            ),
            "s2@x.example",
            ["t2@x.example"],
        ),
        (  # a trace field ends a block
            (
                "Received: x\nResent-From: r2@x.example\nResent-To: t2@x.example\nReceived: x\n"
                "Resent-Cc: t1@x.example\nResent-Bcc: t1@x.example\nFrom: a@x.example\nTo: b@x.example"
            ),
            "r2@x.example",
            ["t2@x.example"],
        ),
        ("From: =?utf-8?q?a=40b=2C?= <a@x.example>\nTo: b@x.example", "a@x.example", ["b@x.example"]),
        (
            "From: J\u00fcrgen <a@x.example>\nTo: \u00fc@b\u00fccher.example",
            "a@x.example",
            ["\u00fc@b\u00fccher.example"],
        ),
    ],
)
def test_envelope_from_headers(header: str, sender: str, recipients: list[str], modern: bool) -> None:
    envelope = envelope_from_headers(message(header, modern=modern))
    assert envelope.sender == sender
    assert list(envelope.recipients) == recipients


def test_envelope_of_composed_messages() -> None:
    composed = EmailMessage()
    composed["From"] = StandardAddress("=?utf-8?q?J=C3=BCrgen=0A?=", "a", "x.example")
    composed["To"] = [StandardAddress("", "b", "x.example"), StandardAddress("C, D", "c", "x.example")]
    assert envelope_from_headers(composed).recipients == ("b@x.example", "c@x.example")
    old = Message()
    old["From"] = Header("a@x.example", "utf-8")  # type: ignore[assignment]
    old["To"] = "b@x.example"
    assert envelope_from_headers(old) == Envelope(sender="a@x.example", recipients=("b@x.example",))


def test_envelope_overrides() -> None:
    broken = message("From: nobody\nTo: nobody")
    envelope = envelope_from_headers(broken, sender="", recipients="A <a@x.example>, b@x.example")
    assert envelope == Envelope(sender="", recipients=("a@x.example", "b@x.example"))
    with pytest.raises(AddressSyntaxError):
        envelope_from_headers(broken, sender="")
    with pytest.raises(AddressSyntaxError):
        envelope_from_headers(broken, recipients="a@x.example")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("To: a@x.example", "no sender"),
        ("From: a@x.example", "no recipients"),
        ("From: a@x.example\nTo: none:;", "no recipients"),
        ("From: a@x.example\nTo: b@x.example\nResent-Date: now", "no sender"),
    ],
)
def test_envelope_from_headers_refuses(header: str, problem: str) -> None:
    with pytest.raises(MessageError, match=problem):
        envelope_from_headers(message(header))


class Evil(str):
    def __format__(self, spec: str) -> str:
        return "evil@x.example> NOTIFY=NEVER X=<"


class Team(str, enum.Enum):  # noqa: UP042 - a StrEnum formats as its value
    OPS = "ops@x.example"


@pytest.mark.parametrize("address", [Evil("ops@x.example"), Team.OPS])
def test_what_is_checked_is_what_is_sent(address: str) -> None:
    envelope = make_envelope(address, [address])
    assert [f"{each}" for each in (envelope.sender, *envelope.recipients)] == ["ops@x.example"] * 2
