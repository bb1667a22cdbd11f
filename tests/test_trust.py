"""Tokens prove what they say and nothing else; wrappings of envelope senders come off."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bounced.decode import decode
from bounced.message import read
from bounced.smtp import unwrapped
from bounced.trust import Key, find, make, owner, verify

OLD = Key("a", b"an old secret of 16 bytes or more")
NEW = Key("b", b"a new secret of 16 bytes or more!")
DAY = date(2026, 11, 23)
TOKEN = make(OLD, "Ann@Example.com", on=DAY, id="news7")


def right(
    token: str,
    recipient: str = "ann@example.com",
    *,
    after: int = 0,
    keys: tuple[Key, ...] = (NEW, OLD),
) -> bool:
    found = find(token)
    return found is not None and verify(found, recipient, keys, on=DAY + timedelta(days=after))


def test_a_token_is_right_for_its_recipient_in_any_case() -> None:
    assert right(TOKEN)
    assert right(TOKEN.upper(), "ANN@example.COM")


def test_a_token_keeps_its_format() -> None:
    assert "aujmnews7-" + TOKEN[-16:] == TOKEN
    assert TOKEN[1:4] == "ujm", "20 * 1024 + 9 * 32 + 12 = day 20780"
    assert len(f"b+{make(OLD, 'a@example.com', on=DAY, id='x' * 41)}") <= 64


@pytest.mark.parametrize("recipient", ["bob@example.com", "ann@example.org", "", "ann"])
def test_a_token_is_wrong_for_everyone_else(recipient: str) -> None:
    assert not right(TOKEN, recipient)


def test_no_letter_of_a_token_may_change() -> None:
    for place, letter in enumerate(TOKEN):
        other = "c" if letter != "c" else "d"
        changed = TOKEN[:place] + other + TOKEN[place + 1 :]
        assert not right(changed), changed


@pytest.mark.parametrize(
    ("after", "valid"), [(-2, False), (-1, True), (0, True), (30, True), (31, False)]
)
def test_a_token_lives_thirty_days(after: int, *, valid: bool) -> None:
    assert right(TOKEN, after=after) is valid


def test_old_keys_are_good_for_as_long_as_they_are_kept() -> None:
    assert right(TOKEN, keys=(NEW, OLD))
    assert not right(TOKEN, keys=(NEW,))
    same_name = Key("a", b"quite another secret under that name")
    assert right(TOKEN, keys=(same_name, OLD))
    assert not right(TOKEN, keys=(same_name,))


@given(
    st.emails(),
    st.dates(date(2020, 1, 1), date(2055, 1, 1)),
    st.text("abz27", min_size=1, max_size=41),
)
def test_every_token_that_is_made_is_found_and_right(recipient: str, day: date, name: str) -> None:
    token = make(NEW, recipient, on=day, id=name)
    found = find(f"b+{token}@bounces.example.com")
    assert found is not None
    assert verify(found, recipient, (NEW,), on=day)


@pytest.mark.parametrize(
    "address",
    [
        "b+{}@bounces.example.com",
        "<B+{}@Bounces.Example.COM>",
        "bounces-{}@example.com",
        "{}@example.com",
        "{}",
        "prvs=1234567890=b+{}@example.com",
        "SRS0=ab12=XY=example.com=b+{}@forwarder.example.net",
    ],
)
def test_a_token_is_found_wherever_it_travels(address: str) -> None:
    assert owner(
        [address.format(TOKEN)], ["bob@example.com", "ann@example.com"], [OLD], on=DAY
    ) == ("ann@example.com")


@pytest.mark.parametrize(
    "address",
    ["", "@", "ann@example.com", "b+x-y@example.com", f"{TOKEN}x@example.com", "-" * 5000],
)
def test_what_is_no_token_is_none(address: str) -> None:
    assert find(address) is None


def test_a_token_for_nobody_in_the_report_proves_nothing() -> None:
    assert owner([f"b+{TOKEN}@x.example.com"], ["bob@example.com"], [OLD], on=DAY) is None
    assert owner([f"b+{TOKEN}@x.example.com"], ["ann@example.com"], [], on=DAY) is None


@pytest.mark.parametrize(
    ("key", "secret"), [("", b"x" * 16), ("ab", b"x" * 16), ("1", b"x" * 16), ("a", b"short")]
)
def test_a_key_must_have_a_letter_and_a_secret_worth_the_name(key: str, secret: bytes) -> None:
    with pytest.raises(ValueError, match=r"id is one of|too short") as told:
        Key(key, secret)
    assert "short'" not in str(told.value)


def test_a_key_shows_nobody_its_secret() -> None:
    assert "secret" not in repr(OLD)


@pytest.mark.parametrize("name", ["", "Upper", "with-dash", "a" * 42, "1"])
def test_an_id_that_would_not_survive_the_journey_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="an id is"):
        make(OLD, "ann@example.com", on=DAY, id=name)


@pytest.mark.parametrize(
    ("wrapped", "plain"),
    [
        ("ann@example.com", "ann@example.com"),
        ("prvs=0123abcdef=ann@example.com", "ann@example.com"),
        ("prvs=ann/0123abcdef@example.com", "ann@example.com"),
        ("SRS0=HHHH=TT=example.com=ann@forwarder.example.net", "ann@example.com"),
        ("srs0+HHHH=TT=example.com=ann@forwarder.example.net", "ann@example.com"),
        (
            "SRS1=GGGG=first.example.net==HHHH=TT=example.com=ann@second.example.org",
            "ann@example.com",
        ),
        ("SRS0=H=T=example.com=prvs=0123abcdef=ann@f.example.net", "ann@example.com"),
        ("box+SRS=Ab12=XY=example.com=ann@forwarder.example.net", "ann@example.com"),
        ("SRS0=broken@example.net", "SRS0=broken@example.net"),
        ("prvs=nothex0000=ann@example.com", "prvs=nothex0000=ann@example.com"),
    ],
)
def test_envelope_senders_come_out_of_their_wrappings(wrapped: str, plain: str) -> None:
    assert unwrapped(wrapped) == plain


@given(st.text(max_size=300))
def test_unwrapping_and_finding_never_raise(text: str) -> None:
    assert isinstance(unwrapped(text), str)
    find(text)


def test_the_places_where_a_token_may_be_are_read_from_a_notice() -> None:
    notice = (
        b"Delivered-To: b+topmost@bounces.example.com\nTo: Bounces <b+to@bounces.example.com>\n"
        b"From: MAILER-DAEMON@example.net\nSubject: Undelivered Mail Returned to Sender\n"
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
        b"--b\nContent-Type: text/plain\n\nno such user\n"
        b"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\n"
        b"Final-Recipient: rfc822; ann@example.com\nAction: failed\nStatus: 5.1.1\n\n"
        b"--b\nContent-Type: text/rfc822-headers\n\nReturn-Path: <b+path@bounces.example.com>\n"
        b"X-Bounced-Token: theheader\nTo: ann@example.com\nSubject: News\n\n--b--\n"
    )
    report = decode(read(notice))
    assert report.envelope == (
        "b+topmost@bounces.example.com",
        "b+to@bounces.example.com",
        "b+path@bounces.example.com",
        "theheader",
    )


def test_the_snippet_for_senders_makes_the_tokens_that_we_verify(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "policy.md").read_text("utf-8")
    snippets = [part.partition("```")[0] for part in page.split("```python\n")[1:]]
    (code,) = [one for one in snippets if "def envelope_sender" in one]
    known: dict[str, Any] = {}
    exec(code, known)  # noqa: S102 - our own documentation
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
    monkeypatch.setattr("time.time", lambda: noon)
    made = known["envelope_sender"](" Ann.B@Example.com ", OLD.secret, id="news7")
    token = make(OLD, "ann.b@example.com", on=DAY, id="news7")
    assert made == f"b+{token}@bounces.example.com"
