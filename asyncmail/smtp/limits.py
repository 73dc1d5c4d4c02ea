"""Limits: what a peer may make this side store or do. Sizes in octets."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ClientLimits", "ServerLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """What a server may send.

    Args:
        reply_line: one line of a reply. RFC 5321 §4.5.3.1.5 asks for 512; URLs in refusals need more, and challenges
            have up to 12,288 (RFC 4954 §4).
        reply: all lines of one reply. No RFC number; a long EHLO answer has some 2,000 octets.
    """

    reply_line: int = 12_288
    reply: int = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What a client may send.

    Args:
        command_line: a command with its CRLF. RFC 5321 §4.5.3.1.4 asks for 512, the extensions of MAIL and RCPT and
            UTF-8 in paths add some 1,000.
        authentication_line: a line of an AUTH exchange. RFC 4954 §4 asks for 12,288.
        message_size: content, as announced with SIZE (RFC 1870). RFC 5321 §4.5.3.1.7 asks for 64 KiB; 25 MiB of
            attachments take 35 MiB in base64.
        recipients: accepted in one transaction. RFC 5321 §4.5.3.1.8 asks for 100.
        commands: in one session, whatever they are. No RFC number: bounds a client that never ends; bulk senders
            use three or four for each message.
        errors: rejected commands and failed authentications without a message in between, before the session ends.
            No RFC number: stops dictionary attacks and peers that speak another protocol.
    """

    command_line: int = 2_048
    authentication_line: int = 12_288
    message_size: int = 36_700_160
    recipients: int = 1_000
    commands: int = 1_000_000
    errors: int = 20
