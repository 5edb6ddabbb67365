// The names of precisions. Declared in precision.h.
#include "tensor/precision.h"

#include "tensor/error.h"

namespace asap {

const char* name(Precision precision) {
  constexpr const char* names[] = {"f32", "tf32", "bf16"};
  return names[static_cast<int>(precision)];
}

Precision parse_precision(const std::string& text) {
  for (const Precision precision : {Precision::f32, Precision::tf32, Precision::bf16}) {
    if (text == name(precision)) return precision;
  }
  fail("precision: expected f32, tf32 or bf16, got '", text, "'");
}

}  // namespace asap
