/*
 * The kernel's entry for Multiboot 2: start.S runs first, and maps memory as described here.
 */
#include "kernel.h"

#define LOADER_MAGIC 0x36d76289
#define KERNEL_VMA 0xffffffff80000000
#define PHYSICAL_MAP_BASE 0xffff800000000000
#define PHYSICAL_MAP_SIZE (4ull << 30)

/* Multiboot2 Specification 2.0, section 3.6, as far as it is used here. */
struct tag {
    uint32_t type, size;
};

enum { TAG_END = 0, TAG_COMMAND_LINE = 1, TAG_LOADER = 2, TAG_MEMORY_MAP = 6, TAG_FRAMEBUFFER = 8 };

struct memory_map {
    struct tag tag;
    uint32_t entry_size, entry_version;
    uint8_t entries[];
};

struct memory_map_entry {
    uint64_t start, length;
    uint32_t kind, reserved;
};

struct framebuffer {
    struct tag tag;
    uint64_t address;
    uint32_t pitch, width, height;
    uint8_t bits_per_pixel, kind;
};

enum { FRAMEBUFFER_TEXT = 2 };

static void *at(uint64_t physical) {
    return (void *)(PHYSICAL_MAP_BASE + physical);
}

static size_t copy_memory_map(const struct memory_map *map, struct memory_region *regions) {
    static const char *const kinds[] = {
        [1] = "available", [2] = "reserved", [3] = "ACPI reclaimable", [4] = "ACPI NVS", [5] = "bad",
    };
    size_t count = 0;
    const uint8_t *end = (const uint8_t *)map + map->tag.size;
    for (const uint8_t *next = map->entries; next < end && count < MEMORY_REGIONS;
         next += map->entry_size) {
        const struct memory_map_entry *entry = (const void *)next;
        bool known = entry->kind && entry->kind < sizeof kinds / sizeof *kinds;
        regions[count++] = (struct memory_region){
            .start = entry->start,
            .length = entry->length,
            .kind = known ? kinds[entry->kind] : "unknown, hence reserved",
            .usable = entry->kind == 1,
        };
    }
    return count;
}

static bool is_usable(const struct boot *boot, uint64_t address) {
    for (size_t i = 0; i < boot->memory_count; i++) {
        const struct memory_region *region = &boot->memory[i];
        if (address >= region->start && address - region->start < region->length)
            return region->usable;
    }
    return false;
}

/* A write to the physical address of the linker script changes the variable at its virtual one. */
static bool is_where_it_is_linked(void) {
    volatile uint32_t *alias = at((uint64_t)&initialised - KERNEL_VMA);
    *alias = 0xcafe;
    return initialised == 0xcafe;
}

_Noreturn void multiboot2_main(uint32_t magic, uint32_t address);

_Noreturn void multiboot2_main(uint32_t magic, uint32_t address) {
    static struct memory_region memory[MEMORY_REGIONS];
    struct boot boot = {
        .protocol = "Multiboot 2",
        .loader = "nobody who says so",
        .command_line = "",
        .memory = memory,
    };
    const struct {
        uint32_t size, reserved;
    } *information = at(address);
    const struct tag *tag = (const void *)(information + 1);
    const uint8_t *end = (const uint8_t *)information;
    if (magic == LOADER_MAGIC)
        end += information->size;

    while ((const uint8_t *)tag < end && tag->type != TAG_END) {
        switch (tag->type) {
        case TAG_COMMAND_LINE:
            boot.command_line = (const char *)(tag + 1);
            break;
        case TAG_LOADER:
            boot.loader = (const char *)(tag + 1);
            break;
        case TAG_MEMORY_MAP:
            boot.memory_count = copy_memory_map((const struct memory_map *)tag, memory);
            break;
        case TAG_FRAMEBUFFER: {
            const struct framebuffer *screen = (const struct framebuffer *)tag;
            if (screen->kind == FRAMEBUFFER_TEXT && screen->address < PHYSICAL_MAP_SIZE) {
                boot.screen.cells = at(screen->address);
                boot.screen.columns = screen->width;
                boot.screen.rows = screen->height;
                boot.screen.row = screen->height; /* below everything on the screen */
            }
        }
        }
        tag = (const void *)((const uint8_t *)tag + (tag->size + 7) / 8 * 8);
    }
    kernel_start(&boot);
    check("magic number", magic == LOADER_MAGIC);
    check("last tag", (const uint8_t *)(tag + 1) == end && tag->size == 8);
    check("kernel's place", is_where_it_is_linked());
    check("kernel's memory", is_usable(&boot, (uint64_t)&initialised - KERNEL_VMA));
    kernel_end(&boot);
}
