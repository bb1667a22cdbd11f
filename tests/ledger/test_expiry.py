"""A suppression that ends by itself is a change like others: audited, told, and done once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bounced.ledger.outbox import Outbox
from bounced.model import NoticeKind, Reason, Subscription
from bounced.policy import Lists, Policy
from tests.servers.database import rows

from .conftest import bounce, day, on_the_list, opened, reading, synced
from .test_lists import about, refusal

if TYPE_CHECKING:
    from bounced.ledger import Ledger
    from bounced.model import RecipientReport, Verdict

ANN = "ann@example.com"


def subscribed(url: str, **more: Any) -> Ledger:
    return opened(url, subscriptions=(Subscription("site", frozenset(NoticeKind)),), **more)


def told(ledger: Ledger) -> list[tuple[str, dict[str, Any]]]:
    notices = Outbox(ledger).claim("site", at=day(100), limit=100)
    Outbox(ledger).settle("site", notices, taken=(), setbacks=(), at=day(0))
    payloads = [json.loads(notice.payload) for notice in notices]
    return [(one["type"], one["data"]) for one in payloads]


def _judged(recipient: RecipientReport) -> Verdict:
    return bounce("", "gone" if recipient.address == ANN else "soft").verdict


def test_the_end_of_a_suppression_is_told_and_in_the_audit_at_its_time(url: str) -> None:
    with subscribed(url) as ledger:
        synced(ledger, [reading(1, bounce(ANN, "gone")), reading(2, "bob@example.com")])
        assert ledger.end_expired(at=day(89)) == 0
        assert on_the_list(ledger, on=89) == [ANN, "bob@example.com"]
        assert ledger.end_expired(at=day(95)) == 1
        kinds = [(kind, data["address"], data["by"]) for kind, data in told(ledger)]
        assert kinds[2:] == [("address.released", ANN, "expiry")]
        (_, data) = told(ledger)[2]
        assert (data["at"], data["reason"]) == ("2026-04-01T12:00:00Z", "mailbox_disabled")
        assert "ended on 2026-04-01" in data["because"]
        last = ledger.explain(ANN).transitions[-1]
        assert (last.actor, last.from_suppressed, last.to_suppressed) == ("expiry", True, False)
        assert (last.at, last.run_id, last.decision_id) == (day(90), None, None)
        assert ledger.end_expired(at=day(96)) == 0, "once is enough"
        assert len(told(ledger)) == 3


def test_noting_an_end_changes_nothing_else(ledger: Ledger, url: str) -> None:
    synced(ledger, [reading(1, bounce(ANN, "gone")), reading(2, bounce("bob@example.com", "soft"))])
    view = "SELECT address FROM suppression"
    before = rows(url, view)
    ledger.end_expired(at=day(95))
    assert rows(url, view) == before
    gone = bounce("", "gone").verdict
    pieces = ledger.reclassified(lambda recipient, _: _judged(recipient), at=day(96))
    assert [change for piece in pieces for change in piece.changes] == []
    history = ledger.explain(ANN)
    assert history.standing is not None
    assert history.standing.reason is gone.reason, "what is known of the mailbox stays"
    assert not history.standing.suppressed
    synced(ledger, [reading(3, bounce(ANN, "gone"), at=day(97))])
    assert on_the_list(ledger, on=98) == [ANN]


def test_the_end_on_one_list_is_told_of_that_list(url: str) -> None:
    strict = Lists("list", {"news": Policy(refused_events=1)})
    with subscribed(url, lists=strict) as ledger:
        synced(ledger, [about("news", 1, refusal(ANN)), about("other", 2, refusal(ANN))])
        assert [row.list for row in ledger.suppressed(at=day(1))] == ["news"]
        assert ledger.end_expired(at=day(31)) == 1
        (_, began), (kind, ended) = told(ledger)
        assert (kind, began["list"], ended["list"]) == ("address.released", "news", "news")
        assert ended["expires_at"] is None
        assert ledger.explain(ANN).on_lists == {}
        assert ledger.end_expired(at=day(32)) == 0


def test_a_policy_that_lets_it_last_longer_by_now_suppresses_again_and_says_so(url: str) -> None:
    with opened(url) as ledger:
        synced(ledger, [reading(1, bounce(ANN, "gone"))])
        assert on_the_list(ledger, on=95) == []
    longer = Policy(expires_days={Reason.MAILBOX_DISABLED: 0})
    with subscribed(url, policy=longer) as ledger:
        assert ledger.end_expired(at=day(95)) == 1
        assert on_the_list(ledger, on=95) == [ANN]
        assert [kind for kind, _ in told(ledger)] == ["address.released", "address.suppressed"]
        assert ledger.end_expired(at=day(96)) == 0


def test_the_end_of_many_goes_in_pieces(url: str) -> None:
    names = [f"a{number:05}@example.com" for number in range(1200)]
    with opened(url) as ledger:
        for some in (names[:600], names[600:]):
            letters = [reading(int(n[1:6]), bounce(n, "gone")) for n in some]
            synced(ledger, letters)
            for held in ledger.holds():
                ledger.decide(held.run_id, accept=True, by="eve", at=day(0))
        assert ledger.end_expired(at=day(90)) == 1200
        assert rows(url, "SELECT count(*) FROM transition WHERE actor = 'expiry'") == [(1200,)]
