"""Extensions that the application offers: their parameters get to the handler, and no others."""

from __future__ import annotations

import smtplib
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from asyncmail import SMTPClient, SMTPServer
from asyncmail.errors import InputError
from asyncmail.smtp import Reply, ServerOffer
from net.runtimes import on_each_runtime

if TYPE_CHECKING:
    from asyncmail.server import ReceivedTransaction


class Keeper:
    def __init__(self) -> None:
        self.transactions: list[ReceivedTransaction] = []

    async def rcpt(self, transaction: ReceivedTransaction, recipient: str) -> Reply | None:
        refused = transaction.recipient_parameters.get(recipient, {}).get("NOTIFY") == "DELAY"
        return Reply(550, "no", "5.7.1") if refused else None

    async def deliver(self, transaction: ReceivedTransaction) -> Any:
        self.transactions.append(transaction)


@on_each_runtime(runtimes=("asyncio", "trio"))
async def test_delivery_status_notifications() -> None:
    keeper = Keeper()
    async with SMTPServer(keeper, more_extensions={"DSN": ""}) as server:

        def send() -> None:
            with smtplib.SMTP("127.0.0.1", server.port) as client:
                client.ehlo()
                assert client.has_extn("dsn")
                refused = client.sendmail(
                    "a@example.com",
                    ["b@example.com", "c@example.com"],
                    "Subject: x\r\n\r\nx\r\n",
                    mail_options=["RET=HDRS", "ENVID=1"],
                    rcpt_options=["NOTIFY=SUCCESS,FAILURE", "orcpt=rfc822;x@example.com"],
                )
                assert not refused
                for option, code in (("NOTIFY=NEVER", 555), ("BY=5;R", 555), ("RET=HDRS", 250)):
                    assert client.mail("a@example.com", [option])[0] == code
                for option, code in (("NOTIFY=DELAY", 550), ("RET=HDRS", 555), ("", 250)):
                    assert client.rcpt("b@example.com", [option] if option else [])[0] == code

        await anyio.to_thread.run_sync(send)
        async with SMTPClient(f"smtp://127.0.0.1:{server.port}") as client:
            assert "DSN" in client.extensions
    [transaction] = keeper.transactions
    assert transaction.mail.parameters == {"RET": "HDRS", "ENVID": "1"}
    parameters = {"NOTIFY": "SUCCESS,FAILURE", "ORCPT": "rfc822;x@example.com"}
    assert transaction.recipient_parameters == {"b@example.com": parameters, "c@example.com": parameters}


@pytest.mark.parametrize(
    ("keyword", "verb", "allowed"),
    [
        ("DSN", "MAIL", "RET"),
        ("dsn", "RCPT", "ORCPT"),
        ("MT-PRIORITY", "MAIL", "MT-PRIORITY"),
        ("RRVS", "RCPT", "RRVS"),
        ("DELIVERBY", "MAIL", "BY"),
        ("FUTURERELEASE", "MAIL", "HOLDFOR"),
        ("X-COLOUR", "MAIL", "X-COLOUR"),
        ("X-COLOUR", "RCPT", "X-COLOUR"),
    ],
)
def test_what_an_extension_allows(keyword: str, verb: str, allowed: str) -> None:
    offer = ServerOffer(more={"LIMITS": "MAILMAX=1", keyword: ""})
    assert offer.allows(verb, allowed)
    assert not offer.allows(verb, "LIMITS")
    assert not offer.allows(verb, "DSN")
    assert not ServerOffer().allows(verb, allowed)


@pytest.mark.parametrize("keyword", ["SIZE", "auth", "StartTLS", "BINARYMIME", "PIPELINING"])
def test_what_the_server_decides_itself(keyword: str) -> None:
    with pytest.raises(InputError, match="not for `more` to say"):
        ServerOffer(more={keyword: ""})
