from __future__ import annotations

import dataclasses
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.address import Address, check_forward_path
from asyncmail.errors import AddressSyntaxError

printable = st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\u2028\u2029")
names = st.text(printable) | st.text(st.sampled_from('ab .",;:<>@()[]\\=?ü_'))
local_parts = st.text(printable, min_size=1, max_size=14) | st.text('ab."\\ @ü', min_size=1, max_size=14)
domains = st.sampled_from(
    [
        "example.com",
        "EXAMPLE.com",
        "a_b.example",
        "bücher.example",
        "localhost",
        "[192.0.2.1]",
        "[IPv6:2001:db8::1]",
    ]
)
addresses = st.builds(Address, local_part=local_parts, domain=domains, display_name=names)


@given(addresses)
def test_what_is_formatted_is_parsed_again(address: Address) -> None:
    for text in (str(address), address.format()):
        parsed = Address.parse(text)
        assert parsed == address
        assert dataclasses.astuple(parsed) == dataclasses.astuple(address)


@given(addresses)
def test_formatted_in_ascii_it_names_the_same_mailbox(address: Address) -> None:
    if address.needs_smtputf8:
        for action in (address.ascii_only, lambda: address.format(ascii_only=True)):
            with pytest.raises(AddressSyntaxError, match="not ASCII") as caught:
                action()
            assert "SMTPUTF8" in caught.value.cure
        return
    text = address.format(ascii_only=True)
    assert text.isascii()
    parsed = Address.parse(text)
    assert parsed == address == address.ascii_only()
    assert parsed.display_name == address.display_name == address.ascii_only().display_name
    assert parsed.domain == address.ascii_domain == address.ascii_only().domain


@given(addresses)
def test_every_address_can_be_sent_to(address: Address) -> None:
    path = check_forward_path(address.addr_spec, smtputf8=address.needs_smtputf8)
    assert Address.parse(path) == address
    assert len(path.encode()) <= 254


@given(st.lists(addresses))
def test_lists(many: list[Address]) -> None:
    for separator in (", ", ";", ",\r\n\t", ",,;(a comment)\n ,"):
        parsed = Address.parse_list(separator.join(map(str, many)))
        assert list(map(dataclasses.astuple, parsed)) == list(map(dataclasses.astuple, many))
    assert Address.parse_list(f"A group: {', '.join(map(str, many))};") == many


def test_fields_are_values() -> None:
    address = Address.parse(r'"A \"B\" C" <"d\ e"@Example.COM>')
    assert address == Address(display_name='A "B" C', local_part="d e", domain="Example.COM")
    assert address.display_name == 'A "B" C'
    assert address.addr_spec == '"d e"@Example.COM'
    assert str(address) == r'"A \"B\" C" <"d e"@Example.COM>'
    assert repr(address) == "Address(local_part='d e', domain='Example.COM', display_name='A \"B\" C')"
    assert Address.parse('"plain"@example.com').addr_spec == "plain@example.com"


@pytest.mark.parametrize(
    ("display_name", "text"),
    [
        ("", "a@b"),
        ("Jane Doe", "Jane Doe <a@b>"),
        ("Jörg Doe", "Jörg Doe <a@b>"),
        ("Jane Q. Doe", '"Jane Q. Doe" <a@b>'),
        ("Doe, Jane", '"Doe, Jane" <a@b>'),
        ("a  b", '"a  b" <a@b>'),
        (" ", '" " <a@b>'),
        ("evil <x@y>", '"evil <x@y>" <a@b>'),
        ("=?utf-8?q?a?=", '"=?utf-8?q?a?=" <a@b>'),
    ],
)
def test_display_names(display_name: str, text: str) -> None:
    assert str(Address(local_part="a", domain="b", display_name=display_name)) == text


def test_internationalised() -> None:
    address = Address(local_part="info", domain="Bücher.example", display_name="Jörg =?")
    assert str(address) == '"Jörg =?" <info@Bücher.example>'
    assert address.ascii_domain == "xn--bcher-kva.example"
    assert not address.needs_smtputf8
    assert address.format(ascii_only=True) == "=?utf-8?q?J=C3=B6rg_=3D=3F?= <info@xn--bcher-kva.example>"
    assert Address(local_part="jörg", domain="example.com").needs_smtputf8


def test_equality_is_that_of_mailboxes() -> None:
    address = Address(local_part="info", domain="bücher.example")
    for same in (
        "info@BÜCHER.example",
        "info@xn--bcher-kva.example",
        "X <info@XN--bcher-kva.EXAMPLE>",
        '"info"@bücher.example',
    ):
        assert Address.parse(same) == address
        assert hash(Address.parse(same)) == hash(address)
    for other in ("Info@bücher.example", "info@bucher.example"):
        assert Address.parse(other) != address
    assert address != "info@bücher.example"


def test_person_name() -> None:
    assert Address.parse("jane.doe@example.com").person_name == "Jane Doe"
    assert Address.parse("jane.doe@example.com (JD Roe)").person_name == "JD Roe"
    assert Address.parse("x@example.com").person_name == ""


def test_it_is_a_value() -> None:
    address = Address(local_part="a", domain="b", display_name="c")
    with pytest.raises(dataclasses.FrozenInstanceError):
        address.domain = "c"  # type: ignore[misc]
    assert not hasattr(address, "__dict__")
    copy = pickle.loads(pickle.dumps(address))
    assert dataclasses.astuple(copy) == dataclasses.astuple(address)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"local_part": ""}, "no local part"),
        ({"local_part": "a\tb"}, "the local part holds a control"),
        ({"local_part": "a\r\nRCPT TO:<x"}, "the local part holds a control"),
        ({"local_part": "a\ud800"}, "the local part holds a control"),
        ({"local_part": "x" * 65}, "65 octets"),
        ({"local_part": '"' * 32}, "66 octets"),
        ({"domain": ""}, "the domain is empty"),
        ({"domain": "b c"}, "a character that none has"),
        ({"domain": "b\r\n"}, "a character that none has"),
        ({"domain": "b>"}, "a character that none has"),
        ({"domain": "a." * 125 + "abc"}, "255 octets, more than 254"),
        ({"domain": "[192.0.2.1"}, "address literal"),
        ({"domain": "[a:\r\n]"}, "address literal"),
        ({"display_name": "a\r\nBcc: x"}, "the display name holds a control"),
        ({"display_name": "a\x00"}, "the display name holds a control"),
        ({"display_name": "a\u2028"}, "the display name holds a control"),
        ({"display_name": "a\udcff"}, "the display name holds a control"),
    ],
)
def test_it_cannot_be_built_invalid(fields: dict[str, str], problem: str) -> None:
    with pytest.raises(AddressSyntaxError, match=problem) as caught:
        Address(**{"local_part": "a", "domain": "b", **fields})
    assert caught.value.cure
    assert str(caught.value).isprintable()


@given(st.text(), st.text(), st.text())
def test_any_address_that_can_be_built_is_harmless(local_part: str, domain: str, display_name: str) -> None:
    try:
        address = Address(local_part=local_part, domain=domain, display_name=display_name)
    except AddressSyntaxError:
        return
    assert Address.parse(str(address)) == address
    assert len(str(address).splitlines()) == 1
