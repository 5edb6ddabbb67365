// PyTorch's .pth files, read only: what torch.save(state_dict) writes, as a zip (PyTorch 1.6 and later) or as the
// older stream of pickles. Nothing in the file is executed. Next: checkpoint_file.h; inside: pth_pickle.h,
// pth_tensors.h, pth_zip.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "nn/tensor_reader.h"

namespace asap::nn {

// All tensors of the file, those in nested dicts and lists under dotted paths ("model.conv.weight"), in the file's
// order; plain values beside them (epochs, settings) are skipped, and what a class that we do not know would have made
// stays an opaque value that is never run. Half and bfloat16 widen to f32, integers become i32, bytes and booleans u8; a
// view is copied out, and comes contiguous. asap::Error naming what was expected: truncated or damaged; no dict; big-endian
// data; and when it is read, a tensor that we cannot hold (complex, quantised, sparse, float8, integers beyond 32 bits) or
// one by which the file unfolds to far more than its size. `bytes` must outlive the reader.
std::unique_ptr<TensorReader> open_pth(std::span<const uint8_t> bytes);

// True if the bytes start like either container (which may still turn out to be damaged).
bool looks_like_pth(std::span<const uint8_t> bytes);

}  // namespace asap::nn
