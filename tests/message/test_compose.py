from __future__ import annotations

import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.address import Address
from asyncmail.errors import AddressSyntaxError, MessageError
from asyncmail.message import Attachment, compose, flatten

if TYPE_CHECKING:
    from pathlib import Path

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=200)


def tree(part: EmailMessage) -> object:
    name = part.get_content_type()
    return [name, *map(tree, part.iter_parts())] if part.is_multipart() else name  # type: ignore[arg-type]


def reread(message: EmailMessage) -> EmailMessage:
    octets = flatten(message)
    assert octets.isascii()
    return message_from_bytes(octets, policy=default)


def test_fields() -> None:
    message = reread(
        compose(
            sender=Address(local_part="a", domain="bücher.example", display_name="Jürgen"),
            to=["B <b@x.example>", "c@x.example"],
            cc="d@x.example, E <e@x.example>",
            bcc="f@x.example",
            reply_to=["g@x.example"],
            subject="Grüße",
            text="x",
            headers={"X-One": "1", "X-Many": ["1", "2"]},
            date=datetime.datetime(
                2024, 2, 3, 4, 5, 6, tzinfo=datetime.timezone(datetime.timedelta(hours=2))
            ),
            message_id="<1@x.example>",
        )
    )
    assert list(message.items()) == [
        ("From", "Jürgen <a@xn--bcher-kva.example>"),
        ("To", "B <b@x.example>, c@x.example"),
        ("Cc", "d@x.example, E <e@x.example>"),
        ("Reply-To", "g@x.example"),
        ("Subject", "Grüße"),
        ("Date", "Sat, 03 Feb 2024 04:05:06 +0200"),
        ("Message-ID", "<1@x.example>"),
        ("X-One", "1"),
        ("X-Many", "1"),
        ("X-Many", "2"),
        ("Content-Type", 'text/plain; charset="utf-8"'),
        ("Content-Transfer-Encoding", "7bit"),
        ("MIME-Version", "1.0"),
    ]


def test_defaults() -> None:
    message = compose(sender="ü@bücher.example")
    assert message["Message-ID"].endswith("@xn--bcher-kva.example>")
    assert message["Date"].datetime.utcoffset() == datetime.timedelta()
    assert abs(message["Date"].datetime - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)
    assert "Subject" not in message
    assert message.get_content() == "\n"
    assert compose(sender="a@b.example")["Message-ID"] != compose(sender="a@b.example")["Message-ID"]
    naive = datetime.datetime(2024, 2, 3)
    assert compose(sender="a@b.example", date=naive)["Date"] == "Sat, 03 Feb 2024 00:00:00 +0000"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"text": "t"}, "text/plain"),
        ({"html": "h"}, "text/html"),
        ({"text": "t", "html": "h"}, ["multipart/alternative", "text/plain", "text/html"]),
        ({"html": "h", "inline": {"i": ("i.png", b"")}}, ["multipart/related", "text/html", "image/png"]),
        (
            {"text": "t", "html": "h", "inline": {"i": ("i.png", b""), "j": ("j.gif", b"")}},
            [
                "multipart/alternative",
                "text/plain",
                ["multipart/related", "text/html", "image/png", "image/gif"],
            ],
        ),
        ({"attachments": [("a", b"")]}, ["multipart/mixed", "text/plain", "application/octet-stream"]),
        (
            {"html": "h", "inline": {"i": ("i.png", b"")}, "attachments": [("a.pdf", b""), ("b.txt", b"")]},
            [
                "multipart/mixed",
                ["multipart/related", "text/html", "image/png"],
                "application/pdf",
                "text/plain",
            ],
        ),
    ],
)
def test_structure(parts: dict[str, object], expected: object) -> None:
    assert tree(compose(sender="a@b.example", **parts)) == expected  # type: ignore[arg-type]


@given(TEXT, TEXT, TEXT)
def test_texts_round_trip(subject: str, text: str, html: str) -> None:
    subject = " ".join(subject.split())
    try:
        message = compose(sender="a@b.example", subject=subject, text=text, html=html)
    except MessageError:  # a control character in the subject
        return
    message = reread(message)
    plain, rich = message.iter_parts()
    assert plain.get_content().replace("\r\n", "\n").rstrip("\n") == text.rstrip("\n")
    assert rich.get_content().replace("\r\n", "\n").rstrip("\n") == html.rstrip("\n")


def test_attachments(tmp_path: Path) -> None:
    path = tmp_path / "ü b.csv"
    path.write_bytes(b"a,\xff\r\n\n")
    forwarded = compose(sender="c@d.example", subject="Forwarded", text="ä")
    message = reread(
        compose(
            sender="a@b.example",
            attachments=[
                path,
                str(path),
                Attachment.from_path(path, filename="x.tar.gz", content_type="application/x-y"),
                ("../../etc/pass\nwd", b"1"),
                ("C:\\dir\\x.tar.gz", b"2"),
                ("evil\u202etxt.exe", b"3", "application/octet-stream"),
                ("..", b"4"),
                ("x.bz2", b"5"),
                forwarded,
                ("mail.eml", flatten(forwarded), "message/rfc822"),
            ],
        )
    )
    attachments = list(message.iter_attachments())
    assert [(part.get_filename(), part.get_content_type()) for part in attachments] == [
        ("ü b.csv", "text/csv"),
        ("ü b.csv", "text/csv"),
        ("x.tar.gz", "application/x-y"),
        ("passwd", "application/octet-stream"),
        ("x.tar.gz", "application/gzip"),
        ("eviltxt.exe", "application/octet-stream"),
        ("attachment", "application/octet-stream"),
        ("x.bz2", "application/octet-stream"),
        (None, "message/rfc822"),
        ("mail.eml", "message/rfc822"),
    ]
    assert attachments[0].get_payload(decode=True) == b"a,\xff\r\n\n"
    for part in attachments[-2:]:
        assert part.get_content()["Subject"] == "Forwarded"


def test_inline() -> None:
    message = compose(sender="a@b.example", html='<img src="cid:logo">', inline={"logo": ("l.png", b"x")})
    _, image = reread(message).iter_parts()
    assert image["Content-ID"] == "<logo>"
    assert image["Content-Disposition"] == 'inline; filename="l.png"'


def test_unsubscribe() -> None:
    message = compose(
        sender="a@b.example", unsubscribe=["https://x.example/u?" + "v" * 80, "mailto:u@x.example"]
    )
    message = reread(message)
    assert message["List-Unsubscribe"] == f"<https://x.example/u?{'v' * 80}>, <mailto:u@x.example>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    message = compose(sender="a@b.example", unsubscribe="mailto:u@x.example")
    assert message["List-Unsubscribe"] == "<mailto:u@x.example>"
    assert "List-Unsubscribe-Post" not in message


@pytest.mark.parametrize(
    "parts",
    [
        {"subject": "a\r\nBcc: c@d.example"},
        {"subject": "a\nb"},
        {"headers": {"X": "a\r\n\r\nb"}},
        {"headers": {"X\r\nY": "a"}},
        {"headers": {"X Y": "a"}},
        {"headers": {"Content-Type": "text/html"}},
        {"headers": {"MIME-Version": "2"}},
        {"subject": "a", "headers": {"Subject": "b"}},
        {"message_id": "<a@b>\r\nX: y"},
        *[
            {"message_id": each}
            for each in ("x", "", "<x>", "a@b", "<@b>", "<a@>", "<a @b>", "<ä@b>", "<a@b@c>")
        ],
        {"unsubscribe": "https://x.example/\r\nX: y"},
        {"unsubscribe": "https://x.example/>, <a"},
        {"unsubscribe": "javascript:x"},
        {"inline": {"i": ("i.png", b"")}},
        {"html": "h", "inline": {"i>\r\nX: y": ("i.png", b"")}},
        {"html": "h", "inline": {"i": EmailMessage()}},
        {"attachments": ["no such file"]},
        {"attachments": [("a", b"", "text/plain\r\nX: y")]},
        {"attachments": [("a", b"", "text")]},
    ],
)
def test_refusals(parts: dict[str, object]) -> None:
    with pytest.raises(MessageError) as caught:
        compose(sender="a@b.example", **parts)  # type: ignore[arg-type]
    assert caught.value.cure


@pytest.mark.parametrize(
    "parts",
    [
        {"sender": "a"},
        {"to": ["b", "c@d.example"]},
        {"to": "A <b@c.example>\r\nX: y"},
        {"cc": ["a@b.example, c@d.example"]},
    ],
)
def test_addresses_refused(parts: dict[str, object]) -> None:
    with pytest.raises(AddressSyntaxError):
        compose(**{"sender": "a@b.example", **parts})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["text", "html"])
def test_text_that_is_no_text(name: str) -> None:
    """Such is an argument of a command line that is not in the encoding of the terminal."""
    with pytest.raises(MessageError, match=f"the {name} holds half a character"):
        compose(sender="a@example.com", to="b@example.com", **{name: "a\udcff"})  # type: ignore[arg-type]
