"""Mail addresses: their grammar, their parts, and the paths that SMTP makes of them.

Pure: nothing here resolves a domain or knows whether a mailbox exists.
"""

from .paths import (
    check_forward_path,
    check_reverse_path,
    is_plain_path,
    parse_forward_path,
    parse_reverse_path,
)
from .value import Address

__all__ = [
    "Address",
    "check_forward_path",
    "check_reverse_path",
    "is_plain_path",
    "parse_forward_path",
    "parse_reverse_path",
]
