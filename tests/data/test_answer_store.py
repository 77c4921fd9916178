"""Answers are kept under their digests, from several threads, and what is no store is refused."""

import sqlite3
import threading

import pytest

from gooseguard.chat.client import Reply
from gooseguard.core.errors import ArtefactError
from gooseguard.data.answer_store import AnswerStore


def test_keeps_answers_over_openings_with_their_usage(tmp_path):
    path = tmp_path / "a.db"
    store = AnswerStore(path)
    assert store.get("x") is None
    store.put("x", Reply("Yes.", "stop", (10, 5)))
    store.put("y", Reply("No.", "length"))
    store.close()
    again = AnswerStore(path)
    assert again.get("x") == Reply("Yes.", "stop")
    assert (again.get("x").usage, again.get("y").usage) == ((10, 5), None)
    assert again.usage() == (2, 10, 5)
    again.close()


def test_threads_share_it(tmp_path):
    store = AnswerStore(tmp_path / "a.db")

    def work(number):
        for one in range(20):
            store.put(f"{number}/{one}", Reply("x", "stop", (1, 1)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.usage() == (160, 160, 160)
    store.close()


def test_something_else_is_refused(tmp_path):
    (tmp_path / "a.db").write_text("no database, but a text that is long enough to be looked at")
    with pytest.raises(ArtefactError, match=r"a\.db: cannot be opened"):
        AnswerStore(tmp_path / "a.db")
    other = sqlite3.connect(tmp_path / "b.db")
    other.execute("CREATE TABLE t (x)")
    other.commit()
    other.close()
    with pytest.raises(ArtefactError, match=r"b\.db: is no store of answers of version 1"):
        AnswerStore(tmp_path / "b.db")
