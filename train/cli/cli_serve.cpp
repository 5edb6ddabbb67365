// asapnet serve. Declared in cli.h; the work is serve/studio.h's and serve/server.h's.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "train/cli/cli.h"
#include "train/cli/weight_flags.h"
#include "train/files/user_text.h"
#include "train/run/built_in.h"
#include "train/run/interrupt.h"
#include "train/serve/server.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kServeFooter = R"(Examples:
  asapnet serve                                                the built-in model; then open http://127.0.0.1:8080/
  asapnet serve --weights runs/facades
  asapnet serve --weights runs/first --weights runs/second     one drawing, two models side by side
  asapnet serve --weights runs/facades --size 512 --precision bf16 --labels maps
  asapnet serve --weights latest_net_G.pth --preset cityscapes256 --class-names names.txt
Paint with brush, rectangle, fill and eraser; the page lists its keys. What it saves as the label map is a PNG whose
pixels are the classes: the page opens it again, and asapnet generate --labels takes it. Models of one page have the same
classes. A model with instance maps gets the connected regions of the drawing as instances. --class-names is a text file,
a name a line, class 0 first. Only this machine reaches the page, unless --host says otherwise. Scripts can ask for
pictures, too: docs/serve.md. Ctrl-C ends.)";

// Nothing is to be saved: the end of the process is the end of its connections.
void end_on_signals() {
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action {};
    action.sa_handler = [](int) { _exit(kInterruptedExitCode); };
    struct sigaction old {};
    sigaction(signal_number, &action, &old);
    if (signal_number == SIGHUP && old.sa_handler == SIG_IGN) sigaction(SIGHUP, &old, nullptr);  // nohup
  }
}

// "run" and "run" of two folders are told apart by what lies above them.
std::vector<std::string> names_of(const std::vector<std::string>& weights) {
  std::vector<std::string> names;
  for (const std::string& path : weights) {
    if (path.empty()) return {kBuiltIn};
    const fs::path whole = fs::path(path).lexically_normal();
    const fs::path last = whole.has_filename() ? whole.filename() : whole.parent_path().filename();
    names.push_back(last.string());
  }
  for (size_t i = 0; i < names.size(); ++i)
    if (std::count(names.begin(), names.end(), names[i]) > 1) return weights;
  return names;
}

struct ServeCommand {
  WeightFlags weights;
  CLI::Option* all_weights = nullptr;
  std::string size, precision = "f32", labels, class_names;
  ServerOptions server;

  std::vector<StudioModel> models() const {
    std::vector<std::string> paths = all_weights->results();
    if (paths.empty()) paths = {""};  // the built-in model
    const std::vector<std::string> names = names_of(paths);
    std::vector<StudioModel> found;
    bool codes = false;
    for (size_t i = 0; i < paths.size(); ++i) {
      WeightFlags one = weights;
      one.weights = paths[i];
      found.push_back({names[i], one.find()});
      codes = codes || found.back().weights.options.model.condition_on_z;
    }
    if (!codes) weights.refuse_codes(found.front().weights.options.model);
    return found;
  }

  int run() const {
    check_can_serve();
    end_on_signals();
    Studio studio(models(), {.size = size.empty() ? PictureSize() : parse_size(size),
                             .precision = parse_precision(precision),
                             .examples = labels,
                             .class_names = class_names});
    serve(studio, server, [this](const std::string& url) {
      if (!is_loopback(server.host))
        warn("--host " + server.host +
             ": everyone who reaches this machine over the network can use the page, without a password");
      std::cout << "paint at " << url << "  (Ctrl-C ends)" << std::endl;
    });
    return kOk;
  }
};

}  // namespace

Command add_serve_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("serve", "Paint label maps in a browser and see the pictures as you draw");
  auto command = std::make_shared<ServeCommand>();
  app->add_option("--port", command->server.port, "port to listen at; 0: any that is free")
      ->type_name("N")
      ->check(CLI::Range(0, 65535))
      ->default_str("8080");
  app->add_option("--host", command->server.host,
                  "address to listen at; 0.0.0.0: everyone in the network reaches the page")
      ->type_name("ADDRESS")
      ->default_str("127.0.0.1");
  app->add_option("--size", command->size,
                  "size of a new drawing instead of the training size: 512 or 512x256 (width x height)")
      ->type_name("WxH");
  app->add_option("--precision", command->precision, kPrecisionHelp)->type_name("NAME")->default_str("f32");
  app->add_option("--labels", command->labels,
                  "label maps to begin with: a file or a folder; without, facades are drawn for models of facades")
      ->type_name("PATH");
  app->add_option("--class-names", command->class_names, "what the classes are called")->type_name("FILE");
  command->weights.add_seed_to(*app);
  command->weights.add_to(*app, {OptionGroup::input, OptionGroup::generator, OptionGroup::encoder});
  WeightFlags::default_to_built_in(*app);
  command->all_weights =
      app->get_option("--weights")
          ->description("run folder, checkpoint folder, .safetensors or .pth file; again for a second model")
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app->footer(kServeFooter);
  return {app, [command] { return command->run(); }};
}

}  // namespace asap::train
