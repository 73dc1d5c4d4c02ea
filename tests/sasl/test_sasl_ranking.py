from __future__ import annotations

import pytest

from asyncmail.errors import InputError, MechanismUnavailable
from asyncmail.sasl import Credentials, choose, server_mechanisms

TIM = Credentials(username="tim", password="secret")
KURT_AS_URSEL = Credentials(username="Kurt", password="xipj3plmq", authorization_id="Ursel")
EVERY = ["LOGIN", "CRAM-MD5", "PLAIN"]


@pytest.mark.parametrize(
    ("offered", "encrypted", "allowed", "chosen"),
    [
        (EVERY, True, None, ["PLAIN", "LOGIN", "CRAM-MD5"]),
        (EVERY, False, None, ["CRAM-MD5", "PLAIN", "LOGIN"]),
        (["login", "Cram-MD5", "NTLM"], True, None, ["LOGIN", "CRAM-MD5"]),
        (EVERY, False, ["login", "PLAIN"], ["PLAIN", "LOGIN"]),
        (EVERY, True, ["CRAM-MD5"], ["CRAM-MD5"]),
        (["PLAIN", "PLAIN"], True, EVERY, ["PLAIN"]),
    ],
)
def test_the_order(offered: list[str], encrypted: bool, allowed: list[str] | None, chosen: list[str]) -> None:
    mechanisms = choose(iter(offered), TIM, encrypted=encrypted, allowed=allowed)
    assert [mechanism.name for mechanism in mechanisms] == chosen


def test_each_choice_is_a_new_exchange() -> None:
    (first,), (second,) = (choose(["PLAIN"], TIM, encrypted=True) for _ in range(2))
    assert first is not second


@pytest.mark.parametrize(
    ("offered", "allowed", "problem"),
    [
        ([], None, "the server offers none, the client can use PLAIN LOGIN CRAM-MD5"),
        (["NTLM", "GSSAPI"], None, "the server offers NTLM GSSAPI"),
        (["PLAIN"], ["cram-md5"], "the server offers PLAIN, the client can use CRAM-MD5"),
        (["PLAIN"], [], "the client can use none"),
    ],
)
def test_nothing_in_common(offered: list[str], allowed: list[str] | None, problem: str) -> None:
    with pytest.raises(MechanismUnavailable, match=problem):
        choose(offered, TIM, encrypted=True, allowed=allowed)


def test_only_plain_carries_an_authorization_identity() -> None:
    mechanisms = choose(EVERY, KURT_AS_URSEL, encrypted=False)
    assert [mechanism.name for mechanism in mechanisms] == ["PLAIN"]
    with pytest.raises(MechanismUnavailable, match="authorization identity"):
        choose(["LOGIN", "CRAM-MD5"], KURT_AS_URSEL, encrypted=True)


@pytest.mark.parametrize("names", [["PLAIN", "PLIAN"], ["a\r\nb"]])
def test_a_misspelt_name_is_not_overlooked(names: list[str]) -> None:
    with pytest.raises(InputError, match="is not a known mechanism"):
        choose(EVERY, TIM, encrypted=True, allowed=names)
    with pytest.raises(InputError, match="is not a known mechanism"):
        server_mechanisms(encrypted=True, allowed=names)


@pytest.mark.parametrize(
    ("encrypted", "allowed", "offers"),
    [
        (True, None, ["PLAIN", "LOGIN", "CRAM-MD5"]),
        (False, None, ["CRAM-MD5"]),
        (True, ["LOGIN", "plain"], ["PLAIN", "LOGIN"]),
        (False, ["LOGIN", "plain"], []),
        (True, [], []),
    ],
)
def test_what_a_server_offers(encrypted: bool, allowed: list[str] | None, offers: list[str]) -> None:
    mechanisms = server_mechanisms(encrypted=encrypted, allowed=allowed)
    assert list(mechanisms) == offers
    assert [mechanism.name for mechanism in mechanisms.values()] == offers
