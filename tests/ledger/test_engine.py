"""How the database is reached."""

from __future__ import annotations

import pickle

from bounced.ledger.engine import Database


def test_a_database_sent_to_another_process_is_the_one_of_that_process(url: str) -> None:
    ours = Database(url)
    with ours.reading() as held:
        theirs, again = (pickle.loads(pickle.dumps(ours)) for _ in range(2))  # noqa: S301 - ours
        assert again is theirs, "or each piece of work would connect"
        assert theirs is not ours
        with theirs.reading() as other:
            assert other.connection.dbapi_connection is not held.connection.dbapi_connection
    theirs.close()
    ours.close()


def test_a_database_on_its_way_to_another_process_shows_no_password() -> None:
    ours = Database("postgresql://ann:canary@127.0.0.1/news")
    there = pickle.loads(pickle.dumps(ours))  # noqa: S301 - ours
    assert there.url.password == "canary"
    for shown in (repr(ours), repr(there), repr(ours.__reduce__()), str(there.url)):
        assert "canary" not in shown
