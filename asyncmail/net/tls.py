"""TLS contexts, and what to do about TLS that fails."""

from __future__ import annotations

import functools
import os
import ssl

from ..errors import ConnectionLost, InputError, NetworkError, Stage, TLSError

__all__ = [
    "client_context",
    "default_context",
    "handshake_error",
    "require_server_hostname",
    "server_context",
    "tls_lost",
]

_WRONG_NAME = {62, 64}  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_SELF_SIGNED = 18
_UNKNOWN_AUTHORITY = {2, 19, 20, 21}  # issuer not found, or self-signed at the end of the chain
_TRUST = "pass tls_context=ssl.create_default_context(cafile='certificate.pem')"
_NOT_IN_FORCE = {9, 10}  # not yet valid, expired

_NOT_TLS = {"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}
_NO_COMMON_VERSION = {
    "UNSUPPORTED_PROTOCOL",
    "NO_PROTOCOLS_AVAILABLE",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "VERSION_TOO_LOW",
}
_CERTIFICATE_REFUSED = {
    "TLSV1_ALERT_UNKNOWN_CA",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
}
_NO_COMMON_CIPHER = {"NO_SHARED_CIPHER", "SSLV3_ALERT_HANDSHAKE_FAILURE"}
_CUT_OFF = {"UNEXPECTED_EOF_WHILE_READING"}


def client_context(*, cafile: str | os.PathLike[str] | None = None) -> ssl.SSLContext:
    """Return a context for clients: certificate and host name verified, TLS 1.2 or later, no compression.

    Args:
        cafile: certificates (PEM) of the authorities to trust instead of the system's.

    Raises:
        TLSError: the file holds no certificate.
        InputError: the file cannot be read.

    RFC 8314 §4.1, RFC 8996.
    """
    try:
        context = ssl.create_default_context(cafile=None if cafile is None else os.fspath(cafile))
    except ssl.SSLError:
        raise TLSError(
            f"{os.fspath(cafile or '')} holds no certificate", cure="give a file in PEM form"
        ) from None
    except OSError as exc:
        raise InputError(
            f"the certificates in {os.fspath(cafile or '')} cannot be read: {exc.strerror}",
            cure="check the path and its permissions",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@functools.cache  # reading the system's certificates takes 20 to 70 ms
def default_context() -> ssl.SSLContext:
    """Return the `client_context` that connections share which are given none."""
    return client_context()


def server_context(
    certfile: str | os.PathLike[str],
    keyfile: str | os.PathLike[str] | None = None,
    *,
    password: str | None = None,
) -> ssl.SSLContext:
    """Return a context for servers: TLS 1.2 or later, no compression, no certificate asked of clients.

    Args:
        certfile: the certificate, followed by those of intermediate authorities (PEM).
        keyfile: its private key (PEM), if that is not in `certfile` as well.
        password: what the key is encrypted with, if it is.

    Raises:
        TLSError: the files hold no certificate with a key that fits.
        InputError: a file cannot be read.

    RFC 8314 §4.1, RFC 8996.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Named one by one: the error of load_cert_chain() does not say which of the two cannot be read.
    for path in (certfile, keyfile):
        if path is not None:
            if isinstance(path, int):  # which open() would take for a file descriptor, and close
                raise InputError(f"{path} is no path", cure="pass the path of a file")
            try:
                with open(path, "rb"):
                    pass
            except OSError as exc:
                raise InputError(
                    f"{os.fspath(path)} cannot be read: {exc.strerror}",
                    cure="check the path and its permissions",
                ) from None
    try:
        # Without a password given, OpenSSL would ask for one at the terminal.
        context.load_cert_chain(certfile, keyfile, password=password or _no_password)
    except _PasswordNeeded:
        raise TLSError(
            f"the key in {os.fspath(keyfile or certfile)} is encrypted", cure="give its password"
        ) from None
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            problem, cure = "the private key does not belong to the certificate", "give the two that do"
        elif keyfile is None:
            problem, cure = "the file does not hold both", "give keyfile= for a key in a file of its own"
        elif password is not None:
            problem, cure = "the files are not PEM, or the password is wrong", "check both"
        else:
            problem, cure = "the files are not PEM", "give the certificate and its private key in PEM form"
        raise TLSError(
            f"no certificate with its key in {os.fspath(certfile)}: {problem}", cure=cure
        ) from None
    return context


class _PasswordNeeded(Exception):
    pass


def _no_password() -> str:
    raise _PasswordNeeded


def require_server_hostname(context: ssl.SSLContext, server_hostname: str | None, server_side: bool) -> None:
    """Raise InputError if there is no name to check the certificate against, though the context says to check it.

    The `ssl` module makes sure of it for sockets, and forgets to for the memory that event loops encrypt in.
    """
    if context.check_hostname and not server_hostname and not server_side:
        raise InputError(
            "the TLS context checks the name in the certificate, and none was given",
            stage=Stage.TLS,
            cure="pass server_hostname=, or a tls_context with check_hostname = False",
        )


def handshake_error(exc: Exception, name: str) -> NetworkError:
    """Return what a handshake failed of, in terms of this library.

    Args:
        exc: what the `ssl` module raised, or that the connection broke.
        name: of the peer, as the certificate should have it; for the text.
    """
    peer = name or "the peer"
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _certificate_error(exc, peer)
    reason = getattr(exc, "reason", None) or ""
    if isinstance(exc, OSError) and not isinstance(exc, ssl.SSLError):
        return ConnectionLost(
            f"{peer} closed the connection during the TLS handshake",
            stage=Stage.TLS,
            cure="check that it speaks TLS on this port",
        )
    if reason in _NOT_TLS:
        return TLSError(
            f"{peer} does not speak TLS on this port",
            cure="if the port is meant for STARTTLS, use a +starttls URL instead of one with implicit TLS",
        )
    if reason in _NO_COMMON_VERSION:
        return TLSError(
            f"{peer} speaks no version of TLS that is allowed here",
            cure="have it offer TLS 1.2 or 1.3, or pass a tls_context of your own",
        )
    if reason in _CERTIFICATE_REFUSED:
        return _certificate_refused(reason, peer)
    if reason in _NO_COMMON_CIPHER:
        return TLSError(
            f"no cipher in common with {peer}", cure="check the ciphers and the key type on both sides"
        )
    return TLSError(
        f"TLS with {peer} failed: {_words(reason) or exc}", cure="check the TLS settings on both sides"
    )


def tls_lost(exc: ssl.SSLError, name: str) -> NetworkError:
    """Return how TLS ended after the handshake, in terms of this library.

    That is a connection which was lost, except that in TLS 1.3 a client may learn so late that the server does not
    accept its certificate.
    """
    peer = name or "the peer"
    reason = getattr(exc, "reason", None) or ""
    if isinstance(exc, ssl.SSLEOFError) or reason in _CUT_OFF:
        return ConnectionLost(f"{peer} closed the connection without ending TLS")
    if reason in _CERTIFICATE_REFUSED:
        return _certificate_refused(reason, peer)
    if "_ALERT_" in reason:
        return ConnectionLost(f"{peer} broke TLS off: {_words(reason)}", cure="look into its log")
    return ConnectionLost(
        f"TLS with {peer} broke: {_words(reason) or exc}",
        cure="look for what alters octets on the way, such as a proxy or a firewall",
    )


def _certificate_refused(reason: str, peer: str) -> TLSError:
    return TLSError(
        f"{peer} did not accept the certificate of this side: {_words(reason)}",
        cure="check that it trusts the certificate's authority and asks for the right name",
    )


def _certificate_error(exc: ssl.SSLCertVerificationError, peer: str) -> TLSError:
    problem = exc.verify_message or "it was not accepted"
    if exc.verify_code in _WRONG_NAME:
        problem = "it was issued for another name"
        cure = "connect by a name that the certificate has"
    elif exc.verify_code == _SELF_SIGNED:
        problem = "it is signed by itself"
        cure = f"to trust it, {_TRUST}"
    elif exc.verify_code in _UNKNOWN_AUTHORITY:
        problem = f"its authority is not trusted here ({problem})"
        cure = f"to trust the authority, {_TRUST}"
    elif exc.verify_code in _NOT_IN_FORCE:
        cure = "have it renewed, and check the clock of this machine"
    else:
        cure = "pass a tls_context that fits the server"
    return TLSError(f"the certificate of {peer} was not accepted: {problem}", cure=cure)


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")
