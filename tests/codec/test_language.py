"""Which language: sure on sentences, careful on words.

The sentences are from the Universal Declaration of Human Rights, article 1.
"""

import sys

import pytest

from gooseguard.codec.language import UNDETERMINED, detect_language
from gooseguard.core.errors import ConfigError

ARTICLE_1 = {
    "en": "All human beings are born free and equal in dignity and rights. They are endowed with reason.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de razão.",
    "vi": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом.",
    "ar": "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق، وقد وهبوا عقلاً وضميرًا.",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "zh": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "he": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון.",
    "nl": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren.",
}


@pytest.mark.parametrize("code", ARTICLE_1)
def test_a_sentence_is_told_for_sure(code):
    language = detect_language(ARTICLE_1[code])
    assert language.codes[0] == code
    assert language.is_sure


@pytest.mark.parametrize("text", ["", " ", "🦢", "12345", "?!", "😀😀", "\x00\x01", "\ufffe\uffff"])
def test_without_letters_there_is_no_guess(text):
    assert detect_language(text).codes == (UNDETERMINED,)
    assert not detect_language(text).is_sure


@pytest.mark.parametrize("text", ["ok", "idiota", "hola amigo", "lol nice", "ñ", "tum pagal ho", "バカ"])
def test_a_word_or_two_is_a_guess_at_most(text):
    language = detect_language(text)
    assert language.codes
    assert not language.is_sure


@pytest.mark.parametrize(
    "text",
    ["a\x00b" * 30, "\x7f\x80\x9f text", "\ufdd0\ufeff", "a" * 100_000, "\U0010ffff\U000e0001"],
)
def test_no_text_breaks_it(text):
    assert detect_language(text).codes


def test_without_the_detector_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycld2", None)
    with pytest.raises(ConfigError, match=r"gooseguard\[serve\]"):
        detect_language("text")
