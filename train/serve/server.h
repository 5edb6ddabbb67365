// The studio over HTTP: the page, what it asks for, and what a script may ask for. docs/serve.md describes the
// interface. Of cpp-httplib, where the build has it; all of it is in server.cpp.
#pragma once

#include <functional>
#include <string>

#include "train/serve/studio.h"

namespace asap::train {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;  // 0: any that is free
};

// asap::Error in a build without cpp-httplib, saying how to get one that has it.
void check_can_serve();

// Whether only this machine's own programs reach a server at that address.
bool is_loopback(const std::string& host);

// Listens, tells `ready` the page's address, and answers until the process ends. asap::Error: the port is taken, no
// such address.
void serve(Studio& studio, const ServerOptions& options, const std::function<void(const std::string& url)>& ready);

}  // namespace asap::train
