"""`bounced login`: let a person log a mailbox in by OAuth2."""

from __future__ import annotations

import click

from bounced.cli.failures import Exit
from bounced.cli.settings import Settings, config_option, say
from bounced.cli.sync import chosen_mailboxes, folder_of, tokens_of


@click.command()
@click.argument("mailbox")
@config_option
@click.pass_context
def login(context: click.Context, mailbox: str) -> None:
    """Get MAILBOX an OAuth2 login, and see that its mail server accepts it.

    With flow = "device_code" it prints where to log in and with what code, and waits.
    """
    config = context.ensure_object(Settings).config()
    chosen = chosen_mailboxes(config, (mailbox,))[0]
    source = tokens_of(chosen, config.tokens)
    if source is None:
        say(f"{mailbox} logs in by password; there is nothing to do. Type: bounced doctor")
        context.exit(Exit.CONFIGURATION)
    source.log_in(say)
    folder = folder_of(chosen, tokens=config.tokens)
    try:
        folder.open()
    finally:
        folder.close()
    click.echo(f"{chosen.host} has let us in as {chosen.user}. Type: bounced sync {mailbox}")
