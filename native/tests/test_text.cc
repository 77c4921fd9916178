// Normaliser and tokenizer: known results, what holds for any text, vocabularies that are none, many threads.
// That they equal the Python ones, which define them, is tested in tests/parity/test_native_text.py.
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "gooseguard/errors.h"
#include "gooseguard/normalizer.h"
#include "gooseguard/tokenizer.h"
#include "text_properties.h"

using namespace gooseguard;

namespace {

using Merges = std::vector<std::pair<std::int64_t, std::int64_t>>;

std::int64_t byte_id(char byte) { return 1 + static_cast<std::uint8_t>(byte); }

// 257 ab, 258 abc, 259 cd, 260 " abc"; the cases of tests/codec/test_tokenizer.py.
Merges known_merges() {
  return {{byte_id('a'), byte_id('b')}, {257, byte_id('c')}, {byte_id('c'), byte_id('d')}, {byte_id(' '), 258}};
}

std::vector<std::int32_t> encode(const Tokenizer& tokenizer, const std::u32string& text) {
  std::vector<std::int32_t> ids;
  tokenizer.encode(view_of(text), ids);
  return ids;
}

void test_known() {
  CHECK(normalize(U"m\u043er\u043en\u200b").text == U"moron");
  CHECK(normalize(U"e\u200b\u0301").text == U"\u00e9");
  CHECK(normalize(U"\u1112\u1161\u11ab").text == U"\ud55c");
  CHECK(normalize(U"").text.empty());
  const Tokenizer tokenizer(known_merges());
  CHECK(tokenizer.vocab_size() == 261);
  CHECK((encode(tokenizer, U"abcd") == std::vector<std::int32_t>{258, static_cast<std::int32_t>(byte_id('d'))}));
  CHECK((encode(tokenizer, U"d abc") == std::vector<std::int32_t>{static_cast<std::int32_t>(byte_id('d')), 260}));
  CHECK(encode(tokenizer, U"").empty());
}

// The views of all three widths give the same.
void test_widths() {
  const Tokenizer tokenizer(known_merges());
  const std::uint8_t one[] = {'A', 'b', 0xe9};
  const std::uint16_t two[] = {'A', 'b', 0xe9};
  const std::u32string four = U"Ab\u00e9";
  const Normalized expected = normalize(four);
  for (const TextView& view : {TextView{one, 3, 1}, TextView{two, 3, 2}, view_of(four)}) {
    Normalized normalized;
    Normalizer(true).normalize(view, normalized);
    CHECK(normalized.text == expected.text && normalized.ends == expected.ends);
  }
}

std::u32string make_text(std::mt19937& random) {
  static const std::u32string alphabet =
      U"abcd AB.'1\u00e9\u0301\u0327\u0336\u200b\u043e\u0439\u03bf\u1100\u1161\u11a8\uac00\u0e33\u064b\u093f\u2019"
      U"\ufdfa\u3042\u8a9e\U0001f1e6\U0001f600\ufe0f\u0344";
  std::u32string text;
  const auto size = random() % 50;
  while (text.size() < size) {
    char32_t code = alphabet[random() % alphabet.size()];
    if (random() % 16 == 0) code = static_cast<char32_t>(random() % 0x110000);
    text.append(random() % 20 == 0 ? 1 + random() % 70 : 1, code);
  }
  return text;
}

void test_any_text() {
  const Tokenizer tokenizer(known_merges());
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) check_text(tokenizer, make_text(random), random());
}

void test_no_vocabulary() {
  const auto make = [](const Merges& merges) { return Tokenizer(merges).vocab_size(); };
  CHECK_THROWS(make({{0, 1}}), ArtefactError);
  CHECK_THROWS(make({{-1, 1}}), ArtefactError);
  CHECK_THROWS(make({{1, 257}}), ArtefactError);
  CHECK_THROWS(make({{1, INT64_MAX}}), ArtefactError);
  CHECK_THROWS(make({{1, 2}, {1, 2}}), ArtefactError);
  Merges doubling{{1, 1}};
  for (std::int64_t id = 257; id < 300; ++id) doubling.emplace_back(id, id);
  CHECK_THROWS(make(doubling), ArtefactError);
}

// Races here are what ThreadSanitizer looks for.
void test_threads() {
  const Tokenizer tokenizer(known_merges());
  std::mt19937 random(2);
  std::vector<std::u32string> texts;
  for (int i = 0; i < 200; ++i) texts.push_back(make_text(random));
  std::vector<std::vector<std::int32_t>> results(4);
  std::vector<std::thread> threads;
  for (auto& ids : results) {
    threads.emplace_back([&] {
      TextEncoder encoder(tokenizer);
      for (const auto& text : texts) encoder.encode(view_of(text), ids);
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& ids : results) CHECK(ids == results[0]);
}

}  // namespace

int main() {
  test_known();
  test_widths();
  test_any_text();
  test_no_vocabulary();
  test_threads();
  return 0;
}
