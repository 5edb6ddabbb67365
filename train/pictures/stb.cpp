// The one translation unit that compiles stb_image (public domain), with the only format used. Called from bmp.cpp alone.
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#include <stb_image.h>
