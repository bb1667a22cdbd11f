"""What is known of providers, and what Gmail's labels mean for filing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from bounced import config
from bounced.config import ConfigError
from bounced.mailbox import MailboxSettings
from bounced.mailbox.providers import advice, provider_of, providers
from tests.fake_imap import CAPABILITY, FakeServer
from tests.mailbox.test_imap import LETTERS, PASSWORD, UIDS, filed, says, trouble

if TYPE_CHECKING:
    from pathlib import Path

    from bounced.config import MailboxConfig
    from tests.fake_imap import Session

GMAIL = f"{CAPABILITY} X-GM-EXT-1"


def loaded(folder: Path, text: str) -> MailboxConfig:
    path = folder / "config.toml"
    path.write_text(f'[[mailbox]]\nname = "news"\nuser = "b@example.com"\n{text}\n', "utf-8")
    return config.load(path).mailboxes[0]


def told(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text)
    return caught.value.problems


@pytest.mark.parametrize("name", sorted(providers()))
def test_a_provider_stands_for_host_port_and_encryption(tmp_path: Path, name: str) -> None:
    known = providers()[name]
    assert known.source
    assert known.advice.endswith(".")
    assert provider_of(known.host) is known, "its own host must lead to it"
    if not known.passwords:
        return
    mailbox = loaded(tmp_path, f'provider = "{name}"\npassword = "x"')
    assert (mailbox.host, mailbox.port, mailbox.tls) == (known.host, 993, "implicit")
    assert mailbox.processed == (known.processed or "Bounced/Processed")


def test_what_is_written_wins_over_the_provider(tmp_path: Path) -> None:
    mailbox = loaded(
        tmp_path, 'provider = "qq"\nhost = "imap.example.cn"\nquarantine = "Q"\npassword = "x"'
    )
    assert (mailbox.host, mailbox.quarantine) == ("imap.example.cn", "Q")
    assert mailbox.processed == "其他文件夹/Bounced-Processed"


def test_an_unknown_provider_is_told_with_the_nearest(tmp_path: Path) -> None:
    (problem, *_) = [p for p in told(tmp_path, 'provider = "gmial"\npassword = "x"') if "prov" in p]
    assert problem.startswith("mailbox[0].provider: expected one of ")
    assert problem.endswith("did you mean gmail?")
    assert any("provider" in p for p in told(tmp_path, 'provider = ["gmail"]\npassword = "x"'))


def test_a_password_for_microsoft_is_refused_with_the_cause(tmp_path: Path) -> None:
    (problem,) = told(tmp_path, 'provider = "microsoft365"\npassword = "x"')
    assert problem.startswith("mailbox[0].password: Microsoft has switched off passwords")
    assert "[mailbox.oauth2]" in problem


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("imap.gmail.com", "two-step"),
        ("outlook.office365.com", "oauth2"),
        ("imap.exmail.qq.com", "客户端专用密码"),
        ("imap.qq.com", "authorisation code"),
        ("imap.163.com", "authorisation code"),
        ("imap.mail.yahoo.com", "Yahoo"),
        ("mail.example.com", ""),
    ],
)
def test_a_refused_login_is_explained_by_the_host(host: str, said: str) -> None:
    assert said in advice(host)
    assert bool(advice(host)) == bool(said)


def test_every_table_of_the_book_uses_its_own_words_only() -> None:
    for known in providers().values():
        re.compile(known.hosts)
        assert set(known.settings()) <= {
            "host",
            "port",
            "tls",
            "processed",
            "unrecognised",
            "quarantine",
        }


def test_gmail_letters_leave_by_move_and_nothing_is_ever_marked_deleted() -> None:
    server = FakeServer(LETTERS, capability=GMAIL)
    assert filed(server, UIDS) == set(UIDS)
    assert server.said("UID MOVE")
    assert not server.said("UID STORE")


def test_gmail_without_move_is_refused_before_anything_is_touched() -> None:
    server = FakeServer(LETTERS, capability=GMAIL.replace(" MOVE", ""))
    problem = trouble(server)
    assert isinstance(problem, MailboxSettings)
    assert 'archive = "flag"' in str(problem)
    assert len(server.raws("INBOX")) == len(LETTERS)


def test_all_mail_of_gmail_is_no_folder_to_move_letters_out_of() -> None:
    def listed(session: Session, rest: bytes) -> bytes | None:
        if b"All Mail" not in rest:
            return None
        session.send(b'* LIST (\\HasNoChildren \\All) "/" "[Gmail]/All Mail"')
        return b"OK done"

    server = FakeServer(LETTERS, capability=GMAIL, answers={"LIST": listed})
    problem = trouble(server, folder="[Gmail]/All Mail")
    assert isinstance(problem, MailboxSettings)
    assert 'folder = "INBOX"' in str(problem)


def test_the_cause_is_named_when_a_login_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bounced.mailbox.trouble.advice", lambda _: advice("imap.gmail.com"))
    problem = trouble(FakeServer(answers={"LOGIN": says(b"NO [AUTHENTICATIONFAILED] no")}))
    assert "application password" in str(problem)
    assert PASSWORD not in str(problem)
