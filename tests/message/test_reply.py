from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest

from asyncmail.errors import MessageError
from asyncmail.message import compose, flatten, reply

ORIGINAL = """\
From: "Ann A." <ann@x.example>
To: Me <Me@x.example>, bob@x.example
Cc: carl@x.example, bob@x.example, ann@x.example, broken
Subject: {subject}
Date: Mon, 01 Jan 2024 00:00:00 +0000
Message-ID: <3@x.example>
{more}
Hello,

> quoted

text
--{space}
Ann
"""


def original(*, subject: str = "Question", more: str = "") -> bytes:
    return ORIGINAL.format(subject=subject, more=more, space=" ").encode()


def test_reply() -> None:
    answer = reply(original(), own_addresses=["me@x.example"], text="Yes.\n")
    assert dict(answer.items()) | {"Date": "", "Message-ID": ""} == {
        "From": "Me <Me@x.example>",
        "To": '"Ann A." <ann@x.example>',
        "Subject": "Re: Question",
        "Date": "",
        "Message-ID": "",
        "In-Reply-To": "<3@x.example>",
        "References": "<3@x.example>",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "7bit",
        "MIME-Version": "1.0",
    }
    assert answer.get_content() == (
        "Yes.\n\nOn Mon, 01 Jan 2024 00:00:00 +0000, Ann A. wrote:\n> Hello,\n>\n>> quoted\n>\n> text\n"
    )


def test_reply_all() -> None:
    answer = reply(original(), own_addresses="me@x.example, m@y.example", reply_all=True)
    assert answer["To"] == '"Ann A." <ann@x.example>'
    assert answer["Cc"] == "bob@x.example, carl@x.example"


def test_reply_to() -> None:
    answer = reply(original(more="Reply-To: list@x.example\n"), sender="me@x.example", reply_all=True)
    assert answer["To"] == "list@x.example"
    assert answer["Cc"] == "bob@x.example, carl@x.example, ann@x.example"


def test_sender() -> None:
    assert (
        reply(original(), sender="N <n@x.example>", own_addresses=["bob@x.example"])["From"]
        == "N <n@x.example>"
    )
    assert reply(original(), own_addresses=["n@x.example", "BOB@x.example"])["From"] == "bob@x.example"
    assert reply(original(), own_addresses=["n@x.example", "o@x.example"])["From"] == "n@x.example"
    with pytest.raises(MessageError, match="no sender"):
        reply(original())


def test_answer_to_a_message_of_ones_own() -> None:
    answer = reply(original(), own_addresses=["ann@x.example"])
    assert answer["To"] == "Me <Me@x.example>, bob@x.example"
    alone = compose(sender="ann@x.example", text="x")
    assert reply(alone, sender="ann@x.example")["To"] == "ann@x.example"


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("", "Re:"),
        ("a", "Re: a"),
        ("Re: a", "Re: a"),
        ("RE:re : Re[2]: AW: Sv: a: b", "Re: a: b"),
        ("Regarding: a", "Re: Regarding: a"),
        ("=?utf-8?q?Gr=C3=BC=0D=0AX=3A_?=", "Re: Grü  X:"),
    ],
)
def test_subject(subject: str, expected: str) -> None:
    assert reply(original(subject=subject), sender="me@x.example")["Subject"] == expected


@pytest.mark.parametrize(
    ("more", "references"),
    [
        ("References: <1@x.example>\n <2@x.example>\n", "<1@x.example> <2@x.example> <3@x.example>"),
        ("References: <3@x.example> <1@x.example>\n", "<1@x.example> <3@x.example>"),
        ("In-Reply-To: <2@x.example>\n", "<2@x.example> <3@x.example>"),
        ("In-Reply-To: <1@x.example> <2@x.example>\n", "<3@x.example>"),
    ],
)
def test_thread(more: str, references: str) -> None:
    answer = reply(original(more=more), sender="me@x.example")
    assert answer["In-Reply-To"] == "<3@x.example>"
    assert answer["References"] == references


def test_no_thread() -> None:
    answer = reply(b"From: a@x.example\n\nx", sender="me@x.example", text="y")
    assert "In-Reply-To" not in answer
    assert "References" not in answer
    assert answer.get_content() == "y\n\na@x.example wrote:\n> x\n"


@pytest.mark.parametrize(
    "body",
    [
        "Content-Type: text/html\n\n<p>x\n",
        "\n\n \n",
        "Content-Type: text/plain\n\n-- \nsignature\n",
        "Content-Type: application/pdf\n\nx\n",
    ],
)
def test_nothing_to_quote(body: str) -> None:
    message = f"From: a@x.example\n{body}".encode()
    assert reply(message, sender="me@x.example", text="y").get_content() == "y\n"


def test_no_quotation() -> None:
    assert reply(original(), sender="me@x.example", text="y", quote=False).get_content() == "y\n"
    assert (
        reply(original(), sender="me@x.example", attribution="{name} ({date}):")
        .get_content()
        .startswith("Ann A. (Mon, 01 Jan 2024 00:00:00 +0000):\n> Hello")
    )


def test_unknown_charset() -> None:
    answer = reply(
        b"From: a@x.example\nContent-Type: text/plain; charset=x-no\n\n\xe4b\n", sender="me@x.example"
    )
    assert answer.get_content().endswith("> \ufffdb\n")


def test_more_parts() -> None:
    answer = reply(
        message_from_bytes(original()),
        sender="me@x.example",
        text="y",
        html="<p>y",
        attachments=[("a", b"")],
        inline={"i": ("i.png", b"")},
        headers={"X-A": "b"},
    )
    assert answer["X-A"] == "b"
    assert [part.get_content_type() for part in answer.walk()][-3:] == [
        "text/html",
        "image/png",
        "application/octet-stream",
    ]


def test_nobody_to_answer_to() -> None:
    with pytest.raises(MessageError, match="nobody"):
        reply(b"From: broken\nTo: b@x.example\n\nx", sender="b@x.example")


def test_injection() -> None:
    evil = message_from_bytes(
        b"From: =?utf-8?q?A=0D=0AX-Evil=3A_1?= <a@x.example>\nMessage-ID: <1@x>\n\nx", policy=default
    )
    assert isinstance(evil, EmailMessage)
    octets = flatten(reply(evil, sender="me@x.example"))
    assert b"\nX-Evil" not in octets
