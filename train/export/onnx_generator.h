// The generator as a graph of ONNX's operators, for other programs to run: docs/deploy.md says how. It computes what
// docs/asapnet.md says and asapnet/generator.h computes, from the same modules and constants; the tile MLPs, one kernel there, are
// matrix products here. Sits on onnx_graph.h and generate.h.
#pragma once

#include <filesystem>

#include "asapnet/session.h"
#include "train/export/onnx_graph.h"
#include "train/infer/generate.h"

namespace asap::train {

enum class OnnxInput {
  labels,  // u8 [N,H,W], i32 where the classes do not fit into a byte; values as in a label map's file, 255 where it is a class
  one_hot,  // all input channels, f32 [N,C,H,W]
};

struct OnnxOptions {
  OnnxInput input = OnnxInput::labels;  // idle with no_one_hot
  asapnet::SessionOutput output = asapnet::SessionOutput::values;
  nn::FileDType stored = nn::FileDType::f32;  // or f16, bf16: of weights with two or more dimensions
  int64_t height = 0, width = 0;              // 0: any multiple of the tile
};

// Inputs by name: `labels`, or `x` [N,3,H,W] in [-1,1] with no_one_hot; `instance` f32 [N,1,H,W] and `z` f32 [N,z_dim] where the
// model has them; with OnnxInput::one_hot `x` in the place of the first two. Output: `picture`, f32 [N,output_nc,H,W] in [-1,1] or u8
// [N,H,W,output_nc]. A label that is no class is an error of the runtime, or gives zeros, as it treats Gather.
// asap::Error: a size that is no multiple of the tile; weights as OnnxGraph::weight.
OnnxGraph generator_graph(const asapnet::Generator& generator, const OnnxOptions& options);

// Reads the weights and writes the file whole or not at all. asap::Error: as above and OnnxGraph::serialize; no name NAME.onnx;
// `file` is one of the weights' own; weights that cannot be read.
void export_onnx(const WeightSource& source, const std::filesystem::path& file, const OnnxOptions& options);

}  // namespace asap::train
