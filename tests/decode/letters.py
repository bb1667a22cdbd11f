"""Small mails for the tests of the readers."""

from bounced.message import Message, read

NOTICE = """\
This is the mail system at host mx.example.com.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients.

<reader@example.net>: host mx.example.net[192.0.2.1] said: 550 5.1.1
    <reader@example.net>: Recipient address rejected: User unknown (in reply to
    RCPT TO command)
"""


def mail(sender: str, subject: str, text: str, *headers: str, returns: str | None = None) -> bytes:
    """A mail in plain text, unless a Content-Type is among the `headers`."""
    lines = [] if returns is None else [f"Return-Path: <{returns}>"]
    lines += [f"From: {sender}", "To: bounces@lists.example.org", f"Subject: {subject}"]
    lines += ["Date: Mon, 5 Jan 2026 10:00:00 +0000", "Message-ID: <1@example.com>", *headers]
    if not any(header.lower().startswith("content-type:") for header in headers):
        lines.append("Content-Type: text/plain; charset=utf-8")
    return ("\n".join(lines) + "\n\n" + text).encode()


def daemon(text: str, *headers: str, subject: str = "Undelivered Mail") -> Message:
    return read(mail("MAILER-DAEMON@mx.example.com", subject, text, *headers, returns=""))


def parts(report_type: str, *bodies: tuple[str, str]) -> bytes:
    """A multipart/report of (type, text) parts, from a mail system."""
    text = "".join(f"--b\nContent-Type: {kind}\n\n{body}\n" for kind, body in bodies) + "--b--\n"
    kind = f"Content-Type: multipart/report; report-type={report_type}; boundary=b"
    return mail("MAILER-DAEMON@mx.example.com", "Report", text, kind, returns="")
