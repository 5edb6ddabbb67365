// Label colours and the grid composer. See picture_grid.h.
#include "train/pictures/picture_grid.h"

#include <algorithm>
#include <array>

#include "tensor/error.h"

namespace asap::train {
namespace {

// The colours of the CMP facade label files, index 0 to 12.
constexpr std::array<uint8_t, 39> kCmpPalette = {0,   0,   0,   0,   0,   170, 0,   0,   255, 0,   85,  255, 0,
                                                 170, 255, 0,   255, 255, 85,  255, 170, 170, 255, 85,  255, 255,
                                                 0,   255, 170, 0,   255, 85,  0,   255, 0,   0,   170, 0,   0};

}  // namespace

std::vector<uint8_t> label_palette(int count) {
  ASAP_CHECK(count >= 1 && count <= 1 << 16, "label_palette: expected 1 to 65536 colours, got ", count);
  if (count <= 13) return {kCmpPalette.begin(), kCmpPalette.begin() + 3 * count};
  std::vector<uint8_t> palette(3 * size_t(count), 0);
  for (int i = 0; i < count; ++i)
    for (int bit = 0; bit < 16; ++bit)  // the lowest three bits of i decide the highest bits of r, g, b, and so on
      if (i >> bit & 1) palette[3 * size_t(i) + bit % 3] |= uint8_t(128 >> bit / 3);
  return palette;
}

Image colorize(const LabelMap& labels, int count) {
  const auto palette = label_palette(count);
  Image image(labels.width, labels.height, 3);
  for (size_t i = 0; i < labels.values.size(); ++i) {
    const int32_t v = labels.values[i];
    ASAP_CHECK(v >= 0 && v < count, "colorize: expected labels 0 to ", count - 1, ", got ", v);
    std::copy_n(&palette[3 * size_t(v)], 3, &image.pixels[3 * i]);
  }
  return image;
}

Image compose_grid(const std::vector<std::vector<Image>>& rows, int gap) {
  ASAP_CHECK(!rows.empty() && !rows[0].empty() && gap >= 0, "compose_grid: expected pictures and a gap of at least 0");
  const size_t columns = rows[0].size();
  std::vector<int> widths(columns, 0), heights(rows.size(), 0);
  for (size_t r = 0; r < rows.size(); ++r) {
    ASAP_CHECK(rows[r].size() == columns, "compose_grid: expected ", columns, " pictures in every row, row ", r, " has ",
               rows[r].size());
    for (size_t c = 0; c < columns; ++c) {
      const Image& cell = rows[r][c];
      ASAP_CHECK(cell.channels == 1 || cell.channels == 3, "compose_grid: expected gray or RGB pictures, got ", cell.channels,
                 " channels");
      widths[c] = std::max(widths[c], cell.width);
      heights[r] = std::max(heights[r], cell.height);
    }
  }
  int width = -gap, height = -gap;
  for (int w : widths) width += w + gap;
  for (int h : heights) height += h + gap;

  Image grid(width, height, 3, 255);
  for (size_t r = 0, top = 0; r < rows.size(); top += size_t(heights[r] + gap), ++r)
    for (size_t c = 0, left = 0; c < columns; left += size_t(widths[c] + gap), ++c) {
      const Image& cell = rows[r][c];
      for (int y = 0; y < cell.height; ++y)
        for (int x = 0; x < cell.width; ++x)
          for (int k = 0; k < 3; ++k) grid.at(int(left) + x, int(top) + y, k) = cell.at(x, y, cell.channels == 1 ? 0 : k);
    }
  return grid;
}

}  // namespace asap::train
