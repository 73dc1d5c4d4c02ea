from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import ExtensionRequired
from asyncmail.message import flatten, to_7bit
from asyncmail.message.encodings import encode_base64, encode_text_body
from asyncmail.wire import normalize_newlines

HEADER = b"From: a@x.example\r\nSubject:kept  as it is\r\n"


def contents(octets: bytes) -> list[tuple[str, object]]:
    message = message_from_bytes(octets, policy=default)
    return [
        (part.get_content_type(), part.get_content()) for part in message.walk() if not part.is_multipart()
    ]


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_encodings_round_trip(data: bytes) -> None:
    text = normalize_newlines(data)
    encoding, encoded = encode_text_body(text)
    assert encoded.isascii()
    assert all(len(line) <= 76 for line in encoded.split(b"\r\n"))
    assert encoded.count(b"\n") == encoded.count(b"\r") == encoded.count(b"\r\n")
    part = message_from_bytes(b"Content-Transfer-Encoding: %b\r\n\r\n%b" % (encoding.encode(), encoded))
    assert part.get_payload(decode=True) == text
    assert len(encoded) <= len(encode_base64(text)) * 1.1 + 3


def test_encoding_is_the_shorter_one() -> None:
    assert encode_text_body("Grüße an alle Leute von nebenan\r\n".encode()) == (
        "quoted-printable",
        b"Gr=C3=BC=C3=9Fe an alle Leute von nebenan\r\n",
    )
    assert encode_text_body("Ελληνικά".encode())[0] == "base64"
    assert encode_text_body(b"\xc3\xa4" + b"a" * 100)[1].count(b"=\r\n") == 1


def test_ascii_stays() -> None:
    octets = HEADER + b"\r\nx\r\n"
    assert to_7bit(octets) is octets


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Content-Transfer-Encoding: 8bit\r\n",
        b"content-transfer-encoding:\r\n binary\r\nX-After: y\r\n",
    ],
)
def test_text(fields: bytes) -> None:
    octets = (
        HEADER
        + b"Content-Type: text/plain; charset=utf-8\r\n"
        + fields
        + b"\r\nGr\xc3\xbc\xc3\x9fe und mehr\r\n"
    )
    downgraded = to_7bit(octets)
    assert downgraded.startswith(HEADER)
    assert downgraded.lower().count(b"content-transfer-encoding") == 1
    assert (b"X-After: y\r\n" in downgraded) is (b"X-After" in fields)
    assert downgraded.isascii()
    assert contents(downgraded) == contents(octets)


def test_parts() -> None:
    octets = (
        HEADER + b'Content-Type: multipart/mixed; boundary="a b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n'
        b"pre\xffamble\r\n--a b  \r\n\r\nplain text: \xc3\xa4 \r\n--a b\r\nContent-Type: image/x\r\n\r\n\x00\xff\r\n"
        b"--a b\r\nContent-Type: text/x;name=kept\r\n\r\nasc--a b\r\n.\r\n"
        b"--a b\r\n--a b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n"
        b"Content-Type: text/plain; charset=latin-1\r\n\r\n\xe4\r\n--a b--\r\nepi\xfflogue\r\n--a b\r\n\r\n\xff"
    )
    downgraded = to_7bit(octets)
    assert downgraded.isascii()
    assert b"\r\n\r\npreamble\r\n" in downgraded
    assert b"\r\nepilogue\r\n" in downgraded
    assert b"Content-Type: text/x;name=kept\r\n\r\nasc--a b\r\n.\r\n--a b\r\n--a b\r\n" in downgraded
    assert b"8bit" not in downgraded
    original, result = contents(octets), contents(downgraded)
    assert [kind for kind, _ in result] == [kind for kind, _ in original]
    assert result[1:] == original[1:]  # the first does not say its charset
    assert b"plain text: =C3=A4=20\r\n--a b\r\n" in downgraded


def test_part_without_an_end() -> None:
    octets = HEADER + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\xff"
    assert to_7bit(octets).endswith(b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\n/w==")


@given(st.text(max_size=50), st.binary(max_size=50))
def test_any_content(text: str, data: bytes) -> None:
    message = EmailMessage()
    message.set_content(text, cte="8bit")
    message.add_attachment(
        data, maintype="application", subtype="x", cte="8bit" if b"\0" in data else "base64"
    )
    octets = flatten(message)
    downgraded = to_7bit(octets)
    assert downgraded.isascii()
    assert contents(downgraded) == contents(octets)


def nested(depth: int) -> bytes:
    inner = b"\r\n\xff\r\n"
    for number in range(depth):
        inner = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n%b\r\n--b%d--\r\n" % (
            number,
            number,
            inner,
            number,
        )
    return inner


def test_depth() -> None:
    assert to_7bit(nested(20)).isascii()
    with pytest.raises(ExtensionRequired, match="nested"):
        to_7bit(nested(60))


@pytest.mark.parametrize(
    ("octets", "extension", "problem"),
    [
        (b"DKIM-Signature: x\r\n\r\n\xff", "8BITMIME", "DKIM"),
        (
            b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xff\r\n--b--\r\n",
            "8BITMIME",
            "signed",
        ),
        (b"Content-Type: multipart/mixed\r\n\r\n\xff", "8BITMIME", "without a boundary"),
        (b"Content-Type: multipart/mixed; boundary*=utf-8''%C3%A4\r\n\r\n\xff", "8BITMIME", "without parts"),
        (b"Content-Transfer-Encoding: Base64\r\n\r\n\xff", "8BITMIME", "says that it is base64"),
        (b"Subject: \xff\r\n\r\nx", "SMTPUTF8", "header field"),
    ],
)
def test_refusals(octets: bytes, extension: str, problem: str) -> None:
    with pytest.raises(ExtensionRequired, match=problem) as caught:
        to_7bit(octets)
    assert caught.value.extension == extension


def test_signature_over_ascii_stays() -> None:
    signed = b"Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\nX:y\r\n\r\nx\r\n--s--\r\n"
    octets = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n%b\r\n--b\r\n\r\n\xff\r\n--b--\r\n" % signed
    )
    assert signed in to_7bit(octets)
