"""DomainKeys Identified Mail: signatures over the octets that go over the wire (RFC 6376, RFC 8301, RFC 8463)."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from ..address import check_forward_path
from ..errors import AddressSyntaxError, InputError, MessageError, MissingExtra, printable, quoted
from ..message import Parcel, prepare
from ..message.envelope import make_envelope
from ..message.flatten import flatten, header_end
from ..wire import has_bare_newline
from .ahead import Ahead

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from ..message import MessageLike

__all__ = ["DEFAULT_HEADERS", "DEFAULT_OVERSIGNED", "DKIMSigner"]

KeySource: TypeAlias = "bytes | str | os.PathLike[str] | RSAPrivateKey | Ed25519PrivateKey"
Canonicalization: TypeAlias = Literal["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"]

DEFAULT_OVERSIGNED = (
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
)
"""What readers are shown or act on: nobody may change it, remove it, or add a second one."""

DEFAULT_HEADERS = (
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
    "Feedback-ID",
    "Auto-Submitted",
)
"""What nobody may change or remove. Mailing lists may add their own."""

# One click unsubscribes only if these are signed, RFC 8058 §4.
_ALWAYS_SIGNED = ("list-unsubscribe", "list-unsubscribe-post")

_SELECTOR = re.compile(r"[A-Za-z0-9](?:[\w-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[\w-]*[A-Za-z0-9])?)*", re.ASCII)
_FIELD_NAME = re.compile(r"[!-9;-~]+")
_NEXT_FIELD = re.compile(rb"\r\n(?![ \t])")
_BLANK_ENDS = (b"\r\n\r\n", b" \r\n", b"\t\r\n")
_LOCAL_PART = re.compile(r"[\w.+-]*", re.ASCII)
_MIN_RSA_BITS = 1024  # RFC 8301 §3.2
_MAX_SECONDS = 100_000_000_000  # x= has at most twelve digits, RFC 6376 §3.5
_LINE = 75  # with what is before it, no more than 78 characters
_FRONT = 65_536  # octets: text, and what else may differ between messages that end with the same attachments
_STRETCH = 2048  # octets in which there is likely to be another space, once there is one


class DKIMSigner:
    """Signs messages with one key.

    What is signed has to go out octet for octet, so it is done last, and to 7-bit content where a server on the way
    may not offer 8BITMIME. The length tag `l=` is never written: what could be added after it would be believed.

    The last message is kept: what the next one has in common with it, as messages of one template have, is not looked
    at, or hashed, once more where that can be spared.

    Args:
        domain: the signing domain, `d=`.
        selector: names the key: its public half is at `<selector>._domainkey.<domain>`.
        private_key: RSA or Ed25519: PEM as octets or text, the path of a PEM file, or a key object of the
            cryptography package.
        headers: fields to sign where they are present.
        oversigned: fields to sign, of which nobody may add one more either. From is always one of them.
        canonicalization: how much whitespace may change on the way, in the header and in the body.
        identity: the agent or user, `i=`: an address at the domain or below it.
        expires_after: seconds after which the signature is no longer valid, `x=`: one or more.

    Raises:
        InputError: one of these cannot be used.
        MissingExtra: the cryptography package is not installed.

    RFC 6376 §3.5 and §5.4.
    """

    __slots__ = (
        "_body_is_relaxed",
        "_expires_after",
        "_header_is_relaxed",
        "_latest",
        "_oversigned",
        "_sign",
        "_signed",
        "_tags",
        "algorithm",
        "domain",
        "selector",
    )

    algorithm: str

    def __init__(
        self,
        *,
        domain: str,
        selector: str,
        private_key: KeySource,
        headers: Iterable[str] = DEFAULT_HEADERS,
        oversigned: Iterable[str] = DEFAULT_OVERSIGNED,
        canonicalization: Canonicalization = "relaxed/relaxed",
        identity: str = "",
        expires_after: float | None = None,
    ) -> None:
        self.domain: str = _check_domain(domain)
        if not _SELECTOR.fullmatch(selector):
            raise InputError(
                f"{quoted(selector)} is not a DKIM selector", cure="use letters, digits, hyphens"
            )
        self.selector: str = selector
        if canonicalization not in get_args(Canonicalization):
            raise InputError(
                f"there is no canonicalization {quoted(canonicalization)}", cure="use relaxed/relaxed"
            )
        header, _, body = canonicalization.partition("/")
        self._header_is_relaxed = header == "relaxed"
        self._body_is_relaxed = body == "relaxed"
        self._oversigned = _names(("from", *oversigned))
        self._signed = tuple(
            [name for name in _names((*headers, *_ALWAYS_SIGNED)) if name not in self._oversigned]
        )
        if expires_after is not None and not 1 <= expires_after <= _MAX_SECONDS:
            raise InputError(
                f"a signature cannot expire {expires_after} seconds after it was made",
                cure="pass one second or more as expires_after=, or leave it out",
            )
        self.algorithm, self._sign = _load_key(private_key)
        self._expires_after = expires_after
        self._latest: _Message | None = None
        self._tags = f"a={self.algorithm}; c={canonicalization};\r\n d={self.domain}; s={selector};"
        if identity:
            self._tags += f"\r\n i={_check_identity(identity, self.domain)};"

    def __repr__(self) -> str:
        return f"<DKIMSigner {self.selector}._domainkey.{self.domain} {self.algorithm}>"

    def sign(self, octets: bytes, *, others: Sequence[DKIMSigner] = ()) -> bytes:
        """Return a message with a signature before its header.

        Args:
            octets: a message as it will go over the wire, but for line endings, which become CRLF.
            others: each adds a signature of its own, for receivers that know only some algorithms, or for another
                domain that answers for the message.

        Raises:
            MessageError: it has no From field.

        RFC 6376 §4.2, §5, RFC 8463 §3.
        """
        return self._sign_flat(self._flatten(octets), others)

    def _flatten(self, message: MessageLike | bytes) -> bytes:
        """`flatten`, but an attachment that the message before ended with, too, is not looked at again."""
        latest = self._latest
        if latest is not None and isinstance(message, bytes):
            before = latest.octets
            # From the beginning of a line on, so that no line break is half in it.
            tail = memoryview(before)[before.find(b"\n", _FRONT) + 1 :]
            if len(tail) > _FRONT and message.endswith(tail):
                front = message[: len(message) - len(tail)]
                if not has_bare_newline(front):
                    return message
        return flatten(message)

    def _sign_flat(self, octets: bytes, others: Sequence[DKIMSigner]) -> bytes:
        message = self._take_apart(octets)
        return b"".join([*(signer._field(message) for signer in (self, *others)), octets])

    def _take_apart(self, octets: bytes) -> _Message:
        # Where several threads sign, any of their messages will do as the one before.
        message = self._latest = _Message(octets, self._latest)
        return message

    def sign_many(
        self,
        messages: Iterable[Parcel | MessageLike | bytes],
        *,
        others: Sequence[DKIMSigner] = (),
    ) -> AsyncIterator[Parcel]:
        """Sign messages in worker threads, ahead of who sends them: `mailer.send_many(signer.sign_many(messages))`.

        Args:
            messages: asked in worker threads, too, so that a generator which renders them does not hold up the event
                loop; by one at a time.
            others: see `sign`.

        Yields:
            A parcel for each, in their order.

        Raises:
            MessageError, AddressSyntaxError: one cannot be signed, or sent.
            Exception: what `messages` raised. Before either, all that came before has been yielded.
        """

        def signed(message: Parcel | MessageLike | bytes) -> Parcel:
            if isinstance(message, Parcel) and message.sender is not None and message.recipients is not None:
                octets, tag = self._flatten(message.content), message.tag
                envelope = make_envelope(message.sender, message.recipients)
            else:
                envelope, octets, _, _, tag = prepare(message)
            return Parcel(self._sign_flat(octets, others), envelope.sender, envelope.recipients, tag=tag)

        return Ahead(messages, signed)

    def header(self, octets: bytes) -> bytes:
        """Return the DKIM-Signature field alone, with its CRLF; see `sign`."""
        return self._field(self._take_apart(self._flatten(octets)))

    def _field(self, message: _Message) -> bytes:
        names, order = _lay_out(message.names, self._oversigned, self._signed)
        now = int(time.time())
        expiry = "" if self._expires_after is None else f" x={now + int(self._expires_after)};"
        field = (
            f"DKIM-Signature: v=1; {self._tags}\r\n t={now};{expiry}\r\n"
            f" h={names};\r\n bh={message.body_hash(self._body_is_relaxed)};\r\n b="
        ).encode("ascii")
        fields = message.fields(self._header_is_relaxed)
        own = _relax_header(field)[1][0] if self._header_is_relaxed else field
        signed = b"\r\n".join([*[fields[index] for index in order], own])
        signature = base64.b64encode(self._sign(signed))
        lines = [signature[start : start + _LINE] for start in range(0, len(signature), _LINE)]
        return field + b"\r\n ".join(lines) + b"\r\n"


class _Message:
    """A message, taken apart once for any number of signatures.

    Args:
        octets: its lines end by CRLF, the last one too.
        before: another, which has the same body if a template changes nothing but the header.
    """

    __slots__ = ("_body_start", "_fields", "_hashes", "_header", "names", "octets")

    def __init__(self, octets: bytes, before: _Message | None = None) -> None:
        end = header_end(octets)
        self.octets = octets
        self._header = octets[:end].removesuffix(b"\r\n")
        self._body_start = end + 2
        self.names, relaxed = _relax_header(self._header)
        self._fields = {True: relaxed}
        self._hashes: dict[bool, str] = {}
        if before is not None and before._has_body_of(self):
            self._hashes = before._hashes

    def _has_body_of(self, other: _Message) -> bool:
        size = len(self.octets) - self._body_start
        return size == len(other.octets) - other._body_start and other.octets.endswith(
            memoryview(self.octets)[self._body_start :]
        )

    def fields(self, is_relaxed: bool) -> list[bytes]:
        """The header fields, in canonical form, in the order of `names`."""
        if is_relaxed not in self._fields:
            self._fields[is_relaxed] = _NEXT_FIELD.split(self._header)
        return self._fields[is_relaxed]

    def body_hash(self, is_relaxed: bool) -> str:
        """The hash for `bh=`."""
        if is_relaxed not in self._hashes:
            digest = _hash_body(self.octets, self._body_start, is_relaxed)
            self._hashes[is_relaxed] = base64.b64encode(digest).decode("ascii")
        return self._hashes[is_relaxed]


def _hash_body(octets: bytes, start: int, is_relaxed: bool) -> bytes:
    """RFC 6376 §3.4.3, §3.4.4, §3.7, without a copy of what is canonical as it is."""
    if start >= len(octets) or octets.endswith(_BLANK_ENDS):
        octets = octets[start:].rstrip(b" \t\r\n" if is_relaxed else b"\r\n")
        if octets or not is_relaxed:
            octets += b"\r\n"
        start = 0
    digest = hashlib.sha256()
    for piece in _relax_body(octets, start) if is_relaxed else (memoryview(octets)[start:],):
        digest.update(piece)
    return digest.digest()


def _relax_body(octets: bytes, start: int) -> Iterator[bytes | memoryview]:
    """The pieces of a body that ends with a line that is not blank."""
    if octets.find(b"\t", start) >= 0:
        octets = octets.replace(b"\t", b" ")
    view = memoryview(octets)
    # Base64 holds no space, and to find one takes a hundredth of the time that it takes to find two in succession.
    while (space := octets.find(b" ", start)) >= 0:
        end = octets.find(b"\n", space + _STRETCH) + 1 or len(octets)
        yield view[start:space]
        yield _reduce_spaces(octets[space:end])
        start = end
    yield view[start:]


def _relax_header(header: bytes) -> tuple[tuple[bytes, ...], list[bytes]]:
    """The names of header fields, and the fields (RFC 6376 §3.4.2)."""
    unfolded = header.replace(b"\t", b" ").replace(b"\r\n ", b" ") + b"\r\n"
    names: list[bytes] = []
    fields: list[bytes] = []
    for line in _reduce_spaces(unfolded)[:-2].split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.rstrip(b" ").lower()
        names.append(name)
        fields.append(b"%b:%b" % (name, value.lstrip(b" ")))
    return tuple(names), fields


def _reduce_spaces(lines: bytes) -> bytes:
    """Make one space of several, and none of those at the ends of lines."""
    while b"  " in lines:
        lines = lines.replace(b"  ", b" ")
    return lines.replace(b" \r\n", b"\r\n")


@functools.lru_cache(maxsize=64)  # messages of one kind have the same fields
def _lay_out(
    names: tuple[bytes, ...], oversigned: tuple[str, ...], signed: tuple[str, ...]
) -> tuple[str, list[int]]:
    """The names for `h=`, folded, and which fields they stand for.

    Args:
        names: of the fields of the message.
    """
    places: dict[str, list[int]] = {}
    for index in reversed(range(len(names))):  # the last comes first, RFC 6376 §5.4.2
        places.setdefault(names[index].decode("latin-1"), []).append(index)
    if "from" not in places:
        raise MessageError("the message cannot be signed: it has no From field", cure="fill in From")
    listed: list[str] = []
    order: list[int] = []
    for each in (*oversigned, *signed):
        found = places.get(each, [])
        listed += [each] * (len(found) + (each in oversigned))
        order += found
    return _fold(listed), order


def _fold(names: Sequence[str]) -> str:
    lines = [names[0]]
    for name in names[1:]:
        if len(lines[-1]) + len(name) > _LINE - 4:
            lines.append(name)
        else:
            lines[-1] += f":{name}"
    return ":\r\n  ".join(lines)


def _names(headers: Iterable[str]) -> tuple[str, ...]:
    for name in headers:
        if not _FIELD_NAME.fullmatch(name) or ";" in name:
            raise InputError(f"{quoted(name)} is not a header field name", cure="write one such as Subject")
    return tuple(dict.fromkeys(map(str.lower, headers)))


def _check_domain(domain: str) -> str:
    """The domain in ASCII."""
    try:
        checked = check_forward_path(f"x@{domain}")[2:]
    except AddressSyntaxError:
        checked = ""
    if not checked or checked.startswith("["):  # an address literal has no place for keys
        raise InputError(f"{quoted(domain)} is not a domain name", cure="pass one such as example.com")
    return checked


def _check_identity(identity: str, domain: str) -> str:
    local_part, at, host = identity.rpartition("@")
    if (
        not at
        or not _LOCAL_PART.fullmatch(local_part)
        or not f".{host}".lower().endswith(f".{domain}".lower())
    ):
        raise InputError(
            f"{quoted(identity)} cannot be the identity of a signature by {domain}",
            cure="write @domain or user@domain, at the signing domain or below it",
        )
    return identity


def _load_key(source: KeySource) -> tuple[str, Callable[[bytes], bytes]]:
    """The name of the algorithm, and the function that signs."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise MissingExtra("dkim", "DKIM signing") from None
    if isinstance(source, str) and "-----BEGIN" in source:
        source = source.encode()
    if isinstance(source, str | os.PathLike):
        try:
            source = Path(source).read_bytes()
        except OSError as error:
            raise InputError(
                f"the private key {printable(os.fspath(source))} cannot be read: {error.strerror}",
                cure="check the path",
            ) from error
    key: object = source
    if isinstance(source, bytes):
        try:
            key = load_pem_private_key(source, None)
        except (ValueError, TypeError) as error:
            raise InputError(
                "the private key cannot be read", cure="pass PEM without a passphrase"
            ) from error
    if isinstance(key, Ed25519PrivateKey):
        ed25519_key = key
        return "ed25519-sha256", lambda octets: ed25519_key.sign(
            hashlib.sha256(octets).digest()
        )  # RFC 8463 §3
    if isinstance(key, RSAPrivateKey) and key.key_size >= _MIN_RSA_BITS:
        rsa_key, padding, algorithm = key, PKCS1v15(), SHA256()
        return "rsa-sha256", lambda octets: rsa_key.sign(octets, padding, algorithm)
    raise InputError("the private key is not fit for DKIM", cure="use RSA with 2048 bits, or Ed25519")
