from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncmail.address.person import person_name


@pytest.mark.parametrize(
    ("display_name", "name"),
    [
        ("Jane Doe", "Jane Doe"),
        ("  Jane   Doe ", "Jane Doe"),
        ("'Jane Doe'", "Jane Doe"),
        ('"Jane Doe"', "Jane Doe"),
        ("(Jane Doe)", "Jane Doe"),
        (r"Jane \"J\" Doe", 'Jane "J" Doe'),
        ("Jane Doe (Sales)", "Jane Doe"),
        ("[Sales] Jane Doe", "Jane Doe"),
        ("Jane (J (or not)) Doe", "Jane J Doe"),
        ("Doe, Jane", "Jane Doe"),
        ("Doe, Jane Q.", "Jane Q Doe"),
        ("Doe, Jane, PhD", "Jane Doe"),
        ("Doe, Jr.", "Doe"),
        ("Doe,", "Doe"),
        ("Jane Doe, Ph.D.", "Jane Doe"),
        ("van Gogh, Vincent", "Vincent van Gogh"),
        ("Example Ltd, Sales", "Example Ltd"),
        ("山田 太郎", "山田 太郎"),
        # letter case
        ("JANE DOE", "Jane Doe"),
        ("jane doe", "Jane Doe"),
        ("DOE, JANE", "Jane Doe"),
        ("jane mcdoe", "Jane McDoe"),
        ("MCI", "Mci"),
        ("jane o'doe", "Jane O'Doe"),
        ("jane's", "Jane's"),
        ("ANNE-MARIE DOE-ROE", "Anne-Marie Doe-Roe"),
        ("JAN VAN DER BERG", "Jan van der Berg"),
        ("VAN MORRISON", "Van Morrison"),
        ("jane doe iii", "Jane Doe III"),
        ("LOUIS XIV", "Louis XIV"),
        ("MEI XI", "Mei Xi"),
        ("jörg ÿ", "Jörg Ÿ"),
        ("McDoe deVries", "McDoe deVries"),
        # nothing in it
        ("", ""),
        ("()", ""),
        ("123 456.7", ""),
        (",", ""),
        (", Jane", "Jane"),
        ("jane@example.com", ""),
        ("=?x-unknown?q?jane?=", ""),
    ],
)
def test_from_the_display_name(display_name: str, name: str) -> None:
    assert person_name(display_name, "x") == name


@pytest.mark.parametrize(
    ("local_part", "name"),
    [
        ("jane.doe", "Jane Doe"),
        ("jane_q_doe", "Jane Q Doe"),
        ("jane.doe7+news", "Jane Doe"),
        ("anne-marie.doe", "Anne-Marie Doe"),
        ("Jane.Doe", "Jane Doe"),
        ("/G=Jane/S=Doe/O=Example/", "Jane Doe"),
        ("/s=DOE/o=Example/", "Doe"),
        ("jane", ""),
        ("jane+doe.news", ""),
        ("a1b.c", ""),
        (".jane", ""),
        ("7.8", ""),
        ("-.-", ""),
    ],
)
def test_from_the_local_part(local_part: str, name: str) -> None:
    assert person_name("", local_part) == name
    assert person_name("1234", local_part) == name
    assert person_name("Other Name", local_part) == "Other Name"


@given(st.text(), st.text())
@example("\r,A", "")
def test_a_name_is_one_line_without_outer_space(display_name: str, local_part: str) -> None:
    name = person_name(display_name, local_part)
    assert name == " ".join(name.split())


def test_hostile_length_costs_nothing_special() -> None:
    for text in (
        "(" * 60_000,
        "[(" * 60_000,
        "a@" * 60_000,
        "," * 60_000,
        "=?" * 60_000,
        "\\" * 60_000,
        "/g=" * 60_000,
    ):
        person_name(text, text)
