"""Conclusions and ledger rows as CSV, JSON and plain text: rows in, lines out, one at a time."""

from bounced.report.conclusions import as_object, as_text, unread
from bounced.report.rows import json_line, plain, write_csv, write_json

__all__ = [
    "as_object",
    "as_text",
    "json_line",
    "plain",
    "unread",
    "write_csv",
    "write_json",
]
