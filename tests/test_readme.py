"""Every code block of the README runs, as it stands there, against real servers."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import asyncmail

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```python\n(.*?)^```", README, re.M | re.S))

RUN = {
    "asyncio": "asyncio.run(main())",
    "uvloop": "import uvloop; uvloop.run(main())",
    "trio": "import trio; trio.run(main)",
}
on_each_runtime = pytest.mark.parametrize("runtime", RUN)


class OpenMaildrops(asyncmail.InMemoryMaildrops):
    async def authenticate(self, attempt):
        return attempt.username if attempt.verify("secret") else None


class Servers:
    """An SMTP server whose mail its POP3 server serves, as `asyncmail serve` does."""

    def __init__(self):
        self.maildrops = OpenMaildrops({})
        self.received = 0
        self.begun = asyncio.Event()
        self.seconds = 0  # that each message takes
        self.process = None  # that runs now
        self.smtp = asyncmail.SMTPServer(self)
        self.pop3 = asyncmail.POP3Server(self.maildrops)

    async def deliver(self, transaction):
        await asyncio.sleep(self.seconds)
        self.received += 1
        self.begun.set()
        for recipient in transaction.recipients:
            self.maildrops.deliver(recipient.partition("@")[0], transaction.content)

    def code(self, title, runtime="asyncio"):
        """The block under a heading, with the ports of these servers in it."""
        return (
            BLOCKS[title]
            .replace("localhost:2525", f"127.0.0.1:{self.smtp.port}")
            .replace("localhost:1110", f"127.0.0.1:{self.pop3.port}")
            .replace("asyncio.run(main())", RUN[runtime])
        )

    async def run(self, title, directory, runtime):
        """Run a block as a program; return what it prints."""
        self.process = process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", self.code(title, runtime), cwd=directory,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        return output.decode()


@pytest.fixture
async def servers():
    made = Servers()
    async with made.smtp, made.pop3:
        yield made


def test_every_block_is_tested():
    assert set(BLOCKS) == {
        "One message",
        "In a web service",
        "A bulk-send script",
        "Retrieving many maildrops",
        "One session",
        "Embedding a server in a test",
        "URLs, TLS and credentials",
    }
    assert README.count("```python") == len(BLOCKS)


def test_examples_are_short():
    lines = {title: sum(bool(line) for line in code.splitlines()) for title, code in BLOCKS.items()}
    assert max(lines.values()) <= 18, lines


@on_each_runtime
async def test_one_message(servers, tmp_path, runtime):
    output = await servers.run("One message", tmp_path, runtime)
    assert output == "".join(
        f"{name}@example.com accepted 250 2.6.0 Message accepted\n" for name in ("bob", "carol")
    )
    (content,) = servers.maildrops.contents("carol")
    assert b'filename="numbers.csv"' in content


async def test_web_service(servers):
    names = {}
    exec(compile(servers.code("In a web service"), "README", "exec"), names)
    app = names["app"]
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        for not_one in ({}, {"to": "nobody"}, {"to": "ann@example.com, eve@example.com"}):
            response = await client.post("/reset", params=not_one)
            assert response.status_code == 400
        response = await client.post("/reset", params={"to": "ann@example.com"})
    assert response.json() == {"ann@example.com": "accepted"}
    assert b"To: ann@example.com\r\n" in servers.maildrops.contents("ann")[0]


@on_each_runtime
async def test_bulk_send(servers, tmp_path, runtime):
    for _ in range(2):  # of which the second has nothing left to do
        assert await servers.run("A bulk-send script", tmp_path, runtime) == ""
    assert b"Your code is 999." in servers.maildrops.contents("user999")[0]
    assert [len(servers.maildrops.contents(f"user{n}")) for n in range(1000)] == [1] * 1000


@on_each_runtime
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
async def test_bulk_send_interrupted(servers, tmp_path, runtime, ending):
    servers.seconds = 0.01
    asking = asyncio.create_task(servers.run("A bulk-send script", tmp_path, runtime))
    await servers.begun.wait()
    servers.process.send_signal(ending)
    assert await asking == ""
    assert servers.received < 1000
    servers.seconds = 0
    assert await servers.run("A bulk-send script", tmp_path, runtime) == ""
    assert [len(servers.maildrops.contents(f"user{n}")) for n in range(1000)] == [1] * 1000


@on_each_runtime
async def test_retrieving(servers, tmp_path, runtime):
    for n in range(50):
        servers.maildrops.deliver(f"user{n}", b"Subject: %d\r\n\r\nHello\r\n" % n)
    output = await servers.run("Retrieving many maildrops", tmp_path, runtime)
    assert sorted(output.splitlines()) == sorted(
        f"user{n}@127.0.0.1:{servers.pop3.port} 1 new " for n in range(50)
    )
    assert len(list(tmp_path.glob("got/*/new/*"))) == 50
    assert servers.maildrops.contents("user7") == []


@on_each_runtime
async def test_one_session(servers, tmp_path, runtime):
    output = await servers.run("One session", tmp_path, runtime)
    assert "How are you?" in output


async def shell(command, directory):
    process = await asyncio.create_subprocess_shell(command, cwd=directory, stderr=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0


async def test_trusting_a_certificate(tmp_path, program):
    program("openssl")
    make, serve, get = re.findall(r"^(?:openssl|asyncmail serve --tls) ?.*$", README, re.M)
    await shell(make, tmp_path)
    with pytest.raises(AssertionError):
        await shell(get.replace(":2525", ":1"), tmp_path)
    assert not (tmp_path / "certificate.pem").exists()
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *serve.split(), "--smtp-port", "0", "--pop3-port", "0"),
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        port = ""
        while not port:
            port = "".join(re.findall(r"SMTP +\S+:(\d+)", (await server.stdout.readline()).decode()))
        await shell(get.replace(":2525", f":{port}"), tmp_path)
        code = BLOCKS["URLs, TLS and credentials"].replace(":2525", f":{port}")
        for program in (code, code.replace("# trusted", "trusted")):
            done = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=tmp_path)
            assert await done.wait() == 0
    finally:
        server.terminate()
        await server.communicate()
    assert len(list(tmp_path.glob("mail/b/new/*"))) == 2


async def test_embedding(servers):
    names = {}
    exec(compile(BLOCKS["Embedding a server in a test"], "README", "exec"), names)
    await names["test_refusal"]()


def test_the_command_line_of_the_table_exists():
    commands = re.findall(r"^\| `asyncmail (\w+)", README, re.M)
    assert commands
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "asyncmail", command, "--help"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_relative_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists()
