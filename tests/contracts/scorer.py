"""What every `Scorer` must do, whatever it is made of; each function checks one promise of the protocol.

A scorer joins by one entry in `test_scorer.py`. Of the numbers, only range and agreement are looked at.
"""

from concurrent.futures import ThreadPoolExecutor

from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.scorer import ScoreError, Scorer, Scores

TOLERANCE = 1e-5
TEXTS = (
    "have a nice day",
    "you moron",
    "The the THE oron",
    "Ünïcödé, ｆｕｌｌ width, 日本語 and emoji 🦢",
    "x",
    "a longer text. " * 60,
    "<slur> " * 300,
    "line\nline\r\nline",
)


def check_description(scorer):
    """Name, categories, modalities and languages are there."""
    assert isinstance(scorer, Scorer)
    name, _, digest = scorer.name.partition("@")
    assert name
    assert digest
    assert scorer.categories
    assert all(isinstance(category, str) for category in scorer.categories)
    assert all(isinstance(modality, Modality) for modality in scorer.modalities)
    assert all(isinstance(language, str) for language in scorer.languages)


def check_no_contents(scorer):
    assert scorer.score([]) == []


def check_scores_are_whole(scorer):
    """Each content gets every category, within 0..1, the model's name, and what was read for it."""
    for scores in scorer.score([Content.from_text(text) for text in TEXTS]):
        assert isinstance(scores, Scores)
        assert scores.values.keys() == scorer.categories
        assert all(value is not None and 0 <= value <= 1 for value in scores.values.values())
        assert scores.model == scorer.name
        assert scores.applied == dict.fromkeys(scorer.categories, frozenset({Modality.TEXT}))
        assert scores.rationale is None


def check_same_order(scorer):
    """A content scores alike alone, among others, twice, and in any order."""
    contents = [Content.from_text(text) for text in TEXTS]
    alone = [scorer.score([content])[0] for content in contents]
    order = [3, 0, 7, 5, 5, 1, 2, 6, 4, 0]
    together = scorer.score([contents[number] for number in order])
    assert len(together) == len(order)
    for number, scores in zip(order, together, strict=True):
        assert_close(scores, alone[number])


def check_one_failure_stops_no_other(scorer):
    """A part that is no text, or no UTF-8, is an error of its own content."""
    image = Content((Part.from_text("look"), Part(Modality.IMAGE, b"\x89PNG<secret>", "image/png")))
    broken = Content((Part(Modality.TEXT, b"secret \xff\xfe"),))
    good = Content.from_text("you moron")
    first, image_error, second, broken_error, third = scorer.score([good, image, good, broken, good])
    for error in (image_error, broken_error):
        assert isinstance(error, ScoreError)
        assert error.type == "ContentError"
        assert "secret" not in error.message
    assert "image" in image_error.message
    assert_close(second, first)
    assert_close(third, first)


def check_threads(scorer):
    """Calls from several threads at once give what one after another gives."""
    contents = [Content.from_text(text) for text in TEXTS]
    expected = scorer.score(contents)
    with ThreadPoolExecutor(4) as executor:
        for scored in executor.map(lambda _: scorer.score(contents), range(8)):
            for one, other in zip(scored, expected, strict=True):
                assert_close(one, other)


def check_context_and_language_are_not_scored(scorer):
    plain = Content.from_text("have a nice day")
    other = Content(plain.parts, (Part.from_text("you moron"),), "fr")
    one, two = scorer.score([plain, other])
    assert_close(one, two)


CHECKS = (
    check_description,
    check_no_contents,
    check_scores_are_whole,
    check_same_order,
    check_one_failure_stops_no_other,
    check_threads,
    check_context_and_language_are_not_scored,
)


def assert_close(one, other):
    """Check that two scores agree within the tolerance of float32."""
    assert one.values.keys() == other.values.keys()
    for category, value in one.values.items():
        assert abs(value - other.values[category]) <= TOLERANCE, category
