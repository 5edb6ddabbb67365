// Asks the processor (CPUID), the operating system (XCR0: which registers it saves) and, for AMX's tiles, Linux's permission.
// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapters 14, 15 and 18.
#include "tensor/cpu/isa.h"

#include <cstdlib>

#include "tensor/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace asap::cpu {
namespace {

constexpr Isa kAll[] = {Isa::baseline, Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx};

#if defined(__x86_64__)
struct Cpuid {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  Cpuid(unsigned leaf, unsigned part) {
    if (!__get_cpuid_count(leaf, part, &eax, &ebx, &ecx, &edx)) *this = {};
  }
  Cpuid() = default;
};

bool has(unsigned word, unsigned bits) { return (word & bits) == bits; }

unsigned saved_registers() {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// A process must ask for the tiles before it uses them; the kernel of the operating system then saves them too.
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

Isa detect() {
  constexpr unsigned kFma = 1u << 12, kOsxsave = 1u << 27, kAvx = 1u << 28, kF16c = 1u << 29;
  constexpr unsigned kAvx2 = 1u << 5, kBmi = 1u << 3, kBmi2 = 1u << 8;
  constexpr unsigned kAvx512 = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31;  // F, DQ, CD, BW, VL
  constexpr unsigned kAvx512Bf16 = 1u << 5, kAmx = 1u << 22 | 1u << 24;               // AMX-BF16, AMX-TILE
  constexpr unsigned kYmm = 0x6, kZmm = 0xE6, kTiles = 0x60000;
  const Cpuid first(1, 0), seventh(7, 0), more(7, 1);
  if (!has(first.ecx, kFma | kOsxsave | kAvx | kF16c) || !has(seventh.ebx, kAvx2 | kBmi | kBmi2)) return Isa::baseline;
  const unsigned saved = saved_registers();
  if (!has(saved, kYmm)) return Isa::baseline;
  if (!has(seventh.ebx, kAvx512) || !has(saved, kZmm)) return Isa::avx2;
  if (!has(more.eax, kAvx512Bf16)) return Isa::avx512;
  return has(seventh.edx, kAmx) && has(saved, kTiles) && may_use_tiles() ? Isa::amx : Isa::avx512_bf16;
}
#else
Isa detect() { return Isa::baseline; }
#endif

Isa chosen() {
  const char* wanted = std::getenv("ASAP_ISA");
  if (!wanted || !*wanted) return best_isa();
  for (const Isa isa : kAll) {
    if (std::string(wanted) != name(isa)) continue;
    ASAP_CHECK(isa <= best_isa(), "ASAP_ISA: this machine has no ", wanted, "; its best is ", name(best_isa()));
    return isa;
  }
  fail("ASAP_ISA: expected baseline, avx2, avx512, avx512_bf16 or amx, got '", wanted, "'");
}

}  // namespace

const char* name(Isa isa) {
  static constexpr const char* names[] = {"baseline", "avx2", "avx512", "avx512_bf16", "amx"};
  return names[static_cast<int>(isa)];
}

Isa best_isa() {
  static const Isa best = detect();
  return best;
}

Isa isa() {
  static const Isa isa = chosen();
  return isa;
}

}  // namespace asap::cpu
