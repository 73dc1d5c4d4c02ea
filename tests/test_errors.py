"""The exception tree: as drawn, picklable, printable, and each with its stage."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail import errors
from asyncmail.errors import MailError, Stage, printable, quoted


@dataclasses.dataclass(frozen=True)
class Answer:
    """A reply or response, as far as errors know one."""

    text: str = "550 no"
    is_transient: bool = False

    def __str__(self) -> str:
        return self.text


CLASSES: dict[str, Any] = {
    name: value
    for name in errors.__all__
    if isinstance(value := getattr(errors, name), type) and issubclass(value, BaseException)
}
BUILTIN_BASES = {
    "NetworkError": OSError,
    "MailTimeout": TimeoutError,
    "InputError": ValueError,
    "MissingExtra": ImportError,
}


def example(name: str, text: str = "text", answer: Answer | None = None) -> Any:
    """An error of the class of this name, `text` in each of its fields that takes any text."""
    cls = CLASSES[name]
    answer = answer or Answer(text)
    match name:
        case "LimitExceeded":
            return errors.LimitExceeded("reply_line", 512, stage=Stage.HELLO)
        case "SenderRefused" | "RecipientRefused":
            return cls(text, answer)
        case "AllRecipientsRefused":
            return errors.AllRecipientsRefused({text: answer, "b@example.com": answer})
        case "NoSuchMessage":
            return errors.NoSuchMessage(7, answer, command="RETR")
        case "AuthenticationError" | "MechanismUnavailable":
            return cls(text, reply=answer, mechanism="PLAIN", cure="a cure")
        case "ExtensionRequired":
            return errors.ExtensionRequired("SIZE", text, stage=Stage.SENDER, cure="a cure")
        case "ConnectionLost":
            return errors.ConnectionLost(text, in_flight=("MAIL", "RCPT"), stage=Stage.RECIPIENT)
        case "MailTimeout":
            return errors.MailTimeout(2.5, waiting_for=text, stage=Stage.CONNECT)
        case "AddressSyntaxError":
            return errors.AddressSyntaxError(text, "a problem", position=3, cure="a cure")
        case "TemplateError":
            return errors.TemplateError(text, field="name", cure="a cure")
        case "FolderError":
            return errors.FolderError("a problem", path=text, cure="a cure", is_transient=True)
        case "MissingExtra":
            return errors.MissingExtra("dkim", text)
    if issubclass(cls, errors.NegativeReply):
        return cls(answer, command="RSET", stage=Stage.COMMAND, cure="a cure")
    return cls(text, stage=Stage.QUIT, cure="a cure")


ALL = pytest.mark.parametrize("name", CLASSES)


def test_all_lists_what_the_module_defines() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type)
        and issubclass(value, BaseException)
        and value.__module__ == errors.__name__
    }
    assert set(CLASSES) == defined
    assert set(errors.__all__) - defined == {"Stage", "printable", "quoted"}
    assert errors.__all__ == sorted(errors.__all__)


def test_the_tree_is_as_drawn() -> None:
    docstring = inspect.getdoc(errors) or ""
    drawing = docstring[docstring.index("MailError\n") : docstring.index("\n\nThree questions")]
    drawn: dict[str, str] = {}
    heads: dict[int, str] = {}
    head = ""
    for line in drawing.splitlines():
        names = [word for word in re.findall(r"\w+", line) if word in CLASSES]
        column = len(line) - len(line.lstrip("│├└─ "))
        if "─ " in line or not heads:
            head = names.pop(0)
            parent = max((at for at in heads if at < column), default=None)
            heads = {at: name for at, name in heads.items() if at < column} | {column: head}
            if parent is not None:
                drawn[head] = heads[parent]
            if base := re.search(rf"{head} \((\w+)\)", line):
                assert BUILTIN_BASES[head].__name__ == base[1]
        drawn |= dict.fromkeys(names, head)
    actual = {
        name: next(base.__name__ for base in cls.__mro__[1:] if issubclass(base, MailError))
        for name, cls in CLASSES.items()
        if cls is not MailError
    }
    assert drawn == actual


@ALL
def test_bases(name: str) -> None:
    cls = CLASSES[name]
    assert issubclass(cls, MailError)
    expected = {base for head, base in BUILTIN_BASES.items() if issubclass(cls, CLASSES[head])}
    for base in (OSError, TimeoutError, ValueError, ImportError):
        assert issubclass(cls, base) is any(issubclass(each, base) for each in expected)


@ALL
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_and_copies(name: str, protocol: int) -> None:
    error = example(name)
    error.add_note("a note")
    for twin in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert (str(twin), repr(twin), twin.args) == (str(error), repr(error), error.args)
        assert vars(twin) == vars(error)


@ALL
def test_the_stage_is_there_and_comes_first_in_the_text(name: str) -> None:
    error = example(name)
    assert isinstance(error.stage, Stage)
    assert str(error).startswith(f"{error.stage}: ")
    cls = CLASSES[name]
    takes_stage = "stage" in inspect.signature(cls).parameters
    assert takes_stage or cls.default_stage is not None


@ALL
@pytest.mark.parametrize(
    "text", ["a\r\nb", "\x00\x1b[31m\x7f", "\x85\u2028\u202e", "\udcff", "x" * 100_000, "\r\n" * 50_000]
)
def test_hostile_text_is_made_printable(name: str, text: str) -> None:
    error = example(name, text)
    assert str(error).isprintable()
    assert len(str(error)) < 12_000
    assert repr(error).isprintable()


@ALL
def test_the_cure_is_in_the_text(name: str) -> None:
    error = example(name)
    assert error.cure in str(error)
    assert isinstance(error.describe(), str)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MailError(), "MailError"),
        (MailError("a problem"), "a problem"),
        (MailError("a problem", stage=Stage.TLS, cure="do this"), "tls: a problem (do this)"),
        (errors.LimitExceeded("reply_line", 512), "the peer exceeded the limit reply_line=512"),
        (errors.CommandRefused(Answer("500 what?"), command="VRFY"), "command: VRFY was refused: 500 what?"),
        (errors.GreetingRefused(Answer("554 no")), "greeting: the server was refused: 554 no"),
        (errors.SenderRefused("a@b", Answer()), "sender: sender <a@b> was refused: 550 no"),
        (errors.RecipientRefused("a@b", Answer()), "recipient: recipient <a@b> was refused: 550 no"),
        (
            errors.AllRecipientsRefused({"a@b": Answer(), "c@d": Answer("450 later")}),
            "recipient: every recipient was refused: <a@b> 550 no; <c@d> 450 later",
        ),
        (errors.NoSuchMessage(3, Answer("-ERR deleted")), "retrieval: no message 3: -ERR deleted"),
        (errors.AuthenticationError(), "authentication: authentication failed"),
        (
            errors.AuthenticationError("wrong", reply=Answer("535 no"), mechanism="PLAIN"),
            "authentication: PLAIN: wrong: 535 no",
        ),
        (errors.ExtensionRequired("SIZE"), "the server does not offer SIZE"),
        (errors.ConnectionLost(), "the connection was lost"),
        (errors.ConnectionLost("gone", in_flight=("MAIL", "DATA")), "gone, unanswered: MAIL DATA"),
        (errors.ConnectionLost("gone", in_flight=("A",) * 9), f"gone, unanswered: {'A ' * 8}…"),
        (errors.MailTimeout(0.5), "waited 0.5 s for an answer"),
        (errors.MailTimeout(2, cure="be patient"), "waited 2 s for an answer (be patient)"),
        (errors.AddressSyntaxError("a b", "no @"), "input: 'a b' is not a mail address: no @"),
        (
            errors.AddressSyntaxError("a b", "no @", position=1, cure="write one"),
            "input: 'a b' is not a mail address: no @ at position 1 (write one)",
        ),
        (errors.FolderError("full"), "delivery: full"),
        (errors.FolderError("full", path="/mail"), "delivery: /mail: full"),
        (errors.MissingExtra("cli", "this"), "input: this needs an extra (pip install 'asyncmail[cli]')"),
    ],
)
def test_texts(error: MailError, text: str) -> None:
    assert str(error) == text


def test_whether_trying_again_can_help() -> None:
    later, never = Answer("450 later", True), Answer()
    for cls in (errors.NegativeReply, errors.SMTPReplyError, errors.POP3ResponseError, errors.ContentRefused):
        assert cls(later).is_transient
        assert not cls(never).is_transient
    assert errors.AllRecipientsRefused({"a": never, "b": later}).is_transient
    assert not errors.AllRecipientsRefused({"a": never}).is_transient
    assert errors.AllRecipientsRefused({"a": never, "b": later}).reply is never
    assert errors.AuthenticationError(reply=later).is_transient
    assert not errors.AuthenticationError(reply=never).is_transient
    assert not errors.AuthenticationError().is_transient
    assert errors.ConnectError("x").is_transient
    assert errors.ConnectionLost().is_transient
    assert errors.MailTimeout(1).is_transient
    assert not errors.TLSError("x").is_transient
    assert errors.FolderError("x", is_transient=True).is_transient
    assert not errors.LocalProtocolError("x").is_transient


def test_fields() -> None:
    reply = Answer()
    refused = errors.RecipientRefused("a@b", reply)
    assert (refused.recipient, refused.reply, refused.command, refused.stage) == (
        "a@b",
        reply,
        "RCPT",
        Stage.RECIPIENT,
    )
    assert errors.SenderRefused("a@b", reply, command="SEND").command == "SEND"
    limit = errors.LimitExceeded("content", 9, stage=Stage.RETRIEVAL)
    assert (limit.limit, limit.maximum, limit.stage) == ("content", 9, Stage.RETRIEVAL)
    assert errors.GreetingRefused(reply, stage=Stage.CONNECT).stage is Stage.CONNECT
    with pytest.raises(OSError, match="no route"):
        raise errors.ConnectError("no route")


def test_errors_do_not_share_their_state() -> None:
    errors.AuthenticationError(reply=Answer(is_transient=True))
    assert errors.AuthenticationError.is_transient is False


@given(st.text() | st.binary() | st.binary().map(bytearray) | st.integers())
def test_printable_is(value: object) -> None:
    text = printable(value)
    assert text.isprintable()
    if isinstance(value, str) and value.isprintable() and len(value) <= 200:
        assert text == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"a\r\n\xff\xc3\xbc", r"a\r\n\xffü"),
        (bytearray(b"\x00"), r"\x00"),
        ("\u202e\udcff", r"\u202e\udcff"),
        ("x" * 201, "x" * 200 + "… (201 characters)"),
        (None, "None"),
    ],
)
def test_printable(value: object, text: str) -> None:
    assert printable(value) == text


def test_printable_with_a_limit() -> None:
    assert printable("abc", 2) == "ab… (3 characters)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"a\r\n\xff", r"'a\r\n\xff'"),  # each backslash once
        ("C:\\mail", "'C:\\mail'"),
        ("it's", '"it\'s"'),
        ('it\'s "it"', "'it's \"it\"'"),
    ],
)
def test_quoted(value: object, text: str) -> None:
    assert quoted(value) == text


def test_quoted_with_a_limit() -> None:
    assert quoted("abc", 2) == "'ab… (3 characters)'"


def test_stages_are_words() -> None:
    assert all(re.fullmatch("[a-z]+", stage) for stage in Stage)
    assert f"{Stage.TLS}" == "tls"
