"""A Postfix instance of its own, which delivers everything for one domain into one Maildir."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .certificates import Authority
from .maildir import Maildir
from .process import HOST, LIFETIME, Unavailable, find_program, greets, reserve_port, running, workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["DOMAIN", "Postfix", "run_postfix"]

DOMAIN = "example.com"

_MASTER = """
{host}:{port} inet n - n - - smtpd
{host}:{tls_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
"""

# Nothing leaves the machine: mail for other domains is refused, and no bounce is sent to one.
_MAIN = {
    "compatibility_level": "3.6",
    "inet_interfaces": HOST,
    "inet_protocols": "ipv4",
    "myhostname": "postfix.example.com",
    "mydestination": "",
    "alias_maps": "",
    "default_transport": "error:not sent from here",
    "virtual_mailbox_domains": DOMAIN,
    "virtual_mailbox_maps": "static:all/",
    "virtual_minimum_uid": "1",
    "message_size_limit": "1000000",
    "smtputf8_enable": "yes",
    "smtpd_delay_reject": "no",
    "smtpd_relay_restrictions": "reject_unauth_destination",
    "smtpd_tls_security_level": "may",
    "smtpd_client_connection_count_limit": "0",
    "smtpd_error_sleep_time": "0",
    "smtpd_peername_lookup": "no",
    "default_process_limit": "200",
    "in_flow_delay": "0",
}

_RECIPIENTS = """
/^refused/ 550 5.1.1 No such user
/^deferred/ 450 4.2.1 Mailbox busy
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Postfix:
    """A running Postfix.

    It takes mail for any address in `domain`, except that it refuses local parts which begin with `refused`
    (550) or `deferred` (450), and content larger than `size_limit`.
    """

    port: int
    tls_port: int
    maildir: Maildir
    log: Path
    size_limit: int
    host: str = HOST
    domain: str = DOMAIN


@contextmanager
def run_postfix(
    authority: Authority | None = None,
    *,
    auth_socket: Path | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Postfix]:
    """Run Postfix.

    Args:
        authority: issues its certificate; a new one if None.
        auth_socket: of a Dovecot that checks passwords; without it AUTH is not offered.
        settings: parameters of main.cf to add or to change, such as `smtpd_discard_ehlo_keywords`.

    Raises:
        Unavailable: it is not installed, or this is not root, as whom alone it can be started.
        PeerFailed: it does not start.
    """
    postconf = find_program("postconf")
    if os.geteuid() != 0:
        raise Unavailable("Postfix can be started by root only")
    with workspace() as directory:
        port, tls_port = reserve_port(), reserve_port()
        log = directory / "log"
        log.touch()
        mail_owner = pwd.getpwnam("postfix")
        nobody = pwd.getpwnam("nobody")
        maildir = Maildir(path=directory / "mail" / "all", owner=(nobody.pw_uid, nobody.pw_gid))
        maildir.path.parent.mkdir()
        maildir.create()
        _make_queue(directory / "queue", mail_owner.pw_uid)
        (directory / "data").mkdir()
        os.chown(directory / "data", mail_owner.pw_uid, -1)
        configuration = directory / "etc"
        configuration.mkdir()
        chain, key = (authority or Authority()).write(configuration)
        recipients = configuration / "recipients"
        recipients.write_text(_RECIPIENTS)
        main = _MAIN | {
            "queue_directory": f"{directory}/queue",
            "data_directory": f"{directory}/data",
            "maillog_file": str(log),
            "maillog_file_prefixes": str(directory),
            "virtual_mailbox_base": str(maildir.path.parent),
            "virtual_uid_maps": f"static:{nobody.pw_uid}",
            "virtual_gid_maps": f"static:{nobody.pw_gid}",
            "smtpd_recipient_restrictions": f"check_recipient_access regexp:{recipients}",
            "smtpd_tls_chain_files": f"{key}, {chain}",
        }
        if auth_socket is not None:
            main |= {
                "smtpd_sasl_auth_enable": "yes",
                "smtpd_sasl_type": "dovecot",
                "smtpd_sasl_path": str(auth_socket),
            }
        main |= settings or {}
        main_cf = configuration / "main.cf"
        main_cf.write_text("".join(f"{name} = {value}\n" for name, value in main.items()))
        os.utime(main_cf, (0, 0))  # else Postfix waits two seconds, in case somebody is still writing it
        (configuration / "master.cf").write_text(_MASTER.format(host=HOST, port=port, tls_port=tls_port))

        # The daemon itself, since the checks of `postfix start-fg` take seconds.
        daemons = subprocess.run(
            [postconf, "-dh", "daemon_directory"], check=True, capture_output=True, text=True
        ).stdout.strip()
        master = find_program("master", daemons)
        with running(
            [master, "-c", configuration, "-d", "-e", str(LIFETIME)],
            log=log,
            is_ready=lambda: greets(port, b"220"),
            bounded=True,
        ):
            yield Postfix(
                port=port,
                tls_port=tls_port,
                maildir=maildir,
                log=log,
                size_limit=int(main["message_size_limit"]),
            )


def _make_queue(queue: Path, owner: int) -> None:
    """Make the queue directories with the owners and modes that Postfix wants."""
    queue.mkdir()
    names = "active bounce corrupt defer deferred flush hold incoming maildrop pid private public saved trace"
    for name in names.split():
        directory = queue / name
        directory.mkdir(0o700)
        os.chown(directory, owner, -1)
    os.chown(queue / "pid", 0, -1)
    for name, mode in (("pid", 0o755), ("maildrop", 0o1730), ("public", 0o2710)):
        if name != "pid":
            shutil.chown(queue / name, group="postdrop")
        (queue / name).chmod(mode)
