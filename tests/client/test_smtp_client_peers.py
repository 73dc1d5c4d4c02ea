"""SMTPClient with real servers: aiosmtpd, smtp-sink, Postfix, Exim, Dovecot's LMTP."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import AuthResult

from asyncmail import SMTPClient
from asyncmail.errors import AuthenticationError, MailError, RecipientRefused
from asyncmail.smtp import Status
from net.runtimes import on_each_runtime
from peers import reserve_port, run_postfix, run_smtp_sink

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from aiosmtpd.smtp import SMTP, Envelope, Session

    from asyncmail import Outcome
    from peers import Authority, Dovecot, Exim, Postfix, Sink

BOTH = ("asyncio", "trio")
SENDER = "sender@example.org"
LINES = "text\n.\n..dots\n\nGrüße\n"
MESSAGE = b"Subject: hello\nContent-Type: text/plain; charset=utf-8\n\n" + LINES.encode()


async def send(client: SMTPClient, *recipients: str, content: bytes = MESSAGE) -> Outcome:
    return await client.send(content, sender=SENDER, recipients=recipients)


# --- aiosmtpd


class Keeper:
    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("refused"):
            return "550 5.1.1 No such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return "250 OK"


@contextmanager
def aiosmtpd(handler: object, **options: Any) -> Iterator[Controller]:
    controller = Controller(handler, hostname="127.0.0.1", port=reserve_port(), **options)
    controller.start()
    try:
        yield controller
    finally:
        controller.stop(no_assert=True)


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@on_each_runtime
async def test_aiosmtpd(keeper: Keeper) -> None:
    with aiosmtpd(keeper) as server:
        async with SMTPClient(f"smtp://127.0.0.1:{server.port}") as client:
            assert not client.extensions.pipelining
            for _ in range(3):
                outcome = await send(client, "a@example.com", "refused@example.com", "b@example.com")
                assert [each.status for each in outcome.recipients] == [
                    Status.ACCEPTED,
                    Status.REFUSED,
                    Status.ACCEPTED,
                ]
            assert (await send(client, "refused@example.com")).refused
            assert (await send(client, "c@example.com")).ok
            assert (await client.verify("a")).code == 252
    assert [envelope.rcpt_tos for envelope in keeper.envelopes] == [
        ["a@example.com", "b@example.com"]
    ] * 3 + [["c@example.com"]]
    assert keeper.envelopes[0].content == MESSAGE.replace(b"\n", b"\r\n")


@pytest.mark.filterwarnings("ignore")
@on_each_runtime(runtimes=BOTH)
async def test_aiosmtpd_with_tls_and_auth(keeper: Keeper, authority: Authority) -> None:
    def authenticate(
        server: object, session: object, envelope: object, mechanism: str, data: Any
    ) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"me", b"secret"), handled=False)

    with aiosmtpd(
        keeper,
        tls_context=authority.server_context(),
        require_starttls=True,
        authenticator=authenticate,
        auth_required=True,
    ) as server:
        context = authority.client_context()
        url = f"smtp+starttls://localhost:{server.port}"
        for mechanism in ("PLAIN", "LOGIN"):
            options: dict[str, Any] = {"tls_context": context, "mechanisms": (mechanism,), "username": "me"}
            async with SMTPClient(url, password="secret", **options) as client:
                assert client.tls is not None
                assert (await send(client, "a@example.com")).ok
            with pytest.raises(AuthenticationError):
                async with SMTPClient(url, password="wrong", **options):
                    pass
        await refuses_once(url, tls_context=context)


async def refuses_once(url: str, **options: Any) -> None:
    """A password that was judged is not shown again in another way: servers lock accounts."""
    lines: list[str] = []
    with pytest.raises(AuthenticationError, match="535") as caught:
        async with SMTPClient(
            url, username="me", password="wrong", trace=lambda _, line: lines.append(line), **options
        ):
            pass
    assert not caught.value.is_transient
    assert len([line for line in lines if line.startswith("AUTH ")]) == 1


@pytest.mark.filterwarnings("ignore")
@on_each_runtime(runtimes=BOTH)
async def test_aiosmtpd_as_lmtp(keeper: Keeper) -> None:
    class LMTPController(Controller):
        def factory(self) -> SMTP:
            return LMTP(self.handler)

    controller = LMTPController(keeper, hostname="127.0.0.1", port=reserve_port())
    controller.start()
    try:
        async with SMTPClient(f"lmtp://127.0.0.1:{controller.port}") as client:
            assert (await send(client, "a@example.com")).ok
    finally:
        controller.stop(no_assert=True)


# --- smtp-sink


@on_each_runtime
async def test_sink(smtp_sink: Sink) -> None:
    async with SMTPClient(f"smtp://127.0.0.1:{smtp_sink.port}") as client:
        for _ in range(20):
            assert (await send(client, "a@example.com", "b@example.com")).ok


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (("-r", "RCPT"), Status.DEFERRED),
        (("-f", "RCPT"), Status.REFUSED),
        (("-r", "MAIL"), Status.DEFERRED),
        (("-f", "DATA"), Status.REFUSED),
        (("-r", "."), Status.DEFERRED),
        (("-q", "."), Status.UNKNOWN),
        (("-q", "DATA"), Status.DEFERRED),
        (("-e", "-f", "."), Status.REFUSED),
    ],
)
@on_each_runtime(runtimes=BOTH)
async def test_sink_that_refuses(options: tuple[str, ...], status: Status) -> None:
    with run_smtp_sink(*options) as sink:
        async with SMTPClient(f"smtp://127.0.0.1:{sink.port}") as client:
            outcome = await send(client, "a@example.com")
            assert [each.status for each in outcome.recipients] == [status]
            with pytest.raises(MailError):
                outcome.raise_for_refusals()


@on_each_runtime(runtimes=BOTH)
async def test_sink_as_lmtp() -> None:
    with run_smtp_sink("-L") as sink:
        async with SMTPClient(f"lmtp://127.0.0.1:{sink.port}") as client:
            assert (await send(client, "a@example.com")).ok


# --- Postfix


@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls", "smtps"])
@on_each_runtime
async def test_postfix(scheme: str, postfix: Postfix, client_tls: ssl.SSLContext, runtime: str) -> None:
    port = postfix.tls_port if scheme == "smtps" else postfix.port
    name = f"client-{scheme.replace('+', '-')}-{runtime}"
    async with SMTPClient(f"{scheme}://127.0.0.1:{port}", tls_context=client_tls) as client:
        assert client.tls is not None
        outcome = await send(client, f"{name}@example.com", "refused.x@example.com", "deferred.x@example.com")
        assert [each.status.value for each in outcome.recipients] == ["accepted", "refused", "deferred"]
        with pytest.raises(RecipientRefused, match="No such user"):
            outcome.raise_for_refusals()
        assert (await client.verify("x@example.com")).code == 252
        # It counts the field that it adds.
        too_large = b"x" * (postfix.size_limit - 100) + b"\r\n"
        outcome = await send(client, f"{name}@example.com", content=too_large)
        assert [(each.status.value, each.stage.value) for each in outcome.recipients] == [
            ("refused", "content")
        ]
        assert (await send(client, f"{name}@example.com")).ok
    for message in postfix.maildir.delivered(f"{name}@example.com", expected=2):
        assert message.get_content() == LINES
        assert message["Return-Path"] == f"<{SENDER}>"


# --- Exim


@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls", "smtps"])
@on_each_runtime
async def test_exim(scheme: str, exim: Exim, client_tls: ssl.SSLContext, runtime: str) -> None:
    port = exim.tls_port if scheme == "smtps" else exim.port
    name = f"client-{scheme.replace('+', '-')}-{runtime}"
    url = f"{scheme}://me:{exim.password}@127.0.0.1:{port}"
    async with SMTPClient(url, tls_context=client_tls) as client:
        assert client.tls is not None
        outcome = await send(client, f"{name}@example.com", "refused.x@example.com", "deferred.x@example.com")
        assert [each.status.value for each in outcome.recipients] == ["accepted", "refused", "deferred"]
    [message] = exim.maildir.delivered(f"{name}@example.com")
    assert message.get_content() == LINES
    assert "esmtpsa" in message["Received"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@on_each_runtime(runtimes=BOTH)
async def test_exim_checks_passwords(mechanism: str, exim: Exim, client_tls: ssl.SSLContext) -> None:
    options: dict[str, Any] = {"tls_context": client_tls, "username": "me", "mechanisms": (mechanism,)}
    async with SMTPClient(f"smtp://127.0.0.1:{exim.port}", password=exim.password, **options) as client:
        assert (await client.noop()).code == 250
    with pytest.raises(AuthenticationError, match="535"):
        async with SMTPClient(f"smtp://127.0.0.1:{exim.port}", password="wrong", **options):
            pass
    # Without `mechanisms` too, where the server knows three.
    await refuses_once(f"smtp://127.0.0.1:{exim.port}", tls_context=client_tls)


@on_each_runtime(runtimes=BOTH)
async def test_postfix_checks_passwords_once(authority: Authority, dovecot: Dovecot) -> None:
    with run_postfix(authority, auth_socket=dovecot.auth_socket) as server:
        url = f"smtp://localhost:{server.port}"
        await refuses_once(url, tls_context=authority.client_context())


# --- Dovecot


@on_each_runtime
async def test_dovecot_by_lmtp(dovecot: Dovecot, runtime: str, client_tls: ssl.SSLContext) -> None:
    if dovecot.lmtp_port is None:
        pytest.skip("LMTP is not installed")
    user = f"lmtp-{runtime}"
    for url in (f"lmtp://127.0.0.1:{dovecot.lmtp_port}", f"lmtp+unix://{dovecot.lmtp_socket}"):
        async with SMTPClient(url, tls_context=client_tls) as client:
            outcome = await send(client, f"{user}@example.com", f"{user}2@example.com")
            assert outcome.ok, outcome
            assert len({each.reply for each in outcome.recipients}) == 2
    # It has answered, so they are there.
    for name in (user, f"{user}2"):
        assert len(dovecot.maildir(name).contents()) == 2


@on_each_runtime(runtimes=BOTH)
async def test_dovecot_on_a_socket_without_a_certificate_for_it(dovecot: Dovecot) -> None:
    """There is nobody to hide from, and no name that a certificate could have."""
    if dovecot.lmtp_port is None:
        pytest.skip("LMTP is not installed")
    async with SMTPClient(f"lmtp+unix://{dovecot.lmtp_socket}") as client:
        assert (await send(client, "socket@example.com")).ok
