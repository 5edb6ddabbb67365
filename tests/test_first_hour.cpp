// What users meet in their first hour: help and version, options of the published code, settings that cannot be, names that
// must be quoted or escaped, and an output that takes nothing.
#include <doctest/doctest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <new>

#include "nn/checkpoint_file.h"
#include "nn/safetensors.h"
#include "tests/support/program.h"
#include "train/files/user_text.h"
#include "train/options/nearest.h"
#include "train/run/memory_advice.h"

using namespace asap;
using namespace asap::tests;
namespace fs = std::filesystem;

namespace {

// The program itself, in a shell: `line` after its name. Returns its exit code.
int shell(const std::string& line) {
  const int status = std::system((train::shell_quoted(ASAPNET_PROGRAM) + " " + line).c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::vector<std::string> train_with(const Workshop& shop, const std::vector<std::string>& more) {
  std::vector<std::string> all{"train", "--config", text(shop.config), "--out", text(shop.folder / "new")};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace

TEST_CASE("help, version, and what is no command") {
  CHECK(run({"--version"}).out == "asapnet " ASAP_VERSION "\n");
  CHECK(run({"help"}).out == run({"--help"}).out);
  CHECK(run({"-h"}).out == run({"--help"}).out);
  CHECK(run({"help", "train"}).out == run({"train", "--help"}).out);
  CHECK(run({"train", "-h"}).out == run({"train", "--help"}).out);
  CHECK(contains(run({"--help"}).out, "Exit codes: 0 done, 1 an error"));
  CHECK(contains(run({"help", "generate"}).out, "--size native"));
  check_refused({"--out", "x"}, 2, {"the command comes first", "'--out' is none", "asapnet --help lists them"});
  check_refused({"help", "nothing"}, 2, {"there is no command 'nothing'"});
  const Result far = run({"frobnicate"});
  CHECK(far.error == "asapnet: there is no command 'frobnicate' (asapnet --help lists them)\n");
  ran();
}

TEST_CASE("case 06-output-nc: pictures of three channels, told before anything is made") {
  const Workshop shop;
  for (const char* channels : {"1", "2", "4"})
    check_refused(train_with(shop, {"--output-nc", channels}), 1,
                  {std::string("output_nc is ") + channels + "; photos have 3 channels, so it must be 3"});
  CHECK_FALSE(fs::exists(shop.folder / "new"));
}

TEST_CASE("settings that cannot be are refused before anything is made, with what would do") {
  const Workshop shop;
  const auto refused = [&](const std::vector<std::string>& more, const std::vector<std::string>& parts) {
    check_refused(train_with(shop, more), 1, parts);
  };
  refused({"--label-nc", "256", "--contain-dontcare-label"}, {"label_nc is 256", "at most 255"});
  refused({"--crop-size", "16"}, {"crop_size 16 is too small", "at least 32"});
  refused({"--crop-size", "100"}, {"crop_size 100", "128, 256, 512 or 1024"});
  refused({"--crop-size", "0"}, {"crop_size is 0"});
  refused({"--crop-size", "131072"}, {"crop_size is 131072", "at most 65536"});
  refused({"--aspect-ratio", "0"}, {"aspect_ratio is 0"});
  CHECK_FALSE(fs::exists(shop.folder / "new"));
}

TEST_CASE("case 27-published-options: named as such, and no far-fetched nearest word") {
  const Workshop shop;
  check_refused(train_with(shop, {"--gpu_ids", "0"}), 2,
                {"gpu_ids is a published option that has no use here; --device chooses"});
  check_refused(train_with(shop, {"--gpu-ids=0"}), 2, {"gpu_ids is a published option"});
  check_refused(train_with(shop, {"--name", "x"}), 2, {"name is a published option that has no use here; --out"});
  const fs::path config = shop.folder / "c.json";
  std::istringstream published(
      "gpu_ids name netG model optimizer display_freq continue_train which_epoch checkpoints_dir display_winsize "
      "tf_log "
      "debug no_html save_latest_freq save_epoch_freq isTrain norm_E init_type init_variance nef print_freq "
      "no_instance "
      "results_dir how_many cache_filelist_read netD_subarch");
  for (std::string key; published >> key;) {
    CAPTURE(key);
    write_text(config, "{\"" + key + "\": \"x\"}");
    check_refused({"train", "--config", text(config), "--out", text(shop.folder / "new")}, 1,
                  {"c.json: " + key + " is a published option that has no use here; "});
  }
  write_text(config, R"({"quality": 3})");
  const Result far = run({"train", "--config", text(config), "--out", text(shop.folder / "new")});
  CHECK(far.error == "asapnet: " + text(config) + ": there is no option 'quality'\n");
  // Every option that exists here is none of them.
  train::Options options;
  for (const train::OptionField& field : train::option_fields(options))
    CHECK(train::unknown_option(field.key, {}) == "there is no option '" + field.key + "'");
  CHECK(train::nearest_name("optimizer", {"split_file", "lr"}).empty());
  CHECK(train::nearest_name("trian", {"generate", "train"}) == "train");
}

TEST_CASE("train: options that are given and do nothing are told of; folders are refused, and files of options say nothing") {
  const Workshop shop;
  const auto refused = [&](const std::vector<std::string>& more, const std::string& part) {
    check_refused(train_with(shop, more), 2, {part});
  };
  const std::string data = text(shop.data);
  refused({"--label-dir", data}, "--label-dir has no effect with --dataset facades");
  refused({"--dataset", "custom", "--label-dir", data, "--data", data}, "--data has no effect with --dataset custom");
  refused({"--dataset", "custom", "--label-dir", data, "--instance-dir", data}, "without an instance channel");
  // Told before anything else goes wrong: here the batch is larger than the data.
  const auto told = [&](std::vector<std::string> more, const std::string& sentence) {
    more.insert(more.end(), {"--batch-size", "99"});
    const Result result = run(train_with(shop, more));
    CAPTURE(result.error);
    CHECK(result.code == 1);
    CHECK(contains(result.error, "asapnet: " + sentence));
  };
  told({"--vgg", "x.pth"}, "--vgg has no effect with --no-vgg-loss");
  told({"--lambda-vgg", "3"}, "--lambda-vgg has no effect with --no-vgg-loss");
  told({"--ngf", "3"}, "--ngf has no effect without --use-vae");
  told({"--no_ganFeat_loss", "--lambda-feat", "5"}, "--lambda-feat has no effect with --no-ganfeat-loss");
  told({"--preprocess", "crop", "--load-size", "40"}, "--load-size has no effect with --preprocess crop");
  told({"--no-one-hot", "--label-nc", "8"}, "--label-nc has no effect with --no-one-hot");
  told({"--norm-d", "instanceaffine", "--spectral-init", "xavier"}, "--spectral-init has no effect");
  CHECK_FALSE(fs::exists(shop.folder / "new"));
  const Result result = run(train_with(shop, {"--steps", "1"}));  // a file of every option, lambda_vgg among them
  CAPTURE(result.error);
  CHECK(result.code == 0);
  CHECK(result.error.empty());
}

TEST_CASE("case 19-suggested-command-unquoted: commands that are printed can be pasted") {
  const Workshop shop;
  const fs::path out = shop.folder / "my run";
  const Result result = run({"train", "--config", text(shop.config), "--out", text(out), "--steps", "1"});
  REQUIRE(result.code == 0);
  CHECK(contains(result.out, "asapnet generate --weights '" + text(out) + "' --out DIR"));
  check_refused({"train", "--config", text(shop.config), "--out", text(out)}, 1, {"--resume '" + text(out) + "'"});
  // As a shell reads it.
  for (const std::string& word : {std::string("plain/run-1.2"), std::string("my run"), std::string("it's"),
                                  std::string("a\nb"), std::string("\x1b[31m'\\"), std::string("$HOME `x` \"y\""),
                                  std::string("größe"), std::string("bad\xff"), std::string("")}) {
    CAPTURE(word);
    const fs::path written = shop.folder / "word.txt";
    const std::string line = "printf %s " + train::shell_quoted(word) + " > " + train::shell_quoted(text(written));
    write_text(shop.folder / "line.sh", line);
    REQUIRE(std::system(("bash " + text(shop.folder / "line.sh")).c_str()) == 0);
    CHECK(read_text(written) == word);
    CHECK(train::terminal_safe(line) == line);
  }
  CHECK(train::shell_quoted("plain/run-1.2") == "plain/run-1.2");
  CHECK(train::shell_quoted("-x") == "./-x");
}

TEST_CASE("names from outside cannot steer the terminal") {
  CHECK(train::terminal_safe("größe 写真 🙂 a\tb") == "größe 写真 🙂 a\\x09b");
  CHECK(train::terminal_safe("\x1b[2Jx\r\n  y\x7f") == "\\x1b[2Jx\\x0d\\n  y\\x7f");
  CHECK(train::terminal_safe("\xc2\x9b"
                             "31m") == "\\xc2\\x9b31m");  // C1: CSI in one character
  CHECK(train::terminal_safe("a\xe2\x80\xae"
                             "gnp") == "a\\xe2\\x80\\xaegnp");  // right-to-left override
  CHECK(train::terminal_safe("\xff\xc0\xaf\xed\xa0\x80") == "\\xff\\xc0\\xaf\\xed\\xa0\\x80");
  CHECK(train::terminal_safe("caf\xc3") == "caf\\xc3");
  CHECK(train::terminal_safe_message("list:\n  a\nb") == "list:\n  a\\nb");

  const Workshop shop;
  const fs::path odd = shop.folder / "odd\x1b[31m\nasapnet: all is well";
  const Result missing =
      run({"generate", "--weights", text(shop.trained), "--labels", text(odd), "--out", text(shop.folder / "o")});
  CHECK(missing.code == 1);
  CHECK(contains(missing.error, "odd\\x1b[31m\\nasapnet: all is well"));
  fs::copy(shop.label(), odd.string() + ".png");
  const Result made = run({"generate", "--weights", text(shop.trained), "--labels", odd.string() + ".png", "--out",
                           text(shop.folder / "o")});
  CAPTURE(made.error);
  CHECK(made.code == 0);
  CHECK(contains(made.out, "odd\\x1b[31m\\nasapnet: all is well.png  32x32"));
  const fs::path config = shop.folder / "c.json";
  write_text(config, R"({"norm_D": "\u001b[31mred\nsecond line"})");
  const Result value = run({"train", "--config", text(config), "--out", text(shop.folder / "new")});
  CHECK(contains(value.error, "[31mred?second line"));
  CHECK_FALSE(contains(value.error, "\x1b"));
  // inspect: what a file's metadata says, and how the file is called.
  const fs::path weights = shop.folder / "weights\x1b[31m.safetensors";
  nn::write_safetensors(weights, nn::read_state_dict(shop.generator()),
                        {{"config", R"({"crop_size": 32, "norm_G": "\u001b[31mred\nsecond line"})"}});
  const Result inspected = run({"inspect", text(weights)});
  CAPTURE(inspected.out);
  CHECK(inspected.code == 0);
  CHECK(contains(inspected.out, "weights\\x1b[31m.safetensors: "));
  CHECK(contains(inspected.out, "norm_G = \\x1b[31mred\\nsecond line"));
  CHECK_FALSE(contains(inspected.out, "\x1b"));
  write_text(config, "{\"\\u001b[31m\": 1}");
  const Result key = run({"train", "--config", text(config), "--out", text(shop.folder / "new")});
  CHECK(contains(key.error, "there is no option '?[31m'"));
  CHECK_FALSE(contains(key.error, "\x1b"));
}

TEST_CASE("case 26-raw-exceptions: no text of the library's own reaches a user") {
  const Workshop shop;
  const std::string name(300, 'z');
  const Result result = run({"train", "--config", text(shop.config), "--out", name});
  CHECK(result.code == 1);
  CHECK(contains(result.error, "the name of --out is too long"));
  CHECK_FALSE(contains(result.error, "filesystem error"));
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"generate", "--weights", name, "--out", "x"},
        {"generate", "--weights", text(shop.trained), "--labels", text(shop.folder / name / "x.png"), "--out", "x"},
        {"train", "--resume", name},
        {"synth", "--out", name},
        {"inspect", name},
        {"convert", "x", name}}) {
    CAPTURE(arguments[0]);
    check_refused(arguments, 1, {"the name of ", "is too long: 300 bytes"});
  }
  check_refused({"inspect", std::string(3000, 'a').replace(100, 1, "/")}, 1, {"the name of path is too long"});
  // A name of a file's, which no option gave.
  const fs::path config = shop.folder / "c.json";
  write_text(config, "{\"dataroot\": \"" + name + "\"}");
  const Result inner = run({"train", "--config", text(config), "--out", text(shop.folder / "new"), "--no-vgg-loss"});
  CHECK(inner.code == 1);
  CHECK_FALSE(contains(inner.error, "filesystem error"));
}

TEST_CASE("case 26-raw-exceptions: an output that cannot be written is told by sentence and exit code") {
  const Workshop shop;
  const std::string errors = text(shop.folder / "errors.txt");
  for (const std::string& command : {std::string("inspect ") + train::shell_quoted(text(shop.generator())),
                                     std::string("--version"), std::string("help"),
                                     "generate --weights " + text(shop.trained) + " --labels " + text(shop.label()) +
                                         " --out " + text(shop.folder / "o")}) {
    CAPTURE(command);
    CHECK(shell(command + " > /dev/full 2> " + errors) == 1);
    CHECK(read_text(errors) ==
          "asapnet: standard output cannot be written (No space left on device); what it should have said is lost\n");
    CHECK(shell(command + " > /dev/null 2> " + errors) == 0);
    CHECK(read_text(errors).empty());
  }
  CHECK(fs::exists(shop.folder / "o" / "cmp_b0001.png"));
  CHECK(shell("inspect /none > /dev/full 2> " + errors) == 1);
}

TEST_CASE("convert writes over no weights") {
  const Workshop shop;
  const fs::path to = shop.folder / "x.safetensors";
  const std::string weights = text(shop.generator()), before = read_text(shop.generator());
  check_refused({"convert", weights, weights}, 1, {"is there already", "choose another name"});
  REQUIRE(run({"convert", weights, text(to)}).code == 0);
  check_refused({"convert", weights, text(to)}, 1, {"x.safetensors is there already"});
  CHECK(read_text(shop.generator()) == before);
}

TEST_CASE("memory that is not there: smaller settings that would do, on the CPU too") {
  train::Options options{.model = asapnet::preset("facades512"), .train = {}};
  options.train.batchSize = 4;
  const std::string text = train::smaller_settings(options, 0);  // by estimate it fits this machine, or it does not
  CAPTURE(text);
  CHECK((contains(text, "--batch-size ") || contains(text, "--crop-size ")));
  CHECK(contains(text, " would fit in "));
  options.train.batchSize = 1;
  options.model.crop_size = 16 * options.model.learned_ds_factor;
  CHECK(
      contains(train::smaller_settings(options, 1 << 20), "a smaller network (--lr-max-width, --lr-depth) needs less"));
}
