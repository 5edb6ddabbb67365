// Tensor's handles, views and copies. Declared in tensor.h; values are written by the copy and fill kernels.
#include "tensor/tensor.h"

#include "tensor/kernels.h"

namespace asap {

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device, Layout layout) {
  if (layout == Layout::channels_last && shape.rank() == 4) {
    const int64_t aligned = add_sizes(shape[1], kPixelAlignment - 1, "Tensor") / kPixelAlignment * kPixelAlignment;
    const Tensor pixels = empty({shape[0], shape[2], shape[3], shape[1] == 1 ? 1 : aligned}, dtype, device);
    return pixels.slice(3, 0, shape[1]).permute({0, 3, 1, 2});
  }
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  const auto element = static_cast<int64_t>(size_of(dtype));
  ASAP_CHECK(shape.numel() <= INT64_MAX / element, "Tensor: ", shape, " of ", dtype, " has more bytes than 63 bits count");
  t.strides_ = contiguous_strides(shape);
  t.storage_ = std::make_shared<Storage>(static_cast<size_t>(shape.numel() * element), device);
  return t;
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  kernels::fill.run(device, value, t);
  return t;
}
Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) { return full(shape, 0.0, dtype, device); }
Tensor Tensor::ones(const Shape& shape, DType dtype, Device device) { return full(shape, 1.0, dtype, device); }
Tensor Tensor::like(const Tensor& x) { return like(x, x.shape()); }
Tensor Tensor::like(const Tensor& x, const Shape& shape) { return empty(shape, x.dtype(), x.device(), x.layout()); }

Device Tensor::device() const {
  ASAP_CHECK(defined(), "Tensor: the tensor is undefined");
  return storage_->device();
}

void* Tensor::raw() const {
  ASAP_CHECK(defined(), "Tensor: the tensor is undefined");
  return static_cast<char*>(storage_->data()) + static_cast<size_t>(offset_) * size_of(dtype_);
}

void Tensor::check_dtype(DType wanted) const {
  ASAP_CHECK(wanted == dtype_, "Tensor: asked for ", wanted, " data of a ", dtype_, " tensor of shape ", shape_);
}

bool Tensor::is_contiguous() const {
  int64_t step = 1;
  for (int d = rank() - 1; d >= 0; --d) {
    if (shape_[d] != 1 && strides_[d] != step) return numel() == 0;
    step *= shape_[d];
  }
  return true;
}

// Pixels may lie further apart than their channels need, but rows and pictures leave no gaps between them.
bool Tensor::is_channels_last() const {
  if (rank() != 4) return false;
  const int64_t N = shape_[0], C = shape_[1], H = shape_[2], W = shape_[3];
  const int64_t pixel = W > 1 ? strides_[3] : H > 1 ? strides_[2] : N > 1 ? strides_[0] : C;
  return (C == 1 || strides_[1] == 1) && pixel >= C && (H == 1 || strides_[2] == W * pixel) &&
         (N == 1 || strides_[0] == H * W * pixel);
}

Layout Tensor::layout() const {
  return !is_contiguous() && is_channels_last() ? Layout::channels_last : Layout::row_major;
}

Tensor Tensor::view(const Shape& shape, const Shape& strides, int64_t offset) const {
  ASAP_CHECK(defined(), "Tensor: the tensor is undefined");
  Tensor t = *this;
  t.shape_ = shape;
  t.strides_ = strides;
  t.offset_ = offset;
  return t;
}

Tensor Tensor::reshape(std::initializer_list<int64_t> sizes) const {
  Shape wanted;
  int unknown = -1;
  for (int64_t size : sizes) {
    if (size == -1) {
      ASAP_CHECK(unknown < 0, "reshape: only one size may be -1");
      unknown = wanted.rank();
    }
    wanted.push_back(size == -1 ? 1 : size);
  }
  if (unknown >= 0) {
    const int64_t known = wanted.numel();
    ASAP_CHECK(known > 0 && numel() % known == 0, "reshape: ", shape_, " has no whole size for the -1 of ", wanted);
    wanted[unknown] = numel() / known;
  }
  return reshape(wanted);
}

Tensor Tensor::reshape(const Shape& shape) const {
  ASAP_CHECK(shape.numel() == numel(), "reshape: ", shape_, " has ", numel(), " elements, but ", shape, " needs ",
             shape.numel());
  ASAP_CHECK(is_contiguous(), "reshape: expected a contiguous tensor, got shape ", shape_, " with strides ", strides_,
             "; call contiguous() first");
  return view(shape, contiguous_strides(shape), offset_);
}

Tensor Tensor::permute(const std::vector<int>& dims) const {
  ASAP_CHECK(static_cast<int>(dims.size()) == rank(), "permute: expected ", rank(), " dimensions for shape ", shape_,
             ", got ", dims.size());
  Shape shape, strides;
  std::vector<bool> seen(dims.size(), false);
  for (int dim : dims) {
    const int d = normalize_dim(dim, rank(), "permute");
    ASAP_CHECK(!seen[static_cast<size_t>(d)], "permute: dimension ", dim, " appears twice");
    seen[static_cast<size_t>(d)] = true;
    shape.push_back(shape_[d]);
    strides.push_back(strides_[d]);
  }
  return view(shape, strides, offset_);
}

Tensor Tensor::transpose(int d0, int d1) const {
  Shape shape = shape_, strides = strides_;
  std::swap(shape[d0], shape[d1]);
  std::swap(strides[d0], strides[d1]);
  return view(shape, strides, offset_);
}

Tensor Tensor::slice(int dim, int64_t start, int64_t end, int64_t step) const {
  const int d = normalize_dim(dim, rank(), "slice");
  const int64_t n = shape_[d];
  const int64_t first = start < 0 ? start + n : start, last = end < 0 ? end + n : end;
  ASAP_CHECK(step >= 1 && first >= 0 && first <= last && last <= n, "slice: ", start, ":", end, ":", step,
             " does not fit dimension ", dim, " of ", shape_);
  Shape shape = shape_, strides = strides_;
  shape[d] = last > first ? (last - first - 1) / step + 1 : 0;
  if (shape[d] > 1) strides[d] *= step;  // else there is no step, which may be a large one
  return view(shape, strides, offset_ + first * strides_[d]);
}

Tensor Tensor::select(int dim, int64_t index) const {
  const int d = normalize_dim(dim, rank(), "select");
  const int64_t i = index < 0 ? index + shape_[d] : index;
  ASAP_CHECK(i >= 0 && i < shape_[d], "select: index ", index, " does not fit dimension ", dim, " of ", shape_);
  return slice(d, i, i + 1).squeeze(d);
}

Tensor Tensor::expand(const Shape& shape) const {
  const int extra = shape.rank() - rank();
  ASAP_CHECK(extra >= 0, "expand: ", shape_, " has more dimensions than ", shape);
  Shape strides = shape;
  for (int d = 0; d < shape.rank(); ++d) {
    const bool broadcast = d < extra || shape_[d - extra] == 1;
    ASAP_CHECK(broadcast || shape_[d - extra] == shape[d], "expand: ", shape_, " does not broadcast to ", shape);
    strides[d] = broadcast && shape[d] != 1 ? 0 : d < extra ? 0 : strides_[d - extra];
  }
  shape.numel();  // throws if there are too many
  return view(shape, strides, offset_);
}

Tensor Tensor::unsqueeze(int dim) const {
  const int d = normalize_dim(dim, rank() + 1, "unsqueeze");
  Shape shape = shape_, strides = strides_;
  shape.insert(d, 1);
  strides.insert(d, 1);
  return view(shape, strides, offset_);
}

Tensor Tensor::squeeze(int dim) const {
  const int d = normalize_dim(dim, rank(), "squeeze");
  ASAP_CHECK(shape_[d] == 1, "squeeze: dimension ", dim, " of ", shape_, " is not 1");
  Shape shape = shape_, strides = strides_;
  shape.erase(d);
  strides.erase(d);
  return view(shape, strides, offset_);
}

Tensor Tensor::clone() const {
  Tensor result = like(*this);
  kernels::copy.run(device(), *this, result);
  return result;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor result = empty(shape_, dtype, device(), layout());
  kernels::copy.run(device(), *this, result);
  return result;
}

Tensor Tensor::to(Layout wanted) const {
  if (wanted == Layout::row_major ? is_contiguous() : rank() != 4 || is_channels_last()) return *this;
  Tensor result = empty(shape_, dtype_, device(), wanted);
  kernels::copy.run(device(), *this, result);
  return result;
}

// What crosses between memories is row-major.
Tensor Tensor::to(Device wanted) const {
  if (wanted == device()) return *this;
  const Tensor packed = contiguous();
  Tensor result = empty(shape_, dtype_, wanted);
  if (device() == Device::cpu) {
    backend(wanted).copy_from_host(packed.raw(), result.raw(), packed.bytes());
  } else {
    backend(device()).copy_to_host(packed.raw(), result.raw(), packed.bytes());
  }
  return result.to(layout());
}

void Tensor::copy_from(const Tensor& source) {
  ASAP_CHECK(source.shape() == shape_, "copy_from: expected shape ", shape_, ", got ", source.shape());
  check_writable("copy_from");
  const Tensor here = overlaps(source) ? source.clone() : source.to(device());
  kernels::copy.run(device(), here, *this);
  bump_version();
}

void Tensor::fill(double value) {
  check_writable("fill");
  kernels::fill.run(device(), value, *this);
  bump_version();
}

// First element and the one behind the last, in elements of the storage.
std::pair<int64_t, int64_t> Tensor::span() const {
  int64_t last = offset_;
  for (int d = 0; d < rank(); ++d) last += (shape_[d] - 1) * strides_[d];
  return {offset_, last + 1};
}

bool Tensor::overlaps(const Tensor& other) const {
  if (!shares_storage(other) || numel() == 0 || other.numel() == 0) return false;
  const auto [begin, end] = span();
  const auto [other_begin, other_end] = other.span();
  return begin < other_end && other_begin < end;
}

void Tensor::check_writable(const char* op) const {
  if (numel() == 0) return;
  for (int d = 0; d < rank(); ++d) {
    ASAP_CHECK(shape_[d] == 1 || strides_[d] != 0, op, ": ", shape_, " is an expanded view, whose elements along dimension ",
               d, " are one in memory; write into its clone()");
  }
}

double Tensor::item() const {
  ASAP_CHECK(numel() == 1, "item: expected one element, got shape ", shape_);
  const Tensor host = contiguous().to(Device::cpu);
  return dispatch_all(dtype_, [&](auto tag) { return static_cast<double>(*host.data<decltype(tag)>()); });
}

}  // namespace asap
