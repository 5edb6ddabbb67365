// Options as JSON, driven by the option table. Declared in config_json.h.
#include "train/options/config_json.h"

#include <algorithm>

#include "nn/json_text.h"
#include "train/files/whole_files.h"
#include "train/options/nearest.h"

namespace asap::train {
namespace {

using Json = nlohmann::ordered_json;

bool is_model_group(OptionGroup group) {
  return group == OptionGroup::input || group == OptionGroup::generator || group == OptionGroup::discriminator ||
         group == OptionGroup::encoder || group == OptionGroup::losses;
}

Json value_to_json(const OptionField& field) {
  if (auto* v = std::get_if<bool*>(&field.value)) return **v;
  if (auto* v = std::get_if<int64_t*>(&field.value)) return **v;
  if (auto* v = std::get_if<double*>(&field.value)) return **v;
  return to_text(field);
}

// Numbers of steps may stand as numbers; everything else must have the field's own type.
bool type_fits(const OptionField& field, const nlohmann::json& value) {
  if (std::holds_alternative<bool*>(field.value)) return value.is_boolean();
  if (std::holds_alternative<int64_t*>(field.value)) return value.is_number_integer();
  if (std::holds_alternative<double*>(field.value)) return value.is_number();
  if (std::holds_alternative<Every*>(field.value)) return value.is_string() || value.is_number_integer();
  return value.is_string();
}

void set_from_json(OptionField field, const nlohmann::json& value, const std::string& source) {
  field.flag = source + ": " + field.key;
  ASAP_CHECK(type_fits(field, value), field.flag, ": expected ", expected_value(field), ", got ",
             nn::printable(value.dump()));
  const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  set_from_text(field, std::holds_alternative<std::string*>(field.value) ? text : nn::printable(text));
}

nlohmann::json parse_object(const std::string& text, const std::string& source) {
  nlohmann::json object = nn::with_prefix(source, [&] { return nn::parse_json(text); });
  ASAP_CHECK(object.is_object(), source, ": expected a JSON object {\"option\": value, ...}, found ", object.type_name());
  return object;
}

}  // namespace

std::string options_to_json(const Options& options) {
  Options copy = options;
  Json object = Json::object();
  for (const OptionField& field : option_fields(copy)) object[field.key] = value_to_json(field);
  return object.dump(2) + "\n";
}

std::string config_to_json(const asapnet::Config& config) {
  Options options{.model = config, .train = {}};
  Json object = Json::object();
  for (const OptionField& field : option_fields(options)) {
    if (is_model_group(field.group)) object[field.key] = value_to_json(field);
  }
  return object.dump();
}

void options_from_json(const std::string& text, const std::string& source, Options& options) {
  const nlohmann::json object = parse_object(text, source);
  const auto fields = option_fields(options);
  std::vector<std::string> known;
  for (const OptionField& field : fields) known.push_back(field.key);
  for (const auto& [key, value] : object.items()) {
    const auto place = std::find(known.begin(), known.end(), key);
    ASAP_CHECK(place != known.end(), source, ": ", unknown_option(nn::printable(key), known));
    set_from_json(fields[static_cast<size_t>(place - known.begin())], value, source);
  }
}

void options_from_json_file(const std::filesystem::path& path, Options& options) {
  const auto bytes = read_file(path);
  options_from_json(std::string(bytes.begin(), bytes.end()), path.string(), options);
}

}  // namespace asap::train
