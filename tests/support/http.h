// asapnet serve as its clients meet it: the program in a process of its own, and requests as bytes over a socket, so
// that malformed ones can be sent, too.
#pragma once

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "tests/support/process.h"
#include "tests/support/run_program.h"

namespace asap::tests {

struct Reply {
  int status = 0;  // 0: none came
  std::string head, body;
  // The value of a header, "" without.
  std::string header(const std::string& name) const {
    const size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "";
    const size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

class Connection {
 public:
  explicit Connection(int port) : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(uint16_t(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int yes = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    REQUIRE(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { close(socket_); }

  void send(const std::string& bytes) {
    for (size_t sent = 0; sent < bytes.size();) {
      const ssize_t now = ::send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (now <= 0) return;  // the other side has seen enough
      sent += size_t(now);
    }
  }
  // Waits for one reply, `seconds` at most.
  Reply receive(int seconds = 30) {
    Reply reply;
    if (!read_until([&] { return received_.find("\r\n\r\n") != std::string::npos; }, seconds)) return reply;
    const size_t end = received_.find("\r\n\r\n") + 4;
    reply.head = received_.substr(0, end);
    received_.erase(0, end);
    const std::string length = reply.header("Content-Length");
    const size_t expected = length.empty() ? 0 : std::stoul(length);
    if (!read_until([&] { return received_.size() >= expected; }, seconds)) return reply;
    reply.body = received_.substr(0, expected);
    received_.erase(0, expected);
    reply.status = std::stoi(reply.head.substr(reply.head.find(' ') + 1));
    return reply;
  }

 private:
  template <class Done>
  bool read_until(const Done& done, int seconds) {
    while (!done()) {
      pollfd ready{.fd = socket_, .events = POLLIN, .revents = 0};
      char buffer[65536];
      if (poll(&ready, 1, 1000 * seconds) != 1) return false;
      const ssize_t got = recv(socket_, buffer, sizeof buffer, 0);
      if (got <= 0) return false;
      received_.append(buffer, size_t(got));
    }
    return true;
  }
  int socket_;
  std::string received_;
};

// A request with the headers that a well-behaved client sends.
inline std::string request_text(const std::string& method, const std::string& target, const std::string& body = "",
                                const std::string& more = "", const std::string& host = "127.0.0.1") {
  std::string text = method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + more;
  if (method != "GET") text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return text + "\r\n" + body;
}

class ServeProgram {
 public:
  // asapnet serve --port 0 with these arguments, once it is ready.
  ServeProgram(const std::filesystem::path& folder, std::vector<std::string> arguments)
      : program_(folder, with_command(std::move(arguments))) {
    wait_until("the page's address", [&] { return contains(program_.out(), "\n"); });
    const std::string out = program_.out(), start = "paint at ";
    INFO(program_.error());
    REQUIRE(out.starts_with(start));
    url_ = out.substr(start.size(), out.find(' ', start.size()) - start.size());
    port_ = std::stoi(url_.substr(url_.rfind(':') + 1));
  }

  Reply ask(const std::string& method, const std::string& target, const std::string& body = "",
            const std::string& more = "", const std::string& host = "127.0.0.1") const {
    Connection connection(port_);
    connection.send(request_text(method, target, body, more, host));
    return connection.receive();
  }
  Program& program() { return program_; }
  int port() const { return port_; }
  const std::string& url() const { return url_; }

 private:
  static std::vector<std::string> with_command(std::vector<std::string> arguments) {
    if (std::find(arguments.begin(), arguments.end(), "--threads") == arguments.end())
      arguments.insert(arguments.begin(), {"--threads", "1"});
    arguments.insert(arguments.begin(), {"serve", "--port", "0"});
    return arguments;
  }
  Program program_;
  std::string url_;
  int port_ = 0;
};

// Whether this build serves at all; if not, the test is skipped.
inline bool can_serve() { return !contains(run({"serve", "--weights", "none"}).error, "cpp-httplib"); }

}  // namespace asap::tests
