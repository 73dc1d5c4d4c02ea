from __future__ import annotations

import dataclasses
import pickle

import pytest

from asyncmail.errors import InputError
from asyncmail.sasl import Credentials


def test_the_password_does_not_show() -> None:
    credentials = Credentials(username="tim", password="secret")
    assert repr(credentials) == "Credentials(username='tim', authorization_id='')"
    assert pickle.loads(pickle.dumps(credentials)) == credentials


def test_frozen() -> None:
    credentials = Credentials(username="tim", password="secret")
    with pytest.raises(dataclasses.FrozenInstanceError):
        credentials.password = "other"  # type: ignore[misc]


@pytest.mark.parametrize("text", ["tim\0", "tim\r\n", "\ttim", "tim\x7f", "t\x85m"])
@pytest.mark.parametrize("name", ["username", "password", "authorization_id"])
def test_control_characters_are_refused(name: str, text: str) -> None:
    values = {"username": "tim", "password": "secret"} | {name: text}
    with pytest.raises(InputError, match="control character") as caught:
        Credentials(**values)
    assert "tim" not in str(caught.value)


@pytest.mark.parametrize("name", ["username", "password", "authorization_id"])
def test_lone_surrogates_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="UTF-8"):
        Credentials(**({"username": "tim", "password": "secret"} | {name: "\udcff"}))


@pytest.mark.parametrize("name", ["username", "password"])
def test_empty_values_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"the {name} is empty"):
        Credentials(**({"username": "tim", "password": "secret"} | {name: ""}))
