// ZipArchive over libzip. Declared in pth_zip.h.
#include "nn/pth_zip.h"

#include <zip.h>

#include "nn/file_io.h"
#include "tensor/error.h"

namespace asap::nn {
namespace {

struct FileCloser {
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};

// A zip_error_t that frees its text.
struct ZipError {
  zip_error_t value;
  ZipError() { zip_error_init(&value); }
  ~ZipError() { zip_error_fini(&value); }
  ZipError(const ZipError&) = delete;
  ZipError& operator=(const ZipError&) = delete;
};

}  // namespace

struct ZipArchive::Impl {
  zip_t* archive = nullptr;
  ~Impl() {
    if (archive) zip_discard(archive);
  }

  // An unknown entry, or one without a size, gives nothing.
  std::optional<uint64_t> size_at(zip_int64_t index) const {
    zip_stat_t info;
    zip_stat_init(&info);
    const bool known = index >= 0 && zip_stat_index(archive, static_cast<zip_uint64_t>(index), 0, &info) == 0;
    return known && (info.valid & ZIP_STAT_SIZE) ? std::optional<uint64_t>(info.size) : std::nullopt;
  }
};

ZipArchive::ZipArchive(std::span<const uint8_t> bytes) : impl_(std::make_unique<Impl>()) {
  ZipError error;
  zip_source_t* source = zip_source_buffer_create(bytes.data(), bytes.size(), 0, &error.value);
  ASAP_CHECK(source != nullptr, "zip: ", zip_error_strerror(&error.value));
  impl_->archive = zip_open_from_source(source, ZIP_RDONLY, &error.value);
  if (impl_->archive) return;  // the archive owns the source now
  zip_source_free(source);
  ASAP_CHECK(zip_error_code_zip(&error.value) != ZIP_ER_NOZIP, "truncated: the zip directory is missing");
  fail("damaged: the zip directory cannot be read (", zip_error_strerror(&error.value), ")");
}

ZipArchive::~ZipArchive() = default;

std::optional<std::string> ZipArchive::find_ending(const std::string& ending) const {
  const zip_int64_t count = zip_get_num_entries(impl_->archive, 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    const char* name = zip_get_name(impl_->archive, static_cast<zip_uint64_t>(i), ZIP_FL_ENC_RAW);
    if (name != nullptr && std::string_view(name).ends_with(ending)) return name;
  }
  return std::nullopt;
}

std::optional<uint64_t> ZipArchive::size_of(const std::string& name) const {
  return impl_->size_at(zip_name_locate(impl_->archive, name.c_str(), ZIP_FL_ENC_RAW));
}

std::vector<uint8_t> ZipArchive::read(const std::string& name) const {
  const zip_int64_t index = zip_name_locate(impl_->archive, name.c_str(), ZIP_FL_ENC_RAW);
  const auto size = impl_->size_at(index);
  ASAP_CHECK(size, "the zip has no entry ", printable(name));
  const std::unique_ptr<zip_file_t, FileCloser> file(
      zip_fopen_index(impl_->archive, static_cast<zip_uint64_t>(index), 0));
  ASAP_CHECK(file != nullptr, "zip entry ", printable(name), ": ", zip_strerror(impl_->archive));
  std::vector<uint8_t> content(*size + 1);  // the byte too many makes libzip reach the end and check the sum
  size_t done = 0;
  while (done < content.size()) {
    const zip_int64_t count = zip_fread(file.get(), content.data() + done, content.size() - done);
    ASAP_CHECK(count >= 0, "zip entry ", printable(name), ": ", zip_file_strerror(file.get()));
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  ASAP_CHECK(done == *size, "zip entry ", printable(name), ": expected ", *size, " bytes, found ",
             done > *size ? "more" : std::to_string(done));
  content.resize(done);
  return content;
}

}  // namespace asap::nn
