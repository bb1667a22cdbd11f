"""However a pass is disturbed, the ledger ends as if nothing had happened."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from bounced.policy import Brake
from tests.servers.database import rows

from .conftest import WORDS, Pass, bounce, day, opened, reading

if TYPE_CHECKING:
    from pathlib import Path

    from bounced.ledger import Ledger
    from bounced.model import Reading

# What must be the same in the end; numbers of rows and times of work may differ.
STANDINGS = (
    "SELECT address, status, suppressed, reason, score, rule, because FROM address ORDER BY address"
)
EVENTS = "SELECT dedup_key, address, kind, diagnostic FROM event ORDER BY dedup_key, address"
RUNS = "SELECT DISTINCT state FROM run ORDER BY state"

BRAKES = [Brake(share=0, floor=6), Brake(share=1, floor=1000)]


def mail(dice: random.Random) -> list[Reading]:
    """A folder of letters, some of them about the same address, some delivered twice."""
    folder = []
    for uid in range(1, 41):
        key = f"{dice.randrange(60)}"
        # The same key means the same letter, so what it says must follow from the key alone.
        fixed = random.Random(key)  # noqa: S311 - a game, not a secret
        who, word = f"a{fixed.randrange(15)}@example.com", fixed.choice(sorted(WORDS))
        at = day(fixed.randrange(60))
        folder.append(reading(uid, bounce(who, word), key=key, at=at))
    return folder


def undisturbed(ledger: Ledger, folder: list[Reading]) -> None:
    this = Pass(ledger)
    this.ledger.attempt(this.visit, [one.uid for one in folder])
    ledger.record(this.visit, folder, at=day(60))
    ledger.filed(this.visit, [one.uid for one in folder])
    this.end()


def disturbed(ledger: Ledger, folder: list[Reading], dice: random.Random) -> None:
    """Batches of any size, cut off anywhere, recorded twice, before and after filing."""
    for _ in range(200):
        this = Pass(ledger)
        waiting = ledger.unrecorded(this.visit, [one.uid for one in folder])
        todo = [one for one in folder if one.uid in set(waiting)]
        ledger.filed(this.visit, list(ledger.unfiled(this.visit)))
        if not todo:
            this.end()
            return
        for _ in range(dice.randrange(3)):
            some, todo = todo[: (size := dice.randrange(1, 6))], todo[size:]
            ledger.attempt(this.visit, [one.uid for one in some])
            if dice.random() < 0.2:
                break
            ledger.record(this.visit, some, at=day(60))
            if dice.random() < 0.3:
                ledger.record(this.visit, some, at=day(60))
            if dice.random() < 0.5:
                ledger.filed(this.visit, [one.uid for one in some])
        if dice.random() < 0.5:  # else the process died
            this.end("MailboxTemporary: away")
    raise AssertionError("the folder was never emptied")


@pytest.mark.parametrize("brake", BRAKES, ids=["held", "free"])
@pytest.mark.parametrize("seed", range(4))
def test_a_disturbed_pass_ends_like_an_undisturbed_one(
    url: str, tmp_path: Path, seed: int, brake: Brake
) -> None:
    dice = random.Random(seed)  # noqa: S311
    folder = mail(dice)
    calm = f"sqlite:///{tmp_path / 'calm.db'}"
    with opened(calm, brake=brake) as ledger:
        undisturbed(ledger, folder)
    with opened(url, brake=brake) as ledger:
        disturbed(ledger, folder, dice)
    for query in (EVENTS, STANDINGS, RUNS):
        assert rows(url, query) == rows(calm, query)
    assert rows(url, RUNS) == [("held",) if brake.floor == 6 else ("done",)]
    assert len(rows(url, EVENTS)) > 20
