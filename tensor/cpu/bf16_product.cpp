// Which form of bf16_product this machine executes, and AMX's instance of the tiles' kernel. Declared in bf16_product.h.
// Next: bf16_product_tiles.h, bf16_product_avx512.cpp, bf16_product_floats.cpp.
#include "tensor/cpu/bf16_product.h"

#include "tensor/cpu/bf16_product_tiles.h"

namespace asap::cpu {
namespace {

#if defined(__x86_64__)
constexpr Bf16ProductForm kForms[] = {{"floats", Isa::baseline, bf16_product_floats},
                                      {"avx512_bf16", Isa::avx512_bf16, bf16_product_avx512},
                                      {"amx", Isa::amx, bf16_product_tiles<AmxTiles>}};

thread_local int tile_scopes = 0;  // that this thread is in
#else
constexpr Bf16ProductForm kForms[] = {{"floats", Isa::baseline, bf16_product_floats}};
#endif

auto best_form() {
  const Bf16ProductForm* best = kForms;
  for (const auto& form : kForms) {
    if (isa() >= form.needs) best = &form;
  }
  return best->product;
}

}  // namespace

std::span<const Bf16ProductForm> bf16_product_forms() { return kForms; }

void bf16_product(const Bf16Product& p) {
  static const auto product = best_form();
  product(p);
}

#if defined(__x86_64__)
ScopedTiles::ScopedTiles() {
  if (isa() >= Isa::amx && tile_scopes++ == 0) AmxTiles::configure();
}
ScopedTiles::~ScopedTiles() {
  if (isa() >= Isa::amx && --tile_scopes == 0) AmxTiles::release();
}
#else
ScopedTiles::ScopedTiles() = default;
ScopedTiles::~ScopedTiles() = default;
#endif

}  // namespace asap::cpu
