// PyTorch's .pth files, read only: what torch.save(state_dict) writes, as a zip (PyTorch 1.6 and later) or as the
// older stream of pickles. Nothing in the file is executed. Next: checkpoint_file.h; inside: pth_pickle.h,
// pth_tensors.h, pth_zip.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "nn/state_dict.h"

namespace asap::nn {

// All tensors of the file, those in nested dicts and lists under dotted paths ("model.conv.weight"), in the file's
// order; plain values beside them (epochs, settings) are skipped. Half and bfloat16 widen to f32, integers become i32,
// bytes and booleans u8; a view is copied out, and comes contiguous. asap::Error naming the file and what was expected:
// truncated or damaged; a class or opcode that a state_dict does not need (refused by name); complex, quantised or
// big-endian data; integers beyond 32 bits; a file that would unfold to far more than its size.
StateDict read_pth(const std::filesystem::path& path);

// The same from memory; errors name no file.
StateDict parse_pth(std::span<const uint8_t> bytes);

// True if the bytes start like either container (which may still turn out to be damaged).
bool looks_like_pth(std::span<const uint8_t> bytes);

}  // namespace asap::nn
