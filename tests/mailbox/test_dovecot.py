"""The IMAP folder against a real server over TLS. Each test has a user, so a mailbox, of its own."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from imapclient import IMAPClient

from bounced.mailbox import MailboxCredentials, MailboxSettings, MailboxTemporary
from bounced.mailbox.imap import ImapMailbox
from bounced.mailbox.session import Client
from bounced.mailbox.wire import Cutter, Limits
from bounced.model import Destination

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.dovecot import Dovecot

LETTERS = [b"Subject: letter %d\r\n\r\n8-bit \xe4\xff body\r\n" % n for n in range(10)]
WITHOUT_MOVE = "IMAP4rev1 ID ENABLE IDLE UIDPLUS NAMESPACE LITERAL+ CHILDREN UNSELECT"
BARE = WITHOUT_MOVE.replace(" UIDPLUS", "")

_users = count()


def new_user(server: Dovecot, letters: list[bytes] = LETTERS) -> str:
    user = f"user{next(_users)}"
    server.deliver(user, letters)
    return user


def mailbox(server: Dovecot, user: str, **settings: Any) -> ImapMailbox:
    chosen: dict[str, Any] = {
        "host": "localhost",
        "port": server.tls_port,
        "password": server.password,
        "ca_file": server.ca_file,
    } | settings
    return ImapMailbox("bounces", user=user, **chosen)


def everything(box: ImapMailbox) -> dict[int, bytes]:
    return {one.uid: one.raw for piece in box.waiting() for one in box.fetch(piece)}


def folder_of(server: Dovecot, user: str, folder: str, **settings: Any) -> list[bytes]:
    box = mailbox(server, user, folder=folder, archive="flag", **settings)
    box.open()
    letters = everything(box)
    box.close()
    return list(letters.values())


def test_letters_come_byte_for_byte_with_the_time_they_were_received(server: Dovecot) -> None:
    box = mailbox(server, new_user(server))
    assert box.open() > 0
    letters = [one for piece in box.waiting() for one in box.fetch(piece)]
    box.close()
    assert [one.raw for one in letters] == LETTERS
    assert [one.uid for one in letters] == sorted(one.uid for one in letters)
    for one in letters:
        assert one.received_at is not None
        assert abs(one.received_at - datetime.now(UTC)) < timedelta(minutes=10)


def test_who_only_looks_makes_no_folder_and_leaves_letters_as_new_as_they_were(
    server: Dovecot,
) -> None:
    user = new_user(server)
    looking = mailbox(server, user, look_only=True)
    looking.open()
    assert list(everything(looking).values()) == LETTERS
    looking.close()
    client = IMAPClient("localhost", server.port, ssl=False)
    client.starttls(ssl.create_default_context(cafile=server.ca_file))
    client.login(user, server.password)
    try:
        assert not any("Bounced" in name for _, _, name in client.list_folders())
        client.select_folder("INBOX")
        found = client.fetch(client.search(), "FLAGS")
        assert len(found) == len(LETTERS)
        assert {flag for data in found.values() for flag in data[b"FLAGS"]} == {b"\\Recent"}
    finally:
        client.logout()


def test_what_is_said_before_tls_begins_is_not_heard_after_it(server: Dovecot) -> None:
    # by whoever sits between: CVE-2011-0411 is the same on the side of servers
    def between(listener: socket.socket) -> None:
        line, _ = listener.accept()
        line.sendall(b"* OK ready\r\n")
        tag = line.recv(1000).split()[0]
        line.sendall(b"* CAPABILITY IMAP4rev1 STARTTLS\r\n" + tag + b" OK done\r\n")
        tag = line.recv(1000).split()[0]
        line.sendall(tag + b" OK begin\r\n* CAPABILITY INJECTED\r\n* BYE go away\r\n")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(server.where / "server.pem", server.where / "server.key")
        with context.wrap_socket(line, server_side=True) as safe:
            while asked := safe.recv(1000).split():
                safe.sendall(b"* CAPABILITY IMAP4rev1 GENUINE\r\n%b OK done\r\n" % asked[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=between, args=(listener,), daemon=True)
        thread.start()
        cutter = Cutter()
        client = Client(("localhost", listener.getsockname()[1]), Limits(), cutter, None)
        client.start_tls(ssl.create_default_context(cafile=server.ca_file))
        assert client.has_capability("GENUINE")
        assert not client.has_capability("INJECTED")
        client.shutdown()
        cutter.close()
        thread.join(5)


def test_starttls_is_as_good_as_implicit_tls(server: Dovecot) -> None:
    box = mailbox(server, new_user(server), port=server.port, tls="starttls")
    box.open()
    assert list(everything(box).values()) == LETTERS
    box.close()


def test_letters_move_to_piles_that_did_not_exist(server: Dovecot) -> None:
    user = new_user(server)
    box = mailbox(server, user)
    box.open()
    uids = list(everything(box))
    assert box.file(uids[:4], Destination.PROCESSED) == set(uids[:4])
    assert box.file(uids[4:5], Destination.UNRECOGNISED) == {uids[4]}
    assert box.file(uids[5:6], Destination.QUARANTINE) == {uids[5]}
    assert list(everything(box)) == uids[6:]
    box.close()
    assert folder_of(server, user, "Bounced/Processed") == LETTERS[:4]
    assert folder_of(server, user, "Bounced/Unrecognised") == LETTERS[4:5]
    assert folder_of(server, user, "Bounced/Quarantine") == LETTERS[5:6]


def test_filing_twice_is_filing_once(server: Dovecot) -> None:
    user = new_user(server)
    box = mailbox(server, user)
    box.open()
    uids = list(everything(box))
    for _ in range(2):
        assert box.file(uids, Destination.PROCESSED) == set(uids)
    box.close()
    assert folder_of(server, user, "Bounced/Processed") == LETTERS


@pytest.mark.parametrize("capability", [WITHOUT_MOVE, BARE])
def test_a_server_that_cannot_move_is_worked_with_by_copying(
    run_dovecot: Callable[..., Dovecot], capability: str
) -> None:
    plain = run_dovecot(capability=capability)
    user = new_user(plain)
    box = mailbox(plain, user)
    box.open()
    uids = list(everything(box))
    assert box.file(uids[:6], Destination.PROCESSED) == set(uids[:6])
    assert list(everything(box)) == uids[6:]
    box.close()
    assert folder_of(plain, user, "Bounced/Processed") == LETTERS[:6]


def test_folders_follow_a_server_with_dots_and_a_prefix(
    run_dovecot: Callable[..., Dovecot],
) -> None:
    dotted = run_dovecot(separator=".", prefix="INBOX.")
    user = new_user(dotted)
    box = mailbox(dotted, user, processed="Zurück/Gelesen & fertig")
    box.open()
    uids = list(everything(box))
    assert box.file(uids, Destination.PROCESSED) == set(uids)
    box.close()
    assert folder_of(dotted, user, "INBOX.Zurück.Gelesen & fertig") == LETTERS


def test_where_letters_stay_the_keyword_says_which_are_done(server: Dovecot) -> None:
    user = new_user(server)
    for expected in (LETTERS, LETTERS[3:]):
        box = mailbox(server, user, archive="flag")
        box.open()
        letters = everything(box)
        assert list(letters.values()) == expected
        assert box.file(list(letters)[:3], Destination.PROCESSED) == set(list(letters)[:3])
        box.close()
    assert folder_of(server, user, "INBOX") == LETTERS[6:]


def test_thousands_of_letters_are_walked_through_while_they_are_filed(server: Dovecot) -> None:
    many = [b"Subject: %d\r\n\r\nx\r\n" % n for n in range(3000)]
    box = mailbox(server, new_user(server, many), limits=Limits(piece=300, listing=700))
    box.open()
    seen: list[bytes] = []
    for piece in box.waiting():
        assert len(piece) <= 300
        letters = list(box.fetch(piece))
        seen += [one.raw for one in letters]
        uids = [one.uid for one in letters]
        assert box.file(uids, Destination.PROCESSED) == set(uids)
    assert seen == many
    assert list(box.waiting()) == []
    box.close()


def test_of_a_big_letter_the_head_is_enough(server: Dovecot) -> None:
    big = b"Subject: big\r\n\r\n" + b"x" * 76 * 40_000
    box = mailbox(
        server, new_user(server, [big, LETTERS[0]]), limits=Limits(letter=1_000_000, head=262_144)
    )
    box.open()
    first, second = (one for piece in box.waiting() for one in box.fetch(piece))
    box.close()
    assert (first.raw, first.truncated) == (big[:262_144], True)
    assert (second.raw, second.truncated) == (LETTERS[0], False)


def test_letters_another_program_took_away_are_not_missed(server: Dovecot) -> None:
    user = new_user(server)
    ours, theirs = mailbox(server, user), mailbox(server, user)
    ours.open()
    (uids,) = list(ours.waiting())
    theirs.open()
    theirs.file(uids[::2], Destination.PROCESSED)
    theirs.close()
    assert [one.uid for one in ours.fetch(uids)] == uids[1::2]
    assert ours.file(uids, Destination.PROCESSED) == set(uids)
    ours.close()
    assert sorted(folder_of(server, user, "Bounced/Processed")) == LETTERS


def test_a_wrong_password_is_told_without_it(server: Dovecot) -> None:
    box = mailbox(server, new_user(server, []), password="wrong-canary")
    with pytest.raises(MailboxCredentials, match="did not accept the password") as caught:
        box.open()
    assert "canary" not in str(caught.value)
    assert ".." not in str(caught.value), "the server's full stop is not ours"


def test_a_missing_folder_is_told_by_its_name(server: Dovecot) -> None:
    box = mailbox(server, new_user(server, []), folder="Nobody/Here")
    with pytest.raises(MailboxSettings, match='"Nobody/Here"'):
        box.open()


def test_an_unknown_authority_is_refused_and_the_way_out_named(server: Dovecot) -> None:
    box = mailbox(server, "nobody", ca_file=None)
    with pytest.raises(MailboxCredentials, match=r'ca_file = "') as caught:
        box.open()
    assert "authority this machine does not know" in str(caught.value)
    assert "no password was sent" in str(caught.value)


def test_starttls_verifies_the_certificate_too(server: Dovecot) -> None:
    box = mailbox(server, "nobody", ca_file=None, port=server.port, tls="starttls")
    with pytest.raises(MailboxCredentials, match="authority this machine does not know"):
        box.open()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_certificate_for_another_name_is_refused(
    run_dovecot: Callable[..., Dovecot], host: str
) -> None:
    box = mailbox(run_dovecot(certified="DNS:mail.example.com"), "nobody", host=host)
    with pytest.raises(MailboxCredentials, match="is for another"):
        box.open()


def test_an_expired_certificate_is_called_expired(run_dovecot: Callable[..., Dovecot]) -> None:
    box = mailbox(run_dovecot(certificate_days=-1), "nobody")
    with pytest.raises(MailboxCredentials, match="has expired"):
        box.open()


def test_the_servers_own_certificate_may_be_named_instead_of_its_authority(
    server: Dovecot,
) -> None:
    box = mailbox(server, new_user(server), ca_file=str(server.where / "server.pem"))
    box.open()
    assert len(everything(box)) == len(LETTERS)
    box.close()


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_an_unusable_ca_file_is_named(
    server: Dovecot, tmp_path: Path, content: bytes | None
) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_bytes(content)
    with pytest.raises(MailboxSettings, match=r"ca_file = .*ca\.pem"):
        mailbox(server, "nobody", ca_file=str(ca_file)).open()


def test_tls_on_a_port_without_it_says_which_ports_there_are(server: Dovecot) -> None:
    with pytest.raises(MailboxSettings, match=r"does not speak TLS on that port.*993"):
        mailbox(server, "nobody", port=server.port).open()


def test_plain_text_on_a_tls_port_ends_in_time(server: Dovecot) -> None:
    limits = Limits(connect=0.5, read=0.5)
    began = time.monotonic()
    with pytest.raises(MailboxTemporary, match=r'from the first word on needs tls = "implicit"\.$'):
        mailbox(server, "nobody", tls="none", limits=limits).open()
    assert time.monotonic() - began < 3


def test_sessions_leave_no_descriptor_open(server: Dovecot) -> None:
    user = new_user(server)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for password in (server.password, "wrong", server.password, "wrong"):
        box = mailbox(server, user, password=password)
        try:
            box.open()
            everything(box)
        except MailboxCredentials:
            continue
        box.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
