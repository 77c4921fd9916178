"""Random texts in twenty scripts and of what tokenizers stumble over; the same ones for the same seed."""

SCRIPTS = {
    "Latin": "abcdefghijklmnopqrstuvwxyzABCXYZéèüßñøąčİıſŒǅ",
    "Greek": "αβγδεζηθικλμνξοπρστυφχψωςΑΒΣΩάᾳΐ",
    "Cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюяёіїАБЙЁ",
    "Armenian": "աբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆԱև",
    "Hebrew": "אבגדהוזחטיכלמנסעפצקרשתםןץ\u05b0\u05bc",
    "Arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهويءآأپچ\u064b\u0651\u0653",
    "Devanagari": "अआइईउकखगघचजटडतथदनपफबभमयरलवशसहक़\u093c\u093e\u093f\u0940\u094d",
    "Bengali": "অআইকখগচজটডতদনপবমযরলশসহ\u09be\u09bf\u09c7\u09cd\u09d7",
    "Tamil": "அஆஇஈஉகஙசஞடணதநபமயரலவழளறன\u0bbe\u0bbf\u0bc6\u0bcd\u0bd7",
    "Telugu": "అఆఇకఖగచజటడతదనపబమయరలవశసహ\u0c3e\u0c46\u0c4d\u0c56",
    "Thai": "กขคงจชซญดตถทนบปผพฟมยรลวสหอะาำเแโใไ\u0e31\u0e34\u0e48\u0e49",
    "Lao": "ກຂຄງຈຊຍດຕຖທນບປຜພຟມຢຣລວສຫອະາຳເແ\u0eb1\u0eb4\u0ec8",
    "Tibetan": "ཀཁགངཅཆཇཉཏཐདནཔཕབམཙཚ\u0f71\u0f72\u0f73\u0f74\u0f81\u0f90་",
    "Burmese": "ကခဂငစဆဇညတထဒနပဖဗမယရလဝသဟအ\u102b\u102c\u102d\u1039",
    "Georgian": "აბგდევზთიკლმნოპჟრსტუფქღყშᲐᲑᲒ",
    "Ethiopic": "ሀለሐመሠረሰሸቀበተቸነኘአከወዐዘየደገጠፀፈ።",
    "Khmer": "កខគងចឆជញតថទនបផពមយរលវសហអ\u17b6\u17b7\u17d2",
    "Hangul": "가각간갇갈한국어말\u1100\u1112\u1161\u1175\u11a8\u11c2\u314e\u314f\uffa1",
    "Kana": "あいうえおかがきぎアイウエオカガー\u3099\u309aｱｶﾞヽ",
    "Han": "你我他的是不了人在有中国人民大学語漢字々〇\uf900\U00020000\U0002f800",
    "Cherokee": "ᎠᎡᎢᎣᎤᎥᎦᎧꭰꭱꭲᏸ",
}
"""Letters, marks and composed forms of each script."""

SIGNS = " \t\n\r\u3000\u00a0 .,!?'\"’-_/#@:;()[]0123456789٣५²½…—¿。、！"
"""What stands between words."""

ODD = (
    "\x00\x1f\x7f\x85\u00ad\u200b\u200d\u202e\u2028\u2060\ufeff\ufe0f\U000e0041"
    "\u0300\u0301\u0307\u0327\u0336\u0345\u20dd\u0483\u0344"
    "\u212a\u212b\ufb01\ufdfa\u00a8\u2460\uff21\U0001d400\u1d00\U0001f170"
    "\U0001f1e6\U0001f1fa\U0001f600\U0001f468\U0001f3fd\ud800\udc00\udfff\uffff\U0010ffff\u0378"
)
"""Invisible, combining, compatible, unassigned, lone."""


def make_text(random, longest=60):
    """Give a text of one or several scripts, with runs, odd characters and anything at all."""
    pieces = []
    script = random.choice(list(SCRIPTS.values()))
    while sum(map(len, pieces)) < random.randrange(longest):
        kind = random.random()
        if kind < 0.55:
            pieces.append("".join(random.choices(script, k=random.randrange(1, 9))))
        elif kind < 0.75:
            pieces.append(random.choice(SIGNS) * random.choice([1, 1, 1, 2, 3, 9]))
        elif kind < 0.85:
            pieces.append(random.choice(ODD) * random.choice([1, 1, 2, 31]))
        elif kind < 0.95:
            script = random.choice(list(SCRIPTS.values()))
        else:
            pieces.append(chr(random.randrange(0x110000)))
    return "".join(pieces)
