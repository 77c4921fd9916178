import importlib.util
import tracemalloc
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gooseguard.codec.normalize import normalize
from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.errors import ConfigError, ContentError, EngineError
from gooseguard.core.scorer import ScoreError, Scores
from gooseguard.engine import reference
from gooseguard.engine.file import EngineFile
from gooseguard.engine.portable import PortableBackbone
from gooseguard.engine.scorer import (
    JOB_BYTES,
    PIECE_CHARACTERS,
    SPAN_SCORE,
    TextScorer,
    _cut_jobs,
    split_sentences,
)
from gooseguard.engine.stored import lay_out_all

_path = Path(__file__).parents[1] / "contracts" / "tiny_text_model.py"
_spec = importlib.util.spec_from_file_location("tiny_text_model", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

TOLERANCE = 1e-5


def make_scorer(model, **options):
    stored = lay_out_all(model.tensors, "f32")
    file = EngineFile(model, "f32", "", model.digest(), model.digest(), stored)
    return TextScorer(file, PortableBackbone(model.config.backbone, model.backbone), **options)


@pytest.fixture(scope="module", params=[0, 300], ids=["plain", "ngrams"])
def model(request):
    return tiny.make_model(n_pairs=request.param)


@pytest.fixture(scope="module")
def scorer(model):
    return make_scorer(model, threads=2)


def expected_scores(model, text):
    """Score by the reference, in float64, with the formulas of pooling and calibration written out."""
    ids = model.tokenizer.encode(normalize(text).text)
    hidden, _ = reference.forward(model.config.backbone, model.backbone, np.array([ids]), dtype=np.float64)
    features = np.concatenate([hidden[0, -1], hidden[0].mean(0), hidden[0].max(0)])
    logits = (
        model.tensors["categories.weight"].astype(np.float64) @ features + model.tensors["categories.bias"]
    )
    if model.config.n_pairs:
        logits += tiny.ngram_definition.logits(model.tensors, ids)
    odds = model.calibration.scale * logits + model.calibration.bias
    return dict(zip(tiny.CATEGORIES, 1 / (1 + np.exp(-odds)), strict=True))


def assert_scores(scores, expected):
    assert isinstance(scores, Scores), scores
    assert scores.values == pytest.approx(expected, abs=TOLERANCE)


def only(scorer, content):
    (scores,) = scorer.score([content])
    return scores


def test_it_says_what_it_is(model, scorer):
    assert scorer.name == f"tiny-text@{model.digest()[:12]}"
    assert scorer.categories == set(tiny.CATEGORIES)
    assert scorer.modalities == {Modality.TEXT}
    assert scorer.languages == {"de", "en"}
    assert scorer.card == tiny.CARD
    assert scorer.threads == 2


def test_scores_are_those_of_the_reference(model, scorer):
    texts = ["you moron", "The Ｔhе the\u200b", "x", "日本語", "word " * 100, "é" * 40]
    for text, scores in zip(texts, scorer.score([Content.from_text(text) for text in texts]), strict=True):
        assert_scores(scores, expected_scores(model, text))


def test_parts_are_joined_by_line_feeds(model, scorer):
    content = Content((Part.from_text("you"), Part.from_text(""), Part.from_text("moron")))
    assert_scores(only(scorer, content), expected_scores(model, "you\n\nmoron"))


def test_a_long_text_is_read_in_pieces_and_scores_alike(model, scorer):
    text = "One oron, the ｗｏrd. " * 450
    assert len(text) > PIECE_CHARACTERS
    assert_scores(only(scorer, Content.from_text(text)), expected_scores(model, text))


def test_many_contents_of_all_lengths_keep_their_order(scorer):
    rng = np.random.default_rng(3)
    lengths = [*rng.integers(1, 400, 150).tolist(), PIECE_CHARACTERS + 10, JOB_BYTES, 1]
    texts = ["".join(rng.choice(list("abc the oron."), length)) + "." for length in lengths]
    texts[7] = " "
    results = scorer.score([Content.from_text(text) for text in texts])
    for text, scores in list(zip(texts, results, strict=True))[:: len(texts) // 12]:
        assert_scores(only(scorer, Content.from_text(text)), scores.values)
    assert isinstance(results[7], ScoreError)
    assert sum(isinstance(scores, ScoreError) for scores in results) == 1


def test_contents_may_be_any_sequence_and_none(scorer):
    assert scorer.score([]) == []
    assert scorer.score(()) == []


@pytest.mark.parametrize(
    "text", ["", " ", "\n\t ", "\u200b\u200d", "\u3000\u00a0", "\u200b \u2060", " " * (PIECE_CHARACTERS * 2)]
)
def test_text_that_shows_nothing_is_an_error(scorer, text):
    error = only(scorer, Content.from_text(text))
    assert error == ScoreError(
        "ContentError", "text is empty or shows nothing; expected at least one visible character"
    )


def test_no_parts_are_an_error(scorer):
    assert only(scorer, Content(())).message.startswith("text is empty")


def test_other_modalities_are_an_error_that_names_the_part(scorer):
    content = Content((Part.from_text("look"), Part(Modality.IMAGE, b"...", "image/png")))
    error = only(scorer, content)
    assert error.type == "ContentError"
    assert error.message.startswith(f"part 1 is image; {scorer.name} reads text only")


def test_bytes_that_are_no_utf_8_are_an_error_that_names_the_part(scorer):
    part = Part(Modality.TEXT, b"ab\xff")
    with pytest.raises(ContentError, match="at byte 2") as text_error:
        _ = part.text
    error = only(scorer, Content((Part.from_text("a"), part)))
    assert error == ScoreError("ContentError", f"part 1: {text_error.value}")


def test_a_damaged_head_gives_errors_and_no_scores(model):
    weight = model.tensors["categories.weight"].copy()
    weight[1, 0] = np.nan
    scorer = make_scorer(replace(model, tensors={**model.tensors, "categories.weight": weight}))
    error = only(scorer, Content.from_text("x"))
    assert error.type == "EngineError"
    assert "no finite logit for insult" in error.message


def test_threads_below_1_are_refused(model):
    with pytest.raises(ConfigError, match="threads is 0, expected at least 1"):
        make_scorer(model, threads=0)


def stream(scorer, pieces):
    state = scorer.open()
    for piece in pieces:
        scorer.append(state, piece)
    return scorer.finish(state)


texts = st.text(alphabet=st.sampled_from("ab the\nоЖé́\u200b日ｘ.!"), min_size=1, max_size=60)


@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(texts, min_size=1, max_size=6))
def test_a_text_in_pieces_scores_as_in_one_call(scorer, pieces):
    whole = only(scorer, Content.from_text("".join(pieces)))
    if isinstance(whole, ScoreError):
        with pytest.raises(ContentError, match="text is empty"):
            stream(scorer, pieces)
    else:
        assert_scores(stream(scorer, pieces), whole.values)


def test_letter_by_letter_and_in_one_piece(model, scorer):
    text = "You are the mоron of 日本語, the oron.\n" * 6
    expected = expected_scores(model, text)
    assert_scores(stream(scorer, list(text)), expected)
    assert_scores(stream(scorer, [text]), expected)


def test_append_scores_what_is_certain_so_far(model, scorer):
    state = scorer.open()
    # The word may go on, or the space be the beginning of the next piece.
    assert scorer.append(state, "good ").values == dict.fromkeys(tiny.CATEGORIES)
    scores = scorer.append(state, "mor")
    assert_scores(scores, expected_scores(model, "good"))
    assert scores.model == scorer.name
    assert scorer.append(state, "o").values == scores.values
    assert_scores(scorer.finish(state), expected_scores(model, "good moro"))


def test_nothing_visible_yet_has_no_score(scorer):
    state = scorer.open()
    for piece in ("", "\u200b", " \n", "   "):
        scores = scorer.append(state, piece)
        assert scores.values == dict.fromkeys(tiny.CATEGORIES)
        assert scores.applied == {}
    with pytest.raises(ContentError, match="text is empty"):
        scorer.finish(state)


def test_a_finished_state_is_refused(scorer):
    state = scorer.open()
    scorer.append(state, "x")
    scorer.finish(state)
    with pytest.raises(EngineError, match="finished"):
        scorer.append(state, "y")
    with pytest.raises(EngineError, match="finished"):
        scorer.finish(state)


def test_a_lone_surrogate_leaves_the_state_as_it_was(model, scorer):
    state = scorer.open()
    scorer.append(state, "good ")
    with pytest.raises(ContentError, match=r"lone surrogate U\+D800"):
        scorer.append(state, "day \ud800")
    scorer.append(state, "day")
    assert_scores(scorer.finish(state), expected_scores(model, "good day"))


def test_streams_are_independent(model, scorer):
    one, other = scorer.open(), scorer.open()
    for a, b in zip("you moron", "good day!", strict=True):
        scorer.append(one, a)
        scorer.append(other, b)
    assert_scores(scorer.finish(one), expected_scores(model, "you moron"))
    assert_scores(scorer.finish(other), expected_scores(model, "good day!"))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        (" \n ", []),
        ("one", ["one"]),
        ("  One two.  ", ["One two."]),
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Pi is 3.14 at example.com. Yes", ["Pi is 3.14 at example.com.", "Yes"]),
        ("Wait... what?! (Really.) So", ["Wait...", "what?!", "(Really.)", "So"]),
        ('He said "no." Then', ['He said "no."', "Then"]),
        ("one\ntwo\r\n\r\nthree", ["one", "two", "three"]),
        ("你好。真的吗？是！好", ["你好。", "真的吗？", "是！", "好"]),
        ("「はい。」次", ["「はい。」", "次"]),
        ("एक। दो", ["एक।", "दो"]),
        ("End… go", ["End…", "go"]),
        ("...", ["..."]),
    ],
)
def test_sentences(text, sentences):
    assert [text[begin:end] for begin, end in split_sentences(text)] == sentences


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.sampled_from('ab .!?。\n"… ')))
def test_sentences_cover_all_but_white_space(text):
    spans = list(split_sentences(text))
    assert all(begin < end and text[begin:end].strip() == text[begin:end] for begin, end in spans)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
    visible = "".join(text[begin:end] for begin, end in spans).split()
    assert "".join(visible) == "".join(text.split())


def test_spans_are_the_sentences_that_score_high(model):
    scorer = make_scorer(model, threads=2, spans=True)
    first, second = "Ｆirst one!  The moron.\u200b Good day.", "Only this"
    scores = only(scorer, Content((Part.from_text(first), Part.from_text(second))))
    expected = []
    for part, text, sentences in (
        (0, first, ["Ｆirst one!", "The moron.\u200b Good day."]),
        (1, second, ["Only this"]),
    ):
        for sentence in sentences:
            begin = text.index(sentence)
            for category, score in expected_scores(model, sentence).items():
                if score >= SPAN_SCORE:
                    expected.append(
                        (part, begin, begin + len(sentence), category, pytest.approx(score, abs=TOLERANCE))
                    )
    assert expected
    assert len(expected) < 9
    assert [(span.part, span.begin, span.end, span.category, span.score) for span in scores.spans] == expected
    assert_scores(scores, expected_scores(model, f"{first}\n{second}"))


def test_no_spans_for_one_sentence_or_unless_asked(model, scorer):
    assert only(make_scorer(model, spans=True), Content.from_text("You moron.")).spans == ()
    assert only(scorer, Content.from_text("You moron. You moron.")).spans == ()


def test_sentences_that_show_nothing_have_no_span(model):
    scores = only(make_scorer(model, spans=True), Content.from_text("\u200b\nYou moron"))
    assert {(span.begin, span.end) for span in scores.spans} <= {(2, 11)}


def test_a_long_text_takes_the_memory_of_its_pieces(model, monkeypatch):
    monkeypatch.setattr("gooseguard.engine.scorer.PIECE_CHARACTERS", 500)
    scorer = make_scorer(model)
    content, long = (Content.from_text("moron day " * count) for count in (100, 2000))
    # So that buffers are there.
    only(scorer, content)

    def peak(content):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        only(scorer, content)
        # The decoded text itself, and the one that the parts are joined to.
        return tracemalloc.get_traced_memory()[1] - before - 2 * len(content.parts[0].data)

    tracemalloc.start()
    try:
        short_peak, long_peak = peak(content), peak(long)
    finally:
        tracemalloc.stop()
    assert long_peak < short_peak + 30_000


def test_jobs():
    assert _cut_jobs([5, 3, 3, 2, 1, 1], 4) == [[0], [1], [2], [3, 4, 5]]
    assert _cut_jobs([], 4) == []
    assert _cut_jobs([0, 0], 4) == [[0, 1]]
    assert _cut_jobs([4, 0, 1], 4) == [[0, 1], [2]]
