// libFuzzer target: any vocabulary of the World kind, any bytes.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "check.h"
#include "gooseguard/errors.h"
#include "gooseguard/world.h"

namespace {

// Encode whole and in two pieces; decode.
void check_bytes(const gooseguard::WorldTokenizer& tokenizer, const std::vector<std::string>& tokens,
                 std::string_view data) {
  std::vector<std::int32_t> whole;
  CHECK(tokenizer.encode(data, true, whole) == data.size());
  std::string bytes;
  for (const std::int32_t id : whole) bytes += tokens[static_cast<std::size_t>(id)];
  CHECK(bytes == data);
  std::vector<std::int32_t> pieces;
  const std::string_view head = data.substr(0, data.size() / 2);
  const std::size_t used = tokenizer.encode(head, false, pieces);
  CHECK(used <= head.size());
  tokenizer.encode(data.substr(used), true, pieces);
  CHECK(pieces == whole);
}

}  // namespace

// The first byte says how many tokens follow, each a byte of length and its bytes; the rest is the text.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const auto take = [&](std::size_t n) {
    const std::string_view head = rest.substr(0, n);
    rest.remove_prefix(head.size());
    return head;
  };
  std::vector<std::string> tokens{""};
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  const std::string_view count = take(1);
  for (int i = count.empty() ? 0 : static_cast<std::uint8_t>(count[0]); i > 0 && !rest.empty(); --i) {
    const auto length = static_cast<std::uint8_t>(take(1)[0]);
    tokens.emplace_back(take(length));
  }
  try {
    const gooseguard::WorldTokenizer tokenizer(std::vector<std::string_view>(tokens.begin(), tokens.end()));
    check_bytes(tokenizer, tokens, rest);
  } catch (const gooseguard::ArtefactError&) {
    return 0;
  }
  return 0;
}
