/*
 * A 64-bit kernel in C: prints what it was told, on COM1 and on the screen, and checks what every
 * loader promises. Its entry is in bootpath.c or multiboot2.c.
 *
 * "exit" on the command line ends QEMU (device isa-debug-exit) with status 33 if all is well, else
 * with 35.
 */
#include "kernel.h"

/* Ports. */

static void out8(uint16_t port, uint8_t value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void out32(uint16_t port, uint32_t value) {
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in8(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* Output. */

enum { COM1 = 0x3f8, GREY = 0x07, WHITE_ON_GREEN = 0x2f, WHITE_ON_RED = 0x4f };

static struct {
    bool serial;
    volatile uint16_t *cells; /* null: no text screen */
    uint32_t columns, rows, row, column;
    uint8_t colour;
} console = {.colour = GREY};

static void console_init(const struct boot *boot) {
    out8(COM1 + 7, 0x5a); /* the scratch register: is there a port at all? */
    console.serial = in8(COM1 + 7) == 0x5a;
    /* The loader left it at 115,200 baud, 8N1, maybe with characters still to send: setting it up
     * again would lose them. */
    if (console.serial && in8(COM1 + 3) != 0x03) {
        out8(COM1 + 1, 0);    /* no interrupts */
        out8(COM1 + 3, 0x80); /* divisor latch */
        out8(COM1 + 0, 1);    /* 115,200 baud */
        out8(COM1 + 1, 0);
        out8(COM1 + 3, 0x03); /* 8 bits, no parity, 1 stop bit */
        out8(COM1 + 2, 0x07); /* FIFOs */
        out8(COM1 + 4, 0x03); /* DTR, RTS */
    }
    console.cells = boot->screen.cells;
    console.columns = boot->screen.columns;
    console.rows = boot->screen.rows;
    console.row = boot->screen.row;
}

static void serial_char(char c) {
    if (!console.serial)
        return;
    for (int polls = 0; polls < 100000 && !(in8(COM1 + 5) & 0x20); polls++)
        ;
    out8(COM1, (uint8_t)c);
}

static void screen_char(char c) {
    if (!console.cells)
        return;
    if (c == '\n' || console.column == console.columns) {
        console.row++;
        console.column = 0;
    }
    while (console.row >= console.rows) { /* one line up */
        uint32_t last = (console.rows - 1) * console.columns;
        for (uint32_t i = 0; i < last; i++)
            console.cells[i] = console.cells[i + console.columns];
        for (uint32_t i = 0; i < console.columns; i++)
            console.cells[last + i] = GREY << 8 | ' ';
        console.row = console.rows - 1;
    }
    if (c != '\n') {
        uint32_t cell = console.row * console.columns + console.column++;
        console.cells[cell] = (uint16_t)(console.colour << 8 | (uint8_t)c);
    }
}

static void print(const char *text) {
    for (; *text; text++) {
        if (*text == '\n')
            serial_char('\r');
        serial_char(*text);
        screen_char(*text);
    }
}

static void print_serial(const char *text) {
    while (*text)
        serial_char(*text++);
}

/* The last line: green on the serial line, white on green on the screen. */
static void print_verdict(bool okay) {
    console.colour = okay ? WHITE_ON_GREEN : WHITE_ON_RED;
    print_serial(okay ? "\x1b[32m" : "\x1b[31m");
    print(okay ? "OKAY" : "FAIL");
    print_serial("\x1b[0m");
    console.colour = GREY;
    print("\n");
}

static void print_hex(uint64_t value, int digits) {
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
        char digit[2] = {"0123456789abcdef"[value >> shift & 15], 0};
        print(digit);
    }
}

/* Checks. */

static bool okay = true;

void check(const char *name, bool holds) {
    print("check ");
    print(name);
    print(holds ? ": ok\n" : ": FAILED\n");
    okay = okay && holds;
}

static bool has_word(const char *text, const char *word) {
    while (*text) {
        size_t i = 0;
        while (word[i] && text[i] == word[i])
            i++;
        if (!word[i] && (text[i] == ' ' || !text[i]))
            return true;
        while (*text && *text != ' ')
            text++;
        while (*text == ' ')
            text++;
    }
    return false;
}

static bool memory_map_is_sorted(const struct boot *boot) {
    uint64_t end = 0, usable = 0;
    for (size_t i = 0; i < boot->memory_count; i++) {
        const struct memory_region *region = &boot->memory[i];
        if (region->start < end || !region->length || region->length > UINT64_MAX - region->start)
            return false;
        if (region->usable)
            usable += region->length;
        end = region->start + region->length;
    }
    return usable > 0;
}

volatile uint32_t initialised = 0x5eed;
static volatile uint8_t zeroes[64 * 1024];

static bool bss_is_zero(void) {
    for (size_t i = 0; i < sizeof zeroes; i++)
        if (zeroes[i])
            return false;
    return true;
}

void kernel_start(const struct boot *boot) {
    uint64_t rflags, cr0, cr4;
    uint16_t cs;
    __asm__ volatile("pushfq; popq %0" : "=r"(rflags));
    __asm__ volatile("movq %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("movw %%cs, %0" : "=r"(cs));

    console_init(boot);
    print("C kernel, started by ");
    print(boot->loader);
    print(" by ");
    print(boot->protocol);
    print("\ncommand line: ");
    print(boot->command_line);
    print("\n");
    for (size_t i = 0; i < boot->memory_count; i++) {
        const struct memory_region *region = &boot->memory[i];
        print("  ");
        print_hex(region->start, 12);
        print(" + ");
        print_hex(region->length, 12);
        print(" ");
        print(region->kind);
        print("\n");
    }
    check("privilege", (cs & 3) == 0);
    check("interrupts off, direction up", !(rflags & (1 << 9 | 1 << 10)));
    check("CR0: PE, MP, NE, WP, PG", (cr0 & 0x80010023) == 0x80010023);
    check("CR4: PAE, PGE", (cr4 & 0xa0) == 0xa0);
    check("memory map", memory_map_is_sorted(boot));
    check("initialised data", initialised == 0x5eed);
    check("bss", bss_is_zero());
}

_Noreturn void kernel_end(const struct boot *boot) {
    print_verdict(okay);
    if (has_word(boot->command_line, "exit"))
        out32(0xf4, okay ? 0x10 : 0x11);
    for (;;)
        __asm__ volatile("cli; hlt");
}
