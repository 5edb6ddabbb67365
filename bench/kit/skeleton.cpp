// Fills in the skeleton. Declared in skeleton.h.
#include "bench/kit/skeleton.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "bench/kit/contract.h"
#include "bench/kit/texts.h"
#include "tensor/kernel_slot.h"

namespace asap::bench {
namespace {

namespace fs = std::filesystem;

// %NAME% becomes the word that `words` has for NAME.
std::string filled(const std::string& text, const std::map<std::string, std::string>& words) {
  std::string result;
  size_t at = 0;
  for (size_t open; (open = text.find('%', at)) != std::string::npos;) {
    const size_t close = text.find('%', open + 1);
    result += text.substr(at, open - at) + words.at(text.substr(open + 1, close - open - 1));
    at = close + 1;
  }
  return result + text.substr(at);
}

std::string commented(const std::string& text) {
  std::istringstream lines(text);
  std::string result;
  for (std::string line; std::getline(lines, line);) result += (line.starts_with("//") ? "" : "//   ") + line + "\n";
  return result;
}

}  // namespace

std::vector<std::string> write_kernel_skeleton(const std::string& slot, Device device, const std::string& folder) {
  find_kernel_slot(slot);
  const Contract contract = contract_of(slot);
  const fs::path place = fs::absolute(folder).lexically_normal();
  const std::string name = (place.has_filename() ? place : place.parent_path()).filename();
  ASAP_CHECK(std::regex_match(name, std::regex("[A-Za-z_]\\w*")), folder, ": '", name,
             "' is to name the kernel in C++, too: letters, digits and _, no digit first");
  const std::string extension = device == Device::cuda ? "cu" : "cpp";
  const std::map<std::string, std::string> words{{"SLOT", slot},
                                                 {"NAME", name},
                                                 {"EXTENSION", extension},
                                                 {"CONTRACT", commented(contract.text)},
                                                 {"DECLARATION", contract.declaration()},
                                                 {"ARGUMENTS", contract.arguments()}};
  const std::map<fs::path, std::string> files{
      {place / "CMakeLists.txt", filled(texts::skeleton_cmake, words)},
      {place / (name + "." + extension), filled(device == Device::cuda ? texts::skeleton_cu : texts::skeleton_cpp, words)}};
  for (const auto& [path, text] : files) {
    ASAP_CHECK(!fs::exists(path), path.string(), " is there already; choose another folder, or remove it first");
  }
  fs::create_directories(place);
  std::vector<std::string> written;
  for (const auto& [path, text] : files) {
    std::ofstream file(path);
    ASAP_CHECK(file << text << std::flush, path.string(), ": cannot be written");
    written.push_back(path);
  }
  return written;
}

}  // namespace asap::bench
