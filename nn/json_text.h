// JSON text that others wrote, read without trust: configurations, checkpoint states, log lines. For .cpp files only,
// since it brings the JSON library along. safetensors.cpp reads its header by a stricter handler of its own.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "nn/file_io.h"

namespace asap::nn {

// Objects and arrays within one another at the most. What we write stays below 4; text that nests without end would
// overflow the stack of whatever walks it.
inline constexpr int kDeepestJson = 64;

// The text as a tree, in time linear in its length (but for the sorting of keys, which come out in order). asap::Error,
// without the source's name: not JSON (with the line), a key twice in one object (the library would keep the last
// silently), deeper than kDeepestJson, a number beyond what a double holds.
template <class Json = nlohmann::json>  // or nlohmann::ordered_json, which keeps the order of a few keys
Json parse_json(std::string_view text) {
  std::vector<std::set<std::string>> keys;  // of each object that is open
  const auto watch = [&keys](int depth, typename Json::parse_event_t event, Json& parsed) {
    switch (event) {
      case Json::parse_event_t::object_start: keys.emplace_back(); [[fallthrough]];
      case Json::parse_event_t::array_start:
        ASAP_CHECK(depth < kDeepestJson, "expected JSON of at most ", kDeepestJson, " levels, found deeper ones");
        break;
      case Json::parse_event_t::object_end: keys.pop_back(); break;
      case Json::parse_event_t::key: {
        const auto& key = parsed.template get_ref<const std::string&>();
        ASAP_CHECK(keys.back().insert(key).second, "expected every key once, found ", printable(key), " twice");
        break;
      }
      default: break;
    }
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const typename Json::out_of_range&) {
    fail("expected numbers that a computer can hold, found a larger one");
  } catch (const typename Json::parse_error& e) {
    const auto place = std::min(e.byte > 0 ? e.byte - 1 : 0, text.size());
    fail("expected JSON, but line ",
         1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(place), '\n'), " is not");
  }
}

}  // namespace asap::nn
