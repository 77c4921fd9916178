import importlib.util
import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gooseguard.core.errors import ConfigError
from gooseguard.models.generate import (
    Finish,
    LabelWalk,
    Sampling,
    TextFilter,
    choose,
    generate,
)

_path = Path(__file__).parents[1] / "contracts" / "official_files.py"
_spec = importlib.util.spec_from_file_location("official_files", _path)
official = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(official)


@pytest.fixture(scope="module", params=official.VERSIONS)
def model(request, tmp_path_factory):
    return official.load_small(tmp_path_factory.mktemp("small"), request.param, " yes", " no", " noway")


@pytest.fixture
def prefix(model):
    return model.read(model.tokenizer.encode("Is it rude?"))


def filtered(pieces, stop):
    texts = TextFilter(stop)
    shown = [texts.push(piece) for piece in pieces]
    return [*shown, texts.finish()], texts.is_stopped


def test_half_a_character_is_held_back():
    goose = "🦢".encode()
    assert filtered([goose[:1], goose[1:3], goose[3:] + b"!"], ()) == (["", "", "🦢!", ""], False)
    assert filtered([b"a", goose[:3]], ()) == (["a", "", ""], False)
    # What can be no character at all is told as such, as soon as that is certain.
    assert filtered([b"\xff", b"a"], ()) == (["\ufffd", "a", ""], False)


def test_a_stop_string_is_found_across_tokens_and_left_out():
    assert filtered([b"one\n", b"\ntwo"], ("\n\n",)) == (["one", "", ""], True)
    assert filtered([b"one\n", b"two\n"], ("\n\n",)) == (["one", "\ntwo", "\n"], False)
    assert filtered([b"E", b"N", b"X"], ("END",)) == (["", "", "ENX", ""], False)
    assert filtered([b"E", b"NE", b"N", b"D!"], ("END",)) == (["", "EN", "", "", ""], True)


@given(
    st.text(alphabet="ab\nué🦢", max_size=30),
    st.lists(st.text(alphabet="ab\nu", min_size=1, max_size=4), max_size=3),
    st.data(),
)
def test_any_cut_into_tokens_shows_the_text_before_the_first_stop_string(text, stop, data):
    raw = text.encode()
    borders = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    pieces = [raw[begin:end] for begin, end in zip([0, *borders], [*borders, len(raw)], strict=True)]
    has_stop = any(word in text for word in stop)
    shown, is_stopped = filtered(pieces, stop)
    assert is_stopped == has_stop
    if has_stop:
        assert text.startswith("".join(shown))
        assert not any(word in "".join(shown) for word in stop)
    else:
        assert "".join(shown) == text


def walk(labels, ends, tokens):
    path = LabelWalk(labels, ends)
    allowed = [path.allowed()]
    for token in tokens:
        is_complete = path.advance(token)
        allowed.append(path.allowed() if not is_complete else "complete")
    return allowed


def test_labels_are_walked_token_by_token():
    labels = [(1, 2), (1, 3, 4), (5,)]
    assert walk(labels, [9], [5]) == [[1, 5], "complete"]
    assert walk(labels, [9], [1, 3, 4]) == [[1, 5], [2, 3], [4], "complete"]


def test_a_label_that_another_begins_with_needs_an_end():
    labels = [(1,), (1, 2)]
    assert walk(labels, [0, 9], [1, 9]) == [[1], [2, 0, 9], "complete"]
    assert walk(labels, [0, 9], [1, 2]) == [[1], [2, 0, 9], "complete"]


LOGITS = torch.log(torch.tensor([0.1, 0.5, 0.15, 0.25]))


def draw(sampling, n=4000):
    generator = torch.Generator().manual_seed(7)
    return Counter(choose(LOGITS, sampling, generator) for _ in range(n))


def test_greedy_takes_the_likeliest():
    assert draw(Sampling(), 3) == {1: 3}
    assert draw(Sampling(temperature=1e-30), 3) == {1: 3}


def test_sampling_draws_with_the_model_s_probabilities():
    counts = draw(Sampling(temperature=1.0))
    for token, share in enumerate((0.1, 0.5, 0.15, 0.25)):
        # Four standard deviations of a share over 4,000 draws.
        assert counts[token] / 4000 == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 4000))


def test_a_temperature_of_two_takes_square_roots():
    roots = [math.sqrt(share) for share in (0.1, 0.5, 0.15, 0.25)]
    counts = draw(Sampling(temperature=2.0))
    for token, root in enumerate(roots):
        assert counts[token] / 4000 == pytest.approx(root / sum(roots), abs=0.035)


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.4, {1}), (0.5, {1}), (0.51, {1, 3}), (0.76, {1, 2, 3}), (1.0, {0, 1, 2, 3})]
)
def test_top_p_keeps_the_fewest_tokens_that_reach_it(top_p, kept):
    counts = draw(Sampling(temperature=1.0, top_p=top_p))
    assert set(counts) == kept
    shares = {token: (0.1, 0.5, 0.15, 0.25)[token] for token in kept}
    for token, share in shares.items():
        assert counts[token] / 4000 == pytest.approx(share / sum(shares.values()), abs=0.035)


def greedy(model, prefix, n):
    """Give the bytes of the likeliest tokens, by one call of the model a token."""
    logits, state, tokens = prefix.logits, prefix.state, []
    for _ in range(n):
        tokens.append(int(logits.argmax()))
        with torch.no_grad():
            hidden, state = model.model(torch.tensor([tokens[-1:]]), None, state)
        logits = hidden[0, 0] @ model.model.head.weight.T
    return model.tokenizer.decode(tokens)


def test_greedy_text_is_that_of_the_likeliest_tokens(model, prefix):
    deltas = list(generate(model, prefix, Sampling(max_tokens=40, stop=())))
    expected = greedy(model, prefix, 40).decode("utf-8", "replace").lstrip()
    text = "".join(delta.text for delta in deltas)
    # Of a character that is cut at the end nothing is shown.
    assert text == expected[: len(text)]
    assert len(text) >= len(expected) - 3
    assert [delta.finish for delta in deltas] == [None] * (len(deltas) - 1) + [Finish.LENGTH]
    assert deltas[-1].n_token == 40
    assert [delta.n_token for delta in deltas] == sorted(delta.n_token for delta in deltas)


def test_a_seed_draws_the_same_again(model, prefix):
    def answer(seed):
        sampling = Sampling(temperature=1.0, top_p=0.95, max_tokens=30, seed=seed, stop=())
        return "".join(delta.text for delta in generate(model, prefix, sampling))

    assert answer(3) == answer(3)
    assert len({answer(seed) for seed in range(4)}) > 1


def test_an_answer_ends_before_a_stop_string(model, prefix):
    text = "".join(delta.text for delta in generate(model, prefix, Sampling(max_tokens=40, stop=())))
    stop = text[5:8]
    deltas = list(generate(model, prefix, Sampling(max_tokens=40, stop=(stop,))))
    assert "".join(delta.text for delta in deltas) == text[: text.find(stop)]
    assert deltas[-1].finish is Finish.STOP


def test_the_end_of_text_ends_an_answer(model, prefix):
    logits = torch.full_like(prefix.logits, -5.0)
    logits[0] = 5.0
    (last,) = generate(model, type(prefix)(logits, prefix.state, 1), Sampling())
    assert (last.text, last.n_token, last.finish) == ("", 1, Finish.STOP)


def test_a_time_limit_ends_an_answer(model, prefix):
    (last,) = generate(model, prefix, Sampling(time_limit_s=1e-9))
    assert (last.text, last.n_token, last.finish) == ("", 0, Finish.TIME)
    (last,) = generate(model, prefix, Sampling(time_limit_s=1e-9, labels=("yes",)))
    assert last.finish is Finish.TIME


LABELS = ("yes", "no", "noway", "hate", "hate/threatening")


@pytest.mark.parametrize("seed", range(6))
def test_with_labels_the_answer_is_one_of_them(model, prefix, seed):
    deltas = list(generate(model, prefix, Sampling(temperature=3.0, seed=seed, labels=LABELS, max_tokens=1)))
    assert "".join(delta.text for delta in deltas) in LABELS
    assert deltas[-1].finish is Finish.LABEL


def test_labels_are_drawn_by_the_probabilities_of_their_tokens(model, prefix):
    """Two labels of one token each: their shares are those of the two tokens among each other."""
    yes, no = model.log_probs(prefix, [model.tokenizer.encode(" yes"), model.tokenizer.encode(" noway")])
    expected = 1 / (1 + math.exp(no - yes))
    drawn = Counter(
        next(
            iter(generate(model, prefix, Sampling(temperature=1.0, seed=seed, labels=("yes", "noway"))))
        ).text
        for seed in range(400)
    )
    assert drawn["yes"] / 400 == pytest.approx(expected, abs=0.1)
    assert drawn.total() == drawn["yes"] + drawn["noway"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"time_limit_s": 0.0}, "time limit is 0.0 s"),
        ({"stop": ("",)}, "stop string is empty"),
        ({"labels": ("yes", " yes")}, "labels are empty or equal"),
        ({"labels": (" ",)}, "labels are empty or equal"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ConfigError, match=message):
        Sampling(**options)
