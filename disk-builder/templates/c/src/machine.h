/* The CPU's instructions that C has no words for, and how a kernel ends. */
#ifndef MACHINE_H
#define MACHINE_H

#include <bootpath.h>

static inline void out8(uint16_t port, uint8_t value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t value) {
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* Waits for ever: the loader leaves interrupts off. */
_Noreturn static inline void halt(void) {
    for (;;)
        __asm__ volatile("hlt");
}

/* Ends the run: in QEMU, `make run` and `make test` succeed by BOOTPATH_EXIT_SUCCESS only. A PC does
 * not end, so the CPU halts. */
_Noreturn static inline void end(uint32_t value) {
    out32(BOOTPATH_EXIT_PORT, value);
    halt();
}

#endif
