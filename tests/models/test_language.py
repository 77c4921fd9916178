import hashlib
import importlib.util
import math
from pathlib import Path

import pytest
import torch

from gooseguard.core.errors import ArtefactError, ConfigError, EngineError
from gooseguard.models.language import LanguageModel, load, repeat_state, select_state

_path = Path(__file__).parents[1] / "contracts" / "official_files.py"
_spec = importlib.util.spec_from_file_location("official_files", _path)
official = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(official)


@pytest.fixture(scope="module", params=official.VERSIONS)
def model(request, tmp_path_factory):
    return official.load_small(tmp_path_factory.mktemp("small"), request.param, " yes", " no", " maybe")


def token_by_token(model, ids):
    """Give the log-probabilities after each token, from the recurrence one token at a time."""
    state, rows = None, []
    with torch.no_grad():
        for token in ids:
            hidden, state = model.model(torch.tensor([[token]]), None, state)
            rows.append(torch.log_softmax((hidden[0, 0] @ model.model.head.weight.T).double(), -1))
    return rows


def test_reading_in_pieces_is_reading_at_once(model):
    ids = model.tokenizer.encode("you are a moron, and that is long enough. " * 13)
    whole = model.read(ids)
    part = model.read(ids[413:], model.read(ids[1:413], model.read(ids[:1])))
    assert whole.n_token == part.n_token == len(ids)
    torch.testing.assert_close(part.logits, whole.logits, atol=1e-4, rtol=1e-4)
    expected = token_by_token(model, ids)[-1]
    torch.testing.assert_close(torch.log_softmax(whole.logits.double(), -1), expected, atol=1e-4, rtol=1e-4)


def test_log_probs_are_those_of_the_chain_rule(model):
    prompt = model.tokenizer.encode("Is it rude?")
    answers = [model.tokenizer.encode(text) for text in (" yes", " no way", "x", " maybe not, or so")]
    found = model.log_probs(model.read(prompt), answers)
    for answer, log_prob in zip(answers, found, strict=True):
        rows = token_by_token(model, [*prompt, *answer])[len(prompt) - 1 :]
        expected = sum(float(row[token]) for row, token in zip(rows, answer, strict=False))
        assert log_prob == pytest.approx(expected, abs=1e-4)


def test_probabilities_of_all_tokens_add_up_to_one(model):
    prefix = model.read(model.tokenizer.encode("Is it rude?"))
    every = [[token] for token in range(model.model.config.vocab_size)]
    assert sum(map(math.exp, model.log_probs(prefix, every))) == pytest.approx(1, abs=1e-5)


def test_branches_go_on_from_one_state_and_leave_it_alone(model):
    prefix = model.read(model.tokenizer.encode("Text: you moron"))
    before = prefix.state.wkv.clone()
    suffixes = [model.tokenizer.encode(text) for text in ("\nQ: a?", "\nQ: a longer one?", "!")]
    for suffix, branch in zip(suffixes, model.branch(prefix, suffixes), strict=True):
        alone = model.read(suffix, prefix)
        assert branch.n_token == alone.n_token
        torch.testing.assert_close(branch.logits, alone.logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(branch.state.wkv, alone.state.wkv, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            branch.state.attention_shift, alone.state.attention_shift, atol=1e-4, rtol=1e-4
        )
    assert torch.equal(prefix.state.wkv, before)


def test_states_are_repeated_and_selected_by_sequence(model):
    state = model.read(model.tokenizer.encode("abc")).state
    many = repeat_state(state, 3)
    assert many.wkv.shape[1] == many.ffn_shift.shape[1] == 3
    assert torch.equal(select_state(many, 2).attention_shift, state.attention_shift)


def test_only_tokens_with_bytes_and_the_end_of_text_may_be_written(tmp_path):
    vocabulary = official.byte_vocabulary("yes")
    path = official.write_pth(tmp_path / "rows.pth", "x070", vocabulary.vocab_size + 5)
    model = LanguageModel(official.load_official(path), vocabulary)
    assert model.writable.nonzero().flatten().tolist() == list(range(258))


def test_nothing_to_read(model):
    with pytest.raises(EngineError, match="no tokens"):
        model.read([])
    prefix = model.read([1])
    with pytest.raises(EngineError, match="no token"):
        model.log_probs(prefix, [[1], []])
    with pytest.raises(EngineError, match="no token"):
        model.branch(prefix, [])


def test_a_damaged_model_gives_no_probabilities(tmp_path):
    model = official.load_small(tmp_path, "x070")
    model.model.ln_out.weight.fill_(math.inf)
    with pytest.raises(EngineError, match="not finite"):
        model.read([1])


def test_a_vocabulary_with_more_ids_than_rows_is_refused(tmp_path):
    path = official.write_pth(tmp_path / "few.pth", "x070", 300)
    with pytest.raises(ConfigError, match=r"ids up to 300, the model only 300 rows.*--vocabulary"):
        LanguageModel(official.load_official(path), official.byte_vocabulary(*(f"w{i}!" for i in range(44))))


def test_the_digest_is_that_of_the_file(tmp_path):
    model = official.load_small(tmp_path, "x060")
    expected = hashlib.sha256((tmp_path / "x060-0.pth").read_bytes()).hexdigest()
    assert model.digest == expected
    assert model.name == f"rwkv-x060@{expected[:12]}"
    in_memory = LanguageModel(model.model, model.tokenizer)
    other = LanguageModel(official.load_small(tmp_path, "x060", seed=1).model, model.tokenizer)
    assert in_memory.digest != other.digest
    assert in_memory.digest == LanguageModel(model.model, model.tokenizer).digest


def test_loading_takes_the_world_vocabulary(tmp_path):
    threads = torch.get_num_threads()
    model = load(official.write_pth(tmp_path / "any.name", "x052"), None, threads)
    assert model.tokenizer.encode(" Yes") == [21186]
    assert model.model.emb.weight.dtype == torch.bfloat16
    with pytest.raises(ArtefactError, match="cannot be read"):
        load(tmp_path / "any.name", tmp_path / "absent.txt", threads)


def test_a_checkpoint_without_a_language_head_is_refused(tmp_path):
    path = official.write_pth(tmp_path / "headless.pth", "x070", 300)
    tensors = torch.load(path, weights_only=True)  # noqa: TID251
    del tensors["head.weight"]
    torch.save(tensors, path)
    with pytest.raises(ArtefactError, match="no language head"):
        load(path, None, torch.get_num_threads())
