// libFuzzer target: any bytes given to the .pth reader are tensors or an asap::Error, tensor by tensor. Bytes that are no
// container are taken for a bare pickle, since a zip's checksums keep a fuzzer from reaching the pickle inside. Built by
// cmake/fuzz.cmake; seeds: tests/golden/*.pth and their pickles (unzip -p odd.pth odd/data.pkl).
#include <cstdlib>
#include <vector>

#include "nn/pth.h"
#include "nn/pth_tensors.h"

namespace {

using namespace asap::nn;

std::unique_ptr<TensorReader> open_bare_pickle(std::span<const uint8_t> bytes) {
  const auto zeros = std::make_shared<std::vector<uint8_t>>();
  return read_pickled_tensors(
      read_pickle(bytes),
      [zeros](const PthStorage& storage, ExpansionBudget& budget) -> std::span<const uint8_t> {
        const size_t element = size_of(*storage.dtype);
        budget.spend(storage.numel, element);
        zeros->assign(static_cast<size_t>(storage.numel) * element, 0);
        return *zeros;
      },
      ExpansionBudget(bytes.size()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> bytes(data, size);
  size_t total = 0;
  try {
    const auto file = looks_like_pth(bytes) ? open_pth(bytes) : open_bare_pickle(bytes);
    for (const size_t i : file->reading_order()) {
      try {
        total += file->read(i).bytes();
        total += file->raw(i).size();
      } catch (const asap::Error&) {  // of this tensor alone
      }
    }
  } catch (const asap::Error&) {
  }
  if (total > 16 * size + (size_t{16} << 20)) std::abort();  // ExpansionBudget's promise
  return 0;
}
