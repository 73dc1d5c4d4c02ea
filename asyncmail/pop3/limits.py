"""Limits: what a peer may make this side store or do. Sizes in octets."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ClientLimits", "ServerLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """What a server may send.

    Args:
        response_line: a status line or challenge. RFC 2449 §4 allows 512; refusals with URLs in them
            have more, and so have some challenges.
        listing_octets: a whole scan or unique-id listing. No RFC number: 500,000 messages with unique-ids of
            70 characters (the longest of RFC 1939 §7) take 40 MB.
        listing_lines: lines of such a listing; each becomes some 150 octets of objects.
        capabilities: a whole capability list. No RFC number; a long one has 500 octets.
        content: one message as retrieved; None is no limit, for content is handed on in pieces and not kept.
        whole: messages that a session keeps whole at once, be it one or those of a pipeline. No RFC number: servers
            that take more than 150 MB are rare.
        surplus: what those may have beyond twice the octets that LIST told of them. Twice, since some servers count
            a line end as one octet; and more, since others tell what they store, compressed or not yet expanded.
    """

    response_line: int = 8_192
    listing_octets: int = 67_108_864
    listing_lines: int = 1_000_000
    capabilities: int = 65_536
    content: int | None = None
    whole: int = 268_435_456
    surplus: int = 8_388_608


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What a client may send.

    Args:
        command_line: a command with its CRLF. RFC 2449 §4 allows 255; long passwords and initial responses of
            AUTH are seen to need more.
        authentication_line: a line of an AUTH exchange. RFC 4954 §4 asks for 12,288 in SMTP.
        commands: in one session, whatever they are. No RFC number: a client that empties a maildrop uses two
            for each message.
        errors: commands refused for their syntax or place, and failed logins, before the session ends.
    """

    command_line: int = 1_024
    authentication_line: int = 12_288
    commands: int = 1_000_000
    errors: int = 20
