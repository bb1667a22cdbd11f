"""Which list refuses us, what of ours, and where to go."""

from __future__ import annotations

import pytest

from bounced import alarms
from bounced.model import Reason
from bounced.receivers import owns, receiver_of, receivers

SAID = {
    "Spamhaus": "550 5.7.1 Service unavailable; client [192.0.2.7] blocked using zen.spamhaus.org",
    "Microsoft's own list (Outlook.com)": (
        "550 5.7.1 Unfortunately, messages from [192.0.2.7] weren't sent. Please contact your "
        "Internet service provider since part of their network is on our block list (S3140)."
    ),
    "Microsoft 365's own list": (
        "550 5.7.606 Access denied, banned sending IP [192.0.2.7]. To request removal from this "
        "list please visit https://sender.office.com/"
    ),
    "Barracuda": "554 b.barracudacentral.org: http://www.barracudacentral.org/reputation?ip=192.0.2.7",
    "Yahoo's own list": "421 4.7.0 [TSS04] Messages from 192.0.2.7 temporarily deferred",
}


@pytest.mark.parametrize("name", SAID)
def test_the_list_the_page_and_our_address_are_found_in_a_reply(name: str) -> None:
    found, page = alarms.named(SAID[name], None)
    assert found == name
    assert page is not None
    assert alarms.ours(SAID[name], Reason.IP_BLOCKED, "news@example.org") == "192.0.2.7"


def test_where_no_list_is_named_the_receivers_own_page_is_the_place_to_go() -> None:
    assert alarms.named("550 you are not welcome", "t-online") == (
        None,
        "https://postmaster.t-online.de",
    )
    assert alarms.named("550 you are not welcome", None) == (None, None)


@pytest.mark.parametrize(
    ("said", "reason", "sender", "expected"),
    [
        ("550 IP 2001:db8::1 blocked", Reason.IP_BLOCKED, None, "2001:db8::1"),
        ("550 DMARC, from 192.0.2.7", Reason.AUTH_FAILURE, "N <n@Example.org>", "example.org"),
        ("550 DMARC", Reason.AUTH_FAILURE, None, None),
        ("550 version 1.2.3.4.5 of 999.1.1.1", Reason.SPAM_BLOCK, None, None),
        ("550 blocked", Reason.SPAM_BLOCK, "news@example.org", "example.org"),
        ("550 at 10:20:30 refused", Reason.IP_BLOCKED, "no address", None),
    ],
)
def test_what_of_ours_is_refused(
    said: str, reason: Reason, sender: str | None, expected: str | None
) -> None:
    assert alarms.ours(said, reason, sender) == expected


def test_every_entry_of_the_books_can_be_met_and_has_a_page_that_is_one() -> None:
    for one in alarms.blocklists():
        assert one.says or one.pattern, one.name
        assert one.page.startswith("https://"), one.name
        assert all(words == words.lower() for words in one.says), one.name
    for known in receivers().values():
        assert known.hosts, known.name
        assert known.page is None or known.page.startswith("https://"), known.name
        assert all(owns(known.name, domain) for domain in known.domains), known.name


@pytest.mark.parametrize(
    ("host", "domain", "expected"),
    [
        ("gmail-smtp-in.l.google.com", "example.org", "google"),
        ("outlook-com.olc.protection.outlook.com.", "hotmail.com", "outlook"),
        ("example-org.mail.protection.outlook.com", "example.org", "microsoft365"),
        ("mx.notgoogle.com", "example.org", None),
        (None, "gmail.com", "google"),
        ("mx.example.org", "gmail.com", "google"),
        (None, "example.org", None),
    ],
)
def test_a_receiver_is_known_by_the_host_that_answered_or_by_the_domain(
    host: str | None, domain: str, expected: str | None
) -> None:
    assert receiver_of(host, domain) == expected
