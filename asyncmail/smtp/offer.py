"""What a server lets its clients do, and the EHLO keywords that say so."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import InputError, quoted
from ..sasl import ServerMechanism, make_timestamp, server_mechanisms
from ..wire import BareNewlines
from .replies import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ServerOffer"]

# What the server object does itself; the rest of an answer to EHLO is up to the application.
_OWN = frozenset(
    [
        "PIPELINING",
        "SIZE",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "CHUNKING",
        "BINARYMIME",
        "STARTTLS",
        "AUTH",
    ]
)
# Parameters that extensions add to MAIL and to RCPT, where that is not one of their own name to both.
_ADDED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "DELIVERBY": (("BY",), ()),  # RFC 2852
    "DSN": (("RET", "ENVID"), ("NOTIFY", "ORCPT")),  # RFC 3461
    "FUTURERELEASE": (("HOLDFOR", "HOLDUNTIL"), ()),  # RFC 4865
    "LIMITS": ((), ()),  # RFC 9422
    "MT-PRIORITY": (("MT-PRIORITY",), ()),  # RFC 6710
    "MTRK": (("MTRK",), ()),  # RFC 3885
    "REQUIRETLS": (("REQUIRETLS",), ()),  # RFC 8689
    "RRVS": ((), ("RRVS",)),  # RFC 7293
}
# RFC 5321 §4.1.1.1: ehlo-keyword and ehlo-param
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_PARAMETERS = re.compile(r"[ -~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOffer:
    """What a server lets its clients do.

    Args:
        hostname: the server's name, in greeting, EHLO answer and CRAM-MD5 challenges.
        lmtp: speak LMTP instead of SMTP (RFC 2033).
        starttls: whether TLS can be started.
        encrypted: whether TLS is there from the start.
        authentication: whether AUTH is offered.
        mechanisms: names of the SASL mechanisms; None is all that are known.
        cleartext_login: whether passwords are taken without TLS.
        require_tls: MAIL and AUTH are refused before TLS (530, RFC 3207 §4; 538, RFC 4954 §6).
        require_authentication: MAIL is refused before AUTH (530, RFC 4954 §6).
        bare_newlines: what to do with content that holds CR or LF outside of CRLF.
        more: further EHLO keywords and their parameters. MAIL and RCPT may then carry what these extensions define, and
            for keywords that are not known here a parameter of the same name.

    Raises:
        InputError: `hostname` is not a name, a mechanism is not known, or `more` holds what cannot stand in a line,
            or what this decides about.
    """

    hostname: str = "localhost"
    lmtp: bool = False
    starttls: bool = False
    encrypted: bool = False
    authentication: bool = False
    mechanisms: tuple[str, ...] | None = None
    cleartext_login: bool = False
    require_tls: bool = False
    require_authentication: bool = False
    bare_newlines: BareNewlines = BareNewlines.REJECT
    more: Mapping[str, str] = field(default_factory=dict)
    _answers: dict[tuple[bool, bool, int], Reply] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        make_timestamp(self.hostname)
        server_mechanisms(encrypted=True, allowed=self.mechanisms)
        for keyword, parameters in self.more.items():
            if not _KEYWORD.fullmatch(keyword) or not _PARAMETERS.fullmatch(parameters):
                raise InputError(f"{quoted(f'{keyword} {parameters}')} is not a line of an answer to EHLO")

            if keyword.upper() in _OWN:
                raise InputError(f"whether {keyword.upper()} is offered is not for `more` to say")

    def allows(self, verb: str, parameter: str) -> bool:
        """Whether MAIL or RCPT may carry a parameter, by the extensions in `more`."""
        position = ("MAIL", "RCPT").index(verb)
        names = map(str.upper, self.more)
        return any(parameter in _ADDED.get(name, ((name,), (name,)))[position] for name in names)

    def mechanisms_for(self, *, encrypted: bool) -> dict[str, type[ServerMechanism]]:
        """The mechanisms a client may use on a connection, by name, best first."""
        if not self.authentication or (self.require_tls and not encrypted):
            return {}
        return server_mechanisms(encrypted=encrypted or self.cleartext_login, allowed=self.mechanisms)

    def answer_to_ehlo(self, *, encrypted: bool, authenticated: bool, message_size: int) -> Reply:
        """The positive answer to EHLO or LHLO: made once, said in each session."""
        key = (encrypted, authenticated, message_size)
        answer = self._answers.get(key)
        if answer is None:
            keywords = self.keywords(
                encrypted=encrypted, authenticated=authenticated, message_size=message_size
            )
            answer = self._answers[key] = Reply(250, "\n".join([self.hostname, *keywords]))
        return answer

    def keywords(self, *, encrypted: bool, authenticated: bool, message_size: int) -> list[str]:
        """The lines that answer EHLO, behind the first."""
        lines = [
            "PIPELINING",
            f"SIZE {message_size}",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "CHUNKING",
        ]
        if self.starttls and not encrypted:
            lines.append("STARTTLS")
        mechanisms = self.mechanisms_for(encrypted=encrypted)
        if mechanisms and not authenticated:
            lines.append(f"AUTH {' '.join(mechanisms)}")
        lines += [f"{keyword} {parameters}".rstrip() for keyword, parameters in self.more.items()]
        return lines
