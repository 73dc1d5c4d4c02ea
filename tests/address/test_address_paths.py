from __future__ import annotations

import string
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncmail.address import check_forward_path, check_reverse_path, parse_forward_path, parse_reverse_path
from asyncmail.errors import AddressSyntaxError, Stage

Check = Callable[..., str]
Parse = Callable[[str], tuple[str, str]]

CHECKS = pytest.mark.parametrize("check", [check_reverse_path, check_forward_path])
PARSERS = pytest.mark.parametrize("parse", [parse_reverse_path, parse_forward_path])

LABEL_63 = "a" * 63
LONGEST_DOMAIN = ".".join([LABEL_63] * 2 + ["b" * 61])  # 189: with a local part of 64 and @, 254

GOOD = [
    "user@example.com",
    "a@b",
    "root@localhost",
    "first.last+tag=x@mail.some-host.example",
    "!#$%&'*+-/=?^_`{|}~@example.com",
    "-dash@example.com",
    "user@under_score._tcp.example",
    "user@1.2.3.4",
    "user@a--b.example",
    "user@xn--bcher-kva.example",
    '"john doe"@example.com',
    r'"a\"b\\c@d>"@example.com',
    '"a..b"@example.com',
    "user@[192.0.2.1]",
    "user@[IPv6:2001:db8::1]",
    "user@[ipv6:::ffff:192.0.2.1]",
    "user@[tag:any!thing]",
    f"{'x' * 64}@{LONGEST_DOMAIN}",
    f'"{"x" * 62}"@example.com',
    f"user@{LABEL_63}",
]

BAD = [
    # text, position, words of the problem
    ("user", 4, "no @"),
    ("@example.com", 0, "no local part"),
    (".user@example.com", 0, "no local part"),
    ("<user@example.com>", 0, "no local part"),
    ("us er@example.com", 2, "no @"),
    ("user.@example.com", 4, "no @"),
    ("us..er@example.com", 2, "no @"),
    ("us(er@example.com", 2, "no @"),
    ("us\r\ner@example.com", 2, "no @"),
    ("us\x00er@example.com", 2, "no @"),
    ("us\x7fer@example.com", 2, "no @"),
    ("us\x85er@example.com", 2, "no @"),
    ("us\u2028er@example.com", 2, "no @"),
    ("us\ud800er@example.com", 2, "no @"),
    ('""@example.com', 0, "empty"),
    ('"user@example.com', 0, "not closed"),
    ('"us\ter"@example.com', 0, "not printable"),
    ('"user"x@example.com', 6, "no @"),
    ("user@", 5, "the domain is empty"),
    ("user@ example.com", 5, "the domain is empty"),
    ("user@@example.com", 5, "the domain is empty"),
    ("user@.example.com", 5, "empty label"),
    ("user@example.com.", 17, "empty label"),
    ("user@a..example", 7, "empty label"),
    ("user@-a.example", 5, "hyphen"),
    ("user@b.a-.example", 7, "hyphen"),
    ("user@b.-", 7, "hyphen"),
    (f"user@b.a{LABEL_63}", 7, "longer than 63"),
    (f"user@{LABEL_63}a.b", 5, "longer than 63"),
    (f"user@{'a.' * 127}ab", 5, "longer than 255"),
    ("user@example.com\n", 16, "more text"),
    ("user@example.com>", 16, "more text"),
    ("user@example.com SIZE=1", 16, "more text"),
    ("user@example.com,b@example.com", 16, "more text"),
    ("user@[192.0.2.256]", 5, "address literal"),
    ("user@[192.0.2]", 5, "address literal"),
    ("user@[192.0.2.11", 5, "address literal"),
    ("user@[", 5, "address literal"),
    ("user@[]", 5, "address literal"),
    ("user@[::1]", 5, "address literal"),
    ("user@[IPv6:fe80::1%eth0]", 5, "address literal"),
    ("user@[IPv6:1::2::3]", 5, "address literal"),
    ("user@[IPv6:]", 5, "address literal"),
    ("user@[-:x]", 5, "address literal"),
    ("user@[tag:]", 5, "address literal"),
    ("user@[a b:c]", 5, "address literal"),
    ("user@[192.0.2.1]x", 16, "more text"),
    ("user@bücher\uff20evil.example", 5, "internationalised"),
    ("user@example\uff20evil.example", 5, "a character that none has"),
    ("user@i❤.example", 5, "internationalised"),
    ("user@\u00ad", 5, "the domain is empty"),
    (f"user@{'ü' * 60}.example", 5, "internationalised"),
    (f"user@{'.'.join(['ü' * 30] * 7)}", 5, "longer than 255 octets in ASCII"),
    (f"{'x' * 65}@example.com", None, "65 octets, more than 64"),
    (f'"{"x" * 63}"@example.com', None, "65 octets, more than 64"),
    (f"{'x' * 64}@{LONGEST_DOMAIN}b", None, "255 octets, more than 254"),
    (f"user@{'a.' * 124}ab", None, "255 octets, more than 254"),
]


@CHECKS
@pytest.mark.parametrize("text", GOOD)
def test_a_mailbox_passes_unchanged(check: Check, text: str) -> None:
    assert check(text) == check(text, smtputf8=True) == text


@PARSERS
@pytest.mark.parametrize("text", GOOD)
@pytest.mark.parametrize("rest", ["", " SIZE=100 BODY=8BITMIME" + " X" * 40, ">", "<"])
def test_a_path_is_parsed_as_it_was_written(parse: Parse, text: str, rest: str) -> None:
    assert parse(f"<{text}>{rest}") == (text, rest)


@CHECKS
@pytest.mark.parametrize(("text", "position", "problem"), BAD)
def test_what_is_no_mailbox_is_refused_with_place_and_cure(
    check: Check, text: str, position: int | None, problem: str
) -> None:
    with pytest.raises(AddressSyntaxError, match=problem) as caught:
        check(text, smtputf8=True)
    error = caught.value
    assert (error.address, error.position, error.stage) == (text, position, Stage.INPUT)
    assert error.cure
    assert str(error).isprintable()


@PARSERS
@pytest.mark.parametrize(("text", "position", "problem"), BAD)
def test_no_server_takes_it_either(parse: Parse, text: str, position: int | None, problem: str) -> None:
    if problem == "more text":
        problem, text = "no > after", text.replace(">", " ")
    with pytest.raises(AddressSyntaxError, match=problem) as caught:
        parse(f"<{text}>")
    assert caught.value.position == (position if position is None else position + 1)


@PARSERS
@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("a@b", 0),
        (" <a@b>", 0),
        ("<", 1),
        ("<a@b", 4),
        ("< a@b>", 1),
        ("<a@b >", 4),
        ("<@a,@b>", 1),
        ("<@:a@b>", 1),
    ],
)
def test_no_path(parse: Parse, text: str, position: int | None) -> None:
    with pytest.raises(AddressSyntaxError) as caught:
        parse(text)
    assert caught.value.position == position


@PARSERS
@pytest.mark.parametrize("route", ["@a:", "@relay.example,@b_c.example:", "@a,@b,@c.example:"])
def test_a_source_route_is_ignored(parse: Parse, route: str) -> None:
    assert parse(f"<{route}user@example.com> X=1") == ("user@example.com", " X=1")


def test_the_null_path_is_a_reverse_path_only() -> None:
    assert check_reverse_path("") == ""
    assert parse_reverse_path("<> BODY=7BIT") == ("", " BODY=7BIT")
    with pytest.raises(AddressSyntaxError):
        check_forward_path("")
    with pytest.raises(AddressSyntaxError):
        parse_forward_path("<>")


@pytest.mark.parametrize("name", ["Postmaster", "postmaster", "POSTMASTER"])
def test_postmaster_is_a_forward_path_only(name: str) -> None:
    assert check_forward_path(name) == name
    assert parse_forward_path(f"<{name}> NOTIFY=NEVER") == (name, " NOTIFY=NEVER")
    with pytest.raises(AddressSyntaxError):
        check_reverse_path(name)
    with pytest.raises(AddressSyntaxError):
        parse_reverse_path(f"<{name}>")
    with pytest.raises(AddressSyntaxError):
        check_forward_path(name + "s")


@CHECKS
@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("user@bücher.example", "user@xn--bcher-kva.example"),
        ("user@BÜCHER.Example", "user@xn--bcher-kva.example"),
        ("user@_x.bücher.example", "user@_x.xn--bcher-kva.example"),
        ("user@例え。テスト", "user@xn--r8jz45g.xn--zckzah"),
        ('"u v"@straße.example', '"u v"@xn--strae-oqa.example'),
    ],
)
def test_a_domain_beyond_ascii_needs_no_smtputf8(check: Check, text: str, path: str) -> None:
    assert check(text) == check(text, smtputf8=True) == path


@CHECKS
@pytest.mark.parametrize(
    "text", ["jörg@example.com", "jörg@bücher.example", '"jörg x"@example.com', f"{'é' * 32}@a"]
)
def test_a_local_part_beyond_ascii_needs_smtputf8(check: Check, text: str) -> None:
    assert check(text, smtputf8=True) == text
    with pytest.raises(AddressSyntaxError, match="not ASCII") as caught:
        check(text)
    assert "SMTPUTF8" in caught.value.cure


@CHECKS
def test_lengths_are_octets(check: Check) -> None:
    with pytest.raises(AddressSyntaxError, match="66 octets"):
        check(f"{'é' * 33}@a", smtputf8=True)
    # The longer form of the domain counts: either may be sent.
    with pytest.raises(AddressSyntaxError, match="more than 254"):
        check(f"{'é' * 32}@{'a' * 60}.{'a' * 60}.{'ü' * 40}.{'a' * 20}", smtputf8=True)


@PARSERS
def test_a_server_reads_utf_8(parse: Parse) -> None:
    assert parse("<jörg@bücher.example> SMTPUTF8") == ("jörg@bücher.example", " SMTPUTF8")


atext = string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~"
local_parts = st.lists(st.text(atext, min_size=1, max_size=20), min_size=1, max_size=3).map(".".join)
labels = st.from_regex(r"[a-zA-Z0-9_](?:[a-zA-Z0-9_-]{0,20}[a-zA-Z0-9_])?", fullmatch=True)
domains = st.lists(labels, min_size=1, max_size=4).map(".".join)


@given(local_parts, domains, st.text())
def test_every_dot_atom_goes_both_ways(local_part: str, domain: str, rest: str) -> None:
    text = f"{local_part}@{domain}"
    assert check_forward_path(text) == check_reverse_path(text) == text
    assert parse_forward_path(f"<{text}>{rest}") == parse_reverse_path(f"<{text}>{rest}") == (text, rest)


@given(
    st.text()
    | st.text('ab."@<>[]\\ :,-ü\r\n\0', max_size=12).map("{}@x".format)
    | st.from_regex(r"[^@]{1,5}@[^@]{1,9}")
)
@example("a@b\n")
@example("\ud800@a")
def test_what_passes_fits_between_angle_brackets_and_is_read_back(text: str) -> None:
    for check, parse in ((check_reverse_path, parse_reverse_path), (check_forward_path, parse_forward_path)):
        try:
            path = check(text, smtputf8=True)
        except AddressSyntaxError as error:
            assert error.position is None or 0 <= error.position <= len(text)
            continue
        assert len(path.encode()) <= 254
        assert not any(c in path for c in "\r\n\0")
        assert parse(f"<{path}> A=B") == (path, " A=B")
        assert check(path, smtputf8=True) == path


def test_hostile_length_costs_nothing_special() -> None:
    for text in (
        "a." * 60_000,
        "a@" + "a-" * 60_000,
        '"' + "\\a" * 60_000,
        "<" + "@a," * 60_000,
        "ü@" + "ü" * 60_000,
    ):
        for function in (check_reverse_path, check_forward_path, parse_reverse_path, parse_forward_path):
            with pytest.raises(AddressSyntaxError):
                function(text)
