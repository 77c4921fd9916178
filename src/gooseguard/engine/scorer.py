"""A text model as a scorer: contents to scores, on whichever backbone it is given. Knows no threshold.

The parts of a content are joined by line feeds and scored as one text; its context is not read. A long text
is read in pieces, so that one of any length takes the memory of a single state, and a text handed over piece
by piece scores as in one call. Work is cut into jobs of `JOB_BYTES` at most, each normalised, encoded and run
by one worker: what is in memory beside contents and scores is bounded by the number of workers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from gooseguard.codec.ngram_head import NgramHead
from gooseguard.codec.ngram_tables import PREFIX as NGRAM_PREFIX
from gooseguard.codec.scores import TEXT_ONLY, to_text_scores
from gooseguard.codec.text_model import HEAD_BIAS, HEAD_WEIGHT
from gooseguard.codec.tokenizer import TextStream
from gooseguard.core.content import Modality, Part
from gooseguard.core.errors import ConfigError, ContentError, EngineError
from gooseguard.core.scorer import ScoreError, Scores, Span
from gooseguard.engine.heads import make_heads
from gooseguard.engine.reader import Featuring, make_reader
from gooseguard.engine.state_file import pack_state, unpack_state
from gooseguard.engine.threads import run_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gooseguard.codec.ngram_head import NgramCounts
    from gooseguard.core.content import Content
    from gooseguard.engine.file import EngineFile

JOB_BYTES = 8192
"""Text of one job at most, in bytes; a longer text is a job of its own. A few units of the backbone."""

LEAST_JOB_BYTES = 1024
"""Jobs are not made smaller than this to keep all workers busy: about a unit."""

PIECE_CHARACTERS = 8192
"""Code points of the pieces that longer texts are read in."""

SPAN_SCORE = 0.5
"""The least score at which a sentence is reported as a span of a category."""

# One sentence ends at marks before white space, at marks of scripts without spaces, and at every line's end.
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s|\Z)|[。！？।؟]+[”’」』）]*|[\n\r\x85\u2028\u2029]+")


class Pool(Protocol):
    """One sequence so far, as a head reads it: `pooled.PooledState` is one."""

    @property
    def last(self) -> npt.NDArray[np.float32]:
        """(C,): hidden state of the last token."""

    @property
    def mean(self) -> npt.NDArray[np.float32]:
        """(C,): mean of the hidden states."""

    @property
    def maximum(self) -> npt.NDArray[np.float32]:
        """(C,): largest hidden state of each channel."""

    @property
    def count(self) -> int:
        """Tokens so far."""


class Backbone(Featuring, Protocol):
    """What a scorer asks of an engine: `native.NativeBackbone` and `portable.PortableBackbone` are such."""

    # Each engine takes its own pools only, which a scorer sees to: hence Any.
    def pool(
        self,
        sequences: Sequence[npt.ArrayLike],
        before: Sequence[Any] | None = None,
        *,
        keep_state: bool = True,
    ) -> Sequence[Pool]:
        """Give what a head reads of each sequence of token ids."""


@runtime_checkable
class Packing(Protocol):
    """A backbone whose sequences can be kept between processes."""

    def pack(self, pool: Any) -> dict[str, npt.NDArray[Any]]:  # noqa: ANN401  (the engine's own)
        """Give a sequence as arrays."""

    def unpack(self, arrays: dict[str, npt.NDArray[Any]]) -> Any:  # noqa: ANN401  (the engine's own)
        """Give the sequence that `pack` gave as arrays; others are refused with EngineError."""


@dataclass(slots=True)
class TextState:
    """One text so far. Belongs to the scorer that opened it, and to one thread at a time."""

    stream: TextStream
    """What is held back until the next piece makes it certain."""
    pool: Pool | None = None
    """What was read: sums for the heads, and the recurrent state."""
    counts: NgramCounts | None = None
    """The same for the n-gram head, where the model has one."""
    is_visible: bool = False
    """Whether anything but white space was read."""
    is_finished: bool = False
    """Whether `finish` was called."""


def split_sentences(text: str) -> Iterator[tuple[int, int]]:
    """Give the sentences of a text as spans [begin, end) of code points, white space at their ends left out.

    A sentence ends after . ! ? … and closing quotes where white space or nothing follows, after 。！？।؟, and
    at a line's end. Abbreviations end one too: this is for showing people where, not for grammar.
    """
    begin = 0
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    for end in [*ends, len(text)]:
        sentence = text[begin:end]
        stripped = sentence.strip()
        if stripped:
            first = begin + len(sentence) - len(sentence.lstrip())
            yield first, first + len(stripped)
        begin = end


class TextScorer:
    """A `StreamingScorer` of texts. Safe to call from several threads at once."""

    def __init__(
        self, file: EngineFile, backbone: Backbone, *, threads: int = 1, spans: bool = False
    ) -> None:
        """Take what is needed from an engine file; the file's tensors are not kept.

        Args:
            file: the model.
            backbone: runs the model's backbone; each worker calls it for itself, so one thread in it is best.
            threads: jobs worked on at once.
            spans: whether to report, of texts with more than one sentence, each sentence that scores at least
                `SPAN_SCORE` in a category when scored alone. Costs about as much as scoring again.

        Raises:
            ConfigError: `threads` is below 1.
        """
        if threads < 1:
            raise ConfigError(f"text scorer: threads is {threads}, expected at least 1")
        model = file.model
        self.name: str = file.name
        self.categories: frozenset[str] = frozenset(model.config.categories)
        self.modalities: frozenset[Modality] = TEXT_ONLY
        self.languages: frozenset[str] = frozenset(model.config.languages)
        # "native" is the compiled engine, "portable" NumPy.
        self.backend: str = type(backbone).__name__.removesuffix("Backbone").lower()
        self.isa: str | None = getattr(backbone, "isa", None)
        self.digest: str = file.digest
        self.parent: str = file.parent
        self.card = model.card
        self._categories = model.calibration.categories
        self._tokenizer = model.tokenizer
        self._backbone = backbone
        self.threads = threads
        self._has_spans = spans
        self._heads = make_heads(model.tensors[HEAD_WEIGHT], model.tensors[HEAD_BIAS], model.calibration)
        self._ngrams = NgramHead(file.stored) if model.config.n_pairs else None
        self._reader = make_reader(
            self._tokenizer, backbone, self._ngrams, self._heads, len(self._categories)
        )

    def score(self, contents: Sequence[Content]) -> list[Scores | ScoreError]:
        """Score contents: same order, same length.

        A content with a part that is no text, or whose text is empty or shows nothing, gives a `ScoreError`.
        """
        sizes = [sum([len(part.data) for part in content.parts]) for content in contents]
        total = sum(sizes)
        limit = min(JOB_BYTES, max(LEAST_JOB_BYTES, -(-total // self.threads)))
        if len(contents) == 1 or total <= limit:
            return self._score_job(contents)
        # Longest first: texts of like length pack best, and no worker is left with a long one at the end.
        order = sorted(range(len(contents)), key=lambda number: -sizes[number])
        jobs = [
            [order[place] for place in places]
            for places in _cut_jobs([sizes[number] for number in order], limit)
        ]
        done = run_jobs(lambda job: self._score_job([contents[number] for number in job]), jobs, self.threads)
        results: dict[int, Scores | ScoreError] = {}
        for job, scored in zip(jobs, done, strict=True):
            results.update(zip(job, scored, strict=True))
        return [results[number] for number in range(len(contents))]

    def open(self) -> TextState:
        """Give the state before the first piece of a text."""
        counts = None if self._ngrams is None else self._ngrams.start()
        return TextState(TextStream(self._tokenizer), counts=counts)

    def dump(self, state: TextState) -> bytes:
        """Give a state as bytes, for `load`: what was read, and the few characters that are held back.

        Raises:
            EngineError: the state is finished, or this engine cannot keep states.
        """
        if not isinstance(self._backbone, Packing):
            raise EngineError(f"the {self.backend} engine keeps states in memory only; use another for that")
        if state.is_finished:
            raise EngineError("text stream: the state is finished; there is nothing to keep")
        facts = {"held": state.stream.held(), "is_visible": state.is_visible}
        arrays = {} if state.pool is None else self._backbone.pack(state.pool)
        return pack_state(self.name, facts, arrays | (state.counts.pack() if state.counts else {}))

    def load(self, data: bytes) -> TextState:
        """Give the state that `dump` gave as bytes.

        Raises:
            ArtefactError: it is no whole state, or of another model.
            EngineError: it is of another engine, or this one cannot keep states.
        """
        if not isinstance(self._backbone, Packing):
            raise EngineError(f"the {self.backend} engine keeps states in memory only; use another for that")
        facts, arrays = unpack_state(data, self.name)
        stream = TextStream.from_held(self._tokenizer, facts["held"])
        counts = None if self._ngrams is None else self._ngrams.unpack(arrays)
        own = {name: array for name, array in arrays.items() if not name.startswith(NGRAM_PREFIX)}
        pool = self._backbone.unpack(own) if own else None
        return TextState(stream, pool, counts, is_visible=facts["is_visible"])

    def append(self, state: TextState, text: str) -> Scores:
        """Read a piece and score all that came so far; an unfinished word is held back.

        Returns:
            The scores; all `None`, which means review, as long as nothing visible was read.

        Raises:
            ContentError: `text` holds a lone surrogate; the state is as it was.
            EngineError: the state is finished.
        """
        self._read(state, Part.from_text(text).text)
        if state.pool is None or not state.is_visible:
            return Scores(dict.fromkeys(self._categories), self.name)
        return self._scores_of(state)

    def finish(self, state: TextState) -> Scores:
        """Read what was held back; the scores equal those of one call with the whole text.

        Raises:
            ContentError: the text is empty or shows nothing.
            EngineError: the state is finished already.
        """
        self._close(state)
        if state.pool is None or not state.is_visible:
            raise _empty()
        return self._scores_of(state)

    def count_tokens(self, text: str) -> int:
        """Give how many tokens a text is, normalised as it is scored."""
        return len(self._tokenizer.encode_texts([text]).ids)

    def _score_job(self, contents: Sequence[Content]) -> list[Scores | ScoreError]:
        """Score the contents of one job, on one worker."""
        texts: list[str | ContentError] = []
        for content in contents:
            try:
                texts.append(content.join_texts(self.name))
            except ContentError as error:
                texts.append(error)
        scored = iter(self._score_texts([text for text in texts if isinstance(text, str)]))
        results: list[Scores | ScoreError] = []
        for content, text in zip(contents, texts, strict=True):
            found = next(scored) if isinstance(text, str) else text
            if not isinstance(found, Scores):
                results.append(ScoreError(type(found).__name__, str(found)))
            elif self._has_spans:
                results.append(replace(found, spans=tuple(self._spans(content))))
            else:
                results.append(found)
        return results

    def _spans(self, content: Content) -> Iterator[Span]:
        """Give the sentences of a content that score high; parts are texts, as was checked."""
        places: list[tuple[int, int, int]] = []
        sentences: list[str] = []
        for number, part in enumerate(content.parts):
            text = part.text
            for begin, end in split_sentences(text):
                places.append((number, begin, end))
                sentences.append(text[begin:end])
        if len(sentences) < 2:
            return
        for (number, begin, end), scores in zip(places, self._score_texts(sentences), strict=True):
            if isinstance(scores, Scores):
                for category, score in scores.values.items():
                    if score is not None and score >= SPAN_SCORE:
                        yield Span(number, begin, end, category, score)

    def _score_texts(self, texts: Sequence[str]) -> list[Scores | ContentError | EngineError]:
        """Give the scores of each text, or why there are none."""
        results: list[Scores | ContentError | EngineError] = []
        for group in _cut_jobs([len(text) for text in texts], JOB_BYTES):
            if len(texts[group[0]]) > PIECE_CHARACTERS:
                results.append(self._score_long(texts[group[0]]))
                continue
            found, is_visible = self._reader.score([texts[number] for number in group])
            scored = to_text_scores(found, self._categories, self.name)
            results += [
                scores if is_shown else _empty()
                for scores, is_shown in zip(scored, is_visible.tolist(), strict=True)
            ]
        return results

    def _score_long(self, text: str) -> Scores | ContentError | EngineError:
        """Give the scores of one text, read in pieces, or why there are none."""
        state = self.open()
        self._read(state, text)
        self._close(state)
        if not state.is_visible:
            return _empty()
        return self._found(state)

    def _read(self, state: TextState, text: str) -> None:
        if state.is_finished:
            raise EngineError("text stream: the state is finished; open a new one for the next text")
        for begin in range(0, len(text), PIECE_CHARACTERS):
            self._advance(state, state.stream.push(text[begin : begin + PIECE_CHARACTERS]))

    def _close(self, state: TextState) -> None:
        if state.is_finished:
            raise EngineError("text stream: the state is finished already; open a new one for the next text")
        self._advance(state, state.stream.finish())
        state.is_finished = True

    def _advance(self, state: TextState, ids: list[int]) -> None:
        """Run tokens, which are those of whole pieces of text."""
        if ids:
            state.is_visible = state.is_visible or not _is_blank(self._tokenizer.decode(ids).decode("utf-8"))
            (state.pool,) = self._backbone.pool([ids], [state.pool])
            if self._ngrams is not None and state.counts is not None:
                state.counts = self._ngrams.add(state.counts, np.asarray(ids))

    def _scores_of(self, state: TextState) -> Scores:
        """Give the scores of a text of which something was read; EngineError where there are none."""
        found = self._found(state)
        if not isinstance(found, Scores):
            raise found
        return found

    def _found(self, state: TextState) -> Scores | EngineError:
        """Give the scores of a text of which something was read, or why there are none."""
        # Something visible was read, so that there is a pool.
        assert state.pool is not None
        pool = state.pool
        features = np.concatenate([pool.last, pool.mean, pool.maximum])[np.newaxis]
        added = np.zeros((1, len(self._categories)), np.float32)
        if self._ngrams is not None and state.counts is not None:
            added[0] = self._ngrams.logits_of(state.counts)
        (found,) = to_text_scores(self._heads.scores(features, added), self._categories, self.name)
        return found


def _cut_jobs(sizes: Sequence[int], limit: int) -> list[list[int]]:
    """Group numbers in order, each group of at most `limit`; one larger than that is a group of its own."""
    jobs: list[list[int]] = []
    room = 0
    for number, size in enumerate(sizes):
        if not jobs or size > room:
            jobs.append([])
            room = limit
        jobs[-1].append(number)
        room -= size
    return jobs


def _is_blank(text: str) -> bool:
    return not text or text.isspace()


def _empty() -> ContentError:
    return ContentError("text is empty or shows nothing; expected at least one visible character")
