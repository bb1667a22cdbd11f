"""Where facts go and standings come from: the one door to the database."""

from bounced.ledger.book import Ledger
from bounced.ledger.errors import (
    LeaseLost,
    LedgerError,
    LedgerOutdated,
    LedgerTooNew,
    LedgerUnavailable,
)
from bounced.ledger.rows import (
    AddressHistory,
    EventFacts,
    EventRow,
    HoldRow,
    MailboxRow,
    SuppressedRow,
    TransitionRow,
)

__all__ = [
    "AddressHistory",
    "EventFacts",
    "EventRow",
    "HoldRow",
    "LeaseLost",
    "Ledger",
    "LedgerError",
    "LedgerOutdated",
    "LedgerTooNew",
    "LedgerUnavailable",
    "MailboxRow",
    "SuppressedRow",
    "TransitionRow",
]
