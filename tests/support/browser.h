// A browser to try a page with: headless Chromium, told what to do in its DevTools protocol over two pipes (JSON
// messages that end in a zero byte, https://chromedevtools.github.io/devtools-protocol). Mouse, fingers and keys are
// what the page takes for the user's own.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "tests/support/tiny_run.h"

namespace asap::tests {

class Browser {
 public:
  using Json = nlohmann::json;

  // ASAP_CHROMIUM, or what the PATH has; "" if there is none.
  static std::string program() {
    if (const char* given = std::getenv("ASAP_CHROMIUM")) return given;
    std::istringstream path(std::getenv("PATH") ? std::getenv("PATH") : "");
    for (std::string folder; std::getline(path, folder, ':');)
      for (const char* name : {"/chromium", "/chromium-browser", "/google-chrome"})
        if (access((folder + name).c_str(), X_OK) == 0) return folder + name;
    return "";
  }

  // `folder` holds what the browser keeps and downloads.
  explicit Browser(const std::filesystem::path& folder) : folder_(folder) {
    int to_browser[2], from_browser[2];
    REQUIRE(pipe2(to_browser, O_CLOEXEC) == 0);
    REQUIRE(pipe2(from_browser, O_CLOEXEC) == 0);
    const int reads = fcntl(to_browser[0], F_DUPFD_CLOEXEC, 10), writes = fcntl(from_browser[1], F_DUPFD_CLOEXEC, 10);
    to_ = to_browser[1];
    from_ = from_browser[0];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, (folder / "browser.txt").c_str(),
                                     O_CREAT | O_WRONLY | O_TRUNC, 0644);
    posix_spawn_file_actions_adddup2(&actions, reads, 3);  // where --remote-debugging-pipe looks for them
    posix_spawn_file_actions_adddup2(&actions, writes, 4);
    std::string browser = program(), profile = "--user-data-dir=" + (folder / "profile").string();
    std::vector<std::string> arguments{browser,
                                       "--headless",
                                       "--no-sandbox",
                                       "--disable-gpu",
                                       "--disable-dev-shm-usage",
                                       "--no-first-run",
                                       "--disable-background-networking",
                                       "--hide-scrollbars",
                                       "--remote-debugging-pipe",
                                       profile};
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawnattr_t group;  // it starts processes of its own, which end with it
    posix_spawnattr_init(&group);
    posix_spawnattr_setflags(&group, POSIX_SPAWN_SETPGROUP);
    REQUIRE(posix_spawn(&id_, browser.c_str(), &actions, &group, argv.data(), environ) == 0);
    posix_spawnattr_destroy(&group);
    posix_spawn_file_actions_destroy(&actions);
    for (const int end : {reads, writes, to_browser[0], from_browser[1]}) close(end);
    const std::string target = call("Target.createTarget", {{"url", "about:blank"}}).at("targetId");
    session_ = call("Target.attachToTarget", {{"targetId", target}, {"flatten", true}}).at("sessionId");
    call("Page.enable");
    call("Runtime.enable");
    call("Browser.setDownloadBehavior", {{"behavior", "allow"}, {"downloadPath", folder.string()}});
  }
  Browser(const Browser&) = delete;
  Browser& operator=(const Browser&) = delete;
  ~Browser() {
    kill(-id_, SIGKILL);
    waitpid(id_, nullptr, 0);
    close(to_);
    close(from_);
  }

  // The result of one command.
  Json call(const std::string& method, const Json& parameters = Json::object()) {
    Json message{{"id", ++last_}, {"method", method}, {"params", parameters}};
    if (!session_.empty()) message["sessionId"] = session_;
    const std::string text = message.dump();
    REQUIRE(write(to_, text.c_str(), text.size() + 1) == std::ssize(text) + 1);
    while (true) {
      const Json reply = receive();
      if (reply.contains("method")) {
        if (reply["method"] == "Runtime.exceptionThrown") complaints_ += reply["params"].dump() + "\n";
        if (reply["method"] == "Runtime.consoleAPICalled" && reply["params"]["type"] == "error")
          complaints_ += reply["params"].dump() + "\n";
      }
      if (!reply.contains("id") || reply["id"] != last_) continue;
      CAPTURE(method);
      if (reply.contains("error")) FAIL(reply["error"].dump());
      return reply.at("result");
    }
  }

  // What a script in the page gives, promises awaited.
  Json evaluate(const std::string& script) {
    const Json result =
        call("Runtime.evaluate", {{"expression", script}, {"awaitPromise", true}, {"returnByValue", true}});
    CAPTURE(script);
    if (result.contains("exceptionDetails")) FAIL(result["exceptionDetails"].dump());
    return result["result"].value("value", Json());
  }
  // Waits, a minute at most, until a script gives true.
  void wait_for(const std::string& script) {
    for (int i = 0; i < 1200; ++i) {
      if (evaluate(script) == Json(true)) return;
      usleep(50'000);
    }
    CAPTURE(script);
    FAIL("this never became true");
  }
  void open(const std::string& url) {
    call("Page.navigate", {{"url", url}});
    wait_for("document.readyState === 'complete' && location.href !== 'about:blank'");
  }
  void resize(int width, int height, bool phone = false) {
    call("Emulation.setDeviceMetricsOverride",
         {{"width", width}, {"height", height}, {"deviceScaleFactor", phone ? 2 : 1}, {"mobile", phone}});
    call("Emulation.setTouchEmulationEnabled", {{"enabled", phone}});
  }
  void mouse(const std::string& type, double x, double y, const std::string& button = "left",
             const Json& more = Json::object()) {
    Json event{{"type", type}, {"x", x}, {"y", y}, {"button", button}, {"clickCount", type == "mouseMoved" ? 0 : 1}};
    event["buttons"] = type == "mouseReleased" ? 0 : button == "left" ? 1 : button == "right" ? 2 : 0;
    event.update(more);
    call("Input.dispatchMouseEvent", event);
  }
  void finger(const std::string& type, double x, double y) {
    call("Input.dispatchTouchEvent",
         {{"type", type}, {"touchPoints", type == "touchEnd" ? Json::array() : Json::array({{{"x", x}, {"y", y}}})}});
  }
  // modifiers: Alt 1, Ctrl 2, Shift 8.
  void key(const std::string& key, int modifiers = 0) {
    Json event{{"type", "keyDown"}, {"key", key}, {"modifiers", modifiers}};
    if (key.size() == 1 && !(modifiers & 3)) event["text"] = key;
    call("Input.dispatchKeyEvent", event);
    call("Input.dispatchKeyEvent", {{"type", "keyUp"}, {"key", key}, {"modifiers", modifiers}});
  }
  // Gives the file to the page's <input type=file id=...>.
  void choose_file(const std::string& id, const std::filesystem::path& file) {
    const Json input = call("Runtime.evaluate", {{"expression", "document.getElementById('" + id + "')"}});
    call("DOM.setFileInputFiles", {{"files", {file.string()}}, {"objectId", input["result"]["objectId"]}});
  }
  // The window as a PNG in base64.
  std::string screenshot() { return call("Page.captureScreenshot", {{"format", "png"}}).at("data"); }
  // Errors that the page met so far.
  const std::string& complaints() const { return complaints_; }
  std::filesystem::path folder() const { return folder_; }

 private:
  Json receive() {
    size_t end;
    while ((end = received_.find('\0')) == std::string::npos) {
      pollfd ready{.fd = from_, .events = POLLIN, .revents = 0};
      INFO(read_text(folder_ / "browser.txt"));
      REQUIRE(poll(&ready, 1, 60'000) == 1);
      char buffer[65536];
      const ssize_t got = read(from_, buffer, sizeof buffer);
      REQUIRE(got > 0);
      received_.append(buffer, size_t(got));
    }
    const Json message = Json::parse(received_.substr(0, end));
    received_.erase(0, end + 1);
    return message;
  }

  std::filesystem::path folder_;
  pid_t id_ = 0;
  int to_ = -1, from_ = -1, last_ = 0;
  std::string session_, received_, complaints_;
};

}  // namespace asap::tests
