"""Authentication as SMTP and POP3 share it (RFC 4422, RFC 4954, RFC 5034): mechanisms as pure objects.

Client: `choose` from what the server offers, send `initial_response`, `respond` to challenges.
Server: look a name up in `server_mechanisms`, `start` it, `respond` until it returns an `Attempt`, whose
`verify` compares with the password.
"""

from .attempt import Attempt, DigestAttempt, PasswordAttempt, apop_attempt
from .client import CLIENT_MECHANISMS, ClientMechanism, CramMD5Client, LoginClient, PlainClient
from .credentials import Credentials
from .digests import apop_digest, cram_md5_digest, find_timestamp, make_timestamp
from .encoding import CANCEL, decode_base64, decode_initial_response, encode_base64, encode_initial_response
from .ranking import choose, server_mechanisms
from .server import SERVER_MECHANISMS, Challenge, CramMD5Server, LoginServer, PlainServer, ServerMechanism

__all__ = [
    "CANCEL",
    "CLIENT_MECHANISMS",
    "SERVER_MECHANISMS",
    "Attempt",
    "Challenge",
    "ClientMechanism",
    "CramMD5Client",
    "CramMD5Server",
    "Credentials",
    "DigestAttempt",
    "LoginClient",
    "LoginServer",
    "PasswordAttempt",
    "PlainClient",
    "PlainServer",
    "ServerMechanism",
    "apop_attempt",
    "apop_digest",
    "choose",
    "cram_md5_digest",
    "decode_base64",
    "decode_initial_response",
    "encode_base64",
    "encode_initial_response",
    "find_timestamp",
    "make_timestamp",
    "server_mechanisms",
]
