"""A person is forgotten without a trace, stays forgotten, and is told everything before."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bounced.ledger import Hearsay, LedgerError, Source, adopt, audit, erasure, retention
from bounced.ledger.erasure import Names
from bounced.model import NoticeKind, RecipientReport, Reply, Returned, Subscription
from bounced.policy import Brake, Incidents, Policy
from bounced.smtp import canonical
from bounced.trust import Key, make
from tests.servers.database import rows

from .conftest import START, bounce, day, on_the_list, opened, reading, synced

if TYPE_CHECKING:
    from pathlib import Path

    from bounced.ledger import Ledger
    from bounced.model import Reading

ANN = "ann@example.com"
PEPPER = b"a pepper of more than sixteen bytes"


def peppered(url: str, pepper: bytes | None = PEPPER, **more: Any) -> Ledger:
    return opened(url, pepper=lambda: pepper, **more)


def everything(url: str, ledger: Ledger) -> str:
    """All texts of all tables."""
    from bounced.ledger.tables import metadata

    with ledger._database.reading() as connection:
        found = [list(connection.execute(table.select())) for table in metadata.sorted_tables]
    return repr(found).lower()


def about_ann(uid: int, **report: Any) -> Reading:
    made = reading(uid, "Ann@example.com", "bob@example.com")
    returned = Returned(
        message_id="<1.ann=example.com@lists.example.org>", to="Ann <ann@example.com>"
    )
    known: dict[str, Any] = {
        "returned": returned,
        "message_id": f"<{uid}@mx.example.net>",
        **report,
    }
    conclusion = replace(made.conclusion, report=replace(made.conclusion.report, **known))
    return replace(made, conclusion=conclusion)


def known_everywhere(ledger: Ledger) -> None:
    """Ann in every table that can hold her."""
    synced(ledger, [about_ann(1)])
    synced(ledger, [reading(2, ANN), reading(3, bounce("joann@example.com", "soft"))])
    cited = bounce(
        "cy@example.com", reply=Reply("550 forwarded from <ann@example.com>: no", code=550)
    )
    synced(ledger, [reading(4, cited)])
    ledger.import_subscribers(
        [("ANN@example.com", "news"), ("joann@example.com", "news")], at=START
    )
    ledger.import_sent([("1@example.org", ANN)], at=START)
    adopt(
        ledger,
        Source("txt", "A list"),
        [Hearsay(ANN, said="ann@example.com gone")],
        owner="x:1",
        at=START,
        by="eve",
    )
    ledger.release([ANN], by="eve", note="ann@example.com wrote", at=day(1))
    visit = ledger.begin("news", owner="x:1", at=START)
    assert visit is not None
    ledger.end(visit, at=START, error="no mail for ann@example.com")


def test_nothing_but_a_keyed_hash_is_left_of_who_is_forgotten(url: str) -> None:
    told_to = (Subscription("site", frozenset(NoticeKind)),)
    with peppered(url, subscriptions=told_to) as ledger:
        known_everywhere(ledger)
        assert "ann@example.com" in everything(url, ledger).replace("joann@example.com", "")
        told = erasure.forget(ledger, ANN, at=day(2))
        left = everything(url, ledger).replace("joann@example.com", "")
        assert ANN not in left
        assert "ann=example.com" not in left
        assert told.deleted["event"] == 3
        assert told.deleted["subscriber"] == 1
        assert told.masked["event"] == 1
        assert ledger.explain(ANN).standing is None
        assert rows(url, "SELECT count(*) FROM tombstone") == [(1,)]


def test_others_lose_nothing_by_it(url: str) -> None:
    with peppered(url) as ledger:
        known_everywhere(ledger)
        before = [ledger.explain(one).standing for one in ("bob@example.com", "joann@example.com")]
        erasure.forget(ledger, ANN, at=day(2))
        after = [ledger.explain(one).standing for one in ("bob@example.com", "joann@example.com")]
        assert after == before
        assert ledger.explain("joann@example.com").lists == ("news",)
        (event,) = ledger.explain("cy@example.com").events
        assert event.diagnostic == "550 forwarded from <(forgotten)>: no"
        assert all(balance.balanced for balance in audit.balances(ledger))


def test_who_is_forgotten_does_not_come_back(url: str) -> None:
    with peppered(url) as ledger:
        erasure.forget(ledger, ANN, at=day(0))
        assert (
            ledger.import_subscribers(
                [("Ann@Example.com", "news"), ("bob@example.com", "news")], at=START
            )
            == 1
        )
        assert ledger.import_sent([("1@example.org", ANN)], at=START) == 0
        done = adopt(
            ledger, Source("txt", "A list"), [Hearsay(ANN)], owner="x:1", at=START, by="eve"
        )
        assert done is not None
        assert (done.new, done.suppressed) == (0, 0)
        last = synced(ledger, [about_ann(1)])
        assert (last.events, last.suppressed) == (1, 1), "of bob"
        alone = about_ann(2)
        conclusion = replace(alone.conclusion, bounces=alone.conclusion.bounces[:1])
        synced(ledger, [replace(alone, conclusion=conclusion)])
        left = everything(url, ledger)
        assert ANN not in left
        assert "ann=example.com" not in left
        assert all(balance.balanced for balance in audit.balances(ledger))


def test_who_is_forgotten_is_not_to_be_mailed_until_that_is_lifted(url: str) -> None:
    with peppered(url) as ledger:
        erasure.forget(ledger, ANN, at=day(0))
        ((given, row), (_, other)) = ledger.check(["Ann@example.com", "bob@example.com"], at=day(1))
        assert given == "Ann@example.com"
        assert row is not None
        assert row.reason == "forgotten"
        assert other is None
        assert ledger.unclear([ANN, "bob@example.com"], at=day(1))[ANN].suppressed
        assert erasure.lift(ledger, "ANN@example.com")
        assert not erasure.lift(ledger, ANN)
        assert ledger.unclear([ANN], at=day(1)) == {}
        synced(ledger, [reading(1, ANN)])
        assert on_the_list(ledger) == [ANN]


@pytest.mark.parametrize("pepper", [None, b"another pepper of sixteen bytes"])
def test_without_the_pepper_nothing_is_recorded_as_if_nobody_had_been_forgotten(
    url: str, pepper: bytes | None
) -> None:
    with peppered(url) as ledger:
        erasure.forget(ledger, ANN, at=day(0))
    with peppered(url, pepper) as ledger:
        with pytest.raises(LedgerError, match="pepper_file"):
            synced(ledger, [reading(1, ANN)])
        with pytest.raises(LedgerError, match="pepper_file"):
            ledger.import_subscribers([(ANN, "news")], at=START)
        assert ledger.explain(ANN).standing is None


def test_without_a_pepper_nobody_can_be_forgotten_and_that_is_said(ledger: Ledger) -> None:
    synced(ledger, [reading(1, ANN)])
    with pytest.raises(LedgerError, match=r"pepper_file.*chmod 600|chmod 600.*pepper_file"):
        erasure.forget(ledger, ANN, at=day(0))
    assert on_the_list(ledger) == [ANN]


def test_a_tombstone_cannot_be_tried_out_by_who_has_the_database_alone(url: str) -> None:
    import hashlib

    with peppered(url) as ledger:
        erasure.forget(ledger, ANN, at=day(0))
    ((digest, mark),) = rows(url, "SELECT digest, pepper FROM tombstone")
    guesses = {
        hashlib.sha256(text).hexdigest()
        for text in (ANN.encode(), b"bounced-tombstone1|" + ANN.encode())
    }
    assert digest not in guesses
    assert PEPPER.hex() not in (digest, mark)


def test_sqlite_keeps_no_bytes_of_it_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "bounced.db"
    with peppered(f"sqlite:///{path}") as ledger:
        known_everywhere(ledger)
        synced(ledger, [reading(n, f"a{n}@example.org") for n in range(10, 60)])
        erasure.forget(ledger, ANN, at=day(2))
        assert erasure.scour(ledger)
        left = b"".join(one.read_bytes() for one in tmp_path.iterdir()).lower()
    left = left.replace(b"joann@example.com", b"")
    assert ANN.encode() not in left
    assert b"ann=example.com" not in left
    assert b"a59@example.org" in left


def test_a_database_that_somebody_reads_is_told_as_not_scoured(tmp_path: Path) -> None:
    path = tmp_path / "bounced.db"
    with (
        peppered(f"sqlite:///{path}?timeout=0.1") as ledger,
        peppered(f"sqlite:///{path}?timeout=0.1") as other,
        other._database.reading() as connection,
    ):
        connection.exec_driver_sql("SELECT * FROM address").all()
        erasure.forget(ledger, ANN, at=day(2))
        assert not erasure.scour(ledger)


def test_everything_that_is_held_of_a_person_is_handed_out(url: str) -> None:
    with peppered(url) as ledger:
        known_everywhere(ledger)
        told, others = erasure.export(ledger, "Ann@Example.com")
        assert others == 1, "the report about cy"
        assert {row["address"] for row in told["address"]} == {ANN, "Ann@example.com"}
        assert len(told["judgement"]) == len(told["event"]) == 3
        assert told["subscriber"][0]["list"] == "news"
        assert told["sent"][0]["message_id"] == "1@example.org"
        assert told["release"]
        assert told["transition"]
        assert told["message"]
        assert "joann@example.com" not in json.dumps(told, default=str)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("<Ann@Example.com>: no", True),
        ("rfc822;ann@example.com", True),
        ("bounces+ann=example.com@lists.example.org", True),
        ("ann@example.com.", True),
        ("joann@example.com", False),
        ("x-ann@example.com", False),
        ("ann@example.com.au", False),
        ("ann@example.community", False),
        ("ann@sub.example.com", False),
    ],
)
def test_a_text_names_an_address_or_another(text: str, *, named: bool) -> None:
    names = Names(ANN)
    assert names.within(text) is named
    assert (names.masked(text) == text) is not named


def test_diagnostics_are_kept_without_names_where_that_is_asked_for(url: str) -> None:
    with opened(url, redact=True) as ledger:
        synced(ledger, [about_ann(1)])
        (event, *_) = ledger.explain("Ann@example.com").events
        assert event.diagnostic == "550 5.1.1 no ***@example.com"
        assert on_the_list(ledger) == ["Ann@example.com", "bob@example.com"]
    assert rows(url, "SELECT returned_to, returned_subject FROM message") == [(None, None)]


def test_what_is_stored_already_can_be_redacted(url: str) -> None:
    with opened(url) as ledger:
        synced(ledger, [about_ann(1), reading(2, "cy@example.com")])
        assert sum(retention.redact(ledger)) == 4
        assert sum(retention.redact(ledger)) == 0
        (event, *_) = ledger.explain("cy@example.com").events
        assert event.diagnostic == "550 5.1.1 no ***@example.com"


def test_old_reports_of_people_who_may_be_mailed_go_and_those_behind_a_suppression_stay(
    url: str,
) -> None:
    with opened(url) as ledger:
        synced(
            ledger,
            [
                reading(1, bounce("soft@example.com", "soft")),
                reading(2, bounce("both@example.com", "soft")),
                reading(3, bounce("both@example.com", "soft"), at=day(40)),
                reading(4, "hard@example.com"),
            ],
        )
        ledger.release(["nobody@example.com"], by="eve", note="", at=day(1))
        assert sum(retention.purge_events(ledger, day(30), at=day(50))) == 2
        assert sum(retention.purge_events(ledger, day(30), at=day(50))) == 0
        assert ledger.explain("soft@example.com").standing is None
        assert len(ledger.explain("both@example.com").events) == 1
        assert on_the_list(ledger, on=50) == ["hard@example.com"]
        assert "soft@example.com" not in everything(url, ledger)
        assert all(balance.balanced for balance in audit.balances(ledger))


def test_a_letter_whose_report_was_purged_is_not_recorded_anew(url: str) -> None:
    with opened(url) as ledger:
        synced(ledger, [reading(1, bounce("soft@example.com", "soft"))])
        assert sum(retention.purge_events(ledger, day(30), at=day(50))) == 1
        again = synced(ledger, [reading(9, bounce("soft@example.com", "soft"), key="letter 1")])
        assert (again.events, again.duplicates) == (0, 1)


def test_what_waits_for_a_decision_is_not_purged(url: str) -> None:
    with opened(url, brake=Brake(share=0, floor=1)) as ledger:
        synced(ledger, [reading(n, f"a{n}@example.com") for n in (1, 2, 3)])
        assert sum(retention.purge_events(ledger, day(30), at=day(50))) == 0


def test_a_report_that_names_one_person_in_two_ways_is_forgotten_whole(url: str) -> None:
    with peppered(url) as ledger:
        forwarded = RecipientReport(
            "far@example.net", Reply("550 no", code=550), original_address=ANN
        )
        made = bounce(ANN)
        synced(ledger, [reading(1, replace(made, recipient=forwarded))])
        erasure.forget(ledger, ANN, at=day(0))
        assert ANN not in everything(url, ledger)
        assert rows(url, "SELECT count(*) FROM event") == [(0,)]


def test_what_an_open_incident_keeps_waiting_is_not_purged(url: str) -> None:
    with opened(url, unusual=Incidents(floor=2, young_days=0)) as ledger:
        synced(ledger, [reading(n, f"a{n}@example.com", at=day(1)) for n in range(1, 5)])
        (waits,) = ledger.incidents()
        assert sum(retention.purge_events(ledger, day(30), at=day(50))) == 0
        ledger.decide_incident(waits.id, accept=False, by="eve", at=day(2))
        assert sum(retention.purge_events(ledger, day(30), at=day(50))) == 4


def test_who_has_anything_that_waits_is_left_whole(url: str) -> None:
    soft = [reading(n, bounce(f"a{n}@example.com", "soft")) for n in range(1, 5)]
    hard = [reading(10 + n, f"a{n}@example.com", at=day(1)) for n in range(1, 5)]
    with opened(url, unusual=Incidents(floor=2, young_days=0)) as ledger:
        synced(ledger, soft)
        synced(ledger, hard)
        (waits,) = ledger.incidents()
        assert sum(retention.purge_events(ledger, day(30), at=day(50))) == 0
        ledger.decide_incident(waits.id, accept=True, by="eve", at=day(51))
        assert len(on_the_list(ledger, on=52)) == 4


@pytest.mark.parametrize("odd", ["a_b%c/d'e@example.com", "x@example.com", "jö@bücher.example"])
def test_addresses_with_odd_letters_are_found_and_nobody_else(url: str, odd: str) -> None:
    with peppered(url) as ledger:
        synced(ledger, [reading(1, odd), reading(2, "axbxcxdxe@example.com")])
        synced(
            ledger,
            [reading(3, bounce("cy@example.org", reply=Reply(f"550 <{odd}> gone", code=550)))],
        )
        erasure.forget(ledger, odd, at=day(2))
        left = everything(url, ledger)
        assert odd not in left
        assert canonical(odd).lower() not in left
        assert on_the_list(ledger) == ["axbxcxdxe@example.com", "cy@example.org"]


def test_others_in_a_letter_about_who_is_forgotten_keep_their_proof(url: str) -> None:
    key = Key("a", b"sixteen bytes or some more of them")
    token = make(key, "bob@example.com", on=START.date(), id="news")
    envelope = (f"b+{token}@bounces.example.org",)
    with peppered(url, keys=lambda: (key,), policy=Policy(trust="verified")) as ledger:
        erasure.forget(ledger, ANN, at=day(0))
        synced(ledger, [about_ann(1, envelope=envelope)])
        assert on_the_list(ledger) == ["bob@example.com"]
        left = everything(url, ledger)
        assert ANN not in left
        assert "ann=example.com" not in left


def test_a_change_of_address_is_forgotten_with_either_and_the_other_is_told(url: str) -> None:
    with peppered(url) as ledger:
        ledger.import_subscribers([("ann@example.org", "news")], at=START)
        ledger.rename_subscriber("ann@example.org", ANN, by="eve", at=START)
        told = erasure.forget(ledger, ANN, at=day(0))
        assert told.former == ["ann@example.org"]
        assert told.deleted["moved"] == 1
        assert ANN not in everything(url, ledger)
        synced(ledger, [reading(1, "ann@example.org")])
        assert ANN not in everything(url, ledger)
        assert on_the_list(ledger) == ["ann@example.org"]
