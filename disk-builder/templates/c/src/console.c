#include "console.h"

#include <stdbool.h>

#include "machine.h"

enum { COM1 = 0x3f8, LINE_STATUS = 5, MAY_SEND = 0x20, SCRATCH = 7, GREY = 0x07 };

static bool has_serial;

static struct {
    volatile uint16_t *cells; /* character and colour, row by row; null: no text screen */
    uint32_t columns, rows, row, column;
} screen;

void console_init(const struct bootpath_boot_info *boot) {
    out8(COM1 + SCRATCH, 0x5a); /* is there a port at all? The loader has set it up. */
    has_serial = in8(COM1 + SCRATCH) == 0x5a;

    const struct bootpath_display *display = &boot->display;
    if (display->kind == BOOTPATH_DISPLAY_KIND_TEXT && display->pitch == 2 * display->width) {
        screen.cells = (volatile uint16_t *)(boot->physical_map_base + display->address);
        screen.columns = display->width;
        screen.rows = display->height;
        screen.row = display->cursor_row;
    }
}

static void serial_char(char c) {
    while (!(in8(COM1 + LINE_STATUS) & MAY_SEND))
        ;
    out8(COM1, (uint8_t)c);
}

static void screen_new_row(void) {
    screen.column = 0;
    if (++screen.row < screen.rows)
        return;
    uint32_t last = (screen.rows - 1) * screen.columns;
    for (uint32_t i = 0; i < last; i++) /* one row up */
        screen.cells[i] = screen.cells[i + screen.columns];
    for (uint32_t i = 0; i < screen.columns; i++)
        screen.cells[last + i] = GREY << 8 | ' ';
    screen.row = screen.rows - 1;
}

static void screen_char(char c) {
    if (c == '\n' || screen.column == screen.columns)
        screen_new_row();
    if (c != '\n')
        screen.cells[screen.row * screen.columns + screen.column++] = GREY << 8 | (uint8_t)c;
}

void print(const char *text) {
    for (; *text; text++) {
        if (has_serial) {
            if (*text == '\n')
                serial_char('\r');
            serial_char(*text);
        }
        if (screen.cells)
            screen_char(*text);
    }
}

void print_decimal(uint64_t value) {
    char digits[21], *first = digits + sizeof digits - 1;
    *first = 0;
    do
        *--first = (char)('0' + value % 10);
    while (value /= 10);
    print(first);
}

void print_hex(uint64_t value, int digits) {
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
        print((char[]){"0123456789abcdef"[value >> shift & 15], 0});
}
