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

enum class FileDType : uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

// Bytes of one element in the file.
size_t size_of(FileDType dtype);

// The element type in memory: f16 and bf16 widen to f32; every integer becomes i32, but u8 and booleans stay u8.
DType tensor_dtype(FileDType dtype);

// By name: "F32" or "FloatStorage" give f32. Nothing for a name that no tensor of ours can hold (F8_E4M3, ...).
std::optional<FileDType> file_dtype_of_safetensors(std::string_view name);
std::optional<FileDType> file_dtype_of_torch_storage(std::string_view name);
const char* safetensors_name(DType dtype);

// Sizes from a file as a Shape. asap::Error: more than Shape::kMaxRank of them, a negative one, or so many elements
// (sizes of 0 counted as 1) that they or their strides overflow 63 bits.
Shape checked_shape(std::span<const int64_t> sizes);

// Which elements of a block of memory make a tensor: element (i, j, ...) is at offset + i*strides[0] + j*strides[1]...
struct FileView {
  FileDType dtype = FileDType::f32;
  Shape shape;
  Shape strides;       // in elements
  int64_t offset = 0;  // in elements
};

// Copies the view's elements out of `bytes` into a new contiguous tensor of tensor_dtype(view.dtype). asap::Error: an
// element outside of `bytes`, a negative stride or offset, an integer beyond i32.
Tensor read_view(std::span<const uint8_t> bytes, const FileView& view);

}  // namespace asap::nn
