/* The kernel: begin here. */
#include <bootpath.h>
#include <stdbool.h>
#include <stddef.h>

#include "console.h"
#include "machine.h"
#include "panic.h"

/* What the kernel asks of the loader; this line may go, too. */
BOOTPATH_WISH(BOOTPATH_NOTE_STACK_SIZE, 128 * 1024);

static const char *kind_name(uint32_t kind) {
    static const char *const names[] = {
        [BOOTPATH_MEMORY_KIND_USABLE] = "usable",
        [BOOTPATH_MEMORY_KIND_RECLAIMABLE] = "reclaimable",
        [BOOTPATH_MEMORY_KIND_KERNEL] = "kernel",
        [BOOTPATH_MEMORY_KIND_MODULE] = "module",
        [BOOTPATH_MEMORY_KIND_ACPI_RECLAIMABLE] = "ACPI reclaimable",
        [BOOTPATH_MEMORY_KIND_ACPI_NVS] = "ACPI NVS",
        [BOOTPATH_MEMORY_KIND_FRAMEBUFFER] = "framebuffer",
        [BOOTPATH_MEMORY_KIND_RESERVED] = "reserved",
        [BOOTPATH_MEMORY_KIND_BAD] = "bad",
    };
    bool is_known = kind < sizeof names / sizeof *names && names[kind];
    return is_known ? names[kind] : "of an unknown kind";
}

/* Whether one of the words of a text is this one. */
static bool has_word(const char *text, const char *word) {
    while (*text) {
        size_t length = 0;
        while (word[length] && text[length] == word[length])
            length++;
        if (!word[length] && (text[length] == ' ' || !text[length]))
            return true;
        while (*text && *text++ != ' ')
            ;
    }
    return false;
}

/* The loader calls this function, once: the ELF header names it. */
_Noreturn void _start(const struct bootpath_boot_info *boot) {
    console_init(boot);
    ASSERT(boot->magic == BOOTPATH_MAGIC && boot->version == BOOTPATH_VERSION);
    print("{{name}}, started by ");
    print(boot->loader.start);

    /* The words behind `disk-builder run kernel.elf`. */
    print("\ncommand line: ");
    print(boot->command_line.start);

    /* All physical memory: what is usable is the kernel's, at once. */
    for (uint64_t i = 0; i < boot->memory_map_count; i++) {
        const struct bootpath_memory_region *region = &boot->memory_map[i];
        print("\n  0x");
        print_hex(region->start, 12);
        print(" ");
        print_decimal(region->length / 1024);
        print(" KiB ");
        print(kind_name(region->kind));
    }

    /* Files that were loaded with the kernel: `disk-builder build --module FILE`. */
    print("\nmodules: ");
    print_decimal(boot->module_count);
    for (uint64_t i = 0; i < boot->module_count; i++) {
        print("\n  ");
        print(boot->modules[i].path.start);
        print(": ");
        print_decimal(boot->modules[i].length);
        print(" bytes");
    }
    print("\n");

    /* There is more in `boot`: ACPI and SMBIOS, the boot disk, the kernel's segments, random bytes,
     * and the physical map, through which all memory can be reached. */
    if (has_word(boot->command_line.start, "stay"))
        halt(); /* so that somebody can look at the screen */
    end(BOOTPATH_EXIT_SUCCESS);
}
