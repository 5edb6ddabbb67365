// Options of the published code and of those it descends from (SPADE, pix2pixHD, pix2pix) that are none here, and what does
// their work. unknown_option is declared in nearest.h.
#include <sstream>

#include "train/options/nearest.h"

namespace asap::train {
namespace {

struct Published {
  const char* names;  // between spaces
  const char* instead;
};

constexpr Published kPublished[] = {
    // Where and what.
    {" gpu_ids local_rank ", "--device chooses"},
    {" name checkpoints_dir results_dir save_dir ", "--out names the folder"},
    {" continue_train load_from_opt_file epoch_count which_epoch_resume ", "--resume DIR goes on with a run"},
    {" load_pretrain pretrained_model ", "--init-g and --init-d start from weights"},
    {" which_epoch epoch load_iter ", "--weights takes a run (its latest checkpoint) or one checkpoint folder of it"},
    {" model netG netD netE netD_subarch upsampling_mode ", "there is one model, and --preset chooses its size"},
    {" isTrain is_train ", "asapnet train trains and asapnet generate generates"},
    {" verbose debug cache_filelist_read cache_filelist_write eval serial ", "nothing takes its place"},
    // Data.
    {" fineSize ", "--crop-size does this"},
    {" resize_or_crop preprocess_type ", "--preprocess does this"},
    {" input_nc ", "--label-nc gives the classes, and --no-one-hot takes RGB pictures"},
    {" no_instance instance_feat no_instance_feat ",
     "--no-instance-edge and --no-instance-dist turn the instance channel off"},
    {" num_threads ", "--workers does this"},
    {" how_many ntest num_test ", "--labels chooses what is generated"},
    {" data_type fp16 amp ", "--precision chooses"},
    {" ignore_label ", "--contain-dontcare-label makes 255 a class"},
    // Networks.
    {" norm_E norm ", "--norm-g and --norm-d choose what can be chosen"},
    {" nef ", "--ngf sets the encoder's width"},
    {" init_type init_variance init_gain ", "networks start as the published ones do; --spectral-init has one choice"},
    {" n_downsample_global n_blocks_global n_local_enhancers n_blocks_local n_blocks niter_fix_global "
     "resnet_n_downsample "
     "resnet_n_blocks resnet_kernel_size resnet_initial_kernel_size num_upsampling_layers n_downsample_E ",
     "--lr-depth, --lr-width and --lr-max-width size the network"},
    {" label_feat feat_num load_features n_clusters cluster_path use_encoded_image ",
     "--use-vae trains an encoder of another kind"},
    {" use_dropout no_dropout pool_size ", "nothing takes its place"},
    // Training.
    {" optimizer ", "it is always Adam: --lr, --beta1, --beta2"},
    {" lr_policy lr_decay_iters ", "--niter and --niter-decay shape the learning rate"},
    {" n_epochs num_epochs epochs ", "--niter and --niter-decay count epochs"},
    {" n_epochs_decay ", "--niter-decay does this"},
    {" no_lsgan ", "--gan-mode chooses the loss"},
    {" lambda_A lambda_B lambda_identity ", "--lambda-l1 weighs the L1 loss"},
    // What is shown and saved.
    {" print_freq ", "--print-every does this"},
    {" display_freq update_html_freq ", "--sample-every does this"},
    {" save_latest_freq save_epoch_freq save_by_iter ", "--save-every N (steps) or Ne (epochs) does this"},
    {" no_html display_winsize display_id display_server display_env display_ncols display_port tf_log use_wandb "
     "wandb_project_name ",
     "report.html in the run's folder shows everything"},
    {" suffix ", "--out names the folder"},
    {" export_onnx engine onnx ", "asapnet convert writes weights as .safetensors"},
};

// The published option of that name, however it is spelled, with what to use instead; "" if there is none.
std::string published_option(const std::string& name) {
  for (const Published& entry : kPublished) {
    std::istringstream names(entry.names);
    for (std::string published; names >> published;) {
      if (letters_of(published) == letters_of(name))
        return published + " is a published option that has no use here; " + entry.instead;
    }
  }
  return "";
}

}  // namespace

std::string unknown_option(const std::string& name, const std::vector<std::string>& known, const std::string& where) {
  const std::string published = published_option(name), nearest = nearest_name(name, known);
  if (!published.empty()) return published;
  const std::string quote = name.starts_with('-') ? "" : "'";  // a key, not a flag
  return "there is no option " + quote + name + quote + where +
         (nearest.empty() ? "" : "; the nearest is " + quote + nearest + quote);
}

}  // namespace asap::train
