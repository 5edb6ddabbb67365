// A walk over the marker segments of a JPEG file; the entropy-coded data between them is skipped. See jpeg_check.h.
#include "train/jpeg_check.h"

#include <bitset>
#include <map>

#include "tensor/error.h"

namespace asap::train {
namespace {

using Bytes = std::span<const uint8_t>;

class Walk {
 public:
  Walk(Bytes file, const std::string& name) : file_(file), name_(name) {}

  void run() {
    size_t i = 2;  // behind the start-of-image marker
    while (i + 1 < file_.size()) {
      const uint8_t marker = file_[i + 1];
      if (file_[i] != 0xff || marker == 0xff) {  // entropy-coded data, padding or a fill byte
        ++i;
      } else if (marker == 0xd9) {  // end of image
        if (scans_ == 0) damaged("no picture data");
        return;
      } else if (marker == 0x00 || marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7)) {  // without a segment
        i += 2;
      } else {
        if (i + 4 > file_.size()) break;
        const size_t size = size_t(file_[i + 2]) << 8 | file_[i + 3];  // counts its own two bytes
        if (size < 2) damaged("a segment of impossible size");
        if (i + 2 + size > file_.size()) break;
        segment(marker, file_.subspan(i + 4, size - 2));
        i += 2 + size;
      }
    }
    fail(name_, ": this JPEG is cut off after ", file_.size(), " bytes (no end-of-image marker)");
  }

 private:
  [[noreturn]] void damaged(const char* reason) const { fail(name_, ": this JPEG is damaged (", reason, ")"); }

  void segment(uint8_t marker, Bytes data) {
    if (marker == 0xc4) huffman_tables(data);
    if (marker == 0xdb) quantisation_tables(data);
    if (marker >= 0xc0 && marker <= 0xc2) frame(data);  // baseline, extended, progressive
    if (marker == 0xda) scan(data);
  }

  // B.2.4.2: class and number in one byte, how many codes there are of each length 1..16, their symbols.
  void huffman_tables(Bytes data) {
    while (!data.empty()) {
      if (data.size() < 17) damaged("a short Huffman table");
      const int table = data[0];
      if (table >> 4 > 1 || (table & 15) > 3) damaged("an impossible Huffman table number");
      size_t symbols = 0, codes_left = 1;  // codes of the present length that are no prefix of shorter ones
      for (int length = 1; length <= 16; ++length) {
        codes_left *= 2;
        if (data[length] > codes_left) damaged("impossible Huffman code lengths");
        codes_left -= data[length];
        symbols += data[length];
      }
      if (symbols > 256 || data.size() < 17 + symbols) damaged("a Huffman table with too many symbols");
      huffman_.set(size_t(table));
      data = data.subspan(17 + symbols);
    }
  }

  // B.2.4.1: precision and number in one byte, 64 values of one or two bytes.
  void quantisation_tables(Bytes data) {
    while (!data.empty()) {
      const size_t size = data[0] >> 4 ? 129 : 65;
      if (data.size() < size) damaged("a short quantisation table");
      quantisation_.set(data[0] & 15);
      data = data.subspan(size);
    }
  }

  // B.2.2: six bytes on the frame, then number, sampling factors and quantisation table of each component.
  void frame(Bytes data) {
    if (data.size() < 6 || data.size() < 6 + 3 * size_t(data[5])) damaged("a short frame header");
    for (size_t c = 0; c < data[5]; ++c) component_quantisation_[data[6 + 3 * c]] = data[8 + 3 * c] & 15;
  }

  // B.2.3: the components with their Huffman tables, then the range of coefficients and the bit position.
  void scan(Bytes data) {
    if (data.empty() || data.size() < 4 + 2 * size_t(data[0])) damaged("a short scan header");
    const Bytes rest = data.subspan(1 + 2 * size_t(data[0]));
    const bool has_dc = rest[0] == 0, has_ac = rest[1] != 0, refines_dc = has_dc && !has_ac && rest[2] >> 4 != 0;
    for (size_t c = 0; c < data[0]; ++c) {
      const auto quantisation = component_quantisation_.find(data[1 + 2 * c]);
      if (quantisation == component_quantisation_.end()) damaged("a scan of an unknown component");
      if (!quantisation_.test(size_t(quantisation->second))) damaged("a missing quantisation table");
      const size_t dc = data[2 + 2 * c] >> 4, ac = data[2 + 2 * c] & 15;
      const bool missing = (has_dc && !refines_dc && !huffman_.test(dc)) || (has_ac && !huffman_.test(16 + ac));
      if (missing) damaged("a missing Huffman table");
    }
    ++scans_;
  }

  Bytes file_;
  const std::string& name_;
  std::bitset<32> huffman_;  // DC tables 0.., AC tables 16..
  std::bitset<16> quantisation_;
  std::map<int, int> component_quantisation_;
  int scans_ = 0;
};

}  // namespace

void check_jpeg(Bytes file, const std::string& name) { Walk(file, name).run(); }

}  // namespace asap::train
