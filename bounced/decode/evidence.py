"""What speaks for a message being a report from a mail system, and what for a person's mail.

Each function looks at one thing and answers yes or no; `is_report` weighs them. A person who
forwards or quotes a bounce writes from an address of their own, with a subject of their own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bounced.message import Message

_DAEMON: Final = re.compile(
    r"mailer[-_. ]?daemon|mail[-_ ]?daemon|postmaster|post office|mail delivery (?:sub)?system|delivery (?:subsystem|system|status)|mail ?system"
    r"|\bmailer\b|mdaemon|mail administrator|e-?mail administrator|system administrator|systemadministrator|mailmaster|undeliver|mail[-_ ]?delivery"
    r"|\bmmdf\b|internet mail (?:delivery|service)|mail router|smtp gateway|bounce[-_ .]?(?:daemon|notif|system)|microsoft exchange|"
    r"メール(?:配送|サーバ)|邮件(?:系统|投递|管理)|郵件(?:系統|管理|伺服器)|系统退信|系統退信|메일(?:러|시스템)|\bdaemon\b|administrador del correo|mail transport|nondelivery|"
    r"administrateur syst|systemadmin|non-?delivery|mail-?admin|smtpd?@|^sys(?:tem)?@|mail\.?filter|no-?reply@sns\.amazonaws|complaints?@|mms\w*@|\bnotifier\b",
    re.IGNORECASE,
)
_SUBJECT: Final = re.compile(
    r"undeliver|delivery (?:status|failure|failed|notification|report|error|problem|incomplete|has failed|to |of |unsuccessful|was|final)|(?:mail|message|email|e-mail) (?:delivery|could not|not|was not|undeliver|failure|failed|rejected|bounced|returned|status|system error|"
    r"can(?:no|')t|has not|delayed)|failure notice|fail(?:ed|ure) (?:to deliver|delivery|mail)|failed mail|returned (?:mail|message|to sender|e-?mail)|return(?:ed)? to sender|non[- ]?deliver|unable to deliver|cannot (?:send|deliver)|could(?:n't| not) (?:send|deliver|be delivered)"
    r"|couldn't be delivered|wasn't delivered|not delivered|nondeliverable|delivery\s*fail|error (?:sending|in (?:mail|delivery|forwarding)|delivering)|error\(s\) in forwarding|message (?:you sent )?(?:blocked|rejected|refused|frozen|error)|mail (?:error|failure|problem|blocked|refused)|mail system|user unknown|bounce|DSN:|\[?dsn\]?:"
    r"|there was an error sending your mail|warning: (?:message|could not send)|failed: |rejected(?: mail|:)|address(?:es)? (?:error|not found|unknown)|unknown (?:user|address|recipient)|invalid (?:address|recipient)|"
    r"unzustell|nicht zustell|zustell|fehlgeschlagen|nicht zugestellt|rückläufer|non remis|non distribu|échec|echec|retourn|remise|impossible de (?:remettre|distribuer)|no entregad|no se (?:ha )?(?:pudo|pudo entregar)|devuelto|error de entrega|entrega|non consegn|mancata consegna|mancato recapito|recapit"
    r"|não (?:foi )?entreg|não entregue|nao entregue|falha (?:na|de) entrega|devolvid|onbestelbaar|niet (?:bezorgd|afgeleverd)|onbezorg|nie (?:można|udało)|niedostarcz|nie dostarcz|zwrot|niedoręcz|не (?:доставлен|удалось)|недостав|ошибка доставки|возврат"
    r"|配信(?:不能|でき|エラー|失敗|状況)|送信(?:エラー|でき|不能|失敗)|届(?:かな|けられ|きませ)|エラーメール|不達|未達|返送|退信|退回|投递(?:失败|失敗|状态|通知)|投遞(?:失敗|失败)|递送(?:失败|状态)|遞送|無法(?:投遞|傳送|寄送|送達|遞送)|无法(?:投递|发送|送达|递送)|傳送失敗|寄送失敗|发送失败|發送失敗|系统退信"
    r"|반송|전송 ?(?:실패|오류|불가)|배달|발송 ?(?:실패|오류)|수신 ?(?:거부|실패)",
    re.IGNORECASE,
)
_BODY: Final = re.compile(
    r"this is the (?:mail system|mail delivery agent|postfix|qmail|\w+ (?:mail )?(?:system|program)|machine generated|mail (?:server|router))|this message was (?:created|generated) automatically by (?:mail|the)|hi\. this is the|the original message was received at"
    r"|(?:could|can|was|has|were|have) ?n(?:o|')t (?:be |been )?(?:deliver|sent|reach)|could not be delivered|unable to deliver|was(?:n't| not) (?:able to deliver|delivered)|wasn't delivered|couldn't be delivered|undeliver(?:able|ed)|delivery (?:has )?(?:failed|to the following|failure|error|of your)|failed to deliver|delivery attempts? (?:has |have )?failed|permanent(?:ly)? (?:fatal )?(?:error|fail)|fatal errors|did not reach the following|not delivered to|returned (?:undelivered|to sender|to you)"
    r"|failed (?:recipients?|addresses|to reach)|message (?:you sent )?(?:was|has been|is being) (?:rejected|refused|blocked|returned|bounced)|your (?:message|mail|e-?mail) (?:was|has been|could|to|did|cannot|wasn|couldn)|problems? (?:delivering|sending|with (?:the|your))|trouble delivering|error (?:while )?(?:delivering|sending)|errors? (?:occur|delivering|sending)|cannot be delivered|transcript of session|user (?:is )?unknown|unknown (?:user|recipient|local)|no such user|recipient (?:unknown|rejected|not found)|mailbox (?:is )?(?:full|unavailable|not found|unknown)|address rejected|over ?quota|delayed|will (?:continue to )?(?:be retried|try|keep trying|retry)"
    r"|konnte nicht (?:zugestellt|ausgeliefert|übermittelt)|nicht zugestellt|zustellung|n'a (?:pas )?pu |pas pu être|n'a pas été|impossible de|no (?:se )?(?:pudo|ha podido|ha sido|fue)|non (?:è stato|è stata|recapit|consegn)|impossibile|não (?:pôde|pode|foi)|kon niet|kan niet|niet worden|nie (?:mogła|została|udało|można|może)|не (?:может|могло|удалось|было|была|доставлен)"
    r"|配信(?:でき|不能|され)|お?届け?(?:でき|ませ)|送信(?:でき|され|に失敗)|存在し(?:ない|ませ)|無法(?:投遞|傳送|寄|送達|遞送)|无法(?:投递|发送|送达|递送)|退信|退回|投递失败|投遞失敗|未(?:能)?(?:送达|送達|投递|投遞)|不存在|배달|전송(?:할 수|되지|하지|에 실패|이 실패)|반송|전달되지",
    re.IGNORECASE,
)
_SMTP_REPLY: Final = re.compile(r"(?<![\d.])[45][0-57]\d[ \-]+(?:#?[45]\.\d\.\d{1,3}\b|[A-Z<][^\n]{3,})|\b[45]\.[0-7]\.\d{1,3}\b")
_ADDRESS_AT: Final = re.compile(r"\S@\S")


def daemon_sender(message: Message) -> bool:
    """Whether a mail system signs it."""
    sender = message.header("from") or message.header("sender")
    return _DAEMON.search(sender) is not None


def null_sender(message: Message) -> bool:
    """Whether its envelope sender was empty (RFC 5321, 4.5.5)."""
    return any(value.strip() in ("<>", "") for value in message.all_headers("return-path"))


def report_subject(message: Message) -> bool:
    return _SUBJECT.search(message.header("subject")) is not None


def reply_subject(message: Message) -> bool:
    """Whether a person answers or forwards."""
    return re.match(r"(?:re|fwd?|aw|wg|tr|rv|antw|sv|vs|enc|回复|回覆|答复|转发|轉寄)\s*(?:\[\d+\])?\s*[:：]", message.header("subject"), re.IGNORECASE) is not None


def failure_words(text: str) -> bool:
    return _BODY.search(text[:20_000]) is not None


def smtp_words(text: str) -> bool:
    return _SMTP_REPLY.search(text[:20_000]) is not None


def is_report(message: Message, notice: str) -> bool:
    """Whether to believe that a mail system reports here on a delivery.

    Bare bodies (no headers at all) are believed by their words alone.
    """
    words = failure_words(notice)
    if not message.headers:
        return words and _ADDRESS_AT.search(notice) is not None
    if message.header("x-failed-recipients"):
        return True
    person = bool(message.header("in-reply-to")) and not daemon_sender(message) and not null_sender(message)
    points = 2 * daemon_sender(message) + 2 * null_sender(message) + 2 * report_subject(message)
    points += words + smtp_words(notice) + (message.content_type == "multipart/report")
    points += bool(message.header("auto-submitted")) and not re.match("no\\b", message.header("auto-submitted"), re.IGNORECASE)
    points -= 3 * person + 3 * (reply_subject(message) and not daemon_sender(message))
    points -= 2 * bool(message.header("list-unsubscribe") or message.header("list-post"))
    return points >= 4 and (words or smtp_words(notice))
