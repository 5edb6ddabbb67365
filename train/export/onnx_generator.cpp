// Walking the generator's modules. Declared in onnx_generator.h; the headings are those of docs/asapnet.md, Generator.
#include "train/export/onnx_generator.h"

#include <bit>

#include "asapnet/highres_stream.h"
#include "nn/init.h"
#include "tensor/definitions/label_planes.h"
#include "tensor/definitions/tile_mlp.h"
#include "train/files/output_guard.h"
#include "train/files/whole_files.h"
#include "train/options/config_json.h"
#include "train/run/checkpoint.h"

namespace asap::train {
namespace {

using asapnet::Config;
using asapnet::ConvNormRelu;
using Value = OnnxValue;
using Integers = std::vector<int64_t>;

constexpr auto kF32 = static_cast<int64_t>(OnnxType::f32), kU8 = static_cast<int64_t>(OnnxType::u8),
               kI32 = static_cast<int64_t>(OnnxType::i32);

// In the comments T is the number of tiles, h x w their grid and S their side.
class GeneratorWriter {
 public:
  GeneratorWriter(const asapnet::Generator& generator, const OnnxOptions& options)
      : generator_(generator), config_(generator.config()), options_(options), side_(config_.tile()) {
    if (options.height == 0) return;
    config_.check_size(options.height, options.width, "onnx");
    height_ = options.height, width_ = options.width;
  }

  OnnxGraph write() && {
    const Input input = read_input();
    const Value features = lowres_stream(input.planes);
    const Value y = highres_stream(input.pixels, phi(features), graph_.node("Shape", {features}, {{"start", 2}}));
    write_output(y);
    return std::move(graph_);
  }

 private:
  struct Input {
    Value planes;  // [N,C,H,W]: what the low-res stream sees
    Value pixels;  // [N,T,S*S,C']: what the MLPs see, tile by tile
  };

  // ---- input -----------------------------------------------------------------------------------------------------------

  Input read_input() {
    const bool whole = options_.input == OnnxInput::one_hot || (config_.no_one_hot && !config_.instance_channel());
    if (whole) return split(graph_.input("x", OnnxType::f32, {"N", config_.input_channels(), height_, width_}));
    if (config_.no_one_hot) {
      const Value x = graph_.input("x", OnnxType::f32, {"N", 3, height_, width_});
      return split(graph_.node("Concat", {x, instance()}, {{"axis", 1}}));
    }
    const bool bytes = config_.label_channels() <= 256;
    Value labels = graph_.input("labels", bytes ? OnnxType::u8 : OnnxType::i32, {"N", height_, width_});
    if (bytes) labels = graph_.node("Cast", {labels}, {{"to", kI32}});
    labels = classes(labels);
    const Value none_and_one = graph_.constant("none_and_one", Tensor::from<float>({0, 1}, {2}));
    const Value count = graph_.constant("classes", Tensor::from<int32_t>({int32_t(config_.label_channels())}, {1}));
    Input input{graph_.node("OneHot", {labels, count, none_and_one}, {{"axis", 1}}), one_hot_pixels(labels)};
    if (!config_.instance_channel()) return input;
    const Value plane = instance();
    input.planes = graph_.node("Concat", {input.planes, plane}, {{"axis", 1}});
    if (!config_.lr_instance) input.pixels = graph_.node("Concat", {input.pixels, tiles(plane, 1)}, {{"axis", 3}});
    return input;
  }

  Value instance() { return graph_.input("instance", OnnxType::f32, {"N", 1, height_, width_}); }

  Input split(const Value& x) {
    const Value seen = config_.lr_instance ? slice(x, 1, 0, config_.highres_channels()) : x;
    return {x, tiles(seen, config_.highres_channels())};
  }

  // Label 255 is class label_nc with contain_dontcare_label.
  Value classes(const Value& labels) {
    if (!config_.contain_dontcare_label) return labels;
    const Value ignored = graph_.constant("dontcare", Tensor::from<int32_t>({255}, {}));
    const Value its_class = graph_.constant("dontcare_class", Tensor::from<int32_t>({int32_t(config_.label_nc)}, {}));
    return graph_.node("Where", {graph_.node("Equal", {labels, ignored}), its_class, labels});
  }

  // [N,H,W] -> [N,T,S*S,classes]: the label of each pixel takes a row of the identity.
  Value one_hot_pixels(const Value& labels) {
    const int64_t count = config_.label_channels();
    const Value plane = graph_.node("Unsqueeze", {graph_.node("Cast", {labels}, {{"to", kF32}}), graph_.integers({1})});
    const Value in_tiles = graph_.node("Cast", {tiles(plane, 1)}, {{"to", kI32}});
    Tensor identity = Tensor::zeros({count, count});
    for (int64_t i = 0; i < count; ++i) identity.data<float>()[i * count + i] = 1;
    return graph_.node("Gather", {graph_.constant("identity", identity), reshape(in_tiles, {0, 0, side_ * side_})});
  }

  // ---- fixed downsampling ----------------------------------------------------------------------------------------------

  Value tent_downsample(const Value& x) {
    const int64_t factor = config_.fixed_downsampling(), channels = config_.input_channels(), border = factor / 2;
    if (factor == 1) return x;
    std::vector<float> taps;
    for (int64_t i = 0; i < channels * 2 * factor; ++i)
      taps.push_back(definitions::tent_weight<float>(i % (2 * factor), factor));
    const Tensor tent = Tensor::from(taps, {channels, 1, 1, 2 * factor});
    const Value along_w = graph_.constant("tent_along_w", tent);
    const Value along_h = graph_.constant("tent_along_h", tent.reshape({channels, 1, 2 * factor, 1}));
    const Value narrow = graph_.node("Conv", {pad(x, border, "reflect"), along_w},
                                     {{"group", channels}, {"strides", Integers{1, factor}}});
    return graph_.node("Conv", {narrow, along_h}, {{"group", channels}, {"strides", Integers{factor, 1}}});
  }

  Value pad(const Value& x, int64_t border, const char* mode) {
    return graph_.node("Pad", {x, graph_.integers({0, 0, border, border, 0, 0, border, border})}, {{"mode", mode}});
  }

  // ---- low-res stream --------------------------------------------------------------------------------------------------

  // [N,C,H,W] -> [N,lr_max_width,h,w], from which the last convolution makes phi.
  Value lowres_stream(const Value& x) {
    const asapnet::LowresStream& stream = generator_.lowres_stream();
    Value h = tent_downsample(x);
    for (const ConvNormRelu* layer : stream.convs()) h = conv_norm_relu(h, *layer);
    if (const nn::Linear* linear = stream.z_to_features()) {
      const Value z = graph_.input("z", OnnxType::f32, {"N", config_.z_dim});
      const Value code =
          graph_.node("Gemm", {z, weight(*linear, linear->weight), bias(*linear, linear->bias)}, {{"transB", 1}});
      h = graph_.node("Add", {h, reshape(code, {0, 0, 1, 1})});
    }
    return h;
  }

  Value conv_norm_relu(Value h, const ConvNormRelu& layer) {
    const Conv2dParams conv = layer.conv().params();
    int64_t border = conv.padding.h;
    if (conv.pad_mode != PadMode::zero) {
      h = pad(h, border, conv.pad_mode == PadMode::reflect ? "reflect" : "edge");
      border = 0;
    }
    h = graph_.node("Conv", {h, weight(layer.conv(), layer.conv().weight)},
                    {{"strides", Integers{conv.stride.h, conv.stride.w}}, {"pads", Integers(4, border)}});
    return graph_.node("Relu", {instance_norm(h, layer.norm())});
  }

  // Written out, with the mean of rows' means: runtimes sum a channel's pixels one after the other in float32, and over the flat
  // areas of a label map that costs InstanceNormalization three digits (docs/deploy.md, How close).
  Value instance_norm(const Value& x, const nn::InstanceNorm2d& norm) {
    const auto along_channels = [&](const char* name, const Variable& v) {
      return graph_.constant(norm.path() + "." + name, v.value().reshape({1, v.size(0), 1, 1}));
    };
    const auto mean = [&](const Value& v) {
      const Value rows = graph_.node("ReduceMean", {v}, {{"axes", Integers{3}}});
      return graph_.node("ReduceMean", {rows}, {{"axes", Integers{2}}});
    };
    const Value centred = graph_.node("Sub", {x, mean(x)}), variance = mean(graph_.node("Mul", {centred, centred}));
    const Value deviation =
        graph_.node("Sqrt", {graph_.node("Add", {variance, scalar(norm.path() + ".eps", norm.params().eps)})});
    const Value factor = graph_.node("Div", {along_channels("weight", norm.weight), deviation});
    return graph_.node("Add", {graph_.node("Mul", {centred, factor}), along_channels("bias", norm.bias)});
  }

  // The 1x1 convolution, as a product of matrices whose rows are the tiles: [N,lr_max_width,h,w] -> [N,T,phi]. Its weight is
  // transposed.
  Value phi(const Value& features) {
    const nn::Conv2d& conv = generator_.lowres_stream().to_phi();
    const int64_t in = conv.weight.size(1), out = conv.weight.size(0);
    const Tensor matrix = conv.weight.value().reshape({out, in}).permute({1, 0}).contiguous();
    const Value rows = transpose(reshape(features, {0, in, -1}), {0, 2, 1});
    const Value product =
        graph_.node("MatMul", {rows, graph_.weight(conv.path() + ".weight", matrix, options_.stored)});
    return graph_.node("Add", {product, bias(conv, conv.bias)});
  }

  // ---- high-res stream -------------------------------------------------------------------------------------------------

  // Every tile's MLP: pixels [N,T,S*S,C'] and phi [N,T,phi] -> [N,output_nc,H,W]. `grid`: the two numbers h, w.
  Value highres_stream(const Value& pixels, const Value& phi, const Value& grid) {
    const TileMlpParams mlp = asapnet::mlp_params(config_);
    Value z = graph_.node("Concat", {pixels, positions(pixels)}, {{"axis", 3}});
    int64_t in = config_.highres_channels() + 4 * std::countr_zero(static_cast<uint64_t>(side_)), at = 0;
    for (int64_t layer = 0; layer < mlp.depth; ++layer) {
      const bool last = layer + 1 == mlp.depth;
      const int64_t out = last ? mlp.out : mlp.width, matrix = at + out, end = matrix + in * out;
      const Value b = reshape(slice(phi, 2, at, matrix), {0, 0, 1, out}),
                  w = reshape(slice(phi, 2, matrix, end), {0, 0, in, out});
      z = graph_.node("Add", {graph_.node("MatMul", {z, w}), b});
      z = last ? graph_.node("Tanh", {z}) : graph_.node("LeakyRelu", {z}, {{"alpha", static_cast<float>(mlp.slope)}});
      in = out, at = end;
    }
    return untile(z, mlp.out, grid);
  }

  // The sinusoids of a pixel's place in its tile, the same for every tile: [N,T,S*S,4 log2(S)].
  Value positions(const Value& pixels) {
    const int64_t count = 4 * std::countr_zero(static_cast<uint64_t>(side_));
    std::vector<float> values;
    for (int64_t pixel = 0; pixel < side_ * side_; ++pixel) {
      for (int64_t k = 0; k < count; ++k) {
        const int64_t place = k % 4 < 2 ? pixel % side_ : pixel / side_;
        values.push_back(static_cast<float>(definitions::tile_position(k, place, side_)));
      }
    }
    const Value tile = graph_.constant("positions", Tensor::from(values, {side_ * side_, count}));
    const Value tiles = graph_.node("Shape", {pixels}, {{"end", 2}});  // N, T
    return graph_.node("Expand", {tile, graph_.node("Concat", {tiles, graph_.integers({1, 1})}, {{"axis", 0}})});
  }

  // [N,channels,H,W] -> [N,T,S*S,channels]
  Value tiles(const Value& x, int64_t channels) {
    const Value deep = graph_.node("SpaceToDepth", {x}, {{"blocksize", side_}});  // [N,S*S*channels,h,w]
    const Value flat = reshape(deep, {0, side_ * side_ * channels, -1});
    const Value rows = transpose(flat, {0, 2, 1});
    return reshape(rows, {0, 0, side_ * side_, channels});
  }

  // Back.
  Value untile(const Value& x, int64_t channels, const Value& grid) {
    const int64_t depth = side_ * side_ * channels;
    const Value columns = transpose(reshape(x, {0, 0, depth}), {0, 2, 1});
    const Value shape = graph_.node("Concat", {graph_.integers({0, depth}), grid}, {{"axis", 0}});
    return graph_.node("DepthToSpace", {graph_.node("Reshape", {columns, shape})}, {{"blocksize", side_}});
  }

  // ---- output ----------------------------------------------------------------------------------------------------------

  void write_output(const Value& y) {
    if (options_.output == asapnet::SessionOutput::values)
      return graph_.output("picture", y, OnnxType::f32, {"N", config_.output_nc, height_, width_});
    // As tensor/picture_value.h; tanh ends at -1 and 1, so there is nothing to clip, and Cast cuts the fraction off.
    const Value half = graph_.node("Mul", {graph_.node("Add", {y, scalar("one", 1)}), scalar("half", 0.5f)});
    const Value scaled = graph_.node("Mul", {half, scalar("largest", 255)});
    const Value last = transpose(scaled, {0, 2, 3, 1});
    graph_.output("picture", graph_.node("Cast", {last}, {{"to", kU8}}), OnnxType::u8,
                  {"N", height_, width_, config_.output_nc});
  }

  // ---- parts -----------------------------------------------------------------------------------------------------------

  Value reshape(const Value& x, const Integers& sizes) { return graph_.node("Reshape", {x, graph_.integers(sizes)}); }
  Value transpose(const Value& x, const Integers& perm) { return graph_.node("Transpose", {x}, {{"perm", perm}}); }
  Value slice(const Value& x, int64_t axis, int64_t from, int64_t to) {
    return graph_.node("Slice", {x, graph_.integers({from}), graph_.integers({to}), graph_.integers({axis})});
  }
  // Under their names in the state of the generator.
  Value weight(const nn::Module& owner, const Variable& w) {
    return graph_.weight(owner.path() + ".weight", w.value(), options_.stored);
  }
  Value bias(const nn::Module& owner, const Variable& b) { return graph_.constant(owner.path() + ".bias", b.value()); }
  Value scalar(const std::string& name, double value) { return graph_.constant(name, Tensor::full({}, value)); }

  const asapnet::Generator& generator_;
  const Config& config_;
  OnnxOptions options_;
  int64_t side_;
  OnnxDim height_ = "H", width_ = "W";
  OnnxGraph graph_;
};

}  // namespace

OnnxGraph generator_graph(const asapnet::Generator& generator, const OnnxOptions& options) {
  return GeneratorWriter(generator, options).write();
}

void export_onnx(const WeightSource& source, const std::filesystem::path& file, const OnnxOptions& options) {
  check_onnx_is_here();
  ASAP_CHECK(file.extension() == ".onnx", "--onnx ", file.string(), ": the file to write must end in .onnx");
  OutputGuard guard;
  guard.protect(source.generator, "the file of weights");
  guard.check(file, "--onnx");
  const Config& config = source.options.model;
  asapnet::Generator generator((nn::init::Blank(), config));
  load_weights(source.generator, generator);
  const std::map<std::string, std::string> metadata{
      {"config", config_to_json(config)},
      {"classes", std::to_string(config.no_one_hot ? 0 : config.label_channels())},
      {"tile", std::to_string(config.tile())}};
  write_file(file, generator_graph(generator, options).serialize(metadata));
}

}  // namespace asap::train
