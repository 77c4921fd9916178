"""TF-IDF with logistic regression: the baseline a model must beat to be worth its cost.

Turns texts and masked labels into a scorer: word 1-2-grams and character 3-5-grams, one logistic regression a
category, each trained only on the rows annotated for it. Fitted in one process and never saved: what is kept
are its scores. Knows nothing of datasets or files.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gooseguard.core.content import Content, Modality
from gooseguard.core.errors import ConfigError, ContentError, DataError
from gooseguard.core.extras import import_extra
from gooseguard.core.scorer import ScoreError, Scores
from gooseguard.metrics.regression import (
    MIN_ROWS,
    HeldOutFeatures,
    choose_strength,
    fit_regression,
    has_both_classes,
    middle_strength,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

WANTED = "the TF-IDF baseline needs"
"""What is in need of scikit-learn."""

WORD = r"(?u)\b\w+\b"
"""What counts as a word: one letter is enough, for scripts without spaces and for spaced-out spellings."""


@dataclass(frozen=True, slots=True)
class BaselineConfig:
    """Every setting of the baseline; the vocabulary is shared by all categories."""

    n_words: int = 200_000
    """Most word 1-2-grams kept, by frequency."""
    n_characters: int = 300_000
    """Most character 3-5-grams (inside words, edges padded) kept, by frequency."""
    min_texts: int = 3
    """Texts an n-gram must stand in."""
    strengths: tuple[float, ...] = (0.25, 1.0, 4.0, 16.0)
    """Values of C, the inverse strength of L2 regularisation, to choose among."""
    n_choosing: int = 60_000
    """Most annotated training rows used while choosing the C of a category."""
    max_iterations: int = 300
    """Most iterations of L-BFGS."""
    tolerance: float = 1e-5
    """Gradient of the mean loss at which L-BFGS stops; 1e-3 would stop it after ten steps."""
    seed: int = 0
    """Of the rows drawn while choosing C."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Validation rows on which the C of each category is chosen."""

    texts: Sequence[str]
    """n texts."""
    labels: NDArray[np.floating[Any]]
    """(n, K), 0..1, NaN = not annotated."""
    sources: NDArray[np.str_]
    """(n,): C is chosen by AUC within sources; by pooled AUC where no source is large enough."""


def _features(vectorizers: Sequence[Any], texts: Sequence[str]) -> Any:  # noqa: ANN401 - a SciPy matrix
    """Make the sparse feature matrix, float32, (n, F)."""
    parts = [vectorizer.transform(texts) for vectorizer in vectorizers]
    return import_extra("scipy.sparse", WANTED).hstack(parts, format="csr", dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """A fitted baseline; scores text only."""

    name: str
    """`tfidf-logistic@` and a digest of config, vocabulary and coefficients."""
    ordered: tuple[str, ...]
    """Categories it scores, in the order of the columns of `predict`."""
    languages: AbstractSet[str]
    """Languages of its training texts."""
    strengths: Mapping[str, float]
    """Category to the C that was used."""
    _vectorizers: tuple[Any, ...] = field(repr=False)
    _coefficients: NDArray[np.float32] = field(repr=False)
    _intercepts: NDArray[np.float32] = field(repr=False)

    @property
    def categories(self) -> AbstractSet[str]:
        """Give the categories with a fitted regression."""
        return frozenset(self.ordered)

    @property
    def modalities(self) -> AbstractSet[Modality]:
        """Give text only."""
        return frozenset((Modality.TEXT,))

    def predict(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Score texts.

        Args:
            texts: any number of texts.

        Returns:
            float32, (n, K), 0..1, columns as in `ordered`.
        """
        if not texts:
            return np.empty((0, len(self.ordered)), dtype=np.float32)
        logits = _features(self._vectorizers, texts) @ self._coefficients.T + self._intercepts
        # The logistic function, in the form that cannot overflow.
        scores: NDArray[np.float32] = (0.5 * (1 + np.tanh(0.5 * logits))).astype(np.float32)
        return scores

    def score(self, contents: Sequence[Content]) -> list[Scores | ScoreError]:
        """Score contents; the texts of one content are joined, and one with another modality is an error.

        Args:
            contents: any number, in any order.

        Returns:
            One result a content, in order.
        """
        texts: list[str | ScoreError] = []
        for content in contents:
            try:
                texts.append("\n".join(part.text for part in content.parts))
            except ContentError as error:
                texts.append(ScoreError(type(error).__name__, str(error)))
        rows = iter(self.predict([text for text in texts if isinstance(text, str)]).tolist())
        applied = dict.fromkeys(self.ordered, frozenset((Modality.TEXT,)))
        return [
            Scores(dict(zip(self.ordered, next(rows), strict=True)), self.name, applied=applied)
            if isinstance(text, str)
            else text
            for text in texts
        ]


def _vectorizers(config: BaselineConfig) -> tuple[Any, ...]:
    make = import_extra("sklearn.feature_extraction.text", WANTED).TfidfVectorizer
    shared = {"lowercase": True, "sublinear_tf": True, "min_df": config.min_texts, "dtype": np.float32}
    words = make(ngram_range=(1, 2), max_features=config.n_words, token_pattern=WORD, **shared)
    characters = make(analyzer="char_wb", ngram_range=(3, 5), max_features=config.n_characters, **shared)
    return words, characters


def _check(
    labels: NDArray[np.floating[Any]], n_texts: int, n_categories: int, config: BaselineConfig
) -> None:
    if not config.strengths:
        raise ConfigError("baseline: strengths is empty; expected at least one value of C")
    if labels.shape != (n_texts, n_categories):
        raise DataError(
            f"baseline: labels of shape {labels.shape}; expected {(n_texts, n_categories)} "
            "for the texts and categories given"
        )
    if not any(has_both_classes(labels[:, k]) for k in range(n_categories)):
        raise DataError(f"baseline: no category holds {MIN_ROWS} rows of both classes; expected at least one")


def _digest(config: BaselineConfig, vectorizers: Sequence[Any], *arrays: NDArray[np.float32]) -> str:
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode())
    for vectorizer in vectorizers:
        digest.update("\0".join(sorted(vectorizer.vocabulary_)).encode("utf-8", "surrogatepass"))
        digest.update(vectorizer.idf_.astype(np.float32).tobytes())
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def fit_baseline(
    texts: Sequence[str],
    labels: NDArray[np.floating[Any]],
    categories: Sequence[str],
    held_out: HeldOut | None = None,
    config: BaselineConfig | None = None,
    languages: AbstractSet[str] = frozenset(),
) -> Baseline:
    """Fit the baseline.

    Args:
        texts: training texts, n of them.
        labels: float, (n, K), 0..1, NaN = not annotated; read only.
        categories: names of the K columns.
        held_out: validation rows on which the C of each category is chosen; without them, and where they hold
            only one class, the middle value of `config.strengths` is used.
        config: settings; the defaults when left out.
        languages: languages of the training texts, BCP-47.

    Returns:
        A scorer of those categories that hold both classes.

    Raises:
        ConfigError: scikit-learn is not installed, or `config.strengths` is empty.
        DataError: texts, labels and categories do not fit each other, or no category holds both classes.
    """
    config = config or BaselineConfig()
    _check(labels, len(texts), len(categories), config)
    vectorizers = _vectorizers(config)
    parts = [vectorizer.fit_transform(texts) for vectorizer in vectorizers]
    features = import_extra("scipy.sparse", WANTED).hstack(parts, format="csr", dtype=np.float32)
    # The parts are as large as the whole, which is all that is read from here on.
    del parts
    held_out_features = None if held_out is None else _features(vectorizers, held_out.texts)
    columns = [k for k in range(len(categories)) if has_both_classes(labels[:, k])]
    coefficients = np.zeros((len(columns), features.shape[1]), dtype=np.float32)
    intercepts = np.zeros(len(columns), dtype=np.float32)
    strengths = {}
    for row, k in enumerate(columns):
        strength = middle_strength(config)
        if held_out is not None:
            asked = HeldOutFeatures(held_out_features, held_out.labels[:, k], held_out.sources)
            strength = choose_strength(features, labels[:, k], asked, config, WANTED)
        known = np.flatnonzero(~np.isnan(labels[:, k]))
        fitted = fit_regression(features[known], labels[known, k], strength, config, WANTED)
        coefficients[row], intercepts[row] = fitted.coef_[0], fitted.intercept_[0]
        strengths[categories[k]] = strength
    return Baseline(
        name=f"tfidf-logistic@{_digest(config, vectorizers, coefficients, intercepts)[:12]}",
        ordered=tuple(categories[k] for k in columns),
        languages=frozenset(languages),
        strengths=strengths,
        _vectorizers=vectorizers,
        _coefficients=coefficients,
        _intercepts=intercepts,
    )
