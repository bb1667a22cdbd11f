"""The command line: wires every room together, once, and says how it went.

Nothing heavier than click is imported until a command runs, and no command before it is called.
"""

from __future__ import annotations

import gc

import click

from bounced import __version__
from bounced.cli.failures import Entrance
from bounced.cli.settings import Settings, ledger_options

# In the order in which an operator meets them: the name, where in this room it is defined, and
# what the list of commands says of it.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo:demo", "Sync sample bounces from a mail server of its own."),
    "init": ("setup:init", "Write a commented configuration, to be edited."),
    "doctor": ("setup:doctor", "Say in words what is wrong with the set-up."),
    "login": ("login:login", "Log in to a mailbox by OAuth2."),
    "sync": ("sync:sync", "Empty the mailboxes into the database, once."),
    "run": ("run:run", "Empty the mailboxes again and again, at their times."),
    "ingest": ("ingest:ingest", "Record letters from standard input or files."),
    "lmtp": ("lmtp:lmtp", "Record letters that an MTA hands over by LMTP."),
    "status": ("status:status", "Show how each mailbox is doing."),
    "audit": ("audit:audit", "Balance the books: is every letter accounted for?"),
    "retry": ("audit:retry", "Read again what could not be read before."),
    "parse": ("parse:parse", "Print what is concluded from the letters at PATH."),
    "explain": ("addresses:explain", "Tell all that is known of ADDRESS, and why."),
    "suppressed": ("addresses:suppressed", "Print the addresses that must not be mailed now."),
    "release": ("release:release", "Let addresses be mailed again."),
    "decisions": ("undo:decisions", "List what operators decided."),
    "undo": ("undo:undo", "Take a decision back."),
    "redo": ("undo:redo", "Put a decision that was taken back into force."),
    "clean": ("clean:clean", "Split a mailing list into send, suppress and hold."),
    "hold": ("holds:hold", "Decide on suppressions that the brake holds back."),
    "incidents": ("incidents:incidents", "Decide on hard bounces that are too many at once."),
    "domains": ("domains:domains", "Show domains that receive nothing any more."),
    "alarms": ("alarms:alarms", "Show where we are refused as senders, and by whom."),
    "reclassify": ("replay:reclassify", "Judge what is stored again, by today's rules."),
    "simulate": ("replay:simulate", "Show what another policy would have made of it."),
    "review": ("review:review", "Show what no rule understood; write a rule for it."),
    "rules": ("rules:rules", "Test the rule books; show which rules fit a reply."),
    "subscribers": ("subscribers:subscribers", "Import, export and rename who is mailed."),
    "token": ("tokens:token", "Make tokens by which bounces are known for ours."),
    "reactivate": ("tokens:reactivate", "Release the address of a re-activation link."),
    "sent": ("tokens:sent", "Keep a log of what was sent, to match reports with."),
    "webhooks": ("webhooks:webhooks", "Tell other programs of suppressions and releases."),
    "purge": ("privacy:purge", "Delete what is older than [privacy] says."),
    "export-person": ("privacy:export_person", "Print everything that is held of an address."),
    "forget": ("privacy:forget", "Forget an address, and keep it forgotten."),
    "db": ("database:db", "Upgrade the database, or copy it to another."),
}


@click.group(
    cls=Entrance,
    lazy={name: (f"bounced.cli.{where}", short) for name, (where, short) in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="bounced")
@click.option("--debug", is_flag=True, help="Show the traceback when the program itself fails.")
@ledger_options
@click.pass_context
def main(context: click.Context, *, debug: bool) -> None:
    """Read a bounce mailbox, judge every bounce, keep the list of addresses not to mail."""
    context.ensure_object(Settings).debug = debug
    # a letter makes hundreds of objects, next to none of which are in a cycle
    gc.set_threshold(20_000, 10, 10)
