"""Octets as SMTP and POP3 both see them: lines, limits, line endings, transparency.

Pure: nothing here knows a command, a state or a socket.
"""

from .arguments import encode_argument
from .buffer import ReceiveBuffer
from .dots import DotStuffer, DotUnstuffer, find_dot_line, stuff
from .newlines import BareNewlines, NewlineNormalizer, has_bare_newline, normalize_newlines
from .signals import Signal
from .trace import Direction, Trace
from .xtext import decode_xtext, encode_xtext

__all__ = [
    "BareNewlines",
    "Direction",
    "DotStuffer",
    "DotUnstuffer",
    "NewlineNormalizer",
    "ReceiveBuffer",
    "Signal",
    "Trace",
    "decode_xtext",
    "encode_argument",
    "encode_xtext",
    "find_dot_line",
    "has_bare_newline",
    "normalize_newlines",
    "stuff",
]
