// asapnet serve over its socket: its pictures are those of asapnet generate, whoever asks and however many at once;
// what is malformed, too large, too slow or from elsewhere gets a sentence, and the server goes on. The page itself
// is tried in test_serve_page.cpp.
#include <atomic>
#include <nlohmann/json.hpp>

#include "tests/support/http.h"
#include "tests/support/program.h"
#include "train/pictures/image_files.h"
#include "train/pictures/picture_grid.h"
#include "train/pictures/png.h"
#include "train/serve/server.h"
#include "train/serve/work_queue.h"

using namespace asap;
using namespace asap::tests;
using namespace asap::train;
namespace fs = std::filesystem;
using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

namespace {

constexpr const char* kBytes = "Content-Type: application/octet-stream\r\n";

bool serve_can_be_tried() {
  if (!can_serve()) return skip("this build has no cpp-httplib"), false;
  return ran(), true;
}

// Data and a trained run for all cases, and a server for those that do it no harm.
Workshop& workshop() {
  static Workshop shop;
  return shop;
}
ServeProgram& server() {
  static ScratchFolder folder;
  static ServeProgram program(folder.path(), {"--weights", text(workshop().trained)});
  return program;
}

LabelMap some_labels(int width, int height, int seed = 0) {
  LabelMap map(width, height);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) map.at(x, y) = 1 + (x / 5 + y / 4 * 3 + seed) % 12;
  return map;
}
std::string bare(const LabelMap& map) { return {map.values.begin(), map.values.end()}; }
std::string size_query(const LabelMap& map) { return str("width=", map.width, "&height=", map.height); }

Image picture_in(const Reply& reply) {
  CAPTURE(reply.body.substr(0, 200));
  REQUIRE(reply.status == 200);
  const std::vector<uint8_t> file(reply.body.begin(), reply.body.end());
  return decode_photo(file, "reply");
}

Image generated(const std::vector<std::string>& weights, const fs::path& map,
                const std::vector<std::string>& more = {}) {
  const ScratchFolder folder;
  const fs::path picture = folder / "picture.png";
  std::vector<std::string> all{"generate",  "--labels", text(map), "--size",     "native",
                               "--threads", "1",        "--out",   text(picture)};
  all.insert(all.end(), weights.begin(), weights.end());
  all.insert(all.end(), more.begin(), more.end());
  const Result result = run(all);
  CAPTURE(result.error);
  REQUIRE(result.code == 0);
  return read_photo(picture);
}

double seconds_of(const std::function<void()>& work) {
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

TEST_CASE("the page, and what it says of the model") {
  if (!serve_can_be_tried()) return;
  const Reply page = server().ask("GET", "/");
  CHECK(page.status == 200);
  CHECK(page.body.starts_with("<!doctype html>"));
  CHECK(page.header("Content-Type") == "text/html; charset=utf-8");
  CHECK(contains(page.header("Content-Security-Policy"), "default-src 'none'"));
  std::string own = page.body;  // without the name of SVG, which nobody fetches
  for (size_t at; (at = own.find("http://www.w3.org/2000/svg")) != std::string::npos;) own.erase(at, 26);
  for (const char* elsewhere : {"http://", "https://", "src=", "@import", "url("})
    CHECK_FALSE(contains(own, elsewhere));

  const Json model = Json::parse(server().ask("GET", "/model.json").body);
  CHECK(model["models"].size() == 1);
  CHECK(model["models"][0]["name"] == "run");
  CHECK(model["models"][0]["width"] == 32);
  CHECK(model["classes"].size() == 13);
  CHECK(model["classes"][3] == Json{{"label", 3}, {"name", "window"}, {"colour", "#0055ff"}});
  CHECK(model["ground"] == 1);
  CHECK(model["sizes"] == Json{{32, 32}, {64, 64}, {128, 128}});
  CHECK(model["examples"].size() == 8);
  for (int i = 0; i < 8; ++i) {
    const Reply example = server().ask("GET", str("/examples/", i));
    CHECK(example.status == 200);
    CHECK(example.header("X-Width") == "32");
    CHECK(example.body.size() == 32 * 32);
    CHECK(std::all_of(example.body.begin(), example.body.end(), [](char c) { return c >= 1 && c <= 12; }));
  }
  CHECK(server().ask("GET", "/examples/8").status == 404);
}

TEST_CASE(
    "a picture equals that of asapnet generate, from a file or from bare labels, as PNG or as bytes, of any size") {
  if (!serve_can_be_tried()) return;
  const ScratchFolder folder;
  const std::vector<std::string> weights{"--weights", text(workshop().trained)};
  for (const auto& [width, height] : {std::pair{32, 32}, {64, 32}, {27, 41}, {1, 1}}) {
    CAPTURE(width);
    const LabelMap map = some_labels(width, height);
    const fs::path file = folder / str(width, ".png");
    write_label_png(file, map, label_palette(13));
    const Image expected = generated(weights, file);
    CHECK(picture_in(server().ask("POST", "/render", read_text(file), "Content-Type: image/png\r\n")) == expected);
    CHECK(picture_in(server().ask("POST", "/render?model=0&" + size_query(map), bare(map), kBytes)) == expected);
    const Reply bytes = server().ask("POST", "/render?format=rgb&" + size_query(map), bare(map), kBytes);
    CHECK(bytes.header("X-Width") == std::to_string(width));
    CHECK(bytes.body == std::string(expected.pixels.begin(), expected.pixels.end()));

    // The saved label map is the drawing, and generate takes it.
    const Reply saved = server().ask("POST", "/labels.png?" + size_query(map), bare(map), kBytes);
    write_text(folder / "saved.png", saved.body);
    CHECK(read_label_png(folder / "saved.png") == map);
    CHECK(generated(weights, folder / "saved.png") == expected);
    const Reply loaded = server().ask("POST", "/labels", saved.body, "Content-Type: image/png\r\n");
    CHECK(loaded.body == bare(map));
    CHECK(loaded.header("X-Height") == std::to_string(height));
    CHECK(loaded.header("X-Note") == "");
  }
}

TEST_CASE("label maps to open: gray, in the palette's colours, nearly so, too large") {
  if (!serve_can_be_tried()) return;
  const LabelMap map = some_labels(40, 24);
  const auto open = [&](const std::vector<uint8_t>& file) {
    return server().ask("POST", "/labels", {file.begin(), file.end()}, kBytes);
  };
  Image gray(40, 24, 1);
  std::copy(map.values.begin(), map.values.end(), gray.pixels.begin());
  CHECK(open(encode_png(gray, "gray")).body == bare(map));
  Image colours = colorize(map, 13);
  CHECK(open(encode_png(colours, "colours")).body == bare(map));
  colours.at(3, 3, 0) = uint8_t(colours.at(3, 3, 0) ^ 9);
  const Reply near = open(encode_png(colours, "near"));
  CHECK(near.body == bare(map));
  CHECK(near.header("X-Note") == "1 of 960 pixels had colours of no class and became the nearest one's. ");
  const Reply large = open(encode_png(Image(2000, 1000, 1, 3), "large"));
  CHECK(large.header("X-Width") == "1448");
  CHECK(large.header("X-Height") == "724");
  CHECK(contains(large.header("X-Note"), "was 2000x1000 and is now 1448x724"));
  CHECK(large.body == std::string(1448 * 724, 3));

  for (const auto& [file, sentence] :
       {std::pair{encode_png(Image(8, 8, 1, 13), "x"),
                  "label map: expected labels 0 to 12, found 13 at column 0, row 0"},
        {encode_png(Image(8, 8, 3, 90), "x"), "label map: expected labels 0 to 12, found 90"},
        {std::vector<uint8_t>{'n', 'o'}, "label map"},
        {std::vector<uint8_t>{}, "label map"}}) {
    const Reply refused = open(file);
    CHECK(refused.status == 400);
    CHECK(contains(refused.body, sentence));
    CHECK(std::count(refused.body.begin(), refused.body.end(), '\n') == 1);
  }
  const Reply photo = server().ask("POST", "/labels", read_text(workshop().data / "base" / "cmp_b0001.jpg"), kBytes);
  CHECK(photo.status == 400);
  CHECK(contains(photo.body, "expected class numbers, or the colours of the classes"));
}

TEST_CASE("what is malformed, too large or from elsewhere is refused in a sentence, and the server goes on") {
  if (!serve_can_be_tried()) return;
  const LabelMap map = some_labels(32, 32);
  const std::string good = bare(map), size = "width=32&height=32", own = str("127.0.0.1:", server().port());
  struct Case {
    const char *method, *target;
    std::string body, headers, host;
    int status;
    const char* sentence;
  };
  const std::string bad_label = good.substr(1) + '\x0d', huge(17 << 20, 'x');
  const std::vector<Case> cases{
      {"POST", "/render?width=32&height=32", good.substr(1), kBytes, own, 400,
       "expected 1024 labels, a byte each (32x32), got 1023 bytes"},
      {"POST", "/render?width=32&height=32", good + "x", kBytes, own, 400, "got 1025 bytes"},
      {"POST", "/render?width=32&height=32", "", kBytes, own, 400, "got 0 bytes"},
      {"POST", "/render?width=32&height=32", bad_label, kBytes, own, 400,
       "expected labels 0 to 12, found 13 at column 31, row 31"},
      {"POST", "/render?width=32&height=32", std::string(1024, '\xff'), kBytes, own, 400,
       "found 255 at column 0, row 0"},
      {"POST", "/render?width=32", good, kBytes, own, 400, "height: expected a whole number from 1 to 65535, got none"},
      {"POST", "/render?width=-32&height=32", good, kBytes, own, 400, "width: expected a whole number"},
      {"POST", "/render?width=32x&height=32", good, kBytes, own, 400, "width: expected a whole number"},
      {"POST", "/render?width=99999999999999999999&height=1", good, kBytes, own, 400, "width: expected a whole number"},
      {"POST", "/render?width=0&height=32", "", kBytes, own, 400, "width: expected a whole number"},
      {"POST", "/render?width=65535&height=65535", good, kBytes, own, 413, "a picture has at most 1048576 pixels"},
      {"POST", "/render?width=32&height=32&model=1", good, kBytes, own, 400,
       "model: expected a whole number from 0 to 0"},
      {"POST", "/render?width=32&height=32&format=gif", good, kBytes, own, 400, "format: expected png or rgb"},
      {"POST", "/render", good, kBytes, own, 400, "label map"},
      {"POST", "/labels.png", good, kBytes, own, 400, "width: expected a whole number"},
      {"POST", "/labels", huge, kBytes, own, 413, "the body is too large: at most 16777216 bytes"},
      {"POST", "/render?width=32&height=32", good, "Content-Type: application/x-www-form-urlencoded\r\n", own, 415,
       "no form"},
      {"POST", "/render?width=32&height=32", good, "Content-Type: multipart/form-data; boundary=x\r\n", own, 415,
       "no form"},
      {"GET", "/render", "", "", own, 405, "/render takes POST, not GET"},
      {"POST", "/", "", kBytes, own, 405, "/ takes GET, not POST"},
      {"DELETE", "/labels", "", "", own, 405, "/labels takes POST, not DELETE"},
      {"GET", "/../etc/passwd", "", "", own, 404, "there is nothing at this address"},
      {"GET", "/examples/99999", "", "", own, 404, "there is nothing at this address"},
      {"FOO", "/", "", "", own, 400, "this request is not understood"},
      {"GET", "/", "", "", "evil.example", 403, "under the names localhost and 127.0.0.1"},
      {"GET", "/", "", "", "127.evil.example", 403, "under the names"},
      {"GET", "/", "", "", "127.0.0.1.evil.example:80", 403, "under the names"},
      {"GET", "/", "", "", "", 403, "under the names"},
      {"GET", "/", "", "Host: evil.example\r\n", own, 400, "expected one Host header"},
      {"POST", "/render?width=32&height=32", good, str(kBytes, "Origin: http://evil.example\r\n"), own, 403,
       "answers its own page alone"},
      {"POST", "/render?width=32&height=32", good, str(kBytes, "Origin: null\r\n"), own, 403,
       "answers its own page alone"},
  };
  for (const Case& c : cases) {
    INFO(c.method, " ", c.target, " ", c.headers, " ", c.host);
    const Reply reply = server().ask(c.method, c.target, c.body, c.headers, c.host);
    CHECK(reply.status == c.status);
    CHECK_MESSAGE(contains(reply.body, c.sentence), reply.body);
    CHECK(std::count(reply.body.begin(), reply.body.end(), '\n') == 1);
  }
  CHECK(server().ask("GET", "/render").header("Allow") == "POST");
  for (const std::string host : {"localhost", "127.0.0.1", "[::1]:8080", "127.1.2.3:1"})
    CHECK(server().ask("GET", "/", "", "", host).status == 200);
  CHECK(server().ask("POST", "/render?" + size, good, str(kBytes, "Origin: http://", own, "\r\n"), own).status == 200);

  // No requests at all, or broken ones.
  for (const std::string& bytes :
       {std::string("\r\n\r\n"), std::string("GET\r\n\r\n"), std::string("\0\1\2\3\r\n\r\n", 8),
        std::string(100'000, 'a'), "GET /" + std::string(20'000, 'a') + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + std::string(20'000, 'a') + "\r\n\r\n",
        std::string("POST /render HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        std::string("POST /render?width=1&height=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n")}) {
    Connection connection(server().port());
    connection.send(bytes);
    const int status = connection.receive(10).status;
    CAPTURE(bytes.substr(0, 60));
    CHECK((status == 0 || (status >= 400 && status < 500)));  // 0: hung up
  }
  CHECK(server().ask("POST", "/render?" + size, good, kBytes).status == 200);
}

TEST_CASE("clients that stop in the middle keep nobody waiting and are let go") {
  if (!serve_can_be_tried()) return;
  const std::string good = bare(some_labels(32, 32));
  std::vector<std::unique_ptr<Connection>> slow;
  for (int i = 0; i < 40; ++i) {
    slow.push_back(std::make_unique<Connection>(server().port()));
    const std::string whole = request_text("POST", "/render?width=32&height=32", good, kBytes);
    slow.back()->send(whole.substr(0, i % 3 == 0 ? 0 : i % 3 == 1 ? 30 : whole.size() - 100));
  }
  CHECK(seconds_of([&] { CHECK(server().ask("POST", "/render?width=32&height=32", good, kBytes).status == 200); }) < 2);
  for (const auto& connection : slow) {
    const int status = connection->receive(15).status;
    CHECK((status == 0 || status == 400 || status == 408));
  }
}

TEST_CASE("several clients at once get their own pictures") {
  if (!serve_can_be_tried()) return;
  const ScratchFolder folder;
  constexpr int kClients = 6, kRounds = 8;
  std::vector<LabelMap> maps;
  std::vector<Image> expected;
  for (int i = 0; i < kClients; ++i) {
    maps.push_back(some_labels(i % 2 ? 32 : 48, 32, i));
    const fs::path file = folder / str(i, ".png");
    write_label_png(file, maps.back(), label_palette(13));
    expected.push_back(generated({"--weights", text(workshop().trained)}, file));
  }
  std::atomic<int> right = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i)
    clients.emplace_back([&, i] {
      Connection connection(server().port());
      for (int round = 0; round < kRounds; ++round) {
        connection.send(request_text("POST", str("/render?format=rgb&client=c", i, "&", size_query(maps[size_t(i)])),
                                     bare(maps[size_t(i)]), kBytes));
        const std::vector<uint8_t>& pixels = expected[size_t(i)].pixels;
        right += connection.receive().body == std::string(pixels.begin(), pixels.end());
      }
    });
  for (std::thread& client : clients) client.join();
  CHECK(right == kClients * kRounds);
}

TEST_CASE(
    "the queue: newer work of a client takes the place of its older, in the older's turn; the others keep theirs") {
  ran();
  std::mutex gate;
  std::vector<std::string> order;
  WorkQueue queue(3);
  std::map<std::string, Turn> turns;
  std::mutex turns_lock;
  std::vector<std::thread> clients;
  std::atomic<int> begun = 0;
  gate.lock();
  const auto ask = [&](const std::string& client, const std::string& name) {
    clients.emplace_back([&, client, name] {
      ++begun;
      const Turn turn = queue.run(client, [&, name] {
        const std::lock_guard wait(gate);
        order.push_back(name);
      });
      const std::lock_guard lock(turns_lock);
      turns[name] = turn;
    });
    const int expected = int(clients.size());
    wait_until("a client", [&] { return begun == expected; });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // until it waits
  };
  ask("a", "a0");  // being done, and waiting for the gate
  ask("a", "a1");
  ask("b", "b1");
  ask("a", "a2");
  ask("", "c1");
  ask("", "c2");  // one too many
  ask("a", "a3");
  gate.unlock();
  for (std::thread& client : clients) client.join();
  CHECK(order == std::vector<std::string>{"a0", "a3", "b1", "c1"});
  CHECK(turns["a1"] == Turn::superseded);
  CHECK(turns["a2"] == Turn::superseded);
  CHECK(turns["a3"] == Turn::done);
  CHECK(turns["c2"] == Turn::full);
  CHECK(error_of([&] { queue.run("", [] { fail("as thrown"); }); }) == "as thrown");
}

TEST_CASE("two models: one drawing, two pictures; models of different classes are refused") {
  if (!serve_can_be_tried()) return;
  const ScratchFolder folder;
  const fs::path other = folder / "run", few = folder / "few";
  REQUIRE(
      run({"train", "--config", text(workshop().config), "--out", text(other), "--steps", "1", "--seed", "9"}).code ==
      0);
  ServeProgram two(folder.path(), {"--weights", text(workshop().trained), "--weights", text(other), "--size", "48x32"});
  const Json model = Json::parse(two.ask("GET", "/model.json").body);
  CHECK(model["models"].size() == 2);
  CHECK(model["models"][0]["name"] != model["models"][1]["name"]);  // both folders are called run
  CHECK(model["width"] == 48);
  const LabelMap map = some_labels(48, 32);
  write_label_png(folder / "map.png", map, label_palette(13));
  const Image first = generated({"--weights", text(workshop().trained)}, folder / "map.png");
  const Image second = generated({"--weights", text(other)}, folder / "map.png");
  CHECK_FALSE(first == second);
  CHECK(picture_in(two.ask("POST", "/render?model=0&" + size_query(map), bare(map), kBytes)) == first);
  CHECK(picture_in(two.ask("POST", "/render?model=1&" + size_query(map), bare(map), kBytes)) == second);

  REQUIRE(run({"train", "--config", text(workshop().config), "--out", text(few), "--steps", "1", "--label-nc", "14"})
              .code == 0);
  check_refused({"serve", "--weights", text(workshop().trained), "--weights", text(few)}, 1,
                {"few: expected the classes of run (13), since one drawing is for all models, found 14"});
}

TEST_CASE("without --weights it is the built-in model, which needs nothing else to paint with") {
  if (!serve_can_be_tried()) return;
  const ScratchFolder folder;
  ServeProgram server(folder.path(), {});
  const Json model = Json::parse(server.ask("GET", "/model.json").body);
  CHECK(model["models"][0]["name"] == "built-in");
  CHECK(model["examples"].size() == 8);
  const LabelMap map = some_labels(64, 48);
  write_label_png(folder / "map.png", map, label_palette(13));
  CHECK(picture_in(server.ask("POST", "/render?" + size_query(map), bare(map), kBytes)) ==
        generated({}, folder / "map.png"));
}

TEST_CASE("a model with instance maps: its instances are the connected regions; names and examples of one's own") {
  if (!serve_can_be_tried()) return;
  const ScratchFolder folder;
  const fs::path photos = folder / "photos", maps = folder / "maps", trained = folder / "edges";
  fs::create_directories(photos);
  fs::create_directories(maps);
  for (int i = 1; i <= 3; ++i) {
    fs::copy(workshop().data / "base" / str("cmp_b000", i, ".jpg"), photos / str("a", i, ".jpg"));
    fs::copy(workshop().label(str("cmp_b000", i)), maps / str("a", i, ".png"));
  }
  fs::copy(maps, folder / "instances");
  REQUIRE(run({"train", "--config", text(workshop().config), "--dataset", "custom", "--label-dir", text(maps),
               "--image-dir", text(photos), "--instance-dir", text(folder / "instances"), "--no-instance-edge=false",
               "--steps", "1", "--out", text(trained)})
              .code == 0);
  write_text(folder / "names.txt", "nothing\nsky\n\n  wall  \r\n");
  ServeProgram server(
      folder.path(), {"--weights", text(trained), "--labels", text(maps), "--class-names", text(folder / "names.txt")});
  const Json model = Json::parse(server.ask("GET", "/model.json").body);
  CHECK(model["classes"][1]["name"] == "sky");
  CHECK(model["classes"][2]["name"] == "class 2");
  CHECK(model["classes"][3]["name"] == "wall");
  CHECK(model["examples"] == Json{"a1", "a2", "a3"});
  CHECK(server.ask("GET", "/examples/1").body == bare(read_label_png(maps / "a2.png")));
  const Image expected =
      generated({"--weights", text(trained)}, maps / "a2.png", {"--instances", text(maps / "a2.png")});
  CHECK(picture_in(server.ask("POST", "/render", read_text(maps / "a2.png"), "Content-Type: image/png\r\n")) ==
        expected);
}

TEST_CASE("a port that is taken, hosts, and what cannot be served") {
  if (!serve_can_be_tried()) return;
  const std::string weights = text(workshop().trained);
  check_refused(
      {"serve", "--weights", weights, "--port", std::to_string(server().port())}, 1,
      {str("--port ", server().port(), ": another program listens there already; give another one, such as --port ",
           server().port() + 1)});
  check_refused({"serve", "--weights", weights, "--port", "65536"}, 2, {"--port"});
  check_refused({"serve", "--weights", weights, "--host", "192.0.2.1"}, 1,
                {"--host 192.0.2.1: this machine cannot listen at that address"});
  check_refused({"serve", "--weights", weights, "--size", "native"}, 1, {"--size: expected WIDTH or WIDTHxHEIGHT"});
  check_refused({"serve", "--weights", weights, "--seed", "3"}, 2, {"--seed has no effect"});
  check_refused({"serve", "--weights", weights, "--labels", weights + "/nothing"}, 1, {"nothing"});
  const ScratchFolder folder;
  write_text(folder / "names.txt", std::string(28, '\n') + "too many\n");
  check_refused({"serve", "--weights", weights, "--class-names", text(folder / "names.txt")}, 1,
                {"expected a name a line for each of the 13 classes", "found 29 lines"});
  CHECK(is_loopback("localhost"));
  CHECK(is_loopback("127.0.0.2"));
  CHECK_FALSE(is_loopback("0.0.0.0"));
  CHECK_FALSE(is_loopback("127.example"));

  ServeProgram open(folder.path(), {"--weights", weights, "--host", "0.0.0.0"});
  CHECK(contains(open.program().error(), "everyone who reaches this machine over the network can use the page"));
  CHECK(open.ask("GET", "/", "", "", "my-machine.local:8080").status == 200);
  CHECK(open.ask("POST", "/labels", "", str(kBytes, "Origin: http://evil.example\r\n"), "my-machine.local").status ==
        403);
}

TEST_CASE("more requests than a page makes are put off, and then answered again") {
  if (!serve_can_be_tried()) return;
  const ScratchFolder folder;
  ServeProgram busy(folder.path(), {"--weights", text(workshop().trained)});
  const LabelMap map = some_labels(16, 16);
  const std::string request = request_text("POST", "/labels.png?" + size_query(map), bare(map), kBytes);
  Connection connection(busy.port());
  int put_off = 0, answered = 0;
  for (int i = 0; i < 900 && put_off == 0; ++i) {  // 200 a second at most, and 400 saved up
    connection.send(request);
    const int status = connection.receive().status;
    put_off += status == 429;
    answered += status == 200;
  }
  CHECK(put_off > 0);
  CHECK(answered >= 400);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(busy.ask("POST", "/labels.png?" + size_query(map), bare(map), kBytes).status == 200);
}

TEST_CASE("Ctrl-C, SIGTERM and a closed terminal end it within a second, whoever is connected") {
  if (!serve_can_be_tried()) return;
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP}) {
    CAPTURE(signal_number);
    const ScratchFolder folder;
    ServeProgram server(folder.path(), {"--weights", text(workshop().trained)});
    Connection idle(server.port()), half(server.port());
    half.send("POST /render HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nx");
    CHECK(seconds_of([&] {
            server.program().send(signal_number);
            CHECK(server.program().wait() == 130);
          }) < 1);
    CHECK(server.program().error() == "");
  }
}
