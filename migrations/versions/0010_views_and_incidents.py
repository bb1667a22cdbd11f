"""Views know incidents, and providers by name."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# The one word that databases do not share: a day as YYYY-MM-DD (UTC).
DAY = {
    "sqlite": "substr({}, 1, 10)",
    "postgresql": "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    "mariadb": "CAST(DATE({}) AS CHAR)",
}
# As bounced.ledger.standings has it: no event of a held or discarded run, and no hard bounce of an
# open or discarded incident.
COUNTS = """r.state NOT IN ('held', 'discarded')
       AND NOT (e.kind = 'bounce' AND j.outcome = 'hard'
                AND j.fault NOT IN ('sender', 'message') AND j.reason <> 'provider_suppressed'
                AND EXISTS (SELECT 1 FROM incident AS i
                             WHERE i.state IN ('open', 'discarded')
                               AND e.occurred_at >= i.begins_at AND e.occurred_at < i.ends_at
                               AND ((i.scope = 'domain' AND i.name = e.domain)
                                    OR (i.scope = 'provider' AND i.name = e.provider))))"""
# Changes first: of them and of events each column is typed in one, so that NULL needs no cast.
ADDRESS_HISTORY = """
CREATE VIEW address_history (address, list, at, what, kind, status, suppressed, outcome, reason,
       fault, rule, because, said, trust, mailbox, who, counts) AS
SELECT t.address, t.list, t.at, 'change', NULL, t.to_status, t.to_suppressed, NULL, t.reason,
       NULL, t.rule, t.because, NULL, NULL, NULL, t.actor, NULL
  FROM {transition} AS t
 UNION ALL
SELECT e.address, e.list, e.occurred_at, 'event', e.kind, NULL, NULL, j.outcome, j.reason,
       j.fault, j.rule, j.because, e.diagnostic, e.trust, m.name, NULL,
       {counts}
  FROM event AS e
  JOIN judgement AS j ON j.event_id = e.id
  JOIN run AS r ON r.id = e.run_id
  JOIN mailbox AS m ON m.id = r.mailbox_id
 UNION ALL
SELECT w.address, '', w.at, 'release', NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, w.note, NULL, NULL, NULL, w.{by}, NULL
  FROM {release} AS w
"""
PROVIDER_HEALTH = """
CREATE VIEW provider_health (day, domain, provider, reports, addresses, hard, soft, blocked,
       complaints, delivered) AS
SELECT {day}, e.domain, e.provider, COUNT(*), COUNT(DISTINCT e.address),
       SUM(CASE WHEN j.outcome = 'hard' THEN 1 ELSE 0 END),
       SUM(CASE WHEN j.outcome = 'soft' THEN 1 ELSE 0 END),
       SUM(CASE WHEN j.outcome = 'blocked' THEN 1 ELSE 0 END),
       SUM(CASE WHEN e.kind = 'complaint' THEN 1 ELSE 0 END),
       SUM(CASE WHEN e.kind = 'delivery' THEN 1 ELSE 0 END)
  FROM event AS e
  JOIN judgement AS j ON j.event_id = e.id
  JOIN run AS r ON r.id = e.run_id
 WHERE {counts}
 GROUP BY {day}, e.domain, e.provider
"""
VIEW_VERSION = """
CREATE VIEW view_version (name, version) AS
SELECT 'suppression', 3 UNION ALL
SELECT 'address_history', {history} UNION ALL
SELECT 'provider_health', {health}
"""
# What 0006 made, for the way back: it knew neither incidents nor the column event.domain.
OLD_COUNTS = "r.state NOT IN ('held', 'discarded')"
_AFTER_AT = "substr(e.address, length(rtrim(e.address, replace(e.address, '@', ''))) + 1)"
OLD_DOMAIN = {
    "sqlite": _AFTER_AT,
    "postgresql": _AFTER_AT,
    "mariadb": "SUBSTRING_INDEX(e.address, '@', -1)",
}


def upgrade() -> None:
    _drop()
    _create(ADDRESS_HISTORY, PROVIDER_HEALTH, COUNTS)
    op.execute(VIEW_VERSION.format(history=2, health=2))


def downgrade() -> None:
    _drop()
    health = PROVIDER_HEALTH.replace("domain, provider, reports", "domain, reports")
    domain = OLD_DOMAIN[op.get_bind().dialect.name]
    health = health.replace("e.domain, e.provider", domain)
    _create(ADDRESS_HISTORY, health, OLD_COUNTS)
    op.execute(VIEW_VERSION.format(history=1, health=1))


def _create(history: str, health: str, counts: str) -> None:
    dialect = op.get_bind().dialect
    quoted = {
        name: dialect.identifier_preparer.quote_identifier(name)
        for name in ("release", "transition", "by")
    }
    op.execute(history.format(counts=counts, **quoted))
    op.execute(health.format(day=DAY[dialect.name].format("e.occurred_at"), counts=counts))


def _drop() -> None:
    for view in ("view_version", "provider_health", "address_history"):
        op.execute(f"DROP VIEW {view}")
