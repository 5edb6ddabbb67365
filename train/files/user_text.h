// Texts for the user's terminal: names as they can be pasted, and anything from files without its control characters.
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace asap::train {

// A path (or another word) as a POSIX shell takes it: quoted where it has to be; control characters and bytes that are
// not UTF-8 in bash's $'...'.
std::string shell_quoted(const std::string& word);

// UTF-8 as it is; control characters (C0, C1, those that turn the direction of writing) and bytes that are not UTF-8
// as \x1b, newlines as \n: a name from outside cannot steer the terminal.
std::string terminal_safe(std::string_view text);

// The same for a message of several lines: newlines before an indented line stay.
std::string terminal_safe_message(std::string_view text);

// "a, b, c".
std::string comma_list(const std::vector<std::string>& words);

// What an error says to the user: texts of the standard library's own errors are for programmers ("filesystem error: status: ...").
std::string sentence_of(const std::exception& error);

// Width of the terminal that a standard stream is; 0 if it is none. Between a rank's standard output and the user's is mpirun, which makes
// a terminal of any: ASAP_COLUMNS (environment), set by ranks/launch.cpp, says what the user has.
int terminal_columns(int stream);

// A line on standard error: "asapnet: ", then terminal_safe_message(text).
void warn(const std::string& text);

}  // namespace asap::train
