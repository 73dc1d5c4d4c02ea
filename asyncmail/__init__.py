"""SMTP and POP3 for asyncio and Trio: sending in volume, fetching many maildrops, embeddable servers.

Public names are loaded when they are first used (PEP 562), so that `asyncmail.smtp` and `asyncmail.pop3`, which do no
input or output, load nothing that does.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .address import Address as Address
    from .client import POP3Client as POP3Client
    from .client import POP3Options as POP3Options
    from .client import POP3Timeouts as POP3Timeouts
    from .client import RetrievedMessage as RetrievedMessage
    from .client import SMTPClient as SMTPClient
    from .client import SMTPOptions as SMTPOptions
    from .client import SMTPTimeouts as SMTPTimeouts
    from .errors import AddressSyntaxError as AddressSyntaxError
    from .errors import AllRecipientsRefused as AllRecipientsRefused
    from .errors import AuthenticationError as AuthenticationError
    from .errors import BusyError as BusyError
    from .errors import CleartextCredentialsRefused as CleartextCredentialsRefused
    from .errors import ClosedError as ClosedError
    from .errors import CommandRefused as CommandRefused
    from .errors import ConnectError as ConnectError
    from .errors import ConnectionLost as ConnectionLost
    from .errors import ContentRefused as ContentRefused
    from .errors import ExtensionRequired as ExtensionRequired
    from .errors import FolderError as FolderError
    from .errors import GreetingRefused as GreetingRefused
    from .errors import HelloRefused as HelloRefused
    from .errors import InputError as InputError
    from .errors import LimitExceeded as LimitExceeded
    from .errors import LocalProtocolError as LocalProtocolError
    from .errors import LoginDelayed as LoginDelayed
    from .errors import MaildropLocked as MaildropLocked
    from .errors import MailError as MailError
    from .errors import MailTimeout as MailTimeout
    from .errors import MechanismUnavailable as MechanismUnavailable
    from .errors import MessageError as MessageError
    from .errors import MissingExtra as MissingExtra
    from .errors import NegativeReply as NegativeReply
    from .errors import NetworkError as NetworkError
    from .errors import NoSuchMessage as NoSuchMessage
    from .errors import PlaintextAfterStartTLS as PlaintextAfterStartTLS
    from .errors import POP3ResponseError as POP3ResponseError
    from .errors import ProtocolError as ProtocolError
    from .errors import RecipientRefused as RecipientRefused
    from .errors import RemoteProtocolError as RemoteProtocolError
    from .errors import SecurityError as SecurityError
    from .errors import SenderRefused as SenderRefused
    from .errors import SMTPReplyError as SMTPReplyError
    from .errors import Stage as Stage
    from .errors import TemplateError as TemplateError
    from .errors import TLSError as TLSError
    from .errors import TLSRequired as TLSRequired
    from .errors import URLError as URLError
    from .folders import Folder as Folder
    from .folders import Maildir as Maildir
    from .message import Attachment as Attachment
    from .message import Parcel as Parcel
    from .message import Template as Template
    from .message import compose as compose
    from .message import read_delivery_report as read_delivery_report
    from .message import reply as reply
    from .message import verp as verp
    from .message import verp_recipient as verp_recipient
    from .net import ServerURL as ServerURL
    from .net import client_context as client_context
    from .net import server_context as server_context
    from .net import transcript as transcript
    from .retrieval import Fetcher as Fetcher
    from .retrieval import FetchReport as FetchReport
    from .sasl import Attempt as Attempt
    from .sending import DKIMSigner as DKIMSigner
    from .sending import Journal as Journal
    from .sending import Mailer as Mailer
    from .sending import PoolLimits as PoolLimits
    from .sending import send as send
    from .server import ConnectionLimits as ConnectionLimits
    from .server import InMemoryMaildrops as InMemoryMaildrops
    from .server import MaildirMaildrops as MaildirMaildrops
    from .server import POP3Server as POP3Server
    from .server import ReceivedTransaction as ReceivedTransaction
    from .server import SessionInfo as SessionInfo
    from .server import SMTPServer as SMTPServer
    from .smtp import Outcome as Outcome
    from .smtp import RecipientOutcome as RecipientOutcome
    from .smtp import Reply as Reply
    from .smtp import Status as Status

_HOMES = {
    "address": ("Address",),
    "client": (
        "POP3Client",
        "POP3Options",
        "POP3Timeouts",
        "RetrievedMessage",
        "SMTPClient",
        "SMTPOptions",
        "SMTPTimeouts",
    ),
    "errors": (
        "AddressSyntaxError",
        "AllRecipientsRefused",
        "AuthenticationError",
        "BusyError",
        "CleartextCredentialsRefused",
        "ClosedError",
        "CommandRefused",
        "ConnectError",
        "ConnectionLost",
        "ContentRefused",
        "ExtensionRequired",
        "FolderError",
        "GreetingRefused",
        "HelloRefused",
        "InputError",
        "LimitExceeded",
        "LocalProtocolError",
        "LoginDelayed",
        "MailError",
        "MailTimeout",
        "MaildropLocked",
        "MechanismUnavailable",
        "MessageError",
        "MissingExtra",
        "NegativeReply",
        "NetworkError",
        "NoSuchMessage",
        "POP3ResponseError",
        "PlaintextAfterStartTLS",
        "ProtocolError",
        "RecipientRefused",
        "RemoteProtocolError",
        "SMTPReplyError",
        "SecurityError",
        "SenderRefused",
        "Stage",
        "TLSError",
        "TLSRequired",
        "TemplateError",
        "URLError",
    ),
    "folders": ("Folder", "Maildir"),
    "message": (
        "Attachment",
        "Parcel",
        "Template",
        "compose",
        "read_delivery_report",
        "reply",
        "verp",
        "verp_recipient",
    ),
    "net": ("ServerURL", "client_context", "server_context", "transcript"),
    "retrieval": ("FetchReport", "Fetcher"),
    "sasl": ("Attempt",),
    "sending": ("DKIMSigner", "Journal", "Mailer", "PoolLimits", "send"),
    "server": (
        "ConnectionLimits",
        "InMemoryMaildrops",
        "MaildirMaildrops",
        "POP3Server",
        "ReceivedTransaction",
        "SMTPServer",
        "SessionInfo",
    ),
    "smtp": ("Outcome", "RecipientOutcome", "Reply", "Status"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
