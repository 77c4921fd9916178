"""The card says what the facts say."""

from gooseguard.data.dataset_card import write_card

SPLIT = {
    "rows": 1000, "unlabelled": 3, "sources": {"a": 1000}, "languages": {"en": 1000},
    "categories": {"hate": {"annotated": 900, "positive": 12}},
}  # fmt: skip
FACTS = {
    "rows_read": 3100,
    "counts": dict.fromkeys(("train", "val", "test"), SPLIT),
    "sets": {"a": {"licence": "MIT | x", "citation": "c", "meaning": "m", "faults": "f\ng", "weak": True}},
    "dropped": {"merged": 100},
    "cleaned": {"masked_email": 2},
    "skipped": {"a": {"faults": {"a.csv": 4}}},
    "near_duplicate_pairs": 5,
    "clusters": {"rows_with_near_duplicates": 9, "largest": 4},
    "equal_contents_with_different_labels": {"hate": 1},
    "plans": {
        "original": {"rows": 1000},
        "p": {"rows": 70, "distinct_rows": 60, "floors_not_reached": {"hate": 8}},
    },
    "stratification": {
        "largest_standard_errors": 5.5,
        "uneven": [{"kind": "source", "name": "a", "split": "val", "share": 0.3, "wanted": 0.1}],
    },
}


def test_every_fact_is_on_the_card():
    card = write_card("mine", FACTS)
    for line in (
        "# Dataset mine",
        "3,100 rows were read from 1 sets; 3,000 are here.",
        "| hate | 12 of 900 | 12 of 900 | 12 of 900 |",
        "| a (weak labels) | 3,000 | MIT \\| x | c | m | f g |",
        "| merged | 100 |",
        "| masked_email | 2 |",
        "| a | a.csv | 4 |",
        "| hate | 1 |",
        "| original | 1,000 | 1,000 |  |",
        "| p | 70 | 60 | hate by 8 |",
        "| source | a | val | 30.0% | 10.0% |",
    ):
        assert line in card.splitlines(), line
    assert "the largest has 4" in card
