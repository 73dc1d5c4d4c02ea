"""SMTP, ESMTP and LMTP for both ends of a session, without input or output of its own.

Pure: feed what was received to `ClientProtocol` or `ServerProtocol`, take events, write what `data_to_send` returns.
`Pipeline` sends many transactions through one `ClientProtocol` and says what became of each recipient.
"""

from .client import ClientProtocol
from .commands import (
    Auth,
    AuthResponse,
    Bdat,
    Command,
    Data,
    Ehlo,
    EndOfContent,
    Expn,
    Helo,
    Help,
    Lhlo,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    Starttls,
    UnknownCommand,
    Vrfy,
    parse_command,
)
from .events import (
    AuthenticationReceived,
    ClientEvent,
    CommandAnswered,
    CommandReceived,
    CommandRejected,
    ConnectionEnded,
    ContentEnded,
    ContentReceived,
    GreetingReceived,
    ReplyReceived,
    ServerEvent,
    UnsolicitedReply,
)
from .extensions import Extensions
from .limits import ClientLimits, ServerLimits
from .offer import ServerOffer
from .outcome import Outcome, RecipientOutcome, Status
from .parameters import BodyType
from .pipeline import Pipeline, Transaction
from .replies import Reply, parse_reply
from .server import ServerProtocol
from .splitting import Split, takes_no_more
from .states import Awaiting, ClientState, ServerState

__all__ = [
    "Auth",
    "AuthResponse",
    "AuthenticationReceived",
    "Awaiting",
    "Bdat",
    "BodyType",
    "ClientEvent",
    "ClientLimits",
    "ClientProtocol",
    "ClientState",
    "Command",
    "CommandAnswered",
    "CommandReceived",
    "CommandRejected",
    "ConnectionEnded",
    "ContentEnded",
    "ContentReceived",
    "Data",
    "Ehlo",
    "EndOfContent",
    "Expn",
    "Extensions",
    "GreetingReceived",
    "Helo",
    "Help",
    "Lhlo",
    "Mail",
    "Noop",
    "Outcome",
    "Pipeline",
    "Quit",
    "Rcpt",
    "RecipientOutcome",
    "Reply",
    "ReplyReceived",
    "Rset",
    "ServerEvent",
    "ServerLimits",
    "ServerOffer",
    "ServerProtocol",
    "ServerState",
    "Split",
    "Starttls",
    "Status",
    "Transaction",
    "UnknownCommand",
    "UnsolicitedReply",
    "Vrfy",
    "parse_command",
    "parse_reply",
    "takes_no_more",
]
