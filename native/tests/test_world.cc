// Greedy longest match, its incremental form, and vocabularies that are none.
#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "gooseguard/errors.h"
#include "gooseguard/world.h"

using gooseguard::ArtefactError;
using gooseguard::WorldTokenizer;

namespace {

// Id 0 empty, 1 to 256 the bytes, then `more`.
std::vector<std::string> with_bytes(const std::vector<std::string>& more) {
  std::vector<std::string> tokens{""};
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  tokens.insert(tokens.end(), more.begin(), more.end());
  return tokens;
}

WorldTokenizer make(const std::vector<std::string>& tokens) {
  return WorldTokenizer(std::vector<std::string_view>(tokens.begin(), tokens.end()));
}

std::vector<std::int32_t> encode(const WorldTokenizer& tokenizer, std::string_view text) {
  std::vector<std::int32_t> ids;
  CHECK(tokenizer.encode(text, true, ids) == text.size());
  return ids;
}

// The definition: at each place try every token.
std::vector<std::int32_t> encode_naively(const std::vector<std::string>& tokens, std::string_view text) {
  std::vector<std::int32_t> ids;
  while (!text.empty()) {
    std::size_t best = 0;
    for (std::size_t id = 1; id < tokens.size(); ++id) {
      if (text.substr(0, tokens[id].size()) == tokens[id] && tokens[id].size() > tokens[best].size()) best = id;
    }
    ids.push_back(static_cast<std::int32_t>(best));
    text.remove_prefix(tokens[best].size());
  }
  return ids;
}

void test_known() {
  const auto tokenizer = make(with_bytes({"ab", "abcd", "cd"}));
  CHECK(encode(tokenizer, "").empty());
  // "abc" is no token: longest is "ab", then "c".
  CHECK((encode(tokenizer, "abc") == std::vector<std::int32_t>{257, 1 + 'c'}));
  CHECK((encode(tokenizer, "abcdcd") == std::vector<std::int32_t>{258, 259}));
  CHECK((encode(tokenizer, std::string_view("\0\xff", 2)) == std::vector<std::int32_t>{1, 256}));
}

void test_random_vocabularies_against_the_definition() {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    std::vector<std::string> more;
    for (int i = 0; i < 40; ++i) {
      std::string token;
      const auto size = 2 + random() % 6;
      for (unsigned j = 0; j < size; ++j) token.push_back(static_cast<char>("ab\xff\x00"[random() % 4]));
      if (std::find(more.begin(), more.end(), token) == more.end()) more.push_back(token);
    }
    const auto tokens = with_bytes(more);
    const auto tokenizer = make(tokens);
    for (int i = 0; i < 40; ++i) {
      std::string text;
      const auto size = random() % 40;
      for (unsigned j = 0; j < size; ++j) text.push_back(static_cast<char>("ab\xff\x00"[random() % 4]));
      const auto whole = encode(tokenizer, text);
      CHECK(whole == encode_naively(tokens, text));
      // In pieces of every size.
      for (std::size_t step = 1; step < 5; ++step) {
        std::vector<std::int32_t> ids;
        std::string held;
        for (std::size_t begin = 0; begin < text.size(); begin += step) {
          held += text.substr(begin, step);
          held.erase(0, tokenizer.encode(held, false, ids));
          CHECK(held.size() <= 7);
        }
        tokenizer.encode(held, true, ids);
        CHECK(ids == whole);
      }
    }
  }
}

void test_no_vocabulary() {
  CHECK_THROWS(make({}), ArtefactError);
  CHECK_THROWS(make({"", "a"}), ArtefactError);
  CHECK_THROWS(make(with_bytes({"ab", "ab"})), ArtefactError);
  CHECK_THROWS(make(with_bytes({std::string(70000, 'a')})), ArtefactError);
}

}  // namespace

int main() {
  test_known();
  test_random_vocabularies_against_the_definition();
  test_no_vocabulary();
  return 0;
}
