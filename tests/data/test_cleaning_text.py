"""Damage, markup and boilerplate, taken out of texts; and what looks alike and stays."""

from collections import Counter

import pytest

from gooseguard.data.cleaning_text import repair_encoding, strip_boilerplate, strip_html


@pytest.mark.parametrize(
    ("text", "expected", "step"),
    [
        # UTF-8 read as Windows-1252: e acute is C3 A9, which reads as Ã©.
        ("cafÃ©", "café", "encoding_repaired"),
        ("a\x00b\x1bc", "abc", "controls_removed"),
        ("\ufeffa", "a", "controls_removed"),
        ("café", "café", None),
        ("a\tb\r\nc", "a\tb\r\nc", None),
        ("日本語のテキスト", "日本語のテキスト", None),
    ],
)
def test_repairs_encoding(text, expected, step):
    counts = Counter()
    assert repair_encoding(text, counts) == expected
    assert counts == ({step: 1} if step else {})


@pytest.mark.parametrize(
    ("text", "expected", "step"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo", "html_removed"),
        ("a <b>bold</b> <a href='x'>link</a>", "a bold link", "html_removed"),
        ("x<script>alert('<b>')</script>y<!-- hidden -->", "x y", "html_removed"),
        ("line<br/>line", "line\nline", "html_removed"),
        ("Tom &amp; Jerry", "Tom & Jerry", "entities_read"),
        ("&amp;lt;3", "<3", "entities_read"),
        ("you <slur>", "you <slur>", None),
        ("i <3 you, 1 < 2 > 0", "i <3 you, 1 < 2 > 0", None),
        ("AT&T; R&D", "AT&T; R&D", None),
    ],
)
def test_takes_out_html(text, expected, step):
    counts = Counter()
    assert strip_html(text, counts) == expected
    assert counts == ({step: 1} if step else {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("you moron\n\nSent from my iPhone", "you moron"),
        ("[deleted]", ""),
        ("nice\nReply | Share", "nice"),
        ("This comment has been removed by a moderator.", ""),
    ],
)
def test_takes_out_boilerplate(text, expected):
    counts = Counter()
    assert strip_boilerplate(text, counts) == expected
    assert counts == {"boilerplate_removed": 1}


@pytest.mark.parametrize(
    "text", ["it was sent from my iPhone yesterday, you know", "[removed] is what I saw\nyes", "a\n"]
)
def test_leaves_what_people_wrote(text):
    counts = Counter()
    assert strip_boilerplate(text, counts) == text
    assert not counts
