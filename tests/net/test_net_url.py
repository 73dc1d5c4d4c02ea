from __future__ import annotations

import contextlib
import dataclasses
import pickle
import traceback
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import URLError
from asyncmail.net import MailProtocol, ServerURL, TLSMode

P, T = MailProtocol, TLSMode

TABLE = [
    # URL, protocol, security, host, port, path, username, password
    ("smtp://mail.example.com", P.SMTP, T.OPPORTUNISTIC, "mail.example.com", 25, "", "", ""),
    ("smtp+starttls://mail.example.com", P.SMTP, T.REQUIRED, "mail.example.com", 587, "", "", ""),
    ("smtps://mail.example.com", P.SMTP, T.IMPLICIT, "mail.example.com", 465, "", "", ""),
    ("lmtp://mail.example.com", P.LMTP, T.OPPORTUNISTIC, "mail.example.com", 24, "", "", ""),
    ("lmtp+starttls://mail.example.com", P.LMTP, T.REQUIRED, "mail.example.com", 24, "", "", ""),
    ("lmtp+unix:///run/lmtp.sock", P.LMTP, T.OPPORTUNISTIC, "", 0, "/run/lmtp.sock", "", ""),
    ("lmtp+unix:///run/with%20space", P.LMTP, T.OPPORTUNISTIC, "", 0, "/run/with space", "", ""),
    ("lmtp+unix://u:p@/run/lmtp.sock", P.LMTP, T.OPPORTUNISTIC, "", 0, "/run/lmtp.sock", "u", "p"),
    ("pop3://mail.example.com", P.POP3, T.OPPORTUNISTIC, "mail.example.com", 110, "", "", ""),
    ("pop3+starttls://mail.example.com", P.POP3, T.REQUIRED, "mail.example.com", 110, "", "", ""),
    ("pop3s://mail.example.com", P.POP3, T.IMPLICIT, "mail.example.com", 995, "", "", ""),
    ("SMTP://Mail.Example.COM:2525", P.SMTP, T.OPPORTUNISTIC, "mail.example.com", 2525, "", "", ""),
    ("smtp://mail.example.com./", P.SMTP, T.OPPORTUNISTIC, "mail.example.com", 25, "", "", ""),
    ("smtp://bücher.example", P.SMTP, T.OPPORTUNISTIC, "xn--bcher-kva.example", 25, "", "", ""),
    ("smtp://[2001:DB8::1]", P.SMTP, T.OPPORTUNISTIC, "2001:db8::1", 25, "", "", ""),
    ("smtp://[::1]:2525", P.SMTP, T.OPPORTUNISTIC, "::1", 2525, "", "", ""),
    ("smtp://192.0.2.1:0025", P.SMTP, T.OPPORTUNISTIC, "192.0.2.1", 25, "", "", ""),
    ("smtp://user@host", P.SMTP, T.OPPORTUNISTIC, "host", 25, "", "user", ""),
    ("smtp://user:secret@host:587", P.SMTP, T.OPPORTUNISTIC, "host", 587, "", "user", "secret"),
    ("smtp://a%40b:p%3A%2F%25@host", P.SMTP, T.OPPORTUNISTIC, "host", 25, "", "a@b", "p:/%"),
    ("smtp://u:a:b@host", P.SMTP, T.OPPORTUNISTIC, "host", 25, "", "u", "a:b"),
    ("pop3s://j%C3%BCrgen:pa%C3%9F@host", P.POP3, T.IMPLICIT, "host", 995, "", "jürgen", "paß"),
]


@pytest.mark.parametrize(
    ("url", "protocol", "security", "host", "port", "path", "username", "password"),
    TABLE,
    ids=[row[0] for row in TABLE],
)
def test_parse(url, protocol, security, host, port, path, username, password):
    server = ServerURL.parse(url)
    assert server.protocol is protocol
    assert server.security is security
    assert (server.host, server.port, server.path) == (host, port, path)
    assert (server.username, server.password) == (username, password)
    assert pickle.loads(pickle.dumps(server)) == server
    without = dataclasses.replace(server, password="")
    assert ServerURL.parse(str(without)) == without


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "there is no scheme"),
        ("mail.example.com", "there is no scheme .*smtp://mail.example.com:25"),
        ("mail.example.com:25", "there is no scheme"),
        ("user:TOPSECRET@mail.example.com", "there is no scheme"),
        ("//mail.example.com", "there is no scheme"),
        ("TOP SECRET://host", "there is no scheme"),
        ("imap://user:TOPSECRET@host", "'imap' is not a scheme"),
        ("smtp://", "the host is missing"),
        ("smtp://user:TOPSECRET@", "the host is missing"),
        ("smtp://:25", "the host is missing"),
        ("smtp://user:TOPSECRET", "port is not a number .*credentials end with @"),
        ("smtp://host:", "port is not a number"),
        ("smtp://host:0", "port is not a number between 1 and 65535"),
        ("smtp://host:65536", "port is not a number"),
        ("smtp://host:25x", "port is not a number"),
        ("smtp://host:\u0662\u0665", "port is not a number"),
        ("smtp://host:" + "9" * 5000, "port is not a number"),
        ("smtp://::1", "write an IPv6 address in brackets"),
        ("smtp://[::1", "in brackets is malformed"),
        ("smtp://[::1]25", "in brackets is malformed"),
        ("smtp://[host]", "in brackets is malformed"),
        ("smtp://[::zz]", "neither a domain nor an IP address"),
        ("smtp://ho^st", "neither a domain nor an IP address"),
        ("smtp://a..b", "neither a domain nor an IP address"),
        ("smtp://-a", "neither a domain nor an IP address"),
        ("smtp://host/inbox", "nothing can follow the port"),
        ("smtp://host?timeout=3", r"\? or #"),
        ("smtp://host#x", r"\? or #"),
        ("smtp://user:TOP/SECRET@host", "slash stands before @"),
        ("smtp://user:TOP@SECRET@host", "@ twice"),
        ("smtp://user:TOP#SECRET@host", r"\? or #"),
        ("smtp://user:TOP SECRET@host", "space or control"),
        ("smtp://host\r\n", "space or control"),
        ("smtp://user:TOP%SECRET@host", "two hexadecimal digits"),
        ("smtp://user:TOPSECRET%FF@host", "cannot be UTF-8"),
        ("smtp://user:TOPSECRET\ud800@host", "cannot be UTF-8"),
        ("smtp://\ud800", "neither a domain"),
        ("smtp://user:TOPSECRET%0D%0A@host", "control character"),
        ("smtp://%00:TOPSECRET@host", "control character"),
        ("smtp://:TOPSECRET@host", "password and no username"),
        ("lmtp+unix://", "path of the socket is missing"),
        ("lmtp+unix://host/run/lmtp.sock", "no host or port .*lmtp.unix:///run/lmtp.sock"),
        ("lmtp+unix:///run/%00", "path of the socket"),
    ],
)
def test_malformed(url, problem):
    with pytest.raises(URLError, match=problem) as caught:
        ServerURL.parse(url)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "SECRET" not in shown
    assert "://" in str(caught.value) or "smtps" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"scheme": "smtp"}, "the host is missing"),
        ({"scheme": "gopher", "host": "host"}, "the scheme is not one"),
        ({"scheme": "smtp", "host": "host", "port": -1}, "between 1 and 65535"),
        ({"scheme": "smtp", "host": "host", "port": 65536}, "between 1 and 65535"),
        ({"scheme": "smtp", "host": "host", "path": "/x"}, "nothing can follow"),
        ({"scheme": "smtp", "host": "[::1]"}, "neither"),
        ({"scheme": "smtp", "host": "host:25"}, "neither"),
        ({"scheme": "lmtp+unix", "path": "x"}, "not absolute"),
        ({"scheme": "lmtp+unix", "path": "/x", "port": 1}, "no host or port"),
    ],
)
def test_construction_validates(values, problem):
    with pytest.raises(URLError, match=problem):
        ServerURL(**values)


def test_construction_fills_in_the_port():
    assert ServerURL(scheme="smtps", host="HOST") == ServerURL.parse("smtps://host:465")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://localhost", True),
        ("smtp://LOCALHOST", True),
        ("smtp://mail.localhost", True),
        ("smtp://127.0.0.1", True),
        ("smtp://127.1.2.3", True),
        ("smtp://[::1]", True),
        ("smtp://[::ffff:127.0.0.1]", True),
        ("lmtp+unix:///run/x", True),
        ("smtp://localhost.example.com", False),
        ("smtp://notlocalhost", False),
        ("smtp://192.168.0.1", False),
        ("smtp://0.0.0.0", False),
        ("smtp://[::ffff:192.0.2.1]", False),
        ("smtp://[fe80::1]", False),
    ],
)
def test_loopback(url, expected):
    assert ServerURL.parse(url).is_loopback is expected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("smtp://user:TOPSECRET@host", "smtp://user:***@host:25"),
        ("smtp://a%40b@[::1]:2525", "smtp://a%40b@[::1]:2525"),
        ("lmtp+unix:///run/a%20b", "lmtp+unix:///run/a%20b"),
        ("pop3s://host", "pop3s://host:995"),
    ],
)
def test_what_is_shown(url, shown):
    server = ServerURL.parse(url)
    assert str(server) == shown
    assert repr(server) == f"<ServerURL {shown}>"
    assert "SECRET" not in f"{server} {server!r} {[server]}"


@given(st.text(st.characters()))
def test_no_text_breaks_the_parser(text):
    for url in (text, f"smtp://{text}", f"lmtp+unix://{text}", f"pop3s://u:{text}@host"):
        with contextlib.suppress(URLError):
            ServerURL.parse(url)


printable = st.text(st.characters(exclude_categories=["Cc", "Cs"]))


@given(printable.filter(bool), printable)
def test_any_credentials_survive(username, password):
    server = ServerURL.parse(f"smtp://{quote(username, safe='')}:{quote(password, safe='')}@host")
    assert (server.username, server.password) == (username, password)
