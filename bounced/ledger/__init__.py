"""Where facts go and standings come from: the one door to the database."""

from bounced.ledger.adoption import Adopted, Hearsay, Source, adopt
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
    AlarmRow,
    Clearance,
    DecisionRow,
    EventFacts,
    EventRow,
    HoldRow,
    IncidentRow,
    MailboxRow,
    Released,
    Replay,
    StandingChange,
    SubscriberRow,
    SuppressedRow,
    TransitionRow,
    TypoRow,
    UndeterminedRow,
    Undone,
)
from bounced.ledger.selection import Selection
from bounced.ledger.transfer import Copied, transfer

__all__ = [
    "AddressHistory",
    "Adopted",
    "AlarmRow",
    "Clearance",
    "Copied",
    "DecisionRow",
    "EventFacts",
    "EventRow",
    "Hearsay",
    "HoldRow",
    "IncidentRow",
    "LeaseLost",
    "Ledger",
    "LedgerError",
    "LedgerOutdated",
    "LedgerTooNew",
    "LedgerUnavailable",
    "MailboxRow",
    "Released",
    "Replay",
    "Selection",
    "Source",
    "StandingChange",
    "SubscriberRow",
    "SuppressedRow",
    "TransitionRow",
    "TypoRow",
    "UndeterminedRow",
    "Undone",
    "adopt",
    "transfer",
]
