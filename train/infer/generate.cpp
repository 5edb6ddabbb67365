// Inference from files to files. Declared in generate.h.
#include "train/infer/generate.h"

#include <algorithm>
#include <charconv>
#include <iomanip>
#include <iostream>
#include <map>
#include <optional>
#include <set>

#include "nn/init.h"
#include "tensor/threads.h"
#include "train/data/batch.h"
#include "train/data/match_files.h"
#include "train/files/npy.h"
#include "train/files/output_guard.h"
#include "train/files/user_text.h"
#include "train/files/whole_files.h"
#include "train/options/config_json.h"
#include "train/options/resolve.h"
#include "train/pictures/image_files.h"
#include "train/pictures/resize.h"
#include "train/run/architecture.h"
#include "train/run/built_in.h"
#include "train/run/checkpoint.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

// The configuration in a file's metadata, if it has one.
bool options_from_metadata(const nn::CheckpointFile& file, Options& options) {
  const auto& metadata = file.contents().metadata();
  const auto config = metadata.find("config");
  if (config == metadata.end()) return false;
  options_from_json(config->second, file.path().string() + " (metadata)", options);
  return true;
}

// The configuration from names and shapes, limited by what the user gave.
void infer_options(const Tensors& weights, const Wishes& wishes, WeightSource& source) {
  const auto model_overlay = [&](asapnet::Config& config) {
    Options options{.model = config, .train = {}};
    wishes.apply(options);
    config = options.model;
  };
  const InferredConfig inferred = infer_generator(weights, source.generator.string(), model_overlay);
  source.options.model = inferred.config;
  source.assumed = inferred.assumed;
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

// The files of a run or of a checkpoint.
void read_folder(const fs::path& folder, WeightSource& source) {
  const bool is_run = fs::exists(folder / "config.json");
  const FoundCheckpoint found = is_run ? find_checkpoint(folder) : FoundCheckpoint{folder, ""};
  if (!found.note.empty()) warn(found.note);
  const fs::path checkpoint = found.folder;
  ASAP_CHECK(
      is_run || fs::exists(folder / "G.safetensors"), folder.string(),
      ": expected a run folder (config.json, checkpoints) or a checkpoint folder (G.safetensors), found neither");
  ASAP_CHECK(!checkpoint.empty(), folder.string(), ": the run has no checkpoint yet");
  source.generator = generator_file(checkpoint);
  if (const fs::path last = checkpoint / "G.safetensors"; source.generator != last)
    source.assumed.push_back(str("the average of the generator's weights, ", source.generator.string(), " (--weights ",
                                 shell_quoted(last.string()), " takes the last step's)"));
  check_unchanged(source.generator);
  if (fs::exists(checkpoint / "E.safetensors")) source.encoder = checkpoint / "E.safetensors";
}

// What a model is cannot change once it is trained.
void check_as_trained(const fs::path& weights, const Options& trained, const Options& wanted, const Wishes& wishes) {
  Options a = trained, b = wanted;
  const auto before = option_fields(a), after = option_fields(b);
  for (size_t i = 0; i < before.size(); ++i) {
    const OptionField& field = before[i];
    if (field.group != OptionGroup::input && field.group != OptionGroup::generator &&
        field.group != OptionGroup::encoder)
      continue;
    const std::string is = to_text(field);
    if (is == to_text(after[i])) continue;
    const std::string start =
        str(wishes.origin(after[i]), ": ", weights.string(), " was trained with ", field.key, " ", is);
    const bool of_size = field.key == "crop_size" || field.key == "aspect_ratio";
    ASAP_CHECK(!of_size, start, ", and a run's ", field.key, " cannot change; for pictures of another size use --size ",
               wanted.model.crop_size, wanted.model.aspect_ratio == 1 ? "" : str("x", wanted.model.height()));
    fail(start, ", and a trained model's ", field.key, " cannot change");
  }
}

// "a, b and c", for files that the user named.
std::string enumerate(const std::vector<fs::path>& paths) {
  std::string text;
  for (size_t i = 0; i < paths.size(); ++i)
    text += (i == 0 ? "" : i + 1 == paths.size() ? " and " : ", ") + paths[i].string();
  return text;
}

void check_given_files(const std::vector<fs::path>& files, const char* option) {
  std::vector<fs::path> missing;
  std::copy_if(files.begin(), files.end(), std::back_inserter(missing), [](const fs::path& p) { return !is_there(p); });
  ASAP_CHECK(missing.empty(), option, ": there is no ", enumerate(missing));
}

// Names are the outputs', so each must be there once.
void check_names(const std::vector<Pair>& pairs, const char* what) {
  std::map<std::string, fs::path> names;
  for (const Pair& pair : pairs) {
    const auto [other, is_new] = names.emplace(pair.name, pair.label);
    ASAP_CHECK(is_new, what, " ", other->second.string(), " and ", pair.label.string(), " are both called ", pair.name,
               "; what is made of them would overwrite each other");
  }
}

// Single files and the files of folders, in the order given. A folder of pictures is what the custom layout lists as labels.
std::vector<Pair> files_and_folders(const std::vector<fs::path>& paths, const fs::path& instances,
                                    const GenerateOptions& options) {
  std::vector<Pair> pairs;
  for (const fs::path& path : paths) {
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
      const std::string name = without_affixes(path.stem().string(), options.label_affixes);
      ASAP_CHECK(!name.empty(), path.string(), ": its name does not have what --label-prefix and --label-suffix say");
      const Affixes& around = options.instance_affixes;
      const fs::path instance =
          is_folder(instances) ? instances / (around.prefix + name + around.suffix + ".png") : instances;
      pairs.push_back({name, path, {}, instance});
    }
  }
  return pairs;
}

// Label maps as the user gave them, with instance maps of equal stems.
std::vector<Pair> given_pairs(const GenerateOptions& options, bool use_instances) {
  ASAP_CHECK(!use_instances || !options.instances.empty(),
             "generate: the model takes an instance channel; give --instances FILE or DIR");
  ASAP_CHECK(use_instances || options.instances.empty(), "--instances ", options.instances.string(),
             ": this model takes no instance channel; leave it out");
  check_given_files(options.labels, "--labels");
  std::vector<Pair> pairs = files_and_folders(options.labels, use_instances ? options.instances : fs::path(), options);
  for (Pair& pair : pairs) pair.label_half = options.labels_half;
  check_names(pairs, "label maps");
  if (!use_instances) return pairs;
  ASAP_CHECK(pairs.size() == 1 || is_folder(options.instances), "--instances ", options.instances.string(),
             ": expected a folder, since there are ", pairs.size(), " label maps");
  std::vector<fs::path> instances;
  for (const Pair& pair : pairs) instances.push_back(pair.instance);
  check_given_files(instances, "--instances");
  return pairs;
}

PairList pairs_to_generate(const WeightSource& source, const GenerateOptions& options) {
  if (!options.labels.empty()) return given_pairs(options, source.options.model.instance_channel());
  const TrainOptions& o = source.options.train;
  ASAP_CHECK(!o.dataroot.empty() || !o.label_dir.empty(),
             "generate: expected label maps; give --labels FILE or DIR, or --dataset and --data");
  DatasetOptions dataset = dataset_options(source.options);
  dataset.need_images = false;
  dataset.skip = {options.out};
  return list_pairs(dataset);
}

// Where the results of one label map go.
struct Target {
  fs::path png, npy;
};

// What the session gave for one sample: a picture u8 [1,H,W,C], or with `raw` values f32 [1,C,H,W], written as they are too.
void write_result(const Target& target, const Tensor& result, bool raw) {
  if (!raw) return write_png(target.png, picture_of(result));
  write_png(target.png, to_image(result, 0));
  const Tensor values = result.select(0, 0);
  write_npy(target.npy, {values.data<float>(), static_cast<size_t>(values.numel())},
            {values.shape().begin(), static_cast<size_t>(values.rank())});
}

// Whether --out names the picture itself; a name that looks like one but cannot be is refused.
bool is_picture_name(const fs::path& out, size_t label_maps) {
  std::string extension = out.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (is_folder(out)) return false;
  for (const char* other : {".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif"})
    ASAP_CHECK(extension != other, "--out ", out.string(), ": pictures are written as PNG; give a folder or NAME.png");
  if (extension != ".png") return false;
  ASAP_CHECK(label_maps == 1, "--out ", out.string(), ": expected a folder, since there are ", label_maps,
             " label maps");
  return true;
}

std::vector<Target> targets(const PairList& pairs, const fs::path& out) {
  if (is_picture_name(out, pairs.size())) return {{out, fs::path(out).replace_extension(".npy")}};
  std::vector<Target> all;
  for (const Pair pair : pairs)
    all.push_back({output_path(out, pair.name, ".png"), output_path(out, pair.name, ".npy")});
  return all;
}

// The pictures of one phase of the data set; false if they cannot be listed.
bool protect_phase(const Options& options, const std::string& phase, bool with_photos, const fs::path& out,
                   OutputGuard& guard) {
  Options of_phase = options;
  of_phase.train.phase = phase;
  try {
    DatasetOptions dataset = dataset_options(of_phase);
    dataset.need_images = with_photos;
    dataset.skip = {out};
    dataset.note = [](const std::string&) {};
    for (const Pair pair : list_pairs(dataset)) {
      for (const fs::path& file : {pair.label, pair.instance, pair.image})
        guard.protect(file, "a picture of the model's data set");
    }
    return true;
  } catch (const std::exception&) {  // moved away since, or without that phase: nothing there to protect
    return false;
  }
}

// The pictures that the weights were trained with, as far as the run knows where they are.
void protect_data_set(const Options& options, const fs::path& out, OutputGuard& guard) {
  if (options.train.dataroot.empty() && options.train.label_dir.empty()) return;
  for (const std::string& phase : std::set<std::string>{options.train.phase, "train", "test"})
    protect_phase(options, phase, true, out, guard) || protect_phase(options, phase, false, out, guard);
}

OutputGuard guard_of(const WeightSource& source, const PairList& pairs, const fs::path& out) {
  OutputGuard guard;
  for (const Pair pair : pairs) {
    guard.protect(pair.label, source.options.model.no_one_hot ? "the input picture itself" : "the label map itself");
    guard.protect(pair.instance, "the instance map itself");
  }
  guard.protect(source.generator, "the file of weights");
  guard.protect(source.encoder, "the file of weights");
  protect_data_set(source.options, out, guard);
  return guard;
}

std::string milliseconds(double value) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << value << " ms";
  return text.str();
}

void print_timing(std::vector<double> times, const fs::path& out) {
  if (times.empty()) return;
  std::sort(times.begin(), times.end());
  std::cout << times.size() << " picture" << (times.size() == 1 ? "" : "s") << " in " << terminal_safe(out.string())
            << ", median " << milliseconds(times[times.size() / 2])
            << " a picture, from labels to pixels; loading, preparing a size and writing files not counted\n";
}

}  // namespace

WeightSource find_weights(const fs::path& given, const Wishes& wishes) {
  ASAP_CHECK(is_built_in(given) || fs::exists(given), given.string(), ": there is no such file or folder");
  const fs::path weights = named_checkpoint(given);
  WeightSource source;
  if (is_folder(weights)) {
    read_folder(weights, source);
  } else {
    source.generator = weights;
    check_unchanged(weights);
  }
  nn::CheckpointFile file = open_weights(source.generator);
  const nn::NetworkWeights generator(file, signature(NetworkKind::generator));
  const fs::path run = weights == given ? weights : given.parent_path().parent_path();  // RUN/checkpoints/best
  const bool is_run = fs::exists(run / "config.json");
  if (is_run) options_from_json_file(run / "config.json", source.options);
  const bool known = is_run || options_from_metadata(file, source.options);
  if (!known) infer_options(generator.tensors(), wishes, source);
  source.options.train.phase = "test";
  const Options trained = source.options;
  wishes.apply(source.options);
  if (known) check_as_trained(weights, trained, source.options, wishes);
  resolve(source.options);
  check_size_of_generator(file, generator.tensors(), source.options.model);
  return source;
}

PictureSize parse_size(const std::string& text) {
  if (text == "native") return {.native = true};
  const auto side = [&](const std::string& digits) {
    int64_t pixels = 0;
    const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), pixels);
    ASAP_CHECK(error == std::errc() && stop == digits.data() + digits.size() && pixels > 0,
               "--size: expected WIDTH, WIDTHxHEIGHT or native, got '", text, "'");
    return pixels;
  };
  const size_t cross = text.find('x');
  return {.width = side(text.substr(0, cross)),
          .height = side(cross == std::string::npos ? text : text.substr(cross + 1))};
}

void generate(const WeightSource& source, const GenerateOptions& options, const Ranks& ranks) {
  const bool raw = options.pictures.raw;
  PairList pairs;
  std::vector<Target> goals;
  std::optional<PictureMaker> maker;
  ranks.together([&] {  // nobody writes before all have looked
    pairs = pairs_to_generate(source, options);
    goals = targets(pairs, options.out);
    const OutputGuard guard = guard_of(source, pairs, options.out);
    for (const Target& target : goals) {
      guard.check(target.png);
      if (raw) guard.check(target.npy);
    }
    maker.emplace(source, options.pictures);
    for (const Target& target : goals) make_folder(target.png.parent_path());
  });
  std::vector<double> times;
  std::string told;
  Tensor result;
  const auto make = [&](size_t i) { result = maker->make(maker->load(pairs[i]), i); };
  const auto write = [&](size_t i) {
    write_result(goals[i], result, raw);
    times.push_back(maker->milliseconds());
    const int rows = raw ? 2 : 1;
    const std::string line = str(terminal_safe(goals[i].png.string()), "  ", result.size(rows + 1), "x", result.size(rows), "  ",
                                 milliseconds(times.back()), "\n");
    if (ranks.is_first()) {
      std::cout << line << std::flush;
    } else {
      told += line;
    }
  };
  const std::string complaint = work_through(ranks, pairs, "label maps", make, write);
  const std::vector<std::string> all_told = ranks.gather(told);
  times = ranks.gather(times);
  if (ranks.is_first()) {
    for (const std::string& lines : all_told) std::cout << lines;
    print_timing(times, options.out);
  }
  ASAP_CHECK(complaint.empty(), complaint);
}

void encode(const WeightSource& source, const std::vector<fs::path>& images, const fs::path& out) {
  const asapnet::Config& config = source.options.model;
  ASAP_CHECK(config.use_vae && !source.encoder.empty(),
             "encode: expected a run trained with --use-vae; this one has no encoder");
  const Device device = available_device(source.options.train.device);
  set_num_threads(static_cast<int>(source.options.train.threads));
  check_given_files(images, "--images");
  const std::vector<Pair> photos = files_and_folders(images, {}, {.out = out});
  check_names(photos, "pictures");
  OutputGuard guard = guard_of(source, {}, out);
  for (const Pair& photo : photos) guard.protect(photo.label, "the picture itself");
  for (const Pair& photo : photos) {
    for (const char* tail : {"_mu.npy", "_logvar.npy"}) guard.check(output_path(out, photo.name, tail));
  }
  asapnet::AsapNet model(config, 0);
  load_weights(source.encoder, *model.encoder());
  model.to(device);
  for (const Pair& photo : photos) make_folder(output_path(out, photo.name, "").parent_path());
  asapnet::EncoderResult code;
  const auto make = [&](size_t i) {
    const Image photo = resize_bicubic(read_photo(photos[i].label), static_cast<int>(config.crop_size),
                                       static_cast<int>(config.height()));
    Tensor image = Tensor::empty({1, 3, photo.height, photo.width});
    image_to_floats(photo, image.data<float>());
    code = model.encode(image.to(device));
  };
  const auto write = [&](size_t i) {
    for (const auto& [tail, value] : {std::pair{"_mu.npy", code.mu}, {"_logvar.npy", code.logvar}}) {
      const fs::path target = output_path(out, photos[i].name, tail);
      write_npy(target, value.value().to_vector<float>(), std::vector<int64_t>{config.z_dim});
      std::cout << terminal_safe(target.string()) << "\n";
    }
  };
  const std::string complaint = work_through({}, photos, "pictures", make, write);
  ASAP_CHECK(complaint.empty(), complaint);
}

}  // namespace asap::train
