"""Exim, which delivers everything for one domain into one Maildir and knows AUTH by itself."""

from __future__ import annotations

import os
import pwd
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .certificates import Authority
from .maildir import Maildir
from .process import HOST, Unavailable, find_program, greets, reserve_port, running, workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Exim", "run_exim"]

DOMAIN = "example.com"
PASSWORD = "secret"
SIZE_LIMIT = 1_000_000
USER = "Debian-exim"

# Debian's packages of Exim and Postfix exclude each other, so .ci/peers unpacks this one only.
_UNPACKED = Path(__file__).parents[2] / ".peers" / "exim" / "usr" / "sbin"

_CONFIGURATION = """
primary_hostname = exim.example.com
exim_path = {directory}/exim4
spool_directory = {directory}/spool
log_file_path = {directory}/log-%s
pid_file_path = {directory}/pid
local_interfaces = {host}
daemon_smtp_ports = {port} : {tls_port}
tls_on_connect_ports = {tls_port}
tls_certificate = {chain}
tls_privatekey = {key}
deliver_drop_privilege = true
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
message_size_limit = {size_limit}
smtp_accept_max = 200
smtp_accept_queue_per_connection = 0
chunking_advertise_hosts = *
dsn_advertise_hosts = *
pipelining_advertise_hosts = *
smtputf8_advertise_hosts = *
prdr_enable = true
acl_smtp_mail = sender
acl_smtp_rcpt = recipient
acl_smtp_data = content
acl_smtp_data_prdr = prdr
{settings}

begin acl
sender:
  deny message = 5.7.1 Not from you
       condition = ${{if match{{$sender_address_local_part}}{{^refused}}}}
  accept
recipient:
  deny message = 5.7.1 No relaying
       !domains = {domain}
  deny message = 5.1.1 No such user
       condition = ${{if match{{$local_part}}{{^refused}}}}
  defer message = 4.2.1 Mailbox busy
       condition = ${{if match{{$local_part}}{{^deferred}}}}
  accept
content:
  deny message = 5.7.1 Not this content
       condition = ${{if match{{$header_subject:}}{{^refused}}}}
  accept
prdr:
  deny message = 5.7.1 Not this content
       condition = ${{if match{{$local_part}}{{^picky}}}}
  accept

begin routers
everything:
  driver = accept
  transport = maildir

begin transports
maildir:
  driver = appendfile
  maildir_format
  directory = {maildir}
  return_path_add
  headers_add = Delivered-To: $local_part@$domain

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if eq{{$auth3}}{{{password}}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if eq{{$auth2}}{{{password}}}}}
  server_set_id = $auth1
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = {password}
  server_set_id = $auth1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exim:
    """A running Exim: PRDR and AUTH with PLAIN, LOGIN, CRAM-MD5, any username with `password`.

    It takes mail for any address in `domain`, except that it refuses local parts which begin with `refused`
    (550), `deferred` (451) or, after the content and with PRDR only, `picky`. Senders and subjects which begin with
    `refused` are refused too (550).
    """

    port: int
    tls_port: int
    maildir: Maildir
    log: Path
    size_limit: int = SIZE_LIMIT
    host: str = HOST
    domain: str = DOMAIN
    password: str = PASSWORD


@contextmanager
def run_exim(
    authority: Authority | None = None, *, settings: Mapping[str, str] | None = None
) -> Iterator[Exim]:
    """Run Exim.

    Args:
        authority: issues its certificate; a new one if None.
        settings: options of its main section to add, such as `smtp_accept_max_per_connection`.

    Raises:
        Unavailable: it is not installed, its user does not exist, or this is neither that user nor root.
        PeerFailed: it does not start.
    """
    program = find_program("exim4", _UNPACKED)
    try:
        account = pwd.getpwnam(USER)
    except KeyError:
        raise Unavailable(f"Exim cannot run without the user {USER} (see .ci/peers)") from None
    if os.geteuid() not in (0, account.pw_uid):
        raise Unavailable(f"Exim can be started by root or {USER} only")
    with workspace() as directory:
        # The user need not be able to enter the place where the program was found; neither is setuid wanted.
        shutil.copyfile(program, directory / "exim4")
        (directory / "exim4").chmod(0o755)
        port, tls_port = reserve_port(), reserve_port()
        maildir = Maildir(path=directory / "mail", owner=(account.pw_uid, account.pw_gid)).create()
        chain, key = (authority or Authority()).write(directory)
        (directory / "exim.conf").write_text(
            _CONFIGURATION.format(
                directory=directory,
                host=HOST,
                port=port,
                tls_port=tls_port,
                chain=chain,
                key=key,
                size_limit=SIZE_LIMIT,
                domain=DOMAIN,
                password=PASSWORD,
                maildir=maildir.path,
                settings="\n".join(f"{name} = {value}" for name, value in (settings or {}).items()),
            )
        )
        for path in (directory, key):
            os.chown(path, account.pw_uid, account.pw_gid)
        with running(
            [directory / "exim4", "-C", directory / "exim.conf", "-bdf"],
            log=directory / "output",
            is_ready=lambda: greets(port, b"220"),
            user=USER if os.geteuid() == 0 else None,
        ):
            yield Exim(port=port, tls_port=tls_port, maildir=maildir, log=directory / "log-main")
