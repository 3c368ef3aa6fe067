/*
 * A 32-bit kernel in C for Multiboot 1: prints what the loader told it, on COM1 and in the upper
 * left corner of the screen.
 *
 * "exit" on the command line ends QEMU (device isa-debug-exit) with status 33.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOADER_MAGIC 0x2BADB002

/* Multiboot Specification 0.6.96, section 3.3, as far as it is used here. */
struct information {
    uint32_t flags, mem_lower, mem_upper, boot_device, command_line;
    uint32_t module_count, modules;
    uint32_t sections[4];
    uint32_t map_length, map;
    uint32_t drives[2], config_table, loader_name;
};

enum { HAS_COMMAND_LINE = 1 << 2, HAS_MODULES = 1 << 3, HAS_MAP = 1 << 6, HAS_LOADER_NAME = 1 << 9 };

struct module {
    uint32_t start, end, string, reserved;
};

struct region {
    uint32_t size;
    uint64_t start, length;
    uint32_t kind;
} __attribute__((packed));

static void out8(uint16_t port, uint8_t value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in8(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* Output. The loader left COM1 at 115,200 baud, 8N1. */

static void put(char character) {
    enum { COM1 = 0x3F8 };
    for (unsigned int tries = 0; tries < 100000 && !(in8(COM1 + 5) & 0x20); tries++)
        ;
    out8(COM1, (uint8_t)character);
}

static void print(const char *text) {
    while (*text)
        put(*text++);
}

static void print_hex(uint64_t number) {
    for (int shift = 60; shift >= 0; shift -= 4)
        if (shift == 0 || number >> shift)
            put("0123456789abcdef"[number >> shift & 15]);
}

/* Only the first 4 MiB are mapped; the loader puts structures as small as these there. */
static const void *low(uint32_t address) {
    return address < 4 << 20 ? (const void *)address : NULL;
}

static bool has_word(const char *text, const char *word) {
    while (*text) {
        const char *wanted = word;
        while (*wanted && *text == *wanted)
            text++, wanted++;
        if (!*wanted && (!*text || *text == ' '))
            return true;
        while (*text && *text++ != ' ')
            ;
    }
    return false;
}

void kernel_main(uint32_t magic, uint32_t address);

void kernel_main(uint32_t magic, uint32_t address) {
    static const char okay[] = "O\x2fK\x2f" "A\x2fY\x2f";
    const struct information *info = low(address);
    if (magic != LOADER_MAGIC || !info) {
        print("not started by Multiboot 1\n");
        return;
    }
    print("a kernel at ");
    print_hex((uint32_t)&kernel_main);
    if (info->flags & HAS_LOADER_NAME) {
        print(", started by ");
        print(low(info->loader_name));
    }
    const char *command_line = info->flags & HAS_COMMAND_LINE ? low(info->command_line) : "";
    print("\ncommand line: ");
    print(command_line);
    print("\n");
    if (info->flags & HAS_MAP) {
        uint32_t next = info->map, end = info->map + info->map_length;
        while (next < end) {
            const struct region *region = low(next);
            print("memory ");
            print_hex(region->start);
            print(" ");
            print_hex(region->start + region->length);
            print(region->kind == 1 ? " available\n" : " reserved\n");
            next += region->size + sizeof region->size;
        }
    }
    if (info->flags & HAS_MODULES) {
        const struct module *module = low(info->modules);
        for (uint32_t index = 0; index < info->module_count; index++, module++) {
            print("module ");
            print_hex(module->end - module->start);
            print(": ");
            print(low(module->string));
            print("\n");
        }
    }
    volatile char *screen = (volatile char *)0xC00B8000;
    for (size_t index = 0; index + 1 < sizeof okay; index++)
        screen[index] = okay[index];
    print("OKAY\n");
    if (has_word(command_line, "exit"))
        out8(0xF4, 0x10);
}
