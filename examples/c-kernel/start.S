/*
 * The header of Multiboot 2, and the way from the state in which it leaves the CPU, 32-bit protected
 * mode without paging, to 64-bit code in the higher half.
 *
 * The first 4 GiB are mapped to themselves and at PHYSICAL_MAP_BASE, and the first GiB at
 * KERNEL_VMA as well, all of it writable and executable.
 */
#define MAGIC 0xE85250D6
#define ARCHITECTURE 0 /* i386 */

#define CR0_PG_WP_NE_MP 0x80010022
#define CR4_PGE_PAE 0xA0
#define EFER 0xC0000080
#define EFER_LME 0x100
#define CPUID_LONG_MODE 29 /* bit of EDX */

#define TABLE 3         /* present, writable */
#define LARGE_PAGE 0x83 /* the same, 2 MiB */
#define CODE_64 0x00209A0000000000

        .section .multiboot2, "a"
        .balign 8
header:
        .long MAGIC
        .long ARCHITECTURE
        .long header_end - header
        .long -(MAGIC + ARCHITECTURE + (header_end - header))
        .short 0, 0 /* the last tag */
        .long 8
header_end:

        .section .start, "ax"
        .code32
        .global _start
_start:
        movl %eax, %edi /* who started this */
        movl %ebx, %esi /* the boot information */
        movl $0x80000000, %eax
        cpuid
        cmpl $0x80000001, %eax
        jb stop
        movl $0x80000001, %eax
        cpuid
        btl $CPUID_LONG_MODE, %edx
        jnc stop

        movl $tables, %eax
        movl %eax, %cr3
        movl %cr4, %eax
        orl $CR4_PGE_PAE, %eax
        movl %eax, %cr4
        movl $EFER, %ecx
        rdmsr
        orl $EFER_LME, %eax
        wrmsr
        movl %cr0, %eax
        orl $CR0_PG_WP_NE_MP, %eax
        movl %eax, %cr0
        lgdt gdt_pointer
        ljmp $8, $long_mode

stop:   cli
        hlt
        jmp stop

        .code64
long_mode:
        xorl %eax, %eax
        movl %eax, %ss
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %fs
        movl %eax, %gs
        movabsq $higher_half, %rax
        jmp *%rax

        .balign 8
gdt:    .quad 0, CODE_64
gdt_pointer:
        .short gdt_pointer - gdt - 1
        .long gdt

        .balign 4096
tables:
        .quad low + TABLE
        .fill 255, 8, 0
        .quad low + TABLE /* PHYSICAL_MAP_BASE */
        .fill 254, 8, 0
        .quad high + TABLE
low:    .quad pages + TABLE, pages + 0x1000 + TABLE, pages + 0x2000 + TABLE, pages + 0x3000 + TABLE
        .fill 508, 8, 0
high:   .fill 510, 8, 0
        .quad pages + TABLE, 0 /* KERNEL_VMA */
pages:
        .set address, 0
        .rept 4 * 512
        .quad address + LARGE_PAGE
        .set address, address + 0x200000
        .endr

        .text
higher_half:
        movabsq $stack_end, %rsp
        xorl %ebp, %ebp
        movl %edi, %edi /* clears the upper halves, which 32-bit code leaves undefined */
        movl %esi, %esi
        call multiboot2_main

        .bss
        .balign 16
        .skip 32768
stack_end:

        .section .note.GNU-stack, "", @progbits
