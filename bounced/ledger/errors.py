"""What can go wrong with the ledger, in sentences for the person who has to act.

Each says what happened, what is safe and what to type. None contains a password: messages name
the database by `shown()` and pass the driver's words through `without_secrets()`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import exc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL

    from bounced.ledger.dialects import Dialect


class LedgerError(Exception):
    """The ledger could not do what was asked; nothing was half done."""


class LedgerUnavailable(LedgerError):  # noqa: N818 - the state of a thing, not a mistake
    """The database cannot be reached, or somebody else holds it; trying again may help."""


class LedgerOutdated(LedgerError):  # noqa: N818
    """The database's schema is older than this program."""


class LedgerTooNew(LedgerError):  # noqa: N818
    """The database's schema is of a later version of this program."""


class LeaseLost(LedgerError):  # noqa: N818
    """Another sync took the mailbox over while this one was away."""


def shown(url: URL) -> str:
    """The URL as it may be printed: no password, no query (options may hold secrets)."""
    plain = url.set(drivername=url.get_backend_name(), query={})
    return plain.render_as_string(hide_password=True)


def without_secrets(words: str, url: URL) -> str:
    """A driver's message on one line, with everything secret in the URL masked."""
    secrets = [str(url.password)] if url.password else []
    secrets += [v for k, v in url.query.items() if "pass" in k and isinstance(v, str)]
    for secret in secrets:
        words = words.replace(secret, "***")
    return " ".join(words.split())[:500]


def outdated(url: URL, found: str | None, wanted: str) -> LedgerOutdated:
    state = "holds no ledger yet" if found is None else f"is at schema {found}"
    return LedgerOutdated(
        f"The database {shown(url)} {state}; this program needs schema {wanted}. "
        "Nothing was changed. Take a backup, then type: bounced db upgrade"
    )


def too_new(url: URL, found: str, wanted: str) -> LedgerTooNew:
    return LedgerTooNew(
        f"The database {shown(url)} is at schema {found}, which this program (schema {wanted}) "
        "does not know: a later version of it was here. Nothing was changed. "
        "Upgrade the program: pip install --upgrade bounced-mail"
    )


def half_upgraded(url: URL, problem: LedgerError) -> LedgerError:
    return LedgerError(
        f"The upgrade of {shown(url)} stopped half way, and this kind of database cannot take back "
        f"the steps that were done. What stopped it: {problem}. Restore the backup that was taken "
        "before, put that right, then type: bounced db upgrade"
    )


def lease_lost(mailbox: str) -> LeaseLost:
    return LeaseLost(
        f"Another sync took over the mailbox {mailbox} because this one was silent for too long. "
        "All that was recorded is safe and nothing more will be. Run: bounced sync"
    )


@contextmanager
def translated(url: URL, dialect: Dialect) -> Iterator[None]:
    """Turn what SQLAlchemy raises inside into LedgerError and its kin; others pass."""
    try:
        yield
    except exc.SQLAlchemyError as problem:
        said = without_secrets(str(getattr(problem, "orig", None) or problem), url)
        passing = isinstance(problem, exc.TimeoutError) or (
            isinstance(problem, exc.DBAPIError) and dialect.passing(problem)
        )
        if passing:
            raise LedgerUnavailable(
                f"The database {shown(url)} cannot be used now: {said}. "
                "What was recorded before is safe and nothing was half written. "
                "Check that it runs and that nobody locks it, then run the same command again"
            ) from None
        raise LedgerError(
            f"The database {shown(url)} refused the work: {type(problem).__name__}: {said}. "
            "The transaction was rolled back, nothing was half written. "
            "Run: bounced doctor"
        ) from None
