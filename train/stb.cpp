// The one translation unit that compiles stb_image and stb_image_write (public domain), with only the formats used.
// Their functions are called from image_files.cpp alone.

// The JPEG writer works in float: without contraction into FMA its files are the same on every machine, which the
// reproducible synthetic data (synth.h) relies on.
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#include <stb_image.h>

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#include <stb_image_write.h>
