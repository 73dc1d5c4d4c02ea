from __future__ import annotations

import base64
import hashlib
import math
import re
import sys
import types
from functools import cache
from pathlib import Path
from unittest import mock

import dkim  # type: ignore[import-untyped]
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import InputError, MessageError, MissingExtra, quoted
from asyncmail.message import Template, compose, flatten, prepare
from asyncmail.message.flatten import header_end
from asyncmail.sending.dkim import Canonicalization, DKIMSigner, _hash_body, _relax_header

CANONICALIZATIONS: list[Canonicalization] = [
    "relaxed/relaxed",
    "relaxed/simple",
    "simple/relaxed",
    "simple/simple",
]
ED25519 = Ed25519PrivateKey.generate()
MESSAGE = b"From: a@x.example\r\nTo: b@x.example\r\nSubject: s\r\n\r\nbody\r\n"


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def pem(key: rsa.RSAPrivateKey | Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class VerifyKey:
    """What the verifier asks of PyNaCl, which is not needed otherwise."""

    def __init__(self, key: bytes, encoder: object) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(base64.b64decode(key))

    def verify(self, octets: bytes, signature: bytes) -> bytes:
        self._key.verify(signature, octets)
        return octets


@pytest.fixture(autouse=True, scope="module")
def ed25519_in_the_verifier() -> None:
    dkim.nacl = types.SimpleNamespace(
        signing=types.SimpleNamespace(VerifyKey=VerifyKey),
        encoding=types.SimpleNamespace(Base64Encoder=None),
        exceptions=types.SimpleNamespace(BadSignatureError=InvalidSignature),
    )


def lookup(name: bytes, timeout: int = 5) -> bytes:
    """The DNS: the selector says which key it is."""
    if name.startswith(b"ed."):
        public = ED25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(public)
    public = rsa_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)


def signer(algorithm: str = "ed", **options: object) -> DKIMSigner:
    key = ED25519 if algorithm == "ed" else rsa_key()
    return DKIMSigner(domain="x.example", selector=algorithm, private_key=key, **options)  # type: ignore[arg-type]


def verifies(octets: bytes, index: int = 0) -> bool:
    try:
        return bool(dkim.DKIM(octets).verify(index, dnsfunc=lookup))
    except dkim.ValidationError:
        return False


def tags(field: bytes) -> dict[str, str]:
    value = re.sub(r"\s+", "", field.decode().partition(":")[2])
    return dict(re.findall(r"(\w+)=([^;]*)", value))


AWKWARD = {
    "plain": MESSAGE,
    "no body": b"From: a@x.example\r\n",
    "empty body": b"From: a@x.example\r\n\r\n",
    "blank lines only": b"From: a@x.example\r\n\r\n\r\n\r\n",
    "spaces only": b"From: a@x.example\r\n\r\n \t \r\n\t\r\n",
    "trailing blank lines": MESSAGE + b"\r\n \r\n\r\n",
    "tabs": b"From:\ta@x.example\t\r\nSubject: a\t\tb \t c\r\n\r\na\tb \t\r\n\t\tx  y\r\n \r\n z\r\n",
    "folded": b"From: a@x.example\r\nSubject: a\r\n b\r\n\t c \r\n  d\r\nTo:\r\n b@x.example\r\n\r\nx\r\n",
    "no space": b"from:a@x.example\r\nSUBJECT:x\r\nTo:b@x.example\r\n\r\nx\r\n",
    "duplicates": (
        b"Received: 1\r\nTo: 1\r\nFrom: a@x.example\r\nTo: 2\r\nReceived: 2\r\nList-Id: <1>\r\nTo: 3\r\n"
        b"List-Id: <2>\r\n\r\nx\r\n"
    ),
    "8-bit": "From: \u00e4 <a@x.example>\r\nSubject: \u00fc  \u00fc\r\n\r\n\u00e4 \xa0\r\n".encode()
    + b"\xff\xfe \r\n",
    "dots": b"From: a@x.example\r\n\r\n.\r\n..\r\n. \r\n",
    "empty fields": b"From: a@x.example\r\nSubject:\r\nReply-To: \r\nCc:\r\n \r\n\r\nx\r\n",
    "vertical tabs": b"From: a@x.example\r\nSubject: a\x0bb\r\n\r\na \x0b\x0c \r\n",
    "line feeds": b"From: a@x.example\nSubject: x\n y\n\na\rb\nno end",
    "long": b"From: a@x.example\r\n\r\n" + b"x" * 5000 + b"  \r\n",
}


@pytest.mark.parametrize("canonicalization", CANONICALIZATIONS)
@pytest.mark.parametrize("message", AWKWARD.values(), ids=AWKWARD)
def test_verifies(message: bytes, canonicalization: Canonicalization) -> None:
    signed = signer("rsa", canonicalization=canonicalization).sign(
        message, others=[signer("ed", canonicalization=canonicalization)]
    )
    assert signed.endswith(flatten(message))
    assert signed.count(b"DKIM-Signature: ") == 2
    assert verifies(signed, 0)
    assert verifies(signed, 1)
    header = signed[: -len(flatten(message))]
    assert max(map(len, header.split(b"\r\n"))) <= 78


def test_space_before_the_colon() -> None:
    """Obsolete syntax, which the verifier does not read: the fields are canonicalised to the same octets."""
    for space in (b" \t", b""):
        names, fields = _relax_header(b"Subject%b: a\r\n b\r\nTo:x" % space)
        assert names == (b"subject", b"to")
        assert fields == [b"subject:a b", b"to:x"]


LINES = st.lists(
    st.sampled_from([b"a", b" ", b"\t", b"  ", b"\r\n", b"\xc3\xa4", b".", b"=", b"\x0b"]), max_size=30
).map(b"".join)


@given(LINES, LINES, st.sampled_from(CANONICALIZATIONS))
def test_any_message_verifies(subject: bytes, body: bytes, canonicalization: Canonicalization) -> None:
    # The verifier takes vertical tabs for white space in the header, which they are not.
    subject = re.sub(rb"(\r\n)+", rb"\r\n ", subject.replace(b"\x0b", b"")).strip(b"\r\n ")
    message = b"From: a@x.example\r\nSubject:%b\r\n\r\n%b" % (subject, body)
    assert verifies(signer(canonicalization=canonicalization).sign(message))


def canonical_body(body: bytes, *, is_relaxed: bool) -> bytes:
    """RFC 6376 §3.4.3 and §3.4.4, word for word."""
    *lines, rest = body.split(b"\r\n")
    assert not rest
    if is_relaxed:
        lines = [re.sub(rb"[ \t]+", b" ", re.sub(rb"[ \t]+\Z", b"", line)) for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines and not is_relaxed:
        return b"\r\n"
    return b"".join([line + b"\r\n" for line in lines])


@given(
    st.lists(LINES | st.sampled_from([b"x" * 7 + b"\r\n", b" " * 9, b"\t " * 5, b"\r\n" * 4]), max_size=12),
    st.sampled_from([b"From: a@x.example\r\n", b"From: a@x.example\r\n\r\n"]),
    st.booleans(),
    st.sampled_from([0, 1, 5, 2048]),
)
def test_any_body_is_made_canonical(
    pieces: list[bytes], header: bytes, is_relaxed: bool, stretch: int
) -> None:
    body = flatten(b"".join(pieces)) if header.endswith(b"\r\n\r\n") and pieces else b""
    expected = hashlib.sha256(canonical_body(body, is_relaxed=is_relaxed)).digest()
    with mock.patch("asyncmail.sending.dkim._STRETCH", stretch):
        assert _hash_body(header + body, header_end(header) + 2, is_relaxed) == expected


@pytest.mark.parametrize("is_relaxed", [True, False])
@pytest.mark.parametrize("between", [b"", b" ", b"  \r\n", b" a\tb  c \r\n", b" " * 5000])
def test_large_bodies_are_made_canonical(between: bytes, is_relaxed: bool) -> None:
    body = between.join([(b"x" * 76 + b"\r\n") * 100, b"Content-Type: x\r\n\r\n", b"y" * 9000]) + b"\r\n"
    expected = hashlib.sha256(canonical_body(body, is_relaxed=is_relaxed)).digest()
    assert _hash_body(b"\r\n" + body, 2, is_relaxed) == expected


def test_nothing_is_hashed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[tuple[bytes, bool]] = []

    def hash_body(octets: bytes, start: int, is_relaxed: bool) -> bytes:
        hashed.append((octets[start:], is_relaxed))
        return _hash_body(octets, start, is_relaxed)

    monkeypatch.setattr("asyncmail.sending.dkim._hash_body", hash_body)
    first, second, simple = signer("ed"), signer("rsa"), signer("ed", canonicalization="simple/simple")
    for number in range(3):  # the header changes, the body does not
        header = b"Subject: %d\r\n" % 10**number
        signed = first.sign(header + MESSAGE, others=[second, simple])
        assert all(verifies(signed, index) for index in range(3))
    assert hashed == [(b"body\r\n", True), (b"body\r\n", False)]
    for body in (b"ydob\r\n", b"some body\r\n", b"body\r\n"):
        assert verifies(first.sign(MESSAGE.replace(b"body\r\n", body)))
    assert [each for each, _ in hashed[2:]] == [b"ydob\r\n", b"some body\r\n", b"body\r\n"]


@given(
    st.lists(LINES | st.sampled_from([b"\r", b"\n", b"a\n", b"\n\r"]), min_size=2, max_size=5),
    st.sampled_from([b"\n", b"\r", b"\r\n", b"a\r\nb\n", b"a"]).map(lambda first: first + b"tail\r\n" * 9),
    st.integers(0, 30),
)
def test_a_common_end_hides_nothing(fronts: list[bytes], tail: bytes, front_size: int) -> None:
    one = signer()
    with mock.patch("asyncmail.sending.dkim._FRONT", front_size):
        for front in fronts:
            message = b"From:x\r\n\r\n%b%b" % (front, tail)
            assert one.sign(message).endswith(flatten(message))
            assert one._latest is not None
            assert one._latest.octets == flatten(message)


def test_large_attachments_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    flattened: list[bytes] = []

    def look_at(octets: bytes) -> bytes:
        flattened.append(octets)
        return flatten(octets)

    monkeypatch.setattr("asyncmail.sending.dkim.flatten", look_at)
    compiled = Template(
        sender="a@x.example", to="{to}", text="{to}", attachments=[("a.bin", bytes(range(256)) * 800)]
    )
    one = signer()
    for number in range(4):
        content = compiled.render({"to": f"{'b' * number}@x.example"}, to="b@x.example").content
        assert isinstance(content, bytes)
        assert verifies(one.sign(content))
    assert len(flattened) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Subject: s", b"Subject: t"),
        (b"body", b"Body"),
        (b"body\r\n", b"body\r\nmore\r\n"),  # what l= would allow
        (b"To: b", b"To: c"),
        (b"To: b@x.example\r\n", b""),
        (b"Subject: s", b"Subject: t\r\nSubject: s"),
        (b"Subject: s", b"Subject: s\r\nSubject: t"),
        (b"Subject: s", b"Subject: s\r\nReply-To: evil@x.example"),
        (b"Subject: s", b"Subject: s\r\nContent-Type: text/html"),
    ],
)
def test_changes_are_noticed(before: bytes, after: bytes) -> None:
    signed = signer().sign(MESSAGE)
    assert verifies(signed)
    assert not verifies(signed.replace(before, after, 1))


def test_what_may_change() -> None:
    signed = signer().sign(MESSAGE)
    assert verifies(b"Received: x\r\n" + signed)
    assert verifies(signed.replace(b"Subject: s", b"Subject:  s \r\nList-Id: <x>\r\nX-Spam: no"))
    assert verifies(signed.replace(b"body", b"body  ") + b"\r\n\r\n")


def test_tags() -> None:
    field = signer("rsa", identity="news@mail.x.example", expires_after=3600.5).header(
        MESSAGE.replace(b"\r\n\r\n", b"\r\nList-Unsubscribe: <x>\r\nX-Other: y\r\n\r\n")
    )
    found = tags(field)
    assert list(found) == ["v", "a", "c", "d", "s", "i", "t", "x", "h", "bh", "b"]
    assert (found["v"], found["a"], found["c"]) == ("1", "rsa-sha256", "relaxed/relaxed")
    assert (found["d"], found["s"], found["i"]) == ("x.example", "rsa", "news@mail.x.example")
    assert int(found["x"]) == int(found["t"]) + 3600
    names = found["h"].split(":")
    assert names.count("from") == names.count("to") == names.count("subject") == 2
    assert names.count("cc") == names.count("reply-to") == names.count("list-unsubscribe") == 1
    assert "x-other" not in names
    assert field.startswith(b"DKIM-Signature: v=1;")
    assert field.endswith(b"\r\n")
    assert "x" not in tags(signer().header(MESSAGE))


def test_chosen_headers() -> None:
    chosen = signer(headers=["X-Other", "To"], oversigned=["Subject"])
    octets = b"X-Other: 1\r\nList-Unsubscribe-Post: x\r\n" + MESSAGE
    assert tags(chosen.header(octets))["h"] == "from:from:subject:subject:x-other:to:list-unsubscribe-post"
    assert verifies(chosen.sign(octets))


def test_signatures_of_signed_messages() -> None:
    once = signer("rsa").sign(MESSAGE)
    twice = signer("ed").sign(once)
    assert verifies(twice, 0)
    assert verifies(twice, 1)


def test_signed_octets_go_as_they_are() -> None:
    message = compose(sender="a@x.example", to="b@x.example", subject="Grüße", text="ä\n" * 3, html="<p>ä")
    signed = signer().sign(prepare(message).octets)
    prepared = prepare(signed)
    assert prepared.octets is signed
    assert verifies(prepared.octets)
    parcel = Template(message).render({})
    assert isinstance(parcel.content, bytes)
    assert verifies(signer().sign(parcel.content))


def test_no_author() -> None:
    with pytest.raises(MessageError, match="From"):
        signer().sign(b"To: b@x.example\r\n\r\nFrom: a@x.example\r\n")


def test_keys(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem(ED25519))
    for source in (pem(ED25519), pem(ED25519).decode(), path, str(path), ED25519):
        made = DKIMSigner(domain="x.example", selector="ed", private_key=source)
        assert verifies(made.sign(MESSAGE))
        assert repr(made) == "<DKIMSigner ed._domainkey.x.example ed25519-sha256>"
    assert (
        DKIMSigner(domain="x.example", selector="rsa", private_key=pem(rsa_key())).algorithm == "rsa-sha256"
    )
    assert (
        DKIMSigner(domain="bücher.example", selector="a.b", private_key=ED25519).domain
        == "xn--bcher-kva.example"
    )


def unfit_keys() -> list[object]:
    secret = ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    curve = pem(ec.generate_private_key(ec.SECP256R1()))
    return [b"nothing", "-----BEGIN nothing", secret, "no such file", Path("no such file"), 5, curve]


@pytest.mark.parametrize("key", unfit_keys())
def test_unfit_keys(key: object) -> None:
    with pytest.raises(InputError, match="key"):
        DKIMSigner(domain="x.example", selector="s", private_key=key)  # type: ignore[arg-type]


def test_short_keys() -> None:
    assert rsa_key(1024).key_size == 1024
    DKIMSigner(domain="x.example", selector="s", private_key=rsa_key(1024))


@pytest.mark.parametrize(
    "options",
    [
        {"selector": "a b"},
        {"selector": "a;d=evil.example"},
        {"selector": ""},
        {"canonicalization": "relaxed"},
        {"headers": ["A B"]},
        {"oversigned": ["A;b=c"]},
        {"identity": "a@other.example"},
        {"identity": "a@evilx.example"},
        {"identity": "x.example"},
        {"identity": "a; b=@x.example"},
        {"expires_after": -1},
        {"expires_after": 0},
        {"expires_after": 0.5},
        {"expires_after": math.inf},
        {"expires_after": math.nan},
        {"expires_after": 1e12},
    ],
)
def test_refusals(options: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        DKIMSigner(**{"domain": "x.example", "selector": "s", "private_key": ED25519, **options})  # type: ignore[arg-type]
    assert caught.value.cure


@pytest.mark.parametrize(
    "domain",
    ["x.example; s=evil", "x y", "", "a@x.example", "x..example", "[192.0.2.1]", "x\r\n", "\u2028.example"],
)
def test_domain_refused(domain: str) -> None:
    with pytest.raises(InputError) as caught:
        DKIMSigner(domain=domain, selector="s", private_key=ED25519)
    assert str(caught.value) == f"input: {quoted(domain)} is not a domain name (pass one such as example.com)"


@pytest.mark.parametrize("seconds", [1, 1.5, 3e9])
def test_expiry(seconds: float) -> None:
    found = tags(signer(expires_after=seconds).header(MESSAGE))
    assert int(found["x"]) == int(found["t"]) + int(seconds) > int(found["t"])


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    with pytest.raises(MissingExtra, match=r"asyncmail\[dkim\]"):
        signer()
