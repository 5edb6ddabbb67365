// libjpeg behind two functions. It reports errors through callbacks that must not return, hence longjmp, which skips C++
// destructors: so each function that calls setjmp holds only plain values, and all that has a destructor lives in its caller.
// See jpeg.h.
#include "train/pictures/jpeg.h"

#include <cstdio>  // before jpeglib.h, which needs it

#include <jpeglib.h>

#include <jerror.h>  // after jpeglib.h, whose version decides what it declares

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdlib>
#include <string_view>

#include "tensor/error.h"
#include "train/pictures/orientation.h"

namespace asap::train {
namespace {

constexpr int kMostScans =
    200;  // encoders make up to some twenty; one for each coefficient of three components would be 192

// What both directions share: where an error leads, and its code and text.
struct Errors {
  jpeg_error_mgr manager{};
  std::jmp_buf jump;
  int code = 0, parameter = 0;
  std::array<char, JMSG_LENGTH_MAX> text{};

  Errors() {
    jpeg_std_error(&manager);
    manager.error_exit = leave;
    manager.emit_message = [](j_common_ptr jpeg, int level) {
      if (level < 0 && is_damage(jpeg->err->msg_code)) leave(jpeg);
    };
  }

  static void leave(j_common_ptr jpeg) {
    auto& self = *static_cast<Errors*>(jpeg->client_data);
    self.code = jpeg->err->msg_code;
    self.parameter = jpeg->err->msg_parm.i[0];
    jpeg->err->format_message(jpeg, self.text.data());
    std::longjmp(self.jump, 1);
  }

  // libjpeg only warns of data that are missing or wrong, and makes up pixels. What remains is harmless: unknown versions in
  // headers, bytes between segments (which some cameras write), scans in an order of their own.
  static bool is_damage(int warning) {
    constexpr std::array kDamage{JWRN_ARITH_BAD_CODE, JWRN_HIT_MARKER, JWRN_HUFF_BAD_CODE, JWRN_JPEG_EOF,
                                 JWRN_MUST_RESYNC};
    return std::find(kDamage.begin(), kDamage.end(), warning) != kDamage.end();
  }
};

struct Reader {
  jpeg_decompress_struct jpeg{};
  Errors errors;

  Reader() {
    jpeg.err = &errors.manager;
    jpeg.client_data = &errors;
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { jpeg_destroy_decompress(&jpeg); }
};

bool read_header(Reader& r, const uint8_t* file, size_t size) {
  if (setjmp(r.errors.jump)) return false;
  jpeg_create_decompress(&r.jpeg);
  jpeg_mem_src(&r.jpeg, file, static_cast<unsigned long>(size));
  jpeg_save_markers(&r.jpeg, JPEG_APP0 + 1, 0xffff);  // EXIF
  jpeg_read_header(&r.jpeg, TRUE);
  return true;
}

bool start(Reader& r) {
  if (setjmp(r.errors.jump)) return false;
  r.jpeg.out_color_space = r.jpeg.num_components == 4 ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&r.jpeg);  // a picture of several scans is decoded here, up to its last
  return true;
}

bool read_row(Reader& r, uint8_t* row) {
  if (setjmp(r.errors.jump)) return false;
  return jpeg_read_scanlines(&r.jpeg, &row, 1) == 1;
}

bool finish(Reader& r) {
  if (setjmp(r.errors.jump)) return false;
  return jpeg_finish_decompress(&r.jpeg);
}

// Each scan is decoded at the size of the whole picture, so a small file of thousands would take minutes. Counted up to the end
// of the image, by way of its segments (ITU-T T.81, annex B), since what cameras put into segments and behind may look like one.
int count_scans(std::span<const uint8_t> file) {
  int scans = 0;
  size_t at = 0;
  while (at + 4 <= file.size()) {
    const uint8_t marker = file[at + 1];
    if (file[at] != 0xff || marker == 0 || marker == 0xff) {  // entropy-coded data, or filling
      ++at;
    } else if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {  // without a segment
      at += 2;
    } else if (marker == 0xd9) {
      break;
    } else {
      scans += marker == 0xda;
      at += 2 + size_t(file[at + 2] << 8 | file[at + 3]);
    }
  }
  return scans;
}

const char* unsupported_process(int frame_marker) {
  switch (frame_marker) {
    case 0xc3: return "lossless";
    case 0xcb: return "lossless and arithmetic-coded";
    case 0xc9:
    case 0xca: return "arithmetic-coded";
    default: return "hierarchical";
  }
}

// Completes "this JPEG ...".
std::string reason(const Reader& r, size_t file_size) {
  const auto unsupported = [](const char* process) {
    return str("is ", process, ", which is not supported; save it as baseline or progressive");
  };
  switch (r.errors.code) {
    case JERR_SOF_UNSUPPORTED: return unsupported(unsupported_process(r.errors.parameter));
    case JERR_ARITH_NOTIMPL: return unsupported("arithmetic-coded");
    case JERR_BAD_PRECISION:
      return str("has ", r.errors.parameter, " bits a channel, which is not supported; save it with 8");
    case JERR_CONVERSION_NOTIMPL:
      return str("has ", r.jpeg.num_components, " channels, expected 1 (gray), 3 or 4; save it as RGB");
    case JERR_IMAGE_TOO_BIG: return str("has a side above ", r.errors.parameter, " pixels; scale it down first");
    case JERR_OUT_OF_MEMORY: return "takes more memory than there is";
    case JERR_INPUT_EOF:
    case JWRN_JPEG_EOF: return str("is cut off after ", file_size, " bytes (no end-of-image marker)");
    default: return str("is damaged (", r.errors.text.data(), ")");
  }
}

int orientation_of(const Reader& r) {
  constexpr std::string_view kHeading("Exif\0\0", 6);
  for (const jpeg_marker_struct* m = r.jpeg.marker_list; m; m = m->next) {
    const std::span data(m->data, m->data_length);
    if (data.size() >= kHeading.size() && std::equal(kHeading.begin(), kHeading.end(), data.begin()))
      return exif_orientation(data);
  }
  return 1;
}

// A file that was cut between two scans and closed: a component that never came, or bits of coefficients that never did.
bool lacks_scans(const Reader& r) {
  for (int c = 0; c < r.jpeg.num_components; ++c) {
    if (!r.jpeg.comp_info[c].quant_table) return true;  // set by the component's first scan
    if (!r.jpeg.coef_bits) continue;
    const auto& bits =
        r.jpeg.coef_bits[c];  // still unknown; -1: all of them, which for others than the first means zero
    if (bits[0] < 0 || std::any_of(bits, bits + DCTSIZE2, [](int b) { return b > 0; })) return true;
  }
  return false;
}

// Inverted C, M, Y, K to R, G, B: each is (255 - ink) scaled by (255 - black), rounded as Pillow does.
void cmyk_to_rgb(const uint8_t* cmyk, int width, uint8_t* rgb) {
  for (int x = 0; x < width; ++x, cmyk += 4)
    for (int c = 0; c < 3; ++c) {
      const int white = cmyk[3], product = (255 - cmyk[c]) * white + 128;
      *rgb++ = uint8_t(white - ((product >> 8) + product) / 256);
    }
}

struct Writer {
  jpeg_compress_struct jpeg{};
  Errors errors;
  unsigned char* bytes = nullptr;
  unsigned long size = 0;

  Writer() {
    jpeg.err = &errors.manager;
    jpeg.client_data = &errors;
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() {
    jpeg_destroy_compress(&jpeg);
    std::free(bytes);
  }
};

bool write_rows(Writer& w, const Image& image, int quality) {
  if (setjmp(w.errors.jump)) return false;
  jpeg_create_compress(&w.jpeg);
  jpeg_mem_dest(&w.jpeg, &w.bytes, &w.size);
  w.jpeg.image_width = JDIMENSION(image.width);
  w.jpeg.image_height = JDIMENSION(image.height);
  w.jpeg.input_components = image.channels;
  w.jpeg.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&w.jpeg);
  jpeg_set_quality(&w.jpeg, quality, TRUE);
  if (quality > 90) w.jpeg.comp_info[0].h_samp_factor = w.jpeg.comp_info[0].v_samp_factor = 1;
  jpeg_start_compress(&w.jpeg, TRUE);
  while (w.jpeg.next_scanline < w.jpeg.image_height) {
    auto* row = const_cast<JSAMPROW>(image.row(int(w.jpeg.next_scanline)));
    jpeg_write_scanlines(&w.jpeg, &row, 1);
  }
  jpeg_finish_compress(&w.jpeg);
  return true;
}

}  // namespace

Image decode_jpeg(std::span<const uint8_t> file, const std::string& name, int& orientation) {
  Reader r;
  const auto checked = [&](bool done) {
    if (!done) fail(name, ": this JPEG ", reason(r, file.size()));
  };
  ASAP_CHECK(count_scans(file) <= kMostScans, name, ": this JPEG has more than ", kMostScans,
             " scans, which no encoder makes; save it anew");
  const bool header = read_header(r, file.data(), file.size());
  if (r.errors.code == JERR_IMAGE_TOO_BIG) check_picture_size(r.jpeg.image_width, r.jpeg.image_height, name);
  checked(header);
  check_picture_size(r.jpeg.image_width, r.jpeg.image_height, name);
  orientation = orientation_of(r);
  checked(start(r));
  Image image(int(r.jpeg.output_width), int(r.jpeg.output_height), 3);
  std::vector<uint8_t> inks(r.jpeg.output_components == 4 ? size_t(image.width) * 4 : 0);
  for (int y = 0; y < image.height; ++y) {
    checked(read_row(r, inks.empty() ? image.row(y) : inks.data()));
    if (!inks.empty()) cmyk_to_rgb(inks.data(), image.width, image.row(y));
  }
  if (lacks_scans(r)) fail(name, ": this JPEG is damaged (its last scans are missing)");
  checked(finish(r));
  return image;
}

std::vector<uint8_t> encode_jpeg(const Image& image, int quality, const std::string& name) {
  ASAP_CHECK(image.channels == 1 || image.channels == 3, name,
             ": expected a picture of 1 or 3 channels to write as JPEG, got ", image.channels);
  ASAP_CHECK(quality >= 1 && quality <= 100, name, ": expected a JPEG quality of 1 to 100, got ", quality);
  ASAP_CHECK(image.width <= JPEG_MAX_DIMENSION && image.height <= JPEG_MAX_DIMENSION, name, ": expected at most ",
             JPEG_MAX_DIMENSION, " pixels a side for JPEG, got ", size_text(image.width, image.height));
  Writer w;
  if (!write_rows(w, image, quality)) fail(name, ": JPEG encoding failed (", w.errors.text.data(), ")");
  return {w.bytes, w.bytes + w.size};
}

}  // namespace asap::train
