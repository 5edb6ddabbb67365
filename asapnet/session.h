// InferenceSession: label maps of one size to pictures: Generator::forward without gradients, with checks of what comes in. With
// the precision bf16, weights of convolutions and activations are bf16. On CUDA the weights of convolutions are channels-last,
// and the work is recorded as a graph at construction, with memory of its own.
// A session holds the given generator's weights where they are what session_weight() makes of them, else copies. So a generator
// that is filled through session_weight, as nn::NetworkWeights::load_into can, costs no memory beside its sessions.
// Sessions of several threads may run at once on the CPU, each thread with its own; a card takes one thread at a time.
// Next: generator.h for what is computed.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "asapnet/generator.h"
#include "tensor/precision.h"

namespace asap::asapnet {

enum class SessionOutput {
  picture,  // u8 [N,H,W,output_nc], as tensor/picture_value.h rounds
  values    // f32 [N,output_nc,H,W] in [-1,1]
};

struct SessionOptions {
  int64_t batch = 1, height = 0, width = 0;
  Precision precision = Precision::f32;
  Device device = Device::cpu;
  SessionOutput output = SessionOutput::picture;
};

// What a session with such options keeps of a generator's parameter: on its device, weights of convolutions in its precision's
// type and in the layout that the device's kernels want, all else in f32. w itself if it is that already.
Tensor session_weight(const Tensor& w, const SessionOptions& options);

// All in host memory.
struct SessionInput {
  Tensor labels;    // u8 or i32 [N,H,W], 0..classes-1; with no_one_hot f32 [N,3,H,W] in [-1,1]
  Tensor instance;  // f32 [N,1,H,W] if the configuration has an instance channel, else undefined
  Tensor z;         // f32 [N,z_dim] or undefined; matters only with condition_on_z
};

class InferenceSession {
 public:
  // The generator may be on any device. When its weights change, make a new session: whether this one sees the change
  // depends on the device. asap::Error: height or width no multiple of the tile, batch below 1, a device that is not there.
  InferenceSession(const Generator& generator, const SessionOptions& options);
  ~InferenceSession();
  InferenceSession(const InferenceSession&) = delete;
  InferenceSession& operator=(const InferenceSession&) = delete;

  // The pictures, in host memory that belongs to the session: the next run overwrites them.
  // asap::Error naming what does not fit: shape, type, a label's value and place.
  const Tensor& run(const SessionInput& input);

  // The three parts of run(), for a caller that times them or keeps a device busy.
  void load(const SessionInput& input);  // copies to the device and checks: after an error, what was loaded before is gone
  void compute();                        // queues the work; on a GPU it returns before it is done
  const Tensor& fetch();                 // waits for it and copies the result to the host

  const SessionOptions& options() const { return options_; }
  // Bytes that the session holds on its device: buffers, what a graph keeps, and weights unless they are the generator's own.
  size_t bytes() const;

 private:
  Tensor buffer(const Shape& shape, DType dtype);
  void take_weights(const Generator& generator);
  void forward();
  void load_labels(const Tensor& labels);
  void load_f32(const char* what, const Tensor& given, Tensor& place);

  Config config_;
  SessionOptions options_;
  size_t bytes_ = 0;
  Tensor labels_, instance_, z_;  // the input on the device
  Tensor result_, host_result_;   // on the device and on the host; on the CPU one and the same
  bool result_locked_ = false;    // the latter, for faster copies

  Generator generator_;
  bool z_given_ = false;
  std::unique_ptr<DeviceGraph> graphs_[2];  // of forward() without z and with it; they share their memory
};

}  // namespace asap::asapnet
