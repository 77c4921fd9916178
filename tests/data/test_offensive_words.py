"""Words of harmful texts are told apart from words of the topic and from rare ones."""

from gooseguard.data.offensive_words import WordCounts, offensive_words

HARM, FINE = {"insult": 1.0}, {"insult": 0.0}


def test_words_that_stand_in_harmful_texts_are_found_and_others_are_not():
    rows = [(f"you sluur of the town {number}", HARM) for number in range(60)]
    rows += [(f"the town of ours is nice {number}", FINE) for number in range(300)]
    # As frequent among harmful texts, but on both sides; and one harmful text with a word of its own.
    rows += [("you know the town", FINE)] * 60 + [("zebra sluur", HARM)]
    assert offensive_words(rows) == {"sluur"}


def test_labels_that_say_nothing_of_words_do_not_count():
    counts = WordCounts()
    counts.add("word", {"threat": 1.0})
    counts.add("word", {})
    # Annotators disagree.
    counts.add("word", {"insult": 0.3})
    assert not counts.harmful
    assert not counts.harmless
    assert counts.offensive() == frozenset()


def test_a_word_counts_once_a_text():
    counts = WordCounts()
    counts.add("spam spam SPAM", HARM)
    assert counts.harmful == {"spam": 1}
