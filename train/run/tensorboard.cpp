// What of a run becomes which event. Declared in tensorboard.h; the messages are events.proto's.
#include "train/run/tensorboard.h"

#include <chrono>
#include <cmath>

#include "tensor/error.h"
#include "train/files/whole_files.h"
#include "train/run/chart.h"
#if ASAP_PROTOBUF
#include "events.pb.h"
#endif

namespace asap::train {

namespace fs = std::filesystem;

double unix_time() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

#if ASAP_PROTOBUF
namespace {

using events::Event;

Event event_of(int64_t step, double time) {
  Event event;
  event.set_step(step);
  event.set_wall_time(time);
  return event;
}

void add_scalar(Event& event, const std::string& tag, double value) {
  if (!std::isfinite(value)) return;  // a score that does not exist
  auto& scalar = *event.mutable_summary()->add_value();
  scalar.set_tag(tag);
  scalar.set_simple_value(static_cast<float>(value));
}

// A value that the named plugin shows.
events::Summary::Value& add_plugin_value(Event& event, const std::string& tag, const std::string& plugin) {
  auto& value = *event.mutable_summary()->add_value();
  value.set_tag(tag);
  value.mutable_metadata()->mutable_plugin_data()->set_plugin_name(plugin);
  value.mutable_metadata()->set_data_class(events::DATA_CLASS_TENSOR);
  return value;
}

// The plugin finds these by their tags, and wants a tensor of one number beside the metadata that matter.
void add_hparams(Event& event, const std::string& tag, const events::HParamsPluginData& data) {
  auto& value = add_plugin_value(event, tag, "hparams");
  value.mutable_metadata()->mutable_plugin_data()->set_content(data.SerializeAsString());
  value.mutable_tensor()->set_dtype(events::DT_FLOAT);
  value.mutable_tensor()->mutable_tensor_shape()->add_dim()->set_size(1);
  value.mutable_tensor()->add_float_val(0);
}

events::HParam hparam(const OptionField& field) {
  events::HParam value;
  if (const auto* truth = std::get_if<bool*>(&field.value))
    value.set_bool_value(**truth);
  else if (const auto* whole = std::get_if<int64_t*>(&field.value))
    value.set_number_value(static_cast<double>(**whole));
  else if (const auto* number = std::get_if<double*>(&field.value))
    value.set_number_value(**number);
  else
    value.set_string_value(to_text(field));
  return value;
}

// As Markdown takes it literally, also in a cell of a table.
std::string markdown(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (std::string_view("\\`*_{}[]<>|&#!~\n").find(c) == std::string_view::npos)
      escaped += c;
    else
      escaped += str("&#", static_cast<int>(c), ";");
  }
  return escaped;
}

std::string settings_table(Options options) {
  std::string table = "| option | value | meaning |\n|---|---|---|\n";
  for (const OptionField& field : option_fields(options)) {
    const std::string value = to_text(field);
    if (!value.empty())
      table += "| " + markdown(field.key) + " | " + markdown(value) + " | " + markdown(field.help) + " |\n";
  }
  return table;
}

// The folder, without the files of a run that ended before its first save.
const fs::path& prepared(const fs::path& run, int64_t last_step) {
  if (last_step == 0) {
    for (const fs::path& file : event_files(run)) fs::remove(file);
  }
  return run;
}

// Width and height stand at byte 16 of a PNG, big-endian.
int32_t big_endian(const std::vector<uint8_t>& bytes, size_t at) {
  return bytes[at] << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3];
}

}  // namespace

void check_tensorboard_possible() {}

TensorBoard::TensorBoard(const fs::path& run, const Options& options, int64_t last_step)
    : options_(options), file_(prepared(run, last_step)) {
  Event version = event_of(0, unix_time());
  version.set_file_version("brain.Event:2");
  file_.append(version.SerializeAsString());
  Event start = event_of(last_step == 0 ? 0 : last_step + 1, unix_time());
  start.mutable_session_log()->set_status(events::SessionLog::START);
  file_.append(start.SerializeAsString());
  const bool is_first = event_files(run).size() == 1;
  if (last_step > 0 && is_first)
    add_past(read_run(run));
  else
    add_settings(last_step, unix_time());
  flush();
}

void TensorBoard::add_settings(int64_t step, double time) {
  Event text = event_of(step, time);
  events::TensorProto& tensor = *add_plugin_value(text, "settings", "text").mutable_tensor();
  tensor.set_dtype(events::DT_STRING);
  tensor.mutable_tensor_shape();  // a scalar: no sides
  tensor.add_string_val(settings_table(options_));
  file_.append(text.SerializeAsString());

  events::HParamsPluginData data;
  data.mutable_session_start_info()->set_start_time_secs(time);
  for (const OptionField& field : option_fields(options_))
    (*data.mutable_session_start_info()->mutable_hparams())[field.key] = hparam(field);
  Event start = event_of(step, time);
  add_hparams(start, "_hparams_/session_start_info", data);
  file_.append(start.SerializeAsString());
}

void TensorBoard::add(const LogEntry& entry, double time) {
  const TrainOptions& o = options_.train;
  const auto optimizer = [&](double factor) { return o.no_TTUR ? entry.lr : factor * entry.lr; };
  Event event = event_of(entry.step, time);
  for (const auto& [name, value] : entry.losses) add_scalar(event, "losses/" + name, value);
  add_scalar(event, "learning_rate/generator", optimizer(0.5));
  add_scalar(event, "learning_rate/discriminator", optimizer(2));
  add_scalar(event, "speed/seconds_per_step", entry.seconds);
  add_scalar(event, "speed/pictures_per_second", static_cast<double>(o.batchSize * o.accumulate) / entry.seconds);
  file_.append(event.SerializeAsString());
}

void TensorBoard::add(const ScoreEntry& entry, double time) {
  Event event = event_of(entry.step, time);
  for (const auto& [name, value] : entry.scores) add_scalar(event, "scores/" + name, value);
  file_.append(event.SerializeAsString());
}

void TensorBoard::add(const SampleGrid& grid, double time) {
  const std::vector<uint8_t> png = read_file(grid.file);
  ASAP_CHECK(png.size() > 24, grid.file.string(), ": is no PNG");
  Event event = event_of(grid.step, time);
  auto& value = *event.mutable_summary()->add_value();
  value.set_tag("samples");
  value.mutable_image()->set_width(big_endian(png, 16));
  value.mutable_image()->set_height(big_endian(png, 20));
  value.mutable_image()->set_colorspace(3);
  value.mutable_image()->set_encoded_image_string(png.data(), png.size());
  file_.append(event.SerializeAsString());
}

void TensorBoard::add_end(double time) {
  events::HParamsPluginData data;
  data.mutable_session_end_info()->set_status(events::STATUS_SUCCESS);
  data.mutable_session_end_info()->set_end_time_secs(time);
  Event event = event_of(0, time);
  add_hparams(event, "_hparams_/session_end_info", data);
  file_.append(event.SerializeAsString());
}

// The log has no times but what each step took: the last one ended when the log was last written.
void TensorBoard::add_past(const RecordedRun& run) {
  double time = std::chrono::duration<double>(
                    std::chrono::file_clock::to_sys(fs::last_write_time(run.folder / "log.jsonl")).time_since_epoch())
                    .count();
  for (const LogEntry& entry : run.log) time -= entry.seconds;
  add_settings(0, time);
  auto scores = run.scores.begin();
  auto grid = run.samples.begin();
  const auto add_until = [&](int64_t step) {
    for (; scores != run.scores.end() && scores->step <= step; ++scores) add(*scores, time);
    for (; grid != run.samples.end() && grid->step <= step; ++grid) add(*grid, time);
  };
  for (const LogEntry& entry : run.log) {
    time += entry.seconds;
    add(entry, time);
    add_until(entry.step);
  }
}

void convert_to_tensorboard(const RecordedRun& run) {
  const std::vector<fs::path> files = event_files(run.folder);
  ASAP_CHECK(files.empty(), run.folder.string(), ": TensorBoard's events are there already, in ",
             files.front().filename().string());
  ASAP_CHECK(!run.log.empty(), run.folder.string(), ": its log.jsonl holds no step of a training");
  TensorBoard board(run.folder, run.options, run.log.back().step);
  if (run.log.back().step == run.total_steps) board.add_end();
  board.flush();
}

#else

void check_tensorboard_possible() {
  fail(
      "TensorBoard's events need Protocol Buffers, which were not there when this asapnet was built (libprotobuf-dev and "
      "protobuf-compiler)");
}
TensorBoard::TensorBoard(const fs::path& run, const Options& options, int64_t)
    : options_(options), file_((check_tensorboard_possible(), run)) {}
void TensorBoard::add(const LogEntry&, double) {}
void TensorBoard::add(const ScoreEntry&, double) {}
void TensorBoard::add(const SampleGrid&, double) {}
void TensorBoard::add_end(double) {}
void convert_to_tensorboard(const RecordedRun&) { check_tensorboard_possible(); }

#endif

}  // namespace asap::train
