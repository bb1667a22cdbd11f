"""A secret is in no output, log line, traceback, database or file of any run that fails.

Every secret that a configuration can hold is a canary; every command that fails, however it does,
is heard through, and everything that it left on the disk is searched.
"""

from __future__ import annotations

import json
import os
import signal
import smtplib
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from bounced import failpoint
from tests import forked
from tests.cli.conftest import process
from tests.cli.test_sync import configure, finished, letters, until
from tests.fake_imap import FakeServer, HangUp, Session
from tests.servers.authority import Authority
from tests.servers.database import empty_ledger
from tests.test_failpoints import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CANARY = "Zeisig-4711-Kanari"
# Where secrets lie because they are kept there, in files of the operator's or their owner's alone.
KEPT = ("config.toml", "secret", "tokens")


def found(folder: Path, *said: str) -> list[str]:
    """Where the canary is heard: in what was said, and in what was left in the folder."""
    places = [text for text in said if CANARY in text]
    for path in folder.rglob("*"):
        known = path.relative_to(folder).parts[0] in KEPT
        if path.is_file() and not known and CANARY.encode() in path.read_bytes():
            places.append(str(path))
    return places


def box(port: int, **more: object) -> dict[str, object]:
    where = {"host": "127.0.0.1", "port": port, "tls": "none", "user": "ops"}
    return {"name": "box", **where, "password": CANARY, **more}


def echoing(answer: bytes) -> Callable[[Session, bytes], bytes]:
    return lambda session, rest: answer


def hang_up(session: Session, rest: bytes) -> bytes:
    raise HangUp


LOGINS: dict[str, Callable[[Session, bytes], bytes]] = {
    "refused with the password": lambda session, rest: b"NO [AUTHENTICATIONFAILED] not " + rest,
    "not understood": lambda session, rest: b"BAD what is LOGIN " + rest,
    "busy": lambda session, rest: b"NO [UNAVAILABLE] later, " + rest,
    "in base64": echoing(b"NO " + CANARY.encode() + b" is wrong"),
    "hung up": hang_up,
}


@pytest.mark.parametrize("how", LOGINS)
@pytest.mark.parametrize("verb", ["LOGIN", "SELECT", "UID SEARCH", "UID FETCH", "UID MOVE"])
def test_a_server_that_repeats_the_password_is_quoted_without_it(
    verb: str, how: str, tmp_path: Path
) -> None:
    def answer(session: Session, rest: bytes) -> bytes:
        return LOGINS[how](session, rest + b" " + CANARY.encode())

    with FakeServer(letters(2), answers={verb: answer}) as server:
        configure(tmp_path, box(server.port))
        code, said = forked.run("--debug", "sync", cwd=tmp_path)
        told, shown = forked.run("status", "--json", cwd=tmp_path)
    assert (code, bool(said)) != (0, False)
    assert found(tmp_path, said, shown) == []
    assert told in {0, 1}


@pytest.mark.parametrize("deed", ["error", "full", "database", "lost", "bug"])
@pytest.mark.parametrize("step", STEPS)
def test_no_fault_at_any_step_shows_a_secret(step: str, deed: str, tmp_path: Path) -> None:
    """`bug` is a mistake of ours, told with its traceback."""

    def mistake() -> None:
        password = CANARY  # a traceback shows lines, never what is in variables
        raise RuntimeError(len(password))

    with FakeServer(letters(2)) as server:
        configure(tmp_path, box(server.port))
        (tmp_path / "bounced.db").write_bytes(empty_ledger())
        code, said = forked.run(
            "--debug",
            "sync",
            cwd=tmp_path,
            plan=f"{step}:1:{deed}",
            before=lambda: failpoint.DEEDS.update(bug=mistake),
        )
    assert code in ({70} if deed == "bug" else {0, 75}), said
    assert ("Traceback" in said) == (deed == "bug")
    assert found(tmp_path, said) == []


CONFIGURATIONS = {
    "a list": 'password = ["{0}"]',
    "a key misspelt": 'passwrod = "{0}"',
    "two ways at once": 'password = "{0}"\npassword_env = "{0}"',
    "a variable that is not set": 'password_env = "ABSENT"',
    "a file that is not there": 'password_file = "absent"\npassword = "{0}"',
    "a command that fails": "password_command = \"echo '{0}' >&2; echo '{0}'; exit 3\"",
    "a command that says nothing": "password_command = \"echo '{0}' >&2\"",
    "two lines": 'password = "{0}\\nLOGOUT"',
    "no TOML": 'password = "{0}',
    "a table": '[mailbox.password]\nvalue = "{0}"',
    "an OAuth2 key misspelt": '[mailbox.oauth2]\nflow = "refresh_token"\nrefresh_tokne = "{0}"',
    "an OAuth2 secret too many": 'password = "{0}"\n[mailbox.oauth2]\nclient_secret = "{0}"',
    "a token key": '[[token_key]]\nid = "a b"\nsecret = "{0}"',
    "a token key that is short": '[[token_key]]\nid = "a"\nsecret = {{ s = "{0}" }}',
    "a webhook": '[[webhook]]\nname = "x"\nurl = 5\nsecret = "{0}"',
    "a pepper": 'password = "x"\n[[token_key]]\nid = "a"\nsecret = ["{0}"]',
    "a database's password": '[database]\nurl = "postgresql://u:{0}@127.0.0.1:1/none"',
    "a database's password, misspelt": '[database]\nurl = "postgersql//u:{0}@127.0.0.1:1/none"',
    "a database of no kind": '[database]\nurl = "oracle://u:{0}@127.0.0.1:1/none"',
}
WORDS = (
    ("sync",), ("run",), ("doctor",), ("status",), ("audit",), ("login", "box"), ("suppressed",),
    ("lmtp", "./lmtp.sock"),
)  # fmt: skip


@pytest.mark.parametrize("wrong", CONFIGURATIONS)
def test_what_is_wrong_with_a_configuration_is_told_without_its_secrets(
    wrong: str, tmp_path: Path
) -> None:
    lines = CONFIGURATIONS[wrong].format(CANARY)
    mailbox = '[[mailbox]]\nname = "box"\nhost = "127.0.0.1"\ntls = "none"\nuser = "u"\n'
    first = lines if lines.startswith("[database]") else ""
    password = 'password = "x"\n' if lines.startswith("[") else ""
    rest = "" if first else f"{lines}\n"
    (tmp_path / "config.toml").write_text(f"{first}\n{mailbox}{password}{rest}")
    (tmp_path / "config.toml").chmod(0o600)
    said, codes = [], []
    for words in WORDS:
        started = forked.fork("--debug", *words, cwd=tmp_path)
        time.sleep(0.3 if words[0] in {"run", "lmtp"} else 0)
        with suppress(ProcessLookupError):
            if words[0] in {"run", "lmtp"}:
                os.kill(started.pid, signal.SIGTERM)
        code, text = started.end()
        said.append(text)
        codes.append(code)
    assert any(codes)
    assert found(tmp_path, *said) == []


def oauth2(folder: Path, port: int, authority: Authority, **more: str) -> None:
    table = box(port)
    del table["password"]
    configure(folder, table)
    login = {
        "flow": "refresh_token",
        "provider": "custom",
        "client_id": "client",
        "refresh_token": f"refresh-{CANARY}",
        "client_secret": f"client-{CANARY}",
        "token_url": authority.url("token"),
        **more,
    }
    with (folder / "config.toml").open("a") as file:
        file.write("[mailbox.oauth2]\n")
        file.writelines(f"{key} = {json.dumps(value)}\n" for key, value in login.items())


def _json(**answer: object) -> bytes:
    return json.dumps(answer).encode()


ENDPOINTS: dict[str, tuple[int, bytes] | None] = {
    "another client's secret": None,  # it describes the whole form in its refusal
    "an error that repeats the token": (
        400,
        _json(error="invalid_grant", error_description=f"bad token refresh-{CANARY}"),
    ),
    "a page": (500, f"<html>client-{CANARY}</html>".encode()),
    "no JSON": (200, f"access-{CANARY}".encode()),
    "a token that is a list": (200, _json(access_token=[f"access-{CANARY}"], expires_in=5)),
    "a token with a line end": (200, _json(access_token=f"access-{CANARY}\r\nx", expires_in=5)),
    "a time that is none": (200, _json(access_token=f"access-{CANARY}", expires_in=CANARY)),
    "a way elsewhere": (302, f"http://127.0.0.1:1/?token=refresh-{CANARY}".encode()),
}


@pytest.fixture
def authority() -> Iterator[Authority]:
    with Authority(secret=f"client-{CANARY}", refresh_token=f"refresh-{CANARY}") as one:
        yield one


@pytest.mark.parametrize("what", ENDPOINTS)
def test_an_endpoint_that_repeats_what_it_was_told_is_quoted_without_it(
    what: str, authority: Authority, tmp_path: Path
) -> None:
    if ENDPOINTS[what] is None:
        authority.secret = "another"
    authority.broken = ENDPOINTS[what]
    with FakeServer(letters(1), capability="IMAP4rev1 AUTH=XOAUTH2 MOVE UIDPLUS") as server:
        oauth2(tmp_path, server.port, authority)
        said = [forked.run("--debug", *words, cwd=tmp_path) for words in (("sync",), ("doctor",))]
        shown = forked.run("status", "--json", cwd=tmp_path)[1]
    if what != "a time that is none":  # of that nothing is believed, but the token is good
        assert all(code != 0 for code, _ in said), said
    assert found(tmp_path, shown, *(text for _, text in said)) == []


def test_a_server_that_repeats_the_access_token_is_quoted_without_it(
    authority: Authority, tmp_path: Path
) -> None:
    authority.broken = (200, _json(access_token=f"access-{CANARY}", expires_in=3600))

    def refuse(session: Session, rest: bytes) -> bytes:
        session.send(b"+ ")
        session._read_line()
        return b"NO [AUTHENTICATIONFAILED] not the token access-" + CANARY.encode()

    with FakeServer(
        capability="IMAP4rev1 AUTH=XOAUTH2", answers={"AUTHENTICATE": refuse}
    ) as server:
        oauth2(tmp_path, server.port, authority)
        code, said = forked.run("--debug", "sync", cwd=tmp_path)
    assert (code, "did not accept the token" in said) == (2, True), said
    assert found(tmp_path, said) == []


@pytest.mark.parametrize("form", [(), ("--log-json",)])
def test_the_log_of_a_run_that_fails_again_and_again_holds_no_secret(
    form: tuple[str, ...], authority: Authority, tmp_path: Path
) -> None:
    authority.broken = ENDPOINTS["an error that repeats the token"]
    refused = LOGINS["refused with the password"]
    with FakeServer(answers={"LOGIN": refused}) as one, FakeServer() as other:
        oauth2(tmp_path, other.port, authority)
        text = (tmp_path / "config.toml").read_text().replace('"box"', '"tokens"')
        configure(tmp_path, box(one.port, every="1s"))
        with (tmp_path / "config.toml").open("a") as file:
            file.write(text)
        running = process("--debug", "run", *form, cwd=tmp_path)
        log = until(running, "failed")
        log += until(running, "failed")
        (tmp_path / "config.toml").write_text(f'[[mailbox]]\npasswrod = "{CANARY}"\n')
        running.send_signal(signal.SIGHUP)
        log += until(running, "configuration not read")
        running.terminate()
        code, out, err = finished(running, 20)
    assert code == 0
    assert found(tmp_path, out, err, *log) == []


def test_the_log_of_lmtp_holds_no_secret(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'[[token_key]]\nid = "a"\nsecret = "{CANARY}"\n')
    (tmp_path / "config.toml").chmod(0o600)
    code = (
        "import bounced.sync, bounced.cli\n"
        "def broken(*_): raise RuntimeError('no reader')\n"
        "bounced.sync.read_letter = broken\n"
        "bounced.cli.main()"
    )
    running = process("--debug", "lmtp", "./lmtp.sock", cwd=tmp_path, code=code)
    until(running, "event=started")
    client = smtplib.LMTP(str(tmp_path / "lmtp.sock"))
    with pytest.raises(smtplib.SMTPDataError):
        client.sendmail("", ["b@example.com"], letters(1)[0])
    client.close()
    running.terminate()
    ended, out, err = finished(running, 20)
    assert (ended, "Traceback" in err) == (0, True), err
    assert found(tmp_path, out, err) == []
