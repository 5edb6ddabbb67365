// TensorBoard's event files: checksums and framing by their definitions, and what a run writes, read back record by record.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iostream>
#include <map>

#include "tests/support/file_limit.h"
#include "tests/support/tiny_run.h"
#include "train/run/tensorboard.h"
#include "train/run/trainer.h"
#if ASAP_PROTOBUF
#include "events.pb.h"
#endif

using namespace asap;
using namespace asap::train;
using namespace asap::tests;
namespace fs = std::filesystem;

namespace {

template <class T>
T number_at(const std::string& bytes, size_t at) {
  T number{};
  REQUIRE(at + sizeof number <= bytes.size());
  std::memcpy(&number, bytes.data() + at, sizeof number);
  return number;
}

// The records of a file, every length and checksum compared.
std::vector<std::string> records(const fs::path& file) {
  const std::string bytes = read_text(file);
  std::vector<std::string> found;
  for (size_t at = 0; at < bytes.size();) {
    const auto size = number_at<uint64_t>(bytes, at);
    CHECK(number_at<uint32_t>(bytes, at + 8) == masked_crc32c(bytes.substr(at, 8)));
    REQUIRE(at + 16 + size <= bytes.size());
    found.push_back(bytes.substr(at + 12, size));
    CHECK(number_at<uint32_t>(bytes, at + 12 + size) == masked_crc32c(found.back()));
    at += 16 + size;
  }
  return found;
}

}  // namespace

TEST_CASE("CRC-32C: the vectors of RFC 3720, B.4; masked and framed as TFRecord says") {
  ran();
  std::string rising, falling;
  for (int i = 0; i < 32; ++i) rising += static_cast<char>(i), falling += static_cast<char>(31 - i);
  CHECK(crc32c("") == 0);
  CHECK(crc32c("123456789") == 0xE3069283u);
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AAu);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62A8AB43u);
  CHECK(crc32c(rising) == 0x46DD794Eu);
  CHECK(crc32c(falling) == 0x113FDB5Cu);
  CHECK(framed("123456789") == std::string("\x09\0\0\0\0\0\0\0"
                                           "\x37\xf9\x71\x39"
                                           "123456789"
                                           "\xe5\xb0\x8a\xc7",
                                           25));  // TensorBoard's writer
}

TEST_CASE("an event file: whole records once flushed; a later one is another file, behind it") {
  ScratchFolder folder;
  EventFile file(folder.path());
  const std::string zeros(3, '\0');
  file.append("one");
  CHECK(fs::file_size(event_files(folder.path()).at(0)) == 0);
  file.append(zeros);
  file.flush();
  EventFile later(folder.path());
  later.append("");
  later.flush();
  write_text(folder / "log.jsonl", "other");
  const auto files = event_files(folder.path());
  REQUIRE(files.size() == 2);
  CHECK(records(files[0]) == std::vector<std::string>{"one", zeros});
  CHECK(records(files[1]) == std::vector<std::string>{""});
}

#if ASAP_PROTOBUF

namespace {

using events::Event;

std::vector<Event> read_events(const fs::path& file) {
  std::vector<Event> found;
  for (const std::string& record : records(file)) REQUIRE(found.emplace_back().ParseFromString(record));
  return found;
}

// What TensorBoard shows of a run: its files in their order, a START forgetting the later steps of those before.
struct Shown {
  std::map<std::string, std::vector<std::pair<int64_t, double>>> scalars;
  std::vector<std::pair<int64_t, std::string>> images;
  std::vector<int64_t> starts;
  std::vector<events::HParamsPluginData> hparams;
  std::string text;

  explicit Shown(const fs::path& run) {
    for (const fs::path& file : event_files(run)) {
      const auto all = read_events(file);
      REQUIRE(!all.empty());
      CHECK(all.front().file_version() == "brain.Event:2");
      for (const Event& event : all) add(event);
    }
  }

  void add(const Event& event) {
    if (event.session_log().status() == events::SessionLog::START) {
      starts.push_back(event.step());
      const auto later = [&](const auto& item) { return item.first >= event.step(); };
      for (auto& [tag, items] : scalars) items.erase(std::remove_if(items.begin(), items.end(), later), items.end());
      images.erase(std::remove_if(images.begin(), images.end(), later), images.end());
    }
    for (const auto& value : event.summary().value()) {
      const auto& plugin = value.metadata().plugin_data();
      if (value.has_image()) {
        CHECK(value.tag() == "samples");
        CHECK(value.image().width() == 3 * 32 + 2 * 4);
        CHECK(value.image().height() == 2 * 32 + 4);
        images.emplace_back(event.step(), value.image().encoded_image_string());
      } else if (plugin.plugin_name() == "hparams") {
        REQUIRE(hparams.emplace_back().ParseFromString(plugin.content()));
      } else if (plugin.plugin_name() == "text") {
        text = value.tensor().string_val(0);
      } else {
        scalars[value.tag()].emplace_back(event.step(), value.simple_value());
      }
    }
  }
};

Options board_options(const fs::path& data) {
  Options options = tiny_options(data);
  options.train.samples = 2;
  options.train.sample_every = options.train.save_every = {2, false};
  options.train.tensorboard = true;
  resolve(options);
  return options;
}

// To that step.
Outcome train_to(const Options& options, const fs::path& run, StartMode mode, int64_t step,
                 const fs::path& checkpoint = {}) {
  Trainer trainer(options, run, mode, checkpoint);
  return trainer.train([&] { return trainer.step() == step; });
}

void check_shows_log(const Shown& shown, const fs::path& run, int64_t steps) {
  for (const auto& scalar : shown.scalars) {
    const std::string& tag = scalar.first;
    CAPTURE(tag);
    std::vector<std::pair<int64_t, double>> logged;
    for (const LogEntry& entry : read_log(run / "log.jsonl")) {
      double value = tag == "learning_rate/generator"       ? entry.lr / 2
                     : tag == "learning_rate/discriminator" ? entry.lr * 2
                     : tag == "speed/seconds_per_step"      ? entry.seconds
                                                            : 3 / entry.seconds;  // pictures, of batches of three
      for (const auto& [name, loss] : entry.losses)
        if (tag == "losses/" + name) value = loss;
      logged.emplace_back(entry.step, static_cast<float>(value));
    }
    CHECK(scalar.second == logged);
    CHECK(std::ssize(logged) == steps);
  }
  CHECK(shown.scalars.size() == 8);
}

}  // namespace

TEST_CASE("a run writes what it logs and samples, and its settings; a resumed one forgets what is done again") {
  ScratchFolder folder;
  Options options = board_options(make_tiny_data(folder / "data"));
  options.train.keep_checkpoints = true;
  const fs::path run = folder / "run";
  CHECK(train_to(options, run, StartMode::fresh, 5) == Outcome::interrupted);
  {
    const Shown shown(run);
    CHECK(event_files(run).size() == 1);
    check_shows_log(shown, run, 5);
    REQUIRE(shown.images.size() == 2);
    CHECK(shown.images[1] == std::pair{int64_t{4}, read_text(run / "samples" / "step_000004.png")});
    CHECK(shown.starts == std::vector<int64_t>{0});
    REQUIRE(shown.hparams.size() == 1);
    const auto& settings = shown.hparams[0].session_start_info().hparams();
    CHECK(settings.size() == option_fields(options).size());
    CHECK(settings.at("batchSize").number_value() == 3);
    CHECK(settings.at("no_vgg_loss").bool_value());
    CHECK(settings.at("gan_mode").string_value() == "hinge");
    CHECK(contains(shown.text, "| batchSize | 3 | pictures a step, those of all ranks together; with --accumulate, a batch |"));
    CHECK(contains(shown.text, "| no&#95;vgg&#95;loss | true |"));
  }
  CHECK(train_to(options, run, StartMode::resume, 6, run / "checkpoints" / "step_000002") == Outcome::finished);
  const Shown shown(run);
  CHECK(event_files(run).size() == 2);
  check_shows_log(shown, run, 6);
  CHECK(shown.images.size() == 3);
  CHECK(shown.starts == std::vector<int64_t>{0, 3});
  REQUIRE(shown.hparams.size() == 3);
  CHECK(shown.hparams[2].session_end_info().status() == events::STATUS_SUCCESS);
}

TEST_CASE("runs of the past: what the log and the samples hold becomes the same events, once") {
  ScratchFolder folder;
  Options options = board_options(make_tiny_data(folder / "data"));
  options.train.tensorboard = false;
  const fs::path run = folder / "run";
  train_to(options, run, StartMode::fresh, 4);
  CHECK(event_files(run).empty());
  RunLog(run / "log.jsonl", 4).append(ScoreEntry{.step = 4, .scores = {{"psnr", 12.5}, {"seams", std::nan("")}}});

  convert_to_tensorboard(read_run(run));
  Shown shown(run);
  CHECK(shown.scalars.at("scores/psnr") == std::vector<std::pair<int64_t, double>>{{4, 12.5}});
  shown.scalars.erase("scores/psnr");
  check_shows_log(shown, run, 4);
  CHECK(shown.images.size() == 2);
  CHECK(shown.hparams.size() == 1);  // no end: the run is unfinished
  CHECK(contains(error_of([&] { convert_to_tensorboard(read_run(run)); }), "events are there already"));

  fs::remove(event_files(run)[0]);
  options.train.tensorboard = true;
  train_to(options, run, StartMode::resume, 6);  // the same, and on
  shown = Shown(run);
  shown.scalars.erase("scores/psnr");
  check_shows_log(shown, run, 6);
  CHECK(event_files(run).size() == 1);
}

TEST_CASE("events that find no room are told once and end nothing; a new run removes those of one that was never saved") {
  ScratchFolder folder;
  const Options options = board_options(make_tiny_data(folder / "data"));
  const fs::path run = folder / "run";
  constexpr rlim_t kMuch = 100'000'000;
  std::ostringstream said;
  std::streambuf* before = std::cerr.rdbuf(said.rdbuf());
  {
    std::unique_ptr<FileLimit> full;
    Trainer trainer(options, run, StartMode::fresh);
    trainer.train([&] {
      if (trainer.step() == 1) {
        fs::resize_file(event_files(run)[0], kMuch);
        full = std::make_unique<FileLimit>(kMuch);
      }
      return false;
    });
  }
  std::cerr.rdbuf(before);
  CHECK(contains(said.str(), "cannot be written (File too large); training goes on without TensorBoard's events"));
  CHECK(std::count(said.view().begin(), said.view().end(), '\n') == 1);
  CHECK(read_log(run / "log.jsonl").size() == 6);

  fs::remove_all(run / "checkpoints");
  for (const char* file : {"samples", "report.html"}) fs::remove_all(run / file);
  train_to(options, run, StartMode::fresh, 2);
  REQUIRE(event_files(run).size() == 1);
  check_shows_log(Shown(run), run, 2);
  fs::remove_all(run / "checkpoints");
  for (const char* file : {"samples", "report.html", "config.json", "log.jsonl"}) fs::remove_all(run / file);
  CHECK(contains(error_of([&] { train_to(options, run, StartMode::fresh, 2); }), "is there already"));  // somebody's events
}

#endif
