/*
 * The header of Multiboot 1, and the way into the higher half: a page directory of 4 MiB pages maps
 * the first 4 MiB to themselves and to 3 GiB.
 */
#define MAGIC 0x1BADB002
#define FLAGS 3 /* modules at pages, memory information */

#define KERNEL_VMA 0xC0000000
#define LARGE_PAGE 0x83 /* present, writable, 4 MiB */
#define CR4_PSE 0x10
#define CR0_PG_WP 0x80010000

        .section .multiboot, "a"
        .balign 4
        .long MAGIC
        .long FLAGS
        .long -(MAGIC + FLAGS)

        .section .start, "ax"
        .global _start
_start:
        movl $page_directory, %ecx
        movl %ecx, %cr3
        movl %cr4, %edx
        orl $CR4_PSE, %edx
        movl %edx, %cr4
        movl %cr0, %edx
        orl $CR0_PG_WP, %edx
        movl %edx, %cr0
        movl $higher_half, %ecx
        jmp *%ecx

        .balign 4096
page_directory:
        .long LARGE_PAGE
        .fill KERNEL_VMA / 0x400000 - 1, 4, 0
        .long LARGE_PAGE
        .fill 1023 - KERNEL_VMA / 0x400000, 4, 0

        .text
higher_half:
        movl $stack_end, %esp
        xorl %ebp, %ebp
        pushl %ebx /* the boot information */
        pushl %eax /* who started this */
        call kernel_main
1:      cli
        hlt
        jmp 1b

        .bss
        .balign 16
        .skip 16384
stack_end:

        .section .note.GNU-stack, "", @progbits
