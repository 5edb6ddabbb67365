// Families of slots and the rows of their shapes. Declared in shape_rows.h.
#include "bench/kit/shape_rows.h"

#include <algorithm>
#include <charconv>
#include <map>

namespace asap::bench {
namespace {

namespace k = kernels;
using tests::normal;
using tests::OpCase;
using tests::timed;
using Inputs = std::vector<Variable>;
using Sizes = std::map<std::string, int64_t>;  // every key of the family: given, or its default

int64_t product(std::initializer_list<int64_t> sizes) {
  int64_t value = 1;
  for (const int64_t size : sizes) value = multiply_sizes(value, size, "--shape");
  return value;
}

OpCase conv2d_row(KernelSlotBase& slot, Sizes& s) {
  const Conv2dParams p{.stride = s["stride"], .padding = s["pad"], .dilation = s["dilation"], .groups = s["groups"]};
  const Shape x{s["n"], s["c"], s["h"], s["w"]}, w{s["o"], s["c"] / p.groups, s["k"], s["k"]}, y = conv2d_shape(x, w, p);
  const double flops = 2.0 * static_cast<double>(product({y.numel(), w[1], w[2], w[3]}));
  OpCase row;
  if (&slot == &k::conv2d_forward) {
    row = timed("", {normal(x), normal(w)}, slot, flops,
                [p](const Inputs& in) { return Variable(conv2d(in[0].value(), in[1].value(), {}, p)); });
  } else if (&slot == &k::conv2d_input_grad) {
    row = timed("", {normal(y), normal(w)}, slot, flops,
                [p, x](const Inputs& in) { return Variable(conv2d_input_grad(in[0].value(), in[1].value(), x, p)); });
  } else {
    row = timed("", {normal(x), normal(y)}, slot, flops,
                [p, w](const Inputs& in) { return Variable(conv2d_weight_grad(in[0].value(), in[1].value(), w, p)); });
  }
  row.tolerance = 3e-5;  // as the table's large rows: sums of thousands of products in f32 on both sides
  return row;
}

OpCase matmul_row(KernelSlotBase& slot, Sizes& s) {
  OpCase row = timed("", {normal({s["b"], s["m"], s["k"]}), normal({s["b"], s["k"], s["n"]})}, slot,
                     2.0 * static_cast<double>(product({s["b"], s["m"], s["n"], s["k"]})),
                     [](const Inputs& in) { return Variable(matmul(in[0].value(), in[1].value())); });
  row.tolerance = 1e-5;
  return row;
}

OpCase elementwise_row(KernelSlotBase& slot, Sizes& s) {
  const Shape x{s["n"]};
  const auto flops = static_cast<double>(s["n"]);
  if (&slot == &k::binary) {
    return timed("", {normal(x), normal(x)}, slot, flops,
                 [](const Inputs& in) { return Variable(binary(BinaryOp::mul, in[0].value(), in[1].value())); });
  }
  if (&slot == &k::unary_backward) {
    return timed("", {normal(x), normal(x)}, slot, flops,
                 [](const Inputs& in) { return Variable(unary_backward(UnaryOp::tanh, in[0].value(), in[1].value())); });
  }
  return timed("", {normal(x)}, slot, flops, [](const Inputs& in) { return Variable(unary(UnaryOp::tanh, in[0].value())); });
}

OpCase reduce_row(KernelSlotBase& slot, Sizes& s) {
  OpCase row = timed("", {normal({s["outer"], s["n"], s["inner"]})}, slot, static_cast<double>(product({s["outer"], s["n"], s["inner"]})),
                     [](const Inputs& in) { return Variable(sum(in[0].value(), {1})); });
  row.tolerance = 1e-5;
  return row;
}

OpCase norm_row(KernelSlotBase& slot, Sizes& s) {
  const Shape x{s["n"], s["c"], s["h"], s["w"]};
  OpCase row = timed("", {normal(x), normal({x[1]}), normal({x[1]})}, slot, 8.0 * static_cast<double>(x.numel()), [](const Inputs& in) {
    return Variable(instance_norm(in[0].value(), in[1].value(), in[2].value()).y);
  });
  row.tolerance = 1e-5;
  return row;
}

OpCase pool_row(KernelSlotBase& slot, Sizes& s) {
  const Pool2dParams p{s["k"], s["stride"], s["pad"]};
  const Shape x{s["n"], s["c"], s["h"], s["w"]}, y = pool2d_shape(x, p);
  const auto flops = static_cast<double>(product({y.numel(), s["k"], s["k"]}));
  if (&slot == &k::avg_pool2d_forward) {
    return timed("", {normal(x)}, slot, flops, [p](const Inputs& in) { return Variable(avg_pool2d(in[0].value(), p)); });
  }
  if (&slot == &k::avg_pool2d_backward) {
    return timed("", {normal(y)}, slot, flops, [p, x](const Inputs& in) { return Variable(avg_pool2d_backward(in[0].value(), x, p)); });
  }
  return timed("", {normal(x)}, slot, flops, [p](const Inputs& in) { return Variable(max_pool2d(in[0].value(), p).y); });
}

OpCase resize_row(KernelSlotBase& slot, Sizes& s) {
  const Size2 size{s["oh"], s["ow"]};
  const Shape x{s["n"], s["c"], s["h"], s["w"]}, y{s["n"], s["c"], size.h, size.w};
  const double flops = 7.0 * static_cast<double>(y.numel());  // three interpolations
  if (&slot == &k::resize2d_forward) {
    return timed("", {normal(x)}, slot, flops,
                 [size](const Inputs& in) { return Variable(resize2d(in[0].value(), size, ResizeMode::bilinear)); });
  }
  return timed("", {normal(y)}, slot, flops,
               [x](const Inputs& in) { return Variable(resize2d_backward(in[0].value(), x, ResizeMode::bilinear)); });
}

struct Family {
  std::vector<const KernelSlotBase*> slots;
  const char* keys;  // "key=default ...", where a default may be an earlier key, or one halved
  OpCase (*row)(KernelSlotBase&, Sizes&);
};

const std::vector<Family>& families() {
  static const std::vector<Family> all{
      {{&k::conv2d_forward, &k::conv2d_input_grad, &k::conv2d_weight_grad}, "n=1 c=64 h=64 w=h o=c k=3 stride=1 pad=k/2 dilation=1 groups=1", conv2d_row},
      {{&k::matmul}, "b=1 m=1024 n=m k=m", matmul_row},
      {{&k::unary, &k::unary_backward, &k::binary}, "n=4194304", elementwise_row},
      {{&k::reduce}, "outer=64 n=65536 inner=1", reduce_row},
      {{&k::norm_forward}, "n=1 c=64 h=256 w=h", norm_row},
      {{&k::avg_pool2d_forward, &k::avg_pool2d_backward, &k::max_pool2d_forward}, "n=1 c=64 h=256 w=h k=2 stride=k pad=0", pool_row},
      {{&k::resize2d_forward, &k::resize2d_backward}, "n=1 c=64 h=128 w=h oh=256 ow=oh", resize_row},
  };
  return all;
}

const Family* family_of(const KernelSlotBase& slot) {
  for (const Family& family : families()) {
    if (std::find(family.slots.begin(), family.slots.end(), &slot) != family.slots.end()) return &family;
  }
  return nullptr;
}

// A whole number, an earlier key, or one halved.
int64_t value_of(const std::string& text, const Sizes& known) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  const bool half = text.ends_with("/2");
  const auto found = known.find(half ? text.substr(0, text.size() - 2) : text);
  ASAP_CHECK(found != known.end(), "--shape: '", text, "' is not a whole number");
  return half ? found->second / 2 : found->second;
}

// "a=1,b=2" or "a=1 b=2" as pairs.
std::vector<std::pair<std::string, std::string>> pairs(std::string text) {
  std::replace(text.begin(), text.end(), ',', ' ');
  std::istringstream items(text);
  std::vector<std::pair<std::string, std::string>> all;
  for (std::string item; items >> item;) {
    const size_t equals = item.find('=');
    ASAP_CHECK(equals != std::string::npos, "--shape: expected key=size,key=size,..., got '", item, "'");
    all.emplace_back(item.substr(0, equals), item.substr(equals + 1));
  }
  return all;
}

}  // namespace

std::string shape_keys(const KernelSlotBase& slot) {
  const Family* family = family_of(slot);
  return family ? family->keys : "";
}

OpCase row_of_shape(KernelSlotBase& slot, const std::string& shape) {
  const Family* family = family_of(slot);
  if (!family) {
    std::string known;
    for (const Family& other : families()) {
      for (const KernelSlotBase* with_shapes : other.slots) known += (known.empty() ? "" : ", ") + with_shapes->name();
    }
    fail("--shape: ", slot.name(), " has no shapes of one's own, only rows of the table (--rows); those that have are ", known);
  }
  std::map<std::string, std::string> given;
  for (const auto& [key, value] : pairs(shape)) given[key] = value;
  Sizes sizes;
  std::string name = slot.name() + "/";
  for (const auto& [key, standard] : pairs(family->keys)) {
    const auto found = given.find(key);
    const int64_t size = value_of(found == given.end() ? standard : found->second, sizes);
    ASAP_CHECK(size > 0 || (size == 0 && key == "pad"), "--shape: ", key, " must be positive, got ", size);
    sizes[key] = size;
    name += str(name.ends_with("/") ? "" : ",", key, "=", size);
    if (found != given.end()) given.erase(found);
  }
  ASAP_CHECK(given.empty(), "--shape: ", slot.name(), " has no '", given.begin()->first, "'; its sizes are ", family->keys);
  OpCase row = family->row(slot, sizes);
  row.name = name;
  return row;
}

}  // namespace asap::bench
