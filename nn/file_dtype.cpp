// The table of element types and the conversion of their bytes. Declared in file_dtype.h.
#include "nn/file_dtype.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

namespace asap::nn {
namespace {

static_assert(std::endian::native == std::endian::little, "checkpoint files are read and written little-endian");

struct DTypeRow {
  FileDType dtype;
  size_t bytes;
  std::optional<DType> in_memory;
  const char* torch;
  const char* safetensors;    // "" where the format has no such type
  const char* torch_storage;  // "" where PyTorch has no such storage class
};

// In the order of FileDType.
constexpr DTypeRow kTable[] = {
    {FileDType::f64, 8, DType::f64, "float64", "F64", "DoubleStorage"},
    {FileDType::f32, 4, DType::f32, "float32", "F32", "FloatStorage"},
    {FileDType::f16, 2, DType::f32, "float16", "F16", "HalfStorage"},
    {FileDType::bf16, 2, DType::f32, "bfloat16", "BF16", "BFloat16Storage"},
    {FileDType::i64, 8, DType::i32, "int64", "I64", "LongStorage"},
    {FileDType::i32, 4, DType::i32, "int32", "I32", "IntStorage"},
    {FileDType::i16, 2, DType::i32, "int16", "I16", "ShortStorage"},
    {FileDType::i8, 1, DType::i32, "int8", "I8", "CharStorage"},
    {FileDType::u64, 8, DType::i32, "uint64", "U64", ""},
    {FileDType::u32, 4, DType::i32, "uint32", "U32", ""},
    {FileDType::u16, 2, DType::i32, "uint16", "U16", ""},
    {FileDType::u8, 1, DType::u8, "uint8", "U8", "ByteStorage"},
    {FileDType::boolean, 1, DType::u8, "bool", "BOOL", "BoolStorage"},
    {FileDType::c32, 4, {}, "complex32", "", ""},
    {FileDType::c64, 8, {}, "complex64", "C64", "ComplexFloatStorage"},
    {FileDType::c128, 16, {}, "complex128", "", "ComplexDoubleStorage"},
    {FileDType::f8_e4m3fn, 1, {}, "float8_e4m3fn", "F8_E4M3", ""},
    {FileDType::f8_e5m2, 1, {}, "float8_e5m2", "F8_E5M2", ""},
    {FileDType::f8_e4m3fnuz, 1, {}, "float8_e4m3fnuz", "F8_E4M3FNUZ", ""},
    {FileDType::f8_e5m2fnuz, 1, {}, "float8_e5m2fnuz", "F8_E5M2FNUZ", ""},
    {FileDType::f8_e8m0fnu, 1, {}, "float8_e8m0fnu", "F8_E8M0", ""},
    {FileDType::f4_e2m1fn_x2, 1, {}, "float4_e2m1fn_x2", "", ""},
    {FileDType::qint8, 1, {}, "qint8", "", "QInt8Storage"},
    {FileDType::quint8, 1, {}, "quint8", "", "QUInt8Storage"},
    {FileDType::qint32, 4, {}, "qint32", "", "QInt32Storage"},
    {FileDType::quint4x2, 1, {}, "quint4x2", "", "QUInt4x2Storage"},
    {FileDType::quint2x4, 1, {}, "quint2x4", "", "QUInt2x4Storage"},
};

const DTypeRow& row_of(FileDType dtype) { return kTable[static_cast<size_t>(dtype)]; }

std::optional<FileDType> find_row(std::string_view name, const char* const DTypeRow::*column) {
  for (const DTypeRow& row : kTable) {
    if (!name.empty() && name == row.*column) return row.dtype;
  }
  return std::nullopt;
}

// IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 mantissa bits.
float widen_f16(uint16_t half) {
  const uint32_t sign = uint32_t{half} >> 15 << 31, exponent = half >> 10 & 31, mantissa = half & 1023;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, exact in f32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  const uint32_t wide_exponent = exponent == 31 ? 255 : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide_exponent << 23 | mantissa << 13);
}

uint16_t narrow_f16(float value) {
  const float magnitude = std::abs(value);
  const auto sign = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 31 << 15);
  if (std::isnan(value)) return sign | 0x7E00;
  if (std::isinf(value)) return sign | 0x7C00;
  ASAP_CHECK(magnitude < 65520, "float16 ends at 65504, which ", value, " is beyond; bfloat16 holds it");
  // Below 2^-14 in units of 2^-24, which are those of the floats from 0.5 on: the addition rounds.
  if (magnitude < 0x1p-14f)
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(magnitude + 0.5f) - std::bit_cast<uint32_t>(0.5f));
  const uint32_t rebased = std::bit_cast<uint32_t>(magnitude) - (uint32_t{127 - 15} << 23);
  return sign | static_cast<uint16_t>((rebased + 0xFFF + (rebased >> 13 & 1)) >> 13);
}

// bfloat16 is the upper half of an f32.
float widen_bf16(uint16_t half) { return std::bit_cast<float>(uint32_t{half} << 16); }

template <class Integer>
int32_t narrow(Integer value) {
  if constexpr (sizeof(Integer) >= sizeof(int32_t)) {
    ASAP_CHECK(std::in_range<int32_t>(value), "expected integers that fit into 32 bits, got ", value);
  }
  return static_cast<int32_t>(value);
}

// Calls f(place) for each element in row-major order; place counts elements of the storage.
template <class F>
void for_each_place(const FileView& view, F f) {
  std::array<int64_t, Shape::kMaxRank> index{};
  int64_t place = view.offset;
  const int64_t count = view.shape.numel();
  for (int64_t i = 0; i < count; ++i) {
    f(place);
    for (int d = view.shape.rank() - 1; d >= 0; --d) {  // counts `index` up by one; `place` follows
      place += view.strides[d];
      if (++index[static_cast<size_t>(d)] < view.shape[d]) break;
      index[static_cast<size_t>(d)] = 0;
      place -= view.strides[d] * view.shape[d];
    }
  }
}

// out[i] = convert(element i of the view), in row-major order.
template <class From, class To, class Convert>
void gather(std::span<const uint8_t> bytes, const FileView& view, To* out, Convert convert) {
  for_each_place(view, [&](int64_t place) {
    From value;
    std::memcpy(&value, bytes.data() + static_cast<size_t>(place) * sizeof(From), sizeof(From));
    *out++ = convert(value);
  });
}

// A dimension of size 1 is never stepped along; its stride may be any number.
FileView without_idle_strides(FileView view) {
  for (int d = 0; d < view.shape.rank(); ++d) {
    if (view.shape[d] == 1) view.strides[d] = 0;
  }
  return view;
}

// Negates floats: their sign is the highest bit of the last byte. PyTorch marks no others, since its negative bit comes
// from a complex number's imaginary part.
void flip_signs(std::span<uint8_t> elements, FileDType dtype) {
  const bool is_float =
      dtype == FileDType::f64 || dtype == FileDType::f32 || dtype == FileDType::f16 || dtype == FileDType::bf16;
  ASAP_CHECK(is_float, "a negated tensor of ", name(dtype), " is not supported");
  const size_t element = size_of(dtype);
  for (size_t i = element - 1; i < elements.size(); i += element) elements[i] ^= 0x80;
}

// True if the file's elements are the tensor's, one after another: one memcpy then does what gather would.
bool is_plain_copy(const FileView& view) {
  const bool same_type = view.dtype == FileDType::f32 || view.dtype == FileDType::f64 || view.dtype == FileDType::i32 ||
                         view.dtype == FileDType::u8;
  return same_type && view.shape.numel() > 0 && view.strides == contiguous_strides(view.shape);
}

// Checks that every element lies within `bytes`. The last one is at offset + sum of (size - 1) * stride.
void check_bounds(std::span<const uint8_t> bytes, const FileView& view) {
  const auto available = static_cast<int64_t>(bytes.size() / size_of(view.dtype));
  ASAP_CHECK(view.offset >= 0, "expected an offset of at least 0, got ", view.offset);
  int64_t last = view.offset;
  bool fits = last < available || view.shape.numel() == 0;
  for (int d = 0; d < view.shape.rank(); ++d) {
    const int64_t stride = view.strides[d];
    ASAP_CHECK(stride >= 0, "expected strides of at least 0, got ", view.strides);
    if (view.shape.numel() == 0 || view.shape[d] == 1) continue;
    int64_t reach = 0;
    fits = fits && !__builtin_mul_overflow(view.shape[d] - 1, stride, &reach) &&
           !__builtin_add_overflow(last, reach, &last) && last < available;
  }
  ASAP_CHECK(fits, "shape ", view.shape, " with strides ", view.strides, " from element ", view.offset,
             " on reaches beyond the ", available, " elements stored");
}

}  // namespace

size_t size_of(FileDType dtype) { return row_of(dtype).bytes; }
bool is_readable(FileDType dtype) { return row_of(dtype).in_memory.has_value(); }
const char* name(FileDType dtype) { return row_of(dtype).torch; }
const char* safetensors_name(FileDType dtype) { return row_of(dtype).safetensors; }

DType tensor_dtype(FileDType dtype) {
  ASAP_CHECK(is_readable(dtype), "dtype ", name(dtype), " is not supported");
  return *row_of(dtype).in_memory;
}

std::optional<FileDType> file_dtype_of_safetensors(std::string_view name) {
  return find_row(name, &DTypeRow::safetensors);
}
std::optional<FileDType> file_dtype_of_torch_storage(std::string_view name) {
  return find_row(name, &DTypeRow::torch_storage);
}
std::optional<FileDType> file_dtype_of_torch(std::string_view name) { return find_row(name, &DTypeRow::torch); }

const char* safetensors_name(DType dtype) {
  switch (dtype) {
    case DType::f32: return "F32";
    case DType::f64: return "F64";
    case DType::i32: return "I32";
    case DType::u8: return "U8";
    case DType::bf16: return "BF16";
  }
  fail("safetensors: unknown dtype ", static_cast<int>(dtype));
}

void check_sizes(std::span<const int64_t> sizes) {
  int64_t count = 1;
  for (const int64_t size : sizes) {
    ASAP_CHECK(size >= 0, "expected sizes of at least 0, got ", size);
    ASAP_CHECK(!__builtin_mul_overflow(count, std::max<int64_t>(size, 1), &count),
               "the sizes multiply to more than 63 bits hold");
  }
}

Shape checked_shape(std::span<const int64_t> sizes) {
  ASAP_CHECK(sizes.size() <= Shape::kMaxRank, "expected at most ", Shape::kMaxRank, " dimensions, got ", sizes.size());
  check_sizes(sizes);
  Shape shape;
  for (const int64_t size : sizes) shape.push_back(size);
  return shape;
}

std::vector<uint8_t> pack_view(std::span<const uint8_t> bytes, const FileView& wanted) {
  check_bounds(bytes, wanted);
  const FileView view = without_idle_strides(wanted);
  const size_t element = size_of(view.dtype);
  std::vector<uint8_t> packed(static_cast<size_t>(view.shape.numel()) * element);
  uint8_t* out = packed.data();
  for_each_place(view, [&](int64_t place) {
    std::memcpy(out, bytes.data() + static_cast<size_t>(place) * element, element);
    out += element;
  });
  if (view.negative) flip_signs(packed, view.dtype);
  return packed;
}

Tensor read_view(std::span<const uint8_t> bytes, const FileView& wanted) {
  if (wanted.negative) {
    FileView positive = wanted;
    positive.strides = contiguous_strides(wanted.shape);
    positive.offset = 0;
    positive.negative = false;
    return read_view(pack_view(bytes, wanted), positive);
  }
  check_bounds(bytes, wanted);
  Tensor result = Tensor::empty(wanted.shape, tensor_dtype(wanted.dtype));
  if (is_plain_copy(wanted)) {
    const size_t start = static_cast<size_t>(wanted.offset) * size_of(wanted.dtype);
    std::memcpy(result.raw(), bytes.data() + start, result.bytes());
    return result;
  }
  const FileView view = without_idle_strides(wanted);
  const auto same = [](auto value) { return value; };
  const auto to_i32 = [](auto value) { return narrow(value); };
  switch (view.dtype) {
    case FileDType::f64: gather<double>(bytes, view, result.data<double>(), same); break;
    case FileDType::f32: gather<float>(bytes, view, result.data<float>(), same); break;
    case FileDType::f16: gather<uint16_t>(bytes, view, result.data<float>(), widen_f16); break;
    case FileDType::bf16: gather<uint16_t>(bytes, view, result.data<float>(), widen_bf16); break;
    case FileDType::i64: gather<int64_t>(bytes, view, result.data<int32_t>(), to_i32); break;
    case FileDType::i32: gather<int32_t>(bytes, view, result.data<int32_t>(), to_i32); break;
    case FileDType::i16: gather<int16_t>(bytes, view, result.data<int32_t>(), to_i32); break;
    case FileDType::i8: gather<int8_t>(bytes, view, result.data<int32_t>(), to_i32); break;
    case FileDType::u64: gather<uint64_t>(bytes, view, result.data<int32_t>(), to_i32); break;
    case FileDType::u32: gather<uint32_t>(bytes, view, result.data<int32_t>(), to_i32); break;
    case FileDType::u16: gather<uint16_t>(bytes, view, result.data<int32_t>(), to_i32); break;
    case FileDType::u8: gather<uint8_t>(bytes, view, result.data<uint8_t>(), same); break;
    case FileDType::boolean:
      gather<uint8_t>(bytes, view, result.data<uint8_t>(), [](uint8_t value) -> uint8_t { return value != 0; });
      break;
    default: break;  // tensor_dtype refused it
  }
  return result;
}

std::vector<uint8_t> pack_values(const Tensor& x, FileDType dtype) {
  const bool known = dtype == FileDType::f32 || dtype == FileDType::f16 || dtype == FileDType::bf16;
  ASAP_CHECK(known && is_floating(x.dtype()),
             "expected floating elements to be written as float32, float16 or bfloat16, got ", x.dtype(), " and ",
             name(dtype));
  const Tensor values = x.to(dtype == FileDType::bf16 ? DType::bf16 : DType::f32).to(Device::cpu).contiguous();
  std::vector<uint8_t> packed(static_cast<size_t>(values.numel()) * size_of(dtype));
  if (dtype != FileDType::f16) {
    std::memcpy(packed.data(), values.raw(), packed.size());
    return packed;
  }
  const float* from = values.data<float>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    const uint16_t half = narrow_f16(from[i]);
    std::memcpy(packed.data() + static_cast<size_t>(i) * sizeof half, &half, sizeof half);
  }
  return packed;
}

}  // namespace asap::nn
