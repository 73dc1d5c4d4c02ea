from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import socket
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from asyncmail.cli.options import parse_rate
from asyncmail.smtp import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from commandline import Command, Receiver, Result, Servers

TEMPLATE = """\
From: News <news@example.com>
To: {name} <{email}>
Subject: Number {number}
Content-Type: text/plain; charset=utf-8

Dear {name}, this is number {number}.
"""


class Setting:
    """A table, a template, and the command for them."""

    def __init__(self, asyncmail: Command, directory: Path, server: str) -> None:
        self._asyncmail = asyncmail
        self.table = directory / "members.csv"
        self.template = directory / "news.eml"
        self.journal = directory / "members.csv.journal"
        self.template.write_text(TEMPLATE)
        self.server = server
        self.write(*[f"r{n}@example.com,N{n},{n}" for n in range(20)])

    def write(self, *rows: str, header: str = "email,name,number") -> None:
        self.table.write_text("\n".join([header, *rows, ""]))

    def __call__(self, *arguments: object) -> Result:
        return self._asyncmail("bulk", self.table, self.template, "--server", self.server, *arguments)

    def json(self, *arguments: object) -> dict[str, object]:
        return dict(json.loads(self(*arguments, "--json").out))


@pytest.fixture
def bulk(asyncmail: Command, tmp_path: Path, smtp: str) -> Setting:
    return Setting(asyncmail, tmp_path, smtp)


# --- a run


def test_one_message_for_each_row(bulk: Setting, receiver: Receiver) -> None:
    bulk.write('ann@example.com,"Ann, née B",1', "", '"Bob <bob@example.com>", Bob ,2')
    bulk.template.write_text(TEMPLATE.replace("To: {name} <{email}>\n", ""))
    status, out, err = bulk()
    assert (status, err) == (0, "")
    assert "accepted      2" in out
    assert "2 messages in" in out
    by_recipient = {each.recipients[0]: each for each in receiver.received}
    assert by_recipient["ann@example.com"].message.get_content() == ("Dear Ann, née B, this is number 1.\r\n")
    assert by_recipient["bob@example.com"].message["To"] == "Bob <bob@example.com>"
    assert by_recipient["bob@example.com"].message["Subject"] == "Number 2"
    assert by_recipient["bob@example.com"].sender == "news@example.com"
    assert len({each.message["Message-ID"] for each in receiver.received}) == 2


def test_what_is_refused_is_told(bulk: Setting, receiver: Receiver) -> None:
    receiver.replies = {f"r{n}@example.com": Reply(550, "no such user", "5.1.1") for n in range(8)}
    receiver.replies["r9@example.com"] = Reply(451, "later", "4.2.0")
    status, out, err = bulk()
    assert (status, err) == (1, "")
    rows = [line.split() for line in out.splitlines()]
    assert ["2", "r0@example.com", "refused", "550", "5.1.1", "no", "such", "user"] in rows
    assert ["…", "and", "3", "more", "refused"] in rows
    assert ["11", "r9@example.com", "deferred", "451", "4.2.0", "later"] in rows
    assert ["accepted", "11"] in rows
    assert ["refused", "8", "for", "good,", "by", "the", "server"] in rows
    # The next run tries those again for whom that may help.
    receiver.replies.clear()
    result = bulk.json()
    assert (result["accepted"], result["refused"], result["sent_in_this_run"]) == (12, 8, 1)
    assert Counter(receiver.recipients).most_common(1)[0][1] == 1
    assert result["journal"] == str(bulk.journal)
    unsettled = result["unsettled"]
    assert isinstance(unsettled, list)
    assert unsettled[0] == {
        "line": 2,
        "address": "r0@example.com",
        "status": "refused",
        "text": "550 5.1.1 no such user",
    }


def test_a_part_at_a_time(bulk: Setting, receiver: Receiver) -> None:
    status, out, _ = bulk("--limit", 5)
    assert status == 0
    assert "run this again to go on" in out
    assert bulk.json("--limit", 10)["not_sent"] == 5
    status, out, err = bulk()
    assert status == 0
    assert "15 of 20 rows are done already" in err
    status, out, err = bulk()
    assert status == 0
    assert "20 of 20 rows are done already" in err
    assert receiver.recipients == sorted(f"r{n}@example.com" for n in range(20))


def test_what_is_unknown_is_told_apart(bulk: Setting, receiver: Receiver) -> None:
    assert bulk("--limit", 5).status == 0
    lines = bulk.journal.read_bytes().splitlines(keepends=True)
    killed = [line for line in lines if b"begun" in line or not (b"r1@" in line or b"r3@" in line)]
    bulk.journal.write_bytes(b"".join(killed))
    for more in ([], ["--json"]):
        status, _, err = bulk("--limit", 1, *more)
        assert status == 1
        assert "rows are done already, 2 of them unknown (--retry-unknown sends again), see" in err
    status, _, err = bulk("--retry-unknown")
    assert status == 0
    assert "5 of 20 rows are done already, see" in err
    assert set(Counter(receiver.recipients).values()) == {1, 2}


def test_a_part_that_did_not_go_well(bulk: Setting, receiver: Receiver) -> None:
    receiver.replies = {"r3@example.com": Reply(550, "no such user", "5.1.1")}
    assert bulk("--limit", 5).status == 1
    assert bulk("--limit", 5).status == 1
    assert len(receiver.received) == 9


def test_a_dry_run(bulk: Setting, receiver: Receiver) -> None:
    assert bulk("--dry-run")[:2] == (0, "20 messages could be sent; none was.\n")
    assert json.loads(bulk("--dry-run", "--json")[1]) == {"rows": 20, "sent_in_this_run": 0}
    bulk.write("ann@example.com,Ann,1")
    assert bulk("--dry-run").out == "1 message could be sent; none was.\n"
    assert not receiver.received
    assert not bulk.journal.exists()


def test_rows_may_be_added(bulk: Setting, receiver: Receiver) -> None:
    assert bulk().status == 0
    with bulk.table.open("a") as table:
        table.write("new@example.com,New,100\n")
    assert bulk.json()["sent_in_this_run"] == 1
    assert receiver.received[-1].recipients == ["new@example.com"]


def test_another_journal(bulk: Setting, receiver: Receiver, tmp_path: Path) -> None:
    assert bulk("--journal", tmp_path / "j").status == 0
    first = {each.message["Message-ID"] for each in receiver.received}
    assert bulk("--journal", tmp_path / "j", "--new-journal").status == 0
    assert len(receiver.received) == 40
    assert len(first | {each.message["Message-ID"] for each in receiver.received}) == 40
    assert (tmp_path / "j.1").exists()
    assert not bulk.journal.exists()


def test_signatures(bulk: Setting, receiver: Receiver, tmp_path: Path) -> None:
    private_key = Ed25519PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(
        private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    key = ("--dkim-key", tmp_path / "key.pem")
    assert bulk(*key, "--dkim-selector", "s1").status == 0
    signature = receiver.received[0].message["DKIM-Signature"]
    assert "d=example.com" in signature
    assert "s=s1" in signature
    assert bulk(*key, "--dkim-selector", "s1", "--dkim-domain", "x.example", "--new-journal").status == 0
    assert "d=x.example" in receiver.received[-1].message["DKIM-Signature"]
    for arguments, text in (
        (("--dkim-key", tmp_path / "none", "--dkim-selector", "s"), "none"),
        (("--dkim-selector", "s"), "there is no key to sign with"),
        (key, "give --dkim-selector"),
        ((*key, "--dkim-selector", "s", "--dkim-domain", "x y"), "'x y' is not a domain name"),
    ):
        status, _, err = bulk(*arguments)
        assert status == 2
        assert text in err


def test_the_sender_and_copies(bulk: Setting, receiver: Receiver) -> None:
    bulk.write("ann@example.com,Ann,1")
    bulk.template.write_text("To: {email}\nCc: boss@example.com\nSubject: {name}{number}\n\nx\n")
    status, _, err = bulk()
    assert status == 2
    assert "the template has no From field\n       give --from, or write a From field" in err
    status, _, err = bulk("--from", "me@example.com")
    assert status == 0
    assert "warning: each message also goes to boss@example.com" in err
    assert receiver.received[0].sender == "me@example.com"
    assert receiver.received[0].message["From"] == "me@example.com"


def test_a_sender_for_each_recipient(bulk: Setting, receiver: Receiver) -> None:
    assert bulk("--verp", "--from", "bounces@example.org").status == 0
    by_recipient = {each.recipients[0]: each for each in receiver.received}
    assert by_recipient["r3@example.com"].sender == "bounces+r3=example.com@example.org"
    assert by_recipient["r3@example.com"].message["From"] == "News <news@example.com>"
    bulk.write(f"{'long' * 15}@example.com,Ann,1")
    assert "line 2: " in bulk("--verp", "--new-journal").err


def test_unsubscribing(bulk: Setting, receiver: Receiver) -> None:
    bulk.write("ann@example.com,Ann,1 2")
    uris = ("--unsubscribe", "https://example.com/u/{number}", "--unsubscribe", "mailto:u@example.com")
    assert bulk(*uris).status == 0
    message = receiver.received[0].message
    assert message["List-Unsubscribe"] == "<https://example.com/u/1%202>, <mailto:u@example.com>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    status, _, err = bulk("--unsubscribe", "example.com")
    assert status == 2
    assert "cannot be an address to unsubscribe at" in err
    status, _, err = bulk("--unsubscribe", "https://example.com/u/{number}", "--jinja")
    assert status == 2
    assert "write {{ number }} for the value of a field" in err


def test_attachments(bulk: Setting, receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "terms.pdf").write_bytes(b"%PDF")
    assert bulk("--attach", tmp_path / "terms.pdf", "--limit", 1).status == 0
    (attachment,) = receiver.received[0].message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("terms.pdf", b"%PDF")
    assert bulk("--attach", tmp_path / "none.pdf").status == 2


def test_jinja(bulk: Setting, receiver: Receiver) -> None:
    bulk.template.write_text(
        "From: a@example.com\nSubject: x\n\n{% if name == 'N0' %}{{ name|lower }}{% endif %}\n"
    )
    assert bulk("--jinja", "--limit", 1).status == 0
    assert receiver.received[0].message.get_content() == "n0\r\n"


def test_jinja_may_ask_whether_there_is_something(bulk: Setting, receiver: Receiver) -> None:
    bulk.write("ann@example.com,Ann,", "bob@example.com,Bob,1")
    bulk.template.write_text(
        "From: a@example.com\nSubject: {{ name }}\n\n{% if number %}VIP {{ number }}{% endif %}\n"
    )
    assert bulk("--jinja").status == 0
    assert {each.message.get_content() for each in receiver.received} == {"\r\n", "VIP 1\r\n"}
    bulk.write(",,", "bob@example.com,,")
    status, _, err = bulk("--jinja", "--new-journal")
    assert status == 2
    assert "line 3: input: nothing in column 'name'\n" in err


@pytest.mark.parametrize(
    ("text", "per_second"),
    [("100/s", 100), ("90/m", 1.5), ("1800/h", 0.5), ("0.5/s", 0.5), ("2 / m", 1 / 30)],
)
def test_rates(text: str, per_second: float) -> None:
    assert parse_rate(text) == per_second


@pytest.mark.parametrize("text", ["100", "0/s", "fast", "100/d", "-1/s", "nan/s", "1e999/s", "", "/s"])
def test_what_is_no_rate(bulk: Setting, receiver: Receiver, text: str) -> None:
    status, _, err = bulk("--rate", text)
    assert status == 2
    assert "write a rate as 100/s, 600/m or 5000/h" in " ".join(err.replace("│", "").split())
    assert not receiver.received


def test_a_pace(bulk: Setting, receiver: Receiver) -> None:
    assert bulk("--rate", "1000/s", "--messages-per-connection", 7).status == 0
    assert len(receiver.received) == 20
    assert len({id(each.session) for each in receiver.received}) == 3


def test_a_transcript(bulk: Setting) -> None:
    bulk.write("ann@example.com,Ann,1")
    status, _, err = bulk("-v")
    assert status == 0
    assert "C: RCPT TO:<ann@example.com>" in err


# --- tables that are not in order: nothing is sent


def check_refusal(result: Result, receiver: Receiver, *texts: str) -> None:
    assert result.status == 2, result
    assert result.out == ""
    for text in texts:
        assert text in result.err
    assert not receiver.received


def test_rows_that_cannot_be_sent(bulk: Setting, receiver: Receiver) -> None:
    bulk.write(
        "ann@example.com,Ann,1",
        "no address,Bob,2",
        "ann@EXAMPLE.com,Ann,3",
        ",Nobody,4",
        '"multi@example.com","two\nlines",5',
        "x@example.com,,6",
        "y@example.com,Y",
        "z@example.com,Z,7,8",
        "a@example.com,A,9",
        "a@example.com b@example.com,A,9",
    )
    check_refusal(
        bulk(),
        receiver,
        "error: line 3: input: 'no address' is not a mail address",
        "warning: line 4: ann@EXAMPLE.com is in line 2 too",
        "error: line 5: input: nothing in column 'email'\n       write an address there",
        "error: line 6: input: the value of 'name' for the header field To holds a line break",
        "error: line 8: input: nothing in column 'name'\n       fill it in, or say --allow-empty",
        "error: line 9: input: 2 fields, where the header has 3",
        "error: line 10: input: 4 fields, where the header has 3",
        "error: line 12: input: 'a@example.com b@example.com' is not a mail address",
        "error: input: 7 of 10 rows of",
        "nothing was sent",
        "correct them, and run this again",
    )
    bulk.write("x@example.com,,6")
    assert bulk("--allow-empty").status == 0


def test_many_bad_rows_are_not_all_told(bulk: Setting, receiver: Receiver) -> None:
    bulk.write(*["no address,Bob,2"] * 100, *["ann@example.com,Ann,3"] * 100)
    result = bulk()
    check_refusal(result, receiver, "error: input: 100 of 200 rows", "warning: 49 more rows have an address")
    assert result.err.count("is not a mail address") == 50


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (
            b"mail,name,number\na@example.com,A,1\n",
            ("line 1: there is no column 'email', only mail, name, number", "give --to-column"),
        ),
        (
            b"email,name\na@example.com,A\n",
            ("line 1: there is no column 'number'", "add such columns, or double the braces"),
        ),
        (b"email;name\na@example.com;A\n", ("line 1: there is no column 'number', only email, name",)),
        (b"email,name,number,name\n", ("line 1: two columns are named 'name'", "name each once")),
        (b"", ("line 1: there is no header line", "name the columns in the first line")),
        (b",,\n\n", ("line 1: there is no header line",)),
        (b"email,name,number\n\n", ("has no rows", "write one row for each recipient")),
        (
            b"email,name,number\na@example.com,\xe9,1\n",
            ("line 2: this is not UTF-8", "save the file as UTF-8"),
        ),
        (
            b'email,name,number\n\na@example.com,"A,1\nb@example.com,B,2\n',
            ("line 3: not CSV: unexpected end of data", "double the latter"),
        ),
        (b'email,name,number\na@example.com,"A"x,1\n', ("line 2: not CSV: ", 'put " around fields')),
    ],
)
def test_tables_that_are_none(
    bulk: Setting, receiver: Receiver, content: bytes, texts: tuple[str, ...]
) -> None:
    bulk.table.write_bytes(content)
    check_refusal(bulk(), receiver, "error: input: ", *texts)


@pytest.mark.parametrize(
    "content", ["\ufeffemail;name;number\na@example.com;A;1\n", "number\tname\temail\n1\tA\ta@example.com"]
)
def test_tables_of_other_programs(bulk: Setting, receiver: Receiver, content: str) -> None:
    bulk.table.write_text(content)
    assert bulk().status == 0
    assert receiver.recipients == ["a@example.com"]


def test_another_column(bulk: Setting, receiver: Receiver) -> None:
    bulk.write("a@example.com,A,1", header="mail,name,number")
    bulk.template.write_text(TEMPLATE.replace("{email}", "{mail}"))
    assert bulk("--to-column", "mail").status == 0
    assert receiver.recipients == ["a@example.com"]


@pytest.mark.parametrize(
    ("template", "texts"),
    [
        ("Subject: x\n\n{name}", ("input: the template has no From field", "give --from")),
        (
            "From: me@example.com\nTo: list@example.com\n\nx",
            ("line 2: input: the message would not go to r0@", "write {email} into To"),
        ),
        ("From: me@example.com\nTo: {email\n\nx", ("input: the header field To is not a list of addresses",)),
        (
            "From: me@example.com\nTo: {email}\n\n{first}",
            ("line 1: there is no column 'first'", "double the braces"),
        ),
    ],
)
def test_templates_that_are_none(
    bulk: Setting, receiver: Receiver, template: str, texts: tuple[str, ...]
) -> None:
    bulk.template.write_text(template)
    check_refusal(bulk(), receiver, *texts)


@pytest.mark.parametrize(
    ("text", "place", "found", "cure"),
    [
        ("Dear { name }", "the text", "{ name }", "write {name}, or rename the column"),
        ("Dear {{ name }}", "the text", "{ name }", "write {name}, or say --jinja, or rename the column"),
        ("Dear {name.title}", "the text", "{name.title}", "write {name}"),
        ("Dear {name!r}", "the text", "{name!r}", "write {name}"),
        ("Dear {name:>10}", "the text", "{name:>10}", "write {name}"),
        ("Dear {name[0]}", "the text", "{name[0]}", "write {name}"),
        ("In {PLZ/Ort}", "the text", "{PLZ/Ort}", "rename the column: a placeholder is made of"),
    ],
)
def test_what_was_meant_as_a_placeholder(
    bulk: Setting, receiver: Receiver, text: str, place: str, found: str, cure: str
) -> None:
    bulk.write("ann@example.com,Ann,1,12345 X", header="email,name,number,PLZ/Ort")
    bulk.template.write_text(f"{TEMPLATE}\n{text}\n")
    check_refusal(
        bulk(), receiver, f"error: input: {place} holds '{found}', which would go out as it is", cure
    )


def test_what_was_meant_as_a_placeholder_elsewhere(bulk: Setting, receiver: Receiver) -> None:
    html = "Content-Type: text/html\n\n<p>{ name }</p>"
    bulk.template.write_text(TEMPLATE.replace("Content-Type: text/plain; charset=utf-8\n\n", html))
    check_refusal(bulk(), receiver, "the HTML holds '{ name }'")
    bulk.template.write_text(TEMPLATE.replace("Number {number}", "Number { number }"))
    check_refusal(bulk(), receiver, "Subject holds '{ number }'")
    bulk.template.write_text("From: a@example.com\n\nDear {name}\n")
    check_refusal(bulk("--jinja"), receiver, "the text holds '{name}'", "write {{ name }}, or rename")


@pytest.mark.parametrize("jinja", [[], ["--jinja"]])
def test_what_a_subscriber_typed_is_no_placeholder(
    bulk: Setting, receiver: Receiver, jinja: list[str]
) -> None:
    bulk.write('"Jürgen {number} <{name}@example.com>","Jürgen {number}, { name }",7')
    value = "{{ name }}" if jinja else "{name}"
    bulk.template.write_text(f"From: a@example.com\nSubject: {value}\nContent-Type: text/html\n\n{value}\n")
    status, _, err = bulk(*jinja)
    assert (status, err) == (0, "")
    assert receiver.recipients == ["{name}@example.com"]
    assert receiver.received[0].message["Subject"] == "Jürgen {number}, { name }"
    bulk.template.write_text(f"From: a@example.com\n\n{value} {{name.title}}\n")
    assert bulk("--new-journal", *jinja).status == 2


@pytest.mark.parametrize(
    ("text", "warned"),
    [("<style>p{name:red}</style>", "{name:red}"), ("<p>{{name}}</p>", "{name}"), ("<p>{ x } {a.b}", "")],
)
def test_what_may_be_meant_as_text(bulk: Setting, receiver: Receiver, text: str, warned: str) -> None:
    bulk.template.write_text(
        f"From: a@example.com\nTo: {{email}}\nSubject: {{{{}}}}\nContent-Type: text/html\n\n{text}\n"
    )
    result = bulk()
    assert result.status == 0
    warning = f"warning: the HTML holds '{warned}', which goes out as it is; for the value write {{name}}\n"
    assert result.err == (warning if warned else "")
    assert len(receiver.received) == 20


@pytest.mark.parametrize("old", ["Number", "News", "Dear"])
def test_a_template_in_another_charset(bulk: Setting, receiver: Receiver, old: str) -> None:
    bulk.template.write_bytes(TEMPLATE.replace(old, "Gr\xfc\xdfe").encode("latin-1"))
    check_refusal(bulk(), receiver, "error: input: ", "save the message in UTF-8")


def test_files_that_are_not_there(bulk: Setting, receiver: Receiver) -> None:
    bulk.template.unlink()
    check_refusal(bulk(), receiver, "the template", "news.eml cannot be read: No such file", "check the path")
    bulk.table.unlink()
    bulk.template.write_text(TEMPLATE)
    check_refusal(bulk(), receiver, "members.csv cannot be read: No such file", "check the path")


# --- journals that do not fit


def test_another_template(bulk: Setting, receiver: Receiver) -> None:
    assert bulk("--limit", 5).status == 0
    bulk.template.write_text(TEMPLATE + "More.\n")
    status, _, err = bulk()
    assert status == 2
    assert "error: input: " in err
    assert "is the journal of another run" in err
    assert "give --new-journal to begin another one" in err
    assert len(receiver.received) == 5


def test_a_table_that_changed(bulk: Setting, receiver: Receiver) -> None:
    assert bulk("--limit", 5).status == 0
    bulk.write("new@example.com,New,100", *[f"r{n}@example.com,N{n},{n}" for n in range(20)])
    status, _, err = bulk()
    assert status == 2
    assert "line 2: here was r0@example.com when this run was begun" in err
    assert "put the table back as it was" in err
    assert "--new-journal" in err
    assert len(receiver.received) == 5


def test_something_else_in_place_of_the_journal(bulk: Setting, receiver: Receiver) -> None:
    bulk.journal.write_text("my notes")
    check_refusal(bulk(), receiver, "is not a journal", "choose another path")
    assert bulk.journal.read_text() == "my notes"


def test_a_journal_that_another_process_has(bulk: Setting, receiver: Receiver) -> None:
    with bulk.journal.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        check_refusal(bulk(), receiver, "error: input: ", "another process uses this journal", "wait until")


def test_a_journal_that_cannot_be_opened(bulk: Setting, receiver: Receiver) -> None:
    check_refusal(bulk("--journal", "/proc/j"), receiver, "error: input: /proc/j: ")
    check_refusal(bulk("--journal", bulk.table / "j"), receiver, "error: input: ", "not a directory")


# --- servers, disks, and interruptions


def test_a_wrong_password(
    asyncmail: Command, bulk: Setting, servers: Servers, receiver_with_login: Receiver
) -> None:
    bulk.server = f"smtp://me:wrong@127.0.0.1:{servers.smtp(receiver_with_login)}"
    status, out, err = bulk()
    assert status == 1
    rows = [line.split() for line in out.splitlines() if line.strip()]
    assert rows[2:] == [["accepted", "0"], ["not", "sent", "20", "run", "this", "again", "to", "go", "on"]]
    assert "error: authentication: " in err
    assert "535 5.7.8" in err
    assert "check username and password" in err
    for text in (out, err, bulk("--json").out):
        assert "mechanisms=" not in text
    told = bulk.json()
    assert (told["deferred"], told["not_sent"], told["unsettled"]) == (0, 20, [])
    bulk.server = bulk.server.replace("wrong", "right")
    assert bulk().status == 0
    assert len(receiver_with_login.received) == 20


def test_no_server(bulk: Setting, receiver: Receiver) -> None:
    good = bulk.server
    with socket.create_server(("127.0.0.1", 0)) as closed:
        bulk.server = f"smtp://127.0.0.1:{closed.getsockname()[1]}"
    status, out, err = bulk()
    assert status == 1
    assert "error: connect: cannot connect to 127.0.0.1" in err
    assert "check host and port, and that the server runs" in err
    assert "accepted      0" in out
    bulk.server = good
    assert bulk().status == 0
    assert len(receiver.received) == 20


@pytest.fixture
def small_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (270_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


def test_no_room_for_the_journal(bulk: Setting, receiver: Receiver, small_files: None) -> None:
    bulk.write(*[f"r{n}@example.com,N{n},{n}" for n in range(1500)])
    result = bulk("--json")
    assert result.status == 1
    assert "error: delivery: " in result.err
    assert "members.csv.journal: the file would be larger than allowed" in result.err
    assert "raise the file size limit (ulimit -f)" in result.err
    told = json.loads(result.out)
    assert 0 < told["accepted"] == len(receiver.received) < 1500
    assert told["unknown"] == 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert bulk().status == 0
    assert receiver.recipients == sorted(f"r{n}@example.com" for n in range(1500))


def interrupt(bulk: Setting, receiver: Receiver) -> Result:
    """Interrupt a run when five messages have come."""

    def then() -> None:
        if len(receiver.received) == 5:
            os.kill(os.getpid(), signal.SIGINT)

    receiver.then = then
    bulk.write(*[f"r{n}@example.com,N{n},{n}" for n in range(1000)])
    return bulk("--json")


def test_interrupted(bulk: Setting, receiver: Receiver) -> None:
    result = interrupt(bulk, receiver)
    assert result.status == 1
    assert "waiting for the answers to what is under way; once more ends at once" in result.err
    told = json.loads(result.out)
    assert told["interrupted"]
    assert 5 <= told["accepted"] == len(receiver.received) < 1000
    assert told["accepted"] + told["not_sent"] == 1000
    assert bulk("--json").status == 0
    assert receiver.recipients == sorted(f"r{n}@example.com" for n in range(1000))


def test_ended_at_once(bulk: Setting, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    # When it says that it waits, once more.
    with monkeypatch.context() as patch:
        patch.setattr("asyncmail.cli.bulk.note", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        result = interrupt(bulk, receiver)
    assert result.status == 1
    told = json.loads(result.out)
    assert told["interrupted"]
    assert told["not_sent"] > 0
    assert sum(told[name] for name in ("accepted", "deferred", "unknown", "not_sent")) == 1000
    told = bulk.json("--retry-unknown")
    assert told["accepted"] == 1000
    assert set(receiver.recipients) == {f"r{n}@example.com" for n in range(1000)}
