"""One file, one frozen Config, all errors at once."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from bounced import config
from bounced.config import (
    Config,
    ConfigError,
    Database,
    MailboxConfig,
    OAuth2Config,
    Privacy,
    Secret,
)
from bounced.model import Reason
from bounced.policy import Brake, Incidents, Policy

EXAMPLE = Path(__file__).parents[1] / "config.example.toml"
KEY = re.compile(r"^(?:# )?([a-z_]+) = ", re.MULTILINE)


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "config.toml"
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def mailbox(**keys: str) -> str:
    """A [[mailbox]] table; each value is TOML."""
    table = {"name": '"news"', "host": '"imap.example.com"', "user": '"b"', "password": '"pw"'}
    return "[[mailbox]]\n" + "".join(f"{k} = {v}\n" for k, v in (table | keys).items())


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.load(written(folder, text))
    return list(caught.value.problems)


def test_the_example_loads_and_says_what_the_defaults_are() -> None:
    loaded = config.load(EXAMPLE)
    assert [box.name for box in loaded.mailboxes] == ["newsletter"]
    assert loaded.policy == Policy()
    assert loaded.brake == Brake()


def keys_of_the_example() -> dict[str, set[str]]:
    """The keys under each heading of the example, those that are commented out included."""
    found: dict[str, set[str]] = {}
    pieces = re.split(r"^\[+([a-z]+)\]+$", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)
    for heading, text in zip(["", *pieces[1::2]], pieces[0::2], strict=True):
        found[heading] = set(KEY.findall(text))
    return found


def test_the_example_explains_every_key_and_no_other() -> None:
    def names(cls: type) -> set[str]:
        return {part.name for part in dataclasses.fields(cls)}

    assert keys_of_the_example() == {
        "": {"never_suppress", "rules", "quarantine_copies", "token_folder"},
        "database": names(Database),
        "mailbox": names(MailboxConfig) - {"oauth2"} | set(config.SECRET_KEYS),
        "policy": names(Policy) | {"scope"},
        "brake": names(Brake),
        "incidents": names(Incidents),
        "privacy": names(Privacy) - {"pepper"} | {"pepper_file"},
    }


def test_the_example_shows_every_key_of_oauth2() -> None:
    shown = set(re.findall(r"^#   ([a-z_]+) = ", EXAMPLE.read_text("utf-8"), re.MULTILINE))
    bare = {re.sub(r"_(env|file|command)$", "", key) if "key" not in key else key for key in shown}
    assert bare == {part.name for part in dataclasses.fields(OAuth2Config)}


# keys that exclude one another: taking one up means putting the other down
RIVALS = {key: set(config.SECRET_KEYS) - {key} for key in config.SECRET_KEYS}
RIVALS["path"] = {"host", "user", *config.SECRET_KEYS}
COMPANIONS = {"client_key": 'client_certificate = "client.pem"'}


@pytest.mark.parametrize(
    "line", re.findall(r"^# [a-z_]+ = .*$", EXAMPLE.read_text("utf-8"), re.MULTILINE)
)
def test_every_line_of_the_example_that_is_commented_out_can_be_taken_up(
    tmp_path: Path, line: str
) -> None:
    text = EXAMPLE.read_text("utf-8").replace(line, line.removeprefix("# "))
    key = KEY.match(line)[1]  # type: ignore[index]
    companion = COMPANIONS.get(key, "")
    text = text.replace(f"# {companion}", companion) if companion else text
    for rival in RIVALS.get(key, ()):
        text = re.sub(rf"^{rival} = .*$", "", text, flags=re.MULTILINE)
    before = config.load(EXAMPLE)
    after = config.load(written(tmp_path, text))
    if key in {part.name for part in dataclasses.fields(Policy)} - {"soft_weights", "expires_days"}:
        assert after.policy == before.policy, "the example must show the default"
    if key in {"share", "floor"}:
        assert after.brake == before.brake, "the example must show the default"
        assert after.incidents == before.incidents, "the example must show the default"
    assert key in tomllib.loads(text.split("[database]")[0]) or f"\n{key} = " in text


def test_all_errors_are_told_at_once_with_key_and_nearest_word(tmp_path: Path) -> None:
    text = (
        "ruls = []\n[database]\nurl = 5\n"
        + mailbox(prot="143", tls='"implict"', every='"5 parsecs"')
        + mailbox(port="70000", batch="0", archive='"mvoe"')
        + "[policy]\nhard_at_one = 0.9\nsoft_threshold = '3'\n[brake]\nshare = -1\n"
    )
    told = problems(tmp_path, text)
    for start, ending in {
        "ruls": "did you mean rules?",
        "database.url": "got 5",
        "mailbox[0].prot": "did you mean port?",
        "mailbox[0].tls": "did you mean implicit?",
        "mailbox[0].every": "got '5 parsecs'",
        "mailbox[1].port": "got 70000",
        "mailbox[1].batch": "got 0",
        "mailbox[1].archive": "did you mean move?",
        "mailbox[1].name": "names must be unique",
        "policy.hard_at_one": "did you mean hard_at_once?",
        "policy.soft_threshold": "got '3'",
        "brake.share": "got -1",
    }.items():
        assert [p for p in told if p.startswith(f"{start}:") and p.endswith(ending)], (start, told)
    assert len(told) == 12


@pytest.mark.parametrize("missing", ["name", "host", "user"])
def test_a_mailbox_without_what_it_needs_is_an_error(tmp_path: Path, missing: str) -> None:
    text = re.sub(rf"^{missing} = .*\n", "", mailbox(), flags=re.MULTILINE)
    assert problems(tmp_path, text) == [
        f"mailbox[0].{missing}: missing; every [[mailbox]] needs it"
    ]


def test_what_the_policy_itself_forbids_is_a_configuration_error(tmp_path: Path) -> None:
    assert problems(tmp_path, "[policy]\nhard_at_once = 3\n")[0].startswith("policy: hard_at_once")


def test_a_file_that_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    assert "line 2" in problems(tmp_path, "[database]\nurl = oops\n")[0]


def test_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        config.load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("written_as", "seconds"),
    [("90s", 90), ("5m", 300), ("1h", 3600), ("1.5 h", 5400), ("2d", 172800)],
)
def test_durations_are_read(tmp_path: Path, written_as: str, seconds: float) -> None:
    loaded = config.load(written(tmp_path, mailbox(every=f'"{written_as}"')))
    assert loaded.mailboxes[0].every == seconds


@pytest.mark.parametrize("wrong", ["", "5", "m", "-5m", "0s", "5m 3s", "5 minutes"])
def test_what_is_no_duration_is_refused(tmp_path: Path, wrong: str) -> None:
    assert problems(tmp_path, mailbox(every=f'"{wrong}"'))[0].startswith(
        "mailbox[0].every: expected"
    )


@pytest.mark.parametrize(
    "right", ["*/10 * * * *", "0 0 * * 0", "0 0 * * 7", "5,35 8-18/2 1 jan mon-fri", "0 0 1-15 * *"]
)
def test_cron_times_are_accepted(tmp_path: Path, right: str) -> None:
    assert config.load(written(tmp_path, mailbox(cron=f'"{right}"'))).mailboxes[0].cron == right


@pytest.mark.parametrize(
    "wrong",
    ["* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
     "*/0 * * * *", "9-5 * * * *", "* * * * mo", "@daily", "1- * * * *", "*/90 * * * *"],
)  # fmt: skip
def test_what_is_no_cron_time_is_refused(tmp_path: Path, wrong: str) -> None:
    assert problems(tmp_path, mailbox(cron=f'"{wrong}"'))[0].startswith("mailbox[0].cron: expected")


def test_every_and_cron_exclude_each_other(tmp_path: Path) -> None:
    told = problems(tmp_path, mailbox(every='"5m"', cron='"* * * * *"'))
    assert told == ["mailbox[0]: has both every and cron; keep one of them"]


def secret(folder: Path, key: str, value: str) -> Secret:
    text = re.sub(r"^password = .*$", f"{key} = {value}", mailbox(), flags=re.MULTILINE)
    found = config.load(written(folder, text)).mailboxes[0].password
    assert found is not None
    return found


def test_a_password_can_come_from_four_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOUNCED_TEST_PASSWORD", "from env")
    (tmp_path / "pw").write_text("from file\n")
    assert secret(tmp_path, "password", '"as it is "').reveal() == "as it is "
    assert secret(tmp_path, "password_env", '"BOUNCED_TEST_PASSWORD"').reveal() == "from env"
    assert secret(tmp_path, "password_file", '"pw"').reveal() == "from file"
    command = '["sh", "-c", "echo from command; echo more"]'
    assert secret(tmp_path, "password_command", command).reveal() == "from command"
    assert secret(tmp_path, "password_command", "\"echo 'two words'\"").reveal() == "two words"


def test_systemd_credentials_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "imap").write_text("s3cret")
    assert secret(tmp_path, "password_file", '"$CREDENTIALS_DIRECTORY/imap"').reveal() == "s3cret"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("password_env", '"BOUNCED_TEST_UNSET"', "no variable BOUNCED_TEST_UNSET"),
        ("password_file", '"nowhere"', "No such file"),
        (
            "password_command",
            '["sh", "-c", "echo hunter2; echo hunter2 >&2; exit 3"]',
            "exit code 3",
        ),
        ("password_command", '"/nowhere/pass"', "No such file"),
    ],
)
def test_a_password_that_cannot_be_had_is_told_and_only_when_it_is_needed(
    tmp_path: Path, key: str, value: str, said: str
) -> None:
    place = secret(tmp_path, key, value)  # loading looks nothing up
    with pytest.raises(ConfigError, match=said) as caught:
        place.reveal()
    assert "hunter2" not in str(caught.value)


def test_two_places_for_one_password_are_one_too_many(tmp_path: Path) -> None:
    told = problems(tmp_path, mailbox(password_env='"X"'))
    assert len(told) == 1
    assert told[0].startswith("mailbox[0].password: has password and password_env; keep one")


def test_no_repr_shows_a_password(tmp_path: Path) -> None:
    text = '[database]\nurl = "postgresql://u:dbsecret@h/d"\n' + mailbox(password='"mailsecret"')
    shown = repr(config.load(written(tmp_path, text)))
    assert "***" in shown
    assert "dbsecret" not in shown
    assert "mailsecret" not in shown


def test_a_wrong_password_value_is_not_repeated(tmp_path: Path) -> None:
    assert "hunter2" not in str(problems(tmp_path, mailbox(password='["hunter2"]')))


def test_a_password_in_a_file_that_others_may_read_is_warned_of(tmp_path: Path) -> None:
    loaded = config.load(written(tmp_path, mailbox(), mode=0o644))
    assert len(loaded.warnings) == 1
    assert "chmod 600" in loaded.warnings[0]
    assert config.load(written(tmp_path, mailbox(), mode=0o600)).warnings == ()
    harmless = mailbox().replace('password = "pw"', 'password_env = "X"')
    assert config.load(written(tmp_path, harmless, mode=0o644)).warnings == ()
    url = '[database]\nurl = "postgresql://u:dbsecret@h/d"\n' + harmless
    assert len(config.load(written(tmp_path, url, mode=0o644)).warnings) == 1


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    text = 'rules = ["own.toml"]\n[database]\nurl = "x.db"\n' + mailbox(ca_file='"ca.pem"')
    loaded = config.load(written(tmp_path, text))
    assert loaded.database.url == f"sqlite:///{tmp_path}/x.db"
    assert loaded.rules == (tmp_path / "own.toml",)
    assert loaded.mailboxes[0].ca_file == tmp_path / "ca.pem"


def test_a_database_url_is_taken_as_it_is(tmp_path: Path) -> None:
    loaded = config.load(written(tmp_path, '[database]\nurl = "postgresql://h/d"\n'))
    assert loaded.database.url == "postgresql://h/d"


def test_policy_weights_by_reason_reach_the_policy(tmp_path: Path) -> None:
    loaded = config.load(written(tmp_path, "[policy]\nsoft_weights = { expired = 2 }\n"))
    assert loaded.policy == Policy(soft_weights={Reason.EXPIRED: 2.0})
    told = problems(tmp_path, "[policy]\nsoft_weights = { expird = 2 }\n")
    assert told[0].startswith("policy.soft_weights: ")
    assert told[0].endswith("did you mean expired?")


def test_the_configuration_is_looked_for_in_three_places(tmp_path: Path) -> None:
    here, named, home = config.places(
        {"BOUNCED_CONFIG": "/etc/b.toml", "XDG_CONFIG_HOME": str(tmp_path)}
    )
    assert (here, named, home) == (
        Path("config.toml"),
        Path("/etc/b.toml"),
        tmp_path / "bounced/config.toml",
    )


def test_an_absent_configuration_is_told_with_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"looked for config\.toml, /no/b\.toml, "):
        config.find({"BOUNCED_CONFIG": "/no/b.toml", "XDG_CONFIG_HOME": str(tmp_path)})


def test_the_empty_file_is_a_configuration_with_no_mailbox(tmp_path: Path) -> None:
    loaded = config.load(written(tmp_path, ""))
    assert loaded == dataclasses.replace(
        Config(Database(f"sqlite:///{tmp_path}/bounced.db")), path=tmp_path / "config.toml"
    )


def oauth2(**keys: str) -> str:
    """A mailbox that logs in by OAuth2; each value is TOML."""
    text = re.sub(r"^password = .*\n", "", mailbox(), flags=re.MULTILINE)
    return text + "[mailbox.oauth2]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())


@pytest.mark.parametrize(
    "keys",
    [
        {
            "provider": '"microsoft"',
            "flow": '"client_credentials"',
            "client_id": '"c"',
            "client_secret": '"s3cret"',
        },
        {"provider": '"microsoft"', "flow": '"device_code"', "client_id": '"c"'},
        {"provider": '"google"', "client_id": '"c"', "refresh_token": '"s3cret"'},
        {"provider": '"google"', "flow": '"service_account"', "key_file": '"key.json"'},
        {"client_id": '"c"', "refresh_token": '"s3cret"', "token_url": '"https://example.com/t"'},
    ],
)
def test_each_flow_of_oauth2_can_be_configured(tmp_path: Path, keys: dict[str, str]) -> None:
    login = config.load(written(tmp_path, oauth2(**keys))).mailboxes[0].oauth2
    assert login is not None
    assert login.provider == keys.get("provider", '"custom"').strip('"')
    assert "s3cret" not in repr(login)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"client_id": '"c"', "refresh_token": '"r"'}, "token_url: missing"),
        ({"provider": '"google"', "flow": '"device_code"'}, "flow: google offers"),
        ({"provider": '"microsoft"', "flow": '"client_credentials"'}, "client_secret: missing"),
        ({"provider": '"microsft"'}, "did you mean microsoft?"),
        ({"flow": '"service_account"'}, "flow: custom offers"),
        ({"client_idd": '"c"'}, "did you mean client_id?"),
        ({"client_secret": '"s3cret"', "client_secret_env": '"X"'}, "keep one of them"),
    ],
)
def test_what_is_missing_for_oauth2_is_told(
    tmp_path: Path, keys: dict[str, str], said: str
) -> None:
    told = problems(tmp_path, oauth2(**keys))
    assert all(problem.startswith("mailbox[0].oauth2") for problem in told)
    assert any(said in problem for problem in told), told
    assert "s3cret" not in str(told)


def test_a_password_beside_oauth2_is_one_too_many(tmp_path: Path) -> None:
    text = mailbox() + '[mailbox.oauth2]\nprovider = "microsoft"\n'
    text += 'flow = "device_code"\nclient_id = "c"\n'
    assert problems(tmp_path, text) == [
        "mailbox[0]: has both a password and oauth2; keep one of them"
    ]


def test_a_provider_brings_its_own_oauth2(tmp_path: Path) -> None:
    text = oauth2(flow='"device_code"', client_id='"c"').replace(
        'host = "imap.example.com"', 'provider = "microsoft365"'
    )
    box = config.load(written(tmp_path, text)).mailboxes[0]
    assert box.oauth2 is not None
    assert (box.host, box.oauth2.provider) == ("outlook.office365.com", "microsoft")


def test_a_client_secret_that_others_may_read_is_warned_of(tmp_path: Path) -> None:
    text = oauth2(
        provider='"microsoft"',
        flow='"client_credentials"',
        client_id='"c"',
        client_secret='"s3cret"',
    )
    (warning,) = config.load(written(tmp_path, text, mode=0o644)).warnings
    assert "chmod 600" in warning


def test_several_folders_are_as_many_mailboxes_and_the_first_keeps_the_name(
    tmp_path: Path,
) -> None:
    folders = """["INBOX", 'Spam/Old', '\\Junk']"""
    (account,) = config.load(written(tmp_path, mailbox(folders=folders))).mailboxes
    boxes = list(account.each_folder())
    assert [(box.name, box.folder) for box in boxes] == [
        ("news", "INBOX"),
        ("news/Spam/Old", "Spam/Old"),
        ("news/Junk", "\\Junk"),
    ]
    assert {box.account for box in boxes} == {"news"}
    (single,) = config.load(written(tmp_path, mailbox(folder='"Bounces"'))).mailboxes
    assert [(box.name, box.folder) for box in single.each_folder()] == [("news", "Bounces")]


def test_folders_that_cannot_be_emptied_are_told(tmp_path: Path) -> None:
    both = mailbox(folder='"INBOX"', folders='["INBOX", "Junk"]')
    assert problems(tmp_path, both) == ["mailbox[0]: has both folder and folders; keep one of them"]
    pile = mailbox(folders='["INBOX", "Bounced/Processed"]')
    assert "cannot be emptied" in problems(tmp_path, pile)[0]
    assert "cannot be emptied" in problems(tmp_path, mailbox(folder='"X"', processed='"X"'))[0]
    twice = mailbox(folders='["INBOX", "Junk", "Junk"]')
    assert "names must be unique" in problems(tmp_path, twice)[0]
    clash = mailbox(folders='["INBOX", "Junk"]') + mailbox(name='"news/Junk"')
    assert "'news/Junk' is the name of mailbox[0]" in problems(tmp_path, clash)[0]


def test_a_folder_of_files_needs_no_server(tmp_path: Path) -> None:
    text = '[[mailbox]]\nname = "local"\npath = "spool"\nprocessed = "done"\n'
    (box,) = config.load(written(tmp_path, text)).mailboxes
    assert box.path == tmp_path / "spool"
    assert box.piles == {
        "processed": tmp_path / "done",
        "unrecognised": tmp_path / "spool-bounced/Unrecognised",
        "quarantine": tmp_path / "spool-bounced/Quarantine",
    }


def test_a_folder_of_files_takes_nothing_that_is_for_servers(tmp_path: Path) -> None:
    told = problems(tmp_path, mailbox(path='"spool"', archive='"flag"'))
    assert [line.partition(":")[0] for line in told] == [
        f"mailbox[0].{key}" for key in ("host", "user", "password", "archive")
    ]


@pytest.mark.parametrize(
    ("policy", "trust"),
    [("", "verified"), ('trust = "matched"', "matched"), ('trust = "any"', "any")],
)
def test_a_key_for_tokens_makes_proof_the_rule_unless_the_operator_says_otherwise(
    tmp_path: Path, policy: str, trust: str
) -> None:
    path = tmp_path / "config.toml"
    key = '[[token_key]]\nid = "a"\nsecret = "sixteen bytes or some more"\n'
    path.write_text(f"[policy]\n{policy}\n{key}")
    path.chmod(0o600)
    assert config.load(path).policy.trust == trust
    path.write_text(f"[policy]\n{policy}\n")
    assert config.load(path).policy.trust == ("any" if not policy else trust)


LISTS = """
[policy]
refused_events = 3
scope = "list"
[policy.lists."news"]
token_ids = ["weekly"]
list_ids = ["News.example.com"]
soft_threshold = 2.0
[[mailbox]]
name = "box"
path = "waiting"
list = "news"
"""


def test_lists_take_what_they_do_not_change_from_the_policy(tmp_path: Path) -> None:
    lists = config.load(written(tmp_path, LISTS)).lists
    assert lists.apart
    assert lists.policies == {"news": Policy(refused_events=3, soft_threshold=2.0)}
    assert lists.token_ids == {"weekly": "news"}
    assert lists.list_ids == {"news.example.com": "news"}
    assert lists.mailboxes == {"box": "news"}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('scope = "list"', "", 'policy.lists: a list has a policy of its own with scope = "list"'),
        ('"list"', '"lists"', "policy.scope: "),
        ("soft_threshold", "soft_treshold", 'policy.lists."news".soft_treshold: unknown key'),
        ("soft_threshold = 2.0", 'trust = "any"', "policy.lists: trust is the same for all lists"),
        ('[policy.lists."news"]', "[[policy.lists]]", "policy.lists: expected tables"),
    ],
)
def test_what_is_wrong_with_lists_is_told(tmp_path: Path, old: str, new: str, told: str) -> None:
    found = problems(tmp_path, LISTS.replace(old, new))
    assert any(one.startswith(told) for one in found), found
