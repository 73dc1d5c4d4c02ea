from __future__ import annotations

import pytest

from asyncmail.message import Action, DeliveryReport, RecipientReport, compose, read_delivery_report

REPORT = b"""\
From: MAILER-DAEMON@mx.example.com
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

It did not arrive.
--b
Content-Type: %b

%b
--b
Content-Type: %b

%b
--b--
"""
STATUS = b"""\
Reporting-MTA: dns; mx.example.com
Original-Envelope-Id: 17-x

Final-Recipient: rfc822; <user@example.org>
Original-Recipient: rfc822;User@example.org
Action: Failed
Status: 5.1.1 (no such user)
Remote-MTA: dns; mail.example.org
Diagnostic-Code: smtp; 550 5.1.1
  no such user
Last-Attempt-Date: Mon, 1 Jan 2024 00:00:00 +0000


Final-Recipient: LOCAL; second
Action: delayed
Status: 4.2.2

X-Other: no recipient

Final-Recipient: third@example.org
Action: vanished
Status: what
"""


def report(
    status: bytes = STATUS,
    kind: bytes = b"message/delivery-status",
    returned: bytes = b"Subject: x\nMessage-ID: <1@example.com>\n\nbody",
    returned_kind: bytes = b"message/rfc822",
) -> bytes:
    return REPORT % (kind, status, returned_kind, returned)


EXPECTED = DeliveryReport(
    reporting_mta="mx.example.com",
    envelope_id="17-x",
    message_id="<1@example.com>",
    recipients=(
        RecipientReport(
            final_recipient="user@example.org",
            original_recipient="User@example.org",
            action=Action.FAILED,
            status="5.1.1",
            diagnostic="550 5.1.1 no such user",
            remote_mta="mail.example.org",
        ),
        RecipientReport(final_recipient="second", action=Action.DELAYED, status="4.2.2"),
        RecipientReport(final_recipient="third@example.org"),
    ),
)


@pytest.mark.parametrize("returned_kind", [b"message/rfc822", b"text/rfc822-headers", b"message/global"])
@pytest.mark.parametrize("kind", [b"message/delivery-status", b"message/global-delivery-status"])
def test_report(kind: bytes, returned_kind: bytes) -> None:
    assert read_delivery_report(report(kind=kind, returned_kind=returned_kind)) == EXPECTED
    assert (
        read_delivery_report(report(kind=kind, returned_kind=returned_kind).replace(b"\n", b"\r\n"))
        == EXPECTED
    )


def test_permanence() -> None:
    failed, delayed, unknown = EXPECTED.recipients
    assert failed.is_permanent
    assert not delayed.is_permanent
    assert not unknown.is_permanent
    assert not RecipientReport(final_recipient="x", action=Action.FAILED, status="4.4.7").is_permanent


def test_internationalised_report() -> None:
    status = (
        "Reporting-MTA: dns; x\n\nFinal-Recipient: utf-8; ü@bücher.example\n"
        r"Original-Recipient: utf-8; \x{FC}@b\x{FC}cher.example"
    ).encode()
    found = read_delivery_report(report(status, b"message/global-delivery-status"))
    assert found is not None
    assert found.recipients[0].final_recipient == "ü@bücher.example"
    assert found.recipients[0].original_recipient == "ü@bücher.example"


def test_encoded_report() -> None:
    kind = b"message/global-delivery-status\nContent-Transfer-Encoding: base64"
    status = b"UmVwb3J0aW5nLU1UQTogZG5zOyB4CgpGaW5hbC1SZWNpcGllbnQ6IHV0Zi04OyBhQGIuY2QK"
    found = read_delivery_report(report(status, kind, b"no id", b"text/plain"))
    assert found == DeliveryReport(reporting_mta="x", recipients=(RecipientReport(final_recipient="a@b.cd"),))


def test_empty_report() -> None:
    found = read_delivery_report(report(b"", returned=b"\nMessage-ID: <not@header>"))
    assert found == DeliveryReport(recipients=())


def test_first_parts_count() -> None:
    twice = report().replace(
        b"--b--\n", b"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; z\n--b--\n"
    )
    twice = twice.replace(b"--b--\n", b"--b\nContent-Type: message/rfc822\n\nMessage-ID: <2@x>\n\nx\n--b--\n")
    assert read_delivery_report(twice) == EXPECTED


def test_other_messages() -> None:
    assert read_delivery_report(compose(sender="a@b.example", text="x", attachments=[("x", b"")])) is None
    forwarded = (
        b"Content-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: message/rfc822\n\n%b\n--c--\n"
    )
    assert read_delivery_report(forwarded % report()) is None
