"""Faults stop or are counted; a source that gives nothing but faults stops all the same."""

from pathlib import Path

import pytest

from gooseguard.core.content import Content
from gooseguard.core.errors import ConfigError, DataError
from gooseguard.core.example import Example
from gooseguard.data.sources import READERS, SourceConfig, open_source
from gooseguard.data.sources.source import SHOWN_FAULTS, Card, Faults, OnFault, Source, SourceRow

CARD = Card("mine", "Mine", "x", "x", "x")
ROW = SourceRow(Example("mine/1", Content.from_text("a")), {}, "train")


def source(*steps):
    def read(faults):
        for step in steps:
            if isinstance(step, str):
                faults.add("a.csv", step)
            else:
                yield step

    return Source(CARD, Path("data"), (), read)


def test_a_fault_stops_and_says_how_to_go_on():
    rows = source(ROW, "a.csv, row 2: is wrong", ROW).rows()
    assert next(rows) is ROW
    with pytest.raises(
        DataError, match=r'a.csv, row 2: is wrong; mend it, or skip such rows with on_fault = "skip"'
    ):
        next(rows)


def test_skipped_faults_are_counted_and_the_first_are_kept():
    faults = Faults(OnFault.SKIP)
    assert list(source(*["a.csv, row 1: is wrong"] * 30, ROW).rows(faults)) == [ROW]
    assert faults.counts == {"a.csv": 30}
    assert len(faults.shown) == SHOWN_FAULTS


def test_nothing_but_faults_stops():
    with pytest.raises(
        DataError, match=r"mine: all 1 rows or files of data were faulty, the first: a.csv, row 1"
    ):
        list(source("a.csv, row 1: is wrong").rows(Faults(OnFault.SKIP)))
    # An empty source is no fault.
    assert list(source().rows()) == []


def test_an_unknown_reader_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"source 'csw' is unknown; expected one of .*; did you mean 'csv'"):
        open_source(SourceConfig("csw", "."))
    assert "labelled_text" in READERS
