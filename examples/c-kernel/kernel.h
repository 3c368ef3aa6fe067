/*
 * The interface between the kernel and the code for one boot protocol: bootpath.c or multiboot2.c.
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

/* The facts that every protocol provides. All pointers are virtual addresses. */
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

enum { MEMORY_REGIONS = 128 }; /* room for this many */

/* Prints what it was told, and checks what every protocol promises. */
void kernel_start(const struct boot *boot);

/* Prints a line of the check, and notes the result. */
void check(const char *name, bool holds);

/* The verdict. */
_Noreturn void kernel_end(const struct boot *boot);

/* A variable for checks that memory is mapped twice: it can be read at another address. */
extern volatile uint32_t initialised;

#endif
