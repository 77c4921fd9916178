import sys
from dataclasses import replace

import numpy as np
import pytest

from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.errors import ConfigError, DataError
from gooseguard.core.scorer import ScoreError, Scorer
from gooseguard.evaluation.baseline import BaselineConfig, HeldOut, fit_baseline
from gooseguard.evaluation.scored import evaluate_scorer
from gooseguard.metrics.ranking import roc_auc

NAN = float("nan")
CATEGORIES = ("insult", "spam", "threat")
FILLER = ("the", "a", "river", "stone", "walks", "over", "green", "quiet", "morning", "bread", "tea", "house")
CONFIG = BaselineConfig(n_words=2000, n_characters=4000, n_choosing=200)


def make_texts(n, seed):
    """One word decides insult and another spam; threat has no positive; half is not annotated."""
    generator = np.random.default_rng(seed)
    texts, labels = [], np.full((n, 3), NAN)
    for row in range(n):
        words = list(generator.choice(FILLER, size=8))
        insult, spam = generator.random(2) < 0.4
        words += ["moron"] * int(insult) + ["casino"] * int(spam)
        texts.append(" ".join(generator.permutation(words)))
        labels[row] = insult, spam, 0
    labels[generator.random((n, 3)) < 0.5] = NAN
    return texts, labels


@pytest.fixture(scope="module")
def fitted():
    texts, labels = make_texts(600, 0)
    held_out_texts, held_out_labels = make_texts(200, 1)
    held_out = HeldOut(held_out_texts, held_out_labels, np.repeat("a", 200))
    return fit_baseline(texts, labels, CATEGORIES, held_out, CONFIG, {"en"})


def test_learns_each_category_from_its_annotated_rows(fitted):
    texts, labels = make_texts(300, 2)
    scores = fitted.predict(texts)
    assert scores.dtype == np.float32
    assert scores.shape == (300, 2)
    # Threat has one class only and is left out.
    assert fitted.ordered == ("insult", "spam")
    assert roc_auc(labels[:, 0], scores[:, 0]) > 0.99
    assert roc_auc(labels[:, 1], scores[:, 1]) > 0.99
    # Case is folded, and character n-grams read what words miss.
    plain, upper, joined = fitted.predict(["bread and tea", "MORON bread and tea", "xmoronx bread and tea"])[
        :, 0
    ]
    assert plain < joined < upper


def test_predictions_are_logistic_regressions(fitted):
    from sklearn.linear_model import LogisticRegression

    texts, labels = make_texts(600, 0)
    known = ~np.isnan(labels[:, 0])
    features = np.hstack([v.transform(texts).toarray() for v in fitted._vectorizers])
    reference = LogisticRegression(C=fitted.strengths["insult"], tol=1e-8, max_iter=2000)
    reference.fit(features[known], labels[known, 0])
    expected = reference.predict_proba(features)[:, 1]
    np.testing.assert_allclose(fitted.predict(texts)[:, 0], expected, atol=0.01)


def test_is_a_scorer(fitted):
    assert isinstance(fitted, Scorer)
    assert fitted.categories == {"insult", "spam"}
    assert (fitted.modalities, fitted.languages) == ({Modality.TEXT}, {"en"})
    image = Content((Part(Modality.IMAGE, b"", "image/png"),))
    two = Content((Part.from_text("some moron"), Part.from_text("casino today")))
    found = fitted.score([two, image, Content.from_text("")])
    assert isinstance(found[1], ScoreError)
    assert found[1].type == "ContentError"
    expected = fitted.predict(["some moron\ncasino today", ""])
    for place, result in ((0, found[0]), (1, found[2])):
        np.testing.assert_allclose(
            [result.values[name] for name in fitted.ordered], expected[place], rtol=1e-6
        )
        assert result.model == fitted.name
        assert result.applied["insult"] == {Modality.TEXT}
    texts, _ = make_texts(20, 3)
    arrays = evaluate_scorer(fitted, [Content.from_text(text) for text in texts], ("spam", "insult"))
    np.testing.assert_array_equal(arrays.scores, fitted.predict(texts)[:, ::-1])
    assert fitted.score([]) == []


def test_fitting_again_gives_the_same(fitted):
    texts, labels = make_texts(600, 0)
    held_out_texts, held_out_labels = make_texts(200, 1)
    held_out = HeldOut(held_out_texts, held_out_labels, np.repeat("a", 200))
    again = fit_baseline(texts, labels, CATEGORIES, held_out, CONFIG, {"en"})
    assert again.name == fitted.name
    assert fitted.name.startswith("tfidf-logistic@")
    assert len(fitted.name.partition("@")[2]) == 12
    np.testing.assert_array_equal(again.predict(texts), fitted.predict(texts))
    other = fit_baseline(texts, labels, CATEGORIES, config=replace(CONFIG, strengths=(0.5,)))
    assert other.name != fitted.name
    assert other.strengths == {"insult": 0.5, "spam": 0.5}


def test_strength_is_the_best_on_held_out_rows():
    # Labels follow one word in four of five rows, so that a weak penalty learns noise.
    texts, labels = make_texts(400, 5)
    flipped = np.random.default_rng(6).random(400) < 0.2
    labels = np.where(flipped[:, None], 1 - labels, labels)[:, :1]
    parts = slice(0, 150), slice(150, 400)
    held_out = HeldOut(texts[parts[1]], labels[parts[1]], np.repeat("a", 250))
    config = BaselineConfig(strengths=(0.01, 1.0, 1000.0), min_texts=1)
    chosen = fit_baseline(texts[parts[0]], labels[parts[0]], ("insult",), held_out, config).strengths[
        "insult"
    ]
    aucs = {}
    for strength in config.strengths:
        single = replace(config, strengths=(strength,))
        alone = fit_baseline(texts[parts[0]], labels[parts[0]], ("insult",), config=single)
        aucs[strength] = roc_auc(held_out.labels[:, 0], alone.predict(held_out.texts)[:, 0])
    assert len(set(aucs.values())) == 3
    assert chosen == max(aucs, key=aucs.get)
    # Held-out rows of one class choose nothing.
    one_class = HeldOut(held_out.texts[:5], np.ones((5, 1)), np.repeat("a", 5))
    assert fit_baseline(texts, labels, ("insult",), one_class, config).strengths == {"insult": 1.0}


def test_what_does_not_fit_is_refused(monkeypatch):
    texts, labels = make_texts(20, 0)
    with pytest.raises(DataError, match=r"labels of shape \(20, 3\)"):
        fit_baseline(texts, labels, CATEGORIES[:2])
    with pytest.raises(DataError, match="no category holds 2 rows of both classes"):
        fit_baseline(texts, labels[:, 2:], CATEGORIES[2:])
    with pytest.raises(ConfigError, match="strengths is empty"):
        fit_baseline(texts, labels, CATEGORIES, config=BaselineConfig(strengths=()))
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)
    with pytest.raises(ConfigError, match=r"pip install 'gooseguard\[train\]'"):
        fit_baseline(texts, labels, CATEGORIES)
