"""SMTPClient: TLS and AUTH, with servers that cannot or will not, and with attackers."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncmail import SMTPClient, SMTPServer, SMTPTimeouts
from asyncmail.errors import (
    AuthenticationError,
    CleartextCredentialsRefused,
    CommandRefused,
    ConnectionLost,
    InputError,
    MailTimeout,
    MechanismUnavailable,
    PlaintextAfterStartTLS,
    RemoteProtocolError,
    Stage,
    TLSError,
    TLSRequired,
)
from asyncmail.net import connect, memory_stream_pair
from net.runtimes import eventually, on_each_runtime
from scripted import EXTENSIONS, Do, Talk, cut_at, scripted

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from asyncmail.server import ReceivedTransaction
    from peers import Authority
    from scripted import React

BOTH = ("asyncio", "trio")
STARTTLS = (*EXTENSIONS, "STARTTLS")


async def ignore(transaction: ReceivedTransaction) -> None:
    pass


def starting_tls(context: ssl.SSLContext, **answers: Any) -> React:
    """Begin TLS when asked to; then `answers` by verb."""

    async def react(talk: Talk, line: str) -> Any:
        if line == "STARTTLS":
            await talk.say("220 go ahead")
            await talk.start_tls(context)
            talk.server.extensions = EXTENSIONS
            return Do.NOTHING
        return answers.get(line.partition(" ")[0].upper())

    return react


def b64(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


# --- TLS


@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls", "smtps"])
@on_each_runtime
async def test_tls(scheme: str, authority: Authority) -> None:
    server = SMTPServer(ignore, tls_context=authority.server_context(), implicit_tls=scheme == "smtps")
    async with server:
        url = f"{scheme}://localhost:{server.port}"
        async with SMTPClient(url, tls_context=authority.client_context()) as client:
            assert client.tls is not None
            assert client.tls.getpeercert()
            assert "STARTTLS" not in client.extensions
            assert (await client.send(b"\r\n", sender="a@example.com", recipients=["b@example.com"])).ok


@on_each_runtime(runtimes=BOTH)
async def test_ehlo_is_said_again(authority: Authority) -> None:
    """What was learned in the clear does not count."""
    async with scripted(starting_tls(authority.server_context()), extensions=STARTTLS) as server:
        async with SMTPClient(server.url, tls_context=authority.client_context()) as client:
            assert "STARTTLS" not in client.extensions
        [talk] = server.talks
        assert [line.split()[0] for line in talk.lines] == ["EHLO", "STARTTLS", "EHLO", "QUIT"]


@on_each_runtime(runtimes=BOTH)
async def test_starttls_where_it_is_not_offered() -> None:
    """Somebody in between may have taken it out of the answer to EHLO."""
    async with scripted() as server:
        async with SMTPClient(server.url) as client:
            assert client.tls is None
        with pytest.raises(TLSRequired, match="does not offer STARTTLS"):
            async with SMTPClient(server.url.replace("smtp:", "smtp+starttls:")):
                pass
        assert [line[:4] for line in server.talks[1].lines] == ["EHLO"]


@on_each_runtime(runtimes=BOTH)
async def test_starttls_refused() -> None:
    async with scripted(
        lambda talk, line: "454 not now" if line == "STARTTLS" else None, extensions=STARTTLS
    ) as server:
        async with SMTPClient(server.url) as client:
            assert client.tls is None
            assert (await client.noop()).code == 250
        with pytest.raises(CommandRefused, match="STARTTLS was refused: 454 not now") as caught:
            async with SMTPClient(server.url.replace("smtp:", "smtp+starttls:")):
                pass
        assert caught.value.stage is Stage.TLS


@pytest.mark.parametrize("injected", ["250 injected", "250-injected", "25"])
@on_each_runtime
async def test_plaintext_behind_starttls(injected: str, authority: Authority) -> None:
    async def react(talk: Talk, line: str) -> Do | None:
        if line == "STARTTLS":
            await talk.say(f"220 go ahead\r\n{injected}")
            return Do.MUTE
        return None

    for scheme in ("smtp", "smtp+starttls"):
        async with scripted(react, extensions=STARTTLS) as server:
            with pytest.raises(PlaintextAfterStartTLS):
                async with SMTPClient(
                    server.url.replace("smtp:", f"{scheme}:"), tls_context=authority.client_context()
                ):
                    pass
            await eventually(lambda server=server: not server.open)


@pytest.mark.parametrize(
    ("reaction", "error"),
    [
        ([Do.CLOSE], ConnectionLost),
        (["220 go ahead", Do.CLOSE], ConnectionLost),
        (["220 go ahead", Do.RESET], ConnectionLost),
        (["220 go ahead", Do.HANG], MailTimeout),
        ([Do.HANG], MailTimeout),
        (["what?"], RemoteProtocolError),
    ],
)
@on_each_runtime(runtimes=BOTH)
async def test_no_handshake(reaction: Any, error: type[Exception], authority: Authority) -> None:
    async with scripted(
        lambda talk, line: reaction if line == "STARTTLS" else None, extensions=STARTTLS
    ) as server:
        with pytest.raises(error) as caught:
            async with SMTPClient(server.url, timeouts=0.05, tls_context=authority.client_context()):
                pass
        assert caught.value.stage is Stage.TLS  # type: ignore[attr-defined]


@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls", "smtps"])
@on_each_runtime(runtimes=BOTH)
async def test_certificates(scheme: str, authority: Authority) -> None:
    """An unknown authority, or another host's name: nothing is sent."""
    other = authority.server_context(authority.issue("elsewhere.example"))
    for context in (authority.server_context(), other):
        server = SMTPServer(ignore, tls_context=context, implicit_tls=scheme == "smtps")
        async with server:
            options: dict[str, Any] = (
                {} if context is not other else {"tls_context": authority.client_context()}
            )
            with pytest.raises(TLSError, match="certificate") as caught:
                async with SMTPClient(f"{scheme}://localhost:{server.port}", **options):
                    pass
            assert not caught.value.is_transient


@on_each_runtime(runtimes=BOTH)
async def test_the_wrong_kind_of_tls(authority: Authority) -> None:
    context = authority.client_context()
    async with SMTPServer(ignore) as server:
        with pytest.raises(TLSError, match="does not speak TLS on this port"):
            async with SMTPClient(f"smtps://localhost:{server.port}", tls_context=context, timeouts=1):
                pass
    async with SMTPServer(ignore, tls_context=authority.server_context(), implicit_tls=True) as server:
        with pytest.raises(MailTimeout, match=r"greeting.* use smtps://"):
            async with SMTPClient(f"smtp://localhost:{server.port}", timeouts=SMTPTimeouts(greeting=0.05)):
                pass


@on_each_runtime
async def test_tls_over_a_stream_of_the_callers_own(authority: Authority) -> None:
    """The URL says what is to be spoken, whoever made the connection."""
    context = authority.client_context()
    async with SMTPServer(ignore, tls_context=authority.server_context(), implicit_tls=True) as server:
        stream = await connect(f"smtp://127.0.0.1:{server.port}")
        async with SMTPClient("smtps://localhost", stream=stream, tls_context=context) as client:
            assert client.tls is not None
        encrypted = await connect(f"smtps://127.0.0.1:{server.port}", tls_context=context)
        async with SMTPClient("smtps://localhost", stream=encrypted) as client:
            assert client.tls is encrypted.tls
        encrypted = await connect(f"smtps://127.0.0.1:{server.port}", tls_context=context)
        async with SMTPClient("smtp+starttls://localhost", stream=encrypted) as client:
            assert client.tls is encrypted.tls


@on_each_runtime(runtimes=BOTH)
async def test_no_handshake_on_a_stream_of_the_callers_own(authority: Authority) -> None:
    ours, theirs = memory_stream_pair()
    with pytest.raises(MailTimeout, match="TLS handshake"):
        async with SMTPClient(
            "smtps://localhost", stream=ours, timeouts=0.05, tls_context=authority.client_context()
        ):
            pass
    await theirs.aclose()
    await anyio.sleep(0.01)


@on_each_runtime(runtimes=BOTH)
async def test_starttls_on_a_socket_in_the_file_system(authority: Authority, tmp_path: Path) -> None:
    """There is nobody to hide from, and no certificate is for a path."""
    path = str(tmp_path / "lmtp")
    async with SMTPServer(ignore, path=path, lmtp=True, tls_context=authority.server_context()):
        async with SMTPClient(f"lmtp+unix://{path}") as client:
            assert "STARTTLS" in client.extensions
            assert client.tls is None


# --- AUTH


@on_each_runtime(runtimes=BOTH)
async def test_credentials_do_not_leave_this_machine_in_the_clear() -> None:
    """Only a loopback address is this machine; the stream tells, not the name in the URL."""

    async def converse(peer: str, **options: Any) -> list[bytes]:
        ours, theirs = memory_stream_pair(peer=peer)
        heard: list[bytes] = []

        async def serve() -> None:
            await theirs.send([b"220 hi\r\n"])
            while data := await theirs.receive():
                heard.append(data)
                if data.startswith(b"EHLO"):
                    await theirs.send([b"250-hi\r\n250 AUTH PLAIN\r\n"])
                elif data.startswith(b"QUIT"):
                    await theirs.send([b"221 bye\r\n"])
                else:
                    await theirs.send([b"235 yes\r\n"])

        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            try:
                async with SMTPClient("smtp://me:secret@localhost", stream=ours, **options):
                    pass
            finally:
                group.cancel_scope.cancel()
                await theirs.aclose()
        return heard

    for peer in ("192.0.2.1", "2001:db8::1", "", "localhost"):
        with pytest.raises((CleartextCredentialsRefused, ExceptionGroup)) as caught:
            await converse(peer)
        error = caught.value
        while isinstance(error, ExceptionGroup):
            [error] = error.exceptions
        assert isinstance(error, CleartextCredentialsRefused)
        assert "secret" not in str(error)
        heard = await converse(peer, allow_cleartext_credentials=True)
        assert any(line.startswith(b"AUTH PLAIN") for line in heard)
    for peer in ("127.0.0.1", "127.1.2.3", "::1", "unix"):
        heard = await converse(peer)
        assert any(line.startswith(b"AUTH PLAIN") for line in heard)


AUTH = (*EXTENSIONS, "AUTH PLAIN LOGIN CRAM-MD5")


def checking(password: str = "secret") -> Callable[[Talk, str], Awaitable[Any]]:
    """A server that knows one user."""

    async def react(talk: Talk, line: str) -> Any:
        verb, _, rest = line.partition(" ")
        if verb != "AUTH":
            return None
        mechanism, _, initial = rest.partition(" ")
        if mechanism == "PLAIN":
            return "235 yes" if initial == b64(f"\0me\0{password}") else "535 no"
        if mechanism == "LOGIN":
            await talk.say(f"334 {b64('Username:')}")
            user = await talk.line()
            await talk.say(f"334 {b64('Password:')}")
            return "235 yes" if (user, await talk.line()) == (b64("me"), b64(password)) else "535 no"
        return "504 not that"

    return react


@pytest.mark.parametrize("mechanisms", [("PLAIN",), ("LOGIN",), ("CRAM-MD5", "PLAIN"), ("login",), None])
@on_each_runtime(runtimes=BOTH)
async def test_mechanisms(mechanisms: tuple[str, ...] | None) -> None:
    """One that is not taken is no reason not to try the next."""
    async with scripted(checking(), extensions=AUTH) as server:
        url = server.url.replace("//", "//me:secret@")
        options: dict[str, Any] = {} if mechanisms is None else {"mechanisms": mechanisms}
        async with SMTPClient(url, **options) as client:
            assert (await client.noop()).code == 250
        async with SMTPClient(server.url, username="me", password="secret", **options):
            pass
        with pytest.raises(AuthenticationError, match="535 no") as caught:
            async with SMTPClient(url, password="wrong", **options):
                pass
        assert not caught.value.is_transient
        assert "wrong" not in str(caught.value)
        assert caught.value.stage is Stage.AUTHENTICATION


@pytest.mark.parametrize(
    ("refusal", "tried"),
    [
        # What is said of the mechanism: another one may do.
        ("500 what?", "PLAIN LOGIN"),
        ("504 5.5.4 not that", "PLAIN LOGIN"),
        ("534 5.7.9 too weak", "PLAIN LOGIN"),
        ("538 5.7.11 encrypt", "PLAIN LOGIN"),
        ("432 4.7.12 change over", "PLAIN LOGIN"),
        # What is said of the password, or of the account.
        ("535 5.7.8 wrong", "PLAIN"),
        ("535 wrong", "PLAIN"),
        ("525 5.7.13 disabled", "PLAIN"),
        ("554 go away", "PLAIN"),
        ("454 4.7.0 later", "PLAIN"),
    ],
)
@on_each_runtime(runtimes=BOTH)
async def test_what_is_tried_after_a_refusal(refusal: str, tried: str) -> None:
    async with scripted(
        lambda talk, line: refusal if line.startswith("AUTH") else None, extensions=AUTH
    ) as server:
        with pytest.raises(AuthenticationError, match=refusal[:3]):
            async with SMTPClient(
                server.url, username="me", password="secret", mechanisms=("LOGIN", "PLAIN")
            ):
                pass
        asked = [line.split()[1] for line in server.talks[0].lines if line.startswith("AUTH")]
        assert asked == tried.split()


@on_each_runtime(runtimes=BOTH)
async def test_a_refusal_before_the_password_was_seen() -> None:
    """It cannot be about the password, whatever the code says: Postfix has this for mechanisms that it lacks."""

    def react(talk: Talk, line: str) -> Any:
        if line.startswith("AUTH"):
            return "535 no mechanism available" if "CRAM-MD5" in line else "235 yes"
        return None

    async with scripted(react, extensions=AUTH) as server:
        async with SMTPClient(server.url, username="me", password="secret"):
            pass
        asked = [line.split()[1] for line in server.talks[0].lines if line.startswith("AUTH")]
        assert asked == ["CRAM-MD5", "PLAIN"]


@on_each_runtime(runtimes=BOTH)
async def test_a_digest_that_was_refused() -> None:
    """The server may not know the password itself; whoever knows that can say so."""

    async def react(talk: Talk, line: str) -> Any:
        if line.startswith("AUTH CRAM-MD5"):
            await talk.say(f"334 {b64('<1@h>')}")
            await talk.line()
            return "535 no"
        return None

    async with scripted(react, extensions=AUTH) as server:
        with pytest.raises(AuthenticationError, match="leave CRAM-MD5 out of mechanisms=") as caught:
            async with SMTPClient(server.url, username="me", password="secret"):
                pass
        assert caught.value.mechanism == "CRAM-MD5"
        assert len([line for line in server.talks[0].lines if line.startswith("AUTH")]) == 1


@on_each_runtime(runtimes=BOTH)
async def test_no_mechanism() -> None:
    async with scripted(extensions=(*EXTENSIONS, "AUTH GSSAPI")) as server:
        with pytest.raises(MechanismUnavailable, match="GSSAPI"):
            async with SMTPClient(server.url, username="me", password="secret"):
                pass
        server.extensions = EXTENSIONS
        with pytest.raises(MechanismUnavailable, match="does not offer authentication"):
            async with SMTPClient(server.url, username="me", password="secret"):
                pass
        server.extensions = AUTH
        with pytest.raises(InputError, match="not a known mechanism"):
            async with SMTPClient(server.url, username="me", password="secret", mechanisms=("XYZ",)):
                pass
        await eventually(lambda: not server.open)


@pytest.mark.parametrize(
    ("reaction", "error", "text", "transient"),
    [
        ("454 4.7.0 later", AuthenticationError, "454", True),
        ("535 no", AuthenticationError, "535", False),
        ("334 !!!", AuthenticationError, "", False),
        (["334 "] * 3, RemoteProtocolError, "", False),
        (Do.CLOSE, ConnectionLost, "unanswered: AUTH", True),
        (Do.HANG, MailTimeout, "", True),
    ],
)
@on_each_runtime(runtimes=BOTH)
async def test_exchanges_that_fail(reaction: Any, error: type[Exception], text: str, transient: bool) -> None:
    def react(talk: Talk, line: str) -> Any:
        if line == "*":
            return "501 given up"
        return reaction if line.startswith("AUTH") else None

    async with scripted(react, extensions=(*EXTENSIONS, "AUTH PLAIN")) as server:
        with pytest.raises((error, RemoteProtocolError), match=text or None) as caught:
            async with SMTPClient(server.url, username="me", password="secret", timeouts=0.2):
                pass
        assert caught.value.is_transient is transient  # type: ignore[attr-defined]
        assert caught.value.stage in (Stage.AUTHENTICATION, None)  # type: ignore[attr-defined]
        assert caught.value.stage or "nothing had asked for" in str(caught.value)  # type: ignore[attr-defined]
        await eventually(lambda: not server.open or reaction is Do.HANG)


@on_each_runtime(runtimes=BOTH)
async def test_a_challenge_that_makes_no_sense() -> None:
    """The exchange is given up in the way the protocol has for it."""

    async def react(talk: Talk, line: str) -> Any:
        if line.startswith("AUTH CRAM-MD5"):
            await talk.say("334 not base64!")
            assert await talk.line() == "*"
            return "501 given up"
        return None

    async with scripted(react, extensions=(*EXTENSIONS, "AUTH CRAM-MD5")) as server:
        with pytest.raises(AuthenticationError):
            async with SMTPClient(server.url, username="me", password="secret"):
                pass
        assert "*" in server.talks[0].lines


@on_each_runtime(runtimes=BOTH)
async def test_a_server_that_says_yes_too_early() -> None:
    """It proves nothing about the credentials, and perhaps wants to see the rest."""
    async with scripted(
        lambda talk, line: "235 yes" if line.startswith("AUTH") else None,
        extensions=(*EXTENSIONS, "AUTH CRAM-MD5"),
    ) as server:
        with pytest.raises(RemoteProtocolError, match="before it could know"):
            async with SMTPClient(server.url, username="me", password="secret"):
                pass


@on_each_runtime(runtimes=BOTH)
async def test_secrets_are_not_traced() -> None:
    lines: list[str] = []
    async with scripted(checking(), extensions=AUTH) as server:
        async with SMTPClient(
            server.url,
            username="me",
            password="secret",
            mechanisms=("LOGIN",),
            trace=lambda direction, line: lines.append(line),
        ):
            pass
    assert "AUTH LOGIN" in lines
    assert lines.count("****") == 2
    text = "\n".join(lines)
    assert b64("secret") not in text
    assert b64("me") not in text.split()


@on_each_runtime(runtimes=BOTH)
async def test_login_comes_after_tls(authority: Authority) -> None:
    async with scripted(
        starting_tls(authority.server_context(), AUTH="235 yes"), extensions=(*STARTTLS, "AUTH PLAIN")
    ) as server:
        react = server.react

        async def with_auth(talk: Talk, line: str) -> Any:
            reaction = await react(talk, line)  # type: ignore[misc]
            if line == "STARTTLS":
                server.extensions = AUTH
            return reaction

        server.react = with_auth
        async with SMTPClient(
            server.url, username="me", password="secret", tls_context=authority.client_context()
        ):
            pass
        verbs = [line.split()[0] for line in server.talks[0].lines]
        assert verbs == ["EHLO", "STARTTLS", "EHLO", "AUTH", "QUIT"]


@on_each_runtime
async def test_cancelled_at_every_await(authority: Authority) -> None:
    cut = 0
    was_cut = True
    context = authority.client_context()
    while was_cut:
        cut += 1
        async with scripted(
            starting_tls(authority.server_context()), extensions=(*STARTTLS, "AUTH PLAIN")
        ) as server:

            async def converse(server: Any = server) -> None:
                async with SMTPClient(server.url, tls_context=context) as client:
                    await client.noop()

            was_cut, _ = await cut_at(cut, converse)
            await eventually(lambda server=server: not server.open)
    assert cut > 5
