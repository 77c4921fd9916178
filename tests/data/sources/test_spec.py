"""Descriptions of sources: what is refused, and that every packaged one holds."""

import pytest

from gooseguard.core.errors import ConfigError, DataError
from gooseguard.data.sources.spec import PACKAGED, Record, needed_spec, read_spec

HEAD = 'name = "mine"\ntitle = "M"\nlicence = "x"\ncitation = "x"\nmeaning = "x"\n'


def spec(tmp_path, text):
    path = tmp_path / "m.toml"
    path.write_text(text)
    return read_spec(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "is no TOML"),
        ('name = "a"\n', "title, licence, citation, meaning is missing"),
        (HEAD + 'licens = "y"\n', "unknown key 'licens'.*did you mean 'licence'"),
        (HEAD + "weak = 1\n", "weak is 1, expected bool"),
        (HEAD + '[columns]\ntxt = "a"\n', "columns: unknown key 'txt'.*did you mean 'text'"),
        (HEAD + "labels = 1\n", "labels is no array of tables"),
        (HEAD + '[[labels]]\nfield = "a"\n', "labels, number 1: category is missing"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=f"mapping m.toml.*{message}"):
        spec(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"mapping n.toml: cannot be read"):
        needed_spec("csv", str(tmp_path / "n.toml"))


def test_a_record_without_text_or_with_a_lone_surrogate_is_named(tmp_path):
    made = spec(tmp_path, HEAD)
    with pytest.raises(DataError, match=r"a.csv, row 3: column 'text' is NoneType, expected text"):
        made.make_row(Record("a.csv", 3, {}))
    with pytest.raises(DataError, match=r"a.csv, row 3: text has a lone surrogate U\+D800"):
        made.make_row(Record("a.csv", 3, {"text": "\ud800"}))


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(PACKAGED.glob("*.toml")) if path.stem != "labelled_text"],
    ids=lambda path: path.stem,
)
def test_packaged_descriptions_say_licence_citation_meaning_and_faults(path):
    made = read_spec(path)
    assert made.card.name == path.stem
    assert made.card.group in ("open", "weak", "research")
    assert made.card.faults
    assert "http" in made.card.citation
    assert made.labels
