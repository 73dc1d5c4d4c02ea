"""The fixtures that other projects' test suites get."""

from __future__ import annotations

pytest_plugins = ["pytester"]

SUITE = """
import poplib, smtplib
import asyncmail
import pytest


def test_synchronous(asyncmail_smtp):
    with smtplib.SMTP("127.0.0.1", asyncmail_smtp.port) as client:
        client.sendmail("a@example.com", ["b@example.com"], "Subject: Hi\\r\\n\\r\\nHello\\r\\n")
    [received] = asyncmail_smtp.wait_for(1)
    assert received.recipients == ["b@example.com"]
    assert received.message["Subject"] == "Hi"


def test_too_few(asyncmail_smtp):
    with pytest.raises(AssertionError, match="0 of 1 messages"):
        asyncmail_smtp.wait_for(1, seconds=0.01)


async def test_asynchronous(asyncmail_smtp):
    outcome = await asyncmail.send(
        b"Subject: Hi\\r\\n\\r\\n", server=asyncmail_smtp.url, sender="a@example.com", recipients=["b@example.com"]
    )
    assert outcome.ok


def test_maildrops(asyncmail_pop3):
    asyncmail_pop3.maildrops.deliver("ann", b"Subject: Hi\\r\\n\\r\\nHello\\r\\n")
    client = poplib.POP3("127.0.0.1", asyncmail_pop3.port)
    client.user("ann")
    client.pass_("secret")
    assert client.stat()[0] == 1
    client.quit()


def test_wrong_password(asyncmail_pop3):
    client = poplib.POP3("127.0.0.1", asyncmail_pop3.port)
    client.user("ann")
    with pytest.raises(poplib.error_proto):
        client.pass_("wrong")
    client.quit()


async def test_url(asyncmail_pop3):
    async with asyncmail.POP3Client(asyncmail_pop3.url_of("ann")) as session:
        assert (await session.stat()).count == 0
"""


def test_fixtures(pytester):
    pytester.makepyfile(SUITE)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    result = pytester.runpytest_inprocess("-p", "asyncmail.pytest_plugin", "-p", "no:asyncmail")
    result.assert_outcomes(passed=6)
