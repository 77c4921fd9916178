"""The packaged mapping of sources, and what a broken one says."""

import pytest

from gooseguard.core.errors import ConfigError
from gooseguard.core.taxonomy import load_taxonomy
from gooseguard.data.mapping import read_mapping

SET = {
    "group": "open",
    "path": "open/a.jsonl.gz",
    "licence": "MIT",
    "citation": "owner/repository@0123456789",
    "language": "en",
    "meaning": "rude",
}


def toml_of(entry):
    lines = [
        f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in entry.items()
    ]
    return "\n".join(['[labels]\nrude = "insult"', "[sets.a]", *lines])


def test_packaged_labels_are_categories_of_the_taxonomy():
    mapping = read_mapping()
    assert set(mapping.labels.values()) <= set(load_taxonomy())
    assert mapping.labels["severe"] == "toxicity/severe"
    assert mapping.labels["obscene"] == "profanity"
    assert mapping.labels["identity"] == "hate"
    assert mapping.labels["selfharm"] == "self-harm"


def test_packaged_sets_say_where_they_lie_and_what_they_mean():
    sets = read_mapping().sets
    assert len({source.name for source in sets}) == len(sets)
    assert {source.group for source in sets} == {"open", "weak", "research"}
    assert all(source.meaning and source.faults for source in sets)
    assert all(source.weak == (source.group == "weak") for source in sets)
    assert all(source.path == f"{source.group}/{source.name}.jsonl.gz" for source in sets)
    assert all("@" in source.citation for source in sets)


def test_select_keeps_the_order_of_the_file():
    mapping = read_mapping()
    assert mapping.select(["weak", "open", "research"]) == mapping.sets
    assert [source.name for source in mapping.select(["weak"])] == [
        "reddit_titles_by_subreddit",
        "sdcnl_suicide_vs_depression",
        "suicidewatch_vs_teenagers",
    ]


def test_select_refuses_a_group_without_sets():
    with pytest.raises(
        ConfigError, match="groups: 'rest' holds no set; expected some of open, research, weak"
    ):
        read_mapping().select(["open", "rest"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels = [", "is no TOML"),
        ('[labels]\nrude = "insult"', "expected the tables labels and sets"),
        ('[labels]\nrude = 1\n[sets.a]\ngroup = "open"', "label 'rude' maps to 1, expected a category name"),
        ('[labels]\nrude = "insult"\n[sets]\na = 1', "set 'a' is no table"),
        (toml_of({**SET, "weak": '"yes"'}), "weak is '\"yes\"', expected bool"),
        (toml_of({**SET, "license": "MIT"}), "set 'a' has 'license', expected one of group, path, licence"),
        (toml_of({key: SET[key] for key in SET if key != "licence"}), "set 'a' has no licence"),
        (toml_of({**SET, "path": 3}), "path is 3, expected str"),
    ],
)
def test_says_what_is_wrong_with_a_mapping(tmp_path, text, message):
    path = tmp_path / "m.toml"
    path.write_text(text.replace('""yes""', "'\"yes\"'"))
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        read_mapping(path)


def test_says_when_there_is_no_mapping(tmp_path):
    with pytest.raises(ConfigError, match=r"mapping m\.toml: cannot be read"):
        read_mapping(tmp_path / "m.toml")
