// The program again, as a child that tells its parent lines through a pipe: what a kernel of somebody else's breaks is the child.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace asap::bench {

struct ChildEnd {
  bool ok = false;     // it ended by itself, with 0
  std::string how;     // otherwise: "crashed (Segmentation fault)", "did not end within 60 s", "ended with 3"
};

// Runs this very program with `arguments` and gives each line that it writes to descriptor kReportDescriptor to `line`. A child that
// writes none for `seconds` is ended.
ChildEnd run_child(const std::vector<std::string>& arguments, int seconds, const std::function<void(const std::string&)>& line);

// In the child.
inline constexpr int kReportDescriptor = 3;
void report_line(const std::string& line);

}  // namespace asap::bench
