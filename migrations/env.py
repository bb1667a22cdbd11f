"""alembic's entrance. The program passes its open connection (bounced/ledger/schema.py)."""

from __future__ import annotations

from alembic import context

from bounced.ledger.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("Run: bounced db upgrade (migrations need the program's own connection)")

# SQLite cannot alter most things in place, so changes there are made on a copy of the table.
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_server_default=False,
)
with context.begin_transaction():
    context.run_migrations()
