// Declared in server.h. Every request passes check_request() before anything of it is used; every refusal is one sentence.
#include "train/serve/server.h"

#include <arpa/inet.h>

#include "tensor/error.h"

#if ASAP_HTTPLIB
#include <httplib.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <string_view>

#include "tensor/storage.h"
#include "train/pictures/png.h"
#endif

namespace asap::train {

bool is_loopback(const std::string& host) {
  in_addr address{};
  const bool numbers = inet_pton(AF_INET, host.c_str(), &address) == 1;
  return host == "localhost" || host == "::1" || (numbers && ntohl(address.s_addr) >> 24 == 127);
}

#if !ASAP_HTTPLIB

void check_can_serve() {
  fail(
      "serve: this program was built without cpp-httplib, which serves the page; install it (Debian: "
      "libcpp-httplib-dev, pkg-config) and "
      "build again");
}
void serve(Studio&, const ServerOptions&, const std::function<void(const std::string&)>&) { check_can_serve(); }

#else

std::string_view serve_page();  // serve/page.html, compiled in

namespace {

using httplib::Request;
using httplib::Response;
using Clock = std::chrono::steady_clock;

constexpr int kConnections = 64;
constexpr double kRequestsPerSecond = 200, kRequestsAtOnce = 400;
constexpr size_t kFileBytes = 16 << 20;  // of a label map's file
constexpr const char* kBytes = "application/octet-stream";

// So many requests a second, and a burst that a quiet time before has saved up.
class TokenBucket {
 public:
  bool take() {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - filled_).count();
    filled_ = now;
    tokens_ = std::min(kRequestsAtOnce, tokens_ + seconds * kRequestsPerSecond);
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  std::mutex mutex_;
  double tokens_ = kRequestsAtOnce;
  Clock::time_point filled_ = Clock::now();
};

// A refusal with its status.
struct Refusal {
  int status;
  std::string sentence;
};

void answer(Response& response, int status, const std::string& sentence) {
  response.status = status;
  response.set_content(sentence + "\n", "text/plain; charset=utf-8");
}

int64_t number(const Request& request, const char* name, int64_t least, int64_t most) {
  const std::string text = request.get_param_value(name);
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size() || value < least || value > most)
    throw Refusal{400, str(name, ": expected a whole number from ", least, " to ", most,
                           request.has_param(name) ? "" : ", got none")};
  return value;
}

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// The name in a Host header: "localhost:8080", "[::1]:8080", "localhost".
std::string without_port(const std::string& host) {
  const size_t colon = host.rfind(':');
  const std::string name = colon == std::string::npos || host.ends_with("]") ? host : host.substr(0, colon);
  return name.starts_with("[") && name.ends_with("]") ? name.substr(1, name.size() - 2) : name;
}

// A body of bare labels, a byte each, row by row, with width and height in the query.
LabelMap bare_labels(const Request& request, int64_t most_pixels) {
  const int width = int(number(request, "width", 1, kMaxSide)), height = int(number(request, "height", 1, kMaxSide));
  const int64_t pixels = int64_t(width) * height;
  if (pixels > most_pixels)
    throw Refusal{413, str("a picture has at most ", most_pixels, " pixels, ", width, "x", height, " are more")};
  if (std::ssize(request.body) != pixels)
    throw Refusal{400, str("expected ", pixels, " labels, a byte each (", width, "x", height, "), got ",
                           request.body.size(), " bytes")};
  LabelMap labels(width, height);
  std::copy(bytes_of(request.body).begin(), bytes_of(request.body).end(), labels.values.begin());
  return labels;
}

void send_size(Response& response, int width, int height) {
  response.set_header("X-Width", std::to_string(width));
  response.set_header("X-Height", std::to_string(height));
}

void send_labels(Response& response, const LabelMap& labels) {
  send_size(response, labels.width, labels.height);
  response.set_content(std::string(labels.values.begin(), labels.values.end()), kBytes);
}

void send_png(Response& response, const std::vector<uint8_t>& file) {
  response.set_content(std::string(file.begin(), file.end()), "image/png");
}

class Site {
 public:
  Site(Studio& studio, const ServerOptions& options) : studio_(studio), options_(options) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(kConnections); };
    server_.set_tcp_nodelay(true);
    server_.set_read_timeout(2);
    server_.set_write_timeout(5);
    server_.set_keep_alive_max_count(1000);
    server_.set_payload_max_length(std::max(kFileBytes, size_t(studio.most_pixels())));
    server_.set_socket_options([](int socket) {  // httplib's default would let a second server take the same port
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    server_.set_default_headers(
        {{"Cache-Control", "no-store"},
         {"X-Content-Type-Options", "nosniff"},
         {"Cross-Origin-Resource-Policy", "same-origin"},
         {"Content-Security-Policy",
          "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
          "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}});
    server_.set_pre_routing_handler([this](const Request& request, Response& response) {
      try {
        check_request(request);
        return httplib::Server::HandlerResponse::Unhandled;
      } catch (const Refusal& refusal) {
        answer(response, refusal.status, refusal.sentence);
        return httplib::Server::HandlerResponse::Handled;
      }
    });
    server_.set_exception_handler(
        [](const Request&, Response& response, std::exception_ptr error) { explain(response, error); });
    server_.set_error_handler([this](const Request& request, Response& response) { name_error(request, response); });
    add_routes();
  }

  void run(const std::function<void(const std::string&)>& ready) {
    const int port = bind();
    const std::string host = options_.host == "0.0.0.0" ? "127.0.0.1" : options_.host == "::" ? "::1" : options_.host;
    ready(str("http://", host.find(':') == std::string::npos ? host : "[" + host + "]", ":", port, "/"));
    server_.listen_after_bind();
  }

 private:
  int bind() {
    errno = 0;
    const int port = options_.port == 0                                   ? server_.bind_to_any_port(options_.host)
                     : server_.bind_to_port(options_.host, options_.port) ? options_.port
                                                                          : -1;
    if (port > 0) return port;
    const int reason = errno;
    ASAP_CHECK(reason != EADDRINUSE, "--port ", options_.port,
               ": another program listens there already; give another one, such as --port ",
               options_.port == 65535 ? 8080 : options_.port + 1, ", or --port 0 for any that is free");
    ASAP_CHECK(reason != EACCES, "--port ", options_.port,
               ": ports below 1024 are the system's; give a higher one, such as --port 8080");
    fail("--host ", options_.host, ": this machine cannot listen at that address",
         reason ? str(" (", std::strerror(reason), ")") : "");
  }

  // A page from elsewhere must not reach a server on this machine through its user's browser: neither under a name
  // that it made point here (DNS rebinding: the Host header has that name) nor by a request across origins (the
  // Origin header does).
  void check_request(const Request& request) {
    if (request.get_header_value_count("Host") > 1) throw Refusal{400, "expected one Host header"};
    const std::string host = request.get_header_value("Host");
    if (is_loopback(options_.host) && !is_loopback(without_port(host)))
      throw Refusal{403, "this server answers requests to this machine alone, under the names localhost and 127.0.0.1"};
    if (request.has_header("Origin") && request.get_header_value("Origin") != "http://" + host)
      throw Refusal{403, "this server answers its own page alone, not those of other sites"};
    if (request.method == "GET" || request.method == "HEAD") return;
    if (!requests_.take()) throw Refusal{429, "too many requests; wait a second"};
    if (request.has_header("Transfer-Encoding")) throw Refusal{411, "expected a body of a known Content-Length"};
    const std::string type = request.get_header_value("Content-Type");
    if (type.starts_with("application/x-www-form-urlencoded") || type.starts_with("multipart/"))
      throw Refusal{415, "expected the bytes alone, no form: Content-Type: application/octet-stream or image/png"};
  }

  static void explain(Response& response, const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const Refusal& refusal) {
      answer(response, refusal.status, refusal.sentence);
    } catch (const Busy& busy) {
      answer(response, 503, busy.what());
    } catch (const OutOfMemory& memory) {
      answer(response, 503, memory.what());
    } catch (const std::bad_alloc&) {
      answer(response, 503, "out of memory; a smaller picture needs less");
    } catch (const asap::Error& wrong) {
      answer(response, 400, wrong.what());
    } catch (const std::exception& failure) {
      answer(response, 500, failure.what());
    }
  }

  // What httplib refused by itself.
  void name_error(const Request& request, Response& response) const {
    if (!response.body.empty()) return;
    const auto known = kMethods.find(request.path.starts_with("/examples/") ? "/examples/" : request.path);
    if (response.status == 404 && known != kMethods.end() && request.method != known->second) {
      response.set_header("Allow", known->second);
      return answer(response, 405, str(request.path, " takes ", known->second, ", not ", request.method));
    }
    switch (response.status) {
      case 404: return answer(response, 404, "there is nothing at this address; the page is at /");
      case 413:
        return answer(
            response, 413,
            str("the body is too large: at most ", std::max(kFileBytes, size_t(studio_.most_pixels())), " bytes"));
      case 414: return answer(response, 414, "the address is too long");
      default: return answer(response, response.status, "this request is not understood");
    }
  }

  void add_routes() {
    server_.Get("/", [](const Request&, Response& response) {
      const std::string_view page = serve_page();
      response.set_content(page.data(), page.size(), "text/html; charset=utf-8");
    });
    server_.Get("/model.json", [this](const Request&, Response& response) {
      response.set_content(studio_.description(), "application/json");
    });
    server_.Get(R"(/examples/(\d{1,4}))", [this](const Request& request, Response& response) {
      const size_t index = std::stoul(request.matches[1]);
      if (index >= studio_.examples().size())
        throw Refusal{404, str("there are ", studio_.examples().size(), " examples, from 0 on")};
      send_labels(response, studio_.examples()[index].labels);
    });
    server_.Post("/render", [this](const Request& request, Response& response) { render(request, response); });
    server_.Post("/labels", [this](const Request& request, Response& response) {
      std::string note;
      send_labels(response, studio_.read_labels(bytes_of(request.body), "label map", note));
      if (!note.empty()) response.set_header("X-Note", note);
    });
    server_.Post("/labels.png", [this](const Request& request, Response& response) {
      send_png(response, studio_.label_png(bare_labels(request, studio_.most_pixels())));
    });
  }

  void render(const Request& request, Response& response) {
    const int64_t model = request.has_param("model") ? number(request, "model", 0, int64_t(studio_.models()) - 1) : 0;
    std::string format = request.get_param_value("format"), note;
    if (format.empty()) format = "png";
    if (format != "png" && format != "rgb") throw Refusal{400, "format: expected png or rgb"};
    const bool bare = request.has_param("width") || request.has_param("height");
    const LabelMap labels = bare ? bare_labels(request, studio_.most_pixels())
                                 : studio_.read_labels(bytes_of(request.body), "label map", note);
    const auto begin = Clock::now();
    const std::optional<Image> picture =
        studio_.render(size_t(model), labels, request.get_param_value("client").substr(0, 64));
    if (!picture) throw Refusal{409, "superseded by a newer request of the same client"};
    response.set_header("X-Milliseconds",
                        std::to_string(std::chrono::duration<double, std::milli>(Clock::now() - begin).count()));
    if (!note.empty()) response.set_header("X-Note", note);
    send_size(response, picture->width, picture->height);
    if (format == "png") return send_png(response, encode_png(*picture, "picture", 1));
    response.set_content(std::string(picture->pixels.begin(), picture->pixels.end()), kBytes);
  }

  inline static const std::map<std::string, std::string> kMethods{{"/", "GET"},          {"/model.json", "GET"},
                                                                  {"/examples/", "GET"}, {"/render", "POST"},
                                                                  {"/labels", "POST"},   {"/labels.png", "POST"}};

  Studio& studio_;
  const ServerOptions options_;
  TokenBucket requests_;
  httplib::Server server_;
};

}  // namespace

void check_can_serve() {}

void serve(Studio& studio, const ServerOptions& options, const std::function<void(const std::string& url)>& ready) {
  Site(studio, options).run(ready);
}

#endif

}  // namespace asap::train
