"""The command line: wires every room together, once, and says how it went.

Nothing heavier than click is imported until a command runs.
"""

from __future__ import annotations

import click

from bounced import __version__

# The rooms are imported as modules: a command named like its room must not stand in its place.
from bounced.cli import (
    addresses,
    alarms,
    audit,
    clean,
    database,
    demo,
    domains,
    holds,
    incidents,
    ingest,
    lmtp,
    login,
    parse,
    privacy,
    release,
    replay,
    review,
    rules,
    run,
    setup,
    status,
    subscribers,
    sync,
    tokens,
    undo,
    webhooks,
)
from bounced.cli.failures import Entrance
from bounced.cli.settings import Settings, ledger_options

COMMANDS: tuple[click.Command, ...] = (
    demo.demo,
    setup.init,
    setup.doctor,
    login.login,
    sync.sync,
    run.run,
    ingest.ingest,
    lmtp.lmtp,
    status.status,
    audit.audit,
    audit.retry,
    parse.parse,
    addresses.explain,
    addresses.suppressed,
    release.release,
    undo.decisions,
    undo.undo,
    undo.redo,
    clean.clean,
    holds.hold,
    incidents.incidents,
    domains.domains,
    alarms.alarms,
    replay.reclassify,
    replay.simulate,
    review.review,
    rules.rules,
    subscribers.subscribers,
    tokens.token,
    tokens.reactivate,
    tokens.sent,
    webhooks.webhooks,
    privacy.purge,
    privacy.export_person,
    privacy.forget,
    database.db,
)


@click.group(cls=Entrance, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bounced")
@click.option("--debug", is_flag=True, help="Show the traceback when the program itself fails.")
@ledger_options
@click.pass_context
def main(context: click.Context, *, debug: bool) -> None:
    """Read a bounce mailbox, judge every bounce, keep the list of addresses not to mail."""
    context.ensure_object(Settings).debug = debug


for _command in COMMANDS:
    main.add_command(_command)
