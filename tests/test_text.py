"""Bytes become the words that were meant, whatever the labels claim, and words cannot do harm."""

import base64
import binascii
import quopri
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bounced.text import (
    MAX_TEXT,
    decode_charset,
    decode_transfer,
    decode_words,
    safe,
    strip_html,
)

CHINESE = "用户不存在，邮件被退回。"
TRADITIONAL = "郵件無法投遞給收件人，該帳號不存在。"
JAPANESE = "宛先のユーザが存在しません。"
KOREAN = "메일을 전송할 수 없습니다."
WESTERN = "zurückgeschickt für Jürgen"


@pytest.mark.parametrize(
    ("data", "declared", "words"),
    [
        # as declared, by whatever name
        (CHINESE.encode("gb2312"), "gb2312", CHINESE),
        (CHINESE.encode("gbk"), "GBK", CHINESE),
        (TRADITIONAL.encode("big5"), '"Big5"', TRADITIONAL),
        (JAPANESE.encode("iso-2022-jp"), "ISO-2022-JP", JAPANESE),
        (JAPANESE.encode("shift_jis"), "x-sjis", JAPANESE),
        (JAPANESE.encode("euc_jp"), "euc-jp", JAPANESE),
        (KOREAN.encode("euc-kr"), "ks_c_5601-1987", KOREAN),
        ("ответ".encode("koi8-r"), "koi8-r", "ответ"),
        ("ответ".encode("cp1251"), "windows-1251", "ответ"),
        ("“so”".encode("cp1252"), "iso-8859-1", "“so”"),
        ("hi".encode("utf-16"), "utf-16", "hi"),
        # a set that holds more than its name says
        ("镕喆€".encode("gb18030"), "gb2312", "镕喆€"),
        ("①㈱".encode("cp932"), "shift_jis", "①㈱"),
        # not declared, or declared wrongly
        (JAPANESE.encode("iso-2022-jp"), None, JAPANESE),
        (JAPANESE.encode("iso-2022-jp"), "us-ascii", JAPANESE),
        (JAPANESE.encode("iso-2022-jp"), "utf-8", JAPANESE),
        (JAPANESE.encode("shift_jis"), None, JAPANESE),
        (JAPANESE.encode("shift_jis"), "utf-8", JAPANESE),
        (JAPANESE.encode("euc_jp"), None, JAPANESE),
        (CHINESE.encode("gb2312"), None, CHINESE),
        (CHINESE.encode("gb2312"), "us-ascii", CHINESE),
        (CHINESE.encode("gb2312"), "iso-8859-1", CHINESE),
        (TRADITIONAL.encode("big5"), None, TRADITIONAL),
        (KOREAN.encode("euc-kr"), "us-ascii", KOREAN),
        (JAPANESE.encode(), "iso-8859-1", JAPANESE),
        (WESTERN.encode(), "iso-8859-1", WESTERN),
        (WESTERN.encode("latin-1"), None, WESTERN),
        (WESTERN.encode("latin-1"), "utf-8", WESTERN),
        # damaged
        (CHINESE.encode("gb2312")[:-1], "gb2312", CHINESE[:-1] + "\ufffd"),
        (CHINESE.encode()[:-1], "utf-8", CHINESE[:-1] + "\ufffd"),
        (CHINESE.encode()[:-1], None, CHINESE[:-1] + "\ufffd"),
        (b"\xef\xbb\xbfhi", None, "hi"),
    ],
)
def test_words_are_read_by_what_was_meant(data: bytes, declared: str | None, words: str) -> None:
    assert decode_charset(data, declared) == words


@pytest.mark.parametrize(
    "name",
    [
        "zlib", "bz2", "hex", "base64", "uu", "rot13", "punycode", "idna", "undefined", "mbcs",
        "unicode_escape", "raw_unicode_escape", "../../x", "utf-8\0", "os", "x" * 5_000, "", " ",
    ],
)  # fmt: skip
def test_a_stranger_does_not_choose_the_codec(name: str) -> None:
    text = "x\\u0041 n-3yaa eJwrBgAAegB6"
    assert decode_charset(text.encode(), name) == text


def test_utf_7_is_read_only_where_it_is_declared() -> None:
    assert decode_charset(b"+ADw-script+AD4-", "utf-7") == "<script>"
    for declared in (None, "us-ascii", "utf-8", "iso-8859-1"):
        assert decode_charset(b"+ADw-script+AD4-", declared) == "+ADw-script+AD4-"


@given(
    st.binary(max_size=300),
    st.sampled_from(
        [
            "utf-8",
            "utf-7",
            "utf-16",
            "hz",
            "gb2312",
            "big5",
            "iso-2022-jp",
            "iso-2022-kr",
            "shift_jis",
            "euc-kr",
            "koi8-u",
            "x",
        ]
    )
    | st.text(max_size=10),
)
def test_any_bytes_in_any_charset_are_some_text(data: bytes, charset: str) -> None:
    text = decode_charset(data, charset)
    assert len(text) <= 2 * len(data) + 1


@pytest.mark.parametrize("charset", ["utf-8", "gb18030", "koi8-r"])
def test_what_was_read_as_latin_1_and_encoded_again_is_read_as_it_was(charset: str) -> None:
    answer = {"koi8-r": "550 такого пользователя нет"}.get(charset, f"550 {CHINESE}")
    twice = answer.encode(charset).decode("latin-1").encode()
    assert decode_charset(WESTERN.encode() + b"\n" + twice, "utf-8") == f"{WESTERN}\n{answer}"


def test_western_letters_that_were_encoded_twice_are_read_as_they_were() -> None:
    twice = WESTERN.encode().decode("latin-1").encode()
    assert decode_charset(twice, "utf-8") == WESTERN


@pytest.mark.parametrize("text", [WESTERN, "NÃO RECEBÍVEL", "gemäß § 5, 20 °C", "«déjà» à côté"])
def test_western_letters_that_were_encoded_once_stay(text: str) -> None:
    assert decode_charset(text.encode(), "utf-8") == text


@given(st.text())
def test_utf_8_is_read_as_it_was_written(text: str) -> None:
    written = re.sub("[\x80-\xff]{2,}", "é", text.encode("utf-8", "ignore").decode())
    if "\x1b" not in written and not written.startswith("\ufeff"):
        assert decode_charset(written.encode(), "utf-8") == written


# --- transfer encodings ---


@pytest.mark.parametrize(
    ("data", "encoding", "decoded"),
    [
        (b"aGVsbG8=\n", "base64", b"hello"),
        (b"aGVs\r\nbG8=\r\n", "BASE64", b"hello"),
        (b"aGVsbG8", "base64", b"hello"),
        (b"aGVsbG8=", ' "base64" ', b"hello"),
        (b"aGVsbG8=", "base64 (as always)", b"hello"),
        (b"aGVsbG8=", "base64; charset=utf-8", b"hello"),
        (b"a!G@V#sbG8=", "base64", b"hello"),
        (b"aGVsbG8=\n-- \nlist footer", "base64", b"hello"),
        (b"aGVsbG8gd29ybGQh\n--\nlist footer", "base64", b"hello world!"),
        (b"aGVsbG8gd29ybGQh\nTo leave this list write\n", "base64", b"hello world!"),
        (b"This is not base64 at all.\n", "base64", b"This is not base64 at all.\n"),
        (b"", "base64", b""),
        (b"=", "base64", b""),
        (b"a", "base64", b""),
        (b"a=3Db=\n c=", "quoted-printable", b"a=b c"),
        (b"a=E4=FC=\r\nb", " Quoted-Printable ", b"a\xe4\xfcb"),
        (b"soft= \t\nbreak", "quoted-printable", b"softbreak"),
        (b"a=ZZ b=3", "quoted-printable", b"a=ZZ b=3"),
        (b"as it is", "8bit", b"as it is"),
        (b"as it is", "x-uuencode", b"as it is"),
        (b"as it is", "", b"as it is"),
    ],
)
def test_a_transfer_encoding_is_undone_as_far_as_it_goes(
    data: bytes, encoding: str, decoded: bytes
) -> None:
    assert decode_transfer(data, encoding) == decoded


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit"])
def test_what_is_decoded_is_bounded(encoding: str) -> None:
    assert len(decode_transfer(b"A" * (5 * MAX_TEXT), encoding)) <= 3 * MAX_TEXT
    assert len(decode_charset(decode_transfer(b"A" * (5 * MAX_TEXT), encoding), None)) <= MAX_TEXT


@given(st.binary(max_size=300), st.sampled_from(["base64", "quoted-printable", "", "x"]))
def test_any_bytes_in_any_transfer_encoding_decode_to_something_no_longer(
    data: bytes, encoding: str
) -> None:
    assert len(decode_transfer(data, encoding)) <= len(data)


@given(st.binary(max_size=300))
def test_base64_is_undone_exactly(data: bytes) -> None:
    assert decode_transfer(base64.encodebytes(data), "base64") == data


# --- encoded words ---


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("=?utf-8?B?5Lit5paH?=", "中文"),
        ("=?utf-8?Q?a=20b_c?=", "a b c"),
        ("=?utf-8*en?q?a?=", "a"),
        ("=?gb2312?B?1tDOxA==?=", "中文"),
        ("=?iso-2022-jp?B?GyRCQ2ZKOBsoQg==?=", "中文"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?=\t=?iso-8859-1?q?=E4?=", "aä"),
        ("=?utf-8?q?a?= and =?utf-8?q?b?=", "a and b"),
        ("Re: =?utf-8?q?a?= <a@example.com>", "Re: a <a@example.com>"),
        ("=?utf-8?B?5Li?= =?utf-8?B?reaWhw==?=", "中文"),  # a character cut in two
        ("=?utf-8?Q?=E4=B8?= =?utf-8?Q?=AD?=", "中"),
        ("=?utf-8?X?a?=", "=?utf-8?X?a?="),
        ("=?utf-8?q?a", "=?utf-8?q?a"),
        ("plain", "plain"),
        ("", ""),
        ("Ger\xc3\xa4t", "Gerät"),
        ("Ger\xe4t", "Gerät"),
        ("系统退信通知".encode("gb2312").decode("latin-1"), "系统退信通知"),
    ],
)
def test_encoded_words_are_read(value: str, words: str) -> None:
    assert decode_words(value) == words


def test_encoded_words_name_no_codec_of_python() -> None:
    assert "script" not in decode_words("=?zlib?B?eJwrTi7KLCgBAAi5Ao4=?=")


def test_only_the_first_hundred_encoded_words_are_read() -> None:
    assert decode_words(" ".join(["=?utf-8?q?a?="] * 150)).startswith("a" * 100 + "=?utf-8?q?a?=")


@given(st.text(alphabet="=?utf-8QqBb _\xe4a<\n", max_size=120))
def test_any_header_value_has_words(value: str) -> None:
    assert isinstance(decode_words(value), str)


# --- markup ---


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ("<p>a</p><p>b</p>", ["a", "b"]),
        ("a<br>b<BR/>c<hr>d", ["a", "b", "c", "d"]),
        ("<table><tr><td>a</td><td>b</td></tr></table>", ["a", "b"]),
        ("<ul><li>a<li>b</ul>", ["a", "b"]),
        ("<div>reader@example.com<div>User unknown</div></div>", ["reader@example.com", "User unknown"]),
        ("a\n  b", ["a b"]),
        ("<pre>a\nb</pre>", ["a", "b"]),
        ("<html><head><title>t</title></head><body>a</body></html>", ["a"]),
        ("<header>a</header><p>b</p>", ["a", "b"]),
        ("<script>x</script>a<STYLE>y</STYLE >b<!-- z -->c", ["abc"]),
        ("<style>never closed", ["never closed"]),
        ("<reader@example.com> is gone", ["<reader@example.com> is gone"]),
        ("<b>gone</b>: &lt;reader@example.com&gt;", ["gone: <reader@example.com>"]),
        ('<a href="mailto:x@example.com">reader@example.com</a>', ["reader@example.com"]),
        ('<img alt="x@example.com" src="y">a', ["a"]),
        ("5 < 6 and 7 > 2", ["5 < 6 and 7 > 2"]),
        ("a&nbsp;&amp;&#228;", ["a\xa0&ä"]),
        ("&#0;&#xd800;a", ["\ufffd\ufffda"]),
    ],
)  # fmt: skip
def test_markup_is_read_as_a_browser_would_show_it_a_block_a_line(
    markup: str, words: list[str]
) -> None:
    assert [line for line in strip_html(markup).split("\n") if line] == words


@given(st.text(alphabet="<>/!-=\"' \nbrpscit&#;x0@", max_size=200))
def test_any_markup_has_words(markup: str) -> None:
    assert len(strip_html(markup)) <= len(markup)


SAID = b"Your mail to reader@example.com could not be delivered.\n550 5.1.1 unknown = unknown\n"


@pytest.mark.parametrize(
    "raw",
    [
        base64.encodebytes(SAID),
        quopri.encodestring(SAID) + b"=\n",
        b"begin 644 why.txt\n"
        + b"".join(binascii.b2a_uu(SAID[at : at + 45]) for at in range(0, len(SAID), 45))
        + b"`\nend\n",
    ],
    ids=["base64", "quoted-printable", "uuencode"],
)
def test_an_encoding_that_nobody_declared_is_undone(raw: bytes) -> None:
    assert SAID in decode_transfer(raw, "")


@pytest.mark.parametrize(
    "raw",
    [SAID, b"https://example.com/?id=1\n", b"a=\nb=c\n", b"begin 644 of something\nelse\n", b"x" * 100],
)  # fmt: skip
def test_what_only_looks_encoded_stays(raw: bytes) -> None:
    assert decode_transfer(raw, "7bit").startswith(raw[:8])


@pytest.mark.parametrize("written", ["koi8-r", "cp1251", "iso8859-5", "cp866"])
@pytest.mark.parametrize("declared", ["iso-8859-1", None, "us-ascii"])
def test_cyrillic_text_is_read_whatever_it_is_declared(written: str, declared: str | None) -> None:
    text = "Почтовый ящик получателя переполнен"
    assert decode_charset(text.encode(written), declared) == text


@pytest.mark.parametrize(
    ("text", "written", "declared"),
    [
        ("Почтовый ящик получателя переполнен", "koi8-r", "windows-1251"),
        ("Почтовый ящик получателя переполнен", "cp1251", "koi8-r"),
        ("Письмо не может быть доставлено", "cp1251", "iso-8859-2"),
        (TRADITIONAL, "big5", "gb2312"),
        (CHINESE, "gb2312", "euc-kr"),
        ("宛先のメールアドレスは存在しません。", "euc_jp", "gb2312"),
        ("받는 사람의 메일함이 가득 찼습니다.", "cp949", "gb2312"),
        (CHINESE, "utf-8", "euc-kr"),
    ],
)
def test_a_wrong_charset_that_decodes_is_not_believed(
    text: str, written: str, declared: str
) -> None:
    assert decode_charset(text.encode(written), declared) == text


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ("Η διεύθυνση του παραλήπτη δεν υπάρχει", "iso-8859-7"), ("Zażółć gęślą jaźń", "iso-8859-2"), ("龘靐齉爩", "big5"),
        ("ЗАКАЗ НЕ ДОСТАВЛЕН", "koi8-r"), ("Скриньку переповнено", "koi8-u"), ("電話番号", "shift_jis"),
    ],
)  # fmt: skip
def test_a_right_charset_is_believed_even_for_rare_letters(text: str, declared: str) -> None:
    data = text.encode(declared, "ignore")
    assert decode_charset(data, declared) == data.decode(declared)


@pytest.mark.parametrize(
    "text", ["Größe, Übermaß, Äußerung", "été où ça même", "¿Qué señor español?"]
)
def test_western_text_is_not_taken_for_cyrillic(text: str) -> None:
    assert decode_charset(text.encode("cp1252"), "iso-8859-1") == text


# --- safe ---


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\r\nb\tc", "a\\x0d\\x0ab\\x09c"),
        ("\x85\x9b", "\\x85\\x9b"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2066a\u2069", "\\u2066a\\u2069"),
        ("a\u200b\u2028\u00ad\ufeff", "a\\u200b\\u2028\\xad\\ufeff"),
        ("\udc80", "\\udc80"),
        ("\U000e0041", "\\U000e0041"),
        ("Grüße, 用户 😀 'quoted' \\x00", "Grüße, 用户 😀 'quoted' \\x00"),
    ],
)
def test_what_could_steer_a_terminal_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert safe(text) == shown


@given(st.text())
def test_safe_text_is_one_line_without_controls_and_safe_again(text: str) -> None:
    shown = safe(text)
    assert len(shown.splitlines()) <= 1
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(c) for c in shown} & {"LRO", "RLO", "LRE", "RLE", "PDF"}
    assert safe(shown) == shown


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        ("Skrzynka odbiorcy jest przepełniona, spróbuj później", "iso-8859-2"),
        ("Skrzynka odbiorcy jest przepełniona, spróbuj później", "windows-1250"),
        ("Premašena je kvota sandučića, pošaljite kasnije", "iso-8859-2"),
        ("Alıcı kutusu dolu, şimdilik teslim edilemedi, değil", "iso-8859-9"),
        ("Το γραμματοκιβώτιο του παραλήπτη είναι πλήρες", "iso-8859-7"),
        ("תיבת הדואר של הנמען מלאה", "windows-1255"),
        ("صندوق بريد المستلم ممتلئ", "windows-1256"),
        ("กล่องจดหมายของผู้รับเต็ม", "tis-620"),
        ("La boîte aux lettres de l'élève est pleine (10 m³)", "iso-8859-1"),
        ("Das Postfach für Bücher ist voll", "iso-8859-1"),
        ("Pósthólf viðtakanda er fullt, því miður", "iso-8859-1"),
    ],
)
def test_a_charset_that_nobody_declared_is_seen_by_what_its_letters_make(
    text: str, charset: str
) -> None:
    for declared in (None, "us-ascii", "iso-8859-1"):
        assert decode_charset(text.encode(charset), declared) == text
