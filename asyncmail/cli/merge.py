"""Messages of rows: how `asyncmail bulk` makes them, and checks all of them before it sends one."""

from __future__ import annotations

from dataclasses import replace
from email.parser import BytesHeaderParser
from email.policy import compat32
from typing import TYPE_CHECKING, Literal

from ..errors import InputError, MailError, printable, quoted
from ..message import Template, verp
from ..message.envelope import addr_spec, addr_specs
from ..message.identity import ascii_domain
from .failures import explain
from .lookalikes import check_lookalikes
from .terminal import progress, warn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..message import Parcel
    from ..sending import DKIMSigner
    from .recipients import Recipients, Row

__all__ = ["Merge", "check"]

_MOST_SHOWN = 50  # problems
_NO_BRACES = str.maketrans("{}", "__")


class Merge:
    """Makes messages of rows."""

    def __init__(
        self,
        recipients: Recipients,
        octets: bytes,
        sender: str,
        *,
        verp: bool,
        unsubscribe: Sequence[str],
        attachments: Sequence[Path],
        engine: Literal["braces", "jinja2"],
        allow_empty: bool,
    ) -> None:
        self.recipients = recipients
        self.signer: DKIMSigner | None = None
        self.domain = ""  # for Message-IDs and signatures
        self._sender = sender
        self._allow_empty = allow_empty
        header = BytesHeaderParser(policy=compat32).parsebytes(octets)
        self._has_to = "To" in header
        self._verp = verp
        self._is_jinja = engine == "jinja2"
        self._template = Template(
            octets,
            sender=None if "From" in header else sender or None,
            unsubscribe=unsubscribe,
            attachments=attachments,
            engine=engine,
        )
        optional = {*self._template.optional_fields, recipients.to_column}
        self._wanted = [name for name in self._template.fields if name not in optional]
        recipients.require(
            self._template.fields, "add such columns, or double the braces that are meant as text"
        )

    def key(self, row: Row) -> str:
        """What a row is called in the journal."""
        return _key(row, self.recipients.address_of(row))

    def render(self, row: Row, message_id: str | None = None) -> Parcel:
        """Make the message of one row.

        Raises:
            MailError: it cannot be made.
        """
        if row.problem:
            raise InputError(row.problem, cure="put fields that hold separators in quotes")
        to_column = self.recipients.to_column
        if not row.fields[to_column]:
            raise InputError(f"nothing in column {quoted(to_column)}", cure="write an address there")
        address = self.recipients.address_of(row)
        empty = [name for name in self._wanted if not row.fields[name]]
        if empty and not self._allow_empty:
            raise InputError(
                f"nothing in column {', '.join(map(quoted, empty))}",
                cure="fill it in, or say --allow-empty",
            )
        parcel = self._template.render(
            row.fields,
            to=None if self._has_to else row.fields[to_column],
            sender=self._sender or None,
            message_id=message_id,
            tag=_key(row, address),
        )
        if address not in addr_specs(parcel.recipients or ()):
            raise InputError(
                f"the message would not go to {printable(address)}",
                cure=f"write {{{to_column}}} into To of the template, or leave To out",
            )
        if self._verp and parcel.sender:
            parcel = replace(parcel, sender=verp(addr_spec(parcel.sender), address))
        return parcel

    def check_lookalikes(self, row: Row) -> None:
        """Raise InputError if the message of a row holds what was meant as a placeholder."""
        # Braces in the values, which a subscriber may have typed, are no fault of the template.
        fields = {name: value.translate(_NO_BRACES) for name, value in row.fields.items()}
        parcel = self.render(replace(row, fields=fields))
        assert isinstance(parcel.content, bytes)
        check_lookalikes(parcel.content, self.recipients.columns, jinja=self._is_jinja)

    def sign(self, parcel: Parcel) -> Parcel:
        """Sign a message, if there is a key."""
        if self.signer is None or not isinstance(parcel.content, bytes):
            return parcel
        return replace(parcel, content=self.signer.sign(parcel.content))


def _key(row: Row, address: str) -> str:
    return f"{row.line} {address}"


def check(merge: Merge) -> int:
    """Make every message once, and tell what is wrong.

    Returns:
        How many rows there are.

    Raises:
        InputError: something is wrong.
    """
    rows = problems = duplicates = 0
    line_of: dict[str, int] = {}
    with progress() as add_bar:
        bar = add_bar("Checking", None)
        for row in merge.recipients.rows():
            rows += 1
            bar.advance()
            try:
                parcel = merge.render(row)
                address = merge.recipients.address_of(row)
            except MailError as error:
                problems += 1
                if problems <= _MOST_SHOWN:
                    explain(error, context=f"line {row.line}: ")
                continue
            if rows == 1:
                merge.domain = ascii_domain(addr_spec(parcel.sender or ""))
                if others := [each for each in addr_specs(parcel.recipients or ()) if each != address]:
                    warn(f"each message also goes to {', '.join(others)}")
                merge.check_lookalikes(row)
            before = line_of.setdefault(address.casefold(), row.line)
            if before != row.line:
                duplicates += 1
                if duplicates <= _MOST_SHOWN:
                    warn(f"line {row.line}: {address} is in line {before} too, and gets a message for each")
    if duplicates > _MOST_SHOWN:
        warn(f"{duplicates - _MOST_SHOWN:,} more rows have an address that came before")
    path = printable(merge.recipients.path)
    if problems:
        raise InputError(
            f"{problems:,} of {rows:,} rows of {path} cannot be sent; nothing was sent",
            cure="correct them, and run this again",
        )
    if not rows:
        raise InputError(f"{path} has no rows", cure="write one row for each recipient below the header line")
    return rows
