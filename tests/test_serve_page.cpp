// The page of asapnet serve in a real browser, with mouse, pen, finger and keys: what it shows is, pixel for pixel,
// what asapnet generate makes of the label map that it saves. Skipped where there is no Chromium.
#include "tests/support/browser.h"

#include <cstdint>

#include "tests/support/http.h"
#include "tests/support/program.h"
#include "train/pictures/image_files.h"

using namespace asap;
using namespace asap::tests;
using namespace asap::train;
namespace fs = std::filesystem;

namespace {

constexpr const char* kIdle =
    "boards.length > 0 && !stroke && boards.every(b => !b.asking && !b.wanted && !b.figure.classList.contains('old'))";

// The contrast of text with the page behind it, as WCAG 2 defines it.
constexpr const char* kContrast = R"((() => {
  const linear = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = colour => colour.match(/[\d.]+/g).slice(0, 3).reduce((sum, v, i) => sum + [.2126, .7152, .0722][i] * linear(+v), 0);
  const style = getComputedStyle(document.body), [a, b] = [light(style.color), light(style.backgroundColor)];
  return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
})())";

std::string from_base64(const std::string& text) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    const size_t digit = digits.find(c);
    if (digit == std::string::npos) break;
    bits = bits << 6 | uint32_t(digit);
    if ((held += 6) < 8) continue;
    held -= 8;
    bytes += char(bits >> held);
  }
  return bytes;
}

void save_screenshot(Browser& browser, const fs::path& file) { write_text(file, from_base64(browser.screenshot())); }

// The page in a browser, or why there is none.
struct Visit {
  Workshop& shop;
  ScratchFolder folder;
  ServeProgram server;
  Browser browser;

  Visit(Workshop& trained, std::vector<std::string> arguments = {})
      : shop(trained), server(folder.path(), with_weights(trained, std::move(arguments))), browser(folder.path()) {
    browser.resize(1280, 800);
    browser.open(server.url());
    browser.wait_for(kIdle);
  }
  static std::vector<std::string> with_weights(const Workshop& trained, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--weights", trained.trained.string()});
    return arguments;
  }
  // The window's coordinates of a place in the drawing.
  std::pair<double, double> at(double x, double y) {
    const Browser::Json box = browser.evaluate(
        "(({left, top, width, height}) => [left, top, width, height])(drawing.getBoundingClientRect())");
    const double width = browser.evaluate("width"), height = browser.evaluate("height");
    return {double(box[0]) + x * double(box[2]) / width, double(box[1]) + y * double(box[3]) / height};
  }
  void mouse(const std::string& type, double x, double y, const std::string& button = "left",
             const Browser::Json& more = Browser::Json::object()) {
    const auto [left, top] = at(x, y);
    browser.mouse(type, left, top, button, more);
  }
  void drag(double x0, double y0, double x1, double y1, const std::string& button = "left",
            const Browser::Json& more = Browser::Json::object()) {
    mouse("mousePressed", x0, y0, button, more);
    mouse("mouseMoved", (x0 + x1) / 2, (y0 + y1) / 2, button, more);
    mouse("mouseMoved", x1, y1, button, more);
    mouse("mouseReleased", x1, y1, button, more);
  }
  int label(int x, int y) { return browser.evaluate(str("labelAt(", x, ", ", y, ")")); }
  std::vector<int> labels() { return browser.evaluate("Array.from(labels)").get<std::vector<int>>(); }
  // The picture that a canvas shows.
  Image shown(int board = 0) {
    browser.wait_for(kIdle);
    const std::string canvas = str("boards[", board, "].canvas");
    Image image(browser.evaluate(canvas + ".width"), browser.evaluate(canvas + ".height"), 3);
    const std::vector<int> rgba = browser.evaluate("Array.from(" + canvas + ".getContext('2d').getImageData(0, 0, " +
                                                   canvas + ".width, " + canvas + ".height).data)");
    REQUIRE(rgba.size() == image.pixels.size() / 3 * 4);
    for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = uint8_t(rgba[i / 3 * 4 + i % 3]);
    return image;
  }
  // Waits for a file that the page saves.
  fs::path downloaded(const std::string& name) {
    const fs::path file = folder / name;
    wait_until(name, [&] {
      return fs::exists(file) && fs::file_size(file) > 0 && !fs::exists(file.string() + ".crdownload");
    });
    return file;
  }
  fs::path saved_map() {
    fs::remove(folder / "label-map.png");
    browser.evaluate("document.getElementById('save-map').click()");
    return downloaded("label-map.png");
  }
  // What asapnet generate makes of the drawing.
  Image generated() {
    const fs::path picture = folder / "generated.png";
    const Result result = run({"generate", "--weights", shop.trained.string(), "--labels", saved_map().string(),
                               "--size", "native", "--threads", "1", "--out", picture.string()});
    CAPTURE(result.error);
    REQUIRE(result.code == 0);
    return read_photo(picture);
  }
};

bool page_can_be_tried() {
  if (Browser::program().empty()) return skip("there is no chromium in the PATH"), false;
  if (!can_serve()) return skip("this build has no cpp-httplib"), false;
  return ran(), true;
}

Workshop& workshop() {
  static Workshop shop;
  return shop;
}

}  // namespace

TEST_CASE("painting with the mouse: the canvas shows what generate makes of the saved label map, which opens again") {
  if (!page_can_be_tried()) return;
  Visit visit(workshop());
  Browser& browser = visit.browser;
  CHECK(visit.shown() == visit.generated());  // the first example

  browser.evaluate("document.getElementById('clear').click()");
  browser.key("3");
  browser.evaluate("setBrush(6)");
  visit.drag(6, 8, 24, 8);
  CHECK(visit.label(15, 8) == 3);
  CHECK(visit.label(6, 5) == 3);
  CHECK(visit.label(15, 12) == 1);  // the ground
  CHECK(visit.label(1, 8) == 1);    // a round end

  browser.key("r");
  browser.key("2");
  visit.drag(4.5, 16.5, 20.5, 27.5);
  const std::vector<int> drawn = visit.labels();
  for (int y = 14; y < 30; ++y)
    for (int x = 0; x < 32; ++x) CHECK(drawn[size_t(y * 32 + x)] == (x >= 4 && x <= 20 && y >= 16 && y <= 27 ? 2 : 1));
  browser.key("f");
  browser.key("4");
  visit.drag(10, 20, 10, 20);
  CHECK(visit.label(4, 16) == 4);
  CHECK(visit.label(20, 27) == 4);
  CHECK(visit.label(21, 27) == 1);
  const Image picture = visit.shown();
  CHECK(picture == visit.generated());

  // Undo and redo; the eraser is also the right button; the picker.
  browser.key("z", 2);
  CHECK(visit.label(10, 20) == 2);
  CHECK_FALSE(visit.shown() == picture);
  browser.key("z", 2 + 8);
  CHECK(visit.label(10, 20) == 4);
  CHECK(visit.shown() == picture);
  browser.key("b");
  visit.drag(15, 8, 15, 8, "right");
  CHECK(visit.label(15, 8) == 1);
  visit.drag(10, 20, 10, 20, "left", {{"modifiers", 1}});
  CHECK(browser.evaluate("label") == 4);
  browser.key("e");
  visit.drag(10, 20, 12, 20);
  CHECK(visit.label(11, 20) == 1);

  // The saved map opens again, whatever happened since.
  const fs::path map = visit.saved_map(), kept = visit.folder / "kept.png";
  fs::rename(map, kept);
  const std::vector<int> before = visit.labels();
  browser.evaluate("document.getElementById('clear').click()");
  CHECK(visit.labels() != before);
  browser.choose_file("file", kept);
  browser.wait_for("labelAt(6, 5) === 3");
  CHECK(visit.labels() == before);
  CHECK(visit.shown() == visit.generated());

  // And the picture is saved as it is seen.
  browser.key("s");
  CHECK(read_photo(visit.downloaded("picture.png")) == visit.shown());
  CHECK(browser.complaints() == "");
}

TEST_CASE("painting with keys alone, a pen and a finger") {
  if (!page_can_be_tried()) return;
  Visit visit(workshop());
  Browser& browser = visit.browser;
  browser.evaluate("document.getElementById('clear').click(); setBrush(4); drawing.focus()");
  browser.key("3");
  for (int i = 0; i < 3; ++i) browser.key("ArrowLeft");  // by half the brush
  browser.key(" ");
  for (int i = 0; i < 3; ++i) browser.key("ArrowUp");
  browser.key(" ");
  browser.key("ArrowUp");
  CHECK(visit.label(10, 16) == 3);
  CHECK(visit.label(10, 10) == 3);
  CHECK(visit.label(10, 7) == 1);
  browser.wait_for("document.getElementById('spoken').textContent.includes('window, column 10, row 8')");
  // Escape takes back what is being drawn.
  browser.key(" ");
  browser.key("ArrowUp");
  CHECK(visit.label(10, 7) == 3);
  browser.key("Escape");
  CHECK(visit.label(10, 7) == 1);
  CHECK(browser.evaluate("done.length") == 2);  // the clearing and one stroke

  // A pen's pressure is the width of its line.
  browser.key("5");
  visit.drag(5, 26, 27, 26, "left", {{"pointerType", "pen"}, {"force", 0.1}});
  CHECK(visit.label(16, 26) == 5);
  CHECK(visit.label(16, 28) == 1);
  visit.drag(5, 26, 27, 26, "left", {{"pointerType", "pen"}, {"force", 1.0}});
  CHECK(visit.label(16, 28) == 5);

  browser.resize(390, 844, true);
  browser.key("7");
  const auto [x0, y0] = visit.at(24, 4);
  const auto [x1, y1] = visit.at(24, 16);
  browser.finger("touchStart", x0, y0);
  browser.finger("touchMove", x0, (y0 + y1) / 2);
  browser.finger("touchMove", x1, y1);
  browser.finger("touchEnd", x1, y1);
  CHECK(visit.label(24, 10) == 7);
  CHECK(browser.evaluate("scrollY") == 0);  // the finger draws and does not scroll
  CHECK(visit.shown() == visit.generated());
  CHECK(browser.evaluate("document.documentElement.scrollWidth <= innerWidth") == true);
  CHECK(browser.complaints() == "");
}

TEST_CASE("two models, another size, a label map in colours, and a server that goes away") {
  if (!page_can_be_tried()) return;
  Workshop& shop = workshop();
  const fs::path second = shop.folder / "second";
  if (!fs::exists(second))
    REQUIRE(run({"train", "--config", shop.config.string(), "--out", second.string(), "--steps", "1", "--seed", "11"})
                .code == 0);
  Visit visit(shop, {"--weights", second.string()});
  Browser& browser = visit.browser;
  CHECK(browser.evaluate("boards.length") == 2);
  CHECK(visit.shown(0) == visit.generated());
  CHECK_FALSE(visit.shown(0) == visit.shown(1));

  browser.evaluate("(s => { s.value = '64x64'; s.onchange(); })(document.getElementById('size'))");
  CHECK(visit.shown(1).width == 64);
  CHECK(visit.shown(0) == visit.generated());

  // 48 x 40 is no multiple of anything here. Colours of our palette: the page finds the classes.
  Image colours(48, 40, 3);
  for (int y = 0; y < 40; ++y)
    for (int x = 0; x < 48; ++x) colours.at(x, y, 2) = x < 20 ? 170 : 255;  // background, facade
  write_png(visit.folder / "colours.png", colours);
  browser.choose_file("file", visit.folder / "colours.png");
  browser.wait_for("width === 48");
  CHECK(visit.label(19, 39) == 1);
  CHECK(visit.label(20, 0) == 2);
  CHECK(visit.shown(0).height == 40);
  CHECK(visit.shown(0) == visit.generated());
  browser.choose_file("file", shop.data / "base" / "cmp_b0001.jpg");
  browser.wait_for(
      "document.getElementById('message').textContent.includes('expected class numbers, or the colours of the "
      "classes')");
  CHECK(browser.evaluate("width") == 48);

  visit.server.program().send(SIGTERM);
  CHECK(visit.server.program().wait() == 130);
  browser.evaluate("document.getElementById('clear').click()");
  browser.wait_for("document.getElementById('message').textContent.startsWith('The server does not answer')");
  CHECK(browser.complaints() == "");
}

TEST_CASE("every control has a name, in light and dark, on a desk and on a phone") {
  if (!page_can_be_tried()) return;
  Visit visit(workshop());
  Browser& browser = visit.browser;
  for (const char* scheme : {"light", "dark"}) {
    browser.call("Emulation.setEmulatedMedia", {{"features", {{{"name", "prefers-color-scheme"}, {"value", scheme}}}}});
    for (const bool phone : {false, true}) {
      browser.resize(phone ? 360 : 1440, phone ? 740 : 900, phone);
      CHECK(browser.evaluate("document.documentElement.scrollWidth <= innerWidth") == true);
      CHECK(browser.evaluate("drawing.getBoundingClientRect().width >= 200") == true);
      CHECK(browser.evaluate(kContrast).get<double>() > 4.5);
    }
  }
  browser.resize(1280, 800);
  const auto nodes = browser.call("Accessibility.getFullAXTree").at("nodes");
  int controls = 0;
  for (const auto& node : nodes) {
    if (node.value("ignored", false)) continue;
    const std::string role = node["role"]["value"];
    if (role != "button" && role != "radio" && role != "slider" && role != "combobox" && role != "application")
      continue;
    ++controls;
    CAPTURE(node.dump());
    CHECK(node["name"]["value"].get<std::string>() != "");
  }
  CHECK(controls >= 12 + 5 + 1 + 2 + 8 + 7);  // classes, tools, brush, selections, examples, buttons
}

// How long it takes from a stroke to the frame with its picture; the numbers of docs/serve.md, by ASAP_PAGE_WEIGHTS=run.
TEST_CASE("seconds from stroke to picture, for reading") {
  const char* weights = std::getenv("ASAP_PAGE_WEIGHTS");
  if (!weights) return;
  const ScratchFolder folder;
  ServeProgram server(folder.path(), {"--weights", weights, "--threads", "0"});
  Browser browser(folder.path());
  browser.resize(1280, 800);
  browser.open(server.url());
  browser.wait_for(kIdle);
  for (const int side : {256, 512}) {
    browser.evaluate(str("replaceDrawing(resized(", side, ", ", side, "))"));
    browser.wait_for(kIdle);
    const auto times = browser.evaluate(R"((async () => {
      const times = [], drawn = draw;
      for (let i = 0; i < 40; ++i) {
        const begin = performance.now();
        const picture = new Promise(done => { draw = (...all) => { drawn(...all); requestAnimationFrame(done); }; });
        beginStroke(width * i / 40, height / 2, 'brush');
        moveStroke(width * i / 40, height / 3);
        await picture;
        endStroke();
        await new Promise(done => setTimeout(done, 50));
        times.push(performance.now() - begin - 50);
      }
      draw = drawn;
      return times.sort((a, b) => a - b);
    })())").get<std::vector<double>>();
    std::cout << side << "x" << side << ": median " << times[20] << " ms, 90 % within " << times[36] << " ms\n";
  }
}

// How docs/images/serve.png was made: ASAP_PAGE_WEIGHTS=run,run2 ASAP_PAGE_PICTURES=folder
TEST_CASE("pictures of the page, for looking at") {
  const char *weights = std::getenv("ASAP_PAGE_WEIGHTS"), *out = std::getenv("ASAP_PAGE_PICTURES");
  if (!weights || !out) return;
  const ScratchFolder folder;
  std::vector<std::string> arguments;
  std::istringstream list(weights);
  for (std::string run; std::getline(list, run, ',');) arguments.insert(arguments.end(), {"--weights", run});
  ServeProgram server(folder.path(), arguments);
  Browser browser(folder.path());
  for (const char* scheme : {"light", "dark"}) {
    browser.call("Emulation.setEmulatedMedia", {{"features", {{{"name", "prefers-color-scheme"}, {"value", scheme}}}}});
    for (const auto& [name, width, height] :
         {std::tuple{"desk", 1280, 800}, {"wide", 1920, 1080}, {"phone", 390, 844}, {"lying", 844, 390}}) {
      browser.resize(width, height, std::string(name) == "phone" || std::string(name) == "lying");
      browser.open(server.url());
      browser.wait_for(kIdle);
      usleep(500'000);
      save_screenshot(browser, fs::path(out) / str(name, "-", scheme, ".png"));
    }
  }
  browser.resize(1280, 800);
  browser.key("?");
  save_screenshot(browser, fs::path(out) / "keys.png");
}
