"""Suppression lists of mail services come in with their provenance, and go out as services take them."""

from __future__ import annotations

import csv
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from bounced.cli.services import incoming, outgoing, services
from tests.cli.conftest import HARD, reading, recorded

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from tests.cli.conftest import Bounced

GONE, CROSS = "gone@example.com", "cross@example.com"
FILES: dict[str, tuple[str, str]] = {
    "ses, as its API lists it": ("ses", json.dumps({"SuppressedDestinationSummaries": [
        {"EmailAddress": GONE, "Reason": "BOUNCE", "LastUpdateTime": "2026-01-10T21:03:05Z"},
        {"EmailAddress": CROSS, "Reason": "COMPLAINT", "LastUpdateTime": 1768078985.5},
    ]}, indent=1)),
    "ses, as it takes it": ("ses", f"{GONE},BOUNCE\n{CROSS},COMPLAINT\n"),
    "postmark": ("postmark", json.dumps({"Suppressions": [
        {"EmailAddress": GONE, "SuppressionReason": "HardBounce", "Origin": "Recipient", "CreatedAt": "2026-01-10T08:58:33-05:00"},
        {"EmailAddress": CROSS, "SuppressionReason": "SpamComplaint", "Origin": "Recipient", "CreatedAt": "2026-01-10T08:58:33-05:00"},
    ]})),
    "sparkpost": ("sparkpost", json.dumps({"results": [
        {"recipient": GONE, "type": "non_transactional", "source": "Bounce Rule", "description": "550: no such user", "created": "2026-01-10T00:00:00+00:00"},
        {"recipient": CROSS, "type": "non_transactional", "source": "Spam Complaint", "created": "2026-01-10T00:00:00+00:00"},
        {"recipient": "off@example.com", "source": "List Unsubscribe", "created": "2026-01-10T00:00:00+00:00"},
    ]})),
    "brevo": ("brevo", json.dumps({"count": 3, "contacts": [
        {"email": GONE, "senderEmail": "news@example.org", "reason": {"code": "hardBounce", "message": "Hard bounce"}, "blockedAt": "2026-01-10T11:02:55.000Z"},
        {"email": CROSS, "senderEmail": "news@example.org", "reason": {"code": "contactFlaggedAsSpam", "message": "Complained"}, "blockedAt": "2026-01-10T11:02:55.000Z"},
        {"email": "off@example.com", "reason": {"code": "unsubscribedViaEmail", "message": "Off"}, "blockedAt": "2026-01-10T11:02:55.000Z"},
    ]}, indent=2)),
    "listmonk's bounces": ("listmonk", json.dumps({"data": {"results": [
        {"id": 1, "type": "hard", "source": "ses", "meta": {"notificationType": "Bounce"}, "created_at": "2026-01-10T11:02:55.5Z", "email": GONE, "campaign": {"id": 1, "name": "x"}},
        {"id": 2, "type": "complaint", "source": "ses", "meta": {}, "created_at": "2026-01-10T11:02:55.5Z", "email": CROSS, "campaign": None},
        {"id": 3, "type": "soft", "source": "pop", "meta": {}, "created_at": "2026-01-10T11:02:55.5Z", "email": "full@example.com", "campaign": None},
    ], "total": 3, "per_page": 20, "page": 1}})),
    "csv of our own": ("csv", f"address,status,reason,since\n{GONE},hard-bounced,user_unknown,2026-01-10T00:00:00Z\n{CROSS},complained,complaint,2026-01-10T00:00:00Z\n"),
    "json of our own": ("csv", f'{{"address": "{GONE}", "status": "hard-bounced"}}\n{{"address": "{CROSS}", "status": "complained"}}\n'),
}  # fmt: skip
BOUNCES: dict[str, tuple[str, str]] = {
    "sendgrid": ("sendgrid", f'status,reason,email,created\n5.1.1,"550 5.1.1 no spam, please",{GONE},1768078985\n'),
    "sendgrid's API": ("sendgrid", json.dumps([{"created": 1768078985, "email": GONE, "reason": "550 5.1.1 no", "status": "5.1.1"}])),
    "mailgun": ("mailgun", f'address,code,error,created_at\n{GONE},550,"No such mailbox","Sat, 10 Jan 2026 11:02:55 UTC"\n'),
    "mailgun's API": ("mailgun", json.dumps({"items": [{"address": GONE, "code": "550", "error": "No such mailbox", "created_at": "Sat, 10 Jan 2026 11:02:55 UTC"}], "paging": {}})),
    "mailchimp's API": ("mailchimp", json.dumps({"members": [
        {"email_address": GONE, "status": "cleaned", "last_changed": "2026-01-10T11:02:55+00:00"},
        {"email_address": "well@example.com", "status": "subscribed", "last_changed": "2026-01-10T11:02:55+00:00"},
    ], "total_items": 2}) + "\n"),
    "mailchimp": ("mailchimp", f'"Email Address","First Name",MEMBER_RATING,CLEAN_TIME,CLEAN_CAMPAIGN_TITLE,LEID\n{GONE},Ann,2,"2026-01-10 11:02:55","News, January",1\n'),
    "mailchimp's subscribers": ("mailchimp", f'"Email Address",MEMBER_RATING,OPTIN_TIME,CLEAN_TIME\n{GONE},1,,2026-01-10 11:02:55\nwell@example.com,5,2026-01-10 11:02:55,\n'),
    "listmonk": ("listmonk", f'uuid,email,name,attributes,status,created_at,updated_at\n1,{GONE},Ann,"{{""a"": 1}}",blocklisted,2026-01-10 11:02:55.123456+00:00,\n2,well@example.com,Bob,{{}},enabled,2026-01-10 11:02:55+00:00,\n'),
    "phplist": ("phplist", f"Email\tIs this user blacklisted\tList Membership\n{GONE}\t1\tNews \nwell@example.com\t0\tNews \n"),
    "phplist's table": ("phplist", f"email,added\n{GONE},2026-01-10 11:02:55\n"),
    "phplist's page": ("phplist", f"{GONE}\n"),
    "mailman": ("mailman", f"# by bounces\nAnn Gone <{GONE}>\n^.*@bad\\.example\n"),
    "mailman's bans": ("mailman", json.dumps({"start": 0, "total_size": 1, "entries": [{"email": GONE, "list_id": "news.example.com", "http_etag": "x", "self_link": "y"}]})),
    "sympa": ("sympa", f"# blocked\n{GONE}\n*@spam.example\n"),
    "a plain list": ("txt", f"\n{GONE}\n"),
    "a table of some list manager": ("csv", f"\ufeffName;E-Mail\nBob;{GONE}\n"),
}  # fmt: skip


def imported(bounced: Bounced, source: str, text: str, *more: str) -> Result:
    (bounced.folder / "theirs").write_text(text, encoding="utf-8")
    return bounced("suppressed", "import", "theirs", "--from", source, "--db", "x.db", *more)


def listed(bounced: Bounced) -> dict[str, dict[str, str]]:
    lines = bounced("suppressed", "--db", "x.db", "--format", "json").stdout.splitlines()
    return {row["address"]: row for row in map(json.loads, lines)}


@pytest.mark.parametrize("name", FILES)
def test_bounces_and_complaints_come_in_as_what_they_are(bounced: Bounced, name: str) -> None:
    source, text = FILES[name]
    done = imported(bounced, source, text)
    assert done.exit_code == 0, done.output
    assert "2 new, 2 now suppressed" in done.output
    rows = listed(bounced)
    assert rows.keys() == {GONE, CROSS}
    assert rows[GONE]["reason"] == "provider_suppressed"
    assert rows[CROSS]["status"] == "complained"
    assert rows[GONE]["rule"] == f"import/{source}"
    if "2026-01-10" in text or "1768078985" in text:
        assert rows[GONE]["since"].startswith("2026-01-10") or name.startswith("json")


@pytest.mark.parametrize("name", BOUNCES)
def test_the_lists_of_bounces_come_in_whatever_words_their_replies_hold(
    bounced: Bounced, name: str
) -> None:
    source, text = BOUNCES[name]
    assert imported(bounced, source, text).exit_code == 0
    rows = listed(bounced)
    assert rows.keys() == {GONE}
    assert rows[GONE]["status"] == "hard-bounced"
    if "2026" in text or "1768078985" in text:
        assert rows[GONE]["since"].startswith("2026-01-10")


def test_who_said_so_and_in_which_words_is_kept(bounced: Bounced) -> None:
    imported(bounced, *BOUNCES["mailgun"])
    told = bounced("explain", GONE, "--db", "x.db").output
    assert "mailbox import/mailgun" in told
    assert "said: No such mailbox" in told
    assert "Mailgun had it on its own suppression list." in told


def test_the_same_list_again_is_no_news_and_undoes_no_release(bounced: Bounced) -> None:
    imported(bounced, "txt", GONE)
    bounced("release", GONE, "--db", "x.db")
    again = imported(bounced, "txt", GONE.upper())
    assert "0 new, 0 now suppressed" in again.output
    assert listed(bounced) == {}


def test_hearsay_is_no_second_witness_and_is_not_judged_again(bounced: Bounced) -> None:
    imported(bounced, "txt", GONE)
    shown = bounced("reclassify", "--db", "x.db")
    assert shown.stdout.startswith("Of 1 addresses 0 would be suppressed, 0 released; 0 would")


def test_a_list_that_would_suppress_too_many_waits_for_a_decision(bounced: Bounced) -> None:
    held = imported(bounced, "txt", "".join(f"a{n}@example.com\n" for n in range(60)))
    assert held.exit_code == 1
    assert listed(bounced) == {}
    assert "bounced hold accept 1" in held.stderr
    bounced("hold", "accept", "1", "--db", "x.db")
    assert len(listed(bounced)) == 60


def test_complaints_may_be_named_by_the_operator_and_old_lines_left_out(bounced: Bounced) -> None:
    text = "ip,email,created\n192.0.2.1,cross@example.com,1768078985\n192.0.2.1,old@example.com,1400000000\n"
    done = imported(bounced, "sendgrid", text, "--complaints", "--since", "2020-01-01")
    assert "1 new, 1 now suppressed, 1 passed over" in done.output
    assert listed(bounced)[CROSS]["status"] == "complained"


@pytest.mark.parametrize("text", ["{", "[1, 2", "name,city\nBob,Rome\n", ""])
def test_what_is_no_list_is_refused_with_a_sentence(bounced: Bounced, text: str) -> None:
    refused = imported(bounced, "ses", text)
    assert refused.exit_code == 2
    assert "Traceback" not in refused.output
    assert listed(bounced) == {}


def test_lines_without_an_address_are_told_and_the_others_taken(bounced: Bounced) -> None:
    done = imported(bounced, "txt", f"nobody\n{GONE}\n")
    assert done.exit_code == 1
    assert "entry 1: no address: nobody" in done.stderr
    assert listed(bounced).keys() == {GONE}


@pytest.fixture
def full(bounced: Bounced) -> Path:
    path = bounced.folder / "x.db"
    recorded(path, [reading(1, "Gone@example.com", "no", HARD)])
    imported(bounced, "csv", f"email,status\n{CROSS},complained\n")
    return path


@pytest.mark.parametrize("form", sorted({*outgoing()} & {*incoming()}))
def test_what_goes_out_to_a_service_comes_in_again(bounced: Bounced, full: Path, form: str) -> None:
    before = listed(bounced)
    text = bounced("suppressed", "--db", "x.db", "--format", form).output
    (bounced.folder / "out").write_text(text)
    back = bounced("suppressed", "import", "out", "--from", form, "--db", "y.db")
    assert back.exit_code == 0, back.output
    again = bounced("suppressed", "--db", "y.db").output.splitlines()
    assert sorted(again) == sorted(before)


DOCUMENTED: dict[str, list[str]] = {
    "ses": ["Gone@example.com,BOUNCE", "cross@example.com,COMPLAINT"],
    "sendgrid": ["email", "Gone@example.com", "cross@example.com"],
    "brevo": ["EMAIL", "Gone@example.com", "cross@example.com"],
    "mailman": ["Gone@example.com", "cross@example.com"],
    "sympa": ["Gone@example.com", "cross@example.com"],
    "phplist": ["Gone@example.com", "cross@example.com"],
    "txt": ["Gone@example.com", "cross@example.com"],
}
HEADS = {
    "mailgun": "address,code,error,created_at",
    "postmark": "EmailAddress,SuppressionReason,Origin,CreatedAt",
    "sparkpost": "recipient,type,description",
    "mailchimp": "Email Address,CLEAN_TIME",
    "listmonk": "email,name,attributes,status",
}


@pytest.mark.parametrize("form", sorted({*outgoing()} - {"sha256", "md5"}))
def test_each_service_gets_what_its_documentation_asks_for(
    bounced: Bounced, full: Path, form: str
) -> None:
    lines = bounced("suppressed", "--db", "x.db", "--format", form).output.splitlines()
    if form in DOCUMENTED:
        assert lines == DOCUMENTED[form]
    else:
        assert lines[0] == HEADS[form]
        assert len(lines) == 3


def test_listmonk_gets_attributes_that_are_json(bounced: Bounced, full: Path) -> None:
    text = bounced("suppressed", "--db", "x.db", "--format", "listmonk").output
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["name"] for row in rows] == ["Gone", "cross"]
    assert json.loads(rows[0]["attributes"]) == {"bounced": {"reason": "user_unknown"}}


def test_every_service_says_where_its_format_is_documented() -> None:
    assert all(service.documented for service in services().values())


@pytest.mark.parametrize("source", ["mailchimp", "listmonk", "phplist"])
def test_a_list_of_subscribers_is_not_taken_for_one_of_suppressed_addresses(
    bounced: Bounced, source: str
) -> None:
    done = imported(bounced, source, "email,name\nwell@example.com,Bob\n")
    assert "0 new, 0 now suppressed, 1 passed over" in done.output
    assert listed(bounced) == {}


@pytest.mark.parametrize("form", ["sha256", "md5"])
def test_hashes_tell_only_whoever_has_the_address(bounced: Bounced, full: Path, form: str) -> None:
    out = bounced("suppressed", "--db", "x.db", "--format", form).output
    digest = hashlib.new(form, b"gone@example.com", usedforsecurity=False).hexdigest()
    assert digest in out.splitlines()
    assert "@" not in out


def test_complaints_go_out_as_complaints(bounced: Bounced, full: Path) -> None:
    out = bounced("suppressed", "--db", "x.db", "--format", "ses").output.splitlines()
    assert sorted(out) == ["Gone@example.com,BOUNCE", "cross@example.com,COMPLAINT"]


def test_what_was_guarded_for_a_spreadsheet_comes_in_as_it_was(bounced: Bounced) -> None:
    imported(bounced, "txt", "+tag@example.com\n=cmd@example.com\n")
    words = ("suppressed", "--db", "x.db", "--for-spreadsheet")
    text = bounced(*words, "--format", "csv").output
    assert "'+tag@example.com" in text
    (bounced.folder / "out.csv").write_text(text)
    bounced("suppressed", "import", "out.csv", "--from", "csv", "--db", "y.db")
    back = bounced("suppressed", "--db", "y.db").output.splitlines()
    assert sorted(back) == ["+tag@example.com", "=cmd@example.com"]
    refused = bounced(*words, "--format", "mailgun")
    assert refused.exit_code == 2
