// FileDType: the element types found in checkpoint files, and how each becomes a tensor. Shared by safetensors.cpp
// and the .pth reader; files are little-endian, as is every machine this runs on.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace asap::nn {

enum class FileDType : uint8_t {
  f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean,
  // No tensor of ours can hold the rest; they are listed and copied.
  c32, c64, c128, f8_e4m3fn, f8_e5m2, f8_e4m3fnuz, f8_e5m2fnuz, f8_e8m0fnu, f4_e2m1fn_x2, qint8, quint8, qint32,
  quint4x2, quint2x4
};

// Bytes of one element in the file.
size_t size_of(FileDType dtype);

// True for those that a tensor can hold.
bool is_readable(FileDType dtype);
// The element type in memory: f16 and bf16 widen to f32; every integer becomes i32, but u8 and booleans stay u8.
// asap::Error: "dtype complex64 is not supported".
DType tensor_dtype(FileDType dtype);

// PyTorch's name: "float32", "uint16", "float8_e4m3fn".
const char* name(FileDType dtype);
// The format's name: "F32"; "" for one that it does not have.
const char* safetensors_name(FileDType dtype);
const char* safetensors_name(DType dtype);

// By name: "F32", "FloatStorage" or "float32" give f32. Nothing for a name that is not in the table.
std::optional<FileDType> file_dtype_of_safetensors(std::string_view name);
std::optional<FileDType> file_dtype_of_torch_storage(std::string_view name);
std::optional<FileDType> file_dtype_of_torch(std::string_view name);

// asap::Error: a negative size, or so many elements (sizes of 0 counted as 1) that they or their strides overflow 63
// bits.
void check_sizes(std::span<const int64_t> sizes);
// Sizes from a file as a Shape. asap::Error: as check_sizes, or more than Shape::kMaxRank of them.
Shape checked_shape(std::span<const int64_t> sizes);

// Which elements of a block of memory make a tensor: element (i, j, ...) is at offset + i*strides[0] + j*strides[1]...
struct FileView {
  FileDType dtype = FileDType::f32;
  Shape shape;
  Shape strides;       // in elements
  int64_t offset = 0;  // in elements
  bool negative = false;  // every element negated
};

// Copies the view's elements out of `bytes` as they are, one after another. asap::Error: an element outside of `bytes`,
// a negative stride or offset; negated integers.
std::vector<uint8_t> pack_view(std::span<const uint8_t> bytes, const FileView& view);

// Copies the view's elements out of `bytes` into a new contiguous tensor of tensor_dtype(view.dtype). asap::Error: an
// element outside of `bytes`, a negative stride or offset, an integer beyond i32.
Tensor read_view(std::span<const uint8_t> bytes, const FileView& view);

// The elements of a floating tensor as f32, f16 or bf16, one after another in row-major order; rounded to nearest, ties to
// even. asap::Error: another dtype; a finite element that f16, which ends at 65504, cannot hold.
std::vector<uint8_t> pack_values(const Tensor& x, FileDType dtype);

}  // namespace asap::nn
