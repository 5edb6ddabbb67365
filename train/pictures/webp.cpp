// libwebp behind one function. See webp.h.
#include "train/pictures/webp.h"

#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "tensor/error.h"
#include "train/pictures/orientation.h"

namespace asap::train {
namespace {

int orientation_of(std::span<const uint8_t> file) {
  const WebPData data{file.data(), file.size()};
  const std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> chunks(WebPDemux(&data), WebPDemuxDelete);
  WebPChunkIterator chunk;
  if (!chunks || !WebPDemuxGetChunk(chunks.get(), "EXIF", 1, &chunk)) return 1;
  const int orientation = exif_orientation({chunk.chunk.bytes, chunk.chunk.size});
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

}  // namespace

Image decode_webp(std::span<const uint8_t> file, const std::string& name, int& orientation) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(file.data(), file.size(), &features) != VP8_STATUS_OK)
    fail(name, ": this WebP is damaged or cut off");
  check_picture_size(features.width, features.height, name);
  if (features.has_animation) fail(name, ": this WebP is an animation; save the frame you mean as a picture");
  Image image(features.width, features.height, 3);
  if (!WebPDecodeRGBInto(file.data(), file.size(), image.pixels.data(), image.pixels.size(), 3 * features.width))
    fail(name, ": this WebP is damaged or cut off");
  orientation = orientation_of(file);
  return image;
}

}  // namespace asap::train
