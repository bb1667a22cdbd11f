"""Views for reports: the history of addresses, the health of providers, and their versions."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# The few words that databases do not share: a day as YYYY-MM-DD (UTC), and what follows the last @.
DAY = {
    "sqlite": "substr({}, 1, 10)",
    "postgresql": "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    "mariadb": "CAST(DATE({}) AS CHAR)",
}
_AFTER_AT = "substr({0}, length(rtrim({0}, replace({0}, '@', ''))) + 1)"
DOMAIN = {
    "sqlite": _AFTER_AT,
    "postgresql": _AFTER_AT,
    "mariadb": "SUBSTRING_INDEX({0}, '@', -1)",
}

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
       r.state NOT IN ('held', 'discarded')
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
CREATE VIEW provider_health (day, domain, reports, addresses, hard, soft, blocked, complaints,
       delivered) AS
SELECT {day}, {domain}, COUNT(*), COUNT(DISTINCT e.address),
       SUM(CASE WHEN j.outcome = 'hard' THEN 1 ELSE 0 END),
       SUM(CASE WHEN j.outcome = 'soft' THEN 1 ELSE 0 END),
       SUM(CASE WHEN j.outcome = 'blocked' THEN 1 ELSE 0 END),
       SUM(CASE WHEN e.kind = 'complaint' THEN 1 ELSE 0 END),
       SUM(CASE WHEN e.kind = 'delivery' THEN 1 ELSE 0 END)
  FROM event AS e
  JOIN judgement AS j ON j.event_id = e.id
  JOIN run AS r ON r.id = e.run_id
 WHERE r.state NOT IN ('held', 'discarded')
 GROUP BY {day}, {domain}
"""
VIEW_VERSION = """
CREATE VIEW view_version (name, version) AS
SELECT 'suppression', 3 UNION ALL
SELECT 'address_history', 1 UNION ALL
SELECT 'provider_health', 1
"""


def upgrade() -> None:
    dialect = op.get_bind().dialect
    quoted = {
        name: dialect.identifier_preparer.quote_identifier(name)
        for name in ("release", "transition", "by")
    }
    op.execute(ADDRESS_HISTORY.format(**quoted))
    day = DAY[dialect.name].format("e.occurred_at")
    domain = DOMAIN[dialect.name].format("e.address")
    op.execute(PROVIDER_HEALTH.format(day=day, domain=domain))
    op.execute(VIEW_VERSION)


def downgrade() -> None:
    for view in ("view_version", "provider_health", "address_history"):
        op.execute(f"DROP VIEW {view}")
