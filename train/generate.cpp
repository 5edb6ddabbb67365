// Inference from files to files. Declared in generate.h.
#include "train/generate.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <iomanip>
#include <iostream>
#include <set>

#include "asapnet/session.h"
#include "tensor/threads.h"
#include "train/architecture.h"
#include "train/batch.h"
#include "train/checkpoint.h"
#include "train/config_json.h"
#include "train/image_files.h"
#include "train/npy.h"
#include "train/resize.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// The configuration in a file's metadata, if it has one.
bool options_from_metadata(const nn::CheckpointFile& file, Options& options) {
  const auto& metadata = file.contents().metadata();
  const auto config = metadata.find("config");
  if (config == metadata.end()) return false;
  options_from_json(config->second, file.path().string() + " (metadata)", options);
  return true;
}

// The configuration from names and shapes, limited by what the user gave.
void infer_options(const Tensors& weights, const Overlay& overlay, WeightSource& source) {
  const auto model_overlay = [&](asapnet::Config& config) {
    Options options{.model = config, .train = {}};
    overlay(options);
    config = options.model;
  };
  const InferredConfig inferred = infer_generator(weights, source.generator.string(), model_overlay);
  source.options.model = inferred.config;
  source.assumed = inferred.assumed;
}

WeightSource from_folder(const fs::path& folder) {
  WeightSource source;
  const bool is_run = fs::exists(folder / "config.json");
  const FoundCheckpoint found = is_run ? find_checkpoint(folder) : FoundCheckpoint{folder, ""};
  if (!found.note.empty()) std::cerr << "asapnet: " << found.note << std::endl;
  const fs::path checkpoint = found.folder;
  ASAP_CHECK(
      is_run || fs::exists(folder / "G.safetensors"), folder.string(),
      ": expected a run folder (config.json, checkpoints) or a checkpoint folder (G.safetensors), found neither");
  ASAP_CHECK(!checkpoint.empty(), folder.string(), ": the run has no checkpoint yet");
  source.generator = checkpoint / "G.safetensors";
  check_unchanged(source.generator);
  if (fs::exists(checkpoint / "E.safetensors")) source.encoder = checkpoint / "E.safetensors";
  return source;
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

// The single files and the files of the folders, paired with instance maps of equal stems.
std::vector<Pair> given_pairs(const GenerateOptions& options, bool use_instances) {
  ASAP_CHECK(!use_instances || !options.instances.empty(),
             "generate: the model takes an instance channel; give --instances FILE or DIR");
  const fs::path instances = use_instances ? options.instances : fs::path();
  std::vector<Pair> pairs;
  for (const fs::path& path : options.labels) {
    if (is_folder(path)) {
      const auto found = list_pairs({.layout = DatasetLayout::custom,
                                     .label_dir = path,
                                     .instance_dir = instances,
                                     .label_affixes = options.label_affixes,
                                     .instance_affixes = options.instance_affixes,
                                     .need_images = false,
                                     .skip = {options.out}});
      pairs.insert(pairs.end(), found.begin(), found.end());
    } else {
      const fs::path instance = is_folder(instances) ? instances / (path.stem().string() + ".png") : instances;
      pairs.push_back({path.stem().string(), path, {}, instance});
    }
  }
  std::set<std::string> names;
  for (Pair& pair : pairs) {
    pair.label_half = options.labels_half;
    ASAP_CHECK(names.insert(pair.name).second, "generate: two label maps are called ", pair.name,
               "; their pictures would overwrite each other");
  }
  return pairs;
}

std::vector<Pair> pairs_to_generate(const WeightSource& source, const GenerateOptions& options) {
  if (!options.labels.empty()) return given_pairs(options, source.options.model.instance_channel());
  const TrainOptions& o = source.options.train;
  ASAP_CHECK(!o.dataroot.empty() || !o.label_dir.empty(),
             "generate: expected label maps; give --labels FILE or DIR, or --dataset and --data");
  DatasetOptions dataset = dataset_options(source.options);
  dataset.need_images = false;
  dataset.skip = {options.out};
  return list_pairs(dataset);
}

// `fixed` to the wanted size, unless the user chose a mode.
PreprocessOptions preprocessing(const WeightSource& source, const GenerateOptions& options) {
  PreprocessOptions p = preprocess_options(source.options);
  if (options.keep_preprocess) return p;
  const asapnet::Config& config = source.options.model;
  const int64_t width = options.size.width ? options.size.width : config.crop_size;
  const int64_t height = options.size.height ? options.size.height : config.height();
  config.check_size(height, width, "generate");
  p.mode = Preprocess::fixed;
  p.crop_size = static_cast<int>(width);
  p.aspect_ratio = static_cast<double>(width) / static_cast<double>(height);
  return p;
}

// With condition_on_z, a code for every picture from the seed.
Tensor code_for(const Options& options, int64_t index) {
  if (!options.model.condition_on_z) return {};
  const auto z_dim = options.model.z_dim;
  return random_normal(
      {1, z_dim}, {.seed = static_cast<uint64_t>(options.train.seed), .offset = static_cast<uint64_t>(index * z_dim)});
}

// What the session gave for one sample: a picture u8 [1,H,W,C], or with `raw` values f32 [1,C,H,W], written as they are too.
void write_result(const fs::path& out, const std::string& name, const Tensor& result, bool raw) {
  if (!raw) {
    Image image(static_cast<int>(result.size(2)), static_cast<int>(result.size(1)), static_cast<int>(result.size(3)));
    std::copy_n(result.data<uint8_t>(), result.numel(), image.pixels.begin());
    return write_png(out / (name + ".png"), image);
  }
  write_png(out / (name + ".png"), to_image(result, 0));
  const Tensor values = result.select(0, 0);
  write_npy(out / (name + ".npy"), {values.data<float>(), static_cast<size_t>(values.numel())},
            {values.shape().begin(), static_cast<size_t>(values.rank())});
}

// Sessions are of one size: made anew when a picture of another size comes, kept otherwise.
class Sessions {
 public:
  Sessions(const asapnet::Generator& generator, const asapnet::SessionOptions& options)
      : generator_(generator), options_(options) {}

  asapnet::InferenceSession& of_size(int64_t height, int64_t width) {
    if (!session_ || options_.height != height || options_.width != width) {
      session_.reset();  // its memory first
      options_.height = height;
      options_.width = width;
      session_ = std::make_unique<asapnet::InferenceSession>(generator_, options_);
    }
    return *session_;
  }

 private:
  const asapnet::Generator& generator_;
  asapnet::SessionOptions options_;
  std::unique_ptr<asapnet::InferenceSession> session_;
};

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  ASAP_CHECK(!error, folder.string(), ": the folder cannot be made (", error.message(), ")");
}

std::string milliseconds(double value) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << value << " ms";
  return text.str();
}

void print_timing(std::vector<double> times, const fs::path& out) {
  std::sort(times.begin(), times.end());
  std::cout << times.size() << " picture" << (times.size() == 1 ? "" : "s") << " in " << out.string() << ", median "
            << milliseconds(times[times.size() / 2])
            << " a picture, from labels to pixels; loading, preparing a size and writing files not counted\n";
}

std::vector<fs::path> picture_files(const std::vector<fs::path>& paths) {
  std::vector<fs::path> files;
  for (const fs::path& path : paths) {
    if (!is_folder(path)) {
      files.push_back(path);
      continue;
    }
    // A folder of pictures is what the custom layout lists as labels.
    for (const Pair& pair : list_pairs({.layout = DatasetLayout::custom, .label_dir = path, .need_images = false}))
      files.push_back(pair.label);
  }
  return files;
}

}  // namespace

WeightSource find_weights(const fs::path& weights, const Overlay& overlay) {
  ASAP_CHECK(fs::exists(weights), weights.string(), ": there is no such file or folder");
  WeightSource source;
  if (is_folder(weights)) {
    source = from_folder(weights);
  } else {
    source.generator = weights;
    check_unchanged(weights);
  }
  nn::CheckpointFile file(source.generator);
  const nn::NetworkWeights generator(file, signature(NetworkKind::generator));
  if (fs::exists(weights / "config.json")) {
    options_from_json_file(weights / "config.json", source.options);
  } else if (!options_from_metadata(file, source.options)) {
    infer_options(generator.tensors(), overlay, source);
  }
  source.options.train.phase = "test";
  overlay(source.options);
  resolve(source.options);
  check_size_of_generator(file, generator.tensors(), source.options.model);
  return source;
}

PictureSize parse_size(const std::string& text) {
  const auto side = [&](const std::string& digits) {
    int64_t pixels = 0;
    const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), pixels);
    ASAP_CHECK(error == std::errc() && stop == digits.data() + digits.size() && pixels > 0,
               "--size: expected WIDTH or WIDTHxHEIGHT, came '", text, "'");
    return pixels;
  };
  const size_t cross = text.find('x');
  return {.width = side(text.substr(0, cross)),
          .height = side(cross == std::string::npos ? text : text.substr(cross + 1))};
}

void generate(const WeightSource& source, const GenerateOptions& options) {
  const Device device = available_device(source.options.train.device);
  set_num_threads(static_cast<int>(source.options.train.threads));
  const std::vector<Pair> pairs = pairs_to_generate(source, options);
  const PreprocessOptions preprocess = preprocessing(source, options);
  asapnet::Generator generator(source.options.model);
  load_weights(source.generator, generator);
  Sessions sessions(generator,
                    {.precision = options.precision,
                     .device = device,
                     .output = options.raw ? asapnet::SessionOutput::values : asapnet::SessionOutput::picture});
  make_folder(options.out);
  std::vector<double> times;
  for (const Pair& pair : pairs) {
    const Sample sample = load_sample(pair, preprocess, {});
    const asapnet::Batch batch = make_batch({sample}, source.options.model);
    const Tensor z = code_for(source.options, static_cast<int64_t>(times.size()));
    asapnet::InferenceSession& session = sessions.of_size(sample.height(), sample.width());
    const auto begin = Clock::now();
    const Tensor& result = session.run({.labels = batch.labels, .instance = batch.instance, .z = z});
    times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    make_folder((options.out / pair.name).parent_path());  // "sub/a0" keeps its folder
    write_result(options.out, pair.name, result, options.raw);
    std::cout << (options.out / (pair.name + ".png")).string() << "  " << size_text(sample.width(), sample.height())
              << "  " << milliseconds(times.back()) << std::endl;
  }
  print_timing(times, options.out);
}

void encode(const WeightSource& source, const std::vector<fs::path>& images, const fs::path& out) {
  const asapnet::Config& config = source.options.model;
  ASAP_CHECK(config.use_vae && !source.encoder.empty(),
             "encode: expected a run trained with --use-vae; this one has no encoder");
  const Device device = available_device(source.options.train.device);
  set_num_threads(static_cast<int>(source.options.train.threads));
  asapnet::AsapNet model(config, 0);
  load_weights(source.encoder, *model.encoder());
  model.to(device);
  make_folder(out);
  for (const fs::path& file : picture_files(images)) {
    const Image photo =
        resize_bicubic(read_photo(file), static_cast<int>(config.crop_size), static_cast<int>(config.height()));
    Tensor image = Tensor::empty({1, 3, photo.height, photo.width});
    image_to_floats(photo, image.data<float>());
    const asapnet::EncoderResult code = model.encode(image.to(device));
    for (const auto& [name, value] : {std::pair{"_mu.npy", code.mu}, {"_logvar.npy", code.logvar}}) {
      const fs::path target = out / (file.stem().string() + name);
      write_npy(target, value.value().to_vector<float>(), std::vector<int64_t>{config.z_dim});
      std::cout << target.string() << "\n";
    }
  }
}

}  // namespace asap::train
