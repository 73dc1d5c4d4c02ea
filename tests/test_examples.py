"""The example programs run as their docstrings say."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

import asyncmail

EXAMPLES = Path(__file__).parents[1] / "examples"


class Recorder:
    def __init__(self):
        self.received = []

    async def rcpt(self, transaction, recipient):
        if recipient.startswith("refused"):
            return asyncmail.Reply(550, "No such user", "5.1.1")

    async def deliver(self, transaction):
        self.received.append(transaction)


async def run(name, *arguments):
    """Run an example; return its exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / f"{name}.py"),
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


@pytest.fixture
async def recorder():
    recorder = Recorder()
    async with asyncmail.SMTPServer(recorder) as server:
        recorder.server = f"smtp://127.0.0.1:{server.port}"
        recorder.port = server.port
        yield recorder


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_examples_are_short_and_tested(path):
    assert path.read_text(encoding="utf-8").count("\n") <= 80
    assert f"test_{path.stem}" in globals()


async def test_web_service(recorder, monkeypatch):
    monkeypatch.setenv("MAIL_SERVER", recorder.server)
    spec = importlib.util.spec_from_file_location("web_service", EXAMPLES / "web_service.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    async with (
        module.app.router.lifespan_context(module.app),
        httpx.AsyncClient(transport=httpx.ASGITransport(module.app), base_url="http://localhost") as client,
    ):
        answers = [
            (await client.post("/reset", params={"to": to})).status_code
            for to in (
                *("ann@example.com", "no address", "refused@example.com"),
                *("ann@example.com, eve@example.com", "Us: ann@example.com, eve@example.com;"),
            )
        ]
        answers.append((await client.post("/reset")).status_code)
    assert answers == [200, 400, 502, 400, 400, 400]
    assert [each.recipients for each in recorder.received] == [["ann@example.com"]]
    assert b"https://example.com/reset/" in recorder.received[0].content


async def test_bulk_send(recorder, tmp_path):
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(pem)
    rows = "".join(f"user{n}@example.com,User {n}\n" for n in range(20))
    (tmp_path / "people.csv").write_text(f"\ufeffemail,name\n{rows}refused@example.com,Nobody\n")
    status, output = await run("bulk_send", recorder.server, tmp_path / "people.csv", tmp_path / "key.pem")
    assert status == 1
    assert output == "refused@example.com: refused 550 5.1.1 No such user\n"
    assert len(recorder.received) == 20
    first = next(each for each in recorder.received if each.recipients == ["user3@example.com"])
    assert first.sender == "bounces+user3=example.com@example.com"
    assert first.message["Subject"] == "User 3, here is what is new"
    assert "DKIM-Signature" in first.message


async def test_fetch_maildrops(tmp_path):
    maildrops = asyncmail.InMemoryMaildrops({"ann": "secret", "bob": "secret"})
    maildrops.deliver("ann", b"Subject: Hi\r\n\r\nHello\r\n")
    async with asyncmail.POP3Server(maildrops) as server:
        urls = [f"pop3://{user}@127.0.0.1:{server.port}" for user in ("ann:secret", "bob:wrong")]
        status, output = await run("fetch_maildrops", tmp_path / "mail", *urls)
        assert status == 1
        assert f"ann@127.0.0.1:{server.port}: 1 new of 1, 22 octets\n" in output
        assert "ann: Hi\n" in output
        status, output = await run("fetch_maildrops", tmp_path / "mail", urls[0])
        assert status == 0
        assert "0 new of 1" in output


async def test_sansio_client(recorder):
    status, output = await run("sansio_client", "127.0.0.1", recorder.port)
    assert status == 0, output
    assert recorder.received[0].content.endswith(b".. and dots are taken care of\r\n")
    assert "sent     MAIL FROM:<a@example.com>\n" in output


async def test_embedded_server():
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLES / "embedded_server.py"), "0", stdout=asyncio.subprocess.PIPE
    )
    try:
        port = int((await process.stdout.readline()).rsplit(b" ", 1)[1])
        outcome = await asyncmail.send(
            b"Subject: It is broken\r\n\r\n",
            server=f"smtp://127.0.0.1:{port}",
            sender="ann@example.com",
            recipients=["ticket-17@example.com", "ann@example.com"],
        )
        assert [each.address for each in outcome.refused] == ["ann@example.com"]
        assert await process.stdout.readline() == b"ticket 17: It is broken from ann@example.com\n"
    finally:
        process.terminate()
        await process.wait()
