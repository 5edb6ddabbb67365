// Chooses the reader of a checkpoint. Declared in checkpoint_file.h.
#include "nn/checkpoint_file.h"

#include "nn/file_io.h"
#include "nn/pth.h"
#include "nn/safetensors.h"

namespace asap::nn {

StateDict read_state_dict(const std::filesystem::path& path) {
  const std::vector<uint8_t> bytes = read_file(path);
  return with_prefix(path.string(), [&] {
    if (looks_like_pth(bytes)) return parse_pth(bytes);
    ASAP_CHECK(looks_like_safetensors(bytes), "not a checkpoint (expected safetensors or PyTorch .pth",
               bytes.empty() ? ", the file is empty)" : ")");
    return parse_safetensors(bytes).tensors;
  });
}

}  // namespace asap::nn
