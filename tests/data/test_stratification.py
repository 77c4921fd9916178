"""Which shares are uneven."""

from gooseguard.data.recipe import SplitConfig
from gooseguard.data.stratification import check_stratification


def counts(train, val, test):
    return {
        split: {"sources": {"a": rows}, "categories": {"hate": {"annotated": rows, "positive": positive}}}
        for split, (rows, positive) in {"train": train, "val": val, "test": test}.items()
    }


def test_an_even_split_has_nothing_to_list():
    found = check_stratification(counts((780, 78), (100, 10), (120, 12)), SplitConfig())
    assert found == {"largest_standard_errors": 0.0, "uneven": []}


def test_an_uneven_share_is_named():
    found = check_stratification(counts((780, 40), (100, 10), (120, 50)), SplitConfig())
    # 100 positives, 12 wanted in test, 50 there: (50 - 12) / sqrt(100 * 0.12 * 0.88) = 11.69.
    assert found["uneven"] == [
        {
            "kind": "positives", "name": "hate", "split": "test",
            "share": 0.5, "wanted": 0.12, "standard_errors": 11.7,
        }
    ]  # fmt: skip
