from __future__ import annotations

import datetime
import html
import re
import sys
import tracemalloc
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.address import Address
from asyncmail.errors import AddressSyntaxError, MessageError, MissingExtra, TemplateError
from asyncmail.message import Parcel, Template, compose, flatten, prepare

VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=120) | st.sampled_from(
    [".", "..", "a.b", "{x}", "%s %", "=?utf-8?q?x?=", "x" * 200, "--", "From ", "<b>&amp;\"'"]
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300) | st.sampled_from(
    [".\n..\n\n", "x" * 1200, "Zürich\r\nBern\rBasel\n", "a \t\nb", "\0", "From x\n", "--=_\n", ""]
)


def parse(parcel: Parcel) -> EmailMessage:
    assert isinstance(parcel.content, bytes)
    assert parcel.content.isascii()
    assert parcel.content.endswith(b"\r\n")
    assert parcel.content.count(b"\n") == parcel.content.count(b"\r") == parcel.content.count(b"\r\n")
    assert max(map(len, parcel.content.split(b"\r\n"))) <= 998
    return message_from_bytes(parcel.content, policy=default)


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    body = message.get_body((kind,))
    assert body is not None
    return lines(body.get_content())


def lines(text: str) -> str:
    return re.sub("\r\n?", "\n", text)


def template(**parts: object) -> Template:
    return Template(**{"sender": "Shop <shop@example.com>", "to": "{email}", "text": "Hello {name}", **parts})  # type: ignore[arg-type]


ROW = {"email": "jane@example.org", "name": "Jane"}


def test_render() -> None:
    compiled = template(subject="News for {name}")
    assert compiled.fields == ("email", "name")
    assert repr(compiled) == "<Template fields=('email', 'name')>"
    parcel = compiled.render(ROW, tag="17")
    assert (parcel.sender, parcel.recipients, parcel.tag) == ("shop@example.com", ("jane@example.org",), "17")
    message = parse(parcel)
    assert message["From"] == "Shop <shop@example.com>"
    assert message["To"] == "jane@example.org"
    assert message["Subject"] == "News for Jane"
    assert message["MIME-Version"] == "1.0"
    assert text_of(message) == "Hello Jane\n"
    assert prepare(parcel).octets is parcel.content


def test_date_and_message_id() -> None:
    compiled = template()
    first, second = compiled.render(ROW), compiled.render(ROW)
    assert parse(first)["Message-ID"] != parse(second)["Message-ID"]
    assert parse(first)["Message-ID"].endswith("@example.com>")
    assert abs(parse(first)["Date"].datetime - datetime.datetime.now(datetime.UTC)).total_seconds() < 60
    date = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    fixed = compiled.render(ROW, date=date, message_id="<1@x>")
    assert fixed.content == compiled.render(ROW, date=date, message_id="<1@x>").content
    assert parse(fixed)["Message-ID"] == "<1@x>"
    assert parse(fixed)["Date"] == "Mon, 01 Jan 2024 00:00:00 +0000"
    for bad in ("1@x", "<a b>", "<a>\r\nX: y", "<ä@x>", ""):
        with pytest.raises(MessageError, match="Message-ID"):
            compiled.render(ROW, message_id=bad)


@given(name=VALUES, subject=VALUES, text=TEXTS, rich=TEXTS)
def test_round_trip(name: str, subject: str, text: str, rich: str) -> None:
    compiled = Template(
        sender="a@example.com",
        to="{name} X <{email}>",
        subject="{subject}",
        text="Hello {text}.\n.{text}\n",
        html="<p>{rich}</p>\n",
        attachments=[("a.bin", b"\0\xff")],
        headers={"X-Name": "[{name}]"},
    )
    message = parse(
        compiled.render({"name": name, "subject": subject, "text": text, "rich": rich, "email": ROW["email"]})
    )
    assert message["Subject"] == subject
    assert message["X-Name"] == f"[{name}]"
    (mailbox,) = message["To"].addresses
    assert mailbox.addr_spec == "jane@example.org"
    assert "".join(mailbox.display_name.split()) == "".join(f"{name}X".split())
    assert text_of(message) == f"Hello {lines(text)}.\n.{lines(text)}\n"
    assert html.unescape(text_of(message, "html")) == html.unescape(html.escape(f"<p>{lines(rich)}</p>\n"))
    (attachment,) = message.iter_attachments()
    assert attachment.get_content() == b"\0\xff"
    assert not any(part.defects for part in message.walk())


@given(st.dictionaries(st.sampled_from(["name", "First Name", "ID-2", "Ünvan"]), VALUES, min_size=4))
def test_names_as_tables_have_them(row: dict[str, str]) -> None:
    source = "".join([f"{{{name}}};" for name in row])
    compiled = Template(sender="a@example.com", text=source)
    assert compiled.fields == tuple(row)
    assert (
        text_of(parse(compiled.render(row, to="b@example.com")))
        == "".join([f"{v};" for v in row.values()]) + "\n"
    )


@pytest.mark.parametrize(
    ("source", "rendered"),
    [
        ("{a}", "1"),
        ("{{a}}", "{a}"),
        ("{{{a}}}", "{1}"),
        ("{{{{a}}}}", "{{a}}"),
        ("{a}}", "1}"),
        ("{{a}", "{a}"),
        ("{a}{a}", "11"),
        ("body { color: red }", "body { color: red }"),
        ("@media print{p{margin:0}}", "@media print{p{margin:0}}"),
        ("{} { } {1} {a.b} {a!r} {a:>3} {a[0]} { a }", "{} { } {1} {a.b} {a!r} {a:>3} {a[0]} { a }"),
        ("100 %s %% %(a)s {a}", "100 %s %% %(a)s 1"),
        ("}{", "}{"),
    ],
)
def test_braces(source: str, rendered: str) -> None:
    compiled = Template(sender="a@example.com", text=source, html=source)
    message = parse(compiled.render({"a": 1}, to="b@example.com"))
    assert text_of(message) == rendered + "\n"
    assert text_of(message, "html") == rendered + "\n"


def test_values() -> None:
    compiled = template()
    assert text_of(parse(compiled.render({**ROW, "name": 5, "unused": None}))) == "Hello 5\n"
    assert text_of(parse(compiled.render({**ROW, "name": ""}))) == "Hello \n"
    with pytest.raises(TemplateError, match="'name', which was not given") as caught:
        compiled.render({"email": "a@example.com"})
    assert caught.value.field == "name"
    with pytest.raises(TemplateError, match="None") as caught:
        compiled.render({**ROW, "name": None})
    assert caught.value.field == "name"
    with pytest.raises(TemplateError, match="half a character") as caught:
        compiled.render({**ROW, "name": "\ud83d"})
    assert caught.value.field == "name"


def test_html_is_escaped() -> None:
    compiled = template(html='<a href="{name}">{name}</a>')
    rendered = compiled.render({**ROW, "name": "\"><script>'&"})
    assert text_of(parse(rendered), "html") == (
        '<a href="&quot;&gt;&lt;script&gt;&#x27;&amp;">&quot;&gt;&lt;script&gt;&#x27;&amp;</a>\n'
    )
    assert text_of(parse(rendered)) == "Hello \"><script>'&\n"


@pytest.mark.parametrize("value", ["a\r\nBcc: evil@example.com", "a\nb", "a\rb", "a\0", "a\u2028b", "a\x85b"])
@pytest.mark.parametrize(
    "parts",
    [
        {"subject": "{name}"},
        {"headers": {"X-A": "x {name}"}},
        {"to": "{name} <{email}>"},
        {"to": "x{name}@example.com"},
        {"sender": "{name} <a@example.com>"},
        {"reply_to": "{name}"},
        {"unsubscribe": "https://example.com/{name}"},
        {"unsubscribe": "{name}"},
    ],
)
def test_header_injection(parts: dict[str, object], value: str) -> None:
    with pytest.raises(TemplateError, match="control character") as caught:
        template(text="x", **parts).render({**ROW, "name": value})
    assert caught.value.field == "name"


def test_recipient_injection() -> None:
    compiled = template(to='"{name}, {name}" <{email}>', text="x")
    parcel = compiled.render({**ROW, "name": 'x" <evil@example.com>, "y'})
    assert parcel.recipients == ("jane@example.org",)
    assert [address.addr_spec for address in parse(parcel)["To"].addresses] == ["jane@example.org"]
    for email in ("a@example.com, b@example.com", "a@example.com> <b@example.com", "A <a@example.com>"):
        with pytest.raises(AddressSyntaxError):
            compiled.render({**ROW, "name": "x", "email": email})
    with pytest.raises(AddressSyntaxError):
        template().render({**ROW, "email": "a@example.com, b@example.com"})


def test_boundary_injection() -> None:
    compiled = template(html="<p>x", text="{name}")
    boundary = parse(compiled.render(ROW)).get_boundary()
    evil = f"\r\n--{boundary}\r\nContent-Type: text/html\r\n\r\n<p>evil\r\n--{boundary}--\r\n"
    for value in (evil, evil + "ä" * 10, evil + "ä" * 1000):
        message = parse(compiled.render({**ROW, "name": value}))
        assert [part.get_content_type() for part in message.walk()] == [
            "multipart/alternative",
            "text/plain",
            "text/html",
        ]
        assert text_of(message) == lines(value) + "\n"


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        ("x" * 900, "7bit"),
        ("x" * 1000, "quoted-printable"),
        ("Zürich ist eine Stadt in der Schweiz", "quoted-printable"),
        ("Ελληνικά", "base64"),
        ("\0", "quoted-printable"),
    ],
)
def test_transfer_encodings(value: str, encoding: str) -> None:
    message = parse(template().render({**ROW, "name": value}))
    assert message["Content-Transfer-Encoding"] == encoding
    assert text_of(message) == f"Hello {value}\n"


def test_8bit() -> None:
    compiled = template(allow_8bit=True)
    content = compiled.render({**ROW, "name": "Zürich"}).content
    assert b"Content-Transfer-Encoding: 8bit\r\n\r\nHello Z\xc3\xbcrich\r\n" in content
    assert b"7bit" in compiled.render(ROW).content
    assert b"base64" in compiled.render({**ROW, "name": "ä" * 1000}).content


def test_addresses() -> None:
    compiled = Template(
        sender=Address(local_part="a", domain="example.com", display_name="A, B"),
        to=["{Name} <{user}@{host}>", "{second}", "info@{host}"],
        cc="{cc}",
        bcc="Hidden <{bcc}>, {bcc}",
        reply_to="{Name} desk <desk@example.com>",
        text="x",
    )
    assert compiled.fields == ("Name", "user", "host", "second", "cc", "bcc")
    row = {
        "Name": "Jürgen, X",
        "user": "j",
        "host": "bücher.example",
        "second": "S <s@x.example>",
        "cc": "",
        "bcc": "h@x.example",
    }
    parcel = compiled.render(row)
    assert (
        parcel.recipients
        == ("j@xn--bcher-kva.example", "s@x.example", "info@xn--bcher-kva.example") + ("h@x.example",) * 2
    )
    message = parse(parcel)
    assert message["From"] == '"A, B" <a@example.com>'
    assert (
        message["To"] == '"Jürgen, X" <j@xn--bcher-kva.example>, S <s@x.example>, info@xn--bcher-kva.example'
    )
    assert "Cc" not in message
    assert b"h@x" not in parcel.content
    assert message["Reply-To"] == '"Jürgen, X desk" <desk@example.com>'
    assert prepare(parcel).envelope.recipients[-1] == "h@x.example"
    assert parse(compiled.render({**row, "cc": "C <c@x.example>", "Name": " "}))["Cc"] == "C <c@x.example>"
    assert parse(compiled.render({**row, "Name": " "}))["To"].startswith("j@xn--")


def test_smtputf8_address() -> None:
    parcel = template(to="{name} <{email}>").render({"name": "Jürgen", "email": "jürgen@example.org"})
    prepared = prepare(parcel)
    assert prepared.needs_smtputf8
    assert "To: Jürgen <jürgen@example.org>\r\n".encode() in prepared.octets


def test_to_of_render() -> None:
    compiled = template(cc="c@example.com", text="x")
    parcel = compiled.render({}, to=["B <b@example.com>", Address(local_part="d", domain="example.com")])
    assert parcel.recipients == ("b@example.com", "d@example.com", "c@example.com")
    assert parse(parcel)["To"] == "B <b@example.com>, d@example.com"
    bare = Template(sender="a@example.com", text="x")
    assert bare.render({}, to="b@example.com").recipients == ("b@example.com",)
    with pytest.raises(MessageError, match="no recipients"):
        bare.render({})
    with pytest.raises(AddressSyntaxError):
        bare.render({}, to="b")


def test_sender_of_render() -> None:
    compiled = template(text="x", headers={"Sender": "Desk <desk@example.com>"})
    assert compiled.render(ROW).sender == "desk@example.com"
    parcel = compiled.render(ROW, sender="bounces+jane=example.org@example.com")
    assert parcel.sender == "bounces+jane=example.org@example.com"
    assert parse(parcel)["Sender"] == "Desk <desk@example.com>"
    assert compiled.render(ROW, sender="").sender == ""
    optional = template(text="x", headers={"Sender": "{desk}"})
    assert optional.render({**ROW, "desk": ""}).sender == "shop@example.com"
    assert optional.render({**ROW, "desk": "d@example.com"}).sender == "d@example.com"
    author = template(sender="{from}", text="x")
    assert author.render({**ROW, "from": "x@y.example"}).sender == "x@y.example"
    with pytest.raises(TemplateError, match="From"):
        author.render({**ROW, "from": ""})


def test_unsubscribe() -> None:
    compiled = template(
        text="x",
        unsubscribe=["{url}", "https://example.com/u?m={email}&l=1", "mailto:u@example.com?subject={name}"],
    )
    row = {"email": "a+b@example.org", "name": "é &", "url": "https://example.com/é?a=b&c=%20 <"}
    message = parse(compiled.render(row))
    assert message["List-Unsubscribe"] == (
        "<https://example.com/%C3%A9?a=b&c=%20%20%3C>, <https://example.com/u?m=a%2Bb%40example.org&l=1>,"
        " <mailto:u@example.com?subject=%C3%A9%20%26>"
    )
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    with pytest.raises(TemplateError, match="not a URI") as caught:
        compiled.render({**row, "url": "javascript:alert(1)"})
    assert caught.value.field == "url"
    assert "List-Unsubscribe-Post" not in parse(template(unsubscribe="mailto:{email}").render(ROW))
    assert (
        parse(template(headers={"List-Help": "<{name}>"}).render({**ROW, "name": "http://x"}))["List-Help"]
        == "<http://x>"
    )
    with pytest.raises(MessageError, match="unsubscribe"):
        template(unsubscribe="javascript:{name}")


def test_attachments_are_shared_and_not_filled_in() -> None:
    notes = b"{name} \xff\n"
    compiled = template(
        attachments=[("notes.txt", notes), ("big.bin", bytes(1_000_000))],
        html="<img src='cid:i'>{name}",
        inline={"i": ("i.svg", b"<svg>{name}</svg>")},
    )
    assert compiled.fields == ("email", "name")
    message = parse(compiled.render(ROW))
    first, second = message.iter_attachments()
    assert first.get_payload(decode=True) == notes
    assert second.get_payload(decode=True) == bytes(1_000_000)
    static = [segment for segment in compiled._segments if isinstance(segment, bytes)]
    assert max(map(len, static)) > 1_300_000
    tracemalloc.start()
    try:
        compiled.render(ROW)
        assert tracemalloc.get_traced_memory()[1] < 1_600_000  # the message itself, and little more
    finally:
        tracemalloc.stop()


def test_headers() -> None:
    compiled = template(
        subject="ignored",
        headers={
            "subject": "{name}!",
            "X-Many": ["1 {name}", "2"],
            "Feedback-ID": "{name}:camp:shop",
            "Precedence": "bulk",
        },
    )
    message = parse(compiled.render(ROW))
    assert message.get_all("Subject") == ["Jane!"]
    assert message.get_all("X-Many") == ["1 Jane", "2"]
    assert message["Feedback-ID"] == "Jane:camp:shop"


EML = b"""\
Received: from nowhere
Return-Path: <old@example.com>
DKIM-Signature: v=1
Date: Mon, 01 Jan 2001 00:00:00 +0000
Message-ID: <old@example.com>
Resent-To: nobody@example.com
From: =?utf-8?q?Sh=C3=B6p=2C_The?= <shop@example.com>
To: {First Name} {Last Name}
\t<{email}>
Subject: =?utf-8?q?F=C3=BCr_{First_Name}?=, now
X-Raw: \xc3\xa4 {email}
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="old"

--old
Content-Type: text/plain; charset=iso-8859-1; format=flowed
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe, {First Name}!
--old
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PHA+e0xhc3QgTmFtZX08L3A+Cg==
--old
Content-Type: text/plain; charset=utf-8
Content-Disposition: attachment; filename="{email}.txt"
Content-Transfer-Encoding: 8bit

{email} \xc3\xa4
--old
Content-Type: message/rfc822

Subject: {email}

{email}
--old--
"""


def check_eml(compiled: Template) -> None:
    assert sorted(compiled.fields) == ["First Name", "Last Name", "email"]
    parcel = compiled.render({"First Name": "Jürgen", "Last Name": "O'<b>", "email": "j@example.org"})
    assert parcel.sender == "shop@example.com"
    assert parcel.recipients == ("j@example.org",)
    message = parse(parcel)
    assert [
        name for name in message if name in ("Received", "Return-Path", "DKIM-Signature", "Resent-To")
    ] == []
    assert message["Message-ID"] != "<old@example.com>"
    assert len(message.get_all("Date", [])) == len(message.get_all("MIME-Version", [])) == 1
    assert message["From"] == '"Shöp, The" <shop@example.com>'
    assert message["To"].addresses[0].display_name == "Jürgen O'<b>"
    assert message["Subject"] == "Für Jürgen, now"
    assert message["X-Raw"] == "ä j@example.org"
    plain, rich, attachment, forwarded = message.iter_parts()
    assert lines(plain.get_content()) == "Grüße, Jürgen!"
    assert plain["Content-Type"].params == {"charset": "utf-8", "format": "flowed"}
    assert lines(rich.get_content()) == "<p>O&#x27;&lt;b&gt;</p>\n"
    assert attachment.get_filename() == "{email}.txt"
    assert lines(attachment.get_content()) == "{email} ä"
    assert forwarded.get_content()["Subject"] == "{email}"


def test_eml(tmp_path: Path) -> None:
    path = tmp_path / "template.eml"
    path.write_bytes(EML)
    check_eml(Template(EML))
    check_eml(Template(EML.replace(b"\n", b"\r\n")))
    check_eml(Template(path))
    check_eml(Template(str(path)))
    check_eml(Template(EML.decode()))
    check_eml(Template(message_from_bytes(EML, policy=default)))
    check_eml(Template(message_from_bytes(EML)))


def test_message_object() -> None:
    source = compose(
        sender="a@example.com",
        to="b@example.com",
        bcc="hidden@example.com",
        subject="Für {name}",
        text="{name}",
        html="<p>{name}",
        attachments=[("x", b"y")],
        headers={"X-Name": "{name}"},
    )
    before = [part.items() for part in source.walk()]
    parcel = Template(source).render({"name": "Jürgen"})
    assert [part.items() for part in source.walk()] == before
    assert source.get_body(("plain",)).get_content() == "{name}\n"  # type: ignore[union-attr]
    assert parcel.recipients == ("b@example.com", "hidden@example.com")
    message = parse(parcel)
    assert "Bcc" not in message
    assert message["Subject"] == "Für Jürgen"
    assert message["X-Name"] == "Jürgen"
    assert text_of(message) == "Jürgen\n"


def test_plain_file_without_mime() -> None:
    compiled = Template(
        "From: a@example.com\nTo: {to}\nTo: c@example.com\nSubject: Grüße\n\nHallo Jürgen {x}"
    )
    parcel = compiled.render({"to": "b@example.com", "x": "y"})
    assert parcel.recipients == ("b@example.com", "c@example.com")
    message = parse(parcel)
    assert message["Subject"] == "Grüße"
    assert text_of(message) == "Hallo Jürgen y\n"


def test_source_with_replacements() -> None:
    compiled = Template(
        EML,
        sender="new@example.com",
        to="{email}",
        subject="{First Name}",
        attachments=[("more.txt", b"x")],
        unsubscribe="https://example.com/u",
        headers={"x-raw": "new"},
    )
    message = parse(compiled.render({"First Name": "J", "Last Name": "L", "email": "j@example.org"}))
    assert message.get_all("From") == ["new@example.com"]
    assert message.get_all("To") == ["j@example.org"]
    assert message.get_all("Subject") == ["J"]
    assert message.get_all("X-Raw") == ["new"]
    assert message["List-Unsubscribe"] == "<https://example.com/u>"
    assert [part.get_filename() for part in message.iter_attachments()][-1] == "more.txt"
    for parts in ({"text": "x"}, {"html": "x"}, {"inline": {"i": ("i.png", b"")}}):
        with pytest.raises(TemplateError, match="twice"):
            Template(EML, **parts)


def test_signed_parts_stay() -> None:
    signed = (
        b"From: a@example.com\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n"
        b"Content-Type: multipart/mixed; boundary=inner\r\n\r\n--inner\r\n\r\n{name} \xff\r\n--inner--\r\n\r\n--s\r\n"
        b"Content-Type: application/pgp-signature\r\n\r\nx\r\n--s--\r\n"
    )
    compiled = Template(signed)
    assert compiled.fields == ()
    content = compiled.render({}, to="b@example.com").content
    assert isinstance(content, bytes)
    assert signed.partition(b"\r\n\r\n")[2].rstrip() in content


def test_odd_parts() -> None:
    source = (
        b"From: a@example.com\r\nContent-Type: multipart/mixed; boundary=s\r\n\r\n--s\r\n"
        b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\xff\x00\r\n--s\r\n"
        b"Content-Type: multipart/broken\r\n\r\n{name}\r\n--s--\r\n"
    )
    message = parse(Template(source).render({"name": "x"}, to="b@example.com"))
    image, _ = message.iter_parts()
    assert image.get_content() == b"\xff\x00"
    eight = Template(source, allow_8bit=True).render({"name": "x"}, to="b@example.com").content
    assert isinstance(eight, bytes)
    assert b"\r\n\r\n\xff\x00\r\n" in eight


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (b"To: a@example.com\n\nx", "no From"),
        (b"From: a@example.com, <\n\nx", "not a list of addresses"),
        (b"From: {x} y\n\nx", "not a list of addresses"),
        (b"From: a@example.com\nContent-Type: text/plain; charset=x-no\n\nx", "x-no"),
        (b"From: a@example.com\nContent-Type: text/plain; charset=utf-8\n\n\xff", "utf-8"),
        ("no such file", "cannot be read"),
        (Path("no such file"), "cannot be read"),
    ],
)
def test_templates_that_are_none(source: bytes | str | Path, problem: str) -> None:
    with pytest.raises(TemplateError, match=problem) as caught:
        Template(source)
    assert caught.value.cure


@pytest.mark.parametrize(
    "parts",
    [
        {"headers": {"X\r\nY": "a"}},
        {"headers": {"X": "a\r\nb"}},
        {"subject": "a\nb"},
        {"to": "a\n@b.example"},
    ],
)
def test_header_injection_by_the_template(parts: dict[str, object]) -> None:
    with pytest.raises(MessageError):
        template(**parts)


def test_engine() -> None:
    with pytest.raises(TemplateError, match="engine"):
        template(engine="mako")


def test_jinja() -> None:
    compiled = Template(
        sender="{{ shop }} <shop@example.com>",
        to=["{{ first }} {{ last|upper }} <{{ email }}>", '{{ second or "x@example.com" }}'],
        subject="{% if vip %}VIP: {% endif %}{{ first }}",
        text="Hello {{ first }}\n{% for item in items %}* {{ item }}\n{% endfor %}",
        html="<style>b { c: d }</style><p>{{ first }}</p>{{ nothing|default('') }}",
        unsubscribe=["{{ url }}", "https://example.com/{{ first }}"],
        engine="jinja2",
    )
    assert set(compiled.fields) == {
        "shop", "first", "last", "email", "second", "vip", "items", "nothing", "url",
    }  # fmt: skip
    row = {
        "shop": "Shop, The", "first": "J<ü>", "last": "x", "email": "j@example.org", "second": "", "vip": True,
        "items": ["a", "b"], "url": "https://x.example/y",
    }  # fmt: skip
    parcel = compiled.render(row)
    assert parcel.recipients == ("j@example.org", "x@example.com")
    message = parse(parcel)
    assert message["From"] == '"Shop, The" <shop@example.com>'
    assert message["To"].addresses[0].display_name == "J<ü> X"
    assert message["Subject"] == "VIP: J<ü>"
    assert text_of(message) == "Hello J<ü>\n* a\n* b\n\n"
    assert text_of(message, "html") == "<style>b { c: d }</style><p>J&lt;ü&gt;</p>\n"
    assert message["List-Unsubscribe"] == "<https://x.example/y>, <https://example.com/J%3C%C3%BC%3E>"
    with pytest.raises(TemplateError, match="'first', which") as caught:
        compiled.render({name: value for name, value in row.items() if name != "first"})
    assert caught.value.field == "first"
    with pytest.raises(TemplateError, match="control character"):
        compiled.render({**row, "first": "a\nb"})


@pytest.mark.parametrize(
    ("text", "optional"),
    [
        ("{% if a %}VIP{% endif %}", "a"),
        ("{% if a %}Dr {{ a }}{% elif b == c %}{{ b }}{% else %}{{ a }}{% endif %}", "abc"),
        ("{% if not a %}{% endif %}{{ a }}", ""),
        ("{% if a %}{{ b }}{% endif %}", "a"),
        ("{{ 'Dr' if a else b }} {{ c or 'friend' }}", "ac"),
        ("{{ 'x' or a }}{{ a and b }}", ""),
        ("{% for a in b if a %}{{ a }}{% endfor %}", ""),
        ("{a} {{ a }}", ""),
    ],
)
def test_what_may_be_empty(text: str, optional: str) -> None:
    assert "".join(template(text=text, to="b@example.com", engine="jinja2").optional_fields) == optional
    assert template(text="{a} {{b}}").optional_fields == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ name.missing }}", "'{{ name.missing }}' in the template fails: 'str object' has no attribute"),
        ("{{ 1 // 0 }}", "'{{ 1 // 0 }}' in the template fails: .* zero"),
        ("{{ none }}", "'{{ none }}' in the template fails: a value is None"),
        ("{{ nothing }}", "'{{ nothing }}' in the template fails: a value is None"),
        (
            "x\u2028y\n\x0c\n  {{ name() }} z\nx",
            "'{{ name\\(\\) }} z' in the template fails: 'str' object is not",
        ),
        (
            "{% macro m(x) %}\n{{ x + 1 }}\n{% endmacro %}{{ m(name) }}",
            "'{{ x \\+ 1 }}' in the template fails",
        ),
        ("{% for x in name.y %}\n{% endfor %}", "'{% for x in name.y %}' in the template fails"),
    ],
)
def test_jinja_failures(text: str, problem: str) -> None:
    with pytest.raises(TemplateError, match=problem) as caught:
        compiled = template(to="b@example.com", text=text, engine="jinja2", subject="{{ name }}")
        compiled.render({"name": "x", "nothing": None})
    assert caught.value.cure


@pytest.mark.parametrize(
    "parts",
    [
        {"text": "a\n{{ b"},
        {"text": "{% if %}"},
        {"to": "{% if a %}b@example.com{% endif %}"},
        {"subject": "{{"},
    ],
)
def test_jinja_templates_that_are_none(parts: dict[str, object]) -> None:
    with pytest.raises(TemplateError, match=r"in the template is not Jinja|is not a list|have no place"):
        template(engine="jinja2", **{"to": "b@example.com", **parts})


def test_jinja_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match=r"asyncmail\[templates\]"):
        template(engine="jinja2")


def test_rendered_octets_are_those_of_flatten() -> None:
    parcel = template().render(ROW)
    assert isinstance(parcel.content, bytes)
    assert flatten(parcel.content) is parcel.content
    assert isinstance(message_from_bytes(parcel.content), Message)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (b"From: a@example.com\nTo: b@example.com\nBad header here\nSubject: x\n\nDear\n", "Bad header here"),
        (b"From: a@example.com\nDear all,\n", "Dear all,"),
    ],
)
def test_a_line_of_the_header_that_is_no_field(source: bytes, line: str) -> None:
    with pytest.raises(TemplateError, match=f"is no field: '{line}'"):
        Template(source)


@pytest.mark.parametrize(
    ("engine", "uri", "cure"),
    [
        ("jinja2", "https://example.com/stop?who={id}", "write {{ id }} for the value of a field"),
        ("braces", "https://example.com/{{ user id }}", "write {user id} for the value of a field"),
        (
            "braces",
            "https://example.com/{x",
            "write an https: or mailto: URI, other characters percent-encoded",
        ),
    ],
)
def test_a_uri_with_placeholders_of_another_language(engine: str, uri: str, cure: str) -> None:
    with pytest.raises(MessageError, match="cannot be an address to unsubscribe at") as caught:
        template(unsubscribe=uri, engine=engine)
    assert caught.value.cure == cure


def test_a_uri_that_is_not_ascii() -> None:
    with pytest.raises(TemplateError, match=r"List-Help holds .*, which is not ASCII"):
        template(headers={"List-Help": "<https://example.com/gr\xfc\xdfe>"})


@pytest.mark.parametrize("name", ["Subject", "From", "X-Foo"])
def test_a_header_that_is_not_utf8(name: str) -> None:
    octets = (
        b"%b: Gr\xfc\xdfe <a@example.com>\nSender: Gr\xc3\xbc\xc3\x9fe <a@example.com>\n\nx" % name.encode()
    )
    for source in (octets, message_from_bytes(octets, policy=default), message_from_bytes(octets)):
        with pytest.raises(TemplateError, match=f"the template's header field {name} is not UTF-8") as caught:
            Template(source)
        assert caught.value.cure == "save the message in UTF-8"
    kept = {} if name == "From" else {"sender": "a@example.com"}
    replaced = Template(octets, headers={name: "Gr\xfc\xdfe <a@example.com>"}, to="b@example.com", **kept)  # type: ignore[arg-type]
    assert parse(replaced.render({}))[name] == "Gr\xfc\xdfe <a@example.com>"


def test_fields_that_are_not_taken_over_may_be_anything() -> None:
    octets = b"From: a@example.com\nReceived: \xff\n\nx"
    assert "Received" not in parse(Template(octets).render({}, to="b@example.com"))
