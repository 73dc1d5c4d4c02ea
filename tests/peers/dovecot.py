"""Dovecot: POP3, LMTP into the same maildrops, and a check of passwords for Postfix."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .certificates import Authority
from .maildir import Maildir
from .process import HOST, Unavailable, find_program, greets, reserve_port, running, workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Dovecot", "run_dovecot"]

PASSWORD = "secret"

_LIBRARY = Path("/usr/lib/dovecot")

_CONFIGURATION = """
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
default_internal_user = {internal_user}
default_internal_group = {internal_group}
default_login_user = {login_user}
protocols = pop3 {lmtp}
listen = {host}
hostname = dovecot.example.com
postmaster_address = postmaster@example.com

ssl = {ssl}
ssl_cert = <{chain}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 apop
auth_failure_delay = 0
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={directory}/mail/%u allow_all_users=yes
}}
first_valid_uid = 1
mail_location = maildir:~/Maildir
mail_max_userip_connections = 0
pop3_lock_session = yes
lmtp_save_to_detail_mailbox = no

service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener {auth_socket} {{
    mode = 0666
  }}
}}
service pop3-login {{
  chroot =
  service_count = 0
  client_limit = 1000
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = {tls_port}
    ssl = yes
  }}
}}
service pop3 {{
  process_limit = 1000
}}
"""

_LMTP = """
service lmtp {{
  inet_listener lmtp {{
    address = {host}
    port = {port}
  }}
  unix_listener {socket} {{
    mode = 0666
  }}
}}
protocol lmtp {{
  auth_username_format = %Ln
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dovecot:
    """A running Dovecot: any username with `password`, by USER and PASS, APOP, PLAIN, LOGIN or CRAM-MD5.

    While a maildrop is open, a second login is refused with [IN-USE], after more than ten seconds.
    `lmtp_port` and `lmtp_socket` are None where LMTP is not installed; a recipient's local part names the
    maildrop. `auth_socket` is for `run_postfix`.
    """

    port: int
    tls_port: int
    lmtp_port: int | None
    lmtp_socket: Path | None
    auth_socket: Path
    log: Path
    mail: Path
    owner: tuple[int, int] | None
    host: str = HOST
    password: str = PASSWORD

    def maildir(self, username: str) -> Maildir:
        """Return the maildrop of a user; it is made if it is not there yet."""
        home = self.mail / username
        home.mkdir(exist_ok=True)
        if self.owner is not None:
            os.chown(home, *self.owner)
        return Maildir(path=home / "Maildir", owner=self.owner).create()


@contextmanager
def run_dovecot(authority: Authority | None = None, *, tls: bool = True) -> Iterator[Dovecot]:
    """Run Dovecot, as root or as any other user.

    Args:
        authority: issues its certificate; a new one if None.
        tls: whether it offers STLS, and listens at `tls_port`.

    Raises:
        Unavailable: it is not installed, or its configuration is of another kind than this one.
        PeerFailed: it does not start.
    """
    program = find_program("dovecot")
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    if not version.startswith("2.3."):
        raise Unavailable(f"the configuration is for Dovecot 2.3, here is {version.strip()}")
    if not (_LIBRARY / "pop3").exists():
        raise Unavailable("the POP3 server of Dovecot is not installed (see .ci/peers)")
    me = pwd.getpwuid(os.geteuid()).pw_name
    internal_user, login_user, mail_user = (
        ("dovecot", "dovenull", "mail") if os.geteuid() == 0 else (me, me, me)
    )
    internal_group = grp.getgrgid(pwd.getpwnam(internal_user).pw_gid).gr_name
    account = pwd.getpwnam(mail_user)
    with workspace() as directory:
        port, tls_port = reserve_port(), reserve_port()
        has_lmtp = (_LIBRARY / "lmtp").exists()
        lmtp_port, lmtp_socket = (reserve_port(), directory / "lmtp") if has_lmtp else (None, None)
        log, mail = directory / "log", directory / "mail"
        log.touch()
        mail.mkdir()
        auth_socket = directory / "auth"
        owner = None
        if os.geteuid() == 0:
            owner = (account.pw_uid, account.pw_gid)
            os.chown(mail, *owner)
        chain, key = (authority or Authority()).write(directory)
        configuration = directory / "dovecot.conf"
        text = _CONFIGURATION.format(
            directory=directory,
            internal_user=internal_user,
            internal_group=internal_group,
            login_user=login_user,
            lmtp="lmtp" if has_lmtp else "",
            host=HOST,
            ssl="yes" if tls else "no",
            chain=chain,
            key=key,
            password=PASSWORD,
            uid=account.pw_uid,
            gid=account.pw_gid,
            auth_socket=auth_socket,
            port=port,
            tls_port=tls_port,
        )
        if has_lmtp:
            text += _LMTP.format(host=HOST, port=lmtp_port, socket=lmtp_socket)
        configuration.write_text(text)
        with running([program, "-F", "-c", configuration], log=log, is_ready=lambda: greets(port, b"+OK")):
            yield Dovecot(
                port=port,
                tls_port=tls_port,
                lmtp_port=lmtp_port,
                lmtp_socket=lmtp_socket,
                auth_socket=auth_socket,
                log=log,
                mail=mail,
                owner=owner,
            )
