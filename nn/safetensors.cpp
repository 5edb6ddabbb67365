// Reading trusts nothing: the header goes through a SAX handler that accepts the format's structure only, so no JSON
// tree is ever built and nesting cannot grow; every number is checked before use. Declared in safetensors.h.
#include "nn/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "nn/file_dtype.h"
#include "nn/file_io.h"

namespace asap::nn {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kLargestHeader = 100'000'000;
constexpr size_t kMostNumbers = 64;  // dimensions that a tensor may have in PyTorch
constexpr const char* kMetadataKey = "__metadata__";

// One tensor as the header describes it.
struct Entry {
  std::string name;
  std::string dtype;
  std::vector<int64_t> sizes, offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

// Receives the header's JSON event by event. Structure, by depth:
//   1 { name: , ... }    2 { "dtype": "F32", "shape": [, "data_offsets": [ }  or  __metadata__ { text: text }    3 [ integers ]
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;

  bool start_object(size_t) override {
    ASAP_CHECK(depth_ < 2 && numbers_ == nullptr && (depth_ == 0 || expecting_value_), unexpected("an object"));
    ++depth_;
    expecting_value_ = false;
    return true;
  }

  bool key(std::string& name) override {
    expecting_value_ = true;
    key_ = name;
    if (depth_ == 1) return begin_entry(name);
    if (in_metadata_) {
      ASAP_CHECK(!metadata.contains(name), "header: metadata '", printable(name), "' appears twice");
      return true;
    }
    return begin_field(name);
  }

  bool end_object() override {
    if (depth_-- == 2 && !in_metadata_) {
      const Entry& entry = entries.back();
      ASAP_CHECK(entry.has_dtype && entry.has_shape && entry.has_offsets, "tensor '", printable(entry.name),
                 "': expected dtype, shape and data_offsets in the header, one is missing");
    }
    return true;
  }

  bool string(std::string& text) override {
    const bool is_dtype = depth_ == 2 && !in_metadata_ && key_ == "dtype" && expecting_value_;
    ASAP_CHECK(is_dtype || (depth_ == 2 && in_metadata_), unexpected("a string"));
    (is_dtype ? entries.back().dtype : metadata[key_]) = text;
    expecting_value_ = false;
    return true;
  }

  bool start_array(size_t) override {
    const bool fits = depth_ == 2 && !in_metadata_ && key_ != "dtype" && expecting_value_ && numbers_ == nullptr;
    ASAP_CHECK(fits, unexpected("an array"));
    numbers_ = key_ == "shape" ? &entries.back().sizes : &entries.back().offsets;
    expecting_value_ = false;
    return true;
  }

  bool end_array() override {
    numbers_ = nullptr;
    return true;
  }

  bool number_unsigned(uint64_t number) override {
    ASAP_CHECK(numbers_ != nullptr, unexpected("a number"));
    ASAP_CHECK(std::in_range<int64_t>(number), unexpected("a number beyond 63 bits"));
    ASAP_CHECK(numbers_->size() < kMostNumbers, unexpected(str("more than ", kMostNumbers, " numbers")));
    numbers_->push_back(static_cast<int64_t>(number));
    return true;
  }

  bool number_integer(int64_t number) override { fail(unexpected(str("the negative number ", number))); }
  bool number_float(double, const std::string& text) override { fail(unexpected("the number " + printable(text))); }
  bool null() override { fail(unexpected("null")); }
  bool boolean(bool) override { fail(unexpected("a boolean")); }
  bool binary(binary_t&) override { fail(unexpected("binary data")); }
  bool parse_error(size_t place, const std::string&, const nlohmann::detail::exception&) override {
    fail("the header is not valid JSON (at its byte ", place, ")");
  }

 private:
  bool begin_entry(const std::string& name) {
    ASAP_CHECK(names_.insert(name).second, "header: '", printable(name), "' appears twice");
    in_metadata_ = name == kMetadataKey;
    if (!in_metadata_) entries.emplace_back().name = name;
    return true;
  }

  bool begin_field(const std::string& name) {
    Entry& entry = entries.back();
    bool* seen = name == "dtype"          ? &entry.has_dtype
                 : name == "shape"        ? &entry.has_shape
                 : name == "data_offsets" ? &entry.has_offsets
                                          : nullptr;
    ASAP_CHECK(seen != nullptr, "tensor '", printable(entry.name), "': expected dtype, shape and data_offsets, got '",
               printable(name), "'");
    ASAP_CHECK(!*seen, "tensor '", printable(entry.name), "': ", name, " appears twice");
    return *seen = true;
  }

  std::string unexpected(const std::string& what) const {
    const std::string place = depth_ == 2 && !in_metadata_ ? entries.back().name + "." + key_ : key_;
    return str("header: ", what, " is not expected at '", printable(place), "'");
  }

  std::unordered_set<std::string> names_;
  std::string key_;
  std::vector<int64_t>* numbers_ = nullptr;  // where an open array's numbers go
  int depth_ = 0;
  bool in_metadata_ = false;
  bool expecting_value_ = false;  // a key came, its value has not
};

uint64_t header_length(std::span<const uint8_t> bytes) {
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  return length;
}

// A tensor's entry, checked in itself: its bytes lie in the file and, if its dtype is known, are as many as it needs.
struct Placed {
  size_t entry = 0;
  std::optional<FileDType> dtype;
  int64_t begin = 0, end = 0;  // in the data behind the header
};

Placed check_entry(const Entry& entry, size_t index, int64_t data_bytes) {
  const auto dtype = file_dtype_of_safetensors(entry.dtype);
  ASAP_CHECK(entry.offsets.size() == 2, "expected two data_offsets, got ", entry.offsets.size());
  const Placed placed{index, dtype, entry.offsets[0], entry.offsets[1]};
  ASAP_CHECK(placed.begin <= placed.end && placed.end <= data_bytes, "data_offsets ", placed.begin, " to ", placed.end,
             " do not lie within the file's ", data_bytes, " bytes of data");
  if (!dtype) return placed;
  check_sizes(entry.sizes);
  int64_t needed = 0;
  const bool overflows =
      __builtin_mul_overflow(element_count(entry.sizes), static_cast<int64_t>(size_of(*dtype)), &needed);
  ASAP_CHECK(!overflows && placed.end - placed.begin == needed, "shape ", shape_text(entry.sizes), " of ", entry.dtype,
             " does not take the ", placed.end - placed.begin, " bytes that data_offsets give it");
  return placed;
}

// The data must be covered without gap or overlap.
void check_cover(std::vector<Placed> tensors, const std::vector<Entry>& entries, int64_t data_bytes) {
  std::sort(tensors.begin(), tensors.end(),
            [](const Placed& a, const Placed& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  int64_t covered = 0;
  for (const Placed& tensor : tensors) {
    ASAP_CHECK(tensor.begin == covered, "tensor '", printable(entries[tensor.entry].name), "': its data starts at ",
               tensor.begin, tensor.begin < covered ? ", overlapping another's that ends at " : ", leaving a gap after ",
               covered);
    covered = tensor.end;
  }
  ASAP_CHECK(covered == data_bytes, "expected ", covered, " bytes of data behind the header, found ", data_bytes);
}

HeaderReader read_header(std::span<const uint8_t> header) {
  ASAP_CHECK(!header.empty() && header.front() == '{', "expected the header to start with '{'");
  HeaderReader reader;
  nlohmann::json::sax_parse(header.begin(), header.end(), &reader);
  return reader;
}

std::span<const uint8_t> as_bytes(const void* data, size_t count) {
  return {static_cast<const uint8_t*>(data), count};
}

// Where a tensor that is to be written lies in memory.
struct ToWrite {
  std::string name, dtype;
  std::vector<int64_t> sizes;
  std::span<const uint8_t> bytes;
};

std::string as_json(const nlohmann::json& value) {
  try {
    return value.dump();
  } catch (const nlohmann::json::exception&) {
    fail("expected names and metadata in UTF-8");
  }
}

// Header text, padded with spaces so that the data starts at a multiple of 8. Put together by hand, in the order given:
// a JSON tree that keeps an order takes quadratic time.
std::string build_header(const std::vector<ToWrite>& tensors, const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) text += as_json(kMetadataKey) + ":" + as_json(metadata);
  size_t place = 0;
  for (const ToWrite& tensor : tensors) {
    ASAP_CHECK(tensor.name != kMetadataKey, "a tensor cannot be named ", kMetadataKey);
    if (text.size() > 1) text += ",";
    text += as_json(tensor.name) + ":{\"dtype\":" + as_json(tensor.dtype) + ",\"shape\":" + as_json(tensor.sizes) +
            ",\"data_offsets\":[" + std::to_string(place) + "," + std::to_string(place + tensor.bytes.size()) + "]}";
    place += tensor.bytes.size();
  }
  text += "}";
  text.append((kLengthBytes - text.size() % kLengthBytes) % kLengthBytes, ' ');
  return text;
}

void write_tensors(const std::filesystem::path& path, const std::vector<ToWrite>& tensors,
                   const std::map<std::string, std::string>& metadata) {
  const std::string header = with_prefix(path.string(), [&] { return build_header(tensors, metadata); });
  const uint64_t length = header.size();
  std::vector<std::span<const uint8_t>> pieces = {as_bytes(&length, sizeof(length)), as_bytes(header.data(), length)};
  for (const ToWrite& tensor : tensors) pieces.push_back(tensor.bytes);
  write_file(path, pieces);
}

class SafetensorsReader : public TensorReader {
 public:
  explicit SafetensorsReader(std::span<const uint8_t> bytes) {
    ASAP_CHECK(bytes.size() >= kLengthBytes, "truncated: expected at least ", kLengthBytes, " bytes, found ",
               bytes.size());
    const uint64_t length = header_length(bytes);
    ASAP_CHECK(length <= kLargestHeader, "expected a header of at most ", kLargestHeader, " bytes, its length says ",
               length);
    ASAP_CHECK(length <= bytes.size() - kLengthBytes, "truncated: expected a header of ", length, " bytes, found ",
               bytes.size() - kLengthBytes);
    HeaderReader header = read_header(bytes.subspan(kLengthBytes, length));
    data_ = bytes.subspan(kLengthBytes + length);
    const auto data_bytes = static_cast<int64_t>(data_.size());
    for (const Entry& entry : header.entries) {
      with_prefix("tensor '" + printable(entry.name) + "'",
                  [&] { placed_.push_back(check_entry(entry, placed_.size(), data_bytes)); });
    }
    check_cover(placed_, header.entries, data_bytes);
    for (const Placed& tensor : placed_) {
      const Entry& entry = header.entries[tensor.entry];
      const std::string dtype = tensor.dtype ? name(*tensor.dtype) : entry.dtype;
      const bool readable = tensor.dtype && is_readable(*tensor.dtype);
      order_.push_back(order_.size());
      tensors_.push_back({entry.name, dtype, entry.dtype, entry.sizes,
                          readable ? "" : "dtype " + printable(dtype) + " is not supported"});
    }
    metadata_ = std::move(header.metadata);
  }

 private:
  Tensor read_values(size_t index) override {
    const Shape shape = checked_shape(tensors_[index].sizes);
    return read_view(bytes_of(index), {*placed_[index].dtype, shape, contiguous_strides(shape)});
  }
  std::vector<uint8_t> read_raw(size_t index) override {
    const auto bytes = bytes_of(index);
    return {bytes.begin(), bytes.end()};
  }
  std::span<const uint8_t> bytes_of(size_t index) const {
    const Placed& tensor = placed_[index];
    return data_.subspan(static_cast<size_t>(tensor.begin), static_cast<size_t>(tensor.end - tensor.begin));
  }

  std::span<const uint8_t> data_;
  std::vector<Placed> placed_;
};

}  // namespace

bool looks_like_safetensors(std::span<const uint8_t> bytes) {
  return bytes.size() > kLengthBytes && bytes[kLengthBytes] == '{';
}

std::unique_ptr<TensorReader> open_safetensors(std::span<const uint8_t> bytes) {
  return std::make_unique<SafetensorsReader>(bytes);
}

void write_safetensors(const std::filesystem::path& path, const StateDict& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<Tensor> packed;  // keeps the bytes alive until they are written
  std::vector<ToWrite> to_write;
  for (const auto& [name, tensor] : tensors) {
    ASAP_CHECK(tensor.defined(), path.string(), ": tensor '", printable(name), "' is undefined");
    packed.push_back(tensor.contiguous().to(Device::cpu));
    to_write.push_back({name, safetensors_name(tensor.dtype()), {tensor.shape().begin(), tensor.shape().end()},
                        as_bytes(packed.back().raw(), packed.back().bytes())});
  }
  write_tensors(path, to_write, metadata);
}

void write_safetensors(const std::filesystem::path& path, const std::vector<RawTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<ToWrite> to_write;
  for (const RawTensor& tensor : tensors) to_write.push_back({tensor.name, tensor.dtype, tensor.sizes, tensor.bytes});
  write_tensors(path, to_write, metadata);
}

}  // namespace asap::nn
