"""What webhooks are to be told is written with the change, and waits until it is taken."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bounced import webhooks
from bounced.ledger import outbox
from bounced.ledger.outbox import Outbox
from bounced.ledger.retention import purge_outbox
from bounced.model import (
    Fault,
    NoticeKind,
    Outcome,
    Reason,
    Reply,
    Setback,
    Subscription,
    Verdict,
)
from bounced.policy import Brake
from tests.servers.database import rows

from .conftest import START, Pass, bounce, day, opened, reading, synced

if TYPE_CHECKING:
    from datetime import datetime

    from bounced.ledger import Ledger
    from bounced.model import Bounce, Notice

ALL = Subscription("site", frozenset(NoticeKind))


def subscribed(url: str, *subscriptions: Subscription, **more: Any) -> Ledger:
    return opened(url, subscriptions=subscriptions or (ALL,), **more)


def told(ledger: Ledger, webhook: str = "site") -> list[tuple[str, dict[str, Any]]]:
    notices = Outbox(ledger).claim(webhook, at=day(50), limit=100)
    Outbox(ledger).settle(webhook, notices, taken=(), setbacks=(), at=day(0))
    payloads = [json.loads(notice.payload) for notice in notices]
    return [(one["type"], one["data"]) for one in payloads]


def test_a_suppression_and_its_release_are_told_with_what_explains_them(url: str) -> None:
    with subscribed(url) as ledger:
        synced(ledger, [reading(1, bounce("ann@example.com", "gone"))])
        ledger.release(["ann@example.com"], by="eve", note="", at=day(1))
        (kind, began), (other, ended) = told(ledger)
    assert (kind, other) == ("address.suppressed", "address.released")
    assert (began["address"], began["reason"]) == ("ann@example.com", "mailbox_disabled")
    assert began["rule"] == "test/gone"
    assert began["because"].startswith("A hard bounce, sure to 1.00 (mailbox_disabled")
    assert began["expires_at"] == "2026-04-01T12:00:00Z"
    assert (ended["by"], ended["status"], ended["at"]) == ("eve", "active", "2026-01-02T12:00:00Z")


def test_a_change_that_neither_suppresses_nor_releases_is_not_told(url: str) -> None:
    with subscribed(url) as ledger:
        synced(ledger, [reading(1, bounce("ann@example.com", "soft"))])
        assert told(ledger) == []


def test_each_webhook_is_told_what_it_asked_for_under_one_id(url: str) -> None:
    other = Subscription("crm", frozenset({NoticeKind.SUPPRESSED}))
    with subscribed(url, ALL, other) as ledger:
        synced(ledger, [reading(1, "ann@example.com")])
        ledger.release(["ann@example.com"], by="eve", note="", at=day(1))
        assert [kind for kind, _ in told(ledger)] == ["address.suppressed", "address.released"]
        assert [kind for kind, _ in told(ledger, "crm")] == ["address.suppressed"]
    ids = rows(url, "SELECT message_id FROM outbox ORDER BY id")
    assert len(ids) == 3
    assert len(set(ids)) == 2


def test_nothing_is_kept_where_nobody_asked(ledger: Ledger, url: str) -> None:
    synced(ledger, [reading(1, "ann@example.com")])
    assert rows(url, "SELECT count(*) FROM outbox") == [(0,)]


def test_what_was_not_committed_is_never_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with subscribed(url) as ledger:
        this = Pass(ledger)

        def fails(*_: object, **__: object) -> None:
            raise RuntimeError("the disk is gone")

        monkeypatch.setattr("bounced.ledger.visits.Visits._renew", fails)
        with pytest.raises(RuntimeError):
            ledger.record(this.visit, [reading(1, "ann@example.com")], at=START)
        assert told(ledger) == []


def test_a_held_run_is_told_once_and_its_addresses_when_it_is_accepted(url: str) -> None:
    with subscribed(url, brake=Brake(share=0, floor=2)) as ledger:
        letters = [reading(n, f"a{n}@example.com") for n in range(1, 6)]
        synced(ledger, letters[:3], letters[3:])
        ((kind, data),) = told(ledger)
        assert kind == "run.held"
        assert (data["mailbox"], data["addresses"]) == ("news", 3)
        ledger.decide(data["run"], accept=True, by="eve", at=day(1))
        assert [kind for kind, _ in told(ledger)] == ["run.held"] + 5 * ["address.suppressed"]


def test_a_mailbox_that_fails_is_told_once_until_it_works_again(url: str) -> None:
    with subscribed(url) as ledger:
        for error in ("no route", "no route", None, "stopped before the end", "bad login"):
            Pass(ledger).end(error)
        found = told(ledger)
    assert [kind for kind, _ in found] == ["mailbox.failing", "mailbox.failing"]
    assert [data["why"] for _, data in found] == ["no route", "bad login"]


def test_what_one_has_claimed_nobody_else_gets_until_the_claim_runs_out(url: str) -> None:
    with subscribed(url) as ledger:
        synced(ledger, [reading(1, "ann@example.com")])
        (first,) = Outbox(ledger).claim("site", at=day(1))
        assert Outbox(ledger).claim("site", at=day(1)) == []
        (again,) = Outbox(ledger).claim("site", at=day(1) + outbox.CLAIM)
        assert again.message_id == first.message_id


def test_a_webhook_in_trouble_is_left_alone_whole_and_a_refused_notice_by_itself(url: str) -> None:
    with subscribed(url) as ledger:
        synced(ledger, [reading(n, f"a{n}@example.com") for n in (1, 2, 3)])
        notices = Outbox(ledger).claim("site", at=day(1), limit=2)
        later = day(1) + timedelta(hours=1)
        trouble = Setback(notices[0], "no answer", later, all_wait=True)
        Outbox(ledger).settle("site", notices, taken=(), setbacks=[trouble], at=day(1))
        assert Outbox(ledger).claim("site", at=day(1)) == []
        notices = Outbox(ledger).claim("site", at=later)
        assert [one.attempts for one in notices] == [2, 1, 1]
        refused = Setback(notices[0], "it answered 400", day(9), all_wait=False)
        done = [notices[1].id]
        Outbox(ledger).settle("site", notices, taken=done, setbacks=[refused], at=later)
        assert [one.id for one in Outbox(ledger).claim("site", at=later)] == [notices[2].id]


def test_what_is_given_up_is_counted_and_can_be_tried_again(url: str) -> None:
    with subscribed(url) as ledger:
        synced(ledger, [reading(1, "ann@example.com"), reading(2, "bob@example.com")])
        notices = Outbox(ledger).claim("site", at=day(1))
        over = Setback(notices[0], "it answered 410", None, all_wait=False)
        Outbox(ledger).settle("site", notices, taken=(), setbacks=[over], at=day(1))
        (row,) = outbox.outboxes(ledger)
        assert (row.webhook, row.waiting, row.dead) == ("site", 1, 1)
        assert row.last_error == "it answered 410"
        assert len(Outbox(ledger).claim("site", at=day(90))) == 1
        assert outbox.revive(ledger, at=day(2)) == 2
        assert [one.attempts for one in Outbox(ledger).claim("site", at=day(2))] == [1, 1]


def test_what_was_given_up_long_ago_can_be_dropped(url: str) -> None:
    with subscribed(url) as ledger:
        synced(ledger, [reading(1, "ann@example.com")])
        notices = Outbox(ledger).claim("site", at=day(1))
        over = Setback(notices[0], "it answered 410", None, all_wait=False)
        Outbox(ledger).settle("site", notices, taken=(), setbacks=[over], at=day(1))
        assert purge_outbox(ledger, day(1), ["site"]) == 0
        assert purge_outbox(ledger, day(2), ["site"]) == 1


def test_what_waits_for_a_webhook_that_is_no_more_is_dropped_in_time(url: str) -> None:
    with subscribed(url) as ledger:
        synced(ledger, [reading(1, "ann@example.com")])
        assert purge_outbox(ledger, day(2), ["site"]) == 0
        assert purge_outbox(ledger, day(2), ["another"]) == 1


def blocked(address: str, said: str, reason: Reason = Reason.IP_BLOCKED) -> Bounce:
    verdict = Verdict(Outcome.BLOCKED, reason, Fault.SENDER, 0.9, "test/blocked", "We are refused.")
    return replace(bounce(address, reply=Reply(said, code=554)), verdict=verdict)


ZEN = "554 5.7.1 Client host [203.0.113.9] blocked using zen.spamhaus.org"


def test_whoever_begins_to_refuse_us_is_told_once_with_what_is_to_be_done(url: str) -> None:
    with subscribed(url) as ledger:
        letters = [reading(n, blocked(f"a{n}@example.com", ZEN)) for n in (1, 2)]
        synced(ledger, letters)
        ((kind, data),) = told(ledger)
        assert kind == "alarm.raised"
        assert data == {
            "mailbox": "news",
            "who": "example.com",
            "reason": "ip_blocked",
            "ours": "203.0.113.9",
            "blocklist": "Spamhaus",
            "page": "https://check.spamhaus.org",
            "events": 2,
        }
        synced(ledger, [reading(3, blocked("a3@example.com", ZEN), at=day(1))])
        assert len(told(ledger)) == 1, "it is known"
        other = blocked("a4@example.com", "550 bad reputation", Reason.DOMAIN_BLOCKED)
        synced(ledger, [reading(4, other), reading(5, blocked("b@example.net", ZEN))])
        found = {(data["who"], data["reason"]) for _, data in told(ledger)[1:]}
        assert found == {("example.com", "domain_blocked"), ("example.net", "ip_blocked")}


def test_a_refusal_after_two_quiet_days_is_news_again_and_an_old_one_never(url: str) -> None:
    with subscribed(url) as ledger:
        Pass(ledger).batch(reading(1, blocked("a@example.com", ZEN), at=day(0)), at=day(5))
        assert told(ledger) == [], "it was refused long before anybody read of it"
        Pass(ledger).batch(reading(2, blocked("a@example.com", ZEN), at=day(5)), at=day(5))
        Pass(ledger).batch(reading(3, blocked("a@example.com", ZEN), at=day(8)), at=day(8))
        assert [kind for kind, _ in told(ledger)] == 2 * ["alarm.raised"]


def test_what_the_recipient_is_blamed_for_raises_no_alarm(url: str) -> None:
    with subscribed(url) as ledger:
        refused = replace(
            blocked("a@example.com", "550 5.7.1 She refuses"),
            verdict=Verdict(
                Outcome.BLOCKED, Reason.RECIPIENT_REFUSED, Fault.RECIPIENT, 0.9, "test/no", "No."
            ),
        )
        synced(ledger, [reading(1, refused)])
        assert told(ledger) == []


def test_nothing_is_looked_up_for_alarms_that_nobody_asked_for(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bounced.ledger.refusals.news", pytest.fail)
    quiet = Subscription("site", frozenset({NoticeKind.SUPPRESSED}))
    with subscribed(url, quiet) as ledger:
        synced(ledger, [reading(1, blocked("a@example.com", ZEN))])
        assert told(ledger) == []


def test_two_who_deliver_at_once_tell_everything_once(url: str) -> None:
    letters = [reading(n, f"a{n:03}@example.com") for n in range(1, 121)]
    with subscribed(url, brake=Brake(floor=999)) as ledger:
        synced(ledger, letters)
        hook = webhooks.Webhook("site", "https://www.example.com/hook", b"sixteen bytes or more")
        got: list[str] = []

        def send(_webhook: webhooks.Webhook, notice: Notice, _at: datetime) -> None:
            time.sleep(0.002)  # that the others claim theirs meanwhile
            got.append(notice.message_id)

        def deliver(_: int) -> int:
            return webhooks.deliver(Outbox(ledger), hook, clock=lambda: day(1), send=send).taken

        with ThreadPoolExecutor(3) as several:
            taken = list(several.map(deliver, range(3)))
    assert sum(taken) == len(got) == len(set(got)) == 120


def test_nobody_loses_a_claim_while_they_deliver_as_slowly_as_they_may() -> None:
    assert timedelta(seconds=webhooks.DEADLINE) * outbox.AT_ONCE < outbox.CLAIM
