// Declared in shared_state.h.
#include "train/run/shared_state.h"

#include <zlib.h>

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "tensor/cpu/isa.h"
#include "train/run/checkpoint.h"

namespace asap::train {
namespace {

// CRC-32 of what is added, one after the other.
class Checksum {
 public:
  void add(const void* bytes, size_t count) { sum_ = crc32_z(sum_, static_cast<const Bytef*>(bytes), count); }
  void add(const std::string& text) { add(text.c_str(), text.size() + 1); }
  void add(const nn::StateDict& state) {
    for (const auto& [name, tensor] : state) {
      const Tensor here = tensor.to(Device::cpu).contiguous();
      add(here.raw(), here.bytes());
    }
  }
  std::string text() const {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08lx", static_cast<unsigned long>(sum_));
    return digits;
  }

 private:
  uLong sum_ = 0;
};

}  // namespace

void check_same_program(const Ranks& ranks) {
  if (ranks.alone()) return;
  ranks.check_alike("programs", "checksum " + file_checksum("/proc/self/exe"), "install one build of asapnet on all hosts");
  ranks.check_alike("instruction sets", cpu::name(cpu::isa()), "give all of them one that every host has, such as ASAP_ISA=avx2");
}

void check_same_data(const Ranks& ranks, const std::vector<Pair>& pairs) {
  if (ranks.alone()) return;
  constexpr size_t kLookedInto = 16;
  Checksum names, contents;
  for (const Pair& pair : pairs) names.add(pair.name);
  for (size_t i = 0; i < std::min(kLookedInto, pairs.size()); ++i) {
    const Pair& pair = pairs[i * pairs.size() / std::min(kLookedInto, pairs.size())];
    for (const auto& file : {pair.label, pair.image, pair.instance})
      if (!file.empty()) contents.add(file_checksum(file));
  }
  const char* remedy = "all must read the same pictures";
  ranks.check_alike("data sets", str(pairs.size(), " pairs, checksum of their names ", names.text()), remedy);
  ranks.check_alike("pictures", "checksum " + contents.text(), remedy);
}

void check_same_weights(const Ranks& ranks, asapnet::AsapNet& model) {
  if (ranks.alone()) return;
  Checksum sum;
  sum.add(model.generator().state_dict());
  sum.add(model.discriminator().state_dict());
  if (model.encoder()) sum.add(model.encoder()->state_dict());
  ranks.check_alike("weights", "checksum " + sum.text(), "something computes wrongly there, or was changed on the way");
}

// One line a tensor tells of its name, type and shape; the numbers follow.
nn::StateDict broadcast(const Ranks& ranks, const nn::StateDict& mine) {
  if (ranks.alone()) return mine;
  std::ostringstream list;
  for (const auto& [name, tensor] : mine) {
    list << name << ' ' << static_cast<int>(tensor.dtype()) << ' ' << tensor.rank();
    for (const int64_t size : tensor.shape()) list << ' ' << size;
    list << '\n';
  }
  std::istringstream lines(ranks.broadcast(list.str()));
  nn::StateDict shared;
  std::string name;
  for (int dtype = 0, rank = 0; lines >> name >> dtype >> rank;) {
    Shape shape;
    for (int64_t size = 0; shape.rank() < rank && lines >> size;) shape.push_back(size);
    Tensor tensor = Tensor::empty(shape, static_cast<DType>(dtype));
    if (ranks.is_first()) tensor.copy_from(*mine.find(name));
    asap::broadcast(ranks.world(), tensor);
    shared.set(name, tensor);
  }
  return shared;
}

void share_state(const Ranks& ranks, asapnet::AsapNet& model, asapnet::GanStep& gan) {
  if (ranks.alone()) return;
  const auto share = [&](auto& holder) { holder.load_state_dict(broadcast(ranks, holder.state_dict()), "rank 0's state"); };
  share(model.generator());
  share(model.discriminator());
  if (model.encoder()) share(*model.encoder());
  if (gan.average()) share(*gan.average());
  share(gan.generator_optimizer());
  share(gan.discriminator_optimizer());
  gan.noise().offset = std::stoull(ranks.broadcast(std::to_string(gan.noise().offset)));
}

}  // namespace asap::train
