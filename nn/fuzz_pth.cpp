// libFuzzer target: any bytes given to the .pth reader are tensors or an asap::Error. Bytes that are no container are
// taken for a bare pickle, since a zip's checksums keep a fuzzer from reaching the pickle inside. Built by
// cmake/fuzz.cmake; seeds: tests/golden/*.pth and their pickles (unzip -p odd.pth odd/data.pkl).
#include <cstdlib>
#include <vector>

#include "nn/pth.h"
#include "nn/pth_tensors.h"

namespace {

using namespace asap::nn;

StateDict parse_bare_pickle(std::span<const uint8_t> bytes) {
  const Pickle pickle = read_pickle(bytes);
  ExpansionBudget budget(bytes.size());
  std::vector<uint8_t> zeros;
  return read_tensors(
      pickle,
      [&](const PthStorage& storage) -> std::span<const uint8_t> {
        const size_t element = size_of(*storage.dtype);
        budget.spend(storage.numel, element);
        zeros.assign(static_cast<size_t>(storage.numel) * element, 0);
        return zeros;
      },
      budget);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> bytes(data, size);
  try {
    const StateDict state = looks_like_pth(bytes) ? parse_pth(bytes) : parse_bare_pickle(bytes);
    size_t total = 0;
    for (const auto& [name, tensor] : state) total += tensor.bytes();
    if (total > 16 * size + (size_t{16} << 20)) std::abort();  // ExpansionBudget's promise
  } catch (const asap::Error&) {
  }
  return 0;
}
