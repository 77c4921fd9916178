"""The report for people: everything is named, nothing is loaded from elsewhere, names are escaped."""

import re
from html.parser import HTMLParser

from gooseguard.data.audit_page import write_page, write_text

REPORT = {
    "dataset": "mine",
    "rows": {"split": {"train": 1200}, "source": {"a<b>": 1000, "c": 200}},
    "lengths": {"0-20": 1200},
    "categories": {
        "hate": {
            "annotated": 1000, "positive": 250, "positive_share": 0.25, "negatives_for_each_positive": 3.0,
            "largest_source_of_positives": "a<b>", "its_share_of_positives": 1.0,
            "sources": {"a<b>": {"annotated": 1000, "positive": 250}},
        },
    },
    "findings": {
        "sources_all_positive": {"c": ["spam"]}, "categories_with_positives_of_one_source": {"hate": "a<b>"},
    },
    "duplicates": {
        "exact_across_sources": [["a<b>/1", "c/1"]], "near_across_sources": [],
        "pairs_of_sources": [{"sources": ["a<b>", "c"], "exact": 1, "near": 0}],
    },
    "leaks": [],
    "build": {"dropped": {"merged": 7}},
    "noise": {
        "hate": {"rows": 900, "doubted_positives": 0.125, "doubted_negatives": None,
            "worst": [{"id": "c/9", "label": 1.0, "model": 0.0312}],
        },
    },
    "drift": {
        "added": 1, "removed": 2, "moved_to_another_split": [], "labels_changed": ["c/1"],
        "stability_index": {"source": 0.1},
    },
}  # fmt: skip


class Checker(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.links = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in {"meta", "rect"}:
            self.open.append(tag)
        self.links += [value for name, value in attributes if name in {"src", "href"}]

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass


def test_the_table_says_everything():
    text = write_text(REPORT)
    for words in ("1,200 rows", "hate", "25.0%", "a<b> + c", "merged", "12.5%", "c/9", "labels_changed"):
        assert words in text


def test_the_page_stands_alone():
    page = write_page(REPORT)
    checker = Checker()
    checker.feed(page)
    assert (checker.open, checker.links) == ([], [])
    assert "a<b>" not in page
    assert "a&lt;b&gt;/1, c/1" in page
    assert "c/9: label 1, model 0.031" in page
    # 250 positive of 1,000 in a plot whose longest bar is 420 wide.
    assert re.search(r'class="part"[^>]*width="105.0"', page)


def test_what_is_empty_is_said():
    assert "none" in write_text(REPORT | {"leaks": []} | {"build": {"dropped": None}})
