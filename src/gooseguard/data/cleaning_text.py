"""Texts -> texts without damage, markup and boilerplate; what was done is counted. Knows no labels.

Placeholders such as `<slur>` are no markup: only names of HTML elements make a tag.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from gooseguard.core.extras import needing

if TYPE_CHECKING:
    from collections import Counter

# Elements of HTML.
_NAME = (
    r"a|abbr|acronym|address|article|aside|audio|b|big|blockquote|body|br|button|center|"
    r"cite|code|col|colgroup|dd|del|details|dfn|div|dl|dt|em|embed|fieldset|figcaption|"
    r"figure|font|footer|form|frame|h1|h2|h3|h4|h5|h6|head|header|hr|html|i|iframe|img|"
    r"input|ins|kbd|label|legend|li|link|main|map|mark|meta|nav|noscript|object|ol|"
    r"optgroup|option|p|param|picture|pre|q|s|samp|section|select|small|source|span|strike|"
    r"strong|style|sub|summary|sup|svg|table|tbody|td|template|textarea|tfoot|th|thead|time|"
    r"title|tr|track|tt|u|ul|var|video|wbr"
)
_HIDDEN = re.compile(
    r"<!--.*?-->|<(script|style)\b[^<>]*>.*?</\1\s*>|<!doctype[^<>]*>", re.IGNORECASE | re.DOTALL
)
_BREAK = re.compile(
    r"<(?:br|/?p|/?div|/?li|/?ul|/?ol|/?tr|/?table|/?h[1-6]|/?blockquote|hr)(?:\s[^<>]*)?/?>", re.IGNORECASE
)
_TAG = re.compile(rf"</?(?:{_NAME})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,30});", re.IGNORECASE)

# C0 and C1 but tab, line feed and carriage return; byte order marks; what only pretends to be a character.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
_BLANK_LINES = re.compile(r"\n[^\S\n]*\n(?:[^\S\n]*\n)+")
_SPACES = re.compile(r"[^\S\n]{2,}")

# Whole lines that software or a site wrote, at the end of a text or as all of it.
_LINE = re.compile(
    r"^\s*(?:sent from my \S+(?: \S+){0,3}|sent via \S+|get outlook for \w+|\[?(?:deleted|removed)\]?"
    r"|\[?this (?:comment|post|message|content) (?:has been|was) (?:deleted|removed)\b.{0,80}"
    r"|(?:click|tap) (?:here )?to (?:expand|read more|see more)\.{0,3}|(?:read|show|see) more\.{0,3}"
    r"|report(?: this)?(?: comment| post)?|reply(?: \| ?(?:like|share|report|quote))+|advertisement"
    r"|i am a bot, and this action was performed automatically\b.{0,120})[.!]?\s*$",
    re.IGNORECASE,
)


def repair_encoding(text: str, counts: Counter[str]) -> str:
    """Repair text that was decoded as something else than it was, and take out control characters.

    Counts `encoding_repaired` and `controls_removed`.

    Raises:
        ConfigError: ftfy is not installed.
    """
    if not text.isascii():
        with needing("repairing encodings needs", "data"):
            import ftfy  # noqa: PLC0415  (only the data engine needs it)
        repaired = ftfy.fix_encoding(text)
        if repaired != text:
            counts["encoding_repaired"] += 1
            text = repaired
    cleaned, n_controls = _CONTROLS.subn("", text)
    if n_controls:
        counts["controls_removed"] += 1
    return cleaned


def strip_html(text: str, counts: Counter[str]) -> str:
    """Read entities and take out tags, scripts and comments; counts `html_removed` and `entities_read`."""
    if "<" in text:
        stripped = _TAG.sub("", _BREAK.sub("\n", _HIDDEN.sub(" ", text)))
        if stripped != text:
            counts["html_removed"] += 1
            text = _SPACES.sub(" ", _BLANK_LINES.sub("\n\n", stripped)).strip()
    if "&" in text and _ENTITY.search(text):
        # Twice: "&amp;lt;" comes of escaping twice. A third time would read what people wrote.
        read = html.unescape(html.unescape(text))
        if read != text:
            counts["entities_read"] += 1
            text = read
    return text


def strip_boilerplate(text: str, counts: Counter[str]) -> str:
    """Take out lines that software wrote, at the end or as all of it; counts `boilerplate_removed`."""
    lines = text.split("\n")
    end = len(lines)
    while end and (not lines[end - 1].strip() or _LINE.match(lines[end - 1])):
        end -= 1
    if any(line.strip() for line in lines[end:]):
        counts["boilerplate_removed"] += 1
        return "\n".join(lines[:end]).rstrip()
    return text
