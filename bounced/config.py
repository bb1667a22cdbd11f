"""One TOML file becomes one frozen `Config`, or a list of everything that is wrong with it.

All errors are found in one reading, each with the key's path (`mailbox[1].prot`), what was
expected and the nearest valid word. Secrets are named here and looked up only when a server asks.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import shlex
import stat
import subprocess
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NewType, TypeVar

from bounced.mailbox.providers import Authority, Flow, providers
from bounced.model import NoticeKind, Subscription
from bounced.policy import Brake, Incidents, Lists, Policy
from bounced.text import safe
from bounced.trust import Key
from bounced.webhooks import Webhook, key_of, wrong_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from enum import StrEnum

    from bounced.mailbox.providers import Provider

# A secret is written under one of these keys, its own name being the first.
SECRET_PLACES: Final = ("", "_env", "_file", "_command")
SECRET_KEYS: Final = tuple(f"password{place}" for place in SECRET_PLACES)
# What a password command may take before we stop waiting for it.
COMMAND_SECONDS: Final = 30

TOP_LEVEL: Final = (
    "database",
    "mailbox",
    "policy",
    "brake",
    "incidents",
    "never_suppress",
    "rules",
    "quarantine_copies",
    "token_folder",
    "token_key",
    "webhook",
    "privacy",
)
# A folder such as "\\Junk" is the one that the server marks so (RFC 6154).
SPECIAL: Final = "\\"
DURATION: Final = 'a duration such as "90s", "5m", "1h" or "2d"'

# Shapes that a plain type does not tell: the reader below knows how each is written in TOML.
Seconds = NewType("Seconds", float)
Positive = NewType("Positive", int)
Port = NewType("Port", int)
Cron = NewType("Cron", str)
Numbers = TypeVar("Numbers", Policy, Brake, Incidents)
Scope = Literal["global", "list"]
Tls = Literal["implicit", "starttls", "none"]
Archive = Literal["move", "flag"]


class ConfigError(Exception):
    """The configuration cannot be used; `problems` holds every reason, one sentence each."""

    def __init__(self, problems: tuple[str, ...], path: Path | None = None) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.path = path


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is to be had. Shows `***`, and looks it up only in `reveal()`.

    `source` is the key it was given by: the secret's own name, or that with `_env`, `_file` or
    `_command` behind it.
    """

    source: str
    value: str | tuple[str, ...]
    folder: Path = Path()

    def __repr__(self) -> str:
        return "***"

    def reveal(self) -> str:
        """The password itself. Raises ConfigError when the place that should hold it does not."""
        if self.source.endswith("_env"):
            return self._from_environment(str(self.value))
        if self.source.endswith("_file"):
            return self._from_file(str(self.value))
        if self.source.endswith("_command"):
            return self._from_command()
        return str(self.value)

    def _from_environment(self, name: str) -> str:
        if name not in os.environ:
            trouble = f"the environment has no variable {name}; set it where bounced is started"
            raise ConfigError((f"{self.source}: {trouble}",))
        return os.environ[name]

    def _from_file(self, name: str) -> str:
        path = self.folder / Path(os.path.expandvars(name)).expanduser()
        try:
            return path.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as problem:
            why = getattr(problem, "strerror", None) or "not UTF-8"
            raise ConfigError(
                (f"{self.source}: cannot read {path}: {why}; name a file that this user can read",)
            ) from None

    def _from_command(self) -> str:
        words = shlex.split(self.value) if isinstance(self.value, str) else list(self.value)
        # What the command printed is a secret, and so may its error be: neither is repeated.
        try:
            done = subprocess.run(  # noqa: S603 - the operator's own command, without a shell
                words, capture_output=True, check=True, timeout=COMMAND_SECONDS, text=True
            )
        except subprocess.CalledProcessError as problem:
            trouble = f"ended with exit code {problem.returncode}"
        except subprocess.TimeoutExpired:
            trouble = f"gave no answer in {COMMAND_SECONDS} s"
        except (OSError, UnicodeDecodeError) as problem:
            trouble = getattr(problem, "strerror", None) or "did not print UTF-8"
        else:
            return done.stdout.split("\n", 1)[0].rstrip("\r")
        raise ConfigError(
            (f"{self.source}: {words[0]}: {trouble}; type it yourself to see what it says",)
        )


@dataclass(frozen=True, slots=True)
class Database:
    """The ledger's database, as an SQLAlchemy URL. Its repr hides a password in it."""

    url: str

    def __repr__(self) -> str:
        return f"Database({hide_password(self.url)!r})"


@dataclass(frozen=True, slots=True)
class OAuth2Config:
    """How a mailbox gets its access tokens; FLOW_NEEDS says what is needed when."""

    flow: Flow = "refresh_token"
    provider: Authority = "custom"
    client_id: str = ""
    client_secret: Secret | None = None
    refresh_token: Secret | None = None
    tenant: str = "common"
    scope: str | None = None
    token_url: str | None = None
    device_url: str | None = None
    key_file: Path | None = None
    store: Literal["file", "keyring"] = "file"


# Which flows an authority offers for mail, and which keys each flow needs.
FLOWS: Final[dict[str, tuple[str, ...]]] = {
    "microsoft": ("client_credentials", "device_code", "refresh_token"),
    "google": ("refresh_token", "service_account"),
    "custom": ("client_credentials", "device_code", "refresh_token"),
}
FLOW_NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "client_credentials": ("client_id", "client_secret"),
    "device_code": ("client_id",),
    "refresh_token": ("client_id", "refresh_token"),
    "service_account": ("key_file",),
}


@dataclass(frozen=True, slots=True)
class MailboxConfig:
    """One IMAP account, or the folder at `path`, to be emptied.

    `every` is in seconds and counts when `cron` is None.
    `provider` fills in what is not given (`bounced.mailbox.providers`). With `folders` it stands
    for several mailboxes; `each_folder` has them one by one.
    """

    name: str
    path: Path | None = None
    provider: str | None = None
    host: str = ""
    user: str = ""
    password: Secret | None = None
    oauth2: OAuth2Config | None = None
    port: Port = Port(993)
    tls: Tls = "implicit"
    folder: str = "INBOX"
    folders: tuple[str, ...] = ()
    archive: Archive = "move"
    processed: str = "Bounced/Processed"
    unrecognised: str = "Bounced/Unrecognised"
    quarantine: str = "Bounced/Quarantine"
    every: Seconds = Seconds(300.0)
    cron: Cron | None = None
    idle: bool = True
    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    allow_plaintext: bool = False
    batch: Positive = Positive(500)
    list: str = ""

    def each_folder(self) -> Iterator[MailboxConfig]:
        """A mailbox for each folder: the first under the name itself, others as `name/folder`.

        So a database that knows the mailbox goes on when more folders are added behind.
        """
        for number, folder in enumerate(self.folders or (self.folder,)):
            name = f"{self.name}/{folder.lstrip(SPECIAL)}" if number else self.name
            yield dataclasses.replace(self, name=name, folder=folder)

    @property
    def piles(self) -> dict[str, Path]:
        """For a `path`: where letters go, by key; beside it where the keys are not given."""
        if self.path is None:
            return {}
        beside = self.path.parent / f"{self.path.name}-bounced"
        chosen = {
            "processed": (self.processed, "Bounced/Processed"),
            "unrecognised": (self.unrecognised, "Bounced/Unrecognised"),
            "quarantine": (self.quarantine, "Bounced/Quarantine"),
        }
        return {
            key: beside / usual.partition("/")[2] if name == usual else self.path.parent / name
            for key, (name, usual) in chosen.items()
        }

    @property
    def account(self) -> str:
        """The name in the configuration, whichever of its folders this is."""
        extra = self.folder in self.folders[1:]
        return self.name.removesuffix(f"/{self.folder.lstrip(SPECIAL)}") if extra else self.name


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key for the tokens that bounces are known by, under its one-letter id."""

    id: str
    secret: Secret

    def reveal(self) -> Key:
        """The key itself. Raises ConfigError."""
        try:
            return Key(self.id, self.secret.reveal().encode())
        except ValueError as problem:
            raise ConfigError((f"token_key: {problem}",)) from None


@dataclass(frozen=True, slots=True)
class Privacy:
    """How long what is kept (0: until a person deletes it), and by what the forgotten are known."""

    keep_raw_days: int = 0
    keep_events_days: int = 0
    keep_sent_days: int = 0
    redact: bool = False
    pepper: Secret | None = None

    def reveal(self) -> bytes | None:
        """The pepper itself, None where there is none. Raises ConfigError."""
        if self.pepper is None:
            return None
        pepper = self.pepper.reveal().strip().encode()
        if len(pepper) < 16:
            raise ConfigError(("privacy: the pepper is too short; 16 bytes are the least",))
        return pepper


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """Where to tell of changes, and of which; `give_up` is in seconds."""

    name: str
    url: str
    secret: Secret
    events: tuple[NoticeKind, ...] = tuple(NoticeKind)
    give_up: Seconds = Seconds(5 * 86400.0)

    def reveal(self) -> Webhook:
        """The webhook with its secret. Raises ConfigError."""
        try:
            key = key_of(self.secret.reveal())
            return Webhook(self.name, self.url, key, timedelta(seconds=self.give_up))
        except ValueError as problem:
            raise ConfigError((f"webhook {self.name}: {problem}",)) from None

    @property
    def subscription(self) -> Subscription:
        """What the ledger keeps notices by."""
        return Subscription(self.name, frozenset(self.events))


@dataclass(frozen=True, slots=True)
class Config:
    """All that the operator decides. `path` is the file it came from; `warnings` are sentences."""

    database: Database
    mailboxes: tuple[MailboxConfig, ...] = ()
    policy: Policy = field(default_factory=Policy)
    lists: Lists = field(default_factory=Lists)
    brake: Brake = field(default_factory=Brake)
    incidents: Incidents = field(default_factory=Incidents)
    never_suppress: tuple[str, ...] = ()
    rules: tuple[Path, ...] = ()
    quarantine_copies: Path | None = None
    token_folder: Path | None = None
    token_keys: tuple[TokenKey, ...] = ()
    webhooks: tuple[WebhookConfig, ...] = ()
    privacy: Privacy = field(default_factory=Privacy)
    path: Path | None = None
    warnings: tuple[str, ...] = ()

    def keys(self) -> tuple[Key, ...]:
        """The keys of tokens, looked up now. Raises ConfigError."""
        return tuple(key.reveal() for key in self.token_keys)

    @property
    def quarantine_folder(self) -> Path:
        """Where raw copies of unreadable letters are kept: as configured, or near the database."""
        return self.quarantine_copies or self._near / "quarantine"

    @property
    def ingested_folder(self) -> Path:
        """Where raw copies of ingested letters are kept, in a folder for each pile."""
        return self.quarantine_folder.parent / "ingested"

    @property
    def tokens(self) -> Path:
        """Where OAuth2 tokens are kept: as configured, or near the database."""
        return self.token_folder or self._near / "tokens"

    @property
    def _near(self) -> Path:
        """The folder of an SQLite database; of others, that of the configuration."""
        kind, _, name = self.database.url.partition(":///")
        near = Path(name) if kind == "sqlite" and name else self.path
        return Path() if near is None else near.parent


def hide_password(url: str) -> str:
    """A database URL as it may be shown."""
    return safe(re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url))


def database_url(text: str, folder: Path = Path()) -> str:
    """An SQLAlchemy URL from a URL or from a file's path (relative to `folder`).

    Raises ConfigError for what looks like a URL and is none: taken for a path it would be shown,
    and with it the password in it.
    """
    if "://" in text:
        return text
    if re.search(r":[^/]*@", text):
        raise ConfigError(
            ("the database is neither a path nor a URL (kind://user:password@host/name)",)
        )
    return f"sqlite:///{folder / Path(text).expanduser()}"


def example() -> str:
    """The text of config.example.toml, which `bounced init` writes."""
    here = Path(__file__).parent
    for path in (here / "_config.example.toml", here.parent / "config.example.toml"):
        if path.is_file():
            return path.read_text("utf-8")
    raise ConfigError(("this installation lacks its config.example.toml; install it again",))


def places(environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Where the configuration is looked for when nobody names it, first place first."""
    named = environment.get("BOUNCED_CONFIG")
    home = environment.get("XDG_CONFIG_HOME") or "~/.config"
    named_place = (Path(named),) if named else ()
    return (Path("config.toml"), *named_place, Path(home).expanduser() / "bounced/config.toml")


def find(environment: Mapping[str, str] = os.environ) -> Path:
    """The first of `places` that exists. Raises ConfigError saying where it looked."""
    looked = places(environment)
    for path in looked:
        if path.is_file():
            return path
    where = ", ".join(str(path) for path in looked)
    raise ConfigError((f"no configuration found (looked for {where})",))


def load(path: Path) -> Config:
    """Read one file. Raises ConfigError with every problem in it."""
    try:
        with path.open("rb") as file:
            permissions = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            table = tomllib.load(file)
    except OSError as problem:
        raise ConfigError((f"cannot be read: {problem.strerror}",), path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError((f"is not valid TOML: {problem}",), path) from None
    return _Reading(path, permissions).config(table)


class _Reading:
    """One reading of one file: collects problems instead of stopping at the first."""

    def __init__(self, path: Path, permissions: int) -> None:
        self.path = path
        self.folder = path.parent
        self.permissions = permissions
        self.problems: list[str] = []

    def config(self, table: dict[str, Any]) -> Config:
        self._unknown(table, TOP_LEVEL, "")
        database = self._table(
            Database, table.get("database", {}), "database", {"url": "bounced.db"}
        )
        mailboxes = list(self._mailboxes(table.get("mailbox", [])))
        own_policies, lists = self._lists(table)
        policy = self._table(Policy, table.get("policy", {}), "policy")
        brake = self._table(Brake, table.get("brake", {}), "brake")
        incidents = self._table(Incidents, table.get("incidents", {}), "incidents")
        spared = self._value(table.get("never_suppress", []), tuple[str, ...], "never_suppress")
        rules = self._value(table.get("rules", []), tuple[Path, ...], "rules")
        folders = {
            name: self._value(table[name], Path, name)
            for name in ("quarantine_copies", "token_folder")
            if name in table
        }
        token_keys = list(self._token_keys(table.get("token_key", [])))
        webhooks = list(self._webhooks(table.get("webhook", [])))
        privacy = self._table(Privacy, table.get("privacy", {}), "privacy")
        if token_keys:  # whoever gives mail tokens can tell forgeries, and expects us to
            policy.setdefault("trust", "verified")
        if policy.get("trust") == "verified" and not token_keys:
            self.problems.append('policy.trust: "verified" needs a [[token_key]] to verify with')
        if self.problems:
            raise ConfigError(tuple(self.problems), self.path)
        return Config(
            database=Database(database_url(database["url"], self.folder)),
            mailboxes=tuple(_mailbox(keys) for keys in mailboxes),
            policy=self._built(Policy, policy, "policy"),
            lists=Lists(
                **lists,
                policies={
                    name: self._built(Policy, {**policy, **keys}, f'policy.lists."{name}"')
                    for name, keys in own_policies.items()
                },
                mailboxes={
                    box.name: one.list
                    for one in map(_mailbox, mailboxes)
                    for box in one.each_folder()
                    if one.list
                },
            ),
            brake=self._built(Brake, brake, "brake"),
            incidents=self._built(Incidents, incidents, "incidents"),
            never_suppress=spared,
            rules=rules,
            **folders,
            token_keys=tuple(TokenKey(**keys) for keys in token_keys),
            webhooks=tuple(WebhookConfig(**keys) for keys in webhooks),
            privacy=Privacy(**privacy),
            path=self.path,
            warnings=tuple(self._warnings(table)),
        )

    def _lists(self, table: dict[str, Any]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        """`scope` and `lists`, taken out of [policy]: the lists' own policies, keys for Lists."""
        policy = table.get("policy")
        if not isinstance(policy, dict):
            return {}, {}
        rest = {name: value for name, value in policy.items() if name not in {"scope", "lists"}}
        scope = self._value(policy.get("scope", "global"), Scope, "policy.scope")
        names = policy.get("lists", {})
        if not isinstance(names, dict) or not all(isinstance(one, dict) for one in names.values()):
            self.problems.append('policy.lists: expected tables, each as [policy.lists."NAME"]')
            names = {}
        table["policy"] = rest
        policies: dict[str, dict[str, Any]] = {}
        known: dict[str, dict[str, str]] = {"token_ids": {}, "list_ids": {}}
        for name, keys in names.items():
            at = f'policy.lists."{name}"'
            for word, found in known.items():
                for one in self._value(keys.get(word, []), tuple[str, ...], f"{at}.{word}") or ():
                    found[one.lower()] = name
            own = {key: value for key, value in keys.items() if key not in known}
            if own:
                policies[name] = self._table(Policy, own, at)
        if policies and scope != "list":
            self.problems.append('policy.lists: a list has a policy of its own with scope = "list"')
        if any("trust" in keys for keys in policies.values()):
            self.problems.append("policy.lists: trust is the same for all lists; set policy.trust")
        return policies, {"scope": scope, **known}

    def _built(self, cls: type[Numbers], keys: dict[str, Any], at: str) -> Numbers:
        try:
            return cls(**keys)
        except ValueError as problem:  # the class knows more of its numbers than we do
            raise ConfigError((f"{at}: {problem}",), self.path) from None

    def _warnings(self, table: dict[str, Any]) -> Iterator[str]:
        secret = {"password", "client_secret", "refresh_token", "secret"}
        entries = [
            *table.get("mailbox", []),
            *table.get("token_key", []),
            *table.get("webhook", []),
        ]
        holds = any(secret & {*entry, *entry.get("oauth2", ())} for entry in entries)
        url = table.get("database", {}).get("url", "")
        if (holds or hide_password(url) != safe(url)) and self.permissions & 0o077:
            yield (
                f"{self.path} holds a password and others on this machine may read it "
                f"(mode {self.permissions:04o}); type: chmod 600 {shlex.quote(str(self.path))}"
            )

    def _mailboxes(self, entries: Any) -> Iterator[dict[str, Any]]:
        if not isinstance(entries, list):
            self.problems.append("mailbox: expected [[mailbox]] tables, each in double brackets")
            return
        names: dict[str, int] = {}
        for number, entry in enumerate(entries):
            at = f"mailbox[{number}]"
            keys = self._mailbox(entry, at)
            own = str(keys.get("name", at))
            extra = [f"{own}/{name.lstrip(SPECIAL)}" for name in (keys.get("folders") or ())[1:]]
            for name in (own, *extra):
                first = names.setdefault(name, number)
                if first != number or [own, *extra].count(name) > 1:
                    self.problems.append(
                        f"{at}.name: {name!r} is the name of mailbox[{first}] already; "
                        "names must be unique"
                    )
            yield keys

    def _token_keys(self, entries: Any) -> Iterator[dict[str, Any]]:
        for _, keys in self._secretive(TokenKey, entries, "token_key"):
            yield keys

    def _webhooks(self, entries: Any) -> Iterator[dict[str, Any]]:
        names: set[str] = set()
        for at, keys in self._secretive(WebhookConfig, entries, "webhook"):
            problem = wrong_with(keys["url"]) if keys.get("url") else None
            if problem is not None:
                self.problems.append(f"{at}.url: {problem}")
            if keys.get("name") in names:
                self.problems.append(f"{at}.name: {keys['name']!r} is another webhook's already")
            names.add(keys.get("name", at))
            yield keys

    def _secretive(
        self, cls: type, entries: Any, what: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The tables of a list, each with the place where it stands and a secret of its own."""
        if not isinstance(entries, list):
            self.problems.append(f"{what}: expected [[{what}]] tables, in double brackets")
            return
        for number, entry in enumerate(entries):
            at = f"{what}[{number}]"
            keys = self._table(cls, entry, at)
            if isinstance(entry, dict) and keys.get("secret") is None:
                places = ", ".join(f"secret{place}" for place in SECRET_PLACES)
                self.problems.append(f"{at}.secret: missing (one of {places} is needed)")
            yield at, keys

    def _mailbox(self, entry: Any, at: str) -> dict[str, Any]:
        if not isinstance(entry, dict):
            return self._table(MailboxConfig, entry, at)
        known = providers().get(str(entry.get("provider")))
        if known is not None:
            entry = {**known.settings(), **entry}
        rest = {name: value for name, value in entry.items() if name != "oauth2"}
        keys = self._table(MailboxConfig, rest, at)
        if "oauth2" in entry:
            keys["oauth2"] = self._oauth2(entry["oauth2"], known, f"{at}.oauth2")
        if "path" in entry:
            self._spool(entry, at)
            return keys
        for name in ("host", "user"):
            # a provider that was misspelt has been told of
            if name not in entry and not (name == "host" and "provider" in entry):
                self.problems.append(f"{at}.{name}: missing; every [[mailbox]] needs it")
        self._login(entry, known, at)
        self._folders(keys, at)
        if "client_key" in entry and "client_certificate" not in entry:
            self.problems.append(f"{at}.client_key: needs client_certificate beside it")
        if "provider" in entry and known is None:
            words = ", ".join(f'"{word}"' for word in providers())
            got = safe(repr(entry["provider"]))[:60]
            near = _nearest(entry["provider"], tuple(providers()))
            self.problems.append(f"{at}.provider: expected one of {words}, got {got}{near}")
        return keys

    def _spool(self, entry: dict[str, Any], at: str) -> None:
        """What makes sense for a folder of files: no server, no login, no marks."""
        shared = {"path", "name", "processed", "unrecognised", "quarantine"}
        shared |= {"every", "cron", "batch", "idle", "list"}
        for name in entry:
            if name not in shared and name in MailboxConfig.__dataclass_fields__ | dict.fromkeys(
                SECRET_KEYS
            ):
                self.problems.append(f"{at}.{name}: is for mail servers, not beside path")

    def _folders(self, keys: dict[str, Any], at: str) -> None:
        if "folder" in keys and "folders" in keys:
            self.problems.append(f"{at}: has both folder and folders; keep one of them")
        piles = {
            str(keys.get(part.name, part.default)): part.name
            for part in dataclasses.fields(MailboxConfig)
            if part.name in ("processed", "unrecognised", "quarantine")
        }
        for name in (keys.get("folder"), *(keys.get("folders") or ())):
            if name in piles:
                self.problems.append(
                    f"{at}.folder: {name!r} is where {piles[name]} letters go; it cannot be emptied"
                )

    def _login(self, entry: dict[str, Any], known: Provider | None, at: str) -> None:
        """Either a password or OAuth2, as far as the provider takes them."""
        by_password = any(name in entry for name in SECRET_KEYS)
        if "oauth2" in entry:
            if by_password:
                self.problems.append(f"{at}: has both a password and oauth2; keep one of them")
            return
        if known is not None and not known.passwords and entry["host"] == known.host:
            self.problems.append(f"{at}.password: {known.advice}")
        elif not by_password:
            self.problems.append(
                f"{at}.password: missing (one of {', '.join(SECRET_KEYS)} is needed)"
            )

    def _oauth2(self, table: Any, known: Provider | None, at: str) -> dict[str, Any]:
        if known is not None and known.oauth2 and isinstance(table, dict):
            table = {"provider": known.oauth2, **table}
        before = len(self.problems)
        keys = self._table(OAuth2Config, table, at)
        if len(self.problems) > before:
            return keys
        flow = keys.get("flow", "refresh_token")
        provider = keys.get("provider", "custom")
        if flow not in FLOWS[provider]:
            offered = " or ".join(f'"{one}"' for one in FLOWS[provider])
            self.problems.append(f"{at}.flow: {provider} offers {offered} for mail")
        needs = [*FLOW_NEEDS[flow]]
        if provider == "custom":
            needs += ["token_url", *(["device_url"] if flow == "device_code" else [])]
        for name in needs:
            if not keys.get(name):
                self.problems.append(f'{at}.{name}: missing; flow = "{flow}" needs it')
        return keys

    def _table(
        self,
        cls: type,
        table: Any,
        at: str,
        defaults: Mapping[str, Any] = types.MappingProxyType({}),
    ) -> dict[str, Any]:
        """The keyword arguments for `cls` that the table holds and that are right."""
        if not isinstance(table, dict):
            self.problems.append(f"{at}: expected a table, [{at}] and then key = value lines")
            return dict(defaults or {})
        # Policy names Mapping for type checkers only; here it has to be a thing
        hints = typing.get_type_hints(cls, localns={"Mapping": Mapping})
        secrets = [name for name, hint in hints.items() if Secret in _shapes(hint)]
        known = [
            *(name for name in hints if name not in secrets),
            *(name + place for name in secrets for place in SECRET_PLACES),
        ]
        self._unknown(table, known, f"{at}.")
        keys = dict(defaults or {})
        for name in secrets:
            keys[name] = self._secret(table, name, at)
        for name, hint in hints.items():
            if name in table and name not in secrets:
                keys[name] = self._value(table[name], hint, f"{at}.{name}")
        for part in dataclasses.fields(cls):
            optional = (
                part.default is not dataclasses.MISSING
                or part.default_factory is not dataclasses.MISSING
            )
            if part.name not in keys and not optional:
                self.problems.append(f"{at}.{part.name}: missing; every [[{_bare(at)}]] needs it")
        if "every" in table and "cron" in table:
            self.problems.append(f"{at}: has both every and cron; keep one of them")
        return keys

    def _unknown(self, table: dict[str, Any], known: Sequence[str], at: str) -> None:
        for name in table:
            if name not in known:
                self.problems.append(f"{at}{safe(name)}: unknown key{_nearest(name, known)}")

    def _secret(self, table: dict[str, Any], name: str, at: str) -> Secret | None:
        given = [name + place for place in SECRET_PLACES if name + place in table]
        if len(given) > 1:
            self.problems.append(f"{at}.{name}: has {' and '.join(given)}; keep one of them")
        if len(given) != 1:
            return None
        source = given[0]
        shape = tuple[str, ...] | str if source.endswith("_command") else str
        value = self._value(table[source], shape, f"{at}.{source}", secret=True)
        return Secret(source, value, self.folder)

    def _value(self, value: Any, hint: Any, at: str, *, secret: bool = False) -> Any:
        """The value as `hint` wants it; a problem and None when it is not of that shape."""
        shapes = _shapes(hint)
        for shape in shapes:
            read, _ = _reader(shape, self.folder)
            try:
                return read(value)
            except (ValueError, TypeError):
                continue
        expected = " or ".join(_reader(shape, self.folder)[1] for shape in shapes)
        got = "something else" if secret else safe(repr(value))[:60]
        self.problems.append(f"{at}: expected {expected}, got {got}{_guess(value, shapes)}")
        return None


def _mailbox(keys: dict[str, Any]) -> MailboxConfig:
    login = keys.get("oauth2")
    if login is None:
        return MailboxConfig(**keys)
    return MailboxConfig(**{**keys, "oauth2": OAuth2Config(**login)})


def _guess(value: Any, shapes: Sequence[Any]) -> str:
    """The nearest word where the shapes know words, for a value or for a table's odd key."""
    arguments = [word for shape in shapes for word in typing.get_args(shape)]
    if isinstance(value, dict):
        known = [str(word) for word in arguments[0]] if arguments else []  # a Mapping's keys
        return next((_nearest(key, known) for key in value if key not in known), "")
    return _nearest(value, [word for word in arguments if isinstance(word, str)])


def _bare(at: str) -> str:
    return at.partition("[")[0]


def _nearest(word: Any, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(word).lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def _shapes(hint: Any) -> tuple[Any, ...]:
    """The members of a union, without None: TOML has no null."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return tuple(shape for shape in typing.get_args(hint) if shape is not types.NoneType)
    return (hint,)


def _reader(shape: Any, folder: Path) -> tuple[Callable[[Any], Any], str]:
    """How a value of this shape is read (ValueError when it is not one), and what to call it."""
    if typing.get_origin(shape) is Literal:
        words = typing.get_args(shape)
        return _one_of(words), "one of " + ", ".join(f'"{word}"' for word in words)
    if typing.get_origin(shape) is tuple:
        read, name = _reader(typing.get_args(shape)[0], folder)
        return _list_of(read), f"a list, each {name}"
    if typing.get_origin(shape) is Mapping:
        words, values = typing.get_args(shape)
        read, name = _reader(values, folder)
        return _table_of(words, read), f"a table of {words.__name__.lower()} = {name}"
    if isinstance(shape, type) and issubclass(shape, Enum):
        return shape, "one of " + ", ".join(f'"{word.value}"' for word in shape)
    if shape is Path:
        return lambda value: folder / Path(_text(value)).expanduser(), "a path"
    return _READERS[shape]


def _one_of(words: tuple[Any, ...]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if value not in words:
            raise ValueError(value)
        return value

    return read


def _list_of(read: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def read_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise TypeError(value)
        return tuple(read(part) for part in value)

    return read_all


def _table_of(words: type[StrEnum], read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read_all(value: Any) -> dict[Any, Any]:
        return {words(key): read(part) for key, part in dict(value).items()}

    return read_all


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(value)
    return value


def _number(value: Any) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value < float("inf")
    ):
        raise ValueError(value)
    return float(value)


def _whole(value: Any) -> int:
    if not isinstance(value, int) or _number(value) != value:
        raise ValueError(value)
    return value


def _positive(value: Any) -> int:
    if _whole(value) < 1:
        raise ValueError(value)
    return int(value)


def _port(value: Any) -> int:
    if _positive(value) > 65535:
        raise ValueError(value)
    return int(value)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)")
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(value: Any) -> float:
    match = _DURATION.fullmatch(_text(value).strip())
    if match is None or not float(match[1]):
        raise ValueError(value)
    return float(match[1]) * _UNIT_SECONDS[match[2]]


_CRON_LIMITS: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MONTHS: Final = tuple("jan feb mar apr may jun jul aug sep oct nov dec".split())  # noqa: SIM905
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_CRON_PART = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/([1-9]\d*))?")


def _cron(value: Any) -> str:
    fields = _text(value).split()
    if len(fields) != len(_CRON_LIMITS):
        raise ValueError(value)
    names = ((), (), (), _MONTHS, _DAYS)
    for text, limits, words in zip(fields, _CRON_LIMITS, names, strict=True):
        for part in text.split(","):
            _check_cron_part(part, *limits, {word: n for n, word in enumerate(words, limits[0])})
    return " ".join(fields)


def _check_cron_part(part: str, lowest: int, highest: int, words: dict[str, int]) -> None:
    match = _CRON_PART.fullmatch(part.lower())
    if match is None:
        raise ValueError(part)
    ends = [words[end] if end in words else int(end) for end in match.groups()[:2] if end]
    first, last = ends if len(ends) == 2 else (lowest, highest)
    step_fits = int(match[3] or 1) <= max(1, last - first)
    if not (first <= last and step_fits and all(lowest <= end <= highest for end in ends)):
        raise ValueError(part)


_READERS: Final[dict[Any, tuple[Callable[[Any], Any], str]]] = {
    str: (_text, "a text"),
    int: (_whole, "a whole number, zero or more"),
    float: (_number, "a number, zero or more"),
    bool: (_switch, "true or false"),
    timedelta: (lambda value: timedelta(seconds=_seconds(value)), DURATION),
    Seconds: (_seconds, DURATION),
    Positive: (_positive, "a whole number, one or more"),
    Port: (_port, "a port number from 1 to 65535"),
    Cron: (_cron, 'five cron fields such as "*/10 * * * *"'),
}
