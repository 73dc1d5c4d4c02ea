from __future__ import annotations

import pickle

import pytest

from asyncmail.errors import AuthenticationError
from asyncmail.sasl import PasswordAttempt, apop_attempt, apop_digest

TIMESTAMP = "<1896.697170952@dbc.mtview.ca.us>"


def password_attempt(**values: str) -> PasswordAttempt:
    return PasswordAttempt(**({"mechanism": "PLAIN", "username": "tim", "password": "secret"} | values))


def test_a_password() -> None:
    attempt = password_attempt()
    assert attempt.password == "secret"
    assert attempt.verify("secret")
    assert not attempt.verify("Secret")
    assert not attempt.verify("")
    assert password_attempt(password="pässwörd").verify("pässwörd")
    assert repr(attempt) == "PasswordAttempt(mechanism='PLAIN', username='tim', authorization_id='')"
    assert pickle.loads(pickle.dumps(attempt)) == attempt


def test_the_example_of_rfc_1939() -> None:
    attempt = apop_attempt(timestamp=TIMESTAMP, username="mrose", digest="c4c9334bac560ecc979e58001b3e22fb")
    assert attempt.password is None
    assert attempt.verify("tanstaaf")
    assert not attempt.verify("tanstaa")
    assert not attempt.verify("")
    assert repr(attempt) == "DigestAttempt(mechanism='APOP', username='mrose', authorization_id='')"
    assert pickle.loads(pickle.dumps(attempt)).verify("tanstaaf")


@pytest.mark.parametrize(
    "digest", ["", "c4c9", "C4C9334BAC560ECC979E58001B3E22FB", "g" * 32, "é" * 32, "0" * 33]
)
def test_not_a_digest(digest: str) -> None:
    with pytest.raises(AuthenticationError, match="APOP: the digest is not 32 hexadecimal digits"):
        apop_attempt(timestamp=TIMESTAMP, username="mrose", digest=digest)


def test_a_name_alone_is_no_attempt() -> None:
    digest = apop_digest(TIMESTAMP, "secret")
    with pytest.raises(AuthenticationError, match="username is empty"):
        apop_attempt(timestamp=TIMESTAMP, username="", digest=digest)
    with pytest.raises(AuthenticationError, match="control character"):
        apop_attempt(timestamp=TIMESTAMP, username="tim\n", digest=digest)
    with pytest.raises(AuthenticationError, match="control character"):
        password_attempt(authorization_id="admin\0")
    with pytest.raises(AuthenticationError, match="password is empty"):
        password_attempt(password="")
    with pytest.raises(AuthenticationError, match="password holds a control character"):
        password_attempt(password="secret\n")


def test_acting_for_others_has_to_be_granted() -> None:
    attempt = password_attempt(authorization_id="admin")
    assert attempt.authorization_id == "admin"
    assert not attempt.verify("secret")
    assert attempt.verify("secret", may_act_for_others=True)
    assert not attempt.verify("wrong", may_act_for_others=True)


def test_acting_for_oneself_is_not_acting_for_others() -> None:
    attempt = password_attempt(authorization_id="tim")
    assert attempt.authorization_id == ""
    assert attempt.verify("secret")
