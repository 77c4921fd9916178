#include "gooseguard/normalizer.h"

#include <algorithm>

#include "cluster.h"
#include "fold.h"
#include "unicode.h"

namespace gooseguard {

namespace {

// MARK_LIMIT and WORD_LIMIT of normalize.py.
constexpr std::size_t kMarkLimit = 30;
constexpr std::size_t kWordLimit = 64;

// Of ASCII.
char32_t lower(char32_t code) { return code >= 'A' && code <= 'Z' ? code + 0x20 : code; }

bool is_in_word(char32_t code) {
  if (code < 0x80) {
    return (code >= 'a' && code <= 'z') || (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z');
  }
  return (unicode::record_of(code).flags & unicode::kWord) != 0;
}

bool is_foreign(char32_t code) { return code >= 0x80 && (unicode::record_of(code).flags & unicode::kForeign) != 0; }

// Fold every word of `text` that needs it.
void fold_words(char32_t* text, std::size_t size) {
  char32_t* const end = text + size;
  for (char32_t* begin = std::find_if(text, end, is_in_word); begin != end;) {
    char32_t* const last = std::find_if_not(begin, begin + std::min<std::ptrdiff_t>(end - begin, kWordLimit), is_in_word);
    if (std::any_of(begin, last, is_foreign)) fold_word(begin, static_cast<std::size_t>(last - begin));
    begin = std::find_if(last, end, is_in_word);
  }
}

// How many code points at the end of `text` belong to a word that may go on.
std::size_t count_unfinished(const std::u32string& text) {
  std::size_t begin = text.size();
  while (begin > 0 && is_in_word(text[begin - 1])) --begin;
  return (text.size() - begin) % kWordLimit;
}

}  // namespace

const char* unicode_version() { return unicode::version(); }

void Normalizer::push(const TextView& text, Normalized& out) {
  scan(text);
  release(false, out);
}

void Normalizer::finish(Normalized& out) {
  close();
  offset_ = 0;
  release(true, out);
}

void Normalizer::normalize(const TextView& text, Normalized& out) {
  scan(text);
  finish(out);
}

void Normalizer::scan(const TextView& text) {
  for (std::size_t i = 0; i < text.size; ++i) {
    const char32_t code = text[i];
    const std::int64_t offset = offset_ + static_cast<std::int64_t>(i);
    if (code < 0x80) {
      close();
      // Only what follows may compose, so that a letter before another is done.
      if (i + 1 < text.size && text[i + 1] < 0x80) {
        begin_ = offset;
        end_ = offset + 1;
        append(lower(code));
      } else {
        open(code, offset, 0, 0);
      }
      continue;
    }
    const unicode::Record& record = unicode::record_of(code);
    const bool is_accent = record.kind == unicode::Kind::kAccent;
    if (record.kind == unicode::Kind::kIgnore) continue;
    if (record.kind == unicode::Kind::kStart && (last_ & record.first) == 0) {
      close();
      open(code, offset, record.n_marks, record.last);
    } else if (cluster_.empty()) {
      open(code, offset, record.n_marks, is_accent ? 0U : record.last);
    } else {
      end_ = offset + 1;
      if (n_marks_ + record.n_marks <= kMarkLimit) {
        n_marks_ += record.n_marks;
        cluster_.push_back(code);
        if (!is_accent) last_ = record.last;
      }
    }
  }
  offset_ += static_cast<std::int64_t>(text.size);
}

void Normalizer::open(char32_t code, std::int64_t offset, unsigned marks, unsigned last) {
  cluster_.assign(1, code);
  begin_ = offset;
  end_ = offset + 1;
  n_marks_ = marks;
  last_ = last;
}

void Normalizer::append(char32_t code) {
  out_.text.push_back(code);
  if (has_offsets_) {
    out_.begins.push_back(begin_);
    out_.ends.push_back(end_);
  }
}

void Normalizer::close() {
  if (cluster_.size() == 1) {
    const char32_t code = cluster_[0];
    if (code < 0x80) {
      append(lower(code));
    } else {
      bool is_itself = false;
      const std::u32string_view normal = unicode::normal_of(code, is_itself);
      if (is_itself) {
        append(code);
      } else {
        for (const char32_t part : normal) append(part);
      }
    }
  } else if (!cluster_.empty()) {
    normalize_cluster(cluster_, scratch_[0], scratch_[1]);
    for (const char32_t part : cluster_) append(part);
  }
  cluster_.clear();
  last_ = 0;
  n_marks_ = 0;
}

void Normalizer::release(bool is_last, Normalized& out) {
  const std::size_t held = is_last ? 0 : count_unfinished(out_.text);
  const std::size_t size = out_.text.size() - held;
  const std::size_t begin = out.text.size();
  out.text.append(out_.text, 0, size);
  out_.text.erase(0, size);
  if (has_offsets_) {
    const auto move = [size](std::vector<std::int64_t>& from, std::vector<std::int64_t>& to) {
      const auto middle = from.begin() + static_cast<std::ptrdiff_t>(size);
      to.insert(to.end(), from.begin(), middle);
      from.erase(from.begin(), middle);
    };
    move(out_.begins, out.begins);
    move(out_.ends, out.ends);
  }
  fold_words(out.text.data() + begin, size);
}

}  // namespace gooseguard
