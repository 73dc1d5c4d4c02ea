from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.address import Address
from asyncmail.address.lists import ParsedMailbox, parse_mailbox, parse_mailboxes
from asyncmail.errors import AddressSyntaxError

ONE = [
    ("user@example.com", ("", "user", "example.com")),
    (" user@example.com\t", ("", "user", "example.com")),
    ("<user@example.com>", ("", "user", "example.com")),
    ("Jane Doe <user@example.com>", ("Jane Doe", "user", "example.com")),
    ("Jane   Doe<user@example.com>", ("Jane Doe", "user", "example.com")),
    ('"Doe, Jane" <user@example.com>', ("Doe, Jane", "user", "example.com")),
    ('"Jane" Q. "Doe"<user@example.com>', ("Jane Q. Doe", "user", "example.com")),
    ('"" <user@example.com>', ("", "user", "example.com")),
    (r'"a\\b\"c\	d" <user@example.com>', (r'a\b"c d', "user", "example.com")),
    ("Jörg <jörg@bücher.example>", ("Jörg", "jörg", "bücher.example")),
    ("=?utf-8?q?J=C3=B6?= =?utf-8?q?rg?= Doe <u@d>", ("Jörg Doe", "u", "d")),
    ("=?utf-8?q?a=0D=0ABcc=3A?= <u@d>", ("a  Bcc:", "u", "d")),
    ("=?utf-8?q?J.R.?= <u@d>", ("J.R.", "u", "d")),
    ('"john doe"@example.com', ("", "john doe", "example.com")),
    ('"a".b."c d"@example.com', ("", "a.b.c d", "example.com")),
    ("user@[192.0.2.1] (x)", ("x", "user", "[192.0.2.1]")),
    # comments and folding, RFC 5322 appendix A.5
    (
        "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
        ("Pete", "pete", "silly.test"),
    ),
    ("user@example.com (Jane Doe)", ("Jane Doe", "user", "example.com")),
    ("(Jane) user@example.com (Doe)", ("Jane Doe", "user", "example.com")),
    ("user@example.com (Jane (J) \\(D\\) Doe)", ("Jane (J) (D) Doe", "user", "example.com")),
    ("user@example.com (=?utf-8?q?J=C3=B6rg?=\r\n\tDoe)", ("Jörg Doe", "user", "example.com")),
    ("<user@example.com> (Jane Doe)", ("Jane Doe", "user", "example.com")),
    ("user@example.com ()", ("", "user", "example.com")),
    ("Jane\r\n Doe\n\t<user@example.com>\r\n ", ("Jane Doe", "user", "example.com")),
    ('"Jane\r\n Doe" <user@example.com>', ("Jane Doe", "user", "example.com")),
    # obsolete forms, RFC 5322 §4.4 and appendix A.6
    ("<@node.test:user@example.com>", ("", "user", "example.com")),
    ("X < @a.test , @b.test :user@example.com>", ("X", "user", "example.com")),
    ("X <,@a.test:user@example.com>", ("X", "user", "example.com")),
    ("john . doe @ example . com", ("", "john.doe", "example.com")),
    ('john. "d"(c).e@ (c) example(c).(c)com', ("c c c c", "john.d.e", "example.com")),
    ("Joe Q. Public <u@d>", ("Joe Q. Public", "u", "d")),
]

MANY = [
    ("", []),
    (" ,; ,", []),
    ("a@b", ["a@b"]),
    ("a@b, c@d; e@f", ["a@b", "c@d", "e@f"]),
    (",a@b,,(nothing),c@d,", ["a@b", "c@d"]),
    ('"x, y" <a@b>,"z;"@d', ['"x, y" <a@b>', '"z;"@d']),
    ("Undisclosed recipients:;", []),
    ("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", []),
    ("A Group:Ed <a@b>,c@d,John <e@f>;", ["Ed <a@b>", "c@d", "John <e@f>"]),
    ('"A: b": a@b;, B: c@d; e@f', ["a@b", "c@d", "e@f"]),
    ("(x), a@b (y), (z)", ["y <a@b>"]),
    ("G(x): a@b;", ["a@b"]),
]

BAD = [
    ("user", 4, "no @"),
    ("Jane Doe", 8, "no @"),
    ("Jane <>", 6, "no @"),
    ("Jane <user>", 10, "no @"),
    ("(user@example.com) x", 20, "no @"),
    ("Jane Doe user@example.com", 0, "several words"),
    ('"a" "b"@c', 0, "several words"),
    ("@example.com", 0, "local part is empty"),
    ('""@example.com', 0, "local part is empty"),
    (".a@b", 0, "several words"),
    ("a..b@c", 0, "several words"),
    ("a . . b@c", 0, "several words"),
    ('X <"a\tb"@c>', 3, "not printable"),
    ("a@", 2, "the domain is empty"),
    ("a@ (x)", 6, "the domain is empty"),
    ("a@b.", 4, "empty label"),
    ("a@b .", 4, "empty label"),
    ("a@b. (c) ", 4, "empty label"),
    ("a@-b", 2, "hyphen"),
    ("a@[1.2.3]", 2, "address literal"),
    ("a@[1.2.3.4", 2, "address literal"),
    (f"{'a' * 65}@b", None, "65 octets"),
    ("<a@b", 4, "no >"),
    ("<a@b c>", 5, "no >"),
    ("<@a@b>", 1, "source route"),
    ('"a', 0, "quoted string"),
    ('"a\r\nBcc: x" <a@b>', 0, "quoted string"),
    ('x "a\x00" <a@b>', 2, "quoted string"),
    ("a@b (c", 4, "comment"),
    ("a@b (c(d)", 4, "comment"),
    ("a@b (\x07)", 4, "comment"),
]

BAD_LISTS = [
    ("a@b c@d", 4, "no comma"),
    ("a@b <a@b>", 4, "no comma"),
    ("a@b\r\nBcc: x@y", 3, "no comma"),
    ("a@b\r\n", 3, "no comma"),
    ("a@b)", 3, "no comma"),
    (", ) ", 2, "no @"),
    ("a: b: c@d;;", 4, "group within a group"),
    ("a@b, x: c@d", 5, "does not end"),
    ("mailto:a@b", 0, "does not end"),
    (": a@b;", 0, "no @"),
    ("Doe, Jane <a@b>", 3, "no @"),
]


@pytest.mark.parametrize(("text", "parts"), ONE)
def test_one_address(text: str, parts: tuple[str, str, str]) -> None:
    assert parse_mailbox(text) == ParsedMailbox(*parts)
    assert list(parse_mailboxes(text)) == [ParsedMailbox(*parts)]
    assert list(parse_mailboxes(f"{text},{text};g:{text};")) == [ParsedMailbox(*parts)] * 3


@pytest.mark.parametrize(("text", "expected"), MANY)
def test_lists(text: str, expected: list[str]) -> None:
    assert list(map(str, Address.parse_list(text))) == expected


@pytest.mark.parametrize(("text", "position", "problem"), BAD)
def test_what_is_no_address_is_refused_with_place_and_cure(
    text: str, position: int | None, problem: str
) -> None:
    for parse in (Address.parse, Address.parse_list):
        with pytest.raises(AddressSyntaxError, match=problem) as caught:
            parse(text)
        error = caught.value
        assert (error.address, error.position) == (text, position)
        assert error.cure
        assert str(error).isprintable()


@pytest.mark.parametrize(("text", "position", "problem"), BAD_LISTS)
def test_what_is_no_list_is_refused(text: str, position: int | None, problem: str) -> None:
    with pytest.raises(AddressSyntaxError, match=problem) as caught:
        Address.parse_list(text)
    assert (caught.value.address, caught.value.position) == (text, position)


@pytest.mark.parametrize(
    ("text", "position"), [("a@b, c@d", 3), ("a@b,", 3), ("a@b c", 4), ("g: a@b;", 1), ("", 0)]
)
def test_one_address_is_not_a_list(text: str, position: int | None) -> None:
    with pytest.raises(AddressSyntaxError) as caught:
        Address.parse(text)
    assert caught.value.position == position


pieces = st.sampled_from(
    ["a", "b.c", ".", "@", "<", ">", ",", ";", ":", '"', '"q s"', "(", ")", "(c)", "\\", "[", "]", "[192.0.2.1]",
     " ", "\t", "\r\n ", "\n\t", "\r\n", "ü", "=?utf-8?q?=0D?=", "\x00", "\ud800", "<@r:"]
)  # fmt: skip


@given(st.text() | st.lists(pieces, max_size=24).map("".join))
def test_any_text_is_addresses_or_an_error(text: str) -> None:
    try:
        found = Address.parse_list(text)
    except AddressSyntaxError as error:
        assert error.position is None or 0 <= error.position <= len(text)
        with pytest.raises(AddressSyntaxError):
            Address.parse(text)
    else:
        assert Address.parse_list(", ".join(map(str, found))) == found


@pytest.mark.parametrize(
    "text",
    [
        "(" * 40_000,
        "(" * 40_000 + ")" * 40_000 + "a",
        '"' + "\\a" * 40_000,
        "a:" * 40_000,
        "g:;" * 40_000 + "a",
        "a " * 40_000,
        "a@b" + " ." * 40_000,
        "a" + " . a" * 40_000,
        "<" * 40_000,
        "<" + "@a," * 40_000,
        "=?utf-8?q?" * 40_000,
        "=?a?q?b?= " * 40_000,
        "a@b(" * 40_000,
        "\r\n " * 40_000,
        "a@[" + "x" * 40_000,
    ],
)
def test_hostile_length_costs_nothing_special(text: str) -> None:
    with pytest.raises(AddressSyntaxError):
        Address.parse(text)
    if not text.strip() or text.endswith(";a"):
        return
    with pytest.raises(AddressSyntaxError):
        Address.parse_list(text)
