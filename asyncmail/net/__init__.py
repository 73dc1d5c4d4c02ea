"""Octets over a network: one interface, `ByteStream`, on asyncio and on Trio."""

from .anyio_stream import AnyIOStream
from .asyncio_stream import AsyncioStream
from .background import BackgroundTask, Waiter, spawn
from .clock import NEVER, now
from .connect import connect
from .connection import Connection, SansIOProtocol
from .listen import Listener, listen
from .memory_stream import memory_stream_pair
from .stream import ByteStream
from .tls import client_context, default_context, server_context
from .url import MailProtocol, ServerURL, TLSMode
from .wirelog import transcript

__all__ = [
    "NEVER",
    "AnyIOStream",
    "AsyncioStream",
    "BackgroundTask",
    "ByteStream",
    "Connection",
    "Listener",
    "MailProtocol",
    "SansIOProtocol",
    "ServerURL",
    "TLSMode",
    "Waiter",
    "client_context",
    "connect",
    "default_context",
    "listen",
    "memory_stream_pair",
    "now",
    "server_context",
    "spawn",
    "transcript",
]
