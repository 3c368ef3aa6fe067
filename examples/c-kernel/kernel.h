/*
 * Between the kernel and the code that is made for one boot protocol: bootpath.c or multiboot2.c.
 */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct memory_region {
    uint64_t start, length; /* physical, in bytes */
    const char *kind;
    bool usable;
};

/* What is told by every protocol. All pointers are virtual addresses. */
struct boot {
    const char *protocol, *loader, *command_line;
    const struct memory_region *memory;
    size_t memory_count;
    struct {
        volatile uint16_t *cells; /* null: no text screen */
        uint32_t columns, rows;
        uint32_t row; /* the first free one */
    } screen;
};

enum { MEMORY_REGIONS = 128 }; /* room for so many */

/* Says what it was told and checks what is true by every protocol. */
void kernel_start(const struct boot *boot);

/* Prints a line of the check, and notes the result. */
void check(const char *name, bool holds);

/* The verdict. */
_Noreturn void kernel_end(const struct boot *boot);

/* A variable that can be looked for at another address, where memory is mapped twice. */
extern volatile uint32_t initialised;

#endif
