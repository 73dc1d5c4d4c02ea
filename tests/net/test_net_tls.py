from __future__ import annotations

import ssl

import pytest
import trustme

from asyncmail.errors import ConnectionLost, InputError, TLSError
from asyncmail.net import client_context, server_context
from asyncmail.net.tls import handshake_error, require_server_hostname, tls_lost


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """A directory with certificates and keys."""
    directory = tmp_path_factory.mktemp("pem")
    certificate = trustme.CA().issue_cert("localhost")
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    key = certificate.private_key_pem.bytes()
    (directory / "chain.pem").write_bytes(chain)
    (directory / "key.pem").write_bytes(key)
    (directory / "both.pem").write_bytes(key + chain)
    (directory / "other-key.pem").write_bytes(trustme.CA().issue_cert("x").private_key_pem.bytes())
    (directory / "noise.pem").write_bytes(b"no certificate\n")
    from cryptography.hazmat.primitives import serialization

    loaded = serialization.load_pem_private_key(key, None)
    (directory / "locked.pem").write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"sesame"),
        )
    )
    return directory


def test_client_context():
    context = client_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.get_ca_certs() == ssl.create_default_context().get_ca_certs()


def test_client_context_with_an_authority_of_its_own(pem):
    assert len(client_context(cafile=pem / "chain.pem").get_ca_certs(binary_form=True)) <= 1
    with pytest.raises(InputError, match=r"missing\.pem cannot be read: No such file"):
        client_context(cafile=pem / "missing.pem")
    with pytest.raises(TLSError, match=r"noise\.pem holds no certificate"):
        client_context(cafile=pem / "noise.pem")


@pytest.mark.parametrize(
    ("certfile", "keyfile", "password"),
    [("chain.pem", "key.pem", None), ("both.pem", None, None), ("chain.pem", "locked.pem", "sesame")],
)
def test_server_context(pem, certfile, keyfile, password):
    context = server_context(pem / certfile, keyfile and pem / keyfile, password=password)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE
    assert context.options & ssl.OP_NO_COMPRESSION


@pytest.mark.parametrize(
    ("certfile", "keyfile", "password", "kind", "problem"),
    [
        ("missing.pem", None, None, InputError, r"missing\.pem cannot be read: No such file"),
        ("chain.pem", "missing.pem", None, InputError, r"missing\.pem cannot be read"),
        ("chain.pem", None, None, TLSError, "does not hold both .*keyfile="),
        ("chain.pem", "other-key.pem", None, TLSError, "key does not belong to the certificate"),
        ("noise.pem", "key.pem", None, TLSError, "not PEM"),
        ("chain.pem", "locked.pem", None, TLSError, r"locked\.pem is encrypted .*give its password"),
        ("chain.pem", "locked.pem", "TOPSECRET", TLSError, "the password is wrong"),
    ],
)
def test_server_context_that_cannot_be(pem, certfile, keyfile, password, kind, problem):
    with pytest.raises(kind, match=problem) as caught:
        server_context(pem / certfile, keyfile and pem / keyfile, password=password)
    assert "SECRET" not in str(caught.value)


def verification_error(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] it failed (_ssl.c:1006)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (verification_error(62, "Hostname mismatch"), TLSError, "issued for another name"),
        (verification_error(64, "IP address mismatch"), TLSError, "issued for another name"),
        (verification_error(18, "self-signed certificate"), TLSError, "signed by itself .*cafile="),
        (verification_error(20, "unable to get local issuer"), TLSError, r"not trusted here .*cafile="),
        (verification_error(10, "certificate has expired"), TLSError, "has expired .*renewed"),
        (verification_error(23, "certificate revoked"), TLSError, "certificate revoked"),
        (verification_error(1, ""), TLSError, "it was not accepted"),
        (tls_error("WRONG_VERSION_NUMBER"), TLSError, "does not speak TLS on this port .*starttls"),
        (tls_error("UNSUPPORTED_PROTOCOL"), TLSError, "no version of TLS .*1.2"),
        (tls_error("TLSV1_ALERT_UNKNOWN_CA"), TLSError, "did not accept the certificate of this side"),
        (tls_error("NO_SHARED_CIPHER"), TLSError, "no cipher in common"),
        (tls_error("BAD_SIGNATURE"), TLSError, "failed: bad signature"),
        (ConnectionLost(), ConnectionLost, "closed the connection during"),
        (ConnectionResetError(104, "reset"), ConnectionLost, "closed the connection during"),
        (ValueError("odd name"), TLSError, "failed: odd name"),
    ],
)
def test_what_a_handshake_failed_of(error, kind, text):
    translated = handshake_error(error, "mail.example.com")
    assert type(translated) is kind
    with pytest.raises(kind, match=text):
        raise translated
    assert "mail.example.com" in str(translated)
    assert str(translated).startswith("tls: ")
    assert translated.cure
    assert "the peer" in str(handshake_error(error, ""))


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ssl.SSLEOFError(8, "EOF"), ConnectionLost, "closed the connection without ending TLS"),
        (
            tls_error("UNEXPECTED_EOF_WHILE_READING"),
            ConnectionLost,
            "closed the connection without ending TLS",
        ),
        (
            tls_error("SSLV3_ALERT_BAD_RECORD_MAC"),
            ConnectionLost,
            "broke TLS off: .*bad record mac .*its log",
        ),
        (tls_error("DECRYPTION_FAILED_OR_BAD_RECORD_MAC"), ConnectionLost, "TLS with .* broke: .*a firewall"),
        (ssl.SSLError("odd"), ConnectionLost, "TLS with .* broke: .*odd"),
        (tls_error("TLSV13_ALERT_CERTIFICATE_REQUIRED"), TLSError, "did not accept the certificate of this"),
    ],
)
def test_how_tls_ended(error, kind, text):
    translated = tls_lost(error, "mail.example.com")
    assert type(translated) is kind
    with pytest.raises(kind, match=text):
        raise translated
    assert translated.is_transient is (kind is ConnectionLost)
    assert "mail.example.com" in str(translated)
    assert "the peer" in str(tls_lost(error, ""))


def test_a_name_is_needed_where_it_is_checked():
    context = ssl.create_default_context()
    require_server_hostname(context, "localhost", False)
    require_server_hostname(context, None, True)
    for name in (None, ""):
        with pytest.raises(InputError, match=r"tls: .*pass server_hostname="):
            require_server_hostname(context, name, False)
    context.check_hostname = False
    require_server_hostname(context, None, False)
