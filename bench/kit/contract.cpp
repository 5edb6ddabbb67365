// Reads kernels.h. Declared in contract.h.
#include "bench/kit/contract.h"

#include <algorithm>
#include <regex>
#include <sstream>

#include "bench/kit/texts.h"
#include "tensor/error.h"

namespace asap::bench {
namespace {

// The lines between two blank ones that have `at` among them.
std::string paragraph(const std::string& text, size_t at) {
  const size_t before = text.rfind("\n\n", at), after = text.find("\n\n", at);
  const size_t begin = before == std::string::npos ? 0 : before + 2;
  return text.substr(begin, after - begin);
}

// "const Tensor& x" or "const Conv2dParams&": the last word is a name where something that ends a type stands before it.
Contract::Parameter parameter(const std::string& words) {
  static const std::regex pattern(R"(\s*(.*?[&>\w])(?:\s+(\w+))?\s*)");
  std::smatch match;
  ASAP_CHECK(std::regex_match(words, match, pattern), "kernels.h: cannot read the parameter '", words, "'");
  const std::string type = match[1];
  std::string name = match[2];
  if (name.empty()) name = type.find("Params") != std::string::npos ? "p" : "op";
  return {type, name};
}

std::string join(const std::vector<Contract::Parameter>& parameters, bool types) {
  std::string text;
  for (const auto& [type, name] : parameters) text += (text.empty() ? "" : ", ") + (types ? type + " " : "") + name;
  return text;
}

}  // namespace

std::string Contract::declaration() const { return join(parameters, true); }
std::string Contract::arguments() const { return join(parameters, false); }

Contract contract_of(const std::string& slot) {
  const std::string text = texts::kernels_h;
  std::smatch match;
  ASAP_CHECK(std::regex_search(text, match, std::regex("KernelSlot<(\\w+)> " + slot + "\\{")), "kernels.h has no slot '", slot, "'");
  const std::string type = match[1];
  const size_t begin = text.find("using " + type + " = void(");
  ASAP_CHECK(begin != std::string::npos, "kernels.h has no signature ", type);
  const size_t open = text.find('(', begin), close = text.find(");", open);
  Contract contract{.text = paragraph(text, begin), .parameters = {}};
  std::istringstream list(std::regex_replace(text.substr(open + 1, close - open - 1), std::regex(R"(\s+)"), " "));
  for (std::string words; std::getline(list, words, ',');) {
    contract.parameters.push_back(parameter(words));
    std::string& name = contract.parameters.back().name;
    const auto taken = std::count_if(contract.parameters.begin(), contract.parameters.end(), [&](const auto& p) { return p.name == name; });
    if (taken > 1) name += str(taken);  // a second one without a name
  }
  return contract;
}

}  // namespace asap::bench
