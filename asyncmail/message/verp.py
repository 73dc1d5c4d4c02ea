"""Variable envelope return paths: a reverse-path for each recipient, so that a bounce tells whose it is."""

from __future__ import annotations

from urllib.parse import quote, unquote

from ..address import check_forward_path, check_reverse_path
from .envelope import AddressLike, addr_spec

__all__ = ["verp", "verp_recipient"]

# What a local part may hold without quotes, but for % which encodes the rest.
_UNQUOTED = "!#$&'*+-/=?^_`{|}~."


def verp(sender: str, recipient: AddressLike) -> str:
    """Return the reverse-path for one recipient.

    Args:
        sender: where bounces go, such as `bounces@example.com`; its host must deliver `bounces+…` there too.
        recipient: such as `user@example.org`.

    Returns:
        An address such as `bounces+user=example.org@example.com`.

    Raises:
        AddressSyntaxError: one of them is not an address, or the result would be longer than SMTP allows: a local
            part has 64 octets.
    """
    local_part, _, domain = check_reverse_path(sender).rpartition("@")
    user, _, host = check_forward_path(addr_spec(recipient), smtputf8=True).rpartition("@")
    return check_reverse_path(
        f"{local_part}+{quote(user, safe=_UNQUOTED)}={quote(host, safe=_UNQUOTED)}@{domain}"
    )


def verp_recipient(sender: str, address: str) -> str | None:
    """Return the recipient that `verp` made an address for, or None if it was not made for this sender.

    Args:
        sender: as it was given to `verp`.
        address: where the bounce came to; small and capital letters are the same in what `sender` has.
    """
    local_part, _, domain = sender.rpartition("@")
    prefix, suffix = f"{local_part}+".lower(), f"@{domain}".lower()
    lowered = address.lower()
    if not (lowered.startswith(prefix) and lowered.endswith(suffix)):
        return None
    user, equals, host = address[len(prefix) : -len(suffix)].rpartition("=")
    return f"{unquote(user)}@{unquote(host)}" if equals and user and host else None
