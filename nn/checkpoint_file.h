// A checkpoint of either format, told apart by its content, not by its name. Next: network_weights.h (one network's
// tensors in a file that may hold more), module.h (load_state_dict).
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "nn/file_io.h"
#include "nn/tensor_reader.h"

namespace asap::nn {

// The tensors of a safetensors file (safetensors.h) or a PyTorch .pth file (pth.h). asap::Error naming the file: as
// those two, and "not a checkpoint" when it is neither.
StateDict read_state_dict(const std::filesystem::path& path);

// The same file, open: its tensors one by one, or none at all. It stays where it is, mapped (MappedFile).
class CheckpointFile {
 public:
  explicit CheckpointFile(const std::filesystem::path& path);
  // Of bytes that stay where they are; errors call them `name`.
  CheckpointFile(std::span<const uint8_t> bytes, const std::string& name);

  const std::filesystem::path& path() const { return path_; }
  size_t bytes() const { return bytes_.size(); }
  // Gives back the memory that reading took (MappedFile): for who reads tensor by tensor.
  void let_go() const {
    if (file_) file_->let_go();
  }
  const char* format() const { return is_pth_ ? "PyTorch .pth" : "safetensors"; }
  const TensorReader& contents() const { return *reader_; }
  TensorReader& contents() { return *reader_; }

 private:
  void open();

  std::filesystem::path path_;
  std::optional<MappedFile> file_;
  std::span<const uint8_t> bytes_;
  bool is_pth_ = false;
  std::unique_ptr<TensorReader> reader_;
};

// asap::Error naming the source and the first tensor that holds NaN or infinity: numbers that a network would pass on
// to everything it makes. Integers are what they are.
void check_finite(const StateDict& state, const std::string& source);
void check_finite(const Tensor& tensor, const std::string& name, const std::string& source);
// True if a floating tensor on the CPU has none of them.
bool is_finite(const Tensor& x);

}  // namespace asap::nn
