"""What STAT, LIST and UIDL answer, both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import RemoteProtocolError
from asyncmail.pop3 import (
    MaildropStatus,
    ScanListing,
    UniqueIdListing,
    encode_listing,
    parse_maildrop_status,
    parse_scan_listing,
    parse_scan_listings,
    parse_unique_id_listing,
    parse_unique_id_listings,
)

numbers = st.integers(1, 9_999_999_999)
unique_ids = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=70)


@given(st.lists(st.tuples(numbers, st.integers(0, 10**18 - 1))))
def test_scan_listings_encode_and_parse(pairs: list[tuple[int, int]]) -> None:
    listing = [ScanListing(*pair) for pair in pairs]
    parsed = parse_scan_listings(encode_listing(listing))
    assert parsed == listing
    assert parsed.malformed == ()


@given(st.lists(st.tuples(numbers, unique_ids)))
def test_unique_id_listings_encode_and_parse(pairs: list[tuple[int, str]]) -> None:
    listing = [UniqueIdListing(*pair) for pair in pairs]
    parsed = parse_unique_id_listings(encode_listing(listing))
    assert parsed == listing
    assert parsed.malformed == ()


def test_the_fields_have_names() -> None:
    (scan,) = parse_scan_listings(b"1 120\r\n")
    assert (scan.number, scan.octets) == (1, 120)
    (unique,) = parse_unique_id_listings(b"2 QhdPYR:00WBw1Ph7x7\r\n")
    assert (unique.number, unique.unique_id) == (2, "QhdPYR:00WBw1Ph7x7")


def test_lines_may_be_unusual() -> None:
    scan = parse_scan_listings(b"1 2\r\n 003\t4 and more\r\n")
    assert (scan, scan.malformed) == ([(1, 2), (3, 4)], ())
    unique_ids = parse_unique_id_listings(b"1 a\r\n\t02  b \r\n")
    assert (unique_ids, unique_ids.malformed) == ([(1, "a"), (2, "b")], ())


def test_a_malformed_scan_listing_does_not_lose_the_others() -> None:
    lines = b"1 120\r\n2\r\n3 two\r\n\r\n0 5\r\n4 200 more\r\n 05\t6 \r\n6 7\x1b\r\n7 8\n9 9\r\n10 11\r\n"
    listing = parse_scan_listings(lines)
    assert [item.number for item in listing] == [1, 4, 5, 10]
    assert listing.malformed == ("2", "3 two", "", "0 5", "6 7\\x1b", "7 8\\n9 9")


def test_a_malformed_unique_id_does_not_lose_the_others() -> None:
    listing = parse_unique_id_listings(b"1 abc\r\n2\r\n3 with blank\r\n4 \xe9\r\n5 " + b"x" * 99 + b" \r\n")
    assert listing == [(1, "abc"), (5, "x" * 99)]
    assert listing.malformed == ("2", "3 with blank", "4 \\xe9")


@given(st.binary(max_size=300))
def test_any_lines_can_be_read(lines: bytes) -> None:
    for parse in (parse_scan_listings, parse_unique_id_listings):
        listing = parse(lines + b"\r\n")
        assert len(listing) + len(listing.malformed) <= lines.count(b"\n") + 1


@pytest.mark.parametrize(
    ("text", "status"),
    [("2 320", MaildropStatus(2, 320)), ("0 0", MaildropStatus(0, 0)), ("1  2 x", MaildropStatus(1, 2))],
)
def test_maildrop_status(text: str, status: MaildropStatus) -> None:
    assert parse_maildrop_status(text) == status


def test_answers_about_one_message() -> None:
    assert parse_scan_listing("2 200") == (2, 200)
    assert parse_unique_id_listing("2 abc") == (2, "abc")


@pytest.mark.parametrize("text", ["", "2", "two 3", "2 x", "-1 5"])
@pytest.mark.parametrize("parse", [parse_maildrop_status, parse_scan_listing])
def test_a_malformed_answer_is_named(parse, text: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RemoteProtocolError) as caught:
        parse(text)
    assert repr(text) in str(caught.value)


def test_a_malformed_unique_id_is_named() -> None:
    with pytest.raises(RemoteProtocolError, match="not an answer to UIDL: '2'"):
        parse_unique_id_listing("2")
