"""The IMAP folder against servers that misbehave: what is promised must hold all the same."""

from __future__ import annotations

import re
import threading
import time
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from bounced.mailbox import (
    MailboxCredentials,
    MailboxError,
    MailboxProtocol,
    MailboxSettings,
    MailboxTemporary,
)
from bounced.mailbox.imap import ImapMailbox, server_name
from bounced.mailbox.wire import Limits
from bounced.model import Destination, Letter
from tests.fake_imap import CAPABILITY, FIRST_UID, UIDVALIDITY, FakeServer, HangUp

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fake_imap import Session

PASSWORD = "canary-4711"
HASTY = Limits(connect=0.5, read=0.5, command=0.8, farewell=0.3)
PATIENT = Limits(connect=5, read=5, command=10, farewell=5)
LETTERS = [b"Subject: letter %d\r\n\r\nbody\r\n" % n for n in range(10)]
UIDS = list(range(FIRST_UID, FIRST_UID + len(LETTERS)))
WITHOUT_MOVE = CAPABILITY.replace(" MOVE", "")
BARE = WITHOUT_MOVE.replace(" UIDPLUS", "")


def mailbox(server: FakeServer, **settings: Any) -> ImapMailbox:
    chosen: dict[str, Any] = {
        "tls": "none",
        "user": "ops",
        "password": PASSWORD,
        "limits": HASTY,
    } | settings
    return ImapMailbox("bounces", host="127.0.0.1", port=server.port, **chosen)


def says(answer: bytes) -> Callable[[Session, bytes], bytes]:
    return lambda session, rest: answer


def hangs_up(session: Session, rest: bytes) -> bytes:
    raise HangUp


def falls_silent(session: Session, rest: bytes) -> None:
    session.silence()


def trouble(server: FakeServer, **settings: Any) -> MailboxError:
    """What opening, listing and fetching everything raises."""
    with pytest.raises(MailboxError) as caught:
        fetched(server, **settings)
    return caught.value


def fetched(server: FakeServer, **settings: Any) -> dict[int, bytes]:
    box = mailbox(server, **settings)
    with server:
        try:
            box.open()
            return {one.uid: one.raw for piece in box.waiting() for one in box.fetch(piece)}
        finally:
            box.close()


def filed(
    server: FakeServer, uids: list[int], pile: Destination = Destination.PROCESSED, **settings: Any
) -> set[int]:
    box = mailbox(server, **settings)
    with server:
        box.open()
        gone = box.file(uids, pile)
        box.close()
    return gone


# -- connecting and logging in


def test_a_session_reads_everything_and_says_goodbye() -> None:
    server = FakeServer(LETTERS)
    assert fetched(server) == dict(zip(UIDS, LETTERS, strict=True))
    assert server.commands[-1] == b"LOGOUT"


def test_open_tells_the_uidvalidity_of_the_folder() -> None:
    with FakeServer() as server:
        box = mailbox(server)
        assert box.open() == UIDVALIDITY
        box.close()


def test_no_letter_is_formatted_for_a_debug_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="imapclient.imaplib")
    fetched(FakeServer(LETTERS))
    assert "Subject: letter" not in caplog.text


def test_a_session_can_be_opened_again_after_it_was_closed() -> None:
    with FakeServer(LETTERS) as server:
        box = mailbox(server)
        for _ in range(2):
            box.open()
            assert [list(piece) for piece in box.waiting()] == [UIDS]
            box.close()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"NO [AUTHENTICATIONFAILED] no", MailboxCredentials),
        (b"NO [EXPIRED] change your password", MailboxCredentials),
        (b"NO LOGIN failed.", MailboxCredentials),
        (b"NO [ALERT] Application-specific password required", MailboxCredentials),
        (b"NO [UNAVAILABLE] Temporary authentication failure", MailboxTemporary),
        (b"NO [ALERT] Too many simultaneous connections.", MailboxTemporary),
        (b"NO [OVERQUOTA] Account exceeded command or bandwidth limits.", MailboxTemporary),
        (b"BAD command", MailboxProtocol),
    ],
)
def test_only_a_refused_password_counts_as_a_wrong_one(
    answer: bytes, kind: type[MailboxError]
) -> None:
    assert type(trouble(FakeServer(answers={"LOGIN": says(answer)}))) is kind


def test_a_connection_lost_while_logging_in_is_no_wrong_password() -> None:
    assert type(trouble(FakeServer(answers={"LOGIN": hangs_up}))) is MailboxTemporary


def test_a_farewell_instead_of_a_login_is_no_wrong_password() -> None:
    def bye(session: Session, rest: bytes) -> bytes:
        session.send(b"* BYE maintenance")
        raise HangUp

    assert type(trouble(FakeServer(answers={"LOGIN": bye}))) is MailboxTemporary


@pytest.mark.parametrize(
    ("greeting", "kind"),
    [
        (b"* BYE overloaded", MailboxTemporary),
        (b"HTTP/1.1 400 Bad Request", MailboxProtocol),
        (b"* PREAUTH welcome, whoever", MailboxProtocol),
    ],
)
def test_a_greeting_that_is_none_ends_it_before_the_password(
    greeting: bytes, kind: type[MailboxError]
) -> None:
    server = FakeServer(greeting=greeting)
    assert type(trouble(server)) is kind
    assert not server.said("LOGIN")


def test_the_password_is_in_no_error_even_when_the_server_echoes_it() -> None:
    echo = f"NO user ops with password {PASSWORD} \x1b[2J unknown".encode()
    problem = trouble(FakeServer(answers={"LOGIN": says(echo)}))
    shown = "".join(traceback.format_exception(problem)) + repr(problem)
    assert "with password ***" in shown
    assert PASSWORD not in shown
    assert "\x1b" not in shown


def test_the_password_is_not_in_the_repr_of_a_mailbox() -> None:
    box = ImapMailbox("b", host="mail.example.com", user="ops", password=PASSWORD)
    assert PASSWORD not in repr(box) + repr(box._scene)


def test_a_password_beyond_ascii_goes_by_authenticate_plain() -> None:
    server = FakeServer()
    fetched(server, password="pässwörd", user="ops")
    assert "CREDENTIALS \0ops\0pässwörd".encode() in server.commands
    assert not server.said("LOGIN")


def test_a_user_with_a_space_cannot_become_two_arguments() -> None:
    server = FakeServer(capability=CAPABILITY.replace(" AUTH=PLAIN", ""))
    fetched(server, user="ops team")
    assert server.said("LOGIN") == [b'LOGIN "ops team" "%s"' % PASSWORD.encode()]


@pytest.mark.parametrize(
    "setting", [{"user": "a\r\nX LOGOUT"}, {"password": "a\r\nb"}, {"password": ""}]
)
def test_a_line_end_in_user_or_password_is_refused_before_connecting(
    setting: dict[str, str],
) -> None:
    server = FakeServer()
    assert type(trouble(server, **setting)) is MailboxCredentials
    assert server.commands == []


def test_starttls_that_is_not_offered_is_not_done_without() -> None:
    server = FakeServer()
    problem = trouble(server, tls="starttls")
    assert type(problem) is MailboxSettings
    assert "no password was sent" in str(problem)
    assert not server.said("LOGIN") + server.said("AUTHENTICATE")


def test_plain_text_to_the_outside_is_refused_before_connecting() -> None:
    box = ImapMailbox(
        "b", host="192.0.2.1", user="ops", password=PASSWORD, tls="none", limits=HASTY
    )
    began = time.monotonic()
    with pytest.raises(MailboxSettings, match="allow_plaintext = true"):
        box.open()
    assert time.monotonic() - began < 0.3


def test_login_that_is_switched_off_is_not_tried() -> None:
    server = FakeServer(capability="IMAP4rev1 LOGINDISABLED")
    assert type(trouble(server)) is MailboxSettings
    assert not server.said("LOGIN")


def test_our_name_is_said_before_the_folder_is_opened() -> None:
    def unsafe_login(session: Session, rest: bytes) -> bytes | None:
        return None if session.server.said("ID") else b"NO SELECT Unsafe Login."

    server = FakeServer(LETTERS, capability=CAPABILITY + " ID", answers={"SELECT": unsafe_login})
    assert len(fetched(server)) == len(LETTERS)


def test_a_server_that_dislikes_our_name_is_worked_with_all_the_same() -> None:
    server = FakeServer(LETTERS, capability=CAPABILITY + " ID", answers={"ID": says(b"BAD no")})
    assert len(fetched(server)) == len(LETTERS)


def test_a_server_nobody_listens_for_is_a_temporary_trouble() -> None:
    with FakeServer() as server:
        pass
    with pytest.raises(MailboxTemporary):
        mailbox(server).open()


def test_a_host_without_an_address_says_so() -> None:
    box = ImapMailbox("b", host="mail.invalid", user="ops", password=PASSWORD, limits=HASTY)
    with pytest.raises(MailboxTemporary, match="has no address"):
        box.open()


# -- folders


def test_missing_piles_are_made_and_subscribed_to() -> None:
    server = FakeServer()
    fetched(server)
    piles = {"Bounced/Processed", "Bounced/Unrecognised", "Bounced/Quarantine"}
    assert piles < set(server.boxes)
    assert server.subscribed == piles


def test_piles_that_exist_are_left_alone() -> None:
    server = FakeServer()
    server.boxes |= {f"Bounced/{name}": {} for name in ("Processed", "Unrecognised", "Quarantine")}
    fetched(server)
    assert not server.said("CREATE")


def test_no_folder_is_made_where_letters_stay() -> None:
    server = FakeServer()
    fetched(server, archive="flag")
    assert set(server.boxes) == {"INBOX"}


def test_piles_are_named_as_the_server_names_folders() -> None:
    server = FakeServer(LETTERS, delimiter=".", prefix="INBOX.")
    assert filed(server, UIDS) == set(UIDS)
    assert server.raws("INBOX.Bounced.Processed") == LETTERS


def test_a_server_without_namespaces_is_asked_for_its_delimiter() -> None:
    server = FakeServer(LETTERS, delimiter=".", capability="IMAP4rev1 MOVE")
    filed(server, UIDS)
    assert server.raws("Bounced.Processed") == LETTERS


@pytest.mark.parametrize(
    ("name", "prefix", "delimiter", "expected"),
    [
        ("Bounced/Processed", "", "/", "Bounced/Processed"),
        ("Bounced/Processed", "INBOX.", ".", "INBOX.Bounced.Processed"),
        ("INBOX/Bounced", "INBOX.", ".", "INBOX.Bounced"),
        ("INBOX.Bounced", "INBOX.", ".", "INBOX.Bounced"),
        ("shared/lists/bounces", "INBOX.", ".", "shared.lists.bounces"),
        ("Bounced/Processed", "", None, "Bounced-Processed"),
        ("inbox", "INBOX.", ".", "INBOX"),
    ],
)
def test_folder_names_follow_delimiter_and_namespace(
    name: str, prefix: str, delimiter: str | None, expected: str
) -> None:
    assert server_name(name, prefix, delimiter, (prefix, "shared.")) == expected


@pytest.mark.parametrize("name", ["a\r\nX", "a%", "*", "", "/"])
def test_a_folder_name_that_could_be_a_command_is_refused_before_connecting(name: str) -> None:
    server = FakeServer()
    assert type(trouble(server, processed=name)) is MailboxSettings
    assert server.commands == []


def test_a_missing_folder_is_named_in_the_error() -> None:
    problem = trouble(FakeServer(), folder="Bounces")
    assert type(problem) is MailboxSettings
    assert '"Bounces"' in str(problem)


def test_a_pile_that_may_not_be_made_is_a_matter_of_settings() -> None:
    problem = trouble(FakeServer(answers={"CREATE": says(b"NO [NOPERM] not here")}))
    assert type(problem) is MailboxSettings


def test_a_folder_that_may_only_be_read_is_a_matter_of_settings() -> None:
    problem = trouble(FakeServer(answers={"SELECT": says(b"OK [READ-ONLY] done")}))
    assert type(problem) is MailboxSettings


@pytest.mark.parametrize("said", [b"* OK [UIDVALIDITY 0] zero", b"* OK nothing"])
def test_a_folder_without_uidvalidity_is_not_worked_on(said: bytes) -> None:
    def select(session: Session, rest: bytes) -> bytes:
        session.send(b"* 3 EXISTS", said)
        return b"OK [READ-WRITE] done"

    assert type(trouble(FakeServer(answers={"SELECT": select}))) is MailboxProtocol


def test_a_folder_renumbered_in_mid_session_ends_it() -> None:
    def renumber(session: Session, rest: bytes) -> None:
        session.send(b"* OK [UIDVALIDITY 99] changed")

    assert type(trouble(FakeServer(LETTERS, answers={"UID FETCH": renumber}))) is MailboxTemporary


# -- the letters that wait


def test_waiting_letters_come_in_ascending_pieces_each_once() -> None:
    def unsorted(session: Session, rest: bytes) -> bytes:
        session.send(b"* SEARCH 20 11 0 12 20 4294967299", b"* SEARCH 13 11 (MODSEQ 917162500)")
        return b"OK done"

    with FakeServer(LETTERS, answers={"UID SEARCH": unsorted}) as server:
        box = mailbox(server, limits=Limits(piece=3))
        box.open()
        assert [list(piece) for piece in box.waiting()] == [[11, 12, 13], [20]]
        box.close()


def test_letters_filed_between_pieces_do_not_disturb_the_walk() -> None:
    with FakeServer(LETTERS) as server:
        box = mailbox(server, limits=Limits(piece=3, listing=4))
        box.open()
        seen: list[int] = []
        for piece in box.waiting():
            seen += piece
            box.file(piece[1:], Destination.PROCESSED)
        box.close()
    assert seen == UIDS
    assert list(server.boxes["INBOX"]) == [11, 14, 15, 18, 19]


def test_a_big_folder_is_listed_by_windows() -> None:
    with FakeServer(LETTERS) as server:
        server.boxes["INBOX"][500] = server.boxes["INBOX"].pop(UIDS[-1])
        box = mailbox(server, limits=Limits(listing=4, piece=100))
        box.open()
        seen = [list(piece) for piece in box.waiting()]
        box.close()
    assert [uid for piece in seen for uid in piece] == [*UIDS[:-1], 500]
    assert max(map(len, seen)) <= 4


def test_a_server_that_names_letters_beyond_the_window_makes_none_come_twice() -> None:
    def everything(session: Session, rest: bytes) -> bytes:
        session.send(b"* SEARCH " + b" ".join(b"%d" % uid for uid in session.box))
        return b"OK done"

    with FakeServer(LETTERS, answers={"UID SEARCH": everything}) as server:
        box = mailbox(server, limits=Limits(listing=4))
        box.open()
        assert [uid for piece in box.waiting() for uid in piece] == UIDS
        box.close()


def test_an_empty_folder_has_nobody_waiting() -> None:
    assert fetched(FakeServer()) == {}
    assert fetched(FakeServer(), limits=Limits(listing=-1)) == {}


def test_a_reply_that_names_no_numbers_is_no_search_result() -> None:
    def words(session: Session, rest: bytes) -> bytes:
        session.send(b"* SEARCH one two ((")
        return b"OK done"

    assert type(trouble(FakeServer(answers={"UID SEARCH": words}))) is MailboxProtocol


# -- fetching


def until_come(reply: Any) -> None:
    end = time.monotonic() + 5
    while not reply.has_come():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def waits_for(event: threading.Event) -> Callable[[Session, bytes], None]:
    def bodies(session: Session, rest: bytes) -> None:
        if b"BODY" in rest:
            assert event.wait(5)

    return bodies


def test_letters_are_asked_for_first_and_heard_later() -> None:
    ready = threading.Event()
    with FakeServer(LETTERS, answers={"UID FETCH": waits_for(ready)}) as server:
        box = mailbox(server, limits=PATIENT)
        box.open()
        coming = box.ask(UIDS)
        sizes: Any = next(coming)
        until_come(sizes)
        bodies: Any = next(coming)
        assert not bodies.has_come()
        ready.set()
        until_come(bodies)
        assert [one.raw for one in coming if isinstance(one, Letter)] == LETTERS
        box.close()


def test_whatever_is_asked_meanwhile_lets_what_was_asked_before_come_first() -> None:
    with FakeServer(LETTERS) as server:
        box = mailbox(server, limits=PATIENT)
        box.open()
        coming = box.ask(UIDS[5:])
        next(coming)
        assert box.file(UIDS[:2], Destination.PROCESSED) == set(UIDS[:2])
        next(coming)
        assert box.file(UIDS[2:5], Destination.PROCESSED) == set(UIDS[2:5])
        assert [one.raw for one in coming if isinstance(one, Letter)] == LETTERS[5:]
        box.close()


def test_a_letter_that_ends_like_an_answer_is_heard_to_its_end() -> None:
    sent: list[bytes] = []
    going_on = threading.Event()

    def halting(session: Session, rest: bytes) -> bytes | None:
        if b"BODY" not in rest:
            return None
        tag = session.tag
        raw = b"Subject: x\r\n\r\n" + tag + b" OK done\r\nand on it goes\r\n"
        sent.append(raw)
        said = b"* 1 FETCH (UID 11 BODY[] {%d}\r\n" % len(raw) + raw + b")\r\n"
        cut = said.index(b"and on")
        session.send_raw(said[:cut])
        assert going_on.wait(5)
        session.send_raw(said[cut:])
        return b"OK done"

    with FakeServer(LETTERS[:1], answers={"UID FETCH": halting}) as server:
        box = mailbox(server, limits=PATIENT)
        box.open()
        coming = box.ask([11])
        next(coming)
        bodies: Any = next(coming)
        until_come(bodies)
        going_on.set()
        assert [one.raw for one in coming if isinstance(one, Letter)] == sent
        box.close()


def test_a_connection_lost_meanwhile_is_told_to_whoever_finds_out_and_to_whoever_waits() -> None:
    def breaks(session: Session, rest: bytes) -> None:
        if b"BODY" in rest:
            raise HangUp

    with FakeServer(LETTERS, answers={"UID FETCH": breaks}) as server:
        box = mailbox(server, limits=PATIENT)
        box.open()
        coming = box.ask(UIDS)
        next(coming)
        next(coming)
        with pytest.raises(MailboxTemporary, match="while fetching letters"):
            box.file(UIDS[:2], Destination.PROCESSED)
        with pytest.raises(MailboxTemporary, match="was lost"):
            next(coming)
        box.close()
    assert server.boxes["INBOX"].keys() == set(UIDS)


def test_a_batch_that_is_refused_while_letters_are_filed_comes_by_halves() -> None:
    def refuses_many(session: Session, rest: bytes) -> bytes | None:
        return b"NO too many" if b"BODY" in rest and b"," in rest.split()[0] else None

    with FakeServer(LETTERS, answers={"UID FETCH": refuses_many}) as server:
        box = mailbox(server, limits=PATIENT)
        box.open()
        coming = box.ask(UIDS[2:])
        next(coming)
        next(coming)
        assert box.file(UIDS[:2], Destination.PROCESSED) == set(UIDS[:2])
        assert [one.raw for one in coming if isinstance(one, Letter)] == LETTERS[2:]
        box.close()


def test_with_letters_on_their_way_nobody_waits_to_say_goodbye() -> None:
    never = threading.Event()
    with FakeServer(LETTERS, answers={"UID FETCH": waits_for(never)}) as server:
        box = mailbox(server, limits=PATIENT)
        box.open()
        coming = box.ask(UIDS)
        next(coming)
        next(coming)
        began = time.monotonic()
        box.close()
        assert time.monotonic() - began < 2
        never.set()
    assert not server.said("LOGOUT")


def test_a_letter_comes_with_the_time_it_was_received_in_utc() -> None:
    with FakeServer(LETTERS) as server:
        box = mailbox(server)
        box.open()
        first = next(iter(box.fetch(UIDS)))
        box.close()
    assert first.received_at == datetime(2025, 1, 6, 8, 0, tzinfo=UTC)
    assert first.received_at.tzinfo is UTC
    assert not first.truncated


def test_reading_marks_no_letter_as_read() -> None:
    server = FakeServer(LETTERS)
    fetched(server)
    bodies = [line for line in server.said("UID FETCH") if b"BODY" in line]
    assert bodies
    assert all(b"BODY.PEEK[" in line for line in bodies)


def test_batches_are_bounded_in_count_and_bytes() -> None:
    server = FakeServer([b"x" * 400] * 10)
    fetched(server, limits=Limits(batch=6, batch_bytes=1000))
    asked = [
        line.split()[2].count(b",") + 1 for line in server.said("UID FETCH") if b"BODY" in line
    ]
    assert asked == [2, 2, 2, 2, 2]
    sizes = [
        line.split()[2].count(b",") + 1 for line in server.said("UID FETCH") if b"SIZE" in line
    ]
    assert sizes == [6, 4]


def test_of_an_oversized_letter_only_the_head_is_fetched() -> None:
    with FakeServer([b"small", b"B" * 5000, b"also small"]) as server:
        box = mailbox(server, limits=Limits(letter=1000, head=100))
        box.open()
        letters = list(box.fetch(UIDS[:3]))
        box.close()
    assert [(one.raw, one.truncated) for one in letters] == [
        (b"small", False), (b"B" * 100, True), (b"also small", False),
    ]  # fmt: skip


def test_a_letter_whose_size_was_overstated_is_whole() -> None:
    def huge_size(session: Session, rest: bytes) -> bytes | None:
        if b"SIZE" not in rest:
            return None
        session.send(b"* 1 FETCH (UID 11 RFC822.SIZE 4294967295)")
        return b"OK done"

    with FakeServer([b"short"], answers={"UID FETCH": huge_size}) as server:
        box = mailbox(server)
        box.open()
        (letter,) = box.fetch([11])
        box.close()
    assert (letter.raw, letter.truncated) == (b"short", False)


def only_bodies(
    answer: Callable[[Session, int, bytes], None],
) -> Callable[[Session, bytes], bytes | None]:
    """Replace the answer to requests for bodies, letter by letter."""

    def fetch(session: Session, rest: bytes) -> bytes | None:
        wanted, _, items = rest.partition(b" ")
        if b"BODY" not in items:
            return None
        for uid in session.uids(wanted.decode()):
            answer(session, uid, items)
        return b"OK done"

    return fetch


def test_a_letter_without_a_number_is_never_matched_by_its_place() -> None:
    def nameless(session: Session, uid: int, items: bytes) -> None:
        session.send(b"* %d FETCH (BODY[] {4}\r\nevil)" % uid)

    assert (
        type(trouble(FakeServer(LETTERS, answers={"UID FETCH": only_bodies(nameless)})))
        is MailboxProtocol
    )


def test_two_bodies_under_one_number_are_not_chosen_from() -> None:
    def twice(session: Session, uid: int, items: bytes) -> None:
        session.send_record(uid, items)
        session.send_record(uid, items, body=b"evil")

    assert (
        type(trouble(FakeServer(LETTERS, answers={"UID FETCH": only_bodies(twice)})))
        is MailboxProtocol
    )


def test_the_same_body_twice_is_one_letter() -> None:
    def twice(session: Session, uid: int, items: bytes) -> None:
        session.send_record(uid, items)
        session.send_record(uid, items)

    assert len(fetched(FakeServer(LETTERS, answers={"UID FETCH": only_bodies(twice)}))) == len(
        LETTERS
    )


def test_news_of_flags_and_of_other_letters_is_passed_over() -> None:
    def chatty(session: Session, uid: int, items: bytes) -> None:
        session.send(b"* 1 FETCH (FLAGS (\\Seen))", b"* 3 FETCH (UID 777 BODY[] {4}\r\nevil)")
        session.send(b"* 2 FETCH (UID %d FLAGS (\\Seen))" % uid)
        session.send_record(uid, items)

    server = FakeServer(LETTERS, answers={"UID FETCH": only_bodies(chatty)})
    assert fetched(server) == dict(zip(UIDS, LETTERS, strict=True))


def test_news_of_letters_that_have_gone_is_passed_over_and_read_as_text_within_a_letter() -> None:
    def going(session: Session, uid: int, items: bytes) -> None:
        session.send(b"* 3 EXPUNGE", b"* 2 EXPUNGE")
        session.send_record(uid, items)
        session.send(b"* 1 EXPUNGE")

    letters = [b"Subject: odd\r\n\r\n* 1 EXPUNGE\r\n* 2 FETCH (UID 7)\r\n", *LETTERS[1:]]
    server = FakeServer(letters, answers={"UID FETCH": only_bodies(going)})
    assert fetched(server) == dict(zip(UIDS, letters, strict=True))


def test_of_a_letter_that_does_not_come_nothing_is_concluded() -> None:
    def every_third(session: Session, uid: int, items: bytes) -> None:
        if uid % 3:
            session.send_record(uid, items)

    server = FakeServer(LETTERS, answers={"UID FETCH": only_bodies(every_third)})
    assert list(fetched(server)) == [uid for uid in UIDS if uid % 3]


@pytest.mark.parametrize("body", [b"BODY[] NIL", b'BODY[] ""', b"FLAGS ()"])
def test_a_letter_without_a_body_is_asked_for_once_more_alone_and_then_left(body: bytes) -> None:
    def empty(session: Session, uid: int, items: bytes) -> None:
        if uid == 12:
            session.send(b"* 2 FETCH (UID 12 %s)" % body)
        else:
            session.send_record(uid, items)

    server = FakeServer(LETTERS, answers={"UID FETCH": only_bodies(empty)})
    assert set(fetched(server)) == set(UIDS) - {12}
    alone = [line for line in server.said("UID FETCH 12 ") if b"BODY" in line]
    assert len(alone) == 1


def test_a_letter_that_was_empty_only_once_is_read() -> None:
    asked: list[int] = []

    def once(session: Session, uid: int, items: bytes) -> None:
        asked.append(uid)
        if uid == 12 and asked.count(12) == 1:
            session.send(b"* 2 FETCH (UID 12 BODY[] NIL)")
        else:
            session.send_record(uid, items)

    server = FakeServer(LETTERS, answers={"UID FETCH": only_bodies(once)})
    assert fetched(server) == dict(zip(UIDS, LETTERS, strict=True))


def test_one_letter_that_is_refused_does_not_hold_up_the_others() -> None:
    def poisoned(session: Session, rest: bytes) -> bytes | None:
        wanted, _, items = rest.partition(b" ")
        if b"BODY" in items and 17 in session.uids(wanted.decode()):
            return b"NO [SERVERBUG] cannot read that one"
        return None

    server = FakeServer(LETTERS, answers={"UID FETCH": poisoned})
    assert set(fetched(server)) == set(UIDS) - {17}


def test_a_busy_server_is_not_asked_again_and_again() -> None:
    server = FakeServer(LETTERS, answers={"UID FETCH": says(b"NO [UNAVAILABLE] later")})
    assert type(trouble(server)) is MailboxTemporary
    assert len(server.said("UID FETCH")) == 1


def test_nothing_from_a_letter_gets_into_a_command() -> None:
    server = FakeServer(
        [b"Subject: x\r\nMessage-ID: <a\r\nA1 DELETE INBOX>\r\n\r\nA2 LOGOUT\r\n"] * 3
    )
    box = mailbox(server)
    with server:
        box.open()
        uids = [one.uid for piece in box.waiting() for one in box.fetch(piece)]
        box.file(uids, Destination.UNRECOGNISED)
        box.close()
    after_login = server.commands[server.commands.index(b'SELECT "INBOX"') + 1 :]
    allowed = re.compile(
        rb'UID (SEARCH UID [\d,:*]+|FETCH [\d,]+ \(UID [A-Z0-9.\[\] ]+\)|MOVE [\d,]+ "Bounced/Unrecognised")|LOGOUT'
    )
    assert all(allowed.fullmatch(line) for line in after_login), after_login


# -- an end to everything


def drip(session: Session, uid: int, items: bytes) -> None:
    session.send_raw(b"* 1 FETCH (UID %d BODY[] {1000}\r\n" % uid)
    for _ in range(100):
        session.send_raw(b"x")
        session.server.over.wait(0.1)


def flood(session: Session, uid: int, items: bytes) -> None:
    for _ in range(1000):
        session.send_raw(b"* 1 EXISTS\r\n" * 1000)


def announce(size: bytes) -> Callable[[Session, int, bytes], None]:
    def announced(session: Session, uid: int, items: bytes) -> None:
        session.send_raw(b"* 1 FETCH (UID %d BODY[] {%s}\r\nxx\r\n" % (uid, size))
        session.silence()

    return announced


def many_bodies(session: Session, uid: int, items: bytes) -> None:
    for _ in range(100):
        session.send_record(uid, items, body=b"x" * 100_000)


def long_line(session: Session, uid: int, items: bytes) -> None:
    session.send(b"* OK " + b"x" * 1_200_000)


def nested(session: Session, uid: int, items: bytes) -> None:
    session.send(b"* 1 FETCH (UID %d X %s)" % (uid, b"(" * 50_000 + b")" * 50_000))


def unclosed(session: Session, uid: int, items: bytes) -> None:
    session.send(b'* 1 FETCH (UID %d X "abc)' % uid)


def cut(session: Session, uid: int, items: bytes) -> None:
    session.send_raw(b"* 1 FETCH (UID %d BODY[] {1000}\r\nSubject: cut" % uid)
    raise HangUp


def farewell(session: Session, uid: int, items: bytes) -> None:
    session.send(b"* BYE shutting down")
    session.silence()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (drip, MailboxTemporary),
        (cut, MailboxTemporary),
        (farewell, MailboxTemporary),
        (announce(b"1000"), MailboxTemporary),
        (announce(b"99999999999"), MailboxProtocol),
        (announce(b"9" * 30), MailboxProtocol),
        (announce(b"-5"), MailboxProtocol),
        (flood, MailboxProtocol),
        (many_bodies, MailboxProtocol),
        (long_line, MailboxProtocol),
        (nested, MailboxProtocol),
        (unclosed, MailboxProtocol),
    ],
)
def test_a_reply_without_measure_ends_in_time_and_in_the_tree_of_errors(
    answer: Callable[[Session, int, bytes], None], kind: type[MailboxError]
) -> None:
    server = FakeServer(LETTERS, answers={"UID FETCH": only_bodies(answer)})
    limits = Limits(connect=0.5, read=0.5, command=0.8, farewell=0.3, lines=20_000, reply=1_000_000)
    began = time.monotonic()
    assert type(trouble(server, limits=limits)) is kind
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (flood, "more than 20000 lines"),
        (announce(b"99999999999"), "a literal of 99999999999 bytes"),
        (many_bodies, "a longer reply than the command can have"),
    ],
)
def test_each_budget_of_a_reply_is_kept_by_itself(
    answer: Callable[[Session, int, bytes], None], reason: str
) -> None:
    server = FakeServer(LETTERS, answers={"UID FETCH": only_bodies(answer)})
    assert reason in str(trouble(server, limits=Limits(read=0.5, lines=20_000, reply=1_000_000)))


@pytest.mark.parametrize(
    "verb", ["CAPABILITY", "LOGIN", "NAMESPACE", "SELECT", "UID SEARCH", "UID FETCH"]
)
def test_a_server_that_falls_silent_is_left_in_time(verb: str) -> None:
    began = time.monotonic()
    assert type(trouble(FakeServer(LETTERS, answers={verb: falls_silent}))) is MailboxTemporary
    assert time.monotonic() - began < 3


def test_closing_never_raises_and_never_waits_long() -> None:
    server = FakeServer(LETTERS, answers={"LOGOUT": falls_silent})
    began = time.monotonic()
    fetched(server)
    assert time.monotonic() - began < 2


def test_after_a_broken_session_nothing_is_sent_any_more() -> None:
    with FakeServer(LETTERS, answers={"UID FETCH": hangs_up}) as server:
        box = mailbox(server)
        box.open()
        with pytest.raises(MailboxTemporary):
            list(box.fetch(UIDS))
        with pytest.raises(MailboxTemporary, match="no connection"):
            box.file(UIDS, Destination.PROCESSED)
        box.close()


# -- filing


@pytest.mark.parametrize(
    ("pile", "folder"),
    [
        (Destination.PROCESSED, "Bounced/Processed"),
        (Destination.UNRECOGNISED, "Bounced/Unrecognised"),
        (Destination.QUARANTINE, "Bounced/Quarantine"),
    ],
)
@pytest.mark.parametrize("capability", [CAPABILITY, WITHOUT_MOVE])
def test_letters_go_to_their_pile_and_leave_the_folder(
    pile: Destination, folder: str, capability: str
) -> None:
    server = FakeServer(LETTERS, capability=capability)
    assert filed(server, UIDS[:3], pile) == set(UIDS[:3])
    assert server.raws(folder) == LETTERS[:3]
    assert server.raws("INBOX") == LETTERS[3:]


def test_an_ok_to_a_move_that_was_not_done_is_not_believed() -> None:
    assert filed(FakeServer(LETTERS, answers={"UID MOVE": says(b"OK moved")}), UIDS) == set()


def test_a_refused_move_leaves_the_letters_and_the_session_goes_on() -> None:
    with FakeServer(LETTERS, answers={"UID MOVE": says(b"NO [OVERQUOTA] full")}) as server:
        box = mailbox(server)
        box.open()
        assert box.file(UIDS, Destination.PROCESSED) == set()
        assert len(list(box.fetch(UIDS))) == len(LETTERS)
        box.close()


def test_a_pile_that_vanished_is_made_again() -> None:
    with FakeServer(LETTERS) as server:
        box = mailbox(server)
        box.open()
        del server.boxes["Bounced/Processed"]
        assert box.file(UIDS, Destination.PROCESSED) == set(UIDS)
        box.close()


def test_letters_moved_before_a_crash_are_seen_to_have_gone() -> None:
    def done_then_cut(session: Session, rest: bytes) -> bytes:
        session.do_uid_move(rest)
        raise HangUp

    with FakeServer(LETTERS, answers={"UID MOVE": done_then_cut}) as server:
        box = mailbox(server)
        box.open()
        with pytest.raises(MailboxTemporary):
            box.file(UIDS, Destination.PROCESSED)
        server.answers["UID MOVE"] = says(b"BAD no such letters")
        box.open()
        assert box.file(UIDS, Destination.PROCESSED) == set(UIDS)
        box.close()
    assert server.raws("Bounced/Processed") == LETTERS


def test_without_move_what_others_marked_as_deleted_stays() -> None:
    server = FakeServer(LETTERS, capability=WITHOUT_MOVE)
    server.boxes["INBOX"][UIDS[5]].flags.add(b"\\Deleted")
    assert filed(server, UIDS[:3]) == set(UIDS[:3])
    assert UIDS[5] in server.boxes["INBOX"]
    assert not server.said("EXPUNGE")


def test_without_uidplus_letters_stay_marked_and_are_not_read_again() -> None:
    server = FakeServer(LETTERS, capability=BARE)
    with server:
        box = mailbox(server)
        box.open()
        assert box.file(UIDS[:3], Destination.PROCESSED) == set(UIDS[:3])
        assert [list(piece) for piece in box.waiting()] == [UIDS[3:]]
        box.close()
    assert len(server.boxes["INBOX"]) == len(LETTERS)
    assert server.raws("Bounced/Processed") == LETTERS[:3]
    assert not [line for line in server.commands if b"EXPUNGE" in line]


@pytest.mark.parametrize("answer", [b"OK copied", b"OK [COPYUID 1 11,13 1:2] copied"])
def test_nothing_is_marked_for_removal_whose_copy_was_not_seen(answer: bytes) -> None:
    server = FakeServer(LETTERS, capability=WITHOUT_MOVE, answers={"UID COPY": says(answer)})
    assert filed(server, UIDS[:3]) == set()
    assert not server.said("UID STORE")
    assert server.raws("INBOX") == LETTERS


def test_a_copy_the_server_names_is_believed() -> None:
    server = FakeServer(
        LETTERS,
        capability=WITHOUT_MOVE,
        answers={"UID COPY": says(b"OK [COPYUID 1 11:13 1:3] copied")},
    )
    assert filed(server, UIDS[:3]) == set(UIDS[:3])


def test_a_refused_mark_leaves_the_letters_in_the_folder() -> None:
    server = FakeServer(
        LETTERS, capability=WITHOUT_MOVE, answers={"UID STORE": says(b"NO read-only")}
    )
    assert filed(server, UIDS[:3]) == set()
    assert server.raws("INBOX") == LETTERS


def test_many_letters_are_filed_in_batches() -> None:
    server = FakeServer(LETTERS)
    assert filed(server, UIDS, limits=Limits(batch=4)) == set(UIDS)
    assert [line.split()[2].count(b",") + 1 for line in server.said("UID MOVE")] == [4, 4, 2]


# -- where letters stay


def test_marked_letters_stay_and_are_not_read_again() -> None:
    with FakeServer(LETTERS) as server:
        box = mailbox(server, archive="flag")
        box.open()
        assert box.file(UIDS[:2], Destination.PROCESSED) == set(UIDS[:2])
        assert box.file(UIDS[2:4], Destination.UNRECOGNISED) == set(UIDS[2:4])
        assert [list(piece) for piece in box.waiting()] == [UIDS[4:]]
        box.close()
    flags = [kept.flags for kept in server.boxes["INBOX"].values()]
    assert flags[0] == {b"$BouncedDone", b"\\Seen"}
    assert flags[2] == {b"$BouncedDone", b"\\Flagged"}
    assert flags[4] == set()


def test_letters_that_people_read_or_starred_still_wait() -> None:
    server = FakeServer(LETTERS)
    server.boxes["INBOX"][UIDS[0]].flags.add(b"\\Seen")
    server.boxes["INBOX"][UIDS[1]].flags.add(b"\\Flagged")
    assert set(fetched(server, archive="flag")) == set(UIDS)


def test_a_server_without_keywords_is_marked_by_ordinary_flags_that_hide_nothing() -> None:
    with FakeServer(LETTERS, permanent_flags=rb"(\Seen \Flagged)") as server:
        box = mailbox(server, archive="flag")
        box.open()
        assert box.file(UIDS[:2], Destination.PROCESSED) == set(UIDS[:2])
        assert [list(piece) for piece in box.waiting()] == [UIDS]
        box.close()
    assert server.boxes["INBOX"][UIDS[0]].flags == {b"\\Seen"}


def test_an_ok_to_a_mark_that_was_not_set_is_not_believed() -> None:
    server = FakeServer(LETTERS, answers={"UID STORE": says(b"OK done")})
    assert filed(server, UIDS, archive="flag") == set()


# -- waiting for news

IDLE = f"{CAPABILITY} IDLE"


def idling(*news: bytes) -> Callable[[Session, bytes], bytes]:
    """IDLE, with news in the same breath as its beginning, the first time only."""
    told = [b"\r\n".join((b"+ idling", *news, b""))]

    def answer(session: Session, rest: bytes) -> bytes:
        session.send_raw(told.pop() if told else b"+ idling\r\n")
        assert session._read_line() == b"DONE"
        return b"OK done"

    return answer


def watched(server: FakeServer, seconds: float, **settings: Any) -> tuple[bool, list[float]]:
    """How watching ended after so long, and when there was news."""
    heard: list[float] = []
    began = time.monotonic()
    box = mailbox(server, **settings)
    with server:
        known = box.watch(
            lambda: heard.append(time.monotonic() - began),
            lambda: time.monotonic() - began > seconds,
        )
    assert time.monotonic() - began < seconds + 2, "stop is asked every second"
    return known, heard


def test_there_is_news_once_connected_and_when_letters_come() -> None:
    known, heard = watched(FakeServer(LETTERS, capability=IDLE, answers={"IDLE": idling()}), 0.3)
    assert (known, len(heard)) == (True, 1)


def test_news_in_one_breath_with_the_beginning_is_not_overheard() -> None:
    for news in ((b"* 11 EXISTS",), (b"* OK Still here", b"* 3 EXPUNGE", b"* 11 EXISTS")):
        server = FakeServer(LETTERS, capability=IDLE, answers={"IDLE": idling(*news)})
        _, heard = watched(server, 0.8)
        assert len(heard) == 2
        assert heard[1] < 0.7


def test_what_is_no_letter_is_no_news() -> None:
    server = FakeServer(LETTERS, capability=IDLE, answers={"IDLE": idling(b"* OK Still here")})
    assert len(watched(server, 0.5)[1]) == 1


def test_idle_is_begun_anew_before_the_server_loses_patience() -> None:
    server = FakeServer(LETTERS, capability=IDLE, answers={"IDLE": idling()})
    limits = Limits(connect=0.5, read=2, command=2, farewell=0.3, idle=0.2)
    watched(server, 2.5, limits=limits)
    assert 2 <= len(server.said("IDLE")) <= 4
    assert Limits().idle < 29 * 60


def test_a_server_without_idle_is_not_watched() -> None:
    assert watched(FakeServer(LETTERS), 5) == (False, [])


def test_a_connection_that_breaks_while_waiting_is_told() -> None:
    def hangs_up_idling(session: Session, rest: bytes) -> bytes:
        session.send(b"+ idling")
        raise HangUp

    def refuses(session: Session, rest: bytes) -> bytes:
        return b"NO not now"

    for answer in (hangs_up_idling, refuses):
        server = FakeServer(LETTERS, capability=IDLE, answers={"IDLE": answer})
        with pytest.raises(MailboxTemporary):
            watched(server, 5)
