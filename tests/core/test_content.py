"""Content: what a part may hold, and that the digest tells contents apart."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.errors import ContentError

texts = st.text(max_size=12)
languages = st.sampled_from(["en", "de", "hi-Latn"])
parts = st.builds(
    Part,
    st.sampled_from(Modality),
    st.binary(max_size=6),
    st.sampled_from(["text/plain", "image/png", ""]),
)
contents = st.builds(
    Content,
    st.lists(parts, max_size=3).map(tuple),
    st.lists(parts, max_size=3).map(tuple),
    st.none() | languages,
)


@given(texts)
@settings(deadline=None)
def test_any_text_round_trips(text):
    part = Part.from_text(text)
    assert part.text == text
    assert part.data == text.encode("utf-8")
    assert (part.modality, part.media_type) == (Modality.TEXT, "text/plain")


@pytest.mark.parametrize(
    ("text", "code", "at"), [("\ud800", "D800", 0), ("ab\udfffc", "DFFF", 2), ("😀\udc00", "DC00", 1)]
)
def test_lone_surrogate_is_named_by_code_and_place_and_never_repeated(text, code, at):
    with pytest.raises(ContentError, match=rf"lone surrogate U\+{code} at code point {at};") as caught:
        Part.from_text(text)
    assert text not in str(caught.value)
    # The cause would carry the text into a traceback.
    assert caught.value.__suppress_context__


def test_content_from_text_refuses_a_lone_surrogate_too():
    with pytest.raises(ContentError, match="lone surrogate"):
        Content.from_text("a\udcff")


def test_nul_bytes_are_text():
    assert Content.from_text("a\x00b").parts[0].text == "a\x00b"


def test_text_of_an_image_is_refused():
    with pytest.raises(ContentError, match="part is image, expected text"):
        _ = Part(Modality.IMAGE, b"", "image/png").text


def test_text_that_is_not_utf8_names_the_byte():
    # 0xFF begins no UTF-8 character.
    with pytest.raises(ContentError, match="not UTF-8 at byte 2"):
        _ = Part(Modality.TEXT, b"ab\xffcd").text


def test_from_text_has_one_part_no_context_and_the_language():
    content = Content.from_text("hello", "en")
    assert content == Content((Part(Modality.TEXT, b"hello"),), (), "en")
    assert Content.from_text("hello").language is None


def test_is_a_key_and_cannot_be_changed():
    assert {Content.from_text("a"): 1}[Content.from_text("a")] == 1
    with pytest.raises(AttributeError):
        Content.from_text("a").language = "en"


def test_digest_is_the_sha256_of_length_prefixed_fields():
    # Written out by hand: one part, then its three fields, then no context, then the language.
    fields = [
        (1).to_bytes(8, "big"),
        (4).to_bytes(8, "big") + b"text",
        (10).to_bytes(8, "big") + b"text/plain",
        (2).to_bytes(8, "big") + b"hi",
        (0).to_bytes(8, "big"),
        b"en",
    ]
    assert Content.from_text("hi", "en").digest() == hashlib.sha256(b"".join(fields)).hexdigest()


@given(contents, contents)
@settings(deadline=None, max_examples=200)
def test_digests_are_equal_just_where_contents_are(one, other):
    assert (one.digest() == other.digest()) == (one == other)


def test_moving_a_boundary_changes_the_digest():
    def make(*pieces, context=()):
        return Content(tuple(map(Part.from_text, pieces)), tuple(map(Part.from_text, context)))

    different = [
        make("ab"),
        make("a", "b"),
        make("b", "a"),
        make("ab", ""),
        make("", "ab"),
        make("a", context=["b"]),
        make(context=["ab"]),
        make(context=["a", "b"]),
        Content((Part(Modality.IMAGE, b"ab"),)),
        Content((Part(Modality.TEXT, b"ab", "text/html"),)),
        Content.from_text("ab", "en"),
    ]
    assert len({content.digest() for content in different}) == len(different)


def test_origin_is_for_people_and_not_part_of_the_digest():
    one, other = Part.from_text("a", "file.txt"), Part.from_text("a")
    assert Content((one,)).digest() == Content((other,)).digest()
