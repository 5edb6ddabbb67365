// UTF-8 checked by hand, since the locale may be C. Declared in user_text.h.
#include "train/files/user_text.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <new>

namespace asap::train {
namespace {

// The character at the front of `text`: its bytes and code point; length 1 and valid == false for a stray byte.
struct Character {
  size_t length = 1;
  uint32_t code = 0;
  bool valid = false;
};

// Source: RFC 3629; overlong forms, surrogates and what lies above U+10FFFF are stray bytes.
Character front(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {1, first, true};
  const size_t length = first >= 0xf0 && first < 0xf5   ? 4
                        : first >= 0xe0 && first < 0xf0 ? 3
                        : first >= 0xc2 && first < 0xe0 ? 2
                                                        : 0;
  if (length == 0 || text.size() < length) return {1, first, false};
  uint32_t code = first & (0xffu >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {1, first, false};
    code = code << 6 | (byte(i) & 0x3fu);
  }
  constexpr uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool valid = code >= least[length] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
  return valid ? Character{length, code, true} : Character{1, first, false};
}

bool steers_terminal(uint32_t code) {
  const bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
  const bool direction =
      code == 0x200e || code == 0x200f || (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
  return control || direction;
}

void append_escaped(std::string_view bytes, std::string& out) {
  for (char c : bytes) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    char text[8];
    std::snprintf(text, sizeof text, "\\x%02x", static_cast<uint8_t>(c));
    out += text;
  }
}

std::string escaped(std::string_view text, bool keep_lines) {
  std::string out;
  while (!text.empty()) {
    const Character c = front(text);
    const bool line = keep_lines && text.starts_with("\n  ");
    if (line || (c.valid && !steers_terminal(c.code))) {
      out += text.substr(0, c.length);
    } else {
      append_escaped(text.substr(0, c.length), out);
    }
    text.remove_prefix(c.length);
  }
  return out;
}

bool is_plain(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) ||
         std::string_view("_-./@%+=:,").find(c) != std::string_view::npos;
}

}  // namespace

std::string shell_quoted(const std::string& word) {
  // No option begins so, and a path means the same.
  const std::string text = word.starts_with('-') ? "./" + word : word;
  if (!text.empty() && std::all_of(text.begin(), text.end(), is_plain)) return text;
  const bool needs_escapes = terminal_safe(text) != text;
  std::string quoted = needs_escapes ? "$'" : "'";
  for (char c : text) {
    if (c == '\'') {
      quoted += needs_escapes ? "\\'" : "'\\''";
    } else if (c == '\\' && needs_escapes) {
      quoted += "\\\\";
    } else {
      quoted += c;
    }
  }
  // After the loop: the escapes' own backslashes must stay single.
  return (needs_escapes ? terminal_safe(quoted) : quoted) + "'";
}

std::string terminal_safe(std::string_view text) { return escaped(text, false); }
std::string terminal_safe_message(std::string_view text) { return escaped(text, true); }

std::string comma_list(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string sentence_of(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error)) {
    return "out of memory; smaller pictures (--crop-size, --size), batches (--batch-size) or networks need less";
  }
  const auto* file = dynamic_cast<const std::filesystem::filesystem_error*>(&error);
  if (!file) return error.what();
  constexpr size_t kShown = 60;
  std::string path = file->path1().string();
  const bool too_long = file->code() == std::errc::filename_too_long;
  if (too_long && path.size() > kShown) path = path.substr(0, kShown) + "...";
  const std::string reason = too_long ? "the name is too long" : file->code().message();
  return path.empty() ? reason : path + ": " + reason;
}

int terminal_columns(int stream) {
  constexpr int kUsual = 80;
  const char* told = std::getenv("ASAP_COLUMNS");
  if (told && stream == STDOUT_FILENO) return std::atoi(told);
  if (isatty(stream) == 0) return 0;
  winsize size{};
  return ioctl(stream, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUsual;
}

void warn(const std::string& text) { std::cerr << "asapnet: " << terminal_safe_message(text) << std::endl; }

}  // namespace asap::train
