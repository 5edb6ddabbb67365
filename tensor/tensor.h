// Tensor: a cheap handle on shared Storage with a shape, strides, an offset and an element type. Copying a Tensor
// copies the handle; views (reshape, permute, slice, expand) share the storage and never copy.
// It knows no gradients: see autograd/variable.h. Arithmetic is in ops.h.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "tensor/shape.h"
#include "tensor/storage.h"

namespace asap {

// How pictures [N,C,H,W] lie in memory, as strides under that same shape: row-major, or channels last: pixel by pixel, each
// with its channels side by side. Tensors of another rank are row-major.
enum class Layout { row_major, channels_last };
// A channels-last pixel starts at a multiple of this many elements, so that its channels can be read several at a time; what
// lies behind the last channel is nobody's.
inline constexpr int64_t kPixelAlignment = 8;

class Tensor {
 public:
  Tensor() = default;  // undefined: defined() is false, everything else throws

  // Uninitialised memory.
  static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu,
                      Layout layout = Layout::row_major);
  static Tensor full(const Shape& shape, double value, DType dtype = DType::f32, Device device = Device::cpu);
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu);
  static Tensor ones(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu);
  // An uninitialised tensor of x's dtype, device and layout; of x's shape unless another is given.
  static Tensor like(const Tensor& x);
  static Tensor like(const Tensor& x, const Shape& shape);
  // A copy of host values in row-major order; values.size() must be shape.numel().
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape, Device device = Device::cpu);

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  const Shape& strides() const { return strides_; }  // in elements
  int64_t size(int d) const { return shape_[d]; }
  int rank() const { return shape_.rank(); }
  int64_t numel() const { return shape_.numel(); }
  size_t bytes() const { return static_cast<size_t>(numel()) * size_of(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const;
  bool is_contiguous() const;  // row-major without gaps
  bool is_channels_last() const;
  // channels_last unless the tensor is row-major too, as one of a single channel is, or lies in neither way.
  Layout layout() const;

  // Pointer to the first element, on the tensor's device; throws unless T is the element type.
  template <class T>
  T* data() {
    check_dtype(dtype_of<T>);
    return static_cast<T*>(raw());
  }
  template <class T>
  const T* data() const {
    check_dtype(dtype_of<T>);
    return static_cast<const T*>(raw());
  }
  void* raw() const;

  // Views. reshape throws if x is not contiguous; one size may be -1.
  Tensor reshape(const Shape& shape) const;
  Tensor reshape(std::initializer_list<int64_t> sizes) const;
  Tensor permute(const std::vector<int>& dims) const;
  Tensor transpose(int d0, int d1) const;
  // Elements start, start + step, ... < end along `dim`; start and end may be negative.
  Tensor slice(int dim, int64_t start, int64_t end, int64_t step = 1) const;
  // Index `index` of `dim`, which disappears.
  Tensor select(int dim, int64_t index) const;
  // Broadcasts by stride 0: sizes of 1 grow, new dimensions appear in front.
  Tensor expand(const Shape& shape) const;
  Tensor unsqueeze(int dim) const;
  Tensor squeeze(int dim) const;

  // Copies, in this tensor's layout unless another is asked for; the tensor itself where there is nothing to change.
  Tensor contiguous() const { return to(Layout::row_major); }
  Tensor clone() const;  // always new
  Tensor to(DType dtype) const;
  Tensor to(Device device) const;
  Tensor to(Layout layout) const;

  // Write into this tensor's memory (any strides) and bump the storage's version. Throw for a view in which several elements
  // are one in memory (expand). The source may overlap this tensor: it is read as it was before.
  void copy_from(const Tensor& source);
  void fill(double value);

  // The value of a one-element tensor, whatever its dtype; waits for the device.
  double item() const;
  // All values in row-major order; T must be the element type.
  template <class T>
  std::vector<T> to_vector() const;

  uint64_t version() const { return storage_ ? storage_->version() : 0; }
  // Every function that writes into an existing tensor calls this.
  void bump_version() { storage_->bump_version(); }
  // Whether no other tensor holds this storage: only then may a function reuse the memory for its own result.
  bool owns_storage_alone() const { return storage_.use_count() == 1; }
  bool shares_storage(const Tensor& other) const { return storage_ && storage_ == other.storage_; }
  // Whether the two lie on memory that they share: from first to last element, gaps between them included.
  bool overlaps(const Tensor& other) const;
  // Throws naming `op` where several elements are one in memory, so that none of them can be written alone.
  void check_writable(const char* op) const;

 private:
  std::pair<int64_t, int64_t> span() const;
  void check_dtype(DType wanted) const;
  Tensor view(const Shape& shape, const Shape& strides, int64_t offset) const;

  std::shared_ptr<Storage> storage_;
  Shape shape_, strides_;
  int64_t offset_ = 0;  // in elements
  DType dtype_ = DType::f32;
};

// Shape, type and device on a line, then the values as numpy prints them: of more than 1000, the first and last three along
// each dimension. Waits for the device.
std::ostream& operator<<(std::ostream& out, const Tensor& x);

template <class T>
Tensor Tensor::from(const std::vector<T>& values, const Shape& shape, Device device) {
  ASAP_CHECK(static_cast<int64_t>(values.size()) == shape.numel(), "Tensor::from: ", values.size(),
             " values do not fill shape ", shape);
  Tensor result = empty(shape, dtype_of<T>, device);
  if (!values.empty()) backend(device).copy_from_host(values.data(), result.raw(), result.bytes());
  return result;
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  const Tensor packed = contiguous().to(Device::cpu);
  return {packed.data<T>(), packed.data<T>() + numel()};
}

}  // namespace asap
