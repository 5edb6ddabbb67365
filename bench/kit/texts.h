// Texts that are compiled in, from files of the tree: bench/CMakeLists.txt makes texts.cpp of them.
#pragma once

namespace asap::bench::texts {

extern const char* const kernels_h;  // tensor/kernels.h
// skeleton/: what `asapnet kernel new` fills in and writes.
extern const char* const skeleton_cpp;
extern const char* const skeleton_cu;
extern const char* const skeleton_cmake;

}  // namespace asap::bench::texts
