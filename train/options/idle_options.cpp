// The table of what has no effect with what. Declared in idle_options.h.
#include "train/options/idle_options.h"

#include <algorithm>

#include "train/options/config_json.h"

namespace asap::train {
namespace {

bool is_idle(const std::vector<IdleOption>& idle, const std::string& key) {
  return std::any_of(idle.begin(), idle.end(), [&](const IdleOption& option) { return option.key == key; });
}

}  // namespace

std::vector<IdleOption> idle_data_options(const Options& options) {
  const TrainOptions& o = options.train;
  const bool custom = o.dataset_mode == "custom";
  const std::string with = "with --dataset " + o.dataset_mode;
  std::vector<IdleOption> idle;
  const auto add = [&](bool condition, std::initializer_list<const char*> keys, const std::string& why) {
    for (const char* key : keys)
      if (condition && !is_idle(idle, key)) idle.push_back({key, why});
  };
  add(custom, {"dataroot"}, with + ", whose folders are --label-dir and --image-dir");
  add(custom, {"phase"}, with + ", which has no phases");
  add(!custom,
      {"label_dir", "image_dir", "instance_dir", "label_prefix", "label_suffix", "image_prefix", "image_suffix",
       "instance_prefix", "instance_suffix"},
      with + ", which takes --data");
  add(o.dataset_mode != "facades", {"split_file"}, with);
  add(o.dataset_mode != "aligned", {"direction"}, with);
  add(!options.model.instance_channel(), {"instance_dir", "instance_prefix", "instance_suffix"},
      "without an instance channel (--no-instance-edge=false or --no-instance-dist=false)");
  return idle;
}

std::vector<IdleOption> idle_model_options(const Options& options) {
  const asapnet::Config& c = options.model;
  const TrainOptions& o = options.train;
  const bool takes_load_size = o.preprocess_mode.starts_with("resize") || o.preprocess_mode.starts_with("scale");
  std::vector<IdleOption> idle;
  const auto add = [&](bool condition, std::initializer_list<const char*> keys, const std::string& why) {
    for (const char* key : keys)
      if (condition && !is_idle(idle, key)) idle.push_back({key, why});
  };
  add(o.palette.empty(), {"nearest_colour"}, "without --palette");
  add(!takes_load_size, {"load_size"}, "with --preprocess " + o.preprocess_mode);
  add(c.no_one_hot && c.label_nc != 3, {"label_nc"}, "with --no-one-hot, whose input is an RGB picture");
  add(c.no_one_hot, {"contain_dontcare_label"}, "with --no-one-hot, whose input is an RGB picture");
  add(!c.no_instance_dist && !c.no_instance_edge, {"no_instance_dist"}, "beside edges (--no-instance-edge)");
  add(!c.use_vae, {"ngf", "z_dim", "lambda_kld"}, "without --use-vae");
  add(c.no_vgg_loss, {"lambda_vgg", "vgg", "vgg_normalise"}, "with --no-vgg-loss");
  add(c.no_ganFeat_loss, {"lambda_feat"}, "with --no-ganfeat-loss");
  add(o.eval_every.count == 0,
      {"eval_phase", "eval_label_dir", "eval_image_dir", "eval_instance_dir", "eval_count", "eval_metrics", "features",
       "lpips_backbone", "lpips_heads", "segmenter"},
      "without --eval-every");
  add(o.dataset_mode == "custom", {"eval_phase"}, "with --dataset custom, which has no phases");
  add(o.dataset_mode != "custom", {"eval_label_dir", "eval_image_dir", "eval_instance_dir"},
      "with --dataset " + o.dataset_mode + ", which takes --eval-phase");
  add(c.norm_D != "spectralinstance", {"spectral_init"}, "with --norm-d " + c.norm_D);
  return idle;
}

void refuse_idle_values(const Options& options, const std::string& config) {
  Options alone, fresh;
  options_from_json_file(config, alone);
  const auto idle = idle_data_options(options), idle_alone = idle_data_options(alone);
  const auto fields = option_fields(alone), defaults = option_fields(fresh);
  for (const IdleOption& option : idle) {
    if (!is_idle(idle_alone, option.key)) continue;
    for (size_t i = 0; i < fields.size(); ++i)
      ASAP_CHECK(fields[i].key != option.key || to_text(fields[i]) == to_text(defaults[i]), config, ": ", option.key,
                 " has no effect ", option.why, "; leave it out");
  }
}

void reset_idle_values(Options& options) {
  Options fresh;
  const auto idle = idle_data_options(options);
  const auto fields = option_fields(options), defaults = option_fields(fresh);
  for (size_t i = 0; i < fields.size(); ++i)
    if (is_idle(idle, fields[i].key)) set_from_text(fields[i], to_text(defaults[i]));
}

}  // namespace asap::train
