"""All faults of the hostile IMAP server of the shared kit, where the kit lies beside the checkout."""

from __future__ import annotations

import importlib.util
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bounced.mailbox import (
    MailboxCredentials,
    MailboxError,
    MailboxProtocol,
    MailboxSettings,
    MailboxTemporary,
)
from bounced.mailbox.imap import ImapMailbox
from bounced.mailbox.wire import Limits
from bounced.model import Destination

if TYPE_CHECKING:
    from types import ModuleType

KIT = Path(__file__).resolve().parents[3] / "shared" / "kit" / "chaos_imap.py"
# so few lines that a flood of them exceeds the budget before its time is over, on a busy machine too
HASTY = Limits(connect=1, read=1, command=2, farewell=0.5, lines=20_000)


def _kit() -> ModuleType | None:
    if not KIT.exists():
        return None
    spec = importlib.util.spec_from_file_location("chaos_imap", KIT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


chaos: Any = _kit()
if chaos:

    class Prompt(chaos.Conn):  # type: ignore[misc] # the kit's connection without Nagle's delay
        def __init__(self, server: object, connection: socket.socket) -> None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            super().__init__(server, connection)

    chaos.Conn = Prompt
pytestmark = pytest.mark.skipif(chaos is None, reason="the shared kit is not beside the checkout")

# What may come of a fault. Where none of these is named the session must go through.
ENDINGS: dict[str, tuple[type[MailboxError], ...]] = {
    **dict.fromkeys(
        (
            "drop_greeting", "bye_greeting", "stall_greeting", "login_unavailable", "stall_login",
            "uidvalidity_midway", "literal_short", "drop_mid_literal", "rst_mid_literal",
            "stall_mid_literal", "drip", "bye_midway", "bye_silent", "move_done_drop",
            "move_lost_drop",
        ),
        (MailboxTemporary,),
    ),
    **dict.fromkeys(
        (
            "garbage_greeting", "preauth_greeting", "uidvalidity_missing", "uidvalidity_zero",
            "search_million", "search_garbage", "dup_fetch", "no_uid", "literal_huge",
            "literal_20digits", "literal_negative", "literal_endless", "line_endless",
            "untagged_flood", "nest_parens", "unclosed_quote", "wrong_tag", "two_tagged",
            "fetch_bad",
        ),
        (MailboxProtocol,),
    ),
    **dict.fromkeys(("starttls_stripped", "select_no", "select_readonly"), (MailboxSettings,)),
    "login_no": (MailboxCredentials,),
}  # fmt: skip
# How many of the 20 letters come where it is not all of them, and how many leave the folder.
COME = {"missing_fetch": 13, "nil_body": 0, "empty_body": 0, "no_body": 0, "tag_early": 0,
        "unsolicited_expunge": 19, "second_client_deletes": 10}  # fmt: skip
GONE = COME | {"move_no": 0, "move_lie": 0}


@pytest.mark.parametrize("fault", sorted(chaos.FAULTS) if chaos else ["kit absent"])
def test_a_fault_ends_in_time_in_the_right_error_and_never_in_a_wrong_letter(fault: str) -> None:
    with chaos.Serve(fault=fault, seconds=20) as server:
        sent = dict(server.boxes["INBOX"])
        box = ImapMailbox(
            "chaos",
            host="127.0.0.1",
            port=server.port,
            tls="starttls" if fault == "starttls_stripped" else "none",
            user="ops",
            password="canary",
            processed="Processed",
            unrecognised="Unrecognised",
            quarantine="Quarantine",
            limits=HASTY,
        )
        came: dict[int, bytes] = {}
        gone: set[int] = set()
        began = time.monotonic()
        problem: MailboxError | None = None
        try:
            box.open()
            for piece in box.waiting():
                letters = list(box.fetch(piece))
                came |= {one.uid: one.raw for one in letters}
                gone |= box.file([one.uid for one in letters], Destination.PROCESSED)
        except MailboxError as caught:
            problem = caught
        box.close()
        assert time.monotonic() - began < 8
        assert type(problem) in ENDINGS.get(fault, (type(None),))
        if not problem:
            assert len(came) == COME.get(fault, 20)
            assert len(gone) == GONE.get(fault, 20)
        for uid, raw in came.items():
            assert raw == sent[uid]
        assert "canary" not in str(problem)
        assert "!! credentials sent in clear" not in server.cmds
