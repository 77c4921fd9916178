"""Words and rows to parts: what is an image, what is a text, and every part that is neither."""

import base64
from pathlib import Path

import pytest

from gooseguard.cli.parts import parse_parts, read_image, split_words
from gooseguard.core.errors import ContentError, DataError

GIF = b"GIF89a" + bytes(20)


def test_words_are_images_where_such_a_file_is_there(tmp_path):
    photo = tmp_path / "a photo.JPG"
    photo.write_bytes(GIF)
    words = ["a caption", str(photo), "see my.jpg now.png and then", "you.jpg are a moron", "x.jpg\ny", ""]
    texts, images = split_words(words)
    assert images == [photo]
    assert texts == [words[0], *words[2:]]


def test_a_name_without_a_file_is_an_error():
    with pytest.raises(DataError, match=r"nowhere\.webp: no such file"):
        split_words(["nowhere.webp"])


def test_every_form_of_a_part(tmp_path):
    (tmp_path / "a.gif").write_bytes(GIF)
    url = "data:image/gif;base64," + base64.b64encode(GIF).decode()
    parts = parse_parts(
        [
            {"text": "one"},
            {"text": "  "},
            {"modality": "text", "text": "two"},
            {"path": "a.gif"},
            {"modality": "image", "path": str(tmp_path / "a.gif"), "sha256": "0" * 64},
            {"type": "image_url", "image_url": {"url": url}},
            {"image_url": url},
        ],
        tmp_path,
        10,
    )
    assert [part.data for part in parts] == [b"one", b"two", GIF, GIF, GIF, GIF]
    assert [part.media_type for part in parts[1:3]] == ["text/plain", "image/gif"]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ([], "no list, or an empty one"),
        ({"text": "<slur>"}, "no list"),
        ([{"text": " "}], "no part has anything visible"),
        (["<slur>"], "part 0: is of no known form"),
        ([{"text": "a"}, {}], "part 1: is of no known form"),
        ([{"text": "a", "path": "b"}], "part 0: is of no known form"),
        ([{"text": "a", "x": "b"}], "part 0: is of no known form"),
        ([{"text": 3}], "part 0: 'text' is no text"),
        ([{"image_url": {"uri": "x"}}], "part 0: 'image_url' is no text"),
        ([{"image_url": "https://example.com/secret.png"}], "part 0: the URL is no data URL"),
        ([{"path": "secret.png"}], "part 0: no such file"),
        ([{"path": "."}], "part 0: no such file"),
        ([{"path": "a\0b"}], "part 0: "),
        ([{"text": "12345678901"}], "part 0: text has 11 characters, more than 10"),
        ([{"text": "\ud800"}], "part 0: text has a lone surrogate"),
    ],
)
def test_what_is_no_part_is_told_without_its_content(tmp_path, value, found):
    with pytest.raises(ContentError, match=found) as caught:
        parse_parts(value, tmp_path, 10)
    assert "slur" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_is_read_no_further_than_an_image_may_be():
    # An endless one.
    with pytest.raises(ContentError, match="no such file"):
        read_image(Path("/dev/zero"))
