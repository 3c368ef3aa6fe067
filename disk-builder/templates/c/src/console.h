/* Text for people: on the first serial line, and on the screen if it is in text mode. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <bootpath.h>

/* Before anything is printed. */
void console_init(const struct bootpath_boot_info *boot);

void print(const char *text);
void print_decimal(uint64_t value);
void print_hex(uint64_t value, int digits);

#endif
