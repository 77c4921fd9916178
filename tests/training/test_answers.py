"""Which tokens are learnt, what is left out, and which rows each step sees."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from gooseguard.core.errors import DataError
from gooseguard.data.instructions import Conversation, Turn
from gooseguard.training.answers import encode_conversation, encode_rows, pad_rows, plan_steps

_path = Path(__file__).parents[1] / "contracts" / "tiny_base.py"
_spec = importlib.util.spec_from_file_location("tiny_base", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


def make(*turns, template="chat"):
    return Conversation("row", tuple(Turn(*turn) for turn in turns), template)


@pytest.mark.parametrize(
    ("conversation", "text", "learnt"),
    [
        (
            make(("Rude?", "you moron", "Yes.")),
            "User: Rude?\nyou moron\n\nAssistant: Yes.\n\n",
            " Yes.\n\n",
        ),
        (
            make(("Rude?", "you moron", "Yes."), template="instruction"),
            "Instruction: Rude?\n\nInput: you moron\n\nResponse: Yes.\n\n",
            " Yes.\n\n",
        ),
        (
            make(("One?", "", "1"), ("Two?", "", "2")),
            "User: One?\n\nAssistant: 1\n\nUser: Two?\n\nAssistant: 2\n\n",
            " 1\n\n 2\n\n",
        ),
    ],
)
def test_every_answer_with_its_end_is_learnt_and_nothing_else(conversation, text, learnt):
    ids, is_answer = encode_conversation(conversation, tiny.Bytes())
    assert tiny.Bytes().decode(ids).decode() == text
    assert tiny.Bytes().decode([i for i, flag in zip(ids, is_answer, strict=True) if flag]).decode() == learnt


@pytest.fixture
def rows():
    """Twelve rows of growing length, 30 to 52 tokens."""
    made = [make(("Q", "x" * (2 * i), "yes")) for i in range(12)]
    return encode_rows(made, tiny.Bytes(), 1000)


def test_rows_that_are_too_long_are_left_out_whole(rows):
    made = [make(("Q", "x" * (2 * i), "yes")) for i in range(12)]
    longest = int(rows.lengths[4])
    cut = encode_rows(made, tiny.Bytes(), longest)
    assert (len(cut), cut.n_too_long) == (5, 7)
    np.testing.assert_array_equal(cut.tokens, rows.tokens[: rows.offsets[5]])
    np.testing.assert_array_equal(cut.is_answer, rows.is_answer[: rows.offsets[5]])


def test_no_rows_at_all():
    empty = encode_rows([], tiny.Bytes(), 10)
    assert (len(empty), empty.n_too_long) == (0, 0)
    assert plan_steps(empty, 1.0, 4, 100, 0) == []


def test_padding_is_no_answer(rows):
    tokens, is_answer, lengths = pad_rows(rows, np.array([3, 0]))
    assert tokens.shape == is_answer.shape
    assert tokens.shape[1] % 16 == 0
    for i, row in enumerate([3, 0]):
        span = slice(rows.offsets[row], rows.offsets[row + 1])
        np.testing.assert_array_equal(tokens[i, : lengths[i]], rows.tokens[span])
        np.testing.assert_array_equal(is_answer[i, : lengths[i]], rows.is_answer[span])
        assert not tokens[i, lengths[i] :].any()
        assert not is_answer[i, lengths[i] :].any()
    # " yes" and the end of the turn.
    assert is_answer.sum() == 12
    assert rows.n_answer(np.array([3, 0])) == 12


def test_an_epoch_sees_every_row_once_in_an_order_of_its_own(rows):
    steps = plan_steps(rows, 2.5, 5, 100, seed=0)
    seen = [np.concatenate(step.parts) for step in steps]
    # Three steps an epoch of 5, 5 and 2 rows; half an epoch is 6 rows.
    assert [len(index) for index in seen] == [5, 5, 2, 5, 5, 2, 5, 1]
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:6])
    assert sorted(first) == sorted(second) == list(range(12))
    assert list(first) != list(second)
    assert set(np.concatenate(seen[6:])) <= set(range(12))
    assert all(step.n_answer == 6 * len(index) for step, index in zip(steps, seen, strict=True))
    assert [step.n_token for step in steps] == [int(rows.lengths[index].sum()) for index in seen]


def test_parts_bound_what_runs_together_and_change_no_step(rows):
    whole, cut = (plan_steps(rows, 1.0, 12, budget, seed=3) for budget in (10_000, 100))
    assert [len(step.parts) for step in whole] == [1]
    np.testing.assert_array_equal(np.concatenate(cut[0].parts), whole[0].parts[0])
    assert len(cut[0].parts) > 3
    for part in cut[0].parts:
        assert len(part) == 1 or pad_rows(rows, part)[0].size <= 100


def test_the_order_depends_on_the_seed_alone(rows):
    first, same, other = (plan_steps(rows, 1.0, 12, 10_000, seed)[0].parts[0] for seed in (1, 1, 2))
    assert list(first) == list(same)
    shuffled = [plan_steps(rows, 1.0, 4, 10_000, seed)[0].parts[0] for seed in (1, 2)]
    assert sorted(shuffled[0]) != sorted(shuffled[1])
    assert sorted(first) == sorted(other)


def test_a_row_without_a_question_is_refused():
    class Silent(tiny.Bytes):
        """Encodes nothing before the answer."""

        def encode(self, text):
            return super().encode(text) if text.strip() in ("yes", "") else []

    with pytest.raises(DataError, match="row row: begins with its answer"):
        encode_rows([make(("Q", "", "yes"))], Silent(), 100)
