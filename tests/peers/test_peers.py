"""The servers that other tests rely on, checked with the standard library's clients."""

from __future__ import annotations

import os
import poplib
import smtplib
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from peers import (
    Dovecot,
    Exim,
    Maildir,
    PeerFailed,
    Postfix,
    Sink,
    Unavailable,
    find_program,
    reserve_port,
    run_dovecot,
    run_postfix,
    run_smtp_sink,
    smtp_source,
    workspace,
)
from peers.process import HOST, listens, running, wait_until

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

SENDER = "sender@example.org"
CONTENT = "Subject: test\n\ntext\n.\n..dots\n"


def smtp(server: Postfix | Exim | Sink) -> smtplib.SMTP:
    client = smtplib.SMTP(server.host, server.port, timeout=30)
    client.ehlo()
    return client


# --- processes


def test_reserved_ports_are_free_and_of_ones_own() -> None:
    ports = [reserve_port() for _ in range(50)]
    assert len(set(ports)) == 50
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, ports[0]))
        listener.listen()


def test_a_program_that_is_not_installed() -> None:
    with pytest.raises(Unavailable, match="no-such-program is not installed"):
        find_program("no-such-program")


def test_a_server_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('out of order')"]
    with pytest.raises(PeerFailed, match="ended:\nout of order"):
        with running(command, log=tmp_path / "log", is_ready=lambda: False):
            raise AssertionError("it runs")


def test_a_server_ends_with_the_block(tmp_path: Path) -> None:
    port = reserve_port()
    command = [sys.executable, "-m", "http.server", "--bind", HOST, str(port)]
    with pytest.raises(KeyError), running(command, log=tmp_path / "log", is_ready=lambda: listens(port)):
        assert listens(port)
        raise KeyError
    assert not listens(port)


def test_a_maildir_keeps_the_order(tmp_path: Path) -> None:
    maildir = Maildir(path=tmp_path / "box").create()
    contents = [b"Delivered-To: a@example.com\r\n\r\n%d\r\n" % n for n in range(12)]
    assert maildir.add(contents) == contents
    assert maildir.contents() == [content.replace(b"\r\n", b"\n") for content in contents]
    assert len(maildir.delivered("a@example.com", expected=12)) == 12
    with pytest.raises(PeerFailed, match="0 of 1 messages for b"):
        maildir.delivered("b@example.com", timeout=0)


def test_a_workspace_can_be_entered_by_anybody() -> None:
    with workspace() as directory:
        assert directory.stat().st_mode & 0o777 == 0o755
    assert not directory.exists()


# --- smtp-sink and smtp-source


def test_sink_accepts(smtp_sink: Sink) -> None:
    with smtp(smtp_sink) as client:
        assert client.sendmail(SENDER, ["a@example.com", "b@example.com"], CONTENT) == {}


def test_sink_writes_down(smtp_sink: Sink) -> None:
    with run_smtp_sink(dump=True) as sink:
        with smtp(sink) as client:
            client.sendmail(SENDER, ["a@example.com"], CONTENT)
        (transaction,) = sink.transactions()
        assert b"X-Mail-Args: <sender@example.org>" in transaction
        assert b"\n.\n..dots\n" in transaction


def test_sink_with_options(smtp_sink: Sink) -> None:
    with run_smtp_sink("-L", "-r", "RCPT") as sink, smtplib.LMTP(sink.host, sink.port) as client:
        client.ehlo()
        client.mail(SENDER)
        assert client.rcpt("a@example.com")[0] == 450


def test_source_sends(smtp_sink: Sink) -> None:
    smtp_source(smtp_sink.port, "-d", sessions=2, messages=20, octets=100)


def test_source_reports_a_failure(smtp_sink: Sink) -> None:
    with run_smtp_sink("-f", "DATA") as sink, pytest.raises(PeerFailed, match="smtp-source"):
        smtp_source(sink.port)


# --- Postfix


def test_postfix_offers(postfix: Postfix) -> None:
    with smtp(postfix) as client:
        offers = {
            "pipelining",
            "size",
            "starttls",
            "8bitmime",
            "dsn",
            "smtputf8",
            "chunking",
            "enhancedstatuscodes",
        }
        assert offers <= set(client.esmtp_features)
        assert "auth" not in client.esmtp_features


def test_postfix_delivers(postfix: Postfix) -> None:
    recipients = [f"{name}.delivers@{postfix.domain}" for name in "ab"]
    with smtp(postfix) as client:
        client.sendmail(SENDER, recipients, CONTENT)
    for recipient in recipients:
        (message,) = postfix.maildir.delivered(recipient)
        assert message["Subject"] == "test"
        assert message.get_content() == "text\n.\n..dots\n"


def test_postfix_with_tls(postfix: Postfix, client_tls: ssl.SSLContext) -> None:
    with smtp(postfix) as client:
        client.starttls(context=client_tls)
        client.sendmail(SENDER, [f"starttls@{postfix.domain}"], CONTENT)
    with smtplib.SMTP_SSL(postfix.host, postfix.tls_port, context=client_tls) as client:
        client.sendmail(SENDER, [f"implicit@{postfix.domain}"], CONTENT)
    for name in ("starttls", "implicit"):
        (message,) = postfix.maildir.delivered(f"{name}@{postfix.domain}")
        assert "ESMTPS" in message["Received"]


@pytest.mark.parametrize(("name", "code"), [("refused.one", 550), ("deferred.one", 450)])
def test_postfix_refuses_recipients(postfix: Postfix, name: str, code: int) -> None:
    with smtp(postfix) as client, pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        client.sendmail(SENDER, [f"{name}@{postfix.domain}"], CONTENT)
    assert [answer for answer, _ in caught.value.recipients.values()] == [code]


def test_postfix_sends_nothing_elsewhere(postfix: Postfix) -> None:
    with smtp(postfix) as client, pytest.raises(smtplib.SMTPRecipientsRefused):
        client.sendmail(SENDER, ["a@example.net"], CONTENT)


def test_postfix_has_a_size_limit(postfix: Postfix) -> None:
    with smtp(postfix) as client:
        assert client.mail(SENDER, [f"SIZE={postfix.size_limit + 1}"])[0] == 552


def test_postfix_takes_utf8(postfix: Postfix) -> None:
    recipient = f"þórr@{postfix.domain}"
    with smtp(postfix) as client:
        client.sendmail(SENDER, [recipient], CONTENT.encode(), mail_options=["SMTPUTF8", "BODY=8BITMIME"])
    assert postfix.maildir.delivered(recipient)


def test_postfix_with_other_settings_and_passwords(dovecot: Dovecot) -> None:
    if os.geteuid() != 0:
        pytest.skip("Postfix can be started by root only")
    settings = {"smtpd_discard_ehlo_keywords": "chunking"}
    with run_postfix(auth_socket=dovecot.auth_socket, settings=settings) as server:
        with smtp(server) as client:
            assert "chunking" not in client.esmtp_features
            assert set(client.esmtp_features["auth"].split()) >= {"PLAIN", "LOGIN", "CRAM-MD5"}
            client.login("somebody", dovecot.password)
        with smtp(server) as client, pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("somebody", "wrong")
    assert not listens(server.port)


# --- Exim


def test_exim_offers(exim: Exim) -> None:
    with smtp(exim) as client:
        offers = {"pipelining", "size", "starttls", "8bitmime", "dsn", "smtputf8", "chunking", "prdr", "auth"}
        assert offers <= set(client.esmtp_features)


def test_exim_delivers(exim: Exim, client_tls: ssl.SSLContext) -> None:
    with smtp(exim) as client:
        client.starttls(context=client_tls)
        client.sendmail(SENDER, [f"starttls@{exim.domain}"], CONTENT)
    with smtplib.SMTP_SSL(exim.host, exim.tls_port, context=client_tls) as client:
        client.sendmail(SENDER, [f"implicit@{exim.domain}"], CONTENT)
    for name in ("starttls", "implicit"):
        (message,) = exim.maildir.delivered(f"{name}@{exim.domain}")
        assert "esmtps" in message["Received"]
        assert message.get_content() == "text\n.\n..dots\n"


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM_MD5"])
def test_exim_checks_passwords(exim: Exim, mechanism: str) -> None:
    with smtp(exim) as client:
        client.user, client.password = "somebody", exim.password
        respond = getattr(client, f"auth_{mechanism.lower()}")
        assert client.auth(mechanism.replace("_", "-"), respond)[0] == 235
    with smtp(exim) as client, pytest.raises(smtplib.SMTPAuthenticationError):
        client.login("somebody", "wrong")


@pytest.mark.parametrize(("name", "code"), [("refused.one", 550), ("deferred.one", 451)])
def test_exim_refuses_recipients(exim: Exim, name: str, code: int) -> None:
    with smtp(exim) as client, pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        client.sendmail(SENDER, [f"{name}@{exim.domain}"], CONTENT)
    assert [answer for answer, _ in caught.value.recipients.values()] == [code]


def test_exim_answers_for_each_recipient(exim: Exim) -> None:
    with smtp(exim) as client:
        client.mail(SENDER, ["PRDR"])
        client.rcpt(f"picky@{exim.domain}")
        client.rcpt(f"easy@{exim.domain}")
        assert client.data(CONTENT)[0] == 353
        assert [client.getreply()[0] for _ in range(3)] == [550, 250, 250]
    assert exim.maildir.delivered(f"easy@{exim.domain}")


# --- Dovecot


def test_dovecot_offers(dovecot: Dovecot) -> None:
    client = poplib.POP3(dovecot.host, dovecot.port)
    capabilities = client.capa()
    client.quit()
    assert {"TOP", "UIDL", "RESP-CODES", "PIPELINING", "STLS", "USER", "SASL"} <= set(capabilities)
    assert set(capabilities["SASL"]) >= {"PLAIN", "LOGIN", "CRAM-MD5"}


def test_dovecot_retrieves_what_was_put_in(dovecot: Dovecot) -> None:
    contents = dovecot.maildir("reader").add([b"Subject: one\n\n.dot\n", b"Subject: two\n\n8\xc3\xa9\n"])
    client = poplib.POP3(dovecot.host, dovecot.port)
    client.user("reader")
    client.pass_(dovecot.password)
    assert client.stat() == (2, sum(map(len, contents)))
    for number, content in enumerate(contents, 1):
        assert b"".join(line + b"\r\n" for line in client.retr(number)[1]) == content
    client.dele(1)
    client.quit()
    assert len(dovecot.maildir("reader").contents()) == 1


def test_dovecot_with_apop(dovecot: Dovecot) -> None:
    client = poplib.POP3(dovecot.host, dovecot.port)
    client.apop("digester", dovecot.password)
    client.quit()
    client = poplib.POP3(dovecot.host, dovecot.port)
    with pytest.raises(poplib.error_proto, match="AUTH"):
        client.apop("digester", "wrong")
    client.quit()


def test_dovecot_with_tls(dovecot: Dovecot, client_tls: ssl.SSLContext) -> None:
    client = poplib.POP3(dovecot.host, dovecot.port)
    client.stls(client_tls)
    client.user("stls")
    client.pass_(dovecot.password)
    client.quit()
    encrypted = poplib.POP3_SSL(dovecot.host, dovecot.tls_port, context=client_tls)
    encrypted.user("implicit")
    encrypted.pass_(dovecot.password)
    encrypted.quit()


def test_dovecot_without_tls(dovecot: Dovecot) -> None:
    with run_dovecot(tls=False) as server:
        client = poplib.POP3(server.host, server.port)
        assert "STLS" not in client.capa()
        client.user("plain")
        client.pass_(server.password)
        client.quit()


def test_dovecot_locks_a_maildrop(dovecot: Dovecot) -> None:
    # A second login would be refused with [IN-USE], after more than ten seconds that nothing can shorten.
    lock = dovecot.maildir("locked").path / "dovecot-pop3-session.lock"
    client = poplib.POP3(dovecot.host, dovecot.port)
    client.apop("locked", dovecot.password)
    assert lock.exists()
    client.quit()
    assert wait_until(lambda: not lock.exists(), 30)


def test_dovecot_takes_mail_by_lmtp(dovecot: Dovecot) -> None:
    if dovecot.lmtp_port is None:
        pytest.skip("LMTP is not installed")
    for place in ((dovecot.host, dovecot.lmtp_port), (str(dovecot.lmtp_socket), 0)):
        with smtplib.LMTP(*place) as client:
            client.sendmail(SENDER, ["here@example.com"], CONTENT)
    assert len(dovecot.maildir("here").delivered("here@example.com", expected=2)) == 2
